//! One requirement as PEP 508 writes it: a name, extras, versions, and a marker that says where it holds.
//!
//! Versions are a library's (`pep440_rs`). The crate for the rest, `pep508_rs`, is no longer kept up and brings some
//! forty others for the URLs that it also reads; what a check before the script's start needs of it is this much.

use std::collections::BTreeSet;
use std::str::FromStr;

use pep440_rs::{Version, VersionSpecifiers};

use crate::interpreter::Interpreter;

/// A requirement.
#[derive(Clone, Debug)]
pub struct Requirement {
    /// As written.
    pub name: String,
    /// Names in brackets, normalised.
    pub extras: BTreeSet<String>,
    /// None: any version. Of a requirement by URL, nothing is known.
    pub versions: Option<VersionSpecifiers>,
    marker: Option<Marker>,
}

/// What a marker can ask of the place where the script runs; names and values as PEP 508 has them.
pub struct MarkerEnvironment {
    values: Vec<(&'static str, String)>,
}

impl MarkerEnvironment {
    /// That of an interpreter on this machine.
    pub fn of(interpreter: &Interpreter) -> MarkerEnvironment {
        let version = &interpreter.version;
        let system = rustix::system::uname();
        let text = |text: &std::ffi::CStr| text.to_string_lossy().into_owned();
        let values = vec![
            ("os_name", "posix".to_owned()),
            ("sys_platform", "linux".to_owned()),
            ("platform_machine", text(system.machine())),
            ("platform_python_implementation", "CPython".to_owned()),
            ("platform_release", text(system.release())),
            ("platform_system", "Linux".to_owned()),
            ("platform_version", text(system.version())),
            ("python_version", format!("{}.{}", version.major, version.minor)),
            ("python_full_version", version.to_string()),
            ("implementation_name", "cpython".to_owned()),
            ("implementation_version", version.to_string()),
        ];
        MarkerEnvironment { values }
    }

    fn value(&self, name: &str) -> Option<&str> {
        let name = name.replace('.', "_"); // `os.name`, as setuptools once had them
        let name = if name == "python_implementation" {
            "platform_python_implementation"
        } else {
            &name
        };
        self.values
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| value.as_str())
    }
}

/// Lower case, one `-` for each run of `-`, `_` and `.` (PEP 503).
pub fn normalised(name: &str) -> String {
    let mut normalised = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '-' | '_' | '.' if normalised.ends_with('-') => {}
            '-' | '_' | '.' => normalised.push('-'),
            _ => normalised.extend(character.to_lowercase()),
        }
    }
    normalised
}

impl Requirement {
    /// Whether it holds in `environment`, when its distribution was asked for with `extras`.
    pub fn holds(&self, environment: &MarkerEnvironment, extras: &BTreeSet<String>) -> bool {
        self.marker
            .as_ref()
            .is_none_or(|marker| marker.holds(environment, extras))
    }

    /// Whether a distribution of this version does. A version that is none is not judged.
    pub fn admits(&self, version: &str) -> bool {
        match (&self.versions, Version::from_str(version)) {
            (Some(versions), Ok(version)) => versions.contains(&version),
            _ => true,
        }
    }
}

impl FromStr for Requirement {
    type Err = String;

    /// # Errors
    /// What is wrong, as a phrase.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (head, marker) = split_marker(text);
        let marker = marker.map(Marker::parse).transpose()?;
        let head = head.trim();
        let end = head
            .find(|character: char| !(character.is_ascii_alphanumeric() || "-_.".contains(character)))
            .unwrap_or(head.len());
        let (name, mut rest) = (&head[..end], head[end..].trim_start());
        if name.is_empty() || !name.starts_with(|first: char| first.is_ascii_alphanumeric()) {
            return Err("it does not begin with a name".to_owned());
        }
        let mut extras = BTreeSet::new();
        if let Some(inner) = rest.strip_prefix('[') {
            let (inside, behind) = inner.split_once(']').ok_or("`[` is not closed")?;
            extras.extend(
                inside
                    .split(',')
                    .map(str::trim)
                    .filter(|name| !name.is_empty())
                    .map(normalised),
            );
            rest = behind.trim_start();
        }
        let versions = if rest.starts_with('@') || rest.is_empty() {
            None
        } else {
            let inner = rest
                .strip_prefix('(')
                .and_then(|rest| rest.strip_suffix(')'))
                .unwrap_or(rest);
            let versions = VersionSpecifiers::from_str(inner.trim());
            Some(versions.map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())?)
        };
        Ok(Requirement {
            name: name.to_owned(),
            extras,
            versions,
            marker,
        })
    }
}

