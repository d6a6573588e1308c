//! The functions that need nothing but their arguments.

use std::cmp::Ordering;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Map, Value};

use super::numbers::{Numeric, arithmetic};
use super::{text_of, time};

/// What `uriComponent` leaves as it is: RFC 3986, unreserved characters.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// More would be a mistake, and no memory for it.
const MAX_RANGE: i64 = 100_000;

/// What `name`, in lower case, gives; `None` for a function that is not known. The error says what is wrong with the
/// arguments, and holds none of their values.
pub(super) fn call(name: &str, arguments: &[Value]) -> Option<Result<Value, String>> {
    if let Some(result) = time::call(name, arguments) {
        return Some(result);
    }
    if matches!(name, "add" | "sub" | "mul" | "div" | "mod") {
        return Some(of_numbers(name, arguments));
    }
    Some(match (name, arguments) {
        ("concat", [Value::Array(_), ..]) => arrays(arguments).map(|arrays| Value::Array(arrays.concat())),
        ("concat", arguments) => Ok(Value::String(arguments.iter().map(text_of).collect())),
        ("string", [value]) => Ok(Value::String(text_of(value))),
        ("int", [value]) => int(value),
        ("float", [value]) => float(value),
        ("bool", [value]) => bool_of(value),
        ("json", [Value::String(text)]) => {
            serde_json::from_str(text).map_err(|error| format!("its text is no JSON: {error}"))
        }
        ("json", [value]) => Ok(value.clone()),
        ("array", [value @ Value::Array(_)]) => Ok(value.clone()),
        ("array", [value]) => Ok(Value::Array(vec![value.clone()])),
        ("createarray", arguments) => Ok(Value::Array(arguments.to_vec())),
        ("createobject", arguments) => create_object(arguments),
        ("null", []) => Ok(Value::Null),
        ("true", []) => Ok(Value::Bool(true)),
        ("false", []) => Ok(Value::Bool(false)),
        ("equals", [left, right]) => Ok(Value::Bool(are_equal(left, right))),
        ("not", [Value::Bool(value)]) => Ok(Value::Bool(!value)),
        ("greater" | "greaterorequals" | "less" | "lessorequals", [left, right]) => compare(name, left, right),
        ("empty", [value]) => length(value).map(|length| Value::Bool(length == 0)),
        ("length", [value]) => length(value).map(Value::from),
        ("contains", [whole, part]) => contains(whole, part),
        ("first" | "last", [value]) => end(name, value),
        ("skip" | "take", [value, count]) => piece(name, value, count),
        ("join", [Value::Array(items), Value::String(between)]) => {
            let items: Vec<String> = items.iter().map(text_of).collect();
            Ok(Value::String(items.join(between)))
        }
        ("union" | "intersection", [_, _, ..]) => combine(name, arguments),
        ("range", [first, count]) => range(first, count),
        ("min" | "max", arguments) => extreme(name, arguments),
        ("split", [Value::String(text), Value::String(between)]) => {
            Ok(text.split(between.as_str()).map(Value::from).collect())
        }
        ("replace", [Value::String(text), Value::String(from), Value::String(to)]) if !from.is_empty() => {
            Ok(Value::String(text.replace(from.as_str(), to)))
        }
        ("tolower", [Value::String(text)]) => Ok(Value::String(text.to_lowercase())),
        ("toupper", [Value::String(text)]) => Ok(Value::String(text.to_uppercase())),
        ("trim", [Value::String(text)]) => Ok(Value::String(text.trim().to_owned())),
        ("substring", [Value::String(text), rest @ ..]) => substring(text, rest),
        ("startswith", [Value::String(text), Value::String(part)]) => {
            Ok(Value::Bool(text.to_lowercase().starts_with(&part.to_lowercase())))
        }
        ("endswith", [Value::String(text), Value::String(part)]) => {
            Ok(Value::Bool(text.to_lowercase().ends_with(&part.to_lowercase())))
        }
        ("indexof" | "lastindexof", [Value::String(text), Value::String(part)]) => Ok(place(name, text, part)),
        ("guid", []) => Ok(Value::String(uuid::Uuid::new_v4().to_string())),
        ("uricomponent" | "encodeuricomponent", [Value::String(text)]) => {
            Ok(Value::String(utf8_percent_encode(text, ENCODED).to_string()))
        }
        ("uricomponenttostring" | "decodeuricomponent", [Value::String(text)]) => {
            let decoded = percent_decode_str(text).decode_utf8();
            decoded
                .map(|text| Value::String(text.into_owned()))
                .map_err(|_| "it is not UTF-8".to_owned())
        }
        (name, _) if is_known(name) => Err("it does not take such arguments".to_owned()),
        _ => return None,
    })
}

