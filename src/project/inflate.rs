//! The data of one member: decompressed in pieces, checked against size and CRC-32. Knows nothing of names or trees.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::unix::fs::FileExt;

use flate2::{Decompress, FlushDecompress, Status};

/// Compressed and unpacked data are handled in pieces of this size: large enough that a call to the system costs little
/// beside it, small enough for a core's own cache.
const PIECE_BYTES: usize = 256 * 1024;
/// Tables of LZMA and window of zstd come from the archive; no more than this is given to them.
const MAX_DICTIONARY_BYTES: u64 = 128 * 1024 * 1024;

/// How a member is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Method {
    Stored,
    Deflate,
    Deflate64,
    Bzip2,
    Lzma,
    Zstd,
}

impl Method {
    /// The method that a number stands for (APPNOTE 4.4.5), or the name of the one that is not handled.
    pub fn from_number(number: u16) -> Result<Method, String> {
        let other = match number {
            0 => return Ok(Method::Stored),
            8 => return Ok(Method::Deflate),
            9 => return Ok(Method::Deflate64),
            12 => return Ok(Method::Bzip2),
            14 => return Ok(Method::Lzma),
            // 20 is what zstd had before it was given 93.
            20 | 93 => return Ok(Method::Zstd),
            1 => "shrink",
            2..=5 => "reduce",
            6 => "implode",
            95 => "XZ",
            96 => "JPEG",
            97 => "WavPack",
            98 => "PPMd",
            _ => return Err(format!("method {number}")),
        };
        Err(other.to_owned())
    }

    pub fn name(self) -> &'static str {
        match self {
            Method::Stored => "stored",
            Method::Deflate => "deflate",
            Method::Deflate64 => "deflate64",
            Method::Bzip2 => "bzip2",
            Method::Lzma => "LZMA",
            Method::Zstd => "zstd",
        }
    }
}

/// Where a member's data lie, and what they must come to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Extent {
    pub method: Method,
    pub data_offset: u64,
    pub compressed_bytes: u64,
    pub size_bytes: u64,
    pub crc32: u32,
}

/// Why data could not be unpacked.
#[derive(Debug)]
pub(super) enum Fault {
    /// The archive cannot be read.
    Read(io::Error),
    /// The data end before the stream does, or are not what the method produces.
    Data { read_bytes: u64, why: String },
    /// There is more, or less, than declared.
    Size { at_least_bytes: u64 },
    /// The data differ from what was packed.
    Crc { actual: u32 },
    /// The receiver of the data failed.
    Sink(io::Error),
}

/// Buffers and state for one thread, used for one member after the other.
pub(super) struct Inflater {
    raw: Decompress,
    input: Vec<u8>,
    output: Vec<u8>,
}

impl Inflater {
    pub fn new() -> Inflater {
        Inflater {
            raw: Decompress::new(false),
            input: vec![0; PIECE_BYTES],
            output: vec![0; PIECE_BYTES],
        }
    }

    /// Passes the unpacked data of `extent` in `file` to `sink`, piece by piece. No byte beyond the declared size is
    /// passed on; the checksum is only known to fit when this returns `Ok`.
    pub fn unpack(
        &mut self,
        file: &File,
        extent: &Extent,
        mut sink: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), Fault> {
        let mut check = Check {
            extent,
            hasher: crc32fast::Hasher::new(),
            passed_bytes: 0,
        };
        match extent.method {
            // Some writers leave an empty file without even an empty stream.
            _ if extent.compressed_bytes == 0 && extent.size_bytes == 0 => {}
            Method::Deflate => self.deflate(file, extent, &mut check, &mut sink)?,
            Method::Stored => {
                let mut section = Section::new(file, extent);
                loop {
                    match section.read(&mut self.input).map_err(Fault::Read)? {
                        0 => break,
                        read => check.pass(&self.input[..read], &mut sink)?,
                    }
                }
            }
            _ => self.stream(file, extent, &mut check, &mut sink)?,
        }
        check.finish()
    }

    /// Deflate has its own loop: most members have it, and are small enough for one call over two reused buffers.
    fn deflate(
        &mut self,
        file: &File,
        extent: &Extent,
        check: &mut Check<'_>,
        sink: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), Fault> {
        self.raw.reset(false);
        let mut section = Section::new(file, extent);
        let mut filled = section.fill(&mut self.input).map_err(Fault::Read)?;
        let mut consumed = 0;
        loop {
            let (in_before, out_before) = (self.raw.total_in(), self.raw.total_out());
            let flush = if section.is_at_end() {
                FlushDecompress::Finish
            } else {
                FlushDecompress::None
            };
            let status = self
                .raw
                .decompress(&self.input[consumed..filled], &mut self.output, flush)
                .map_err(|error| Fault::Data {
                    read_bytes: check.passed_bytes,
                    why: error.to_string(),
                })?;
            let took = (self.raw.total_in() - in_before) as usize;
            let gave = (self.raw.total_out() - out_before) as usize;
            consumed += took;
            check.pass(&self.output[..gave], sink)?;
            if status == Status::StreamEnd {
                return Ok(());
            }
            if consumed == filled && !section.is_at_end() {
                filled = section.fill(&mut self.input).map_err(Fault::Read)?;
                consumed = 0;
            } else if took == 0 && gave == 0 {
                return Err(Fault::Data {
                    read_bytes: check.passed_bytes,
                    why: "the stream has no end".to_owned(),
                });
            }
        }
    }

