use super::*;

fn read(text: &str) -> Result<CopyPlan, PlanError> {
    let origin = Origin::File("plan.toml".into());
    CopyPlan::from_document(document::parse(text.as_bytes(), None, &origin)?, &origin)
}

fn refused(text: &str) -> String {
    read(text).unwrap_err().to_string()
}

/// The extended properties with this plan.
fn properties(plan: Value) -> Map<String, Value> {
    Map::from_iter([(PROPERTY.to_owned(), plan)])
}

const PLAN: &str = "target = 'Warehouse'\nmode = 'replace'\nparallel = 4\nmemory_limit = '512MiB'\n\
                    [[copy]]\nsource = 'SalesDb'\ntables = ['dbo.*', 'hr.x']\nexclude = 'dbo.tmp'\n\
                    [[copy]]\nsource = 'HrDb'\nquery = 'SELECT 1 AS a'\ninto = 'staging.one'\n";

#[test]
fn a_plan_in_toml_is_the_same_as_in_json() {
    let plan = read(PLAN).unwrap();
    let mut document = plan.options.clone();
    document.insert(COPY.to_owned(), json!(plan.copies));
    assert_eq!(read(&Value::Object(document).to_string()).unwrap(), plan);
    assert_eq!(plan.copies.len(), 2);
    assert_eq!(plan.options["parallel"], 4);
    assert_eq!(
        plan.connection_texts().collect::<Vec<_>>(),
        ["SalesDb", "HrDb", "Warehouse"]
    );
}

#[test]
fn one_copy_needs_no_list() {
    let plan = read("target = 'B'\n[copy]\nsource = 'A'\ntables = 't'\n").unwrap();
    assert_eq!(plan.copies.len(), 1);
}

#[test]
fn each_mistake_is_named_with_its_file_key_and_what_is_allowed() {
    for (text, expected) in [
        (
            "targt = 'B'\n[[copy]]\nsource = 'A'\ntables = 't'\n",
            "`plan.toml`: `targt` is no key of a plan, `target` is the nearest; allowed here: `target`, `mode`,",
        ),
        (
            "target = 'B'\n[[copy]]\nsource = 'A'\ntables = 't'\n[[copy]]\nsource = 'A'\ntabels = 't'\n",
            "`plan.toml`: `copy[2].tabels` is no key of a plan, `tables` is the nearest; allowed here: `source`,",
        ),
        (
            "target = 'B'\nmode = 'repalce'\n[[copy]]\nsource = 'A'\ntables = 't'\n",
            "`plan.toml`: `mode` is `repalce`; allowed: `append`, `truncate`,",
        ),
        (
            "target = 'B'\nparallel = 0\n[[copy]]\nsource = 'A'\ntables = 't'\n",
            "`plan.toml`: `parallel` is `0`; allowed: a whole number from 1 on",
        ),
        (
            "target = 'B'\nmemory_limit = 'much'\n[[copy]]\nsource = 'A'\ntables = 't'\n",
            "`plan.toml`: `memory_limit` is `much`; allowed: a number of bytes or a text such as `512MiB`",
        ),
        (
            "target = 'B'\n[[copy]]\nsource = 'A'\ntables = [1]\n",
            "`plan.toml`: `copy[1].tables` is a list; allowed: a text or a list of texts",
        ),
        (
            "[[copy]]\nsource = 'A'\ntables = 't'\n",
            "`plan.toml`: `target` is missing: ",
        ),
        ("target = 'B'\n", "`plan.toml`: `copy` is missing: "),
        (
            "target = 'B'\ncopy = []\n",
            "`plan.toml`: `copy` is an empty list; allowed: a list of tables",
        ),
        (
            "target = 'B'\ncopy = ['t']\n",
            "`plan.toml`: `copy[1]` is `t`; allowed: a table of keys",
        ),
        (
            "target = 'B'\n[[copy]]\ntables = 't'\n",
            "`plan.toml`: `copy[1].source` is missing: ",
        ),
        (
            "target = 'B'\n[[copy]]\nsource = 'A'\n",
            "`plan.toml`: `copy[1].tables` is missing: ",
        ),
        (
            "target = 'B'\n[[copy]]\nsource = 'A'\nquery = 'q'\n",
            "`plan.toml`: `copy[1].into` is missing: ",
        ),
        (
            "target = 'B'\n[[copy]]\nsource = 'A'\nquery = 'q'\ninto = 't'\nwhere = 'x = 1'\n",
            "`plan.toml`: `copy[1].where` goes with `tables`",
        ),
        (
            "target = 'B'\n[[copy]]\nsource = 'A'\nquery = 'q'\ntables = 't'\n",
            "`plan.toml`: `copy[1]` has `tables` and `query`",
        ),
        (
            "target = 'B'\ntarget = 'C'\n",
            "`plan.toml` is not TOML: line 2, column 1: ",
        ),
        ("{\"target\": }", "`plan.toml` is not JSON: line 1, column 12: "),
    ] {
        let message = refused(text);
        assert!(message.starts_with(expected), "{text}\n{message}");
    }
}

