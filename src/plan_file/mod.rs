//! A plan as people write it: what to copy and how, in TOML or JSON, in an extended property, or in flags.
//!
//! Owns the words ([`vocabulary`]), how they are read, what is wrong with them, and their JSON Schema. Knows nothing of
//! the engine, nor of the supervisor: what comes out are the arguments of `dray.copy_tables`, as JSON. The supervisor reads
//! a plan to refuse it before anything is started, the native module reads it again for the worker.

mod document;
mod error;
mod flags;
mod schema;
pub mod vocabulary;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use self::{
    error::{Origin, PlanError},
    flags::Flags,
    schema::schema,
};
use vocabulary::{COPY, COPY_KEYS, Key, Kind, OPTIONS, SHARD};

/// The extended property that holds a plan where none is named.
pub const PROPERTY: &str = COPY;

/// The extended property that says which shard is copied where neither flag nor plan does: what the items of a ForEach
/// differ in.
pub const SHARD_PROPERTY: &str = SHARD;

/// Where the plan of a `dray copy` is, and what its flags say; the same for the supervisor and the worker.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PlanSource {
    /// The file that was named.
    pub file: Option<PathBuf>,
    /// What the flags say.
    pub flags: Flags,
}

/// A plan that makes sense: the arguments of `dray.copy_tables`.
#[derive(Clone, Debug, PartialEq)]
pub struct CopyPlan {
    /// The fields of each `dray.Copy`.
    pub copies: Vec<Map<String, Value>>,
    /// The other arguments, `target` among them.
    pub options: Map<String, Value>,
}

impl PlanSource {
    /// The plan: of the file, else of the flags, else of [`PROPERTY`] among the extended `properties`. A flag wins over the
    /// plan's key of the same name, and that over [`SHARD_PROPERTY`]; the flags of one copy (`--source`, `--table`) are a plan
    /// of their own.
    ///
    /// # Errors
    /// A file that cannot be read, and everything in it that makes no sense.
    pub fn read(&self, properties: &Map<String, Value>) -> Result<CopyPlan, PlanError> {
        let (origin, mut document) = match &self.file {
            Some(path) => {
                let origin = Origin::File(path.clone());
                let bytes = fs_err::read(path).map_err(PlanError::Read)?;
                let document = document::parse(&bytes, is_json(path), &origin)?;
                (origin, document)
            }
            None if !self.flags.copy.is_empty() => (Origin::Flags, Map::from_iter([copies(&self.flags.copy)])),
            None => match properties.get(PROPERTY) {
                Some(value) => (Origin::Property, document::of_property(value)?),
                None => return Err(PlanError::NoPlan),
            },
        };
        if origin != Origin::Flags && !self.flags.copy.is_empty() {
            let names: Vec<String> = self
                .flags
                .copy
                .keys()
                .map(|name| format!("`{}`", flags::flag_of(name)))
                .collect();
            return Err(PlanError::Contradiction {
                origin: Origin::Flags,
                message: format!("{} says what to copy, and so does {origin}", names.join(", ")),
            });
        }
        // Before the plan's own: a wrong flag is the command line's fault.
        for (name, value) in &self.flags.options {
            check_keys(
                &Map::from_iter([(name.clone(), value.clone())]),
                &all(OPTIONS),
                "",
                &Origin::Flags,
            )?;
        }
        document.extend(self.flags.options.clone());
        if let Some(shard) = properties.get(SHARD).filter(|_| !document.contains_key(SHARD)) {
            let of_property = Map::from_iter([(SHARD.to_owned(), shard.clone())]);
            check_keys(&of_property, &all(OPTIONS), "", &Origin::ShardProperty)?;
            document.extend(of_property);
        }
        CopyPlan::from_document(document, &origin)
    }
}

fn copies(copy: &Map<String, Value>) -> (String, Value) {
    (COPY.to_owned(), json!([copy]))
}

/// By its name; what has neither ending is looked at.
fn is_json(path: &Path) -> Option<bool> {
    match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
        "json" => Some(true),
        "toml" => Some(false),
        _ => None,
    }
}

