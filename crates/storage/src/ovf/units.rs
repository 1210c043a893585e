//! Units of OVF: `byte * 2^20`, and the words of older writers.

/// The bytes of one unit; none if it is no unit of bytes, or beyond all sizes.
pub(super) fn bytes(unit: &str) -> Option<u64> {
    match unit.trim() {
        "" | "byte" | "bytes" | "Bytes" => return Some(1),
        "KB" | "KiloBytes" => return Some(1 << 10),
        "MB" | "MegaBytes" => return Some(1 << 20),
        "GB" | "GigaBytes" => return Some(1 << 30),
        "TB" | "TeraBytes" => return Some(1 << 40),
        _ => {}
    }
    let mut factors = unit.split('*').map(str::trim);
    if factors.next() != Some("byte") {
        return None;
    }
    factors.try_fold(1u64, |product, factor| {
        let value = match factor.split_once('^') {
            None => factor.parse().ok()?,
            Some((base, power)) => {
                let base: u64 = base.trim().parse().ok()?;
                base.checked_pow(power.trim().parse().ok()?)?
            }
        };
        product.checked_mul(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_of_every_writer() {
        let cases = [
            ("byte", Some(1)),
            ("byte * 2^20", Some(1 << 20)),
            ("byte*2^30", Some(1 << 30)),
            ("byte * 10^3", Some(1000)),
            ("byte * 512", Some(512)),
            ("byte * 2^10 * 2^10", Some(1 << 20)),
            ("MegaBytes", Some(1 << 20)),
            ("byte * 2^64", None),
            ("hertz * 10^6", None),
            ("byte * x", None),
        ];
        for (unit, wanted) in cases {
            assert_eq!(bytes(unit), wanted, "{unit}");
        }
    }
}
