//! SQL Server and Azure SQL: one dialect, through Microsoft's driver or FreeTDS.
//!
//! Both drivers give the same product; what differs is how values travel, since FreeTDS changes some of them on the way
//! (its dates before 1753, its fractions of seconds): there, times go as text that the server reads and writes. DDL and
//! TRUNCATE are part of a transaction, so a load is one: a new table is loaded under another name and takes the old
//! one's place before the commit, that whoever reads it waits for the swap alone.

mod bcp;
mod bcp_cells;
mod bcp_rows;
mod bcp_target;
mod bcp_types;
mod bcp_write;
mod catalog;
mod checks;
mod code_pages;
mod features;
#[cfg(test)]
mod listed;
mod messages;
mod query;
mod ranges;
mod read;
mod shape;
mod snapshot;
mod types;

use super::{
    Class, Column, Dependants, Dialect, Error, Features, Form, Holds, KeyThere, Limits, LoadSteps, LockName,
    LogicalType, MergeSteps, Merging, Mode, Purpose, Ranges, ReadAs, ReadLane, Relation, Savepoint, Shape, Shaping,
    Source, Table, TableLock, Transfer, Unchecked, ValueCheck, WriteAs, WriteLane, generic,
};
use crate::odbc::{self, ConnectionString, Diagnostic, Quirks, ResultColumn, Session};

/// Through Microsoft's driver, and what any other driver is taken for.
pub(super) static MICROSOFT: SqlServer = SqlServer { freetds: false };

/// Through FreeTDS.
pub(super) static FREETDS: SqlServer = SqlServer { freetds: true };

/// SQL Server behind one of its drivers.
pub(super) struct SqlServer {
    freetds: bool,
}

/// `SQL_ATTR_PACKET_SIZE`, before connecting: the most that the protocol has. The driver's own 4096 bytes make many small
/// packets of a large result.
const PACKET_SIZE: (i32, usize) = (112, 32_767);

/// FreeTDS cuts long values unless it is told not to; what is written is also read back.
const WHOLE_VALUES: &str = "SET TEXTSIZE 2147483647";

/// `SQL_COPT_SS_ACCESS_TOKEN`: a token of Entra in place of user and password.
const ACCESS_TOKEN: i32 = 1256;

/// The driver's `ACCESSTOKEN`: a length, and each byte of the token as two (Microsoft, "Using Microsoft Entra ID with the
/// ODBC driver").
fn access_token(token: &str) -> Vec<u8> {
    let expanded: Vec<u8> = token.bytes().flat_map(|byte| [byte, 0]).collect();
    let length = u32::try_from(expanded.len()).unwrap_or(0);
    [length.to_ne_bytes().to_vec(), expanded].concat()
}

/// How rows enter a table without a look at these constraints of it. They are there again afterwards, and not trusted, for the
/// server has not seen the rows.
fn unchecked(table: &Relation, names: &[String]) -> Unchecked {
    if names.is_empty() {
        return Unchecked {
            words: "it has no constraint to leave unchecked".to_owned(),
            ..Unchecked::default()
        };
    }
    let quoted: Vec<String> = names.iter().map(|name| MICROSOFT.quote(name)).collect();
    let alter = |what: &str| vec![MICROSOFT.alter_table(table, &format!("{what} CONSTRAINT {}", quoted.join(", ")))];
    Unchecked {
        around: [alter("NOCHECK"), alter("WITH NOCHECK CHECK")],
        words: format!(
            "unchecked by `{}`, which the server trusts no more until `ALTER TABLE {} WITH CHECK CHECK CONSTRAINT ALL`",
            names.join("`, `"),
            MICROSOFT.quote_relation(table)
        ),
    }
}

