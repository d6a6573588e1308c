//! The side of a process that runs the script, or was started by it.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

use super::values::Values;
use super::{Reply, Request, SOCKET, address};

/// Something that was fetched.
#[derive(Clone)]
pub struct Fetched {
    /// The value.
    pub value: String,
    /// Until when it holds, in seconds of Unix time; `None`: to the end of the run.
    pub holds_until: Option<u64>,
}

impl Fetched {
    pub(super) fn holds(&self) -> bool {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.holds_until.is_none_or(|until| now.as_secs() < until)
    }
}

/// Where a process shares what it fetches.
pub enum Sharing {
    /// With the processes of the run that this folder is of.
    Run(PathBuf),
    /// With nobody but the other threads of this process.
    Process,
}

impl Sharing {
    /// With the run in `run_folder` if that serves anything.
    pub fn of(run_folder: Option<&Path>) -> Sharing {
        match run_folder {
            Some(folder) if folder.join(SOCKET).exists() => Sharing::Run(folder.to_owned()),
            _ => Sharing::Process,
        }
    }

    /// The value of `key`: another one's if there is one that still holds, else what `fetch` gives, once for all that ask
    /// meanwhile.
    ///
    /// # Errors
    /// Those of `fetch`; whoever waited for it then tries for itself.
    pub fn once<E>(&self, key: &str, fetch: impl FnOnce() -> Result<Fetched, E>) -> Result<String, E> {
        let Sharing::Run(folder) = self else {
            return once_in_process(key, fetch);
        };
        // A supervisor that is gone or out of descriptors is no reason to do without the value.
        let Ok(mut connection) = Connection::open(folder) else {
            return once_in_process(key, fetch);
        };
        match connection.ask(&Request::Fetch(key.to_owned())) {
            Ok(Reply::Value(value)) => Ok(value),
            Ok(Reply::Yours) => {
                let fetched = fetch()?;
                let _ = connection.ask(&Request::Fetched(fetched.value.clone(), fetched.holds_until));
                Ok(fetched.value)
            }
            _ => once_in_process(key, fetch),
        }
    }

    /// Tells the run that these are secrets. When it returns, they are masked in what is printed from then on.
    pub fn tell(&self, secrets: &[String]) {
        if let Sharing::Run(folder) = self {
            let _ = Connection::open(folder).and_then(|mut run| run.ask(&Request::Known(secrets.to_vec())));
        }
    }

    /// Names and contents of the files that the run took off the disk; `None` if it took none.
    pub fn files(&self) -> Option<Vec<(String, String)>> {
        let Sharing::Run(folder) = self else { return None };
        match Connection::open(folder).and_then(|mut run| run.ask(&Request::Files)) {
            Ok(Reply::Files(files)) => files,
            _ => None,
        }
    }
}

fn once_in_process<E>(key: &str, fetch: impl FnOnce() -> Result<Fetched, E>) -> Result<String, E> {
    static VALUES: LazyLock<Values> = LazyLock::new(Values::default);
    if let Some(value) = VALUES.wait_for(key) {
        return Ok(value);
    }
    let fetched = fetch();
    VALUES.put(key, fetched.as_ref().ok().cloned());
    fetched.map(|fetched| fetched.value)
}

struct Connection(BufReader<UnixStream>);

impl Connection {
    fn open(run_folder: &Path) -> io::Result<Connection> {
        let (_folder, address) = address(run_folder)?;
        Ok(Connection(BufReader::new(UnixStream::connect(address)?)))
    }

    fn ask(&mut self, request: &Request) -> io::Result<Reply> {
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        self.0.get_mut().write_all(&line)?;
        let mut reply = String::new();
        self.0.read_line(&mut reply)?;
        Ok(serde_json::from_str(&reply)?)
    }
}
