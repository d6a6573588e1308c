//! Where a source and a target table that is there have grown apart: columns that one of them lacks, and types that hold
//! less.
//!
//! Knows names and types; what becomes of a value in a narrower column is the conversion's.

use super::{
    conversion::words,
    error::{Phase, Place, Side, TableError},
    plan::{ColumnPlan, new_column},
    request::{Choices, Fraction},
};
use crate::database::{Column, Connection, Counter, Dialect, LogicalType, Relation, Table};

const PLACE: Place = Place {
    phase: Phase::Plan,
    side: Side::Target,
};

/// The refusal of columns that the target lacks, or for other `reasons`, or both.
pub(super) fn refused(lacking: &[&str], mut reasons: Vec<String>) -> Box<TableError> {
    let names = lacking.join("`, `");
    match lacking {
        [] => {}
        [_] => reasons.insert(
            0,
            format!("the target table has no column `{names}`, which the source has"),
        ),
        _ => reasons.insert(
            0,
            format!("the target table has no columns `{names}`, which the source has"),
        ),
    }
    let mut error = TableError::refused(PLACE, "copy.columns_refused", reasons.join("; "));
    if !lacking.is_empty() {
        error.hint = Some("`add_columns=True` adds them, `exclude_columns` leaves them out".to_owned());
    }
    error
}

/// A column that the target gets: its rows have no value for it.
pub(super) fn added_column(new: Column) -> Column {
    Column {
        nullable: true,
        key_position: None,
        ..new
    }
}

/// The statements that give the target the columns that are planned and that it lacks.
///
/// # Errors
/// The product gets none from dray.
pub(super) fn additions(
    target: &dyn Dialect,
    (relation, existing): (&Relation, &Table),
    columns: &[ColumnPlan],
) -> Result<Vec<String>, Box<TableError>> {
    let is_there = |column: &Column| existing.columns.iter().any(|other| other.name == column.name);
    let targets = columns.iter().map(|plan| &plan.target);
    let added: Vec<Column> = targets.filter(|column| !is_there(column)).cloned().collect();
    if added.is_empty() {
        return Ok(Vec::new());
    }
    target.add_columns(relation, &added).ok_or_else(|| {
        let message = format!(
            "dray adds no columns to tables of this product (`{}`) yet",
            target.name()
        );
        TableError::refused(PLACE, "copy.add_columns", message)
    })
}

/// Looks whether the target has columns without which it takes no row, and which none of the source's goes into.
///
/// # Errors
/// It has; with all of their names.
pub(super) fn check_required(
    target: &Connection,
    (relation, existing): (&Relation, &Table),
    columns: &[ColumnPlan],
) -> Result<(), Box<TableError>> {
    let is_written = |column: &Column| columns.iter().any(|plan| plan.target.name == column.name);
    let may_be_required = |column: &&Column| !column.nullable && !column.generated && !is_written(column);
    let candidates: Vec<&str> = (existing.columns.iter().filter(may_be_required))
        .map(|column| column.name.as_str())
        .collect();
    if candidates.is_empty() {
        return Ok(());
    }
    let required = target.dialect.required_columns(&target.session, relation);
    let mut required = required.map_err(|error| TableError::database(PLACE, error, Some(target.dialect)))?;
    required.retain(|name| candidates.contains(&name.as_str()));
    if required.is_empty() {
        return Ok(());
    }
    let (names, forbid) = match required.as_slice() {
        [name] => (format!("column `{name}`"), "forbids NULL and has no default"),
        names => (
            format!("columns `{}`", names.join("`, `")),
            "forbid NULL and have no default",
        ),
    };
    let message = format!("the source has nothing for the target's {names}, which {forbid}");
    let mut error = TableError::refused(PLACE, "copy.columns_required", message);
    error.hint = Some("give the target's column a default, or add the value to a `query`".to_owned());
    Err(error)
}

/// The statements that have the target's counters go on behind the rows that come with numbers of their own; and of which
/// counters there is none, because they may not be set.
pub(super) fn counters(
    target: &dyn Dialect,
    (relation, existing): (&Relation, &Table),
    columns: &[ColumnPlan],
) -> (Vec<String>, Vec<String>) {
    let is_loaded = |counter: &&Counter| {
        let mut loaded = columns.iter().filter(|plan| plan.target.name == counter.column);
        loaded.any(|plan| matches!(plan.target.logical, LogicalType::Integer { .. }))
    };
    let (mut moved, mut stays) = (Vec::new(), Vec::new());
    for counter in existing.counters.iter().filter(is_loaded) {
        match target.move_counter(relation, counter) {
            Some(sql) => moved.push(sql),
            None => stays.push(format!(
                "counter of column `{}`: the user may not set it, and its next number may be that of a row",
                counter.column
            )),
        }
    }
    (moved, stays)
}

