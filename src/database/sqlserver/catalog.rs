//! What SQL Server's catalog is asked, and the statements that depend on its answers.
//!
//! Names go into the statements as literals: `OBJECT_ID` finds a table as the server itself does, by the collation of
//! its database and the user's own schema.
//!
//! Another database of the server is asked from within it ([`within`]): most functions of the catalog know nothing but the
//! database that they are called in, and the same questions do for every database. What makes tables, changes and removes them
//! is run there as well. A linked server is not asked.

use std::collections::{HashMap, HashSet};

use super::super::{
    Dialect, Error, Holds, KeyThere, Kind, Relation, Table,
    dependants::{Dependants, dependants_of, effect},
    features::Row,
    generic,
};
use super::{MICROSOFT, SqlServer, types};
use crate::odbc::Session;

/// Tables and views that a user may mean. A view of the product's own has `is_ms_shipped`.
const RELATIONS: &str = "\
SELECT s.name, o.name FROM sys.objects o JOIN sys.schemas s ON s.schema_id = o.schema_id \
WHERE o.type IN ('U', 'V') AND o.is_ms_shipped = 0 AND s.name NOT IN ('sys', 'INFORMATION_SCHEMA') ORDER BY 1, 2";

/// A row for each column. What has come back unseen has a property that says so: others are not trusted because the user
/// wants it so, or for ever (NOT FOR REPLICATION).
const FOREIGN_KEYS: &str = "\
SELECT asked.place, f.object_id, f.referenced_object_id, rs.name, r.name, f.name, c.name, rc.name, \
  f.update_referential_action_desc, f.delete_referential_action_desc, CAST(f.is_not_for_replication AS int), CAST(f.is_disabled AS int), \
  CAST(f.is_not_trusted AS int), CASE WHEN EXISTS (SELECT 1 FROM sys.extended_properties p WHERE p.class = 1 \
    AND p.major_id = f.object_id AND p.minor_id = 0 AND p.name = 'dray_unseen') THEN 1 ELSE 0 END \
FROM asked JOIN sys.foreign_keys f ON f.parent_object_id = asked.id \
  JOIN sys.foreign_key_columns k ON k.constraint_object_id = f.object_id \
  JOIN sys.objects r ON r.object_id = f.referenced_object_id JOIN sys.schemas rs ON rs.schema_id = r.schema_id \
  JOIN sys.columns c ON c.object_id = k.parent_object_id AND c.column_id = k.parent_column_id \
  JOIN sys.columns rc ON rc.object_id = k.referenced_object_id AND rc.column_id = k.referenced_column_id \
ORDER BY asked.place, f.object_id, k.constraint_column_id";

/// See [`FOREIGN_KEYS`].
const UNSEEN: [&str; 2] = ["dray_unseen", "put back by dray, rows not looked at yet"];

/// What follows the tables that are asked about, each with its place and its id. Types by their base, a type that a user
/// has made of `nvarchar(50)` is one, with the server's own name for it last. A column that the server fills itself is computed, a period of a temporal table, or
/// the set of all sparse columns.
const COLUMNS: &str = "\
SELECT asked.place, c.name, COALESCE(b.name, u.name), NULLIF(c.max_length, -1), c.precision, c.scale, \
  CAST(c.is_nullable AS int), CASE WHEN c.is_computed = 1 OR c.is_column_set = 1 \
    OR COLUMNPROPERTY(c.object_id, c.name, 'GeneratedAlwaysType') > 0 THEN 1 ELSE 0 END, k.key_ordinal, \
  NULLIF(c.collation_name, CAST(DATABASEPROPERTYEX(DB_NAME(), 'Collation') AS nvarchar(128))), \
  CASE WHEN u.is_user_defined = 0 THEN u.name END \
FROM asked JOIN sys.columns c ON c.object_id = asked.id LEFT JOIN sys.types b ON b.user_type_id = c.system_type_id \
  JOIN sys.types u ON u.user_type_id = c.user_type_id \
  LEFT JOIN sys.indexes i ON i.object_id = c.object_id AND i.is_primary_key = 1 \
  LEFT JOIN sys.index_columns k ON k.object_id = i.object_id AND k.index_id = i.index_id \
    AND k.column_id = c.column_id AND k.key_ordinal > 0 \
ORDER BY asked.place, c.column_id";

