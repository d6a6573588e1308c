//! Random columns and tables: types of each product, and values that both ends of a way hold.

use std::fmt;

use proptest::{
    collection::vec,
    option::weighted,
    prelude::{Just, any},
    prop_oneof,
    strategy::{BoxedStrategy, Strategy},
};

/// A database product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    Postgres,
    MariaDb,
    Sqlite,
}

use Product::{MariaDb, Postgres, Sqlite};

/// Most rows of a table.
const ROWS_MAX: usize = 40;

/// A column: how it is declared, where it came from and where it comes back to, and its values as SQL literals.
#[derive(Clone, Debug)]
struct Column {
    declared: String,
    /// The type of the column that takes the values back, if they do not come back as the type that they left as.
    back: Option<String>,
    /// The value as text, `{}` standing for the column, so that no two values have the same.
    spelled: &'static str,
    nullable: bool,
    literals: Vec<Option<String>>,
}

/// A table with a key and some columns.
#[derive(Clone)]
pub struct Table {
    columns: Vec<Column>,
    rows: usize,
}

impl Table {
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// What makes the table with its rows, and the table that it comes back to.
    pub fn statements(&self, prefix: &str, number: usize) -> Vec<String> {
        let create = |name: &str, declared: &dyn Fn(&Column) -> String| {
            let columns: String = self
                .columns
                .iter()
                .enumerate()
                .map(|(position, column)| {
                    let null = if column.nullable { "" } else { " NOT NULL" };
                    format!(", c{position} {}{null}", declared(column))
                })
                .collect();
            format!("CREATE TABLE {prefix}{name} (id INTEGER NOT NULL PRIMARY KEY{columns})")
        };
        let mut statements = vec![
            create(&format!("t{number}"), &|column| column.declared.clone()),
            create(&format!("back_t{number}"), &|column| {
                column.back.clone().unwrap_or_else(|| column.declared.clone())
            }),
        ];
        let rows: Vec<String> = (0..self.rows)
            .map(|row| {
                let cells: String = self
                    .columns
                    .iter()
                    .map(|column| format!(", {}", column.literal(row)))
                    .collect();
                format!("({row}{cells})")
            })
            .collect();
        if !rows.is_empty() {
            statements.push(format!("INSERT INTO {prefix}t{number} VALUES {}", rows.join(", ")));
        }
        statements
    }

    /// SELECTs of the original and of what came back, each value as text.
    pub fn spelled(&self, prefix: &str, number: usize) -> (String, String) {
        let select = |name: &str| {
            let columns: String = self
                .columns
                .iter()
                .enumerate()
                .map(|(position, column)| format!(", {}", column.spelled.replace("{}", &format!("c{position}"))))
                .collect();
            format!("SELECT id{columns} FROM {prefix}{name}")
        };
        (select(&format!("t{number}")), select(&format!("back_t{number}")))
    }
}

impl Column {
    fn literal(&self, row: usize) -> &str {
        match &self.literals[row] {
            Some(literal) => literal,
            None if self.nullable => "NULL",
            // A column without NULL has a value everywhere: that of the row before.
            None => self.literals.iter().flatten().next().map_or("NULL", String::as_str),
        }
    }
}

impl fmt::Debug for Table {
    /// As SQL that makes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.statements("", 0).iter().try_for_each(|sql| writeln!(f, "{sql};"))
    }
}

/// Tables that can go from one product to the other and back.
pub fn tables(from: Product, to: Product) -> impl Strategy<Value = Table> {
    // The rows first: what comes first is made smaller first.
    (0..=ROWS_MAX, vec(column(from, to), 1..=6)).prop_map(|(rows, columns)| Table { columns, rows })
}

/// A kind of column, before its values are chosen.
#[derive(Clone, Debug)]
struct Kind {
    declared: String,
    back: Option<String>,
    spelled: &'static str,
    literals: BoxedStrategy<String>,
}

