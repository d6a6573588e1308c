//! What can go wrong between here and Azure.

use std::time::Duration;

use crate::failure::{ExitCode, Failing};

/// What a service said when it did not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status.
    pub status: u16,
    /// Its own code and words, cut after 300 characters; empty if it had none.
    pub words: String,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.words.is_empty() {
            true => write!(f, "HTTP {}", self.status),
            false => write!(f, "HTTP {}: {}", self.status, self.words),
        }
    }
}

/// An error of this module. No text of it holds a secret or a token.
#[derive(Debug, thiserror::Error)]
pub enum AzureError {
    /// The metadata service says that the node has no identity, or that it has not the one that was named.
    #[error(
        "no managed identity: {} ({refusal})",
        client_id.as_ref().map_or("this node has none".to_owned(), |id| format!("this node has none with client id `{id}`"))
    )]
    NoIdentity {
        /// AZURE_CLIENT_ID, if it is set.
        client_id: Option<String>,
        /// What the metadata service said.
        refusal: Refusal,
    },
    /// There is no metadata service: not a machine in Azure, or somebody has closed the way to it.
    #[error("no managed identity: the metadata service at `{address}` does not answer ({cause})")]
    NoMetadataService {
        /// Where it should be.
        address: String,
        /// What was seen instead.
        cause: String,
    },
    /// The node has more than one identity, and none was named.
    #[error("this node has several managed identities, and none was chosen ({refusal})")]
    SeveralIdentities {
        /// What the metadata service said.
        refusal: Refusal,
    },
    /// The sign-in of the service principal was refused.
    #[error("the service principal of AZURE_CLIENT_ID `{client_id}` cannot sign in at `{authority}`: {refusal}")]
    SignInRefused {
        /// The application's id.
        client_id: String,
        /// The sign-in service.
        authority: String,
        /// What it said.
        refusal: Refusal,
    },
    /// The identity may not read the secret.
    #[error("{what} is forbidden to {identity}: {refusal}")]
    Forbidden {
        /// The secret and its vault.
        what: String,
        /// Who asked.
        identity: String,
        /// What Key Vault said.
        refusal: Refusal,
    },
    /// The vault does not know who asks: a token of another tenant, or for another audience.
    #[error("{what}: Key Vault does not accept the token of {identity}: {refusal}")]
    TokenRefused {
        /// The secret and its vault.
        what: String,
        /// Who asked.
        identity: String,
        /// What Key Vault said.
        refusal: Refusal,
    },
    /// No such secret, or no such version of it.
    #[error("{what} is not there: {refusal}")]
    NotFound {
        /// The secret and its vault.
        what: String,
        /// What Key Vault said.
        refusal: Refusal,
    },
    /// The service answered with an error, time and again where that may pass.
    #[error("{what} failed after {} in {}: {refusal}", tries(*attempts), seconds(*waited))]
    Failed {
        /// What was asked for.
        what: String,
        /// How often it was asked.
        attempts: u32,
        /// How long that took.
        waited: Duration,
        /// What the service said last.
        refusal: Refusal,
    },
    /// The service cannot be reached.
    #[error("{what} failed after {} in {}: {cause}", tries(*attempts), seconds(*waited))]
    Unreachable {
        /// What was asked for.
        what: String,
        /// How often it was tried.
        attempts: u32,
        /// How long that took.
        waited: Duration,
        /// What happened last.
        cause: String,
    },
    /// An answer that is not what the documentation says.
    #[error("{what}: the answer {problem}")]
    Malformed {
        /// What was asked for.
        what: String,
        /// What is wrong with it, without its text.
        problem: String,
    },
    /// A name or an address that cannot be asked for.
    #[error("{what}: {problem}")]
    BadAddress {
        /// What was asked for.
        what: String,
        /// What is wrong.
        problem: String,
    },
}

fn tries(count: u32) -> String {
    match count {
        1 => "one try".to_owned(),
        count => format!("{count} tries"),
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

impl Failing for AzureError {
    fn exit_code(&self) -> ExitCode {
        ExitCode::Secret
    }

    fn code(&self) -> &'static str {
        match self {
            AzureError::NoIdentity { .. } | AzureError::NoMetadataService { .. } => "azure.no_identity",
            AzureError::SeveralIdentities { .. } => "azure.several_identities",
            AzureError::SignInRefused { .. } => "azure.sign_in_refused",
            AzureError::Forbidden { .. } => "azure.forbidden",
            AzureError::TokenRefused { .. } => "azure.token_refused",
            AzureError::NotFound { .. } => "azure.not_found",
            AzureError::Failed { .. } => "azure.failed",
            AzureError::Unreachable { .. } => "azure.unreachable",
            AzureError::Malformed { .. } => "azure.malformed_answer",
            AzureError::BadAddress { .. } => "azure.bad_address",
        }
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            AzureError::NoIdentity { client_id: None, .. } => {
                "assign a user-assigned managed identity to the Batch pool (nodes that run already do not get it), or set \
                 AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET"
            }
            AzureError::NoIdentity { .. } => {
                "set AZURE_CLIENT_ID to the client id of an identity that the Batch pool has, or leave it out if it has one"
            }
            AzureError::NoMetadataService { .. } => {
                "outside of Azure, set AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET of a service principal"
            }
            AzureError::SeveralIdentities { .. } => "set AZURE_CLIENT_ID to the client id of the one to use",
            AzureError::Forbidden { .. } => {
                "give the identity the role `Key Vault Secrets User` on the vault, or the secret permission `get` in its \
                 access policy; let the vault's firewall admit the pool's network"
            }
            _ => return None,
        };
        Some(hint.to_owned())
    }
}