/// What is particular about a table. Properties that an older server does not know are NULL. The number of its rows as a
/// property, since the views that have it too ask for rights that a reader may lack.
const FACTS: &str = "\
SELECT asked.place, OBJECTPROPERTY(asked.id, 'TableTemporalType'), OBJECTPROPERTY(asked.id, 'TableIsMemoryOptimized'), \
  CASE WHEN OBJECTPROPERTY(asked.id, 'IsTable') = 1 \
    THEN CAST(OBJECTPROPERTYEX(asked.id, 'Cardinality') AS bigint) END, OBJECTPROPERTY(asked.id, 'IsView'), \
  (SELECT MIN(i.name) FROM sys.indexes i WHERE i.object_id = asked.id AND i.ignore_dup_key = 1) FROM asked";

/// What depends on tables. A view that is bound to the table keeps it from being dropped; others are of its name, and stay
/// with it. Rights of the table and of its columns are given again by whoever controls its schema: to make tables in it is not enough.
const DEPENDANTS: &str = "\
SELECT asked.place, things.role, things.what, things.name, things.of_schema, things.of_table, things.rule_name \
FROM asked JOIN ( \
SELECT f.referenced_object_id AS id, 1 AS rank, 'key' AS role, '' AS what, CAST(f.name AS nvarchar(max)) AS name, \
    CAST(s.name AS nvarchar(128)) AS of_schema, CAST(o.name AS nvarchar(128)) AS of_table, \
    REPLACE(CAST(f.delete_referential_action_desc AS nvarchar(60)), '_', ' ') AS rule_name \
  FROM sys.foreign_keys f JOIN sys.objects o ON o.object_id = f.parent_object_id \
  JOIN sys.schemas s ON s.schema_id = o.schema_id WHERE f.parent_object_id <> f.referenced_object_id \
UNION ALL SELECT parent_id, 2, 'held', 'trigger', name, NULL, NULL, NULL FROM sys.triggers WHERE parent_class = 1 \
UNION ALL SELECT DISTINCT d.referenced_id, 3, 'held', 'view', s.name + '.' + o.name, NULL, NULL, NULL \
  FROM sys.sql_expression_dependencies d JOIN sys.objects o ON o.object_id = d.referencing_id AND o.type = 'V' \
  JOIN sys.schemas s ON s.schema_id = o.schema_id WHERE d.is_schema_bound_reference = 1 \
UNION ALL SELECT object_id, 4, 'gone', CASE WHEN is_unique = 1 THEN 'unique index' ELSE 'index' END, name, NULL, NULL, NULL \
  FROM sys.indexes WHERE index_id > 0 AND is_primary_key = 0 \
UNION ALL SELECT p.major_id, 5, CASE WHEN HAS_PERMS_BY_NAME(QUOTENAME(s.name), 'SCHEMA', 'CONTROL') = 1 THEN 'given' \
    ELSE 'gone' END, '', \
    CASE WHEN p.state = 'D' THEN 'DENY ' ELSE 'GRANT ' END + p.permission_name + ' ON ' \
    + QUOTENAME(s.name) + '.' + QUOTENAME(o.name) + CASE WHEN c.name IS NULL THEN '' ELSE ' (' + QUOTENAME(c.name) + ')' END \
    + ' TO ' + QUOTENAME(g.name) + CASE WHEN p.state = 'W' THEN ' WITH GRANT OPTION' ELSE '' END, c.name, NULL, NULL \
  FROM sys.database_permissions p JOIN sys.objects o ON o.object_id = p.major_id \
  JOIN sys.schemas s ON s.schema_id = o.schema_id JOIN sys.database_principals g ON g.principal_id = p.grantee_principal_id \
  LEFT JOIN sys.columns c ON c.object_id = p.major_id AND c.column_id = p.minor_id AND p.minor_id > 0 \
  WHERE p.class = 1 AND p.state IN ('D', 'G', 'W')) AS things ON things.id = asked.id \
ORDER BY asked.place, things.rank, things.name";

