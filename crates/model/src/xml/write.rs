//! Writing XML the way libvirt does: two-space indent, single quotes, an
//! element without content closed in place.

use std::fmt;

use super::Scalar;

/// What a description should show.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct XmlFlags {
    /// Leave out what only a running machine has (id, generated aliases, actual ports).
    pub inactive: bool,
    /// Show passwords.
    pub secure: bool,
    /// Show only what an older peer can take on migration.
    pub migratable: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Between elements, at the start of a line.
    Between,
    /// Inside a start tag, which is not closed yet.
    InTag,
    /// After text: the end tag follows on the same line.
    InText,
}

/// A document being written.
pub struct XmlWriter {
    out: String,
    depth: usize,
    state: State,
    flags: XmlFlags,
}

impl XmlWriter {
    /// An empty document.
    pub fn new(flags: XmlFlags) -> Self {
        XmlWriter {
            out: String::with_capacity(4096),
            depth: 0,
            state: State::Between,
            flags,
        }
    }

    /// What this document should show.
    pub fn flags(&self) -> XmlFlags {
        self.flags
    }

    /// The document written so far.
    pub fn finish(self) -> String {
        self.out
    }

    /// Opens element `name`; attributes may follow.
    pub fn begin(&mut self, name: &str) {
        self.close_tag();
        self.indent();
        self.out.push('<');
        self.out.push_str(name);
        self.depth += 1;
        self.state = State::InTag;
    }

    /// Ends element `name`: `/>` where nothing was put into it.
    pub fn end(&mut self, name: &str) {
        self.depth -= 1;
        match self.state {
            State::InTag => self.out.push_str("/>\n"),
            State::InText => self.end_tag(name),
            State::Between => {
                self.indent();
                self.end_tag(name);
            }
        }
        self.state = State::Between;
    }

    fn end_tag(&mut self, name: &str) {
        self.out.push_str("</");
        self.out.push_str(name);
        self.out.push_str(">\n");
    }

    /// Writes ` name='value'`.
    pub fn attr<T: Scalar>(&mut self, name: &str, value: &T) {
        self.attr_with(name, |w| value.put(w));
    }

    /// Writes ` name='text'`, escaped.
    pub fn attr_str(&mut self, name: &str, text: &str) {
        self.attr_with(name, |w| w.escaped(text));
    }

    fn attr_with(&mut self, name: &str, value: impl FnOnce(&mut Self)) {
        self.out.push(' ');
        self.out.push_str(name);
        self.out.push_str("='");
        value(self);
        self.out.push('\'');
    }

    /// Writes the element's text.
    pub fn text<T: Scalar>(&mut self, value: &T) {
        if self.state == State::InTag {
            self.out.push('>');
        }
        self.state = State::InText;
        value.put(self);
    }

    /// Writes `<name>value</name>`.
    pub fn leaf<T: Scalar>(&mut self, name: &str, value: &T) {
        self.begin(name);
        self.text(value);
        self.end(name);
    }

    /// Writes `<name/>`.
    pub fn empty(&mut self, name: &str) {
        self.begin(name);
        self.end(name);
    }

    /// Writes one complete line of markup at the current depth; an empty one stays empty.
    pub fn line(&mut self, markup: &str) {
        self.close_tag();
        if !markup.is_empty() {
            self.indent();
        }
        self.out.push_str(markup);
        self.out.push('\n');
    }

    /// Ends the start tag, so that the element gets an end tag even if empty.
    pub fn open_body(&mut self) {
        self.close_tag();
    }

    /// The current nesting depth.
    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Appends text as it is; only for characters that need no escaping.
    pub(super) fn raw(&mut self, text: &str) {
        self.out.push_str(text);
    }

    /// Appends text with markup escaped and control characters dropped.
    pub(super) fn escaped(&mut self, text: &str) {
        let plain = |b: u8| b >= 0x20 && !matches!(b, b'<' | b'>' | b'&' | b'"' | b'\'');
        if text.bytes().all(plain) {
            self.out.push_str(text);
            return;
        }
        for c in text.chars() {
            match c {
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '&' => self.out.push_str("&amp;"),
                '"' => self.out.push_str("&quot;"),
                '\'' => self.out.push_str("&apos;"),
                '\n' | '\t' | '\r' => self.out.push(c),
                c if (c as u32) < 0x20 => {}
                c => self.out.push(c),
            }
        }
    }

    fn close_tag(&mut self) {
        if self.state == State::InTag {
            self.out.push_str(">\n");
        }
        self.state = State::Between;
    }

    fn indent(&mut self) {
        for _ in 0..self.depth {
            self.out.push_str("  ");
        }
    }
}

impl fmt::Write for XmlWriter {
    /// For numbers and other text that needs no escaping.
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.out.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_is_libvirts() {
        let mut w = XmlWriter::new(XmlFlags::default());
        w.begin("a");
        w.attr_str("x", "1 < '2'");
        w.begin("b");
        w.leaf("c", &"t&\u{1}".to_owned());
        w.empty("d");
        w.end("b");
        w.end("a");
        assert_eq!(
            w.finish(),
            "<a x='1 &lt; &apos;2&apos;'>\n  <b>\n    <c>t&amp;</c>\n    <d/>\n  </b>\n</a>\n"
        );
    }
}
