//! From a reference in ADF's files to the secret itself: which vault its linked service names, and whose token opens it;
//! and tokens that open a database.
//!
//! ADF resolves no such reference for custom activities, and hands over of the vault no more than its linked service, and
//! that only if the activity references it (azure-docs, `store-credentials-in-key-vault.md`). A token is asked for once per
//! audience, a secret once, for all processes of a run.

use std::path::Path;

use super::{ConnectionError, Connections, is_named};
use crate::activity::{KeyVaultSecret, Resource, secrets_of_text};
use crate::azure::{AzureError, Identity, Patience, Vault};
use crate::sharing::{Fetched, Sharing};
use crate::telemetry;

impl Connections {
    /// The value of the secret, fetched by whoever asks for it first, and masked from then on.
    ///
    /// # Errors
    /// A reference that names no vault that was handed over; whatever keeps the vault from answering.
    pub fn secret(&self, reference: &KeyVaultSecret) -> Result<String, ConnectionError> {
        let lacks = |part| ConnectionError::ReferenceIncomplete { lacks: part };
        let store = reference
            .store
            .as_deref()
            .ok_or_else(|| lacks("`store.referenceName`"))?;
        let name = reference.secret_name.as_deref().ok_or_else(|| lacks("`secretName`"))?;
        let vault = self.vault(store)?;
        let get = |name: &str| self.variable(name);
        let identity = Identity::from_environment(get);
        let version = reference
            .secret_version
            .as_deref()
            .filter(|version| !version.is_empty());
        let sharing = self.sharing();
        let fetch = || -> Result<Fetched, AzureError> {
            let token = self.token(&identity, vault.audience())?;
            let patience = Patience::from_environment(get);
            let value = vault.secret((name, version), &token, &identity.describe(), patience)?;
            Ok(Fetched {
                value,
                holds_until: None,
            })
        };
        let value = sharing.once(&vault.id_of(name, version), fetch)?;
        // A secret may be a whole connection string, whose parts are secrets in turn.
        let mut parts = secrets_of_text(&value);
        if !parts.is_empty() {
            sharing.tell(&parts);
        }
        parts.push(value.clone());
        telemetry::redactor().add_all(parts.iter().map(String::as_str));
        Ok(value)
    }

    /// A token of this identity for `audience`, fetched by whoever asks for it first and has nobody's that still holds;
    /// masked from then on.
    ///
    /// # Errors
    /// Those of [`Identity::token`].
    pub(super) fn token(&self, identity: &Identity, audience: &str) -> Result<String, AzureError> {
        let get = |name: &str| self.variable(name);
        let fetch = || {
            let token = identity.token(audience, get, Patience::from_environment(get))?;
            Ok::<_, AzureError>(Fetched {
                value: token.text,
                holds_until: Some(token.usable_until),
            })
        };
        let token = self
            .sharing()
            .once(&format!("token {} {audience}", identity.describe()), fetch)?;
        telemetry::redactor().add(&token);
        Ok(token)
    }

    fn sharing(&self) -> Sharing {
        Sharing::of(self.variable("DRAY_RUN").as_deref().map(Path::new))
    }

    /// The names of the linked services that are vaults, as they were handed over.
    pub fn vault_names(&self) -> Vec<String> {
        let vaults = self.handover.linked_services.iter().filter(|service| is_vault(service));
        vaults.filter_map(|service| service.name.clone()).collect()
    }

    /// The vault of the linked service `store`.
    ///
    /// # Errors
    /// It was not handed over, is no vault, or says not where it is.
    pub fn vault(&self, store: &str) -> Result<Vault, ConnectionError> {
        let Some(service) = self.handover.linked_service(store) else {
            return Err(ConnectionError::VaultNotReferenced {
                store: store.to_owned(),
                vaults: self.vault_names(),
            });
        };
        if !is_vault(service) {
            return Err(ConnectionError::NoVault {
                name: store.to_owned(),
                type_name: service.type_name.clone().unwrap_or_default(),
            });
        }
        let parameters = self.parameters_of(service, None);
        let what = || format!("`typeProperties.baseUrl` of linked service `{store}`");
        let url = match service
            .type_properties()
            .and_then(|keys| super::linked_service::present(keys, "baseUrl"))
        {
            Some(value) => parameters.text(value, &what)?,
            None => None,
        };
        let url = url.ok_or_else(|| ConnectionError::MissingKey {
            name: store.to_owned(),
            key: "typeProperties.baseUrl".to_owned(),
        })?;
        Ok(Vault::new(&url)?)
    }
}

fn is_vault(service: &Resource) -> bool {
    is_named(service.type_name.as_deref(), "AzureKeyVault")
}
