//! What PostgreSQL's catalog says of tables beside their columns, by four queries for all of them.
//!
//! Knows the catalog and the words of `features`, and nothing of what becomes of them.

use std::collections::HashMap;

use super::{
    super::{
        Error, Relation,
        features::{Check, Default, Features, ForeignKey, Generated, Identity, Index, Part, Row},
        tokens::Spelling,
    },
    Asked, relation,
};
use crate::odbc::Session;

/// The tables that are asked about; schemas and names come as arrays.
const ASKED: &str = "\
WITH t AS (SELECT c.oid, c.relkind, n.nspname, c.relname, c.relrowsecurity \
  FROM unnest(CAST(? AS text[]), CAST(? AS text[])) AS asked (nspname, relname) \
  JOIN pg_namespace n ON n.nspname = asked.nspname JOIN pg_class c ON c.relnamespace = n.oid \
  AND c.relname = asked.relname WHERE c.relkind IN ('r', 'p', 'f')) ";

/// Columns with a default, an identity, an expression or a comment, or whose text folds; the sequence of a default counts
/// if it is the only default that calls it. It is looked for in two ways, each by an index of `pg_depend`: with both in one
/// condition the server reads all of that table for each column (0.4 s for 300 tables of five). What older servers do not
/// have (`attidentity`, `attgenerated`) is found in `older` there; collations that users have made are asked for theirs
/// through JSON.
const COLUMNS: &str = "\
SELECT t.nspname, t.relname, a.attname, a.attidentity, a.attgenerated, pg_get_expr(d.adbin, d.adrelid), {bound}, \
  CASE WHEN has_sequence_privilege(s.seqrelid, 'SELECT') \
    THEN coalesce(pg_sequence_last_value(CAST(s.seqrelid AS regclass)) + s.seqincrement, s.seqstart) END, s.seqincrement, \
  (SELECT count(*) FROM pg_depend u WHERE u.refclassid = CAST('pg_class' AS regclass) AND u.refobjid = s.seqrelid \
    AND u.classid = CAST('pg_attrdef' AS regclass)), comment, CAST(folds AS int), CAST(a.attnotnull AS int) \
FROM t CROSS JOIN (SELECT CAST('' AS \"char\") AS attidentity, CAST('' AS \"char\") AS attgenerated) AS older \
  CROSS JOIN LATERAL (SELECT o.attname, o.attnum, o.atttypid, o.attcollation, o.attnotnull, attidentity, attgenerated \
    FROM pg_attribute o WHERE o.attrelid = t.oid AND o.attnum > 0 AND NOT o.attisdropped) AS a \
  LEFT JOIN pg_attrdef d ON d.adrelid = t.oid AND d.adnum = a.attnum \
  LEFT JOIN pg_sequence s ON s.seqrelid = CASE \
    WHEN d.oid IS NOT NULL THEN (SELECT min(q.oid) FROM pg_depend x JOIN pg_class q ON q.oid = x.refobjid AND q.relkind = 'S' \
      WHERE x.classid = CAST('pg_attrdef' AS regclass) AND x.objid = d.oid AND x.refclassid = CAST('pg_class' AS regclass)) \
    WHEN a.attidentity <> '' THEN (SELECT min(q.oid) FROM pg_depend x JOIN pg_class q ON q.oid = x.objid AND q.relkind = 'S' \
      WHERE x.deptype = 'i' AND x.classid = CAST('pg_class' AS regclass) \
        AND x.refclassid = CAST('pg_class' AS regclass) AND x.refobjid = t.oid AND x.refobjsubid = a.attnum) END \
  CROSS JOIN LATERAL (SELECT col_description(t.oid, a.attnum) AS comment, \
    EXISTS (SELECT 1 FROM pg_type y WHERE y.oid = a.atttypid AND y.typname = 'citext') \
      OR a.attcollation >= 16384 AND EXISTS (SELECT 1 FROM pg_collation l WHERE l.oid = a.attcollation \
        AND CAST(to_jsonb(l) ->> 'collisdeterministic' AS boolean) = false) AS folds) AS more \
WHERE d.oid IS NOT NULL OR a.attidentity <> '' OR comment IS NOT NULL OR folds ORDER BY a.attnum";

