//! Arithmetic: whole numbers stay whole, as Data Factory has them.

use serde_json::{Number, Value};

/// A number of an expression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Numeric {
    /// Without a fraction.
    Whole(i64),
    /// With one, or too large.
    Broken(f64),
}

impl Numeric {
    pub(super) fn of(value: &Value) -> Option<Numeric> {
        let number = value.as_number()?;
        number
            .as_i64()
            .map(Numeric::Whole)
            .or_else(|| number.as_f64().map(Numeric::Broken))
    }

    pub(super) fn as_f64(self) -> f64 {
        match self {
            Numeric::Whole(number) => number as f64,
            Numeric::Broken(number) => number,
        }
    }

    pub(super) fn value(self) -> Result<Value, String> {
        match self {
            Numeric::Whole(number) => Ok(Value::from(number)),
            Numeric::Broken(number) => Number::from_f64(number)
                .map(Value::Number)
                .ok_or_else(|| "the result is no finite number".to_owned()),
        }
    }
}

/// `add`, `sub`, `mul`, `div`, `mod` of two numbers.
pub(super) fn arithmetic(name: &str, left: Numeric, right: Numeric) -> Result<Value, String> {
    if matches!(name, "div" | "mod") && right.as_f64() == 0.0 {
        return Err("division by zero".to_owned());
    }
    if let (Numeric::Whole(left), Numeric::Whole(right)) = (left, right) {
        let result = match name {
            "add" => left.checked_add(right),
            "sub" => left.checked_sub(right),
            "mul" => left.checked_mul(right),
            "div" => left.checked_div(right),
            _ => left.checked_rem(right),
        };
        return result
            .map(Value::from)
            .ok_or_else(|| "the result does not fit 64 bits".to_owned());
    }
    let (left, right) = (left.as_f64(), right.as_f64());
    let result = match name {
        "add" => left + right,
        "sub" => left - right,
        "mul" => left * right,
        "div" => left / right,
        _ => left % right,
    };
    Numeric::Broken(result).value()
}
