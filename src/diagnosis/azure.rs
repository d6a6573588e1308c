//! Whether the instance metadata service gives this node a token, and whether Key Vaults can be reached.
//!
//! A look, and no client: one request each, no retries, nothing kept. Sources: azure-docs,
//! `active-directory/managed-identities-azure-resources/how-to-use-vm-token`; the variable is that of Azure's own libraries.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Area, Check, Status};
use crate::activity::{Handover, member};

/// The metadata service of an Azure VM; never reached through a proxy.
const METADATA_SERVICE: &str = "http://169.254.169.254";

/// Names another metadata service, as in Azure's own libraries.
const METADATA_VARIABLE: &str = "AZURE_POD_IDENTITY_AUTHORITY_HOST";

/// Who does not connect within this time is not there: the metadata service is on the same host, a vault on the backbone.
const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// How long an answer, or the name of a host, may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// More is no answer of the metadata service.
const MAX_ANSWER_BYTES: u64 = 64 * 1024;

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

/// Asks the metadata service for a token for Key Vault, and throws it away. `is_needed` says whether there is a vault.
pub fn identity(client_id: Option<&str>, is_needed: bool) -> Check {
    let service = std::env::var(METADATA_VARIABLE).ok().filter(|named| !named.is_empty());
    let service = service.unwrap_or_else(|| METADATA_SERVICE.to_owned());
    let bad = if is_needed { Status::Failed } else { Status::Note };
    let check = |status, text: String| Check::new(Area::Identity, "", status, text).fact("metadata_service", &*service);
    let mut path =
        "/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fvault.azure.net".to_owned();
    if let Some(client_id) = client_id {
        let encoded = percent_encoding::utf8_percent_encode(client_id, percent_encoding::NON_ALPHANUMERIC);
        path.push_str(&format!("&client_id={encoded}"));
    }
    let started = Instant::now();
    let (status, body) = match get(&service, &path) {
        Ok(answer) => answer,
        Err(error) => {
            let text = format!("none: the metadata service at {service} does not answer ({error}), as outside Azure");
            return check(bad, text).fact("answers", false);
        }
    };
    let latency_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let answer = object_in(&body);
    let text_of = |key: &str| answer.get(key).and_then(Value::as_str).map(str::to_owned);
    let check = |status, text| check(status, text).fact("answers", true).fact("latency_ms", latency_ms);
    if status == 200 && text_of("access_token").is_some() {
        let client_id = text_of("client_id");
        let text = match &client_id {
            Some(client_id) => format!("client id {client_id}, a token in {latency_ms} ms"),
            None => format!("a token in {latency_ms} ms"),
        };
        return check(Status::Ok, text).fact("client_id", client_id);
    }
    let said = text_of("error_description")
        .or_else(|| text_of("error"))
        .unwrap_or_default();
    let text = format!("the metadata service gives no token: {status} {said}");
    let text = match (status, client_id) {
        (400, None) => format!(
            "{}; if the pool has several identities, `AZURE_CLIENT_ID` names one",
            text.trim_end()
        ),
        (400, Some(_)) => format!(
            "{}; the pool needs the identity that `AZURE_CLIENT_ID` names",
            text.trim_end()
        ),
        _ => text.trim_end().to_owned(),
    };
    check(bad, text).fact("http_status", status)
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

/// One GET by plain HTTP: the status and the body.
fn get(service: &str, path: &str) -> io::Result<(u16, Vec<u8>)> {
    let (host, port) = host_and_port(service).ok_or(io::ErrorKind::InvalidInput)?;
    let mut stream = connect(&host, port)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.set_write_timeout(Some(ANSWER_LIMIT))?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nMetadata: true\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER_BYTES).read_to_end(&mut answer)?;
    let malformed = || io::Error::new(io::ErrorKind::InvalidData, "its answer is no HTTP");
    let head_end = memchr::memmem::find(&answer, b"\r\n\r\n").ok_or_else(malformed)?;
    let head = String::from_utf8_lossy(&answer[..head_end]);
    let status = head
        .strip_prefix("HTTP/1.")
        .and_then(|rest| rest.get(2..5)?.parse().ok());
    Ok((status.ok_or_else(malformed)?, answer[head_end + 4..].to_vec()))
}

/// The JSON object of an answer, which may have come as one chunk with its length before it.
fn object_in(body: &[u8]) -> Value {
    let (start, end) = (memchr::memchr(b'{', body), memchr::memrchr(b'}', body));
    let object = start.zip(end).and_then(|(start, end)| body.get(start..=end));
    object
        .and_then(|object| serde_json::from_slice(object).ok())
        .unwrap_or_default()
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
