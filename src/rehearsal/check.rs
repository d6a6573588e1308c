//! What of a custom activity would go wrong in Azure, seen before anything runs.
//!
//! Sources: azure-docs, `articles/data-factory/transform-data-using-custom-activity.md` and
//! `data-factory-troubleshoot-guide.md` (the error codes); issues of azure-docs by their number.

use serde_json::{Map, Value};

use super::source::Kind;
use super::task::Upload;
use super::words::{Unended, words_of};
use crate::activity::{Special, member};

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weight {
    /// The activity would not run, or not end.
    Fault,
    /// It would run, perhaps otherwise than meant.
    Remark,
}

/// Something that was noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it weighs.
    pub weight: Weight,
    /// A sentence without a full stop; holds no value that may be a secret.
    pub text: String,
}

/// Bytes of an activity's run that Data Factory takes: 896 KB (azure-docs, `data-factory-limits`).
const MAX_PAYLOAD_BYTES: usize = 896 * 1024;

/// Characters of the list of files that Batch takes; error 2504.
const MAX_FILE_LIST_CHARACTERS: usize = 32_768;

/// A file's entry in that list, beside its name: the address with its signature, and the JSON around it. A guess, from
/// the length of such addresses.
const FILE_ENTRY_CHARACTERS: usize = 250;

/// Bytes of one argument, and of a program's name, that Linux takes (`MAX_ARG_STRLEN`, its NUL included).
const MAX_ARGUMENT_BYTES: usize = 131_072;

/// What there is to look at.
pub(super) struct Checked<'a> {
    /// activity.json.
    pub(super) document: &'a Map<String, Value>,
    /// linkedServices.json.
    pub(super) linked_services: &'a [Value],
    /// datasets.json.
    pub(super) datasets: &'a [Value],
    /// The linked service of the storage account, where it is known.
    pub(super) storage: Option<&'a Value>,
    /// What is uploaded.
    pub(super) upload: Option<&'a Upload>,
}

/// Adds what is noticed to `findings`, and gives the words of the command.
pub(super) fn activity(checked: &Checked<'_>, findings: &mut Vec<Finding>) -> Vec<String> {
    let mut notes = Notes(findings);
    let properties = object(checked.document, "typeProperties");
    let words = command(properties, &mut notes);
    storage(checked, properties, &mut notes);
    if let Some(upload) = checked.upload {
        files(upload, &mut notes);
    }
    vault_references(checked, &mut notes);
    resources(checked, &mut notes);
    sizes(checked, &words, &mut notes);
    let state = member(checked.document, "state").and_then(Value::as_str);
    if state.is_some_and(|state| state.eq_ignore_ascii_case("Inactive")) {
        notes.remark("the activity is deactivated in the pipeline (`state`), and is skipped there".to_owned());
    }
    if properties.is_some_and(has_secure_string) {
        notes.remark(
            "a SecureString among the activity's properties is clear text in activity.json, and in its copy below \
             `adfjobs` in the storage account; a reference to a Key Vault is not"
                .to_owned(),
        );
    }
    words
}

/// The names in one list of `referenceObjects`.
pub(super) fn references(document: &Map<String, Value>, kind: Kind) -> Vec<String> {
    let key = match kind {
        Kind::LinkedService => "linkedServices",
        Kind::Dataset => "datasets",
    };
    let list = object(document, "typeProperties")
        .and_then(|properties| object(properties, "referenceObjects"))
        .and_then(|references| member(references, key))
        .and_then(Value::as_array);
    let names = list.into_iter().flatten().filter_map(reference_name);
    names.map(str::to_owned).collect()
}

struct Notes<'a>(&'a mut Vec<Finding>);

impl Notes<'_> {
    fn fault(&mut self, text: String) {
        self.0.push(Finding {
            weight: Weight::Fault,
            text,
        });
    }

    fn remark(&mut self, text: String) {
        self.0.push(Finding {
            weight: Weight::Remark,
            text,
        });
    }
}

