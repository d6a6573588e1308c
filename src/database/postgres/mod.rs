//! PostgreSQL: its dialect, and its bulk lanes, COPY over the libpq that its driver links.

mod binary;
mod calendar;
mod client;
mod copy;
mod copy_read;
mod copy_write;
mod dependants;
mod features;
mod libpq;
mod numeric;
mod ranges;
mod settings;
mod shape;
mod snapshot;
mod text;

use std::collections::{BTreeSet, HashMap};

#[cfg(test)]
mod listed;

use super::{
    Class, Column, Counter, Dependants, Dialect, Error, Features, Form, Holds, KeyThere, Kind, Limits, LoadSteps,
    LockName, LogicalType, MergeSteps, Merging, Mode, Padding, Purpose, Ranges, ReadAs, ReadLane, Relation,
    RelaxedCommits, Savepoint, Shaping, Table, TableLock, Transfer, Unchecked, WriteAs, WriteLane, generic,
};
use crate::odbc::{Diagnostic, ResultColumn, Session};

/// PostgreSQL through psqlodbc.
pub(super) struct Postgres;

/// The columns of tables, in order, with schema and name, the rows that the last ANALYZE has found, and whether it is a plain
/// table behind; schemas and names are asked for as arrays. `attgenerated` is found in `older` where the server does not have
/// it, before PostgreSQL 12.
const COLUMNS: &str = "\
SELECT a.attname, format_type(a.atttypid, a.atttypmod), coalesce(b.typname, t.typname), \
  CASE WHEN b.oid IS NULL THEN a.atttypmod ELSE t.typtypmod END, CAST(a.attnotnull AS int), \
  CAST(a.attgenerated <> '' AS int), array_position(CAST(i.indkey AS int2[]), a.attnum) + 1, \
  n.nspname, c.relname, CASE WHEN c.relkind IN ('r', 'm') AND c.reltuples > 0 THEN CAST(c.reltuples AS bigint) END, \
  CASE WHEN c.relkind = 'r' AND NOT c.relhassubclass AND NOT c.relrowsecurity THEN 1 END, c.relkind, \
  counter.name, counter.increment, CASE WHEN counter.increment > 0 THEN counter.maximum_value ELSE counter.minimum_value END \
FROM unnest(CAST(? AS text[]), CAST(? AS text[])) AS asked (nspname, relname) \
  JOIN pg_namespace n ON n.nspname = asked.nspname JOIN pg_class c ON c.relnamespace = n.oid \
  AND c.relname = asked.relname CROSS JOIN (SELECT CAST('' AS \"char\") AS attgenerated) AS older \
  CROSS JOIN LATERAL (SELECT o.attname, o.attnum, o.atttypid, o.atttypmod, o.attnotnull, attgenerated \
    FROM pg_attribute o WHERE o.attrelid = c.oid AND o.attnum > 0 AND NOT o.attisdropped) AS a \
  JOIN pg_type t ON t.oid = a.atttypid LEFT JOIN pg_type b ON b.oid = t.typbasetype AND t.typtype = 'd' \
  LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary \
  LEFT JOIN LATERAL (SELECT format('%I.%I', qn.nspname, q.relname) AS name, p.increment, p.minimum_value, p.maximum_value \
    FROM pg_depend x JOIN pg_class q ON q.oid = x.objid AND q.relkind = 'S' JOIN pg_namespace qn ON qn.oid = q.relnamespace \
      CROSS JOIN LATERAL pg_sequence_parameters(CASE WHEN has_sequence_privilege(q.oid, 'SELECT') \
        AND has_sequence_privilege(q.oid, 'UPDATE') THEN q.oid END) AS p \
    WHERE x.classid = CAST('pg_class' AS regclass) AND x.refclassid = CAST('pg_class' AS regclass) \
      AND x.refobjid = c.oid AND x.refobjsubid = a.attnum AND x.deptype IN ('a', 'i') LIMIT 1) AS counter ON true \
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY a.attnum";

