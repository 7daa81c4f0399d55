//! What of a recording is in the bucket: `stored.json` in its folder. It is written after each part that was sent, so that an upload goes on
//! where a crash has cut it off.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use signaling::time::Timestamp;

/// The name of the file.
pub(super) const STORED_FILE: &str = "stored.json";

/// How far an upload is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Stored {
    /// Files that are there and were read back, with their BLAKE3.
    pub files: BTreeMap<String, String>,
    /// The file that is being sent.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sending: Option<Sending>,
    /// When all was there, the manifest included.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub done: Option<Timestamp>,
}

/// A file of which some parts are there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sending {
    /// Its name.
    pub name: String,
    /// Its BLAKE3: another content begins anew.
    pub blake3: String,
    /// The upload's id.
    pub upload: String,
    /// What the bucket calls its parts, in order.
    pub parts: Vec<String>,
}

impl Stored {
    /// Reads it; nothing is stored when there is no file that can be read, and all is sent again.
    pub fn read(folder: &Path) -> Self {
        let file = std::fs::read(folder.join(STORED_FILE)).ok();
        file.and_then(|file| serde_json::from_slice(&file).ok()).unwrap_or_default()
    }

    /// Whether a file has left this folder for the bucket, which was read back then.
    pub fn has_left(&self, folder: &Path, name: &str) -> bool {
        self.done.is_some() && self.files.contains_key(name) && !folder.join(name).exists()
    }

    /// Writes it.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        crate::secrets::write_private(&folder.join(STORED_FILE), &serde_json::to_vec(self)?)
    }
}
