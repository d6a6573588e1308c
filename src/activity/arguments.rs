//! Extended properties as command-line arguments, for `--args-from-activity`.

use std::ffi::OsString;

use serde_json::{Map, Value};

use super::error::ActivityError;
use super::reference::{KeyVaultSecret, Special, scalar_text, unwrapped};

/// The arguments `--name value` for each extended property, in the order of the file.
///
/// - Names are taken as they are, blanks and all (an argument may hold any); one that starts with `-` gets no more
///   dashes.
/// - Numbers keep their digits, booleans are `true` and `false`, null is left out, arrays and objects are compact JSON,
///   a SecureString is its value, also inside an object.
/// - A value that starts with `-` is joined to its name by `=`, since argparse and its kin would take it for an option.
/// - For a secret in a Key Vault stands what `fetch` gives.
///
/// # Errors
/// An expression, an empty name, or a NUL character anywhere; those of `fetch`.
pub fn as_arguments<E: From<ActivityError>>(
    properties: &Map<String, Value>,
    fetch: &dyn Fn(&KeyVaultSecret) -> Result<String, E>,
) -> Result<Vec<OsString>, E> {
    let mut arguments = Vec::with_capacity(properties.len() * 2);
    for (name, value) in properties {
        if name.is_empty() {
            return Err(ActivityError::EmptyName.into());
        }
        let what = || format!("extended property `{}`", name.replace('\0', "\\0"));
        let value = unwrapped(value, &|special| match special {
            Special::Secret(text) => Ok(text),
            Special::KeyVaultSecret(reference) => fetch(&reference),
            Special::Expression => Err(ActivityError::Unevaluated { what: what() }.into()),
        })?;
        if value.is_null() {
            continue;
        }
        let text = scalar_text(&value).unwrap_or_else(|| value.to_string());
        if name.contains('\0') || text.contains('\0') {
            return Err(ActivityError::Nul { what: what() }.into());
        }
        let option = if name.starts_with('-') {
            name.clone()
        } else {
            format!("--{name}")
        };
        if text.starts_with('-') {
            arguments.push(OsString::from(format!("{option}={text}")));
        } else {
            arguments.push(OsString::from(option));
            arguments.push(OsString::from(text));
        }
    }
    Ok(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(json: &str) -> Result<Vec<OsString>, ActivityError> {
        let fetch = |reference: &KeyVaultSecret| match reference.secret_name.as_deref() {
            Some("no\0") => Ok("\0".to_owned()),
            name => Ok(format!("value of {}", name.unwrap_or_default())),
        };
        as_arguments(&serde_json::from_str(json).unwrap(), &fetch)
    }

    #[test]
    fn each_kind_of_value_becomes_the_text_that_a_script_expects() {
        let found = arguments(
            r#"{"run_id": "é x", "rows": 100, "rate": 0.10, "big": 12345678901234567890123, "full": true, "no": null,
                "nested": {"a": [1, {"type": "SecureString", "value": "s"}]},
                "pw": {"type": "SecureString", "value": "hush"}, "with blank": ""}"#,
        )
        .unwrap();
        let wanted = [
            "--run_id",
            "é x",
            "--rows",
            "100",
            "--rate",
            "0.10",
            "--big",
            "12345678901234567890123",
            "--full",
            "true",
            "--nested",
            r#"{"a":[1,"s"]}"#,
            "--pw",
            "hush",
            "--with blank",
            "",
        ];
        assert_eq!(found, wanted.map(OsString::from));
    }

    #[test]
    fn a_value_that_looks_like_an_option_is_joined_to_its_name() {
        assert_eq!(
            arguments(r#"{"offset": -5, "-v": "x"}"#).unwrap(),
            ["--offset=-5", "-v", "x"].map(OsString::from)
        );
    }

    #[test]
    fn a_key_vault_reference_is_what_was_fetched_at_any_depth() {
        let reference = r#"{"type": "AzureKeyVaultSecret", "store": {"referenceName": "Kv"}, "secretName": "db"}"#;
        assert_eq!(
            arguments(&format!(r#"{{"pw": {reference}, "deep": [{reference}]}}"#)).unwrap(),
            ["--pw", "value of db", "--deep", r#"["value of db"]"#].map(OsString::from)
        );
    }

    #[test]
    fn a_nul_character_is_refused() {
        let fetched = r#"{"a": {"type": "AzureKeyVaultSecret", "secretName": "no\u0000"}}"#;
        assert!(matches!(arguments(fetched), Err(ActivityError::Nul { .. })));
        assert!(matches!(
            arguments(r#"{"a": "x\u0000y"}"#),
            Err(ActivityError::Nul { .. })
        ));
        assert!(matches!(arguments(r#"{"": "x"}"#), Err(ActivityError::EmptyName)));
    }
}
