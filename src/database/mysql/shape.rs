//! How MariaDB and MySQL give a new table what its source has.

use super::{
    super::{
        Column, Dialect, LogicalType, Relation,
        features::{ForeignKey, Identity},
        shaping::{Carried, NOT_DEFERRED, NewIdentity, NewIndex, Shaping, target_named},
    },
    MySql,
};

/// Most characters of a name.
const NAME_CHARACTERS_MAX: usize = 64;

/// Most bytes of an InnoDB key, and most columns of it.
const KEY_BYTES_MAX: u32 = 3_072;
const KEY_COLUMNS_MAX: usize = 16;

/// More bytes than a value of any other type has in a key.
const OTHER_BYTES: u32 = 32;

/// Most characters of a comment on a table and on a column.
const TABLE_COMMENT_MAX: usize = 2_048;
const COLUMN_COMMENT_MAX: usize = 1_024;

impl Shaping for MySql {
    fn shares_index_names(&self) -> bool {
        false
    }

    fn name_fits(&self, name: &str) -> bool {
        name.chars().count() <= NAME_CHARACTERS_MAX && !name.eq_ignore_ascii_case("PRIMARY") && !name.ends_with(' ')
    }

    fn boolean(&self, value: bool, column: &Column) -> &'static str {
        match (column.declared.starts_with("bit"), value) {
            (true, true) => "b'1'",
            (true, false) => "b'0'",
            (false, true) => "1",
            (false, false) => "0",
        }
    }

    fn now(&self, column: &Column, utc: bool) -> Option<String> {
        match (column.logical, utc) {
            (LogicalType::Instant { digits, .. }, _) | (LogicalType::Timestamp { digits }, false) => {
                Some(format!("CURRENT_TIMESTAMP({digits})"))
            }
            (LogicalType::Timestamp { digits }, true) => Some(format!("(UTC_TIMESTAMP({digits}))")),
            _ => None,
        }
    }

    fn today(&self) -> &'static str {
        "(CURRENT_DATE)"
    }

    fn default(&self, column: &Column, expression: &str) -> String {
        // MySQL has literals for long text and JSON only in parentheses.
        match is_long(column) || matches!(column.logical, LogicalType::Json { .. }) {
            true => format!("DEFAULT ({expression})"),
            false => format!("DEFAULT {expression}"),
        }
    }

    fn has_partial_indexes(&self) -> bool {
        false
    }

    fn index_refused(&self, columns: &[(&Column, Option<u32>)], _own: bool) -> Option<String> {
        if columns.len() > KEY_COLUMNS_MAX {
            return Some(format!("it is of more than {KEY_COLUMNS_MAX} columns"));
        }
        let mut bytes: u32 = 0;
        for (column, prefix) in columns {
            let size = match column.logical {
                LogicalType::Text { length, .. } => length
                    .or(*prefix)
                    .map(|length| length.min(prefix.unwrap_or(length)) * 4),
                LogicalType::Bytes { length, .. } => {
                    length.or(*prefix).map(|length| length.min(prefix.unwrap_or(length)))
                }
                LogicalType::Json { .. } => prefix.map(|length| length * 4),
                _ => Some(OTHER_BYTES),
            };
            let Some(size) = size else {
                return Some(format!(
                    "column `{}` is `{}`, of which no index is made",
                    column.name, column.declared
                ));
            };
            bytes = bytes.saturating_add(size);
        }
        let reason = format!("its columns may have {bytes} bytes, {KEY_BYTES_MAX} are the most of an index");
        (bytes > KEY_BYTES_MAX).then_some(reason)
    }

    fn identity(&self, identity: &Identity, columns: &[(Column, Column)], carried: &mut Carried) -> Result<(), String> {
        let target = target_named(columns, &identity.column);
        if !target.is_some_and(|target| matches!(target.logical, LogicalType::Integer { .. })) {
            return Err("the target's column is not one of whole numbers".to_owned());
        }
        if identity.increment != 1 {
            return Err(format!(
                "its step is {}, the target's product has none but 1",
                identity.increment
            ));
        }
        if carried.shape.clauses.values().any(|clause| clause == "AUTO_INCREMENT") {
            return Err("a table of the target's product has one such column".to_owned());
        }
        carried
            .shape
            .clauses
            .insert(identity.column.clone(), "AUTO_INCREMENT".to_owned());
        if let Some(next) = identity.next.filter(|next| *next > 1) {
            carried.shape.options.push_str(&format!(" AUTO_INCREMENT={next}"));
        }
        carried.identities.push(NewIdentity {
            column: identity.column.clone(),
            next: identity.next.unwrap_or(1),
            increment: 1,
        });
        Ok(())
    }

    fn computed(&self, _column: &Column, own: &str) -> String {
        own.to_owned()
    }

    fn comment(&self, column: Option<&str>, text: &str, carried: &mut Carried) -> Result<(), String> {
        let most = if column.is_some() {
            COLUMN_COMMENT_MAX
        } else {
            TABLE_COMMENT_MAX
        };
        let length = text.chars().count();
        if length > most {
            return Err(format!("it has {length} characters, {most} are the most"));
        }
        let words = format!("COMMENT {}", self.literal(text));
        match column {
            None => carried.shape.options.push_str(&format!(" {words}")),
            Some(column) => {
                let clause = carried.shape.clauses.entry(column.to_owned()).or_default();
                *clause = format!("{clause} {words}").trim_start().to_owned();
            }
        }
        Ok(())
    }

    fn check(&self, quoted_name: Option<String>, condition: &str) -> String {
        // MySQL has the names of checks once in a database, where the table that is replaced may still have them; it
        // derives others from the table's name, and renames them with it.
        match quoted_name.filter(|_| self.mariadb) {
            Some(name) => format!("CONSTRAINT {name} CHECK ({condition})"),
            None => format!("CHECK ({condition})"),
        }
    }

    fn key_refused(&self, key: &ForeignKey) -> Option<String> {
        if key.deferred.is_some() {
            return Some(NOT_DEFERRED.to_owned());
        }
        let sets_default = key.on_update == "SET DEFAULT" || key.on_delete == "SET DEFAULT";
        sets_default.then(|| "it is SET DEFAULT, which the target's product does not do".to_owned())
    }

    fn settle(&self, columns: &[(Column, Column)], carried: &mut Carried) {
        // A column that numbers its rows has to be the first one of a key as the table is made.
        let Some(identity) = carried.identities.first() else {
            return;
        };
        let is_first =
            |(_, target): &(Column, Column)| target.name == identity.column && target.key_position == Some(1);
        if columns.iter().any(is_first) {
            return;
        }
        let column = self.quote(&identity.column);
        let begins = |index: &NewIndex| {
            let rest = index.rest.strip_prefix(&format!("({column}"));
            rest.is_some_and(|rest| rest.starts_with([')', ',', ' ']))
        };
        let line = match carried.indexes.iter().position(begins) {
            Some(place) => {
                let NewIndex { name, unique, rest, .. } = carried.indexes.remove(place);
                let unique = if unique { "UNIQUE " } else { "" };
                format!("{unique}KEY {} {rest}", self.quote(&name))
            }
            None => format!("KEY ({column})"),
        };
        carried.shape.constraints.push(line);
    }

    fn after_rows(&self, carried: &Carried, table: &Relation) -> Vec<String> {
        let index = |index: &NewIndex| {
            let (kind, list) = match index
                .rest
                .split_once(' ')
                .filter(|(kind, _)| matches!(*kind, "FULLTEXT" | "SPATIAL"))
            {
                Some((kind, list)) => (format!("{kind} "), list),
                None => (
                    if index.unique {
                        "UNIQUE ".to_owned()
                    } else {
                        String::new()
                    },
                    index.rest.as_str(),
                ),
            };
            format!("ADD {kind}INDEX {} {list}", self.quote(&index.name))
        };
        // One statement, and one pass through the rows.
        let added: Vec<String> = carried.indexes.iter().map(index).collect();
        match added.is_empty() {
            true => Vec::new(),
            false => vec![format!(
                "ALTER TABLE {} {}",
                self.quote_relation(table),
                added.join(", ")
            )],
        }
    }
}

/// Whether a column is of a type that has no bound.
fn is_long(column: &Column) -> bool {
    matches!(
        column.declared.as_str(),
        "tinytext" | "text" | "mediumtext" | "longtext"
    )
}
