//! The lane that every product has, ODBC alone: block cursor out, parameter arrays in; and a dialect for products that
//! have no folder of their own.

mod reader;
mod writer;

use odbc_sys::SqlDataType;

pub(super) use self::{
    reader::{CellPlan, Classed, OdbcRead, Rows, cell_kind, classed_value, read_back, read_cell},
    writer::{OdbcWrite, bind_parameters, parameter_kind},
};
use super::{
    Column, Dialect, Error, Form, Holds, KeyThere, Limits, LoadSteps, LogicalType, Mode, Padding, ReadAs, Relation,
    Shape, Source, Table, Transfer, WriteAs,
};
use crate::odbc::{ResultColumn, Session};

/// Any product, by what the ODBC catalog functions and the standard say; it can be read from, and written to if it
/// takes standard SQL.
pub(super) struct Generic;

impl Dialect for Generic {
    fn name(&self) -> &'static str {
        "generic"
    }

    fn is_product(&self, _dbms_name: &str) -> bool {
        true
    }

    fn is_driver(&self, _file_name: &str) -> bool {
        false
    }

    fn default_schema(&self, _session: &Session) -> Result<Option<String>, Error> {
        Ok(None)
    }

    fn relations(&self, session: &Session, _catalog: Option<&str>) -> Result<Vec<Relation>, Error> {
        let mut statement = session.statement()?;
        statement.tables()?;
        let rows = statement.into_text_rows(session)?;
        let cell = |row: &[Option<String>], position: usize| row.get(position).cloned().flatten();
        Ok(rows
            .iter()
            .filter(|row| matches!(cell(row, 3).as_deref(), Some("TABLE" | "VIEW")))
            .filter_map(|row| {
                Some(Relation::new(
                    cell(row, 1).filter(|schema| !schema.is_empty()),
                    cell(row, 2)?,
                ))
            })
            .collect())
    }

    fn table(&self, session: &Session, relation: &Relation) -> Result<Option<Table>, Error> {
        let mut statement = session.statement()?;
        statement.columns(relation.schema.as_deref(), &relation.name)?;
        let listed = statement.into_text_rows(session)?;
        let cell = |row: &[Option<String>], position: usize| row.get(position).cloned().flatten();
        // The catalog function takes patterns: `_` in a name matches any letter.
        if !listed.iter().any(|row| cell(row, 2).as_deref() == Some(&relation.name)) {
            return Ok(None);
        }
        let mut statement = session.statement()?;
        statement.execute_direct(&format!("SELECT * FROM {} WHERE 1 = 0", self.quote_relation(relation)))?;
        let mut columns: Vec<Column> = statement.result_columns()?.into_iter().map(result_column).collect();
        drop(statement);
        let mut statement = session.statement()?;
        // Not every driver has this one.
        let keys = match statement.primary_keys(relation.schema.as_deref(), &relation.name) {
            Ok(()) => statement.into_text_rows(session)?,
            Err(_) => Vec::new(),
        };
        for column in &mut columns {
            let key = keys.iter().find(|row| cell(row, 3).as_deref() == Some(&column.name));
            column.key_position = key.and_then(|row| cell(row, 4)).and_then(|number| number.parse().ok());
        }
        Ok(Some(Table {
            columns,
            ..Table::default()
        }))
    }

    fn read_as(&self, column: &Column) -> ReadAs {
        ReadAs {
            expression: self.quote(&column.name),
            transfer: Transfer::Native,
            bound: native_bound(column.logical),
        }
    }

    fn write_as(&self, column: &Column) -> WriteAs {
        let form = match column.logical {
            LogicalType::Boolean | LogicalType::Integer { .. } => Form::I64,
            LogicalType::Float { .. } => Form::F64,
            LogicalType::Bytes { .. } => Form::Bytes,
            LogicalType::Date => Form::Date,
            LogicalType::Timestamp { digits } => Form::Timestamp(digits),
            _ => Form::Text,
        };
        WriteAs {
            expression: "?".to_owned(),
            form,
        }
    }

    fn declare(&self, column: &Column) -> Result<(String, LogicalType), String> {
        let declared = match column.logical {
            LogicalType::Integer {
                bits: 8 | 16,
                signed: true,
            } => "smallint".to_owned(),
            LogicalType::Integer {
                bits: 24 | 32,
                signed: true,
            } => "integer".to_owned(),
            LogicalType::Integer { bits: 64, signed: true } => "bigint".to_owned(),
            LogicalType::Decimal {
                precision: Some(precision),
                scale: Some(scale),
                ..
            } => {
                format!("decimal({precision},{scale})")
            }
            LogicalType::Float { .. } => "double precision".to_owned(),
            LogicalType::Text {
                length: Some(length), ..
            } => format!("varchar({length})"),
            LogicalType::Date => "date".to_owned(),
            LogicalType::Timestamp { .. } => "timestamp".to_owned(),
            other => {
                return Err(format!(
                    "dray knows no standard SQL type for {other:?}; create the table yourself"
                ));
            }
        };
        Ok((declared, column.logical))
    }

    fn limits(&self) -> Limits {
        Limits {
            nul_in_text: false,
            nan: false,
            infinity: false,
            years: 1..=9999,
            instants_as_utc: false,
            infinite_dates: false,
            zero_dates: false,
            decimal_nan: false,
            decimal_infinity: false,
            keeps_declared_sizes: false,
        }
    }

    fn load_steps(
        &self,
        mode: Mode,
        exists: bool,
        target: &Relation,
        _staging: &Relation,
        create: &dyn Fn(&Relation) -> String,
    ) -> LoadSteps {
        transactional_steps(
            mode,
            exists,
            &self.quote_relation(target),
            &create(target),
            "DELETE FROM",
        )
    }
}

