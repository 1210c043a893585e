//! The elements of QEMU's own namespace: raw arguments and overrides.

use crate::xml::element;

element! {
    /// An argument passed as it is.
    pub struct QemuArg {
        req value: String = "value",
    }
}

element! {
    /// An environment variable.
    pub struct QemuEnv {
        req name: String = "name",
        attr value: Option<String> = "value",
    }
}

element! {
    /// Arguments and environment passed to QEMU as they are.
    pub struct QemuCommandLine {
        list args: Vec<QemuArg> = "qemu:arg",
        list envs: Vec<QemuEnv> = "qemu:env",
    }
}

element! {
    /// A capability of QEMU.
    pub struct QemuCapability {
        req capability: String = "capability",
    }
}

element! {
    /// Capabilities of QEMU that are assumed or ignored.
    pub struct QemuCapabilities {
        list add: Vec<QemuCapability> = "qemu:add",
        list del: Vec<QemuCapability> = "qemu:del",
    }
}

element! {
    /// A property set on a device.
    pub struct QemuProperty {
        req name: String = "name",
        req kind: String = "type",
        attr value: Option<String> = "value",
    }
}

element! {
    /// Properties set on the front end of a device.
    pub struct QemuFrontend {
        list properties: Vec<QemuProperty> = "qemu:property",
    }
}

element! {
    /// Properties set on one device.
    pub struct QemuDeviceOverride {
        req alias: String = "alias",
        child frontend: Option<QemuFrontend> = "qemu:frontend",
    }
}

element! {
    /// Properties set on devices.
    pub struct QemuOverride {
        list devices: Vec<QemuDeviceOverride> = "qemu:device",
    }
}

element! {
    /// What QEMU does when something deprecated is used.
    pub struct QemuDeprecation {
        req behavior: String = "behavior",
    }
}

element! {
    /// All elements of QEMU's namespace.
    pub struct QemuNamespace {
        child command_line: Option<QemuCommandLine> = "qemu:commandline",
        child capabilities: Option<QemuCapabilities> = "qemu:capabilities",
        child overrides: Option<QemuOverride> = "qemu:override",
        child deprecation: Option<QemuDeprecation> = "qemu:deprecation",
    }
}

impl QemuNamespace {
    /// Whether nothing is given.
    pub fn is_empty(&self) -> bool {
        *self == QemuNamespace::default()
    }
}
