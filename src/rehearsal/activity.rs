//! Finds a custom activity in a pipeline, also inside the activities that hold others.

use serde_json::{Map, Value};

use super::error::RehearsalError;
use super::expression::Fault;
use super::source::{Pipeline, Source};
use super::template::Template;
use crate::activity::member;

/// A custom activity and where it stands.
pub(super) struct Found {
    /// Its name.
    pub(super) name: String,
    /// As the file has it.
    pub(super) definition: Map<String, Value>,
    /// `typeProperties.items` of the ForEach that it stands in; of several, the innermost one's, which `item()` means.
    pub(super) items: Option<Value>,
}

/// The activity that `asked` means, `Name` or `Pipeline/Name`, and its pipeline; without a name the only custom one.
///
/// # Errors
/// None, or several; a template's expression that cannot be evaluated on the way.
pub(super) fn find(
    source: &Source,
    template: Option<&Template<'_>>,
    asked: Option<&str>,
) -> Result<(Pipeline, Found), RehearsalError> {
    let mut all: Vec<(usize, Found)> = Vec::new();
    let mut pipelines = source.pipelines();
    for (at, pipeline) in pipelines.iter().enumerate() {
        let mut walk = Walk {
            template,
            found: Vec::new(),
        };
        let activities = member(&pipeline.properties, "activities");
        walk.activities(activities, None)
            .map_err(|fault| RehearsalError::Expression {
                place: format!("the activities of pipeline `{}`, in one", pipeline.name),
                fault,
            })?;
        all.extend(walk.found.into_iter().map(|found| (at, found)));
    }
    let full_name = |(at, found): &(usize, Found)| format!("{}/{}", pipelines[*at].name, found.name);
    let is_meant = |each: &(usize, Found)| match asked {
        None => true,
        Some(asked) => each.1.name.eq_ignore_ascii_case(asked) || full_name(each).eq_ignore_ascii_case(asked),
    };
    let meant: Vec<usize> = (0..all.len()).filter(|at| is_meant(&all[*at])).collect();
    match meant.as_slice() {
        [one] => {
            let (at, found) = all.swap_remove(*one);
            Ok((pipelines.swap_remove(at), found))
        }
        [] => Err(RehearsalError::NoActivity {
            asked: asked.unwrap_or_default().to_owned(),
            path: source.path().to_owned(),
            found: all.iter().map(full_name).collect(),
        }),
        several => Err(RehearsalError::SeveralActivities {
            path: source.path().to_owned(),
            found: several.iter().map(|at| full_name(&all[*at])).collect(),
        }),
    }
}

/// Keys of `typeProperties` that hold activities: ForEach and Until, IfCondition, Switch.
const NESTING_KEYS: [&str; 4] = [
    "activities",
    "ifTrueActivities",
    "ifFalseActivities",
    "defaultActivities",
];

struct Walk<'a> {
    template: Option<&'a Template<'a>>,
    found: Vec<Found>,
}

impl Walk<'_> {
    fn activities(&mut self, activities: Option<&Value>, items: Option<&Value>) -> Result<(), Fault> {
        let Some(activities) = activities else { return Ok(()) };
        let activities = self.outermost(activities)?;
        for activity in activities.as_array().into_iter().flatten() {
            if let Value::Object(definition) = self.outermost(activity)? {
                self.activity(definition, items)?;
            }
        }
        Ok(())
    }

    fn activity(&mut self, definition: Map<String, Value>, items: Option<&Value>) -> Result<(), Fault> {
        let text = |key: &str| match member(&definition, key) {
            Some(value) => Ok::<_, Fault>(self.outermost(value)?.as_str().unwrap_or_default().to_owned()),
            None => Ok(String::new()),
        };
        let (name, kind) = (text("name")?, text("type")?);
        if kind.eq_ignore_ascii_case("Custom") {
            self.found.push(Found {
                name,
                definition,
                items: items.cloned(),
            });
            return Ok(());
        }
        let Some(properties) = member(&definition, "typeProperties") else {
            return Ok(());
        };
        let properties = self.outermost(properties)?;
        let Some(properties) = properties.as_object() else {
            return Ok(());
        };
        let items = match kind.eq_ignore_ascii_case("ForEach") {
            true => member(properties, "items").or(items),
            false => items,
        };
        for key in NESTING_KEYS {
            self.activities(member(properties, key), items)?;
        }
        for case in member(properties, "cases")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            self.activities(case.as_object().and_then(|case| member(case, "activities")), items)?;
        }
        Ok(())
    }

    fn outermost(&self, value: &Value) -> Result<Value, Fault> {
        match self.template {
            Some(template) => template.outermost(value),
            None => Ok(value.clone()),
        }
    }
}