/// About how large tables are, those that inherit from them or are their partitions included; asked for as above. From
/// statistics alone: the functions that look at files wait for whoever has locked a table. Pages are those of the last
/// VACUUM or ANALYZE, rows are counted as they come. Nothing known of a table: NULL.
const SIZES: &str = "\
WITH RECURSIVE part (nspname, relname, oid) AS (SELECT n.nspname, c.relname, c.oid \
  FROM unnest(CAST(? AS text[]), CAST(? AS text[])) AS asked (nspname, relname) \
    JOIN pg_namespace n ON n.nspname = asked.nspname JOIN pg_class c ON c.relnamespace = n.oid \
    AND c.relname = asked.relname WHERE c.relkind IN ('r', 'p', 'm') \
  UNION SELECT part.nspname, part.relname, i.inhrelid FROM part JOIN pg_inherits i ON i.inhparent = part.oid) \
SELECT part.nspname, part.relname, NULLIF(CAST(sum(greatest( \
    (greatest(c.relpages, 0) + greatest(l.relpages, 0)) * CAST(current_setting('block_size') AS bigint), \
    pg_stat_get_live_tuples(c.oid) * (24 + 16 * c.relnatts) + coalesce(pg_stat_get_live_tuples(l.oid), 0) * 2000)) \
  AS bigint), 0) \
FROM part JOIN pg_class c ON c.oid = part.oid LEFT JOIN pg_class l ON l.oid = c.reltoastrelid GROUP BY 1, 2";
/// Columns that forbid NULL and that neither a default, a counter, a type nor a trigger fills; asked for as above.
const REQUIRED: &str = "\
SELECT a.attname FROM unnest(CAST(? AS text[]), CAST(? AS text[])) AS asked (nspname, relname) \
  JOIN pg_namespace n ON n.nspname = asked.nspname JOIN pg_class c ON c.relnamespace = n.oid \
  AND c.relname = asked.relname JOIN pg_attribute a ON a.attrelid = c.oid JOIN pg_type t ON t.oid = a.atttypid \
WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attnotnull AND NOT a.atthasdef AND t.typdefault IS NULL \
  AND coalesce(to_jsonb(a) ->> 'attidentity', '') = '' \
  AND NOT EXISTS (SELECT 1 FROM pg_trigger g WHERE g.tgrelid = c.oid AND NOT g.tgisinternal AND g.tgtype & 7 = 7) \
ORDER BY a.attnum";

const RELATIONS: &str = "\
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition AND n.nspname <> 'information_schema' \
  AND n.nspname NOT LIKE 'pg\\_%' ORDER BY 1, 2";

/// A key that was put back unseen has [`UNSEEN`] as its comment: others may be NOT VALID because the user wants it so.
const FOREIGN_KEYS: &str = "\
SELECT n.nspname, c.relname, rn.nspname, rc.relname, k.conname, pg_get_constraintdef(k.oid), \
  CASE WHEN NOT k.convalidated AND obj_description(k.oid, 'pg_constraint') = 'put back by dray, rows not looked at yet' \
    THEN 1 END FROM pg_constraint k \
JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace \
JOIN pg_class rc ON rc.oid = k.confrelid JOIN pg_namespace rn ON rn.oid = rc.relnamespace WHERE k.contype = 'f'";

/// See [`FOREIGN_KEYS`].
const UNSEEN: &str = "put back by dray, rows not looked at yet";

/// Answers if commits wait for the disk and [`SETTLE`] can be run: from PostgreSQL 9.6 on, and not by products that only
/// speak its protocol.
const CAN_SETTLE: &str = "\
SELECT 1 FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
WHERE n.nspname = 'pg_catalog' AND p.proname = 'pg_logical_emit_message' AND p.proargtypes[2] = 25 \
  AND pg_catalog.has_function_privilege(p.oid, 'EXECUTE') \
  AND pg_catalog.current_setting('synchronous_commit') <> 'off'";

/// Writes a few bytes to the log in a transaction of its own, whose commit waits until the log is safe up to there; one that
/// has written nothing would not wait.
const SETTLE: &str = "SELECT pg_catalog.pg_logical_emit_message(true, 'dray', '')";

/// Names of relations, which an index has as well as a table; an index goes with its table, and a sequence with the table of
/// its column.
const TAKEN_NAMES: &str = "\
SELECT n.nspname, c.relname, t.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
  LEFT JOIN pg_index i ON i.indexrelid = c.oid \
  LEFT JOIN pg_depend d ON c.relkind = 'S' AND d.classid = CAST('pg_class' AS regclass) AND d.objid = c.oid \
    AND d.deptype IN ('a', 'i') LEFT JOIN pg_class t ON t.oid = coalesce(i.indrelid, d.refobjid) \
WHERE n.nspname = ANY (CAST(? AS text[]))";