/// A SELECT of this list from a source, which a query is in parentheses.
pub(super) fn select<D: Dialect + ?Sized>(dialect: &D, list: &str, source: &Source) -> String {
    let from = source.after_from(|relation| dialect.quote_relation(relation));
    format!("SELECT {list} FROM {from}")
}

/// The steps of a product whose DDL is part of the transaction: everything happens in place, or not at all.
pub(super) fn transactional_steps(mode: Mode, exists: bool, target: &str, create: &str, empty: &str) -> LoadSteps {
    let before = match (mode, exists) {
        (_, false) => vec![create.to_owned()],
        (Mode::Append, true) => vec![],
        (Mode::Truncate, true) => vec![format!("{empty} {target}")],
        (Mode::Replace, true) => vec![format!("DROP TABLE {target}"), create.to_owned()],
    };
    LoadSteps {
        before,
        ..LoadSteps::default()
    }
}

/// The form of a script's parameter, in the standard's types.
pub(super) fn standard_form(logical: LogicalType) -> Form {
    match logical {
        LogicalType::Boolean => Form::Bit,
        LogicalType::Decimal { .. }
        | LogicalType::Integer {
            bits: 64,
            signed: false,
        } => Form::Decimal,
        LogicalType::Integer { .. } => Form::I64,
        LogicalType::Float { .. } => Form::F64,
        LogicalType::Bytes { .. } => Form::Bytes,
        LogicalType::Date => Form::Date,
        LogicalType::Timestamp { .. } => Form::Timestamp(6),
        _ => Form::Text,
    }
}

/// A CREATE TABLE statement; `options` follow the closing parenthesis. A column that is computed says by its clause alone
/// what it is.
pub(super) fn create_table(
    relation: String,
    columns: &[Column],
    quote: impl Fn(&str) -> String,
    options: &str,
    shape: &Shape,
) -> String {
    let mut lines: Vec<String> = columns
        .iter()
        .map(|column| {
            let null = if column.generated || !column.is_required() {
                ""
            } else {
                " NOT NULL"
            };
            let clause = shape.clauses.get(&column.name).filter(|clause| !clause.is_empty());
            let clause = clause.map(|clause| format!(" {clause}")).unwrap_or_default();
            format!("{} {}{null}{clause}", quote(&column.name), column.declared)
        })
        .collect();
    let mut key: Vec<&Column> = columns.iter().filter(|column| column.key_position.is_some()).collect();
    key.sort_by_key(|column| column.key_position);
    if !key.is_empty() && shape.key_in_clause.is_none() {
        let names: Vec<String> = key.iter().map(|column| quote(&column.name)).collect();
        lines.push(format!("PRIMARY KEY ({})", names.join(", ")));
    }
    lines.extend(shape.constraints.iter().cloned());
    format!(
        "CREATE TABLE {relation} (\n  {}\n){options}{}",
        lines.join(",\n  "),
        shape.options
    )
}

