//! Procedures about the connection itself: proving who one is, opening it, its features, and what
//! events it wants. They are answered by the session, which alone can act on them.

use wire::connection::{Call, encode_reply};
use wire::errors::{ErrorCode, ErrorDomain};
use wire::procedure::Call as CallArgs;
use wire::remote::*;

use crate::client::{Client, Opened};
use crate::failure::{Answer, Failure};
use crate::notices::{Family, Key};
use wire::consts::flags::VIR_CONNECT_RO;

/// `REMOTE_AUTH_NONE`: nothing more to prove than the socket's permissions did.
const AUTH_NONE: i32 = 0;
/// The older way of wanting all life-cycle events.
const LIFECYCLE: i32 = wire::consts::event::VIR_DOMAIN_EVENT_ID_LIFECYCLE;

/// What the session must do besides answering.
#[derive(Debug, PartialEq)]
pub(crate) enum Effect {
    /// Nothing.
    Nothing,
    /// Ping the client from now on.
    StartKeepalive,
    /// Look at the subscriptions again.
    SubscriptionsChanged,
}

/// True if the session answers the procedure itself.
pub(crate) fn by_connection(procedure: Procedure) -> bool {
    use Procedure::*;
    before_open(procedure)
        || matches!(
            procedure,
            ConnectClose
                | ConnectRegisterCloseCallback
                | ConnectUnregisterCloseCallback
                | ConnectDomainEventRegister
                | ConnectDomainEventDeregister
                | ConnectDomainEventRegisterAny
                | ConnectDomainEventDeregisterAny
                | ConnectDomainEventCallbackRegisterAny
                | ConnectDomainEventCallbackDeregisterAny
                | ConnectStoragePoolEventRegisterAny
                | ConnectStoragePoolEventDeregisterAny
                | ConnectNetworkEventRegisterAny
                | ConnectNetworkEventDeregisterAny
                | ConnectSecretEventRegisterAny
                | ConnectSecretEventDeregisterAny
                | ConnectNodeDeviceEventRegisterAny
                | ConnectNodeDeviceEventDeregisterAny
        )
}

/// True if the procedure may come before CONNECT_OPEN.
pub(crate) fn before_open(procedure: Procedure) -> bool {
    use Procedure::*;
    matches!(
        procedure,
        AuthList
            | AuthPolkit
            | AuthSaslInit
            | AuthSaslStart
            | AuthSaslStep
            | ConnectOpen
            | ConnectSupportsFeature
    )
}

type Told = Result<Vec<u8>, Box<RpcError>>;

