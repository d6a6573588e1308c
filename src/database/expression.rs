//! Expressions of defaults and checks that mean the same in every product: literals, the current time, and conditions of
//! columns and literals. Whatever else a catalog has is not understood, and that is all that is said of it.
//!
//! Reads what the catalogs of the products write; how a product spells an expression is its own (`shaping`).

use super::tokens::{Kind, Spelling, Token, tokens};

/// An expression.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expression {
    Null,
    Boolean(bool),
    /// A decimal number, perhaps with a sign.
    Number(String),
    Text(String),
    /// The time when the row is inserted, as the clock of the session shows it or as UTC.
    Now {
        utc: bool,
    },
    /// The day when the row is inserted.
    Today,
    /// A column, by its name; not in quotes, if it was written so.
    Column {
        name: String,
        quoted: bool,
    },
    Compare(Box<Expression>, Operator, Box<Expression>),
    In {
        value: Box<Expression>,
        list: Vec<Expression>,
        negated: bool,
    },
    IsNull {
        value: Box<Expression>,
        negated: bool,
    },
    And(Vec<Expression>),
    Or(Vec<Expression>),
    Not(Box<Expression>),
    /// Values in brackets, before it is known what is asked of them.
    List(Vec<Expression>),
}

/// A comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Operator {
    /// As every product spells it.
    pub fn sql(self) -> &'static str {
        match self {
            Operator::Equal => "=",
            Operator::Unequal => "<>",
            Operator::Less => "<",
            Operator::LessOrEqual => "<=",
            Operator::Greater => ">",
            Operator::GreaterOrEqual => ">=",
        }
    }

    /// Whether it asks for an order, beyond equality.
    pub fn is_order(self) -> bool {
        !matches!(self, Operator::Equal | Operator::Unequal)
    }
}

/// The expression that a text of a product's SQL stands for; `None` if it is not one of those.
pub(super) fn parse(sql: &str, spelling: Spelling) -> Option<Expression> {
    let tokens = tokens(sql, spelling)?;
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
        spelling,
    };
    let expression = parser.any()?;
    (parser.at == tokens.len()).then_some(expression)
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    spelling: Spelling,
}

