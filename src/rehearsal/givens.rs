//! `--set NAME=VALUE`: values for parameters and for whole expressions.

use std::cell::RefCell;
use std::collections::BTreeSet;

use serde_json::Value;

use super::error::RehearsalError;
use super::expression::parse;

/// What was given, and which of it was used.
#[derive(Debug, Default)]
pub struct Givens {
    named: Vec<(String, String)>,
    expressions: Vec<(String, String, Value)>,
    used: RefCell<BTreeSet<String>>,
}

impl Givens {
    /// Takes `NAME=VALUE` apart: a name stands for a parameter, anything with a `(` in it for an expression, with or
    /// without the `@` before it.
    ///
    /// An expression's value is JSON where it is valid JSON, else a text.
    ///
    /// # Errors
    /// A setting without `=`; an expression that cannot be read.
    pub fn parse(settings: &[String]) -> Result<Givens, RehearsalError> {
        let mut givens = Givens::default();
        for setting in settings {
            let malformed = || RehearsalError::NotASetting(setting.split('=').next().unwrap_or_default().to_owned());
            let at = equals_sign(setting).ok_or_else(malformed)?;
            let (name, value) = (setting[..at].trim(), &setting[at + 1..]);
            if name.is_empty() {
                return Err(malformed());
            }
            if !name.contains('(') {
                givens.named.push((name.to_owned(), value.to_owned()));
                continue;
            }
            let node = parse(name.strip_prefix('@').unwrap_or(name)).map_err(|fault| RehearsalError::Expression {
                place: format!("`--set {name}`, a part"),
                fault,
            })?;
            let parsed = serde_json::from_str(value).unwrap_or_else(|_| Value::String(value.to_owned()));
            givens.expressions.push((node.spelling(), name.to_owned(), parsed));
        }
        Ok(givens)
    }

    /// The value given to an expression; the last one, if there are several.
    pub(super) fn expression(&self, spelling: &str) -> Option<Value> {
        let (_, name, value) = self.expressions.iter().rev().find(|(other, _, _)| other == spelling)?;
        self.used.borrow_mut().insert(name.clone());
        Some(value.clone())
    }

    /// The text given to a parameter.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let mut from_last = self.named.iter().rev();
        let (given, value) = from_last.find(|(other, _)| other.eq_ignore_ascii_case(name))?;
        self.used.borrow_mut().insert(given.clone());
        Some(value)
    }

    /// The names that were given to parameters.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.named.iter().map(|(name, _)| name.as_str())
    }

    /// The expressions that were given a value which nothing asked for.
    pub(super) fn unused_expressions(&self) -> Vec<String> {
        let used = self.used.borrow();
        let names = self.expressions.iter().map(|(_, name, _)| name.clone());
        names.filter(|name| !used.contains(name)).collect()
    }
}

/// Where the first `=` outside single quotes stands.
fn equals_sign(setting: &str) -> Option<usize> {
    let mut is_quoted = false;
    setting.bytes().position(|byte| {
        is_quoted ^= byte == b'\'';
        byte == b'=' && !is_quoted
    })
}

/// A parameter's value as its type asks for it.
///
/// # Errors
/// [`RehearsalError::ParameterType`].
pub(super) fn typed(name: &str, type_name: &str, text: &str) -> Result<Value, RehearsalError> {
    let wrong = || RehearsalError::ParameterType {
        name: name.to_owned(),
        type_name: type_name.to_owned(),
    };
    let fits: fn(&Value) -> bool = match type_name.to_ascii_lowercase().as_str() {
        "int" => |value| value.is_i64() || value.is_u64(),
        "float" => Value::is_number,
        "bool" => Value::is_boolean,
        "array" => Value::is_array,
        "object" => Value::is_object,
        _ => return Ok(Value::String(text.to_owned())),
    };
    serde_json::from_str(text).ok().filter(fits).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn givens(settings: &[&str]) -> Givens {
        let settings: Vec<String> = settings.iter().map(|each| (*each).to_owned()).collect();
        Givens::parse(&settings).unwrap()
    }

    #[test]
    fn a_name_is_a_parameter_and_what_has_brackets_an_expression() {
        let givens = givens(&["Date=2026=x", "@activity('a=b').output.n=5", "item()={\"x\": 1}"]);
        assert_eq!(givens.parameter("date"), Some("2026=x"));
        assert_eq!(givens.expression("activity('a=b').output.n"), Some(json!(5)));
        assert_eq!(givens.unused_expressions(), ["item()"]);
    }

    #[test]
    fn a_value_must_be_of_its_parameters_type() {
        assert_eq!(typed("n", "Int", "5").unwrap(), json!(5));
        assert_eq!(typed("s", "String", "5").unwrap(), json!("5"));
        assert_eq!(typed("s", "SecureString", "[").unwrap(), json!("["));
        assert_eq!(typed("a", "Array", "[1]").unwrap(), json!([1]));
        for (type_name, text) in [("Int", "5.5"), ("Bool", "yes"), ("Object", "[]"), ("Array", "[")] {
            assert!(typed("n", type_name, text).is_err(), "{type_name}");
        }
    }
}
