//! How SQLite gives a new table what its source has.

use super::{
    super::{
        Column, Dialect, LogicalType, Relation,
        features::Identity,
        shaping::{Carried, NewIdentity, Shaping},
    },
    Sqlite,
    affinity::Affinity,
};

impl Shaping for Sqlite {
    fn shares_index_names(&self) -> bool {
        true
    }

    fn name_fits(&self, name: &str) -> bool {
        !name.to_lowercase().starts_with("sqlite_")
    }

    fn boolean(&self, value: bool, _column: &Column) -> &'static str {
        if value { "1" } else { "0" }
    }

    fn now(&self, column: &Column, _utc: bool) -> Option<String> {
        // Its own clock is UTC.
        match column.logical {
            LogicalType::Timestamp { .. } => Some("CURRENT_TIMESTAMP".to_owned()),
            LogicalType::Instant { .. } => Some("(strftime('%Y-%m-%d %H:%M:%f', 'now') || '+00:00')".to_owned()),
            _ => None,
        }
    }

    fn today(&self) -> &'static str {
        "CURRENT_DATE"
    }

    fn compares_numbers(&self, column: &Column) -> bool {
        Affinity::of(&column.declared).is_numeric()
    }

    fn has_partial_indexes(&self) -> bool {
        true
    }

    fn identity(&self, identity: &Identity, columns: &[(Column, Column)], carried: &mut Carried) -> Result<(), String> {
        let mut key = columns
            .iter()
            .map(|(_, target)| target)
            .filter(|target| target.key_position.is_some());
        let is_key = key.next().is_some_and(|column| {
            column.name == identity.column && matches!(column.logical, LogicalType::Integer { .. })
        });
        if !is_key || key.next().is_some() {
            return Err("in SQLite only a primary key of one column of whole numbers numbers its rows".to_owned());
        }
        if identity.increment != 1 {
            return Err(format!("its step is {}, SQLite has none but 1", identity.increment));
        }
        carried.declared.push((identity.column.clone(), "INTEGER".to_owned()));
        if identity.implied {
            return Ok(());
        }
        let clause = "PRIMARY KEY AUTOINCREMENT".to_owned();
        carried.shape.clauses.insert(identity.column.clone(), clause);
        carried.shape.key_in_clause = Some(identity.column.clone());
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

    fn comment(&self, _column: Option<&str>, _text: &str, _carried: &mut Carried) -> Result<(), String> {
        Err("SQLite has no comments".to_owned())
    }

    fn keys_in_table(&self) -> bool {
        true
    }

    fn after_rows(&self, carried: &Carried, table: &Relation) -> Vec<String> {
        let schema = self.quote(table.schema.as_deref().unwrap_or("main"));
        let mut statements = Vec::new();
        for index in &carried.indexes {
            let unique = if index.unique { "UNIQUE " } else { "" };
            statements.push(format!(
                "CREATE {unique}INDEX {schema}.{} ON {} {}",
                self.quote(&index.name),
                self.quote(&table.name),
                index.rest
            ));
        }
        for identity in carried.identities.iter().filter(|identity| identity.next > 1) {
            // A table without rows has no counter yet.
            let (last, name) = (identity.next - 1, self.literal(&table.name));
            statements.push(format!(
                "UPDATE {schema}.sqlite_sequence SET seq = max(seq, {last}) WHERE name = {name}"
            ));
            statements.push(format!(
                "INSERT INTO {schema}.sqlite_sequence (name, seq) SELECT {name}, {last} \
                 WHERE NOT EXISTS (SELECT 1 FROM {schema}.sqlite_sequence WHERE name = {name})"
            ));
        }
        statements
    }
}