impl Parser<'_> {
    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead)
    }

    fn word(&mut self, word: &str) -> bool {
        let is_next = self.peek(0).is_some_and(|token| token.is_word(word));
        self.at += usize::from(is_next);
        is_next
    }

    fn words(&mut self, words: &[&str]) -> bool {
        let are_next =
            (words.iter().enumerate()).all(|(ahead, word)| self.peek(ahead).is_some_and(|token| token.is_word(word)));
        self.at += if are_next { words.len() } else { 0 };
        are_next
    }

    fn sign(&mut self, sign: &str) -> bool {
        let is_next = self.peek(0).is_some_and(|token| token.is_sign(sign));
        self.at += usize::from(is_next);
        is_next
    }

    fn any(&mut self) -> Option<Expression> {
        let mut parts = vec![self.all()?];
        while self.word("or") {
            parts.push(self.all()?);
        }
        Some(match parts.len() {
            1 => parts.remove(0),
            _ => Expression::Or(parts),
        })
    }

    fn all(&mut self) -> Option<Expression> {
        let mut parts = vec![self.negation()?];
        while self.word("and") {
            parts.push(self.negation()?);
        }
        Some(match parts.len() {
            1 => parts.remove(0),
            _ => Expression::And(parts),
        })
    }

    fn negation(&mut self) -> Option<Expression> {
        match self.word("not") {
            true => Some(Expression::Not(Box::new(self.negation()?))),
            false => self.condition(),
        }
    }

    fn condition(&mut self) -> Option<Expression> {
        let value = self.value()?;
        if self.word("is") {
            let negated = self.word("not");
            let value = Box::new(value);
            return self.word("null").then_some(Expression::IsNull { value, negated });
        }
        let negated = self.word("not");
        if self.word("in") {
            if !self.sign("(") {
                return None;
            }
            let list = self.list(")")?;
            let value = Box::new(value);
            return Some(Expression::In { value, list, negated });
        }
        if self.word("between") {
            let low = self.value()?;
            if !self.word("and") {
                return None;
            }
            let high = self.value()?;
            let compare = |operator, other| Expression::Compare(Box::new(value.clone()), operator, Box::new(other));
            let both = Expression::And(vec![
                compare(Operator::GreaterOrEqual, low),
                compare(Operator::LessOrEqual, high),
            ]);
            return Some(match negated {
                true => Expression::Not(Box::new(both)),
                false => both,
            });
        }
        if negated {
            return None;
        }
        let Some(operator) = self.operator() else {
            return Some(value);
        };
        // PostgreSQL has `= ANY (ARRAY[…])` for IN, and `<> ALL (ARRAY[…])` for NOT IN.
        for (word, needed, negated) in [("any", Operator::Equal, false), ("all", Operator::Unequal, true)] {
            if self.word(word) {
                let list = match self.value()? {
                    Expression::List(list) if operator == needed => list,
                    _ => return None,
                };
                let value = Box::new(value);
                return Some(Expression::In { value, list, negated });
            }
        }
        let other = self.value()?;
        Some(Expression::Compare(Box::new(value), operator, Box::new(other)))
    }

    fn operator(&mut self) -> Option<Operator> {
        let Kind::Sign(sign) = &self.peek(0)?.kind else {
            return None;
        };
        let operator = match sign.as_str() {
            "=" | "==" => Operator::Equal,
            "<>" | "!=" => Operator::Unequal,
            "<" => Operator::Less,
            "<=" => Operator::LessOrEqual,
            ">" => Operator::Greater,
            ">=" => Operator::GreaterOrEqual,
            _ => return None,
        };
        self.at += 1;
        Some(operator)
    }

    /// Values up to the closing sign.
    fn list(&mut self, closing: &str) -> Option<Vec<Expression>> {
        let mut list = vec![self.value()?];
        while self.sign(",") {
            list.push(self.value()?);
        }
        self.sign(closing).then_some(list)
    }

    /// A value with the casts behind it.
    fn value(&mut self) -> Option<Expression> {
        let mut value = self.bare_value()?;
        loop {
            if self.spelling == Spelling::Postgres && self.sign("::") {
                value = cast(value, &self.type_name()?)?;
            } else if self.words(&["at", "time", "zone"]) {
                value = match (value, self.value()?) {
                    (Expression::Now { utc: false }, Expression::Text(zone)) if zone.eq_ignore_ascii_case("utc") => {
                        Expression::Now { utc: true }
                    }
                    _ => return None,
                };
            } else {
                return Some(value);
            }
        }
    }

    fn bare_value(&mut self) -> Option<Expression> {
        if self.sign("(") {
            let inner = self.any()?;
            return self.sign(")").then_some(inner);
        }
        if self.sign("-") {
            return match self.bare_value()? {
                Expression::Number(digits) if !digits.starts_with('-') => {
                    Some(Expression::Number(format!("-{digits}")))
                }
                _ => None,
            };
        }
        if self.sign("+") {
            return match self.bare_value()? {
                number @ Expression::Number(_) => Some(number),
                _ => None,
            };
        }
        let token = self.peek(0)?.clone();
        self.at += 1;
        match token.kind {
            Kind::Text(text) => Some(Expression::Text(text)),
            Kind::Number(digits) => number(&digits),
            Kind::Name(name) => self.is_alone().then_some(Expression::Column { name, quoted: true }),
            Kind::Word(word) => self.word_value(&word, token.end),
            Kind::Sign(_) => None,
        }
    }

    /// Whether neither a dot nor a bracket follows: a name of several parts, or a function.
    fn is_alone(&self) -> bool {
        !self
            .peek(0)
            .is_some_and(|token| token.is_sign(".") || token.is_sign("("))
    }

    fn word_value(&mut self, word: &str, end: usize) -> Option<Expression> {
        let lower = word.to_ascii_lowercase();
        let literal_follows = self.peek(0).is_some_and(|next| next.start == end);
        if let (true, Some(Kind::Text(text))) = (literal_follows, self.peek(0).map(|token| token.kind.clone())) {
            // A literal with a letter before it: the charset of MySQL's texts says nothing about them; bits are a number.
            self.at += 1;
            return match (self.spelling, lower.as_str()) {
                (Spelling::MySql, "b") => {
                    let number = u64::from_str_radix(&text, 2).ok()?;
                    Some(Expression::Number(number.to_string()))
                }
                (Spelling::MySql | Spelling::TransactSql, "n") => Some(Expression::Text(text)),
                (Spelling::MySql, charset) if charset.starts_with('_') && charset != "_binary" => {
                    Some(Expression::Text(text))
                }
                _ => None,
            };
        }
        if let Some(clock) = self.clock_of_sql_server(&lower) {
            return clock;
        }
        let utc = self.spelling == Spelling::Sqlite;
        match lower.as_str() {
            "null" => return Some(Expression::Null),
            "true" => return Some(Expression::Boolean(true)),
            "false" => return Some(Expression::Boolean(false)),
            "array" if self.sign("[") => return self.list("]").map(Expression::List),
            "current_timestamp" | "localtimestamp" => {
                self.digits()?;
                return Some(Expression::Now { utc });
            }
            "current_date" if !utc => {
                self.digits()?;
                return Some(Expression::Today);
            }
            "now" | "transaction_timestamp" | "utc_timestamp" | "curdate"
                if self.peek(0).is_some_and(|token| token.is_sign("(")) =>
            {
                self.digits()?;
                return Some(match lower.as_str() {
                    "curdate" => Expression::Today,
                    name => Expression::Now {
                        utc: name == "utc_timestamp",
                    },
                });
            }
            "timezone" if self.sign("(") => {
                let arguments = self.list(")")?;
                let is_utc = matches!(arguments.as_slice(), [Expression::Text(zone), Expression::Now { utc: false }]
                    if zone.eq_ignore_ascii_case("utc"));
                return is_utc.then_some(Expression::Now { utc: true });
            }
            "datetime" if utc && self.sign("(") => {
                let arguments = self.list(")")?;
                let is_now = matches!(arguments.as_slice(), [Expression::Text(now)] if now.eq_ignore_ascii_case("now"));
                return is_now.then_some(Expression::Now { utc: true });
            }
            _ => {}
        }
        const RESERVED: [&str; 12] = [
            "case", "cast", "and", "or", "not", "in", "between", "is", "like", "collate", "interval", "exists",
        ];
        let is_column = self.is_alone() && !RESERVED.contains(&lower.as_str());
        let name = word.to_owned();
        is_column.then_some(Expression::Column { name, quoted: false })
    }

    /// A function of SQL Server's that tells the time, or the conversion of one to its day; `None` for any other word. What
    /// stands in the catalog has `CONVERT` for CAST, and no number but a style behind the value.
    fn clock_of_sql_server(&mut self, word: &str) -> Option<Option<Expression>> {
        let opens = self.peek(0).is_some_and(|token| token.is_sign("("));
        if self.spelling != Spelling::TransactSql || !opens {
            return None;
        }
        match word {
            "getdate" | "sysdatetime" | "sysdatetimeoffset" => {
                Some(self.digits().map(|()| Expression::Now { utc: false }))
            }
            "getutcdate" | "sysutcdatetime" => Some(self.digits().map(|()| Expression::Now { utc: true })),
            "convert" => Some(self.day_of_clock()),
            _ => None,
        }
    }

    fn day_of_clock(&mut self) -> Option<Expression> {
        let is_date = |token: &Token| token.is_word("date") || token.kind == Kind::Name("date".to_owned());
        let begins = self.sign("(") && self.peek(0).is_some_and(is_date);
        self.at += 1;
        let is_day = begins && self.sign(",") && self.value()? == Expression::Now { utc: false } && self.sign(")");
        is_day.then_some(Expression::Today)
    }

    /// Brackets with nothing in them or a number of digits, if they are there.
    fn digits(&mut self) -> Option<()> {
        if self.sign("(") && !self.sign(")") {
            self.at += usize::from(matches!(self.peek(0)?.kind, Kind::Number(_)));
            return self.sign(")").then_some(());
        }
        Some(())
    }

    /// The name of PostgreSQL's type behind `::`.
    fn type_name(&mut self) -> Option<String> {
        let mut name = String::new();
        loop {
            let token = self.peek(0)?;
            match &token.kind {
                Kind::Word(word) => name.push_str(&word.to_ascii_lowercase()),
                Kind::Name(word) => name.push_str(word),
                _ => return None,
            }
            self.at += 1;
            if self.sign(".") {
                name.push('.');
                continue;
            }
            // Types of several words, and no more words than that: `AND` may follow.
            const SECOND: [&str; 6] = ["varying", "precision", "without", "with", "time", "zone"];
            match self.peek(0) {
                Some(token) if SECOND.iter().any(|word| token.is_word(word)) => name.push(' '),
                _ => break,
            }
        }
        // A size cuts and rounds.
        if self.peek(0).is_some_and(|token| token.is_sign("(")) {
            return None;
        }
        if self.sign("[") {
            name.push_str("[]");
            return self.sign("]").then_some(name);
        }
        Some(name)
    }
}

