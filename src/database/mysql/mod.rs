//! MariaDB and MySQL: one dialect with the few differences between the two.
//!
//! Both commit on DDL and TRUNCATE. So an existing table is emptied with DELETE inside the transaction, and a new one is
//! loaded under another name and renamed when it is whole: one RENAME swaps two tables at once.

mod cell;
mod chunk;
mod client;
mod connect;
mod dependants;
mod encode;
mod features;
mod infile;
mod libmariadb;
#[cfg(test)]
mod listed;
mod load;
mod ranges;
mod rows;
mod settings;
mod shape;
mod stop;
mod stream;
mod types;

use std::collections::{BTreeSet, HashMap};

use super::{
    Class, Column, Dependants, Dialect, Error, Features, Form, KeyThere, Kind, Limits, LoadSteps, LockName,
    LogicalType, MergeSteps, Merging, Mode, Purpose, Ranges, ReadAs, ReadLane, Relation, Savepoint, Shape, Shaping,
    Table, TableLock, Transfer, Unchecked, Value, ValueCheck, WriteAs, WriteLane, generic,
};
use crate::odbc::{ConnectionString, Diagnostic, Quirks, ResultColumn, Session};

/// MariaDB.
pub(super) static MARIADB: MySql = MySql { mariadb: true };

/// MySQL.
pub(super) static MYSQL: MySql = MySql { mariadb: false };

/// One of the two.
pub(super) struct MySql {
    mariadb: bool,
}

/// Names are compared in Rust: the catalog's collation takes `tä` for `ta`.
const COLUMNS: &str = "\
SELECT c.table_name, c.column_name, c.data_type, c.column_type, c.character_maximum_length, c.numeric_precision, \
  c.numeric_scale, c.datetime_precision, c.is_nullable, c.extra, k.seq_in_index \
FROM information_schema.columns c LEFT JOIN information_schema.statistics k ON k.table_schema = c.table_schema \
  AND k.table_name = c.table_name AND k.column_name = c.column_name AND k.index_name = 'PRIMARY' \
WHERE c.table_schema = ? AND c.table_name = ? ORDER BY c.ordinal_position";

/// Columns that forbid NULL and that neither a default, a counter nor a trigger fills; an ENUM has its first value then.
const REQUIRED: &str = "\
SELECT c.table_name, c.column_name FROM information_schema.columns c \
WHERE c.table_schema = ? AND c.table_name = ? AND c.is_nullable = 'NO' AND c.column_default IS NULL \
  AND c.data_type <> 'enum' AND c.extra NOT LIKE '%auto_increment%' AND c.extra NOT LIKE '%GENERATED%' \
  AND NOT EXISTS (SELECT 1 FROM information_schema.triggers g WHERE g.event_object_schema = c.table_schema \
    AND g.event_object_table = c.table_name AND g.action_timing = 'BEFORE' AND g.event_manipulation = 'INSERT') \
ORDER BY c.ordinal_position";

const ENGINE: &str = "\
SELECT t.table_name, t.engine, e.transactions, t.table_rows, t.table_type FROM information_schema.tables t \
  LEFT JOIN information_schema.engines e ON e.engine = t.engine WHERE t.table_schema = ? AND t.table_name = ?";

/// An estimate for InnoDB, from the statistics that it keeps; a view has none.
const SIZES: &str = "\
SELECT table_schema, table_name, data_length FROM information_schema.tables WHERE table_schema = ?";

const RELATIONS: &str = "\
SELECT table_schema, table_name FROM information_schema.tables \
WHERE table_schema NOT IN ('information_schema', 'performance_schema', 'mysql', 'sys') \
  AND table_type IN ('BASE TABLE', 'VIEW') ORDER BY 1, 2";

