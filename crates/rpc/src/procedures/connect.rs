//! The connection as a whole: what hypervisor this is, what it can do.

use sys::host::Host;
use wire::remote::*;

use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::Answer;

/// The version of libvirt whose protocol this face speaks, as libvirt counts: 1,000,000 times the
/// major, 1,000 times the minor version.
const LIBVIRT_VERSION: u64 = 11_003_000;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.inline(get_type);
    dispatch.inline(get_lib_version);
    dispatch.inline(get_uri);
    dispatch.inline(is_secure);
    dispatch.task(|_, _: ConnectGetHostnameArgs| async {
        // The resolver may ask a name server.
        let name = tokio::task::spawn_blocking(|| Host::new().full_name()).await;
        let hostname = name.unwrap_or_else(|_| Host::new().names().name);
        Ok(ConnectGetHostnameRet { hostname })
    });
}

fn get_type(_: &Client, _: ConnectGetTypeArgs) -> Answer<ConnectGetTypeRet> {
    Ok(ConnectGetTypeRet {
        kind: "QEMU".into(),
    })
}

fn get_lib_version(_: &Client, _: ConnectGetLibVersionArgs) -> Answer<ConnectGetLibVersionRet> {
    Ok(ConnectGetLibVersionRet {
        lib_ver: LIBVIRT_VERSION,
    })
}

fn get_uri(client: &Client, _: ConnectGetUriArgs) -> Answer<ConnectGetUriRet> {
    Ok(ConnectGetUriRet {
        uri: client.uri().unwrap_or_default(),
    })
}

/// A unix socket cannot be listened to by others.
fn is_secure(_: &Client, _: ConnectIsSecureArgs) -> Answer<ConnectIsSecureRet> {
    Ok(ConnectIsSecureRet { secure: 1 })
}
