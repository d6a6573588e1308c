//! The three files together: the shapes that were captured on nodes, what is malformed, and connections.

use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::failure::Failing;

/// After a file captured on a Linux pool: `properties` before `name`, extra keys, a bare shared access URL.
const CAPTURED_LINKED_SERVICES: &str = r#"[
  { "properties": {
      "annotations": [],
      "type": "AzureBlobStorage",
      "typeProperties": {
        "sasUri": "https://acct.blob.core.windows.net/c?sv=2020&sig=Ab%2FCd123%3D",
        "removeDupeQuestionMarkInSasUri": true } },
    "name": "Sink1" },
  { "name": "KeyVault1",
    "properties": { "type": "AzureKeyVault", "annotations": [],
      "typeProperties": { "baseUrl": "https://myvault.vault.azure.net/" } } },
  { "name": "SqlDb1",
    "properties": { "type": "AzureSqlDatabase", "annotations": [],
      "typeProperties": {
        "connectionString": "Server=tcp:s.database.windows.net,1433;Database=d;User ID=u;Encrypt=True",
        "password": { "type": "AzureKeyVaultSecret",
                      "store": { "referenceName": "KeyVault1", "type": "LinkedServiceReference" },
                      "secretName": "sql-pw" } } } }
]"#;

/// The full shape of the two captures together, `type` before and after `referenceName`.
const CAPTURED_ACTIVITY: &str = r#"{
  "name": "CopySales", "type": "Custom",
  "dependsOn": [{ "activity": "Prev", "dependencyConditions": ["Succeeded"] }],
  "policy": { "timeout": "7.00:00:00", "retry": 0, "secureOutput": false },
  "userProperties": [],
  "typeProperties": {
    "command": "./dray run test.zip main.py --mode \"full load\"",
    "resourceLinkedService": { "type": "LinkedServiceReference", "referenceName": "Storage1" },
    "folderPath": "adf/customactivity",
    "extendedProperties": {
      "run_id": "f3d0",
      "rows": 100, "rate": 1.10,
      "nested": { "a": [1, { "type": "SecureString", "value": "deep secret" }] },
      "plain_secret": { "type": "SecureString", "value": "clear text here" },
      "kv_secret": { "type": "AzureKeyVaultSecret",
        "store": { "type": "LinkedServiceReference", "referenceName": "KeyVault1" }, "secretName": "db-password" }
    },
    "referenceObjects": {
      "linkedServices": [ { "referenceName": "SqlDb1", "type": "LinkedServiceReference" },
                          { "type": "LinkedServiceReference", "referenceName": "KeyVault1" } ],
      "datasets": [ { "type": "DatasetReference", "parameters": {"p": 1}, "referenceName": "SalesTable" } ]
    }
  },
  "linkedServiceName": { "type": "LinkedServiceReference", "referenceName": "AzureBatch1" }
}"#;

const DATASETS: &str = r#"[ { "name": "SalesTable",
    "properties": { "type": "AzureSqlTable",
      "linkedServiceName": { "referenceName": "SqlDb1", "type": "LinkedServiceReference" },
      "typeProperties": { "schema": "dbo", "table": { "value": "@dataset().x", "type": "Expression" } } } } ]"#;

fn load(files: &[(&str, &str)]) -> Result<Handover, ActivityError> {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs_err::write(folder.path().join(name), content).unwrap();
    }
    Handover::load(folder.path())
}

fn captured() -> Handover {
    load(&[
        ("activity.json", CAPTURED_ACTIVITY),
        ("linkedServices.json", CAPTURED_LINKED_SERVICES),
        ("datasets.json", DATASETS),
    ])
    .unwrap()
}

/// A handover with one linked service `Db` of type `Odbc`.
fn odbc(type_properties: Value) -> Handover {
    let service = json!([{"name": "Db", "properties": {"type": "Odbc", "typeProperties": type_properties}}]);
    load(&[("linkedServices.json", &service.to_string())]).unwrap()
}

/// The message without the temporary folder.
fn message(error: ActivityError) -> String {
    let text = error.to_string();
    let start = text.find("/").unwrap_or(0);
    let end = text
        .find("activity.json")
        .or_else(|| text.find("linkedServices.json"))
        .unwrap_or(start);
    format!("{}{}", &text[..start], &text[end..])
}

#[test]
fn an_empty_task_folder_hands_over_nothing() {
    let handover = load(&[]).unwrap();
    assert!(handover.activity.is_none() && handover.linked_services.is_empty() && handover.secrets().is_empty());
    assert_eq!(
        handover.to_json_for_python(),
        json!({"activity": null, "linked_services": [], "datasets": []})
    );
}

#[test]
fn a_missing_task_folder_is_named() {
    let error = Handover::load(Path::new("/nowhere/at/all")).unwrap_err();
    assert_eq!(error.to_string(), "task folder `/nowhere/at/all` is not a folder");
}

