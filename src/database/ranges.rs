//! A table's rows parted by its key into ranges of about as many rows each: where the bounds are, and the conditions in the
//! product's SQL.
//!
//! The first range is open below and the last one above, and each bound is the end of one range and the beginning of the
//! next in the same words: whatever a bound is, and whatever has become of the table since, every row is in exactly one
//! range. A bound that was estimated badly costs balance and nothing else. Knows no session; who asks is the dialect.

use super::{Column, Dialect, Error, LogicalType};

/// Rows that are looked over to see how dense the numbers are at a place.
const SPAN_ROWS: u32 = 100;

/// Looks at the index for each range that is wanted.
const PROBES_PER_RANGE: usize = 12;

/// The most looks at the index for one table; each is a query.
const PROBES_MAX: usize = 96;

/// A table in ranges.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges {
    /// What they are made by, such as ``key `id` ``.
    pub by: String,
    /// Their conditions, in order; at least two.
    pub conditions: Vec<Condition>,
}

/// The condition of one range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Condition {
    /// In the product's SQL.
    pub sql: String,
    /// The same as plans and messages show it: without the values of columns that may hold somebody's name.
    pub shown: String,
}

/// A value in a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Literal {
    pub sql: String,
    pub shown: String,
}

impl Literal {
    /// One that everybody may see.
    pub fn open(sql: String) -> Literal {
        Literal {
            shown: sql.clone(),
            sql,
        }
    }

    /// One that is not shown.
    pub fn covered(sql: String) -> Literal {
        Literal {
            sql,
            shown: "'…'".to_owned(),
        }
    }
}

/// The columns of the primary key, in its order.
pub(super) fn key_of(columns: &[Column]) -> Vec<&Column> {
    let mut key: Vec<&Column> = columns.iter().filter(|column| column.key_position.is_some()).collect();
    key.sort_by_key(|column| column.key_position);
    key
}

/// Whether a column's values may be shown: what is text may be somebody's name.
pub(super) fn is_shown(column: &Column) -> bool {
    !matches!(
        column.logical,
        LogicalType::Text { .. } | LogicalType::Bytes { .. } | LogicalType::Json { .. } | LogicalType::Opaque
    )
}

/// How a product compares keys of several columns by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    /// `(a, b) >= (1, 2)`.
    Rows,
    /// `(a > 1 OR (a = 1 AND b >= 2))`.
    Columns,
    /// `a >= 1 AND (a > 1 OR (a = 1 AND b >= 2))`, where an index is entered by what no OR stands in.
    FirstAndColumns,
}

impl Comparison {
    /// Conditions for ranges that meet at these bounds; the columns are in quotes.
    pub fn conditions(self, columns: &[String], bounds: &[Vec<Literal>]) -> Vec<Condition> {
        let side = |bound: &Vec<Literal>, is_lower: bool| {
            let spelled = |text: fn(&Literal) -> &str| {
                let values: Vec<&str> = bound.iter().map(text).collect();
                self.side(columns, &values, is_lower)
            };
            Condition {
                sql: spelled(|literal| &literal.sql),
                shown: spelled(|literal| &literal.shown),
            }
        };
        let both = |lower: Condition, upper: Condition| Condition {
            sql: format!("{} AND {}", lower.sql, upper.sql),
            shown: format!("{} AND {}", lower.shown, upper.shown),
        };
        let (Some(first), Some(last)) = (bounds.first(), bounds.last()) else {
            return Vec::new();
        };
        let within = bounds
            .windows(2)
            .map(|pair| both(side(&pair[0], true), side(&pair[1], false)));
        [side(first, false)]
            .into_iter()
            .chain(within)
            .chain([side(last, true)])
            .collect()
    }

