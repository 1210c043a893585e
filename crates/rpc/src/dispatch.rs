//! Which function answers which procedure.
//!
//! Every group of procedures registers its own here. A procedure that nobody registered is answered
//! with libvirt's "not supported" error, so there is never silence and never a wrong success.

use std::future::Future;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, LazyLock};

use wire::connection::{Call, Procedure, encode_reply, encode_reply_by, encode_reply_with_fds};
use wire::frame::Outgoing;
use wire::procedure::Call as CallArgs;
use wire::qemu;
use wire::remote::RpcError;
use wire::xdr::Encoder;

use crate::client::Client;
use crate::failure::{Answer, Failure};
use crate::procedures;
use crate::stream::StreamEnd;

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
type Told<T> = Result<T, Box<RpcError>>;

type Inline = dyn Fn(&Client, &Call) -> Told<Vec<u8>> + Send + Sync;
type Task = dyn Fn(Arc<Client>, Call) -> Boxed<Ready> + Send + Sync;

/// What serves a stream once its call is answered.
pub(crate) type Serve = Box<dyn FnOnce(StreamEnd) -> Boxed<()> + Send>;

/// An answer that is ready to be sent.
pub(crate) enum Ready {
    /// A packet.
    Packet(Told<Vec<u8>>),
    /// A packet with descriptors.
    WithFds(Told<Outgoing>),
    /// A packet, after which a stream begins.
    Stream(Vec<u8>, Serve),
}

/// How a procedure is answered.
pub(crate) enum Handler {
    /// In the connection's own task: it waits for nothing.
    Inline(Box<Inline>),
    /// In a task of its own, so that nothing on the connection waits for it.
    Task(Box<Task>),
}

/// The functions, by procedure.
#[derive(Default)]
pub(crate) struct Dispatch {
    remote: Vec<Option<Handler>>,
    qemu: Vec<Option<Handler>>,
}

static DISPATCH: LazyLock<Dispatch> = LazyLock::new(|| {
    let mut dispatch = Dispatch::default();
    procedures::register(&mut dispatch);
    dispatch
});

/// The handler of a procedure, if there is one.
pub(crate) fn handler(procedure: Procedure) -> Option<&'static Handler> {
    DISPATCH.get(procedure)
}

impl Dispatch {
    fn get(&self, procedure: Procedure) -> Option<&Handler> {
        let (handlers, number) = match procedure {
            Procedure::Remote(procedure) => (&self.remote, procedure.number()),
            Procedure::Qemu(procedure) => (&self.qemu, procedure.number()),
        };
        handlers.get(number as usize)?.as_ref()
    }

    fn put<A: CallArgs>(&mut self, handler: Handler) {
        let handlers = match A::PROGRAM == qemu::PROGRAM {
            true => &mut self.qemu,
            false => &mut self.remote,
        };
        let index = A::NUMBER as usize;
        if handlers.len() <= index {
            handlers.resize_with(index + 1, || None);
        }
        assert!(
            handlers[index].is_none(),
            "procedure {index} is registered twice"
        );
        handlers[index] = Some(handler);
    }

    /// A procedure answered at once, from what is in memory.
    pub(crate) fn inline<A>(&mut self, function: fn(&Client, A) -> Answer<A::Ret>)
    where
        A: CallArgs + 'static,
    {
        self.put::<A>(Handler::Inline(Box::new(move |client, call| {
            let ret = function(client, call.args::<A>()?).map_err(|Failure(error)| error)?;
            encode_reply(call.header, &ret)
        })));
    }

    /// A procedure answered at once whose answer is large: `function` gives what writes it, and
    /// about how many bytes that is.
    pub(crate) fn inline_large<A, W>(&mut self, function: fn(&Client, A) -> Answer<(usize, W)>)
    where
        A: CallArgs + 'static,
        W: FnOnce(&mut Encoder) + 'static,
    {
        self.put::<A>(Handler::Inline(Box::new(move |client, call| {
            let begun = function(client, call.args::<A>()?);
            let (room, write) = begun.map_err(|Failure(error)| error)?;
            encode_reply_by(call.header, room, write)
        })));
    }

