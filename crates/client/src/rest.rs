//! The REST API from the client's side: one request at a time over a unix
//! socket, or over ssh to one.

use api::{Event, Job, Problem};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::runtime::Runtime;

use crate::dial::{Dialled, dial_rest};
use crate::{Error, Origin, Uri, os_message};

/// Bytes of an answer that is read whole.
const ANSWER_MAX_BYTES: usize = 64 * 1024 * 1024;
/// Bytes of one event.
const EVENT_MAX_BYTES: usize = 4 * 1024 * 1024;

type Body = Full<Bytes>;

/// A connection to a daemon's REST API.
#[derive(Debug)]
pub struct Rest {
    runtime: Runtime,
    sender: http1::SendRequest<Body>,
    dialled: Dialled,
    readonly: bool,
    /// Whether an answer is under way that nobody reads any more: the daemon may go on with it
    /// for long.
    broken_off: bool,
}

impl Rest {
    /// Connects to the daemon that `uri` names, whichever of its sockets that is.
    ///
    /// # Errors
    /// If no Stead answers there; a libvirtd has no such socket.
    pub fn open(uri: &Uri, readonly: bool) -> Result<Rest, Error> {
        let dialled = dial_rest(uri)?;
        let failed = |e: std::io::Error| {
            Error::local(
                Origin::Connecting,
                format!("cannot connect: {}", os_message(&e)),
            )
        };
        // One thread for the connection and for what is asked of it: on two, a request that is
        // handed over while hyper puts a lost connection away is never answered (hyper #4122).
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(failed)?;
        let socket = dialled.socket.try_clone().map_err(failed)?;
        socket.set_nonblocking(true).map_err(failed)?;
        let sender = runtime.block_on(async {
            let socket = tokio::net::UnixStream::from_std(socket).map_err(failed)?;
            let (sender, connection) = http1::handshake(TokioIo::new(socket))
                .await
                .map_err(|e| lost(&e))?;
            tokio::spawn(connection);
            Ok::<_, Error>(sender)
        })?;
        Ok(Rest {
            runtime,
            sender,
            dialled,
            readonly,
            broken_off: false,
        })
    }

    /// Whether the connection is of no more use. Nobody reads it between two requests, so the
    /// socket itself is asked.
    pub fn is_closed(&self) -> bool {
        self.broken_off || self.sender.is_closed() || sys::unix::is_hung_up(&self.dialled.socket)
    }

    /// Asks for what is at `path`, which begins behind [`api::BASE`].
    ///
    /// # Errors
    /// The daemon's, or what happened to the connection.
    pub fn get<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Error> {
        self.exchange(Method::GET, path, None)
    }