/// The columns of the target that hold fewer values than those of the source that go into them, and than the columns that
/// dray would make for these; each in a few words. Only their types are compared; each value is looked at when it comes.
pub(super) fn narrower(columns: &[ColumnPlan], target: &dyn Dialect, same_product: bool) -> Vec<String> {
    let narrow = columns.iter().filter(|plan| is_narrow(plan, target, same_product));
    narrow.map(in_words).collect()
}

/// Looks whether columns of the target are narrower than the widths that those of the source are declared with. Text of
/// any length, a decimal of any size, and whatever a query gives are nothing declared: there only the values can tell.
///
/// # Errors
/// Some are; with all of their names.
pub(super) fn refuse_narrower(
    columns: &[ColumnPlan],
    (source, target): (&dyn Dialect, &dyn Dialect),
    choices: Choices,
) -> Result<(), Box<TableError>> {
    let same_product = source.name() == target.name();
    let is_declared = |plan: &&ColumnPlan| source.keeps_widths() && is_declared_wider(plan, choices);
    let narrow = columns.iter().filter(is_declared);
    let narrow: Vec<&ColumnPlan> = narrow.filter(|plan| is_narrow(plan, target, same_product)).collect();
    if narrow.is_empty() {
        return Ok(());
    }
    let in_words: Vec<String> = narrow.iter().map(|plan| in_words(plan)).collect();
    let message = format!("the target is narrower than the source: {}", in_words.join("; "));
    let mut error = TableError::refused(PLACE, "copy.columns_narrower", message);
    let mut hint = "widen the target's columns, or look at each value with `narrower=\"check\"`".to_owned();
    if narrow.iter().any(|plan| has_fraction(plan.target.logical)) {
        hint.push_str("; `fraction=\"round\"` rounds times");
    }
    error.hint = Some(hint);
    Err(error)
}

/// Whether the source's width is somebody's word, and of the same kind as the target's.
fn is_declared_wider(ColumnPlan { source, target, .. }: &ColumnPlan, choices: Choices) -> bool {
    use LogicalType::{Bytes, Decimal, Float, Instant, Integer, Text, Time, Timestamp};
    let has_width = source.declared.contains('(');
    source.from_catalog
        && match (source.logical, target.logical) {
            (Integer { .. }, Integer { .. }) | (Float { .. }, Float { .. }) => true,
            (Text { length: Some(_), .. }, Text { .. })
            | (Bytes { length: Some(_), .. }, Bytes { .. })
            | (Decimal { precision: Some(_), .. }, Decimal { .. }) => has_width,
            (Time { .. }, Time { .. })
            | (Timestamp { .. }, Timestamp { .. })
            | (Instant { .. }, Instant { .. } | Timestamp { .. }) => has_width && choices.fraction == Fraction::Refuse,
            _ => false,
        }
}

fn has_fraction(logical: LogicalType) -> bool {
    matches!(
        logical,
        LogicalType::Time { .. } | LogicalType::Timestamp { .. } | LogicalType::Instant { .. }
    )
}

fn is_narrow(plan: &ColumnPlan, target: &dyn Dialect, same_product: bool) -> bool {
    let to = plan.target.logical;
    let of_new = new_column(&plan.source, &plan.target.name, target, same_product).map(|new| new.logical);
    is_narrower(plan.source.logical, to) && of_new.is_ok_and(|new| is_narrower(new, to))
}

fn in_words(ColumnPlan { source, target, .. }: &ColumnPlan) -> String {
    let described = |column: &Column, logical: String| match column.declared.is_empty() {
        true => logical,
        false => format!("{} ({logical})", column.declared),
    };
    let from = described(source, sized(source.logical));
    format!(
        "column `{}`: {from} into {}",
        target.name,
        described(target, sized(target.logical))
    )
}

