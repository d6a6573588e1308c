//! A user's own SELECT as a table that another SELECT reads: SQL Server takes neither `WITH` nor a bare `ORDER BY` inside
//! of parentheses.

/// `SELECT list` from the query, which may be such a SELECT itself; a WHERE may follow.
pub(super) fn select(list: &str, sql: &str) -> String {
    let words = words(sql);
    // What WITH names has one name each.
    let mut name = "dray_query".to_owned();
    while sql.contains(&name) {
        name.push('_');
    }
    let is = |position: usize, word: &str| words.get(position).is_some_and(|(found, _)| found == word);
    // What is named by WITH stands in parentheses, so the first SELECT outside of them is the query's own.
    let main = match is(0, "with") {
        true => words.iter().position(|(word, _)| word == "select"),
        false => None,
    };
    let start = main
        .and_then(|position| words.get(position))
        .map_or(0, |(_, start)| *start);
    let own = &words[main.unwrap_or(0)..];
    let has = |wanted: &str| own.iter().any(|(word, _)| word == wanted);
    let is_ordered = own.windows(2).any(|pair| pair[0].0 == "order" && pair[1].0 == "by");
    // No rows are left out by it, and the order is one that a table may have.
    let limit = match is_ordered && !has("top") && !has("offset") && !has("for") {
        true => "\nOFFSET 0 ROWS",
        false => "",
    };
    let (named, query) = sql.split_at(start);
    match main {
        // Line breaks, since either part may end in a comment.
        Some(_) => format!("{named}\n, {name} AS ({query}{limit}\n)\nSELECT {list} FROM {name}"),
        None => format!("SELECT {list} FROM ({query}{limit}\n) AS {name}"),
    }
}

/// The words outside of parentheses, quotes and comments, in lower case, and where each begins.
fn words(sql: &str) -> Vec<(String, usize)> {
    let bytes = sql.as_bytes();
    let mut found = Vec::new();
    let (mut at, mut depth) = (0, 0_usize);
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            quote @ (b'\'' | b'"' | b'[') => {
                // A doubled closing one opens again at once.
                let closing = if quote == b'[' { b']' } else { quote };
                at = end_of(bytes, at + 1, &[closing]);
            }
            b'-' if bytes.get(at + 1) == Some(&b'-') => at = end_of(bytes, at, b"\n"),
            b'/' if bytes.get(at + 1) == Some(&b'*') => at = end_of_comment(bytes, at),
            b'(' => {
                depth += 1;
                at += 1;
            }
            b')' => {
                depth = depth.saturating_sub(1);
                at += 1;
            }
            byte if is_letter(byte) => {
                while bytes.get(at).copied().is_some_and(is_letter) {
                    at += 1;
                }
                if depth == 0 {
                    found.push((sql[start..at].to_lowercase(), start));
                }
            }
            _ => at += 1,
        }
    }
    found
}

fn is_letter(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'@' | b'#' | b'$') || byte >= 0x80
}

/// Behind the next place of these bytes.
fn end_of(bytes: &[u8], from: usize, mark: &[u8]) -> usize {
    let rest = bytes.get(from..).unwrap_or_default();
    let found = rest.windows(mark.len()).position(|window| window == mark);
    found.map_or(bytes.len(), |position| from + position + mark.len())
}

/// Behind a comment, which may hold others.
fn end_of_comment(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => {
                depth += 1;
                at += 2;
            }
            Some(b"*/") => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_query_stands_in_parentheses() {
        assert_eq!(
            select("a", "SELECT a FROM t -- all"),
            "SELECT a FROM (SELECT a FROM t -- all\n) AS dray_query"
        );
        let text = "SELECT [order by], 'order by' AS a FROM t WHERE EXISTS (SELECT 1 ORDER BY 1) /* order /* by */ */";
        assert!(!select("a", text).contains("OFFSET"));
    }

    #[test]
    fn named_queries_stay_in_front_of_the_one_that_reads_them() {
        assert_eq!(
            select(
                "[x]",
                "WITH a (x) AS (SELECT 1), b AS (SELECT x FROM a)\nSELECT x FROM b"
            ),
            "WITH a (x) AS (SELECT 1), b AS (SELECT x FROM a)\n\n, dray_query AS (SELECT x FROM b\n)\nSELECT [x] FROM \
             dray_query"
        );
    }

    #[test]
    fn a_select_from_a_named_query_is_one_that_another_reads() {
        let window = format!(
            "{} WHERE x > 1",
            select("*", "WITH a AS (SELECT 1 AS x) SELECT x FROM a")
        );
        assert_eq!(
            select("[x]", &window),
            "WITH a AS (SELECT 1 AS x) \n, dray_query AS (SELECT x FROM a\n)\n\n, dray_query_ AS (SELECT * FROM \
             dray_query WHERE x > 1\n)\nSELECT [x] FROM dray_query_"
        );
    }

    #[test]
    fn an_order_is_kept_as_one_that_leaves_nothing_out() {
        assert!(select("a", "SELECT a FROM t ORDER BY a").contains("ORDER BY a\nOFFSET 0 ROWS\n)"));
        for text in [
            "SELECT TOP 5 a FROM t ORDER BY a",
            "SELECT a FROM t ORDER BY a OFFSET 5 ROWS",
            "SELECT a, ROW_NUMBER() OVER (ORDER BY a) AS n FROM t",
        ] {
            assert!(!select("a", text).contains("OFFSET 0 ROWS"), "{text}");
        }
    }
}
