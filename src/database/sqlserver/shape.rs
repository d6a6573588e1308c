//! How SQL Server gives a new table what its source has.
//!
//! Names of constraints are the schema's here, and the table that is replaced has them until the end: checks and defaults get
//! the server's own, and a unique constraint becomes a unique index, whose name is the table's.

use super::{
    super::{
        Column, Dialect, LogicalType, Relation,
        expression::Expression,
        features::{ForeignKey, Identity},
        shaping::{Carried, NOT_DEFERRED, NewIdentity, NewIndex, Shaping, target_named},
    },
    SqlServer, catalog, types,
};

/// Most units of UTF-16 of a name.
const NAME_UNITS_MAX: usize = 128;

/// Most columns of an index, and bytes of its key.
const KEY_COLUMNS_MAX: usize = 32;
const KEY_BYTES_MAX: usize = 1_700;

/// More bytes than a value of a type without a length has in a key.
const OTHER_BYTES: usize = 17;

/// Most units of a comment: a `sql_variant` of 7,500 bytes (`sp_addextendedproperty` in Microsoft's reference).
const COMMENT_UNITS_MAX: usize = 3_750;

impl Shaping for SqlServer {
    fn shares_index_names(&self) -> bool {
        false
    }

    fn name_fits(&self, name: &str) -> bool {
        (1..=NAME_UNITS_MAX).contains(&units(name))
    }

