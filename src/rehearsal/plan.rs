//! Decides what the task of an activity would get: its three files, its command, and what stands in for Azure.

use std::path::Path;

use serde_json::{Map, Value};

use super::activity::{self, Found};
use super::check::{self, Finding, Weight};
use super::error::RehearsalError;
use super::expression::{Fault, Scope, now, value_of_text};
use super::givens::{Givens, typed};
use super::source::{Kind, Pipeline, Source, handed_over};
use super::task::Upload;
use crate::activity::{Special, member, secrets_of_value};
use crate::json_file::JsonFile;

/// All that a rehearsal does, before it does it.
pub struct Plan {
    /// The activity's name.
    pub activity: String,
    /// The pipeline's name.
    pub pipeline: String,
    /// The command, as evaluated.
    pub command: String,
    /// Its words; the first is the program.
    pub words: Vec<String>,
    /// activity.json, linkedServices.json and datasets.json.
    pub files: [Value; 3],
    /// `folderPath`: the folder of the storage account whose files the task gets.
    pub folder_path: Option<String>,
    /// What stands in for it.
    pub upload: Option<Upload>,
    /// What was noticed; with a fault among it the activity would not run in Azure.
    pub findings: Vec<Finding>,
    /// Values of the run that were made up.
    pub stand_ins: Vec<StandIn>,
    /// `policy.timeout`.
    pub timeout: Option<String>,
    /// What must be masked wherever it is shown: values of SecureString parameters, and the secrets in the three files.
    pub secrets: Vec<String>,
}

/// A value that Data Factory would have, and one that was made up for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StandIn {
    /// Such as `pipeline().RunId`.
    pub expression: String,
    /// The value.
    pub value: String,
}

/// Decides what the activity that `asked` names would get.
///
/// `folder` stands in for `folderPath`; `linked_services` is a JSON file like linkedServices.json whose objects win over
/// those that go with the pipeline.
///
/// # Errors
/// See [`RehearsalError`]; faults of the activity are no error here but in [`Plan::findings`].
pub fn plan(
    source: &Source,
    asked: Option<&str>,
    givens: &Givens,
    folder: Option<&Path>,
    linked_services: Option<&Path>,
) -> Result<Plan, RehearsalError> {
    let template = source.template(givens);
    let (pipeline, mut found) = activity::find(source, template.as_ref(), asked)?;
    let mut unknown = Vec::new();
    if let Some(template) = &template {
        let definition = Value::Object(std::mem::take(&mut found.definition));
        let settled = template.whole(&definition, &mut |fault| {
            if let Fault::Unknown { expression } = fault {
                unknown.push(expression);
            }
            Ok(())
        });
        let settled = settled.map_err(|fault| RehearsalError::Expression {
            place: "the template's part".to_owned(),
            fault,
        })?;
        found.definition = settled.and_then(|value| value.as_object().cloned()).unwrap_or_default();
    }
    let mut findings = Vec::new();
    let scope = Run::new(source, &pipeline, &found, givens, &mut findings)?;
    let document = scope.activity(&found.definition, &mut unknown)?;
    if !unknown.is_empty() {
        unknown.dedup();
        return Err(RehearsalError::Unknown(unknown));
    }
    let extra = linked_services
        .map(read_linked_services)
        .transpose()?
        .unwrap_or_default();
    let mut resources = Resources {
        source,
        givens,
        extra,
        findings: &mut findings,
    };
    let services = resources.referenced(&document, Kind::LinkedService)?;
    let datasets = resources.referenced(&document, Kind::Dataset)?;
    let storage = resources.storage(&document)?;

    let properties = member(&document, "typeProperties").and_then(Value::as_object);
    let command = properties
        .and_then(|properties| member(properties, "command"))
        .and_then(Value::as_str);
    let folder_path = properties
        .and_then(|properties| member(properties, "folderPath"))
        .and_then(Value::as_str);
    let upload = folder.map(Upload::read).transpose()?;
    let words = check::activity(
        &check::Checked {
            document: &document,
            linked_services: &services,
            datasets: &datasets,
            storage: storage.as_ref(),
            upload: upload.as_ref(),
        },
        &mut findings,
    );
    let unused = givens.unused_expressions().into_iter();
    findings.extend(unused.map(|name| Finding {
        weight: Weight::Remark,
        text: format!("nothing in the activity asks for `{name}` of `--set`"),
    }));
    let timeout = member(&document, "policy")
        .and_then(Value::as_object)
        .and_then(|policy| member(policy, "timeout"))
        .and_then(Value::as_str)
        .map(str::to_owned);
    let command = command.unwrap_or_default().to_owned();
    let folder_path = folder_path.filter(|path| !path.is_empty()).map(str::to_owned);
    let stand_ins = scope.stand_ins(&found.definition);
    let files = [Value::Object(document), Value::Array(services), Value::Array(datasets)];
    let mut secrets = scope.secrets;
    secrets.extend(files.iter().flat_map(secrets_of_value));
    Ok(Plan {
        activity: found.name.clone(),
        pipeline: pipeline.name.clone(),
        command,
        words,
        folder_path,
        timeout,
        stand_ins,
        files,
        upload,
        findings,
        secrets,
    })
}