    /// Whether the key is at the bound or above it, or else below it.
    pub fn side(self, columns: &[String], values: &[&str], is_lower: bool) -> String {
        let last = if is_lower { ">=" } else { "<" };
        match (self, columns, values) {
            (_, [column], [value]) => format!("{column} {last} {value}"),
            (Comparison::Rows, _, _) => format!("({}) {last} ({})", columns.join(", "), values.join(", ")),
            (Comparison::FirstAndColumns, [column, ..], [value, ..]) => {
                let within = if is_lower { ">=" } else { "<=" };
                let side = Comparison::Columns.side(columns, values, is_lower);
                format!("{column} {within} {value} AND {side}")
            }
            (Comparison::Columns, [column, rest @ ..], [value, others @ ..]) => {
                let beyond = if is_lower { ">" } else { "<" };
                let rest = self.side(rest, others, is_lower);
                format!("({column} {beyond} {value} OR ({column} = {value} AND {rest}))")
            }
            (Comparison::Columns | Comparison::FirstAndColumns, _, _) => String::new(),
        }
    }
}

/// What an index says of a place among whole numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Probe {
    /// The number [`SPAN_ROWS`] rows before `before`.
    pub behind: Option<i128>,
    /// The last number before the place.
    pub before: Option<i128>,
    /// The first one at it or after it.
    pub first: Option<i128>,
    /// The one [`SPAN_ROWS`] rows further on.
    pub further: Option<i128>,
}

/// A query that answers with a [`Probe`]: `column` of `table` at a number, all three in the product's SQL.
fn probe_query(dialect: &dyn Dialect, column: &str, table: &str, at: &str) -> String {
    let before = format!("FROM {table} WHERE {column} < {at}");
    let after = format!("FROM {table} WHERE {column} >= {at}");
    let far = |rest: String| dialect.row_behind(column, &rest, u64::from(SPAN_ROWS));
    format!(
        "SELECT ({}), (SELECT MAX({column}) {before}), (SELECT MIN({column}) {after}), ({})",
        far(format!("{before} ORDER BY {column} DESC")),
        far(format!("{after} ORDER BY {column}"))
    )
}

/// Whole numbers, as a query answers with them.
fn numbers<const COUNT: usize>(rows: &[Vec<Option<String>>]) -> [Option<i128>; COUNT] {
    let cell = |position: usize| rows.first()?.get(position)?.as_deref()?.trim().parse().ok();
    std::array::from_fn(cell)
}

/// The answer to a [`probe_query`].
fn probe_of(rows: &[Vec<Option<String>>]) -> Probe {
    let [behind, before, first, further] = numbers(rows);
    Probe {
        behind,
        before,
        first,
        further,
    }
}

/// A stretch of numbers from one that there is to another one, and how many rows a number has at its ends.
#[derive(Clone, Copy, Debug)]
struct Stretch {
    first: i128,
    last: i128,
    densities: [f64; 2],
}

impl Stretch {
    fn numbers(&self) -> f64 {
        (self.last - self.first + 1) as f64
    }

    /// About so many rows.
    fn rows(&self) -> f64 {
        self.numbers() * (self.densities[0] + self.densities[1]) / 2.0
    }

    /// No more rows than these, as far as its ends tell.
    fn rows_max(&self) -> f64 {
        self.numbers() * self.densities[0].max(self.densities[1])
    }
}

/// Rows for each number between two that are [`SPAN_ROWS`] rows apart; with one alone there are fewer rows left, in so many
/// numbers. `None` if all of them have one number.
fn density(near: Option<i128>, far: Option<i128>, numbers_left: i128) -> Option<f64> {
    match (near, far) {
        (Some(near), Some(far)) if near == far => None,
        (Some(near), Some(far)) => Some(f64::from(SPAN_ROWS) / (far - near).abs() as f64),
        (Some(_), None) => Some(f64::from(SPAN_ROWS) / 2.0 / numbers_left.max(1) as f64),
        (None, _) => Some(0.0),
    }
}

