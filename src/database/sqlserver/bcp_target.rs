//! What a bulk copy has to know about its table: the places of its columns, what fires and what is checked, and the code
//! pages of its text.

use super::{
    super::{Column, Error, Relation, generic},
    bcp_types, catalog,
    code_pages::CodePage,
    types,
};
use crate::odbc::Session;

/// Columns as `SELECT *` has them: without those that are hidden. What a table has is in each of its rows.
const FACTS: &str = "\
SELECT c.name, CAST(c.is_identity AS int), CAST(c.is_computed AS int), t.name, \
  CASE WHEN c.default_object_id = 0 OR c.is_computed = 1 THEN 0 ELSE 1 END, o.type, \
  (SELECT COUNT(*) FROM sys.indexes i WHERE i.object_id = c.object_id AND i.index_id > 0), \
  (SELECT COUNT(*) FROM sys.triggers r WHERE r.parent_id = c.object_id AND r.is_disabled = 0), \
  CAST(c.is_column_set AS int) \
FROM sys.columns c JOIN sys.objects o ON o.object_id = c.object_id \
  LEFT JOIN sys.types t ON t.user_type_id = c.system_type_id \
WHERE ISNULL(COLUMNPROPERTY(c.object_id, c.name, 'IsHidden'), 0) = 0 AND c.object_id = OBJECT_ID(";

/// A table that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    columns: Vec<Place>,
    /// Whether it is a table, and no view.
    is_table: bool,
    /// Whether it has an index, so that it is no bare heap.
    has_index: bool,
    has_triggers: bool,
    /// Whether one column stands for all that are sparse.
    has_column_set: bool,
}

/// A column of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    name: String,
    identity: bool,
    /// Whether nobody can write it, and the driver leaves it out by itself.
    read_only: bool,
    has_default: bool,
}

impl Facts {
    /// What the server says about a table; `None` if there is none.
    pub(super) fn ask(session: &Session, table: &Relation) -> Result<Option<Facts>, Error> {
        let name = catalog::literal(&catalog::local(table));
        let sql = format!("{FACTS}{name}) ORDER BY c.column_id");
        let rows = session.text_rows(&catalog::at(table, sql), &[])?;
        Ok(Facts::of(&rows))
    }

    fn of(rows: &[Vec<Option<String>>]) -> Option<Facts> {
        let cell = |row: &[Option<String>], position: usize| row.get(position).cloned().flatten().unwrap_or_default();
        let first = rows.first()?;
        let place = |row: &Vec<Option<String>>| Place {
            name: cell(row, 0),
            identity: cell(row, 1) == "1",
            // Not the columns of a period: whether the driver takes them for read-only is not known.
            read_only: cell(row, 2) == "1" || cell(row, 3) == "timestamp",
            has_default: cell(row, 4) == "1",
        };
        Some(Facts {
            columns: rows.iter().map(place).collect(),
            is_table: cell(first, 5).trim() == "U",
            has_index: cell(first, 6) != "0",
            has_triggers: cell(first, 7) != "0",
            has_column_set: rows.iter().any(|row| cell(row, 8) == "1"),
        })
    }