fn column(from: Product, to: Product) -> impl Strategy<Value = Column> {
    kind(from, to).prop_flat_map(|kind| {
        // A column without NULL needs one value at least, which the first row has.
        let rest = vec(weighted(0.85, kind.literals.clone()), ROWS_MAX - 1);
        let first = kind.literals.clone();
        let Kind {
            declared,
            back,
            spelled,
            ..
        } = kind;
        (first, rest, any::<bool>()).prop_map(move |(first, rest, nullable)| Column {
            declared: declared.clone(),
            back: back.clone(),
            spelled,
            nullable,
            literals: std::iter::once(Some(first)).chain(rest).collect(),
        })
    })
}

/// How a type's values are spelled without a doubt: by their class and bytes in SQLite, which has both in one column.
fn exactly(product: Product, others: &'static str) -> &'static str {
    match product {
        Postgres => "CAST({} AS text)",
        MariaDb => others,
        Sqlite => "typeof({}) || CASE typeof({}) WHEN 'real' THEN printf('%!.20g', {}) ELSE hex({}) END",
    }
}

/// Numbers, dates and the like in MariaDB; the collation does not matter to their text.
const AS_TEXT: &str = "CAST({} AS CHAR)";
const AS_BYTES: &str = "HEX({})";

fn kind(from: Product, to: Product) -> BoxedStrategy<Kind> {
    let both = |product: Product| from == product && to == product;
    let neither = |product: Product| from != product && to != product;
    let plain = move |declared: &str, spelled: &'static str, literals: BoxedStrategy<String>| Kind {
        declared: declared.to_owned(),
        back: None,
        spelled: exactly(from, spelled),
        literals,
    };
    let one = |kind: Kind| Just(kind).boxed();
    let mut kinds: Vec<BoxedStrategy<Kind>> = Vec::new();

    // Whole numbers.
    for (declared, bits) in [("smallint", 16), ("integer", 32), ("bigint", 64)] {
        // SQLite's columns hold 64 bits whatever they are called.
        let bits = if from == Sqlite { 64 } else { bits };
        kinds.push(one(plain(declared, AS_TEXT, integer(bits))));
    }
    let truth = match from {
        Postgres => prop_oneof![Just("TRUE".to_owned()), Just("FALSE".to_owned())].boxed(),
        _ => prop_oneof![Just("1".to_owned()), Just("0".to_owned())].boxed(),
    };
    kinds.push(one(plain("boolean", AS_TEXT, truth)));
    if from == MariaDb {
        let unsigned = prop_oneof![any::<u64>(), Just(0), Just(u64::MAX), Just(1 << 63)];
        kinds.push(one(plain(
            "bigint unsigned",
            AS_TEXT,
            unsigned.prop_map(|n| n.to_string()).boxed(),
        )));
        kinds.push(one(plain(
            "year",
            AS_TEXT,
            (1901..=2155).prop_map(|n: i32| n.to_string()).boxed(),
        )));
        kinds.push(one(plain(
            "bit(17)",
            "CAST({} + 0 AS CHAR)",
            (0..1 << 17).prop_map(|n: i32| n.to_string()).boxed(),
        )));
    }

    // Decimals, with a size and without.
    let sized = (1_usize..=38).prop_flat_map(|precision| (Just(precision), 0..=precision.min(30)));
    kinds.push(
        sized
            .prop_map(move |(precision, scale)| {
                let (name, quote) = match from {
                    Sqlite => ("DECIMAL_TEXT", "'"),
                    _ => ("decimal", ""),
                };
                let digits = decimal(precision - scale, scale).prop_map(move |text| format!("{quote}{text}{quote}"));
                plain(&format!("{name}({precision},{scale})"), AS_TEXT, digits.boxed())
            })
            .boxed(),
    );
    if from == Sqlite {
        kinds.push(one(plain("DECIMAL(15,4)", AS_TEXT, decimal(11, 4))));
    }
    if from == Postgres {
        let digits = (0_usize..=30, 0_usize..=30).prop_flat_map(|(whole, fraction)| decimal(whole, fraction));
        let mut kind = plain("numeric", AS_TEXT, digits.boxed());
        // MariaDB and SQLite spell zeros at the end or not.
        kind.spelled = if to == Postgres {
            "CAST({} AS text)"
        } else {
            "CAST(trim_scale({}) AS text)"
        };
        kinds.push(one(kind));
    }

    // Floats.
    let special: &[f64] = match () {
        () if both(Postgres) => &[f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0],
        () if neither(MariaDb) => &[f64::INFINITY, f64::NEG_INFINITY],
        () => &[0.0],
    };
    let doubles = prop_oneof![
        8 => any::<u64>().prop_map(f64::from_bits).prop_filter("finite", |value| value.is_finite() && *value != 0.0),
        4 => (-1_000_000..1_000_000_i64, 0..6).prop_map(|(digits, places)| digits as f64 / 10_f64.powi(places)),
        1 => proptest::sample::select(vec![0.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE, 5e-324, 1e22, 9007199254740993.0]),
        1 => proptest::sample::select(special.to_vec()),
    ];
    let double_text = doubles
        .clone()
        .prop_map(move |value| float_literal(from, value))
        .boxed();
    let double_name = if from == MariaDb { "double" } else { "double precision" };
    kinds.push(one(plain(double_name, AS_TEXT, double_text)));
    if from != Sqlite {
        let special: Vec<f32> = special.iter().map(|value| *value as f32).collect();
        let singles = prop_oneof![
            12 => any::<u32>().prop_map(f32::from_bits).prop_filter("finite", |value| value.is_finite() && *value != 0.0),
            1 => proptest::sample::select(special),
        ];
        let name = if from == MariaDb { "float" } else { "real" };
        let literals = singles
            .prop_map(move |value| float_literal(from, f64::from(value)))
            .boxed();
        kinds.push(one(plain(name, "CAST(CAST({} AS DOUBLE) AS CHAR)", literals)));
    }

    // Text and bytes.
    let nul = neither(Postgres);
    for length in [1_usize, 10, 255, 300] {
        let literals = text(length, nul)
            .prop_map(move |text| text_literal(from, &text))
            .boxed();
        kinds.push(one(plain(&format!("varchar({length})"), AS_BYTES, literals)));
    }
    let padded = text(10, nul)
        .prop_map(move |text| text_literal(from, text.trim_end_matches(' ')))
        .boxed();
    kinds.push(one(plain("char(10)", AS_BYTES, padded)));
    let (long_text, long_bytes) = match from {
        Postgres => ("text", "bytea"),
        MariaDb => ("longtext", "longblob"),
        Sqlite => ("text", "blob"),
    };
    let texts = prop_oneof![8 => text(40, nul), 1 => text(9_000, nul)];
    kinds.push(one(plain(
        long_text,
        AS_BYTES,
        texts.prop_map(move |text| text_literal(from, &text)).boxed(),
    )));
    let blobs = prop_oneof![8 => vec(any::<u8>(), 0..40), 1 => vec(any::<u8>(), 0..9_000)];
    kinds.push(one(plain(
        long_bytes,
        AS_BYTES,
        blobs.prop_map(move |bytes| bytes_literal(from, &bytes)).boxed(),
    )));
    if from == MariaDb {
        for declared in ["binary(8)", "varbinary(8)"] {
            let bytes = vec(any::<u8>(), 0..=8)
                .prop_map(move |bytes| bytes_literal(from, &bytes))
                .boxed();
            kinds.push(one(plain(declared, AS_BYTES, bytes)));
        }
        let chosen = proptest::sample::select(vec!["''", "'a'", "'b c'", "'é'"]).prop_map(str::to_owned);
        let mut member = plain("enum('', 'a', 'b c', 'é')", AS_BYTES, chosen.boxed());
        member.back = (to != MariaDb).then(|| "varchar(9)".to_owned());
        kinds.push(one(member));
    }

    // Days and times.
    kinds.push(one(plain(
        "date",
        AS_TEXT,
        date().prop_map(|text| format!("'{text}'")).boxed(),
    )));
    let (time_name, timestamp_name) = match from {
        Postgres => ("time", "timestamp"),
        MariaDb => ("time(6)", "datetime(6)"),
        Sqlite => ("TIME", "TIMESTAMP"),
    };
    let hours = if nul { -838..=838 } else { 0..=23 };
    let times = (hours, time_of_hour()).prop_map(|(hour, rest): (i32, String)| match hour {
        ..0 => format!("'-{:02}{rest}'", -hour),
        _ => format!("'{hour:02}{rest}'"),
    });
    kinds.push(one(plain(time_name, AS_TEXT, times.boxed())));
    let moments = (date(), 0..24, time_of_hour());
    let timestamps = moments
        .clone()
        .prop_map(|(date, hour, rest)| format!("'{date} {hour:02}{rest}'"));
    kinds.push(one(plain(timestamp_name, AS_TEXT, timestamps.boxed())));
    // Between MariaDB and the others an instant comes back as a timestamp in UTC; the value suites have it.
    if neither(MariaDb) {
        let declared = if from == Postgres {
            "timestamptz"
        } else {
            "TIMESTAMP WITH TIME ZONE"
        };
        // Years 1 and 9999 would leave the calendar with some session's zone.
        let instants = moments.prop_map(|(date, hour, rest)| format!("'{date} {hour:02}{rest}+00:00'"));
        kinds.push(one(plain(declared, AS_TEXT, instants.boxed())));
    }

    // What has a type of its own in some products.
    if from != Sqlite || to != MariaDb {
        let uuid = if from == Sqlite { "UUID_TEXT" } else { "uuid" };
        // MariaDB 10.11 refuses UUIDs of no known version and variant.
        let of_version_4 = !neither(MariaDb);
        let values = any::<u128>().prop_map(move |bits| match of_version_4 {
            true => format!("'{}'", uuid::Builder::from_random_bytes(bits.to_be_bytes()).into_uuid()),
            false => format!("'{}'", uuid::Uuid::from_u128(bits)),
        });
        kinds.push(one(plain(uuid, AS_TEXT, values.boxed())));
    }
    let json = if from == Sqlite { "JSON_TEXT" } else { "json" };
    let documents = json_document().prop_map(move |text| text_literal(from, &text));
    let documents = match from {
        Postgres => documents.prop_map(|literal| format!("CAST({literal} AS json)")).boxed(),
        _ => documents.boxed(),
    };
    kinds.push(one(plain(json, AS_BYTES, documents)));
    if from == Postgres {
        let opaque = |declared: &str, values: BoxedStrategy<String>| {
            let mut kind = plain(declared, AS_TEXT, values);
            kind.back = (to != Postgres).then(|| "text".to_owned());
            one(kind)
        };
        let quoted = |values: BoxedStrategy<String>| values.prop_map(|text| format!("'{text}'")).boxed();
        let numbers = vec(weighted(0.8, any::<i32>()), 0..5).prop_map(|numbers| {
            let numbers: Vec<String> = numbers
                .iter()
                .map(|number| number.map_or("NULL".to_owned(), |number| number.to_string()))
                .collect();
            format!("{{{}}}", numbers.join(","))
        });
        kinds.push(opaque("integer[]", quoted(numbers.boxed())));
        let words = vec(text(6, false), 1..4).prop_map(|words| {
            let words: Vec<String> = words.iter().map(|word| text_literal(Postgres, word)).collect();
            format!("ARRAY[{}]", words.join(","))
        });
        kinds.push(opaque("text[]", words.boxed()));
        let spans = (-3_000..3_000, -400..400, any::<i32>());
        let spans = spans.prop_map(|(months, days, ms): (i32, i32, i32)| format!("{months} mons {days} days {ms} ms"));
        kinds.push(opaque("interval", quoted(spans.boxed())));
        let addresses =
            (any::<u32>(), 0..=32).prop_map(|(bits, mask)| format!("{}/{mask}", std::net::Ipv4Addr::from(bits)));
        kinds.push(opaque("inet", quoted(addresses.boxed())));
        let documents = json_document().prop_map(|text| format!("CAST({} AS jsonb)", text_literal(Postgres, &text)));
        kinds.push(opaque("jsonb", documents.boxed()));
    }
    proptest::strategy::Union::new(kinds).boxed()
}

