//! The supervisor's side.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;

use super::client::Fetched;
use super::values::Values;
use super::{Reply, Request, address};

/// What a run has to serve.
pub struct Served {
    /// Called with each secret before anybody is told that it is known.
    pub on_secret: fn(&str),
    /// Names and contents of files that were taken off the disk, if they were.
    pub files: Option<Vec<(String, String)>>,
}

/// Serves the processes of the run in `run_folder`, on threads of this process, for as long as it lives.
///
/// # Errors
/// The folder cannot be written, or no thread is left.
pub fn serve(run_folder: &Path, served: Served) -> io::Result<()> {
    let (_folder, address) = address(run_folder)?;
    let listener = UnixListener::bind(address)?;
    let shared = Arc::new(Shared {
        served,
        values: Values::default(),
    });
    let thread = std::thread::Builder::new().name("dray-sharing".to_owned());
    thread.spawn(move || {
        for stream in listener.incoming().flatten() {
            let shared = Arc::clone(&shared);
            // A client that is not answered does for itself what it can.
            let _ = std::thread::Builder::new().spawn(move || shared.answer(stream));
        }
    })?;
    Ok(())
}

struct Shared {
    served: Served,
    values: Values,
}

impl Shared {
    /// Answers one client until it hangs up.
    fn answer(&self, stream: UnixStream) {
        let mut stream = BufReader::new(stream);
        let mut lent: Option<String> = None;
        while let Some(request) = read(&mut stream) {
            let reply = match request {
                Request::Known(secrets) => {
                    secrets.iter().for_each(|secret| (self.served.on_secret)(secret));
                    Reply::Done
                }
                Request::Fetch(key) => match self.values.wait_for(&key) {
                    Some(value) => Reply::Value(value),
                    None => {
                        lent = Some(key);
                        Reply::Yours
                    }
                },
                Request::Fetched(value, holds_until) => {
                    (self.served.on_secret)(&value);
                    if let Some(key) = lent.take() {
                        self.values.put(&key, Some(Fetched { value, holds_until }));
                    }
                    Reply::Done
                }
                Request::Files => Reply::Files(self.served.files.clone()),
            };
            if write(stream.get_mut(), &reply).is_err() {
                break;
            }
        }
        if let Some(key) = lent {
            self.values.put(&key, None);
        }
    }
}

fn read(stream: &mut impl BufRead) -> Option<Request> {
    let mut line = String::new();
    stream.read_line(&mut line).ok()?;
    serde_json::from_str(&line).ok()
}

fn write(stream: &mut impl Write, reply: &Reply) -> io::Result<()> {
    let mut line = serde_json::to_vec(reply)?;
    line.push(b'\n');
    stream.write_all(&line)
}
