//! SQLite. A column's type is an affinity, and each value has a class of its own: so values are read with their class,
//! and one that the declared type does not stand for is refused by row.
//!
//! Its ODBC driver turns NUMERIC into doubles, doubles into 15 digits, and ends text at a NUL; the SELECT list and the
//! VALUES list here see to it that none of that touches a value.

mod access;
mod affinity;
mod definition;
mod dependants;
mod direct_read;
mod direct_write;
mod features;
mod libsqlite3;
#[cfg(test)]
mod listed;
mod ranges;
mod shape;
mod spelling;
mod target;
mod wire;

use std::collections::HashMap;

use super::{
    Class, Column, Dependants, Dialect, Error, Features, Form, Kind, Limits, LoadSteps, LogicalType, MergeSteps,
    Merging, Mode, Padding, Purpose, Ranges, ReadAs, ReadLane, Relation, Savepoint, Shaping, Table, Transfer,
    ValueCheck, WriteAs, WriteLane, generic,
};
use crate::odbc::{ConnectionString, Diagnostic, ResultColumn, Session};

/// SQLite through sqliteodbc.
pub(super) struct Sqlite;

/// Digits that a NUMERIC column keeps of any number (SQLite documentation, "Datatypes In SQLite", section 3).
const NUMERIC_DIGITS: u16 = 15;

/// Tables whose rows have numbers, the highest of which is found at once, and how many columns they have. A column that is
/// called `rowid` would hide it.
const ROWID_TABLES: &str = "\
SELECT name, (SELECT count(*) FROM pragma_table_info(tables.name)) FROM main.sqlite_master AS tables \
WHERE type = 'table' AND sql NOT LIKE '%rowid%' AND sql NOT LIKE 'CREATE VIRTUAL%'";

const FILE_BYTES: &str = "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";

/// What a value is taken to need in the file; `dbstat` would know, but reads the whole file, and few libraries have it.
const COLUMN_BYTES: u64 = 16;

/// Most tables of one question: a compound SELECT of SQLite has at most 500 parts.
const HIGHEST_ASKED_MAX: usize = 200;

/// Columns that forbid NULL and have no default; a key of one INTEGER is the row's own number, which is counted up.
const REQUIRED: &str = "\
SELECT name FROM pragma_table_xinfo(?, ?) \
WHERE \"notnull\" <> 0 AND dflt_value IS NULL AND hidden = 0 AND NOT (pk = 1 AND upper(type) = 'INTEGER')";

