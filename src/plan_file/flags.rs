//! The plan's keys as flags of the command line, made from the vocabulary.

use clap::{Arg, ArgAction, ArgMatches, Command};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::vocabulary::{COPY_KEYS, Key, Kind, OPTIONS, find};

/// What the flags say, as a plan would have it; values are not checked yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Flags {
    /// Those of one copy.
    pub copy: Map<String, Value>,
    /// Those of the whole plan.
    pub options: Map<String, Value>,
}

/// The flag of a key, such as `--memory-limit`. `tables` is `--table`, which can be given several times.
pub(super) fn flag_of(name: &str) -> String {
    format!("--{}", long_of(name))
}

fn long_of(name: &str) -> String {
    match name {
        "tables" => "table".to_owned(),
        name => name.replace('_', "-"),
    }
}

impl clap::Args for Flags {
    fn augment_args(command: Command) -> Command {
        let command = OPTIONS
            .iter()
            .fold(command, |command, key| command.arg(flag(key, "Options of the plan")));
        of_copy_alone().fold(command, |command, key| {
            command.arg(flag(key, "One copy without a plan"))
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

/// The keys of one copy that the whole plan does not have: with a single one, both mean the same.
fn of_copy_alone() -> impl Iterator<Item = &'static Key> {
    // A table's own keys, in a plan of several tables, are too much for a flag.
    let is_flag = |key: &&Key| !matches!(key.kind, Kind::Overrides) && find(OPTIONS, key.name).is_none();
    COPY_KEYS.iter().filter(is_flag)
}

fn flag(key: &'static Key, heading: &'static str) -> Arg {
    let default = match key.default {
        "" => String::new(),
        default => format!(" [default: {default}]"),
    };
    let words = match key.kind {
        Kind::OneOf(words) => format!(": {}", words.join(", ")),
        _ => String::new(),
    };
    let (value_name, action) = match key.kind {
        Kind::Texts => ("TEXT", ArgAction::Append),
        Kind::Count => ("COUNT", ArgAction::Set),
        Kind::Bytes => ("BYTES", ArgAction::Set),
        Kind::Distance => ("AMOUNT", ArgAction::Set),
        Kind::Seconds => ("SECONDS", ArgAction::Set),
        Kind::Number => ("COUNT", ArgAction::Set),
        Kind::Flag => ("", ArgAction::SetTrue),
        Kind::Shard => ("PART/COUNT", ArgAction::Set),
        Kind::OneOf(_) => ("WORD", ArgAction::Set),
        Kind::Names => ("OLD=NEW", ArgAction::Append),
        Kind::Text | Kind::Overrides => ("TEXT", ArgAction::Set),
    };
    let flag = match key.kind {
        Kind::Flag => Arg::new(key.name),
        _ => Arg::new(key.name).value_name(value_name),
    };
    flag.long(long_of(key.name))
        .action(action)
        .help(format!("{}{words}{default}", key.about))
        .help_heading(heading)
}

impl clap::FromArgMatches for Flags {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Flags {
            copy: given(matches, of_copy_alone()),
            options: given(matches, OPTIONS.iter()),
        })
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Flags::from_arg_matches(matches)?;
        Ok(())
    }
}

fn given(matches: &ArgMatches, keys: impl Iterator<Item = &'static Key>) -> Map<String, Value> {
    let mut flags = Map::new();
    for key in keys {
        if let Kind::Flag = key.kind {
            if matches.get_flag(key.name) {
                flags.insert(key.name.to_owned(), Value::Bool(true));
            }
            continue;
        }
        let Some(values) = matches.get_many::<String>(key.name) else {
            continue;
        };
        let texts: Vec<&String> = values.collect();
        let value = match (key.kind, texts.as_slice()) {
            (Kind::Count | Kind::Number, [text]) => text
                .parse::<u64>()
                .map_or_else(|_| Value::from(text.as_str()), Value::from),
            (Kind::Seconds, [text]) => text
                .parse::<f64>()
                .map_or_else(|_| Value::from(text.as_str()), Value::from),
            // Of what a number or a text may be, both are a text here.
            (Kind::Names, texts) => names(texts),
            (Kind::Texts, texts) if texts.len() > 1 => texts.iter().map(|text| text.as_str()).collect(),
            (_, texts) => texts.last().map_or(Value::Null, |text| Value::from(text.as_str())),
        };
        flags.insert(key.name.to_owned(), value);
    }
    flags
}

/// Pairs of names as an object; or the text that is no pair, as what is checked later.
fn names(texts: &[&String]) -> Value {
    let mut names = Map::new();
    for text in texts {
        match text.split_once('=') {
            Some((from, to)) => names.insert(from.to_owned(), Value::from(to)),
            None => return Value::from(text.as_str()),
        };
    }
    Value::Object(names)
}
