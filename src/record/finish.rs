//! Finishing recordings: what a crash has torn, and the digests of what is whole.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use recording::manifest::{Manifest, State};
use recording::recover;

use super::archive::Archive;
use super::files::{read_manifest, write_manifest};
use super::seal::{Folder, KeyFile};

/// Starts the thread that, once, finishes what was live when the last process ended, removes what was half removed, and fills the
/// catalogue.
pub(super) fn start(archive: Arc<Archive>) -> io::Result<JoinHandle<()>> {
    // What is there now: recordings that begin from here on are nobody's to finish.
    let there = archive.ids()?;
    // Before any recording begins.
    archive.forget_missing()?;
    std::thread::Builder::new().name("recording-finish".into()).spawn(move || {
        if let Err(error) = archive.purge_buried() {
            tracing::error!(%error, "removed recordings may still be on the disk");
        }
        for id in there {
            finish(&archive, &id);
            archive.put(&id);
        }
    })
}

/// Finishes what nobody makes any more and could not be finished before, and adds digests that are missing.
pub(super) fn finish_all(archive: &Archive) {
    match archive.ids() {
        Ok(ids) => ids.iter().filter(|id| finish(archive, id)).for_each(|id| archive.put(id)),
        Err(error) => tracing::error!(%error, "the folder of the recordings cannot be read"),
    }
}

/// Whether something was done.
fn finish(archive: &Archive, id: &str) -> bool {
    let Some((folder, manifest)) = archive.open_folder(id).ok().zip(archive.manifest(id)) else {
        return false;
    };
    if manifest.state == State::Live {
        // Somebody makes it.
        let Some(_claim) = archive.in_use.claim(id) else { return false };
        let Some(manifest) = repair(&folder) else { return false };
        tracing::info!(
            recording = manifest.id,
            milliseconds = manifest.duration_ms,
            "a recording that was interrupted is whole again"
        );
        add_digests(&folder);
        return true;
    }
    !has_digests(&manifest) && add_digests(&folder)
}

/// Makes a whole recording of what is on the disk. Doing it again changes nothing.
pub(super) fn repair(folder: &Folder) -> Option<Manifest> {
    let mut manifest = read_manifest(folder)?;
    if manifest.state != State::Live {
        return Some(manifest);
    }
    let result = try_repair(folder, &mut manifest);
    if let Err(error) = &result {
        tracing::error!(recording = manifest.id, %error, "an interrupted recording cannot be finished");
    }
    result.ok().map(|()| manifest)
}

fn try_repair(folder: &Folder, manifest: &mut Manifest) -> io::Result<()> {
    let read = |name: &str| {
        folder.mend(name)?;
        match folder.file(name) {
            Ok(file) => {
                let bytes = file.plain_bytes();
                Ok(Some((file, bytes)))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    };
    folder.mend(&manifest.timeline)?;
    let timeline = match folder.read(&manifest.timeline) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read?,
    };
    let Some(plan) = recover::plan(manifest, &timeline, read)? else { return Ok(()) };
    for (name, recovery) in &plan.files {
        let mut file = folder.resume(name)?;
        file.cut(recovery.keep_bytes)?;
        file.append(&recovery.append)?;
        for (at, bytes) in &recovery.patches {
            // The last one says that the file is finished.
            file.sync()?;
            file.patch(*at, bytes)?;
        }
        file.finish()?;
    }
    let mut file = folder.resume(&manifest.timeline)?;
    file.cut(plan.timeline_bytes)?;
    file.append(plan.timeline_append.as_bytes())?;
    file.finish()?;
    *manifest = plan.manifest;
    write_manifest(folder, manifest)
}

/// Adds the digests of its files to a finished recording, on a thread of its own: a long class takes seconds to read.
pub(super) fn add_digests_later(id: &str, archive: Arc<Archive>) {
    let id = id.to_owned();
    let add = move || {
        if archive.open_folder(&id).is_ok_and(|folder| add_digests(&folder)) {
            archive.put(&id);
        }
    };
    if let Err(error) = std::thread::Builder::new().name("recording-digest".into()).spawn(add) {
        tracing::error!(%error, "a recording has no digests");
    }
}

/// Whether every file has its digest.
pub(super) fn has_digests(manifest: &Manifest) -> bool {
    manifest.tracks.iter().all(|track| track.blake3.is_some())
        && manifest.mix.as_ref().is_none_or(|mix| mix.blake3.is_some())
}

/// The digest of a file as it lies there, and how long it is.
pub(super) fn digest(path: &Path) -> io::Result<(String, u64)> {
    let mut hasher = blake3::Hasher::new();
    let bytes = io::copy(&mut File::open(path)?, &mut hasher)?;
    Ok((hasher.finalize().to_hex().to_string(), bytes))
}

/// Adds the digests. Whether they are there now.
pub(super) fn add_digests(folder: &Folder) -> bool {
    let Some(mut manifest) = read_manifest(folder) else { return false };
    let added = (|| {
        let tracks = manifest.tracks.iter_mut().map(|track| (&track.file, &mut track.blake3));
        let mix = manifest.mix.iter_mut().map(|mix| (&mix.file, &mut mix.blake3));
        let mut all = BTreeMap::new();
        for (file, blake3) in tracks.chain(mix) {
            let found = digest(&folder.path().join(file))?.0;
            all.insert(file.clone(), found.clone());
            *blake3 = Some(found);
        }
        // Before the manifest, which says that this was done.
        if let Some(mut key) = KeyFile::read(folder.path())? {
            key.blake3 = all;
            key.write(folder.path())?;
        }
        write_manifest(folder, &manifest)
    })();
    match added {
        Ok(()) => true,
        // Removed meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => false,
        Err(error) => {
            tracing::error!(recording = manifest.id, %error, "a recording has no digests");
            false
        }
    }
}
