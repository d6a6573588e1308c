//! What SQLite says of tables beside their columns: its pragmas, and what stands in a CREATE TABLE alone.
//!
//! Knows SQLite's schema table and the words of `features`, and nothing of what becomes of them.

use std::collections::HashMap;

use super::{
    super::{
        Dialect, Error, Relation,
        features::{Check, Default, Features, ForeignKey, Generated, Identity, Index, Part, Row},
        tokens::{Kind, Spelling, tokens},
    },
    Sqlite,
    definition::{self, Definition},
};
use crate::odbc::Session;

/// Most tables of one question.
const ASKED_MAX: usize = 200;

const DEFINITIONS: &str = "\
SELECT tbl_name, type, name, sql FROM {schema}.sqlite_master WHERE lower(tbl_name) IN ({names}) ORDER BY rowid";

const COLUMNS: &str = "\
SELECT m.name, x.name, x.dflt_value, x.hidden, x.pk, x.type FROM {schema}.sqlite_master m, \
  pragma_table_xinfo(m.name, {literal}) x WHERE m.type = 'table' AND lower(m.name) IN ({names}) ORDER BY m.rowid, x.cid";

const FOREIGN_KEYS: &str = "\
SELECT m.name, k.id, k.\"table\", k.\"from\", k.\"to\", k.on_update, k.on_delete FROM {schema}.sqlite_master m, \
  pragma_foreign_key_list(m.name, {literal}) k WHERE m.type = 'table' AND lower(m.name) IN ({names}) \
ORDER BY m.rowid, k.id DESC, k.seq";

const INDEXES: &str = "\
SELECT m.name, i.name, i.\"unique\", i.origin, i.partial, x.cid, x.name, x.\"desc\", x.coll FROM {schema}.sqlite_master m, \
  pragma_index_list(m.name, {literal}) i, pragma_index_xinfo(i.name, {literal}) x WHERE m.type = 'table' \
  AND i.origin <> 'pk' AND x.key = 1 AND lower(m.name) IN ({names}) ORDER BY m.rowid, i.seq DESC, x.seqno";

const COUNTERS: &str = "SELECT name, seq + 1 FROM {schema}.sqlite_sequence WHERE lower(name) IN ({names})";

/// What is known of a table while it is read.
#[derive(Default)]
struct Found {
    features: Features,
    definition: Definition,
    /// The words of indexes, by their names.
    indexes: HashMap<String, String>,
    /// Whether the primary key is of several columns.
    is_composite: bool,
    /// The number of the foreign key that was read last.
    last_key: String,
}

/// What each of these tables has.
pub(super) fn features(dialect: &Sqlite, session: &Session, relations: &[Relation]) -> Result<Vec<Features>, Error> {
    let schema_of = |relation: &Relation| relation.schema.clone().unwrap_or_else(|| "main".to_owned());
    let mut by_schema: HashMap<String, Vec<String>> = HashMap::new();
    for relation in relations {
        by_schema
            .entry(schema_of(relation))
            .or_default()
            .push(relation.name.to_lowercase());
    }
    let mut found: HashMap<(String, String), Found> = HashMap::new();
    for (schema, names) in &by_schema {
        for names in names.chunks(ASKED_MAX) {
            let listed: Vec<String> = names.iter().map(|name| dialect.literal(name)).collect();
            let spelled = |sql: &str| {
                sql.replace("{schema}", &dialect.quote(schema))
                    .replace("{literal}", &dialect.literal(schema))
                    .replace("{names}", &listed.join(", "))
            };
            let mut has_counters = false;
            let mut read = |sql: &str, take: &mut dyn FnMut(&mut Found, &Row<'_>)| -> Result<(), Error> {
                for row in session.text_rows(&spelled(sql), &[])? {
                    let row = Row(&row);
                    let key = (schema.clone(), row.text(0).to_lowercase());
                    take(found.entry(key).or_default(), &row);
                }
                Ok(())
            };
            read(DEFINITIONS, &mut |found, row| {
                defined(found, row);
                has_counters |= found.definition.autoincrement;
            })?;
            read(COLUMNS, &mut column)?;
            read(FOREIGN_KEYS, &mut foreign_key)?;
            read(INDEXES, &mut |found, row| index(dialect, found, row))?;
            // The table of the counters is there as soon as a table has one.
            if has_counters {
                read(COUNTERS, &mut |found, row| {
                    let next = row.text(1).parse().ok();
                    let own = found.features.identities.first_mut();
                    own.into_iter().for_each(|identity| identity.next = next);
                })?;
            }
        }
    }
    let of = |relation: &Relation| {
        let found = found.get(&(schema_of(relation), relation.name.to_lowercase()));
        Features {
            spelling: Some(Spelling::Sqlite),
            ..found.map(|found| found.features.clone()).unwrap_or_default()
        }
    };
    Ok(relations.iter().map(of).collect())
}

/// What an expression is that an application may have a function for.
fn bound(expression: &str) -> Option<String> {
    (!definition::is_own(expression)).then(|| "it calls for a function that is not SQLite's own".to_owned())
}

