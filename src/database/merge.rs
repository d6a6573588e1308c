//! Rows that meet those of an existing table by their key, in SQL: they lie in a table of the session's own first, and a
//! statement of the product carries them over.

use super::{Dialect, Relation};

/// What is merged.
#[derive(Clone, Debug)]
pub struct Merging<'a> {
    /// The table that the rows end up in.
    pub target: &'a Relation,
    /// The columns that they have, by their names in the target.
    pub columns: &'a [String],
    /// Those that tell rows apart.
    pub key: &'a [String],
    /// Whether rows of the target go whose key has not come.
    pub deletes: bool,
}

/// How it is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MergeSteps {
    /// Where the rows lie first.
    pub staging: Relation,
    /// Makes that table, with the types of the target's columns, as a part of the transaction.
    pub create: String,
    /// Carry the rows over, and remove what is to go.
    pub merge: Vec<String>,
    /// Removes the table; `None` if the end of the transaction does.
    pub drop: Option<String>,
}

/// The name of that table; a user's hardly has it, and it is called by its schema where the product has one for it.
const STAGING: &str = "dray_merge";

impl<'a> Merging<'a> {
    /// For products whose INSERT knows `ON CONFLICT`: `schema` is that of the session's own tables, `create` stands before
    /// the table's name and `options` behind the columns' list.
    pub(super) fn on_conflict(
        &self,
        dialect: &dyn Dialect,
        schema: &str,
        (create, on_commit): (&str, &str),
        option: &str,
    ) -> MergeSteps {
        let staging = Relation::new(Some(schema.to_owned()), STAGING);
        let (from, to) = (dialect.quote_relation(&staging), dialect.quote_relation(self.target));
        let quote = |name: &String| dialect.quote(name);
        let columns = list(self.columns, quote);
        let others: Vec<String> = self
            .others()
            .map(|name| format!("{0} = excluded.{0}", quote(name)))
            .collect();
        let action = match others.is_empty() {
            true => "NOTHING".to_owned(),
            false => format!("UPDATE SET {}", others.join(", ")),
        };
        let mut merge = Vec::new();
        if self.deletes {
            merge.push(format!(
                "DELETE FROM {to} WHERE NOT EXISTS (SELECT 1 FROM {from} AS dray_new WHERE {})",
                self.same_key(|name| (format!("dray_new.{}", quote(name)), format!("{to}.{}", quote(name))))
            ));
        }
        // WHERE: without it SQLite takes ON for a join's.
        merge.push(format!(
            "INSERT INTO {to} ({columns}){option} SELECT {columns} FROM {from} WHERE 1 = 1 ON CONFLICT ({}) DO {action}",
            list(self.key, quote)
        ));
        MergeSteps {
            create: format!(
                "CREATE {create} {}{on_commit} AS SELECT {columns} FROM {to} WHERE 1 = 0",
                dialect.quote(STAGING)
            ),
            drop: on_commit.is_empty().then(|| format!("DROP TABLE {from}")),
            staging,
            merge,
        }
    }

    /// For MariaDB and MySQL. Not ON DUPLICATE KEY UPDATE: it takes any unique key of the table for the one that is meant,
    /// and would write over another row where such a key is broken.
    pub(super) fn update_and_insert(&self, dialect: &dyn Dialect) -> MergeSteps {
        let staging = self.target.beside(STAGING);
        let (from, to) = (dialect.quote_relation(&staging), dialect.quote_relation(self.target));
        let quote = |name: &String| dialect.quote(name);
        let columns = list(self.columns, quote);
        let on = self.old_is_new(dialect);
        let first = self.key.first().map(quote).unwrap_or_default();
        let mut merge = Vec::new();
        if self.deletes {
            merge.push(format!(
                "DELETE dray_old FROM {to} AS dray_old LEFT JOIN {from} AS dray_new ON {on} WHERE dray_new.{first} IS NULL"
            ));
        }
        let others: Vec<String> = self
            .others()
            .map(|name| format!("dray_old.{0} = dray_new.{0}", quote(name)))
            .collect();
        if !others.is_empty() {
            merge.push(format!(
                "UPDATE {to} AS dray_old JOIN {from} AS dray_new ON {on} SET {}",
                others.join(", ")
            ));
        }
        merge.push(format!(
            "INSERT INTO {to} ({columns}) SELECT {} FROM {from} AS dray_new LEFT JOIN {to} AS dray_old ON {on} \
             WHERE dray_old.{first} IS NULL",
            list(self.columns, |name| format!("dray_new.{}", quote(name)))
        ));
        MergeSteps {
            create: format!("CREATE TEMPORARY TABLE {from} ENGINE=InnoDB AS SELECT {columns} FROM {to} WHERE 1 = 0"),
            drop: Some(format!("DROP TEMPORARY TABLE {from}")),
            staging,
            merge,
        }
    }