/// The names of all functions, those of time included.
pub(super) const NAMES: &[&str] = &[
    "add",
    "adddays",
    "addhours",
    "addminutes",
    "addseconds",
    "addtotime",
    "array",
    "bool",
    "coalesce",
    "concat",
    "contains",
    "createarray",
    "createobject",
    "dayofmonth",
    "dayofweek",
    "dayofyear",
    "decodeuricomponent",
    "div",
    "empty",
    "encodeuricomponent",
    "endswith",
    "equals",
    "false",
    "first",
    "float",
    "formatdatetime",
    "getfuturetime",
    "getpasttime",
    "greater",
    "greaterorequals",
    "guid",
    "indexof",
    "int",
    "intersection",
    "join",
    "json",
    "last",
    "lastindexof",
    "length",
    "less",
    "lessorequals",
    "max",
    "min",
    "mod",
    "mul",
    "not",
    "null",
    "range",
    "replace",
    "skip",
    "split",
    "startofday",
    "startofhour",
    "startofmonth",
    "startswith",
    "string",
    "sub",
    "substring",
    "subtractfromtime",
    "take",
    "ticks",
    "tolower",
    "toupper",
    "trim",
    "true",
    "union",
    "uricomponent",
    "uricomponenttostring",
    "utcnow",
];

/// Whether there is a function of this name, in lower case.
pub(super) fn is_known(name: &str) -> bool {
    NAMES.contains(&name)
}

/// A position from 0.
pub(super) fn index(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|number| usize::try_from(number).ok())
}

fn of_numbers(name: &str, arguments: &[Value]) -> Result<Value, String> {
    match arguments {
        [left, right] => match (Numeric::of(left), Numeric::of(right)) {
            (Some(left), Some(right)) => arithmetic(name, left, right),
            _ => Err("it takes two numbers".to_owned()),
        },
        _ => Err("it takes two numbers".to_owned()),
    }
}

fn int(value: &Value) -> Result<Value, String> {
    let number = match value {
        Value::String(text) => text.trim().parse::<i64>().ok(),
        value => match Numeric::of(value) {
            Some(Numeric::Whole(number)) => Some(number),
            Some(Numeric::Broken(number)) if number.abs() < 9.0e18 => Some(number.trunc() as i64),
            _ => None,
        },
    };
    number
        .map(Value::from)
        .ok_or_else(|| "its argument is no whole number".to_owned())
}

fn float(value: &Value) -> Result<Value, String> {
    let number = match value {
        Value::String(text) => text.trim().parse::<f64>().ok(),
        value => Numeric::of(value).map(Numeric::as_f64),
    };
    number.map_or_else(
        || Err("its argument is no number".to_owned()),
        |number| Numeric::Broken(number).value(),
    )
}

fn bool_of(value: &Value) -> Result<Value, String> {
    let truth = match value {
        Value::Bool(truth) => Some(*truth),
        Value::String(text) if text.eq_ignore_ascii_case("true") => Some(true),
        Value::String(text) if text.eq_ignore_ascii_case("false") => Some(false),
        value => Numeric::of(value).map(|number| number.as_f64() != 0.0),
    };
    truth
        .map(Value::Bool)
        .ok_or_else(|| "its argument is neither true nor false".to_owned())
}

fn arrays(values: &[Value]) -> Result<Vec<Vec<Value>>, String> {
    let arrays = values.iter().map(|value| value.as_array().cloned());
    arrays
        .collect::<Option<_>>()
        .ok_or_else(|| "it takes arrays alone, or none".to_owned())
}

fn create_object(arguments: &[Value]) -> Result<Value, String> {
    let mut object = Map::new();
    for pair in arguments.chunks(2) {
        match pair {
            [Value::String(key), value] => object.insert(key.clone(), value.clone()),
            _ => return Err("it takes pairs of a text and a value".to_owned()),
        };
    }
    Ok(Value::Object(object))
}

/// Numbers by what they count, so that 1 and 1.0 are equal; all else as it is.
fn are_equal(left: &Value, right: &Value) -> bool {
    match (Numeric::of(left), Numeric::of(right)) {
        (Some(Numeric::Whole(left)), Some(Numeric::Whole(right))) => left == right,
        (Some(left), Some(right)) => left.as_f64() == right.as_f64(),
        _ => left == right,
    }
}

fn compare(name: &str, left: &Value, right: &Value) -> Result<Value, String> {
    let order = match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => match (Numeric::of(left), Numeric::of(right)) {
            (Some(Numeric::Whole(left)), Some(Numeric::Whole(right))) => Some(left.cmp(&right)),
            (Some(left), Some(right)) => left.as_f64().partial_cmp(&right.as_f64()),
            _ => None,
        },
    };
    let order = order.ok_or("it compares two numbers or two texts")?;
    Ok(Value::Bool(match name {
        "greater" => order == Ordering::Greater,
        "greaterorequals" => order != Ordering::Less,
        "less" => order == Ordering::Less,
        _ => order != Ordering::Greater,
    }))
}