impl Dialect for MySql {
    fn name(&self) -> &'static str {
        if self.mariadb { "mariadb" } else { "mysql" }
    }

    fn is_product(&self, dbms_name: &str) -> bool {
        dbms_name.eq_ignore_ascii_case(self.name())
    }

    fn is_driver(&self, file_name: &str) -> bool {
        file_name.contains(if self.mariadb { "maodbc" } else { "myodbc" })
    }

    fn connection_options(&self, _purpose: Purpose) -> &'static [(&'static str, &'static str)] {
        // The driver's default is the locale's charset, which has no emoji.
        &[("CHARSET", "utf8mb4")]
    }

    fn value_checks(
        &self,
        _session: &Session,
        _target: &Relation,
        columns: &[Column],
    ) -> Result<Vec<(usize, ValueCheck)>, Error> {
        // MariaDB stores 0 for it, also from its binary protocol; MySQL does not.
        let drops_sign = |column: &Column| self.mariadb && matches!(column.logical, LogicalType::Float { .. });
        let check = |value: Value<'_>| match value {
            Value::F64(value) if value == 0.0 && value.is_sign_negative() => {
                Err("the value is -0.0, of which the target keeps 0".to_owned())
            }
            _ => Ok(()),
        };
        let places = columns.iter().enumerate().filter(|(_, column)| drops_sign(column));
        Ok(places
            .map(|(place, _)| (place, Box::new(check) as ValueCheck))
            .collect())
    }

    fn buffers_results(&self, _session: &Session) -> bool {
        // MariaDB Connector/ODBC 3.1 does so always, later ones where they are not asked for a stream.
        true
    }

    fn quirks(&self) -> Quirks {
        // MariaDB Connector/ODBC 3.1.15. Text longer than its buffer of wide characters arrives cut in half with a length
        // that says it is whole, or fails ("Ansi to Unicode conversion error"); as UTF-8 it is not converted. SQLGetData
        // after SQLSetPos gives the value of another row. A value that an ENUM or SET lacks is error 1265 in strict mode,
        // whose SQLSTATE is 01000: the driver takes it for a success, and the whole array is missing in the table.
        Quirks {
            narrow_cells: true,
            no_get_data_in_blocks: true,
            errors_as_information: true,
            ..Quirks::default()
        }
    }

    fn check_session(&self, session: &Session, settings: &ConnectionString) -> Result<(), Error> {
        // MariaDB Connector/ODBC 3.1.15 goes on in clear text where the server has no TLS, whatever FORCETLS says.
        if settings.get("FORCETLS") != Some("1") {
            return Ok(());
        }
        let rows = session.text_rows("SHOW SESSION STATUS LIKE 'Ssl_cipher'", &[])?;
        let cipher = rows.first().and_then(|row| row.get(1)).and_then(Option::as_deref);
        match cipher.unwrap_or_default() {
            "" => Err(Error::Unsupported(
                "the connection must be encrypted (`FORCETLS=1`), and the server has no TLS".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    fn session_setup(&self, purpose: Purpose) -> &'static [&'static str] {
        match purpose {
            Purpose::Script | Purpose::Read => &["SET SESSION time_zone = '+00:00'"],
            // Strict: a value that does not fit is an error and not cut. NO_AUTO_VALUE_ON_ZERO: a 0 in an AUTO_INCREMENT
            // column stays 0.
            Purpose::Write => &[
                "SET SESSION time_zone = '+00:00'",
                "SET SESSION sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION,NO_AUTO_VALUE_ON_ZERO'",
            ],
        }
    }

    fn quote(&self, identifier: &str) -> String {
        format!("`{}`", identifier.replace('`', "``"))
    }

    fn default_schema(&self, session: &Session) -> Result<Option<String>, Error> {
        generic::one_text(session, "SELECT DATABASE()")
    }

    fn relations(&self, session: &Session, _catalog: Option<&str>) -> Result<Vec<Relation>, Error> {
        generic::catalog_relations(session, RELATIONS)
    }

    fn table(&self, session: &Session, relation: &Relation) -> Result<Option<Table>, Error> {
        let schema = match &relation.schema {
            Some(schema) => schema.clone(),
            None => self.default_schema(session)?.unwrap_or_default(),
        };
        let same_name = |row: &Vec<Option<String>>| row.first().and_then(Option::as_ref) == Some(&relation.name);
        let rows = session.text_rows(COLUMNS, &[&schema, &relation.name])?;
        let columns: Vec<Column> = rows
            .iter()
            .filter(|row| same_name(row))
            .map(|row| types::catalog_column(row))
            .collect();
        if columns.is_empty() {
            return Ok(None);
        }
        let engines = session.text_rows(ENGINE, &[&schema, &relation.name])?;
        let engine = engines.iter().find(|row| same_name(row));
        let cell = |position: usize| engine.and_then(|row| row.get(position)).and_then(Option::as_deref);
        // A view has no engine.
        let not_transactional = match (cell(1), cell(2)) {
            (Some(engine), transactions) if transactions != Some("YES") => Some(format!(
                "its engine `{engine}` has no transactions, so a failed load could not be undone"
            )),
            _ => None,
        };
        Ok(Some(Table {
            columns,
            not_transactional,
            estimated_rows: cell(3).and_then(|rows| rows.parse().ok()),
            // Rows are deleted from the tables behind it, as far as it shows them.
            kind: (cell(4) == Some("VIEW")).then_some(Kind {
                what: "a view",
                emptied: true,
            }),
            ..Table::default()
        }))
    }

    fn estimated_bytes(&self, session: &Session, relations: &[Relation]) -> Result<Vec<Option<u64>>, Error> {
        let relations = generic::with_schemas(self, session, relations)?;
        let mut schemas: Vec<&str> = relations
            .iter()
            .filter_map(|relation| relation.schema.as_deref())
            .collect();
        schemas.sort_unstable();
        schemas.dedup();
        let mut sizes = HashMap::new();
        // One after the other: of a schema alone the server asks itself about its tables, of several about all that it has.
        for schema in schemas {
            for row in session.text_rows(SIZES, &[schema])? {
                let [schema, Some(name), Some(bytes)] = <[Option<String>; 3]>::try_from(row).unwrap_or_default() else {
                    continue;
                };
                if let Ok(bytes) = bytes.parse::<u64>() {
                    sizes.insert(Relation::new(schema, name), bytes);
                }
            }
        }
        Ok(relations.iter().map(|relation| sizes.get(relation).copied()).collect())
    }

    fn foreign_keys(&self, session: &Session, tables: &[Relation]) -> Result<Vec<KeyThere>, Error> {
        let schemas: BTreeSet<&str> = tables.iter().filter_map(|table| table.schema.as_deref()).collect();
        let schemas: Vec<&str> = schemas.into_iter().collect();
        // Named schemas alone: without them the server opens every table that it has.
        let places = vec!["?"; schemas.len()].join(", ");
        let quoted = |name: &str| format!("CONCAT('`', REPLACE({name}, '`', '``'), '`')");
        let listed = |name: &str| {
            let name = quoted(name);
            format!("GROUP_CONCAT({name} ORDER BY k.ordinal_position SEPARATOR ', ')")
        };
        let sql = format!(
            "SELECT r.constraint_schema, r.table_name, r.unique_constraint_schema, r.referenced_table_name, \
               r.constraint_name, CONCAT('FOREIGN KEY (', {}, ') REFERENCES ', {}, '.', {}, ' (', {}, ') ON UPDATE ', \
               r.update_rule, ' ON DELETE ', r.delete_rule) \
             FROM information_schema.referential_constraints r JOIN information_schema.key_column_usage k \
               ON k.constraint_schema = r.constraint_schema AND k.table_name = r.table_name \
               AND k.constraint_name = r.constraint_name \
             WHERE r.constraint_schema IN ({places}) GROUP BY r.constraint_schema, r.table_name, \
               r.unique_constraint_schema, r.referenced_table_name, r.constraint_name, r.update_rule, r.delete_rule",
            listed("k.column_name"),
            quoted("r.unique_constraint_schema"),
            quoted("r.referenced_table_name"),
            listed("k.referenced_column_name")
        );
        match schemas.is_empty() {
            true => Ok(Vec::new()),
            false => generic::catalog_foreign_keys(session, &sql, &schemas),
        }
    }

    fn dependants(&self, session: &Session, relations: &[Relation]) -> Result<Vec<Dependants>, Error> {
        dependants::dependants(self, session, relations)
    }

    fn features(&self, session: &Session, relations: &[Relation]) -> Result<Vec<Features>, Error> {
        features::features(self, session, relations)
    }

    fn shaping(&self) -> Option<&dyn Shaping> {
        Some(self)
    }

    fn drop_foreign_key(&self, table: &Relation, name: &str) -> String {
        let if_exists = if self.mariadb { "IF EXISTS " } else { "" };
        format!(
            "ALTER TABLE {} DROP FOREIGN KEY {if_exists}{}",
            self.quote_relation(table),
            self.quote(name)
        )
    }

    fn around_removal(&self, _keys: &[KeyThere]) -> Option<[Vec<String>; 2]> {
        // Rows that go may be referred to until the other tables are loaded as well, and would take those of others along.
        let set = |state: &str| vec![format!("SET SESSION foreign_key_checks = {state}")];
        Some([set("0"), set("1")])
    }

    fn unchecked(&self, _session: &Session, _relation: &Relation) -> Result<Result<Unchecked, String>, Error> {
        let (variables, words): (&[&str], _) = match self.mariadb {
            true => (
                &["foreign_key_checks", "check_constraint_checks"],
                "unchecked by CHECK and FOREIGN KEY constraints",
            ),
            // It has no such variable for the others.
            false => (
                &["foreign_key_checks"],
                "unchecked by FOREIGN KEY constraints, and not by CHECK constraints, which MySQL looks at in any case",
            ),
        };
        let set = |value: &str| {
            let set: Vec<String> = variables.iter().map(|name| format!("{name} = {value}")).collect();
            vec![format!("SET SESSION {}", set.join(", "))]
        };
        Ok(Ok(Unchecked {
            around: [set("0"), set("DEFAULT")],
            words: words.to_owned(),
        }))
    }

    fn result_column(&self, column: ResultColumn) -> Column {
        types::result_column(column)
    }

    fn read_as(&self, column: &Column) -> ReadAs {
        let name = self.quote(&column.name);
        let (expression, transfer) = match column.logical {
            // BIT arrives as bytes.
            LogicalType::Boolean => (format!("({name} + 0)"), Transfer::Native),
            LogicalType::Integer {
                bits: 64,
                signed: false,
            } if column.declared.starts_with("bit") => (format!("CAST({name} + 0 AS CHAR)"), Transfer::Text),
            LogicalType::Integer {
                bits: 64,
                signed: false,
            } => (format!("CAST({name} AS CHAR)"), Transfer::Text),
            LogicalType::Integer { .. } | LogicalType::Text { .. } | LogicalType::Bytes { .. } => {
                (name, Transfer::Native)
            }
            // FLOAT as text has six digits. Multiplied, since adding 0 makes 0 of -0.
            LogicalType::Float { bits: 32 } => (format!("({name} * 1e0)"), Transfer::Native),
            LogicalType::Float { .. } => (name, Transfer::Native),
            // The session's time zone is UTC.
            LogicalType::Instant { .. } => (format!("CONCAT(CAST({name} AS CHAR), '+00:00')"), Transfer::Text),
            // As the server writes them: the driver makes NULL of a zero date and cuts digits.
            _ => (format!("CAST({name} AS CHAR)"), Transfer::Text),
        };
        ReadAs {
            expression,
            transfer,
            bound: generic::native_bound(column.logical),
        }
    }

    fn write_as(&self, column: &Column) -> WriteAs {
        let bit = column.declared.starts_with("bit");
        let (expression, form) = match column.logical {
            LogicalType::Boolean => ("?", Form::I64),
            LogicalType::Integer {
                bits: 64,
                signed: false,
            } if bit => ("CAST(? AS UNSIGNED)", Form::Text),
            LogicalType::Integer {
                bits: 64,
                signed: false,
            } => ("?", Form::Text),
            // The server takes 1 to 99 for years of two digits; 9999 is a year that it refuses.
            LogicalType::Integer { .. } if column.declared.starts_with("year") => {
                ("REGEXP_REPLACE(?, '^([1-9]|[1-9][0-9])$', '9999')", Form::Text)
            }
            LogicalType::Integer { .. } => ("?", Form::I64),
            LogicalType::Float { .. } => ("?", Form::F64),
            LogicalType::Bytes { .. } => ("?", Form::Bytes),
            LogicalType::Instant { .. } => ("?", Form::TextUtc),
            _ => ("?", Form::Text),
        };
        WriteAs {
            expression: expression.to_owned(),
            form,
        }
    }

    fn declare(&self, column: &Column) -> Result<(String, LogicalType), String> {
        Ok(types::declare(column, self.mariadb))
    }

    fn execution_bytes_max(&self, session: &Session) -> Result<Option<(usize, &'static str)>, Error> {
        let rows = session.text_rows("SELECT CAST(@@max_allowed_packet AS CHAR)", &[])?;
        let bytes = rows
            .into_iter()
            .flatten()
            .flatten()
            .next()
            .and_then(|text| text.parse().ok());
        Ok(bytes.map(|bytes| (bytes, "max_allowed_packet")))
    }

    fn ordered(&self, sql: &str, column: &Column) -> Option<String> {
        match column.logical {
            LogicalType::Integer { .. }
            | LogicalType::Decimal { .. }
            | LogicalType::Date
            | LogicalType::Timestamp { .. } => Some(sql.to_owned()),
            // Of UUIDs MariaDB sorts by their last part first.
            LogicalType::Text { .. } | LogicalType::Uuid => {
                Some(format!("CAST(CONVERT({sql} USING utf8mb4) AS BINARY)"))
            }
            _ => None,
        }
    }

    fn counts_array_rows(&self) -> bool {
        true
    }

    fn names_failed_row(&self) -> bool {
        // An array is one command of the bulk protocol, and its failure one error.
        false
    }

    fn parameter_form(&self, logical: LogicalType) -> Form {
        match logical {
            LogicalType::Boolean => Form::I64,
            LogicalType::Date | LogicalType::Timestamp { .. } => Form::Text,
            LogicalType::Instant { .. } => Form::TextUtc,
            other => super::generic::standard_form(other),
        }
    }

    fn limits(&self) -> Limits {
        Limits {
            nul_in_text: true,
            nan: false,
            infinity: false,
            years: 1..=9999,
            instants_as_utc: true,
            infinite_dates: false,
            // The writing session's sql_mode is without NO_ZERO_DATE.
            zero_dates: true,
            decimal_nan: false,
            decimal_infinity: false,
            keeps_declared_sizes: true,
        }
    }

    fn create_table(&self, relation: &Relation, columns: &[Column], shape: &Shape) -> String {
        // Compared byte by byte, as sources compare their keys: under the default collation `a` and `A` are one key.
        const OPTIONS: &str = " ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin";
        generic::create_table(
            self.quote_relation(relation),
            columns,
            |name| self.quote(name),
            OPTIONS,
            shape,
        )
    }

    fn add_columns(&self, relation: &Relation, columns: &[Column]) -> Option<Vec<String>> {
        let clauses = generic::added_columns(columns, "ADD COLUMN ", |name| self.quote(name));
        Some(vec![format!(
            "ALTER TABLE {} {}",
            self.quote_relation(relation),
            clauses.join(", ")
        )])
    }

    fn required_columns(&self, session: &Session, relation: &Relation) -> Result<Vec<String>, Error> {
        let schema = match &relation.schema {
            Some(schema) => schema.clone(),
            None => self.default_schema(session)?.unwrap_or_default(),
        };
        let rows = session.text_rows(REQUIRED, &[&schema, &relation.name])?;
        let of_table = rows
            .into_iter()
            .filter(|row| row.first().and_then(Option::as_ref) == Some(&relation.name));
        Ok(of_table.filter_map(|row| row.into_iter().nth(1).flatten()).collect())
    }

    fn load_steps(
        &self,
        mode: Mode,
        exists: bool,
        target: &Relation,
        staging: &Relation,
        create: &dyn Fn(&Relation) -> String,
    ) -> LoadSteps {
        let quote = |relation: &Relation| self.quote_relation(relation);
        match (mode, exists) {
            (Mode::Append, true) => LoadSteps::default(),
            (Mode::Truncate, true) => LoadSteps {
                before: vec![format!("DELETE FROM {}", quote(target))],
                ..LoadSteps::default()
            },
            (Mode::Replace, true) | (_, false) => {
                let mut old = staging.clone();
                old.name.push_str("_old");
                let (from, to, old) = (quote(staging), quote(target), quote(&old));
                let (rename, cleanup) = match exists {
                    true => (
                        format!("RENAME TABLE {to} TO {old}, {from} TO {to}"),
                        vec![format!("DROP TABLE {old}")],
                    ),
                    false => (format!("RENAME TABLE {from} TO {to}"), vec![]),
                };
                LoadSteps {
                    before: vec![create(staging)],
                    staging: Some(staging.clone()),
                    after: vec![],
                    after_commit: vec![rename],
                    cleanup,
                    undo: vec![format!("DROP TABLE IF EXISTS {from}")],
                }
            }
        }
    }

    #[cfg(test)]
    fn listed_types(&self) -> Vec<Column> {
        listed::columns(self.mariadb)
    }

    fn literal(&self, text: &str) -> String {
        // The sessions' sql_mode is without NO_BACKSLASH_ESCAPES.
        format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
    }

    fn table_lock(&self, LockName(number): LockName, _catalog: Option<&str>) -> Option<TableLock> {
        // Of the session, and of the whole server: the number stands for the database as well.
        let name = format!("'dray:{number:016x}'");
        Some(TableLock {
            take: format!("SELECT GET_LOCK({name}, 0)"),
            holder: format!(
                "SELECT CONCAT('connection ', IS_USED_LOCK({name}), COALESCE(CONCAT(' from ', (SELECT host \
                 FROM information_schema.processlist WHERE id = IS_USED_LOCK({name}))), ''))"
            ),
            release: Some(format!("DO RELEASE_LOCK({name})")),
        })
    }

    fn ranges(
        &self,
        session: &Session,
        relation: &Relation,
        columns: &[Column],
        estimated_rows: Option<u64>,
        wanted: usize,
    ) -> Result<Result<Ranges, String>, Error> {
        ranges::ranges(self, session, relation, columns, estimated_rows, wanted)
    }

    fn merge_steps(&self, merging: &Merging<'_>) -> Option<MergeSteps> {
        Some(merging.update_and_insert(self))
    }

    fn greatest(&self, column: &str) -> Option<String> {
        Some(format!("CAST(MAX({column}) AS CHAR)"))
    }

    fn earlier(&self, literal: &str, _logical: LogicalType, seconds: u64) -> String {
        format!("(CAST({literal} AS DATETIME(6)) - INTERVAL {seconds} SECOND)")
    }

    fn create_journal(&self, journal: &Relation) -> Option<String> {
        Some(generic::create_journal(
            &format!("CREATE TABLE IF NOT EXISTS {}", self.quote_relation(journal)),
            ["VARCHAR(255)", "VARCHAR(64)", "TEXT", "BIGINT", "TIMESTAMP"],
            " ENGINE=InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
        ))
    }

    fn leftovers(&self, session: &Session, schemas: &[String]) -> Result<Vec<Relation>, Error> {
        let places = vec!["?"; schemas.len()].join(", ");
        let sql = format!(
            "SELECT table_schema, table_name FROM information_schema.tables \
             WHERE table_schema IN ({places}) AND table_name LIKE '%\\_\\_dray\\_%'"
        );
        let schemas: Vec<&str> = schemas.iter().map(String::as_str).collect();
        match schemas.is_empty() {
            true => Ok(Vec::new()),
            false => Ok(generic::relations_of(session.text_rows(&sql, &schemas)?)),
        }
    }

    fn classify(&self, diagnostic: &Diagnostic) -> Class {
        // https://mariadb.com/kb/en/mariadb-error-code-reference/; the 2000s are the client library's.
        match diagnostic.native {
            1213 => Class::Conflict,
            1205 => Class::LockTimeout,
            1040 | 1203 => Class::NotReady,
            1044 | 1045 | 1049 | 1698 => Class::AccessDenied,
            1142 | 1143 | 1227 => Class::PermissionDenied,
            1146 | 1054 | 1051 => Class::NotFound,
            1021 | 1041 | 1114 | 1153 => Class::Resources,
            1317 | 1969 | 3024 => Class::Cancelled,
            2002 | 2003 | 2006 | 2013 | 1053 | 1927 => Class::ConnectionLost,
            1048 | 1062 | 1451 | 1452 | 4025 | 3819 => Class::Constraint,
            1264 | 1265 | 1292 | 1366 | 1406 => Class::Data,
            _ => Class::of_sqlstate(&diagnostic.sqlstate),
        }
    }

    fn read_lanes(&self) -> &'static [&'static dyn ReadLane] {
        &[&stream::Stream, &generic::OdbcRead]
    }

    fn savepoint(&self) -> Option<Savepoint> {
        // A savepoint of the same name takes the place of the one before.
        Some(Savepoint {
            release: None,
            ..Savepoint::STANDARD
        })
    }

    fn write_lanes(&self) -> &'static [&'static dyn WriteLane] {
        &[&load::LoadData, &load::InsertValues, &generic::OdbcWrite]
    }

    fn without_values(&self, message: &str) -> String {
        let mut text = message.to_owned();
        // `Duplicate entry '…' for key`, `Incorrect integer value: '…' for column`, `Truncated incorrect … value: '…'`.
        for mark in ["entry '", "value: '"] {
            if let Some(start) = text.find(mark).map(|start| start + mark.len()) {
                let rest = &text[start..];
                let end = rest.rfind("' for ").or_else(|| rest.rfind('\'')).unwrap_or(rest.len());
                text.replace_range(start..start + end, "…");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_table_is_loaded_under_another_name_and_swapped_in_one_rename() {
        let relation = |name: &str| Relation::new(None, name);
        let create = |relation: &Relation| format!("CREATE {}", relation.name);
        let steps = MARIADB.load_steps(Mode::Replace, true, &relation("t"), &relation("s"), &create);
        assert_eq!(steps.before, ["CREATE s"]);
        assert_eq!(steps.after_commit, ["RENAME TABLE `t` TO `s_old`, `s` TO `t`"]);
        assert_eq!(steps.cleanup, ["DROP TABLE `s_old`"]);
        assert_eq!(steps.undo, ["DROP TABLE IF EXISTS `s`"]);
        let steps = MARIADB.load_steps(Mode::Truncate, true, &relation("t"), &relation("s"), &create);
        assert_eq!(
            (steps.before.as_slice(), steps.staging),
            (["DELETE FROM `t`".to_owned()].as_slice(), None)
        );
    }

    #[test]
    fn messages_lose_the_values_that_the_server_repeats() {
        for (message, expected) in [
            (
                "Duplicate entry 'it's secret' for key 'PRIMARY'",
                "Duplicate entry '…' for key 'PRIMARY'",
            ),
            (
                "Incorrect string value: '\\xF0secret' for column `a`.`b`.`c` at row 1",
                "Incorrect string value: '…' for column `a`.`b`.`c` at row 1",
            ),
            ("Unknown column 'x' in 'SELECT'", "Unknown column 'x' in 'SELECT'"),
        ] {
            assert_eq!(MARIADB.without_values(message), expected);
        }
    }
}