/// Most tables of one question.
const ASKED_MAX: usize = 200;

/// The columns of the table behind it that an INSERT has to fill. A trigger may do so in place of the INSERT.
const REQUIRED: &str = "\
SELECT c.name FROM sys.columns c JOIN sys.types t ON t.user_type_id = c.user_type_id \
WHERE c.is_nullable = 0 AND c.default_object_id = 0 AND c.is_identity = 0 AND c.is_computed = 0 \
  AND t.name NOT IN ('timestamp', 'rowversion') AND COALESCE(COLUMNPROPERTY(c.object_id, c.name, 'GeneratedAlwaysType'), 0) = 0 \
  AND NOT EXISTS (SELECT 1 FROM sys.triggers r WHERE r.parent_id = c.object_id AND r.is_instead_of_trigger = 1) \
  AND c.object_id = OBJECT_ID(";

/// What a connection reaches of another database: the name that it is stored under, whether it is the connection's own, whether
/// the login may go there (NULL where it sees no such database), and the login.
const REACH: &str = "\
SELECT COALESCE(DB_NAME(DB_ID(asked.name)), asked.name), CASE WHEN DB_ID(asked.name) = DB_ID() THEN 1 ELSE 0 END, \
  HAS_DBACCESS(asked.name), SUSER_SNAME() FROM (SELECT CAST(";

/// A statement of the connection's own database, or one that is run in another. Nothing of the session's changes by that: the
/// database is another one to the end of the EXECUTE alone (Microsoft, "EXECUTE (Transact-SQL)").
pub(super) fn within(catalog: Option<&str>, sql: String) -> String {
    match catalog {
        Some(catalog) => format!(
            "EXEC ({})",
            literal(&format!("USE {}; {sql}", MICROSOFT.quote(catalog)))
        ),
        None => sql,
    }
}

/// A statement that is run in the database of this table.
pub(super) fn at(relation: &Relation, sql: String) -> String {
    within(relation.catalog.as_deref(), sql)
}

/// The name, in brackets, that a table has in its own database.
pub(super) fn local(relation: &Relation) -> String {
    MICROSOFT.quote_relation(&relation.within_database())
}

/// See [`Dialect::reach`].
pub(super) fn reach(session: &Session, relations: &[Relation]) -> Result<Vec<Result<Relation, String>>, Error> {
    let mut reached: Vec<Result<Relation, String>> = relations.iter().cloned().map(Ok).collect();
    // A linked server is asked for nothing.
    for (catalog, places) in by_catalog(relations) {
        let Some(catalog) = catalog else { continue };
        let sql = format!("{REACH}{} AS sysname) AS name) AS asked", literal(catalog));
        let row = session.text_rows(&sql, &[])?.into_iter().next().unwrap_or_default();
        let cell = |position: usize| row.get(position).and_then(Option::as_deref);
        let login = cell(3).unwrap_or_default();
        let out_of_reach = match cell(2) {
            Some("1") => None,
            None => Some(format!(
                "the server has no database `{catalog}` that the login `{login}` can see; a connection to Azure SQL Database \
                 reaches its own alone"
            )),
            Some(_) => Some(format!(
                "the login `{login}` may not use the database `{catalog}`, in which it has no user; or it is not online"
            )),
        };
        if let Some(reason) = out_of_reach {
            places
                .iter()
                .for_each(|place| reached[*place] = Err(format!("table name `{}`: {reason}", relations[*place])));
            continue;
        }
        let stored = cell(0).filter(|_| cell(1) != Some("1"));
        let schemas = match stored {
            Some(stored) => schemas(session, stored, relations, &places)?,
            None => Vec::new(),
        };
        for place in places {
            let found = schemas.iter().find(|(named, _)| *named == place);
            reached[place] = Ok(Relation {
                catalog: stored.map(str::to_owned),
                schema: relations[place]
                    .schema
                    .clone()
                    .or_else(|| found.map(|(_, schema)| schema.clone())),
                ..relations[place].clone()
            });
        }
    }
    Ok(reached)
}

