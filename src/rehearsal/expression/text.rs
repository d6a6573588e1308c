//! What a value is as a text.

use serde_json::Value;

/// As Data Factory writes a value into a text: null is nothing, truth has a capital letter (.NET's), the rest is JSON.
pub fn text_of(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
