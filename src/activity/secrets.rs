//! Which strings in what ADF handed over are secrets, so that dray can mask them in all that it writes.
//!
//! More than SecureString objects: sasUri and connectionString were seen as bare strings in a file captured on a node.
//! Knows shapes and key names; the masking itself is [`crate::telemetry`]'s.

use percent_encoding::percent_decode_str;
use serde_json::{Map, Value};

use super::reference::Special;
use crate::connection_string::{Quoting, attributes};

/// What a secret looks like wherever dray writes it.
pub const MASK: &str = "***";

/// Keys whose plain strings are secrets, in linked services, in extended properties and in connection strings; lower
/// case, without blanks, `_` and `-`. From the "secret" fields of azure-mgmt-datafactory's linked services, and the
/// keywords of ADO.NET, ODBC and Azure Storage connection strings.
const SECRET_KEYS: [&str; 22] = [
    "accesskey",
    "accesstoken",
    "accountkey",
    "apikey",
    "apitoken",
    "clientkey",
    "clientsecret",
    "credential",
    "encryptedcredential",
    "passphrase",
    "passwd",
    "password",
    "privatekey",
    "pwd",
    "refreshtoken",
    "sastoken",
    "secretaccesskey",
    "serviceprincipalcredential",
    "serviceprincipalkey",
    "sharedaccesskey",
    "sharedaccesssignature",
    "sslpassword",
];

/// Whether a plain string under this key is a secret.
fn is_secret_key(key: &str) -> bool {
    let plain: String = key
        .chars()
        .filter(|character| !matches!(character, ' ' | '_' | '-'))
        .flat_map(char::to_lowercase)
        .collect();
    SECRET_KEYS.contains(&plain.as_str())
}

/// Adds each secret at any depth of `value` to `found`; `key` is the key that `value` stands under.
pub(super) fn collect(key: Option<&str>, value: &Value, found: &mut Vec<String>) {
    match Special::of(value) {
        Some(Special::Secret(text)) => {
            collect_from_text(&text, found);
            found.push(text);
        }
        Some(Special::KeyVaultSecret(_)) => {}
        Some(Special::Expression) | None => match value {
            Value::String(text) => {
                collect_from_text(text, found);
                if key.is_some_and(is_secret_key) {
                    found.push(text.clone());
                }
            }
            Value::Array(items) => items.iter().for_each(|item| collect(key, item, found)),
            Value::Object(object) => object.iter().for_each(|(key, value)| collect(Some(key), value, found)),
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        },
    }
}

/// Every secret at any depth of `value`; none is empty.
pub fn secrets_of_value(value: &Value) -> Vec<String> {
    let mut found = Vec::new();
    collect(None, value, &mut found);
    found.retain(|secret| !secret.is_empty());
    found
}

/// The secret parts of a text: passwords and keys of a connection string, the signature and the password of a URL.
pub fn secrets_of_text(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    collect_from_text(text, &mut found);
    found.retain(|secret| !secret.is_empty());
    found
}

/// Adds the secret parts of a text: passwords and keys of a connection string, the signature and the password of a URL.
fn collect_from_text(text: &str, found: &mut Vec<String>) {
    for attribute in attributes(text, Quoting::Either) {
        if is_secret_key(attribute.keyword) {
            found.push(attribute.written.to_owned());
            found.push(attribute.value.into_owned());
        }
    }
    let mut add_encoded = |part: &str| {
        found.push(part.to_owned());
        found.push(percent_decode_str(part).decode_utf8_lossy().into_owned());
    };
    let lower = text.to_ascii_lowercase();
    for (at, _) in lower.match_indices("sig=") {
        // The start of a SAS token, or behind a delimiter: `unsig=` is none.
        if at == 0 || matches!(lower.as_bytes()[at - 1], b'?' | b'&' | b';' | b'=') {
            let signature = &text[at + "sig=".len()..];
            let end = signature
                .find(|character: char| character.is_whitespace() || "&;#\"'<>".contains(character))
                .unwrap_or(signature.len());
            add_encoded(&signature[..end]);
        }
    }
    for (at, separator) in text.match_indices("://") {
        let authority = &text[at + separator.len()..];
        let end = authority.find(['/', '?', '#', ' ']).unwrap_or(authority.len());
        // The last @: a password that was not encoded may hold one.
        if let Some((_, password)) = authority[..end]
            .rsplit_once('@')
            .and_then(|(user_information, _)| user_information.split_once(':'))
        {
            add_encoded(password);
        }
    }
}

