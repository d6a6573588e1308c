//! What SQLite says depends on tables. Views, and foreign keys that do not count, are of the table's name, and stay with it.

use std::collections::HashMap;

use super::{
    super::{
        Dialect, Error, Relation,
        dependants::{Dependants, dependants_of, effect},
    },
    Sqlite,
};
use crate::odbc::Session;

/// Most tables of one question.
const ASKED_MAX: usize = 200;

/// An index of a constraint has no words of its own.
const THINGS: &str = "\
SELECT {literal}, m.name, CASE d.type WHEN 'trigger' THEN 'held' ELSE 'gone' END, \
  CASE WHEN d.sql LIKE 'CREATE UNIQUE%' THEN 'unique index' ELSE d.type END, d.name, NULL, NULL, NULL \
FROM {schema}.sqlite_master m JOIN {schema}.sqlite_master d ON lower(d.tbl_name) = lower(m.name) \
WHERE m.type = 'table' AND lower(m.name) IN ({names}) AND d.type IN ('trigger', 'index') AND d.sql IS NOT NULL ORDER BY d.name";

const KEYS: &str = "\
SELECT DISTINCT {literal}, t.name, 'key', '', NULL, {literal}, m.name, k.on_delete \
FROM {schema}.sqlite_master m, pragma_foreign_key_list(m.name, {literal}) k \
  JOIN {schema}.sqlite_master t ON t.type = 'table' AND lower(t.name) = lower(k.\"table\") AND t.name <> m.name \
WHERE m.type = 'table' AND lower(t.name) IN ({names}) ORDER BY m.name";

/// What depends on each of these tables.
pub(super) fn dependants(
    dialect: &Sqlite,
    session: &Session,
    relations: &[Relation],
) -> Result<Vec<Dependants>, Error> {
    let schema_of = |relation: &Relation| relation.schema.clone().unwrap_or_else(|| "main".to_owned());
    let enforced = session.text_rows("PRAGMA foreign_keys", &[])?;
    let enforced = enforced.into_iter().flatten().flatten().next().as_deref() == Some("1");
    let mut by_schema: HashMap<String, Vec<String>> = HashMap::new();
    for relation in relations {
        let names = by_schema.entry(schema_of(relation)).or_default();
        names.push(dialect.literal(&relation.name.to_lowercase()));
    }
    let mut rows = Vec::new();
    for (schema, names) in &by_schema {
        for names in names.chunks(ASKED_MAX) {
            for sql in [THINGS, KEYS].iter().filter(|sql| enforced || **sql != KEYS) {
                let sql = sql.replace("{schema}", &dialect.quote(schema));
                let sql = sql.replace("{literal}", &dialect.literal(schema));
                rows.extend(session.text_rows(&sql.replace("{names}", &names.join(", ")), &[])?);
            }
        }
    }
    // DROP deletes the rows one by one, with all that follows from it.
    let found = dependants_of(rows, |rule| [effect(rule), effect(rule)]);
    let mut by_lower: HashMap<(Option<String>, String), Dependants> = HashMap::new();
    for (relation, dependants) in found {
        by_lower.insert((relation.schema, relation.name.to_lowercase()), dependants);
    }
    Ok(relations
        .iter()
        .map(|relation| by_lower.remove(&(Some(schema_of(relation)), relation.name.to_lowercase())))
        .map(Option::unwrap_or_default)
        .collect())
}
