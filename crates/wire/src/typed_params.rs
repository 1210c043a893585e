//! Lists of named, typed values: building them and looking things up.

use crate::remote::TypedParam;
use crate::xdr::TypedParamValue;

impl From<i32> for TypedParamValue {
    fn from(value: i32) -> TypedParamValue {
        TypedParamValue::Int(value)
    }
}

impl From<u32> for TypedParamValue {
    fn from(value: u32) -> TypedParamValue {
        TypedParamValue::Uint(value)
    }
}

impl From<i64> for TypedParamValue {
    fn from(value: i64) -> TypedParamValue {
        TypedParamValue::Llong(value)
    }
}

impl From<u64> for TypedParamValue {
    fn from(value: u64) -> TypedParamValue {
        TypedParamValue::Ullong(value)
    }
}

impl From<f64> for TypedParamValue {
    fn from(value: f64) -> TypedParamValue {
        TypedParamValue::Double(value)
    }
}

impl From<bool> for TypedParamValue {
    fn from(value: bool) -> TypedParamValue {
        TypedParamValue::Boolean(value)
    }
}

impl From<String> for TypedParamValue {
    fn from(value: String) -> TypedParamValue {
        TypedParamValue::String(value)
    }
}

impl From<&str> for TypedParamValue {
    fn from(value: &str) -> TypedParamValue {
        TypedParamValue::String(value.to_string())
    }
}

impl TypedParam {
    /// A parameter; the value's Rust type decides its type on the wire.
    pub fn new(field: impl Into<String>, value: impl Into<TypedParamValue>) -> TypedParam {
        TypedParam {
            field: field.into(),
            value: value.into(),
        }
    }
}

/// A parameter's value by name.
pub fn get<'a>(params: &'a [TypedParam], field: &str) -> Option<&'a TypedParamValue> {
    params
        .iter()
        .find(|param| param.field == field)
        .map(|param| &param.value)
}

/// A parameter's value as an unsigned number, whichever whole-number type it has.
pub fn get_unsigned(params: &[TypedParam], field: &str) -> Option<u64> {
    match get(params, field)? {
        TypedParamValue::Int(v) => u64::try_from(*v).ok(),
        TypedParamValue::Uint(v) => Some(u64::from(*v)),
        TypedParamValue::Llong(v) => u64::try_from(*v).ok(),
        TypedParamValue::Ullong(v) => Some(*v),
        TypedParamValue::Boolean(v) => Some(u64::from(*v)),
        TypedParamValue::Double(_) | TypedParamValue::String(_) => None,
    }
}

/// A parameter's value as text, if it is one.
pub fn get_str<'a>(params: &'a [TypedParam], field: &str) -> Option<&'a str> {
    match get(params, field)? {
        TypedParamValue::String(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_their_types_and_are_found_by_name() {
        let params = [
            TypedParam::new("state.state", 1),
            TypedParam::new("cpu.time", 7u64),
            TypedParam::new("bandwidth", 1.5),
            TypedParam::new("name", "vm"),
        ];
        assert_eq!(params[0].value.type_number(), 1);
        assert_eq!(params[1].value.type_number(), 4);
        assert_eq!(get_unsigned(&params, "cpu.time"), Some(7));
        assert_eq!(get_unsigned(&params, "bandwidth"), None);
        assert_eq!(get_str(&params, "name"), Some("vm"));
        assert_eq!(get(&params, "none"), None);
        let negative = [TypedParam::new("x", -1)];
        assert_eq!(get_unsigned(&negative, "x"), None);
    }
}
