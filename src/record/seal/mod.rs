//! Recordings that nobody reads without a key: encryption at rest (`recording_key_file`).
//!
//! Each recording has a random key of its own, which lies in its folder wrapped with a master key (`keys.rs`). A sealed file is a log of encrypted
//! records that is only ever appended to (`log.rs`, without files), and read as if it were the plain one (`reader.rs`). [`Folder`] is a recording's
//! folder in which files are what was written into them, sealed or not: whoever has it need not know. The format, byte by byte: `docs/sealed.md`.

mod folder;
mod keys;
mod log;
mod reader;

use std::io;

pub use folder::{Draft, Folder, Reading, Writing, is_sealed};
pub(super) use keys::{DataKey, KEY_FILE, KeyFile};
pub use keys::{Keys, KeysError, new_key};
pub(super) use log::Mapped;
pub(super) use reader::{Sparse, Stream, open_bytes};

/// The key of a recording is wrapped with a master key that is not here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the recording is sealed with the key {key}, which is not in recording_key_file")]
pub struct Locked {
    /// The id of that master key.
    pub key: String,
}

/// Something sealed is not what was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Damaged {
    /// The file does not begin like a sealed one.
    #[error("this is no sealed file")]
    Head,
    /// A record, by its number, is not what was sealed there, or of another file.
    #[error("record {0} of the sealed file is damaged, or not where it belongs")]
    Record(u64),
    /// The index at the end.
    #[error("the index of the sealed file is damaged")]
    Index,
    /// The wrapped key.
    #[error("the key of the recording is damaged, or that of another")]
    Key,
}

impl From<Damaged> for io::Error {
    fn from(damaged: Damaged) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, damaged)
    }
}

impl From<Locked> for io::Error {
    fn from(locked: Locked) -> Self {
        io::Error::new(io::ErrorKind::PermissionDenied, locked)
    }
}

/// Whether this is why something could not be read.
pub fn locked(error: &io::Error) -> Option<&Locked> {
    error.get_ref()?.downcast_ref()
}

#[cfg(test)]
mod log_test;
