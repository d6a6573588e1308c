//! What SQL Server's catalog says of tables beside their columns, by five questions for all of them.
//!
//! Knows the catalog and the words of `features`, and nothing of what becomes of them. An expression that the login may not
//! see (it needs VIEW DEFINITION) is NULL in the catalog, and then named among what is not carried.

use super::{
    super::{
        Error, Relation,
        features::{Check, Default, Features, ForeignKey, Generated, Identity, Index, Part, Row},
        tokens::Spelling,
    },
    MICROSOFT,
    catalog::ask,
};
use crate::{database::Dialect, odbc::Session};

/// Columns with an identity, a default, an expression or a comment, or whose text folds: every collation but those by code
/// points takes some texts for equal. An identity that has given no number yet begins with its seed.
const COLUMNS: &str = "\
SELECT asked.place, c.name, CASE WHEN n.object_id IS NULL THEN 0 ELSE 1 END, \
  CASE WHEN n.last_value IS NULL THEN TRY_CAST(n.seed_value AS bigint) \
    ELSE TRY_CAST(n.last_value AS bigint) + TRY_CAST(n.increment_value AS bigint) END, TRY_CAST(n.increment_value AS bigint), \
  CASE WHEN d.object_id IS NULL THEN 0 ELSE 1 END, d.definition, CASE WHEN e.object_id IS NULL THEN 0 ELSE 1 END, \
  e.definition, CAST(e.is_persisted AS int), CAST(c.is_nullable AS int), CAST(p.value AS nvarchar(max)), \
  CASE WHEN c.collation_name NOT LIKE '%[_]BIN%' THEN 1 ELSE 0 END \
FROM asked JOIN sys.columns c ON c.object_id = asked.id \
  LEFT JOIN sys.identity_columns n ON n.object_id = c.object_id AND n.column_id = c.column_id \
  LEFT JOIN sys.default_constraints d ON d.parent_object_id = c.object_id AND d.parent_column_id = c.column_id \
  LEFT JOIN sys.computed_columns e ON e.object_id = c.object_id AND e.column_id = c.column_id \
  LEFT JOIN sys.extended_properties p ON p.class = 1 AND p.major_id = c.object_id AND p.minor_id = c.column_id \
    AND p.name = 'MS_Description' \
WHERE n.object_id IS NOT NULL OR d.object_id IS NOT NULL OR e.object_id IS NOT NULL OR p.value IS NOT NULL \
  OR c.collation_name NOT LIKE '%[_]BIN%' ORDER BY asked.place, c.column_id";

const CHECKS: &str = "\
SELECT asked.place, k.name, CAST(k.is_system_named AS int), k.definition, CAST(k.is_disabled AS int), \
  CAST(k.is_not_trusted AS int) \
FROM asked JOIN sys.check_constraints k ON k.parent_object_id = asked.id ORDER BY asked.place, k.name";

/// A row for each column.
const FOREIGN_KEYS: &str = "\
SELECT asked.place, f.object_id, f.name, CAST(f.is_disabled AS int), CAST(f.is_not_trusted AS int), c.name, rs.name, r.name, \
  rc.name, f.update_referential_action_desc, f.delete_referential_action_desc \
FROM asked JOIN sys.foreign_keys f ON f.parent_object_id = asked.id \
  JOIN sys.foreign_key_columns k ON k.constraint_object_id = f.object_id \
  JOIN sys.columns c ON c.object_id = k.parent_object_id AND c.column_id = k.parent_column_id \
  JOIN sys.objects r ON r.object_id = f.referenced_object_id JOIN sys.schemas rs ON rs.schema_id = r.schema_id \
  JOIN sys.columns rc ON rc.object_id = k.referenced_object_id AND rc.column_id = k.referenced_column_id \
ORDER BY asked.place, f.name, f.object_id, k.constraint_column_id";

