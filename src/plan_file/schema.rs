//! The JSON Schema of a plan, for editors; made from the vocabulary, so that it says what the parser does.

use serde_json::{Map, Value, json};

use super::vocabulary::{COPY, COPY_KEYS, Key, Kind, OPTIONS};

/// The schema, of the draft that editors of TOML and JSON read most widely.
pub fn schema() -> Value {
    let mut properties = properties(OPTIONS);
    let copy = json!({
        "type": "object",
        "properties": self::properties(COPY_KEYS),
        "additionalProperties": false,
        "required": ["source"],
        "oneOf": [
            {"required": ["tables"]},
            {"required": ["query", "into"], "not": {"anyOf": [
                {"required": ["where"]}, {"required": ["exclude"]}, {"required": ["overrides"]},
            ]}},
        ],
    });
    properties.insert(
        COPY.to_owned(),
        json!({
            "description": "What is copied: one table of keys, or a list of them",
            "oneOf": [{"type": "array", "minItems": 1, "items": {"$ref": "#/$defs/copy"}}, {"$ref": "#/$defs/copy"}],
        }),
    );
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A plan of dray copy",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "required": ["target", COPY],
        "$defs": {"copy": copy},
    })
}

fn properties<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Map<String, Value> {
    let named = |key: &Key| (key.name.to_owned(), property(key));
    keys.into_iter().map(named).collect()
}

fn property(key: &Key) -> Value {
    // A text of blanks alone says nothing.
    let text = json!({"type": "string", "pattern": "\\S"});
    let mut property = match key.kind {
        Kind::Text => text,
        Kind::Texts => json!({"oneOf": [text, {"type": "array", "minItems": 1, "items": text}]}),
        Kind::OneOf(words) => json!({"enum": words}),
        Kind::Count => json!({"type": "integer", "minimum": 1}),
        Kind::Bytes => json!({"oneOf": [
            {"type": "integer", "minimum": 0},
            {"type": "string", "pattern": "^\\s*[0-9]+\\s*([bB]|[kKmMgG][iI]?[bB])?\\s*$"},
        ]}),
        Kind::Distance => json!({"oneOf": [
            {"type": "integer", "minimum": 0},
            {"type": "string", "pattern": "^\\s*[0-9]+\\s*(s|min|h|d)?\\s*$"},
        ]}),
        Kind::Seconds => json!({"type": "number", "minimum": 0}),
        Kind::Number => json!({"type": "integer", "minimum": 0}),
        Kind::Flag => json!({"type": "boolean"}),
        Kind::Names => json!({"type": "object", "additionalProperties": text}),
        Kind::Overrides => json!({
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {
                "type": "object",
                "properties": properties(COPY_KEYS.iter().filter(|key| key.is_overridable())),
                "additionalProperties": false,
            },
        }),
        Kind::Shard => json!({"type": "string", "pattern": "^\\s*[1-9][0-9]*\\s*/\\s*[1-9][0-9]*\\s*$"}),
    };
    property["description"] = Value::from(key.about);
    if !key.default.is_empty() {
        match key.kind {
            Kind::Flag => property["default"] = Value::from(key.default == "true"),
            Kind::OneOf(_) | Kind::Bytes => property["default"] = Value::from(key.default),
            // In words, where it depends.
            _ => property["description"] = Value::from(format!("{} (default: {})", key.about, key.default)),
        }
    }
    property
}
