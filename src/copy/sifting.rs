//! Batches of which the target takes what it can, and the rest is rejected.
//!
//! What the conversion refuses is known before the target is asked. What the server refuses is found behind savepoints: a
//! part of a batch that it does not take is taken back, and tried again in smaller ones until the row at fault stands
//! alone. The rows keep their order: of two with the same key the first one read is loaded.

use std::{collections::BTreeMap, ops::Range};

use super::{
    conversion::Refusal,
    error::{Phase, Place, Side, TableError},
    pipeline::{Budget, Moved, Written, failed},
    plan::TablePlan,
    rejects::{Fault, Rejects},
};
use crate::database::{Batch, Class, Dialect, Error, Value, WriteError, Writer};

const WRITE: Place = Place {
    phase: Phase::Write,
    side: Side::Target,
};

/// Loads batches without the rows that the target refuses.
pub(super) struct Sieve<'a> {
    plan: &'a TablePlan,
    target: &'a dyn Dialect,
    budget: Budget,
    rejects: &'a mut Rejects,
    /// The rows of a batch, from 0, that the conversion has let pass.
    kept: Vec<usize>,
    /// Some of them, as they are tried.
    part: Batch,
}

/// A batch that is being loaded.
struct Sifted<'a> {
    batch: &'a Batch,
    converted: &'a Batch,
    /// The rows that the conversion has refused and that are not written down yet, with the column at fault.
    refused: BTreeMap<usize, (usize, Refusal)>,
}