/// A number in digits, without an exponent: with one it is a float in some products and a decimal in others.
fn number(digits: &str) -> Option<Expression> {
    let is_plain = digits.bytes().all(|digit| digit.is_ascii_digit() || digit == b'.')
        && digits.bytes().filter(|digit| *digit == b'.').count() <= 1;
    is_plain.then(|| Expression::Number(digits.to_owned()))
}

/// A value after a cast of PostgreSQL's that changes nothing about what it means.
fn cast(value: Expression, to: &str) -> Option<Expression> {
    const NUMBERS: [&str; 6] = ["integer", "bigint", "smallint", "numeric", "double precision", "real"];
    match value {
        Expression::Text(text) if NUMBERS.contains(&to) => {
            let (sign, digits) = match text.strip_prefix('-') {
                Some(digits) => ("-", digits),
                None => ("", text.as_str()),
            };
            match number(digits)? {
                Expression::Number(digits) if !digits.is_empty() => Some(Expression::Number(format!("{sign}{digits}"))),
                _ => None,
            }
        }
        Expression::Text(text) if to == "boolean" => match text.as_str() {
            "t" | "true" => Some(Expression::Boolean(true)),
            "f" | "false" => Some(Expression::Boolean(false)),
            _ => None,
        },
        Expression::Text(_) | Expression::Null => Some(value),
        Expression::Number(ref digits) if NUMBERS.contains(&to) => {
            let is_whole = !digits.contains('.');
            (is_whole || matches!(to, "numeric" | "double precision")).then_some(value)
        }
        Expression::Column { .. } if matches!(to, "text" | "character varying" | "numeric") => Some(value),
        Expression::List(_) if matches!(to, "text[]" | "character varying[]" | "numeric[]") => Some(value),
        Expression::Now { .. } if to.starts_with("timestamp") => match to {
            "timestamp without time zone" | "timestamp with time zone" => Some(value),
            _ => None,
        },
        Expression::Now { utc: false } if to == "date" => Some(Expression::Today),
        Expression::Boolean(_) if to == "boolean" => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(name: &str) -> Box<Expression> {
        Box::new(Expression::Column {
            name: name.to_owned(),
            quoted: false,
        })
    }

    fn text(text: &str) -> Expression {
        Expression::Text(text.to_owned())
    }

    fn number(digits: &str) -> Expression {
        Expression::Number(digits.to_owned())
    }

    #[test]
    fn what_postgresql_writes_for_literals_is_the_literal() {
        for (sql, expected) in [
            ("'new'::character varying", text("new")),
            ("'-1'::integer", number("-1")),
            ("(0)::numeric", number("0")),
            ("NULL::character varying", Expression::Null),
            ("false", Expression::Boolean(false)),
            ("'2020-01-01'::date", text("2020-01-01")),
            ("CURRENT_TIMESTAMP", Expression::Now { utc: false }),
            ("now()", Expression::Now { utc: false }),
            ("(now() AT TIME ZONE 'utc'::text)", Expression::Now { utc: true }),
            ("timezone('utc'::text, now())", Expression::Now { utc: true }),
            ("CURRENT_DATE", Expression::Today),
        ] {
            assert_eq!(parse(sql, Spelling::Postgres), Some(expected), "{sql}");
        }
    }

    #[test]
    fn what_sql_server_writes_for_literals_and_clocks_is_read() {
        for (sql, expected) in [
            ("((0))", number("0")),
            ("((-1.50))", number("-1.50")),
            ("(N'naïve ''text''')", text("naïve 'text'")),
            ("(NULL)", Expression::Null),
            ("(getdate())", Expression::Now { utc: false }),
            ("(sysdatetimeoffset())", Expression::Now { utc: false }),
            ("(sysutcdatetime())", Expression::Now { utc: true }),
            ("(CONVERT([date],getdate()))", Expression::Today),
        ] {
            assert_eq!(parse(sql, Spelling::TransactSql), Some(expected), "{sql}");
        }
        let condition = parse("([a]>=(1) AND [b] IS NOT NULL OR [c]='x')", Spelling::TransactSql).unwrap();
        assert!(matches!(condition, Expression::Or(parts) if parts.len() == 2));
        for sql in [
            "(newid())",
            "(CONVERT([int],getdate()))",
            "(CONVERT([date],getutcdate()))",
            "(len([a])>(0))",
        ] {
            assert_eq!(parse(sql, Spelling::TransactSql), None, "{sql}");
        }
    }

    #[test]
    fn conditions_of_columns_and_literals_are_understood() {
        let price = Expression::Compare(column("price"), Operator::Greater, Box::new(number("0")));
        assert_eq!(parse("(price > (0)::numeric)", Spelling::Postgres), Some(price.clone()));
        assert_eq!(parse("price > 0", Spelling::Sqlite), Some(price));
        let list = Expression::In {
            value: column("status"),
            list: vec![text("a"), text("b")],
            negated: false,
        };
        for sql in [
            "((status)::text = ANY ((ARRAY['a'::character varying, 'b'::character varying])::text[]))",
            "(status = ANY (ARRAY['a'::text, 'b'::text]))",
            "status IN ('a', 'b')",
        ] {
            assert_eq!(parse(sql, Spelling::Postgres), Some(list.clone()), "{sql}");
        }
        let between = parse("a BETWEEN 1 AND 5 OR b IS NOT NULL", Spelling::Sqlite).unwrap();
        let Expression::Or(parts) = between else { panic!() };
        assert_eq!(parts.len(), 2);
        assert!(matches!(&parts[0], Expression::And(both) if both.len() == 2));
        assert_eq!(
            parse("`a` = _utf8mb4'x' and b'1' = 1", Spelling::MySql).map(|_| ()),
            Some(())
        );
    }

    #[test]
    fn what_may_mean_something_else_elsewhere_is_not_understood() {
        for sql in [
            "lower(name) = 'x'",
            "a + 1 > 0",
            "(note)::integer > 0",
            "'x'::character varying(3)",
            "name LIKE 'a%'",
            "a = 1e3",
            "schema.f()",
            "CASE WHEN a THEN 1 END",
            "a > 0 extra",
            "(active IS TRUE)",
            "E'a'",
            "",
        ] {
            assert_eq!(parse(sql, Spelling::Postgres), None, "{sql}");
        }
    }
}
