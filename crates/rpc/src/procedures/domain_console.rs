//! What a person sees of a machine and does to it by hand: console, screen, keyboard.

use std::io::Read;
use std::sync::Arc;

use engine::{ConsoleOutput, ConsoleViewer, EngineError};
use wire::connection::StreamPacket;
use wire::consts::flags::*;
use wire::errors::{ErrorCode, ErrorDomain};
use wire::frame::STREAM_DATA_MAX_BYTES;
use wire::remote::*;

use super::{check_flags, domain};
use crate::client::Client;
use crate::dispatch::{Dispatch, Serve};
use crate::failure::{Answer, Failure};
use crate::stream::StreamEnd;

/// The key codes that QEMU takes as they are: Linux's.
const CODESET_LINUX: u32 = 0;
/// The code set of keyboards of PCs (`VIR_KEYCODE_SET_XT`), which agrees with Linux's in its first
/// codes.
const CODESET_XT: u32 = 1;

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.stream(open_console);
    dispatch.stream(screenshot);
    dispatch.task(send_key);
    dispatch.task(|client, args: DomainInjectNmiArgs| async move {
        check_flags(args.flags, 0, "qemuDomainInjectNMI")?;
        Ok(domain(&client, &args.dom)?.inject_nmi().await?)
    });
    dispatch.task(|client, args: DomainPmWakeupArgs| async move {
        check_flags(args.flags, 0, "qemuDomainPMWakeup")?;
        Ok(domain(&client, &args.dom)?.wake().await?)
    });
    dispatch.with_fds(|client, args: DomainOpenGraphicsFdArgs| async move {
        check_flags(
            args.flags,
            VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH,
            "qemuDomainOpenGraphicsFD",
        )?;
        let skip_auth = args.flags & VIR_DOMAIN_OPEN_GRAPHICS_SKIPAUTH != 0;
        let handle = domain(&client, &args.dom)?;
        let fd = handle.open_graphics(args.idx as usize, skip_auth).await?;
        Ok(((), vec![fd]))
    });
    dispatch.with_client_fds(|client, args: DomainFdAssociateArgs, fds| async move {
        // Nothing is labelled, so there is nothing to allow or to put back.
        const KNOWN: u32 =
            VIR_DOMAIN_FD_ASSOCIATE_SECLABEL_RESTORE | VIR_DOMAIN_FD_ASSOCIATE_SECLABEL_WRITABLE;
        check_flags(args.flags, KNOWN, "qemuDomainFDAssociate")?;
        let handle = domain(&client, &args.dom)?;
        Ok(handle.associate(&client.engine, client.session, &args.name, fds)?)
    });
}

/// With FORCE everybody else is sent away. Without it several see the same: libvirt lets only one
/// in, which is no help to the second.
async fn open_console(client: Arc<Client>, args: DomainOpenConsoleArgs) -> Answer<((), Serve)> {
    const KNOWN: u32 = VIR_DOMAIN_CONSOLE_FORCE | VIR_DOMAIN_CONSOLE_SAFE;
    check_flags(args.flags, KNOWN, "qemuDomainOpenConsole")?;
    let handle = domain(&client, &args.dom)?;
    let alone = args.flags & VIR_DOMAIN_CONSOLE_FORCE != 0;
    let viewer = handle.open_console(args.dev_name.as_deref(), alone)?;
    let serve: Serve = Box::new(move |end| Box::pin(serve_console(end, viewer)));
    Ok(((), serve))
}

async fn serve_console(mut end: StreamEnd, mut viewer: ConsoleViewer) {
    let writer = viewer.writer();
    loop {
        tokio::select! {
            output = viewer.next() => match output {
                ConsoleOutput::Bytes(bytes) => {
                    if end.send(&bytes).await.is_err() {
                        return;
                    }
                }
                ConsoleOutput::Lost(_) => {}
                ConsoleOutput::TakenOver => {
                    return end.fail(stream_error("another client has taken the console over"));
                }
                ConsoleOutput::End => return end.end_of_data(()).await,
            },
            input = end.receive() => match input {
                Some(StreamPacket::Data(bytes)) => {
                    if let Err(error) = writer.write(&bytes).await {
                        return end.fail(engine_error(error));
                    }
                }
                Some(StreamPacket::Finish) => return end.finish(),
                Some(StreamPacket::Hole(_)) => {
                    return end.fail(stream_error("a console takes no holes"));
                }
                Some(StreamPacket::Abort) | None => return,
            },
        }
    }
}

fn stream_error(detail: &str) -> Box<RpcError> {
    RpcError::new(ErrorCode::OperationFailed, ErrorDomain::Streams, detail)
}

fn engine_error(error: EngineError) -> Box<RpcError> {
    let Failure(error) = error.into();
    error
}

async fn screenshot(
    client: Arc<Client>,
    args: DomainScreenshotArgs,
) -> Answer<(DomainScreenshotRet, Serve)> {
    check_flags(args.flags, 0, "qemuDomainScreenshot")?;
    let picture = domain(&client, &args.dom)?.screenshot(args.screen).await?;
    let ret = DomainScreenshotRet {
        mime: Some(picture.mime.to_string()),
    };
    let serve: Serve = Box::new(move |end| Box::pin(serve_file(end, picture.file)));
    Ok((ret, serve))
}

/// Sends a file to its end. It lies in memory or on a local disk: reading it takes no time that
/// would need another thread.
async fn serve_file(mut end: StreamEnd, mut file: std::fs::File) {
    let mut buffer = vec![0; STREAM_DATA_MAX_BYTES];
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return end.end_of_data(()).await,
            Ok(count) => {
                if end.send(&buffer[..count]).await.is_err() {
                    return;
                }
            }
            Err(error) => return end.fail(stream_error(&format!("cannot read: {error}"))),
        }
    }
}

async fn send_key(client: Arc<Client>, args: DomainSendKeyArgs) -> Answer<()> {
    check_flags(args.flags, 0, "qemuDomainSendKey")?;
    if args.keycodes.is_empty() {
        return Err(Failure::invalid_arg(
            "keycodes in virDomainSendKey must not be NULL",
        ));
    }
    // Up to 83 the XT codes are Linux's.
    let is_linux = args.codeset == CODESET_LINUX
        || (args.codeset == CODESET_XT && args.keycodes.iter().all(|&code| code <= 83));
    if !is_linux {
        return Err(Failure::argument_unsupported(format!(
            "key codes of set {} are not supported; use those of set 'linux'",
            args.codeset
        )));
    }
    let hold_ms = (args.holdtime != 0).then_some(args.holdtime);
    Ok(domain(&client, &args.dom)?
        .send_keys(&args.keycodes, hold_ms)
        .await?)
}
