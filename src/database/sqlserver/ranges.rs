//! A table of SQL Server in ranges of its primary key.
//!
//! Each bound is of its column's own type: a text in UTF-16 orders a `varchar` otherwise than its own collation does, and no
//! index helps against it.

use super::{
    super::{
        Column, Dialect, Error, LogicalType, Relation,
        ranges::{Comparison, Indexed, KeyPart, Ranges, Spell, is_shown, key_of},
    },
    Session, SqlServer, types,
};

/// The ranges of a table, or why there are none.
pub(super) fn ranges(
    dialect: &SqlServer,
    session: &Session,
    relation: &Relation,
    columns: &[Column],
    estimated_rows: Option<u64>,
    wanted: usize,
) -> Result<Result<Ranges, String>, Error> {
    let mut key = Vec::new();
    for column in key_of(columns) {
        match part(dialect, column) {
            Some(part) => key.push(part),
            None => {
                return Ok(Err(format!(
                    "column `{}` of its key is `{}`",
                    column.name, column.declared
                )));
            }
        }
    }
    let table = dialect.quote_relation(relation);
    let indexed = Indexed {
        dialect,
        table: &table,
        key: &key,
        comparison: Comparison::FirstAndColumns,
        rows: estimated_rows,
    };
    indexed.ranges(wanted, &mut |sql| Ok(session.text_rows(sql, &[])?))
}

/// How a column's values become literals; `None` if dray knows none of its type.
fn part<'a>(dialect: &'a SqlServer, column: &Column) -> Option<KeyPart<'a>> {
    let name = dialect.quote(&column.name);
    let (declared, collation) = match column.declared.split_once(" COLLATE ") {
        Some((declared, collation)) => (declared.to_owned(), collation.to_owned()),
        None => (column.declared.clone(), "DATABASE_DEFAULT".to_owned()),
    };
    let cast = move |value: &str| format!("CAST({value} AS {declared})");
    let base = types::base(&column.declared);
    let text = match (base, column.logical) {
        ("nchar" | "nvarchar", _) => name.clone(),
        (_, LogicalType::Text { .. }) => format!("CAST({name} AS nvarchar(4000))"),
        // As text it has two digits of its four.
        ("money" | "smallmoney", _) => format!("CAST(CAST({name} AS decimal(19,4)) AS varchar(60))"),
        (_, LogicalType::Boolean | LogicalType::Integer { .. } | LogicalType::Decimal { .. } | LogicalType::Uuid) => {
            format!("CAST({name} AS varchar(60))")
        }
        // With 16 digits, whose order is that of the numbers.
        (_, LogicalType::Float { .. }) => format!("CONVERT(varchar(60), {name}, 2)"),
        // In ISO 8601, which is read the same under every language.
        (
            _,
            LogicalType::Date | LogicalType::Time { .. } | LogicalType::Timestamp { .. } | LogicalType::Instant { .. },
        ) => format!("CONVERT(varchar(60), {name}, 126)"),
        // Drivers give bytes as text in hexadecimal digits.
        (_, LogicalType::Bytes { .. }) => format!("CAST({name} AS varbinary(8000))"),
        _ => return None,
    };
    let spell: Spell<'a> = match (base, column.logical) {
        ("nchar" | "nvarchar", _) => Box::new(|text| dialect.literal(text)),
        (_, LogicalType::Text { .. }) => Box::new(move |text| match text.is_ascii() {
            true => dialect.literal(text),
            false => cast(&format!("{} COLLATE {collation}", dialect.literal(text))),
        }),
        (_, LogicalType::Integer { .. }) => Box::new(number),
        (_, LogicalType::Bytes { .. }) => Box::new(|text| format!("0x{text}")),
        _ => Box::new(move |text| cast(&format!("'{text}'"))),
    };
    Some(KeyPart {
        name,
        text,
        spell,
        is_shown: is_shown(column),
        is_number: matches!(column.logical, LogicalType::Integer { .. }),
    })
}

/// A whole number as one of a whole number's types: with more digits than an `int` has it would be a decimal.
fn number(digits: &str) -> String {
    match (digits.parse::<i32>(), digits.parse::<i64>()) {
        (Err(_), Ok(_)) => format!("CAST({digits} AS bigint)"),
        _ => digits.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{MICROSOFT, types::Size},
        *,
    };

    /// A column of a key, and its bound at this text.
    fn bound(declared: &str, text: &str) -> Option<[String; 2]> {
        let column = Column {
            name: "k".to_owned(),
            logical: types::logical_type(types::base(declared), Size::default()),
            declared: declared.to_owned(),
            nullable: false,
            key_position: Some(1),
            generated: false,
            from_catalog: true,
        };
        let part = part(&MICROSOFT, &column)?;
        Some([(part.spell)(text), part.text])
    }

    #[test]
    fn a_bound_is_of_its_columns_own_type_so_that_an_index_serves() {
        for (declared, text, spelled) in [
            ("int", "-5", "-5"),
            ("bigint", "3000000000", "CAST(3000000000 AS bigint)"),
            // Beyond all that there are.
            ("bigint", "9223372036854775808", "9223372036854775808"),
            ("decimal(9,2)", "1.50", "CAST('1.50' AS decimal(9,2))"),
            ("money", "1.5000", "CAST('1.5000' AS money)"),
            (
                "datetime2(3)",
                "2024-01-01T00:00:00.123",
                "CAST('2024-01-01T00:00:00.123' AS datetime2(3))",
            ),
            ("binary(2)", "00FF", "0x00FF"),
            ("nvarchar(9)", "é", "N'é'"),
            ("nvarchar(9) COLLATE Greek_CI_AS", "it's", "'it''s'"),
            ("varchar(9)", "it's", "'it''s'"),
            // Not as UTF-16, which is ordered otherwise.
            ("varchar(9)", "é", "CAST(N'é' COLLATE DATABASE_DEFAULT AS varchar(9))"),
            (
                "char(9) COLLATE Greek_CI_AS",
                "α",
                "CAST(N'α' COLLATE Greek_CI_AS AS char(9))",
            ),
        ] {
            assert_eq!(bound(declared, text).unwrap()[0], spelled, "{declared}");
        }
        assert_eq!(
            bound("money", "").unwrap()[1],
            "CAST(CAST([k] AS decimal(19,4)) AS varchar(60))"
        );
        assert_eq!(bound("sql_variant", ""), None);
        assert_eq!(bound("hierarchyid", ""), None);
    }
}