/// A row for each column; those that are only included come last.
const INDEXES: &str = "\
SELECT asked.place, i.index_id, i.name, CAST(i.is_unique AS int), CAST(i.is_unique_constraint AS int), i.type, i.type_desc, \
  i.filter_definition, CAST(i.is_disabled AS int), c.name, CAST(k.is_descending_key AS int), \
  CAST(k.is_included_column AS int), CAST(c.is_nullable AS int), CAST(i.has_filter AS int) \
FROM asked JOIN sys.indexes i ON i.object_id = asked.id AND i.index_id > 0 AND i.is_primary_key = 0 \
  LEFT JOIN sys.index_columns k ON k.object_id = i.object_id AND k.index_id = i.index_id \
  LEFT JOIN sys.columns c ON c.object_id = k.object_id AND c.column_id = k.column_id \
ORDER BY asked.place, i.name, i.index_id, k.is_included_column, k.key_ordinal, k.index_column_id";

/// Comments on tables, and what no copy takes over.
const OTHER: &str = "\
SELECT asked.place, things.what, things.name FROM asked JOIN ( \
SELECT p.major_id AS id, 1 AS rank, 'comment' AS what, CAST(p.value AS nvarchar(max)) AS name FROM sys.extended_properties p \
  WHERE p.class = 1 AND p.minor_id = 0 AND p.name = 'MS_Description' \
UNION ALL SELECT parent_id, 2, 'trigger', name FROM sys.triggers WHERE parent_class = 1 \
UNION ALL SELECT object_id, 3, 'history of its rows', '' FROM sys.tables \
  WHERE OBJECTPROPERTY(object_id, 'TableTemporalType') = 2) AS things ON things.id = asked.id \
ORDER BY asked.place, things.rank, things.name";

/// What an index of one of the kinds that another product has is called in `sys.indexes.type`: clustered, nonclustered.
const KINDS: [&str; 2] = ["1", "2"];

const HIDDEN: &str = "the login may not see its text (VIEW DEFINITION)";
const LINKED: &str = "keys, indexes, defaults and whatever else it has: a linked server is asked for columns alone";
const NOT_TRUSTED: &str = "it is not enforced, or rows that came before it were not looked at";