impl Dialect for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn is_product(&self, dbms_name: &str) -> bool {
        dbms_name.to_lowercase().contains("sqlite")
    }

    fn is_driver(&self, file_name: &str) -> bool {
        file_name.contains("sqlite")
    }

    fn connection_options(&self, purpose: Purpose) -> &'static [(&'static str, &'static str)] {
        match purpose {
            // Rows step by step instead of the whole result in memory.
            Purpose::Read => &[("StepAPI", "1")],
            Purpose::Write | Purpose::Script => &[],
        }
    }

    fn setup_beside_source(&self, own: &ConnectionString, source: &ConnectionString) -> &'static [&'static str] {
        let file = |string: &ConnectionString| string.get("database").and_then(|path| fs_err::canonicalize(path).ok());
        // A page that is written before the commit locks the file against its reader, and each would wait for the other.
        match file(own) {
            Some(own) if file(source) == Some(own.clone()) => &["PRAGMA cache_spill = OFF"],
            _ => &[],
        }
    }

    fn reads_in_autocommit(&self) -> bool {
        // sqliteodbc 0.9998 steps through a result only outside of a transaction, without parameters, and with a cursor
        // that is forward-only; otherwise it takes the whole result into memory first.
        true
    }

    fn default_schema(&self, _session: &Session) -> Result<Option<String>, Error> {
        Ok(Some("main".to_owned()))
    }

    fn relations(&self, session: &Session, _catalog: Option<&str>) -> Result<Vec<Relation>, Error> {
        let sql = "SELECT name FROM main.sqlite_master WHERE type IN ('table', 'view') \
                   AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name";
        let names = session.text_rows(sql, &[])?.into_iter().flatten().flatten();
        Ok(names.map(|name| Relation::new(Some("main".to_owned()), name)).collect())
    }

    fn table(&self, session: &Session, relation: &Relation) -> Result<Option<Table>, Error> {
        let schema = relation.schema.as_deref().unwrap_or("main");
        let columns = self.columns(session, schema, &relation.name)?;
        if columns.is_empty() {
            return Ok(None);
        }
        Ok(Some(Table {
            estimated_rows: self.highest_rowid(session, schema, &relation.name, &columns),
            kind: self.kind(session, schema, &relation.name)?,
            columns,
            ..Table::default()
        }))
    }

    fn estimated_bytes(&self, session: &Session, relations: &[Relation]) -> Result<Vec<Option<u64>>, Error> {
        let number = |row: &[Option<String>], place: usize| row.get(place)?.as_deref()?.parse::<u64>().ok();
        let mut columns = HashMap::new();
        for row in session.text_rows(ROWID_TABLES, &[])? {
            if let (Some(Some(name)), Some(count)) = (row.first(), number(&row, 1)) {
                columns.insert(name.clone(), count);
            }
        }
        let file_bytes = session.text_rows(FILE_BYTES, &[])?;
        let file_bytes = file_bytes.first().and_then(|row| number(row, 0)).unwrap_or(u64::MAX);
        let known = relations.iter().enumerate().filter_map(|(place, relation)| {
            let is_main = relation.schema.as_deref().is_none_or(|schema| schema == "main");
            Some((place, relation, *columns.get(&relation.name).filter(|_| is_main)?))
        });
        let known: Vec<(usize, &Relation, u64)> = known.collect();
        let mut sizes = vec![None; relations.len()];
        for asked in known.chunks(HIGHEST_ASKED_MAX) {
            let highest = |(_, relation, _): &(usize, &Relation, u64)| {
                format!("SELECT max(rowid) FROM main.{}", self.quote(&relation.name))
            };
            let sql: Vec<String> = asked.iter().map(highest).collect();
            let rows = session.text_rows(&sql.join(" UNION ALL "), &[])?;
            for (row, (place, _, columns)) in rows.iter().zip(asked) {
                // An empty table has no highest number.
                let rows = number(row, 0).unwrap_or(0);
                sizes[*place] = Some(rows.saturating_mul(columns * COLUMN_BYTES).min(file_bytes));
            }
        }
        Ok(sizes)
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

    fn taken_names(&self, session: &Session, schemas: &[String]) -> Result<Vec<(Relation, Option<String>)>, Error> {
        let mut taken = Vec::new();
        for schema in schemas {
            let sql = format!("SELECT name, tbl_name FROM {}.sqlite_master", self.quote(schema));
            for row in session.text_rows(&sql, &[])? {
                let mut cells = row.into_iter();
                let schema = Some(schema.clone());
                let name = cells.next().flatten().map(|name| Relation::new(schema, name));
                taken.extend(name.map(|name| (name, cells.next().flatten())));
            }
        }
        Ok(taken)
    }

    fn query_columns(&self, session: &Session, sql: &str) -> Result<Vec<Column>, Error> {
        // A view says which columns of a query are a table's own, with their declared types.
        session.execute(&format!("CREATE TEMP VIEW dray_query AS {sql}"))?;
        let columns = self.columns(session, "temp", "dray_query");
        session.execute("DROP VIEW temp.dray_query")?;
        columns
    }

    fn verbatim(&self, column: &Column) -> Column {
        // Dates and the like are text to SQLite, and stay as they are spelled.
        let logical = match column.logical {
            LogicalType::Date
            | LogicalType::Time { .. }
            | LogicalType::Timestamp { .. }
            | LogicalType::Instant { .. }
            | LogicalType::Uuid
            | LogicalType::Json { .. }
            | LogicalType::Text { .. } => LogicalType::TEXT,
            other => other,
        };
        Column {
            logical,
            ..column.clone()
        }
    }

    fn result_column(&self, column: ResultColumn) -> Column {
        // The driver takes an expression's type from its first value.
        let logical = declared_type(&column.type_name).unwrap_or(LogicalType::TEXT);
        Column {
            logical,
            ..generic::result_column(column)
        }
    }

    fn read_as(&self, column: &Column) -> ReadAs {
        let expression = with_class(&self.quote(&column.name));
        ReadAs {
            expression,
            transfer: Transfer::Dynamic,
            bound: None,
        }
    }

    fn write_as(&self, column: &Column) -> WriteAs {
        let (expression, form) = match column.logical {
            LogicalType::Boolean | LogicalType::Integer { .. } => ("?", Form::I64),
            LogicalType::Float { .. } => ("?", Form::F64),
            LogicalType::Bytes { .. } => ("?", Form::Bytes),
            // As bytes: the driver ends text at a NUL.
            LogicalType::Text { .. } | LogicalType::Opaque => ("CAST(? AS TEXT)", Form::Bytes),
            _ => ("?", Form::Text),
        };
        WriteAs {
            expression: expression.to_owned(),
            form,
        }
    }

    fn value_checks(
        &self,
        _session: &Session,
        _target: &Relation,
        columns: &[Column],
    ) -> Result<Vec<(usize, ValueCheck)>, Error> {
        let check = |(place, column): (usize, &Column)| {
            let check = target::Target::of(column, false).check(column.logical)?;
            Some((place, check))
        };
        Ok(columns.iter().enumerate().filter_map(check).collect())
    }

    fn parameter_form(&self, logical: LogicalType) -> Form {
        match logical {
            LogicalType::Boolean => Form::I64,
            // The driver would write a timestamp with three digits of a second.
            LogicalType::Date | LogicalType::Timestamp { .. } | LogicalType::Decimal { .. } => Form::Text,
            LogicalType::Integer {
                bits: 64,
                signed: false,
            } => Form::Text,
            other => generic::standard_form(other),
        }
    }

    fn nul_in_parameters(&self) -> bool {
        false
    }

    fn script_query(&self, sql: &str, columns: usize) -> Option<String> {
        let word: String = sql
            .trim_start()
            .chars()
            .take_while(|letter| letter.is_ascii_alphabetic())
            .collect();
        if !matches!(word.to_lowercase().as_str(), "select" | "values" | "with") {
            return None;
        }
        let sql = sql.trim().trim_end_matches(';');
        let names: Vec<String> = (1..=columns).map(|number| format!("c{number}")).collect();
        let values: Vec<String> = names.iter().map(|name| with_class(name)).collect();
        // The order of the inner query stays: SQLite drops it only for an outer ORDER BY or join.
        Some(format!(
            "WITH dray_query({}) AS ({sql}\n) SELECT {} FROM dray_query",
            names.join(", "),
            values.join(", ")
        ))
    }

    fn ordered(&self, sql: &str, column: &Column) -> Option<String> {
        match column.logical {
            LogicalType::Integer { .. } | LogicalType::Decimal { .. } => Some(sql.to_owned()),
            // Dates as ISO 8601 has them; where some are spelled otherwise, the rows of a range are others.
            LogicalType::Date | LogicalType::Timestamp { .. } | LogicalType::Text { .. } | LogicalType::Uuid => {
                Some(format!("{sql} COLLATE BINARY"))
            }
            _ => None,
        }
    }

    fn counts_array_rows(&self) -> bool {
        // There are none, and of a single row it does.
        true
    }

    fn parameter_rows_max(&self) -> usize {
        // Of an array of bytes sqliteodbc 0.9998 takes the lengths of the row before. It runs the rows one by one anyway.
        1
    }

    fn declare(&self, column: &Column) -> Result<(String, LogicalType), String> {
        let integer = LogicalType::Integer { bits: 64, signed: true };
        Ok(match column.logical {
            LogicalType::Boolean => ("BOOLEAN".to_owned(), LogicalType::Boolean),
            LogicalType::Integer {
                bits: 64,
                signed: false,
            } => ("DECIMAL_TEXT(20,0)".to_owned(), LogicalType::decimal(20, 0)),
            LogicalType::Integer { bits: 8, .. } => ("TINYINT".to_owned(), integer),
            LogicalType::Integer { bits: 16, .. } => ("SMALLINT".to_owned(), integer),
            LogicalType::Integer { bits: 24 | 32, .. } => ("INTEGER".to_owned(), integer),
            LogicalType::Integer { .. } => ("BIGINT".to_owned(), integer),
            // NUMERIC affinity as long as it keeps every digit; beyond, the affinity of TEXT, which keeps all.
            LogicalType::Decimal {
                precision: Some(precision),
                scale: Some(scale),
                ..
            } => {
                let keeps = precision <= NUMERIC_DIGITS;
                let name = if keeps { "DECIMAL" } else { "DECIMAL_TEXT" };
                (
                    format!("{name}({precision},{scale})"),
                    LogicalType::decimal(precision, scale),
                )
            }
            LogicalType::Decimal { .. } => ("DECIMAL_TEXT".to_owned(), LogicalType::DECIMAL),
            LogicalType::Float { .. } => ("DOUBLE".to_owned(), LogicalType::Float { bits: 64 }),
            LogicalType::Text {
                length: Some(length),
                padding,
            } => {
                let name = if padding == Padding::None { "VARCHAR" } else { "CHAR" };
                (
                    format!("{name}({length})"),
                    LogicalType::Text {
                        length: Some(length),
                        padding: Padding::None,
                    },
                )
            }
            LogicalType::Text { .. } | LogicalType::Opaque => ("TEXT".to_owned(), LogicalType::TEXT),
            LogicalType::Bytes { .. } => ("BLOB".to_owned(), LogicalType::BYTES),
            LogicalType::Date => ("DATE".to_owned(), LogicalType::Date),
            LogicalType::Time { .. } => ("TIME".to_owned(), LogicalType::Time { digits: 9, span: true }),
            LogicalType::Timestamp { .. } => ("TIMESTAMP".to_owned(), LogicalType::Timestamp { digits: 9 }),
            LogicalType::Instant { .. } => (
                "TIMESTAMP WITH TIME ZONE".to_owned(),
                LogicalType::Instant {
                    digits: 9,
                    epoch_32: false,
                },
            ),
            LogicalType::Uuid => ("UUID_TEXT".to_owned(), LogicalType::Uuid),
            // Not JSON alone: NUMERIC affinity would turn the document `1.0` into 1.
            LogicalType::Json { .. } => ("JSON_TEXT".to_owned(), LogicalType::Json { normalized: false }),
        })
    }

    fn limits(&self) -> Limits {
        // NaN is stored as NULL.
        Limits {
            nul_in_text: true,
            nan: false,
            infinity: true,
            years: 1..=9999,
            instants_as_utc: false,
            infinite_dates: false,
            zero_dates: false,
            decimal_nan: false,
            decimal_infinity: false,
            keeps_declared_sizes: false,
        }
    }

    fn keeps_widths(&self) -> bool {
        false
    }

    fn writers_max(&self) -> Option<usize> {
        // One session has the lock on the file; another would wait for it and then give up.
        Some(1)
    }

    fn add_columns(&self, relation: &Relation, columns: &[Column]) -> Option<Vec<String>> {
        let clauses = generic::added_columns(columns, "ADD COLUMN ", |name| self.quote(name)).into_iter();
        let table = self.quote_relation(relation);
        Some(clauses.map(|clause| format!("ALTER TABLE {table} {clause}")).collect())
    }

    fn required_columns(&self, session: &Session, relation: &Relation) -> Result<Vec<String>, Error> {
        let schema = relation.schema.as_deref().unwrap_or("main");
        let rows = session.text_rows(REQUIRED, &[&relation.name, schema])?;
        Ok(rows.into_iter().flatten().flatten().collect())
    }

    fn load_steps(
        &self,
        mode: Mode,
        exists: bool,
        target: &Relation,
        _staging: &Relation,
        create: &dyn Fn(&Relation) -> String,
    ) -> LoadSteps {
        generic::transactional_steps(
            mode,
            exists,
            &self.quote_relation(target),
            &create(target),
            "DELETE FROM",
        )
    }

    fn read_lanes(&self) -> &'static [&'static dyn ReadLane] {
        &[&direct_read::DirectRead, &generic::OdbcRead]
    }

    fn savepoint(&self) -> Option<Savepoint> {
        Some(Savepoint::STANDARD)
    }

    fn write_lanes(&self) -> &'static [&'static dyn WriteLane] {
        &[&direct_write::DirectWrite, &generic::OdbcWrite]
    }

    #[cfg(test)]
    fn listed_types(&self) -> Vec<Column> {
        listed::columns()
    }

    fn ranges(
        &self,
        session: &Session,
        relation: &Relation,
        columns: &[Column],
        _estimated_rows: Option<u64>,
        wanted: usize,
    ) -> Result<Result<Ranges, String>, Error> {
        ranges::ranges(self, session, relation, columns, wanted)
    }

    fn merge_steps(&self, merging: &Merging<'_>) -> Option<MergeSteps> {
        Some(merging.on_conflict(self, "temp", ("TEMP TABLE", ""), ""))
    }

    fn greatest(&self, column: &str) -> Option<String> {
        Some(format!("CAST(MAX({column}) AS TEXT)"))
    }

    fn earlier(&self, literal: &str, _logical: LogicalType, seconds: u64) -> String {
        // Text, which sorts as it is spelled; what is no time begins before everything.
        format!("coalesce(strftime('%Y-%m-%d %H:%M:%S', {literal}, '-{seconds} seconds'), '')")
    }

    fn creates_journal_late(&self) -> bool {
        true
    }

    fn create_journal(&self, journal: &Relation) -> Option<String> {
        Some(generic::create_journal(
            &format!("CREATE TABLE IF NOT EXISTS {}", self.quote_relation(journal)),
            ["TEXT", "TEXT", "TEXT", "INTEGER", "TEXT"],
            "",
        ))
    }

    fn classify(&self, diagnostic: &Diagnostic) -> Class {
        // The driver has HY000 for everything; native codes are SQLite's result codes, the lowest byte of an extended one,
        // https://sqlite.org/rescode.html.
        match diagnostic.native & 0xff {
            5 | 6 => Class::LockTimeout,
            7 | 10 | 13 => Class::Resources,
            8 | 23 => Class::PermissionDenied,
            9 => Class::Cancelled,
            14 => Class::ConnectionLost,
            18 | 20 => Class::Data,
            19 => Class::Constraint,
            1 if diagnostic.message.starts_with("no such") => Class::NotFound,
            1 => Class::Syntax,
            _ => Class::of_sqlstate(&diagnostic.sqlstate),
        }
    }
}