/// Where whole numbers from `first` to `last` are to be parted into ranges of about as many rows, found by some dozens of
/// looks at their index: gaps, however wide, hold no rows, and what is dense holds more of them. `None` if so many rows
/// have one number that parting by numbers may not balance anything.
fn number_bounds(
    (first, last): (i128, i128),
    wanted: usize,
    probe: &mut dyn FnMut(i128) -> Result<Probe, Error>,
) -> Result<Option<Vec<i128>>, Error> {
    let after = |found: &Probe| density(found.first, found.further, last - found.first.unwrap_or(last));
    let before = |found: &Probe| density(found.before, found.behind, found.before.unwrap_or(first) - first);
    let (Some(at_first), Some(at_last)) = (after(&probe(first)?), before(&probe(last + 1)?)) else {
        return Ok(None);
    };
    let mut stretches = vec![Stretch {
        first,
        last,
        densities: [at_first, at_last],
    }];
    for _ in 0..(wanted * PROBES_PER_RANGE).min(PROBES_MAX) {
        // Where most is not known.
        let all = stretches.iter().copied().enumerate();
        let widest = all.max_by(|one, other| one.1.rows_max().total_cmp(&other.1.rows_max()));
        let Some((position, stretch)) = widest else { break };
        if stretch.last - stretch.first < 2 || stretch.rows_max() < f64::from(SPAN_ROWS) {
            break;
        }
        let at = stretch.first + (stretch.last - stretch.first) / 2 + 1;
        let found = probe(at)?;
        let (Some(left_end), Some(right_begin)) = (before(&found), after(&found)) else {
            return Ok(None);
        };
        let [begin, end] = stretch.densities;
        // Rows may have come or gone since.
        let left = found.before.map(|last| Stretch {
            first: stretch.first,
            last: last.clamp(stretch.first, at - 1),
            densities: [begin, left_end],
        });
        let right = found.first.filter(|first| *first <= stretch.last).map(|first| Stretch {
            first: first.max(at),
            last: stretch.last,
            densities: [right_begin, end],
        });
        stretches.splice(position..=position, left.into_iter().chain(right));
    }
    let total: f64 = stretches.iter().map(Stretch::rows).sum();
    let mut bounds: Vec<i128> = Vec::new();
    let mut so_far = 0.0;
    for stretch in &stretches {
        let rows = stretch.rows();
        while bounds.len() + 1 < wanted {
            let within = total * (bounds.len() + 1) as f64 / wanted as f64 - so_far;
            if within > rows {
                break;
            }
            let part = within / rows.max(f64::MIN_POSITIVE);
            bounds.push(stretch.first + (stretch.numbers() * part) as i128);
        }
        so_far += rows;
    }
    bounds.dedup();
    bounds.retain(|bound| (first + 1..=last).contains(bound));
    Ok(Some(bounds))
}

/// Spells a literal, given its text.
pub(super) type Spell<'a> = Box<dyn Fn(&str) -> String + 'a>;

/// A column of a key, and how its values become literals.
pub(super) struct KeyPart<'a> {
    /// Its name in quotes.
    pub name: String,
    /// The SQL for a literal's text.
    pub text: String,
    /// The literal, from this text; of numbers from their digits, also of one beyond all that the column holds.
    pub spell: Spell<'a>,
    pub is_shown: bool,
    /// Whether all its values are whole numbers.
    pub is_number: bool,
}

/// A table whose index on its key can be asked.
pub(super) struct Indexed<'a> {
    pub dialect: &'a dyn Dialect,
    /// Its name in quotes.
    pub table: &'a str,
    pub key: &'a [KeyPart<'a>],
    pub comparison: Comparison,
    /// Rows, if somebody knows about how many there are.
    pub rows: Option<u64>,
}

type Ask<'a> = dyn FnMut(&str) -> Result<Vec<Vec<Option<String>>>, Error> + 'a;

