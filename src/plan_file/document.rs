//! Bytes as a JSON object: from TOML or JSON, each syntax error with its place. Knows nothing of what the keys mean.

use serde_json::{Map, Number, Value};
use toml::de::{DeTable, DeValue};

use super::{Origin, PlanError};

/// Reads TOML or JSON; where `is_json` does not say which, what begins with `{` is JSON.
pub(super) fn parse(bytes: &[u8], is_json: Option<bool>, origin: &Origin) -> Result<Map<String, Value>, PlanError> {
    let text = str::from_utf8(bytes).map_err(|error| PlanError::NotUtf8 {
        origin: origin.clone(),
        line: memchr::memchr_iter(b'\n', &bytes[..error.valid_up_to()]).count() + 1,
    })?;
    // Editors on Windows begin the file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match is_json.unwrap_or_else(|| text.trim_start().starts_with('{')) {
        true => from_json(text, origin),
        false => from_toml(text, origin),
    }
}

/// An extended property's value: the object itself, or a text of TOML or JSON.
pub(super) fn of_property(value: &Value) -> Result<Map<String, Value>, PlanError> {
    match value {
        Value::Object(document) => Ok(document.clone()),
        Value::String(text) => parse(text.as_bytes(), None, &Origin::Property),
        other => Err(not_an_object(other, &Origin::Property)),
    }
}

fn not_an_object(value: &Value, origin: &Origin) -> PlanError {
    PlanError::Value {
        origin: origin.clone(),
        path: ".".to_owned(),
        actual: super::describe(value),
        allowed: "an object".to_owned(),
    }
}

fn from_json(text: &str, origin: &Origin) -> Result<Map<String, Value>, PlanError> {
    match serde_json::from_str(text) {
        Ok(Value::Object(document)) => Ok(document),
        Ok(other) => Err(not_an_object(&other, origin)),
        Err(error) => Err(PlanError::Syntax {
            origin: origin.clone(),
            form: "JSON",
            line: error.line(),
            column: error.column(),
            message: message(&error),
        }),
    }
}

/// Without its place, which it ends with.
fn message(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
}

fn from_toml(text: &str, origin: &Origin) -> Result<Map<String, Value>, PlanError> {
    let syntax = |offset: usize, message: &str| {
        let (line, column) = crate::project::position(text, offset);
        PlanError::Syntax {
            origin: origin.clone(),
            form: "TOML",
            line,
            column,
            // The parser's messages may have several lines; ours are one.
            message: message.lines().collect::<Vec<_>>().join(", "),
        }
    };
    let document =
        DeTable::parse(text).map_err(|error| syntax(error.span().map_or(0, |span| span.start), error.message()))?;
    members(document.get_ref()).map_err(|(offset, message)| syntax(offset, message))
}

/// The offset of what has no place in JSON, and why.
type Misplaced = (usize, &'static str);

fn members(table: &DeTable<'_>) -> Result<Map<String, Value>, Misplaced> {
    table
        .iter()
        .map(|(name, item)| Ok((name.get_ref().to_string(), value(item)?)))
        .collect()
}

fn value(item: &toml::Spanned<DeValue<'_>>) -> Result<Value, Misplaced> {
    let place = item.span().start;
    Ok(match item.get_ref() {
        DeValue::String(text) => Value::from(text.as_ref()),
        DeValue::Integer(integer) => {
            let number = i64::from_str_radix(integer.as_str(), integer.radix());
            Value::from(number.map_err(|_| (place, "the number is too large"))?)
        }
        DeValue::Float(float) => {
            let number = float.as_str().parse().ok().and_then(Number::from_f64);
            Value::Number(number.ok_or((place, "the number is not finite"))?)
        }
        DeValue::Boolean(boolean) => Value::Bool(*boolean),
        // No key takes one; as a text it is refused, or taken where a text is.
        DeValue::Datetime(time) => Value::from(time.to_string()),
        DeValue::Array(items) => Value::Array(items.iter().map(value).collect::<Result<_, _>>()?),
        DeValue::Table(table) => Value::Object(members(table)?),
    })
}
