//! What a cell costs that passes from a source's column to a target's as it is: `cargo bench --bench conversion`.
//!
//! Prints nanoseconds for each pair of types, once with a source whose declared sizes can be relied on (the whole column
//! changes hands) and once with one that has to be looked at value by value.

#![allow(clippy::unwrap_used, reason = "a measurement that cannot be made should stop")]

use std::time::Instant;

use dray::{
    copy::Conversion,
    database::{Column, ColumnData, Limits, LogicalType, Padding, Value, temporal::Date},
};

const ROWS: u32 = 20_000;

const ROUNDS: u32 = 100;

fn main() {
    let integer = |bits| LogicalType::Integer { bits, signed: true };
    let float = LogicalType::Float { bits: 64 };
    let decimal = LogicalType::decimal(15, 2);
    let varchar = LogicalType::Text {
        length: Some(44),
        padding: Padding::None,
    };
    let day = Value::Date(Date::parse("1996-01-02").unwrap());
    for (from, to, value) in [
        (integer(64), integer(64), Value::I64(1_234_567)),
        (integer(64), integer(16), Value::I64(12_345)),
        (float, float, Value::F64(0.5)),
        (decimal, decimal, Value::Decimal("12345.67")),
        (varchar, varchar, Value::Text("furiously ironic deposits quickly")),
        (LogicalType::Date, LogicalType::Date, day),
    ] {
        for keeps_declared_sizes in [true, false] {
            let each_ns = measure(from, to, value, keeps_declared_sizes);
            println!("{from:?} to {to:?}, sizes kept {keeps_declared_sizes}: {each_ns:.2} ns");
        }
    }
}

/// Nanoseconds a cell.
fn measure(from: LogicalType, to: LogicalType, value: Value<'_>, keeps_declared_sizes: bool) -> f64 {
    let (source, target) = (column(from), column(to));
    let conversion = Conversion::plan(&source, &target, &limits(false)).unwrap();
    let conversion = conversion.between(&source, &target, &limits(keeps_declared_sizes), &limits(false));
    let mut data = ColumnData::new(from.layout());
    (0..ROWS).for_each(|_| data.push(value));
    let mut out = ColumnData::new(to.layout());
    let started = Instant::now();
    for _ in 0..ROUNDS {
        conversion.convert(&mut data, &mut out).unwrap();
        std::mem::swap(&mut data, &mut out);
    }
    started.elapsed().as_nanos() as f64 / f64::from(ROWS * ROUNDS)
}

fn column(logical: LogicalType) -> Column {
    Column {
        name: "c".to_owned(),
        logical,
        declared: "declared".to_owned(),
        nullable: true,
        key_position: None,
        generated: false,
        from_catalog: true,
    }
}

/// A product that holds nothing out of the ordinary.
fn limits(keeps_declared_sizes: bool) -> Limits {
    Limits {
        nul_in_text: false,
        nan: false,
        infinity: false,
        years: 1..=9999,
        instants_as_utc: false,
        infinite_dates: false,
        zero_dates: false,
        decimal_nan: false,
        decimal_infinity: false,
        keeps_declared_sizes,
    }
}