fn command(properties: Option<&Map<String, Value>>, notes: &mut Notes<'_>) -> Vec<String> {
    let command = properties
        .and_then(|properties| member(properties, "command"))
        .and_then(Value::as_str);
    let Some(command) = command.filter(|command| !command.trim().is_empty()) else {
        notes.fault("it has no `command`".to_owned());
        return Vec::new();
    };
    if command.trim() != command {
        notes.fault(
            "its `command` has blanks at an end: the task would start, and never be seen to end (azure-docs issue 56989)"
                .to_owned(),
        );
    }
    let words = match words_of(command) {
        Ok(words) => words,
        Err(Unended(quote)) => {
            notes.fault(format!("a {quote} in its `command` has no second one"));
            return Vec::new();
        }
    };
    let shell = ["sh", "bash", "/bin/sh", "/bin/bash", "/usr/bin/bash", "/usr/bin/sh"];
    if words.first().is_some_and(|program| shell.contains(&program.as_str())) {
        return words;
    }
    let is_for_shell = |word: &&String| {
        ["&&", "||", "|", ";", ">", ">>", "<", "&", "2>&1"].contains(&word.as_str())
            || word.contains("$(")
            || word
                .split('$')
                .skip(1)
                .any(|name| name.starts_with(|first: char| first.is_alphabetic() || "_{".contains(first)))
    };
    if let Some(word) = words.iter().find(is_for_shell) {
        notes.remark(format!(
            "the program gets `{word}` of its `command` as it stands: Batch starts it without a shell"
        ));
    }
    if command.contains('\'') || command.contains('\\') {
        notes.remark(
            "its `command` has single quotes or backslashes, which were taken as a shell would: how Batch takes them is \
             documented nowhere"
                .to_owned(),
        );
    }
    words
}

fn storage(checked: &Checked<'_>, properties: Option<&Map<String, Value>>, notes: &mut Notes<'_>) {
    let has = |key: &str| {
        let value = properties.and_then(|properties| member(properties, key));
        value.is_some_and(|value| !value.is_null() && value.as_str() != Some(""))
    };
    match (has("resourceLinkedService"), has("folderPath")) {
        (true, false) => notes.fault("it has `resourceLinkedService` without `folderPath` (error 2507)".to_owned()),
        (false, true) => notes.fault("it has `folderPath` without `resourceLinkedService`".to_owned()),
        (false, false) if checked.upload.is_some() => notes.fault(
            "it has neither `resourceLinkedService` nor `folderPath`, so that no file of `--folder` would reach the node"
                .to_owned(),
        ),
        _ => {}
    }
    if member(checked.document, "linkedServiceName").is_none_or(|name| reference_name(name).is_none()) {
        notes.fault("it names no Batch account (`linkedServiceName`)".to_owned());
    }
    let service = checked
        .storage
        .and_then(Value::as_object)
        .and_then(|service| object(service, "properties"));
    let Some(service) = service else { return };
    let kind = member(service, "type").and_then(Value::as_str).unwrap_or_default();
    if !kind.eq_ignore_ascii_case("AzureBlobStorage") && !kind.eq_ignore_ascii_case("AzureStorage") {
        notes.fault(format!(
            "its `resourceLinkedService` is of type {kind}, and only a blob storage will do (error 2505)"
        ));
        return;
    }
    let by = object(service, "typeProperties");
    let by_other = [
        "sasUri",
        "sasToken",
        "servicePrincipalId",
        "credential",
        "serviceEndpoint",
    ];
    let with_key = ["connectionString", "accountKey", "encryptedCredential"];
    let names = |keys: &[&'static str]| {
        let mut keys = keys.iter().copied();
        keys.find(|key| by.is_some_and(|by| member(by, key).is_some()))
    };
    if let (None, Some(other)) = (names(&with_key), names(&by_other)) {
        notes.fault(format!(
            "its `resourceLinkedService` signs in by `{other}`, and a custom activity takes an account key alone (error 2505)"
        ));
    }
}

fn files(upload: &Upload, notes: &mut Notes<'_>) {
    for (name, paths) in upload.doubled() {
        notes.fault(format!(
            "{} files of the folder are called `{name}`, and sub-folders are flattened (error 2508): {}",
            paths.len(),
            paths.join(", ")
        ));
    }
    let nested = upload.in_folders();
    if let Some(first) = nested.first() {
        let others = match nested.len() - 1 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        notes.remark(format!(
            "sub-folders are flattened: `{first}`{others} arrives beside all other files; a zip keeps its folders"
        ));
    }
    let characters: usize = upload.names().map(|name| name.len() + FILE_ENTRY_CHARACTERS).sum();
    if characters > MAX_FILE_LIST_CHARACTERS {
        notes.fault(format!(
            "{} files make a list of about {characters} characters for Batch, which takes {MAX_FILE_LIST_CHARACTERS} \
             (error 2504): put them into one zip",
            upload.names().count()
        ));
    }
    for name in upload.names().filter(|name| crate::activity::FILE_NAMES.contains(name)) {
        notes.fault(format!(
            "the folder has a file `{name}`, which Data Factory writes itself"
        ));
    }
}

