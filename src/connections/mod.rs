//! From a name to an ODBC connection string: linked services, datasets, environment variables, pyproject.toml, URLs.
//!
//! Owns where a name is looked up and in which order, what each key of a linked service becomes (CONNECTIONS.md, which a
//! test holds to the code), and which driver of the node serves a product. It must not know how a connection is opened,
//! or who asks. Knows [`crate::activity`] for what ADF handed over, [`crate::odbc`] for the drivers that there are, and
//! [`crate::azure`] for secrets that lie in a Key Vault and for tokens that databases take.
//!
//! A name is, in this order: the environment variable `DRAY_CONNECTION_` and the name, a linked service, a dataset, an
//! entry of `[tool.dray.connections]`, a data source of odbc.ini. A variable is set for this one run and so says what is
//! wanted now; what ADF hands over is the pipeline's word; the project's own entries are what a laptop falls back on.

mod attributes;
mod dataset;
#[cfg(test)]
mod documentation;
mod driver;
mod error;
mod expression;
mod key_vault;
mod keys;
mod linked_service;
mod settings;
#[cfg(test)]
mod tests;
mod text;

use std::env;
use std::ffi::OsString;
use std::path::Path;

use serde_json::Map;

pub use attributes::Node;
pub use error::{ConnectionError, Origin};
pub use text::is_connection_text;

use crate::activity::{Handover, KeyVaultSecret, Resource, secrets_of_text};
use crate::azure::{Identity, postgresql_audience, sql_audience};
use crate::connection_string::ConnectionString;
use crate::odbc::DriverSearch;
use crate::project::Project;
use expression::Parameters;
use linked_service::Target;
use settings::{DEFAULT_IDENTITY, Field, Product, TokenOf, normalized};

/// What the variables are called that give a connection to a name.
const VARIABLE_PREFIX: &str = "DRAY_CONNECTION_";

/// All that a name may be looked up in.
#[derive(Clone, Debug, Default)]
pub struct Connections {
    /// What ADF handed over.
    pub handover: Handover,
    /// `[tool.dray.connections]`.
    pub project: Vec<(String, String)>,
    /// The environment.
    pub environment: Vec<(OsString, OsString)>,
    /// What else of the node matters.
    pub node: Node,
}

/// A connection string, and what of it must be masked.
pub struct Resolved {
    /// The string, for a driver that is on this node.
    pub string: ConnectionString,
    /// Every secret in it, as it is and as it was written.
    pub secrets: Vec<String>,
}

impl Connections {
    /// Those of a run: the task folder's files, the project's pyproject.toml, this process's environment.
    ///
    /// # Errors
    /// A malformed file of either.
    pub fn load(task_folder: &Path, project: Option<&Path>) -> Result<Connections, ConnectionError> {
        Connections::with(Handover::load(task_folder)?, project)
    }

    /// The same with what was handed over read already.
    ///
    /// # Errors
    /// A malformed pyproject.toml.
    pub fn with(handover: Handover, project: Option<&Path>) -> Result<Connections, ConnectionError> {
        let project = match project {
            Some(folder) => Project::open(folder)?.manifest()?.connections,
            None => Vec::new(),
        };
        Ok(Connections {
            handover,
            project,
            environment: env::vars_os().collect(),
            node: Node::here(),
        })
    }

    /// Without any names of a run or a project: for texts.
    pub fn of_node() -> Connections {
        Connections {
            environment: env::vars_os().collect(),
            node: Node::here(),
            ..Connections::default()
        }
    }

    /// The connection string for a name, an ODBC connection string, or a URL. A string that was given is left as it is.
    ///
    /// # Errors
    /// See [`ConnectionError`].
    pub fn resolve(&self, name_or_text: &str, search: &DriverSearch) -> Result<Resolved, ConnectionError> {
        if is_connection_text(name_or_text) {
            return self.finish(name_or_text, Origin::Text, None, search);
        }
        let variable = variable_name(name_or_text);
        if let Some(text) = self.variable(&variable).filter(|text| !text.is_empty()) {
            return self.finish(&text, Origin::Variable(variable), None, search);
        }
        if let Some(service) = self.handover.linked_service(name_or_text) {
            return self.linked_service_resource(service, None, search);
        }
        if let Some(dataset) = self.handover.dataset(name_or_text) {
            let parameters = self.dataset_parameters(dataset);
            let (service, passed) = dataset::linked_service_of_dataset(dataset, &parameters)?;
            let service = self
                .handover
                .linked_service(&service)
                .ok_or_else(|| self.unknown(&service, search))?;
            return self.linked_service_resource(service, Some(passed), search);
        }
        let named = |matches: &dyn Fn(&str) -> bool| self.project.iter().find(|(name, _)| matches(name));
        let found =
            named(&|name| name == name_or_text).or_else(|| named(&|name| name.eq_ignore_ascii_case(name_or_text)));
        if let Some((name, text)) = found {
            let variables = |name: &str| self.variable(name);
            return self.finish(text, Origin::Project(name.clone()), Some(&variables), search);
        }
        if let Some(source) = search
            .sources()
            .into_iter()
            .find(|each| each.eq_ignore_ascii_case(name_or_text))
        {
            let mut string = ConnectionString::default();
            string.push("DSN", &source);
            return Ok(Resolved {
                string,
                secrets: Vec::new(),
            });
        }
        Err(self.unknown(name_or_text, search))
    }