    /// The columns' names in order.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.columns.iter().map(|place| place.name.as_str())
    }

    /// Whether a bulk copy loads these columns of it.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn takes(&self, columns: &[Column]) -> Result<(), String> {
        if !self.is_table {
            return Err("the target is no table".to_owned());
        }
        if self.has_column_set {
            return Err(
                "the target has a column set, in which `SELECT *` shows its sparse columns, and the driver counts others than \
                 the server"
                    .to_owned(),
            );
        }
        let written = |place: &Place| columns.iter().any(|column| column.name == place.name);
        let defaults = |wanted: bool| {
            self.columns
                .iter()
                .find(|place| place.has_default && written(place) == wanted)
        };
        if let (Some(kept), Some(made)) = (defaults(true), defaults(false)) {
            return Err(format!(
                "column `{}` shall have its default, and `{}` keep its NULLs, and a bulk copy does one of them for all",
                made.name, kept.name
            ));
        }
        let of = |place: &Place| columns.iter().find(|column| column.name == place.name);
        bcp_types::keeps_apart(self.columns.iter().filter_map(of))?;
        match self.columns.last() {
            // Seen with 18.6: "Not enough columns bound". Others may be missing.
            Some(last) if !written(last) && !last.read_only && !last.identity => Err(format!(
                "the driver's bulk copy needs the target's last column, `{}`, which is not among those that are copied",
                last.name
            )),
            _ => Ok(()),
        }
    }

    /// Whether these columns bring the values of an identity column along.
    pub(super) fn has_identity_among(&self, columns: &[Column]) -> bool {
        let mut identities = self.columns.iter().filter(|place| place.identity);
        identities.any(|place| columns.iter().any(|column| column.name == place.name))
    }

    /// Whether a NULL would become a default if these columns were loaded as they are.
    pub(super) fn has_defaults_among(&self, columns: &[Column]) -> bool {
        let mut defaults = self.columns.iter().filter(|place| place.has_default);
        defaults.any(|place| columns.iter().any(|column| column.name == place.name))
    }

    /// What makes a bulk copy do as an INSERT does, but for constraints that are left unchecked; and a lock of the whole table
    /// where that costs nobody anything: nobody knows a table that was made for this load, and on a bare heap it lets several
    /// loads in. Where there is an index it would keep everybody out.
    pub(super) fn hints(&self, created: bool, unchecked: bool) -> String {
        let mut hints = Vec::new();
        if !unchecked {
            hints.push("CHECK_CONSTRAINTS");
        }
        if self.has_triggers {
            hints.push("FIRE_TRIGGERS");
        }
        if created || !self.has_index {
            hints.push("TABLOCK");
        }
        hints.join(", ")
    }
}

/// The code pages of columns of `char`, `varchar` and `text`, by their collations.
pub(super) struct Pages(Vec<(Option<String>, Option<CodePage>)>);

impl Pages {
    /// The code pages that these columns need, from the server; those of another database, if a catalog is named.
    pub(super) fn ask(session: &Session, catalog: Option<&str>, columns: &[Column]) -> Result<Pages, Error> {
        let mut pages = Pages(Vec::new());
        for column in columns.iter().filter(|column| types::has_code_page(&column.declared)) {
            let collation = bcp_types::collation(&column.declared).map(str::to_owned);
            if pages.0.iter().any(|(known, _)| *known == collation) {
                continue;
            }
            let name = match &collation {
                Some(name) => catalog::literal(name),
                None => "CAST(DATABASEPROPERTYEX(DB_NAME(), 'Collation') AS nvarchar(128))".to_owned(),
            };
            let sql = format!("SELECT CAST(COLLATIONPROPERTY({name}, 'CodePage') AS nvarchar(20))");
            let number =
                generic::one_text(session, &catalog::within(catalog, sql))?.and_then(|number| number.parse().ok());
            pages.0.push((collation, number.and_then(CodePage::of)));
        }
        Ok(pages)
    }

    /// Whether dray knows all of them.
    ///
    /// # Errors
    /// Which column's it does not know.
    pub(super) fn all_known(&self, columns: &[Column]) -> Result<(), String> {
        let unknown = |column: &&Column| types::has_code_page(&column.declared) && self.of(column).is_none();
        match columns.iter().find(unknown) {
            Some(column) => Err(format!("dray does not know the code page of column `{}`", column.name)),
            None => Ok(()),
        }
    }