#[test]
fn the_captured_files_are_read_whole() {
    let handover = captured();
    let activity = handover.activity.as_ref().unwrap();
    assert_eq!(activity.name.as_deref(), Some("CopySales"));
    assert_eq!(activity.raw["typeProperties"]["folderPath"], "adf/customactivity");
    let names: Vec<_> = activity
        .linked_service_references
        .iter()
        .map(|reference| reference.name.clone())
        .collect();
    assert_eq!(names, [Some("SqlDb1".to_owned()), Some("KeyVault1".to_owned())]);
    assert_eq!(activity.dataset_references[0].parameters["p"], 1);
    assert_eq!(
        handover.linked_service("Sink1").unwrap().type_name.as_deref(),
        Some("AzureBlobStorage")
    );
    assert_eq!(
        handover.linked_service("sqldb1").unwrap().name.as_deref(),
        Some("SqlDb1")
    );
}

#[test]
fn the_document_for_python_marks_secrets_and_keeps_the_digits_of_numbers() {
    let document = captured().to_json_for_python();
    let properties = &document["activity"]["extended_properties"];
    assert_eq!(
        properties["plain_secret"],
        json!({"__dray__": "secret", "value": "clear text here"})
    );
    assert_eq!(
        properties["nested"]["a"][1],
        json!({"__dray__": "secret", "value": "deep secret"})
    );
    assert_eq!(
        properties["kv_secret"],
        json!({"__dray__": "key_vault_secret", "store": "KeyVault1", "secret_name": "db-password",
            "secret_version": null})
    );
    assert_eq!(properties["rate"].to_string(), "1.10");
    let definition = &document["activity"]["definition"]["typeProperties"]["extendedProperties"];
    assert_eq!(definition["plain_secret"]["__dray__"], "secret");
    assert_eq!(
        document["linked_services"][2]["type_properties"]["password"]["__dray__"],
        "key_vault_secret"
    );
    assert_eq!(document["datasets"][0]["linked_service"], "SqlDb1");
    assert_eq!(
        document["datasets"][0]["type_properties"]["table"]["type"],
        "Expression"
    );
}

#[test]
fn an_extended_property_named_like_the_mark_is_kept() {
    let handover = load(&[(
        "activity.json",
        r#"{"typeProperties": {"extendedProperties": {"__dray__": "x"}}}"#,
    )])
    .unwrap();
    assert_eq!(
        handover.to_json_for_python()["activity"]["extended_properties"],
        json!({"__dray__": "x"})
    );
}

#[test]
fn the_secrets_of_all_three_files_are_found() {
    assert_eq!(
        captured().secrets(),
        ["Ab%2FCd123%3D", "Ab/Cd123=", "clear text here", "deep secret"]
    );
}

#[test]
fn keys_are_matched_without_regard_to_case() {
    let handover = load(&[(
        "activity.json",
        r#"{"TypeProperties": {"ExtendedProperties": {"a": 1}}}"#,
    )])
    .unwrap();
    assert_eq!(handover.extended_properties()["a"], 1);
}

