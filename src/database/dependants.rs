//! What depends on a table that is there, for whoever takes it away or empties it: foreign keys of other tables, and what
//! hangs on the table itself.
//!
//! Knows words and statements, and nothing of which loads they stand in the way of (`copy/dependants.rs`). How a product is
//! asked stands in its folder.

use std::collections::HashMap;

use super::Relation;

/// What depends on a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dependants {
    /// Foreign keys of other tables that refer to it.
    pub keys: Vec<KeyTo>,
    /// What would be lost or broken if another table took its place.
    pub held: Vec<Thing>,
    /// What goes with it, and is told.
    pub gone: Vec<Thing>,
    /// What is given to a new table in its place.
    pub given: Vec<Given>,
}

/// A foreign key of another table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyTo {
    /// Its name; none where the product has none.
    pub name: Option<String>,
    /// The table that it belongs to, with its schema.
    pub referring: Relation,
    /// Why the table cannot be replaced because of it, if so.
    pub replacing: Option<String>,
    /// Why the table cannot be emptied because of it, if so.
    pub emptying: Option<String>,
}

/// Something with a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thing {
    /// Such as `view`; nothing where the name says it.
    pub what: String,
    /// Its name.
    pub name: String,
}

/// A statement that gives a new table what the old one had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The statement, for the table of the same name.
    pub sql: String,
    /// The column that it is about, if it is about one.
    pub column: Option<String>,
}

impl std::fmt::Display for Thing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.what.as_str(), self.name.as_str()) {
            (what, "") => f.write_str(what),
            ("", name) => f.write_str(name),
            (what, name) => write!(f, "{what} `{name}`"),
        }
    }
}

impl KeyTo {
    /// In words.
    pub fn thing(&self) -> String {
        match &self.name {
            Some(name) => format!("foreign key `{name}` of `{}` refers to it", self.referring),
            None => format!("a foreign key of `{}` refers to it", self.referring),
        }
    }
}

/// What becomes of rows that refer to one that goes, if anything does.
pub(super) fn effect(rule: &str) -> Option<String> {
    match rule {
        "CASCADE" => Some("its rows would go as well (ON DELETE CASCADE)".to_owned()),
        "SET NULL" | "SET DEFAULT" => Some(format!("its rows would be changed (ON DELETE {rule})")),
        _ => None,
    }
}

/// How a product's foreign keys stand in the way: given what becomes of referring rows, why the table cannot be replaced and
/// why it cannot be emptied.
pub(super) type Ways = fn(&str) -> [Option<String>; 2];

/// The dependants in the rows of a catalog's answer: schema and name of the table; `key`, `held`, `gone` or `given`; what it
/// is; its name, or the statement; of a key schema and name of its table and what becomes of rows; of a statement the column
/// in the place of the table's schema.
pub(super) fn dependants_of(rows: Vec<Vec<Option<String>>>, ways: Ways) -> HashMap<Relation, Dependants> {
    let mut found: HashMap<Relation, Dependants> = HashMap::new();
    for row in rows {
        let Ok([schema, Some(table), Some(role), what, name, of_schema, of_table, rule]) =
            <[Option<String>; 8]>::try_from(row)
        else {
            continue;
        };
        let dependants = found.entry(Relation::new(schema, table)).or_default();
        let thing = |name: Option<String>| Thing {
            what: what.clone().unwrap_or_default(),
            name: name.unwrap_or_default(),
        };
        match (role.as_str(), of_table) {
            ("key", Some(of_table)) => {
                let [replacing, emptying] = ways(rule.as_deref().unwrap_or_default());
                dependants.keys.push(KeyTo {
                    name,
                    referring: Relation::new(of_schema, of_table),
                    replacing,
                    emptying,
                });
            }
            ("held", _) => dependants.held.push(thing(name)),
            ("gone", _) => dependants.gone.push(thing(name)),
            ("given", _) => dependants
                .given
                .extend(name.map(|sql| Given { sql, column: of_schema })),
            _ => {}
        }
    }
    found
}