fn integer(bits: u32) -> BoxedStrategy<String> {
    let (low, high) = (i64::MIN >> (64 - bits), i64::MAX >> (64 - bits));
    // The least 64-bit number is no literal: its digits are read before its sign.
    let low = if bits == 64 { low + 1 } else { low };
    prop_oneof![4 => low..=high, 4 => -1_000..1_000_i64, 1 => Just(low), 1 => Just(high)]
        .prop_map(|number| number.to_string())
        .boxed()
}

/// A number of at most that many digits before the point, and exactly that many after it.
fn decimal(whole: usize, fraction: usize) -> BoxedStrategy<String> {
    (vec(0..10_u8, 0..=whole), vec(0..10_u8, fraction), any::<bool>())
        .prop_map(|(whole, fraction, negative)| {
            let digits = |digits: &[u8]| digits.iter().map(|digit| char::from(b'0' + digit)).collect::<String>();
            let (before, after) = (digits(&whole), digits(&fraction));
            let before = before.trim_start_matches('0');
            let zero = before.is_empty() && after.bytes().all(|digit| digit == b'0');
            let sign = if negative && !zero { "-" } else { "" };
            let before = if before.is_empty() { "0" } else { before };
            let point = if after.is_empty() { "" } else { "." };
            format!("{sign}{before}{point}{after}")
        })
        .boxed()
}