impl Sqlite {
    /// The columns of a table or view; columns without a declared type get the one that their values have.
    fn columns(&self, session: &Session, schema: &str, name: &str) -> Result<Vec<Column>, Error> {
        let sql = "SELECT name, type, \"notnull\", pk, hidden FROM pragma_table_xinfo(?, ?) WHERE hidden <> 1";
        let rows = session.text_rows(sql, &[name, schema])?;
        let encoding = session
            .text_rows("PRAGMA encoding", &[])?
            .into_iter()
            .flatten()
            .flatten()
            .next();
        if let Some(encoding) = encoding.filter(|encoding| encoding != "UTF-8") {
            return Err(Error::Unsupported(format!(
                "the SQLite database stores text as {encoding}, UTF-8 is supported"
            )));
        }
        let mut columns = Vec::new();
        for row in rows {
            let cell = |position: usize| row.get(position).and_then(Option::as_deref).unwrap_or_default();
            let mut column = Column {
                name: cell(0).to_owned(),
                logical: LogicalType::Opaque,
                declared: cell(1).to_owned(),
                nullable: cell(2) == "0",
                key_position: cell(3).parse().ok().filter(|position| *position > 0),
                generated: matches!(cell(4), "2" | "3"),
                from_catalog: true,
            };
            column.logical = match declared_type(cell(1)) {
                Some(logical) => logical,
                None => self.type_of_values(session, schema, name, &column.name)?,
            };
            columns.push(column);
        }
        Ok(columns)
    }