/// Foreign keys with a row for each column, checks, and exclusion constraints.
const CONSTRAINTS: &str = "\
SELECT t.nspname, t.relname, k.oid, k.contype, k.conname, pg_get_constraintdef(k.oid), {bound}, \
  pg_get_expr(k.conbin, k.conrelid), CAST(k.connoinherit AS int), CAST(k.convalidated AS int), \
  a.attname, rn.nspname, rc.relname, ra.attname, k.confupdtype, k.confdeltype, k.confmatchtype, \
  CAST(k.condeferrable AS int), CAST(k.condeferred AS int) \
FROM t JOIN pg_constraint k ON k.conrelid = t.oid \
  LEFT JOIN LATERAL unnest(CASE WHEN k.contype = 'f' THEN k.conkey END, CASE WHEN k.contype = 'f' THEN k.confkey END) \
    WITH ORDINALITY AS parts (own, referred, place) ON true \
  LEFT JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = parts.own \
  LEFT JOIN pg_attribute ra ON ra.attrelid = k.confrelid AND ra.attnum = parts.referred \
  LEFT JOIN pg_class rc ON rc.oid = k.confrelid LEFT JOIN pg_namespace rn ON rn.oid = rc.relnamespace \
WHERE k.contype IN ('f', 'c', 'x') ORDER BY k.conname, k.oid, parts.place";

/// Indexes with a row for each part; of a definition what follows the table's name.
const INDEXES: &str = "\
SELECT t.nspname, t.relname, i.indexrelid, c.relname, CAST(i.indisunique AS int), m.amname, \
  CASE WHEN k.oid IS NOT NULL THEN pg_get_constraintdef(k.oid) \
    ELSE right(pg_get_indexdef(i.indexrelid), -length(format('CREATE %sINDEX %I ON %s%I.%I ', \
      CASE WHEN i.indisunique THEN 'UNIQUE ' ELSE '' END, c.relname, CASE WHEN t.relkind = 'p' THEN 'ONLY ' ELSE '' END, \
      t.nspname, t.relname))) END, \
  {bound}, pg_get_expr(i.indpred, i.indrelid), CAST(i.indisvalid AS int), \
  coalesce(to_jsonb(i) ->> 'indnullsnotdistinct', 'false'), a.attname, CAST(i.indoption[place] AS int) & 1, k.contype, \
  CASE WHEN place < i.indnkeyatts THEN 1 END, CAST(coalesce(k.condeferrable, false) AS int) \
FROM t JOIN pg_index i ON i.indrelid = t.oid JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am m ON m.oid = c.relam \
  LEFT JOIN pg_constraint k ON k.conindid = i.indexrelid AND k.contype IN ('u', 'x') \
  CROSS JOIN LATERAL generate_series(0, i.indnatts - 1) AS place \
  LEFT JOIN pg_attribute a ON a.attrelid = t.oid AND a.attnum = i.indkey[place] AND a.attnum > 0 \
WHERE NOT i.indisprimary ORDER BY c.relname, i.indexrelid, place";

/// What no copy takes over, and comments on tables.
const OTHER: &str = "\
SELECT nspname, relname, what, name FROM ( \
SELECT t.nspname, t.relname, 1 AS place, 'trigger' AS what, CAST(g.tgname AS text) AS name \
  FROM t JOIN pg_trigger g ON g.tgrelid = t.oid WHERE NOT g.tgisinternal \
UNION ALL SELECT t.nspname, t.relname, 2, 'rule', CAST(r.rulename AS text) FROM t JOIN pg_rewrite r ON r.ev_class = t.oid \
UNION ALL SELECT t.nspname, t.relname, 3, 'policy', CAST(p.polname AS text) FROM t JOIN pg_policy p ON p.polrelid = t.oid \
UNION ALL SELECT t.nspname, t.relname, 4, 'row level security', '' FROM t WHERE t.relrowsecurity \
UNION ALL SELECT t.nspname, t.relname, 5, 'partitions', '' FROM t WHERE t.relkind = 'p' \
UNION ALL SELECT t.nspname, t.relname, 6, 'comment', obj_description(t.oid, 'pg_class') FROM t \
  WHERE obj_description(t.oid, 'pg_class') IS NOT NULL) AS listed ORDER BY place, name";

