//! The layer of a deployment template: `[parameters('x')]` and its like, around what Data Factory itself would read.
//!
//! Evaluates on demand, since a template is full of what only a deployment knows. Of the functions that need more than
//! their arguments it has `parameters`, `variables` (with `copy`) and `copyIndex`; for others a person is asked.

use std::cell::{Cell, RefCell};

use serde_json::{Map, Value};

use super::expression::{Fault, Scope, evaluate, parse};
use super::givens::{Givens, typed};
use crate::activity::member;

/// Variables that name each other in a circle end here.
const MAX_DEPTH: usize = 100;

/// A copy loop that makes more is a mistake.
const MAX_COPIES: usize = 10_000;

/// A template and the values that were given to its parameters.
pub(super) struct Template<'a> {
    document: &'a Map<String, Value>,
    givens: &'a Givens,
    depth: Cell<usize>,
    copies: RefCell<Vec<(String, usize)>>,
}

impl<'a> Template<'a> {
    pub(super) fn new(document: &'a Map<String, Value>, givens: &'a Givens) -> Template<'a> {
        Template {
            document,
            givens,
            depth: Cell::new(0),
            copies: RefCell::default(),
        }
    }

    /// The names of the template's parameters.
    pub(super) fn parameter_names(document: &Map<String, Value>) -> Vec<String> {
        let declared = member(document, "parameters").and_then(Value::as_object);
        declared
            .map(|object| object.keys().cloned().collect())
            .unwrap_or_default()
    }

    /// `value` itself, or what it comes to if it is an expression; what is inside is left alone.
    ///
    /// # Errors
    /// See [`Fault`].
    pub(super) fn outermost(&self, value: &Value) -> Result<Value, Fault> {
        match value {
            Value::String(text) => self.text(text),
            other => Ok(other.clone()),
        }
    }

    /// `value` with the expressions at every depth evaluated. `unknown` decides about one that has no value here: an
    /// error, or nothing in its place.
    ///
    /// # Errors
    /// See [`Fault`].
    pub(super) fn whole(
        &self,
        value: &Value,
        unknown: &mut dyn FnMut(Fault) -> Result<(), Fault>,
    ) -> Result<Option<Value>, Fault> {
        match value {
            Value::Object(object) => {
                let mut settled = Map::new();
                for (key, value) in object {
                    if let Some(value) = self.whole(value, unknown)? {
                        settled.insert(key.clone(), value);
                    }
                }
                Ok(Some(Value::Object(settled)))
            }
            Value::Array(items) => {
                let mut settled = Vec::with_capacity(items.len());
                for item in items {
                    settled.extend(self.whole(item, unknown)?);
                }
                Ok(Some(Value::Array(settled)))
            }
            value => match self.outermost(value) {
                Err(fault @ Fault::Unknown { .. }) => unknown(fault).map(|()| None),
                other => other.map(Some),
            },
        }
    }

    fn text(&self, text: &str) -> Result<Value, Fault> {
        match expression_in(text) {
            Some(expression) => {
                if self.depth.get() >= MAX_DEPTH {
                    return Err(Fault::Failed {
                        expression: expression.to_owned(),
                        problem: "its parameters and variables name each other in a circle".to_owned(),
                    });
                }
                self.depth.set(self.depth.get() + 1);
                let value = parse(expression).and_then(|node| evaluate(&node, self));
                self.depth.set(self.depth.get() - 1);
                value
            }
            None if text.starts_with("[[") => Ok(Value::from(&text[1..])),
            None => Ok(Value::from(text)),
        }
    }

    fn everything(&self, value: &Value) -> Result<Value, Fault> {
        // Nothing is left out: each unknown is an error.
        self.whole(value, &mut Err).map(Option::unwrap_or_default)
    }

    fn parameter(&self, name: &str) -> Option<Result<Value, Fault>> {
        let declared = member(self.document, "parameters")
            .and_then(Value::as_object)
            .and_then(|parameters| member(parameters, name))
            .and_then(Value::as_object)?;
        if let Some(text) = self.givens.parameter(name) {
            let type_name = member(declared, "type").and_then(Value::as_str).unwrap_or_default();
            let value = typed(name, type_name, text);
            return Some(value.map_err(|error| Fault::Failed {
                expression: format!("parameters('{name}')"),
                problem: error.to_string(),
            }));
        }
        let default = member(declared, "defaultValue").filter(|value| !value.is_null())?;
        Some(self.everything(default))
    }

    fn variable(&self, name: &str) -> Option<Result<Value, Fault>> {
        let variables = member(self.document, "variables").and_then(Value::as_object)?;
        if let Some(value) = member(variables, name).filter(|_| !name.eq_ignore_ascii_case("copy")) {
            return Some(self.everything(value));
        }
        let copies = member(variables, "copy").and_then(Value::as_array)?;
        let copy = copies.iter().filter_map(Value::as_object).find(|copy| {
            let own = member(copy, "name").and_then(Value::as_str);
            own.is_some_and(|own| own.eq_ignore_ascii_case(name))
        })?;
        Some(self.copied(name, copy))
    }

    fn copied(&self, name: &str, copy: &Map<String, Value>) -> Result<Value, Fault> {
        let null = Value::Null;
        let count = self.outermost(member(copy, "count").unwrap_or(&null))?.as_u64();
        let count = count
            .and_then(|count| usize::try_from(count).ok())
            .filter(|count| *count <= MAX_COPIES);
        let count = count.ok_or_else(|| Fault::Failed {
            expression: format!("variables('{name}')"),
            problem: format!("its `count` is no number from 0 to {MAX_COPIES}"),
        })?;
        let input = member(copy, "input").unwrap_or(&null);
        let mut items = Vec::with_capacity(count);
        for at in 0..count {
            self.copies.borrow_mut().push((name.to_ascii_lowercase(), at));
            let item = self.everything(input);
            self.copies.borrow_mut().pop();
            items.push(item?);
        }
        Ok(Value::Array(items))
    }

    fn copy_index(&self, name: Option<&str>) -> Option<Result<Value, Fault>> {
        let copies = self.copies.borrow();
        let mut innermost = copies.iter().rev();
        let found = innermost.find(|(own, _)| name.is_none_or(|name| own.eq_ignore_ascii_case(name)));
        found.map(|(_, at)| Ok(Value::from(*at)))
    }
}