/// The schemas of the tables of another database at these places that are named without one: where the server finds such a
/// table, else the user's own.
fn schemas(
    session: &Session,
    catalog: &str,
    relations: &[Relation],
    places: &[usize],
) -> Result<Vec<(usize, String)>, Error> {
    let without: Vec<usize> = (places.iter().copied())
        .filter(|place| relations[*place].schema.is_none())
        .collect();
    let mut schemas = Vec::new();
    for some in without.chunks(ASKED_MAX) {
        let asked: Vec<String> = (some.iter())
            .map(|place| format!("({place}, {})", literal(&local(&relations[*place]))))
            .collect();
        let sql = format!(
            "SELECT place, COALESCE(OBJECT_SCHEMA_NAME(OBJECT_ID(name)), SCHEMA_NAME()) FROM (VALUES {}) AS asked (place, name)",
            asked.join(", ")
        );
        for row in session.text_rows(&within(Some(catalog), sql), &[])? {
            let cell = |position: usize| row.get(position).cloned().flatten();
            schemas.extend(cell(0).and_then(|place| place.parse().ok()).zip(cell(1)));
        }
    }
    Ok(schemas)
}

/// The places of these tables by the database that they are in; without those of linked servers.
fn by_catalog(relations: &[Relation]) -> Vec<(Option<&str>, Vec<usize>)> {
    let mut found: Vec<(Option<&str>, Vec<usize>)> = Vec::new();
    for (place, relation) in relations
        .iter()
        .enumerate()
        .filter(|(_, relation)| relation.server.is_none())
    {
        let catalog = relation.catalog.as_deref();
        match found.iter_mut().find(|(known, _)| *known == catalog) {
            Some((_, places)) => places.push(place),
            None => found.push((catalog, vec![place])),
        }
    }
    found
}

/// A text as it stands in a statement.
pub(super) fn literal(text: &str) -> String {
    format!("N'{}'", text.replace('\'', "''"))
}

/// A row of an answer, behind the place of the table that it is of.
type Answer = (usize, Vec<Option<String>>);

/// Asks about tables, each in its database, and returns the answers' rows behind the place of the table that each one is of.
pub(super) fn ask(session: &Session, relations: &[Relation], question: &str) -> Result<Vec<Answer>, Error> {
    let mut answers = Vec::new();
    for (catalog, places) in by_catalog(relations) {
        for asked in places.chunks(ASKED_MAX) {
            let tables: Vec<String> = (asked.iter())
                .map(|place| format!("({place}, OBJECT_ID({}))", literal(&local(&relations[*place]))))
                .collect();
            let sql = format!(
                "WITH asked AS (SELECT place, id FROM (VALUES {}) AS listed (place, id)) {question}",
                tables.join(", ")
            );
            for mut row in session.text_rows(&within(catalog, sql), &[])? {
                let place = row
                    .first()
                    .and_then(Option::as_ref)
                    .and_then(|text| text.parse::<usize>().ok());
                if let Some(place) = place {
                    answers.push((place, row.split_off(1)));
                }
            }
        }
    }
    Ok(answers)
}