/// What an expression is that calls for something of its own database.
const BOUND: &str = "it calls for a function, type or operator that is not PostgreSQL's own";

/// A query with the question in it whether a thing of this catalog calls for something that is not PostgreSQL's own. What
/// comes with the product has no row in `pg_depend`.
fn question(sql: &str, catalog: &str, id: &str) -> String {
    let bound = format!(
        "CAST(EXISTS (SELECT 1 FROM pg_depend own WHERE own.classid = CAST('{catalog}' AS regclass) AND own.objid = {id} \
         AND own.refclassid IN (CAST('pg_proc' AS regclass), CAST('pg_type' AS regclass), CAST('pg_operator' AS regclass), \
         CAST('pg_opclass' AS regclass), CAST('pg_collation' AS regclass))) AS int)"
    );
    format!("{ASKED}{}", sql.replace("{bound}", &bound))
}

/// What each of these tables has.
pub(super) fn features(session: &Session, asked: &Asked) -> Result<Vec<Features>, Error> {
    let mut found: HashMap<Relation, Features> = HashMap::new();
    let rows = |sql: &str| session.text_rows(sql, &[&asked.schemas, &asked.names]);
    for row in rows(&question(COLUMNS, "pg_attrdef", "d.oid"))? {
        let Some(table) = row.get(..2).and_then(relation) else {
            continue;
        };
        column(found.entry(table).or_default(), &Row(&row));
    }
    let mut last = String::new();
    for row in rows(&question(CONSTRAINTS, "pg_constraint", "k.oid"))? {
        let Some(table) = row.get(..2).and_then(relation) else {
            continue;
        };
        constraint(found.entry(table).or_default(), &Row(&row), &mut last);
    }
    for row in rows(&question(INDEXES, "pg_class", "i.indexrelid"))? {
        let Some(table) = row.get(..2).and_then(relation) else {
            continue;
        };
        index(found.entry(table).or_default(), &Row(&row), &mut last);
    }
    for row in rows(&format!("{ASKED}{OTHER}"))? {
        let Some(table) = row.get(..2).and_then(relation) else {
            continue;
        };
        let features = found.entry(table).or_default();
        match Row(&row).text(2) {
            "comment" => features.comment = Some(Row(&row).text(3).to_owned()),
            _ => features.other.extend(super::generic::thing(&row[2..])),
        }
    }
    let of = |relation: &Relation| Features {
        spelling: Some(Spelling::Postgres),
        ..found.get(relation).cloned().unwrap_or_default()
    };
    Ok(asked.relations.iter().map(of).collect())
}