impl CopyPlan {
    /// Checks every key and value of a document.
    ///
    /// # Errors
    /// The first that makes no sense.
    pub fn from_document(mut document: Map<String, Value>, origin: &Origin) -> Result<CopyPlan, PlanError> {
        let copies = document.shift_remove(COPY);
        let mut known: Vec<&'static str> = OPTIONS.iter().map(|key| key.name).collect();
        known.push(COPY);
        for name in document.keys() {
            if !known.contains(&name.as_str()) {
                return Err(unknown(name, String::new(), &known, origin));
            }
        }
        check_keys(&document, &all(OPTIONS), "", origin)?;
        if !document.contains_key("target") {
            return Err(PlanError::Missing {
                origin: origin.clone(),
                path: "target".to_owned(),
                why: "the rows have to go somewhere",
            });
        }
        let copies = match copies {
            Some(Value::Array(copies)) if !copies.is_empty() => copies,
            // One copy needs no list.
            Some(copy @ Value::Object(_)) => vec![copy],
            Some(other) => {
                return Err(PlanError::Value {
                    origin: origin.clone(),
                    path: COPY.to_owned(),
                    actual: describe(&other),
                    allowed: "a list of tables `[[copy]]`, one at least".to_owned(),
                });
            }
            None => {
                return Err(PlanError::Missing {
                    origin: origin.clone(),
                    path: COPY.to_owned(),
                    why: "a plan says what to copy in tables `[[copy]]`",
                });
            }
        };
        let copies = copies
            .into_iter()
            .enumerate()
            .map(|(index, copy)| check_copy(copy, &format!("{COPY}[{}]", index + 1), origin))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(CopyPlan {
            copies,
            options: document,
        })
    }

    /// As Python takes it: `{"copies": [...], "options": {...}}`.
    pub fn to_json(&self) -> Value {
        json!({"copies": self.copies, "options": self.options})
    }

    /// The texts that name connections, in which passwords may stand.
    pub fn connection_texts(&self) -> impl Iterator<Item = &str> {
        let sources = self.copies.iter().filter_map(|copy| copy.get("source"));
        sources.chain(self.options.get("target")).filter_map(Value::as_str)
    }
}

fn check_copy(copy: Value, path: &str, origin: &Origin) -> Result<Map<String, Value>, PlanError> {
    let Value::Object(copy) = copy else {
        return Err(PlanError::Value {
            origin: origin.clone(),
            path: path.to_owned(),
            actual: describe(&copy),
            allowed: "a table of keys".to_owned(),
        });
    };
    check_keys(&copy, &all(COPY_KEYS), &format!("{path}."), origin)?;
    let missing = |key: &str, why: &'static str| PlanError::Missing {
        origin: origin.clone(),
        path: format!("{path}.{key}"),
        why,
    };
    let has = |key: &str| copy.contains_key(key);
    let contradiction = |message: String| PlanError::Contradiction {
        origin: origin.clone(),
        message,
    };
    if !has("source") {
        return Err(missing("source", "the rows have to come from somewhere"));
    }
    match (has("tables"), has("query")) {
        (true, true) => {
            return Err(contradiction(format!(
                "`{path}` has `tables` and `query`; one of them is allowed"
            )));
        }
        (false, false) => return Err(missing("tables", "a copy has either `tables` or a `query`")),
        (false, true) => {
            if !has("into") {
                return Err(missing("into", "a `query` has no name of its own"));
            }
            if let Some(key) = ["where", "exclude", "overrides"].into_iter().find(|key| has(key)) {
                let advice = match key {
                    "where" => "; put the condition into the `query`",
                    _ => "",
                };
                let message = format!("`{path}.{key}` goes with `tables`{advice}");
                return Err(contradiction(message));
            }
        }
        (true, false) => {}
    }
    Ok(copy)
}