/// What each of the tables looks like; `None` where there is none of the name.
pub(super) fn tables(
    dialect: &SqlServer,
    session: &Session,
    relations: &[Relation],
) -> Result<Vec<Option<Table>>, Error> {
    let mut tables: Vec<Option<Table>> = vec![None; relations.len()];
    for (table, relation) in tables
        .iter_mut()
        .zip(relations)
        .filter(|(_, relation)| relation.server.is_some())
    {
        // Of a linked server, whatever product it is, the columns alone.
        let all = format!("SELECT * FROM {}", dialect.quote_relation(relation));
        table.get_or_insert_default().columns = dialect.query_columns(session, &all)?;
    }
    for (place, row) in ask(session, relations, COLUMNS)? {
        let Some(table) = tables.get_mut(place) else { continue };
        table.get_or_insert_default().columns.push(types::catalog_column(&row));
    }
    for (place, row) in ask(session, relations, FACTS)? {
        let Some(Some(table)) = tables.get_mut(place) else {
            continue;
        };
        let cell = |position: usize| row.get(position).and_then(Option::as_deref).unwrap_or_default();
        table.estimated_rows = cell(2).parse().ok();
        table.kind = (cell(3) == "1").then_some(Kind {
            what: "a view",
            emptied: true,
        });
        // Of such a row the server says so in a message alone, and a bulk copy counts it as loaded.
        table.drops_rows = (!cell(4).is_empty()).then(|| {
            format!(
                "its index `{}` has IGNORE_DUP_KEY, with which the server drops rows of a key that is there, without an error",
                cell(4)
            )
        });
        if cell(1) == "1" {
            let reason = "it is memory-optimised, which takes no part in the transaction that a load is; load another \
                          table, and insert from that one";
            table.not_transactional = Some(reason.to_owned());
            table.not_replaceable = Some(reason.to_owned());
        } else if matches!(cell(0), "1" | "2") {
            table.not_replaceable = Some("it keeps a history of its rows, and is not to be dropped".to_owned());
        }
    }
    Ok(tables)
}

/// What depends on each of the tables.
pub(super) fn dependants(session: &Session, relations: &[Relation]) -> Result<Vec<Dependants>, Error> {
    // By the place of the table, for the server knows better whether two names are the same.
    let named = |(place, row): Answer| [vec![None, Some(place.to_string())], row].concat();
    let answers = ask(session, relations, DEPENDANTS)?;
    let mut found = dependants_of(answers.into_iter().map(named).collect(), |rule| {
        [
            Some("the server drops no table that others refer to".to_owned()),
            effect(rule),
        ]
    });
    let of = |place: usize| Relation::new(None, place.to_string());
    let mut all = Vec::new();
    for (place, relation) in relations.iter().enumerate() {
        let mut dependants = found.remove(&of(place)).unwrap_or_default();
        // Foreign keys stay within a database; rights are given in it.
        for key in &mut dependants.keys {
            key.referring.catalog.clone_from(&relation.catalog);
        }
        for given in &mut dependants.given {
            given.sql = at(relation, std::mem::take(&mut given.sql));
        }
        all.push(dependants);
    }
    Ok(all)
}

/// The foreign keys of these tables. A table that is one of them has its name here: the server knows better whether two names
/// are the same.
pub(super) fn foreign_keys(
    dialect: &SqlServer,
    session: &Session,
    tables: &[Relation],
) -> Result<Vec<KeyThere>, Error> {
    let ids = ask(
        session,
        tables,
        "SELECT asked.place, asked.id FROM asked WHERE asked.id IS NOT NULL",
    )?;
    // From the last to the first, which stays of a table that is named twice.
    let by_id: HashMap<Id<'_>, &Relation> = (ids.iter().rev())
        .filter_map(|(place, row)| {
            let table = tables.get(*place)?;
            Some(((table.catalog.as_deref(), Row(row).cell(0)?.to_owned()), table))
        })
        .collect();
    let mut known = HashSet::new();
    let rows = ask(session, tables, FOREIGN_KEYS)?;
    Ok(rows
        .chunk_by(|(at, one), (place, other)| at == place && one.first() == other.first())
        .filter_map(|rows| {
            let columns: Vec<Row<'_>> = rows.iter().map(|(_, row)| Row(row)).collect();
            let (place, row) = rows.first()?;
            let table = tables.get(*place)?;
            if !known.insert((table.catalog.as_deref(), row.first())) {
                return None;
            }
            foreign_key(dialect, table, &columns, &by_id)
        })
        .collect())
}

/// An object's id, which is one of its database alone.
type Id<'a> = (Option<&'a str>, String);