/// A reference into a vault is of use on the node only if the vault's own linked service is handed over as well.
fn vault_references(checked: &Checked<'_>, notes: &mut Notes<'_>) {
    let listed = references(checked.document, Kind::LinkedService);
    let mut reported: Vec<String> = Vec::new();
    let mut look = |value: &Value, whose: &str| {
        let mut stores = Vec::new();
        collect_stores(value, &mut stores);
        for store in stores {
            if !listed.iter().any(|name| name.eq_ignore_ascii_case(&store)) && !reported.contains(&store) {
                notes.fault(format!(
                    "{whose} has a secret in Key Vault `{store}`, which is not among \
                     `referenceObjects.linkedServices`: the node would not know the vault's address"
                ));
                reported.push(store);
            }
        }
    };
    if let Some(properties) = member(checked.document, "typeProperties") {
        look(properties, "it");
    }
    for service in checked.linked_services {
        look(service, &format!("linked service `{}`", name_of(service)));
    }
}

fn collect_stores(value: &Value, stores: &mut Vec<String>) {
    if let Some(Special::KeyVaultSecret(reference)) = Special::of(value) {
        stores.extend(reference.store);
        return;
    }
    match value {
        Value::Array(items) => items.iter().for_each(|item| collect_stores(item, stores)),
        Value::Object(object) => object.values().for_each(|value| collect_stores(value, stores)),
        _ => {}
    }
}

fn resources(checked: &Checked<'_>, notes: &mut Notes<'_>) {
    for service in checked.linked_services {
        let properties = service.as_object().and_then(|service| object(service, "properties"));
        let Some(properties) = properties else { continue };
        let name = name_of(service);
        let has = |key: &str| object(properties, "typeProperties").is_some_and(|own| member(own, key).is_some());
        if has("encryptedCredential") {
            notes.remark(format!(
                "linked service `{name}` has its secret encrypted (`encryptedCredential`), readable for Data Factory alone: \
                 set `{}` for the rehearsal",
                crate::connections::variable_name(&name)
            ));
        }
        if member(properties, "connectVia").is_some() {
            notes.remark(format!(
                "linked service `{name}` is reached through an integration runtime (`connectVia`): on the node its secrets \
                 may be missing, and its server out of reach"
            ));
        }
    }
    let listed = references(checked.document, Kind::LinkedService);
    for dataset in checked.datasets {
        let properties = dataset.as_object().and_then(|dataset| object(dataset, "properties"));
        let service = properties
            .and_then(|properties| member(properties, "linkedServiceName"))
            .and_then(reference_name);
        if let Some(service) = service.filter(|service| !listed.iter().any(|name| name.eq_ignore_ascii_case(service))) {
            notes.remark(format!(
                "dataset `{}` is of linked service `{service}`, which is not among `referenceObjects.linkedServices`",
                name_of(dataset)
            ));
        }
    }
}

fn sizes(checked: &Checked<'_>, words: &[String], notes: &mut Notes<'_>) {
    let length = |value: &Map<String, Value>| serde_json::to_string(value).map_or(0, |text| text.len());
    let bytes = length(checked.document);
    if bytes > MAX_PAYLOAD_BYTES {
        let extended = object(checked.document, "typeProperties").and_then(|own| object(own, "extendedProperties"));
        let sized = extended
            .into_iter()
            .flatten()
            .map(|(name, value)| (value.to_string().len(), name));
        let largest = sized
            .max()
            .map(|(bytes, name)| format!("; the largest extended property is `{name}`, {bytes} bytes"));
        notes.fault(format!(
            "it comes to {bytes} bytes, and Data Factory takes {MAX_PAYLOAD_BYTES}{}",
            largest.unwrap_or_default()
        ));
    }
    for (at, word) in words
        .iter()
        .enumerate()
        .filter(|(_, word)| word.len() >= MAX_ARGUMENT_BYTES)
    {
        notes.fault(format!(
            "word {} of its `command` has {} bytes, and Linux takes {} in one argument",
            at + 1,
            word.len(),
            MAX_ARGUMENT_BYTES - 1
        ));
    }
}

fn has_secure_string(object: &Map<String, Value>) -> bool {
    fn is_secret(value: &Value) -> bool {
        match (value, Special::of(value)) {
            (_, Some(Special::Secret(_))) => true,
            (Value::Array(items), _) => items.iter().any(is_secret),
            (Value::Object(object), _) => object.values().any(is_secret),
            _ => false,
        }
    }
    object.values().any(is_secret)
}

fn object<'a>(parent: &'a Map<String, Value>, key: &str) -> Option<&'a Map<String, Value>> {
    member(parent, key)?.as_object()
}

fn reference_name(value: &Value) -> Option<&str> {
    member(value.as_object()?, "referenceName")?.as_str()
}

fn name_of(value: &Value) -> String {
    let name = value
        .as_object()
        .and_then(|object| member(object, "name"))
        .and_then(Value::as_str);
    name.unwrap_or("?").to_owned()
}