    /// Sends `body` to `path`.
    ///
    /// # Errors
    /// As [`Rest::get`]; any on a read-only connection.
    pub fn post<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        self.exchange(Method::POST, path, Some(encode(body)?))
    }

    /// Puts `body` at `path`.
    ///
    /// # Errors
    /// As [`Rest::post`].
    pub fn put<T: DeserializeOwned>(
        &mut self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Error> {
        self.exchange(Method::PUT, path, Some(encode(body)?))
    }

    /// Removes what is at `path`.
    ///
    /// # Errors
    /// As [`Rest::post`].
    pub fn delete<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Error> {
        self.exchange(Method::DELETE, path, None)
    }

    /// Follows a job until it is over; `each` sees it after every change and may
    /// say that this is enough.
    ///
    /// # Errors
    /// If the connection ends before the job does.
    pub fn follow(&mut self, id: u64, mut each: impl FnMut(&Job) -> bool) -> Result<Job, Error> {
        let request = request(Method::GET, &format!("/jobs/{id}/events"), None)?;
        let Rest {
            runtime,
            sender,
            broken_off,
            ..
        } = self;
        let mut each = |job: &Job| {
            *broken_off = each(job);
            *broken_off
        };
        let followed = runtime.block_on(async {
            let answer = ask(sender, request).await?;
            last_of(answer.into_body(), &mut each).await
        });
        followed.map_err(|error| self.dialled.explain(error))
    }

    /// Passes what is at `path` on as it comes, until its end or until `each` says that this is
    /// enough.
    ///
    /// # Errors
    /// As [`Rest::get`].
    pub fn stream(&mut self, path: &str, mut each: impl FnMut(&[u8]) -> bool) -> Result<(), Error> {
        let request = request(Method::GET, path, None)?;
        let Rest {
            runtime,
            sender,
            broken_off,
            ..
        } = self;
        let streamed = runtime.block_on(async {
            let mut body = ask(sender, request).await?.into_body();
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(|e| lost(&e))?;
                if frame.data_ref().is_some_and(|data| each(data)) {
                    *broken_off = true;
                    break;
                }
            }
            Ok(())
        });
        streamed.map_err(|error| self.dialled.explain(error))
    }

    fn exchange<T: DeserializeOwned>(
        &mut self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
    ) -> Result<T, Error> {
        if self.readonly && method != Method::GET {
            return Err(Error::local(
                Origin::Address,
                "a read-only connection can change nothing: leave -r away",
            ));
        }
        let request = request(method, path, body)?;
        let Rest {
            runtime, sender, ..
        } = self;
        let answered = runtime.block_on(async { read(ask(sender, request).await?).await });
        let bytes = answered.map_err(|error| self.dialled.explain(error))?;
        serde_json::from_slice(&bytes).map_err(|e| unreadable(&e))
    }
}

/// A name as one segment of a path.
pub fn segment(name: &str) -> String {
    let mut out = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                out.push(char::from(byte));
            }
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

fn encode(body: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(body).map_err(|e| unreadable(&e))
}

fn request(method: Method, path: &str, body: Option<Vec<u8>>) -> Result<Request<Body>, Error> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{}{path}", api::BASE))
        .header("host", "stead");
    if body.is_some() {
        request = request.header("content-type", "application/json");
    }
    request
        .body(Body::from(body.unwrap_or_default()))
        .map_err(|e| unreadable(&e))
}

/// Sends a request; its answer, unless that is a refusal.
async fn ask(
    sender: &mut http1::SendRequest<Body>,
    request: Request<Body>,
) -> Result<Response<Incoming>, Error> {
    // The connection's own task may still be busy with the end of the answer before.
    sender.ready().await.map_err(|e| lost(&e))?;
    checked(sender.send_request(request).await.map_err(|e| lost(&e))?).await
}

async fn checked(response: Response<Incoming>) -> Result<Response<Incoming>, Error> {
    let status = response.status();
    if status.is_success() {
        return Ok(response);
    }
    let bytes = read(response).await?;
    let message = match serde_json::from_slice::<Problem>(&bytes) {
        Ok(problem) => problem.message,
        // A refusal of the HTTP layer itself comes as text.
        Err(_) => format!("{status}: {}", String::from_utf8_lossy(&bytes)),
    };
    let origin = match status {
        StatusCode::NOT_IMPLEMENTED => Origin::Address,
        _ => Origin::Daemon,
    };
    Err(Error::local(origin, message))
}

async fn read(response: Response<Incoming>) -> Result<Bytes, Error> {
    let body = Limited::new(response.into_body(), ANSWER_MAX_BYTES);
    let whole = body.collect().await;
    whole.map(|all| all.to_bytes()).map_err(|e| {
        Error::local(
            Origin::Lost,
            format!("the answer of the daemon broke off: {e}"),
        )
    })
}

/// Reads server-sent events until the stream ends; the last job told is the result.
async fn last_of(mut body: Incoming, each: &mut impl FnMut(&Job) -> bool) -> Result<Job, Error> {
    let mut last = None;
    let mut lines = Lines::default();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|e| lost(&e))?;
        let Some(data) = frame.data_ref() else {
            continue;
        };
        for event in lines.take(data)? {
            if let Event::Job(job) = event {
                if each(&job) {
                    return Ok(job);
                }
                last = Some(job);
            }
        }
    }
    last.filter(|job: &Job| job.state.is_over())
        .ok_or_else(Error::closed)
}

