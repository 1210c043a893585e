//! Secrets: lists, definitions, values, events.

use std::sync::Arc;

use engine::secrets::{SecretValue, SecretView};
use model::schema::Schema;
use model::secret::SecretUse;
use wire::remote::*;

use super::{check_flags, not_negative, validate};
use crate::client::Client;
use crate::dispatch::Dispatch;
use crate::failure::Answer;

/// `VIR_CONNECT_LIST_SECRETS_*`.
mod list {
    pub(super) const EPHEMERAL: u32 = 1;
    pub(super) const NO_EPHEMERAL: u32 = 2;
    pub(super) const PRIVATE: u32 = 4;
    pub(super) const NO_PRIVATE: u32 = 8;
    pub(super) const ALL: u32 = 15;
}
/// `VIR_SECRET_DEFINE_VALIDATE`.
const DEFINE_VALIDATE: u32 = 1;
pub(super) fn register(dispatch: &mut Dispatch) {
    dispatch.inline(count);
    dispatch.inline(list_uuids);
    dispatch.inline(list_all);
    dispatch.inline(lookup_by_uuid);
    dispatch.inline(lookup_by_usage);
    dispatch.inline(get_xml_desc);
    dispatch.inline(get_value);
    dispatch.task(|client, args: SecretDefineXmlArgs| async move {
        check_flags(args.flags, DEFINE_VALIDATE, "secretDefineXML")?;
        validate(args.flags, DEFINE_VALIDATE, Schema::Secret, &args.xml)?;
        let secret = client.engine.define_secret(&args.xml).await?;
        Ok(SecretDefineXmlRet {
            secret: remote(&secret),
        })
    });
    dispatch.task(|client, args: SecretSetValueArgs| async move {
        check_flags(args.flags, 0, "secretSetValue")?;
        let uuid = secret(&client, &args.secret)?.uuid;
        let value = SecretValue::new(&args.value);
        Ok(client.engine.set_secret_value(uuid, value).await?)
    });
    dispatch.task(|client, args: SecretUndefineArgs| async move {
        let uuid = secret(&client, &args.secret)?.uuid;
        Ok(client.engine.undefine_secret(uuid).await?)
    });
}

/// libvirt's number of what uses a secret.
fn use_number(used_by: SecretUse) -> i32 {
    let numbered = (0i32..).zip(SecretUse::ALL);
    numbered
        .into_iter()
        .find(|(_, known)| *known == used_by)
        .map_or(0, |(number, _)| number)
}

pub(crate) fn remote(secret: &SecretView) -> RemoteSecret {
    RemoteSecret {
        uuid: secret.uuid.into_bytes(),
        usage_type: use_number(secret.definition.used_by),
        usage_id: secret.definition.usage.clone(),
    }
}

/// The secret a client means.
fn secret(client: &Client, secret: &RemoteSecret) -> Answer<Arc<SecretView>> {
    let uuid = uuid::Uuid::from_bytes(secret.uuid);
    Ok(client.engine.secret_by_uuid(uuid)?)
}

fn count(client: &Client, _: ConnectNumOfSecretsArgs) -> Answer<ConnectNumOfSecretsRet> {
    let count = client.engine.secrets().len();
    Ok(ConnectNumOfSecretsRet {
        num: i32::try_from(count).unwrap_or(i32::MAX),
    })
}

fn list_uuids(client: &Client, args: ConnectListSecretsArgs) -> Answer<ConnectListSecretsRet> {
    let max = not_negative(args.maxuuids, "maxuuids", "virConnectListSecrets")?;
    let secrets = client.engine.secrets().into_iter().take(max);
    Ok(ConnectListSecretsRet {
        uuids: secrets.map(|secret| secret.uuid.to_string()).collect(),
    })
}

fn list_all(client: &Client, args: ConnectListAllSecretsArgs) -> Answer<ConnectListAllSecretsRet> {
    check_flags(args.flags, list::ALL, "connectListAllSecrets")?;
    let secrets: Vec<RemoteSecret> = client
        .engine
        .secrets()
        .iter()
        .filter(|secret| is_wanted(secret, args.flags))
        .map(|secret| remote(secret))
        .collect();
    let ret = secrets.len() as u32;
    Ok(ConnectListAllSecretsRet {
        secrets: match args.need_results {
            0 => Vec::new(),
            _ => secrets,
        },
        ret,
    })
}

fn is_wanted(secret: &SecretView, flags: u32) -> bool {
    let definition = &secret.definition;
    let groups = [
        (list::EPHEMERAL, list::NO_EPHEMERAL, definition.ephemeral),
        (list::PRIVATE, list::NO_PRIVATE, definition.private),
    ];
    groups
        .iter()
        .all(|(yes, no, is)| flags & (yes | no) == 0 || flags & (if *is { yes } else { no }) != 0)
}

fn lookup_by_uuid(client: &Client, args: SecretLookupByUuidArgs) -> Answer<SecretLookupByUuidRet> {
    let uuid = uuid::Uuid::from_bytes(args.uuid);
    let secret = remote(&*client.engine.secret_by_uuid(uuid)?);
    Ok(SecretLookupByUuidRet { secret })
}

fn lookup_by_usage(
    client: &Client,
    args: SecretLookupByUsageArgs,
) -> Answer<SecretLookupByUsageRet> {
    let number = usize::try_from(args.usage_type).ok();
    let used_by = number.and_then(|number| SecretUse::ALL.get(number));
    // A use nobody knows is nobody's.
    let used_by = used_by.copied().unwrap_or_default();
    let found = client.engine.secret_by_usage(used_by, &args.usage_id)?;
    Ok(SecretLookupByUsageRet {
        secret: remote(&found),
    })
}

fn get_xml_desc(client: &Client, args: SecretGetXmlDescArgs) -> Answer<SecretGetXmlDescRet> {
    check_flags(args.flags, 0, "secretGetXMLDesc")?;
    Ok(SecretGetXmlDescRet {
        xml: secret(client, &args.secret)?.definition.to_xml(),
    })
}

fn get_value(client: &Client, args: SecretGetValueArgs) -> Answer<SecretGetValueRet> {
    check_flags(args.flags, 0, "secretGetValue")?;
    let uuid = secret(client, &args.secret)?.uuid;
    let value = client.engine.secret_value(uuid)?;
    Ok(SecretGetValueRet {
        value: value.expose().to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_have_libvirts_numbers() {
        assert_eq!(SecretUse::ALL.map(use_number), [0, 1, 2, 3, 4, 5]);
    }
}