    /// What a relation is, if it is no table.
    fn kind(&self, session: &Session, schema: &str, name: &str) -> Result<Option<Kind>, Error> {
        let schema = self.quote(schema);
        let sql = format!("SELECT 1 FROM {schema}.sqlite_master WHERE type = 'view' AND lower(name) = lower(?)");
        let is_view = !session.text_rows(&sql, &[name])?.is_empty();
        Ok(is_view.then_some(Kind {
            what: "a view",
            emptied: false,
        }))
    }

    /// The number of the last row, which is the number of rows where none was ever deleted; counting them would read them
    /// all. `None` for what has no such numbers, or a column of that name.
    fn highest_rowid(&self, session: &Session, schema: &str, name: &str, columns: &[Column]) -> Option<u64> {
        if columns.iter().any(|column| column.name.eq_ignore_ascii_case("rowid")) {
            return None;
        }
        let schema = self.quote(schema);
        let first =
            |sql: &str, parameters: &[&str]| session.text_rows(sql, parameters).ok()?.into_iter().flatten().next()?;
        let is_table = format!(
            "SELECT 1 FROM {schema}.sqlite_master WHERE type = 'table' AND lower(name) = lower(?) \
             AND sql NOT LIKE '%WITHOUT%ROWID%' AND sql NOT LIKE 'CREATE VIRTUAL%'"
        );
        first(&is_table, &[name])?;
        first(&format!("SELECT max(rowid) FROM {schema}.{}", self.quote(name)), &[])?
            .parse()
            .ok()
    }

