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
    conversion
        .convert(&mut data, &mut out)
        .map_err(|refusal| refusal.reason)?;
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
    assert_eq!(conversion.convert(&mut data, &mut out).unwrap_err().row, 1);
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

/// Values of a layout at the edges of what some column holds.
fn edges(layout: Layout) -> Vec<Value<'static>> {
    let timestamp = |text| Timestamp::parse(text).unwrap();
    let mut values = vec![Value::Null];
    match layout {
        Layout::I64 => {
            let edges = [
                0,
                1,
                2,
                -1,
                127,
                128,
                255,
                256,
                32_767,
                -32_769,
                65_535,
                i64::MAX,
                i64::MIN,
            ];
            values.extend(edges.map(Value::I64));
        }
        Layout::F64 => {
            let edges = [0.0, -0.0, 0.1, 0.5, 1e300, f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
            values.extend(edges.map(Value::F64));
        }
        Layout::Decimal => {
            let edges = "0 -0 1 -1 +1 .5 0.5 0.05 00.50 999.99 1000 9.999 1234567890.123456 123456789012345 NaN \
                         Infinity -Infinity 18446744073709551615 18446744073709551616 9999999999999999999";
            values.extend(edges.split_whitespace().map(Value::Decimal));
        }
        Layout::Text => {
            let edges = ["", " ", "a", "ab", "é", "éé", "a ", "a\0", "abc", "日本", "🎉🎉", "{}"];
            values.extend(edges.map(Value::Text));
            values.push(Value::Text("550e8400-e29b-41d4-a716-446655440000"));
            values.push(Value::Text("550E8400-e29b-41d4-a716-446655440000"));
        }
        Layout::Bytes => values.extend([&b""[..], b"a", b"ab", b"abc"].map(Value::Bytes)),
        Layout::Date => {
            let edges = [
                "0001-01-01",
                "9999-12-31",
                "0001-12-31 BC",
                "infinity",
                "-infinity",
                "0000-00-00",
            ];
            values.extend(edges.map(|text| Value::Date(Date::parse(text).unwrap())));
        }
        Layout::Time => {
            let edges = [
                "00:00:00",
                "23:59:59.9",
                "12:00:00.000001",
                "12:00:00.000000001",
                "24:00:00",
                "-01:00:00",
            ];
            values.extend(edges.map(|text| Value::Time(Time::parse(text).unwrap())));
        }
        Layout::Timestamp | Layout::Instant => {
            for text in [
                "0001-01-01 00:00:00",
                "9999-12-31 23:59:59.999999",
                "2026-01-01 00:00:00.5",
                "2026-01-01 00:00:00.000000001",
                "2038-01-19 03:14:08",
                "0044-03-15 00:00:00 BC",
                "infinity",
                "-infinity",
                "0000-00-00",
            ] {
                for offset_minutes in [0, 60, -60] {
                    let local = timestamp(text);
                    values.push(match layout {
                        Layout::Timestamp => Value::Timestamp(local),
                        _ => Value::Instant(crate::database::temporal::OffsetTimestamp { local, offset_minutes }),
                    });
                }
            }
        }
    }
    values
}

fn all_types() -> Vec<LogicalType> {
    let mut types = vec![
        LogicalType::Boolean,
        LogicalType::DECIMAL,
        LogicalType::decimal(5, 2),
        LogicalType::decimal(2, 2),
        LogicalType::decimal(20, 0),
        LogicalType::Decimal {
            precision: Some(12),
            scale: None,
            kept_digits: None,
        },
        LogicalType::Decimal {
            precision: Some(10),
            scale: Some(2),
            kept_digits: Some(4),
        },
        F32,
        F64,
        LogicalType::TEXT,
        LogicalType::BYTES,
        LogicalType::Date,
        LogicalType::Uuid,
        LogicalType::Json { normalized: false },
        LogicalType::Opaque,
    ];
    for (bits, signed) in [
        (8, true),
        (8, false),
        (16, true),
        (24, false),
        (32, true),
        (64, true),
        (64, false),
    ] {
        types.push(LogicalType::Integer { bits, signed });
    }
    for length in [1, 2] {
        types.extend([Padding::None, Padding::Filled, Padding::Stripped].map(|padding| text(length, padding)));
        for filled in [false, true] {
            let length = Some(length);
            types.push(LogicalType::Bytes { length, filled });
        }
    }
    for digits in [0, 6, 9] {
        types.push(LogicalType::Timestamp { digits });
        types.extend([false, true].map(|span| LogicalType::Time { digits, span }));
        types.extend([false, true].map(|epoch_32| LogicalType::Instant { digits, epoch_32 }));
    }
    types
}

