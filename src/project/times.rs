//! When a member was last modified. Owns the three encodings that zips have; knows nothing of files.

use super::container::{Record, extra_fields};

/// Seconds and nanoseconds since 1970-01-01 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timestamp {
    pub seconds: i64,
    pub nanoseconds: u32,
}

/// Unix extended timestamp (`extrafld.txt`): flags, then seconds of the modification time if bit 0 is set.
const EXTENDED_TIMESTAMP: u16 = 0x5455;
/// NTFS (APPNOTE 4.5.5): 4 reserved bytes, then attributes; attribute 1 starts with the modification time.
const NTFS: u16 = 0x000a;
/// 1601-01-01 to 1970-01-01, in the 100 ns units of NTFS.
const NTFS_EPOCH: i128 = 116_444_736_000_000_000;

/// The modification time of `record`: from the Unix extended timestamp, else from the NTFS field, else from the DOS
/// fields, which are local time, of this machine for want of another, as Info-ZIP's unzip takes them.
/// `None` where the DOS fields are no date (zeros, as some writers leave them).
pub(super) fn modified(record: &Record) -> Option<Timestamp> {
    let field = |wanted: u16| {
        extra_fields(&record.extra)
            .find(|&(id, _)| id == wanted)
            .map(|(_, content)| content)
    };
    let extended = field(EXTENDED_TIMESTAMP).and_then(|content| from_extended(content, record.dos_time));
    extended
        .or_else(|| field(NTFS).and_then(from_ntfs))
        .or_else(|| from_dos(record.dos_time))
}

/// The time zone of this machine. `TimeZone::system` reads the names of all zones there are (some 80 folders) to tell
/// which one /etc/localtime is; nothing here needs the name, and the start of every run would pay for it.
fn local_zone() -> &'static jiff::tz::TimeZone {
    use jiff::tz::TimeZone;

    static ZONE: std::sync::OnceLock<TimeZone> = std::sync::OnceLock::new();
    ZONE.get_or_init(|| {
        if std::env::var_os("TZ").is_some() {
            return TimeZone::system();
        }
        let rules = fs_err::read("/etc/localtime")
            .ok()
            .and_then(|rules| TimeZone::tzif("local", &rules).ok());
        rules.unwrap_or(TimeZone::UTC)
    })
}

fn from_extended(content: &[u8], dos_time: u32) -> Option<Timestamp> {
    let (flags, rest) = content.split_first()?;
    if flags & 1 == 0 {
        return None;
    }
    let seconds = u32::from_le_bytes(rest.get(..4)?.try_into().ok()?);
    // The field is signed, and ends in 2038; the DOS year tells a later time from one before 1970.
    let dos_year = 1980 + (dos_time >> 25);
    let seconds = if dos_year >= 2038 {
        i64::from(seconds)
    } else {
        i64::from(seconds.cast_signed())
    };
    Some(Timestamp {
        seconds,
        nanoseconds: 0,
    })
}

fn from_ntfs(content: &[u8]) -> Option<Timestamp> {
    let attribute = content.get(4..)?;
    if attribute.get(..2)? != [1, 0] {
        return None;
    }
    let ticks = i128::from(u64::from_le_bytes(attribute.get(4..12)?.try_into().ok()?)) - NTFS_EPOCH;
    Some(Timestamp {
        seconds: i64::try_from(ticks.div_euclid(10_000_000)).ok()?,
        nanoseconds: u32::try_from(ticks.rem_euclid(10_000_000) * 100).ok()?,
    })
}

fn from_dos(dos_time: u32) -> Option<Timestamp> {
    let bits = |from: u32, count: u32| ((dos_time >> from) & ((1 << count) - 1)) as i8;
    let year = 1980 + (dos_time >> 25) as i16;
    let (second, minute, hour, day, month) = (bits(0, 5) * 2, bits(5, 6), bits(11, 5), bits(16, 5), bits(21, 4));
    let date_time = jiff::civil::DateTime::new(year, month, day, hour, minute, second, 0).ok()?;
    let timestamp = date_time.to_zoned(local_zone().clone()).ok()?.timestamp();
    Some(Timestamp {
        seconds: timestamp.as_second(),
        nanoseconds: 0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOS_2024_05_06_070810: u32 = (44 << 9 | 5 << 5 | 6) << 16 | 7 << 11 | 8 << 5 | 5;

    #[test]
    fn the_extended_timestamp_is_read_as_signed_before_2038() {
        let content = [3, 0xff, 0xff, 0xff, 0xff];
        let dos_2040 = 60 << 25;
        assert_eq!(from_extended(&content, 0).unwrap().seconds, -1);
        assert_eq!(from_extended(&content, dos_2040).unwrap().seconds, 4_294_967_295);
        assert_eq!(from_extended(&[2, 0, 0, 0, 0], 0), None, "bit 0 is not set");
        assert_eq!(from_extended(&[1, 0], 0), None, "cut off");
    }

    #[test]
    fn the_ntfs_field_keeps_100_nanoseconds() {
        let mut content = vec![0, 0, 0, 0, 1, 0, 24, 0];
        content.extend_from_slice(&(116_444_736_000_000_000_u64 + 15_000_000 * 10 + 7).to_le_bytes());
        assert_eq!(
            from_ntfs(&content),
            Some(Timestamp {
                seconds: 15,
                nanoseconds: 700
            })
        );
    }

    #[test]
    fn the_dos_fields_are_local_time() {
        let expected = jiff::civil::date(2024, 5, 6)
            .at(7, 8, 10, 0)
            .to_zoned(jiff::tz::TimeZone::system())
            .unwrap();
        assert_eq!(
            from_dos(DOS_2024_05_06_070810).unwrap().seconds,
            expected.timestamp().as_second()
        );
        assert_eq!(from_dos(0), None, "month and day are zero");
    }
}
