//! SQL as a row of tokens, for what has to be understood of it: expressions of a catalog, and SQLite's CREATE TABLE.
//!
//! Knows how words, names, texts and numbers are spelled in the products, and no grammar.

/// How a product spells names and texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spelling {
    /// `"name"`, `'text'`; a text with `E` before it has escapes.
    Postgres,
    /// `` `name` ``, `'text'` and `"text"`, both with escapes.
    MySql,
    /// `"name"`, `` `name` ``, `[name]`, `'text'`.
    Sqlite,
    /// `[name]`, `"name"`, `'text'`; a text of UTF-16 has `N` before it.
    TransactSql,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A word that is not in quotes, as it is written.
    Word(String),
    /// A name in quotes, without them.
    Name(String),
    /// A text, without its quotes and escapes.
    Text(String),
    /// A number without a sign.
    Number(String),
    /// A sign or several that belong together, such as `(` or `>=`.
    Sign(String),
}

/// A token and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Token {
    pub kind: Kind,
    /// The place of its first byte.
    pub start: usize,
    /// The place after its last byte.
    pub end: usize,
}

impl Token {
    /// Whether it is this word, in whatever letters.
    pub fn is_word(&self, word: &str) -> bool {
        matches!(&self.kind, Kind::Word(own) if own.eq_ignore_ascii_case(word))
    }

    /// Whether it is this sign.
    pub fn is_sign(&self, sign: &str) -> bool {
        matches!(&self.kind, Kind::Sign(own) if own == sign)
    }
}

/// Signs of several letters, the longer ones first.
const SIGNS: [&str; 14] = [
    "<=>", "->>", "::", "<=", ">=", "<>", "!=", "==", "||", "<<", ">>", "->", "&&", "~*",
];

/// The tokens of a text, without blanks and comments; `None` if a quote or a comment has no end.
pub(super) fn tokens(sql: &str, spelling: Spelling) -> Option<Vec<Token>> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while let Some(first) = sql[at..].chars().next() {
        let rest = &sql[at..];
        let (kind, length) = if first.is_whitespace() {
            at += first.len_utf8();
            continue;
        } else if rest.starts_with("--") {
            at += rest.find('\n').map_or(rest.len(), |end| end + 1);
            continue;
        } else if rest.starts_with("/*") {
            at += rest.find("*/")? + 2;
            continue;
        } else if first.is_alphabetic() || first == '_' || !first.is_ascii() {
            let part_of_word =
                |letter: char| letter.is_alphanumeric() || letter == '_' || letter == '$' || !letter.is_ascii();
            let length = rest.find(|letter| !part_of_word(letter)).unwrap_or(rest.len());
            (Kind::Word(rest[..length].to_owned()), length)
        } else if first.is_ascii_digit() || (first == '.' && rest[1..].starts_with(|next: char| next.is_ascii_digit()))
        {
            let mut before = ' ';
            let in_number = |letter: char| {
                let is_in =
                    letter.is_ascii_alphanumeric() || letter == '.' || (matches!(letter, '+' | '-') && before == 'e');
                before = letter.to_ascii_lowercase();
                !is_in
            };
            let length = rest.find(in_number).unwrap_or(rest.len());
            (Kind::Number(rest[..length].to_owned()), length)
        } else if first == '\'' || (first == '"' && spelling == Spelling::MySql) {
            let (text, length) = quoted(rest, first, spelling == Spelling::MySql)?;
            (Kind::Text(text), length)
        } else if first == '"' || (first == '`' && matches!(spelling, Spelling::MySql | Spelling::Sqlite)) {
            let (name, length) = quoted(rest, first, false)?;
            (Kind::Name(name), length)
        } else if first == '[' && spelling == Spelling::TransactSql {
            let (name, length) = quoted(rest, ']', false)?;
            (Kind::Name(name), length)
        } else if first == '[' && spelling == Spelling::Sqlite {
            let length = rest.find(']')? + 1;
            (Kind::Name(rest[1..length - 1].to_owned()), length)
        } else {
            let sign = SIGNS.iter().find(|sign| rest.starts_with(**sign));
            let length = sign.map_or(first.len_utf8(), |sign| sign.len());
            (Kind::Sign(rest[..length].to_owned()), length)
        };
        tokens.push(Token {
            kind,
            start: at,
            end: at + length,
        });
        at += length;
    }
    Some(tokens)
}

/// What stands between two quotes, and how many bytes it takes with them.
fn quoted(text: &str, quote: char, has_escapes: bool) -> Option<(String, usize)> {
    let mut inner = String::new();
    let mut letters = text.char_indices().skip(1).peekable();
    while let Some((at, letter)) = letters.next() {
        if letter == quote {
            if letters.peek().is_some_and(|(_, next)| *next == quote) {
                letters.next();
                inner.push(quote);
                continue;
            }
            return Some((inner, at + quote.len_utf8()));
        }
        if letter == '\\' && has_escapes {
            let (_, escaped) = letters.next()?;
            inner.push(match escaped {
                '0' => '\0',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'b' => '\u{8}',
                'Z' => '\u{1a}',
                other => other,
            });
            continue;
        }
        inner.push(letter);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(sql: &str, spelling: Spelling) -> Vec<Kind> {
        let tokens = tokens(sql, spelling).unwrap();
        tokens.into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn names_and_texts_are_told_apart_as_each_product_spells_them() {
        let name = |name: &str| Kind::Name(name.to_owned());
        let text = |text: &str| Kind::Text(text.to_owned());
        assert_eq!(kinds("\"a\"\"b\"", Spelling::Postgres), [name("a\"b")]);
        assert_eq!(
            kinds("\"a\" `b` [c d]", Spelling::Sqlite),
            [name("a"), name("b"), name("c d")]
        );
        assert_eq!(kinds("[a]]b] \"c\"", Spelling::TransactSql), [name("a]b"), name("c")]);
        assert_eq!(kinds("\"a\" `b``c`", Spelling::MySql), [text("a"), name("b`c")]);
        assert_eq!(
            kinds(r"'it\'s' 'o''clock'", Spelling::MySql),
            [text("it's"), text("o'clock")]
        );
        assert_eq!(kinds(r"'\' 'x'", Spelling::Sqlite), [text(r"\"), text("x")]);
    }

    #[test]
    fn signs_numbers_and_comments_end_where_they_end() {
        let spelled = |sql: &str| -> Vec<String> {
            let tokens = tokens(sql, Spelling::Sqlite).unwrap();
            tokens
                .iter()
                .map(|token| sql[token.start..token.end].to_owned())
                .collect()
        };
        assert_eq!(
            spelled("a>=1.5e-3 -- x\n/* y */<>b::c"),
            ["a", ">=", "1.5e-3", "<>", "b", "::", "c"]
        );
        assert_eq!(spelled("größe-1"), ["größe", "-", "1"]);
        assert_eq!(tokens("'open", Spelling::Sqlite), None);
    }
}
