//! Answers to an installer's questions: which installer they are for is told by
//! what they say.

/// Whom the answers are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// Debian's installer.
    Preseed,
    /// Anaconda (Fedora, Red Hat and their kin).
    Kickstart,
    /// Ubuntu's installer: they come on a CD, by cloud-init.
    Autoinstall,
}

/// What a document for cloud-init begins with.
const CLOUD_CONFIG: &str = "#cloud-config";

impl Answers {
    /// Tells by the text; none if it is none of these.
    pub fn tell(text: &str) -> Option<Answers> {
        let mut lines = text.lines().map(str::trim_start);
        if text.starts_with(CLOUD_CONFIG) || lines.clone().any(|l| l.starts_with("autoinstall:")) {
            return Some(Answers::Autoinstall);
        }
        lines.find_map(|line| {
            let first = line.split_whitespace().next()?;
            match first {
                "d-i" | "tasksel" | "popularity-contest" => Some(Answers::Preseed),
                "%packages" | "%pre" | "%post" | "rootpw" | "autopart" | "clearpart" => {
                    Some(Answers::Kickstart)
                }
                _ => None,
            }
        })
    }

    /// An autoinstall document as cloud-init takes it: it looks at the first line, and passes over
    /// what does not say there that it is for it.
    pub fn user_data(text: String) -> String {
        match text.starts_with(CLOUD_CONFIG) {
            true => text,
            false => format!("{CLOUD_CONFIG}\n{text}"),
        }
    }

    /// The file that holds them in the initial RAM disk; none where they come otherwise.
    pub fn file(self) -> Option<&'static str> {
        match self {
            Answers::Preseed => Some("preseed.cfg"),
            Answers::Kickstart => Some("ks.cfg"),
            Answers::Autoinstall => None,
        }
    }

    /// What the kernel is told so that the installer looks for them.
    pub fn arguments(self) -> &'static str {
        match self {
            Answers::Preseed => "auto=true priority=critical file=/preseed.cfg",
            Answers::Kickstart => "inst.ks=file:/ks.cfg",
            Answers::Autoinstall => "autoinstall ds=nocloud",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installers_are_told_by_their_words() {
        assert_eq!(
            Answers::tell("# x\nd-i debian-installer/locale string C\n"),
            Some(Answers::Preseed)
        );
        assert_eq!(
            Answers::tell("lang en_US\nrootpw --lock\n%packages\n"),
            Some(Answers::Kickstart)
        );
        assert_eq!(
            Answers::tell("#cloud-config\nautoinstall:\n  version: 1\n"),
            Some(Answers::Autoinstall)
        );
        assert_eq!(Answers::tell("hello"), None);
    }

    #[test]
    fn cloud_init_is_told_that_a_document_is_for_it() {
        let bare = "autoinstall:\n  version: 1\n".to_owned();
        let headed = format!("#cloud-config\n{bare}");
        assert_eq!(Answers::user_data(bare), headed);
        assert_eq!(Answers::user_data(headed.clone()), headed);
    }
}