fn float_literal(product: Product, value: f64) -> String {
    match product {
        Postgres => format!("'{value:e}'").replace("inf", "Infinity"),
        _ if value.is_infinite() => if value > 0.0 { "9e999" } else { "-9e999" }.to_owned(),
        _ => format!("{value:e}"),
    }
}

/// Text of at most that many characters, with those that are easily mangled among them.
fn text(length: usize, nul: bool) -> BoxedStrategy<String> {
    let odd: Vec<char> = "\\'\"`\n\r\t %_?{}é\u{301}ß€日🎉\u{feff}\u{fffd}\u{10ffff}0NUL"
        .chars()
        .collect();
    let letter = prop_oneof![
        4 => proptest::char::range(' ', '~'),
        3 => proptest::sample::select(odd),
        2 => any::<char>(),
    ];
    vec(letter, 0..=length)
        .prop_map(move |letters| letters.into_iter().filter(|letter| nul || *letter != '\0').collect())
        .boxed()
}

/// In hexadecimal, so that neither a driver nor a server finds anything in it.
fn text_literal(product: Product, text: &str) -> String {
    let hex = hex(text.as_bytes());
    match product {
        Postgres => format!("convert_from('\\x{hex}', 'UTF8')"),
        MariaDb => format!("CONVERT(x'{hex}' USING utf8mb4)"),
        Sqlite => format!("CAST(x'{hex}' AS TEXT)"),
    }
}

