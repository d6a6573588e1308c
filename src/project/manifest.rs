//! What `pyproject.toml` says to dray: the table `[tool.dray]`, and the Python that `[project]` requires.
//!
//! It owns the names and types of the keys. What a value means (a duration, a version) is judged where it is used, in
//! the same way as the command line's.

use toml::de::{DeTable, DeValue};

use super::error::ProjectError;
use super::nearest::nearest;

pub(super) const FILE_NAME: &str = "pyproject.toml";
/// Larger than any written by hand.
pub(super) const MAX_BYTES: u64 = 4 * 1024 * 1024;

/// The settings of a project. `None` where the file, or the key, is not there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// `[tool.dray] entry`: what ENTRY would say; `-m pkg.mod` too.
    pub entry: Option<String>,
    /// `[tool.dray] timeout`: a duration such as `2h30m`.
    pub timeout: Option<String>,
    /// `[tool.dray] grace`: a duration such as `30s`.
    pub grace: Option<String>,
    /// `[tool.dray] python`: path of an interpreter.
    pub python: Option<String>,
    /// `[tool.dray] log-level`.
    pub log_level: Option<String>,
    /// `[tool.dray] log-format`.
    pub log_format: Option<String>,
    /// `[tool.dray] no-summary`.
    pub no_summary: Option<bool>,
    /// `[tool.dray] no-mask`.
    pub no_mask: Option<bool>,
    /// `[tool.dray] scrub`.
    pub scrub: Option<bool>,
    /// `[tool.dray] ignore-preemption`.
    pub ignore_preemption: Option<bool>,
    /// `[tool.dray] args-from-activity`.
    pub args_from_activity: Option<bool>,
    /// `[tool.dray] max-unpacked-bytes`.
    pub max_unpacked_bytes: Option<u64>,
    /// `[tool.dray] max-members`.
    pub max_members: Option<u64>,
    /// `[tool.dray] max-ratio`.
    pub max_ratio: Option<u64>,
    /// `[tool.dray] install`.
    pub install: Option<bool>,
    /// `[tool.dray] ignore-requirements`.
    pub ignore_requirements: Option<bool>,
    /// `[tool.dray] fresh-dependencies`.
    pub fresh_dependencies: Option<bool>,
    /// `[tool.dray] exclude`: what `dray pack` leaves out, as patterns of a .gitignore.
    pub exclude: Vec<String>,
    /// `[tool.dray.connections]`: names and connection strings or URLs, in the order of their names.
    pub connections: Vec<(String, String)>,
    /// `[project] requires-python`, a version specifier such as `>=3.10`, unparsed.
    pub requires_python: Option<String>,
    /// `[project] dependencies`, unparsed.
    pub dependencies: Vec<String>,
}

