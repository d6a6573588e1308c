//! Secrets in Key Vault (Azure/azure-rest-api-specs, `specification/keyvault/`, Get Secret).

use std::time::{Duration, Instant};

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use ureq::http::Uri;

use super::error::AzureError;
use super::http::{Outcome, Patience, Service, Tried, exchange, service_agent};
use super::identity::cloud_of;

const API_VERSION: &str = "7.4";

/// All that a secret's name is made of stays as it is.
const NAME: AsciiSet = NON_ALPHANUMERIC.remove(b'-');

const CALL_LIMIT: Duration = Duration::from_secs(30);

/// Who only looks waits no longer than this.
const LOOK_LIMIT: Duration = Duration::from_secs(10);

/// A vault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vault {
    /// Without a slash at the end.
    url: String,
    audience: &'static str,
}

impl Vault {
    /// The vault at `base_url`, as its linked service has it, with or without a slash at the end.
    ///
    /// # Errors
    /// No URL of a host; one without https, unless it is this machine itself.
    pub fn new(base_url: &str) -> Result<Vault, AzureError> {
        let url = base_url.trim().trim_end_matches('/').to_owned();
        let bad = |problem: String| AzureError::BadAddress {
            what: format!("Key Vault `{url}`"),
            problem,
        };
        let host = check_transport(&url).map_err(bad)?;
        Ok(Vault {
            audience: cloud_of(&host).vault_audience,
            url,
        })
    }

    /// What a token for it has to be for.
    pub fn audience(&self) -> &'static str {
        self.audience
    }

    /// A name for the secret that no other one has.
    pub fn id_of(&self, name: &str, version: Option<&str>) -> String {
        let mut id = format!("{}/secrets/{}", self.url, utf8_percent_encode(name, &NAME));
        if let Some(version) = version.filter(|version| !version.is_empty()) {
            id = format!("{id}/{}", utf8_percent_encode(version, &NAME));
        }
        id
    }

    /// Looks whether it answers at all, in the way that a request for a secret would go: one try, without a token, which every
    /// vault refuses.
    ///
    /// # Errors
    /// It does not.
    pub fn look(&self) -> Result<(), AzureError> {
        let begun = Instant::now();
        let request = service_agent(LOOK_LIMIT)
            .get(&self.url)
            .query("api-version", API_VERSION);
        request.call().map(drop).map_err(|error| {
            let tried = Tried {
                attempts: 1,
                waited: begun.elapsed(),
            };
            tried.unreachable(&format!("asking Key Vault `{}`", self.url), error.to_string())
        })
    }

    /// The value of a secret; of its newest version if none is given. `identity` describes whose `token` it is.
    ///
    /// Waits for the network, with repetitions, as long as `patience` says.
    ///
    /// # Errors
    /// It is forbidden, or not there; the vault does not answer.
    pub fn secret(
        &self,
        (name, version): (&str, Option<&str>),
        token: &str,
        identity: &str,
        patience: Patience,
    ) -> Result<String, AzureError> {
        let version_text = version.map_or(String::new(), |version| format!(", version `{version}`"));
        let what = format!("secret `{name}`{version_text} of Key Vault `{}`", self.url);
        let agent = service_agent(CALL_LIMIT);
        let url = self.id_of(name, version);
        let request = || {
            let request = agent.get(&url).query("api-version", API_VERSION);
            request.header("Authorization", format!("Bearer {token}")).call()
        };
        let reading = format!("reading {what}");
        match exchange(Service::Other, patience, &reading, request)? {
            Outcome::Good(answer) => match answer["value"].as_str() {
                Some(value) => Ok(value.to_owned()),
                None => Err(AzureError::Malformed {
                    what: reading,
                    problem: "has no `value`".to_owned(),
                }),
            },
            Outcome::Unreachable(tried, cause) => Err(tried.unreachable(&reading, cause)),
            Outcome::Refused(tried, refusal) => {
                let identity = identity.to_owned();
                Err(match refusal.status {
                    401 => AzureError::TokenRefused {
                        what,
                        identity,
                        refusal,
                    },
                    403 => AzureError::Forbidden {
                        what,
                        identity,
                        refusal,
                    },
                    404 => AzureError::NotFound { what, refusal },
                    _ => tried.failed(&reading, refusal),
                })
            }
        }
    }
}

/// The host of `url`, if secrets can be sent there: by https, or to this machine itself.
pub(super) fn check_transport(url: &str) -> Result<String, String> {
    let uri: Uri = url.parse().map_err(|_| "is no URL".to_owned())?;
    let host = uri.host().unwrap_or_default().to_ascii_lowercase();
    let is_loopback = matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]");
    match uri.scheme_str() {
        _ if host.is_empty() => Err("names no host".to_owned()),
        Some("https") => Ok(host),
        Some("http") if is_loopback => Ok(host),
        _ => Err("must be an https URL".to_owned()),
    }
}