impl Dialect for Postgres {
    fn name(&self) -> &'static str {
        "postgres"
    }

    fn version_query(&self) -> Option<&'static str> {
        // psqlodbc puts the digits into three places, as versions had them before 10: 15.0.18 for 15.18.
        Some("SHOW server_version")
    }

    fn is_product(&self, dbms_name: &str) -> bool {
        dbms_name.eq_ignore_ascii_case("PostgreSQL")
    }

    fn is_driver(&self, file_name: &str) -> bool {
        file_name.contains("psqlodbc")
    }

    fn connection_options(&self, purpose: Purpose) -> &'static [(&'static str, &'static str)] {
        match purpose {
            // Without a cursor at the server the driver keeps the whole result in memory; with one, as many rows as
            // `Fetch`, or as a block has if that are more (psqlodbc, `QR_next_tuple`): blocks fit the values' lengths.
            Purpose::Read => &[
                ("UseDeclareFetch", "1"),
                ("Fetch", "1"),
                ("BoolsAsChar", "0"),
                ("LFConversion", "0"),
                ("Protocol", "7.4-0"),
            ],
            // `7.4-0`: a failed statement fails the transaction, as the server has it. The driver's default wraps each
            // statement in a savepoint. `BatchSize` 1: prepared statements at the server; more than one makes the
            // driver write values into the SQL text itself.
            Purpose::Write | Purpose::Script => &[
                ("BoolsAsChar", "0"),
                ("LFConversion", "0"),
                ("Protocol", "7.4-0"),
                ("BatchSize", "1"),
            ],
        }
    }

    fn session_setup(&self, purpose: Purpose) -> &'static [&'static str] {
        match purpose {
            Purpose::Script => &["SET TimeZone = 'UTC'"],
            // Floats with all their digits (PostgreSQL 11 and before), dates as ISO 8601 whatever the role has set.
            Purpose::Read | Purpose::Write => &["SET extra_float_digits = 3", "SET DateStyle = 'ISO, MDY'"],
        }
    }

    fn default_schema(&self, session: &Session) -> Result<Option<String>, Error> {
        generic::one_text(session, "SELECT current_schema()")
    }

    fn reach(&self, session: &Session, relations: &[Relation]) -> Result<Vec<Result<Relation, String>>, Error> {
        let own = generic::one_text(session, "SELECT current_database()")?;
        let reach = |relation: &Relation| match (&relation.server, &relation.catalog) {
            (None, None) => Ok(relation.clone()),
            (None, catalog) if *catalog == own => Ok(relation.within_database()),
            _ => Err(format!(
                "table name `{relation}` is not of the connection's database, `{}`, and PostgreSQL reads no other on one \
                 connection: make a connection of its own to it",
                own.as_deref().unwrap_or_default()
            )),
        };
        Ok(relations.iter().map(reach).collect())
    }

    fn relations(&self, session: &Session, _catalog: Option<&str>) -> Result<Vec<Relation>, Error> {
        generic::catalog_relations(session, RELATIONS)
    }

    fn table(&self, session: &Session, relation: &Relation) -> Result<Option<Table>, Error> {
        let tables = self.tables(session, std::slice::from_ref(relation))?;
        Ok(tables.into_iter().flatten().flatten().next())
    }

    fn tables(&self, session: &Session, relations: &[Relation]) -> Result<Option<Vec<Option<Table>>>, Error> {
        let asked = self.asked(session, relations)?;
        let rows = session.text_rows(COLUMNS, &[&asked.schemas, &asked.names])?;
        let mut found: HashMap<Relation, Table> = HashMap::new();
        for row in rows {
            let (Some(column), Some(table)) = (row.get(..7), row.get(7..9).and_then(relation)) else {
                continue;
            };
            let table = found.entry(table).or_default();
            if let Some(Some(name)) = row.get(12) {
                let number = |place: usize| row.get(place)?.as_ref()?.parse::<i64>().ok();
                table.counters.push(Counter {
                    column: column.first().cloned().flatten().unwrap_or_default(),
                    name: name.clone(),
                    step: number(13).zip(number(14)),
                });
            }
            table.columns.push(catalog_column(column));
            table.estimated_rows = row.get(9).and_then(Option::as_deref).and_then(|rows| rows.parse().ok());
            table.is_plain = row.get(10).is_some_and(Option::is_some);
            table.kind = row.get(11).and_then(Option::as_deref).and_then(kind);
        }
        Ok(Some(
            asked
                .relations
                .iter()
                .map(|relation| found.get(relation).cloned())
                .collect(),
        ))
    }

    fn estimated_bytes(&self, session: &Session, relations: &[Relation]) -> Result<Vec<Option<u64>>, Error> {
        let asked = self.asked(session, relations)?;
        let rows = session.text_rows(SIZES, &[&asked.schemas, &asked.names])?;
        let size =
            |row: Vec<Option<String>>| Some((relation(row.get(..2)?)?, row.get(2)?.as_ref()?.parse::<u64>().ok()?));
        let sizes: HashMap<Relation, u64> = rows.into_iter().filter_map(size).collect();
        Ok(asked
            .relations
            .iter()
            .map(|relation| sizes.get(relation).copied())
            .collect())
    }

    fn relaxed_commits(&self, session: &Session) -> Result<Option<RelaxedCommits>, Error> {
        let rows = session.text_rows(CAN_SETTLE, &[])?;
        Ok((!rows.is_empty()).then_some(RelaxedCommits {
            setup: "SET synchronous_commit = off",
            settle: SETTLE,
        }))
    }

    fn foreign_keys(&self, session: &Session, _tables: &[Relation]) -> Result<Vec<KeyThere>, Error> {
        let mut keys = generic::catalog_foreign_keys(session, FOREIGN_KEYS, &[])?;
        for key in &mut keys {
            if key.definition.as_ref().is_some_and(|sql| sql.ends_with("NOT VALID")) {
                key.holds = Holds::New;
            }
        }
        Ok(keys)
    }

    fn dependants(&self, session: &Session, relations: &[Relation]) -> Result<Vec<Dependants>, Error> {
        dependants::dependants(session, &self.asked(session, relations)?)
    }

    fn features(&self, session: &Session, relations: &[Relation]) -> Result<Vec<Features>, Error> {
        features::features(session, &self.asked(session, relations)?)
    }

    fn shaping(&self) -> Option<&dyn Shaping> {
        Some(self)
    }

    fn taken_names(&self, session: &Session, schemas: &[String]) -> Result<Vec<(Relation, Option<String>)>, Error> {
        let rows = session.text_rows(TAKEN_NAMES, &[&array(&mut schemas.iter().map(String::as_str))])?;
        let taken = |row: Vec<Option<String>>| Some((relation(row.get(..2)?)?, row.get(2).cloned().flatten()));
        Ok(rows.into_iter().filter_map(taken).collect())
    }

    fn unchecked(&self, _session: &Session, _relation: &Relation) -> Result<Result<Unchecked, String>, Error> {
        Ok(Err("PostgreSQL looks at them whoever loads the table".to_owned()))
    }

    fn around_removal(&self, keys: &[KeyThere]) -> Option<[Vec<String>; 2]> {
        // TRUNCATE refuses a table that others refer to, and the rows that go may be referred to until those tables are
        // loaded as well: the keys are put back in the same transaction, and their rows looked at later.
        Some(generic::keys_make_way(self, keys))
    }

    fn put_foreign_key_back(&self, key: &KeyThere) -> Option<Vec<String>> {
        let (table, name) = (self.quote_relation(&key.referring), self.quote(&key.name));
        let mut statements = self.make_foreign_key(key)?;
        if key.holds == Holds::All {
            statements.iter_mut().for_each(|add| add.push_str(" NOT VALID"));
        }
        // Else it is as the user has it.
        if key.holds == Holds::All || key.unseen {
            let comment = format!("COMMENT ON CONSTRAINT {name} ON {table} IS {}", self.literal(UNSEEN));
            statements.push(comment);
        }
        Some(statements)
    }

    fn validate_foreign_key(&self, table: &Relation, name: &str) -> Vec<String> {
        let (table, name) = (self.quote_relation(table), self.quote(name));
        vec![
            format!("ALTER TABLE {table} VALIDATE CONSTRAINT {name}"),
            format!("COMMENT ON CONSTRAINT {name} ON {table} IS NULL"),
        ]
    }

    fn result_column(&self, column: ResultColumn) -> Column {
        // The driver makes up sizes (numeric without one is `(28,6)`), so a query's types have none.
        let logical = match logical_type(&column.type_name, -1) {
            // The driver has names of its own (`timestamp without time zone`), `unknown` (jsonb) and none (interval).
            LogicalType::Opaque => match generic::result_column(column.clone()).logical {
                LogicalType::Timestamp { .. } => LogicalType::Timestamp { digits: 6 },
                _ => LogicalType::Opaque,
            },
            logical => logical,
        };
        Column {
            logical,
            ..generic::result_column(column)
        }
    }

    fn read_as(&self, column: &Column) -> ReadAs {
        let name = self.quote(&column.name);
        let (expression, transfer) = match column.logical {
            // By way of integers: the driver would make `t` and `f` or `1` and `0` of them, after its options.
            LogicalType::Boolean => (format!("CAST({name} AS int)"), Transfer::Native),
            LogicalType::Integer { .. } | LogicalType::Bytes { .. } => (name, Transfer::Native),
            // Not cast: char(n) as text loses its trailing spaces.
            LogicalType::Text { .. } => (name, Transfer::Native),
            // The driver would read a float4's short text as a float8: 0.1 instead of 0.100000001.
            LogicalType::Float { bits: 32 } => (format!("CAST(CAST({name} AS float8) AS text)"), Transfer::Text),
            // As the server writes them: the driver would cut years, `infinity`, and digits.
            _ => (format!("CAST({name} AS text)"), Transfer::Text),
        };
        ReadAs {
            expression,
            transfer,
            bound: generic::native_bound(column.logical),
        }
    }

    fn write_as(&self, column: &Column) -> WriteAs {
        // Casts name a type without its size: an explicit cast to varchar(n) or numeric(p,s) cuts and rounds in silence,
        // the assignment to the column that follows does not.
        let (expression, form) = match column.logical {
            LogicalType::Boolean => ("CAST(CAST(? AS int) AS boolean)".to_owned(), Form::I64),
            LogicalType::Integer { .. } => ("CAST(? AS bigint)".to_owned(), Form::I64),
            LogicalType::Decimal { .. } => ("CAST(? AS numeric)".to_owned(), Form::Text),
            LogicalType::Float { bits: 32 } => ("CAST(? AS real)".to_owned(), Form::Text),
            LogicalType::Float { .. } => ("CAST(? AS double precision)".to_owned(), Form::Text),
            LogicalType::Text { .. } => ("CAST(? AS text)".to_owned(), Form::Text),
            LogicalType::Bytes { .. } => ("?".to_owned(), Form::Bytes),
            LogicalType::Date => ("CAST(? AS date)".to_owned(), Form::Text),
            LogicalType::Time { .. } => ("CAST(? AS time)".to_owned(), Form::Text),
            LogicalType::Timestamp { .. } => ("CAST(? AS timestamp)".to_owned(), Form::Text),
            LogicalType::Instant { .. } => ("CAST(? AS timestamptz)".to_owned(), Form::Text),
            LogicalType::Uuid => ("CAST(? AS uuid)".to_owned(), Form::Text),
            LogicalType::Json { normalized: false } => ("CAST(? AS json)".to_owned(), Form::Text),
            LogicalType::Json { normalized: true } => ("CAST(? AS jsonb)".to_owned(), Form::Text),
            LogicalType::Opaque => (format!("CAST(? AS {})", without_size(&column.declared)), Form::Text),
        };
        WriteAs { expression, form }
    }

    fn nul_in_parameters(&self) -> bool {
        // No text of PostgreSQL holds one.
        false
    }

    fn declare(&self, column: &Column) -> Result<(String, LogicalType), String> {
        let declared = match column.logical {
            LogicalType::Boolean => "boolean".to_owned(),
            LogicalType::Integer { bits, signed } => match (bits, signed) {
                (8, _) | (16, true) => "smallint".to_owned(),
                (16 | 24, false) | (24 | 32, true) => "integer".to_owned(),
                (64, false) => return Ok(("numeric(20,0)".to_owned(), LogicalType::decimal(20, 0))),
                _ => "bigint".to_owned(),
            },
            LogicalType::Decimal {
                precision: Some(precision),
                scale: Some(scale),
                ..
            } if precision <= 1_000 => {
                format!("numeric({precision},{scale})")
            }
            LogicalType::Decimal { .. } => "numeric".to_owned(),
            LogicalType::Float { bits: 32 } => "real".to_owned(),
            LogicalType::Float { .. } => "double precision".to_owned(),
            LogicalType::Text {
                length: Some(length),
                padding: Padding::Filled,
            } => format!("char({length})"),
            LogicalType::Text {
                length: Some(length), ..
            } if length <= 10_485_760 => format!("varchar({length})"),
            LogicalType::Text { .. } | LogicalType::Opaque => "text".to_owned(),
            LogicalType::Bytes { .. } => "bytea".to_owned(),
            LogicalType::Date => "date".to_owned(),
            LogicalType::Time { digits, .. } => format!("time({})", digits.min(6)),
            LogicalType::Timestamp { digits } => format!("timestamp({})", digits.min(6)),
            LogicalType::Instant { digits, .. } => format!("timestamptz({})", digits.min(6)),
            LogicalType::Uuid => "uuid".to_owned(),
            LogicalType::Json { normalized: false } => "json".to_owned(),
            LogicalType::Json { normalized: true } => "jsonb".to_owned(),
        };
        let (base, size) = declared.split_once('(').unwrap_or((&declared, ""));
        let logical = match column.logical {
            LogicalType::Integer { .. } => match base {
                "smallint" => LogicalType::Integer { bits: 16, signed: true },
                "integer" => LogicalType::Integer { bits: 32, signed: true },
                _ => LogicalType::Integer { bits: 64, signed: true },
            },
            LogicalType::Decimal { .. } if size.is_empty() => LogicalType::DECIMAL,
            LogicalType::Decimal { precision, scale, .. } => LogicalType::Decimal {
                precision,
                scale,
                kept_digits: None,
            },
            LogicalType::Text {
                length,
                padding: Padding::Stripped,
            } => LogicalType::Text {
                length,
                padding: Padding::None,
            },
            LogicalType::Bytes { .. } => LogicalType::BYTES,
            LogicalType::Time { digits, .. } => LogicalType::Time {
                digits: digits.min(6),
                span: false,
            },
            LogicalType::Timestamp { digits } => LogicalType::Timestamp { digits: digits.min(6) },
            LogicalType::Instant { digits, .. } => LogicalType::Instant {
                digits: digits.min(6),
                epoch_32: false,
            },
            LogicalType::Opaque => LogicalType::TEXT,
            other => other,
        };
        Ok((declared, logical))
    }

    fn limits(&self) -> Limits {
        Limits {
            nul_in_text: false,
            nan: true,
            infinity: true,
            // From 4713 BC; the engine's dates end with 9999.
            years: -4712..=9999,
            instants_as_utc: false,
            infinite_dates: true,
            zero_dates: false,
            decimal_nan: true,
            // Since PostgreSQL 14; an older one refuses it itself.
            decimal_infinity: true,
            keeps_declared_sizes: true,
        }
    }

    fn insert_option(&self) -> &'static str {
        // Without it a value for a GENERATED ALWAYS AS IDENTITY column is refused; elsewhere it does nothing.
        " OVERRIDING SYSTEM VALUE"
    }

    fn add_columns(&self, relation: &Relation, columns: &[Column]) -> Option<Vec<String>> {
        let clauses = generic::added_columns(columns, "ADD COLUMN ", |name| self.quote(name));
        Some(vec![format!(
            "ALTER TABLE {} {}",
            self.quote_relation(relation),
            clauses.join(", ")
        )])
    }

    fn move_counter(&self, relation: &Relation, counter: &Counter) -> Option<String> {
        let (step, last) = counter.step?;
        let (table, column) = (self.quote_relation(relation), self.quote(&counter.column));
        let (farthest, beyond, within) = if step > 0 {
            ("max", ">", "<=")
        } else {
            ("min", "<", ">=")
        };
        Some(format!(
            "SELECT pg_catalog.setval({}, CAST(numbers.farthest AS bigint)) \
             FROM (SELECT {farthest}({column}) AS farthest FROM {table}) AS numbers CROSS JOIN {} AS counter \
             WHERE numbers.farthest {within} {last} AND (numbers.farthest {beyond} counter.last_value \
               OR numbers.farthest = counter.last_value AND NOT counter.is_called)",
            self.literal(&counter.name),
            counter.name
        ))
    }

    fn required_columns(&self, session: &Session, relation: &Relation) -> Result<Vec<String>, Error> {
        let asked = self.asked(session, std::slice::from_ref(relation))?;
        let rows = session.text_rows(REQUIRED, &[&asked.schemas, &asked.names])?;
        Ok(rows.into_iter().flatten().flatten().collect())
    }

    fn load_steps(
        &self,
        mode: Mode,
        exists: bool,
        target: &Relation,
        staging: &Relation,
        create: &dyn Fn(&Relation) -> String,
    ) -> LoadSteps {
        let quoted = self.quote_relation(target);
        let schemas = staging.schema.as_ref().zip(target.schema.as_ref());
        let Some((apart, home)) = schemas.filter(|(apart, home)| apart != home) else {
            return generic::transactional_steps(mode, exists, &quoted, &create(target), "TRUNCATE TABLE");
        };
        let (apart, home) = (self.quote(apart), self.quote(home));
        LoadSteps {
            before: vec![format!("CREATE SCHEMA {apart}"), create(staging)],
            staging: Some(staging.clone()),
            // DROP without CASCADE: the table stays if something has come to need it since that was looked at.
            after: vec![
                format!("DROP TABLE {quoted}"),
                format!("ALTER TABLE {} SET SCHEMA {home}", self.quote_relation(staging)),
                format!("DROP SCHEMA {apart}"),
            ],
            ..LoadSteps::default()
        }
    }

    fn staging(&self, session: &Session, target: &Relation, free: &Relation) -> Result<Relation, Error> {
        // Under its own name in a schema of its own, so that its indexes, constraints and sequences have the names that they
        // are to have, which those of the old table have in the target's schema until the end.
        let may_create = "SELECT 1 WHERE pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')";
        let may_create = !session.text_rows(may_create, &[])?.is_empty();
        let (_, tag) = free.name.rsplit_once("__").unwrap_or_default();
        let apart = Relation::new(Some(tag.to_owned()), target.name.clone());
        Ok(if may_create && !tag.is_empty() {
            apart
        } else {
            target.clone()
        })
    }

    #[cfg(test)]
    fn listed_types(&self) -> Vec<Column> {
        listed::columns()
    }

    fn ordered(&self, sql: &str, column: &Column) -> Option<String> {
        match column.logical {
            LogicalType::Integer { .. }
            | LogicalType::Decimal { .. }
            | LogicalType::Date
            | LogicalType::Timestamp { .. }
            | LogicalType::Instant { .. }
            | LogicalType::Uuid => Some(sql.to_owned()),
            // As text, `char(n)` is without its filling.
            LogicalType::Text { .. } => Some(format!("CAST({sql} AS text) COLLATE \"C\"")),
            _ => None,
        }
    }

    fn literal(&self, text: &str) -> String {
        // Whatever `standard_conforming_strings` is.
        match text.contains('\\') {
            true => format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''")),
            false => format!("'{}'", text.replace('\'', "''")),
        }
    }

    fn table_lock(&self, LockName(number): LockName, _catalog: Option<&str>) -> Option<TableLock> {
        // An advisory lock of the transaction, under the 64 bits as a number with a sign; pg_locks shows them in halves.
        let (signed, high, low) = (number.cast_signed(), number >> 32, number & 0xffff_ffff);
        Some(TableLock {
            take: format!("SELECT CAST(pg_catalog.pg_try_advisory_xact_lock({signed}) AS int)"),
            holder: format!(
                "SELECT 'server process ' || l.pid || coalesce(' for ' || host(a.client_addr), '') \
                   || coalesce(', connected ' || date_trunc('second', a.backend_start), '') \
                 FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid \
                 WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
                   AND CAST(l.classid AS bigint) = {high} AND CAST(l.objid AS bigint) = {low} AND l.database = \
                     (SELECT oid FROM pg_catalog.pg_database WHERE datname = current_database())"
            ),
            release: None,
        })
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
        let create = ("TEMPORARY TABLE", " ON COMMIT DROP");
        Some(merging.on_conflict(self, "pg_temp", create, self.insert_option()))
    }

    fn greatest(&self, column: &str) -> Option<String> {
        Some(format!("CAST(MAX({column}) AS text)"))
    }

    fn earlier(&self, literal: &str, logical: LogicalType, seconds: u64) -> String {
        let declared = match logical {
            LogicalType::Instant { .. } => "timestamptz",
            _ => "timestamp",
        };
        format!("(CAST({literal} AS {declared}) - INTERVAL '{seconds} seconds')")
    }

    fn create_journal(&self, journal: &Relation) -> Option<String> {
        Some(generic::create_journal(
            &format!("CREATE TABLE IF NOT EXISTS {}", self.quote_relation(journal)),
            ["varchar(255)", "varchar(64)", "text", "bigint", "timestamptz"],
            "",
        ))
    }

    fn classify(&self, diagnostic: &Diagnostic) -> Class {
        // psqlodbc 13.02 has HY000 and a text of its own where the server went away, by what it was doing; and 08001 for
        // whatever a server says to who wants to connect.
        const LOST: [&str; 7] = [
            "connection has been lost",
            "server closed the connection",
            "connection is down",
            "connection lost",
            "communication down",
            "ommunication error",
            "Connection broken",
        ];
        const NOT_READY: [&str; 5] = [
            "system is starting up",
            "system is shutting down",
            "in recovery mode",
            "too many clients already",
            "remaining connection slots",
        ];
        match diagnostic.sqlstate.as_str() {
            "08001" if NOT_READY.iter().any(|words| diagnostic.message.contains(words)) => Class::NotReady,
            "HY000" if LOST.iter().any(|words| diagnostic.message.contains(words)) => Class::ConnectionLost,
            sqlstate => Class::of_sqlstate(sqlstate),
        }
    }

    fn read_lanes(&self) -> &'static [&'static dyn ReadLane] {
        &[&copy_read::CopyRead, &generic::OdbcRead]
    }

    fn savepoint(&self) -> Option<Savepoint> {
        Some(Savepoint::STANDARD)
    }

    fn write_lanes(&self) -> &'static [&'static dyn WriteLane] {
        &[&copy_write::CopyWrite, &generic::OdbcWrite]
    }

    fn without_values(&self, message: &str) -> String {
        let end = ["; DETAIL:", " DETAIL:", "; CONTEXT:", " CONTEXT:"]
            .iter()
            .filter_map(|mark| message.find(mark))
            .min();
        let mut text = message[..end.unwrap_or(message.len())].to_owned();
        // `invalid input syntax for type integer: "…"`, `value "…" is out of range`.
        for mark in [": \"", "value \""] {
            if let Some(start) = text.find(mark).map(|start| start + mark.len())
                && let Some(length) = text[start..].rfind('"')
            {
                text.replace_range(start..start + length, "…");
            }
        }
        text
    }
}

