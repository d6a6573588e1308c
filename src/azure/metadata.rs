//! The instance metadata service (IMDS) of a virtual machine in Azure: a fixed address that never leaves the host
//! (azure-docs, `instance-metadata-service.md`). Without TLS, and never through a proxy.

use std::time::Duration;

use ureq::unversioned::resolver::DefaultResolver;
use ureq::unversioned::transport::TcpConnector;
use ureq::{Agent, Body, http::Response};

const ADDRESS: &str = "http://169.254.169.254";

/// The metadata service of this machine.
pub(super) struct Metadata {
    agent: Agent,
    /// Where it is, without a slash at the end.
    pub address: String,
}

impl Metadata {
    /// At its fixed address, or where AZURE_POD_IDENTITY_AUTHORITY_HOST says (the variable of Microsoft's own libraries).
    /// A call takes at most `call_limit`.
    pub(super) fn new(get: impl Fn(&str) -> Option<String>, call_limit: Duration) -> Metadata {
        let config = Agent::config_builder()
            .proxy(None)
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(Duration::from_secs(2).min(call_limit)))
            .timeout_global(Some(call_limit))
            .user_agent(concat!("dray/", env!("CARGO_PKG_VERSION")))
            .build();
        let given = get("AZURE_POD_IDENTITY_AUTHORITY_HOST").filter(|address| !address.is_empty());
        Metadata {
            agent: Agent::with_parts(config, TcpConnector::default(), DefaultResolver::default()),
            address: given.as_deref().unwrap_or(ADDRESS).trim_end_matches('/').to_owned(),
        }
    }

    /// Asks for `path` with `query`.
    pub(super) fn get(&self, path: &str, query: &[(&str, &str)]) -> Result<Response<Body>, ureq::Error> {
        let request = self
            .agent
            .get(format!("{}{path}", self.address))
            .header("Metadata", "true");
        request.query_pairs(query.iter().copied()).call()
    }
}
