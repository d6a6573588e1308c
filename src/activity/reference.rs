//! The objects that stand for something else in ADF's files: secrets, references into a Key Vault, expressions.
//!
//! Knows their shapes (azure-mgmt-datafactory 10.0.0, `models/_models.py`) and nothing of where they were found. Keys
//! and type names are matched without regard to case: ADF's own samples spell some keys in two ways.

use std::fmt;

use serde_json::{Map, Value, json};

/// The key that marks an object as one of dray's own in the document for the Python package.
pub const MARK: &str = "__dray__";

/// What an object of one of ADF's reference types says.
#[derive(Clone, Debug, PartialEq)]
pub enum Special {
    /// `{"type": "SecureString", "value": ...}`; in clear text on the node (azure-docs issue 16170). A value that is no
    /// string is kept as its JSON text.
    Secret(String),
    /// `{"type": "AzureKeyVaultSecret", "store": {...}, "secretName": ..., "secretVersion": ...}`; ADF does not resolve
    /// these for custom activities (azure-docs, store-credentials-in-key-vault.md).
    KeyVaultSecret(KeyVaultSecret),
    /// `{"type": "Expression", "value": "@..."}`; ADF evaluates these before the task starts, except perhaps in
    /// datasets.json.
    Expression,
}

/// A secret that still lies in a Key Vault.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyVaultSecret {
    /// Name of the Key Vault's linked service.
    pub store: Option<String>,
    /// Name of the secret in the vault.
    pub secret_name: Option<String>,
    /// Version; the latest if absent.
    pub secret_version: Option<String>,
}

impl fmt::Display for KeyVaultSecret {
    /// A few words for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let or_unknown = |name: &Option<String>| name.clone().unwrap_or("?".to_owned());
        let (secret, store) = (or_unknown(&self.secret_name), or_unknown(&self.store));
        write!(f, "(secret `{secret}` in Key Vault `{store}`)")
    }
}

impl Special {
    /// Recognises `value`; `None` for any ordinary value.
    pub fn of(value: &Value) -> Option<Special> {
        let object = value.as_object()?;
        let type_name = member(object, "type")?.as_str()?;
        if type_name.eq_ignore_ascii_case("SecureString") {
            match member(object, "value")? {
                Value::Null => None,
                value => Some(Special::Secret(scalar_text(value).unwrap_or_else(|| value.to_string()))),
            }
        } else if type_name.eq_ignore_ascii_case("AzureKeyVaultSecret") {
            let text = |key| member(object, key).and_then(scalar_text);
            Some(Special::KeyVaultSecret(KeyVaultSecret {
                store: member(object, "store")
                    .and_then(Value::as_object)
                    .and_then(|store| member(store, "referenceName"))
                    .and_then(scalar_text),
                secret_name: text("secretName"),
                secret_version: text("secretVersion"),
            }))
        } else if type_name.eq_ignore_ascii_case("Expression") && member(object, "value").is_some() {
            Some(Special::Expression)
        } else {
            None
        }
    }
}

/// Adds each reference to a secret at any depth of `value` to `found` that is not in it.
pub(super) fn collect_references(value: &Value, found: &mut Vec<KeyVaultSecret>) {
    match (Special::of(value), value) {
        (Some(Special::KeyVaultSecret(reference)), _) if found.contains(&reference) => {}
        (Some(Special::KeyVaultSecret(reference)), _) => found.push(reference),
        (_, Value::Array(items)) => items.iter().for_each(|item| collect_references(item, found)),
        (_, Value::Object(object)) => object.values().for_each(|item| collect_references(item, found)),
        _ => {}
    }
}

/// The member of `object` named `key`: the exact spelling first, else one that differs in case alone.
pub fn member<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    exact_key(object, key).and_then(|key| object.get(key))
}

/// How `key` is spelled in `object`, if it is there at all.
pub fn exact_key<'a>(object: &'a Map<String, Value>, key: &'a str) -> Option<&'a str> {
    if object.contains_key(key) {
        return Some(key);
    }
    object
        .keys()
        .map(String::as_str)
        .find(|other| other.eq_ignore_ascii_case(key))
}

