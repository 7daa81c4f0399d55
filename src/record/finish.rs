//! Finishing recordings: what a crash has torn, and the digests of what is whole.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use recording::manifest::{Manifest, State};
use recording::recover;

use super::catalogue::Catalogue;
use super::files::{read_manifest, write_manifest};
use super::in_use::InUse;

/// Starts the thread that, once, finishes what was live when the last process ended, removes what was half removed, and fills the
/// catalogue.
pub(super) fn start(
    folder: PathBuf,
    catalogue: Arc<dyn Catalogue>,
    in_use: InUse,
) -> io::Result<JoinHandle<()>> {
    // What is there now: recordings that begin from here on are nobody's to finish.
    let there: Vec<PathBuf> =
        std::fs::read_dir(&folder)?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    let names = there.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    // Before any recording begins.
    catalogue.keep_only(&names.collect());
    std::thread::Builder::new().name("recording-finish".into()).spawn(move || {
        for recording in there {
            let name =
                recording.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            if name.starts_with(".deleted-") {
                if let Err(error) = std::fs::remove_dir_all(&recording) {
                    tracing::error!(recording = name, %error, "a removed recording is still on the disk");
                }
                continue;
            }
            let Some(manifest) = read_manifest(&recording) else { continue };
            if manifest.state == State::Live {
                let _hold = in_use.hold(&name);
                if let Some(manifest) = repair(&recording) {
                    tracing::info!(
                        recording = manifest.id,
                        milliseconds = manifest.duration_ms,
                        "a recording that was interrupted is whole again"
                    );
                    catalogue.put(&recording, &manifest);
                    seal(&recording, catalogue.as_ref());
                }
            } else {
                catalogue.put(&recording, &manifest);
            }
        }
    })
}

/// Makes a whole recording of what is on the disk. Doing it again changes nothing.
pub(super) fn repair(folder: &Path) -> Option<Manifest> {
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

fn try_repair(folder: &Path, manifest: &mut Manifest) -> io::Result<()> {
    let read = |name: &str| match File::open(folder.join(name)) {
        Ok(file) => {
            let len = file.metadata()?.len();
            Ok(Some((file, len)))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    };
    let timeline = match std::fs::read(folder.join(&manifest.timeline)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        read => read?,
    };
    let Some(plan) = recover::plan(manifest, &timeline, read)? else { return Ok(()) };
    for (name, recovery) in &plan.files {
        let file = File::options().write(true).open(folder.join(name))?;
        file.set_len(recovery.keep_bytes)?;
        file.write_all_at(&recovery.append, recovery.keep_bytes)?;
        for (at, bytes) in &recovery.patches {
            // The last one says that the file is finished.
            file.sync_data()?;
            file.write_all_at(bytes, *at)?;
        }
        file.sync_data()?;
    }
    let path = folder.join(&manifest.timeline);
    let file = File::options().write(true).create(true).truncate(false).open(path)?;
    file.set_len(plan.timeline_bytes)?;
    file.write_all_at(plan.timeline_append.as_bytes(), plan.timeline_bytes)?;
    file.sync_data()?;
    *manifest = plan.manifest;
    write_manifest(folder, manifest)
}

/// Adds the digests of its files to a finished recording, on a thread of its own: a long class takes seconds to read.
pub(super) fn seal_later(folder: PathBuf, catalogue: Arc<dyn Catalogue>) {
    let sealing = std::thread::Builder::new()
        .name("recording-seal".into())
        .spawn(move || seal(&folder, catalogue.as_ref()));
    if let Err(error) = sealing {
        tracing::error!(%error, "a recording has no digests");
    }
}

fn seal(folder: &Path, catalogue: &dyn Catalogue) {
    let Some(mut manifest) = read_manifest(folder) else { return };
    let digest = |name: &str| -> io::Result<String> {
        let mut hasher = blake3::Hasher::new();
        io::copy(&mut File::open(folder.join(name))?, &mut hasher)?;
        Ok(hasher.finalize().to_hex().to_string())
    };
    let sealed = (|| {
        for track in &mut manifest.tracks {
            track.blake3 = Some(digest(&track.file)?);
        }
        if let Some(mix) = &mut manifest.mix {
            mix.blake3 = Some(digest(&mix.file)?);
        }
        write_manifest(folder, &manifest)
    })();
    match sealed {
        Ok(()) => catalogue.put(folder, &manifest),
        // Removed meanwhile.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => tracing::error!(recording = manifest.id, %error, "a recording has no digests"),
    }
}
