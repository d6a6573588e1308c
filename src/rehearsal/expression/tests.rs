//! What expressions come to; expected values from the examples of Microsoft's page of functions where it has one.

use serde_json::{Value, json};

use super::*;

struct Here;

impl Scope for Here {
    fn given(&self, spelling: &str) -> Option<Value> {
        (spelling == "activity('lookup').output.count").then(|| json!(3))
    }

    fn knows(&self, name: &str) -> bool {
        matches!(name, "pipeline" | "item")
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, Fault>> {
        match (name, arguments) {
            ("pipeline", []) => Some(Ok(
                json!({"RunId": "r1", "parameters": {"Date": "2026-11-21", "n": 42}}),
            )),
            ("item", []) => Some(Ok(json!({"name": "a", "tables": ["x", "y"]}))),
            _ => None,
        }
    }
}

fn value(text: &str) -> Result<Value, Fault> {
    value_of_text(text, &Here)
}

#[test]
fn a_text_is_an_expression_a_text_with_expressions_or_what_it_is() {
    for (text, expected) in [
        ("@pipeline().parameters.n", json!(42)),
        ("@{pipeline().parameters.n}", json!("42")),
        (
            "day @{pipeline().Parameters.date}/@{ pipeline().runid }",
            json!("day 2026-11-21/r1"),
        ),
        ("@{concat('}', '@{')}!", json!("}@{!")),
        ("@@home", json!("@home")),
        ("a@b.c", json!("a@b.c")),
        ("x@@{y}", json!("x@{y}")),
        ("plain", json!("plain")),
        ("@{item().tables}", json!(r#"["x","y"]"#)),
    ] {
        assert_eq!(value(text), Ok(expected), "{text}");
    }
}

#[test]
fn functions_give_what_microsoft_documents() {
    for (text, expected) in [
        ("@concat('Hello', 'World')", json!("HelloWorld")),
        ("@concat('n', 1, true, null)", json!("n1True")),
        ("@concat(createArray(1), item().tables)", json!([1, "x", "y"])),
        (
            "@if(equals(pipeline().parameters.n, 42.0), 'yes', activity('never').x)",
            json!("yes"),
        ),
        ("@coalesce(null, item()?.missing, 'x')", json!("x")),
        ("@and(false, activity('never').x)", json!(false)),
        ("@or(greater(10, 5), activity('never').x)", json!(true)),
        ("@not(empty(''))", json!(false)),
        ("@string(10)", json!("10")),
        ("@int('10')", json!(10)),
        ("@float('10.333')", json!(10.333)),
        (
            "@json('{\"a\": [1.50]}').a[0]",
            serde_json::from_str::<Value>("1.50").unwrap(),
        ),
        ("@item()['tables'][1]", json!("y")),
        ("@contains('hello world', 'world')", json!(true)),
        ("@join(createArray('a', 'b'), '.')", json!("a.b")),
        ("@replace('the old string', 'old', 'new')", json!("the new string")),
        ("@split('a;b', ';')", json!(["a", "b"])),
        ("@substring('somevalue-foo', 10, 3)", json!("foo")),
        ("@indexOf('hello world', 'World')", json!(6)),
        (
            "@uriComponent('https://contoso.com')",
            json!("https%3A%2F%2Fcontoso.com"),
        ),
        ("@div(11, 5)", json!(2)),
        ("@mod(add(3, 4), 4)", json!(3)),
        ("@max(createArray(1, 3, 2))", json!(3)),
        ("@union(createArray(1, 2), createArray(2, 3))", json!([1, 2, 3])),
        ("@range(1, 4)", json!([1, 2, 3, 4])),
        ("@last(item().tables)", json!("y")),
        ("@length('hello')", json!(5)),
        ("@'it''s'", json!("it's")),
    ] {
        assert_eq!(value(text), Ok(expected), "{text}");
    }
}

#[test]
fn times_are_written_in_the_formats_of_dot_net() {
    for (text, expected) in [
        ("@formatDateTime('2018-03-15T12:00:00')", "2018-03-15T12:00:00.0000000Z"),
        (
            "@formatDateTime('2018-03-15T12:34:56.7890000Z', 'yyyyMMdd-HHmmss.fff')",
            "20180315-123456.789",
        ),
        (
            "@formatDateTime('2018-03-15', 'dddd, d. MMM yy')",
            "Thursday, 15. Mar 18",
        ),
        ("@formatDateTime('2018-03-15T15:04:00+02:00', 'hh:mm tt')", "01:04 PM"),
        ("@formatDateTime('2018-03-15T15:04:00', 'yyyy''T''M')", "2018T3"),
        ("@formatDateTime('2018-03-15T15:04:05', 'u')", "2018-03-15 15:04:05Z"),
        ("@addDays('2018-03-15T13:00:00Z', 10)", "2018-03-25T13:00:00.0000000Z"),
        ("@addHours('2018-03-15T00:00:00Z', -1, 'yyyy-MM-dd')", "2018-03-14"),
        ("@addToTime('2018-01-31T00:00:00Z', 1, 'Month', 'd')", "02/28/2018"),
        ("@startOfMonth('2018-03-15T13:30:30Z', 's')", "2018-03-01T00:00:00"),
        ("@string(dayOfWeek('2018-03-15T13:27:36Z'))", "4"),
        ("@string(ticks('2018-01-01T00:00:00Z'))", "636503616000000000"),
    ] {
        assert_eq!(value(text), Ok(json!(expected)), "{text}");
    }
}

#[test]
fn what_only_a_run_knows_is_named_as_far_as_it_is_wanted_and_can_be_given() {
    let unknown = |text: &str| match value(text) {
        Err(Fault::Unknown { expression }) => expression,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        unknown("@concat('a', activity('Lookup').output.firstRow['a b'])"),
        "activity('Lookup').output.firstRow['a b']"
    );
    assert_eq!(
        unknown("@pipeline().parameters.Missing"),
        "pipeline().parameters.Missing"
    );
    assert_eq!(value("@add(Activity('Lookup').output.count, 1)"), Ok(json!(4)));
}

#[test]
fn an_expression_that_cannot_be_read_says_where() {
    for (text, problem) in [
        ("@concat('a'", "it ends where `)` should stand"),
        ("@concat('a') b", "`b` follows where it should end"),
        ("@concat('a", "a text in single quotes does not end"),
        ("@{pipeline().RunId", "a `@{` has no `}` where its expression ends"),
        ("@foo", "it ends where `(` behind `foo` should stand"),
    ] {
        match value(text) {
            Err(Fault::Syntax { problem: found, .. }) => assert_eq!(found, problem, "{text}"),
            other => panic!("{text}: {other:?}"),
        }
    }
    assert!(matches!(
        value(&format!("@{}", "not(".repeat(100_000))),
        Err(Fault::Syntax { .. })
    ));
}

#[test]
fn a_failure_holds_no_value() {
    let error = value("@int(concat('se', 'cret'))").unwrap_err().to_string();
    assert_eq!(error, "`int(concat('se', 'cret'))`: its argument is no whole number");
    assert_eq!(
        value("@formatDateTime(1)").unwrap_err().to_string(),
        "`formatDateTime(1)`: it does not take such arguments"
    );
    assert_eq!(
        value("@item().missing").unwrap_err().to_string(),
        "`item().missing`: there is no `missing`"
    );
}

#[test]
fn the_page_names_every_function() {
    let page = include_str!("../README.md").to_lowercase();
    for name in functions::NAMES {
        assert!(page.contains(&format!("`{name}`")), "{name}");
    }
}
