//! Who this run is to Azure, and tokens for that identity.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::Value;

use super::error::AzureError;
use super::http::{Outcome, Patience, Service, exchange, service_agent};
use super::metadata::Metadata;
use super::vault::Vault;

/// The audience of tokens for Azure SQL Database, Managed Instance and Synapse, in the cloud that the server's host is in.
/// The slash at its end is a part of it (azure-docs, `how-to-use-vm-token.md`).
pub fn sql_audience(host: &str) -> String {
    format!("https://{}/", cloud_of(host).sql_suffix)
}

/// The audience of tokens for Azure Database for PostgreSQL, in the cloud that the server's host is in (azure-docs,
/// `postgresql/flexible-server/how-to-connect-with-managed-identity.md`).
pub fn postgresql_audience(host: &str) -> String {
    format!("https://ossrdbms-aad.{}", cloud_of(host).sql_suffix)
}

const CALL_LIMIT: Duration = Duration::from_secs(30);

/// Who only looks waits no longer than this.
const LOOK_LIMIT: Duration = Duration::from_secs(5);

/// A token is not used in its last five minutes, as Microsoft's libraries have it.
const SPARE_SECONDS: u64 = 300;

/// A token, and until when it can be used.
#[derive(Clone)]
pub struct Token {
    /// What goes behind `Bearer`; a secret.
    pub text: String,
    /// In seconds of Unix time.
    pub usable_until: u64,
}

/// An identity in Entra. May hold a secret, and so has no `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub enum Identity {
    /// One that the node was given.
    Managed {
        /// Which, where it has several.
        client_id: Option<String>,
    },
    /// An application that signs in with a secret.
    ServicePrincipal {
        /// The directory.
        tenant_id: String,
        /// The application.
        client_id: String,
        /// Its secret.
        client_secret: String,
    },
}

impl Identity {
    /// A service principal if AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET are set; else a managed identity, the
    /// one of AZURE_CLIENT_ID if that is. `get` gives a variable.
    pub fn from_environment(get: impl Fn(&str) -> Option<String>) -> Identity {
        let get = |name: &str| get(name).filter(|value| !value.is_empty());
        match (
            get("AZURE_TENANT_ID"),
            get("AZURE_CLIENT_ID"),
            get("AZURE_CLIENT_SECRET"),
        ) {
            (Some(tenant_id), Some(client_id), Some(client_secret)) => Identity::ServicePrincipal {
                tenant_id,
                client_id,
                client_secret,
            },
            (_, client_id, _) => Identity::Managed { client_id },
        }
    }

    /// For a sentence: "managed identity `…`".
    pub fn describe(&self) -> String {
        match self {
            Identity::Managed { client_id: None } => "the managed identity of this node".to_owned(),
            Identity::Managed { client_id: Some(id) } => format!("managed identity `{id}`"),
            Identity::ServicePrincipal { client_id, .. } => format!("service principal `{client_id}`"),
        }
    }

    /// Asks for a token for `audience`, such as `https://vault.azure.net`. Not remembered here: whoever
    /// asks twice gets two.
    ///
    /// Waits for the network, with repetitions, as long as `patience` says.
    ///
    /// # Errors
    /// No identity, several, a sign-in that is refused, a service that does not answer.
    pub fn token(
        &self,
        audience: &str,
        get: impl Fn(&str) -> Option<String>,
        patience: Patience,
    ) -> Result<Token, AzureError> {
        match self {
            Identity::Managed { client_id } => managed(audience, client_id.as_deref(), get, patience),
            Identity::ServicePrincipal {
                tenant_id,
                client_id,
                client_secret,
            } => {
                let authority = authority(audience, get)?;
                sign_in(audience, &authority, [tenant_id, client_id, client_secret], patience)
            }
        }
    }
}

/// Looks whether this node has a managed identity, the one of `client_id` if that is given: asks the metadata service once
/// for a token for `vault`, else for Key Vault in the public cloud, and throws it away. Gives the identity's client id, if
/// the service tells it.
///
/// # Errors
/// Those of [`Identity::token`].
pub fn look_for_managed_identity(
    client_id: Option<&str>,
    vault: Option<&Vault>,
    get: impl Fn(&str) -> Option<String>,
) -> Result<Option<String>, AzureError> {
    let metadata = Metadata::new(get, LOOK_LIMIT);
    let audience = vault.map_or(CLOUDS[0].vault_audience, Vault::audience);
    let (what, answer) = ask_metadata(&metadata, audience, client_id, Patience::NONE)?;
    token(&answer, &what)?;
    Ok(answer["client_id"].as_str().map(str::to_owned))
}

fn managed(
    audience: &str,
    client_id: Option<&str>,
    get: impl Fn(&str) -> Option<String>,
    patience: Patience,
) -> Result<Token, AzureError> {
    let metadata = Metadata::new(get, CALL_LIMIT);
    let (what, answer) = ask_metadata(&metadata, audience, client_id, patience)?;
    token(&answer, &what)
}

