//! Sealed recordings as they were written: for whoever is to have them without a server.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

use recording::manifest::{Manifest, State};

use super::files::{read_manifest, write_manifest};
use super::finish::add_digests;
use super::seal::{Folder, Keys};

/// The manifest of what was written: the digests of a sealed recording are those of its sealed files.
pub fn as_written(folder: &Folder, manifest: &Manifest) -> Manifest {
    let mut manifest = manifest.clone();
    if folder.is_sealed() {
        manifest.tracks.iter_mut().for_each(|track| track.blake3 = None);
        manifest.mix.iter_mut().for_each(|mix| mix.blake3 = None);
    }
    manifest
}

/// Makes a plain recording of a finished one, in a folder that is not there yet. Gives how many bytes it has.
///
/// # Errors
/// When it cannot be read or written, is not finished, or some of it is in a bucket alone.
pub fn lay_open(folder: &Folder, to: &Path) -> io::Result<u64> {
    let unfinished = || io::Error::other("there is no manifest of a finished recording");
    let manifest = read_manifest(folder).filter(|manifest| manifest.state != State::Live);
    let manifest = as_written(folder, &manifest.ok_or_else(unfinished)?);
    if !manifest.names_are_plain() {
        return Err(io::Error::other("the manifest names files that lead elsewhere"));
    }
    let tracks = manifest.tracks.iter().map(|track| &track.file);
    let names = tracks.chain(manifest.mix.iter().map(|mix| &mix.file)).chain([&manifest.timeline]);
    std::fs::create_dir(to)?;
    let written = copy_all(folder, names, to).and_then(|bytes| {
        let plain = Folder::open(to, &manifest.id, &Keys::default())?;
        write_manifest(&plain, &manifest)?;
        if add_digests(&plain) { Ok(bytes) } else { Err(io::Error::other("the digests cannot be written")) }
    });
    if written.is_err() {
        // Half of a recording helps nobody; that it stays changes nothing.
        let _ = std::fs::remove_dir_all(to);
    }
    written
}

fn copy_all<'a>(folder: &Folder, names: impl Iterator<Item = &'a String>, to: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for name in names {
        let say = |error: io::Error| io::Error::new(error.kind(), format!("{name}: {error}"));
        let mut file = File::options().write(true).create_new(true).open(to.join(name))?;
        bytes += folder.file(name).and_then(|mut from| io::copy(&mut from, &mut file)).map_err(say)?;
        file.flush()?;
    }
    Ok(bytes)
}
