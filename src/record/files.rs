//! The manifest of a recording on the disk.

use std::io::{self, Write as _};

use recording::manifest::Manifest;

use super::seal::Folder;

/// The name of the manifest's file.
pub(super) const MANIFEST_FILE: &str = "manifest.json";

/// Whether there is one.
pub(super) fn has_manifest(folder: &Folder) -> bool {
    folder.path().join(MANIFEST_FILE).exists()
}

/// Reads it; none when there is none, or it cannot be read.
pub(super) fn read_manifest(folder: &Folder) -> Option<Manifest> {
    serde_json::from_slice(&folder.read(MANIFEST_FILE).ok()?).ok()
}

/// Replaces the manifest in one step.
pub(super) fn write_manifest(folder: &Folder, manifest: &Manifest) -> io::Result<()> {
    let mut draft = folder.draft(MANIFEST_FILE, ".manifest.draft")?;
    draft.write_all(&serde_json::to_vec_pretty(manifest)?)?;
    draft.place().map(|_| ())
}