/// The metadata service's answer, and what it was asked.
fn ask_metadata(
    metadata: &Metadata,
    audience: &str,
    client_id: Option<&str>,
    patience: Patience,
) -> Result<(String, Value), AzureError> {
    let what = format!("asking the metadata service for a token for `{audience}`");
    let mut query = vec![("api-version", "2018-02-01"), ("resource", audience)];
    query.extend(client_id.map(|id| ("client_id", id)));
    let ask = || metadata.get("/metadata/identity/oauth2/token", &query);
    match exchange(Service::Metadata, patience, &what, ask)? {
        Outcome::Good(answer) => Ok((what, answer)),
        Outcome::Unreachable(_, cause) => Err(AzureError::NoMetadataService {
            address: metadata.address.clone(),
            cause,
        }),
        Outcome::Refused(tried, refusal) => {
            let words = refusal.words.to_ascii_lowercase();
            Err(match refusal.status {
                400 if words.contains("multiple") => AzureError::SeveralIdentities { refusal },
                // "Identity not found", with and without a client id.
                400 if words.contains("identity not found") || words.contains("no managed identity") => {
                    AzureError::NoIdentity {
                        client_id: client_id.map(str::to_owned),
                        refusal,
                    }
                }
                _ => tried.failed(&what, refusal),
            })
        }
    }
}

/// Where a service principal signs in: AZURE_AUTHORITY_HOST, else the one of the cloud that `audience` belongs to.
fn authority(audience: &str, get: impl Fn(&str) -> Option<String>) -> Result<String, AzureError> {
    let given = get("AZURE_AUTHORITY_HOST").filter(|host| !host.is_empty());
    let host = match given {
        Some(host) if host.contains("://") => host,
        Some(host) => format!("https://{host}"),
        None => cloud_of(audience).authority.to_owned(),
    };
    let host = host.trim_end_matches('/').to_owned();
    super::vault::check_transport(&host).map_err(|problem| AzureError::BadAddress {
        what: format!("AZURE_AUTHORITY_HOST `{host}`"),
        problem,
    })?;
    Ok(host)
}

fn sign_in(
    audience: &str,
    authority: &str,
    [tenant_id, client_id, client_secret]: [&str; 3],
    patience: Patience,
) -> Result<Token, AzureError> {
    let agent = service_agent(CALL_LIMIT);
    let what = format!("signing in at `{authority}` for `{audience}`");
    let scope = format!("{}/.default", audience.trim_end_matches('/'));
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", client_id),
        ("client_secret", client_secret),
        ("scope", &scope),
    ];
    let url = format!("{authority}/{tenant_id}/oauth2/v2.0/token");
    match exchange(Service::Other, patience, &what, || agent.post(&url).send_form(form))? {
        Outcome::Good(answer) => token(&answer, &what),
        Outcome::Unreachable(tried, cause) => Err(tried.unreachable(&what, cause)),
        Outcome::Refused(_, refusal) if matches!(refusal.status, 400..=403) => Err(AzureError::SignInRefused {
            client_id: client_id.to_owned(),
            authority: authority.to_owned(),
            refusal,
        }),
        Outcome::Refused(tried, refusal) => Err(tried.failed(&what, refusal)),
    }
}

/// The metadata service writes its numbers as strings, and has `expires_on`; Entra has `expires_in` alone.
fn token(answer: &Value, what: &str) -> Result<Token, AzureError> {
    let malformed = |problem: &str| AzureError::Malformed {
        what: what.to_owned(),
        problem: problem.to_owned(),
    };
    let number = |key: &str| match &answer[key] {
        Value::String(text) => text.parse::<u64>().ok(),
        Value::Number(number) => number.as_u64(),
        _ => None,
    };
    let text = answer["access_token"].as_str().filter(|text| !text.is_empty());
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let ends = number("expires_on").or_else(|| Some(now + number("expires_in")?));
    Ok(Token {
        text: text.ok_or_else(|| malformed("has no `access_token`"))?.to_owned(),
        usable_until: ends.unwrap_or(now).saturating_sub(SPARE_SECONDS),
    })
}

/// One of Azure's clouds, as far as it matters here.
pub(super) struct Cloud {
    /// What vaults' hosts end in.
    pub vault_suffix: &'static str,
    /// The audience of tokens for vaults.
    pub vault_audience: &'static str,
    /// Where its service principals sign in.
    authority: &'static str,
    /// What servers of databases end in, and the audiences of tokens for them.
    sql_suffix: &'static str,
}

/// The public cloud is the first. From `msrestazure.azure_cloud` and azure-docs, `government/compare-azure-government-global-azure.md`
/// and `china/concepts-service-availability`.
pub(super) const CLOUDS: [Cloud; 3] = [
    Cloud {
        vault_suffix: "vault.azure.net",
        vault_audience: "https://vault.azure.net",
        authority: "https://login.microsoftonline.com",
        sql_suffix: "database.windows.net",
    },
    Cloud {
        vault_suffix: "vault.azure.cn",
        vault_audience: "https://vault.azure.cn",
        authority: "https://login.chinacloudapi.cn",
        sql_suffix: "database.chinacloudapi.cn",
    },
    Cloud {
        vault_suffix: "vault.usgovcloudapi.net",
        vault_audience: "https://vault.usgovcloudapi.net",
        authority: "https://login.microsoftonline.us",
        sql_suffix: "database.usgovcloudapi.net",
    },
];

/// The cloud of the host of a vault or of a database, or of an audience; the public one for hosts of no cloud.
pub(super) fn cloud_of(host: &str) -> &'static Cloud {
    let host = host.trim_end_matches('/').to_ascii_lowercase();
    let ends = |suffix: &str| {
        host.strip_suffix(suffix)
            .is_some_and(|rest| rest.is_empty() || rest.ends_with(['.', '/']))
    };
    let mut clouds = CLOUDS.iter();
    clouds
        .find(|cloud| ends(cloud.vault_suffix) || ends(cloud.sql_suffix))
        .unwrap_or(&CLOUDS[0])
}