impl<'a> Sieve<'a> {
    pub fn new(plan: &'a TablePlan, target: &'a dyn Dialect, budget: Budget, rejects: &'a mut Rejects) -> Sieve<'a> {
        Sieve {
            plan,
            target,
            budget,
            rejects,
            kept: Vec::new(),
            part: Batch::new(plan.columns.iter().map(|column| column.target.logical.layout())),
        }
    }

    /// Converts a batch and loads it, and counts in `moved` what has got in, which `written` is shown.
    ///
    /// # Errors
    /// Anything but that the target refuses rows; or that these are too many.
    pub fn load(
        &mut self,
        batch: &mut Batch,
        converted: &mut Batch,
        (writer, written): (&mut dyn Writer, &mut Written<'_>),
        moved: &mut Moved,
    ) -> Result<(), Box<TableError>> {
        let mut refused = BTreeMap::new();
        converted.clear();
        for (position, column) in self.plan.columns.iter().enumerate() {
            // Of a row with several the first column's is told.
            let mut refuse = |refusal: Refusal| {
                refused.entry(refusal.row).or_insert((position, refusal));
            };
            let (from, to) = (&mut batch.columns[position], &mut converted.columns[position]);
            moved.changed.add(column.conversion.convert_each(from, to, &mut refuse));
        }
        converted.first_row = 1;
        let rows = 0..converted.rows();
        self.kept.clear();
        self.kept.extend(rows.filter(|row| !refused.contains_key(row)));
        let mut sifted = Sifted {
            batch,
            converted,
            refused,
        };
        let mut search = Search::of(self.kept.len());
        while let Some(range) = search.next() {
            let rows = range.len();
            let Err(failed_part) = self.attempt(&sifted, range.clone(), (writer, written), moved) else {
                search.loaded();
                continue;
            };
            let named = named_row(&failed_part).filter(|row| *row < rows);
            if !is_of_rows(&failed_part.error, named.is_some(), self.target) {
                return Err(self.fail(&sifted, range, named, failed_part));
            }
            if let Err(undone) = writer.undo_part() {
                // A trigger may have ended the transaction, and with it the part.
                let mut error = self.fail(&sifted, range, named, failed_part);
                error
                    .message
                    .push_str("; its part of the load could not be taken back: ");
                error
                    .message
                    .push_str(&failed(WRITE, undone, self.target, self.budget).message);
                return Err(error);
            }
            if let Some(alone) = search.failed(named) {
                let row = self.kept[alone];
                self.write_down_before(row, &mut sifted, moved)?;
                self.reject(row, failed_part, &sifted, moved)?;
            }
        }
        self.write_down_before(usize::MAX, &mut sifted, moved)?;
        self.part.recycle(self.budget.batch_bytes());
        Ok(())
    }

    /// Loads some of the rows that are kept as a part of its own.
    fn attempt(
        &mut self,
        sifted: &Sifted<'_>,
        range: Range<usize>,
        (writer, written): (&mut dyn Writer, &mut Written<'_>),
        moved: &mut Moved,
    ) -> Result<(), WriteError> {
        let rows = &self.kept[range];
        let part = if rows.len() == sifted.converted.rows() {
            sifted.converted
        } else {
            self.part.clear();
            for (to, from) in self.part.columns.iter_mut().zip(&sifted.converted.columns) {
                rows.iter().for_each(|row| to.push(from.value(*row)));
            }
            &self.part
        };
        writer.begin_part()?;
        writer.write(part)?;
        writer.end_part()?;
        written(part);
        moved.rows += part.rows() as u64;
        moved.bytes += part.bytes() as u64;
        Ok(())
    }

    /// What is wrong with the table, and not with a row.
    fn fail(
        &self,
        sifted: &Sifted<'_>,
        range: Range<usize>,
        named: Option<usize>,
        failed_part: WriteError,
    ) -> Box<TableError> {
        let mut error = failed(WRITE, failed_part.error, self.target, self.budget);
        error.row = named.map(|row| sifted.number(self.kept[range.start + row]));
        error
    }

    /// Writes a row down that the server has refused.
    fn reject(
        &mut self,
        row: usize,
        refused: WriteError,
        sifted: &Sifted<'_>,
        moved: &mut Moved,
    ) -> Result<(), Box<TableError>> {
        let error = failed(WRITE, refused.error, self.target, self.budget);
        let code = match error.code.as_str() {
            // The lane in could not spell the value for its product.
            "copy.value_unreadable" | "copy.unsupported" => "copy.value_refused",
            code => code,
        };
        let fault = Fault {
            row: sifted.number(row),
            column: error.column.as_deref(),
            code,
            sqlstate: error.sqlstate.as_deref(),
            reason: &error.message,
        };
        self.write_down(row, &fault, sifted, moved)
    }

    /// Writes down the rows before this one that the conversion has refused.
    fn write_down_before(
        &mut self,
        end: usize,
        sifted: &mut Sifted<'_>,
        moved: &mut Moved,
    ) -> Result<(), Box<TableError>> {
        while let Some(first) = sifted.refused.first_entry().filter(|first| *first.key() < end) {
            let (row, (column, refusal)) = first.remove_entry();
            let fault = Fault {
                row: sifted.number(row),
                column: Some(&self.plan.columns[column].target.name),
                code: "copy.value_refused",
                sqlstate: None,
                reason: &refusal.reason,
            };
            self.write_down(row, &fault, sifted, moved)?;
        }
        Ok(())
    }

    fn write_down(
        &mut self,
        row: usize,
        fault: &Fault<'_>,
        sifted: &Sifted<'_>,
        moved: &mut Moved,
    ) -> Result<(), Box<TableError>> {
        for (column, from) in self.plan.columns.iter().zip(&sifted.batch.columns) {
            // A column that was handed over whole has changed nothing.
            if !from.nulls.is_empty() {
                moved.changed.take_back(column.conversion.changed_in(from, row));
            }
        }
        self.rejects
            .add(self.plan, fault, &|column| sifted.source_value(column, row))
    }
}

impl<'a> Sifted<'a> {
    /// The row's number in the order of reading, from 1.
    fn number(&self, row: usize) -> u64 {
        self.batch.first_row + row as u64
    }

    /// A value as it was read: a column whose values all stay as they are has left the batch.
    fn source_value(&self, column: usize, row: usize) -> Value<'a> {
        let from = &self.batch.columns[column];
        match from.nulls.is_empty() {
            true => self.converted.columns[column].value(row),
            false => from.value(row),
        }
    }
}

/// The row of the part, from 0, that an error names.
fn named_row(failed_part: &WriteError) -> Option<usize> {
    let of_error = match &failed_part.error {
        Error::Row { row, .. } | Error::Unreadable { row, .. } | Error::OverMemoryLimit { row: Some(row), .. } => {
            row.checked_sub(1).and_then(|row| usize::try_from(row).ok())
        }
        _ => None,
    };
    failed_part.row.or(of_error)
}

/// Whether other rows would be taken where these are not.
fn is_of_rows(error: &Error, names_row: bool, target: &dyn Dialect) -> bool {
    match error {
        Error::Row { error, .. } => is_of_rows(error, true, target),
        Error::Unreadable { .. } | Error::RowTooLong { .. } => true,
        Error::Unsupported(_) => names_row,
        _ => error
            .diagnostic()
            .is_some_and(|diagnostic| matches!(target.classify(diagnostic), Class::Data | Class::Constraint)),
    }
}

/// Which rows to try next, so that few tries find those that are refused.
struct Search {
    /// The rows before it are loaded or rejected.
    low: usize,
    end: usize,
    /// How many to try where nothing is known.
    size: usize,
    /// There is a row between `low` and this that is refused; it is the last one before, if it was named.
    refused_before: Option<(usize, bool)>,
    /// The rows that are being tried.
    tried: Range<usize>,
    last_refused: usize,
}

impl Search {
    fn of(rows: usize) -> Search {
        Search {
            low: 0,
            end: rows,
            size: rows,
            refused_before: None,
            tried: 0..0,
            last_refused: 0,
        }
    }

    fn next(&mut self) -> Option<Range<usize>> {
        if self.low >= self.end {
            return None;
        }
        let high = match self.refused_before {
            None => self.low.saturating_add(self.size).min(self.end),
            Some((end, true)) => (end - 1).max(self.low + 1),
            Some((end, false)) => self.low + ((end - self.low) / 2).max(1),
        };
        self.tried = self.low..high;
        Some(self.tried.clone())
    }

    /// The rows that were tried are in.
    fn loaded(&mut self) {
        self.low = self.tried.end;
        match self.refused_before {
            Some((end, _)) => self.refused_before = Some((end, false)).filter(|_| end > self.low),
            None => self.size = self.size.saturating_mul(2),
        }
        // A named row is the last of its kind.
        if let Some((end, is_named)) = &mut self.refused_before {
            *is_named = *end == self.low + 1;
        }
    }

    /// One of the rows that were tried is refused, perhaps this one of them. The row, if it was tried alone: it is left out.
    fn failed(&mut self, named: Option<usize>) -> Option<usize> {
        let tried = self.tried.clone();
        if tried.len() > 1 {
            self.refused_before = Some(match named {
                Some(row) => (tried.start + row + 1, true),
                None => (tried.end, false),
            });
            return None;
        }
        // Refused rows lie about as far apart as these two.
        self.size = (tried.start - self.last_refused).max(1);
        self.low = tried.end;
        self.last_refused = tried.end;
        self.refused_before = self.refused_before.filter(|(end, _)| *end > tried.end);
        Some(tried.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rows that are left out and how many rows were sent, where these are refused.
    fn sift(rows: usize, refused: &[usize], names: bool) -> (Vec<usize>, usize, usize) {
        let (mut search, mut left_out, mut sent, mut tries) = (Search::of(rows), Vec::new(), 0, 0);
        let mut loaded = vec![false; rows];
        while let Some(range) = search.next() {
            sent += range.len();
            tries += 1;
            match range.clone().find(|row| refused.contains(row)) {
                None => {
                    range.for_each(|row| assert!(!std::mem::replace(&mut loaded[row], true), "{row} twice"));
                    search.loaded();
                }
                Some(row) => left_out.extend(search.failed(names.then_some(row - range.start))),
            }
        }
        let missing = (0..rows).filter(|row| !loaded[*row]);
        assert_eq!(missing.collect::<Vec<_>>(), left_out);
        (left_out, sent, tries)
    }

    #[test]
    fn the_refused_rows_are_left_out_and_no_others() {
        let all: Vec<usize> = (0..50).collect();
        for refused in [&[][..], &[0], &[49], &[7, 8, 9], &[0, 25, 49], &all] {
            for names in [true, false] {
                assert_eq!(sift(50, refused, names).0, refused);
            }
        }
        assert_eq!(sift(0, &[], false).0, [] as [usize; 0]);
    }

    #[test]
    fn without_refused_rows_there_is_one_try() {
        assert_eq!(sift(10_000, &[], false), (vec![], 10_000, 1));
    }

    #[test]
    fn a_single_one_is_found_in_few_tries() {
        let (_, sent, tries) = sift(10_000, &[6_000], true);
        assert!(sent < 30_000 && tries < 6, "{sent} {tries}");
        let (_, sent, tries) = sift(10_000, &[6_000], false);
        assert!(sent < 50_000 && tries < 40, "{sent} {tries}");
    }

    #[test]
    fn many_are_found_without_sending_all_rows_for_each() {
        let refused: Vec<usize> = (0..10_000).step_by(10).collect();
        for names in [true, false] {
            let (_, sent, tries) = sift(10_000, &refused, names);
            assert!(sent < 100_000 && tries < 10_000, "{sent} {tries}");
        }
    }
}
