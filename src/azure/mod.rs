//! What dray asks of Azure itself: tokens of the node's managed identity or of a service principal, secrets in Key Vault,
//! and the events that the platform has scheduled for this node.
//!
//! Owns the requests, when they are repeated, and what a refusal means. It must not know what a secret or a token is
//! wanted for, where a reference to one was found, or who remembers it.
//!
//! Microsoft's own crates (azure_identity, azure_security_keyvault_secrets) bring tokio, reqwest and hyper with them: more
//! than all of dray has room for. What is used is ureq with rustls, ring and the certificates of the node: 2.2 MB of a
//! release build with an optimized ureq and rustls. Certificates of its own (webpki-roots) would make no difference in
//! size, and shut out whoever has to go through a proxy with a certificate authority of the company.
//!
//! Where metadata is all that is asked for, nothing of TLS is linked: [`scheduled_events`] is the executable's only part.

mod error;
mod http;
mod identity;
mod metadata;
pub mod scheduled_events;
#[cfg(test)]
mod tests;
mod vault;

pub use error::{AzureError, Refusal};
pub use http::Patience;
pub use identity::{Identity, Token, look_for_managed_identity, postgresql_audience, sql_audience};
pub use vault::Vault;
