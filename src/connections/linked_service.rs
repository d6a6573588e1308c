//! A linked service becomes [`Settings`], or, for type `Odbc`, a connection string at once.
//!
//! Knows ADF's shapes and their traps: two versions of most types (a whole connection string, or a key for each part),
//! secrets in four forms, keys in any case, numbers and booleans as text. Knows no driver.

use serde_json::{Map, Value};

use super::error::{ConnectionError, Origin};
use super::expression::Parameters;
use super::keys::{Key, Meaning, SERVICE_TYPES, ServiceType};
use super::settings::{DEFAULT_IDENTITY, Field, Product, Settings, SignIn, TokenOf, normalized, truth};
use crate::activity::{Resource, member, scalar_text};
use crate::azure::Identity;
use crate::connection_string::{ConnectionString, Fault, Quoting, attributes};
use crate::json_file::kind_of;

/// What a linked service comes to.
pub(super) enum Target {
    /// The parts, for a driver that is still to be chosen.
    Settings(Settings),
    /// The string of type `Odbc`.
    String(ConnectionString),
}

/// A linked service that is being read.
struct Service<'a> {
    name: String,
    service_type: &'static ServiceType,
    properties: Option<&'a Map<String, Value>>,
    type_properties: Option<&'a Map<String, Value>>,
    parameters: &'a Parameters<'a>,
}

/// What the linked service says of its connection. `client_id` names the managed identity to use where a node has
/// several.
///
/// # Errors
/// A type without a driver, a value that is missing, malformed, unevaluated or lies in a Key Vault, a password that an
/// integration runtime has kept, a way to sign in that no driver here has.
pub(super) fn read(
    resource: &Resource,
    parameters: &Parameters<'_>,
    client_id: Option<&str>,
) -> Result<Target, ConnectionError> {
    let name = resource.name.clone().unwrap_or_default();
    let type_name = resource.type_name.clone().unwrap_or_default();
    let Some(service_type) = ServiceType::named(&type_name) else {
        return Err(ConnectionError::UnsupportedType {
            name,
            type_name,
            supported: SERVICE_TYPES.iter().map(|each| each.name.to_owned()).collect(),
        });
    };
    let service = Service {
        name,
        service_type,
        properties: resource.properties(),
        type_properties: resource.type_properties(),
        parameters,
    };
    match service_type.product {
        None => service.odbc().map(Target::String),
        Some(product) => service.settings(product, client_id).map(Target::Settings),
    }
}