/// Answers one of these procedures.
pub(crate) fn answer(client: &Client, procedure: Procedure, call: &Call) -> (Told, Effect) {
    use Procedure::*;
    let subscribed = |told: Told| match told.is_ok() {
        true => (told, Effect::SubscriptionsChanged),
        false => (told, Effect::Nothing),
    };
    match procedure {
        ConnectSupportsFeature => supports_feature(call),
        ConnectDomainEventRegister => {
            subscribed(with(call, |_: ConnectDomainEventRegisterArgs| {
                client.subscriptions().register_legacy(LIFECYCLE)?;
                Ok(ConnectDomainEventRegisterRet { cb_registered: 1 })
            }))
        }
        ConnectDomainEventDeregister => {
            subscribed(with(call, |_: ConnectDomainEventDeregisterArgs| {
                client.subscriptions().deregister_legacy(LIFECYCLE)?;
                Ok(ConnectDomainEventDeregisterRet { cb_registered: 0 })
            }))
        }
        ConnectDomainEventRegisterAny => {
            subscribed(with(call, |args: ConnectDomainEventRegisterAnyArgs| {
                client.subscriptions().register_legacy(args.event_id)
            }))
        }
        ConnectDomainEventDeregisterAny => {
            subscribed(with(call, |args: ConnectDomainEventDeregisterAnyArgs| {
                client.subscriptions().deregister_legacy(args.event_id)
            }))
        }
        ConnectDomainEventCallbackRegisterAny => subscribed(with(
            call,
            |args: ConnectDomainEventCallbackRegisterAnyArgs| {
                let domain = args.dom.map(|dom| dom.uuid);
                let callback_id = client.subscriptions().register(args.event_id, domain)?;
                Ok(ConnectDomainEventCallbackRegisterAnyRet { callback_id })
            },
        )),
        ConnectDomainEventCallbackDeregisterAny => subscribed(with(
            call,
            |args: ConnectDomainEventCallbackDeregisterAnyArgs| {
                client.subscriptions().deregister(args.callback_id)
            },
        )),
        ConnectStoragePoolEventRegisterAny => subscribed(with(
            call,
            |args: ConnectStoragePoolEventRegisterAnyArgs| {
                let pool = args.pool.map(|pool| Key::Uuid(pool.uuid));
                let mut wanted = client.notice_subscriptions();
                let callback_id = wanted.register(Family::Pool, args.event_id, pool)?;
                Ok(ConnectStoragePoolEventRegisterAnyRet { callback_id })
            },
        )),
        ConnectStoragePoolEventDeregisterAny => subscribed(with(
            call,
            |args: ConnectStoragePoolEventDeregisterAnyArgs| {
                let mut wanted = client.notice_subscriptions();
                wanted.deregister(Family::Pool, args.callback_id)
            },
        )),
        ConnectNetworkEventRegisterAny => {
            subscribed(with(call, |args: ConnectNetworkEventRegisterAnyArgs| {
                let net = args.net.map(|net| Key::Uuid(net.uuid));
                let mut wanted = client.notice_subscriptions();
                let callback_id = wanted.register(Family::Network, args.event_id, net)?;
                Ok(ConnectNetworkEventRegisterAnyRet { callback_id })
            }))
        }
        ConnectNetworkEventDeregisterAny => {
            subscribed(with(call, |args: ConnectNetworkEventDeregisterAnyArgs| {
                let mut wanted = client.notice_subscriptions();
                wanted.deregister(Family::Network, args.callback_id)
            }))
        }
        ConnectSecretEventRegisterAny => {
            subscribed(with(call, |args: ConnectSecretEventRegisterAnyArgs| {
                let secret = args.secret.map(|secret| Key::Uuid(secret.uuid));
                let mut wanted = client.notice_subscriptions();
                let callback_id = wanted.register(Family::Secret, args.event_id, secret)?;
                Ok(ConnectSecretEventRegisterAnyRet { callback_id })
            }))
        }
        ConnectSecretEventDeregisterAny => {
            subscribed(with(call, |args: ConnectSecretEventDeregisterAnyArgs| {
                let mut wanted = client.notice_subscriptions();
                wanted.deregister(Family::Secret, args.callback_id)
            }))
        }
        ConnectNodeDeviceEventRegisterAny => {
            subscribed(with(call, |args: ConnectNodeDeviceEventRegisterAnyArgs| {
                let listener = client.engine.listen_to_devices()?;
                let device = args.dev.map(|dev| dev.name);
                let mut wanted = client.notice_subscriptions();
                let callback_id = wanted.register_device(args.event_id, device, listener)?;
                Ok(ConnectNodeDeviceEventRegisterAnyRet { callback_id })
            }))
        }
        ConnectNodeDeviceEventDeregisterAny => subscribed(with(
            call,
            |args: ConnectNodeDeviceEventDeregisterAnyArgs| {
                let mut wanted = client.notice_subscriptions();
                wanted.deregister(Family::NodeDevice, args.callback_id)
            },
        )),
        _ => (plain(client, procedure, call), Effect::Nothing),
    }
}

/// Those that only answer.
fn plain(client: &Client, procedure: Procedure, call: &Call) -> Told {
    use Procedure::*;
    match procedure {
        AuthList => with(call, |_: AuthListArgs| {
            Ok(AuthListRet {
                types: vec![AUTH_NONE],
            })
        }),
        ConnectOpen => with(call, |args| open(client, args)),
        // The client closes the socket next; what it has running with autodestroy ends with that.
        ConnectClose => with(call, |_: ConnectCloseArgs| Ok(())),
        ConnectRegisterCloseCallback => with(call, |_: ConnectRegisterCloseCallbackArgs| Ok(())),
        ConnectUnregisterCloseCallback => {
            with(call, |_: ConnectUnregisterCloseCallbackArgs| Ok(()))
        }
        // No kind of authentication was offered, so none can be begun.
        _ => Err(RpcError::new(
            ErrorCode::AuthFailed,
            ErrorDomain::Rpc,
            "authentication failed",
        )),
    }
}

