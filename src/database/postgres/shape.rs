//! How PostgreSQL gives a new table what its source has.

use super::{
    super::{
        Column, Dialect, LogicalType, Relation,
        features::Identity,
        shaping::{Carried, NewIdentity, Shaping, target_named},
    },
    Postgres,
};

/// Most bytes of a name; the server cuts longer ones.
const NAME_BYTES_MAX: usize = 63;

impl Shaping for Postgres {
    fn shares_index_names(&self) -> bool {
        true
    }

    fn name_fits(&self, name: &str) -> bool {
        name.len() <= NAME_BYTES_MAX
    }

    fn boolean(&self, value: bool, _column: &Column) -> &'static str {
        if value { "true" } else { "false" }
    }

    fn now(&self, column: &Column, utc: bool) -> Option<String> {
        match (column.logical, utc) {
            (LogicalType::Instant { .. }, _) | (LogicalType::Timestamp { .. }, false) => {
                Some("CURRENT_TIMESTAMP".to_owned())
            }
            (LogicalType::Timestamp { .. }, true) => Some("(CURRENT_TIMESTAMP AT TIME ZONE 'UTC')".to_owned()),
            _ => None,
        }
    }

    fn today(&self) -> &'static str {
        "CURRENT_DATE"
    }

    fn has_partial_indexes(&self) -> bool {
        true
    }

    fn identity(&self, identity: &Identity, columns: &[(Column, Column)], carried: &mut Carried) -> Result<(), String> {
        let target = target_named(columns, &identity.column).filter(|target| target.is_required());
        let is_whole =
            target.is_some_and(|target| matches!(target.declared.as_str(), "smallint" | "integer" | "bigint"));
        if !is_whole {
            return Err("the target's column is not one of whole numbers that are never NULL".to_owned());
        }
        let always = if identity.always { "ALWAYS" } else { "BY DEFAULT" };
        let step = match identity.increment {
            1 => String::new(),
            increment => format!(" (INCREMENT BY {increment})"),
        };
        let clause = format!("GENERATED {always} AS IDENTITY{step}");
        carried.shape.clauses.insert(identity.column.clone(), clause);
        carried.identities.push(NewIdentity {
            column: identity.column.clone(),
            next: identity.next.unwrap_or(1),
            increment: identity.increment,
        });
        Ok(())
    }

    fn computed(&self, _column: &Column, own: &str) -> String {
        own.to_owned()
    }

    fn comment(&self, column: Option<&str>, text: &str, carried: &mut Carried) -> Result<(), String> {
        carried.comments.push((column.map(str::to_owned), text.to_owned()));
        Ok(())
    }

    fn after_rows(&self, carried: &Carried, table: &Relation) -> Vec<String> {
        let quoted = self.quote_relation(table);
        let mut statements = Vec::new();
        for index in &carried.indexes {
            let (name, rest) = (self.quote(&index.name), &index.rest);
            // An exclusion constraint's words say what it is.
            statements.push(match (index.constraint, rest.starts_with('(')) {
                (true, true) => format!("ALTER TABLE {quoted} ADD CONSTRAINT {name} UNIQUE {rest}"),
                (true, false) => format!("ALTER TABLE {quoted} ADD CONSTRAINT {name} {rest}"),
                (false, _) => {
                    let unique = if index.unique { "UNIQUE " } else { "" };
                    format!("CREATE {unique}INDEX {name} ON {quoted} {rest}")
                }
            });
        }
        for identity in &carried.identities {
            let column = self.quote(&identity.column);
            // The last number that was given: none, if that is below the first one.
            let last = match identity.increment > 0 {
                true => format!("GREATEST(max({column}), {})", identity.next - identity.increment),
                false => format!("LEAST(min({column}), {})", identity.next - identity.increment),
            };
            let bound = match identity.increment > 0 {
                true => "GREATEST(last, 1), last >= 1",
                false => "LEAST(last, -1), last <= -1",
            };
            statements.push(format!(
                "SELECT pg_catalog.setval(pg_catalog.pg_get_serial_sequence({}, {}), {bound}) \
                 FROM (SELECT {last} AS last FROM {quoted}) AS numbers",
                self.literal(&quoted),
                self.literal(&identity.column)
            ));
        }
        for (column, text) in &carried.comments {
            let on = match column {
                Some(column) => format!("COLUMN {quoted}.{}", self.quote(column)),
                None => format!("TABLE {quoted}"),
            };
            statements.push(format!("COMMENT ON {on} IS {}", self.literal(text)));
        }
        statements
    }
}
