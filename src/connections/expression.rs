//! Parameters of linked services and datasets: `@{linkedService().Database}` becomes what the activity passed.
//!
//! Whether ADF has done so already in the files that it hands over is documented nowhere, so both forms are understood.
//! Only a parameter by its name is evaluated; ADF's functions and variables are not, and are an error of their own.
//! Grammar: azure-docs, `articles/data-factory/control-flow-expression-language-functions.md` and
//! `parameterize-linked-services.md`.

use serde_json::{Map, Value};

use super::ConnectionError;
use crate::activity::{ActivityError, KeyVaultSecret, Special, member, scalar_text};

/// Fetches a secret from its Key Vault.
type Fetch<'a> = &'a dyn Fn(&KeyVaultSecret) -> Result<String, ConnectionError>;

/// The values of parameters, by name.
#[derive(Default)]
pub(super) struct Parameters<'a> {
    linked_service: Map<String, Value>,
    dataset: Map<String, Value>,
    fetch: Option<Fetch<'a>>,
}

impl Parameters<'static> {
    /// Those of a linked service: what is passed to it, and the defaults of `properties.parameters`.
    pub(super) fn of_linked_service(
        passed: &Map<String, Value>,
        properties: Option<&Map<String, Value>>,
    ) -> Parameters<'static> {
        Parameters {
            linked_service: with_defaults(passed, properties),
            ..Parameters::default()
        }
    }

    /// Those of a dataset.
    pub(super) fn of_dataset(
        passed: &Map<String, Value>,
        properties: Option<&Map<String, Value>>,
    ) -> Parameters<'static> {
        Parameters {
            dataset: with_defaults(passed, properties),
            ..Parameters::default()
        }
    }

    /// The same, where what lies in a Key Vault is fetched from there.
    pub(super) fn fetching(self, fetch: Fetch<'_>) -> Parameters<'_> {
        Parameters {
            fetch: Some(fetch),
            ..self
        }
    }
}

impl Parameters<'_> {
    /// The text that `value` comes to: of a scalar its own, of an expression object or of a string with `@{...}` in it
    /// the evaluated one. `what` names the value in errors. `None` for null, and for what has no text.
    ///
    /// # Errors
    /// An expression that is more than a parameter's name; a parameter without a value; a Key Vault reference whose secret
    /// cannot be had.
    pub(super) fn text(&self, value: &Value, what: &dyn Fn() -> String) -> Result<Option<String>, ConnectionError> {
        match Special::of(value) {
            Some(Special::Expression) => {
                let text = value.as_object().and_then(|object| member(object, "value"));
                let text = text.and_then(Value::as_str).unwrap_or_default();
                self.evaluate(text, true, what).map(Some)
            }
            // A password may hold anything that looks like an expression, so only a parameter's name is looked for.
            Some(Special::Secret(text)) => match whole_parameter(&text) {
                Some(reference) => self.value_of(reference, what).map(Some),
                None => Ok(Some(text)),
            },
            Some(Special::KeyVaultSecret(reference)) => self.fetched(reference, what).map(Some),
            None => match value {
                Value::String(text) => self.evaluate(text, false, what).map(Some),
                other => Ok(scalar_text(other)),
            },
        }
    }

    /// The secret, whose name may hold a parameter.
    fn fetched(&self, mut reference: KeyVaultSecret, what: &dyn Fn() -> String) -> Result<String, ConnectionError> {
        let Some(fetch) = self.fetch else {
            return Err(ActivityError::KeyVaultReference {
                what: what(),
                reference,
            }
            .into());
        };
        let parts = [&mut reference.secret_name, &mut reference.secret_version];
        for text in parts.into_iter().flatten() {
            *text = self.evaluate(text, false, what)?;
        }
        fetch(&reference)
    }

    /// `is_expression` says that the text is known to be one, whatever it looks like.
    fn evaluate(&self, text: &str, is_expression: bool, what: &dyn Fn() -> String) -> Result<String, ConnectionError> {
        let unevaluated = || ConnectionError::from(ActivityError::Unevaluated { what: what() });
        if let Some(reference) = whole_parameter(text) {
            return self.value_of(reference, what);
        }
        if let Some(literal) = text.strip_prefix("@@") {
            return Ok(format!("@{literal}"));
        }
        if is_expression && text.starts_with('@') && !text.starts_with("@{") {
            return Err(unevaluated());
        }
        let mut evaluated = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("@{") {
            let (inner, after) = after.split_once('}').ok_or_else(unevaluated)?;
            let reference = reference(inner).ok_or_else(unevaluated)?;
            evaluated.push_str(before);
            evaluated.push_str(&self.value_of(reference, what)?);
            rest = after;
        }
        evaluated.push_str(rest);
        Ok(evaluated)
    }

    fn value_of(&self, (of_dataset, name): (bool, &str), what: &dyn Fn() -> String) -> Result<String, ConnectionError> {
        let values = if of_dataset {
            &self.dataset
        } else {
            &self.linked_service
        };
        let missing = || ConnectionError::MissingParameter {
            what: what(),
            parameter: name.to_owned(),
        };
        let value = member(values, name)
            .filter(|value| !value.is_null())
            .ok_or_else(missing)?;
        match Special::of(value) {
            Some(Special::Secret(text)) => Ok(text),
            Some(Special::KeyVaultSecret(reference)) => self.fetched(reference, what),
            Some(Special::Expression) => Err(ActivityError::Unevaluated { what: what() }.into()),
            None => scalar_text(value).ok_or_else(missing),
        }
    }
}