/// Relations as a catalog query takes them.
struct Asked {
    /// With their schemas.
    relations: Vec<Relation>,
    /// As array literals.
    schemas: String,
    names: String,
}

impl Postgres {
    fn asked(&self, session: &Session, relations: &[Relation]) -> Result<Asked, Error> {
        let relations = generic::with_schemas(self, session, relations)?;
        // Each once: of a table that is named twice every row of the answers would come twice.
        let distinct: BTreeSet<&Relation> = relations.iter().collect();
        let mut schemas = distinct
            .iter()
            .map(|relation| relation.schema.as_deref().unwrap_or_default());
        Ok(Asked {
            schemas: array(&mut schemas),
            names: array(&mut distinct.iter().map(|relation| relation.name.as_str())),
            relations,
        })
    }
}

/// Texts as the literal of an array.
fn array(texts: &mut dyn Iterator<Item = &str>) -> String {
    let quote = |text: &str| format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""));
    format!("{{{}}}", texts.map(quote).collect::<Vec<_>>().join(","))
}

/// A relation from the cells of its schema and name.
fn relation(cells: &[Option<String>]) -> Option<Relation> {
    match cells {
        [schema, Some(name)] => Some(Relation::new(schema.clone(), name.clone())),
        _ => None,
    }
}

/// A type's name as an explicit cast takes it so that the cast neither cuts nor pads.
fn without_size(declared: &str) -> String {
    if declared == "bit" || declared.starts_with("bit(") {
        // `bit` alone means bit(1).
        return "pg_catalog.\"bit\"".to_owned();
    }
    match (declared.find('('), declared.find(')')) {
        (Some(start), Some(end)) if start < end => format!("{}{}", &declared[..start], &declared[end + 1..]),
        _ => declared.to_owned(),
    }
}