/// The marker stands behind a `;`; in a URL only behind one with a blank before it.
fn split_marker(text: &str) -> (&str, Option<&str>) {
    let separator = if text.contains('@') { " ;" } else { ";" };
    match text.split_once(separator) {
        Some((head, marker)) if !marker.trim().is_empty() => (head, Some(marker)),
        Some((head, _)) => (head, None),
        None => (text, None),
    }
}

#[derive(Clone, Debug)]
enum Marker {
    All(Vec<Marker>),
    Any(Vec<Marker>),
    Compare(Operand, String, Operand),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Operand {
    Variable(String),
    Text(String),
}

impl Marker {
    fn parse(text: &str) -> Result<Marker, String> {
        let tokens = tokens(text)?;
        let mut parser = Parser { tokens: &tokens };
        let marker = parser.any()?;
        match parser.tokens.first() {
            None => Ok(marker),
            Some(token) => Err(format!("`{}` is not expected in its marker", token.shown())),
        }
    }

    fn holds(&self, environment: &MarkerEnvironment, extras: &BTreeSet<String>) -> bool {
        match self {
            Marker::All(parts) => parts.iter().all(|part| part.holds(environment, extras)),
            Marker::Any(parts) => parts.iter().any(|part| part.holds(environment, extras)),
            Marker::Compare(left, operator, right) => {
                let value = |operand: &Operand| match operand {
                    Operand::Text(text) => text.clone(),
                    Operand::Variable(name) => environment.value(name).unwrap_or_default().to_owned(),
                };
                let extra = |operand: &Operand| *operand == Operand::Variable("extra".to_owned());
                if extra(left) || extra(right) {
                    let asked = extras.contains(&normalised(&value(if extra(left) { right } else { left })));
                    return asked == (operator != "!=");
                }
                compare(&value(left), operator, &value(right))
            }
        }
    }
}

/// As versions where both sides are, else as text (PEP 508).
fn compare(left: &str, operator: &str, right: &str) -> bool {
    if !matches!(operator, "in" | "not in")
        && let (Ok(version), Ok(versions)) = (
            Version::from_str(left),
            VersionSpecifiers::from_str(&format!("{operator}{right}")),
        )
    {
        return versions.contains(&version);
    }
    match operator {
        "==" | "===" => left == right,
        "!=" => left != right,
        "<" => left < right,
        "<=" => left <= right,
        ">" => left > right,
        ">=" => left >= right,
        "in" => right.contains(left),
        "not in" => !right.contains(left),
        _ => false,
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Open,
    Close,
    Operator(String),
    Word(String),
    Text(String),
}

impl Token {
    fn shown(&self) -> &str {
        match self {
            Token::Open => "(",
            Token::Close => ")",
            Token::Operator(text) | Token::Word(text) | Token::Text(text) => text,
        }
    }
}

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let taken = match first {
            '(' | ')' => {
                tokens.push(if first == '(' { Token::Open } else { Token::Close });
                1
            }
            '\'' | '"' => {
                let inner = &rest[1..];
                let end = inner.find(first).ok_or("a quote in its marker is not closed")?;
                tokens.push(Token::Text(inner[..end].to_owned()));
                end + 2
            }
            _ => {
                let is_word = |character: char| character.is_ascii_alphanumeric() || "_.".contains(character);
                let is_sign = |character: char| "<>=!~".contains(character);
                let kind: &dyn Fn(char) -> bool = if is_word(first) {
                    &is_word
                } else if is_sign(first) {
                    &is_sign
                } else {
                    return Err(format!("`{first}` is not expected in its marker"));
                };
                let end = rest.find(|character| !kind(character)).unwrap_or(rest.len());
                let token = rest[..end].to_owned();
                tokens.push(if is_sign(first) {
                    Token::Operator(token)
                } else {
                    Token::Word(token)
                });
                end
            }
        };
        rest = rest[taken..].trim_start();
    }
    Ok(tokens)
}

struct Parser<'a> {
    tokens: &'a [Token],
}

