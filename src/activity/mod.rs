//! What ADF handed over: activity.json, linkedServices.json and datasets.json in the task folder.
//!
//! Owns reading them leniently (any of them may be absent; key order and case do not matter; unknown keys are kept), the
//! document that the Python package turns into `dray.activity` and its kin, and the list of secrets. It must not know how
//! secrets are masked, what a linked service becomes (`connections/`), or who asks.
//!
//! The shapes were read from files captured on nodes and from azure-mgmt-datafactory 10.0.0; whether the last two files
//! exist when nothing is referenced is documented nowhere, so absence, `null` and `[]` mean the same.

mod arguments;
mod batch;
mod error;
mod reference;
mod secrets;
#[cfg(test)]
mod tests;

use std::path::Path;

use serde_json::{Map, Value, json};

pub use arguments::as_arguments;
pub use batch::BatchIdentity;
pub use error::ActivityError;
pub use reference::{KeyVaultSecret, Special, member, scalar_text};
pub use secrets::{MASK, secrets_of_text, secrets_of_value};

use crate::json_file::{JsonFile, Step};
use reference::{collect_references, exact_key, marked, marked_members};

/// Names of the three files, as ADF puts them into the task's working directory.
pub const FILE_NAMES: [&str; 3] = ["activity.json", "linkedServices.json", "datasets.json"];

/// Everything that ADF handed over; all of it is empty outside ADF.
#[derive(Clone, Debug, Default)]
pub struct Handover {
    /// activity.json, if there is one.
    pub activity: Option<Activity>,
    /// linkedServices.json, in the order of the file.
    pub linked_services: Vec<Resource>,
    /// datasets.json, in the order of the file.
    pub datasets: Vec<Resource>,
}

/// activity.json: the custom activity's definition with its expressions evaluated.
#[derive(Clone, Debug)]
pub struct Activity {
    /// The activity's name.
    pub name: Option<String>,
    /// `typeProperties.extendedProperties`, as in the file; empty if absent.
    pub extended_properties: Map<String, Value>,
    /// `typeProperties.referenceObjects.linkedServices`.
    pub linked_service_references: Vec<Reference>,
    /// `typeProperties.referenceObjects.datasets`.
    pub dataset_references: Vec<Reference>,
    /// The whole document as in the file.
    pub raw: Map<String, Value>,
}

/// A reference from the activity to a linked service or dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct Reference {
    /// `referenceName`.
    pub name: Option<String>,
    /// `parameters`; empty if absent.
    pub parameters: Map<String, Value>,
}

/// A linked service or a dataset: `{"name": ..., "properties": {"type": ..., "typeProperties": {...}}}`.
#[derive(Clone, Debug)]
pub struct Resource {
    /// Its name.
    pub name: Option<String>,
    /// `properties.type`, such as `Odbc` or `AzureSqlTable`.
    pub type_name: Option<String>,
    /// The whole object as in the file.
    pub raw: Map<String, Value>,
}

impl Resource {
    /// `properties`, if it is there.
    pub fn properties(&self) -> Option<&Map<String, Value>> {
        member(&self.raw, "properties")?.as_object()
    }

    /// `properties.typeProperties`, if it is there.
    pub fn type_properties(&self) -> Option<&Map<String, Value>> {
        member(self.properties()?, "typeProperties")?.as_object()
    }

    fn to_json_for_python(&self) -> Map<String, Value> {
        let mut members = Map::new();
        members.insert("name".to_owned(), json!(self.name));
        members.insert("type".to_owned(), json!(self.type_name));
        let type_properties = self.type_properties().map(marked_members).unwrap_or_default();
        members.insert("type_properties".to_owned(), Value::Object(type_properties));
        members.insert("definition".to_owned(), Value::Object(marked_members(&self.raw)));
        members
    }
}