/// A copy of `object` for people to read: each secret is [`MASK`], a Key Vault reference a few words.
pub(super) fn masked_members(object: &Map<String, Value>) -> Map<String, Value> {
    object
        .iter()
        .map(|(key, value)| (key.clone(), masked(Some(key), value)))
        .collect()
}

fn masked(key: Option<&str>, value: &Value) -> Value {
    match Special::of(value) {
        Some(Special::Secret(_)) => Value::from(MASK),
        Some(Special::KeyVaultSecret(reference)) => Value::from(reference.to_string()),
        Some(Special::Expression) | None => match value {
            Value::String(_) if key.is_some_and(is_secret_key) => Value::from(MASK),
            Value::String(text) => {
                let mut parts = Vec::new();
                collect_from_text(text, &mut parts);
                parts.retain(|part| !part.is_empty());
                // The longest first, so that a part of another one does not break it up.
                parts.sort_by_key(|part| std::cmp::Reverse(part.len()));
                Value::from(parts.iter().fold(text.clone(), |text, part| text.replace(part, MASK)))
            }
            Value::Array(items) => items.iter().map(|item| masked(key, item)).collect(),
            Value::Object(object) => Value::Object(masked_members(object)),
            scalar => scalar.clone(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn secrets(value: Value) -> Vec<String> {
        let mut found = Vec::new();
        collect(None, &value, &mut found);
        found.sort();
        found.dedup();
        found
    }

    #[test]
    fn secure_strings_are_found_at_any_depth() {
        let value = json!([{"a": {"b": [{"type": "SecureString", "value": "deep"}]}}]);
        assert_eq!(secrets(value), ["deep"]);
    }

    #[test]
    fn passwords_of_connection_strings_are_found_as_written_and_as_meant() {
        let value = json!({"connectionString": "Driver={x};UID=u;PWD={a;b}}c};Database=d"});
        assert_eq!(secrets(value), ["a;b}c", "{a;b}}c}"]);
        let value = json!({"cs": {"type": "SecureString", "value": "Server=s;User ID=u;Password='p;q'"}});
        assert_eq!(secrets(value), ["'p;q'", "Server=s;User ID=u;Password='p;q'", "p;q"]);
        let value = json!("DefaultEndpointsProtocol=https;AccountName=a;AccountKey=abc+/==;EndpointSuffix=core");
        assert_eq!(secrets(value), ["abc+/=="]);
    }

    #[test]
    fn the_signature_of_a_shared_access_url_is_found_encoded_and_decoded() {
        let value =
            json!({"sasUri": "https://a.blob.core.windows.net/c?sv=2021&sp=r&sig=ab%2Bc%3D&se=2027", "n": "?unsig=1"});
        assert_eq!(secrets(value), ["ab%2Bc%3D", "ab+c="]);
    }

    #[test]
    fn the_password_inside_a_url_is_found() {
        assert_eq!(
            secrets(json!("postgresql://u:p%40ss@host:5432/db?x=1")),
            ["p%40ss", "p@ss"]
        );
        assert!(secrets(json!("https://host:8080/a@b")).is_empty());
    }

    #[test]
    fn plain_strings_under_secret_keys_are_found_whatever_their_spelling() {
        let value = json!({"accessKey": "k1", "service_principal_key": "k2", "Pwd": "k3", "credential": "k4",
            "userName": "u", "secretName": "n", "passwordPolicy": "x", "password": {"type": "AzureKeyVaultSecret",
            "store": {"referenceName": "Kv"}, "secretName": "s"}});
        assert_eq!(secrets(value), ["k1", "k2", "k3", "k4"]);
    }

    #[test]
    fn what_people_see_holds_no_secret() {
        let value = json!({"n": 1, "s": {"type": "SecureString", "value": "hush"}, "password": "hush",
            "cs": "Server=h;PWD=hush;Db=d", "kv": {"type": "AzureKeyVaultSecret",
            "store": {"referenceName": "Kv"}, "secretName": "pw"}});
        assert_eq!(
            Value::Object(masked_members(value.as_object().unwrap())),
            json!({"n": 1, "s": "***", "password": "***", "cs": "Server=h;PWD=***;Db=d",
                "kv": "(secret `pw` in Key Vault `Kv`)"})
        );
    }
}