/// A file like linkedServices.json, or one object of it.
fn read_linked_services(path: &Path) -> Result<Vec<Value>, RehearsalError> {
    let file = JsonFile::read(path, "a JSON array")?.ok_or_else(|| RehearsalError::Missing(path.to_owned()))?;
    match &file.value {
        Value::Array(items) => Ok(items.clone()),
        Value::Object(_) => Ok(vec![file.value.clone()]),
        other => Err(file.wrong_shape(&[], other, "an array of linked services").into()),
    }
}

/// What expressions find in the run of a pipeline.
struct Run<'a> {
    givens: &'a Givens,
    pipeline: Value,
    variables: Map<String, Value>,
    item: Option<Value>,
    made_up: Vec<StandIn>,
    secrets: Vec<String>,
}

impl<'a> Run<'a> {
    fn new(
        source: &Source,
        pipeline: &Pipeline,
        found: &Found,
        givens: &'a Givens,
        findings: &mut Vec<Finding>,
    ) -> Result<Run<'a>, RehearsalError> {
        let template = source.template(givens);
        let declared = |key: &str| -> Result<Map<String, Value>, RehearsalError> {
            let Some(value) = member(&pipeline.properties, key) else {
                return Ok(Map::new());
            };
            let settled = match &template {
                Some(template) => template.whole(value, &mut |_| Ok(())),
                None => Ok(Some(value.clone())),
            };
            let settled = settled.map_err(|fault| RehearsalError::Expression {
                place: format!("`{key}` of pipeline `{}`, a part", pipeline.name),
                fault,
            })?;
            Ok(settled.and_then(|value| value.as_object().cloned()).unwrap_or_default())
        };
        let declared_parameters = declared("parameters")?;
        let parameters = parameters(&declared_parameters, &source.template_parameters(), givens)?;
        let secrets = secrets_among(&declared_parameters, &parameters);
        let mut variables = Map::new();
        for (name, variable) in declared("variables")? {
            if let Some(default) = variable
                .as_object()
                .and_then(|variable| member(variable, "defaultValue"))
            {
                variables.insert(name, default.clone());
            }
        }
        let run_id = uuid::Uuid::new_v4().to_string();
        let system = [
            ("DataFactory", "rehearsal".to_owned()),
            ("RunId", run_id.clone()),
            ("GroupId", run_id),
            ("TriggerId", uuid::Uuid::new_v4().to_string()),
            ("TriggerName", "rehearsal".to_owned()),
            ("TriggerTime", now()),
            ("TriggerType", "Manual".to_owned()),
        ];
        let mut about = Map::new();
        about.insert("Pipeline".to_owned(), Value::from(pipeline.name.as_str()));
        about.insert("parameters".to_owned(), Value::Object(parameters));
        about.insert("globalParameters".to_owned(), Value::Object(source.global_parameters()));
        let mut made_up = Vec::new();
        for (name, value) in system {
            about.insert(name.to_owned(), Value::from(value.as_str()));
            made_up.push(StandIn {
                expression: format!("pipeline().{name}"),
                value,
            });
        }
        let mut run = Run {
            givens,
            pipeline: Value::Object(about),
            variables,
            item: None,
            made_up,
            secrets,
        };
        if let Some(items) = &found.items {
            run.item = run.first_item(items, findings);
        }
        Ok(run)
    }

    /// The first of a loop's items, which stands in for each of them; what has no value is asked for where it is used.
    fn first_item(&self, items: &Value, findings: &mut Vec<Finding>) -> Option<Value> {
        let text = items
            .as_object()
            .and_then(|object| member(object, "value"))
            .unwrap_or(items);
        let items = value_of_text(text.as_str()?, self).ok()?;
        let items = items.as_array()?;
        findings.push(Finding {
            weight: Weight::Remark,
            text: match items.len() {
                0 => "the ForEach around the activity has no items, so it would not run at all".to_owned(),
                count => format!("`item()` is the first of {count} items of the ForEach around the activity"),
            },
        });
        items.first().cloned()
    }

    /// The activity with every expression evaluated. Those without a value are added to `unknown`.
    fn activity(
        &self,
        definition: &Map<String, Value>,
        unknown: &mut Vec<String>,
    ) -> Result<Map<String, Value>, RehearsalError> {
        let mut document = Map::new();
        for (key, value) in definition {
            document.insert(key.clone(), self.evaluated(value, key, unknown)?);
        }
        Ok(document)
    }

    fn evaluated(&self, value: &Value, place: &str, unknown: &mut Vec<String>) -> Result<Value, RehearsalError> {
        let text = match (value, Special::of(value)) {
            (Value::Object(object), Some(Special::Expression)) => member(object, "value").and_then(Value::as_str),
            (Value::String(text), _) => Some(text.as_str()),
            _ => None,
        };
        if let Some(text) = text {
            return match value_of_text(text, self) {
                Ok(value) => Ok(value),
                Err(Fault::Unknown { expression }) => {
                    if !unknown.contains(&expression) {
                        unknown.push(expression);
                    }
                    Ok(Value::Null)
                }
                Err(fault) => Err(RehearsalError::Expression {
                    place: place.to_owned(),
                    fault,
                }),
            };
        }
        match value {
            Value::Object(object) => {
                let mut evaluated = Map::new();
                for (key, value) in object {
                    let value = self.evaluated(value, &format!("{place}.{key}"), unknown)?;
                    evaluated.insert(key.clone(), value);
                }
                Ok(Value::Object(evaluated))
            }
            Value::Array(items) => {
                let items = items.iter().enumerate();
                items
                    .map(|(at, item)| self.evaluated(item, &format!("{place}[{at}]"), unknown))
                    .collect()
            }
            other => Ok(other.clone()),
        }
    }

    /// Those made-up values that the activity names.
    fn stand_ins(&self, definition: &Map<String, Value>) -> Vec<StandIn> {
        let text = Value::Object(definition.clone()).to_string().to_lowercase();
        let named = |each: &&StandIn| {
            let spelling = each.expression.to_lowercase();
            text.contains(&spelling) && self.givens.expression(&spelling).is_none()
        };
        self.made_up.iter().filter(named).cloned().collect()
    }
}

