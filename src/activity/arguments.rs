//! Extended properties as command-line arguments, for `--args-from-activity`.

use std::ffi::OsString;

use serde_json::{Map, Value};

use super::error::ActivityError;
use super::reference::{Special, scalar_text, unwrapped};

/// The arguments `--name value` for each extended property, in the order of the file.
///
/// - Names are taken as they are, blanks and all (an argument may hold any); one that starts with `-` gets no more
///   dashes.
/// - Numbers keep their digits, booleans are `true` and `false`, null is left out, arrays and objects are compact JSON,
///   a SecureString is its value, also inside an object.
/// - A value that starts with `-` is joined to its name by `=`, since argparse and its kin would take it for an option.
///
/// # Errors
/// A Key Vault reference, an expression, an empty name, or a NUL character anywhere.
pub fn as_arguments(properties: &Map<String, Value>) -> Result<Vec<OsString>, ActivityError> {
    let mut arguments = Vec::with_capacity(properties.len() * 2);
    for (name, value) in properties {
        if name.is_empty() {
            return Err(ActivityError::EmptyName);
        }
        let what = || format!("extended property `{}`", name.replace('\0', "\\0"));
        let value = unwrapped(value).map_err(|special| match special {
            Special::KeyVaultSecret(reference) => ActivityError::KeyVaultReference {
                what: what(),
                reference,
            },
            Special::Expression | Special::Secret(_) => ActivityError::Unevaluated { what: what() },
        })?;
        if value.is_null() {
            continue;
        }
        let text = scalar_text(&value).unwrap_or_else(|| value.to_string());
        if name.contains('\0') || text.contains('\0') {
            return Err(ActivityError::Nul { what: what() });
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
        as_arguments(&serde_json::from_str(json).unwrap())
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
    fn a_key_vault_reference_is_refused_by_name() {
        let error = arguments(
            r#"{"pw": {"type": "AzureKeyVaultSecret", "store": {"referenceName": "Kv"},
            "secretName": "db"}}"#,
        )
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "extended property `pw` is a reference to secret `db` in Key Vault `Kv`, which dray does not resolve"
        );
    }

    #[test]
    fn a_nul_character_is_refused() {
        assert!(matches!(
            arguments(r#"{"a": "x\u0000y"}"#),
            Err(ActivityError::Nul { .. })
        ));
        assert!(matches!(arguments(r#"{"": "x"}"#), Err(ActivityError::EmptyName)));
    }
}
