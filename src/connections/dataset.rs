//! A dataset as a way to name a table, and a connection: that of its linked service, with the parameters it passes on.

use serde_json::{Map, Value};

use super::ConnectionError;
use super::expression::Parameters;
use super::linked_service::present;
use crate::activity::{Resource, Special, member};

/// The linked service of a dataset, and what the dataset passes to it: its own parameters put in.
///
/// # Errors
/// A dataset that names none; an expression that is more than a parameter.
pub(super) fn linked_service_of_dataset(
    dataset: &Resource,
    parameters: &Parameters<'_>,
) -> Result<(String, Map<String, Value>), ConnectionError> {
    let name = dataset.name.clone().unwrap_or_default();
    let reference = dataset
        .properties()
        .and_then(|properties| present(properties, "linkedServiceName"));
    let reference = reference.and_then(Value::as_object);
    let service = reference
        .and_then(|reference| member(reference, "referenceName"))
        .and_then(Value::as_str);
    let Some(service) = service else {
        return Err(ConnectionError::DatasetIncomplete {
            name,
            lacks: "linked service",
        });
    };
    let mut passed = Map::new();
    let given = reference
        .and_then(|reference| present(reference, "parameters"))
        .and_then(Value::as_object);
    for (key, value) in given.into_iter().flatten() {
        let is_reference = matches!(Special::of(value), Some(Special::Expression)) || value.is_string();
        let value = match is_reference {
            true => parameters
                .text(value, &|| {
                    format!("parameter `{key}` that dataset `{name}` passes to `{service}`")
                })?
                .map_or(Value::Null, Value::from),
            false => value.clone(),
        };
        passed.insert(key.clone(), value);
    }
    Ok((service.to_owned(), passed))
}

/// The table that a dataset stands for: `schema.table`, or `table`.
///
/// # Errors
/// A dataset that names none, or by an expression that is more than a parameter.
pub(super) fn table_of_dataset(dataset: &Resource, parameters: &Parameters<'_>) -> Result<String, ConnectionError> {
    let name = dataset.name.clone().unwrap_or_default();
    let type_properties = dataset.type_properties();
    let text = |key: &'static str| -> Result<Option<String>, ConnectionError> {
        let Some(value) = type_properties.and_then(|object| present(object, key)) else {
            return Ok(None);
        };
        // Nothing in a dataset is a secret, and a name that is one would be no name.
        let value = match Special::of(value) {
            Some(Special::Secret(_)) => return Ok(None),
            _ => value,
        };
        let text = parameters.text(value, &|| format!("`typeProperties.{key}` of dataset `{name}`"))?;
        Ok(text.filter(|text| !text.is_empty()))
    };
    // `tableName` is the older spelling, and holds the schema as well; MySQL's newer one has `table` beside it.
    match (text("schema")?, text("table")?, text("tableName")?) {
        (Some(schema), Some(table), _) => Ok(format!("{}.{}", part(&schema), part(&table))),
        (Some(schema), None, Some(table)) if !table.contains('.') => Ok(format!("{}.{}", part(&schema), part(&table))),
        (None, Some(table), _) => Ok(part(&table)),
        (_, None, Some(name)) => Ok(unbracketed(&name)),
        (_, None, None) => Err(ConnectionError::DatasetIncomplete {
            name: name.clone(),
            lacks: "table",
        }),
    }
}

/// A name as `dray.Copy` reads it: in quotes where a dot in it would part it.
fn part(name: &str) -> String {
    match name.contains(['.', '"']) {
        true => format!("\"{}\"", name.replace('"', "\"\"")),
        false => name.to_owned(),
    }
}

/// `[dbo].[a b]`, as ADF's user interface writes the older `tableName`, without brackets.
fn unbracketed(name: &str) -> String {
    let inner = name.trim().strip_prefix('[').and_then(|inner| inner.strip_suffix(']'));
    match inner {
        None => name.to_owned(),
        Some(inner) => {
            let parts: Vec<String> = inner.split("].[").map(|name| part(&name.replace("]]", "]"))).collect();
            parts.join(".")
        }
    }
}