    /// The type that holds all values of an untyped column, and only SQLite's own if they are of several; looks at every
    /// row.
    fn type_of_values(&self, session: &Session, schema: &str, table: &str, column: &str) -> Result<LogicalType, Error> {
        let (schema, table, name) = (self.quote(schema), self.quote(table), self.quote(column));
        let sql = format!("SELECT DISTINCT typeof({name}) FROM {schema}.{table} WHERE {name} IS NOT NULL ORDER BY 1");
        let classes: Vec<String> = session.text_rows(&sql, &[])?.into_iter().flatten().flatten().collect();
        let classes: Vec<&str> = classes.iter().map(String::as_str).collect();
        match classes.as_slice() {
            ["integer"] => Ok(LogicalType::Integer { bits: 64, signed: true }),
            ["real"] | ["integer", "real"] => Ok(LogicalType::Float { bits: 64 }),
            ["text"] | [] => Ok(LogicalType::TEXT),
            ["blob"] => Ok(LogicalType::BYTES),
            // For another product the plan, or the row with a value of another class, refuses it.
            _ => Ok(LogicalType::Opaque),
        }
    }
}

/// The SQL for a value with its class in front, see [`Transfer::Dynamic`].
fn with_class(name: &str) -> String {
    // Twenty digits of a real number name it without doubt, though SQLite's own arithmetic is not exact to the last.
    format!(
        "CASE typeof({name}) WHEN 'null' THEN NULL WHEN 'integer' THEN 'i' || {name} \
         WHEN 'real' THEN 'r' || printf('%!.20g', {name}) WHEN 'blob' THEN 'b' || hex({name}) \
         ELSE CASE WHEN instr({name}, char(0)) THEN 'x' || hex(CAST({name} AS BLOB)) ELSE 't' || {name} END END"
    )
}