/// The clauses that add columns which allow NULL, each behind `before`.
pub(super) fn added_columns(columns: &[Column], before: &str, quote: impl Fn(&str) -> String) -> Vec<String> {
    let clause = |column: &Column| {
        // A declared type may say so itself (MariaDB's TIMESTAMP).
        let declared = column.declared.trim_end_matches(" NULL");
        format!("{before}{} {declared} NULL", quote(&column.name))
    };
    columns.iter().map(clause).collect()
}

/// The statement that makes the journal's table: how it begins, types of a run's id, of a hash, of other text, of whole
/// numbers and of points in time, and what follows the closing parenthesis.
pub(super) fn create_journal(create: &str, types: [&str; 5], options: &str) -> String {
    let [id, hash, text, number, instant] = types;
    format!(
        "{create} (\n  run_id {id} NOT NULL,\n  entry {hash} NOT NULL,\n  \
         activity {text} NOT NULL,\n  source {hash} NOT NULL,\n  source_table {text} NOT NULL,\n  \
         target_table {text} NOT NULL,\n  filter {hash} NOT NULL,\n  shard {text} NOT NULL,\n  \
         key_range {text} NOT NULL,\n  mode {hash} NOT NULL,\n  rows_copied {number} NOT NULL,\n  \
         bytes_copied {number} NOT NULL,\n  staging {text},\n  mark {text},\n  \
         finished_at {instant} NOT NULL DEFAULT CURRENT_TIMESTAMP,\n  PRIMARY KEY (run_id, entry)\n){options}"
    )
}

/// Most characters or bytes of a cell in its native transfer, if its type bounds them.
pub(super) fn native_bound(logical: LogicalType) -> Option<usize> {
    match logical {
        LogicalType::Text { length, .. } | LogicalType::Bytes { length, .. } => length.map(|length| length as usize),
        // Sign and point.
        LogicalType::Decimal {
            precision: Some(precision),
            ..
        } => Some(usize::from(precision) + 3),
        LogicalType::Integer { .. } => Some(20),
        LogicalType::Time { .. } => Some(20),
        // With a year before Christ and an offset of seconds.
        LogicalType::Instant { .. } | LogicalType::Timestamp { .. } => Some(48),
        LogicalType::Date => Some(24),
        LogicalType::Float { .. } => Some(32),
        LogicalType::Uuid => Some(36),
        _ => None,
    }
}

/// A result's column by its ODBC type. Sizes are not believed further than a type of that size goes: text and bytes of
/// some products report made-up ones, and the reader does not depend on them.
pub(super) fn result_column(column: ResultColumn) -> Column {
    let length = u32::try_from(column.size)
        .ok()
        .filter(|size| (1..=8_000).contains(size));
    let digits = column.decimal_digits.clamp(0, 9) as u8;
    let logical = match column.sql_type {
        SqlDataType::EXT_BIT => LogicalType::Boolean,
        SqlDataType::EXT_TINY_INT => LogicalType::Integer {
            bits: 8,
            signed: !column.unsigned,
        },
        SqlDataType::SMALLINT => LogicalType::Integer {
            bits: 16,
            signed: !column.unsigned,
        },
        SqlDataType::INTEGER => LogicalType::Integer {
            bits: 32,
            signed: !column.unsigned,
        },
        SqlDataType::EXT_BIG_INT => LogicalType::Integer {
            bits: 64,
            signed: !column.unsigned,
        },
        SqlDataType::NUMERIC | SqlDataType::DECIMAL => {
            match (u16::try_from(column.size), u16::try_from(column.decimal_digits)) {
                (Ok(precision), Ok(scale)) if precision > 0 => LogicalType::decimal(precision, scale),
                _ => LogicalType::DECIMAL,
            }
        }
        SqlDataType::REAL => LogicalType::Float { bits: 32 },
        SqlDataType::FLOAT | SqlDataType::DOUBLE => LogicalType::Float { bits: 64 },
        SqlDataType::EXT_BINARY | SqlDataType::EXT_VAR_BINARY => LogicalType::Bytes { length, filled: false },
        SqlDataType::EXT_LONG_VAR_BINARY => LogicalType::BYTES,
        SqlDataType::DATE | SqlDataType::DATETIME => LogicalType::Date,
        SqlDataType::TIME | SqlDataType::EXT_TIME_OR_INTERVAL => LogicalType::Time { digits, span: false },
        SqlDataType::TIMESTAMP | SqlDataType::EXT_TIMESTAMP => LogicalType::Timestamp { digits },
        SqlDataType::EXT_GUID => LogicalType::Uuid,
        SqlDataType::CHAR | SqlDataType::EXT_W_CHAR => LogicalType::Text {
            length,
            padding: Padding::Filled,
        },
        SqlDataType::VARCHAR | SqlDataType::EXT_W_VARCHAR => LogicalType::Text {
            length,
            padding: Padding::None,
        },
        _ => LogicalType::TEXT,
    };
    Column {
        name: column.name,
        logical,
        declared: column.type_name,
        nullable: column.nullable,
        key_position: None,
        generated: false,
        from_catalog: false,
    }
}

