//! The processors, as `/proc/cpuinfo` describes them.

use super::Host;
use crate::error::SysResult;

/// The first processor; on hosts with different ones the rest is ignored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CpuInfo {
    /// `GenuineIntel`, `AuthenticAMD`, ….
    pub vendor: String,
    /// Family number.
    pub family: u32,
    /// Model number.
    pub model: u32,
    /// Stepping.
    pub stepping: u32,
    /// Name for people.
    pub name: String,
    /// Clock in MHz now, rounded down; none when it is not told.
    pub mhz: Option<u32>,
    /// Microcode version, where it is told.
    pub microcode: Option<u64>,
    /// Flags, in the kernel's words and order.
    pub flags: Vec<String>,
    /// Width of physical addresses in bits.
    pub physical_address_bits: Option<u32>,
}

impl CpuInfo {
    /// Whether the processor has this flag.
    pub fn has_flag(&self, flag: &str) -> bool {
        self.flags.iter().any(|own| own == flag)
    }
}

impl Host {
    /// What the processors are.
    pub fn cpu_info(&self) -> SysResult<CpuInfo> {
        Ok(parse(&self.read("proc/cpuinfo")?))
    }
}

/// Takes the first processor's lines; those of ARM and others are read as far
/// as they have the same names.
fn parse(text: &str) -> CpuInfo {
    let mut info = CpuInfo::default();
    for line in text.lines() {
        if line.trim().is_empty() {
            break;
        }
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        let (name, value) = (name.trim(), value.trim());
        let number = || value.parse().unwrap_or(0);
        match name {
            "vendor_id" => info.vendor = value.to_owned(),
            "cpu family" => info.family = number(),
            "model" => info.model = number(),
            "stepping" => info.stepping = number(),
            "model name" => info.name = value.to_owned(),
            "cpu MHz" => info.mhz = value.split('.').next().and_then(|whole| whole.parse().ok()),
            "microcode" => {
                let digits = value.strip_prefix("0x");
                info.microcode = digits.and_then(|hex| u64::from_str_radix(hex, 16).ok());
            }
            "flags" | "Features" => {
                info.flags = value.split_ascii_whitespace().map(str::to_owned).collect();
            }
            "address sizes" => {
                info.physical_address_bits =
                    value.split(' ').next().and_then(|bits| bits.parse().ok());
            }
            _ => {}
        }
    }
    info
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_first_processor() {
        let text = "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 106\n\
            model name\t: Example(R) CPU: @ 2GHz\nstepping\t: 6\nmicrocode\t: 0xd000363\n\
            cpu MHz\t\t: 2596.992\nflags\t\t: fpu vmx sse\n\
            address sizes\t: 46 bits physical, 57 bits virtual\n\n\
            processor\t: 1\nmodel\t\t: 7\n";
        let info = parse(text);
        assert_eq!((info.family, info.model, info.stepping), (6, 106, 6));
        assert_eq!(
            (info.mhz, info.physical_address_bits),
            (Some(2596), Some(46))
        );
        assert_eq!(info.microcode, Some(0xd000363));
        assert_eq!(info.name, "Example(R) CPU: @ 2GHz");
        assert!(info.has_flag("vmx") && !info.has_flag("vm"));
        assert_eq!(parse(""), CpuInfo::default());
    }
}
