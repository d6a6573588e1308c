//! What the catalogs of MariaDB and MySQL say of tables beside their columns, by six queries for many of them.
//!
//! Knows the catalogs and the words of `features`, and nothing of what becomes of them. Names are compared in Rust: the
//! catalog's collation takes `tä` for `ta`.

use std::collections::HashMap;

use super::{
    super::{
        Dialect, Error, Relation,
        features::{Check, Default, Features, ForeignKey, Generated, Identity, Index, Part, Row},
        tokens::Spelling,
    },
    MySql,
};
use crate::odbc::Session;

/// Most tables of one question.
const ASKED_MAX: usize = 200;

const COLUMNS: &str = "\
SELECT table_name, column_name, column_default, extra, generation_expression, column_comment, collation_name, is_nullable \
FROM information_schema.columns WHERE table_schema = ? AND table_name IN ({names}) ORDER BY ordinal_position";

const TABLES: &str = "\
SELECT table_name, auto_increment, create_options, CASE WHEN table_type = 'VIEW' THEN '' ELSE table_comment END \
FROM information_schema.tables WHERE table_schema = ? AND table_name IN ({names})";

const INDEXES: &str = "\
SELECT table_name, index_name, non_unique, column_name, sub_part, collation, index_type FROM information_schema.statistics \
WHERE table_schema = ? AND table_name IN ({names}) AND index_name <> 'PRIMARY' ORDER BY index_name, seq_in_index";

const CHECKS_OF_MARIADB: &str = "\
SELECT table_name, constraint_name, check_clause, 'YES' FROM information_schema.check_constraints \
WHERE constraint_schema = ? AND table_name IN ({names}) ORDER BY constraint_name";

const CHECKS_OF_MYSQL: &str = "\
SELECT t.table_name, t.constraint_name, c.check_clause, t.enforced FROM information_schema.table_constraints t \
JOIN information_schema.check_constraints c ON c.constraint_schema = t.constraint_schema \
  AND c.constraint_name = t.constraint_name \
WHERE t.constraint_type = 'CHECK' AND t.table_schema = ? AND t.table_name IN ({names}) ORDER BY t.constraint_name";

const FOREIGN_KEYS: &str = "\
SELECT k.table_name, k.constraint_name, k.column_name, k.referenced_table_schema, k.referenced_table_name, \
  k.referenced_column_name, r.update_rule, r.delete_rule FROM information_schema.key_column_usage k \
JOIN information_schema.referential_constraints r ON r.constraint_schema = k.constraint_schema \
  AND r.constraint_name = k.constraint_name AND r.table_name = k.table_name \
WHERE k.table_schema = ? AND k.table_name IN ({names}) AND k.referenced_table_name IS NOT NULL \
ORDER BY k.constraint_name, k.ordinal_position";

const TRIGGERS: &str = "\
SELECT event_object_table, 'trigger', trigger_name FROM information_schema.triggers \
WHERE event_object_schema = ? AND event_object_table IN ({names}) ORDER BY trigger_name";

/// What each of these tables has.
pub(super) fn features(dialect: &MySql, session: &Session, relations: &[Relation]) -> Result<Vec<Features>, Error> {
    let own = match relations.iter().any(|relation| relation.schema.is_none()) {
        true => dialect.default_schema(session)?,
        false => None,
    };
    let schema_of = |relation: &Relation| relation.schema.clone().or_else(|| own.clone()).unwrap_or_default();
    let mut by_schema: HashMap<String, Vec<&str>> = HashMap::new();
    for relation in relations {
        by_schema.entry(schema_of(relation)).or_default().push(&relation.name);
    }
    let mut found: HashMap<(String, String), Features> = HashMap::new();
    for (schema, names) in &by_schema {
        for names in names.chunks(ASKED_MAX) {
            let places = vec!["?"; names.len()].join(", ");
            let parameters: Vec<&str> = [schema.as_str()].into_iter().chain(names.iter().copied()).collect();
            let rows = |sql: &str| session.text_rows(&sql.replace("{names}", &places), &parameters);
            let mut read = |sql: &str, take: &dyn Fn(&mut Features, &Row<'_>)| -> Result<(), Error> {
                for row in rows(sql)? {
                    let row = Row(&row);
                    take(found.entry((schema.clone(), row.text(0).to_owned())).or_default(), &row);
                }
                Ok(())
            };
            read(COLUMNS, &|features, row| column(features, row, dialect.mariadb))?;
            read(TABLES, &table)?;
            read(FOREIGN_KEYS, &foreign_key)?;
            read(
                if dialect.mariadb {
                    CHECKS_OF_MARIADB
                } else {
                    CHECKS_OF_MYSQL
                },
                &|features, row| check(features, row, dialect.mariadb),
            )?;
            read(INDEXES, &|features, row| index(features, row, dialect))?;
            read(TRIGGERS, &|features, row| {
                features.other.extend(super::generic::thing(&row.0[1..]))
            })?;
        }
    }
    let of = |relation: &Relation| Features {
        spelling: Some(Spelling::MySql),
        ..(found.get(&(schema_of(relation), relation.name.clone())).cloned()).unwrap_or_default()
    };
    Ok(relations.iter().map(of).collect())
}