impl Dialect for SqlServer {
    fn name(&self) -> &'static str {
        "sqlserver"
    }

    fn version_query(&self) -> Option<&'static str> {
        // FreeTDS answers with the version of the protocol.
        Some("SELECT CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128))")
    }

    fn is_product(&self, dbms_name: &str) -> bool {
        dbms_name.eq_ignore_ascii_case("Microsoft SQL Server")
    }

    fn is_driver(&self, file_name: &str) -> bool {
        file_name.contains(if self.freetds { "tdsodbc" } else { "msodbcsql" })
    }

    fn connection_options(&self, _purpose: Purpose) -> &'static [(&'static str, &'static str)] {
        match self.freetds {
            true => &[("APP", "dray")],
            // Long parameters are then `(max)` and not the old `ntext` and `image`.
            false => &[("APP", "dray"), ("LongAsMax", "yes")],
        }
    }

    fn connection_attributes(&self, purpose: Purpose) -> &'static [(i32, usize)] {
        match purpose {
            Purpose::Script => &[],
            Purpose::Write if !self.freetds => &[PACKET_SIZE, bcp::ATTRIBUTE],
            Purpose::Read | Purpose::Write => &[PACKET_SIZE],
        }
    }

    fn connection_structure(&self, string: &mut ConnectionString) -> Result<Option<(i32, Vec<u8>)>, Error> {
        let Some(token) = string.get("AccessToken").map(str::to_owned) else {
            return Ok(None);
        };
        if self.freetds {
            let problem = "FreeTDS takes no `AccessToken`: Microsoft's driver does";
            return Err(odbc::Error::ConnectionString(problem.to_owned()).into());
        }
        string.remove("AccessToken");
        Ok(Some((ACCESS_TOKEN, access_token(&token))))
    }

    fn connect_hint(&self, diagnostic: &Diagnostic) -> Option<&'static str> {
        messages::connect_hint(diagnostic)
    }

    fn quirks(&self) -> Quirks {
        Quirks {
            answers_row_by_row: true,
            ..Quirks::default()
        }
    }

    fn session_setup(&self, purpose: Purpose) -> &'static [&'static str] {
        match purpose {
            Purpose::Script | Purpose::Read => &[WHOLE_VALUES],
            // Without ANSI_WARNINGS the server cuts text that is too long. Counts of rows, one an INSERT, nobody reads.
            Purpose::Write => &[WHOLE_VALUES, "SET ANSI_WARNINGS ON", "SET NOCOUNT ON"],
        }
    }

    fn quote(&self, identifier: &str) -> String {
        format!("[{}]", identifier.replace(']', "]]"))
    }

    fn default_schema(&self, session: &Session) -> Result<Option<String>, Error> {
        generic::one_text(session, "SELECT SCHEMA_NAME()")
    }

    fn reach(&self, session: &Session, relations: &[Relation]) -> Result<Vec<Result<Relation, String>>, Error> {
        catalog::reach(session, relations)
    }

    fn relations(&self, session: &Session, catalog: Option<&str>) -> Result<Vec<Relation>, Error> {
        catalog::relations(session, catalog)
    }

    fn table(&self, session: &Session, relation: &Relation) -> Result<Option<Table>, Error> {
        let tables = catalog::tables(self, session, std::slice::from_ref(relation))?;
        Ok(tables.into_iter().next().flatten())
    }

    fn tables(&self, session: &Session, relations: &[Relation]) -> Result<Option<Vec<Option<Table>>>, Error> {
        catalog::tables(self, session, relations).map(Some)
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

    fn row_behind(&self, list: &str, rest: &str, rows: u64) -> String {
        format!("SELECT {list} {rest} OFFSET {rows} ROWS FETCH NEXT 1 ROW ONLY")
    }

    fn first_rows(&self, list: &str, rest: &str, rows: usize) -> String {
        format!("SELECT TOP ({rows}) {list} {rest}")
    }

    fn foreign_keys(&self, session: &Session, tables: &[Relation]) -> Result<Vec<KeyThere>, Error> {
        catalog::foreign_keys(self, session, tables)
    }

    fn around_removal(&self, keys: &[KeyThere]) -> Option<[Vec<String>; 2]> {
        // TRUNCATE refuses a table that others refer to, also by keys that are disabled, and the rows that go may be referred to
        // until those tables are loaded as well: the keys are put back in the same transaction, and their rows looked at later.
        Some(generic::keys_make_way(self, keys))
    }

    fn make_foreign_key(&self, key: &KeyThere) -> Option<Vec<String>> {
        let name = self.quote(&key.name);
        let definition = key.definition.as_deref()?;
        let unseen = if key.holds == Holds::All { "" } else { "WITH NOCHECK " };
        let add = format!("{unseen}ADD CONSTRAINT {name} {definition}");
        let disable = (key.holds == Holds::None).then(|| format!("NOCHECK CONSTRAINT {name}"));
        let changes = [Some(add), disable].into_iter().flatten();
        Some(
            changes
                .map(|change| self.alter_table(&key.referring, &change))
                .collect(),
        )
    }

    fn put_foreign_key_back(&self, key: &KeyThere) -> Option<Vec<String>> {
        // What the user has otherwise comes back as it was.
        if key.holds != Holds::All && !key.unseen {
            return self.make_foreign_key(key);
        }
        let unseen = KeyThere {
            holds: Holds::New,
            ..key.clone()
        };
        let mut statements = self.make_foreign_key(&unseen)?;
        let [mark, _] = catalog::unseen_mark(&key.referring, &key.name);
        statements.push(mark);
        Some(statements)
    }

    fn validate_foreign_key(&self, table: &Relation, name: &str) -> Vec<String> {
        let [_, unmark] = catalog::unseen_mark(table, name);
        let look = format!("WITH CHECK CHECK CONSTRAINT {}", self.quote(name));
        vec![self.alter_table(table, &look), unmark]
    }

    fn taken_key_names(&self, session: &Session, names: &[Relation]) -> Result<Vec<Relation>, Error> {
        catalog::names_of_objects(session, names)
    }

    fn unchecked(&self, session: &Session, relation: &Relation) -> Result<Result<Unchecked, String>, Error> {
        let names = catalog::checked(session, relation)?;
        Ok(Ok(unchecked(relation, &names)))
    }

    fn dependants(&self, session: &Session, relations: &[Relation]) -> Result<Vec<Dependants>, Error> {
        catalog::dependants(session, relations)
    }

    fn features(&self, session: &Session, relations: &[Relation]) -> Result<Vec<Features>, Error> {
        features::features(session, relations)
    }

    fn shaping(&self) -> Option<&dyn Shaping> {
        Some(self)
    }

    fn select(&self, list: &str, source: &Source) -> String {
        match source {
            Source::Table { .. } => generic::select(self, list, source),
            Source::Query(sql) => query::select(list, sql),
        }
    }

    fn query_columns(&self, session: &Session, sql: &str) -> Result<Vec<Column>, Error> {
        let mut statement = session.statement()?;
        statement.execute_direct(&query::select("TOP (0) *", sql))?;
        let columns = statement.result_columns()?;
        Ok(columns.into_iter().map(types::result_column).collect())
    }

    fn result_column(&self, column: ResultColumn) -> Column {
        types::result_column(column)
    }

    fn verbatim(&self, column: &Column) -> Column {
        types::verbatim(column)
    }

    fn unreadable(&self, column: &Column) -> Option<String> {
        types::unreadable(column)
    }

    fn count_of_rows(&self) -> &'static str {
        "COUNT_BIG(*)"
    }

    fn takes_own_alone(&self, column: &Column) -> bool {
        // It is kept without its declaration and some of its blanks; PostgreSQL has a type of the same name.
        types::base(&column.declared) == "xml"
    }

    fn read_as(&self, column: &Column) -> ReadAs {
        let name = self.quote(&column.name);
        let base = types::base(&column.declared);
        let text = |expression: String| (expression, Transfer::Text);
        let native = |expression: String| (expression, Transfer::Native);
        let (expression, transfer) = match (base, column.logical) {
            // Turned into UTF-16 at the server, which knows its code pages.
            ("char" | "varchar" | "text", LogicalType::Text { length, .. }) => native(match length {
                Some(length) if length <= 4_000 => format!("CAST({name} AS nvarchar({length}))"),
                _ => format!("CAST({name} AS nvarchar(max))"),
            }),
            ("ntext" | "xml" | "json", _) => native(format!("CAST({name} AS nvarchar(max))")),
            ("image" | "hierarchyid" | "geometry" | "geography", _) => {
                native(format!("CAST({name} AS varbinary(max))"))
            }
            ("timestamp" | "rowversion", _) => native(format!("CAST({name} AS binary(8))")),
            // As text, money has two digits of its four.
            ("money" | "smallmoney", _) => native(format!("CAST({name} AS decimal(19,4))")),
            (_, LogicalType::Uuid) => text(format!("LOWER(CAST({name} AS char(36)))")),
            (_, LogicalType::Date) if self.freetds => text(format!("CONVERT(char(10), {name}, 23)")),
            (_, LogicalType::Time { .. } | LogicalType::Timestamp { .. } | LogicalType::Instant { .. })
                if self.freetds =>
            {
                text(format!("CONVERT(varchar(40), {name}, 121)"))
            }
            _ => native(name),
        };
        ReadAs {
            expression,
            transfer,
            bound: generic::native_bound(column.logical),
        }
    }

    fn write_as(&self, column: &Column) -> WriteAs {
        let base = types::base(&column.declared);
        let plain = |form: Form| ("?".to_owned(), form);
        let (expression, form) = match (base, column.logical) {
            // Style 1 keeps blanks between elements, which the plain conversion drops.
            ("xml", _) => ("CONVERT(xml, ?, 1)".to_owned(), Form::Text),
            ("hierarchyid" | "geometry" | "geography", _) => {
                (format!("CAST(CAST(? AS varbinary(max)) AS {base})"), Form::Bytes)
            }
            (_, LogicalType::Boolean) => plain(Form::Bit),
            (_, LogicalType::Integer { .. }) => plain(Form::I64),
            (_, LogicalType::Float { .. }) => plain(Form::F64),
            (_, LogicalType::Bytes { .. }) => plain(Form::Bytes),
            // FreeTDS sends other days for those of the first centuries, and drops fractions.
            (_, LogicalType::Date) if self.freetds => ("CAST(? AS date)".to_owned(), Form::Text),
            (_, LogicalType::Date) => plain(Form::Date),
            (_, LogicalType::Timestamp { digits }) if self.freetds => {
                (format!("CAST(? AS datetime2({digits}))"), Form::Text)
            }
            (_, LogicalType::Timestamp { digits }) => plain(Form::Timestamp(digits)),
            (_, LogicalType::Time { digits, .. }) => (format!("CAST(? AS time({digits}))"), Form::Text),
            (_, LogicalType::Instant { digits, .. }) => (format!("CAST(? AS datetimeoffset({digits}))"), Form::Text),
            // Decimals among them: as text they keep every digit, whatever precision the driver makes up for them.
            _ => plain(Form::Text),
        };
        WriteAs { expression, form }
    }

    fn value_checks(
        &self,
        session: &Session,
        target: &Relation,
        columns: &[Column],
    ) -> Result<Vec<(usize, ValueCheck)>, Error> {
        checks::of_columns(session, target, columns)
    }

    fn declare(&self, column: &Column) -> Result<(String, LogicalType), String> {
        types::declare(column)
    }

    fn limits(&self) -> Limits {
        Limits {
            nul_in_text: true,
            nan: false,
            infinity: false,
            years: 1..=9999,
            instants_as_utc: false,
            infinite_dates: false,
            zero_dates: false,
            decimal_nan: false,
            decimal_infinity: false,
            keeps_declared_sizes: true,
        }
    }

    fn create_table(&self, relation: &Relation, columns: &[Column], shape: &Shape) -> String {
        let quote = |name: &str| self.quote(name);
        let sql = generic::create_table(catalog::local(relation), columns, quote, "", shape);
        catalog::at(relation, sql)
    }

    fn alter_table(&self, table: &Relation, change: &str) -> String {
        let sql = format!("ALTER TABLE {} {change}", catalog::local(table));
        catalog::at(table, sql)
    }

    fn add_columns(&self, relation: &Relation, columns: &[Column]) -> Option<Vec<String>> {
        let clauses = generic::added_columns(columns, "", |name| self.quote(name));
        Some(vec![self.alter_table(relation, &format!("ADD {}", clauses.join(", ")))])
    }

    fn required_columns(&self, session: &Session, relation: &Relation) -> Result<Vec<String>, Error> {
        catalog::required_columns(session, relation)
    }

    fn literal(&self, text: &str) -> String {
        // An index on a `varchar` is of no use against a text in UTF-16. And Babelfish finds a `datetimeoffset` greater than
        // every one of them.
        let national = if text.is_ascii() { "" } else { "N" };
        let quoted = format!("{national}'{}'", text.replace('\'', "''"));
        match text.contains("\\\n") || text.contains("\\\r\n") {
            false => quoted,
            // The server takes both away where a line ends in a backslash (Microsoft, "Backslash (Line Continuation)").
            // `(max)`, since a sum of others is cut at 8000 bytes.
            true => {
                let apart = format!("\\' AS {national}varchar(max)) + {national}'");
                let quoted = quoted.replace("\\\n", &format!("{apart}\n"));
                let quoted = quoted.replace("\\\r\n", &format!("{apart}\r\n"));
                let casts = "CAST(".repeat(quoted.matches(&apart).count());
                format!("({casts}{quoted})")
            }
        }
    }

    fn table_lock(&self, LockName(number): LockName, catalog: Option<&str>) -> Option<TableLock> {
        // Of the session: a transaction that has done nothing yet is none to the server. Such a lock is one of the database in
        // which it is taken, so that of the table's own is met by whoever writes the table, from whichever database.
        let name = format!("N'dray:{number:016x}'");
        let take = format!(
            "DECLARE @taken int; EXEC @taken = sp_getapplock @Resource = {name}, @LockMode = 'Exclusive', \
             @LockOwner = 'Session', @LockTimeout = 0; SELECT CASE WHEN @taken >= 0 THEN 1 ELSE 0 END"
        );
        let release = format!("EXEC sp_releaseapplock @Resource = {name}, @LockOwner = 'Session'");
        Some(TableLock {
            take: catalog::within(catalog, take),
            // Who has it is told to administrators alone.
            holder: "SELECT CAST(NULL AS nvarchar(1))".to_owned(),
            release: Some(catalog::within(catalog, release)),
        })
    }

    fn merge_steps(&self, merging: &Merging<'_>) -> Option<MergeSteps> {
        let catalog = merging.target.catalog.as_deref();
        let local = merging.target.within_database();
        let identity = catalog::identity_insert(&local, merging.columns.iter());
        let merging = Merging {
            target: &local,
            ..merging.clone()
        };
        let mut steps = merging.update_from(self, identity);
        if catalog.is_some() {
            let within = |sql: String| catalog::within(catalog, sql);
            steps.staging.catalog = catalog.map(str::to_owned);
            steps.create = within(steps.create);
            // In one: what an EXECUTE sets ends with it.
            steps.merge = vec![within(steps.merge.join("; "))];
            steps.drop = steps.drop.map(within);
        }
        Some(steps)
    }

    fn greatest(&self, column: &str) -> Option<String> {
        // Style 126 is ISO 8601, which is read the same under every language and with all digits; `money` has four then.
        Some(format!("CONVERT(nvarchar(max), MAX({column}), 126)"))
    }

    fn earlier(&self, literal: &str, logical: LogicalType, seconds: u64) -> String {
        let declared = match logical {
            LogicalType::Instant { .. } => "datetimeoffset(7)",
            _ => "datetime2(7)",
        };
        let seconds = seconds.min(i32::MAX as u64);
        format!("DATEADD(second, -{seconds}, CAST({literal} AS {declared}))")
    }

    fn committed_row_version(
        &self,
        session: &Session,
        source: &Source,
        column: &Column,
    ) -> Result<Option<Result<u64, String>>, Error> {
        if types::base(&column.declared) != "rowversion" {
            return Ok(None);
        }
        let Source::Table { relation, .. } = source else {
            let reason = "a query may read tables of other databases, each of which counts its own; copy the table itself, \
                          with `where` and `columns`";
            return Ok(Some(Err(reason.to_owned())));
        };
        catalog::committed_row_version(session, relation).map(Some)
    }

    fn create_journal(&self, journal: &Relation) -> Option<String> {
        let table = self.quote_relation(journal);
        let create = format!(
            "IF OBJECT_ID({}) IS NULL CREATE TABLE {table}",
            catalog::literal(&table)
        );
        // Ids differ in every letter, whatever the database's collation says.
        let types = [
            "nvarchar(255) COLLATE Latin1_General_BIN2",
            "varchar(64)",
            "nvarchar(max)",
            "bigint",
            "datetime2(0)",
        ];
        Some(generic::create_journal(&create, types, ""))
    }

    fn load_steps(
        &self,
        mode: Mode,
        exists: bool,
        target: &Relation,
        staging: &Relation,
        create: &dyn Fn(&Relation) -> String,
    ) -> LoadSteps {
        let within = |sql: String| catalog::at(target, sql);
        match (mode, exists) {
            (_, false) => LoadSteps {
                before: vec![create(target)],
                ..LoadSteps::default()
            },
            (Mode::Append, true) => LoadSteps::default(),
            (Mode::Truncate, true) => LoadSteps {
                before: vec![catalog::emptying(target)],
                ..LoadSteps::default()
            },
            (Mode::Replace, true) => LoadSteps {
                before: vec![create(staging)],
                staging: Some(staging.clone()),
                after: vec![
                    within(format!("DROP TABLE {}", catalog::local(target))),
                    within(format!(
                        "EXEC sp_rename {}, {}, N'OBJECT'",
                        catalog::literal(&catalog::local(staging)),
                        catalog::literal(&target.name)
                    )),
                ],
                ..LoadSteps::default()
            },
        }
    }

    fn around_rows(&self, target: &Relation, columns: &[Column]) -> Option<[String; 2]> {
        let names = columns.iter().map(|column| &column.name);
        Some(catalog::identity_insert(target, names))
    }

    #[cfg(test)]
    fn listed_types(&self) -> Vec<Column> {
        listed::columns()
    }

    fn classify(&self, diagnostic: &Diagnostic) -> Class {
        messages::classify(diagnostic)
    }

    fn without_values(&self, message: &str) -> String {
        messages::without_values(message)
    }

    fn read_lanes(&self) -> &'static [&'static dyn ReadLane] {
        &[&read::ByIsolation]
    }

    fn savepoint(&self) -> Option<Savepoint> {
        Some(Savepoint {
            set: "SAVE TRANSACTION dray_part",
            release: None,
            undo: "ROLLBACK TRANSACTION dray_part",
        })
    }

    fn write_lanes(&self) -> &'static [&'static dyn WriteLane] {
        match self.freetds {
            true => &[&generic::OdbcWrite],
            false => &[&bcp_write::BcpWrite, &generic::OdbcWrite],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(name: &str) -> Relation {
        Relation::new(Some("d]bo".to_owned()), name)
    }

    fn column(name: &str, declared: &str) -> Column {
        let base = types::base(declared);
        Column {
            name: name.to_owned(),
            logical: types::logical_type(base, types::Size::default()),
            declared: declared.to_owned(),
            nullable: true,
            key_position: None,
            generated: false,
            from_catalog: true,
        }
    }

    #[test]
    fn names_stand_in_brackets_and_in_literals() {
        assert_eq!(MICROSOFT.quote_relation(&relation("a'b")), "[d]]bo].[a'b]");
        let steps = MICROSOFT.load_steps(Mode::Replace, true, &relation("t'"), &relation("s"), &|relation| {
            format!("CREATE {}", relation.name)
        });
        assert_eq!(steps.before, ["CREATE s"]);
        assert_eq!(
            steps.after,
            [
                "DROP TABLE [d]]bo].[t']",
                "EXEC sp_rename N'[d]]bo].[s]', N't''', N'OBJECT'"
            ]
        );
        assert!(steps.after_commit.is_empty() && steps.undo.is_empty());
        let [on, _] = MICROSOFT.around_rows(&relation("t"), &[column("i'd", "int")]).unwrap();
        assert!(
            on.contains("name IN (N'i''d')") && on.ends_with("SET IDENTITY_INSERT [d]]bo].[t] ON"),
            "{on}"
        );
    }

    fn key(holds: Holds, unseen: bool) -> KeyThere {
        KeyThere {
            name: "o'k".to_owned(),
            referring: relation("c"),
            referred: relation("p"),
            definition: Some("FOREIGN KEY …".to_owned()),
            holds,
            unseen,
        }
    }

    #[test]
    fn a_key_that_held_comes_back_unseen_with_a_mark_and_one_of_the_users_as_it_was() {
        let add = "ALTER TABLE [d]]bo].[c] WITH NOCHECK ADD CONSTRAINT [o'k] FOREIGN KEY …";
        for (holds, unseen) in [(Holds::All, false), (Holds::New, true)] {
            let statements = MICROSOFT.put_foreign_key_back(&key(holds, unseen)).unwrap();
            let [first, mark] = statements.as_slice() else {
                panic!("{statements:?}")
            };
            assert_eq!(first, add);
            assert!(
                mark.contains("is_not_trusted = 1)")
                    && mark.contains("OBJECT_ID(N'[d]]bo].[o''k]', N'F')")
                    && mark.ends_with("N'SCHEMA', N'd]bo', N'TABLE', N'c', N'CONSTRAINT', N'o''k'"),
                "{mark}"
            );
        }
        let disable = "ALTER TABLE [d]]bo].[c] NOCHECK CONSTRAINT [o'k]";
        assert_eq!(MICROSOFT.put_foreign_key_back(&key(Holds::New, false)).unwrap(), [add]);
        assert_eq!(
            MICROSOFT.put_foreign_key_back(&key(Holds::None, false)).unwrap(),
            [add, disable]
        );
        // By hand, by whoever has its rows in order.
        let whole = "ALTER TABLE [d]]bo].[c] ADD CONSTRAINT [o'k] FOREIGN KEY …";
        assert_eq!(MICROSOFT.make_foreign_key(&key(Holds::All, false)).unwrap(), [whole]);
    }

    #[test]
    fn a_key_is_trusted_again_when_its_rows_were_looked_at() {
        let [look, unmark] = &MICROSOFT.validate_foreign_key(&relation("c"), "o'k")[..] else {
            panic!("two statements")
        };
        assert_eq!(look, "ALTER TABLE [d]]bo].[c] WITH CHECK CHECK CONSTRAINT [o'k]");
        assert!(
            unmark.starts_with("IF EXISTS") && unmark.contains("sp_dropextendedproperty N'dray_unseen', N'SCHEMA'"),
            "{unmark}"
        );
    }

    #[test]
    fn keys_make_way_for_rows_that_go_and_come_back_in_the_same_transaction() {
        let [before, after] = MICROSOFT.around_removal(&[key(Holds::All, false)]).unwrap();
        assert_eq!(before, ["ALTER TABLE [d]]bo].[c] DROP CONSTRAINT IF EXISTS [o'k]"]);
        assert_eq!(after.len(), 2);
        assert!(after[0].contains("WITH NOCHECK ADD CONSTRAINT"), "{after:?}");
    }

    #[test]
    fn a_load_without_a_look_at_constraints_names_those_that_were_looked_at_before() {
        let table = Relation::parse("dbo.t").unwrap();
        let none = unchecked(&table, &[]);
        assert_eq!(none.around, [Vec::<String>::new(), Vec::new()]);
        let both = unchecked(&table, &["positive".to_owned(), "a]b".to_owned()]);
        assert_eq!(
            both.around,
            [
                ["ALTER TABLE [dbo].[t] NOCHECK CONSTRAINT [positive], [a]]b]"],
                ["ALTER TABLE [dbo].[t] WITH NOCHECK CHECK CONSTRAINT [positive], [a]]b]"]
            ]
        );
        assert!(
            both.words.starts_with("unchecked by `positive`, `a]b`"),
            "{}",
            both.words
        );
    }

    #[test]
    fn a_name_of_three_or_four_parts_is_in_brackets_part_by_part() {
        let quoted = |text: &str| MICROSOFT.quote_relation(&Relation::parse(text).unwrap());
        assert_eq!(quoted("[other db].dbo.[or.d]]ers]"), "[other db].[dbo].[or.d]]ers]");
        assert_eq!(quoted("other..orders"), "[other]..[orders]");
        assert_eq!(quoted("[linked\\one].db.dbo.t"), "[linked\\one].[db].[dbo].[t]");
        assert_eq!(quoted("linked...t"), "[linked]...[t]");
        let source = Source::Table {
            relation: Relation::parse("linked.db.dbo.t").unwrap(),
            condition: Some("id > 1".to_owned()),
        };
        let sql = MICROSOFT.select("[id]", &source);
        assert_eq!(sql, "SELECT [id] FROM [linked].[db].[dbo].[t] WHERE id > 1");
    }

    #[test]
    fn what_is_done_to_a_table_of_another_database_is_run_within_it_and_the_session_stays_where_it_is() {
        let target = Relation::parse("[o'ther].dbo.[it's]").unwrap();
        let staging = target.beside("it__dray");
        let steps = |mode: Mode| MICROSOFT.load_steps(mode, true, &target, &staging, &|name| format!("CREATE {name}"));
        let emptied = &steps(Mode::Truncate).before[0];
        assert!(emptied.starts_with("EXEC (N'USE [o''ther]; IF OBJECTPROPERTY(OBJECT_ID(N''[dbo].[it''''s]''), "));
        assert!(
            emptied.ends_with(" TRUNCATE TABLE [dbo].[it''s] ELSE DELETE FROM [dbo].[it''s]')"),
            "{emptied}"
        );
        let replaced = steps(Mode::Replace);
        assert_eq!(replaced.before, ["CREATE o'ther.dbo.it__dray"]);
        assert_eq!(
            replaced.after,
            [
                "EXEC (N'USE [o''ther]; DROP TABLE [dbo].[it''s]')",
                "EXEC (N'USE [o''ther]; EXEC sp_rename N''[dbo].[it__dray]'', N''it''''s'', N''OBJECT''')",
            ]
        );
        let lock = MICROSOFT.table_lock(LockName(7), target.catalog.as_deref()).unwrap();
        assert!(
            lock.take
                .starts_with("EXEC (N'USE [o''ther]; DECLARE @taken int; EXEC @taken = sp_getapplock")
        );
        assert!(
            lock.release
                .unwrap()
                .starts_with("EXEC (N'USE [o''ther]; EXEC sp_releaseapplock")
        );
        let sql = MICROSOFT.create_table(&target, &[column("it's", "int")], &Shape::default());
        assert_eq!(
            sql,
            "EXEC (N'USE [o''ther]; CREATE TABLE [dbo].[it''s] (\n  [it''s] int\n)')"
        );
        let sql = MICROSOFT.add_columns(&target, &[column("c", "int")]).unwrap();
        assert_eq!(
            sql,
            ["EXEC (N'USE [o''ther]; ALTER TABLE [dbo].[it''s] ADD [c] int NULL')"]
        );
    }

    #[test]
    fn the_rows_of_a_table_of_another_database_go_there_from_where_the_session_is() {
        let target = Relation::parse("[o'ther].dbo.t").unwrap();
        // What is set within an EXECUTE would end with it.
        let [on, _] = MICROSOFT.around_rows(&target, &[column("id", "int")]).unwrap();
        assert_eq!(
            on,
            "IF EXISTS (SELECT 1 FROM [o'ther].sys.identity_columns WHERE object_id = OBJECT_ID(N'[o''ther].[dbo].[t]') \
             AND name IN (N'id')) SET IDENTITY_INSERT [o'ther].[dbo].[t] ON"
        );
        let (columns, key) = (["id", "note"].map(str::to_owned), ["id".to_owned()]);
        let merging = Merging {
            target: &target,
            columns: &columns,
            key: &key,
            deletes: true,
        };
        let steps = MICROSOFT.merge_steps(&merging).unwrap();
        assert_eq!(steps.staging, target.beside("t__dray_merge"));
        assert!(
            steps
                .create
                .starts_with("EXEC (N'USE [o''ther]; SELECT * INTO [dbo].[t__dray_merge] FROM")
        );
        let [merge] = steps.merge.as_slice() else {
            panic!("{:?}", steps.merge)
        };
        assert!(merge.starts_with("EXEC (N'USE [o''ther]; DELETE dray_old FROM [dbo].[t] AS dray_old"));
        assert!(merge.contains(" SET IDENTITY_INSERT [dbo].[t] ON; INSERT INTO [dbo].[t] ([id], [note]) SELECT"));
        assert!(merge.ends_with(" SET IDENTITY_INSERT [dbo].[t] OFF')"));
        let drop = "EXEC (N'USE [o''ther]; DROP TABLE [dbo].[t__dray_merge]')";
        assert_eq!(steps.drop.as_deref(), Some(drop));
    }

    #[test]
    fn freetds_gets_its_times_as_text_and_microsofts_driver_as_they_are() {
        let form = |dialect: &SqlServer, declared: &str| dialect.write_as(&column("c", declared)).form;
        let transfer = |dialect: &SqlServer, declared: &str| dialect.read_as(&column("c", declared)).transfer;
        for declared in ["date", "datetime2(0)", "datetime"] {
            assert_eq!(form(&FREETDS, declared), Form::Text, "{declared}");
            assert_eq!(transfer(&FREETDS, declared), Transfer::Text, "{declared}");
            assert_ne!(form(&MICROSOFT, declared), Form::Text, "{declared}");
            assert_eq!(transfer(&MICROSOFT, declared), Transfer::Native, "{declared}");
        }
        assert_eq!(
            MICROSOFT.write_as(&column("c", "datetimeoffset(0)")).expression,
            "CAST(? AS datetimeoffset(0))"
        );
    }

    #[test]
    fn a_text_is_of_the_national_kind_where_it_has_to_be() {
        assert_eq!(MICROSOFT.literal("it's"), "'it''s'");
        assert_eq!(MICROSOFT.literal("é's"), "N'é''s'");
        // A backslash before the end of a line would be taken away together with it.
        assert_eq!(MICROSOFT.literal("é\\\nb"), "(CAST(N'é\\' AS Nvarchar(max)) + N'\nb')");
        assert_eq!(
            MICROSOFT.literal("a\\\r\n'\\\nb"),
            "(CAST(CAST('a\\' AS varchar(max)) + '\r\n''\\' AS varchar(max)) + '\nb')"
        );
    }

    #[test]
    fn a_token_is_handed_over_with_its_bytes_apart() {
        let mut string = ConnectionString::parse("Driver=x;AccessToken=ab;Server=s").unwrap();
        let (number, bytes) = MICROSOFT.connection_structure(&mut string).unwrap().unwrap();
        assert_eq!((number, bytes.as_slice()), (1256, &[4, 0, 0, 0, b'a', 0, b'b', 0][..]));
        assert_eq!(string.reveal(), "Driver=x;Server=s;");
        assert!(string.secrets().next().is_none());
    }
}
