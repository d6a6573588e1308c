//! One request, and its repetition: as Microsoft asks for of clients of the metadata service (azure-docs,
//! `how-to-use-vm-token.md`, "Retry guidance") and of Key Vault (`overview-throttling.md`).

use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::{Agent, Body, http::Response};

use super::error::{AzureError, Refusal};

/// How long a metadata service that is being updated may take (the documentation's own number).
const GONE_LIMIT: Duration = Duration::from_secs(70);

/// The first wait; each is twice the one before.
const FIRST_WAIT: Duration = Duration::from_millis(500);

const LONGEST_WAIT: Duration = Duration::from_secs(16);

/// A token or a secret is at most 25 KB.
const BODY_LIMIT_BYTES: u64 = 1024 * 1024;

const WORDS_LIMIT: usize = 300;

/// How long requests are repeated that fail in a way that may pass.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For 429, 5xx, another service that cannot be reached, and 404 of the metadata service.
    pub limit: Duration,
    /// For 410 of the metadata service.
    pub gone_limit: Duration,
    /// For a metadata service that does not answer at all: on a machine that is not in Azure there is none.
    pub unanswered_limit: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            limit: Duration::from_secs(30),
            gone_limit: GONE_LIMIT,
            unanswered_limit: Duration::from_secs(8),
        }
    }
}

impl Patience {
    /// One try.
    pub const NONE: Patience = Patience {
        limit: Duration::ZERO,
        gone_limit: Duration::ZERO,
        unanswered_limit: Duration::ZERO,
    };

    /// The default, or as many seconds as the variable `DRAY_AZURE_PATIENCE` says, for all three.
    pub fn from_environment(get: impl Fn(&str) -> Option<String>) -> Patience {
        let seconds = get("DRAY_AZURE_PATIENCE").and_then(|text| text.trim().parse::<f64>().ok());
        match seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()) {
            Some(limit) => Patience {
                limit,
                gone_limit: limit,
                unanswered_limit: limit,
            },
            None => Patience::default(),
        }
    }
}

/// Who is asked: the two differ in what may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Service {
    Metadata,
    Other,
}

/// What came of it after all repetitions.
pub(super) enum Outcome {
    /// The answer's document.
    Good(Value),
    /// The service's last word.
    Refused(Tried, Refusal),
    /// No answer.
    Unreachable(Tried, String),
}

/// How often and how long it was tried.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tried {
    pub attempts: u32,
    pub waited: Duration,
}

impl Tried {
    pub(super) fn failed(self, what: &str, refusal: Refusal) -> AzureError {
        AzureError::Failed {
            what: what.to_owned(),
            attempts: self.attempts,
            waited: self.waited,
            refusal,
        }
    }

    pub(super) fn unreachable(self, what: &str, cause: String) -> AzureError {
        AzureError::Unreachable {
            what: what.to_owned(),
            attempts: self.attempts,
            waited: self.waited,
            cause,
        }
    }
}

/// Sends `request` until it is answered in a way that does not pass.
pub(super) fn exchange(
    service: Service,
    patience: Patience,
    what: &str,
    request: impl Fn() -> Result<Response<Body>, ureq::Error>,
) -> Result<Outcome, AzureError> {
    let begun = Instant::now();
    let mut wait = FIRST_WAIT;
    let mut attempts = 0;
    loop {
        attempts += 1;
        let answer = request().and_then(Answer::read);
        let limit = match &answer {
            Ok(answer) => match (answer.status, service) {
                (200..300, _) => return answer.document(what).map(Outcome::Good),
                (410, Service::Metadata) => patience.gone_limit,
                (404, Service::Metadata) | (429 | 500..600, _) => patience.limit,
                _ => Duration::ZERO,
            },
            Err(_) if service == Service::Metadata => patience.unanswered_limit,
            Err(_) => patience.limit,
        };
        let asked_for = answer.as_ref().ok().and_then(|answer| answer.retry_after);
        let pause = asked_for.unwrap_or(wait);
        if begun.elapsed() + pause > limit {
            let tried = Tried {
                attempts,
                waited: begun.elapsed(),
            };
            return Ok(match answer {
                Ok(answer) => Outcome::Refused(tried, answer.refusal()),
                Err(error) => Outcome::Unreachable(tried, error.to_string()),
            });
        }
        tracing::debug!(
            event = "azure.retry",
            attempts,
            wait_ms = pause.as_millis() as u64,
            "{what} did not succeed, trying again"
        );
        std::thread::sleep(pause);
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

struct Answer {
    status: u16,
    retry_after: Option<Duration>,
    body: Vec<u8>,
}

impl Answer {
    fn read(mut response: Response<Body>) -> Result<Answer, ureq::Error> {
        let retry_after = response
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok());
        Ok(Answer {
            status: response.status().as_u16(),
            retry_after: retry_after
                .and_then(|text| text.trim().parse().ok())
                .map(Duration::from_secs),
            body: response
                .body_mut()
                .with_config()
                .limit(BODY_LIMIT_BYTES)
                .read_to_vec()?,
        })
    }

    fn document(&self, what: &str) -> Result<Value, AzureError> {
        serde_json::from_slice(&self.body).map_err(|error| AzureError::Malformed {
            what: what.to_owned(),
            problem: format!("is not JSON at line {}, column {}", error.line(), error.column()),
        })
    }

    /// The words of an error: Key Vault's `{"error": {"code", "message", "innererror": {"code"}}}`, or
    /// `{"error", "error_description"}` of OAuth 2.0 (RFC 6749, section 5.2).
    fn refusal(&self) -> Refusal {
        let document: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let (code, message) = match &document["error"] {
            Value::Object(error) => {
                let of = |key: &str| error.get(key).cloned().unwrap_or_default();
                let inner = text(&of("innererror")["code"]);
                let code = if inner.is_empty() { text(&of("code")) } else { inner };
                (code, text(&of("message")))
            }
            error => (text(error), text(&document["error_description"])),
        };
        // Entra's words go on with trace ids on lines of their own.
        let message = message.lines().next().unwrap_or_default();
        let words = [code.as_str(), message].into_iter().filter(|part| !part.is_empty());
        let words: String = words.collect::<Vec<_>>().join(": ").chars().take(WORDS_LIMIT).collect();
        Refusal {
            status: self.status,
            words,
        }
    }
}

/// An agent for services with certificates, through the proxy that the environment names (HTTPS_PROXY, NO_PROXY).
pub(super) fn service_agent(call_limit: Duration) -> Agent {
    use std::sync::Arc;

    use ureq::tls::{Certificate, RootCerts, TlsConfig};

    let found = rustls_native_certs::load_native_certs();
    for error in &found.errors {
        tracing::debug!(event = "azure.certificate_unreadable", "{error}");
    }
    let roots = found.certs.iter().map(|each| Certificate::from_der(each).to_owned());
    let tls = TlsConfig::builder()
        .root_certs(RootCerts::Specific(Arc::new(roots.collect())))
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .build();
    Agent::config_builder()
        .http_status_as_error(false)
        // A token must not follow a redirection.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(Duration::from_secs(10)))
        .timeout_global(Some(call_limit))
        .user_agent(concat!("dray/", env!("CARGO_PKG_VERSION")))
        .tls_config(tls)
        .build()
        .into()
}
