//! Which keys differ: both sides are read once, each row summed up in one of some hundred ranges of keys; of the ranges that
//! differ the first ones are read again in finer ranges, until their rows are few enough to be compared one by one.
//!
//! The ranges' boundaries are keys that one side has. Knows no SQL, and no products.

use std::{collections::BTreeMap, panic::resume_unwind, thread};

use super::{
    super::{
        checksum::Checksum,
        error::{Phase, Place, Side, TableError},
    },
    Difference, DifferenceKind,
    key::{Key, Range},
    scanner::Scanner,
};

/// Most keys of a table that are named.
const DIFFERENCES_MAX: usize = 10;

/// Most ranges that one is split into.
const RANGES_MAX: usize = 1_024;

/// So many rows of a range are compared one by one.
const ROWS_BY_KEY: u64 = 1_000;

/// What both sides came to.
#[derive(Default)]
pub(super) struct Found {
    /// The source's rows and the target's.
    pub sums: [Checksum; 2],
    /// The first keys that differ, in their order.
    pub differences: Vec<(Key, DifferenceKind)>,
    /// Whether a range that was read again was another one than before.
    pub has_changed: bool,
}

/// A range of keys, and what its rows summed up to.
struct Piece {
    range: Range,
    sums: [Checksum; 2],
    /// Whether there is no key inside by which it could be split.
    is_one: bool,
}

impl Piece {
    fn differs(&self) -> bool {
        self.sums[0] != self.sums[1]
    }

    fn rows(&self) -> u64 {
        self.sums[0].rows.max(self.sums[1].rows)
    }
}

