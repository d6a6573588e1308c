//! Whether the target has what was read: looked at in the load's own session and transaction, before the commit.
//!
//! Knows what is compared for which plan, and nothing of products: how rows are read back on the transaction's session is
//! the writer's ([`Writer::read_back`]).

use super::{
    checksum::{Checksum, RowHasher},
    error::{Phase, Place, Side, TableError},
    plan::ColumnPlan,
    request::{Around, Verify},
};
use crate::database::{Batch, Column, Dialect, Error, LoadSteps, Mode, Relation, Writer};

const PLACE: Place = Place {
    phase: Phase::Write,
    side: Side::Target,
};

/// What is looked at after the rows of a load.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// How.
    pub verify: Verify,
    /// Whether the table that is loaded holds nothing but what the load brings: it is new, emptied, or beside the target.
    pub alone: bool,
    /// Whether it is new, and nobody can have given it a trigger or a rule: what the server has taken is what it holds.
    pub made: bool,
}

impl Verification {
    /// Nothing is loaded.
    pub(super) const NOTHING: Verification = Verification {
        verify: Verify::None,
        alone: false,
        made: false,
    };

    /// What is looked at for such a load.
    pub(super) fn of(
        verify: Verify,
        (mode, exists): (Mode, bool),
        steps: &LoadSteps,
        around: [&Around; 2],
    ) -> Verification {
        let has_before = around.iter().any(|around| !around.before.is_empty());
        // Where the product commits as it makes the table, the user's statements come after that and may fill it.
        let is_filled = !steps.undo.is_empty() && has_before;
        let is_new = steps.staging.is_some() || !exists || mode == Mode::Replace;
        Verification {
            verify,
            alone: (is_new || mode != Mode::Append) && !is_filled,
            made: is_new && !has_before,
        }
    }
}

/// Looks whether the target's columns can be read, for a checksum.
///
/// # Errors
/// Why they cannot.
pub(super) fn can_be_read_back(target: &dyn Dialect, columns: &[ColumnPlan]) -> Result<(), Box<TableError>> {
    let reason = |plan: &ColumnPlan| Some((plan.target.name.clone(), target.unreadable(&plan.target)?));
    let Some((name, reason)) = columns.iter().find_map(reason) else {
        return Ok(());
    };
    let place = Place {
        phase: Phase::Plan,
        side: Side::Target,
    };
    let message = format!("column `{name}` cannot be read back for the checksum: {reason}");
    let mut error = TableError::refused(place, "copy.columns_refused", message);
    error.hint = Some("use `verify=\"count\"`".to_owned());
    Err(error)
}

/// What was found to be equal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// `count`, `checksum`, or nothing.
    pub by: &'static str,
    /// That of the rows that were loaded.
    pub checksum: Option<Checksum>,
}

/// Looks at one load.
pub(super) struct Verifier<'a> {
    verification: Verification,
    dialect: &'a dyn Dialect,
    /// The table that is loaded, and its columns.
    table: &'a Relation,
    columns: &'a [Column],
    hasher: Option<RowHasher>,
    /// What was there before.
    before: Checksum,
    loaded: Checksum,
    batch_bytes: usize,
}

impl<'a> Verifier<'a> {
    /// To be called with the table in place and no row loaded yet.
    ///
    /// # Errors
    /// What is there already cannot be read.
    pub fn begin(
        verification: Verification,
        dialect: &'a dyn Dialect,
        (table, columns): (&'a Relation, &'a [Column]),
        writer: &mut dyn Writer,
        batch_bytes: usize,
    ) -> Result<Self, Error> {
        let hasher = (verification.verify == Verify::Checksum).then(|| RowHasher::of(columns));
        let mut verifier = Verifier {
            verification,
            dialect,
            table,
            columns,
            hasher,
            before: Checksum::default(),
            loaded: Checksum::default(),
            batch_bytes,
        };
        if verifier.hasher.is_some() && !verification.alone {
            verifier.before = verifier.read_back(writer)?;
        }
        Ok(verifier)
    }

    /// Takes in rows as the target is to hold them; to be called with each batch that was written.
    pub fn take(&mut self, batch: &Batch) {
        if let Some(hasher) = &mut self.hasher {
            hasher.add_all(batch, &mut self.loaded);
        }
    }

    /// Compares the target with the `rows` that were loaded, with all of them at the server.
    ///
    /// # Errors
    /// `copy.verify_count` or `copy.verify_checksum` if they differ.
    pub fn finish(mut self, rows: u64, writer: &mut dyn Writer) -> Result<Verified, Box<TableError>> {
        let failed = |error| TableError::database(PLACE, error, Some(self.dialect));
        match self.verification.verify {
            Verify::None => Ok(Verified::default()),
            Verify::Count => {
                let Verification { alone, made, .. } = self.verification;
                let taken = writer.rows_taken().filter(|_| made || !alone);
                let found = match taken {
                    None if alone => self.count(writer).map_err(failed)?,
                    taken => taken,
                };
                match found {
                    Some(found) if found != rows => Err(self.other_count(found, rows)),
                    Some(_) => Ok(Verified {
                        by: "count",
                        checksum: None,
                    }),
                    // Nobody says how many rows the server has taken.
                    None => Ok(Verified::default()),
                }
            }
            Verify::Checksum => {
                let found = self.read_back(writer).map_err(failed)?;
                let expected = self.before.and(self.loaded);
                if found.rows != expected.rows {
                    return Err(self.other_count(found.rows.wrapping_sub(self.before.rows), rows));
                }
                if found != expected {
                    let message = format!(
                        "the target gives back other values than were loaded: the checksum of its {} rows is {found}, and \
                         {expected} is that of what was read",
                        found.rows
                    );
                    let mut error = TableError::refused(PLACE, "copy.verify_checksum", message);
                    error.hint = Some(
                        "a trigger of the target may change values, or another session has written to the table; \
                         `dray verify` names the keys of rows that differ"
                            .to_owned(),
                    );
                    return Err(error);
                }
                Ok(Verified {
                    by: "checksum",
                    checksum: Some(self.loaded),
                })
            }
        }
    }

    /// How many rows the table has, as the transaction sees it.
    fn count(&self, writer: &mut dyn Writer) -> Result<Option<u64>, Error> {
        let table = self.dialect.quote_relation(self.table);
        let rows = writer.query(&format!("SELECT {} FROM {table}", self.dialect.count_of_rows()))?;
        let count = rows.into_iter().flatten().flatten().next();
        Ok(count.and_then(|text| text.parse().ok()))
    }

    /// The checksum of the table, as the transaction sees it.
    fn read_back(&mut self, writer: &mut dyn Writer) -> Result<Checksum, Error> {
        let mut checksum = Checksum::default();
        if let Some(hasher) = &mut self.hasher {
            let take = &mut |batch: &Batch| hasher.add_all(batch, &mut checksum);
            writer.read_back(self.table, self.columns, self.batch_bytes, take)?;
        }
        Ok(checksum)
    }

    fn other_count(&self, found: u64, rows: u64) -> Box<TableError> {
        let message = match self.verification.alone {
            true => format!("the target has {found} rows, and {rows} were read"),
            false => format!("the target has taken {found} rows, and {rows} were read"),
        };
        let mut error = TableError::refused(PLACE, "copy.verify_count", message);
        error.hint = Some(
            "a trigger or rule of the target may keep rows back or add some, or another session has written to the table; \
             `verify=\"none\"` copies without looking"
                .to_owned(),
        );
        error
    }
}