impl Parser<'_> {
    fn any(&mut self) -> Result<Marker, String> {
        let mut parts = vec![self.all()?];
        while self.word("or") {
            parts.push(self.all()?);
        }
        Ok(Marker::Any(parts))
    }

    fn all(&mut self) -> Result<Marker, String> {
        let mut parts = vec![self.one()?];
        while self.word("and") {
            parts.push(self.one()?);
        }
        Ok(Marker::All(parts))
    }

    fn one(&mut self) -> Result<Marker, String> {
        if self.tokens.first() == Some(&Token::Open) {
            self.next();
            let inner = self.any()?;
            return match self.next() {
                Some(Token::Close) => Ok(inner),
                _ => Err("a parenthesis in its marker is not closed".to_owned()),
            };
        }
        let left = self.operand()?;
        let operator = match self.next() {
            Some(Token::Operator(operator)) => operator,
            Some(Token::Word(word)) if word == "in" => word,
            Some(Token::Word(word)) if word == "not" && self.word("in") => "not in".to_owned(),
            _ => return Err("its marker lacks a comparison".to_owned()),
        };
        Ok(Marker::Compare(left, operator, self.operand()?))
    }

    fn operand(&mut self) -> Result<Operand, String> {
        match self.next() {
            Some(Token::Word(name)) => Ok(Operand::Variable(name)),
            Some(Token::Text(text)) => Ok(Operand::Text(text)),
            _ => Err("its marker lacks a value".to_owned()),
        }
    }

    fn word(&mut self, word: &str) -> bool {
        let is_next = matches!(self.tokens.first(), Some(Token::Word(next)) if next == word);
        if is_next {
            self.next();
        }
        is_next
    }

    fn next(&mut self) -> Option<Token> {
        let (first, rest) = self.tokens.split_first()?;
        self.tokens = rest;
        Some(first.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(marker: &str, extras: &[&str]) -> bool {
        let environment = MarkerEnvironment {
            values: vec![
                ("python_version", "3.9".to_owned()),
                ("python_full_version", "3.9.18".to_owned()),
                ("sys_platform", "linux".to_owned()),
                ("platform_python_implementation", "CPython".to_owned()),
            ],
        };
        let requirement: Requirement = format!("a; {marker}").parse().unwrap();
        requirement.holds(&environment, &extras.iter().map(|extra| normalised(extra)).collect())
    }

    #[test]
    fn versions_in_markers_are_compared_as_versions() {
        assert!(holds("python_version < '3.10'", &[]));
        assert!(!holds("python_version >= '3.10'", &[]));
        assert!(holds("python_full_version == '3.9.*'", &[]));
        assert!(holds("'3.8' < python_version", &[]));
    }

    #[test]
    fn markers_join_by_and_before_or_and_take_parentheses() {
        assert!(holds(
            "python_version > '3' or python_version < '2' and sys_platform == 'win32'",
            &[]
        ));
        assert!(!holds(
            "(python_version > '3' or python_version < '2') and sys_platform == 'win32'",
            &[]
        ));
        assert!(holds(
            "sys_platform in 'linux darwin' and python_version not in '3.10 3.11'",
            &[]
        ));
        assert!(holds(
            "python_implementation == \"CPython\" and sys.platform != 'win32'",
            &[]
        ));
    }

    #[test]
    fn an_extra_holds_where_it_was_asked_for() {
        assert!(holds("extra == 'Socks_5'", &["socks-5"]));
        assert!(!holds("extra == 'socks'", &[]));
    }

    #[test]
    fn name_extras_and_versions_are_read_in_all_spellings() {
        let requirement: Requirement = "Foo.Bar [b, A_c] (>=1,<2) ; sys_platform == 'linux'".parse().unwrap();
        assert_eq!(requirement.name, "Foo.Bar");
        assert_eq!(requirement.extras.iter().collect::<Vec<_>>(), ["a-c", "b"]);
        assert!(requirement.admits("1.5") && !requirement.admits("2.0"));
        let by_url: Requirement = "foo @ https://host/a;b.whl".parse().unwrap();
        assert!(by_url.versions.is_none());
        let pinned: Requirement = "foo==1.0".parse().unwrap();
        assert!(pinned.admits("1.0.0") && !pinned.admits("1.1"));
    }

    #[test]
    fn what_is_no_requirement_is_refused() {
        for text in [
            "==1",
            "foo ~ 1",
            "foo[a",
            "foo; python_version",
            "foo; (os_name == 'a'",
            "foo; os_name == 'a",
        ] {
            assert!(text.parse::<Requirement>().is_err(), "{text}");
        }
    }
}
