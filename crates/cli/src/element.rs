//! Building an XML element, two blanks a level, single quotes.

/// An element with attributes and children.
pub(crate) struct Element {
    name: &'static str,
    attributes: Vec<(&'static str, String)>,
    children: Vec<Element>,
    text: Option<String>,
}

impl Element {
    /// An empty element.
    pub(crate) fn new(name: &'static str) -> Element {
        Element {
            name,
            attributes: Vec::new(),
            children: Vec::new(),
            text: None,
        }
    }

    /// With an attribute, if there is a value for it.
    pub(crate) fn attr(mut self, name: &'static str, value: Option<impl Into<String>>) -> Element {
        self.attributes.extend(value.map(|v| (name, v.into())));
        self
    }

    /// With a child.
    pub(crate) fn child(mut self, child: Element) -> Element {
        self.children.push(child);
        self
    }

    /// With a child, unless it would be empty.
    pub(crate) fn child_if_any(self, child: Element) -> Element {
        match child.attributes.is_empty() && child.children.is_empty() && child.text.is_none() {
            true => self,
            false => self.child(child),
        }
    }

    /// With text inside.
    pub(crate) fn text(mut self, text: impl Into<String>) -> Element {
        self.text = Some(text.into());
        self
    }

    /// The element as text, a newline after it.
    pub(crate) fn show(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, 0);
        out
    }

    fn write(&self, out: &mut String, level: usize) {
        let indent = "  ".repeat(level);
        out.push_str(&format!("{indent}<{}", self.name));
        for (name, value) in &self.attributes {
            out.push_str(&format!(" {name}='{}'", escape(value)));
        }
        if let Some(text) = &self.text {
            out.push_str(&format!(">{}</{}>\n", escape(text), self.name));
        } else if self.children.is_empty() {
            out.push_str("/>\n");
        } else {
            out.push_str(">\n");
            self.children.iter().for_each(|c| c.write(out, level + 1));
            out.push_str(&format!("{indent}</{}>\n", self.name));
        }
    }
}

/// Text fit for an attribute or an element.
pub(crate) fn escape(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c => out.push(c),
        }
        out
    })
}