/// What a declared type stands for; `None` if it says nothing.
fn declared_type(declared: &str) -> Option<LogicalType> {
    let upper = declared.to_uppercase();
    let (name, sizes) = upper.split_once('(').unwrap_or((&upper, ""));
    let mut sizes = sizes
        .trim_end()
        .trim_end_matches(')')
        .split(',')
        .map(|size| size.trim().parse::<u32>().ok());
    let (first, second) = (sizes.next().flatten(), sizes.next().flatten());
    let name = name.trim();
    let has = |part: &str| name.contains(part);
    let logical = if has("DECIMAL") || has("NUMERIC") || has("NUMBER") {
        LogicalType::Decimal {
            precision: first.and_then(|precision| u16::try_from(precision).ok()),
            scale: first.and_then(|_| u16::try_from(second.unwrap_or(0)).ok()),
            kept_digits: (!has("TEXT")).then_some(NUMERIC_DIGITS),
        }
    } else if has("BOOL") {
        LogicalType::Boolean
    } else if has("JSON") {
        LogicalType::Json { normalized: false }
    } else if has("UUID") || has("UNIQUEIDENTIFIER") {
        LogicalType::Uuid
    } else if has("DATETIME") || has("TIMESTAMP") {
        match has("ZONE") || has("TIMESTAMPTZ") || has("OFFSET") {
            true => LogicalType::Instant {
                digits: 9,
                epoch_32: false,
            },
            false => LogicalType::Timestamp { digits: 9 },
        }
    } else if name == "DATE" {
        LogicalType::Date
    } else if name == "TIME" {
        LogicalType::Time { digits: 9, span: true }
    } else if has("INT") {
        LogicalType::Integer { bits: 64, signed: true }
    } else if has("CHAR") || has("CLOB") || has("TEXT") {
        LogicalType::Text {
            length: first,
            padding: Padding::None,
        }
    } else if has("BLOB") || has("BINARY") {
        LogicalType::BYTES
    } else if has("REAL") || has("FLOA") || has("DOUB") {
        LogicalType::Float { bits: 64 }
    } else {
        return None;
    };
    Some(logical)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_are_taken_at_their_word() {
        let decimal = |kept_digits| LogicalType::Decimal {
            precision: Some(10),
            scale: Some(2),
            kept_digits,
        };
        assert_eq!(declared_type("decimal(10, 2)"), Some(decimal(Some(15))));
        assert_eq!(declared_type("DECIMAL_TEXT(10,2)"), Some(decimal(None)));
        assert_eq!(
            declared_type("unsigned big int"),
            Some(LogicalType::Integer { bits: 64, signed: true })
        );
        assert_eq!(
            declared_type("NVARCHAR(20)"),
            Some(LogicalType::Text {
                length: Some(20),
                padding: Padding::None
            })
        );
        assert_eq!(
            declared_type("timestamp with time zone"),
            Some(LogicalType::Instant {
                digits: 9,
                epoch_32: false
            })
        );
        assert_eq!(declared_type(""), None);
    }

    #[test]
    fn a_type_that_is_declared_is_read_back_as_the_same() {
        let column = |logical| Column {
            name: "c".to_owned(),
            logical,
            declared: String::new(),
            nullable: true,
            key_position: None,
            generated: false,
            from_catalog: false,
        };
        for logical in [
            LogicalType::Boolean,
            LogicalType::decimal(38, 10),
            LogicalType::DECIMAL,
            LogicalType::Integer { bits: 64, signed: true },
            LogicalType::Float { bits: 64 },
            LogicalType::Text {
                length: Some(9),
                padding: Padding::None,
            },
            LogicalType::TEXT,
            LogicalType::BYTES,
            LogicalType::Date,
            LogicalType::Time { digits: 9, span: true },
            LogicalType::Timestamp { digits: 9 },
            LogicalType::Instant {
                digits: 9,
                epoch_32: false,
            },
            LogicalType::Uuid,
            LogicalType::Json { normalized: false },
        ] {
            let (declared, stored) = Sqlite.declare(&column(logical)).unwrap();
            assert_eq!(declared_type(&declared), Some(stored), "{declared}");
        }
    }
}