    /// The code page of a column.
    pub(super) fn of(&self, column: &Column) -> Option<&CodePage> {
        let collation = bcp_types::collation(&column.declared);
        let found = self.0.iter().find(|(known, _)| known.as_deref() == collation);
        found.and_then(|(_, page)| page.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::LogicalType;

    fn facts<const CELLS: usize>(rows: &[[&str; CELLS]]) -> Facts {
        let rows: Vec<Vec<_>> = rows
            .iter()
            .map(|row| row.iter().map(|cell| Some((*cell).to_owned())).collect())
            .collect();
        Facts::of(&rows).unwrap()
    }

    fn columns(names: &[&str]) -> Vec<Column> {
        let column = |name: &&str| Column {
            name: (*name).to_owned(),
            logical: LogicalType::TEXT,
            declared: "varchar(5)".to_owned(),
            nullable: true,
            key_position: None,
            generated: false,
            from_catalog: true,
        };
        names.iter().map(column).collect()
    }

    #[test]
    fn the_last_column_is_loaded_or_one_that_nobody_can_write() {
        let table = |identity, computed, kind| {
            facts(&[
                ["a", "0", "0", "int", "0", "U ", "0", "0"],
                ["b", identity, computed, kind, "0", "U ", "0", "0"],
            ])
        };
        assert_eq!(table("0", "0", "int").takes(&columns(&["b"])), Ok(()));
        let reason = table("0", "0", "int").takes(&columns(&["a"])).unwrap_err();
        assert!(reason.contains("`b`"), "{reason}");
        assert!(table("0", "0", "datetime2").takes(&columns(&["a"])).is_err());
        for table in [
            table("1", "0", "int"),
            table("0", "1", "int"),
            table("0", "0", "timestamp"),
        ] {
            assert_eq!(table.takes(&columns(&["a"])), Ok(()));
        }
        let view = facts(&[["a", "0", "0", "int", "0", "V ", "0", "0"]]);
        assert!(view.takes(&columns(&["a"])).is_err());
    }

    #[test]
    fn a_table_with_a_column_set_is_left_to_another_lane() {
        let table = |set: &str| {
            facts(&[
                ["a", "0", "0", "int", "0", "U", "0", "0", "0"],
                ["all", "0", "0", "xml", "0", "U", "0", "0", set],
                ["b", "0", "0", "int", "0", "U", "0", "0", "0"],
            ])
        };
        assert_eq!(table("0").takes(&columns(&["a", "b"])), Ok(()));
        let reason = table("1").takes(&columns(&["a", "b"])).unwrap_err();
        assert!(reason.contains("column set"), "{reason}");
    }

    #[test]
    fn nulls_are_kept_where_a_column_has_a_default_and_defaults_made_where_it_is_left_out() {
        let table = |first, second| {
            facts(&[
                ["a", "0", "0", "int", first, "U", "0", "0"],
                ["b", "0", "0", "int", second, "U", "0", "0"],
            ])
        };
        assert!(table("0", "1").has_defaults_among(&columns(&["b"])));
        assert!(!table("1", "0").has_defaults_among(&columns(&["b"])));
        assert_eq!(table("1", "0").takes(&columns(&["b"])), Ok(()));
        assert_eq!(table("1", "1").takes(&columns(&["a", "b"])), Ok(()));
        assert!(table("1", "1").takes(&columns(&["b"])).is_err());
    }

    #[test]
    fn a_table_is_locked_where_nobody_is_kept_out() {
        let of = |indexes, triggers| facts(&[["a", "1", "0", "int", "0", "U", indexes, triggers]]);
        let hints = |indexes, triggers, created| of(indexes, triggers).hints(created, false);
        assert_eq!(hints("0", "0", false), "CHECK_CONSTRAINTS, TABLOCK");
        assert_eq!(hints("1", "0", false), "CHECK_CONSTRAINTS");
        assert_eq!(hints("1", "2", true), "CHECK_CONSTRAINTS, FIRE_TRIGGERS, TABLOCK");
        assert_eq!(
            [of("1", "0").hints(false, true), of("1", "2").hints(false, true)],
            ["", "FIRE_TRIGGERS"]
        );
        let table = facts(&[["a", "1", "0", "int", "0", "U", "1", "0"]]);
        assert!(table.has_identity_among(&columns(&["a"])) && !table.has_identity_among(&columns(&["b"])));
    }
}