/// What a relation is that is no table, by its letter in `pg_class`.
fn kind(letter: &str) -> Option<Kind> {
    let what = match letter {
        "v" => "a view",
        "m" => "a materialized view",
        "f" => "a foreign table",
        _ => return None,
    };
    Some(Kind { what, emptied: false })
}

/// A column from a row of [`COLUMNS`].
fn catalog_column(row: &[Option<String>]) -> Column {
    let cell = |position: usize| row.get(position).and_then(Option::as_deref).unwrap_or_default();
    Column {
        name: cell(0).to_owned(),
        logical: logical_type(cell(2), cell(3).parse().unwrap_or(-1)),
        declared: cell(1).to_owned(),
        nullable: cell(4) == "0",
        key_position: cell(6).parse().ok(),
        generated: cell(5) == "1",
        from_catalog: true,
    }
}

/// A type by its name in pg_type and its modifier (pg_attribute.atttypmod; -1: none).
fn logical_type(type_name: &str, modifier: i32) -> LogicalType {
    // Lengths count four bytes of a header.
    let length = u32::try_from(modifier - 4).ok().filter(|length| *length > 0);
    let digits = u8::try_from(modifier).unwrap_or(6);
    match type_name {
        "bool" => LogicalType::Boolean,
        "int2" => LogicalType::Integer { bits: 16, signed: true },
        "int4" => LogicalType::Integer { bits: 32, signed: true },
        "int8" => LogicalType::Integer { bits: 64, signed: true },
        "oid" => LogicalType::Integer {
            bits: 32,
            signed: false,
        },
        "numeric" => match u32::try_from(modifier - 4) {
            Ok(packed) => {
                // Eleven bits with a sign; since PostgreSQL 15 a scale may be negative or beyond the precision.
                let scale = ((packed & 0x7ff) as i32 ^ 1024) - 1024;
                match (u16::try_from(packed >> 16 & 0xffff), u16::try_from(scale)) {
                    // The whole part is empty, which the server sees to.
                    (Ok(precision), Ok(scale)) => LogicalType::decimal(precision.max(scale), scale),
                    // Rounds whole numbers in silence, so that only its own kind goes into it.
                    _ => LogicalType::Opaque,
                }
            }
            Err(_) => LogicalType::DECIMAL,
        },
        "float4" => LogicalType::Float { bits: 32 },
        "float8" => LogicalType::Float { bits: 64 },
        "varchar" => LogicalType::Text {
            length,
            padding: Padding::None,
        },
        "bpchar" | "char" if length.is_some() => LogicalType::Text {
            length,
            padding: Padding::Filled,
        },
        // `name` is not among them: it cuts what is put into it at 63 bytes.
        "text" | "citext" | "bpchar" => LogicalType::TEXT,
        "bytea" => LogicalType::BYTES,
        "date" => LogicalType::Date,
        "time" => LogicalType::Time { digits, span: false },
        "timestamp" => LogicalType::Timestamp { digits },
        "timestamptz" => LogicalType::Instant {
            digits,
            epoch_32: false,
        },
        "uuid" => LogicalType::Uuid,
        "json" => LogicalType::Json { normalized: false },
        "jsonb" => LogicalType::Json { normalized: true },
        _ => LogicalType::Opaque,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_types_modifier_becomes_its_size() {
        let numeric = |precision: i32, scale: i32| logical_type("numeric", (precision << 16 | scale & 0x7ff) + 4);
        assert_eq!(numeric(20, 4), LogicalType::decimal(20, 4));
        assert_eq!(numeric(3, 5), LogicalType::decimal(5, 5));
        assert_eq!(numeric(5, -2), LogicalType::Opaque);
        assert_eq!(logical_type("numeric", -1), LogicalType::DECIMAL);
        let varchar = LogicalType::Text {
            length: Some(20),
            padding: Padding::None,
        };
        assert_eq!(logical_type("varchar", 24), varchar);
        assert_eq!(logical_type("varchar", -1), LogicalType::TEXT);
        assert_eq!(logical_type("timestamp", 3), LogicalType::Timestamp { digits: 3 });
    }

    #[test]
    fn a_cast_never_names_a_size() {
        assert_eq!(without_size("interval(3)"), "interval");
        assert_eq!(without_size("bit(8)"), "pg_catalog.\"bit\"");
        assert_eq!(without_size("character varying(5)[]"), "character varying[]");
    }

    #[test]
    fn messages_lose_the_values_that_the_server_repeats() {
        let cases = [
            (
                "ERROR: invalid input syntax for type integer: \"secret\"",
                "invalid input syntax for type integer: \"…\"",
            ),
            (
                "ERROR: value \"99\" is out of range for type integer",
                "value \"…\" is out of range for type integer",
            ),
            (
                "ERROR: duplicate key value violates unique constraint \"t_pkey\"; DETAIL: Key (id)=(secret) exists.",
                "unique constraint \"t_pkey\"",
            ),
        ];
        for (message, kept) in cases {
            let text = Postgres.without_values(message);
            assert!(text.contains(kept) && !text.contains("secret"), "{text}");
        }
    }
}