/// What is passed, and `defaultValue` of each parameter that is not.
fn with_defaults(passed: &Map<String, Value>, properties: Option<&Map<String, Value>>) -> Map<String, Value> {
    let mut values = passed.clone();
    let declared = properties.and_then(|properties| member(properties, "parameters"));
    for (name, parameter) in declared.and_then(Value::as_object).into_iter().flatten() {
        let default = parameter.as_object().and_then(|object| member(object, "defaultValue"));
        if let (None, Some(default)) = (member(&values, name), default) {
            values.insert(name.clone(), default.clone());
        }
    }
    values
}

/// The parameter, if the whole text is one: `@linkedService().x` or `@{linkedService().x}`.
fn whole_parameter(text: &str) -> Option<(bool, &str)> {
    let inner = text.trim().strip_prefix('@')?;
    let inner = inner
        .strip_prefix('{')
        .and_then(|inner| inner.strip_suffix('}'))
        .unwrap_or(inner);
    reference(inner)
}

/// `linkedService().x` or `dataset().x`: whether it is a dataset's, and the name.
fn reference(text: &str) -> Option<(bool, &str)> {
    let (function, name) = text.trim().split_once("().")?;
    let name = name.trim();
    let is_name = !name.is_empty()
        && name
            .chars()
            .all(|character| character.is_alphanumeric() || character == '_');
    match function.to_ascii_lowercase().as_str() {
        "linkedservice" if is_name => Some((false, name)),
        "dataset" if is_name => Some((true, name)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::failure::Failing;

    fn parameters() -> Parameters<'static> {
        let properties = json!({"parameters": {"Db": {"type": "String", "defaultValue": "sales"},
            "Host": {"type": "String", "defaultValue": "h0"}, "Pw": {"type": "SecureString"}, "None": {"type": "String"}}});
        let passed = json!({"host": "h1", "Pw": {"type": "SecureString", "value": "s3"}, "Port": 5432});
        Parameters::of_linked_service(passed.as_object().unwrap(), properties.as_object())
    }

    fn text(value: Value) -> Result<Option<String>, ConnectionError> {
        parameters().text(&value, &|| "`server`".to_owned())
    }

    #[test]
    fn a_parameter_is_what_was_passed_else_its_default() {
        for (value, expected) in [
            (json!("@{linkedService().Host}.example.com"), "h1.example.com"),
            (json!("@{linkedService().Host}/@{ LinkedService().Db }"), "h1/sales"),
            (json!({"type": "Expression", "value": "@linkedService().Db"}), "sales"),
            (
                json!({"value": "Server=@{linkedService().Host}", "type": "Expression"}),
                "Server=h1",
            ),
            (json!("@linkedService().Port"), "5432"),
            (json!({"type": "SecureString", "value": "@{linkedService().Pw}"}), "s3"),
            (json!("plain"), "plain"),
            (json!("me@host"), "me@host"),
            (json!("@@x"), "@x"),
            (json!(5432), "5432"),
        ] {
            assert_eq!(text(value.clone()).unwrap().as_deref(), Some(expected), "{value}");
        }
    }

    #[test]
    fn what_is_more_than_a_parameter_is_left_unevaluated_by_its_own_error() {
        for value in [
            json!("@{concat('a', 'b')}"),
            json!("x@{linkedService().Db"),
            json!({"type": "Expression", "value": "@pipeline().RunId"}),
        ] {
            assert_eq!(
                text(value.clone()).unwrap_err().code(),
                "activity.unevaluated_expression",
                "{value}"
            );
        }
    }

    #[test]
    fn a_parameter_without_a_value_is_named() {
        let error = text(json!("@{linkedService().None}")).unwrap_err();
        assert_eq!(error.code(), "activity.missing_parameter");
        assert_eq!(
            error.to_string(),
            "`server` needs parameter `None`, which has neither a value nor a default"
        );
    }

    #[test]
    fn a_password_that_looks_like_an_expression_is_kept() {
        let value = json!({"type": "SecureString", "value": "a@{b}c"});
        assert_eq!(text(value).unwrap().as_deref(), Some("a@{b}c"));
    }
}
