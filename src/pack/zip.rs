//! Writes the zip: the same members give the same bytes, and the file has its name only when it is whole.

use std::ffi::OsStr;
use std::io::{self, Seek, Write};
use std::path::Path;

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, DateTime, ZipWriter};

use super::{Content, Member, Members, PackError};

/// A member from this size on is stored where a piece of it shows that compressing does not gain.
const TRIED_FROM_BYTES: usize = 64 * 1024;
/// The piece that is tried, from the middle.
const TRIED_BYTES: usize = 256 * 1024;
/// What the piece must come down to, in percent.
const GAINS_BELOW_PERCENT: usize = 96;

/// Zip's fields hold four bytes up to here.
const LARGE_BYTES: u64 = u32::MAX as u64 / 2;

/// Writes `members` to `output`, and gives the size of the zip in bytes.
pub(super) fn write(output: &Path, members: &Members) -> Result<u64, PackError> {
    let failed = |source: io::Error| PackError::Write {
        output: output.to_owned(),
        source,
    };
    let folder = output.parent().filter(|folder| *folder != "").unwrap_or(Path::new("."));
    let mut unfinished = tempfile::Builder::new()
        .prefix(&unfinished_prefix(output.file_name().unwrap_or_default()))
        .tempfile_in(folder)
        .map_err(failed)?;
    let mut writer = ZipWriter::new(io::BufWriter::new(unfinished.as_file_mut()));
    let time = time();
    for (path, member) in members {
        add(&mut writer, path, member, time).map_err(|error| match error {
            AddError::Read(error) => error,
            AddError::Write(source) => failed(source),
        })?;
    }
    let mut file = writer.finish().map_err(io::Error::from).map_err(failed)?;
    file.flush().map_err(failed)?;
    drop(file);
    let file = unfinished.as_file_mut();
    let size_bytes = file.stream_position().map_err(failed)?;
    set_mode(file).and_then(|()| file.sync_all()).map_err(failed)?;
    unfinished.persist(output).map_err(|error| failed(error.error))?;
    Ok(size_bytes)
}

/// What the names of a zip that is being written begin with; a pack that was killed may leave one.
pub(super) fn unfinished_prefix(output: &OsStr) -> String {
    format!(".{}.packing-", output.to_string_lossy())
}

enum AddError {
    Read(PackError),
    Write(io::Error),
}

impl From<zip::result::ZipError> for AddError {
    fn from(error: zip::result::ZipError) -> Self {
        AddError::Write(error.into())
    }
}

fn add(writer: &mut ZipWriter<impl Write + Seek>, path: &str, member: &Member, time: DateTime) -> Result<(), AddError> {
    let mode = if member.is_executable { 0o755 } else { 0o644 };
    let options = SimpleFileOptions::default()
        .last_modified_time(time)
        .unix_permissions(mode);
    let bytes = match &member.content {
        Content::Link(target) => {
            writer.add_symlink(path, target, options)?;
            return Ok(());
        }
        Content::Bytes(bytes) => bytes.clone(),
        Content::File(file) => fs_err::read(file).map_err(|source| {
            AddError::Read(PackError::Io {
                doing: format!("pack `{path}`"),
                source,
            })
        })?,
        Content::Wheel(wheel, name) => wheel.read(name).map_err(|error| AddError::Read(error.into()))?,
    };
    let method = if gains(&bytes) {
        CompressionMethod::Deflated
    } else {
        CompressionMethod::Stored
    };
    let options = options
        .compression_method(method)
        .large_file(bytes.len() as u64 > LARGE_BYTES);
    writer.start_file(path, options)?;
    writer.write_all(&bytes).map_err(AddError::Write)
}

/// Whether compressing saves more than it costs each start.
fn gains(bytes: &[u8]) -> bool {
    if bytes.len() < TRIED_FROM_BYTES {
        return true;
    }
    let from = (bytes.len() - bytes.len().min(TRIED_BYTES)) / 2;
    let piece = &bytes[from..from + bytes.len().min(TRIED_BYTES)];
    let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
    let compressed = encoder.write_all(piece).and_then(|()| encoder.finish());
    compressed.is_ok_and(|compressed| compressed.len() * 100 < piece.len() * GAINS_BELOW_PERCENT)
}

/// That of all members: SOURCE_DATE_EPOCH (seconds, see reproducible-builds.org), else the first that a zip can hold.
fn time() -> DateTime {
    std::env::var("SOURCE_DATE_EPOCH")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .and_then(|seconds| jiff::Timestamp::from_second(seconds).ok())
        .map(|timestamp| timestamp.to_zoned(jiff::tz::TimeZone::UTC).datetime())
        .and_then(|time| {
            let number = |number: i8| u8::try_from(number).unwrap_or_default();
            DateTime::from_date_and_time(
                u16::try_from(time.year()).ok()?,
                number(time.month()),
                number(time.day()),
                number(time.hour()),
                number(time.minute()),
                number(time.second()),
            )
            .ok()
        })
        .unwrap_or_default()
}

/// As if the file had been made like any other, and not as a temporary one.
fn set_mode(file: &std::fs::File) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.set_permissions(std::fs::Permissions::from_mode(0o644))
}