/// The text of a string, number or boolean: ADF writes ports and flags in both ways.
pub fn scalar_text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A copy of `value` in which secrets and Key Vault references at any depth are marked for the Python package.
///
/// A secret becomes `{"__dray__": "secret", "value": text}`, a Key Vault reference `{"__dray__": "key_vault_secret",
/// "store": ..., "secret_name": ..., "secret_version": ...}` (absent parts are null). An object of the file's own that
/// has a key `__dray__` becomes `{"__dray__": "object", "value": {...}}`, so that nothing in a file can pass for a mark.
/// An Expression stays the object that it is.
pub fn marked(value: &Value) -> Value {
    match Special::of(value) {
        Some(Special::Secret(text)) => json!({MARK: "secret", "value": text}),
        Some(Special::KeyVaultSecret(KeyVaultSecret {
            store,
            secret_name,
            secret_version,
        })) => json!({
            MARK: "key_vault_secret", "store": store, "secret_name": secret_name, "secret_version": secret_version
        }),
        Some(Special::Expression) | None => match value {
            Value::Array(items) => Value::Array(items.iter().map(marked).collect()),
            Value::Object(object) => {
                let members = marked_members(object);
                if object.contains_key(MARK) {
                    json!({MARK: "object", "value": members})
                } else {
                    Value::Object(members)
                }
            }
            scalar => scalar.clone(),
        },
    }
}

/// [`marked`] for each member of an object that is itself no special one; its own key `__dray__` is left alone.
pub fn marked_members(object: &Map<String, Value>) -> Map<String, Value> {
    object.iter().map(|(key, value)| (key.clone(), marked(value))).collect()
}

/// A copy of `value` in which each secret at any depth is its plain text, for a script's argument list. What else has no
/// value here is `text_of` it, or its error.
pub fn unwrapped<E>(value: &Value, text_of: &dyn Fn(Special) -> Result<String, E>) -> Result<Value, E> {
    let inside = |value: &Value| unwrapped(value, text_of);
    match Special::of(value) {
        Some(Special::Secret(text)) => Ok(Value::String(text)),
        Some(special) => text_of(special).map(Value::String),
        None => match value {
            Value::Array(items) => items.iter().map(inside).collect::<Result<_, _>>().map(Value::Array),
            Value::Object(object) => object
                .iter()
                .map(|(key, value)| Ok((key.clone(), inside(value)?)))
                .collect::<Result<_, _>>()
                .map(Value::Object),
            scalar => Ok(scalar.clone()),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secure_string_is_recognised_in_any_key_order_and_case() {
        for value in [
            json!({"type": "SecureString", "value": "x"}),
            json!({"value": "x", "type": "SecureString"}),
            json!({"Type": "securestring", "Value": "x"}),
        ] {
            assert_eq!(Special::of(&value), Some(Special::Secret("x".into())), "{value}");
        }
    }

    #[test]
    fn the_value_of_a_secure_string_that_is_a_number_is_kept_digit_for_digit() {
        let value: Value = serde_json::from_str(r#"{"type":"SecureString","value":12.50}"#).unwrap();
        assert_eq!(Special::of(&value), Some(Special::Secret("12.50".into())));
    }

    #[test]
    fn ordinary_objects_with_a_type_are_not_special() {
        for value in [
            json!({"type": "Egress"}),
            json!({"type": "SecureString"}),
            json!({"type": 1}),
            json!("SecureString"),
        ] {
            assert_eq!(Special::of(&value), None, "{value}");
        }
    }

    #[test]
    fn secrets_and_vault_references_are_marked_at_any_depth() {
        let value = json!({"a": [{"b": {"type": "SecureString", "value": "s"}}], "c": {
            "type": "AzureKeyVaultSecret", "store": {"referenceName": "Kv"}, "secretName": "n"}});
        assert_eq!(
            marked(&value),
            json!({"a": [{"b": {"__dray__": "secret", "value": "s"}}], "c": {
                "__dray__": "key_vault_secret", "store": "Kv", "secret_name": "n", "secret_version": null}})
        );
    }

    #[test]
    fn an_object_of_the_file_cannot_pass_for_a_mark() {
        let value = json!({"x": {"__dray__": "secret", "value": {"type": "SecureString", "value": "s"}}});
        assert_eq!(
            marked(&value),
            json!({"x": {"__dray__": "object", "value": {
                "__dray__": "secret", "value": {"__dray__": "secret", "value": "s"}}}})
        );
    }

    #[test]
    fn an_expression_stays_a_plain_object() {
        let value = json!({"type": "Expression", "value": "@dataset().x"});
        assert_eq!(marked(&value), value);
    }

    #[test]
    fn an_exact_key_wins_over_one_that_differs_in_case() {
        let object = json!({"USERNAME": 1, "userName": 2});
        assert_eq!(member(object.as_object().unwrap(), "userName"), Some(&json!(2)));
    }
}
