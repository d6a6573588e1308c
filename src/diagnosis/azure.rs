//! Whether the instance metadata service gives this node a token, and whether Key Vaults can be reached.
//!
//! A look: one try each, nothing kept. A vault gets no request, for that would have the executable link TLS.

use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Area, Check, Status};
use crate::activity::{Handover, member};
use crate::azure::{Identity, look_for_managed_identity};
use crate::failure::Failing;

/// Who does not connect within this time is not there: the metadata service is on the same host, a vault on the backbone.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// How long an answer, or the name of a host, may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// The identity, and each Key Vault that was handed over.
pub fn checks(handover: &Handover, client_id: Option<&str>) -> Vec<Check> {
    let vaults: Vec<(String, Option<String>)> = handover
        .linked_services
        .iter()
        .filter(|service| {
            service
                .type_name
                .as_deref()
                .is_some_and(|kind| kind.eq_ignore_ascii_case("AzureKeyVault"))
        })
        .map(|service| {
            let url = service
                .type_properties()
                .and_then(|own| member(own, "baseUrl"))
                .and_then(Value::as_str);
            (service.name.clone().unwrap_or_default(), url.map(str::to_owned))
        })
        .collect();
    thread::scope(|scope| {
        let identity = scope.spawn(|| identity(client_id, !vaults.is_empty()));
        let vaults: Vec<_> = vaults
            .iter()
            .map(|(name, url)| scope.spawn(move || vault(name, url.as_deref())))
            .collect();
        let threads = std::iter::once(identity).chain(vaults);
        threads.filter_map(|thread| thread.join().ok()).collect()
    })
}

/// Looks for the identity that the metadata service gives this node. `is_needed` says whether there is a vault.
pub fn identity(client_id: Option<&str>, is_needed: bool) -> Check {
    let bad = if is_needed { Status::Failed } else { Status::Note };
    if let principal @ Identity::ServicePrincipal { .. } = Identity::from_environment(|name| std::env::var(name).ok()) {
        let text = format!(
            "{}, from the environment; whether it may sign in is not tried",
            principal.describe()
        );
        return Check::new(Area::Identity, "", Status::Note, text);
    }
    let started = Instant::now();
    match look_for_managed_identity(client_id, |name| std::env::var(name).ok()) {
        Ok(client_id) => {
            let latency_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
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

/// Whether a vault's host takes connections.
pub fn vault(name: &str, base_url: Option<&str>) -> Check {
    let Some((host, port)) = base_url.and_then(host_and_port) else {
        let text = "its linked service has no `baseUrl` with a host".to_owned();
        return Check::new(Area::Vault, name, Status::Failed, text);
    };
    let started = Instant::now();
    match connect(&host, port) {
        Ok(_) => {
            let latency_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            let text = format!("{host} takes connections, {latency_ms} ms");
            Check::new(Area::Vault, name, Status::Ok, text).fact("latency_ms", latency_ms)
        }
        Err(error) => Check::new(
            Area::Vault,
            name,
            Status::Failed,
            format!("{host} cannot be reached: {error}"),
        ),
    }
    .fact("host", &*host)
}

fn connect(host: &str, port: u16) -> io::Result<TcpStream> {
    // Nothing bounds how long the system looks for a name, so that has a thread of its own, left behind if need be.
    let (sender, receiver) = mpsc::channel();
    let target = (host.to_owned(), port);
    thread::spawn(move || sender.send(target.to_socket_addrs().map(Iterator::collect::<Vec<_>>)));
    let addresses = receiver.recv_timeout(ANSWER_LIMIT).map_err(|_| {
        let seconds = ANSWER_LIMIT.as_secs();
        io::Error::new(
            io::ErrorKind::TimedOut,
            format!("its address was not found within {seconds} s"),
        )
    })??;
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in addresses {
        match TcpStream::connect_timeout(&address, CONNECT_LIMIT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Of `https://host:port/path`; the port of the scheme if it names none.
fn host_and_port(url: &str) -> Option<(String, u16)> {
    let (scheme, rest) = url.trim().split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let default = if scheme.eq_ignore_ascii_case("http") { 80 } else { 443 };
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().ok()?),
        None => (authority, default),
    };
    (!host.is_empty()).then(|| (host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_port_is_that_of_the_address_or_of_its_scheme() {
        for (url, expected) in [
            ("https://v.vault.azure.net/", Some(("v.vault.azure.net", 443))),
            ("http://169.254.169.254", Some(("169.254.169.254", 80))),
            ("https://v:8443?x", Some(("v", 8443))),
            ("v.vault.azure.net", None),
            ("https:///x", None),
        ] {
            assert_eq!(
                host_and_port(url),
                expected.map(|(host, port)| (host.to_owned(), port)),
                "{url}"
            );
        }
    }
}