fn defined(found: &mut Found, row: &Row<'_>) {
    let sql = row.text(3);
    match row.text(1) {
        "table" => {
            let definition = definition::read(sql);
            for (name, condition) in &definition.checks {
                found.features.checks.push(Check {
                    name: name.clone(),
                    sql: condition.clone(),
                    rest: String::new(),
                    bound: bound(condition),
                });
            }
            found.features.folding.clone_from(&definition.collated);
            let collations = definition
                .collated
                .iter()
                .map(|column| format!("collation of column `{column}`"));
            found.features.other.extend(collations);
            found
                .features
                .other
                .extend(definition.options.iter().map(|option| (*option).to_owned()));
            found.definition = definition;
        }
        "trigger" => found.features.other.push(format!("trigger `{}`", row.text(2))),
        "index" => {
            if let Some(words) = definition::index_words(sql) {
                found.indexes.insert(row.text(2).to_owned(), words.to_owned());
            }
        }
        _ => {}
    }
}

fn column(found: &mut Found, row: &Row<'_>) {
    let column = row.text(1).to_owned();
    let Found {
        features, definition, ..
    } = found;
    if matches!(row.text(3), "2" | "3") {
        if let Some((expression, stored)) = definition.generated.get(&column) {
            let kind = if *stored { "STORED" } else { "VIRTUAL" };
            features.generated.push(Generated {
                column,
                sql: format!("GENERATED ALWAYS AS ({expression}) {kind}"),
                bound: bound(expression),
            });
        }
        return;
    }
    // The one column of a primary key, if it is INTEGER, numbers the rows by itself.
    if row.text(4) == "2" {
        found.is_composite = true;
        features.identities.clear();
    }
    let is_first = row.text(4) == "1" && !found.is_composite && row.text(5).eq_ignore_ascii_case("INTEGER");
    if is_first && !definition.options.contains(&"WITHOUT ROWID") {
        features.identities.push(Identity {
            column: column.clone(),
            next: None,
            increment: 1,
            always: false,
            implied: !definition.autoincrement,
        });
    }
    if let Some(expression) = row.cell(2) {
        let is_literal = tokens(expression, Spelling::Sqlite).is_some_and(|tokens| match tokens.as_slice() {
            [_] => true,
            [sign, number] => !matches!(sign.kind, Kind::Word(_)) && matches!(number.kind, Kind::Number(_)),
            _ => false,
        });
        features.defaults.push(Default {
            column,
            sql: match is_literal {
                true => expression.to_owned(),
                false => format!("({expression})"),
            },
            rest: String::new(),
            bound: bound(expression),
        });
    }
}

fn foreign_key(found: &mut Found, row: &Row<'_>) {
    let Found {
        features,
        definition,
        last_key,
        ..
    } = found;
    if row.text(1) != *last_key || features.foreign_keys.is_empty() {
        row.text(1).clone_into(last_key);
        let place = features.foreign_keys.len();
        features.foreign_keys.push(ForeignKey {
            name: definition.foreign_keys.get(place).cloned().flatten(),
            columns: Vec::new(),
            referred: Relation::new(None, row.text(2)),
            referred_columns: Vec::new(),
            on_update: row.text(5).to_owned(),
            on_delete: row.text(6).to_owned(),
            deferred: definition.deferred.contains(&place).then_some(true),
            special: None,
        });
    }
    if let Some(key) = features.foreign_keys.last_mut() {
        key.columns.push(row.text(3).to_owned());
        key.referred_columns.extend(row.cell(4).map(str::to_owned));
    }
}

fn index(dialect: &Sqlite, found: &mut Found, row: &Row<'_>) {
    let Found { features, indexes, .. } = found;
    let name = row.text(1);
    if features.indexes.last().is_none_or(|last| last.name != name) {
        let is_constraint = row.text(3) == "u";
        let own = indexes.get(name).cloned().unwrap_or_default();
        features.indexes.push(Index {
            name: name.to_owned(),
            unnamed: is_constraint,
            unique: row.text(2) == "1",
            constraint: is_constraint,
            condition: (row.text(4) == "1").then(|| condition_of(&own)),
            bound: bound(&own),
            own,
            ..Index::default()
        });
    }
    let Some(index) = features.indexes.last_mut() else {
        return;
    };
    let collation = row.text(8);
    if !collation.is_empty() && !collation.eq_ignore_ascii_case("BINARY") {
        index.special = Some(format!("it is of the collation `{collation}`"));
    }
    let column = row
        .cell(6)
        .filter(|_| !row.text(5).starts_with('-') || row.text(5) == "-1");
    if let (true, Some(column)) = (index.constraint, column) {
        // Its words stand in the CREATE TABLE.
        index.own.pop();
        let comma = if index.own.is_empty() { "(" } else { ", " };
        let words = format!("{comma}{} COLLATE {collation})", dialect.quote(column));
        index.own.push_str(&words);
    }
    index.parts.push(Part {
        column: column.map(str::to_owned),
        descending: row.text(7) == "1",
        prefix: None,
    });
}

/// What follows WHERE in the words of an index.
fn condition_of(words: &str) -> String {
    let tokens = tokens(words, Spelling::Sqlite).unwrap_or_default();
    let start = tokens
        .iter()
        .rfind(|token| token.is_word("where"))
        .map(|token| token.end);
    words[start.unwrap_or(words.len())..].trim().to_owned()
}