impl Indexed<'_> {
    /// Ranges by the key, or why there are none: numbers are parted by [`number_bounds`], other keys by going along the
    /// index at the server, from one bound to the next.
    pub fn ranges(&self, wanted: usize, ask: &mut Ask<'_>) -> Result<Result<Ranges, String>, Error> {
        let Some(first) = self.key.first() else {
            return Ok(Err("it has no primary key".to_owned()));
        };
        let mut found = None;
        if first.is_number {
            let (name, table) = (&first.name, self.table);
            let sql = format!("SELECT (SELECT MIN({name}) FROM {table}), (SELECT MAX({name}) FROM {table})");
            let [Some(least), Some(most)] = numbers(&ask(&sql)?) else {
                return Ok(Err("it has no rows".to_owned()));
            };
            let spelled = |number: i128| (first.spell)(&number.to_string());
            let mut probe = |at: i128| {
                let sql = probe_query(self.dialect, name, table, &spelled(at));
                Ok(probe_of(&ask(&sql)?))
            };
            let bounds = number_bounds((least, most), wanted, &mut probe)?;
            let literal = |bound: i128| vec![Literal::open(spelled(bound))];
            found = bounds.map(|bounds| (1, bounds.into_iter().map(literal).collect()));
        }
        let (columns, bounds): (usize, Vec<Vec<Literal>>) = match found {
            Some(found) => found,
            None => (self.key.len(), self.counted(wanted, ask)?),
        };
        let names: Vec<String> = self.key[..columns].iter().map(|part| part.name.clone()).collect();
        let conditions = self.comparison.conditions(&names, &bounds);
        Ok(match conditions.len() {
            0 | 1 => Err("it has too few rows".to_owned()),
            _ => Ok(Ranges {
                by: format!("key ({})", names.join(", ")),
                conditions,
            }),
        })
    }

    /// Bounds that have as many rows between them, counted along the index.
    fn counted(&self, wanted: usize, ask: &mut Ask<'_>) -> Result<Vec<Vec<Literal>>, Error> {
        let rows = match self.rows {
            Some(rows) => rows,
            None => {
                let counted = ask(&format!("SELECT {} FROM {}", self.dialect.count_of_rows(), self.table))?;
                let cell = counted.into_iter().flatten().flatten().next();
                cell.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
            }
        };
        let step = rows / wanted as u64;
        let mut bounds: Vec<Vec<Literal>> = Vec::new();
        let names: Vec<String> = self.key.iter().map(|part| part.name.clone()).collect();
        // By names of their own: Babelfish calls a text as the column that it is of, and would order by the text then.
        let texts = self.key.iter().enumerate();
        let texts: Vec<String> = texts
            .map(|(place, part)| format!("{} AS dray_{place}", part.text))
            .collect();
        while step > 0 && bounds.len() + 1 < wanted {
            let begin = bounds.last().map_or(String::new(), |bound| {
                let values: Vec<&str> = bound.iter().map(|literal| literal.sql.as_str()).collect();
                format!(" WHERE {}", self.comparison.side(&names, &values, true))
            });
            let rest = format!("FROM {}{begin} ORDER BY {}", self.table, names.join(", "));
            let sql = self.dialect.row_behind(&texts.join(", "), &rest, step);
            let found = ask(&sql)?.into_iter().next();
            let Some(texts) = found.and_then(|row| row.into_iter().collect::<Option<Vec<String>>>()) else {
                break;
            };
            bounds.push(
                self.key
                    .iter()
                    .zip(texts)
                    .map(|(part, text)| literal(part, &text))
                    .collect(),
            );
        }
        Ok(bounds)
    }
}