fn all(keys: &'static [Key]) -> Vec<&'static Key> {
    keys.iter().collect()
}

/// Each key is known, and its value one that it takes.
fn check_keys(
    document: &Map<String, Value>,
    keys: &[&'static Key],
    prefix: &str,
    origin: &Origin,
) -> Result<(), PlanError> {
    for (name, value) in document {
        let Some(key) = keys.iter().find(|key| key.name == name) else {
            let known: Vec<&'static str> = keys.iter().map(|key| key.name).collect();
            return Err(unknown(name, prefix.to_owned(), &known, origin));
        };
        if !takes(key.kind, value) {
            return Err(PlanError::Value {
                origin: origin.clone(),
                path: format!("{prefix}{name}"),
                actual: describe(value),
                allowed: key.kind.allowed(),
            });
        }
        if let (Kind::Overrides, Value::Object(tables)) = (key.kind, value) {
            for (table, instead) in tables {
                let overridable: Vec<&Key> = COPY_KEYS.iter().filter(|key| key.is_overridable()).collect();
                if let Value::Object(instead) = instead {
                    check_keys(instead, &overridable, &format!("{prefix}{name}.\"{table}\"."), origin)?;
                }
            }
        }
    }
    Ok(())
}

fn unknown(name: &str, prefix: String, known: &[&'static str], origin: &Origin) -> PlanError {
    PlanError::UnknownKey {
        origin: origin.clone(),
        path: format!("{prefix}{name}"),
        nearest: crate::project::nearest(name, known.iter().copied()),
        allowed: known
            .iter()
            .map(|name| format!("`{name}`"))
            .collect::<Vec<_>>()
            .join(", "),
    }
}

fn takes(kind: Kind, value: &Value) -> bool {
    let is_text = |value: &Value| value.as_str().is_some_and(|text| !text.trim().is_empty());
    match kind {
        Kind::Text => is_text(value),
        Kind::Texts => match value {
            Value::Array(texts) => !texts.is_empty() && texts.iter().all(is_text),
            value => is_text(value),
        },
        Kind::OneOf(words) => value.as_str().is_some_and(|text| words.contains(&text)),
        Kind::Count => value.as_u64().is_some_and(|count| count >= 1),
        Kind::Bytes => match value {
            Value::String(text) => is_size(text),
            value => value.as_u64().is_some(),
        },
        Kind::Distance => match value {
            Value::String(text) => is_amount(text, &["", "s", "min", "h", "d"]),
            value => value.as_u64().is_some(),
        },
        Kind::Seconds => value.as_f64().is_some_and(|seconds| seconds >= 0.0),
        Kind::Number => value.as_u64().is_some(),
        Kind::Flag => value.is_boolean(),
        Kind::Shard => value.as_str().is_some_and(is_shard),
        Kind::Names => (value.as_object()).is_some_and(|names| names.values().all(is_text)),
        Kind::Overrides => {
            (value.as_object()).is_some_and(|tables| !tables.is_empty() && tables.values().all(Value::is_object))
        }
    }
}

/// Digits and a unit, as `memory_limit` of `dray.copy_tables` takes them.
fn is_size(text: &str) -> bool {
    is_amount(
        &text.to_ascii_lowercase(),
        &["", "b", "kib", "mib", "gib", "kb", "mb", "gb"],
    )
}

/// Two whole numbers, of which the first is 1 at least and the second at most.
fn is_shard(text: &str) -> bool {
    let parts = text.split_once('/');
    let number = |text: &str| text.trim().parse::<u32>().ok();
    let parts = parts.and_then(|(part, count)| number(part).zip(number(count)));
    parts.is_some_and(|(part, count)| (1..=count).contains(&part))
}

/// Digits and one of these units.
fn is_amount(text: &str, units: &[&str]) -> bool {
    let text = text.trim();
    let digits = text.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit = &text[digits.len()..];
    let digits = digits.trim_end();
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) && units.contains(&unit)
}

/// A value as an error shows it: words and numbers as they are, as far as they are short; of the rest what it is.
fn describe(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::String(text) if text.trim().is_empty() => "an empty text".to_owned(),
        Value::String(text) if text.chars().count() <= 40 && !text.contains('=') && !text.contains("://") => {
            format!("`{text}`")
        }
        // It may be a connection string.
        Value::String(_) => "another text".to_owned(),
        Value::Number(number) => format!("`{number}`"),
        Value::Bool(value) => format!("`{value}`"),
        Value::Array(items) if items.is_empty() => "an empty list".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a table".to_owned(),
    }
}

#[cfg(test)]
mod tests;