#[test]
fn a_column_that_passes_whole_is_one_that_passes_value_by_value() {
    let generous = Limits {
        nul_in_text: true,
        nan: true,
        infinity: true,
        years: -4712..=9999,
        infinite_dates: true,
        zero_dates: true,
        decimal_nan: true,
        decimal_infinity: true,
        ..strict()
    };
    let mut passed = 0;
    for from in all_types() {
        for to in all_types() {
            for limits in [strict(), generous.clone()] {
                for nullable in [false, true] {
                    let target = Column { nullable, ..column(to) };
                    let Ok(conversion) = Conversion::plan(&column(from), &target, &limits) else {
                        continue;
                    };
                    for value in edges(from.layout()) {
                        let mut data = ColumnData::new(from.layout());
                        data.push(value);
                        let by_value = conversion
                            .value(value, &mut String::new())
                            .map(|kept| format!("{kept:?}"));
                        if conversion.passing.passes(&data) {
                            passed += 1;
                            assert_eq!(by_value, Ok(format!("{value:?}")), "{from:?} to {to:?}");
                        }
                    }
                }
            }
        }
    }
    assert!(passed > 1_000, "only {passed} passed");
}

#[test]
fn what_a_products_own_sizes_rule_out_is_not_looked_for() {
    let keeps = |keeps_declared_sizes| Limits {
        keeps_declared_sizes,
        ..strict()
    };
    let passes = |from: LogicalType, to: LogicalType, value: Value<'_>, limits: Limits| {
        let (source, target) = (column(from), column(to));
        let conversion = Conversion::plan(&source, &target, &strict()).unwrap();
        let mut data = ColumnData::new(from.layout());
        data.push(value);
        let conversion = conversion.between(&source, &target, &limits, &strict());
        conversion.passing.passes(&data)
    };
    for (from, to, beyond) in [
        (
            LogicalType::decimal(5, 2),
            LogicalType::decimal(6, 2),
            Value::Decimal("12345.678"),
        ),
        (text(2, Padding::None), text(3, Padding::None), Value::Text("abcd")),
    ] {
        assert!(passes(from, to, beyond, keeps(true)));
        assert!(!passes(from, to, beyond, keeps(false)));
    }
}

#[test]
fn a_fraction_is_rounded_only_where_that_was_chosen() {
    let digits = |digits| LogicalType::Timestamp { digits };
    let carry = |text: &str, fraction: Fraction| {
        let choices = Choices {
            fraction,
            ..Choices::default()
        };
        let conversion = Conversion::plan(&column(digits(7)), &column(digits(6)), &strict()).unwrap();
        let (mut data, mut out) = (ColumnData::new(Layout::Timestamp), ColumnData::new(Layout::Timestamp));
        for text in ["2024-01-01 00:00:00.123456", text] {
            data.push(Value::Timestamp(Timestamp::parse(text).unwrap()));
        }
        let changed = conversion.choosing(choices).convert(&mut data, &mut out)?;
        Ok((changed.rounded, out.value(1))
            == (
                1,
                Value::Timestamp(Timestamp::parse("2024-01-01 00:00:00.123457").unwrap()),
            ))
    };
    assert_eq!(carry("2024-01-01 00:00:00.1234567", Fraction::Round), Ok(true));
    let refusal: Refusal = carry("2024-01-01 00:00:00.1234567", Fraction::Refuse).unwrap_err();
    assert_eq!(
        (refusal.row, refusal.hint.as_deref()),
        (1, Some("`fraction=\"round\"` rounds such values"))
    );
    let refusal = carry("9999-12-31 23:59:59.9999999", Fraction::Round).unwrap_err();
    assert!(refusal.hint.is_none() && refusal.reason.contains("after the last one"));
}

#[test]
fn values_with_a_choice_become_null_only_where_that_was_chosen_and_allowed() {
    let infinite = Date::INFINITY;
    for (logical, value, name) in [
        (F64, Value::F64(f64::NEG_INFINITY), "infinity"),
        (F64, Value::F64(f64::NAN), "nan"),
        (LogicalType::DECIMAL, Value::Decimal("NaN"), "nan"),
        (LogicalType::DECIMAL, Value::Decimal("-Infinity"), "infinity"),
        (LogicalType::Date, Value::Date(infinite), "infinity"),
        (LogicalType::Date, Value::Date(Date::ZERO), "zero_dates"),
    ] {
        let mut choices = Choices::default();
        match name {
            "infinity" => choices.infinity = Choice::Null,
            "nan" => choices.nan = Choice::Null,
            _ => choices.zero_dates = Choice::Null,
        }
        let convert = |nullable: bool, choices: Choices| {
            let target = Column {
                nullable,
                ..column(logical)
            };
            let conversion = Conversion::plan(&column(logical), &target, &strict())
                .unwrap()
                .choosing(choices);
            let (mut data, mut out) = (ColumnData::new(logical.layout()), ColumnData::new(logical.layout()));
            data.push(value);
            conversion
                .convert(&mut data, &mut out)
                .map(|changed| (changed, out.value(0) == Value::Null))
        };
        let (changed, is_null) = convert(true, choices).unwrap();
        assert!(is_null, "{value:?}");
        assert_eq!(changed.infinity + changed.nan + changed.zero_dates, 1);
        let refusal = convert(true, Choices::default()).unwrap_err();
        assert_eq!(
            refusal.hint.unwrap(),
            format!("`{name}=\"null\"` copies such values as NULL")
        );
        assert_eq!(convert(false, choices).unwrap_err().hint, None, "NULL would not help");
    }
}