/// Compares both sides; without a key, as a whole.
pub(super) fn compare(sides: &mut [Scanner<'_>; 2], has_key: bool) -> Result<Found, Box<TableError>> {
    let whole = [Range::default()];
    let boundaries = match has_key {
        true => boundaries(&mut sides[0], &whole)?.remove(0),
        false => Vec::new(),
    };
    let mut pieces = split(sides, &whole, &[boundaries])?.remove(0);
    let mut found = Found::default();
    for piece in &pieces {
        found.sums = [0, 1].map(|side| found.sums[side].and(piece.sums[side]));
    }
    if !has_key {
        return Ok(found);
    }
    loop {
        // Each has one key that differs at least.
        pieces.retain(Piece::differs);
        pieces.truncate(DIFFERENCES_MAX);
        let is_long = |piece: &Piece| piece.rows() > ROWS_BY_KEY && !piece.is_one;
        if !pieces.iter().any(is_long) {
            break;
        }
        pieces = refine(sides, pieces, is_long, &mut found)?;
    }
    let ranges: Vec<Range> = pieces.into_iter().map(|piece| piece.range).collect();
    if !ranges.is_empty() {
        by_key(sides, &ranges, &mut found)?;
    }
    found.has_changed |= found.differences.is_empty() && found.sums[0] != found.sums[1];
    Ok(found)
}

/// Splits the pieces that are too long, and reads them again.
fn refine(
    sides: &mut [Scanner<'_>; 2],
    pieces: Vec<Piece>,
    is_long: impl Fn(&Piece) -> bool,
    found: &mut Found,
) -> Result<Vec<Piece>, Box<TableError>> {
    let long: Vec<&Piece> = pieces.iter().filter(|piece| is_long(piece)).collect();
    let ranges: Vec<Range> = long.iter().map(|piece| piece.range.clone()).collect();
    // From the side that has more rows there, of each range.
    let mut boundaries_of = vec![Vec::new(); ranges.len()];
    for side in [0, 1] {
        let larger = |piece: &Piece| usize::from(piece.sums[1].rows > piece.sums[0].rows);
        let own: Vec<usize> = (0..long.len()).filter(|index| larger(long[*index]) == side).collect();
        let asked: Vec<Range> = own.iter().map(|index| ranges[*index].clone()).collect();
        if !asked.is_empty() {
            for (index, boundaries) in own.into_iter().zip(boundaries(&mut sides[side], &asked)?) {
                boundaries_of[index] = boundaries;
            }
        }
    }
    let mut parts = split(sides, &ranges, &boundaries_of)?;
    for side in [0, 1] {
        let is_same = |parts: &[Vec<Piece>]| {
            let sum = |parts: &Vec<Piece>| {
                parts
                    .iter()
                    .fold(Checksum::default(), |sum, part| sum.and(part.sums[side]))
            };
            parts
                .iter()
                .zip(&long)
                .all(|(parts, piece)| sum(parts) == piece.sums[side])
        };
        if !is_same(&parts) && sides[side].is_ordered {
            // Its database may have another order of keys than it said: from now on it is read whole.
            sides[side].is_ordered = false;
            parts = split(sides, &ranges, &boundaries_of)?;
        }
        found.has_changed |= !is_same(&parts);
    }
    let mut parts = parts.into_iter();
    let refined = pieces.into_iter().flat_map(|piece| match is_long(&piece) {
        true => parts.next().unwrap_or_default(),
        false => vec![piece],
    });
    Ok(refined.collect())
}

/// Keys of the side inside of each range, some hundred at most, that split its rows about evenly.
fn boundaries(side: &mut Scanner<'_>, ranges: &[Range]) -> Result<Vec<Vec<Key>>, Box<TableError>> {
    let mut samples: Vec<Sample> = ranges.iter().map(|_| Sample::default()).collect();
    side.keys(ranges, &mut |range, key| samples[range].take(key))?;
    let inside = |(sample, range): (Sample, &Range)| {
        let mut keys = sample.keys;
        keys.sort_unstable();
        keys.dedup();
        keys.retain(|key| range.up_to.as_ref() != Some(key));
        keys
    };
    Ok(samples.into_iter().zip(ranges).map(inside).collect())
}

/// Every so manieth key.
#[derive(Default)]
struct Sample {
    keys: Vec<Key>,
    seen: u64,
    doublings: u32,
}

impl Sample {
    fn take(&mut self, key: Key) {
        self.seen += 1;
        if !self.seen.is_multiple_of(1 << self.doublings) {
            return;
        }
        self.keys.push(key);
        if self.keys.len() == RANGES_MAX {
            let mut number = 0;
            self.keys.retain(|_| {
                number += 1;
                number % 2 == 0
            });
            self.doublings += 1;
        }
    }
}

/// Reads the ranges, and sums up what lies between their boundaries.
fn split(
    sides: &mut [Scanner<'_>; 2],
    ranges: &[Range],
    boundaries: &[Vec<Key>],
) -> Result<Vec<Vec<Piece>>, Box<TableError>> {
    let sums = both(sides, |side| {
        let mut sums: Vec<Vec<Checksum>> = boundaries
            .iter()
            .map(|keys| vec![Checksum::default(); keys.len() + 1])
            .collect();
        side.rows(ranges, &mut |range, key, hash| {
            let part = boundaries[range].partition_point(|boundary| *boundary < key);
            sums[range][part].add(hash);
        })?;
        Ok(sums)
    })?;
    let pieces = |index: usize| {
        let parts = ranges[index].split(&boundaries[index]);
        let is_one = parts.len() == 1;
        let piece = |(part, range)| Piece {
            range,
            sums: [0, 1].map(|side: usize| sums[side][index][part]),
            is_one,
        };
        parts.into_iter().enumerate().map(piece).collect()
    };
    Ok((0..ranges.len()).map(pieces).collect())
}

/// Reads the ranges, and names the keys in them whose rows differ.
fn by_key(sides: &mut [Scanner<'_>; 2], ranges: &[Range], found: &mut Found) -> Result<(), Box<TableError>> {
    let [source, target] = both(sides, |side| {
        // Rows of one key that is none are summed up.
        let mut rows: BTreeMap<Key, Checksum> = BTreeMap::new();
        side.rows(ranges, &mut |_, key, hash| rows.entry(key).or_default().add(hash))?;
        Ok(rows)
    })?;
    let missing = source.iter().filter_map(|(key, sum)| match target.get(key) {
        None => Some((key.clone(), DifferenceKind::Missing)),
        Some(other) if other != sum => Some((key.clone(), DifferenceKind::Different)),
        Some(_) => None,
    });
    let extra = target.keys().filter(|key| !source.contains_key(*key));
    let extra = extra.map(|key| (key.clone(), DifferenceKind::Extra));
    found.differences = missing.chain(extra).collect();
    found
        .differences
        .sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
    found.differences.truncate(DIFFERENCES_MAX);
    Ok(())
}

/// Does the same on both sides at once. What fails on one stops the other.
fn both<T: Send>(
    sides: &mut [Scanner<'_>; 2],
    work: impl Fn(&mut Scanner<'_>) -> Result<T, Box<TableError>> + Sync,
) -> Result<[T; 2], Box<TableError>> {
    let [source, target] = sides;
    let interrupts = (source.interrupt.clone(), target.interrupt.clone());
    thread::scope(|scope| {
        let work = &work;
        let thread = thread::Builder::new()
            .name("dray-compare".to_owned())
            .spawn_scoped(scope, move || work(target).inspect_err(|_| interrupts.0.raise()));
        let thread = thread.map_err(|error| {
            let place = Place {
                phase: Phase::Read,
                side: Side::Target,
            };
            TableError::refused(place, "copy.no_thread", format!("no thread to read with: {error}"))
        })?;
        let own = work(source).inspect_err(|_| interrupts.1.raise());
        let others = thread.join().unwrap_or_else(|panic| resume_unwind(panic));
        match (own, others) {
            (Ok(own), Ok(others)) => Ok([own, others]),
            // Of two errors one is of the side that was stopped.
            (Err(own), Err(others)) if own.code == "copy.cancelled" => Err(others),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    })
}

impl Difference {
    /// A key that differs, with the names of its columns.
    pub(super) fn of(names: &[String], key: &Key, kind: DifferenceKind) -> Difference {
        let cells = names
            .iter()
            .zip(key)
            .map(|(name, part)| (name.clone(), part.spelled().into()));
        Difference {
            kind,
            key: cells.collect(),
        }
    }
}
