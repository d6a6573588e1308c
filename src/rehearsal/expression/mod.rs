//! Azure's expressions: read, written, and evaluated.
//!
//! Data Factory's (`@concat('a', item())`, `@{...}` inside a text) and those of deployment templates
//! (`[parameters('x')]`) have one grammar: calls, literals, `.name`, `?.name`, `[index]`. This module owns the grammar, the
//! values, and what the functions do that need nothing but their arguments; it must not know what a pipeline is: whatever
//! else an expression names is asked of a [`Scope`].
//!
//! Sources: azure-docs, `articles/data-factory/control-flow-expression-language-functions.md`, and
//! `azure-resource-manager/templates/template-expressions.md`. No crate evaluates these.

mod evaluate;
mod functions;
mod numbers;
mod parse;
mod text;
mod time;

#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::Value;

pub use evaluate::{Scope, evaluate, value_of_text};
pub use parse::parse;
pub use text::text_of;
pub use time::now;

/// An expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// A text, a number, `true`, `false` or `null`.
    Literal(Value),
    /// A function and its arguments.
    Call {
        /// Its name as written.
        name: String,
        /// The arguments in order.
        arguments: Vec<Node>,
    },
    /// A part of a value, by name or by index from 0.
    Member {
        /// The value.
        whole: Box<Node>,
        /// The name or index.
        key: Box<Node>,
        /// Whether a part that is not there is null (`?.`) and no failure.
        lenient: bool,
    },
}

impl Node {
    /// What two spellings of one expression have in common: names in lower case, one blank behind each comma.
    pub fn spelling(&self) -> String {
        self.to_string().to_lowercase()
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Node::Literal(Value::String(text)) => write!(f, "'{}'", text.replace('\'', "''")),
            Node::Literal(value) => write!(f, "{value}"),
            Node::Call { name, arguments } => {
                write!(f, "{name}(")?;
                for (at, argument) in arguments.iter().enumerate() {
                    write!(f, "{}{argument}", if at == 0 { "" } else { ", " })?;
                }
                write!(f, ")")
            }
            Node::Member { whole, key, lenient } => {
                let lenient = if *lenient { "?" } else { "" };
                match key.as_ref() {
                    Node::Literal(Value::String(name)) if parse::is_name(name) => write!(f, "{whole}{lenient}.{name}"),
                    key => write!(f, "{whole}{lenient}[{key}]"),
                }
            }
        }
    }
}

/// Why an expression has no value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// It cannot be read.
    #[error("cannot read the expression `{text}`: {problem}")]
    Syntax {
        /// The expression.
        text: String,
        /// What stands where something else should.
        problem: String,
    },
    /// It names what only a real run knows.
    #[error("`{expression}` has no value here")]
    Unknown {
        /// The part that has none.
        expression: String,
    },
    /// A function refuses its arguments, or a value lacks what is asked of it. Holds no value, which may be a secret.
    #[error("`{expression}`: {problem}")]
    Failed {
        /// The part that fails.
        expression: String,
        /// Why.
        problem: String,
    },
}