    /// The connection string of the linked service of this name, whatever else has the name.
    ///
    /// # Errors
    /// See [`ConnectionError`].
    pub fn linked_service(&self, name: &str, search: &DriverSearch) -> Result<Resolved, ConnectionError> {
        match self.handover.linked_service(name) {
            Some(service) => self.linked_service_resource(service, None, search),
            None => Err(self.unknown(name, search)),
        }
    }

    /// The table of the dataset of this name: `schema.table` or `table`, as a copy takes it.
    ///
    /// # Errors
    /// An unknown dataset, one that names no table, an expression that is more than a parameter.
    pub fn table_of_dataset(&self, name: &str) -> Result<String, ConnectionError> {
        let dataset = self
            .handover
            .dataset(name)
            .ok_or_else(|| ConnectionError::UnknownDataset { name: name.to_owned() })?;
        dataset::table_of_dataset(dataset, &self.dataset_parameters(dataset))
    }

    /// The names of the databases that are known, each with what it is: the type of a linked service, `project` or
    /// `variable`. A variable gives its name as it spells it, unless it belongs to one of the others.
    pub fn names(&self) -> Vec<(String, String)> {
        let mut names: Vec<(String, String)> = Vec::new();
        for service in &self.handover.linked_services {
            if let (Some(name), Some(kind)) = (&service.name, &service.type_name)
                && keys::ServiceType::named(kind).is_some()
            {
                names.push((name.clone(), kind.clone()));
            }
        }
        for (name, _) in &self.project {
            if !names.iter().any(|(other, _)| other.eq_ignore_ascii_case(name)) {
                names.push((name.clone(), "project".to_owned()));
            }
        }
        for (variable, _) in &self.environment {
            let Some(variable) = variable
                .to_str()
                .filter(|variable| variable.starts_with(VARIABLE_PREFIX))
            else {
                continue;
            };
            if !names.iter().any(|(other, _)| variable_name(other) == variable) {
                names.push((variable[VARIABLE_PREFIX.len()..].to_owned(), "variable".to_owned()));
            }
        }
        names
    }

    /// The secrets of every connection in the environment and the project, for whoever masks them before they are used.
    /// Those that cannot be read give what looks like a secret in them.
    pub fn secrets(environment: &[(OsString, OsString)], project: &[(String, String)]) -> Vec<String> {
        let variable = |name: &str| {
            let found = environment.iter().find(|(other, _)| other.to_str() == Some(name));
            found.and_then(|(_, value)| value.to_str()).map(str::to_owned)
        };
        let mut found = Vec::new();
        for (name, value) in environment {
            let is_connection = name.to_str().is_some_and(|name| name.starts_with(VARIABLE_PREFIX));
            if let (true, Some(text)) = (is_connection, value.to_str()) {
                found.extend(secrets_of_text(text));
            }
        }
        for (name, text) in project {
            let target = text::read(text, &Origin::Project(name.clone()), Some(&variable));
            match target {
                Ok(target) => found.extend(secrets_of(&target)),
                Err(_) => found.extend(secrets_of_text(text)),
            }
        }
        found
    }

    fn linked_service_resource(
        &self,
        service: &Resource,
        passed: Option<Map<String, serde_json::Value>>,
        search: &DriverSearch,
    ) -> Result<Resolved, ConnectionError> {
        let name = service.name.clone().unwrap_or_default();
        let fetch = |reference: &KeyVaultSecret| self.secret(reference);
        let parameters = self.parameters_of(service, passed).fetching(&fetch);
        let target = linked_service::read(service, &parameters, self.node.client_id.as_deref())?;
        self.to_string(target, &Origin::LinkedService(name), search)
    }

