use super::*;
use crate::database::batch::ColumnData;

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

fn strict() -> Limits {
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
        keeps_declared_sizes: false,
    }
}

/// One value from a source type to a target type, spelled for comparing; `Err` is the plan's or the value's refusal.
fn carry(value: Value<'_>, from: LogicalType, to: LogicalType) -> Result<String, String> {
    let conversion = Conversion::plan(&column(from), &column(to), &strict())?;
    let (mut data, mut out) = (ColumnData::new(from.layout()), ColumnData::new(to.layout()));
    data.push(value);
    conversion.convert(&data, &mut out).map_err(|refusal| refusal.reason)?;
    Ok(format!("{:?}", out.value(0)))
}

fn text(length: u32, padding: Padding) -> LogicalType {
    LogicalType::Text {
        length: Some(length),
        padding,
    }
}

const I16: LogicalType = LogicalType::Integer { bits: 16, signed: true };
const I64: LogicalType = LogicalType::Integer { bits: 64, signed: true };
const U64: LogicalType = LogicalType::Integer {
    bits: 64,
    signed: false,
};
const F32: LogicalType = LogicalType::Float { bits: 32 };
const F64: LogicalType = LogicalType::Float { bits: 64 };

#[test]
fn integers_go_where_their_value_fits() {
    assert_eq!(carry(Value::I64(-32_768), I64, I16).unwrap(), "I64(-32768)");
    assert!(carry(Value::I64(32_768), I64, I16).is_err());
    assert!(carry(Value::I64(2), I64, LogicalType::Boolean).is_err());
    assert_eq!(carry(Value::I64(1 << 53), I64, F64).unwrap(), "F64(9007199254740992.0)");
    assert!(carry(Value::I64((1 << 53) + 1), I64, F64).is_err());
    assert_eq!(
        carry(Value::Decimal("18446744073709551615"), U64, U64).unwrap(),
        "Decimal(\"18446744073709551615\")"
    );
    assert!(carry(Value::Decimal("18446744073709551615"), U64, I64).is_err());
    assert!(carry(Value::I64(-1), I64, U64).is_err());
}

#[test]
fn decimals_are_never_rounded_and_never_become_floats() {
    let target = LogicalType::decimal(5, 2);
    assert_eq!(
        carry(Value::Decimal("999.990"), LogicalType::DECIMAL, target).unwrap(),
        "Decimal(\"999.990\")"
    );
    assert!(carry(Value::Decimal("1.005"), LogicalType::DECIMAL, target).is_err());
    assert!(carry(Value::Decimal("1000"), LogicalType::DECIMAL, target).is_err());
    assert!(carry(Value::Decimal("1"), LogicalType::DECIMAL, F64).is_err());
    assert!(carry(Value::F64(1.0), F64, target).is_err());
    let numeric = LogicalType::Decimal {
        precision: None,
        scale: None,
        kept_digits: Some(15),
    };
    assert!(carry(Value::Decimal("1234567890.123456"), LogicalType::DECIMAL, numeric).is_err());
}

#[test]
fn floats_keep_every_bit_or_are_refused() {
    assert_eq!(carry(Value::F64(0.5), F64, F32).unwrap(), "F64(0.5)");
    assert!(carry(Value::F64(0.1), F64, F32).is_err());
    assert!(carry(Value::F64(f64::NAN), F64, F64).is_err());
    assert!(carry(Value::F64(f64::INFINITY), F64, F64).is_err());
}

#[test]
fn text_is_not_cut_filled_or_stripped() {
    let free = LogicalType::TEXT;
    assert!(carry(Value::Text("éé€"), free, text(3, Padding::None)).is_ok());
    assert!(carry(Value::Text("éé€ "), free, text(3, Padding::None)).is_err());
    assert!(carry(Value::Text("a"), free, text(2, Padding::Filled)).is_err());
    assert!(carry(Value::Text("a "), free, text(2, Padding::Stripped)).is_err());
    assert!(carry(Value::Text("a "), text(2, Padding::Filled), text(2, Padding::Stripped)).is_ok());
    assert!(carry(Value::Text("a\0"), free, free).is_err());
}

#[test]
fn times_keep_their_fraction_and_zone() {
    let digits = |digits| LogicalType::Timestamp { digits };
    let value = Value::Timestamp(Timestamp::parse("2026-01-01 00:00:00.120").unwrap());
    assert!(carry(value, digits(6), digits(2)).is_ok());
    assert!(carry(value, digits(6), digits(1)).is_err());
    assert!(carry(value, digits(6), LogicalType::Date).is_err());
    assert!(
        carry(
            value,
            digits(6),
            LogicalType::Instant {
                digits: 6,
                epoch_32: false
            }
        )
        .is_err()
    );
    let span = Value::Time(Time::parse("-25:00:00").unwrap());
    let time = |span| LogicalType::Time { digits: 6, span };
    assert!(carry(span, time(true), time(true)).is_ok());
    assert!(carry(span, time(true), time(false)).is_err());
}

#[test]
fn an_instant_goes_into_a_short_epoch_only_where_it_lies_in_it() {
    let wide = LogicalType::Instant {
        digits: 6,
        epoch_32: false,
    };
    let narrow = LogicalType::Instant {
        digits: 6,
        epoch_32: true,
    };
    let instant = |text| Value::Instant(crate::database::temporal::OffsetTimestamp::parse(text).unwrap());
    assert!(carry(instant("2038-01-19 04:14:07+01"), wide, narrow).is_ok());
    assert!(carry(instant("2038-01-19 03:14:08+00"), wide, narrow).is_err());
    assert!(carry(instant("1970-01-01 00:00:00+00"), wide, narrow).is_err());
    assert!(
        carry(
            instant("2026-01-01 00:00:00+00"),
            wide,
            LogicalType::Timestamp { digits: 6 }
        )
        .is_err()
    );
}

#[test]
fn null_is_refused_where_the_target_has_none() {
    let target = Column {
        nullable: false,
        ..column(I64)
    };
    let conversion = Conversion::plan(&column(I64), &target, &strict()).unwrap();
    let (mut data, mut out) = (ColumnData::new(Layout::I64), ColumnData::new(Layout::I64));
    data.push(Value::I64(1));
    data.push(Value::Null);
    assert_eq!(conversion.convert(&data, &mut out).unwrap_err().row, 1);
}

#[test]
fn what_the_text_of_a_uuid_or_json_loses_is_refused_in_the_plan() {
    let json = |normalized| LogicalType::Json { normalized };
    assert!(carry(Value::Text("{}"), LogicalType::TEXT, json(false)).is_ok());
    assert!(carry(Value::Text("{}"), json(false), json(true)).is_err());
    let uuid = "550E8400-e29b-41d4-a716-446655440000";
    assert!(
        carry(Value::Text(uuid), LogicalType::TEXT, LogicalType::Uuid)
            .unwrap()
            .contains("550e8400")
    );
    assert!(carry(Value::Text("550E8400"), LogicalType::TEXT, LogicalType::Uuid).is_err());
    assert!(carry(Value::Bytes(b"a"), LogicalType::BYTES, LogicalType::TEXT).is_err());
}
