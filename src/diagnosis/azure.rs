//! Whether the instance metadata service gives this node a token, and whether the Key Vaults that were handed over give the
//! secrets that are referenced.
//!
//! A look: one try each, nothing kept. A vault is asked in the worker alone: for that the executable would have to link TLS.

use std::time::Instant;

use super::{Area, Check, Status};
use crate::activity::KeyVaultSecret;
use crate::azure::{Identity, look_for_managed_identity};
use crate::connections::{ConnectionError, Connections};
use crate::failure::Failing;

/// Looks for the identity that the metadata service gives this node, the one of `client_id` if that is given. It is missed
/// only where there is a vault.
pub fn identity(connections: &Connections, client_id: Option<&str>) -> Check {
    let vaults = connections.vault_names();
    let bad = match vaults.is_empty() {
        true => Status::Note,
        false => Status::Failed,
    };
    if let principal @ Identity::ServicePrincipal { .. } = Identity::from_environment(|name| std::env::var(name).ok()) {
        let text = format!(
            "{}, from the environment; whether it may sign in is not tried",
            principal.describe()
        );
        return Check::new(Area::Identity, "", Status::Note, text);
    }
    let vault = vaults.iter().find_map(|name| connections.vault(name).ok());
    let started = Instant::now();
    match look_for_managed_identity(client_id, vault.as_ref(), |name| std::env::var(name).ok()) {
        Ok(client_id) => {
            let latency_ms = milliseconds(started);
            let named = client_id
                .as_ref()
                .map_or(String::new(), |id| format!("client id {id}, "));
            Check::new(
                Area::Identity,
                "",
                Status::Ok,
                format!("{named}a token in {latency_ms} ms"),
            )
            .fact("client_id", client_id)
            .fact("latency_ms", latency_ms)
        }
        Err(error) => {
            let hint = error.hint().map_or(String::new(), |hint| format!("; {hint}"));
            Check::new(Area::Identity, "", bad, format!("{error}{hint}")).fact("code", error.code())
        }
    }
}

/// What can be told of vaults without asking them.
pub fn unasked_vaults(connections: &Connections) -> Vec<Check> {
    let checks = connections.vault_names().into_iter().map(|name| {
        let text = "whether it answers is not known without a Python".to_owned();
        Check::new(Area::Vault, &name, Status::Note, text)
    });
    checks.collect()
}

/// Whether a vault answers.
pub fn vault(name: &str, connections: &Connections) -> Check {
    let started = Instant::now();
    let looked = connections.vault(name).and_then(|vault| Ok(vault.look()?));
    match looked {
        Ok(()) => {
            let latency_ms = milliseconds(started);
            Check::new(Area::Vault, name, Status::Ok, format!("answers in {latency_ms} ms"))
                .fact("latency_ms", latency_ms)
        }
        Err(error) => failed(name, &error),
    }
}

/// Whether this node may read a secret that is referenced. Its value is thrown away.
pub fn secret(reference: &KeyVaultSecret, connections: &Connections) -> Check {
    let store = reference.store.as_deref().unwrap_or_default();
    let check = match connections.secret(reference) {
        Ok(_) => {
            let name = reference.secret_name.as_deref().unwrap_or_default();
            Check::new(Area::Vault, store, Status::Ok, format!("secret `{name}` can be read"))
        }
        Err(error) => failed(store, &error),
    };
    check
        .fact("secret_name", reference.secret_name.clone())
        .fact("secret_version", reference.secret_version.clone())
}

fn failed(name: &str, error: &ConnectionError) -> Check {
    let hint = error.hint().map_or(String::new(), |hint| format!("; {hint}"));
    Check::new(Area::Vault, name, Status::Failed, format!("{error}{hint}")).fact("code", error.code())
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
