//! Where a pipeline comes from: a file of a factory's repository, or a deployment template.
//!
//! Data Factory's Git integration keeps each object in a file of its own, `pipeline/NAME.json`, `linkedService/NAME.json`,
//! `dataset/NAME.json`; its export, and whoever deploys it, has all of them in the `resources` of one template.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::error::RehearsalError;
use super::expression::Fault;
use super::givens::Givens;
use super::template::{Template, last_name};
use crate::activity::member;
use crate::json_file::JsonFile;

/// What an activity may refer to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    LinkedService,
    Dataset,
}

impl Kind {
    /// As people call it.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Kind::LinkedService => "linked service",
            Kind::Dataset => "dataset",
        }
    }

    /// The folder in a factory's repository.
    pub(super) fn folder(self) -> &'static str {
        match self {
            Kind::LinkedService => "linkedService",
            Kind::Dataset => "dataset",
        }
    }

    fn resource_type(self) -> &'static str {
        match self {
            Kind::LinkedService => "Microsoft.DataFactory/factories/linkedServices",
            Kind::Dataset => "Microsoft.DataFactory/factories/datasets",
        }
    }
}

/// A file with one pipeline or more.
pub struct Source {
    path: PathBuf,
    document: Map<String, Value>,
    is_template: bool,
}

/// A pipeline as the file has it.
pub(super) struct Pipeline {
    pub(super) name: String,
    /// `properties`; of a template, with its expressions unevaluated.
    pub(super) properties: Map<String, Value>,
}

/// A linked service or dataset, and the expressions in it that have no value here; their places are left out.
pub(super) struct Resource {
    pub(super) value: Value,
    pub(super) unknown: Vec<String>,
}

