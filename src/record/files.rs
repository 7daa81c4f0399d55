//! The manifest of a recording on the disk.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use recording::manifest::Manifest;

/// The name of the manifest's file.
pub(super) const MANIFEST_FILE: &str = "manifest.json";

/// Whether there is one.
pub(super) fn has_manifest(folder: &Path) -> bool {
    folder.join(MANIFEST_FILE).exists()
}

/// Reads it; none when there is none, or it cannot be read.
pub(super) fn read_manifest(folder: &Path) -> Option<Manifest> {
    serde_json::from_slice(&std::fs::read(folder.join(MANIFEST_FILE)).ok()?).ok()
}

/// Replaces the manifest in one step.
pub(super) fn write_manifest(folder: &Path, manifest: &Manifest) -> io::Result<()> {
    let draft = folder.join(".manifest.draft");
    let mut file = File::create(&draft)?;
    file.write_all(&serde_json::to_vec_pretty(manifest)?)?;
    file.sync_data()?;
    std::fs::rename(&draft, folder.join(MANIFEST_FILE))?;
    // The name is safe when its folder is.
    File::open(folder)?.sync_all()
}