/// Where the value of a key goes; its type is the type that the key takes.
enum Place<'a> {
    Text(&'a mut Option<String>),
    Switch(&'a mut Option<bool>),
    Number(&'a mut Option<u64>),
    Texts(&'a mut Vec<(String, String)>),
    List(&'a mut Vec<String>),
}

const KEYS: [&str; 19] = [
    "entry",
    "timeout",
    "grace",
    "python",
    "log-level",
    "log-format",
    "no-summary",
    "no-mask",
    "scrub",
    "ignore-preemption",
    "args-from-activity",
    "max-unpacked-bytes",
    "max-members",
    "max-ratio",
    "install",
    "ignore-requirements",
    "fresh-dependencies",
    "exclude",
    "connections",
];

impl Manifest {
    /// Reads a `pyproject.toml`. All other tables are passed over.
    ///
    /// # Errors
    /// Bytes that are not UTF-8 or not TOML, an unknown key or a value of the wrong type in `[tool.dray]`, each with its
    /// place in the file.
    pub fn parse(bytes: &[u8]) -> Result<Manifest, ProjectError> {
        let text = str::from_utf8(bytes).map_err(|error| {
            let before = &bytes[..error.valid_up_to()];
            ProjectError::ManifestEncoding {
                line: memchr::memchr_iter(b'\n', before).count() + 1,
            }
        })?;
        // Editors on Windows begin the file with a byte order mark.
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let document = DeTable::parse(text).map_err(|error| {
            invalid(
                text,
                error.span().map_or(0, |span| span.start),
                error.message().to_owned(),
            )
        })?;
        let document = document.get_ref();
        let mut manifest = Manifest::default();
        for (key, mut place) in [
            ("requires-python", Place::Text(&mut manifest.requires_python)),
            ("dependencies", Place::List(&mut manifest.dependencies)),
        ] {
            if let Some(value) = document.get("project").and_then(|project| project.get_ref().get(key)) {
                store(&mut place, "project", key, value, text)?;
            }
        }
        let Some(tool) = document.get("tool").and_then(|tool| tool.get_ref().get("dray")) else {
            return Ok(manifest);
        };
        let DeValue::Table(table) = tool.get_ref() else {
            return Err(invalid(
                text,
                tool.span().start,
                "`tool.dray` must be a table".to_owned(),
            ));
        };
        for (key, value) in table {
            let Some(mut place) = manifest.place(key.get_ref()) else {
                let (line, column) = position(text, key.span().start);
                let nearest = nearest(key.get_ref(), KEYS);
                return Err(ProjectError::ManifestKeyUnknown {
                    line,
                    column,
                    key: key.get_ref().to_string(),
                    nearest,
                });
            };
            store(&mut place, "tool.dray", key.get_ref(), value, text)?;
        }
        Ok(manifest)
    }

    fn place(&mut self, key: &str) -> Option<Place<'_>> {
        Some(match key {
            "entry" => Place::Text(&mut self.entry),
            "timeout" => Place::Text(&mut self.timeout),
            "grace" => Place::Text(&mut self.grace),
            "python" => Place::Text(&mut self.python),
            "log-level" => Place::Text(&mut self.log_level),
            "log-format" => Place::Text(&mut self.log_format),
            "no-summary" => Place::Switch(&mut self.no_summary),
            "no-mask" => Place::Switch(&mut self.no_mask),
            "scrub" => Place::Switch(&mut self.scrub),
            "ignore-preemption" => Place::Switch(&mut self.ignore_preemption),
            "args-from-activity" => Place::Switch(&mut self.args_from_activity),
            "max-unpacked-bytes" => Place::Number(&mut self.max_unpacked_bytes),
            "max-members" => Place::Number(&mut self.max_members),
            "max-ratio" => Place::Number(&mut self.max_ratio),
            "install" => Place::Switch(&mut self.install),
            "ignore-requirements" => Place::Switch(&mut self.ignore_requirements),
            "fresh-dependencies" => Place::Switch(&mut self.fresh_dependencies),
            "exclude" => Place::List(&mut self.exclude),
            "connections" => Place::Texts(&mut self.connections),
            _ => return None,
        })
    }
}

fn store(
    place: &mut Place<'_>,
    table_name: &str,
    key: &str,
    value: &toml::Spanned<DeValue<'_>>,
    text_of_file: &str,
) -> Result<(), ProjectError> {
    let wanted = match (place, value.get_ref()) {
        (Place::Text(slot), DeValue::String(string)) => {
            **slot = Some(string.to_string());
            return Ok(());
        }
        (Place::Switch(slot), DeValue::Boolean(boolean)) => {
            **slot = Some(*boolean);
            return Ok(());
        }
        (Place::Number(slot), DeValue::Integer(integer)) => {
            if let Ok(number) = u64::from_str_radix(integer.as_str(), integer.radix()) {
                **slot = Some(number);
                return Ok(());
            }
            "a whole number of 0 or more"
        }
        (Place::Texts(slot), DeValue::Table(table)) => {
            for (name, value) in table {
                let mut text = None;
                let inner = format!("{table_name}.{key}");
                store(&mut Place::Text(&mut text), &inner, name.get_ref(), value, text_of_file)?;
                slot.extend(text.map(|text| (name.get_ref().to_string(), text)));
            }
            return Ok(());
        }
        (Place::List(slot), DeValue::Array(items)) => {
            for item in items {
                let mut text = None;
                store(&mut Place::Text(&mut text), table_name, key, item, text_of_file)?;
                slot.extend(text);
            }
            return Ok(());
        }
        (Place::List(_), _) => "a list of strings",
        (Place::Texts(_), _) => "a table of names and connection strings",
        (Place::Text(_), _) => "a string",
        (Place::Switch(_), _) => "true or false",
        (Place::Number(_), _) => "a whole number of 0 or more",
    };
    Err(invalid(
        text_of_file,
        value.span().start,
        format!("`{key}` in `[{table_name}]` must be {wanted}"),
    ))
}

fn invalid(text: &str, offset: usize, message: String) -> ProjectError {
    let (line, column) = position(text, offset);
    // The parser's messages may have several lines; ours are one.
    let message = message.lines().collect::<Vec<_>>().join(", ");
    ProjectError::ManifestInvalid { line, column, message }
}

/// Line and column of a byte offset, both from 1, the column in characters.
pub(crate) fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |at| at + 1);
    (
        before.matches('\n').count() + 1,
        before[line_start..].chars().count() + 1,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Manifest, ProjectError> {
        Manifest::parse(text.as_bytes())
    }

    #[test]
    fn every_key_is_read() {
        let manifest = parse(
            "\u{feff}[project]\nname = 'x'\nrequires-python = '>=3.10'\ndependencies = ['numpy>=2']\n[tool.ruff]\nx = 1\n[tool.dray]\nentry = 'a:b'\n\
             timeout = '2h30m'\ngrace = '30s'\npython = '/usr/bin/python3'\nlog-level = 'debug'\nlog-format = 'json'\n\
             no-summary = true\nno-mask = true\nscrub = true\nignore-preemption = false\nargs-from-activity = false\nmax-unpacked-bytes = 1_000\nmax-members = 0x10\nmax-ratio = 7\n\
             install = true\nignore-requirements = false\nfresh-dependencies = true\nexclude = ['*.csv', '/docs/']\n\
             [tool.dray.connections]\nWarehouse = 'postgresql://h/d'\n\"Hr Db\" = 'DSN=hr'\n",
        )
        .unwrap();
        let text = |text: &str| Some(text.to_owned());
        let expected = Manifest {
            entry: text("a:b"),
            timeout: text("2h30m"),
            grace: text("30s"),
            python: text("/usr/bin/python3"),
            log_level: text("debug"),
            log_format: text("json"),
            no_summary: Some(true),
            no_mask: Some(true),
            scrub: Some(true),
            ignore_preemption: Some(false),
            args_from_activity: Some(false),
            max_unpacked_bytes: Some(1000),
            max_members: Some(16),
            max_ratio: Some(7),
            connections: [("Hr Db", "DSN=hr"), ("Warehouse", "postgresql://h/d")]
                .map(|(name, connection)| (name.to_owned(), connection.to_owned()))
                .to_vec(),
            install: Some(true),
            ignore_requirements: Some(false),
            fresh_dependencies: Some(true),
            exclude: vec!["*.csv".to_owned(), "/docs/".to_owned()],
            requires_python: text(">=3.10"),
            dependencies: vec!["numpy>=2".to_owned()],
        };
        assert_eq!(manifest, expected);
    }

    #[test]
    fn every_key_that_is_named_has_a_place() {
        for key in KEYS {
            assert!(Manifest::default().place(key).is_some(), "{key}");
        }
    }

    #[test]
    fn other_tables_are_passed_over() {
        assert_eq!(parse("[build-system]\nrequires = []\n").unwrap(), Manifest::default());
        assert_eq!(parse("").unwrap(), Manifest::default());
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_name() {
        let error = parse("[tool.dray]\nentry = 'x'\ntimeouts = '1h'\n").unwrap_err();
        assert!(
            matches!(&error, ProjectError::ManifestKeyUnknown { line: 3, column: 1, key, nearest: Some("timeout") } if key == "timeouts"),
            "{error:?}"
        );
    }

    #[test]
    fn a_value_of_the_wrong_type_is_refused_with_its_place() {
        for (text, line, column) in [
            ("[tool.dray]\nentry = 3\n", 2, 9),
            ("[tool.dray]\nno-summary = 'yes'\n", 2, 14),
            ("[tool.dray]\nmax-ratio = -1\n", 2, 13),
            ("[tool]\ndray = 1\n", 2, 8),
            ("[tool.dray]\nconnections = 'x'\n", 2, 15),
            ("[tool.dray.connections]\nA = 1\n", 2, 5),
            ("[project]\nrequires-python = 3\n", 2, 19),
            ("[project]\ndependencies = ['a', 3]\n", 2, 22),
            ("[tool.dray]\nexclude = '*.csv'\n", 2, 11),
        ] {
            match parse(text).unwrap_err() {
                ProjectError::ManifestInvalid { line: l, column: c, .. } => {
                    assert_eq!((l, c), (line, column), "{text}")
                }
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn malformed_toml_is_refused_with_line_and_column() {
        match parse("[tool.dray]\nentry = \"é\" x\n").unwrap_err() {
            ProjectError::ManifestInvalid {
                line: 2,
                column,
                message,
            } => {
                assert_eq!(column, 13);
                assert!(!message.is_empty() && !message.contains('\n'));
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            Manifest::parse(b"a = 1\n\nb = '\xff'"),
            Err(ProjectError::ManifestEncoding { line: 3 })
        ));
    }
}
