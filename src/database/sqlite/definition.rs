//! What stands in a table's CREATE TABLE and in no pragma of SQLite: checks, expressions, collations, names of foreign
//! keys. Pure.

use std::collections::HashMap;

use super::super::tokens::{Kind, Spelling, Token, tokens};

/// What a CREATE TABLE says beyond what the pragmas tell.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Definition {
    /// Checks: the name, if it has one, and the condition.
    pub checks: Vec<(Option<String>, String)>,
    /// Computed columns: what stands in the brackets, and whether it is stored.
    pub generated: HashMap<String, (String, bool)>,
    /// Columns with a collation other than BINARY.
    pub collated: Vec<String>,
    /// The names of the foreign keys, in their order.
    pub foreign_keys: Vec<Option<String>>,
    /// The foreign keys that are looked at when the transaction ends: those by their place.
    pub deferred: Vec<usize>,
    /// Whether the primary key is AUTOINCREMENT.
    pub autoincrement: bool,
    /// `STRICT` and `WITHOUT ROWID`, as they are.
    pub options: Vec<&'static str>,
}

/// Reads a CREATE TABLE; nothing is found in what is none.
pub(super) fn read(sql: &str) -> Definition {
    let mut definition = Definition::default();
    let Some(tokens) = tokens(sql, Spelling::Sqlite) else {
        return definition;
    };
    let Some(open) = tokens.iter().position(|token| token.is_sign("(")) else {
        return definition;
    };
    let Some(close) = closing(&tokens, open) else {
        return definition;
    };
    let mut begin = open + 1;
    while begin < close {
        let mut end = begin;
        while end < close && !tokens[end].is_sign(",") {
            end = match tokens[end].is_sign("(") {
                true => closing(&tokens, end).map_or(close, |end| end + 1),
                false => end + 1,
            };
        }
        item(sql, &tokens[begin..end], &mut definition);
        begin = end + 1;
    }
    for pair in tokens[close..].windows(2) {
        if pair[0].is_word("without") && pair[1].is_word("rowid") {
            definition.options.push("WITHOUT ROWID");
        }
    }
    if tokens[close..].iter().any(|token| token.is_word("strict")) {
        definition.options.push("STRICT");
    }
    definition
}

/// What follows the table's name in a CREATE INDEX.
pub(super) fn index_words(sql: &str) -> Option<&str> {
    let tokens = tokens(sql, Spelling::Sqlite)?;
    let on = tokens.iter().position(|token| token.is_word("on"))?;
    let open = tokens[on..].iter().find(|token| token.is_sign("("))?;
    Some(&sql[open.start..])
}

/// The place of the bracket that closes the one at this place.
fn closing(tokens: &[Token], open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (place, token) in tokens.iter().enumerate().skip(open) {
        if token.is_sign("(") {
            depth += 1;
        } else if token.is_sign(")") {
            depth -= 1;
            if depth == 0 {
                return Some(place);
            }
        }
    }
    None
}

/// A column or a constraint of the table.
fn item(sql: &str, tokens: &[Token], definition: &mut Definition) {
    const CONSTRAINTS: [&str; 5] = ["constraint", "primary", "unique", "check", "foreign"];
    let Some(first) = tokens.first() else { return };
    let is_constraint = CONSTRAINTS.iter().any(|word| first.is_word(word));
    let column = (!is_constraint).then(|| name(first)).flatten();
    let mut constraint_name = None;
    let mut at = usize::from(!is_constraint);
    while let Some(token) = tokens.get(at) {
        let brackets = |from: usize| {
            let open = tokens.get(from).filter(|token| token.is_sign("("))?;
            let close = closing(tokens, from)?;
            Some((sql[open.end..tokens[close].start].trim().to_owned(), close))
        };
        let mut next = at + 1;
        if token.is_word("constraint") {
            constraint_name = tokens.get(at + 1).and_then(name);
            next += 1;
        } else if token.is_word("check") {
            if let Some((condition, close)) = brackets(at + 1) {
                definition.checks.push((constraint_name.take(), condition));
                next = close + 1;
            }
        } else if token.is_word("as") {
            if let Some((expression, close)) = brackets(at + 1) {
                let stored = tokens.get(close + 1).is_some_and(|token| token.is_word("stored"));
                if let Some(column) = &column {
                    definition.generated.insert(column.clone(), (expression, stored));
                }
                next = close + 1;
            }
        } else if token.is_word("collate") {
            let collation = tokens.get(at + 1).and_then(name).unwrap_or_default();
            if let Some(column) = column.as_ref().filter(|_| !collation.eq_ignore_ascii_case("binary")) {
                definition.collated.push(column.clone());
            }
            next += 1;
        } else if token.is_word("references") {
            definition.foreign_keys.push(constraint_name.take());
        } else if token.is_word("deferred") {
            definition.deferred.extend(definition.foreign_keys.len().checked_sub(1));
        } else if token.is_word("autoincrement") {
            definition.autoincrement = true;
        } else if token.is_sign("(") {
            // A size, a list of columns, a default.
            next = closing(tokens, at).map_or(tokens.len(), |close| close + 1);
        }
        at = next;
    }
}

