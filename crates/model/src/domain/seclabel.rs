//! Security labels of a domain and of its devices' sources.

use crate::xml::{YesNo, element, keyword};

keyword! {
    /// How a label is chosen.
    pub enum SecLabelType {
        Default = "default",
        None = "none",
        Dynamic = "dynamic",
        Static = "static",
    }
}

element! {
    /// A domain's security label under one driver.
    pub struct SecLabel {
        attr kind: Option<SecLabelType> = "type",
        attr model: Option<String> = "model",
        attr relabel: Option<YesNo> = "relabel",
        leaf label: Option<String> = "label",
        moment image_label: Option<String> = "imagelabel",
        leaf base_label: Option<String> = "baselabel",
    }
}

element! {
    /// A security label of one source.
    pub struct DeviceSecLabel {
        attr model: Option<String> = "model",
        attr label_skip: Option<YesNo> = "labelskip",
        attr relabel: Option<YesNo> = "relabel",
        leaf label: Option<String> = "label",
    }
}