    /// For SQL Server: `around_insert` lets the values of an identity column in. Its own MERGE is not used: Microsoft and
    /// others have long lists of its faults. The rows lie in a table beside the target, which goes with the transaction;
    /// the bulk copy of Microsoft's driver finds no columns of a temporary one.
    pub(super) fn update_from(&self, dialect: &dyn Dialect, around_insert: [String; 2]) -> MergeSteps {
        // 128 characters are the most of a name.
        let beside: String = self.target.name.chars().take(100).collect();
        let staging = self.target.beside(format!("{beside}__{STAGING}"));
        let (from, to) = (dialect.quote_relation(&staging), dialect.quote_relation(self.target));
        let quote = |name: &String| dialect.quote(name);
        let columns = list(self.columns, quote);
        let on = self.old_is_new(dialect);
        let mut merge = Vec::new();
        if self.deletes {
            merge.push(format!(
                "DELETE dray_old FROM {to} AS dray_old WHERE NOT EXISTS (SELECT 1 FROM {from} AS dray_new WHERE {on})"
            ));
        }
        let others: Vec<String> = self
            .others()
            .map(|name| format!("{0} = dray_new.{0}", quote(name)))
            .collect();
        if !others.is_empty() {
            merge.push(format!(
                "UPDATE dray_old SET {} FROM {to} AS dray_old JOIN {from} AS dray_new ON {on}",
                others.join(", ")
            ));
        }
        let insert = format!(
            "INSERT INTO {to} ({columns}) SELECT {columns} FROM {from} AS dray_new \
             WHERE NOT EXISTS (SELECT 1 FROM {to} AS dray_old WHERE {on})"
        );
        let [before, after] = around_insert;
        merge.extend([before, insert, after]);
        let none = format!("SELECT {columns} FROM {to} WHERE 1 = 0");
        MergeSteps {
            // With UNION, so that an identity column comes as a plain one.
            create: format!("SELECT * INTO {from} FROM ({none} UNION ALL {none}) AS dray_none"),
            drop: Some(format!("DROP TABLE {from}")),
            staging,
            merge,
        }
    }

    /// That a row of the target and one that has come have the same key.
    fn old_is_new(&self, dialect: &dyn Dialect) -> String {
        let quote = |name: &String| dialect.quote(name);
        self.same_key(|name| (format!("dray_old.{}", quote(name)), format!("dray_new.{}", quote(name))))
    }

    fn others(&self) -> impl Iterator<Item = &'a String> {
        let key = self.key;
        self.columns.iter().filter(move |name| !key.contains(name))
    }

    fn same_key(&self, sides: impl Fn(&String) -> (String, String)) -> String {
        let equal = |name: &String| {
            let (one, other) = sides(name);
            format!("{one} = {other}")
        };
        self.key.iter().map(equal).collect::<Vec<_>>().join(" AND ")
    }
}

fn list(names: &[String], spelled: impl Fn(&String) -> String) -> String {
    names.iter().map(spelled).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::dialect;

    fn steps(product: &str, columns: &[&str], key: &[&str], deletes: bool) -> MergeSteps {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let target = Relation::new(None, "t");
        let (columns, key) = (owned(columns), owned(key));
        let merging = Merging {
            target: &target,
            columns: &columns,
            key: &key,
            deletes,
        };
        dialect(product).merge_steps(&merging).unwrap()
    }

    #[test]
    fn a_row_of_the_same_key_is_updated_and_another_inserted() {
        let merge = steps("postgres", &["id", "note"], &["id"], false).merge;
        assert_eq!(
            merge,
            [
                "INSERT INTO \"t\" (\"id\", \"note\") OVERRIDING SYSTEM VALUE SELECT \"id\", \"note\" FROM \
              \"pg_temp\".\"dray_merge\" WHERE 1 = 1 ON CONFLICT (\"id\") DO UPDATE SET \"note\" = excluded.\"note\""
            ]
        );
        let merge = steps("mariadb", &["id", "note"], &["id"], false).merge;
        assert_eq!(
            merge[0],
            "UPDATE `t` AS dray_old JOIN `dray_merge` AS dray_new ON dray_old.`id` = dray_new.`id` \
             SET dray_old.`note` = dray_new.`note`"
        );
        assert_eq!(merge.len(), 2);
    }

    #[test]
    fn in_sql_server_rows_lie_beside_the_target_and_an_identity_column_takes_their_values() {
        let steps = steps("sqlserver", &["id", "note"], &["id"], true);
        assert_eq!(
            steps.create,
            "SELECT * INTO [t__dray_merge] FROM (SELECT [id], [note] FROM [t] WHERE 1 = 0 UNION ALL \
             SELECT [id], [note] FROM [t] WHERE 1 = 0) AS dray_none"
        );
        let [delete, update, on, insert, off] = steps.merge.as_slice() else {
            panic!("{:?}", steps.merge)
        };
        assert!(
            delete.starts_with("DELETE dray_old FROM [t] AS dray_old WHERE NOT EXISTS"),
            "{delete}"
        );
        assert_eq!(
            update,
            "UPDATE dray_old SET [note] = dray_new.[note] FROM [t] AS dray_old JOIN [t__dray_merge] AS dray_new \
             ON dray_old.[id] = dray_new.[id]"
        );
        assert!(insert.starts_with("INSERT INTO [t] ([id], [note]) SELECT "), "{insert}");
        assert!(on.ends_with("SET IDENTITY_INSERT [t] ON") && off.ends_with("SET IDENTITY_INSERT [t] OFF"));
        assert_eq!(steps.drop.as_deref(), Some("DROP TABLE [t__dray_merge]"));
    }

    #[test]
    fn what_has_gone_is_removed_first_and_a_table_of_keys_alone_needs_no_update() {
        let merge = steps("sqlite", &["a", "b"], &["a", "b"], true).merge;
        assert!(merge[0].starts_with("DELETE FROM \"t\""), "{merge:?}");
        assert!(merge[1].ends_with("ON CONFLICT (\"a\", \"b\") DO NOTHING"), "{merge:?}");
        let merge = steps("mariadb", &["a"], &["a"], true).merge;
        assert!(
            merge[0].starts_with("DELETE ") && merge[1].starts_with("INSERT "),
            "{merge:?}"
        );
    }
}