impl Handover {
    /// Reads the three files in `task_folder`; each may be absent.
    ///
    /// # Errors
    /// [`ActivityError::File`] if one is malformed, unreadable or above 64 MiB, with file, line, column and what was
    /// expected; [`ActivityError::NoTaskFolder`].
    pub fn load(task_folder: &Path) -> Result<Handover, ActivityError> {
        if !task_folder.is_dir() {
            return Err(ActivityError::NoTaskFolder {
                path: task_folder.to_owned(),
            });
        }
        let read = |name: &str, expected| JsonFile::read(&task_folder.join(name), expected);
        let [activity, linked_services, datasets] = FILE_NAMES;
        Ok(Handover {
            activity: read(activity, "a JSON object")?.map(Activity::from_file).transpose()?,
            linked_services: read(linked_services, "a JSON array")?.map_or(Ok(Vec::new()), resources)?,
            datasets: read(datasets, "a JSON array")?.map_or(Ok(Vec::new()), resources)?,
        })
    }

    /// Names and contents of the three files, to be read by [`Handover::from_files`]: what they say, not how it was written.
    pub fn to_files(&self) -> Vec<(String, String)> {
        let list = |resources: &[Resource]| -> Value { resources.iter().map(|each| each.raw.clone()).collect() };
        let [activity, linked_services, datasets] = FILE_NAMES;
        let mut files = vec![
            (linked_services.to_owned(), list(&self.linked_services).to_string()),
            (datasets.to_owned(), list(&self.datasets).to_string()),
        ];
        if let Some(found) = &self.activity {
            files.push((activity.to_owned(), Value::Object(found.raw.clone()).to_string()));
        }
        files
    }

    /// As [`Handover::load`], from texts that [`Handover::to_files`] made.
    ///
    /// # Errors
    /// Texts that were made by somebody else.
    pub fn from_files(files: &[(String, String)]) -> Result<Handover, ActivityError> {
        let parse = |name: &str, expected| {
            let found = files.iter().find(|(other, _)| other == name);
            found.map(|(_, text)| JsonFile::parse(Path::new(name), text.clone().into_bytes(), expected))
        };
        let [activity, linked_services, datasets] = FILE_NAMES;
        Ok(Handover {
            activity: match parse(activity, "a JSON object") {
                Some(file) => Some(Activity::from_file(file?)?),
                None => None,
            },
            linked_services: parse(linked_services, "a JSON array").map_or(Ok(Vec::new()), |file| resources(file?))?,
            datasets: parse(datasets, "a JSON array").map_or(Ok(Vec::new()), |file| resources(file?))?,
        })
    }