    fn stream(
        &mut self,
        file: &File,
        extent: &Extent,
        check: &mut Check<'_>,
        sink: &mut impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<(), Fault> {
        let section = BufReader::with_capacity(PIECE_BYTES, Section::new(file, extent));
        let data_fault = |read_bytes| {
            move |error: io::Error| Fault::Data {
                read_bytes,
                why: error.to_string(),
            }
        };
        let mut reader: Box<dyn Read + '_> = match extent.method {
            Method::Deflate64 => Box::new(deflate64::Deflate64Decoder::with_buffer(section)),
            Method::Bzip2 => Box::new(bzip2::bufread::BzDecoder::new(section)),
            Method::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(section).map_err(data_fault(0))?;
                decoder
                    .window_log_max(MAX_DICTIONARY_BYTES.ilog2())
                    .map_err(data_fault(0))?;
                Box::new(decoder)
            }
            _ => lzma(section, extent.size_bytes).map_err(data_fault(0))?,
        };
        // Reading stops one byte past the declared size at the latest, where `pass` refuses it.
        loop {
            match reader.read(&mut self.output).map_err(data_fault(check.passed_bytes))? {
                0 => return Ok(()),
                read => check.pass(&self.output[..read], sink)?,
            }
        }
    }
}

/// LZMA in a zip starts with a version, the length of the properties, and the properties (APPNOTE 5.8.8).
fn lzma<'a>(mut section: BufReader<Section<'a>>, size_bytes: u64) -> io::Result<Box<dyn Read + 'a>> {
    let mut header = [0; 9];
    section.read_exact(&mut header)?;
    if header[2..4] != [5, 0] {
        return Err(io::Error::other("its LZMA properties are not 5 bytes long"));
    }
    let properties = header[4];
    let wanted_bytes = u32::from_le_bytes([header[5], header[6], header[7], header[8]]);
    // No match reaches back further than the data are long, so the rest of a large dictionary is never used.
    let dictionary_bytes = u64::from(wanted_bytes).min(size_bytes.max(4096));
    if dictionary_bytes > MAX_DICTIONARY_BYTES {
        return Err(io::Error::other(format!(
            "it needs a dictionary of {dictionary_bytes} bytes"
        )));
    }
    let reader =
        lzma_rust2::LzmaReader::new_with_props(section, size_bytes, properties, dictionary_bytes as u32, None)?;
    Ok(Box::new(reader))
}

/// Counts and sums what has been unpacked.
struct Check<'a> {
    extent: &'a Extent,
    hasher: crc32fast::Hasher,
    passed_bytes: u64,
}

impl Check<'_> {
    fn pass(&mut self, piece: &[u8], sink: &mut impl FnMut(&[u8]) -> io::Result<()>) -> Result<(), Fault> {
        if piece.is_empty() {
            return Ok(());
        }
        let passed_bytes = self.passed_bytes + piece.len() as u64;
        if passed_bytes > self.extent.size_bytes {
            return Err(Fault::Size {
                at_least_bytes: passed_bytes,
            });
        }
        self.passed_bytes = passed_bytes;
        self.hasher.update(piece);
        sink(piece).map_err(Fault::Sink)
    }

    fn finish(self) -> Result<(), Fault> {
        if self.passed_bytes != self.extent.size_bytes {
            return Err(Fault::Size {
                at_least_bytes: self.passed_bytes,
            });
        }
        match self.hasher.finalize() {
            actual if actual == self.extent.crc32 => Ok(()),
            actual => Err(Fault::Crc { actual }),
        }
    }
}

/// The compressed data of one member, read at their place: threads share the file, and not its position.
struct Section<'a> {
    file: &'a File,
    offset: u64,
    end: u64,
}

impl<'a> Section<'a> {
    fn new(file: &'a File, extent: &Extent) -> Section<'a> {
        Section {
            file,
            offset: extent.data_offset,
            end: extent.data_offset + extent.compressed_bytes,
        }
    }

    fn is_at_end(&self) -> bool {
        self.offset == self.end
    }

    /// Fills `buffer` as far as the section goes.
    fn fill(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let wanted = (self.end - self.offset).min(buffer.len() as u64) as usize;
        self.file.read_exact_at(&mut buffer[..wanted], self.offset)?;
        self.offset += wanted as u64;
        Ok(wanted)
    }
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fill(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_beyond_the_declared_size_is_passed_on() {
        use std::io::Write;
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&vec![0; 10_000_000]).unwrap();
        let bomb = encoder.finish().unwrap();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bomb).unwrap();
        let extent = Extent {
            method: Method::Deflate,
            data_offset: 0,
            compressed_bytes: bomb.len() as u64,
            size_bytes: 300_000,
            crc32: 0,
        };
        let mut passed_bytes = 0;
        let result = Inflater::new().unpack(&file, &extent, |piece| {
            passed_bytes += piece.len();
            Ok(())
        });
        // It also stops there: the fault names one piece more, not the ten million bytes that follow.
        assert!(
            matches!(
                result,
                Err(Fault::Size {
                    at_least_bytes: 300_001..600_000
                })
            ),
            "{result:?}"
        );
        assert!(passed_bytes <= 300_000, "{passed_bytes}");
    }
}
