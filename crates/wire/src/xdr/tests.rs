use proptest::prelude::*;

use super::*;
use crate::remote::*;

#[test]
fn a_domain_is_laid_out_as_libvirt_does() {
    let domain = RemoteDomain {
        name: "vm-01".into(),
        uuid: [7; 16],
        id: -1,
    };
    let mut expected = b"\0\0\0\x05vm-01\0\0\0".to_vec();
    expected.extend([7; 16]);
    expected.extend([0xff; 4]);
    assert_eq!(domain.to_bytes().unwrap(), expected);
    assert_eq!(RemoteDomain::from_exact(&expected).unwrap(), domain);
}

#[test]
fn c_characters_take_a_word_each() {
    let info = NodeGetInfoRet {
        model: *b"x86_64\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0",
        memory: 1,
        ..Default::default()
    };
    let bytes = info.to_bytes().unwrap();
    assert_eq!(bytes.len(), 32 * 4 + 8 + 6 * 4);
    assert_eq!(&bytes[..8], b"\0\0\0x\0\0\08");
    assert_eq!(NodeGetInfoRet::from_exact(&bytes).unwrap(), info);
}

#[test]
fn a_length_that_the_bytes_cannot_hold_is_refused_before_allocating() {
    let error = ConnectListDomainsRet::from_bytes(&[0, 0, 0x3f, 0xff, 0, 0, 0, 1]).unwrap_err();
    assert!(matches!(error, XdrError::Truncated { .. }), "{error}");
    let error = ConnectListDomainsRet::from_bytes(&[0, 0, 0x40, 0x01, 0, 0, 0, 1]).unwrap_err();
    assert_eq!(
        error,
        XdrError::TooLong {
            what: "ConnectListDomainsRet.ids",
            length: 16385,
            max: 16384
        }
    );
}

#[test]
fn an_overlong_list_is_not_sent() {
    let ret = ConnectListDomainsRet {
        ids: vec![1; 16385],
    };
    assert!(matches!(ret.to_bytes(), Err(XdrError::TooLong { .. })));
}

#[test]
fn strings_are_text() {
    let not_utf8 = b"\0\0\0\x02\xff\xfe\0\0";
    assert_eq!(String::from_bytes(not_utf8), Err(XdrError::NotText));
    assert_eq!(
        String::from_bytes(b"\0\0\0\x03a\0b\0"),
        Err(XdrError::NotText)
    );
    assert_eq!("a\0b".to_string().to_bytes(), Err(XdrError::NotText));
}

fn value() -> impl Strategy<Value = TypedParamValue> {
    prop_oneof![
        any::<i32>().prop_map(TypedParamValue::Int),
        any::<u32>().prop_map(TypedParamValue::Uint),
        any::<i64>().prop_map(TypedParamValue::Llong),
        any::<u64>().prop_map(TypedParamValue::Ullong),
        any::<i32>().prop_map(|v| TypedParamValue::Double(f64::from(v) / 3.0)),
        any::<bool>().prop_map(TypedParamValue::Boolean),
        "[^\0]{0,9}".prop_map(TypedParamValue::String),
    ]
}

fn param() -> impl Strategy<Value = TypedParam> {
    ("[a-z._]{0,20}", value()).prop_map(|(field, value)| TypedParam { field, value })
}

fn domain() -> impl Strategy<Value = RemoteDomain> {
    ("[^\0]{0,30}", any::<[u8; 16]>(), any::<i32>()).prop_map(|(name, uuid, id)| RemoteDomain {
        name,
        uuid,
        id,
    })
}

fn identity<T: Xdr + PartialEq + std::fmt::Debug>(value: &T) -> Result<(), TestCaseError> {
    let bytes = value.to_bytes().unwrap();
    prop_assert_eq!(bytes.len() % 4, 0);
    prop_assert_eq!(&T::from_exact(&bytes).unwrap(), value);
    // Every strict prefix is too short.
    for length in 0..bytes.len() {
        prop_assert!(T::from_bytes(&bytes[..length]).is_err());
    }
    Ok(())
}

proptest! {
    #[test]
    fn decoding_undoes_encoding(
        dom in domain(),
        params in prop::collection::vec(param(), 0..8),
        text in prop::option::of("[^\0]{0,12}"),
        bytes in prop::collection::vec(any::<u8>(), 0..40),
        number in any::<u64>(),
    ) {
        identity(&DomainStatsRecord { dom: dom.clone(), params: params.clone() })?;
        identity(&ConnectGetAllDomainStatsRet {
            ret_stats: vec![DomainStatsRecord { dom: dom.clone(), params }],
        })?;
        identity(&DomainEventGraphicsMsg {
            dom: dom.clone(),
            subject: vec![GraphicsIdentity { kind: "x509".into(), name: dom.name.clone() }],
            ..Default::default()
        })?;
        identity(&RpcError { message: text, dom: Some(dom.clone()), ..Default::default() })?;
        identity(&DomainGetInfoRet { state: 255, max_mem: number, ..Default::default() })?;
        identity(&DomainGetVcpusRet { info: vec![VcpuInfo::default(); 2], cpumaps: bytes.clone() })?;
        identity(&DomainGetSecurityLabelRet { label: bytes, enforcing: 1 })?;
    }

    #[test]
    fn no_bytes_make_decoding_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = RpcError::from_bytes(&bytes);
        let _ = ConnectGetAllDomainStatsRet::from_bytes(&bytes);
        let _ = DomainGetVcpusRet::from_bytes(&bytes);
        let _ = NodeGetInfoRet::from_bytes(&bytes);
        let _ = DomainGetSecurityLabelListRet::from_bytes(&bytes);
        let _ = DomainEventGraphicsMsg::from_bytes(&bytes);
        let _ = NetworkGetDhcpLeasesRet::from_bytes(&bytes);
    }
}
