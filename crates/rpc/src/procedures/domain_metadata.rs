//! Title, description and metadata elements.

use engine::options::{Affect, MetadataItem};
use wire::consts::flags::{VIR_DOMAIN_AFFECT_CONFIG, VIR_DOMAIN_AFFECT_LIVE};
use wire::remote::*;

use super::{check_flags, domain};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::{Answer, Failure};

pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.inline(get);
    dispatch.task(|client, args: DomainSetMetadataArgs| async move {
        let affect = affect(args.flags, "qemuDomainSetMetadata")?;
        let item = item(args.kind, args.uri)?;
        if matches!(item, MetadataItem::Element { .. })
            && args.metadata.is_some()
            && args.key.is_none()
        {
            return Err(Failure::invalid_arg(
                "key in virDomainSetMetadata must not be NULL",
            ));
        }
        let handle = domain(&client, &args.dom)?;
        Ok(handle
            .set_metadata(item, args.metadata, args.key, affect)
            .await?)
    });
}

/// Which of the definitions a call is about.
pub(super) fn affect(flags: u32, function: &str) -> Answer<Affect> {
    check_flags(
        flags,
        VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG,
        function,
    )?;
    Ok(Affect {
        live: flags & VIR_DOMAIN_AFFECT_LIVE != 0,
        config: flags & VIR_DOMAIN_AFFECT_CONFIG != 0,
    })
}

fn item(kind: i32, uri: Option<String>) -> Answer<MetadataItem> {
    match (kind, uri) {
        (0, _) => Ok(MetadataItem::Description),
        (1, _) => Ok(MetadataItem::Title),
        (2, Some(uri)) => Ok(MetadataItem::Element { uri }),
        (2, None) => Err(Failure::invalid_arg(
            "uri in virDomainGetMetadata must not be NULL",
        )),
        (other, _) => Err(Failure::invalid_arg(format!(
            "unknown metadata type {other}"
        ))),
    }
}

fn get(client: &Client, args: DomainGetMetadataArgs) -> Answer<DomainGetMetadataRet> {
    let affect = affect(args.flags, "qemuDomainGetMetadata")?;
    let item = item(args.kind, args.uri)?;
    Ok(DomainGetMetadataRet {
        metadata: domain(client, &args.dom)?.metadata(&item, affect)?,
    })
}
