//! Where the tables lie: a schema, a database or a file for the originals, and another for what they are copied to.

use std::path::PathBuf;

use dray::{
    copy::{
        self, Around, Choices, Constraints, Endpoint, Lanes, MEMORY_LIMIT_BYTES, Meeting, Mode, Narrower, OnReject,
        PATIENCE, Progress, Request, Schema, Selection, TableOptions, TableRequest, Verify,
    },
    database::{Connection, Purpose},
    odbc::{ConnectionString, DriverSearch, Interrupt},
};

use super::kinds::{Product, Table};

/// Both ends of every way, and connections to look at them.
pub struct Ground {
    search: DriverSearch,
    files: tempfile::TempDir,
    used: usize,
}

/// A fresh place for tables.
struct Place {
    product: Product,
    string: ConnectionString,
    /// The schema or database, with its dot; a file needs none.
    prefix: String,
    file: Option<PathBuf>,
}

impl Ground {
    pub fn new() -> Self {
        Ground {
            search: DriverSearch::from_environment(Vec::new()),
            files: tempfile::tempdir().expect("a temporary folder"),
            used: 0,
        }
    }

    /// Makes the tables at `from`, copies them to a new place at `to`, copies them back into tables like the first, and
    /// compares; a result for each table, the error in words.
    pub fn round_trip(
        &mut self,
        from: Product,
        to: Product,
        lanes: Lanes,
        tables: &[Table],
    ) -> Vec<Result<(), String>> {
        let (near, far) = (self.place(from), self.place(to));
        let session = self.connect(&near);
        for (number, table) in tables.iter().enumerate() {
            for sql in table.statements(&near.prefix, number) {
                session
                    .session
                    .execute(&sql)
                    .unwrap_or_else(|error| panic!("{error}\n{sql:.2000}"));
            }
        }
        let there = self.copy(&near, &far, "t*", "{table}", Mode::Replace, lanes);
        let back = self.copy(&far, &near, "t*", "back_{table}", Mode::Append, lanes);
        let results = tables.iter().enumerate().map(|(number, table)| {
            failure(&there, &format!("t{number}")).map_or(Ok(()), |error| Err(format!("there: {error}")))?;
            failure(&back, &format!("t{number}")).map_or(Ok(()), |error| Err(format!("back: {error}")))?;
            compare(&session, &near.prefix, number, table)
        });
        let results = results.collect();
        drop(session);
        self.remove(near);
        self.remove(far);
        results
    }

    fn copy(&self, from: &Place, to: &Place, names: &str, into: &str, mode: Mode, lanes: Lanes) -> copy::Report {
        let endpoint = |place: &Place| Endpoint {
            label: format!("{:?}", place.product),
            string: place.string.clone(),
        };
        let request = Request {
            copies: vec![TableRequest {
                source: endpoint(from),
                selection: Selection::Tables {
                    names: vec![format!("{}{names}", from.prefix)],
                    exclude: Vec::new(),
                    overrides: Vec::new(),
                },
                options: TableOptions {
                    into: Some(format!("{}{into}", to.prefix)),
                    meeting: Meeting { mode, merge: None },
                    ..TableOptions::default()
                },
            }],
            target: endpoint(to),
            around: Around::default(),
            around_run: Around::default(),
            lanes,
            memory_limit_bytes: MEMORY_LIMIT_BYTES,
            parallel: None,
            choices: Choices::default(),
            schema: Schema::Full,
            add_columns: false,
            narrower: Narrower::Check,
            constraints: Constraints::Check,
            verify: Verify::Checksum,
            on_reject: OnReject::Fail,
            shard: None,
            ranges: None,
            run: None,
            patience: PATIENCE,
        };
        let progress = Progress::default();
        copy::run(&request, &self.search, &Interrupt::new(), &progress, &mut |_| {})
            .unwrap_or_else(|error| panic!("{error}"))
    }

    fn place(&mut self, product: Product) -> Place {
        self.used += 1;
        let name = format!("round_trip_{}_{}", std::process::id(), self.used);
        let variable = match product {
            Product::Postgres => "DRAY_TEST_POSTGRESQL",
            Product::MariaDb => "DRAY_TEST_MARIADB",
            Product::Sqlite => {
                let path = self.files.path().join(format!("{name}.db"));
                let string = format!("Driver={{SQLite3}};Database={}", path.display());
                return Place {
                    product,
                    string: ConnectionString::parse(&string).expect("a connection string"),
                    prefix: String::new(),
                    file: Some(path),
                };
            }
        };
        let string = std::env::var(variable).unwrap_or_else(|_| {
            panic!("{variable} is not set: run `make test`, or python3 tests/servers.py COMMAND");
        });
        let place = Place {
            product,
            string: ConnectionString::parse(&string).expect("a connection string"),
            prefix: format!("{name}."),
            file: None,
        };
        let sql = format!("CREATE SCHEMA {name}");
        let session = self.connect(&place);
        session
            .session
            .execute(&sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        place
    }

    fn remove(&self, place: Place) {
        if let Some(path) = place.file {
            let _ = fs_err::remove_file(path);
            return;
        }
        let cascade = if place.product == Product::Postgres {
            " CASCADE"
        } else {
            ""
        };
        let sql = format!("DROP SCHEMA {}{cascade}", place.prefix.trim_end_matches('.'));
        let session = self.connect(&place);
        session
            .session
            .execute(&sql)
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
    }

    fn connect(&self, place: &Place) -> Connection {
        Connection::open(&self.search, &place.string, Purpose::Write, true, &Interrupt::new())
            .unwrap_or_else(|error| panic!("{:?}: {error}", place.product))
    }
}

/// Why a table was not copied; `None` if it was.
fn failure(report: &copy::Report, table: &str) -> Option<String> {
    let found = report
        .tables
        .iter()
        .find(|report| report.table.rsplit('.').next() == Some(table));
    match found {
        None => Some("the table is not in the report".to_owned()),
        Some(report) => report.error.as_ref().map(ToString::to_string),
    }
}

/// Whether the copy that came back holds what the original does, by the database's own subtraction.
fn compare(connection: &Connection, prefix: &str, number: usize, table: &Table) -> Result<(), String> {
    let (original, back) = table.spelled(prefix, number);
    let rows = |sql: &str| {
        let rows = connection.session.text_rows(sql, &[]);
        rows.unwrap_or_else(|error| panic!("{error}\n{sql}"))
    };
    let counts = rows(&format!(
        "SELECT (SELECT COUNT(*) FROM ({original}) AS a), (SELECT COUNT(*) FROM ({back}) AS b)"
    ));
    let counted: Vec<&str> = counts.iter().flatten().flatten().map(String::as_str).collect();
    let expected = table.rows().to_string();
    if counted != [expected.as_str(), expected.as_str()] {
        return Err(format!(
            "{expected} rows were made, and are {counted:?} before and after"
        ));
    }
    let missing = rows(&format!(
        "SELECT * FROM ({original} EXCEPT {back}) AS missing ORDER BY 1"
    ));
    let surplus = rows(&format!(
        "SELECT * FROM ({back} EXCEPT {original}) AS surplus ORDER BY 1"
    ));
    match (missing.first(), surplus.first()) {
        (None, None) => Ok(()),
        (missing, surplus) => Err(format!("a row left as {missing:?} and came back as {surplus:?}")),
    }
}
