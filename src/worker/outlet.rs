//! Where a pump writes to: by itself at first, and by a thread of its own once a script prints faster than that.
//!
//! To read a pipe, and to write to a file, is each about as much work as printing is for the script; one that prints blocks
//! as fast as it can would have to wait for a single thread that does both. One that prints line after line would pay for a
//! second thread with a wake-up a line.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::fd::AsFd;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// How many pieces wait for the thread that writes, beside the one that it writes and the one that is read meanwhile.
const WAITING: usize = 2;

/// The end of a stream's way. What is handed to it goes out in that order.
pub(super) struct Outlet {
    target: File,
    writer: Option<Writer>,
}

/// The thread that writes.
struct Writer {
    full: SyncSender<(Vec<u8>, Range<usize>)>,
    empty: Receiver<Vec<u8>>,
    /// How many pieces it has not given back.
    under_way: usize,
    thread: JoinHandle<io::Result<()>>,
}

impl Outlet {
    pub fn new(target: File) -> Outlet {
        Outlet { target, writer: None }
    }

    /// Writes `range` of `bytes`; later, if it is to go on reading `at_once`. `bytes` may be another buffer after that, of
    /// any content.
    ///
    /// # Errors
    /// Those of write(2), perhaps for what came before.
    pub fn write(&mut self, bytes: &mut Vec<u8>, range: Range<usize>, at_once: bool) -> io::Result<()> {
        if range.is_empty() {
            return Ok(());
        }
        if at_once && self.writer.is_none() {
            // Without it everything goes on as it began.
            self.writer = self.target.try_clone().and_then(Writer::start).ok();
        }
        let is_behind = at_once || self.writer.as_mut().is_some_and(Writer::is_busy);
        match &mut self.writer {
            Some(writer) if is_behind => match writer.take(bytes, range) {
                true => Ok(()),
                false => self.close(),
            },
            _ => write_all(&self.target, &bytes[range]),
        }
    }

    /// Waits until all is written.
    ///
    /// # Errors
    /// Those of write(2).
    pub fn close(&mut self) -> io::Result<()> {
        match self.writer.take() {
            Some(Writer { full, thread, .. }) => {
                drop(full);
                thread.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
            }
            None => Ok(()),
        }
    }
}

impl Writer {
    fn start(target: File) -> io::Result<Writer> {
        let (full, pieces) = sync_channel::<(Vec<u8>, Range<usize>)>(WAITING);
        let (written, empty): (Sender<Vec<u8>>, _) = channel();
        let write = move || {
            for (bytes, range) in pieces {
                write_all(&target, &bytes[range])?;
                // At the end nobody wants it back.
                let _ = written.send(bytes);
            }
            Ok(())
        };
        Ok(Writer {
            full,
            empty,
            under_way: 0,
            thread: std::thread::Builder::new()
                .name("dray-outlet".to_owned())
                .spawn(write)?,
        })
    }

    /// Whether it has something to write still. What it has written already is let go.
    fn is_busy(&mut self) -> bool {
        self.under_way -= self.empty.try_iter().count();
        self.under_way > 0
    }

    /// Takes `bytes` for another buffer. False: the thread has ended, as it does where it cannot write.
    fn take(&mut self, bytes: &mut Vec<u8>, range: Range<usize>) -> bool {
        let mut other = match self.empty.try_recv() {
            Ok(empty) => {
                self.under_way -= 1;
                empty
            }
            Err(_) => Vec::new(),
        };
        std::mem::swap(bytes, &mut other);
        self.under_way += 1;
        self.full.send((other, range)).is_ok()
    }
}

/// Writes all of it, also where somebody has made the stream non-blocking.
fn write_all(mut target: &File, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match target.write(bytes) {
            Ok(count) => bytes = &bytes[count..],
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                let mut events = [PollFd::new(target.as_fd(), PollFlags::POLLOUT)];
                let _ = poll(&mut events, PollTimeout::NONE);
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    #[test]
    fn what_is_handed_over_goes_out_in_order_by_whichever_thread() {
        let (mut reader, target) = io::pipe().unwrap();
        let read = std::thread::spawn(move || {
            let mut all = Vec::new();
            reader.read_to_end(&mut all).map(|_| all)
        });
        let mut outlet = Outlet::new(File::from(std::os::fd::OwnedFd::from(target)));
        let mut expected = Vec::new();
        for number in 0..2000_u32 {
            let mut piece = vec![b'-'; 1000];
            piece[10..14].copy_from_slice(&number.to_le_bytes());
            outlet.write(&mut piece, 10..14, number % 7 < 4 && number > 50).unwrap();
            expected.extend(number.to_le_bytes());
        }
        outlet.close().unwrap();
        drop(outlet);
        assert!(read.join().unwrap().unwrap() == expected);
    }

    #[test]
    fn that_nobody_reads_is_told_to_whoever_writes_on() {
        let (reader, target) = io::pipe().unwrap();
        let mut outlet = Outlet::new(File::from(std::os::fd::OwnedFd::from(target)));
        drop(reader);
        let error = (0..100).find_map(|_| outlet.write(&mut vec![b'-'; 1000], 0..1000, true).err());
        assert_eq!(error.unwrap().kind(), io::ErrorKind::BrokenPipe);
    }
}