    /// Removes the three files from `task_folder`, those that are there.
    ///
    /// # Errors
    /// One of them cannot be removed.
    pub fn remove_files(task_folder: &Path) -> std::io::Result<()> {
        for name in FILE_NAMES {
            match fs_err::remove_file(task_folder.join(name)) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether the activity may fetch secrets from a Key Vault.
    pub fn has_key_vault(&self) -> bool {
        let mut types = self
            .linked_services
            .iter()
            .filter_map(|service| service.type_name.as_deref());
        types.any(|name| name.eq_ignore_ascii_case("AzureKeyVault"))
    }

    /// Every reference to a secret in a Key Vault, once, wherever it stands.
    pub fn key_vault_secrets(&self) -> Vec<KeyVaultSecret> {
        let mut found = Vec::new();
        let resources = self.linked_services.iter().chain(&self.datasets);
        let documents = resources.map(|resource| &resource.raw);
        for document in documents.chain(self.activity.iter().map(|activity| &activity.extended_properties)) {
            document
                .values()
                .for_each(|value| collect_references(value, &mut found));
        }
        found
    }

    /// The extended properties, empty outside ADF.
    pub fn extended_properties(&self) -> Map<String, Value> {
        self.activity
            .as_ref()
            .map(|activity| activity.extended_properties.clone())
            .unwrap_or_default()
    }

    /// One JSON document for the Python package:
    ///
    /// ```json
    /// {"activity": {"name": ..., "extended_properties": {...}, "definition": {...},
    ///               "reference_objects": {"linked_services": [{"name": ..., "parameters": {...}}], "datasets": [...]}},
    ///  "linked_services": [{"name": ..., "type": ..., "type_properties": {...}, "definition": {...}}],
    ///  "datasets": [{"name": ..., "type": ..., "type_properties": {...}, "definition": {...}, "linked_service": ...}]}
    /// ```
    ///
    /// `activity` is null without an activity.json; `definition` is the object as in the file; a name, type or
    /// linked_service is null where the file has none. Numbers keep their digits. Secrets and Key Vault references at any
    /// depth are marked by objects with the key `__dray__`: `{"__dray__": "secret", "value": text}`,
    /// `{"__dray__": "key_vault_secret", "store": ..., "secret_name": ..., "secret_version": ...}`, and, for an object of
    /// a file that has a key of that name itself, `{"__dray__": "object", "value": {...}}`. The document holds
    /// secrets in clear.
    pub fn to_json_for_python(&self) -> Value {
        let references = |references: &[Reference]| -> Value {
            references
                .iter()
                .map(|reference| json!({"name": reference.name, "parameters": marked_members(&reference.parameters)}))
                .collect()
        };
        let activity = self.activity.as_ref().map(|activity| {
            json!({
                "name": activity.name,
                "extended_properties": marked_members(&activity.extended_properties),
                "reference_objects": {
                    "linked_services": references(&activity.linked_service_references),
                    "datasets": references(&activity.dataset_references),
                },
                "definition": marked_members(&activity.raw),
            })
        });
        let datasets = self.datasets.iter().map(|dataset| {
            let mut members = dataset.to_json_for_python();
            let linked_service = dataset
                .properties()
                .and_then(|properties| member(properties, "linkedServiceName"))
                .and_then(Value::as_object)
                .and_then(|reference| member(reference, "referenceName"));
            members.insert(
                "linked_service".to_owned(),
                linked_service.map(marked).unwrap_or_default(),
            );
            members
        });
        json!({
            "activity": activity,
            "linked_services": self.linked_services.iter().map(Resource::to_json_for_python).collect::<Vec<_>>(),
            "datasets": datasets.collect::<Vec<_>>(),
        })
    }

    /// The linked service of that name: spelled exactly so, else differing in case alone (ADF's names are unique
    /// without regard to case).
    pub fn linked_service(&self, name: &str) -> Option<&Resource> {
        named(&self.linked_services, name)
    }

    /// The dataset of that name, found in the same way.
    pub fn dataset(&self, name: &str) -> Option<&Resource> {
        named(&self.datasets, name)
    }

    /// Every secret in the three files, each once and none empty: values of SecureStrings at any depth, passwords and
    /// keys under their usual names, and those inside connection strings and URLs, as written and decoded.
    pub fn secrets(&self) -> Vec<String> {
        let mut found = Vec::new();
        let objects = self.activity.iter().map(|activity| &activity.raw);
        let resources = self
            .linked_services
            .iter()
            .chain(&self.datasets)
            .map(|resource| &resource.raw);
        for object in objects.chain(resources) {
            for (key, value) in object {
                secrets::collect(Some(key), value, &mut found);
            }
        }
        found.retain(|secret| !secret.is_empty());
        found.sort();
        found.dedup();
        found
    }

    /// The extended properties as people may see them: secrets are `***`, Key Vault references a few words.
    pub fn parameters_for_display(&self) -> Map<String, Value> {
        self.activity
            .as_ref()
            .map(|activity| secrets::masked_members(&activity.extended_properties))
            .unwrap_or_default()
    }
}

fn named<'a>(resources: &'a [Resource], name: &str) -> Option<&'a Resource> {
    let find = |matches: &dyn Fn(&str) -> bool| {
        let mut resources = resources.iter();
        resources.find(|resource| resource.name.as_deref().is_some_and(matches))
    };
    find(&|other| other == name).or_else(|| find(&|other| other.eq_ignore_ascii_case(name)))
}