impl Service<'_> {
    fn settings(&self, product: Product, client_id: Option<&str>) -> Result<Settings, ConnectionError> {
        let mut settings = Settings::new(product);
        let text = self.text("connectionString")?;
        let is_legacy = text.is_some();
        if let Some(text) = &text {
            self.read_connection_string(text, &mut settings)?;
        }
        // Secrets wait until it is known which of them is needed: the others may lie in a Key Vault.
        for key in self.service_type.all_keys() {
            self.read_key(key, &mut settings, |field| !is_secret(field))?;
        }
        if product == Product::SqlServer {
            self.sign_in(&mut settings, client_id)?;
            // What ADF's own drivers take for granted: System.Data.SqlClient does not encrypt unless it is told to, the
            // newer version of the connectors does.
            if settings.get(Field::Encrypt).is_none() {
                let encrypt = !is_legacy || self.service_type.in_azure;
                settings.set(Field::Encrypt, if encrypt { "mandatory" } else { "optional" });
            }
        } else {
            self.read_secrets(&mut settings, &[Field::ClientKeyPassword])?;
            match self.entra(&mut settings, client_id)? {
                // The name that the database knows the identity by.
                Some(_) if settings.get(Field::User).is_none() => return Err(self.missing("username")),
                Some(of) => settings.sign_in_by_token(of),
                None => {
                    self.read_secrets(&mut settings, &[Field::Password])?;
                    self.refuse_kept_back(&settings)?;
                }
            }
        }
        if settings.get(Field::Server).is_none() && settings.get(Field::Socket).is_none() {
            if !is_legacy && self.member("encryptedCredential").is_some() {
                return Err(self.kept_back(true));
            }
            let key = if is_legacy { "connectionString" } else { "server" };
            return Err(match is_legacy {
                true => self.malformed("it names no server"),
                false => self.missing(key),
            });
        }
        Ok(settings)
    }

    /// The keywords of a connection string, ADO.NET's or a driver's.
    fn read_connection_string(&self, text: &str, settings: &mut Settings) -> Result<(), ConnectionError> {
        // Braces enclose nothing in ADO.NET: there they are a part of the password.
        let quoting = match settings.product {
            Product::SqlServer => Quoting::Quotes,
            _ => Quoting::Either,
        };
        for attribute in attributes(text, quoting) {
            match attribute.fault {
                None => {}
                Some(Fault::Open) => return Err(self.malformed("an opening quote or brace has no closing one")),
                Some(Fault::GoesOn) => return Err(self.malformed("a value goes on after its closing quote or brace")),
                Some(Fault::NoEquals) => return Err(self.malformed("a part of it has no `=`")),
                Some(Fault::NoName) => return Err(self.malformed("a value has no name")),
            }
            let Some(key) = self.service_type.keyword(attribute.keyword) else {
                tracing::warn!(
                    event = "connection.unknown_keyword",
                    linked_service = self.name,
                    keyword = attribute.keyword,
                    "a keyword of a connection string is not known and was passed over"
                );
                continue;
            };
            match key.meaning {
                // ADO.NET counts the last of equal keywords, ODBC the first; nobody writes both on purpose.
                Meaning::Sets(field) => settings.set(field, attribute.value),
                Meaning::Ignored(_) => {}
                Meaning::Refused(_) if is_off(&attribute.value) => {}
                Meaning::Refused(reason) => return Err(self.refused(attribute.keyword, reason)),
            }
        }
        Ok(())
    }

    fn read_key(
        &self,
        key: &Key,
        settings: &mut Settings,
        wanted: impl Fn(Field) -> bool,
    ) -> Result<(), ConnectionError> {
        for name in key.names {
            let Some(value) = self.member(name) else { continue };
            let is_on = !scalar_text(value).is_some_and(|text| is_off(&text));
            match key.meaning {
                Meaning::Sets(field) if !wanted(field) => {}
                // A reference to a credential of the factory; what it holds is not handed over.
                Meaning::Sets(Field::Credential) => settings.set(Field::Credential, "present"),
                // An empty one takes nothing back from the connection string.
                Meaning::Sets(field) => {
                    let text = self.text(name)?.filter(|text| !text.is_empty());
                    text.into_iter().for_each(|text| settings.set(field, text));
                }
                Meaning::Refused(reason) if is_on => return Err(self.refused(name, reason)),
                Meaning::Refused(_) | Meaning::Ignored(_) => {}
            }
        }
        Ok(())
    }

    fn read_secrets(&self, settings: &mut Settings, fields: &[Field]) -> Result<(), ConnectionError> {
        for key in self.service_type.all_keys() {
            self.read_key(key, settings, |field| is_secret(field) && fields.contains(&field))?;
        }
        Ok(())
    }

    /// How to sign in to SQL Server; puts user and password where the driver looks for them.
    fn sign_in(&self, settings: &mut Settings, client_id: Option<&str>) -> Result<(), ConnectionError> {
        let given = settings.get(Field::AuthenticationType).map(str::to_owned);
        let in_string = settings.get(Field::Authentication).map(str::to_owned);
        let found = given.or(in_string);
        let integrated = settings.get(Field::IntegratedSecurity).and_then(truth) == Some(true);
        let sign_in = match found.as_deref().map(normalized).as_deref() {
            None if settings.get(Field::AccessToken).is_some() => SignIn::AccessToken,
            Some(DEFAULT_IDENTITY) => {
                settings.sign_in_by_token(TokenOf::Environment);
                settings.sign_in
            }
            Some("sql" | "sqlpassword" | "basic") => SignIn::Password,
            Some("windows") if settings.get(Field::User).is_some() => SignIn::WindowsPassword,
            Some("windows" | "activedirectoryintegrated") => SignIn::Kerberos,
            Some("serviceprincipal" | "activedirectoryserviceprincipal") if self.service_type.in_azure => {
                SignIn::ServicePrincipal
            }
            Some(
                "systemassignedmanagedidentity"
                | "userassignedmanagedidentity"
                | "managedidentity"
                | "managedserviceidentity"
                | "activedirectorymanagedidentity"
                | "activedirectorymsi",
            ) => SignIn::ManagedIdentity,
            Some("activedirectorypassword") => SignIn::EntraPassword,
            Some(_) => return Err(self.unknown_authentication(found.unwrap_or_default(), SQL_SERVER_AUTHENTICATION)),
            None if integrated => SignIn::Kerberos,
            None if settings.get(Field::ServicePrincipalId).is_some() => SignIn::ServicePrincipal,
            None if settings.get(Field::User).is_some() => SignIn::Password,
            // The older version of the connector means the factory's own identity by no credentials at all.
            None if self.service_type.in_azure || settings.get(Field::Credential).is_some() => SignIn::ManagedIdentity,
            None => SignIn::Password,
        };
        settings.sign_in = sign_in;
        match sign_in {
            SignIn::Password | SignIn::WindowsPassword | SignIn::EntraPassword => {
                self.read_secrets(settings, &[Field::Password])?;
                self.refuse_kept_back(settings)?;
                for (field, key) in [(Field::User, "userName"), (Field::Password, "password")] {
                    if settings.get(field).is_none() {
                        return Err(self.missing(key));
                    }
                }
            }
            SignIn::ServicePrincipal => self.service_principal(settings)?,
            SignIn::AccessToken => {}
            SignIn::ManagedIdentity => {
                settings.remove(Field::Password);
                if let (None, Some(client_id)) = (settings.get(Field::User), client_id) {
                    settings.set(Field::User, client_id);
                }
            }
            SignIn::Kerberos => {
                settings.remove(Field::User);
                settings.remove(Field::Password);
            }
        }
        Ok(())
    }

    fn service_principal(&self, settings: &mut Settings) -> Result<(), ConnectionError> {
        let (id, secret) = self.principal(settings)?;
        // In a connection string of ADO.NET they are user and password.
        let id = id.or_else(|| settings.get(Field::User).map(str::to_owned));
        let id = id.ok_or_else(|| self.missing("servicePrincipalId"))?;
        let secret = match secret {
            Some(secret) => Some(secret),
            None => {
                self.read_secrets(settings, &[Field::Password])?;
                settings.get(Field::Password).map(str::to_owned)
            }
        };
        let secret = secret.ok_or_else(|| self.no_principal_key())?;
        settings.set(Field::User, id);
        settings.set(Field::Password, secret);
        Ok(())
    }

    /// The application id and the secret of a service principal, as far as the service's own keys have them.
    fn principal(&self, settings: &mut Settings) -> Result<(Option<String>, Option<String>), ConnectionError> {
        let kind = settings.get(Field::ServicePrincipalCredentialType).map(normalized);
        if kind.as_deref() == Some("serviceprincipalcert") {
            return Err(self.refused(
                "servicePrincipalCredentialType",
                "drivers take no certificate of a service principal",
            ));
        }
        self.read_secrets(
            settings,
            &[Field::ServicePrincipalKey, Field::ServicePrincipalCredential],
        )?;
        let secret = settings
            .get(Field::ServicePrincipalKey)
            .or_else(|| settings.get(Field::ServicePrincipalCredential));
        Ok((
            settings.get(Field::ServicePrincipalId).map(str::to_owned),
            secret.map(str::to_owned),
        ))
    }

    fn no_principal_key(&self) -> ConnectionError {
        match self.member("encryptedCredential") {
            Some(_) => self.kept_back(true),
            None => self.missing("servicePrincipalKey"),
        }
    }

    /// Whose token of Entra is the password of a database in Azure that is not SQL Server; None: the password is one.
    fn entra(&self, settings: &mut Settings, client_id: Option<&str>) -> Result<Option<TokenOf>, ConnectionError> {
        let found = settings.get(Field::AuthenticationType).map(str::to_owned);
        let is_principal = match found.as_deref().map(normalized).as_deref() {
            None if settings.get(Field::ServicePrincipalId).is_some() => true,
            None if settings.get(Field::Credential).is_some() => false,
            None | Some("basic") => return Ok(None),
            Some("serviceprincipal") if self.service_type.in_azure => true,
            Some("systemassignedmanagedidentity" | "userassignedmanagedidentity") if self.service_type.in_azure => {
                false
            }
            Some(_) => {
                let supported = match self.service_type.in_azure {
                    true => AZURE_POSTGRESQL_AUTHENTICATION,
                    false => &AZURE_POSTGRESQL_AUTHENTICATION[..1],
                };
                return Err(self.unknown_authentication(found.unwrap_or_default(), supported));
            }
        };
        if !is_principal {
            let client_id = client_id.map(str::to_owned);
            return Ok(Some(TokenOf::Identity(Identity::Managed { client_id })));
        }
        let (id, secret) = self.principal(settings)?;
        let tenant_id = settings.get(Field::Tenant).ok_or_else(|| self.missing("tenant"))?;
        Ok(Some(TokenOf::Identity(Identity::ServicePrincipal {
            tenant_id: tenant_id.to_owned(),
            client_id: id.ok_or_else(|| self.missing("servicePrincipalId"))?,
            client_secret: secret.ok_or_else(|| self.no_principal_key())?,
        })))
    }

    /// The string of type `Odbc`: `userName`, `password` and `credential` are appended, in place of a user or password in
    /// the string itself. With `authenticationType` `Anonymous` it is left as it is.
    fn odbc(&self) -> Result<ConnectionString, ConnectionError> {
        let text = match self.text("connectionString")? {
            Some(text) => text,
            None if self.member("encryptedCredential").is_some() => return Err(self.kept_back(true)),
            None => return Err(self.missing("connectionString")),
        };
        let mut string = ConnectionString::parse(&text).map_err(|malformed| self.malformed(&malformed.0))?;
        match self.text("authenticationType")? {
            None => {}
            Some(found) if found.eq_ignore_ascii_case("Basic") => {}
            Some(found) if found.eq_ignore_ascii_case("Anonymous") => return Ok(string),
            Some(found) => return Err(self.unknown_authentication(found, &["Basic", "Anonymous"])),
        }
        let user = self.text("userName")?;
        let password = self.text("password")?;
        let credential = self.text("credential")?;
        let has_password = ODBC_PASSWORDS.iter().any(|key| string.get(key).is_some());
        if password.is_none() && credential.is_none() && !has_password {
            self.refuse_missing_password(user.is_some())?;
        }
        // Of equal keywords the first one counts, so what the service's own keys replace has to go.
        if let Some(user) = user {
            ODBC_USERS.iter().for_each(|key| string.remove(key));
            string.push("UID", &user);
        }
        if let Some(password) = password {
            ODBC_PASSWORDS.iter().for_each(|key| string.remove(key));
            string.push_password("PWD", &password);
        }
        if let Some(credential) = credential {
            let credential = ConnectionString::parse(&credential);
            string.append(credential.map_err(|_| self.malformed("`credential` is no list of `Key=value`"))?);
        }
        Ok(string)
    }

    fn refuse_kept_back(&self, settings: &Settings) -> Result<(), ConnectionError> {
        match settings.get(Field::Password) {
            Some(_) => Ok(()),
            None => self.refuse_missing_password(settings.get(Field::User).is_some()),
        }
    }

    /// Without a user there is nothing that a password could have been kept back for (a file, a trusted host).
    fn refuse_missing_password(&self, has_user: bool) -> Result<(), ConnectionError> {
        let encrypted = self.member("encryptedCredential").is_some();
        let via_runtime = self
            .properties
            .and_then(|properties| present(properties, "connectVia"))
            .is_some();
        match encrypted || (via_runtime && has_user) {
            true => Err(self.kept_back(encrypted)),
            false => Ok(()),
        }
    }

    fn member(&self, key: &str) -> Option<&Value> {
        self.type_properties.and_then(|object| present(object, key))
    }

    /// The text of a key of `typeProperties`: a plain value, a SecureString, or a parameter; `None` if absent or null.
    fn text(&self, key: &str) -> Result<Option<String>, ConnectionError> {
        let Some(value) = self.member(key) else { return Ok(None) };
        let what = || format!("`typeProperties.{key}` of linked service `{}`", self.name);
        let text = self.parameters.text(value, &what)?;
        let text = text.ok_or_else(|| ConnectionError::WrongKind {
            name: self.name.clone(),
            key: format!("typeProperties.{key}"),
            found: kind_of(value),
            expected: "a string or a SecureString",
        })?;
        if text.contains('\0') {
            return Err(crate::activity::ActivityError::Nul { what: what() }.into());
        }
        Ok(Some(text))
    }

    fn missing(&self, key: &str) -> ConnectionError {
        ConnectionError::MissingKey {
            name: self.name.clone(),
            key: format!("typeProperties.{key}"),
        }
    }

    fn kept_back(&self, encrypted: bool) -> ConnectionError {
        ConnectionError::PasswordKeptBack {
            name: self.name.clone(),
            encrypted,
        }
    }

    fn refused(&self, key: &str, reason: &'static str) -> ConnectionError {
        ConnectionError::RefusedKey {
            name: self.name.clone(),
            key: key.to_owned(),
            reason,
        }
    }

    fn malformed(&self, problem: &str) -> ConnectionError {
        ConnectionError::Malformed {
            origin: Origin::LinkedService(self.name.clone()),
            problem: format!("malformed `typeProperties.connectionString`: {problem}"),
        }
    }

    fn unknown_authentication(&self, found: String, supported: &[&str]) -> ConnectionError {
        ConnectionError::UnknownAuthentication {
            name: self.name.clone(),
            type_name: self.service_type.name.to_owned(),
            found,
            supported: supported.iter().map(|&each| each.to_owned()).collect(),
        }
    }
}

