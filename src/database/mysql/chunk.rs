//! Chunks of rows in text, sent so that every row arrives unchanged or the one that does not is found.
//!
//! `LOCAL` makes the server skip rows and change values with a warning where it would stop otherwise; so every warning is
//! an error here, and every row is counted. A chunk that failed is undone and sent again in halves until the row is found
//! that is at fault.

use super::{client::Client, encode::Form};
use crate::{
    database::{Class, Dialect, Error},
    odbc::Diagnostic,
};

/// Where the chunk that is about to be sent began.
const SAVEPOINT: &str = "dray_chunk";

/// Rows in text, all of them whole.
#[derive(Default)]
pub(super) struct Chunk {
    /// The rows, one after the other.
    pub bytes: Vec<u8>,
    /// Where each row ends in `bytes`.
    pub ends: Vec<usize>,
    /// The number of its first row in the table, from 1.
    pub first_row: u64,
}

impl Chunk {
    fn rows(&self, rows: std::ops::Range<usize>) -> &[u8] {
        let end = |row: usize| if row == 0 { 0 } else { self.ends[row - 1] };
        &self.bytes[end(rows.start)..end(rows.end)]
    }

    /// Forgets the rows and keeps the memory.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }
}

/// How rows are sent.
pub(super) struct Statement {
    /// What the chunks are.
    pub form: Form,
    /// The whole LOAD DATA, or an INSERT up to its VALUES.
    pub sql: String,
    /// Knows what the server's errors are about.
    pub dialect: &'static dyn Dialect,
}

impl Statement {
    /// Sends all rows of a chunk; if one fails, finds out which.
    pub(super) fn send_chunk(&self, client: &mut Client, chunk: &Chunk) -> Result<(), Error> {
        let rows = chunk.ends.len();
        if rows > 1 {
            client.execute(&format!("SAVEPOINT {SAVEPOINT}"))?;
        }
        let Err(mut error) = self.send_rows(client, chunk, 0..rows) else {
            return Ok(());
        };
        if client.is_lost() || !self.is_about_a_row(&error) {
            return Err(error);
        }
        // Rows before `low` are in; the failure is between `low` and `high`.
        let (mut low, mut high) = (0, rows);
        if rows > 1 {
            client.execute(&format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}"))?;
        }
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            client.execute(&format!("SAVEPOINT {SAVEPOINT}"))?;
            match self.send_rows(client, chunk, low..middle) {
                Ok(()) => low = middle,
                Err(other) => {
                    error = other;
                    high = middle;
                    client.execute(&format!("ROLLBACK TO SAVEPOINT {SAVEPOINT}"))?;
                }
            }
        }
        if rows > 1
            && let Err(alone) = self.send_rows(client, chunk, low..high)
        {
            error = alone;
        }
        Err(Error::Row {
            column: None,
            row: chunk.first_row + low as u64,
            error: Box::new(error),
        })
    }

    /// Whether the same statement with other rows may succeed.
    fn is_about_a_row(&self, error: &Error) -> bool {
        error.diagnostic().is_some_and(|diagnostic| {
            matches!(
                self.dialect.classify(diagnostic),
                Class::Data | Class::Constraint | Class::Other
            )
        })
    }

    /// Sends some rows of a chunk in one statement, and sees that every one of them has arrived unchanged.
    fn send_rows(&self, client: &mut Client, chunk: &Chunk, rows: std::ops::Range<usize>) -> Result<(), Error> {
        let sent = rows.len() as u64;
        let bytes = chunk.rows(rows);
        let loaded = match self.form {
            Form::File => client.load(&self.sql, bytes)?,
            Form::Values => {
                let mut text = Vec::with_capacity(self.sql.len() + bytes.len());
                text.extend_from_slice(self.sql.as_bytes());
                // Without the last row's comma.
                text.extend_from_slice(&bytes[..bytes.len().saturating_sub(1)]);
                client.run(&text)?
            }
        };
        if client.warnings() > 0 {
            return Err(first_warning(client)?);
        }
        match loaded == sent {
            true => Ok(()),
            false => Err(Error::Unsupported(format!(
                "the server has loaded {loaded} of {sent} rows and gave no warning"
            ))),
        }
    }
}

/// The first warning of the last statement, as an error.
fn first_warning(client: &mut Client) -> Result<Error, Error> {
    let rows = client.query("SHOW WARNINGS LIMIT 1")?;
    let row = rows.into_iter().next().unwrap_or_default();
    let mut cells = row.into_iter().skip(1);
    let native = cells.next().flatten().and_then(|code| code.parse().ok()).unwrap_or(0);
    let message = cells
        .next()
        .flatten()
        .unwrap_or_else(|| "the server gave a warning".to_owned());
    Ok(Error::Client {
        function: "SHOW WARNINGS",
        diagnostic: Diagnostic {
            sqlstate: sqlstate_of(native).to_owned(),
            native,
            message: without_row(&message).to_owned(),
        },
    })
}

/// The SQLSTATE that the server gives an error of this number; SHOW WARNINGS does not say it.
fn sqlstate_of(native: i32) -> &'static str {
    match native {
        1022 | 1048 | 1062 | 1169 | 1216 | 1217 | 1451 | 1452 | 1557 | 1586 | 3819 | 4025 => "23000",
        1264 | 1690 => "22003",
        1406 => "22001",
        1292 => "22007",
        1366 => "22007",
        1263 => "22004",
        _ => "01000",
    }
}

/// A message without the row's number, which counts from the statement's first.
fn without_row(message: &str) -> &str {
    match message.rsplit_once(" at row ") {
        Some((before, number)) if number.bytes().all(|byte| byte.is_ascii_digit()) => before,
        _ => message,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_warnings_row_is_cut_off_since_it_counts_from_the_statements_first() {
        assert_eq!(
            without_row("Data truncated for column 'a' at row 7"),
            "Data truncated for column 'a'"
        );
        assert_eq!(
            without_row("Duplicate entry 'x at row y' for key"),
            "Duplicate entry 'x at row y' for key"
        );
    }

    #[test]
    fn a_chunks_rows_lie_between_their_ends() {
        let chunk = Chunk {
            bytes: b"a\nbb\nccc\n".to_vec(),
            ends: vec![2, 5, 9],
            first_row: 1,
        };
        assert_eq!(chunk.rows(0..3), b"a\nbb\nccc\n");
        assert_eq!(chunk.rows(1..2), b"bb\n");
        assert_eq!(chunk.rows(2..3), b"ccc\n");
    }
}