/// The part of a stream of events that is not yet a whole line.
#[derive(Default)]
struct Lines {
    pending: Vec<u8>,
}

impl Lines {
    /// The events that these bytes complete. Each event is one `data:` line;
    /// comments and blank lines are no events.
    fn take(&mut self, data: &[u8]) -> Result<Vec<Event>, Error> {
        self.pending.extend_from_slice(data);
        let mut events = Vec::new();
        while let Some(end) = self.pending.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            if let Some(json) = line.strip_prefix(b"data:") {
                events.push(serde_json::from_slice(json).map_err(|e| unreadable(&e))?);
            }
        }
        if self.pending.len() > EVENT_MAX_BYTES {
            return Err(unreadable(&"an event without an end"));
        }
        Ok(events)
    }
}

fn lost(error: &hyper::Error) -> Error {
    Error::local(
        Origin::Lost,
        format!("the connection to the daemon was lost: {error}"),
    )
}

fn unreadable(error: &dyn std::fmt::Display) -> Error {
    Error::local(
        Origin::Protocol,
        format!("cannot read the daemon's answer: {error}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};

    /// A daemon that says one thing to whoever connects, and then what `end` does.
    fn open(answer: &'static str, end: impl FnOnce(UnixStream) + Send + 'static) -> Rest {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("libvirt-sock");
        let listener = UnixListener::bind(socket.with_file_name(api::SOCKET_NAME)).unwrap();
        std::thread::spawn(move || {
            let (mut taken, _) = listener.accept().unwrap();
            let mut question = [0; 1024];
            assert!(taken.read(&mut question).unwrap() > 0);
            taken.write_all(answer.as_bytes()).unwrap();
            end(taken);
        });
        let uri = format!("qemu+unix:///system?socket={}", socket.display());
        Rest::open(&Uri::parse(&uri).unwrap(), false).unwrap()
    }

    #[test]
    fn a_connection_that_the_daemon_has_left_is_known_to_be_closed() {
        let (gone, is_gone) = std::sync::mpsc::channel();
        let mut rest = open(
            "HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n7",
            move |taken| {
                drop(taken);
                gone.send(()).unwrap();
            },
        );
        assert_eq!(rest.get::<u32>("/seven").unwrap(), 7);
        is_gone.recv().unwrap();
        assert!(rest.is_closed());
        assert_eq!(rest.get::<u32>("/seven").unwrap_err().origin, Origin::Lost);
    }

    #[test]
    fn a_connection_with_an_answer_that_nobody_reads_is_of_no_more_use() {
        let (done, is_done) = std::sync::mpsc::channel::<()>();
        let endless = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n";
        let mut rest = open(endless, move |_taken| _ = is_done.recv());
        rest.stream("/letters", |data| data == b"abc").unwrap();
        assert!(rest.is_closed());
        drop(done);
    }

    const EVENT: &str = r#"{"type":"domain","name":"a","uuid":"u","event":"started"}"#;

    proptest! {
        #[test]
        fn events_come_out_however_they_are_cut(cuts in proptest::collection::vec(1usize..40, 1..30)) {
            let text = format!(": alive\n\ndata:{EVENT}\n\ndata: {EVENT}\n\n");
            let mut bytes = text.as_bytes();
            let mut lines = Lines::default();
            let mut events = Vec::new();
            for cut in cuts.into_iter().cycle() {
                let (now, later) = bytes.split_at(cut.min(bytes.len()));
                events.extend(lines.take(now).unwrap());
                bytes = later;
                if bytes.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(events.len(), 2);
        }

        #[test]
        fn no_stream_is_too_strange(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            _ = Lines::default().take(&data);
        }
    }
}