impl Source {
    /// Reads the file.
    ///
    /// # Errors
    /// No such file, not JSON, or no pipeline in it.
    pub fn read(path: &Path) -> Result<Source, RehearsalError> {
        let document = match JsonFile::read(path, "a JSON object")?.map(|file| file.value) {
            Some(Value::Object(document)) => document,
            Some(_) => return Err(RehearsalError::NotAPipeline(path.to_owned())),
            None => return Err(RehearsalError::Missing(path.to_owned())),
        };
        let is_template = member(&document, "resources").is_some_and(Value::is_array);
        let source = Source {
            path: path.to_owned(),
            document,
            is_template,
        };
        if source.pipelines().is_empty() {
            return Err(RehearsalError::NotAPipeline(path.to_owned()));
        }
        Ok(source)
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The template around the pipelines, if there is one.
    pub(super) fn template<'a>(&'a self, givens: &'a Givens) -> Option<Template<'a>> {
        self.is_template.then(|| Template::new(&self.document, givens))
    }

    /// The names of the template's parameters, if it is one.
    pub(super) fn template_parameters(&self) -> Vec<String> {
        match self.is_template {
            true => Template::parameter_names(&self.document),
            false => Vec::new(),
        }
    }

    pub(super) fn pipelines(&self) -> Vec<Pipeline> {
        if self.is_template {
            let resources = self.resources_of("Microsoft.DataFactory/factories/pipelines");
            return resources
                .filter_map(|resource| {
                    Some(Pipeline {
                        name: last_name(member(resource, "name")?.as_str()?),
                        properties: member(resource, "properties")?.as_object()?.clone(),
                    })
                })
                .collect();
        }
        let properties = member(&self.document, "properties").and_then(Value::as_object);
        let properties = properties.filter(|properties| member(properties, "activities").is_some_and(Value::is_array));
        let stem = self.path.file_stem().unwrap_or_default().to_string_lossy();
        let name = member(&self.document, "name").and_then(Value::as_str).unwrap_or(&stem);
        properties
            .map(|properties| Pipeline {
                name: name.to_owned(),
                properties: properties.clone(),
            })
            .into_iter()
            .collect()
    }

    /// The factory's global parameters: of the template, or of the file in `factory/` of the repository.
    pub(super) fn global_parameters(&self) -> Map<String, Value> {
        let of = |factory: &Map<String, Value>| -> Map<String, Value> {
            let declared = member(factory, "properties")
                .and_then(Value::as_object)
                .and_then(|properties| member(properties, "globalParameters"))
                .and_then(Value::as_object);
            let values = declared
                .into_iter()
                .flatten()
                .filter_map(|(name, parameter)| Some((name.clone(), member(parameter.as_object()?, "value")?.clone())));
            values.collect()
        };
        if self.is_template {
            let mut factories = self.resources_of("Microsoft.DataFactory/factories");
            return factories.next().map(of).unwrap_or_default();
        }
        let folders = self.folders("factory").into_iter();
        let files = folders.flat_map(|folder| fs_err::read_dir(folder).into_iter().flatten().flatten());
        let mut factories = files.filter_map(|file| match JsonFile::read(&file.path(), "a JSON object") {
            Ok(Some(JsonFile {
                value: Value::Object(factory),
                ..
            })) => Some(of(&factory)),
            _ => None,
        });
        factories.next().unwrap_or_default()
    }

    /// The linked service or dataset of this name: `{"name": ..., "properties": ...}`.
    ///
    /// # Errors
    /// A file that cannot be read, an expression of the template that fails.
    pub(super) fn resource(&self, kind: Kind, name: &str, givens: &Givens) -> Result<Option<Resource>, RehearsalError> {
        if self.is_template {
            return self.resource_of_template(kind, name, givens);
        }
        for folder in self.folders(kind.folder()) {
            let Ok(entries) = fs_err::read_dir(&folder) else {
                continue;
            };
            let is_meant = |path: &PathBuf| {
                let stem = path.file_stem().unwrap_or_default().to_string_lossy();
                path.extension().is_some_and(|extension| extension == "json") && stem.eq_ignore_ascii_case(name)
            };
            let mut paths = entries.flatten().map(|entry| entry.path());
            if let Some(path) = paths.find(is_meant)
                && let Some(file) = JsonFile::read(&path, "a JSON object")?
            {
                if !file.value.is_object() {
                    return Err(file.wrong_shape(&[], &file.value, "an object").into());
                }
                return Ok(Some(Resource {
                    value: handed_over(&file.value, name),
                    unknown: Vec::new(),
                }));
            }
        }
        Ok(None)
    }

    fn resource_of_template(
        &self,
        kind: Kind,
        name: &str,
        givens: &Givens,
    ) -> Result<Option<Resource>, RehearsalError> {
        let found = self.resources_of(kind.resource_type()).find(|resource| {
            let own = member(resource, "name").and_then(Value::as_str).map(last_name);
            own.is_some_and(|own| own.eq_ignore_ascii_case(name))
        });
        let Some(properties) = found.and_then(|resource| member(resource, "properties")) else {
            return Ok(None);
        };
        let mut unknown = Vec::new();
        let settled = Template::new(&self.document, givens).whole(properties, &mut |fault| {
            if let Fault::Unknown { expression } = fault {
                unknown.push(expression);
            }
            Ok(())
        });
        let properties = settled.map_err(|fault| RehearsalError::Expression {
            place: format!("{} `{name}`", kind.noun()),
            fault,
        })?;
        let value = serde_json::json!({"name": name, "properties": properties});
        Ok(Some(Resource { value, unknown }))
    }

    fn resources_of(&self, resource_type: &str) -> impl Iterator<Item = &Map<String, Value>> {
        let resources = member(&self.document, "resources").and_then(Value::as_array);
        let objects = resources.into_iter().flatten().filter_map(Value::as_object);
        objects.filter(move |resource| {
            let own = member(resource, "type").and_then(Value::as_str);
            own.is_some_and(|own| own.eq_ignore_ascii_case(resource_type))
        })
    }

    /// Where the repository keeps a kind of objects: beside the pipeline's folder, or below the pipeline's own.
    fn folders(&self, name: &str) -> Vec<PathBuf> {
        let own = std::path::absolute(&self.path).unwrap_or_else(|_| self.path.clone());
        let mut folders: Vec<PathBuf> = own
            .ancestors()
            .skip(1)
            .take(2)
            .map(|folder| folder.join(name))
            .collect();
        folders.reverse();
        folders
    }
}

/// What of an object's file Data Factory hands over: its name and properties.
pub(super) fn handed_over(value: &Value, name: &str) -> Value {
    let properties = value
        .as_object()
        .and_then(|object| member(object, "properties"))
        .cloned();
    let own = value
        .as_object()
        .and_then(|object| member(object, "name"))
        .and_then(Value::as_str);
    serde_json::json!({"name": own.unwrap_or(name), "properties": properties.unwrap_or_default()})
}