/// The relations that a catalog query answers with: schema and name, in this order.
pub(super) fn catalog_relations(session: &Session, sql: &str) -> Result<Vec<Relation>, Error> {
    Ok(relations_of(session.text_rows(sql, &[])?))
}

/// The relations in the rows of such an answer.
pub(super) fn relations_of(rows: Vec<Vec<Option<String>>>) -> Vec<Relation> {
    let relation = |row: Vec<Option<String>>| match <[Option<String>; 2]>::try_from(row) {
        Ok([schema, Some(name)]) => Some(Relation::new(schema, name)),
        _ => None,
    };
    rows.into_iter().filter_map(relation).collect()
}

/// The foreign keys that a catalog query answers with: schema and name of the referring table, then of the referred one, the
/// key's name, its definition, and where there is such a thing, whether it is unseen.
pub(super) fn catalog_foreign_keys(session: &Session, sql: &str, parameters: &[&str]) -> Result<Vec<KeyThere>, Error> {
    let rows = session.text_rows(sql, parameters)?;
    let key = |mut row: Vec<Option<String>>| {
        let unseen = row.len() > 6 && row.pop().flatten().is_some();
        let [schema, table, referred_schema, referred, name, definition] = <[Option<String>; 6]>::try_from(row).ok()?;
        Some(KeyThere {
            name: name?,
            referring: Relation::new(schema, table?),
            referred: Relation::new(referred_schema, referred?),
            definition,
            holds: Holds::All,
            unseen,
        })
    };
    Ok(rows.into_iter().filter_map(key).collect())
}

/// These tables with their schemas; the default one is asked for where a name has none.
pub(super) fn with_schemas(
    dialect: &dyn Dialect,
    session: &Session,
    relations: &[Relation],
) -> Result<Vec<Relation>, Error> {
    let own = match relations.iter().any(|relation| relation.schema.is_none()) {
        true => dialect.default_schema(session)?,
        false => None,
    };
    Ok(relations.iter().map(|relation| relation.whole(own.as_ref())).collect())
}

/// The statements that take foreign keys away, and those that put them back.
pub(super) fn keys_make_way(dialect: &dyn Dialect, keys: &[KeyThere]) -> [Vec<String>; 2] {
    let drop = |key: &KeyThere| dialect.drop_foreign_key(&key.referring, &key.name);
    let add = |key: &KeyThere| dialect.put_foreign_key_back(key).unwrap_or_default();
    [keys.iter().map(drop).collect(), keys.iter().flat_map(add).collect()]
}

/// Such as ``index `t_a` ``, from what it is and its name.
pub(super) fn thing(row: &[Option<String>]) -> Option<String> {
    let what = row.first()?.as_ref()?;
    match row.get(1).and_then(Option::as_deref) {
        Some(name) if !name.is_empty() => Some(format!("{what} `{name}`")),
        _ => Some(what.clone()),
    }
}

/// The text that a query answers with in its first cell; `None` for NULL, or no row.
pub(super) fn one_text(session: &Session, sql: &str) -> Result<Option<String>, Error> {
    let rows = session.text_rows(sql, &[])?;
    Ok(rows.into_iter().flatten().next().flatten())
}
