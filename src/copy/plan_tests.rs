use super::*;
use crate::database::{LogicalType, dialect};

fn column(name: &str, logical: LogicalType, declared: &str) -> Column {
    Column {
        name: name.to_owned(),
        logical,
        declared: declared.to_owned(),
        nullable: true,
        key_position: None,
        generated: false,
        from_catalog: true,
    }
}

fn relation(name: &str) -> Relation {
    Relation::new(None, name)
}

fn decide(
    from: &str,
    columns: &[Column],
    to: &str,
    existing: Option<&Table>,
    mode: Mode,
) -> Result<(Vec<ColumnPlan>, LoadSteps), Box<TableError>> {
    let target = relation("t");
    let columns: Vec<NamedColumn> = columns.iter().cloned().map(NamedColumn::from).collect();
    let planned = columns_and_steps(
        dialect(from),
        &columns,
        dialect(to),
        (&target, existing),
        (mode, Choices::default(), false),
        &relation("t__dray_1"),
        &Making::columns_alone,
    );
    planned.map(|(plans, steps, _)| (plans, steps))
}

fn table(columns: Vec<Column>) -> Table {
    Table {
        columns,
        ..Table::default()
    }
}

#[test]
fn a_missing_table_is_made_with_the_targets_types_for_the_sources() {
    let columns = [
        Column {
            key_position: Some(1),
            ..column(
                "id",
                LogicalType::Integer {
                    bits: 64,
                    signed: false,
                },
                "bigint unsigned",
            )
        },
        column("größe", LogicalType::decimal(20, 4), "decimal(20,4)"),
    ];
    let (_, steps) = decide("mariadb", &columns, "postgres", None, Mode::Append).unwrap();
    let expected =
        "CREATE TABLE \"t\" (\n  \"id\" numeric(20,0) NOT NULL,\n  \"größe\" numeric(20,4),\n  PRIMARY KEY (\"id\")\n)";
    assert_eq!(steps.before, [expected]);
}

#[test]
fn within_one_product_a_type_keeps_its_own_words() {
    let columns = [
        column("mood", LogicalType::Opaque, "mood"),
        column("n", LogicalType::DECIMAL, "numeric(5,-2)"),
    ];
    let (plans, _) = decide("postgres", &columns, "postgres", None, Mode::Append).unwrap();
    assert_eq!(
        [&*plans[0].target.declared, &*plans[1].target.declared],
        ["mood", "numeric(5,-2)"]
    );
}

#[test]
fn columns_that_the_target_lacks_or_cannot_hold_are_all_named() {
    let columns = [
        column("a", LogicalType::TEXT, "text"),
        column("b", LogicalType::DECIMAL, "numeric"),
        column("Name", LogicalType::TEXT, "text"),
    ];
    let existing = table(vec![
        column("b", LogicalType::Float { bits: 64 }, "double"),
        column("name", LogicalType::TEXT, "text"),
    ]);
    let error = decide("postgres", &columns, "mariadb", Some(&existing), Mode::Append).unwrap_err();
    assert_eq!(error.code, "copy.columns_refused");
    assert!(
        error.message.contains("`a`") && error.message.contains("`b`"),
        "{error}"
    );
    assert!(!error.message.contains("`Name`"), "{error}");
}

#[test]
fn a_table_without_transactions_is_only_replaced() {
    let columns = [column("a", LogicalType::TEXT, "text")];
    let existing = Table {
        not_transactional: Some("its engine `MyISAM` has none".to_owned()),
        estimated_rows: None,
        ..table(columns.to_vec())
    };
    for (mode, allowed) in [(Mode::Append, false), (Mode::Truncate, false), (Mode::Replace, true)] {
        assert_eq!(
            decide("postgres", &columns, "mariadb", Some(&existing), mode).is_ok(),
            allowed,
            "{mode:?}"
        );
    }
}

#[test]
fn replace_does_not_look_at_the_old_columns() {
    let columns = [column("a", LogicalType::TEXT, "text")];
    let existing = table(vec![column("other", LogicalType::Date, "date")]);
    let (_, steps) = decide("sqlite", &columns, "postgres", Some(&existing), Mode::Replace).unwrap();
    assert_eq!(
        steps.before,
        ["DROP TABLE \"t\"", "CREATE TABLE \"t\" (\n  \"a\" text\n)"]
    );
}