impl Activity {
    fn from_file(file: JsonFile) -> Result<Activity, ActivityError> {
        let Value::Object(raw) = &file.value else {
            return Err(file.wrong_shape(&[], &file.value, "an object").into());
        };
        let root = Place {
            file: &file,
            steps: Vec::new(),
        };
        let type_properties = root.object(raw, "typeProperties")?;
        let (extended_properties, linked_service_references, dataset_references) = match type_properties {
            None => (Map::new(), Vec::new(), Vec::new()),
            Some((place, type_properties)) => {
                let extended = place.object(type_properties, "extendedProperties")?;
                let references = match place.object(type_properties, "referenceObjects")? {
                    None => (Vec::new(), Vec::new()),
                    Some((place, object)) => (
                        place.references(object, "linkedServices")?,
                        place.references(object, "datasets")?,
                    ),
                };
                (
                    extended.map(|(_, object)| object.clone()).unwrap_or_default(),
                    references.0,
                    references.1,
                )
            }
        };
        Ok(Activity {
            name: member(raw, "name").and_then(scalar_text),
            extended_properties,
            linked_service_references,
            dataset_references,
            raw: raw.clone(),
        })
    }
}

fn resources(file: JsonFile) -> Result<Vec<Resource>, ActivityError> {
    let items: Vec<(Vec<Step>, &Value)> = match &file.value {
        Value::Null => Vec::new(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(at, item)| (vec![Step::Index(at)], item))
            .collect(),
        single @ Value::Object(_) => vec![(Vec::new(), single)],
        other => return Err(file.wrong_shape(&[], other, "an array of objects").into()),
    };
    let mut resources = Vec::with_capacity(items.len());
    for (steps, item) in items {
        let Value::Object(raw) = item else {
            return Err(file.wrong_shape(&steps, item, "an object").into());
        };
        let place = Place { file: &file, steps };
        let mut type_name = None;
        if let Some((place, properties)) = place.object(raw, "properties")? {
            place.object(properties, "typeProperties")?;
            type_name = member(properties, "type").and_then(scalar_text);
        }
        let name = member(raw, "name").and_then(scalar_text);
        resources.push(Resource {
            name,
            type_name,
            raw: raw.clone(),
        });
    }
    Ok(resources)
}

/// An object and where it stands.
type PlacedObject<'a, 'v> = (Place<'a>, &'v Map<String, Value>);

/// A value's place in a file, for errors.
struct Place<'a> {
    file: &'a JsonFile,
    steps: Vec<Step>,
}

impl<'a> Place<'a> {
    fn inside(&self, step: Step) -> Place<'a> {
        let mut steps = self.steps.clone();
        steps.push(step);
        Place { file: self.file, steps }
    }

    /// The object under `key`; `None` if it is absent or null.
    fn object<'v>(
        &self,
        parent: &'v Map<String, Value>,
        key: &str,
    ) -> Result<Option<PlacedObject<'a, 'v>>, ActivityError> {
        let Some(key) = exact_key(parent, key) else {
            return Ok(None);
        };
        let place = self.inside(Step::Key(key.to_owned()));
        match &parent[key] {
            Value::Null => Ok(None),
            Value::Object(object) => Ok(Some((place, object))),
            other => Err(self.file.wrong_shape(&place.steps, other, "an object").into()),
        }
    }

    fn references(&self, parent: &Map<String, Value>, key: &str) -> Result<Vec<Reference>, ActivityError> {
        let Some(key) = exact_key(parent, key) else {
            return Ok(Vec::new());
        };
        let place = self.inside(Step::Key(key.to_owned()));
        let items = match &parent[key] {
            Value::Null => return Ok(Vec::new()),
            Value::Array(items) => items,
            other => {
                return Err(self
                    .file
                    .wrong_shape(&place.steps, other, "an array of references")
                    .into());
            }
        };
        let mut references = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            let place = place.inside(Step::Index(at));
            let Value::Object(object) = item else {
                return Err(self.file.wrong_shape(&place.steps, item, "an object").into());
            };
            references.push(Reference {
                name: member(object, "referenceName").and_then(scalar_text),
                parameters: place
                    .object(object, "parameters")?
                    .map(|(_, object)| object.clone())
                    .unwrap_or_default(),
            });
        }
        Ok(references)
    }
}