    /// What a linked service's expressions mean: `passed`, or else what the activity passes to it, and its defaults.
    fn parameters_of(&self, service: &Resource, passed: Option<Map<String, serde_json::Value>>) -> Parameters<'static> {
        let references = self
            .handover
            .activity
            .iter()
            .flat_map(|activity| &activity.linked_service_references);
        let name = service.name.as_deref().unwrap_or_default();
        let passed = passed.unwrap_or_else(|| {
            let mut named = references.filter(|reference| is_named(reference.name.as_deref(), name));
            named
                .next()
                .map(|reference| reference.parameters.clone())
                .unwrap_or_default()
        });
        Parameters::of_linked_service(&passed, service.properties())
    }

    fn dataset_parameters(&self, dataset: &Resource) -> Parameters<'static> {
        let references = self
            .handover
            .activity
            .iter()
            .flat_map(|activity| &activity.dataset_references);
        let name = dataset.name.as_deref().unwrap_or_default();
        let mut named = references.filter(|reference| is_named(reference.name.as_deref(), name));
        let passed = named
            .next()
            .map(|reference| reference.parameters.clone())
            .unwrap_or_default();
        Parameters::of_dataset(&passed, dataset.properties())
    }

    fn finish(
        &self,
        text: &str,
        origin: Origin,
        variables: Option<text::Variables<'_>>,
        search: &DriverSearch,
    ) -> Result<Resolved, ConnectionError> {
        let target = text::read(text, &origin, variables)?;
        let mut resolved = self.to_string(target, &origin, search)?;
        resolved.secrets.extend(secrets_of_text(text));
        Ok(resolved)
    }

    fn to_string(&self, target: Target, origin: &Origin, search: &DriverSearch) -> Result<Resolved, ConnectionError> {
        let target = self.with_token(target)?;
        let secrets = secrets_of(&target);
        let string = match target {
            Target::String(string) => string,
            Target::Settings(settings) => attributes::connection_string(&settings, search, &self.node, origin)?,
        };
        Ok(Resolved { string, secrets })
    }

    /// Fetches the token that the connection takes, if it takes one. What is opened with it after its end, which is an hour
    /// away for a service principal and a day for a managed identity, is refused by the server.
    fn with_token(&self, target: Target) -> Result<Target, ConnectionError> {
        let identity = |of: TokenOf| match of {
            TokenOf::Environment => Identity::from_environment(|name| self.variable(name)),
            TokenOf::Identity(identity) => identity,
        };
        match target {
            Target::Settings(mut settings) => {
                if let Some(of) = settings.token_of.take() {
                    let host = host_of(settings.get(Field::Server).unwrap_or_default());
                    let (field, audience) = match settings.product {
                        Product::SqlServer => (Field::AccessToken, sql_audience(host)),
                        _ => (Field::Password, postgresql_audience(host)),
                    };
                    let token = self.token(&identity(of), &audience)?;
                    settings.set(field, token);
                }
                Ok(Target::Settings(settings))
            }
            Target::String(mut string) => {
                let authentication = string.get("Authentication").map(normalized);
                if authentication.as_deref() == Some(DEFAULT_IDENTITY) {
                    let audience = sql_audience(host_of(string.get("Server").unwrap_or_default()));
                    let token = self.token(&identity(TokenOf::Environment), &audience)?;
                    string.remove("Authentication");
                    string.push_password("AccessToken", &token);
                }
                Ok(Target::String(string))
            }
        }
    }

    fn variable(&self, name: &str) -> Option<String> {
        let found = self.environment.iter().find(|(other, _)| other.to_str() == Some(name));
        found.and_then(|(_, value)| value.to_str()).map(str::to_owned)
    }

    fn unknown(&self, name: &str, search: &DriverSearch) -> ConnectionError {
        let nearest_first = |mut names: Vec<String>| {
            let wanted = name.to_lowercase();
            names.sort_by_key(|other| strsim::damerau_levenshtein(&wanted, &other.to_lowercase()));
            names
        };
        let services = self.handover.linked_services.iter();
        ConnectionError::UnknownName {
            name: name.to_owned(),
            variable: variable_name(name),
            linked_services: nearest_first(services.filter_map(|service| service.name.clone()).collect()),
            connections: nearest_first(self.project.iter().map(|(name, _)| name.clone()).collect()),
            sources: nearest_first(search.sources()),
        }
    }
}

/// The variable that gives a connection to this name: upper case, and `_` for all but letters and digits of ASCII.
pub fn variable_name(name: &str) -> String {
    let plain = name.chars().map(|character| match character.is_ascii_alphanumeric() {
        true => character.to_ascii_uppercase(),
        false => '_',
    });
    format!("{VARIABLE_PREFIX}{}", plain.collect::<String>())
}

/// A server's name up to its host: `tcp:host,1433` and `host\instance` are SQL Server's.
fn host_of(server: &str) -> &str {
    server.split([',', '\\']).next().unwrap_or_default().trim()
}

fn is_named(found: Option<&str>, name: &str) -> bool {
    found.is_some_and(|found| found.eq_ignore_ascii_case(name))
}

fn secrets_of(target: &Target) -> Vec<String> {
    match target {
        Target::String(string) => string.secrets().map(str::to_owned).collect(),
        Target::Settings(settings) => settings.secrets().map(str::to_owned).collect(),
    }
}
