//! The worker's part: which ODBC drivers load, which secrets can be read, and which databases answer.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use odbc_sys::InfoType;

use super::{Area, Check, Status, azure};
use crate::connections::Connections;
use crate::database::script::{self, Owned, Parameters};
use crate::database::{Connection, Purpose};
use crate::failure::Failing;
use crate::odbc::{DriverSearch, Encoding, Interrupt, load_driver};
use crate::telemetry;

/// For how many seconds a request to Azure is tried again; a variable that was set comes first.
const PATIENCE: &str = "DRAY_AZURE_PATIENCE";

/// How long a database may take to let somebody in; one that sleeps takes longer, and is then said to.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);

/// Looks at everything and writes each check to `report` as a line of JSON as soon as it is known: a driver may take the
/// process down with it.
///
/// `package_folders` may hold packages with a driver, `connections` is what names are looked up in.
///
/// # Errors
/// The report cannot be written.
pub fn examine(connections: &Connections, package_folders: Vec<PathBuf>, report: &Path) -> std::io::Result<()> {
    let mut report = fs_err::File::create(report)?;
    let search = DriverSearch::from_environment(package_folders);
    let mut tell = |check: &Check| -> std::io::Result<()> {
        let line = serde_json::to_string(check)?;
        report.write_all(telemetry::redactor().redact(&line).as_bytes())?;
        report.write_all(b"\n")
    };
    for check in drivers(&search) {
        tell(&check)?;
    }
    let mut connections = connections.clone();
    // As it is with all that is only looked at, what fails is not tried again.
    connections.environment.push((PATIENCE.into(), "0".into()));
    let (sender, receiver) = mpsc::channel();
    let looks = looks(&connections, &search);
    let waiting = looks.len();
    for look in looks {
        let sender = sender.clone();
        thread::spawn(move || {
            // Nobody listens any more if the report could not be written.
            let _ = sender.send(look());
        });
    }
    drop(sender);
    for _ in 0..waiting {
        match receiver.recv() {
            Ok(check) => tell(&check)?,
            Err(mpsc::RecvError) => break,
        }
    }
    Ok(())
}

/// What takes time, and can be looked at at once: secrets, vaults of which none is referenced, databases.
fn looks(connections: &Connections, search: &DriverSearch) -> Vec<Box<dyn FnOnce() -> Check + Send>> {
    let mut looks: Vec<Box<dyn FnOnce() -> Check + Send>> = Vec::new();
    let references = connections.handover.key_vault_secrets();
    for name in connections.vault_names() {
        let is_of_it = |store: &str| store.eq_ignore_ascii_case(&name);
        if !references
            .iter()
            .any(|each| each.store.as_deref().is_some_and(is_of_it))
        {
            let connections = connections.clone();
            looks.push(Box::new(move || azure::vault(&name, &connections)));
        }
    }
    for reference in references {
        let connections = connections.clone();
        looks.push(Box::new(move || azure::secret(&reference, &connections)));
    }
    for (name, kind) in connections.names() {
        let (search, connections) = (search.clone(), connections.clone());
        looks.push(Box::new(move || connection(&name, &kind, &connections, &search)));
    }
    looks
}

fn drivers(search: &DriverSearch) -> impl Iterator<Item = Check> + use<'_> {
    search.drivers().into_iter().map(|driver| {
        let check = match search.locate(&driver.file) {
            None => {
                let text = format!("its file `{}` is not on this node", driver.file);
                Check::new(Area::Driver, &driver.name, Status::Warning, text)
            }
            Some(path) => driver_check(&driver.name, &path),
        };
        check.fact("registered_in", driver.registered_in)
    })
}

fn driver_check(name: &str, path: &Path) -> Check {
    let check = match load_driver(path) {
        Ok(encoding) => {
            let form = match encoding {
                Encoding::Wide => "wide",
                Encoding::Narrow => "narrow",
            };
            let text = format!("loads from {}", path.display());
            Check::new(Area::Driver, name, Status::Ok, text).fact("functions", form)
        }
        Err(error) => {
            let lacking = match &error {
                crate::odbc::Error::DriverUnloadable { lacking, .. } => lacking.as_slice(),
                _ => &[],
            };
            let lacking = lacking.iter().map(
                |each| serde_json::json!({"library": each.library, "debian": each.debian, "red_hat": each.red_hat}),
            );
            Check::new(Area::Driver, name, Status::Warning, error.to_string())
                .fact("lacking", lacking.collect::<serde_json::Value>())
        }
    };
    check.fact("file", path.display().to_string())
}

fn connection(name: &str, kind: &str, connections: &Connections, search: &DriverSearch) -> Check {
    let check = match attempt(name, connections, search) {
        Ok(Reached {
            product,
            version,
            connect_ms,
            answer_ms,
        }) => {
            let answer = answer_ms.map_or_else(String::new, |ms| format!(", an answer in {ms} ms"));
            let text = format!("{product} {version}, connected in {connect_ms} ms{answer}");
            Check::new(Area::Connection, name, Status::Ok, text)
                .fact("product", product)
                .fact("server_version", version)
                .fact("connect_ms", connect_ms)
                .fact("answer_ms", answer_ms)
        }
        Err((code, text)) => Check::new(Area::Connection, name, Status::Failed, text).fact("code", code),
    };
    check.fact("kind", kind)
}

struct Reached {
    product: String,
    version: String,
    connect_ms: u64,
    answer_ms: Option<u64>,
}

fn attempt(name: &str, connections: &Connections, search: &DriverSearch) -> Result<Reached, (&'static str, String)> {
    let resolved = connections.resolve(name, search).map_err(|error| {
        let text = match error.hint() {
            Some(hint) => format!("{error}; {hint}"),
            None => error.to_string(),
        };
        (error.code(), text)
    })?;
    telemetry::redactor().add_all(resolved.secrets.iter().map(String::as_str));
    let interrupt = Interrupt::new();
    let (done, waiting) = mpsc::channel::<()>();
    let watched = interrupt.clone();
    thread::spawn(move || {
        if waiting.recv_timeout(CONNECT_LIMIT) == Err(mpsc::RecvTimeoutError::Timeout) {
            watched.raise();
        }
    });
    let failed = |error: crate::database::Error| {
        let text = match interrupt.is_raised() {
            true => format!("no connection within {} s", CONNECT_LIMIT.as_secs()),
            false => error.to_string(),
        };
        (error.odbc().map_or("database.unsupported", Failing::code), text)
    };
    let started = Instant::now();
    let connection = Connection::open(search, &resolved.string, Purpose::Script, true, &interrupt).map_err(failed)?;
    let connect_ms = milliseconds(started);
    let text = |info| connection.session.info_text(info).unwrap_or_default();
    let (product, mut version) = (text(InfoType::DbmsName), text(InfoType::DbmsVer));
    let asks_version = connection.dialect.version_query();
    let started = Instant::now();
    let answered = script::query(&connection, asks_version.unwrap_or("SELECT 1"), &Parameters::default());
    let answer_ms = answered.is_ok().then(|| milliseconds(started));
    if let (Some(_), Ok(rows)) = (asks_version, answered)
        && let Some(Owned::Text(text)) = rows.rows.into_iter().flatten().next()
    {
        version = text;
    }
    drop(done);
    Ok(Reached {
        product,
        version,
        connect_ms,
        answer_ms,
    })
}

fn milliseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