fn with<A: CallArgs>(call: &Call, function: impl FnOnce(A) -> Answer<A::Ret>) -> Told {
    let ret = function(call.args::<A>()?).map_err(|Failure(error)| error)?;
    encode_reply(call.header, &ret)
}

/// libvirt's numbers of features (`virDrvFeature`) that this face has.
mod feature {
    pub(super) const FD_PASSING: i32 = 8;
    pub(super) const TYPED_PARAM_STRING: i32 = 9;
    pub(super) const PROGRAM_KEEPALIVE: i32 = 10;
    pub(super) const REMOTE_EVENT_CALLBACK: i32 = 14;
    pub(super) const REMOTE_CLOSE_CALLBACK: i32 = 15;
    /// NETWORK_UPDATE has its command before its section: without it clients swap the two.
    pub(super) const NETWORK_UPDATE_HAS_CORRECT_ORDER: i32 = 16;
}

fn supports_feature(call: &Call) -> (Told, Effect) {
    let mut effect = Effect::Nothing;
    let told = with(call, |args: ConnectSupportsFeatureArgs| {
        if args.feature == feature::PROGRAM_KEEPALIVE {
            effect = Effect::StartKeepalive;
        }
        let supported = matches!(
            args.feature,
            feature::FD_PASSING
                | feature::TYPED_PARAM_STRING
                | feature::PROGRAM_KEEPALIVE
                | feature::REMOTE_EVENT_CALLBACK
                | feature::REMOTE_CLOSE_CALLBACK
                | feature::NETWORK_UPDATE_HAS_CORRECT_ORDER
        );
        Ok(ConnectSupportsFeatureRet {
            supported: i32::from(supported),
        })
    });
    (told, effect)
}

fn open(client: &Client, args: ConnectOpenArgs) -> Answer<()> {
    if client.is_open() {
        return Err(Failure(RpcError::new(
            ErrorCode::InternalError,
            ErrorDomain::Rpc,
            "connection already open",
        )));
    }
    let uri = served_uri(args.name.as_deref())?;
    client.open(Opened { uri }, args.flags & VIR_CONNECT_RO != 0);
    Ok(())
}

/// The URI that a client has opened, or why there is nothing behind it here.
fn served_uri(name: Option<&str>) -> Answer<String> {
    let name = name.unwrap_or("").trim();
    let bare = name.split(['?', '#']).next().unwrap_or("");
    match bare {
        "" | "qemu:///system" | "qemu:" | "qemu:///" => Ok("qemu:///system".into()),
        "qemu:///session" => Ok("qemu:///session".into()),
        _ => match bare.strip_prefix("qemu:///") {
            Some(path) => Err(Failure::new(
                ErrorCode::InternalError,
                format!("unexpected QEMU URI path '/{path}', try qemu:///system"),
            )),
            None => Err(Failure(RpcError::new(
                ErrorCode::NoConnect,
                ErrorDomain::None,
                name,
            ))),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_qemu_is_behind_the_socket() {
        for (asked, served) in [
            (None, "qemu:///system"),
            (Some(""), "qemu:///system"),
            (Some("qemu:///system"), "qemu:///system"),
            (Some("qemu:///system?no_verify=1"), "qemu:///system"),
            (Some("qemu:///session"), "qemu:///session"),
        ] {
            assert_eq!(served_uri(asked).unwrap(), served);
        }
        let Failure(error) = served_uri(Some("xen:///system")).unwrap_err();
        assert_eq!(
            error.text(),
            "no connection driver available for xen:///system"
        );
        let Failure(error) = served_uri(Some("qemu:///other")).unwrap_err();
        assert_eq!(
            error.text(),
            "internal error: unexpected QEMU URI path '/other', try qemu:///system"
        );
    }
}
