//! A PostgreSQL table in ranges: by where its rows lie on disk, or by a sample of its primary key.

use super::{
    super::{
        Column, Dialect, Error, Relation,
        ranges::{Comparison, Literal, Ranges, is_shown, key_of},
    },
    Postgres, Session,
};

/// The first whose scans begin and end at a ctid (TID Range Scan); before, each range would read the whole table.
const CTID_VERSION: u32 = 140_000;

/// Rows of a key's sample, about; a few hundred for each of many ranges.
const SAMPLE_ROWS: f64 = 20_000.0;

/// Kind, blocks, version, whether other tables inherit from it, and rows as the last ANALYZE has counted them; of a
/// partitioned table those of its partitions.
const FACTS: &str = "\
SELECT c.relkind, pg_catalog.pg_relation_size(c.oid) / CAST(current_setting('block_size') AS bigint), \
  current_setting('server_version_num'), CAST(c.relhassubclass AS int), CAST(greatest(c.reltuples, \
    (SELECT sum(greatest(p.reltuples, 0)) FROM pg_catalog.pg_class p WHERE p.relkind = 'r' AND p.oid IN ( \
      WITH RECURSIVE parts AS (SELECT c.oid AS inhrelid UNION ALL SELECT i.inhrelid FROM pg_catalog.pg_inherits i \
        JOIN parts ON i.inhparent = parts.inhrelid) SELECT inhrelid FROM parts))) AS bigint) \
FROM pg_catalog.pg_class c WHERE c.oid = pg_catalog.to_regclass(?)";

/// The ranges of a table, or why there are none.
pub(super) fn ranges(
    dialect: &Postgres,
    session: &Session,
    relation: &Relation,
    columns: &[Column],
    wanted: usize,
) -> Result<Result<Ranges, String>, Error> {
    let name = dialect.quote_relation(relation);
    let rows = session.text_rows(FACTS, &[&name])?;
    let Some(facts) = rows.first() else {
        return Ok(Err("the table is not in the catalog".to_owned()));
    };
    let cell = |position: usize| facts.get(position).and_then(Option::as_deref).unwrap_or_default();
    let version: u32 = cell(2).parse().unwrap_or(0);
    match cell(0) {
        // They are read with it, and its key does not hold in them: there may be NULL.
        "r" if cell(3) == "1" => Ok(Err("other tables inherit from it".to_owned())),
        "r" if version >= CTID_VERSION => {
            let blocks: u64 = cell(1).parse().unwrap_or(0);
            Ok(by_ctid(blocks, wanted).ok_or_else(|| format!("it has {blocks} blocks")))
        }
        "r" | "p" => by_key(dialect, session, &name, columns, wanted, cell(4).parse().unwrap_or(0.0)),
        _ => Ok(Err("it is no table of the server's own".to_owned())),
    }
}

/// Ranges of as many blocks each; `None` where there are not two of them.
fn by_ctid(blocks: u64, wanted: usize) -> Option<Ranges> {
    let wanted = (wanted as u64).min(blocks);
    let bounds: Vec<Vec<Literal>> = (1..wanted)
        .map(|number| vec![Literal::open(format!("'({},0)'::tid", blocks * number / wanted))])
        .collect();
    let conditions = Comparison::Rows.conditions(&["ctid".to_owned()], &bounds);
    (conditions.len() > 1).then(|| Ranges {
        by: "ctid".to_owned(),
        conditions,
    })
}

/// Ranges by the primary key, balanced by a sample of it.
fn by_key(
    dialect: &Postgres,
    session: &Session,
    table: &str,
    columns: &[Column],
    wanted: usize,
    estimated_rows: f64,
) -> Result<Result<Ranges, String>, Error> {
    let key = key_of(columns);
    if key.is_empty() {
        return Ok(Err("it has no primary key".to_owned()));
    }
    let names: Vec<String> = key.iter().map(|column| dialect.quote(&column.name)).collect();
    // Whole blocks: of a small table all, since few might be none.
    let percent = (100.0 * SAMPLE_ROWS / estimated_rows.max(1.0)).clamp(0.001, 100.0);
    let list = names.join(", ");
    let texts: Vec<String> = names
        .iter()
        .map(|name| format!("quote_literal(CAST({name} AS text))"))
        .collect();
    let sql = format!(
        "SELECT {} FROM (SELECT {list}, row_number() OVER (ORDER BY {list}) AS dray_number, count(*) OVER () AS dray_count \
         FROM {table} TABLESAMPLE SYSTEM ({percent})) AS sample \
         WHERE dray_number > 1 AND dray_number IN (SELECT dray_count * part / {wanted} + 1 FROM generate_series(1, {}) part) \
         ORDER BY {list}",
        texts.join(", "),
        wanted - 1,
    );
    let bounds: Vec<Vec<Literal>> = session
        .text_rows(&sql, &[])?
        .into_iter()
        .filter_map(|row| row.into_iter().collect::<Option<Vec<String>>>())
        .map(|row| {
            let literal = |(column, text): (&&Column, String)| match is_shown(column) {
                true => Literal::open(text),
                false => Literal::covered(text),
            };
            key.iter().zip(row).map(literal).collect()
        })
        .collect();
    let conditions = Comparison::Rows.conditions(&names, &bounds);
    if conditions.len() < 2 {
        return Ok(Err("too few of its rows were met in a sample".to_owned()));
    }
    Ok(Ok(Ranges {
        by: format!("key ({list})"),
        conditions,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_parted_evenly_and_a_table_of_one_block_is_not() {
        let ranges = by_ctid(10, 3).unwrap();
        let sql: Vec<&str> = ranges
            .conditions
            .iter()
            .map(|condition| condition.sql.as_str())
            .collect();
        assert_eq!(
            sql,
            [
                "ctid < '(3,0)'::tid",
                "ctid >= '(3,0)'::tid AND ctid < '(6,0)'::tid",
                "ctid >= '(6,0)'::tid"
            ]
        );
        assert_eq!(by_ctid(2, 8).map(|ranges| ranges.conditions.len()), Some(2));
        assert_eq!([by_ctid(1, 3), by_ctid(0, 3)], [None, None]);
    }
}