#[test]
fn what_may_be_a_connection_string_is_not_shown() {
    let message = refused("target = 'B'\nmode = 'Driver=X;PWD=secret'\n[[copy]]\nsource = 'A'\ntables = 't'\n");
    assert!(!message.contains("secret"), "{message}");
}

#[test]
fn a_flag_wins_over_the_plans_key_and_one_copy_needs_no_plan() {
    let mut source = PlanSource::default();
    source.flags.options.insert("mode".to_owned(), json!("truncate"));
    let property = json!({"target": "B", "mode": "append", "copy": [{"source": "A", "tables": "t"}]});
    assert_eq!(source.read(&properties(property)).unwrap().options["mode"], "truncate");
    source.flags.copy = Map::from_iter([("source".to_owned(), json!("A"))]);
    let contradiction = source.read(&Map::new()).unwrap_err().to_string();
    assert!(contradiction.contains("`target` is missing"), "{contradiction}");
    source.flags.copy.insert("tables".to_owned(), json!("t"));
    source.flags.options.insert("target".to_owned(), json!("B"));
    assert_eq!(source.read(&Map::new()).unwrap().copies.len(), 1);
    source.flags.options.insert("mode".to_owned(), json!("gone"));
    let message = source.read(&Map::new()).unwrap_err().to_string();
    assert!(message.starts_with("the command line: `mode` is `gone`"), "{message}");
}

#[test]
fn the_property_may_be_a_text_and_its_mistakes_are_the_activitys() {
    let source = PlanSource::default();
    assert_eq!(source.read(&properties(Value::from(PLAN))).unwrap().copies.len(), 2);
    let error = source.read(&properties(json!({"target": "B"}))).unwrap_err();
    assert_eq!(
        crate::failure::Failing::exit_code(&error),
        crate::failure::ExitCode::Activity
    );
    assert!(matches!(source.read(&Map::new()).unwrap_err(), PlanError::NoPlan));
}

#[test]
fn the_shard_is_that_of_the_flag_else_of_the_plan_else_of_the_property() {
    let mut given = properties(Value::from(PLAN));
    let source = |flag: Option<&str>| PlanSource {
        file: None,
        flags: Flags {
            options: flag
                .map(|flag| (SHARD.to_owned(), Value::from(flag)))
                .into_iter()
                .collect(),
            ..Flags::default()
        },
    };
    assert!(!source(None).read(&given).unwrap().options.contains_key(SHARD));
    given.insert(SHARD_PROPERTY.to_owned(), Value::from("3/8"));
    assert_eq!(source(None).read(&given).unwrap().options[SHARD], "3/8");
    assert_eq!(source(Some("4/8")).read(&given).unwrap().options[SHARD], "4/8");
    given.insert(PROPERTY.to_owned(), Value::from(format!("shard = '5/8'\n{PLAN}")));
    assert_eq!(source(None).read(&given).unwrap().options[SHARD], "5/8");
    given = properties(Value::from(PLAN));
    given.insert(SHARD_PROPERTY.to_owned(), Value::from("9/8"));
    assert_eq!(
        source(None).read(&given).unwrap_err().to_string(),
        "the extended properties: `shard` is `9/8`; allowed: a text such as `3/8`, the third of eight parts"
    );
}
