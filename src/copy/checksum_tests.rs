use super::*;
use crate::database::{
    Value,
    temporal::{OffsetTimestamp, Timestamp},
};

fn column(logical: LogicalType) -> Column {
    Column {
        name: "c".to_owned(),
        logical,
        declared: String::new(),
        nullable: true,
        key_position: None,
        generated: false,
        from_catalog: true,
    }
}

/// The hash of a row of these values.
fn hash(cells: &[(LogicalType, Value<'_>)]) -> u128 {
    let columns: Vec<Column> = cells.iter().map(|(logical, _)| column(*logical)).collect();
    let mut batch = Batch::of(&columns);
    for ((_, value), data) in cells.iter().zip(&mut batch.columns) {
        data.push(*value);
    }
    RowHasher::of(&columns).hash(&batch.columns, 0)
}

fn one(logical: LogicalType, value: Value<'_>) -> u128 {
    hash(&[(logical, value)])
}

const I64: LogicalType = LogicalType::Integer { bits: 64, signed: true };
const U64: LogicalType = LogicalType::Integer {
    bits: 64,
    signed: false,
};
const F64: LogicalType = LogicalType::Float { bits: 64 };

#[test]
fn equal_numbers_are_equal_however_they_are_written() {
    let decimal = |text: &'static str| one(LogicalType::DECIMAL, Value::Decimal(text));
    for (one_way, another) in [
        ("1.50", "1.5"),
        ("0", "-0.000"),
        (".5", "00.5"),
        ("12", "+12.0"),
        ("000000000000000000000000000007.1000000", "7.1"),
        ("123456789012345678901234567890.10", "0123456789012345678901234567890.1"),
        ("1000000000000000000", "1000000000000000000.0"),
    ] {
        assert_eq!(decimal(one_way), decimal(another), "{one_way}");
    }
    for whole in [
        0,
        -1,
        999_999_999_999_999_999,
        1_000_000_000_000_000_000,
        i64::MAX,
        i64::MIN,
    ] {
        let text = format!("{whole}.0");
        assert_eq!(
            one(I64, Value::I64(whole)),
            one(LogicalType::DECIMAL, Value::Decimal(&text)),
            "{whole}"
        );
        assert_eq!(
            one(I64, Value::I64(whole)),
            one(U64, Value::Decimal(&whole.to_string())),
            "{whole}"
        );
    }
    let all = [
        "1",
        "-1",
        "0",
        "0.1",
        "0.01",
        "10",
        "100",
        "NaN",
        "Infinity",
        "-Infinity",
        "1000000000000000000",
        "999999999999999999",
        "0.000000000000000001",
        "0.0000000000000000001",
        "100000000000000000000",
    ];
    let hashes: std::collections::HashSet<u128> = all.iter().map(|text| decimal(text)).collect();
    assert_eq!(hashes.len(), all.len(), "different numbers differ");
}

#[test]
fn points_in_time_are_equal_in_every_zone_and_a_date_is_its_midnight() {
    let instant = LogicalType::Instant {
        digits: 6,
        epoch_32: false,
    };
    let timestamp = LogicalType::Timestamp { digits: 6 };
    let at = |text: &str| one(instant, Value::Instant(OffsetTimestamp::parse(text).unwrap()));
    let local = |text: &str| one(timestamp, Value::Timestamp(Timestamp::parse(text).unwrap()));
    assert_eq!(at("2024-03-01 00:30:00.25+02"), at("2024-02-29 22:30:00.250Z"));
    assert_eq!(at("2024-03-01 00:30:00+02"), local("2024-02-29 22:30:00"));
    assert_ne!(at("2024-03-01 00:30:00+02"), at("2024-03-01 00:30:00+01"));
    let date = |text: &str| one(LogicalType::Date, Value::Date(Date::parse(text).unwrap()));
    assert_eq!(date("2024-02-29"), local("2024-02-29 00:00:00"));
    assert_ne!(date("2024-02-29"), date("2024-02-28"));
    // Beyond the calendar in UTC.
    assert_ne!(at("9999-12-31 23:30:00-01"), local("9999-12-31 23:30:00"));
    let time = LogicalType::Time { digits: 6, span: true };
    let span = |text: &str| one(time, Value::Time(Time::parse(text).unwrap()));
    assert_ne!(span("-01:00:00"), span("01:00:00"));
    assert_eq!(span("-00:00:00"), span("00:00:00"));
}

#[test]
fn the_filling_of_a_column_and_the_letters_of_a_uuid_are_no_value() {
    let fixed = |padding| LogicalType::Text {
        length: Some(5),
        padding,
    };
    let text = |padding, text| one(fixed(padding), Value::Text(text));
    assert_eq!(text(Padding::Filled, "ab   "), text(Padding::Stripped, "ab"));
    assert_eq!(text(Padding::Stripped, "ab"), text(Padding::None, "ab"));
    assert_ne!(text(Padding::None, "ab   "), text(Padding::None, "ab"));
    assert_ne!(text(Padding::None, "AB"), text(Padding::None, "ab"));
    let uuid = |text| one(LogicalType::Uuid, Value::Text(text));
    let lower = "00112233-4455-6677-8899-aabbccddeeff";
    assert_eq!(uuid(&lower.to_uppercase()), one(LogicalType::TEXT, Value::Text(lower)));
}

#[test]
fn floats_are_told_apart_by_their_bits() {
    let float = |value| one(F64, Value::F64(value));
    assert_ne!(float(0.0), float(-0.0));
    assert_ne!(float(0.1), float(f64::from(0.1_f32)));
    assert_eq!(float(f64::NAN), float(-f64::NAN));
}

#[test]
fn null_the_empty_text_and_where_a_value_stands_count() {
    let text = |value| (LogicalType::TEXT, value);
    let rows = [
        hash(&[text(Value::Null), text(Value::Text(""))]),
        hash(&[text(Value::Text("")), text(Value::Null)]),
        hash(&[text(Value::Text("")), text(Value::Text(""))]),
        hash(&[text(Value::Text("ab")), text(Value::Text("c"))]),
        hash(&[text(Value::Text("a")), text(Value::Text("bc"))]),
        hash(&[(LogicalType::BYTES, Value::Bytes(b"a")), text(Value::Text("bc"))]),
    ];
    let different: std::collections::HashSet<u128> = rows.into_iter().collect();
    assert_eq!(different.len(), rows.len());
}

#[test]
fn the_order_of_rows_does_not_matter_and_their_number_does() {
    let columns = [column(I64)];
    let sum = |values: &[i64]| {
        let mut batch = Batch::of(&columns);
        values
            .iter()
            .for_each(|value| batch.columns[0].push(Value::I64(*value)));
        let mut checksum = Checksum::default();
        RowHasher::of(&columns).add_all(&batch, &mut checksum);
        checksum
    };
    assert_eq!(sum(&[1, 2, 3]), sum(&[3, 1, 2]));
    assert_eq!(sum(&[1, 2]).and(sum(&[3])), sum(&[1, 2, 3]));
    assert_ne!(sum(&[1, 2]), sum(&[1, 2, 2]));
    assert_ne!(sum(&[1, 1]), sum(&[2, 2]));
}

#[test]
fn checksums_stay_what_they_are() {
    // They stand in reports, and are compared with those of other days.
    let row = hash(&[
        (I64, Value::I64(1)),
        (LogicalType::TEXT, Value::Text("é")),
        (LogicalType::DECIMAL, Value::Decimal("12.50")),
        (LogicalType::Date, Value::Date(Date::parse("2024-02-29").unwrap())),
        (F64, Value::F64(0.5)),
        (I64, Value::Null),
    ]);
    let mut checksum = Checksum::default();
    checksum.add(row);
    assert_eq!(checksum.to_string(), "a7823b0e656b00f5d87f30019bfbac4d");
}
