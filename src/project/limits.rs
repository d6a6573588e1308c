//! How much a project may unpack to. Owns the numbers and their defaults; knows nothing of zips.

/// What a zip may declare before it is refused; each is settable by option, environment or `[tool.dray]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Sum of all members' unpacked sizes, in bytes. Default: 20 GiB, which fits the temporary disk of small Batch nodes.
    pub max_unpacked_bytes: u64,
    /// Number of members that are unpacked, folders included. Default: 500,000; a project with several vendored
    /// packages of the size of TensorFlow has some 50,000.
    pub max_members: u64,
    /// Unpacked bytes a byte of compressed data, over the whole archive. Default: 500. Deflate reaches 1,032 on zeros
    /// alone; sources and shared libraries lie between 2 and 10. Not judged below [`Limits::RATIO_FLOOR_BYTES`].
    pub max_ratio: u64,
}

impl Limits {
    /// Archives that unpack to fewer bytes than this (1 MiB) are never refused for their expansion ratio.
    pub const RATIO_FLOOR_BYTES: u64 = 1024 * 1024;
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            max_unpacked_bytes: 20 * 1024 * 1024 * 1024,
            max_members: 500_000,
            max_ratio: 500,
        }
    }
}