impl Scope for Run<'_> {
    fn given(&self, spelling: &str) -> Option<Value> {
        self.givens.expression(spelling)
    }

    fn knows(&self, name: &str) -> bool {
        matches!(name, "pipeline" | "variables" | "item")
    }

    fn call(&self, name: &str, arguments: &[Value]) -> Option<Result<Value, Fault>> {
        match (name, arguments) {
            ("pipeline", []) => Some(Ok(self.pipeline.clone())),
            ("variables", [Value::String(name)]) => member(&self.variables, name).cloned().map(Ok),
            ("item", []) => self.item.clone().map(Ok),
            _ => None,
        }
    }
}

/// The parameters that have a value: given, or by default.
fn parameters(
    declared: &Map<String, Value>,
    of_template: &[String],
    givens: &Givens,
) -> Result<Map<String, Value>, RehearsalError> {
    let is_known = |name: &str| {
        let mut known = declared.keys().chain(of_template);
        known.any(|other| other.eq_ignore_ascii_case(name))
    };
    if let Some(name) = givens.names().find(|name| !is_known(name)) {
        return Err(RehearsalError::UnknownParameter {
            name: name.to_owned(),
            parameters: declared.keys().chain(of_template).cloned().collect(),
        });
    }
    let mut parameters = Map::new();
    for (name, parameter) in declared {
        let about = |key: &str| parameter.as_object().and_then(|parameter| member(parameter, key));
        let type_name = about("type").and_then(Value::as_str).unwrap_or("String");
        match (givens.parameter(name), about("defaultValue")) {
            (Some(text), _) => parameters.insert(name.clone(), typed(name, type_name, text)?),
            (None, Some(default)) => parameters.insert(name.clone(), default.clone()),
            (None, None) => None,
        };
    }
    Ok(parameters)
}

