//! What the catalogs of MariaDB and MySQL say depends on tables. Names are compared in Rust: the catalog's collation takes
//! `tä` for `ta`.
//!
//! Grants and views are of the table's name, and stay with it.

use std::collections::HashMap;

use super::{
    super::{
        Dialect, Error, Relation,
        dependants::{Dependants, dependants_of, effect},
        generic,
    },
    MySql,
};
use crate::odbc::Session;

/// Most tables of one question.
const ASKED_MAX: usize = 200;

/// Databases from which a key refers to another one, as the engine's own list has them; it wants a right that few have
/// (PROCESS), and spells names beyond ASCII in a way of its own.
const FAR_KEYS: &str = "\
SELECT DISTINCT SUBSTRING_INDEX(for_name, '/', 1) FROM information_schema.innodb_sys_foreign \
WHERE SUBSTRING_INDEX(for_name, '/', 1) <> SUBSTRING_INDEX(ref_name, '/', 1)";

const KEYS: &str = "\
SELECT r.unique_constraint_schema, r.referenced_table_name, 'key', '', r.constraint_name, r.constraint_schema, r.table_name, \
  r.delete_rule FROM information_schema.referential_constraints r \
WHERE r.unique_constraint_schema = ? AND r.referenced_table_name IN ({names}) \
  AND NOT (r.constraint_schema = r.unique_constraint_schema AND r.table_name = r.referenced_table_name)";

const TRIGGERS: &str = "\
SELECT event_object_schema, event_object_table, 'held', 'trigger', trigger_name, NULL, NULL, NULL \
FROM information_schema.triggers WHERE event_object_schema = ? AND event_object_table IN ({names}) ORDER BY trigger_name";

/// Without those that the server makes itself: for a foreign key, under its name, and for a column that counts.
const INDEXES: &str = "\
SELECT s.table_schema, s.table_name, 'gone', CASE WHEN MIN(s.non_unique) = 0 THEN 'unique index' ELSE 'index' END, s.index_name, \
  NULL, NULL, NULL FROM information_schema.statistics s WHERE s.table_schema = ? AND s.table_name IN ({names}) \
  AND s.index_name <> 'PRIMARY' AND NOT EXISTS (SELECT 1 FROM information_schema.columns c \
    WHERE c.table_schema = s.table_schema AND c.table_name = s.table_name AND c.column_name = s.column_name \
      AND c.column_name = s.index_name AND c.extra LIKE '%auto_increment%') \
  AND NOT EXISTS (SELECT 1 FROM information_schema.table_constraints k WHERE k.constraint_schema = s.table_schema \
    AND k.table_name = s.table_name AND k.constraint_name = s.index_name AND k.constraint_type = 'FOREIGN KEY') \
GROUP BY s.table_schema, s.table_name, s.index_name ORDER BY s.index_name";

const PARTITIONS: &str = "\
SELECT table_schema, table_name, 'gone', 'partitions', '', NULL, NULL, NULL FROM information_schema.tables \
WHERE table_schema = ? AND table_name IN ({names}) AND create_options LIKE '%partitioned%'";

/// What depends on each of these tables.
pub(super) fn dependants(dialect: &MySql, session: &Session, relations: &[Relation]) -> Result<Vec<Dependants>, Error> {
    let relations = generic::with_schemas(dialect, session, relations)?;
    let mut by_schema: HashMap<&str, Vec<&str>> = HashMap::new();
    for relation in &relations {
        let schema = relation.schema.as_deref().unwrap_or_default();
        by_schema.entry(schema).or_default().push(&relation.name);
    }
    let far = if dialect.mariadb { far_schemas(session) } else { None };
    let mut rows = Vec::new();
    for (schema, names) in &by_schema {
        // MariaDB opens every table of the databases that are not named.
        let near = far.as_ref().map(|far| {
            let mut listed: Vec<String> = far.iter().map(|name| dialect.literal(name)).collect();
            listed.push(dialect.literal(schema));
            format!("{KEYS} AND r.constraint_schema IN ({})", listed.join(", "))
        });
        let keys = near.as_deref().unwrap_or(KEYS);
        for names in names.chunks(ASKED_MAX) {
            let listed: Vec<String> = names.iter().map(|name| dialect.literal(name)).collect();
            for sql in [keys, TRIGGERS, INDEXES, PARTITIONS] {
                let sql = sql.replace("{names}", &listed.join(", "));
                rows.extend(session.text_rows(&sql, &[schema])?);
            }
        }
    }
    let mut found = dependants_of(rows, |rule| {
        let stays = "it would go on referring to the old table".to_owned();
        [Some(stays), effect(rule)]
    });
    Ok(relations
        .iter()
        .map(|relation| found.remove(relation).unwrap_or_default())
        .collect())
}

/// The databases whose keys refer to others; `None` if it is not known.
fn far_schemas(session: &Session) -> Option<Vec<String>> {
    let rows = session.text_rows(FAR_KEYS, &[]).ok()?;
    let names: Vec<String> = rows.into_iter().flatten().flatten().collect();
    // `@00e4` is a letter beyond ASCII.
    (!names.iter().any(|name| name.contains('@'))).then_some(names)
}
