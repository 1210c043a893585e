//! The shape of the verb table: everything the parser, the help, the completion
//! scripts, the man pages and `docs/verbs.md` know about a verb comes from here.

use crate::args::Args;
use crate::failure::Outcome;
use crate::session::Session;

/// A verb's handler.
pub(crate) type Run = fn(&mut Session, &Args) -> Outcome;

/// A group of verbs, as `stead help` lists them.
pub(crate) struct Group {
    /// The heading.
    pub title: &'static str,
    /// What `stead help KEYWORD` takes.
    pub keyword: &'static str,
    /// The verbs, by source file.
    pub verbs: &'static [&'static [Verb]],
}

impl Group {
    /// The verbs of the group by name.
    pub(crate) fn verbs(&self) -> Vec<&'static Verb> {
        let mut all: Vec<_> = self.verbs.iter().flat_map(|part| part.iter()).collect();
        all.sort_by_key(|verb| verb.name);
        all
    }
}

/// One verb.
pub(crate) struct Verb {
    /// The word typed; two of them, with a blank between, in a family of verbs.
    pub name: &'static str,
    /// One line, for lists.
    pub summary: &'static str,
    /// One or more sentences; empty if the summary says it all.
    pub description: &'static str,
    /// The options in the order help shows them and positionals are filled.
    pub options: &'static [Opt],
    /// Whether a connection is opened before the handler runs.
    pub connects: bool,
    /// Whether the output has rows or pairs that `--format` can turn into JSON or YAML.
    pub tabular: bool,
    /// The handler.
    pub run: Run,
}

impl Verb {
    /// A verb that needs a connection.
    pub(crate) const fn new(name: &'static str, summary: &'static str, run: Run) -> Verb {
        Verb {
            name,
            summary,
            description: "",
            options: &[],
            connects: true,
            tabular: false,
            run,
        }
    }

    /// With a description.
    pub(crate) const fn about(mut self, description: &'static str) -> Verb {
        self.description = description;
        self
    }

    /// With options.
    pub(crate) const fn options(mut self, options: &'static [Opt]) -> Verb {
        self.options = options;
        self
    }

    /// One of Stead's own verbs: goes over the REST API ([`Session::rest`]), so
    /// no connection to libvirt's socket is opened for it.
    pub(crate) const fn over_rest(self) -> Verb {
        self.offline()
    }

    /// Runs without a connection.
    pub(crate) const fn offline(mut self) -> Verb {
        self.connects = false;
        self
    }

    /// Understands `--format`.
    pub(crate) const fn tabular(mut self) -> Verb {
        self.tabular = true;
        self
    }
}

/// What an option takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing: it is there or not.
    Flag,
    /// One string.
    Text,
    /// One integer.
    Number,
    /// All bare arguments that are left.
    Rest,
    /// One string each time it is given.
    Many,
    /// Another spelling of the option named; with a value where it stands for one.
    Alias(&'static str, Option<&'static str>),
}

impl Kind {
    /// Whether it may be given more than once.
    pub(crate) const fn repeats(self) -> bool {
        matches!(self, Kind::Rest | Kind::Many)
    }
}

/// Where an option may stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Only with its name.
    Named,
    /// With or without its name; help shows it without.
    Positional,
    /// Help shows it with its name, yet scripts that leave the name out work.
    Bare,
}

/// What completion offers for an option's value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Completes {
    /// Nothing known.
    Nothing,
    /// Names of domains.
    Domain,
    /// Names of other things the daemon has.
    Of(Thing),
    /// Paths.
    File,
    /// One of these words.
    Words(&'static [&'static str]),
    /// Names of verbs and groups.
    Verb,
}

/// A thing that has a name at the daemon, beside domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Thing {
    /// A storage pool.
    Pool,
    /// A volume, of the pool given before if there is one.
    Volume,
    /// A network.
    Network,
    /// A network filter.
    NwFilter,
    /// A secret.
    Secret,
    /// A device of the host.
    NodeDevice,
    /// A network interface of the host.
    HostInterface,
    /// An image of the library.
    LibraryImage,
    /// A long operation.
    Job,
    /// A snapshot of the domain given before.
    Snapshot,
    /// A disk of the domain given before, by its target.
    Disk,
    /// A network card of the domain given before, by its address.
    Card,
}

/// One option of a verb.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Opt {
    /// Its name without the dashes.
    pub name: &'static str,
    /// One line of help.
    pub help: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Where it may stand.
    pub place: Place,
    /// Whether the verb cannot do without it.
    pub required: bool,
    /// Whether an empty string is a value.
    pub may_be_empty: bool,
    /// What completion offers.
    pub completes: Completes,
}