/// What each of these tables has.
pub(super) fn features(session: &Session, relations: &[Relation]) -> Result<Vec<Features>, Error> {
    let of_product = Features {
        spelling: Some(Spelling::TransactSql),
        ..Features::default()
    };
    let mut found = vec![of_product; relations.len()];
    type Take = fn(&mut Features, &Row<'_>);
    let questions: [(&str, Take); 5] = [
        (COLUMNS, column),
        (CHECKS, check),
        (FOREIGN_KEYS, foreign_key),
        (INDEXES, index),
        (OTHER, other),
    ];
    for (question, take) in questions {
        for (place, row) in ask(session, relations, question)? {
            // Of the cells behind the table's place.
            if let Some(features) = found.get_mut(place) {
                take(features, &Row(&row));
            }
        }
    }
    for (features, relation) in found.iter_mut().zip(relations) {
        for index in &mut features.indexes {
            index.own = own(index);
        }
        for key in &mut features.foreign_keys {
            key.referred.catalog.clone_from(&relation.catalog);
        }
        if relation.server.is_some() {
            features.other.push(LINKED.to_owned());
        }
    }
    Ok(found)
}

fn column(features: &mut Features, row: &Row<'_>) {
    let column = row.text(0).to_owned();
    let next = row.number(2);
    // Babelfish gives such a column again for other tables that number their rows, with their next number.
    let mut identities = features.identities.iter_mut();
    if let Some(known) = identities.find(|known| known.column == column) {
        known.next = known.next.max(next);
        return;
    }
    if row.is(1) {
        features.identities.push(Identity {
            column: column.clone(),
            next,
            increment: row.number(3).unwrap_or(1),
            always: false,
            implied: false,
        });
    }
    if row.is(4) {
        let default = Default {
            column: column.clone(),
            sql: row.text(5).to_owned(),
            rest: String::new(),
            bound: None,
        };
        match row.cell(5) {
            Some(_) => features.defaults.push(default),
            None => features.other.push(format!("{}: {HIDDEN}", default.thing())),
        }
    }
    if row.is(6) {
        let persisted = match (row.is(8), row.is(9)) {
            (false, _) => "",
            (true, true) => " PERSISTED",
            (true, false) => " PERSISTED NOT NULL",
        };
        features.generated.push(Generated {
            column: column.clone(),
            sql: format!("AS {}{persisted}", row.text(7)),
            bound: row.cell(7).is_none().then(|| HIDDEN.to_owned()),
        });
    }
    if let Some(comment) = row.cell(10) {
        features.column_comments.push((column.clone(), comment.to_owned()));
    }
    if row.is(11) {
        features.folding.push(column);
    }
}

fn check(features: &mut Features, row: &Row<'_>) {
    let check = Check {
        name: (!row.is(1)).then(|| row.text(0).to_owned()),
        sql: row.text(2).to_owned(),
        rest: String::new(),
        bound: None,
    };
    let reason = match (row.cell(2), row.is(3) || row.is(4)) {
        (None, _) => HIDDEN,
        (_, true) => NOT_TRUSTED,
        _ => return features.checks.push(check),
    };
    features.other.push(format!("check `{}`: {reason}", row.text(0)));
}

fn foreign_key(features: &mut Features, row: &Row<'_>) {
    let is_same = |key: &ForeignKey| key.name.as_deref() == row.cell(1);
    if row.is(2) || row.is(3) {
        let thing = format!("foreign key `{}`: {NOT_TRUSTED}", row.text(1));
        if !features.other.contains(&thing) {
            features.other.push(thing);
        }
        return;
    }
    if !features.foreign_keys.last().is_some_and(is_same) {
        features.foreign_keys.push(ForeignKey {
            name: row.cell(1).map(str::to_owned),
            columns: Vec::new(),
            referred: Relation::new(row.cell(5).map(str::to_owned), row.text(6)),
            referred_columns: Vec::new(),
            on_update: row.text(8).replace('_', " "),
            on_delete: row.text(9).replace('_', " "),
            deferred: None,
            special: None,
        });
    }
    if let Some(key) = features.foreign_keys.last_mut() {
        key.columns.push(row.text(4).to_owned());
        key.referred_columns.push(row.text(7).to_owned());
    }
}

fn index(features: &mut Features, row: &Row<'_>) {
    if features.indexes.last().is_none_or(|index| index.name != row.text(1)) {
        let special = match () {
            () if row.is(7) => Some("it is disabled in the source".to_owned()),
            () if !KINDS.contains(&row.text(4)) => {
                let kind = row.text(5).to_lowercase();
                Some(format!("it is of the kind `{kind}`"))
            }
            () if row.is(12) && row.cell(6).is_none() => Some(HIDDEN.to_owned()),
            () => None,
        };
        features.indexes.push(Index {
            name: row.text(1).to_owned(),
            unnamed: false,
            unique: row.is(2),
            constraint: row.is(3),
            parts: Vec::new(),
            condition: row.cell(6).map(str::to_owned),
            own: String::new(),
            // The same product makes no more of those than another one.
            bound: special.clone(),
            special,
            extras: Vec::new(),
        });
    }
    let (Some(index), Some(column)) = (features.indexes.last_mut(), row.cell(8)) else {
        return;
    };
    if row.is(10) {
        index.extras.push(format!("it does not include `{column}`"));
        let comma = if index.own.is_empty() { "" } else { ", " };
        index.own.push_str(&format!("{comma}{}", quoted(column)));
        return;
    }
    const NULLS: &str = "NULLs are not equal in it";
    if index.unique && index.condition.is_none() && row.is(11) && !index.extras.iter().any(|extra| extra == NULLS) {
        index.extras.push(NULLS.to_owned());
    }
    index.parts.push(Part {
        column: Some(column.to_owned()),
        descending: row.is(9),
        prefix: None,
    });
}

/// What follows `ON table` of an index in SQL Server's own words; `own` has the columns until now that it only includes.
fn own(index: &Index) -> String {
    let part = |part: &Part| {
        let descends = if part.descending { " DESC" } else { "" };
        format!("{}{descends}", quoted(part.column.as_deref().unwrap_or_default()))
    };
    let parts: Vec<String> = index.parts.iter().map(part).collect();
    let included = match index.own.is_empty() {
        true => String::new(),
        false => format!(" INCLUDE ({})", index.own),
    };
    let condition = index.condition.as_ref().map(|sql| format!(" WHERE {sql}"));
    format!("({}){included}{}", parts.join(", "), condition.unwrap_or_default())
}

fn quoted(name: &str) -> String {
    MICROSOFT.quote(name)
}

fn other(features: &mut Features, row: &Row<'_>) {
    match row.text(0) {
        "comment" => features.comment = Some(row.text(1).to_owned()),
        _ => features.other.extend(super::generic::thing(row.0)),
    }
}