fn literal(part: &KeyPart<'_>, text: &str) -> Literal {
    let sql = (part.spell)(text);
    match part.is_shown {
        true => Literal::open(sql),
        false => Literal::covered(sql),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literals(values: &[&[&str]]) -> Vec<Vec<Literal>> {
        let bound = |bound: &&[&str]| bound.iter().map(|value| Literal::open((*value).to_owned())).collect();
        values.iter().map(bound).collect()
    }

    #[test]
    fn ranges_are_open_at_both_ends_and_meet_in_the_same_words() {
        let columns = ["a".to_owned()];
        let conditions = Comparison::Rows.conditions(&columns, &literals(&[&["1"], &["5"]]));
        let sql: Vec<&str> = conditions.iter().map(|condition| condition.sql.as_str()).collect();
        assert_eq!(sql, ["a < 1", "a >= 1 AND a < 5", "a >= 5"]);
    }

    #[test]
    fn a_key_of_several_columns_is_compared_as_a_row_or_column_by_column() {
        let columns = ["a", "b", "c"].map(str::to_owned);
        let side = |comparison: Comparison, is_lower| comparison.side(&columns, &["1", "2", "3"], is_lower);
        assert_eq!(side(Comparison::Rows, true), "(a, b, c) >= (1, 2, 3)");
        assert_eq!(
            side(Comparison::Columns, true),
            "(a > 1 OR (a = 1 AND (b > 2 OR (b = 2 AND c >= 3))))"
        );
        assert_eq!(
            side(Comparison::Columns, false),
            "(a < 1 OR (a = 1 AND (b < 2 OR (b = 2 AND c < 3))))"
        );
        assert_eq!(
            side(Comparison::FirstAndColumns, true),
            "a >= 1 AND (a > 1 OR (a = 1 AND (b > 2 OR (b = 2 AND c >= 3))))"
        );
        assert_eq!(
            side(Comparison::FirstAndColumns, false),
            "a <= 1 AND (a < 1 OR (a = 1 AND (b < 2 OR (b = 2 AND c < 3))))"
        );
    }

    #[test]
    fn values_that_may_be_names_are_not_shown() {
        let bounds = [vec![Literal::covered("'Åsa'".to_owned())]];
        let conditions = Comparison::Rows.conditions(&["name".to_owned()], &bounds);
        assert_eq!(
            (conditions[0].sql.as_str(), conditions[0].shown.as_str()),
            ("name < 'Åsa'", "name < '…'")
        );
    }

    /// Bounds of sorted numbers, and how many of the numbers each range has.
    fn parted(numbers: &[i128], wanted: usize) -> Option<Vec<usize>> {
        let mut probe = |at: i128| {
            let place = numbers.partition_point(|number| *number < at);
            Ok(Probe {
                behind: place.checked_sub(1 + SPAN_ROWS as usize).map(|place| numbers[place]),
                before: place.checked_sub(1).map(|place| numbers[place]),
                first: numbers.get(place).copied(),
                further: numbers.get(place + SPAN_ROWS as usize).copied(),
            })
        };
        let bounds = number_bounds((numbers[0], numbers[numbers.len() - 1]), wanted, &mut probe).unwrap()?;
        let mut ends: Vec<usize> = bounds
            .iter()
            .map(|bound| numbers.partition_point(|number| number < bound))
            .collect();
        ends.push(numbers.len());
        Some(
            (0..ends.len())
                .map(|place| ends[place] - if place == 0 { 0 } else { ends[place - 1] })
                .collect(),
        )
    }

    #[test]
    fn ranges_are_balanced_whatever_gaps_and_densities_there_are() {
        let even: Vec<i128> = (1..=100_000).collect();
        let far_apart: Vec<i128> = (0..50_000)
            .chain((0..50_000).map(|i| i128::from(i64::MAX) - 60_000 + i))
            .collect();
        let three_islands: Vec<i128> = [i128::from(i64::MIN), 0, 1 << 60]
            .iter()
            .flat_map(|start| (0..30_000).map(move |i| start + i))
            .collect();
        let sparse_and_dense: Vec<i128> = (0..50_000).map(|i| i * 1_000).chain(50_000_000..50_050_000).collect();
        let few_to_a_number: Vec<i128> = (0..100_000).map(|i| i / 4).collect();
        for numbers in [even, far_apart, three_islands, sparse_and_dense, few_to_a_number] {
            for wanted in [2, 3, 8] {
                let rows = parted(&numbers, wanted).unwrap();
                let fair = numbers.len() / wanted;
                assert_eq!(rows.len(), wanted);
                assert!(
                    rows.iter().all(|rows| (fair / 2..fair * 3 / 2).contains(rows)),
                    "{fair}: {rows:?}"
                );
            }
        }
    }

    #[test]
    fn few_rows_make_few_ranges_and_many_of_one_number_none() {
        assert_eq!(parted(&[7], 3), Some(vec![1]));
        let two = parted(&[1, 9_000], 3).unwrap();
        assert_eq!(two.iter().sum::<usize>(), 2);
        assert_eq!(parted(&[5; 1_000], 3), None);
    }
}