impl Opt {
    const fn of(name: &'static str, kind: Kind, place: Place, help: &'static str) -> Opt {
        let completes = Completes::Nothing;
        Opt {
            name,
            help,
            kind,
            place,
            required: false,
            may_be_empty: false,
            completes,
        }
    }

    /// The verb cannot do without it.
    pub(crate) const fn required(mut self) -> Opt {
        self.required = true;
        self
    }

    /// Accepted without its name too.
    pub(crate) const fn bare(mut self) -> Opt {
        self.place = Place::Bare;
        self
    }

    /// An empty string is a value.
    pub(crate) const fn may_be_empty(mut self) -> Opt {
        self.may_be_empty = true;
        self
    }

    /// What completion offers.
    pub(crate) const fn completes(mut self, what: Completes) -> Opt {
        self.completes = what;
        self
    }

    /// Names of these things.
    pub(crate) const fn of_things(self, thing: Thing) -> Opt {
        self.completes(Completes::Of(thing))
    }

    /// One of a fixed set of words.
    pub(crate) const fn words(self, words: &'static [&'static str]) -> Opt {
        self.completes(Completes::Words(words))
    }

    /// Whether a bare argument may fill it.
    pub(crate) fn takes_bare(&self) -> bool {
        !matches!(self.place, Place::Named)
    }
}

/// A flag.
pub(crate) const fn flag(name: &'static str, help: &'static str) -> Opt {
    Opt::of(name, Kind::Flag, Place::Named, help)
}

/// `--name STRING`.
pub(crate) const fn text(name: &'static str, help: &'static str) -> Opt {
    Opt::of(name, Kind::Text, Place::Named, help)
}

/// `--name STRING`, as often as wanted.
pub(crate) const fn many(name: &'static str, help: &'static str) -> Opt {
    Opt::of(name, Kind::Many, Place::Named, help)
}

/// `--name NUMBER`.
pub(crate) const fn number(name: &'static str, help: &'static str) -> Opt {
    Opt::of(name, Kind::Number, Place::Named, help)
}

/// A required positional string.
pub(crate) const fn arg(name: &'static str, help: &'static str) -> Opt {
    Opt::of(name, Kind::Text, Place::Positional, help).required()
}

/// A positional string that may be left out.
pub(crate) const fn maybe(name: &'static str, help: &'static str) -> Opt {
    Opt::of(name, Kind::Text, Place::Positional, help)
}

/// A required positional number.
pub(crate) const fn arg_number(name: &'static str, help: &'static str) -> Opt {
    Opt::of(name, Kind::Number, Place::Positional, help).required()
}

/// All remaining arguments.
pub(crate) const fn rest(name: &'static str, help: &'static str) -> Opt {
    Opt::of(name, Kind::Rest, Place::Positional, help)
}

/// Another spelling of `target`, left out of help.
pub(crate) const fn alias(name: &'static str, target: &'static str) -> Opt {
    Opt::of(name, Kind::Alias(target, None), Place::Named, "")
}

/// A flag that stands for `--target value`, left out of help.
pub(crate) const fn alias_value(
    name: &'static str,
    target: &'static str,
    value: &'static str,
) -> Opt {
    Opt::of(name, Kind::Alias(target, Some(value)), Place::Named, "")
}

/// The domain a verb acts on.
pub(crate) const DOMAIN: Opt =
    arg("domain", "the domain: its name, id or uuid").completes(Completes::Domain);

/// An XML file to read.
pub(crate) const fn file(help: &'static str) -> Opt {
    arg("file", help).completes(Completes::File)
}

/// `--config`.
pub(crate) const CONFIG: Opt = flag("config", "change the definition: from the next boot on");
/// `--live`.
pub(crate) const LIVE: Opt = flag("live", "change the running machine");
/// `--current`.
pub(crate) const CURRENT: Opt = flag("current", "change the state the domain is in now");
/// `--persistent`, for devices.
pub(crate) const PERSISTENT: Opt = flag(
    "persistent",
    "make the change last: running machine and definition",
);
/// `--xpath`.
pub(crate) const XPATH: Opt = text("xpath", "print only what this XPath expression selects");
/// `--wrap`.
pub(crate) const WRAP: Opt = flag("wrap", "put the selected nodes into one root element");
/// `--print-xml`.
pub(crate) const PRINT_XML: Opt = flag("print-xml", "print the XML and change nothing");