/// MySQL's catalog escapes the quotes in an expression.
fn unescaped(sql: &str, mariadb: bool) -> String {
    match mariadb {
        true => sql.to_owned(),
        false => sql.replace("\\'", "'"),
    }
}

fn column(features: &mut Features, row: &Row<'_>, mariadb: bool) {
    let column = row.text(1).to_owned();
    let extra = row.text(3).to_lowercase();
    if !row.text(5).is_empty() {
        features.column_comments.push((column.clone(), row.text(5).to_owned()));
    }
    if row
        .cell(6)
        .is_some_and(|collation| !collation.ends_with("_bin") && collation != "binary")
    {
        features.folding.push(column.clone());
    }
    if extra.contains("auto_increment") {
        features.identities.push(Identity {
            column,
            next: None,
            increment: 1,
            always: false,
            implied: false,
        });
        return;
    }
    if extra.contains("generated") && !extra.contains("default_generated") {
        let kind = if extra.contains("stored") || extra.contains("persistent") {
            "STORED"
        } else {
            "VIRTUAL"
        };
        features.generated.push(Generated {
            column,
            sql: format!("GENERATED ALWAYS AS ({}) {kind}", unescaped(row.text(4), mariadb)),
            bound: None,
        });
        return;
    }
    let rest = match extra.find("on update") {
        Some(start) => row.text(3)[start..].to_uppercase(),
        None => String::new(),
    };
    // MariaDB has `NULL` for none where NULL is allowed.
    let sql = match row.cell(2).filter(|sql| !mariadb || !sql.eq_ignore_ascii_case("NULL")) {
        None => String::new(),
        Some(sql) if mariadb || sql.starts_with("b'") => sql.to_owned(),
        Some(sql) if extra.contains("default_generated") => match sql.to_uppercase().starts_with("CURRENT_TIMESTAMP") {
            true => sql.to_owned(),
            false => format!("({})", unescaped(sql, false)),
        },
        Some(text) => format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
    };
    if !sql.is_empty() || !rest.is_empty() {
        features.defaults.push(Default {
            column,
            sql,
            rest,
            bound: None,
        });
    }
}

fn table(features: &mut Features, row: &Row<'_>) {
    if let Some(identity) = features.identities.first_mut() {
        identity.next = row.cell(1).and_then(|number| number.parse().ok());
    }
    if row.text(2).contains("partitioned") {
        features.other.push("partitions".to_owned());
    }
    features.comment = Some(row.text(3).to_owned()).filter(|comment| !comment.is_empty());
}

fn check(features: &mut Features, row: &Row<'_>, mariadb: bool) {
    features.checks.push(Check {
        name: Some(row.text(1).to_owned()),
        sql: unescaped(row.text(2), mariadb),
        rest: String::new(),
        bound: (row.text(3) == "NO").then(|| "it is not enforced in the source".to_owned()),
    });
}

fn foreign_key(features: &mut Features, row: &Row<'_>) {
    let name = Some(row.text(1).to_owned());
    if features.foreign_keys.last().is_none_or(|last| last.name != name) {
        features.foreign_keys.push(ForeignKey {
            name,
            columns: Vec::new(),
            referred: Relation::new(row.cell(3).map(str::to_owned), row.text(4)),
            referred_columns: Vec::new(),
            on_update: row.text(6).to_owned(),
            on_delete: row.text(7).to_owned(),
            deferred: None,
            special: None,
        });
    }
    if let Some(key) = features.foreign_keys.last_mut() {
        key.columns.push(row.text(2).to_owned());
        key.referred_columns.push(row.text(5).to_owned());
    }
}

fn index(features: &mut Features, row: &Row<'_>, dialect: &MySql) {
    if features.indexes.last().is_none_or(|last| last.name != row.text(1)) {
        let kind = row.text(6);
        features.indexes.push(Index {
            name: row.text(1).to_owned(),
            unique: row.text(2) == "0",
            // The catalog calls every unique one a constraint.
            constraint: row.text(2) == "0",
            special: (!matches!(kind, "BTREE" | "HASH")).then(|| format!("it is of the kind `{kind}`")),
            own: match kind {
                "FULLTEXT" | "SPATIAL" => format!("{kind} ()"),
                _ => "()".to_owned(),
            },
            ..Index::default()
        });
    }
    let Some(index) = features.indexes.last_mut() else {
        return;
    };
    let prefix = row.cell(4).and_then(|length| length.parse::<u32>().ok());
    let part = Part {
        column: row.cell(3).map(str::to_owned),
        descending: row.text(5) == "D",
        prefix: prefix.filter(|_| index.special.is_none()),
    };
    match &part.column {
        Some(column) => {
            let length = part.prefix.map(|length| format!("({length})")).unwrap_or_default();
            let descends = if part.descending { " DESC" } else { "" };
            let comma = if index.parts.is_empty() { "" } else { ", " };
            let words = format!("{comma}{}{length}{descends})", dialect.quote(column));
            index.own.pop();
            index.own.push_str(&words);
        }
        // MySQL's catalog has the expression in a column that MariaDB does not have.
        None => index.bound = Some("it is of an expression".to_owned()),
    }
    index.parts.push(part);
}
