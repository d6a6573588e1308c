//! The three files together: the shapes that were captured on nodes, and what is malformed.

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
    assert!(single.linked_service("X").is_some());
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
fn the_parameters_for_display_hold_no_secret() {
    let shown = Value::Object(captured().parameters_for_display()).to_string();
    assert!(shown.contains(r#""rows":100"#) && shown.contains("***"), "{shown}");
    assert!(
        !shown.contains("clear text here") && !shown.contains("deep secret"),
        "{shown}"
    );
}

#[test]
fn what_was_read_can_be_handed_on_without_the_files() {
    let handover = captured();
    let again = Handover::from_files(&handover.to_files()).unwrap();
    assert_eq!(again.to_json_for_python(), handover.to_json_for_python());
    assert!(again.has_key_vault());
    let nothing = Handover::from_files(&Handover::default().to_files()).unwrap();
    assert!(nothing.activity.is_none() && !nothing.has_key_vault());
}