    /// A procedure that may take time.
    pub(crate) fn task<A, F>(
        &mut self,
        function: impl Fn(Arc<Client>, A) -> F + Send + Sync + 'static,
    ) where
        A: CallArgs + 'static,
        F: Future<Output = Answer<A::Ret>> + Send + 'static,
    {
        self.put::<A>(Handler::Task(Box::new(move |client, call| {
            let begun = call.args::<A>().map(|args| function(client, args));
            Box::pin(async move {
                Ready::Packet(match begun {
                    Err(error) => Err(error),
                    Ok(future) => match future.await {
                        Ok(ret) => encode_reply(call.header, &ret),
                        Err(Failure(error)) => Err(error),
                    },
                })
            })
        })));
    }

    /// A procedure that hands over descriptors.
    pub(crate) fn with_fds<A, F>(
        &mut self,
        function: impl Fn(Arc<Client>, A) -> F + Send + Sync + 'static,
    ) where
        A: CallArgs + 'static,
        F: Future<Output = Answer<(A::Ret, Vec<OwnedFd>)>> + Send + 'static,
    {
        self.put::<A>(Handler::Task(Box::new(move |client, call| {
            let begun = call.args::<A>().map(|args| function(client, args));
            Box::pin(async move {
                Ready::WithFds(match begun {
                    Err(error) => Err(error),
                    Ok(future) => match future.await {
                        Ok((ret, fds)) => encode_reply_with_fds(call.header, &ret, fds),
                        Err(Failure(error)) => Err(error),
                    },
                })
            })
        })));
    }

    /// A procedure that takes descriptors.
    pub(crate) fn with_client_fds<A, F>(
        &mut self,
        function: impl Fn(Arc<Client>, A, Vec<OwnedFd>) -> F + Send + Sync + 'static,
    ) where
        A: CallArgs + 'static,
        F: Future<Output = Answer<A::Ret>> + Send + 'static,
    {
        self.put::<A>(Handler::Task(Box::new(move |client, mut call| {
            let fds = std::mem::take(&mut call.fds);
            let begun = call.args::<A>().map(|args| function(client, args, fds));
            Box::pin(async move {
                Ready::Packet(match begun {
                    Err(error) => Err(error),
                    Ok(future) => match future.await {
                        Ok(ret) => encode_reply(call.header, &ret),
                        Err(Failure(error)) => Err(error),
                    },
                })
            })
        })));
    }

    /// A procedure that opens a stream.
    pub(crate) fn stream<A, F>(
        &mut self,
        function: impl Fn(Arc<Client>, A) -> F + Send + Sync + 'static,
    ) where
        A: CallArgs + 'static,
        F: Future<Output = Answer<(A::Ret, Serve)>> + Send + 'static,
    {
        self.put::<A>(Handler::Task(Box::new(move |client, call| {
            let begun = call.args::<A>().map(|args| function(client, args));
            Box::pin(async move {
                let opened = match begun {
                    Err(error) => Err(error),
                    Ok(future) => future.await.map_err(|Failure(error)| error),
                };
                match opened.and_then(|(ret, serve)| Ok((encode_reply(call.header, &ret)?, serve)))
                {
                    Ok((packet, serve)) => Ready::Stream(packet, serve),
                    Err(error) => Ready::Packet(Err(error)),
                }
            })
        })));
    }
}

/// True if a read-only connection may not make this call, whatever its arguments.
pub(crate) fn writes(procedure: Procedure) -> bool {
    match procedure {
        Procedure::Remote(procedure) => procedure.writes(),
        Procedure::Qemu(procedure) => procedure.writes(),
    }
}

/// libvirt's name of the function that makes the call.
pub(crate) fn api_name(procedure: Procedure) -> String {
    match procedure {
        Procedure::Remote(procedure) => procedure.api_name(),
        Procedure::Qemu(procedure) => {
            // The functions of the QEMU program say so: virDomainQemuMonitorCommand.
            let name = procedure.api_name();
            match name.strip_prefix("virDomain") {
                Some(rest) => format!("virDomainQemu{rest}"),
                None => name.replace("virConnectDomain", "virConnectDomainQemu"),
            }
        }
    }
}

#[cfg(test)]
mod tests;