/// Of a text in the units of UTF-16, which .NET counts.
fn length(value: &Value) -> Result<usize, String> {
    match value {
        Value::Null => Ok(0),
        Value::String(text) => Ok(text.encode_utf16().count()),
        Value::Array(items) => Ok(items.len()),
        Value::Object(object) => Ok(object.len()),
        _ => Err("its argument is no text, array or object".to_owned()),
    }
}

fn contains(whole: &Value, part: &Value) -> Result<Value, String> {
    match (whole, part) {
        (Value::String(text), Value::String(part)) => Ok(Value::Bool(text.contains(part.as_str()))),
        (Value::Array(items), part) => Ok(Value::Bool(items.iter().any(|item| are_equal(item, part)))),
        (Value::Object(object), Value::String(key)) => Ok(Value::Bool(crate::activity::member(object, key).is_some())),
        _ => Err("it takes a text, array or object, and what to look for".to_owned()),
    }
}

fn end(name: &str, value: &Value) -> Result<Value, String> {
    let found = match value {
        Value::String(text) if name == "first" => text.chars().next().map(|found| Value::from(found.to_string())),
        Value::String(text) => text.chars().next_back().map(|found| Value::from(found.to_string())),
        Value::Array(items) if name == "first" => items.first().cloned(),
        Value::Array(items) => items.last().cloned(),
        _ => return Err("its argument is neither a text nor an array".to_owned()),
    };
    found.ok_or_else(|| "its argument is empty".to_owned())
}

fn piece(name: &str, value: &Value, count: &Value) -> Result<Value, String> {
    let count = index(count).ok_or("its second argument is no number from 0 on")?;
    match (value, name) {
        (Value::Array(items), "skip") => Ok(items.iter().skip(count).cloned().collect()),
        (Value::Array(items), _) => Ok(items.iter().take(count).cloned().collect()),
        (Value::String(text), "skip") => Ok(Value::String(text.chars().skip(count).collect())),
        (Value::String(text), _) => Ok(Value::String(text.chars().take(count).collect())),
        _ => Err("its first argument is neither a text nor an array".to_owned()),
    }
}

fn combine(name: &str, arguments: &[Value]) -> Result<Value, String> {
    if arguments.iter().all(Value::is_object) {
        let mut objects = arguments.iter().filter_map(Value::as_object);
        let mut combined = objects.next().cloned().unwrap_or_default();
        for object in objects {
            match name {
                "union" => combined.extend(object.clone()),
                _ => combined.retain(|key, value| object.get(key) == Some(value)),
            }
        }
        return Ok(Value::Object(combined));
    }
    let arrays = arrays(arguments)?;
    let mut combined: Vec<Value> = Vec::new();
    let all = arrays.concat();
    for item in all {
        let is_wanted = name == "union" || arrays.iter().all(|array| array.contains(&item));
        if is_wanted && !combined.contains(&item) {
            combined.push(item);
        }
    }
    Ok(Value::Array(combined))
}

fn range(first: &Value, count: &Value) -> Result<Value, String> {
    match (first.as_i64(), count.as_i64()) {
        (Some(first), Some(count)) if (0..=MAX_RANGE).contains(&count) => {
            Ok((0..count).map(|step| Value::from(first.saturating_add(step))).collect())
        }
        _ => Err(format!("it takes a whole number, and a count from 0 to {MAX_RANGE}")),
    }
}

fn extreme(name: &str, arguments: &[Value]) -> Result<Value, String> {
    let values = match arguments {
        [Value::Array(items)] => items,
        other => other,
    };
    let numbers: Option<Vec<Numeric>> = values.iter().map(Numeric::of).collect();
    let numbers = numbers.ok_or("it takes numbers alone")?;
    let wanted = if name == "min" {
        Ordering::Less
    } else {
        Ordering::Greater
    };
    let found = numbers.into_iter().reduce(|best, other| {
        if other.as_f64().partial_cmp(&best.as_f64()) == Some(wanted) {
            other
        } else {
            best
        }
    });
    found.ok_or_else(|| "it takes at least one number".to_owned())?.value()
}

fn substring(text: &str, rest: &[Value]) -> Result<Value, String> {
    let characters: Vec<char> = text.chars().collect();
    let numbers: Option<Vec<usize>> = rest.iter().map(index).collect();
    let found = match numbers.as_deref() {
        Some([start]) => characters.get(*start..),
        Some([start, length]) => start.checked_add(*length).and_then(|end| characters.get(*start..end)),
        _ => return Err("it takes a text, a start from 0, and a length".to_owned()),
    };
    let found = found.ok_or_else(|| format!("the text has {} characters only", characters.len()))?;
    Ok(Value::String(found.iter().collect()))
}

fn place(name: &str, text: &str, part: &str) -> Value {
    let (text, part) = (text.to_lowercase(), part.to_lowercase());
    let found = if name == "indexof" {
        text.find(&part)
    } else {
        text.rfind(&part)
    };
    found.map_or(Value::from(-1), |at| Value::from(text[..at].encode_utf16().count()))
}