fn column(features: &mut Features, row: &Row<'_>) {
    let column = row.text(2).to_owned();
    let bound = row.is(6).then(|| BOUND.to_owned());
    if let Some(comment) = row.cell(10) {
        features.column_comments.push((column.clone(), comment.to_owned()));
    }
    if row.is(11) {
        features.folding.push(column.clone());
    }
    let expression = row.cell(5);
    let identity = |always: bool| Identity {
        column: column.clone(),
        next: row.number(7),
        increment: row.number(8).unwrap_or(1),
        always,
        implied: false,
    };
    if matches!(row.text(3), "a" | "d") {
        features.identities.push(identity(row.text(3) == "a"));
    } else if let ("s" | "v", Some(expression)) = (row.text(4), expression) {
        let stored = if row.text(4) == "s" { " STORED" } else { "" };
        let required = if row.is(12) { " NOT NULL" } else { "" };
        features.generated.push(Generated {
            sql: format!("GENERATED ALWAYS AS ({expression}){stored}{required}"),
            column,
            bound,
        });
    } else if let Some(expression) = expression {
        let is_counter = expression.starts_with("nextval('") && expression.ends_with("'::regclass)");
        match (is_counter, row.number(9)) {
            (true, Some(1)) => features.identities.push(identity(false)),
            (true, Some(_)) => features.defaults.push(Default {
                column,
                sql: expression.to_owned(),
                rest: String::new(),
                bound: Some("its sequence numbers the rows of other columns as well".to_owned()),
            }),
            _ => features.defaults.push(Default {
                column,
                sql: expression.to_owned(),
                rest: String::new(),
                bound,
            }),
        }
    }
}

fn constraint(features: &mut Features, row: &Row<'_>, last: &mut String) {
    let name = Some(row.text(4).to_owned());
    let is_new = last != row.text(2);
    row.text(2).clone_into(last);
    match row.text(3) {
        "c" => features.checks.push(Check {
            name,
            sql: row.text(7).to_owned(),
            rest: String::new(),
            bound: row.is(6).then(|| BOUND.to_owned()),
        }),
        "f" => {
            if is_new {
                features.foreign_keys.push(ForeignKey {
                    name,
                    columns: Vec::new(),
                    referred: Relation::new(row.cell(11).map(str::to_owned), row.text(12)),
                    referred_columns: Vec::new(),
                    on_update: action(row.text(14)).to_owned(),
                    on_delete: action(row.text(15)).to_owned(),
                    deferred: row.is(17).then(|| row.is(18)),
                    special: (row.text(16) == "f").then(|| "it is MATCH FULL".to_owned()),
                });
            }
            if let Some(key) = features.foreign_keys.last_mut() {
                key.columns.push(row.text(10).to_owned());
                key.referred_columns.push(row.text(13).to_owned());
            }
        }
        // An exclusion constraint is among the indexes.
        _ => {}
    }
}

fn action(letter: &str) -> &'static str {
    match letter {
        "r" => "RESTRICT",
        "c" => "CASCADE",
        "n" => "SET NULL",
        "d" => "SET DEFAULT",
        _ => "NO ACTION",
    }
}

fn index(features: &mut Features, row: &Row<'_>, last: &mut String) {
    let is_new = last != row.text(2);
    row.text(2).clone_into(last);
    let is_exclusion = row.text(13) == "x";
    if is_new {
        let special = match row.text(5) {
            _ if is_exclusion => Some("another product has no exclusion constraints".to_owned()),
            _ if row.text(10) == "true" => Some("it takes NULLs for equal".to_owned()),
            "btree" => None,
            method => Some(format!("it is of the kind `{method}`")),
        };
        let invalid = (!row.is(9)).then(|| "it is not valid in the source".to_owned());
        features.indexes.push(Index {
            name: row.text(3).to_owned(),
            unnamed: false,
            unique: row.is(4) && !is_exclusion,
            constraint: row.cell(13).is_some(),
            parts: Vec::new(),
            condition: row.cell(8).map(str::to_owned),
            own: row.text(6).to_owned(),
            special: invalid.clone().or(special),
            extras: Vec::from_iter(
                row.is(15)
                    .then(|| "it cannot be put off to the end of a transaction".to_owned()),
            ),
            bound: invalid.or_else(|| row.is(7).then(|| BOUND.to_owned())),
        });
    }
    let Some(index) = features.indexes.last_mut() else {
        return;
    };
    let column = row.cell(11);
    if row.is(14) {
        index.parts.push(Part {
            column: column.map(str::to_owned),
            descending: row.is(12),
            prefix: None,
        });
    } else if let Some(column) = column {
        index.extras.push(format!("it does not include `{column}`"));
    }
}
