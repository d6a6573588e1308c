//! A judged archive becomes a tree: in parallel, into a folder that gets its name only when whole.
//!
//! Nothing is synced to disk: the tree serves one run, and a node that loses power starts the task anew, in a fresh
//! folder. What a crash leaves lies under another name and is never taken for a tree.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Instant;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, Timespec, Timestamps, UTIME_NOW};

use super::MemberKind;
use super::archive::{Archive, ArchiveMember, explain};
use super::error::ProjectError;
use super::inflate::{Fault, Inflater};
use super::limits::Limits;
use super::times::Timestamp;

/// What unpacking came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unpacked {
    /// Members written: files, folders and symbolic links, without implicit folders.
    pub members: u64,
    /// Bytes of all files together.
    pub bytes: u64,
}

impl Archive {
    /// Writes the tree to `destination`, which must not exist and whose parent folder must.
    ///
    /// `threads` (at least 1) work at once. Setting `cancel` stops them between two members or pieces. On any error,
    /// and when cancelled, nothing is left behind.
    ///
    /// # Errors
    /// The limits; the disk; a member whose data are damaged; [`ProjectError::Cancelled`].
    pub fn unpack(
        &self,
        destination: &Path,
        limits: &Limits,
        threads: usize,
        cancel: &AtomicBool,
    ) -> Result<Unpacked, ProjectError> {
        let started = Instant::now();
        self.check(limits)?;
        if fs_err::symlink_metadata(destination).is_ok() {
            return Err(ProjectError::DestinationExists {
                destination: destination.to_owned(),
            });
        }
        self.check_free_space(
            destination
                .parent()
                .filter(|parent| *parent != "")
                .unwrap_or(Path::new(".")),
        )?;

        let workspace = Workspace::create(destination)?;
        let writer = Writer {
            archive: self,
            root: workspace.open()?,
            at: workspace.path.clone(),
        };
        writer.make_folders()?;
        writer.write_files(threads, cancel)?;
        writer.make_links()?;
        writer.finish_folders()?;
        workspace.publish(destination)?;

        let bytes = self.unpacked_bytes();
        let unpacked = Unpacked {
            members: self.members.len() as u64,
            bytes,
        };
        tracing::info!(
            event = "project.unpacked",
            members = unpacked.members,
            bytes = unpacked.bytes,
            threads,
            duration_ms = started.elapsed().as_millis() as u64,
            "unpacked the project"
        );
        Ok(unpacked)
    }

    /// Bytes of all its files together, when they are unpacked; as its directory says.
    pub fn unpacked_bytes(&self) -> u64 {
        self.files().map(|member| member.extent.size_bytes).sum()
    }

    fn files(&self) -> impl Iterator<Item = &ArchiveMember> {
        self.members
            .iter()
            .filter(|member| member.member.kind == MemberKind::File)
    }

    fn check_free_space(&self, folder: &Path) -> Result<(), ProjectError> {
        let disk = rustix::fs::statvfs(folder).map_err(|error| ProjectError::Write {
            path: folder.to_owned(),
            source: error.into(),
        })?;
        let block_bytes = disk.f_frsize.max(1);
        let folders = self.folders().len() as u64;
        let needed_blocks = self
            .members
            .iter()
            .map(|member| member.extent.size_bytes.div_ceil(block_bytes))
            .fold(folders, u64::saturating_add);
        let full = |needed, free, unit| ProjectError::DiskFull {
            folder: folder.to_owned(),
            needed,
            free,
            unit,
        };
        if needed_blocks > disk.f_bavail {
            let bytes = |blocks: u64| blocks.saturating_mul(block_bytes);
            return Err(full(bytes(needed_blocks), bytes(disk.f_bavail), "bytes"));
        }
        // File systems without a fixed number of inodes (btrfs) say 0 for all.
        let needed_inodes = self.members.len() as u64 + folders;
        if disk.f_files > 0 && needed_inodes > disk.f_favail {
            return Err(full(needed_inodes, disk.f_favail, "inodes"));
        }
        Ok(())
    }
}

/// The folder that becomes the tree; removed with all that is in it unless published.
struct Workspace {
    path: PathBuf,
    published: bool,
}

impl Workspace {
    /// A new folder beside `destination`, on the same file system, under a name that nobody else uses.
    fn create(destination: &Path) -> Result<Workspace, ProjectError> {
        let mut name = destination.file_name().unwrap_or_default().to_owned();
        name.push(format!(".unpacking-{}", uuid::Uuid::new_v4().simple()));
        let path = destination.with_file_name(name);
        fs_err::create_dir(&path).map_err(write_error(&path))?;
        Ok(Workspace { path, published: false })
    }

    fn open(&self) -> Result<OwnedFd, ProjectError> {
        rustix::fs::open(
            &self.path,
            OFlags::DIRECTORY | OFlags::CLOEXEC | OFlags::NOFOLLOW,
            Mode::empty(),
        )
        .map_err(|error| ProjectError::Write {
            path: self.path.clone(),
            source: error.into(),
        })
    }

    fn publish(mut self, destination: &Path) -> Result<(), ProjectError> {
        use rustix::fs::CWD;
        let result = match rustix::fs::renameat_with(CWD, &self.path, CWD, destination, RenameFlags::NOREPLACE) {
            // Some network file systems know no flags; that nothing is there was seen before.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => rustix::fs::rename(&self.path, destination),
            result => result,
        };
        match result {
            Ok(()) => {
                self.published = true;
                Ok(())
            }
            Err(rustix::io::Errno::EXIST) => Err(ProjectError::DestinationExists {
                destination: destination.to_owned(),
            }),
            Err(error) => Err(ProjectError::Write {
                path: destination.to_owned(),
                source: error.into(),
            }),
        }
    }
}