#[test]
fn null_and_a_single_object_do_for_an_array() {
    assert!(
        load(&[("linkedServices.json", "null"), ("datasets.json", "[]")])
            .unwrap()
            .linked_services
            .is_empty()
    );
    let single = load(&[("linkedServices.json", r#"{"name": "X", "properties": null}"#)]).unwrap();
    assert!(single.linked_service("X").is_ok());
}

#[test]
fn malformed_json_is_reported_with_file_line_and_column() {
    let error = load(&[("activity.json", "{\n  \"name\": \"x\",\n}")]).unwrap_err();
    assert_eq!((error.code(), error.exit_code().number()), ("activity.not_json", 112));
    assert_eq!(
        message(error),
        "`activity.json` is not valid JSON at line 3, column 1: trailing comma"
    );
}

#[test]
fn the_wrong_kind_of_value_is_reported_with_its_place() {
    let error = load(&[(
        "activity.json",
        "{\"typeProperties\":\n {\"EXTENDEDproperties\": \"hush\"}}",
    )])
    .unwrap_err();
    assert_eq!(
        message(error),
        "`activity.json`, line 2, column 25: `$.typeProperties.EXTENDEDproperties` is a string, expected an object"
    );
    let error = load(&[("linkedServices.json", "[{}, 7]")]).unwrap_err();
    assert_eq!(
        message(error),
        "`linkedServices.json`, line 1, column 6: `$[1]` is a number, expected an object"
    );
    assert_eq!(
        message(load(&[("activity.json", "[]")]).unwrap_err()),
        "`activity.json`, line 1, column 1: `$` is an array, expected an object"
    );
}

#[test]
fn an_odbc_service_becomes_a_connection_string_with_its_credentials() {
    let handover = odbc(
        json!({"connectionString": "Driver={PostgreSQL Unicode};Server=h;", "authenticationType":
        "Basic", "userName": "u", "password": {"type": "SecureString", "value": "p;w}"},
        "credential": "RefreshToken=r"}),
    );
    assert_eq!(
        handover.connection_string("Db").unwrap(),
        "Driver={PostgreSQL Unicode};Server=h;UID=u;PWD={p;w}}};RefreshToken=r;"
    );
}

#[test]
fn a_password_of_the_service_replaces_the_one_in_the_string() {
    let handover =
        odbc(json!({"connectionString": "DSN=x;pwd={a;b};UID=old;Port=1", "userName": "u", "password": "p"}));
    assert_eq!(handover.connection_string("Db").unwrap(), "DSN=x;Port=1;UID=u;PWD=p;");
}

#[test]
fn an_anonymous_service_gets_no_credentials() {
    let handover = odbc(
        json!({"connectionString": {"type": "SecureString", "value": "DSN=x"}, "authenticationType":
        "Anonymous", "userName": "u", "password": "p"}),
    );
    assert_eq!(handover.connection_string("Db").unwrap(), "DSN=x");
}

#[test]
fn an_unclosed_brace_is_refused_before_a_password_lands_inside_it() {
    let handover = odbc(json!({"connectionString": "Driver={SQLite3", "password": "p"}));
    assert_eq!(
        handover.connection_string("Db").unwrap_err().code(),
        "activity.malformed_connection_string"
    );
}

#[test]
fn a_password_kept_back_by_an_integration_runtime_says_what_to_do() {
    for (service, reason) in [
        (
            json!({"type": "Odbc", "typeProperties": {"connectionString": "DSN=x", "encryptedCredential": "abc"}}),
            "encrypt",
        ),
        (
            json!({"type": "Odbc", "connectVia": {"referenceName": "shir"}, "typeProperties": {
                "connectionString": "DSN=x", "userName": "u"}}),
            "self-hosted",
        ),
    ] {
        let services = json!([{"name": "Db", "properties": service}]).to_string();
        let error = load(&[("linkedServices.json", &services)])
            .unwrap()
            .connection_string("Db")
            .unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
        assert!(
            error
                .hint()
                .unwrap()
                .contains("SecureString in the activity's `extendedProperties`")
        );
    }
}

#[test]
fn a_runtime_without_a_user_keeps_nothing_back() {
    let services = json!([{"name": "Db", "properties": {"type": "Odbc", "connectVia": {"referenceName": "shir"},
        "typeProperties": {"connectionString": "Driver=SQLite3;Database=a.db"}}}]);
    let handover = load(&[("linkedServices.json", &services.to_string())]).unwrap();
    assert_eq!(
        handover.connection_string("Db").unwrap(),
        "Driver=SQLite3;Database=a.db"
    );
}

#[test]
fn a_connection_that_cannot_be_made_says_why() {
    let kv = json!({"type": "AzureKeyVaultSecret", "store": {"referenceName": "Kv"}, "secretName": "n"});
    let expression = json!({"type": "Expression", "value": "@x"});
    for (type_properties, code) in [
        (json!({}), "activity.missing_key"),
        (json!({"connectionString": kv}), "activity.key_vault_reference"),
        (
            json!({"connectionString": "DSN=x", "password": kv}),
            "activity.key_vault_reference",
        ),
        (
            json!({"connectionString": expression}),
            "activity.unevaluated_expression",
        ),
        (json!({"connectionString": ["DSN=x"]}), "activity.wrong_kind"),
        (json!({"connectionString": "DSN=x\u{0}"}), "activity.nul"),
        (
            json!({"connectionString": "DSN=x", "authenticationType": "Kerberos"}),
            "activity.unknown_authentication",
        ),
    ] {
        let error = odbc(type_properties.clone()).connection_string("Db").unwrap_err();
        assert_eq!(error.code(), code, "{type_properties}: {error}");
    }
    assert_eq!(
        captured().connection_string("SqlDb1").unwrap_err().to_string(),
        "linked service `SqlDb1` is of type `AzureSqlDatabase`, supported for connections: `Odbc`"
    );
}

#[test]
fn an_unknown_name_lists_the_known_ones_nearest_first() {
    let error = captured().connection_string("SqlDB").unwrap_err();
    assert_eq!(
        error.to_string(),
        "linked service `SqlDB` is not among those handed over: there are `SqlDb1`, `Sink1`, `KeyVault1`"
    );
    assert!(error.hint().unwrap().contains("referenceObjects.linkedServices"));
}

#[test]
fn the_parameters_for_display_hold_no_secret() {
    let shown = Value::Object(captured().parameters_for_display()).to_string();
    assert!(shown.contains(r#""rows":100"#) && shown.contains("***"), "{shown}");
    assert!(
        !shown.contains("clear text here") && !shown.contains("deep secret"),
        "{shown}"
    );
}
