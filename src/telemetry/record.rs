//! One log record and its two forms: a JSON object on one line, and text for people.
//!
//! Knows nothing of where records come from or go to. Strings in it are masked already.

use std::fmt::Write;

use jiff::Timestamp;
use jiff::fmt::temporal::DateTimePrinter;
use serde_json::{Map, Value};

use super::LogLevel;

/// A log record, ready to be written.
pub(super) struct Record<'a> {
    pub time: Timestamp,
    pub level: LogLevel,
    pub event: &'a str,
    pub message: &'a str,
    pub phase: &'a str,
    pub batch: &'a [(&'static str, String)],
    pub logger: &'a str,
    pub fields: Map<String, Value>,
    pub exception: Option<&'a str>,
}

impl Record<'_> {
    /// The record as one line of JSON, with its line feed.
    pub fn to_json(&self) -> String {
        let mut members = Map::new();
        let mut set = |key: &str, value: &str| members.insert(key.to_owned(), Value::from(value));
        set("time", &rfc3339(self.time, 6));
        set("level", self.level.name());
        set("event", self.event);
        set("message", self.message);
        if !self.phase.is_empty() {
            set("phase", self.phase);
        }
        for (key, value) in self.batch {
            set(key, value);
        }
        set("logger", self.logger);
        if let Some(exception) = self.exception {
            set("exception", exception);
        }
        if !self.fields.is_empty() {
            members.insert("fields".to_owned(), Value::Object(self.fields.clone()));
        }
        let mut line = Value::Object(members).to_string();
        line.push('\n');
        line
    }

    /// The record for people: time, level, phase, message, fields, logger, and the exception on lines of its own.
    pub fn to_text(&self, colour: bool) -> String {
        let (dim, strong, plain) = if colour {
            ("\x1b[2m", self.level.colour(), "\x1b[0m")
        } else {
            ("", "", "")
        };
        let mut text = format!(
            "{dim}{}{plain} {strong}{:<8}{plain} ",
            rfc3339(self.time, 3),
            self.level.name()
        );
        if !self.phase.is_empty() {
            text.push_str(self.phase);
            text.push_str(": ");
        }
        push_printable(&mut text, self.message);
        for (key, value) in &self.fields {
            text.push_str(dim);
            text.push(' ');
            push_printable(&mut text, key);
            text.push('=');
            text.push_str(plain);
            match value {
                Value::String(value) if is_bare(value) => text.push_str(value),
                value => push_printable(&mut text, &value.to_string()),
            }
        }
        // Writing to a String cannot fail.
        let _ = write!(text, " {dim}({}){plain}", self.logger);
        if let Some(exception) = self.exception {
            text.push('\n');
            push_printable(&mut text, exception.trim_end_matches('\n'));
        }
        text.push('\n');
        text
    }
}

fn rfc3339(time: Timestamp, digits: u8) -> String {
    DateTimePrinter::new()
        .precision(Some(digits))
        .timestamp_to_string(&time)
}

fn is_bare(text: &str) -> bool {
    !text.is_empty()
        && !text.contains(|character: char| {
            character.is_whitespace() || character.is_control() || matches!(character, '"' | '=' | '\\')
        })
}

/// Control characters other than tab and line feed are escaped: text from outside must not steer a terminal.
fn push_printable(text: &mut String, part: &str) {
    for character in part.chars() {
        if character.is_control() && !matches!(character, '\t' | '\n') {
            text.extend(character.escape_default());
        } else {
            text.push(character);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn record<'a>(fields: Value, batch: &'a [(&'static str, String)], exception: Option<&'a str>) -> Record<'a> {
        Record {
            time: Timestamp::from_microsecond(1_795_000_000_000_020).unwrap(),
            level: LogLevel::Warning,
            event: "project.unpacked",
            message: "unpacked \"é\"\nsecond line",
            phase: "unpacking",
            batch,
            logger: "dray::project",
            fields: fields.as_object().cloned().unwrap_or_default(),
            exception,
        }
    }

    #[test]
    fn a_record_is_one_line_of_json_with_all_its_parts() {
        let batch = [("pool_id", "p".to_owned()), ("task_id", "t".to_owned())];
        let line = record(json!({"members": 5}), &batch, Some("Traceback\n...")).to_json();
        assert_eq!(line.matches('\n').count(), 1);
        assert_eq!(
            serde_json::from_str::<Value>(&line).unwrap(),
            json!({"time": "2026-11-18T11:06:40.000020Z", "level": "warning", "event": "project.unpacked",
                "message": "unpacked \"é\"\nsecond line", "phase": "unpacking", "pool_id": "p", "task_id": "t",
                "logger": "dray::project", "exception": "Traceback\n...", "fields": {"members": 5}})
        );
    }

    #[test]
    fn text_carries_fields_and_has_no_colour_unless_asked() {
        let fields = json!({"members": 5, "name": "a b", "path": "x/y"});
        assert_eq!(
            record(fields, &[], Some("Traceback\n")).to_text(false),
            "2026-11-18T11:06:40.000Z warning  unpacking: unpacked \"é\"\nsecond line members=5 name=\"a b\" path=x/y \
             (dray::project)\nTraceback\n"
        );
        assert!(record(json!({}), &[], None).to_text(true).contains("\x1b["));
    }

    #[test]
    fn text_from_outside_cannot_steer_the_terminal() {
        let mut record = record(json!({"x": "\x1b[2J"}), &[], Some("\x07"));
        record.message = "\x1b]0;title\x07";
        let text = record.to_text(false);
        assert!(!text.contains('\x1b') && !text.contains('\x07'), "{text:?}");
    }
}