/// The key of a table in rows of [`FOREIGN_KEYS`], one for each of its columns, without the table's place.
fn foreign_key(
    dialect: &SqlServer,
    table: &Relation,
    rows: &[Row<'_>],
    by_id: &HashMap<Id<'_>, &Relation>,
) -> Option<KeyThere> {
    let columns = |place: usize| {
        let names: Vec<String> = rows.iter().map(|row| dialect.quote(row.text(place))).collect();
        names.join(", ")
    };
    let first = rows.first()?;
    let referred = Relation {
        catalog: table.catalog.clone(),
        ..Relation::new(first.cell(2).map(str::to_owned), first.text(3))
    };
    let action = |place: usize| first.text(place).replace('_', " ");
    let definition = format!(
        "FOREIGN KEY ({}) REFERENCES {} ({}) ON UPDATE {} ON DELETE {}{}",
        columns(5),
        local(&referred),
        columns(6),
        action(7),
        action(8),
        if first.is(9) { " NOT FOR REPLICATION" } else { "" }
    );
    let holds = match (first.is(10), first.is(11)) {
        (true, _) => Holds::None,
        (false, true) => Holds::New,
        (false, false) => Holds::All,
    };
    Some(KeyThere {
        name: first.text(4).to_owned(),
        referring: table.clone(),
        referred: by_id
            .get(&(table.catalog.as_deref(), first.text(1).to_owned()))
            .map_or(referred, |known| (*known).clone()),
        definition: Some(definition),
        holds,
        unseen: holds == Holds::New && first.is(12),
    })
}

/// The statements that set the mark of a key that has come back unseen, and take it away; the table has its schema. None is set
/// on a key whose rows the server has looked at all the same.
pub(super) fn unseen_mark(table: &Relation, key: &str) -> [String; 2] {
    let id = format!("OBJECT_ID({}, N'F')", literal(&local(&table.beside(key))));
    let [property, text] = UNSEEN.map(literal);
    let level = format!(
        "N'SCHEMA', {}, N'TABLE', {}, N'CONSTRAINT', {}",
        literal(table.schema.as_deref().unwrap_or_default()),
        literal(&table.name),
        literal(key)
    );
    let statements = [
        format!(
            "IF EXISTS (SELECT 1 FROM sys.foreign_keys WHERE object_id = {id} AND is_not_trusted = 1) \
             EXEC sys.sp_addextendedproperty {property}, {text}, {level}"
        ),
        format!(
            "IF EXISTS (SELECT 1 FROM sys.extended_properties WHERE class = 1 AND major_id = {id} AND minor_id = 0 \
             AND name = {property}) EXEC sys.sp_dropextendedproperty {property}, {level}"
        ),
    ];
    statements.map(|sql| at(table, sql))
}

/// Those among these names that an object has: a table, a constraint, or any other.
pub(super) fn names_of_objects(session: &Session, names: &[Relation]) -> Result<Vec<Relation>, Error> {
    let question = "SELECT asked.place FROM asked WHERE asked.id IS NOT NULL";
    let found = ask(session, names, question)?;
    Ok(found
        .iter()
        .filter_map(|(place, _)| names.get(*place).cloned())
        .collect())
}

/// The tables and views of a database.
pub(super) fn relations(session: &Session, catalog: Option<&str>) -> Result<Vec<Relation>, Error> {
    let mut relations = generic::catalog_relations(session, &within(catalog, RELATIONS.to_owned()))?;
    for relation in &mut relations {
        relation.catalog = catalog.map(str::to_owned);
    }
    Ok(relations)
}

/// The columns of a table that an INSERT has to fill.
pub(super) fn required_columns(session: &Session, table: &Relation) -> Result<Vec<String>, Error> {
    let sql = format!("{REQUIRED}{}) ORDER BY c.column_id", literal(&local(table)));
    let rows = session.text_rows(&at(table, sql), &[])?;
    Ok(rows.into_iter().flatten().flatten().collect())
}

/// The code pages of a table's columns of text, by the columns' names.
pub(super) fn code_pages(session: &Session, table: &Relation) -> Result<Vec<(String, u32)>, Error> {
    let sql = format!(
        "SELECT name, CAST(COLLATIONPROPERTY(collation_name, 'CodePage') AS int) FROM sys.columns \
         WHERE object_id = OBJECT_ID({}) AND collation_name IS NOT NULL",
        literal(&local(table))
    );
    let page = |row: Vec<Option<String>>| match <[Option<String>; 2]>::try_from(row) {
        Ok([Some(name), Some(page)]) => Some((name, page.parse().ok()?)),
        _ => None,
    };
    let rows = session.text_rows(&at(table, sql), &[])?;
    Ok(rows.into_iter().filter_map(page).collect())
}

/// The CHECK and FOREIGN KEY constraints of a table that the server looks at, by name.
pub(super) fn checked(session: &Session, table: &Relation) -> Result<Vec<String>, Error> {
    let of = |view: &str| {
        let table = literal(&local(table));
        format!("SELECT name FROM sys.{view} WHERE is_disabled = 0 AND parent_object_id = OBJECT_ID({table})")
    };
    let sql = format!(
        "{} UNION ALL {} ORDER BY 1",
        of("check_constraints"),
        of("foreign_keys")
    );
    let rows = session.text_rows(&at(table, sql), &[])?;
    Ok(rows.into_iter().flatten().flatten().collect())
}

/// Empties a table: by TRUNCATE where the server lets it, which is a question of what refers to the table and of the user's
/// rights, else by DELETE.
pub(super) fn emptying(relation: &Relation) -> String {
    let table = local(relation);
    let id = format!("OBJECT_ID({})", literal(&table));
    let sql = format!(
        "IF OBJECTPROPERTY({id}, 'IsUserTable') = 1 AND ISNULL(OBJECTPROPERTY({id}, 'TableTemporalType'), 0) = 0 \
         AND HAS_PERMS_BY_NAME({}, 'OBJECT', 'ALTER') = 1 \
         AND NOT EXISTS (SELECT 1 FROM sys.foreign_keys WHERE referenced_object_id = {id} AND parent_object_id <> {id}) \
         AND NOT EXISTS (SELECT 1 FROM sys.tables WHERE object_id = {id} AND (is_replicated = 1 OR is_tracked_by_cdc = 1)) \
         AND NOT EXISTS (SELECT 1 FROM sys.sql_expression_dependencies d JOIN sys.indexes i \
         ON i.object_id = d.referencing_id AND i.index_id = 1 WHERE d.referenced_id = {id}) \
         TRUNCATE TABLE {table} ELSE DELETE FROM {table}",
        literal(&table)
    );
    at(relation, sql)
}

/// The greatest `rowversion` of the table's database up to which every transaction has ended.
///
/// They are handed out as rows are changed, so one that is not committed yet may be lower than others that are:
/// `MIN_ACTIVE_ROWVERSION` is the lowest of those, or else the next one to be handed out (Microsoft's reference). The minus is
/// one of a `bigint`, since bytes would become an `int`.
///
/// # Errors
/// The inner one says why it is not known for this relation.
pub(super) fn committed_row_version(session: &Session, relation: &Relation) -> Result<Result<u64, String>, Error> {
    let sql = format!(
        "SELECT CAST(MIN_ACTIVE_ROWVERSION() AS bigint) - 1, \
           CAST(DATABASEPROPERTYEX(DB_NAME(), 'Updateability') AS nvarchar(128)) \
         WHERE OBJECTPROPERTY(OBJECT_ID({}), 'IsUserTable') = 1",
        literal(&local(relation))
    );
    let sql = at(relation, sql);
    let Some(row) = session.text_rows(&sql, &[])?.into_iter().next() else {
        return Ok(Err(format!(
            "`{relation}` is a view, which may show tables of other databases, each of which counts its own"
        )));
    };
    let cell = |position: usize| row.get(position).and_then(Option::as_deref).unwrap_or_default();
    // What a replica knows of transactions that are open elsewhere is documented nowhere.
    if cell(1) == "READ_ONLY" {
        let reason = "the connection leads to a read-only replica, which does not know the open transactions of the primary; \
                      read from that one (without `ApplicationIntent=ReadOnly`)";
        return Ok(Err(reason.to_owned()));
    }
    let version = cell(0).parse::<i64>();
    // The upper half of the numbers of 8 bytes comes as negative ones.
    Ok(version
        .map(|version| version as u64)
        .map_err(|_| "the server does not say which transactions are open".to_owned()))
}

/// Before and after rows that bring the values of an identity column along: the session takes them, for one table at a
/// time. Where the table has no such column, or it is not among those that are loaded, nothing happens.
pub(super) fn identity_insert<'a>(relation: &Relation, columns: impl Iterator<Item = &'a String>) -> [String; 2] {
    let names: Vec<String> = columns.map(|name| literal(name)).collect();
    let table = MICROSOFT.quote_relation(relation);
    let catalog = relation
        .catalog
        .as_deref()
        .map(|catalog| MICROSOFT.quote(catalog) + ".");
    let set = |state: &str| {
        format!(
            "IF EXISTS (SELECT 1 FROM {}sys.identity_columns WHERE object_id = OBJECT_ID({}) AND name IN ({})) \
             SET IDENTITY_INSERT {table} {state}",
            catalog.as_deref().unwrap_or_default(),
            literal(&table),
            names.join(", ")
        )
    };
    [set("ON"), set("OFF")]
}