/// A type in words, with its size.
fn sized(logical: LogicalType) -> String {
    let digits_of = |digits: u8| format!("{} with {digits} digits of a second's fraction", words(logical));
    match logical {
        LogicalType::Text {
            length: Some(length), ..
        } => format!("text of {length} characters"),
        LogicalType::Text { length: None, .. } => "text of any length".to_owned(),
        LogicalType::Bytes {
            length: Some(length), ..
        } => format!("{length} bytes"),
        LogicalType::Bytes { length: None, .. } => "bytes of any length".to_owned(),
        LogicalType::Decimal { precision: None, .. } => "decimal of any size".to_owned(),
        LogicalType::Time { digits, .. } | LogicalType::Timestamp { digits } | LogicalType::Instant { digits, .. } => {
            digits_of(digits)
        }
        other => words(other),
    }
}

/// Whether some value of one type has no place in another, between types with a way from the one to the other. Limits of
/// products, which are the same for each of their columns, are no matter of drift.
fn is_narrower(from: LogicalType, to: LogicalType) -> bool {
    use LogicalType::{Boolean, Bytes, Date, Decimal, Float, Instant, Integer, Json, Text, Time, Timestamp, Uuid};
    let is_less = |to: Option<u32>, from: Option<u32>| to.is_some_and(|to| from.is_none_or(|from| from > to));
    match (from, to) {
        (Integer { .. }, Integer { .. }) => {
            let (from, to) = (whole_numbers(from), whole_numbers(to));
            from.0 < to.0 || from.1 > to.1
        }
        (Integer { .. }, Boolean) => true,
        (Integer { .. }, Decimal { .. }) => is_narrower(decimal_of(from), to),
        (Integer { bits, .. }, Float { bits: of_float }) => bits > if of_float == 32 { 24 } else { 53 },
        (Decimal { precision, scale, .. }, Integer { signed, .. }) => {
            let whole = precision.zip(scale).filter(|(_, scale)| *scale == 0);
            // All numbers of so many digits are below the power of ten.
            let fits = |(precision, _)| power_of_ten(precision).is_some_and(|power| power - 1 <= whole_numbers(to).1);
            !signed || !whole.is_some_and(fits)
        }
        (
            Decimal {
                precision,
                scale,
                kept_digits,
            },
            Decimal {
                precision: to_precision,
                scale: to_scale,
                kept_digits: to_kept,
            },
        ) => {
            let whole = |precision: Option<u16>, scale: Option<u16>| {
                precision.map(|precision| u32::from(precision.saturating_sub(scale.unwrap_or(0))))
            };
            is_less(whole(to_precision, to_scale), whole(precision, scale))
                || is_less(to_scale.map(u32::from), scale.map(u32::from))
                || is_less(to_kept.map(u32::from), kept_digits.or(precision).map(u32::from))
        }
        (Float { bits }, Float { bits: to }) => bits > to,
        (Text { length, .. }, Text { length: to, .. }) => is_less(to, length),
        (Text { .. }, Uuid | Json { .. }) => true,
        (Uuid, Text { length, .. }) => is_less(length, Some(36)),
        (Integer { .. }, Text { length, .. }) => {
            let (least, most) = whole_numbers(from);
            is_less(length, Some(least.to_string().len().max(most.to_string().len()) as u32))
        }
        (Json { .. } | LogicalType::Opaque, Text { length, .. }) => length.is_some(),
        (Bytes { length, .. }, Bytes { length: to, .. }) => is_less(to, length),
        (
            Time { digits, span },
            Time {
                digits: to,
                span: to_span,
            },
        ) => digits > to || (span && !to_span),
        (Timestamp { digits }, Timestamp { digits: to }) => digits > to,
        (Timestamp { .. }, Date) => true,
        (
            Instant { digits, epoch_32 },
            Instant {
                digits: to,
                epoch_32: to_epoch_32,
            },
        ) => digits > to || (to_epoch_32 && !epoch_32),
        (Instant { digits, .. }, Timestamp { digits: to }) => digits > to,
        _ => false,
    }
}

/// The least and the greatest of an integer type.
fn whole_numbers(logical: LogicalType) -> (i128, i128) {
    match logical {
        LogicalType::Integer { bits, signed: true } => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        LogicalType::Integer { bits, signed: false } => (0, (1 << bits) - 1),
        _ => (0, 0),
    }
}

