//! Modes in which rows meet those of an existing table by their key: `upsert`, `incremental` and `mirror`.
//!
//! Makes other steps of a plan's, and knows no product's SQL for it (`database/merge.rs`).

use super::{
    error::{Phase, Place, Side, TableError},
    plan::ColumnPlan,
    request::{Merge, MergeKind},
    shape::{Make, Making},
};
use crate::database::{Column, Dialect, LoadSteps, LogicalType, Merging, Relation, Table, Writer};

const PLACE: Place = Place {
    phase: Phase::Plan,
    side: Side::Target,
};

/// Most keys that come more than once which an error names.
const NAMED_MAX: usize = 3;

/// What has to hold of the rows before they are merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyChecks {
    /// The columns that tell rows apart, by their names in the target.
    key: Vec<String>,
    /// Counts the rows without a whole key.
    nulls: String,
    /// Counts the keys that more than one row has.
    duplicates: String,
    /// The columns of the key that may be shown, see [`TableError::key`], and the query for some of the keys that more than
    /// one row has: those columns of them, one key more than are named.
    shown: Vec<(String, LogicalType)>,
    named: String,
}

/// The steps of such a load in place of those that add the rows, and what is looked at in between.
///
/// # Errors
/// Nothing tells the rows apart, or the product cannot.
pub(super) fn steps(
    merge: &Merge,
    target: &dyn Dialect,
    (relation, existing): (&Relation, Option<&Table>),
    columns: &[ColumnPlan],
    added: LoadSteps,
    (making, make): (&mut Making, &Make<'_>),
) -> Result<(LoadSteps, Option<KeyChecks>), Box<TableError>> {
    let logical: Vec<(&str, LogicalType)> = (columns.iter())
        .map(|plan| (plan.target.name.as_str(), plan.source.logical))
        .collect();
    let columns: Vec<&Column> = columns.iter().map(|plan| &plan.target).collect();
    let key = key_of(merge, existing, &columns)?;
    if key.is_empty() && matches!(merge.kind, MergeKind::Incremental { overlap: 0, .. }) {
        return Ok((in_place(target, relation, &key, added, (making, make)), None));
    }
    if key.is_empty() {
        let message = format!("the target `{relation}` has no primary key that would tell its rows apart");
        let mut error = TableError::refused(PLACE, "copy.no_key", message);
        error.hint = Some("name the columns that do with `key`".to_owned());
        return Err(error);
    }
    if existing.is_none() {
        return Ok((in_place(target, relation, &key, added, (making, make)), None));
    }
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let merging = Merging {
        target: relation,
        columns: &names,
        key: &key,
        deletes: merge.kind == MergeKind::Mirror,
    };
    let Some(steps) = target.merge_steps(&merging) else {
        let message = format!(
            "dray merges no rows by their key into this product (`{}`) yet",
            target.name()
        );
        let mut error = TableError::refused(PLACE, "copy.no_merge", message);
        error.hint = Some("use mode `append`, `truncate` or `replace`".to_owned());
        return Err(error);
    };
    let from = target.quote_relation(&steps.staging);
    let quoted: Vec<String> = key.iter().map(|name| target.quote(name)).collect();
    let nulls: Vec<String> = quoted.iter().map(|name| format!("{name} IS NULL")).collect();
    let shown: Vec<(String, LogicalType)> = (key.iter())
        .filter_map(|name| logical.iter().find(|(column, _)| column == name))
        .filter(|(_, logical)| may_be_shown(*logical))
        .map(|(name, logical)| ((*name).to_owned(), *logical))
        .collect();
    let list: Vec<String> = shown.iter().map(|(name, _)| target.quote(name)).collect();
    let twice = format!("FROM {from} GROUP BY {} HAVING COUNT(*) > 1", quoted.join(", "));
    let checks = KeyChecks {
        nulls: format!("SELECT COUNT(*) FROM {from} WHERE {}", nulls.join(" OR ")),
        duplicates: format!("SELECT COUNT(*) FROM (SELECT 1 AS one {twice}) AS dray_keys"),
        named: target.first_rows(
            &list.join(", "),
            &format!("{twice} ORDER BY {}", list.join(", ")),
            NAMED_MAX + 1,
        ),
        shown,
        key,
    };
    let load = LoadSteps {
        before: vec![steps.create],
        staging: Some(steps.staging),
        after: steps.merge.into_iter().chain(steps.drop).collect(),
        ..LoadSteps::default()
    };
    Ok((load, Some(checks)))
}

/// The steps for a table that is not there: it is made with this key, and never renamed into its place, so that what is
/// noted beside its rows is noted with them.
fn in_place(
    target: &dyn Dialect,
    relation: &Relation,
    key: &[String],
    added: LoadSteps,
    (making, make): (&mut Making, &Make<'_>),
) -> LoadSteps {
    if added.before.is_empty() {
        return added;
    }
    let position = |name: &String| key.iter().position(|other| other == name).map(|at| at as u16 + 1);
    let mut pairs = std::mem::take(making).pairs;
    for (_, column) in &mut pairs {
        column.key_position = position(&column.name);
    }
    *making = make(pairs);
    let undo = match added.renamed() {
        Some(_) => vec![format!("DROP TABLE IF EXISTS {}", target.quote_relation(relation))],
        None => vec![],
    };
    LoadSteps {
        before: vec![making.create(target, relation)],
        after: making.after_rows(target, relation),
        undo,
        ..LoadSteps::default()
    }
}

/// The columns that tell rows apart, by their names in the target: those that were asked for, else the primary key.
fn key_of(merge: &Merge, existing: Option<&Table>, columns: &[&Column]) -> Result<Vec<String>, Box<TableError>> {
    let missing = |name: &str| {
        let message = format!("the key's column `{name}` is not among the columns that are copied");
        TableError::refused(PLACE, "copy.no_key", message)
    };
    let named = |name: &str| {
        let lower = name.to_lowercase();
        let exact = columns.iter().find(|column| column.name == name);
        exact.or_else(|| columns.iter().find(|column| column.name.to_lowercase() == lower))
    };
    if !merge.key.is_empty() {
        let of = |name: &String| {
            named(name)
                .map(|column| column.name.clone())
                .ok_or_else(|| missing(name))
        };
        return merge.key.iter().map(of).collect();
    }
    let mut primary: Vec<(u16, &str)> = match existing {
        Some(table) => (table.columns.iter())
            .filter_map(|column| Some((column.key_position?, column.name.as_str())))
            .collect(),
        None => (columns.iter())
            .filter_map(|column| Some((column.key_position?, column.name.as_str())))
            .collect(),
    };
    primary.sort_unstable();
    let of = |(_, name): (u16, &str)| match columns.iter().any(|column| column.name == name) {
        true => Ok(name.to_owned()),
        false => Err(missing(name)),
    };
    primary.into_iter().map(of).collect()
}

impl KeyChecks {
    /// The columns that tell rows apart, by their names in the target.
    pub(super) fn key(&self) -> &[String] {
        &self.key
    }

    /// Looks at the rows that have come.
    ///
    /// # Errors
    /// Some have no whole key, or the same; says how many, and which of them as far as that may be shown.
    pub(super) fn run(&self, writer: &mut dyn Writer, dialect: &dyn Dialect) -> Result<(), Box<TableError>> {
        let place = Place {
            phase: Phase::Write,
            side: Side::Source,
        };
        let mut count = |sql: &str| -> Result<u64, Box<TableError>> {
            let rows = writer
                .query(sql)
                .map_err(|error| TableError::database(place, error, Some(dialect)))?;
            let cell = rows.into_iter().flatten().flatten().next();
            Ok(cell.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0))
        };
        let key = self.key.join("`, `");
        let found = match (count(&self.nulls)?, count(&self.duplicates)?) {
            (0, 0) => return Ok(()),
            (0, keys) => {
                let comes = if keys == 1 { "comes" } else { "come" };
                let named = self.first_keys(writer).unwrap_or_default();
                format!(
                    "{keys} {} of `{key}` {comes} more than once{named}",
                    plural(keys, "value")
                )
            }
            (rows, _) => format!("{rows} {} NULL in the key `{key}`", plural(rows, "row") + " with"),
        };
        let mut error = TableError::refused(
            place,
            "copy.duplicate_keys",
            format!("the rows cannot be told apart: {found}"),
        );
        error.hint = Some("read each key once, with a `query`".to_owned());
        Err(error)
    }
}

impl KeyChecks {
    /// Some keys that come more than once, in parentheses; nothing where none may be shown, or none can be had.
    fn first_keys(&self, writer: &mut dyn Writer) -> Option<String> {
        if self.shown.is_empty() {
            return None;
        }
        let rows = writer.query(&self.named).ok()?;
        let mut keys: Vec<String> = Vec::new();
        for row in &rows {
            let parts: Vec<String> = (self.shown.iter().zip(row))
                .filter_map(|((name, logical), cell)| {
                    let cell = cell.as_deref().filter(|text| is_spelled_as(*logical, text))?;
                    Some(format!("{name}={cell}"))
                })
                .collect();
            let key = parts.join(", ");
            if !key.is_empty() && !keys.contains(&key) {
                keys.push(key);
            }
        }
        let others = if keys.len() > NAMED_MAX { "; …" } else { "" };
        keys.truncate(NAMED_MAX);
        (!keys.is_empty()).then(|| format!(" ({}{others})", keys.join("; ")))
    }
}

/// Whether values of a type may stand in an error.
fn may_be_shown(logical: LogicalType) -> bool {
    matches!(
        logical,
        LogicalType::Integer { .. }
            | LogicalType::Decimal { .. }
            | LogicalType::Date
            | LogicalType::Timestamp { .. }
            | LogicalType::Instant { .. }
            | LogicalType::Uuid
    )
}

/// Whether a text is what the type says: SQLite keeps any text in a column of numbers.
fn is_spelled_as(logical: LogicalType, text: &str) -> bool {
    let is_of = |others: &str| text.chars().all(|sign| sign.is_ascii_digit() || others.contains(sign));
    match logical {
        LogicalType::Integer { .. } => is_of("-"),
        LogicalType::Decimal { .. } => is_of("-+.eE"),
        LogicalType::Uuid => is_of("-abcdefABCDEF"),
        _ => is_of("-+:. TZ"),
    }
}

fn plural(count: u64, word: &str) -> String {
    match count {
        1 => word.to_owned(),
        _ => format!("{word}s"),
    }
}