fn bytes_literal(product: Product, bytes: &[u8]) -> String {
    match product {
        Postgres => format!("CAST('\\x{}' AS bytea)", hex(bytes)),
        _ => format!("x'{}'", hex(bytes)),
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn date() -> BoxedStrategy<String> {
    let edges = vec![
        "0001-01-01",
        "1582-10-10",
        "1970-01-01",
        "2000-02-29",
        "2024-02-29",
        "9999-12-31",
    ];
    prop_oneof![
        6 => (2..=9998, 1..=12, 1..=28).prop_map(|(year, month, day)| format!("{year:04}-{month:02}-{day:02}")),
        1 => proptest::sample::select(edges).prop_map(str::to_owned),
    ]
    .boxed()
}

/// Minutes and seconds with up to six digits, none of them a zero at the end.
fn time_of_hour() -> BoxedStrategy<String> {
    let fraction = prop_oneof![
        Just(0),
        0..1_000_000,
        Just(999_999),
        (0..1_000).prop_map(|ms| ms * 1_000)
    ];
    (0..60, 0..60, fraction)
        .prop_map(|(minute, second, fraction)| {
            let text = format!(":{minute:02}:{second:02}.{fraction:06}");
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        })
        .prop_map(|text| if text.len() < 6 { format!("{text:0<6}") } else { text })
        .boxed()
}

fn json_document() -> BoxedStrategy<String> {
    let value = prop_oneof![
        Just("null".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        decimal(12, 6),
        text(12, false).prop_map(|text| serde_json::Value::from(text).to_string()),
    ];
    vec((text(5, false), value), 0..4)
        .prop_map(|members| {
            let members: Vec<String> = members
                .into_iter()
                .map(|(name, value)| format!("{} : {value}", serde_json::Value::from(name)))
                .collect();
            format!("{{ {}}}", members.join(",\n"))
        })
        .boxed()
}
