//! What calls with typed parameters have in common: which definition they are about, which
//! parameters they know, and how a list is asked for.

use std::sync::Arc;

use engine::options::Affect;
use engine::{DomainHandle, LiveMachine};
use model::domain::Domain;
use wire::consts::flags::*;
use wire::errors::ErrorCode;
use wire::remote::TypedParam;
use wire::xdr::TypedParamValue;

use super::{check_flags, exclusive_flags};
use crate::failure::{Answer, Failure};

/// The flags for live and config have the same values in all calls.
pub(super) fn affect(flags: u32) -> Affect {
    Affect {
        live: flags & VIR_DOMAIN_AFFECT_LIVE != 0,
        config: flags & VIR_DOMAIN_AFFECT_CONFIG != 0,
    }
}

/// The flags for live and config, of a call that knows no others; clients that can take text
/// parameters say so.
pub(super) fn affect_only(flags: u32, function: &str) -> Answer<Affect> {
    const KNOWN: u32 =
        VIR_DOMAIN_AFFECT_LIVE | VIR_DOMAIN_AFFECT_CONFIG | VIR_TYPED_PARAM_STRING_OKAY;
    check_flags(flags, KNOWN, function)?;
    Ok(affect(flags))
}

/// What a question is about.
pub(super) struct Asked {
    /// The definition: of the running machine, or the stored one.
    pub(super) definition: Arc<Domain>,
    /// The running machine, if it is asked about.
    pub(super) live: Option<Arc<LiveMachine>>,
}

/// What the flags of a question mean for this domain.
pub(super) fn asked(handle: &DomainHandle, flags: u32, function: &str) -> Answer<Asked> {
    affect_only(flags, function)?;
    exclusive_flags(
        flags,
        (VIR_DOMAIN_AFFECT_LIVE, "VIR_DOMAIN_AFFECT_LIVE"),
        (VIR_DOMAIN_AFFECT_CONFIG, "VIR_DOMAIN_AFFECT_CONFIG"),
    )?;
    let Affect { live, config } = affect(flags);
    if live || (!config && handle.view().is_active()) {
        let live = handle.live()?;
        return Ok(Asked {
            definition: live.definition(),
            live: Some(live),
        });
    }
    Ok(Asked {
        definition: handle.stored_definition()?,
        live: None,
    })
}

/// A list as it was asked for: its length if no room was offered, else as much as there is room for.
pub(super) fn with_room(mut params: Vec<TypedParam>, room: i32) -> (Vec<TypedParam>, i32) {
    let all = i32::try_from(params.len()).unwrap_or(i32::MAX);
    match usize::try_from(room) {
        Ok(room) if room > 0 => {
            params.truncate(room);
            let told = i32::try_from(params.len()).unwrap_or(i32::MAX);
            (params, told)
        }
        _ => (Vec::new(), all),
    }
}

/// The type of a parameter.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Kind {
    Int,
    Uint,
    Llong,
    Ullong,
    Boolean,
    Text,
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Kind::Int => "int",
            Kind::Uint => "uint",
            Kind::Llong => "llong",
            Kind::Ullong => "ullong",
            Kind::Boolean => "boolean",
            Kind::Text => "string",
        }
    }
}

fn type_name(value: &TypedParamValue) -> &'static str {
    match value {
        TypedParamValue::Int(_) => "int",
        TypedParamValue::Uint(_) => "uint",
        TypedParamValue::Llong(_) => "llong",
        TypedParamValue::Ullong(_) => "ullong",
        TypedParamValue::Double(_) => "double",
        TypedParamValue::Boolean(_) => "boolean",
        TypedParamValue::String(_) => "string",
    }
}

/// Refuses parameters that the call does not know, that have another type, or that come twice.
pub(super) fn check(params: &[TypedParam], known: &[(&str, Kind)]) -> Answer<()> {
    for (index, param) in params.iter().enumerate() {
        let name = &param.field;
        let Some((_, kind)) = known.iter().find(|(field, _)| field == name) else {
            return Err(Failure::new(
                ErrorCode::ArgumentUnsupported,
                format!("parameter '{name}' not supported"),
            ));
        };
        let given = type_name(&param.value);
        if given != kind.name() {
            return Err(Failure::invalid_arg(format!(
                "invalid type '{given}' for parameter '{name}', expected '{}'",
                kind.name()
            )));
        }
        if params[..index].iter().any(|earlier| earlier.field == *name) {
            return Err(Failure::invalid_arg(format!(
                "parameter '{name}' occurs multiple times"
            )));
        }
    }
    Ok(())
}

/// The value of a whole number that may be negative.
pub(super) fn signed(params: &[TypedParam], field: &str) -> Option<i64> {
    match wire::typed_params::get(params, field)? {
        TypedParamValue::Int(value) => Some(i64::from(*value)),
        TypedParamValue::Llong(value) => Some(*value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_mistyped_and_repeated_parameters_are_refused() {
        const KNOWN: &[(&str, Kind)] = &[("weight", Kind::Uint)];
        let weight = TypedParam::new("weight", 7u32);
        assert!(check(std::slice::from_ref(&weight), KNOWN).is_ok());
        let Failure(error) = check(&[TypedParam::new("wait", 7u32)], KNOWN).unwrap_err();
        assert_eq!(
            error.text(),
            "argument unsupported: parameter 'wait' not supported"
        );
        let Failure(error) = check(&[TypedParam::new("weight", "7")], KNOWN).unwrap_err();
        assert!(
            error.text().ends_with("expected 'uint'"),
            "{}",
            error.text()
        );
        assert!(check(&[weight.clone(), weight], KNOWN).is_err());
    }

    #[test]
    fn a_list_without_room_is_counted() {
        let params = vec![TypedParam::new("a", 1), TypedParam::new("b", 2)];
        assert_eq!(with_room(params.clone(), 0), (Vec::new(), 2));
        assert_eq!(with_room(params.clone(), 1), (params[..1].to_vec(), 1));
        assert_eq!(with_room(params.clone(), 9), (params, 2));
    }
}