impl Drop for Workspace {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = fs_err::remove_dir_all(&self.path)
        {
            tracing::warn!(event = "project.leftover", error = %error, "cannot remove what was unpacked so far");
        }
    }
}

/// Writes below one open folder. No path that it is given leads through a symbolic link: links are made last, and the
/// archive has no member below one.
struct Writer<'a> {
    archive: &'a Archive,
    root: OwnedFd,
    at: PathBuf,
}

impl Writer<'_> {
    fn make_folders(&self) -> Result<(), ProjectError> {
        for (path, _) in self.archive.folders() {
            rustix::fs::mkdirat(&self.root, path, Mode::from_raw_mode(0o755)).map_err(self.write_error(path))?;
        }
        Ok(())
    }

    /// The threads take members from one list, the largest first, so that none is left with a large one at the end.
    fn write_files(&self, threads: usize, cancel: &AtomicBool) -> Result<(), ProjectError> {
        let mut order: Vec<&ArchiveMember> = self.archive.files().collect();
        order.sort_by_key(|member| std::cmp::Reverse(member.extent.size_bytes));
        let next = AtomicUsize::new(0);
        let done = AtomicU64::new(0);
        let stop = AtomicBool::new(false);
        let first_error = Mutex::new(None);
        let work = || {
            let mut inflater = Inflater::new();
            while !stop.load(Ordering::Relaxed) && !cancel.load(Ordering::Relaxed) {
                let Some(member) = order.get(next.fetch_add(1, Ordering::Relaxed)) else {
                    break;
                };
                match self.write_file(&mut inflater, member, cancel) {
                    Ok(()) => {
                        done.fetch_add(1, Ordering::Relaxed);
                    }
                    Err(error) => {
                        stop.store(true, Ordering::Relaxed);
                        first_error
                            .lock()
                            .unwrap_or_else(|poisoned| poisoned.into_inner())
                            .get_or_insert(error);
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads.min(order.len()) {
                scope.spawn(work);
            }
            work();
        });
        if cancel.load(Ordering::Relaxed) {
            let done_members = done.load(Ordering::Relaxed);
            return Err(ProjectError::Cancelled {
                done_members,
                members: self.archive.members.len() as u64,
            });
        }
        match first_error
            .into_inner()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
        {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    fn write_file(
        &self,
        inflater: &mut Inflater,
        member: &ArchiveMember,
        cancel: &AtomicBool,
    ) -> Result<(), ProjectError> {
        let path = member.member.path.as_str();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor =
            rustix::fs::openat(&self.root, path, flags, Mode::from_raw_mode(0o600)).map_err(self.write_error(path))?;
        let mut file = File::from(descriptor);
        let written = inflater.unpack(&self.archive.file, &member.extent, |piece| {
            if cancel.load(Ordering::Relaxed) {
                return Err(io::ErrorKind::Interrupted.into());
            }
            file.write_all(piece)
        });
        match written {
            Ok(()) => {}
            Err(Fault::Sink(error)) => return Err(self.write_failed(path, error)),
            Err(fault) => return Err(self.archive.refused(explain(fault, path, &member.extent))),
        }
        // The mode is set rather than given to open, where the umask of the task would thin it out.
        rustix::fs::fchmod(&file, Mode::from_raw_mode(member.member.mode)).map_err(self.write_error(path))?;
        if let Some(modified) = member.modified {
            rustix::fs::futimens(&file, &stamps(modified)).map_err(self.write_error(path))?;
        }
        Ok(())
    }

    fn make_links(&self) -> Result<(), ProjectError> {
        for member in &self.archive.members {
            let MemberKind::Symlink { target } = &member.member.kind else {
                continue;
            };
            let path = member.member.path.as_str();
            rustix::fs::symlinkat(target, &self.root, path).map_err(self.write_error(path))?;
            if let Some(modified) = member.modified {
                rustix::fs::utimensat(&self.root, path, &stamps(modified), AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(self.write_error(path))?;
            }
        }
        Ok(())
    }

    /// Modes and times of folders, children first: writing into a folder changes its time.
    fn finish_folders(&self) -> Result<(), ProjectError> {
        for (path, member) in self.archive.folders().into_iter().rev() {
            let Some(member) = member else { continue };
            rustix::fs::chmodat(
                &self.root,
                path,
                Mode::from_raw_mode(member.member.mode),
                AtFlags::empty(),
            )
            .map_err(self.write_error(path))?;
            if let Some(modified) = member.modified {
                rustix::fs::utimensat(&self.root, path, &stamps(modified), AtFlags::empty())
                    .map_err(self.write_error(path))?;
            }
        }
        Ok(())
    }

    fn write_error<'p>(&'p self, path: &'p str) -> impl FnOnce(rustix::io::Errno) -> ProjectError + 'p {
        move |error| self.write_failed(path, error.into())
    }

    fn write_failed(&self, path: &str, source: io::Error) -> ProjectError {
        ProjectError::Write {
            path: self.at.join(path),
            source,
        }
    }
}

fn write_error(path: &Path) -> impl FnOnce(io::Error) -> ProjectError + '_ {
    move |source| ProjectError::Write {
        path: path.to_owned(),
        source,
    }
}

/// Leaves the time of last access at now.
fn stamps(modified: Timestamp) -> Timestamps {
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    };
    let modified = Timespec {
        tv_sec: modified.seconds,
        tv_nsec: modified.nanoseconds.into(),
    };
    Timestamps {
        last_access: now,
        last_modification: modified,
    }
}