/// The decimal that has room for all of an integer type, and no more digits than that.
fn decimal_of(logical: LogicalType) -> LogicalType {
    LogicalType::decimal(whole_numbers(logical).1.to_string().len() as u16, 0)
}

fn power_of_ten(exponent: u16) -> Option<i128> {
    10_i128.checked_pow(exponent.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{Padding, dialect};

    fn integer(bits: u8, signed: bool) -> LogicalType {
        LogicalType::Integer { bits, signed }
    }

    fn text(length: Option<u32>) -> LogicalType {
        LogicalType::Text {
            length,
            padding: Padding::None,
        }
    }

    #[test]
    fn a_type_is_narrower_if_it_holds_less_than_another() {
        let timestamp = |digits| LogicalType::Timestamp { digits };
        for (from, to) in [
            (integer(64, true), integer(32, true)),
            (integer(32, false), integer(32, true)),
            (integer(32, true), integer(64, false)),
            (integer(64, true), LogicalType::decimal(18, 0)),
            (integer(64, true), LogicalType::Float { bits: 64 }),
            (integer(32, true), text(Some(10))),
            (LogicalType::DECIMAL, LogicalType::decimal(65, 30)),
            (LogicalType::decimal(10, 2), LogicalType::decimal(10, 3)),
            (LogicalType::decimal(10, 2), LogicalType::decimal(10, 1)),
            (LogicalType::decimal(10, 0), integer(32, true)),
            (LogicalType::decimal(9, 1), integer(32, true)),
            (LogicalType::Float { bits: 64 }, LogicalType::Float { bits: 32 }),
            (text(Some(20)), text(Some(10))),
            (LogicalType::TEXT, text(Some(65_535))),
            (LogicalType::TEXT, LogicalType::Uuid),
            (timestamp(6), timestamp(3)),
            (timestamp(0), LogicalType::Date),
        ] {
            assert!(is_narrower(from, to), "{from:?} into {to:?}");
        }
        for (from, to) in [
            (integer(32, true), integer(64, true)),
            (integer(32, false), integer(64, true)),
            (integer(64, false), LogicalType::decimal(20, 0)),
            (integer(32, true), LogicalType::Float { bits: 64 }),
            (integer(32, true), text(Some(11))),
            (LogicalType::decimal(65, 30), LogicalType::DECIMAL),
            (LogicalType::decimal(9, 0), integer(32, true)),
            (LogicalType::decimal(10, 2), LogicalType::decimal(12, 4)),
            (text(Some(10)), text(Some(20))),
            (text(Some(10)), LogicalType::TEXT),
            (LogicalType::Uuid, text(Some(36))),
            (LogicalType::Date, timestamp(0)),
            (timestamp(3), timestamp(6)),
            (LogicalType::Boolean, integer(8, true)),
        ] {
            assert!(!is_narrower(from, to), "{from:?} into {to:?}");
        }
    }

    #[test]
    fn columns_are_added_by_each_product_in_its_own_words() {
        let column = |name: &str, declared: &str| Column {
            name: name.to_owned(),
            logical: LogicalType::TEXT,
            declared: declared.to_owned(),
            nullable: true,
            key_position: None,
            generated: false,
            from_catalog: true,
        };
        let columns = [column("a", "text"), column("b", "timestamp(6) NULL")];
        let relation = Relation::new(None, "t");
        for (product, expected) in [
            (
                "postgres",
                &["ALTER TABLE \"t\" ADD COLUMN \"a\" text NULL, ADD COLUMN \"b\" timestamp(6) NULL"][..],
            ),
            (
                "mariadb",
                &["ALTER TABLE `t` ADD COLUMN `a` text NULL, ADD COLUMN `b` timestamp(6) NULL"][..],
            ),
            (
                "sqlite",
                &[
                    "ALTER TABLE \"t\" ADD COLUMN \"a\" text NULL",
                    "ALTER TABLE \"t\" ADD COLUMN \"b\" timestamp(6) NULL",
                ][..],
            ),
            (
                "sqlserver",
                &["ALTER TABLE [t] ADD [a] text NULL, [b] timestamp(6) NULL"][..],
            ),
        ] {
            let statements = dialect(product).add_columns(&relation, &columns);
            assert_eq!(statements.unwrap_or_default(), expected, "{product}");
        }
        assert_eq!(dialect("generic").add_columns(&relation, &columns), None);
    }
}