/// The values of those parameters whose type says that they are secrets.
fn secrets_among(declared: &Map<String, Value>, parameters: &Map<String, Value>) -> Vec<String> {
    let is_secret = |name: &str| {
        let parameter = member(declared, name).and_then(Value::as_object);
        let kind = parameter
            .and_then(|parameter| member(parameter, "type"))
            .and_then(Value::as_str);
        kind.is_some_and(|kind| kind.eq_ignore_ascii_case("SecureString"))
    };
    let secret = parameters.iter().filter(|(name, _)| is_secret(name));
    secret
        .filter_map(|(_, value)| value.as_str().map(str::to_owned))
        .collect()
}

/// Looks up what the activity refers to.
struct Resources<'a> {
    source: &'a Source,
    givens: &'a Givens,
    extra: Vec<Value>,
    findings: &'a mut Vec<Finding>,
}

impl Resources<'_> {
    /// The objects of one list of `referenceObjects`, in its order.
    fn referenced(&mut self, document: &Map<String, Value>, kind: Kind) -> Result<Vec<Value>, RehearsalError> {
        let mut values = Vec::new();
        for name in check::references(document, kind) {
            match self.find(kind, &name)? {
                Some(value) => values.push(value),
                None => {
                    let (noun, folder) = (kind.noun(), kind.folder());
                    let elsewhere = match kind {
                        Kind::LinkedService => ", and not in `--linked-services` either",
                        Kind::Dataset => "",
                    };
                    self.findings.push(Finding {
                        weight: Weight::Fault,
                        text: format!(
                            "{noun} `{name}` is referenced and not in `{folder}/` beside the pipeline{elsewhere}"
                        ),
                    });
                }
            }
        }
        Ok(values)
    }

    /// The linked service that `resourceLinkedService` names, if it is there to be looked at.
    fn storage(&mut self, document: &Map<String, Value>) -> Result<Option<Value>, RehearsalError> {
        let name = member(document, "typeProperties")
            .and_then(Value::as_object)
            .and_then(|properties| member(properties, "resourceLinkedService"))
            .and_then(Value::as_object)
            .and_then(|reference| member(reference, "referenceName"))
            .and_then(Value::as_str);
        match name {
            Some(name) => Ok(self
                .source
                .resource(Kind::LinkedService, name, self.givens)?
                .map(|found| found.value)),
            None => Ok(None),
        }
    }

    fn find(&mut self, kind: Kind, name: &str) -> Result<Option<Value>, RehearsalError> {
        let is_named = |value: &&Value| {
            let own = value
                .as_object()
                .and_then(|object| member(object, "name"))
                .and_then(Value::as_str);
            own.is_some_and(|own| own.eq_ignore_ascii_case(name))
        };
        if let Some(value) = self.extra.iter().filter(|_| kind == Kind::LinkedService).find(is_named) {
            return Ok(Some(handed_over(value, name)));
        }
        let Some(found) = self.source.resource(kind, name, self.givens)? else {
            return Ok(None);
        };
        for expression in found.unknown {
            self.findings.push(Finding {
                weight: Weight::Remark,
                text: format!(
                    "{} `{name}` goes without the value of `{expression}`, which only a deployment has: give it by \
                     `--set \"{expression}=VALUE\"`",
                    kind.noun()
                ),
            });
        }
        Ok(Some(found.value))
    }
}
