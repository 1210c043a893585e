//! Typed parameters, as the protocol carries them and as they are shown.

use client::wire::remote::TypedParam;
use client::wire::xdr::TypedParamValue;

/// A value as virsh prints it.
pub(crate) fn show(value: &TypedParamValue) -> String {
    match value {
        TypedParamValue::Int(v) => v.to_string(),
        TypedParamValue::Uint(v) => v.to_string(),
        TypedParamValue::Llong(v) => v.to_string(),
        TypedParamValue::Ullong(v) => v.to_string(),
        TypedParamValue::Double(v) => format!("{v:.6}"),
        TypedParamValue::Boolean(v) => if *v { "yes" } else { "no" }.to_owned(),
        TypedParamValue::String(v) => v.clone(),
    }
}

/// The value as JSON.
pub(crate) fn json(value: &TypedParamValue) -> serde_json::Value {
    match value {
        TypedParamValue::Int(v) => (*v).into(),
        TypedParamValue::Uint(v) => (*v).into(),
        TypedParamValue::Llong(v) => (*v).into(),
        TypedParamValue::Ullong(v) => (*v).into(),
        TypedParamValue::Double(v) => (*v).into(),
        TypedParamValue::Boolean(v) => (*v).into(),
        TypedParamValue::String(v) => v.as_str().into(),
    }
}

/// The value of the parameter called `field`.
pub(crate) fn get<'a>(params: &'a [TypedParam], field: &str) -> Option<&'a TypedParamValue> {
    params.iter().find(|p| p.field == field).map(|p| &p.value)
}

/// The number of the parameter called `field`, if it is one that is not negative.
pub(crate) fn unsigned(params: &[TypedParam], field: &str) -> Option<u64> {
    match get(params, field)? {
        TypedParamValue::Int(v) => u64::try_from(*v).ok(),
        TypedParamValue::Uint(v) => Some(u64::from(*v)),
        TypedParamValue::Llong(v) => u64::try_from(*v).ok(),
        TypedParamValue::Ullong(v) => Some(*v),
        _ => None,
    }
}

/// Asks for a list of parameters twice, as the protocol wants it: how long it is, then for so
/// many. An empty list is not asked for.
macro_rules! asked {
    ($s:expr, $call:ident, $count_failed:expr, $failed:expr) => {{
        let counted = $s.call(&$call).or_fail(|| $count_failed.into())?;
        $call.nparams = counted.nparams;
        match counted.nparams {
            0 => Vec::new(),
            _ => $s.call(&$call).or_fail(|| $failed.into())?.params,
        }
    }};
}
pub(crate) use asked;

/// A parameter.
pub(crate) fn param(field: &str, value: TypedParamValue) -> TypedParam {
    TypedParam {
        field: field.to_owned(),
        value,
    }
}