    fn boolean(&self, value: bool, _column: &Column) -> &'static str {
        if value { "1" } else { "0" }
    }

    fn now(&self, column: &Column, utc: bool) -> Option<String> {
        let clock = match (column.logical, utc) {
            (LogicalType::Instant { .. }, _) => "SYSDATETIMEOFFSET()",
            (LogicalType::Timestamp { .. }, true) => "SYSUTCDATETIME()",
            (LogicalType::Timestamp { .. }, false) => "SYSDATETIME()",
            _ => return None,
        };
        Some(clock.to_owned())
    }

    fn today(&self) -> &'static str {
        "CONVERT(date, SYSDATETIME())"
    }

    fn default(&self, _column: &Column, expression: &str) -> String {
        format!("DEFAULT ({expression})")
    }

    fn has_partial_indexes(&self) -> bool {
        true
    }

    fn filters_by(&self, condition: &Expression) -> bool {
        match condition {
            Expression::And(parts) => parts.iter().all(|part| self.filters_by(part)),
            // A column with a constant, in this order.
            Expression::Compare(left, _, right) => {
                let is_column = |side: &Expression| matches!(side, Expression::Column { .. });
                is_column(left) && !is_column(right)
            }
            Expression::In { negated, .. } => !negated,
            Expression::IsNull { .. } => true,
            _ => false,
        }
    }

    fn index_refused(&self, columns: &[(&Column, Option<u32>)], own: bool) -> Option<String> {
        if columns.len() > KEY_COLUMNS_MAX {
            return Some(format!("it is of more than {KEY_COLUMNS_MAX} columns"));
        }
        let mut bytes = 0;
        for (column, _) in columns {
            let declared = column.declared.as_str();
            let size = match (types::base(declared), types::length(declared)) {
                ("nchar" | "nvarchar", length) => length.map(|length| 2 * length),
                ("char" | "varchar" | "binary" | "varbinary", length) => length,
                ("text" | "ntext" | "image" | "xml" | "json" | "vector" | "geometry" | "geography", _) => None,
                _ => Some(OTHER_BYTES),
            };
            let Some(size) = size else {
                return Some(format!(
                    "column `{}` is `{declared}`, of which no index is made",
                    column.name
                ));
            };
            bytes += size;
        }
        // The source's rows have fitted.
        let is_too_long = bytes > KEY_BYTES_MAX && !own;
        is_too_long.then(|| format!("its columns may have {bytes} bytes, {KEY_BYTES_MAX} are the most of an index"))
    }

    fn identity(&self, identity: &Identity, columns: &[(Column, Column)], carried: &mut Carried) -> Result<(), String> {
        let target = target_named(columns, &identity.column).filter(|target| target.is_required());
        let logical = target.map(|target| target.logical);
        let next = identity.next.unwrap_or(1);
        let fits = match logical {
            Some(LogicalType::Integer { bits, signed }) => {
                let (least, most) = match (bits, signed) {
                    (64, _) => (i64::MIN, i64::MAX),
                    (bits, true) => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
                    (bits, false) => (0, (1 << bits) - 1),
                };
                (least..=most).contains(&next)
            }
            Some(LogicalType::Decimal { scale: Some(0), .. }) => true,
            _ => return Err("the target's column is not one of whole numbers that are never NULL".to_owned()),
        };
        if !fits {
            return Err(format!("its next number, {next}, is none of the target's column"));
        }
        if !carried.identities.is_empty() {
            return Err("a table of the target's product has one such column".to_owned());
        }
        let clause = format!("IDENTITY({next},{})", identity.increment);
        carried.shape.clauses.insert(identity.column.clone(), clause);
        carried.identities.push(NewIdentity {
            column: identity.column.clone(),
            next,
            increment: identity.increment,
        });
        Ok(())
    }

    fn computed(&self, _column: &Column, own: &str) -> String {
        own.to_owned()
    }

    fn comment(&self, column: Option<&str>, text: &str, carried: &mut Carried) -> Result<(), String> {
        let length = units(text);
        if length > COMMENT_UNITS_MAX {
            return Err(format!("it has {length} characters, {COMMENT_UNITS_MAX} are the most"));
        }
        carried.comments.push((column.map(str::to_owned), text.to_owned()));
        Ok(())
    }

    fn check(&self, _quoted_name: Option<String>, condition: &str) -> String {
        format!("CHECK ({condition})")
    }

    fn key_refused(&self, key: &ForeignKey) -> Option<String> {
        key.deferred.map(|_| NOT_DEFERRED.to_owned())
    }

    fn action<'a>(&self, of_source: &'a str) -> &'a str {
        // Both are looked at when the statement ends, and there is one word for it.
        if of_source == "RESTRICT" {
            "NO ACTION"
        } else {
            of_source
        }
    }

    fn settle(&self, columns: &[(Column, Column)], carried: &mut Carried) {
        // A column that is computed has no type of its own in a CREATE TABLE.
        let computed = carried.computed.iter().map(|name| (name.clone(), String::new()));
        carried.declared.extend(computed);
        let mut compared: Vec<&Column> = Vec::new();
        for index in carried.indexes.iter_mut().filter(|index| index.unique && !index.own) {
            let named = |name: &String| target_named(columns, name);
            let parts: Vec<&Column> = index.columns.iter().filter_map(named).collect();
            compared.extend(&parts);
            let nullable = parts.iter().filter(|column| !column.is_required());
            let conditions: Vec<String> = nullable
                .map(|column| format!("{} IS NOT NULL", self.quote(&column.name)))
                .collect();
            if !conditions.is_empty() {
                // Elsewhere rows with NULL are equal to none.
                let word = if index.rest.contains(") WHERE ") {
                    "AND"
                } else {
                    "WHERE"
                };
                index.rest.push_str(&format!(" {word} {}", conditions.join(" AND ")));
            }
        }
        // What refers to a key has its type, unless all types come in their own words.
        for name in carried.keys.iter().flat_map(|key| &key.columns) {
            let Some((source, target)) = columns.iter().find(|(_, target)| target.name == *name) else {
                continue;
            };
            let in_key = Column {
                key_position: Some(1),
                ..source.clone()
            };
            let is_told = carried.declared.iter().any(|(told, _)| told == name);
            let in_own_words = source.declared == target.declared;
            if let Ok((declared, _)) = types::declare(&in_key)
                && !is_told
                && !in_own_words
                && declared != target.declared
            {
                carried.declared.push((name.clone(), declared));
            }
        }
        // As in a primary key: texts that the source tells apart must not be equal.
        for column in compared {
            let is_text = matches!(types::base(&column.declared), "nchar" | "nvarchar");
            let is_told = carried.declared.iter().any(|(name, _)| *name == column.name);
            if is_text && !is_told && !column.declared.contains("COLLATE") {
                let declared = format!("{}{}", column.declared, types::KEY_COLLATION);
                carried.declared.push((column.name.clone(), declared));
            }
        }
    }

    fn after_rows(&self, carried: &Carried, table: &Relation) -> Vec<String> {
        let quoted = catalog::local(table);
        let within = |sql: String| catalog::at(table, sql);
        let index = |index: &NewIndex| {
            let unique = if index.unique { "UNIQUE " } else { "" };
            within(format!(
                "CREATE {unique}INDEX {} ON {quoted} {}",
                self.quote(&index.name),
                index.rest
            ))
        };
        let comment = |(column, text): &(Option<String>, String)| {
            let schema = table
                .schema
                .as_deref()
                .map_or("SCHEMA_NAME()".to_owned(), catalog::literal);
            let column = column
                .as_deref()
                .map(|name| format!(", N'COLUMN', {}", catalog::literal(name)));
            within(format!(
                "DECLARE @schema sysname = {schema}, @text nvarchar({COMMENT_UNITS_MAX}) = {}; \
                 EXEC sys.sp_addextendedproperty N'MS_Description', @text, N'SCHEMA', @schema, N'TABLE', {}{}",
                self.literal(text),
                catalog::literal(&table.name),
                column.unwrap_or_default()
            ))
        };
        let indexes = carried.indexes.iter().map(index);
        indexes.chain(carried.comments.iter().map(comment)).collect()
    }
}

