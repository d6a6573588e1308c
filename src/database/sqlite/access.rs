//! From an ODBC connection to the same file opened directly: which of the driver's options that takes over, and which it
//! cannot.

use std::time::Duration;

use super::libsqlite3::{Database, Library, OpenOptions};
use crate::{
    database::{Connection, Error},
    odbc::{ConnectionString, Interrupt},
};

/// How long the driver waits for a lock where `Timeout` says nothing, and at most (sqliteodbc 0.9998, `dbopen`).
const BUSY_LIMIT_MS: i64 = 100_000;
const BUSY_LIMIT_MAX_MS: i64 = 1_000_000;

/// What it takes to open a connection's file without its driver.
#[derive(Clone)]
pub(super) struct Access {
    library: Library,
    options: OpenOptions,
    foreign_keys: bool,
}

impl Access {
    /// Finds out how; opens nothing.
    ///
    /// # Errors
    /// Why it is not possible, for a plan.
    pub(super) fn of(connection: &Connection) -> Result<Access, String> {
        // What only the driver can do.
        for (key, what) in [
            ("LoadExt", "loads extensions that only the driver knows"),
            ("PWD", "is the key of an encrypted file that only the driver opens"),
        ] {
            if connection.settings.get(key).is_some_and(|value| !value.is_empty()) {
                return Err(format!("the connection's `{key}` {what}"));
            }
        }
        // A URI's parameters may choose another way to lock the file, or none.
        if let Some(name) = connection.settings.get("Database")
            && name.starts_with("file:")
            && name.contains('?')
        {
            return Err("the connection's `Database` is a URI with parameters".to_owned());
        }
        let library = Library::of_driver(&connection.driver)?;
        // SQLite's own answer: the driver takes the name out of a connection string by rules of its own.
        let listed = connection.session.text_rows("PRAGMA database_list", &[]);
        let listed = listed.map_err(|error| format!("`PRAGMA database_list`: {error}"))?;
        let main = listed
            .into_iter()
            .find_map(|row| match <[Option<String>; 3]>::try_from(row) {
                Ok([_, Some(name), file]) if name == "main" => file,
                _ => None,
            });
        let path = main.filter(|path| !path.is_empty());
        let path = path.ok_or("the database is in memory or temporary, and belongs to its one connection")?;
        Ok(Access {
            library,
            options: OpenOptions {
                path,
                busy_limit: busy_limit(&connection.settings),
            },
            foreign_keys: connection.settings.get("FKSupport").is_some_and(is_true),
        })
    }

    /// Opens the file to look at it, and waits a second at most for a lock.
    ///
    /// # Errors
    /// [`Error::Client`].
    pub(super) fn open_briefly(&self, cache_bytes: usize) -> Result<Database, Error> {
        let mut brief = self.clone();
        brief.options.busy_limit = self.options.busy_limit.min(Duration::from_secs(1));
        brief.open(&Interrupt::new(), cache_bytes)
    }

    /// Opens the file, with a page cache of so many bytes.
    ///
    /// `SyncPragma` and `JournalMode` are left aside: a load is all or nothing also when the power fails, and the driver has
    /// already switched the file to a mode that stays, such as WAL. So is `NoTXN`, for the same reason. The other options are
    /// about how ODBC shows values.
    ///
    /// # Errors
    /// [`Error::Client`].
    pub(super) fn open(&self, interrupt: &Interrupt, cache_bytes: usize) -> Result<Database, Error> {
        let database = Database::open(self.library, &self.options, interrupt)?;
        database.text_rows(&format!("PRAGMA cache_size = -{}", (cache_bytes / 1024).max(64)))?;
        // Pages of a mapped file would count as the process's memory.
        database.text_rows("PRAGMA mmap_size = 0")?;
        // Sorting, and rows that are set aside, go to a file.
        database.text_rows("PRAGMA temp_store = 1")?;
        let on = if self.foreign_keys { "ON" } else { "OFF" };
        database.text_rows(&format!("PRAGMA foreign_keys = {on}"))?;
        Ok(database)
    }
}

/// How long the driver would wait for a lock.
fn busy_limit(settings: &ConnectionString) -> Duration {
    let given = settings.get("Timeout").and_then(|text| text.trim().parse::<i64>().ok());
    let limit_ms = match given.unwrap_or(BUSY_LIMIT_MS) {
        limit if (1..=BUSY_LIMIT_MAX_MS).contains(&limit) => limit,
        _ => BUSY_LIMIT_MAX_MS,
    };
    Duration::from_millis(limit_ms.unsigned_abs())
}

/// As the driver reads a switch (`getbool`).
fn is_true(value: &str) -> bool {
    value.starts_with(|letter: char| matches!(letter, 'Y' | 'y' | 'T' | 't' | '1'..='9'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_waited_for_as_long_as_the_driver_would() {
        let limit_ms = |text: &str| busy_limit(&ConnectionString::parse(text).unwrap()).as_millis();
        assert_eq!(limit_ms("Database=x"), 100_000);
        assert_eq!(limit_ms("timeout=250"), 250);
        assert_eq!([limit_ms("Timeout=0"), limit_ms("Timeout=2000000")], [1_000_000; 2]);
    }

    #[test]
    fn a_switch_is_on_for_what_the_driver_takes_for_on() {
        assert!(is_true("Yes") && is_true("true") && is_true("1"));
        assert!(!is_true("0") && !is_true("No") && !is_true("off") && !is_true(""));
    }
}
