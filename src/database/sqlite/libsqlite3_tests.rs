use super::*;

/// The system's library; the tests of a lane go through a driver.
fn library() -> Library {
    Library::of_driver(Path::new("libsqlite3.so.0")).unwrap()
}

/// An empty file, which is an empty database.
fn open(interrupt: &Interrupt, busy_limit_ms: u64) -> (tempfile::NamedTempFile, Database) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let database = Database::open(library(), &options(&file, busy_limit_ms), interrupt).unwrap();
    (file, database)
}

fn options(file: &tempfile::NamedTempFile, busy_limit_ms: u64) -> OpenOptions {
    OpenOptions {
        path: file.path().to_str().unwrap().to_owned(),
        busy_limit: Duration::from_millis(busy_limit_ms),
    }
}

#[test]
fn what_is_bound_is_read_back_by_its_class() {
    let (_file, database) = open(&Interrupt::new(), 0);
    database.execute("CREATE TABLE t (a, b, c, d, e, f)").unwrap();
    let mut insert = database.insert("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?)").unwrap();
    insert
        .run::<Error>(|binding| {
            binding.integer(i64::MIN);
            binding.real(-0.0);
            binding.text(b"a\0\xff");
            binding.blob(b"");
            binding.null();
            binding.text(b"");
            Ok(())
        })
        .unwrap();
    let mut rows = database.select("SELECT * FROM t").unwrap();
    assert!(rows.step().unwrap());
    let classes: Vec<Class> = (0..6).map(|column| rows.class(column)).collect();
    assert_eq!(
        classes,
        [
            Class::Integer,
            Class::Real,
            Class::Text,
            Class::Blob,
            Class::Null,
            Class::Text
        ]
    );
    assert_eq!(rows.integer(0), i64::MIN);
    assert_eq!(rows.real(1).to_bits(), (-0.0_f64).to_bits());
    assert_eq!(
        [rows.bytes(2), rows.bytes(3), rows.bytes(5)],
        [&b"a\0\xff"[..], b"", b""]
    );
    assert!(!rows.step().unwrap());
}

#[test]
fn a_run_without_all_its_values_is_refused() {
    let (_file, database) = open(&Interrupt::new(), 0);
    database.execute("CREATE TABLE t (a, b)").unwrap();
    let mut insert = database.insert("INSERT INTO t VALUES (?, ?)").unwrap();
    let run = insert.run::<Error>(|binding| {
        binding.null();
        Ok(())
    });
    assert!(run.is_err());
    assert_eq!(
        database.one_text("SELECT COUNT(*) FROM t").unwrap().as_deref(),
        Some("0")
    );
}

#[test]
fn an_endless_statement_ends_when_the_interrupt_is_raised_and_not_once_it_is_shielded() {
    let interrupt = Interrupt::new();
    let (_file, mut database) = open(&interrupt, 0);
    let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT COUNT(*) FROM n";
    let raiser = interrupt.clone();
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        raiser.raise();
    });
    let error = database.one_text(endless).unwrap_err();
    assert!(matches!(error, Error::Odbc(crate::odbc::Error::Cancelled)), "{error}");
    thread.join().unwrap();
    database.shield();
    assert_eq!(database.one_text("SELECT 1").unwrap().as_deref(), Some("1"));
}

#[test]
fn a_lock_is_waited_for_until_its_limit_or_the_interrupt() {
    let interrupt = Interrupt::new();
    let (file, holder) = open(&Interrupt::new(), 0);
    holder.execute("CREATE TABLE t (a)").unwrap();
    holder.execute("BEGIN EXCLUSIVE").unwrap();
    let started = Instant::now();
    let waiting = Database::open(library(), &options(&file, 200), &interrupt).unwrap();
    let error = waiting.execute("BEGIN IMMEDIATE").unwrap_err();
    assert!(started.elapsed() >= Duration::from_millis(200));
    let message = error.to_string();
    assert!(
        message.contains("locked") && message.contains(file.path().to_str().unwrap()),
        "{message}"
    );
    assert_eq!(error.diagnostic().unwrap().native & 0xff, code::BUSY);

    let waiting = Database::open(library(), &options(&file, 600_000), &interrupt).unwrap();
    let raiser = interrupt.clone();
    let thread = thread::spawn(move || {
        thread::sleep(Duration::from_millis(100));
        raiser.raise();
    });
    let error = waiting.execute("BEGIN IMMEDIATE").unwrap_err();
    assert!(matches!(error, Error::Odbc(crate::odbc::Error::Cancelled)), "{error}");
    thread.join().unwrap();
}