#[cfg(test)]
mod tests {
    use super::super::MICROSOFT;
    use super::*;

    /// A row of [`FOREIGN_KEYS`]: its columns on both sides, and whether it is not for replication, disabled, not trusted and
    /// marked.
    fn row(columns: [&str; 2], [replication, disabled, untrusted, marked]: [&str; 4]) -> Vec<Option<String>> {
        let [from, to] = columns;
        let cells = [
            "7",
            "8",
            "s]p",
            "People",
            "of'them",
            from,
            to,
            "NO_ACTION",
            "SET_NULL",
            replication,
            disabled,
            untrusted,
            marked,
        ];
        cells.map(|cell| Some(cell.to_owned())).to_vec()
    }

    fn read(rows: &[Vec<Option<String>>]) -> KeyThere {
        let people = Relation::parse("s.people").unwrap();
        let rows: Vec<Row<'_>> = rows.iter().map(|row| Row(row)).collect();
        let by_id = HashMap::from([((None, "8".to_owned()), &people)]);
        foreign_key(&MICROSOFT, &Relation::parse("dbo.orders").unwrap(), &rows, &by_id).unwrap()
    }

    #[test]
    fn a_key_is_of_all_its_columns_in_their_order_and_its_tables_have_the_names_of_the_call() {
        let none = ["0"; 4];
        let key = read(&[row(["b", "y"], none), row(["a", "x"], none)]);
        assert_eq!(
            key.definition.unwrap(),
            "FOREIGN KEY ([b], [a]) REFERENCES [s]]p].[People] ([y], [x]) ON UPDATE NO ACTION ON DELETE SET NULL"
        );
        assert_eq!(
            (key.name.as_str(), key.holds, key.unseen),
            ("of'them", Holds::All, false)
        );
        assert_eq!(
            (key.referring.to_string(), key.referred.to_string()),
            ("dbo.orders".to_owned(), "s.people".to_owned())
        );
    }

    #[test]
    fn a_key_is_known_as_the_user_has_it() {
        for (states, holds, unseen) in [
            (["0", "0", "1", "0"], Holds::New, false),
            (["0", "0", "1", "1"], Holds::New, true),
            (["1", "0", "1", "0"], Holds::New, false),
            // Whoever turns a key off has said what is to become of it, and one that is trusted has been looked at.
            (["0", "1", "1", "1"], Holds::None, false),
            (["0", "0", "0", "1"], Holds::All, false),
        ] {
            let key = read(&[row(["a", "x"], states)]);
            assert_eq!((key.holds, key.unseen), (holds, unseen), "{states:?}");
            let for_replication = !key
                .definition
                .unwrap()
                .ends_with(" ON DELETE SET NULL NOT FOR REPLICATION");
            assert_eq!(for_replication, states[0] == "0", "{states:?}");
        }
    }
}