/// `authenticationType` of `AzurePostgreSql`; a server elsewhere knows the first alone.
pub(super) const AZURE_POSTGRESQL_AUTHENTICATION: &[&str] = &[
    "Basic",
    "ServicePrincipal",
    "SystemAssignedManagedIdentity",
    "UserAssignedManagedIdentity",
];

/// `authenticationType` of the SQL Server family.
pub(super) const SQL_SERVER_AUTHENTICATION: &[&str] = &[
    "SQL",
    "Windows",
    "ServicePrincipal",
    "SystemAssignedManagedIdentity",
    "UserAssignedManagedIdentity",
];

const ODBC_USERS: [&str; 4] = ["UID", "User", "Username", "User ID"];
const ODBC_PASSWORDS: [&str; 2] = ["PWD", "Password"];

fn is_secret(field: Field) -> bool {
    matches!(
        field,
        Field::Password | Field::ClientKeyPassword | Field::ServicePrincipalKey | Field::ServicePrincipalCredential
    )
}

/// Whether the value switches off what it is about.
pub(super) fn is_off(value: &str) -> bool {
    value.trim().is_empty() || normalized(value) == "disabled" || truth(value) == Some(false)
}

pub(super) fn present<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a Value> {
    member(object, key).filter(|value| !value.is_null())
}