/// The length of a text in SQL Server's own units.
fn units(text: &str) -> usize {
    text.encode_utf16().count()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::database::{
        features::{Check, Default, Features, Index, Part},
        shaping::Made,
        sqlserver::MICROSOFT,
        tokens::Spelling,
    };

    fn column(name: &str, logical: LogicalType, nullable: bool) -> (Column, Column) {
        let source = Column {
            name: name.to_owned(),
            logical,
            declared: String::new(),
            nullable,
            key_position: None,
            generated: false,
            from_catalog: true,
        };
        let (declared, logical) = types::declare(&source).unwrap();
        let target = Column {
            declared,
            logical,
            ..source.clone()
        };
        (source, target)
    }

    fn index(name: &str, unique: bool, columns: &[&str], condition: Option<&str>) -> Index {
        let part = |name: &&str| Part {
            column: Some((*name).to_owned()),
            ..Part::default()
        };
        Index {
            name: name.to_owned(),
            unique,
            parts: columns.iter().map(part).collect(),
            condition: condition.map(str::to_owned),
            ..Index::default()
        }
    }

    fn carried(features: &Features) -> (Vec<(Column, Column)>, Carried) {
        let text = LogicalType::Text {
            length: Some(20),
            padding: super::super::super::Padding::None,
        };
        let columns = vec![
            column("id", LogicalType::Integer { bits: 16, signed: true }, false),
            column("mail", text, true),
            column("note", LogicalType::TEXT, true),
            column("made", LogicalType::Timestamp { digits: 6 }, true),
        ];
        let table = Relation::parse("shop.people").unwrap();
        let made = Made {
            relation: &table,
            columns: &columns,
            same_product: false,
            take_name: &|_| true,
            referred: &|relation| Some(relation.clone()),
        };
        let carried = MICROSOFT.carry(features, &made);
        (columns, carried)
    }

    fn of_postgresql() -> Features {
        Features {
            spelling: Some(Spelling::Postgres),
            ..Features::default()
        }
    }

    #[test]
    fn a_unique_index_lets_rows_with_null_pass_and_tells_texts_apart() {
        let features = Features {
            indexes: vec![
                index("one_mail", true, &["mail"], None),
                index("one_of_new", true, &["id", "mail"], Some("(id > 10)")),
                index("by_id", false, &["id"], None),
            ],
            ..of_postgresql()
        };
        let (_, carried) = carried(&features);
        let table = Relation::parse("shop.people").unwrap();
        assert_eq!(
            MICROSOFT.after_rows(&carried, &table),
            [
                "CREATE UNIQUE INDEX [one_mail] ON [shop].[people] ([mail]) WHERE [mail] IS NOT NULL",
                "CREATE UNIQUE INDEX [one_of_new] ON [shop].[people] ([id], [mail]) WHERE [id] > 10 AND [mail] IS NOT NULL",
                "CREATE INDEX [by_id] ON [shop].[people] ([id])",
            ]
        );
        let declared = "nvarchar(40) COLLATE Latin1_General_100_BIN2".to_owned();
        assert_eq!(carried.declared, [("mail".to_owned(), declared)]);
    }

    fn key(columns: &[&str], on_delete: &str, deferred: Option<bool>) -> ForeignKey {
        ForeignKey {
            name: Some("refers".to_owned()),
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            referred: Relation::parse("shop.others").unwrap(),
            referred_columns: vec!["x".to_owned()],
            on_update: "RESTRICT".to_owned(),
            on_delete: on_delete.to_owned(),
            deferred,
            special: None,
        }
    }

    #[test]
    fn a_foreign_key_has_the_servers_actions_and_is_not_put_off() {
        let features = Features {
            foreign_keys: vec![key(&["id"], "SET DEFAULT", None), key(&["id"], "CASCADE", Some(true))],
            ..of_postgresql()
        };
        let (_, carried) = carried(&features);
        let rests: Vec<&str> = carried.keys.iter().map(|key| key.rest.as_str()).collect();
        assert_eq!(
            rests,
            ["FOREIGN KEY ([id]) REFERENCES [shop].[others] ([x]) ON UPDATE NO ACTION ON DELETE SET DEFAULT"]
        );
        assert_eq!(carried.not_carried.len(), 1);
        assert!(
            carried.not_carried[0].ends_with(NOT_DEFERRED),
            "{:?}",
            carried.not_carried
        );
    }

    #[test]
    fn a_column_that_refers_to_a_key_has_the_type_of_one() {
        let features = Features {
            foreign_keys: vec![key(&["mail"], "CASCADE", None), key(&["note", "id"], "CASCADE", None)],
            ..of_postgresql()
        };
        let (_, carried) = carried(&features);
        let declared =
            |name: &str, declared: &str| (name.to_owned(), format!("{declared} COLLATE Latin1_General_100_BIN2"));
        assert_eq!(
            carried.declared,
            [declared("mail", "nvarchar(40)"), declared("note", "nvarchar(450)")]
        );
    }

    #[test]
    fn an_index_that_cannot_be_is_named_with_the_reason() {
        let features = Features {
            indexes: vec![
                index("by_note", false, &["note"], None),
                index("some", false, &["id"], Some("((id > 1) OR (made IS NULL))")),
                index("others", false, &["id"], Some("(NOT (id = 1))")),
            ],
            ..of_postgresql()
        };
        let (_, carried) = carried(&features);
        assert_eq!(carried.indexes, []);
        assert!(carried.not_carried[0].contains("`nvarchar(max)`, of which no index is made"));
        assert!(
            carried.not_carried[1..]
                .iter()
                .all(|lack| lack.contains("its condition"))
        );
        assert_eq!(carried.not_carried.len(), 3);
    }

    #[test]
    fn defaults_and_checks_are_in_the_servers_words() {
        let default = |column: &str, sql: &str| Default {
            column: column.to_owned(),
            sql: sql.to_owned(),
            rest: String::new(),
            bound: None,
        };
        let features = Features {
            defaults: vec![default("mail", "'ü'::character varying"), default("made", "now()")],
            checks: vec![Check {
                name: Some("some_id".to_owned()),
                sql: "(id >= 1)".to_owned(),
                rest: String::new(),
                bound: None,
            }],
            ..of_postgresql()
        };
        let (columns, carried) = carried(&features);
        let columns: Vec<Column> = columns.into_iter().map(|(_, target)| target).collect();
        let table = Relation::parse("t").unwrap();
        let sql = MICROSOFT.create_table(&table, &columns, &carried.shape);
        assert!(sql.contains("[mail] nvarchar(40) DEFAULT (N'ü')"), "{sql}");
        assert!(sql.contains("[made] datetime2(6) DEFAULT (SYSDATETIME())"), "{sql}");
        assert!(sql.contains("CHECK ([id] >= 1)") && !sql.contains("some_id"), "{sql}");
    }

    #[test]
    fn a_column_numbers_its_rows_from_the_next_number_on_if_that_is_one_of_its_own() {
        let identity = |next: i64| Identity {
            column: "id".to_owned(),
            next: Some(next),
            increment: 5,
            always: true,
            implied: false,
        };
        let of = |next: i64| {
            let features = Features {
                identities: vec![identity(next)],
                ..of_postgresql()
            };
            carried(&features).1
        };
        assert_eq!(of(7).shape.clauses["id"], "IDENTITY(7,5)");
        assert!(of(40_000).not_carried[0].contains("40000, is none of the target's column"));
    }

    #[test]
    fn comments_are_extended_properties() {
        let features = Features {
            comment: Some("of\\\nall".to_owned()),
            column_comments: vec![("id".to_owned(), "it's one".to_owned())],
            ..of_postgresql()
        };
        let statements = MICROSOFT.after_rows(&carried(&features).1, &Relation::parse("shop.people").unwrap());
        assert!(statements[0].starts_with("DECLARE @schema sysname = N'shop', @text nvarchar(3750) = (CAST('of\\'"));
        assert!(statements[0].ends_with("@text, N'SCHEMA', @schema, N'TABLE', N'people'"));
        assert!(statements[1].contains("= 'it''s one'; EXEC") && statements[1].ends_with(", N'COLUMN', N'id'"));
        let elsewhere = Relation::parse("other.shop.people").unwrap();
        let statements = MICROSOFT.after_rows(&carried(&features).1, &elsewhere);
        assert!(statements[1].starts_with("EXEC (N'USE [other]; DECLARE @schema sysname = N''shop''"));
    }
}
