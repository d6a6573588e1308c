//! The value of an expression, and of a text that holds expressions.

use serde_json::Value;

use super::parse::{parse, parse_start};
use super::{Fault, Node, functions, text_of};
use crate::activity::member;

/// What an expression finds beside its own arguments.
pub trait Scope {
    /// The value that somebody gave to this very expression, by its [`Node::spelling`].
    fn given(&self, spelling: &str) -> Option<Value>;

    /// Whether [`Scope::call`] has a function of this name, in lower case.
    fn knows(&self, name: &str) -> bool;

    /// What a function gives that needs to know where it stands, such as `pipeline()`; None if there is none of this name,
    /// or its value is known to a real run alone.
    ///
    /// # Errors
    /// What its arguments ask for is not there.
    fn call(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, Fault>>;
}

/// The value of `node`. `if`, `coalesce`, `and` and `or` evaluate only what they take.
///
/// # Errors
/// See [`Fault`].
pub fn evaluate(node: &Node, scope: &dyn Scope) -> Result<Value, Fault> {
    if let Some(value) = scope.given(&node.spelling()) {
        return Ok(value);
    }
    match node {
        Node::Literal(value) => Ok(value.clone()),
        Node::Member { whole, key, lenient } => part(node, whole, key, *lenient, scope),
        Node::Call { name, arguments } => call(node, &name.to_ascii_lowercase(), arguments, scope),
    }
}

fn call(node: &Node, name: &str, arguments: &[Node], scope: &dyn Scope) -> Result<Value, Fault> {
    let failed = |problem: String| Fault::Failed {
        expression: node.to_string(),
        problem,
    };
    match (name, arguments) {
        ("if", [condition, then, otherwise]) => {
            let chosen = if truth(condition, scope)? { then } else { otherwise };
            return evaluate(chosen, scope);
        }
        ("and" | "or", [first, rest @ ..]) => {
            let ends_with = name == "or";
            let mut value = truth(first, scope)?;
            for argument in rest {
                if value == ends_with {
                    break;
                }
                value = truth(argument, scope)?;
            }
            return Ok(Value::Bool(value));
        }
        ("coalesce", arguments) => {
            for argument in arguments {
                let value = evaluate(argument, scope)?;
                if !value.is_null() {
                    return Ok(value);
                }
            }
            return Ok(Value::Null);
        }
        _ => {}
    }
    let mut values = Vec::with_capacity(arguments.len());
    for argument in arguments {
        match evaluate(argument, scope) {
            // Nobody needs to know the arguments of what cannot be evaluated in any case.
            Err(Fault::Unknown { .. }) if !functions::is_known(name) && !scope.knows(name) => {
                return Err(Fault::Unknown {
                    expression: node.to_string(),
                });
            }
            value => values.push(value?),
        }
    }
    if let Some(result) = scope.call(name, &values) {
        return result;
    }
    match functions::call(name, &values) {
        Some(result) => result.map_err(failed),
        None => Err(Fault::Unknown {
            expression: node.to_string(),
        }),
    }
}

fn truth(node: &Node, scope: &dyn Scope) -> Result<bool, Fault> {
    evaluate(node, scope)?.as_bool().ok_or_else(|| Fault::Failed {
        expression: node.to_string(),
        problem: "it is neither true nor false".to_owned(),
    })
}

fn part(node: &Node, whole: &Node, key: &Node, lenient: bool, scope: &dyn Scope) -> Result<Value, Fault> {
    let value = match evaluate(whole, scope) {
        // What a person is asked for is the value that is wanted, and not all that it is a part of.
        Err(Fault::Unknown { expression }) if expression == whole.to_string() => {
            return Err(Fault::Unknown {
                expression: node.to_string(),
            });
        }
        other => other?,
    };
    let key = evaluate(key, scope)?;
    let found = match (&value, &key) {
        (Value::Object(object), Value::String(name)) => member(object, name),
        (Value::Array(items), Value::Number(_)) => functions::index(&key).and_then(|at| items.get(at)),
        _ => None,
    };
    match found {
        Some(found) => Ok(found.clone()),
        None if lenient => Ok(Value::Null),
        // The parts of these are many, and only a real run has them all.
        None if is_root(whole) => Err(Fault::Unknown {
            expression: node.to_string(),
        }),
        None => Err(Fault::Failed {
            expression: node.to_string(),
            problem: format!("there is no `{}`", text_of(&key)),
        }),
    }
}

fn is_root(whole: &Node) -> bool {
    let roots = ["pipeline()", "pipeline().parameters", "pipeline().globalparameters"];
    roots.contains(&whole.spelling().as_str())
}

/// The value of a text in a pipeline: `@expression`, a text with `@{expression}` in it, `@@` for an `@` at its start, or
/// what it is.
///
/// # Errors
/// See [`Fault`].
pub fn value_of_text(text: &str, scope: &dyn Scope) -> Result<Value, Fault> {
    match text.strip_prefix('@') {
        Some(rest) if rest.starts_with('@') => return Ok(Value::String(rest.to_owned())),
        Some(rest) if !rest.starts_with('{') => return evaluate(&parse(rest)?, scope),
        _ => {}
    }
    let mut value = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("@{") {
        if let Some(before) = before.strip_suffix('@') {
            value.push_str(before);
            value.push_str("@{");
            rest = after;
            continue;
        }
        value.push_str(before);
        let (node, after) = parse_start(after)?;
        rest = after.strip_prefix('}').ok_or_else(|| Fault::Syntax {
            text: text.to_owned(),
            problem: "a `@{` has no `}` where its expression ends".to_owned(),
        })?;
        value.push_str(&text_of(&evaluate(&node, scope)?));
    }
    value.push_str(rest);
    Ok(Value::String(value))
}