impl Scope for Template<'_> {
    fn given(&self, spelling: &str) -> Option<Value> {
        self.givens.expression(spelling)
    }

    fn knows(&self, name: &str) -> bool {
        matches!(name, "parameters" | "variables" | "copyindex")
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, Fault>> {
        match (name, arguments) {
            ("parameters", [Value::String(name)]) => self.parameter(name),
            ("variables", [Value::String(name)]) => self.variable(name),
            ("copyindex", []) => self.copy_index(None),
            ("copyindex", [Value::String(name)]) => self.copy_index(Some(name)),
            _ => None,
        }
    }
}

/// What stands between the brackets, if a template's text is an expression.
fn expression_in(text: &str) -> Option<&str> {
    text.strip_prefix('[')
        .filter(|inner| !inner.starts_with('['))?
        .strip_suffix(']')
}

/// The name of a resource below a factory: what stands behind the last `/` of a template's text, which is mostly
/// `[concat(parameters('factoryName'), '/Name')]`. The factory's own name need not be known for that.
pub(super) fn last_name(text: &str) -> String {
    let inner = expression_in(text).unwrap_or(text);
    let name = inner.rsplit('/').next().unwrap_or(inner);
    name.split('\'').next().unwrap_or(name).to_owned()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn value(template: &Value, value: Value) -> Result<Value, Fault> {
        let givens = Givens::parse(&["size=3".to_owned(), "resourceGroup().id=/g".to_owned()]).unwrap();
        Template::new(template.as_object().unwrap(), &givens).everything(&value)
    }

    #[test]
    fn parameters_variables_and_copies_are_evaluated_at_any_depth() {
        let template = json!({
            "parameters": {"name": {"type": "string", "defaultValue": "[concat('n', resourceGroup().id)]"},
                "size": {"type": "int"}, "secret": {"type": "securestring"}},
            "variables": {"both": {"a": ["[parameters('name')]"], "b": "[[kept]"}, "loop": "[variables('loop')]",
                "copy": [{"name": "items", "count": "[parameters('size')]", "input": {"at": "[copyIndex('items')]"}}]},
        });
        assert_eq!(
            value(&template, json!("[variables('both')]")),
            Ok(json!({"a": ["n/g"], "b": "[kept]"}))
        );
        assert_eq!(
            value(&template, json!(["[variables('items')[2].at]", "[1, 2", "x"])),
            Ok(json!([2, "[1, 2", "x"]))
        );
        for (expression, expected) in [
            ("[parameters('secret')]", "`parameters('secret')` has no value here"),
            (
                "[variables('loop')]",
                "its parameters and variables name each other in a circle",
            ),
        ] {
            let found = value(&template, json!(expression)).unwrap_err().to_string();
            assert!(found.ends_with(expected), "{found}");
        }
    }

    #[test]
    fn a_resources_name_is_known_without_the_factorys() {
        assert_eq!(
            last_name("[concat(parameters('factoryName'), '/Daily load')]"),
            "Daily load"
        );
        assert_eq!(last_name("factory/Daily"), "Daily");
    }
}