fn name(token: &Token) -> Option<String> {
    match &token.kind {
        Kind::Word(name) | Kind::Name(name) | Kind::Text(name) => Some(name.clone()),
        _ => None,
    }
}

/// Whether an expression calls for nothing but functions of SQLite itself: an application may have added its own.
pub(super) fn is_own(expression: &str) -> bool {
    const OWN: &str = " in values and or not between like glob exists cast case when then else is match escape abs char \
        coalesce concat concat_ws format hex ifnull iif instr length likelihood likely lower ltrim max min nullif \
        octet_length printf quote random randomblob replace round rtrim sign substr substring trim typeof unhex unicode \
        unlikely upper zeroblob date time datetime julianday unixepoch strftime timediff json json_array \
        json_array_length json_extract json_insert json_object json_patch json_quote json_remove json_replace json_set \
        json_type json_valid ";
    let Some(tokens) = tokens(expression, Spelling::Sqlite) else {
        return false;
    };
    tokens.windows(2).all(|pair| match &pair[0].kind {
        Kind::Word(word) | Kind::Name(word) if pair[1].is_sign("(") => {
            OWN.split_whitespace().any(|own| own.eq_ignore_ascii_case(word))
        }
        _ => true,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_create_table_says_what_no_pragma_does() {
        let definition = read(
            "CREATE TABLE \"a(b\" (id INTEGER PRIMARY KEY AUTOINCREMENT, -- a (comment\n \
             price DECIMAL(10, 2) DEFAULT (1 + 2) CHECK (price > 0) COLLATE BINARY, \
             note TEXT COLLATE NOCASE CONSTRAINT short CHECK (length(note) < (5 + 5)), \
             g INT GENERATED ALWAYS AS (price * 2) STORED, h AS (id), \
             p INT CONSTRAINT to_p REFERENCES p (id) ON DELETE CASCADE, q INT REFERENCES q DEFERRABLE INITIALLY DEFERRED, \
             CONSTRAINT both CHECK (p IS NULL OR q IS NULL) CHECK (id > 0), FOREIGN KEY (p, q) REFERENCES r (a, b)) STRICT",
        );
        let check = |name: Option<&str>, sql: &str| (name.map(str::to_owned), sql.to_owned());
        assert_eq!(
            definition.checks,
            [
                check(None, "price > 0"),
                check(Some("short"), "length(note) < (5 + 5)"),
                check(Some("both"), "p IS NULL OR q IS NULL"),
                check(None, "id > 0"),
            ]
        );
        assert_eq!(definition.generated["g"], ("price * 2".to_owned(), true));
        assert_eq!(definition.generated["h"], ("id".to_owned(), false));
        assert_eq!(definition.collated, ["note"]);
        assert_eq!(definition.foreign_keys, [Some("to_p".to_owned()), None, None]);
        assert_eq!((definition.deferred, definition.autoincrement), (vec![1], true));
        assert_eq!(definition.options, ["STRICT"]);
    }

    #[test]
    fn an_index_keeps_its_words() {
        let sql = "CREATE UNIQUE INDEX \"on (x)\" ON t (a DESC, lower(b)) WHERE a > 0";
        assert_eq!(index_words(sql), Some("(a DESC, lower(b)) WHERE a > 0"));
    }

    #[test]
    fn functions_of_an_application_are_told_from_sqlites_own() {
        assert!(is_own("lower(a) IN ('x', 'y') AND coalesce(b, 0) > 0"));
        assert!(!is_own("my_hash(a) > 0"));
    }
}
