//! Manifests that were read lately: a browser asks for a file in hundreds of parts, and each request needs the manifest.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use recording::manifest::Manifest;

use super::files::{MANIFEST_FILE, read_manifest};
use super::seal::{self, Folder, Keys, Locked};

/// Most that are kept. A manifest of a class of thirty people is about 20 KB.
const KEPT: usize = 128;

/// Manifests by the id of their recording.
#[derive(Debug, Default)]
pub(super) struct Manifests(Mutex<HashMap<String, (Stamp, Arc<Manifest>)>>);

/// Another file, or another content, has another stamp: a manifest is replaced by renaming, never written over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    file: u64,
    bytes: u64,
    modified: (i64, i64),
}

impl Manifests {
    /// The manifest in a folder as it is now; none when there is none, or it cannot be read.
    ///
    /// # Errors
    /// When it is sealed with a key that is not here.
    pub fn read(&self, id: &str, folder: &Path, keys: &Keys) -> Result<Option<Arc<Manifest>>, Locked> {
        let Ok(meta) = std::fs::metadata(folder.join(MANIFEST_FILE)) else { return Ok(None) };
        let stamp =
            Stamp { file: meta.ino(), bytes: meta.len(), modified: (meta.mtime(), meta.mtime_nsec()) };
        if let Some((known, manifest)) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(id)
            && *known == stamp
        {
            return Ok(Some(manifest.clone()));
        }
        let folder = match Folder::open(folder, id, keys) {
            Ok(folder) => folder,
            Err(error) => return seal::locked(&error).cloned().map_or(Ok(None), Err),
        };
        let Some(manifest) = read_manifest(&folder).map(Arc::new) else { return Ok(None) };
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT {
            kept.clear();
        }
        kept.insert(id.to_owned(), (stamp, manifest.clone()));
        Ok(Some(manifest))
    }
}
