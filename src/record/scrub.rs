//! Looks whether recordings are what they were: every file against its digest, every line of a timeline against its checksum. Takes as much
//! memory as the longest line, and changes nothing unless it is to repair.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use recording::line;
use recording::manifest::{Manifest, State};
use serde::Serialize;

use super::files::{read_manifest, write_manifest};
use super::finish::{add_digests, digest, repair};
use super::seal::{self, Folder, KeyFile, Keys};
use super::stored::Stored;

/// Longest line of a timeline: a snapshot of a class of thousands has some megabytes.
const LINE_BYTES: u64 = 32 << 20;

/// How to look.
#[derive(Debug, Clone)]
pub struct Scrub {
    /// The folder of all recordings.
    pub folder: PathBuf,
    /// What opens those that are sealed.
    pub keys: Keys,
    /// Whether a server uses it: what is live is being made then, and nobody else's to look at.
    pub has_server: bool,
    /// Whether to mend what can be. Only without a server.
    pub repair: bool,
}

/// What was found of one recording.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The name of its folder.
    pub id: String,
    /// Whether it was left out because it is being made.
    pub live: bool,
    /// The id of the key that it is sealed with, if that is not here: then its sound and pictures alone were looked at, as they lie there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locked: Option<String>,
    /// Files that were read.
    pub files: u64,
    /// Bytes that were read.
    pub bytes: u64,
    /// What is wrong.
    pub problems: Vec<Problem>,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file's name.
    pub file: String,
    /// What.
    #[serde(flatten)]
    pub what: Wrong,
    /// Whether it is mended now.
    pub repaired: bool,
}

/// What can be wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "problem", rename_all = "kebab-case")]
pub enum Wrong {
    /// The manifest.
    #[error("there is no manifest that can be read")]
    NoManifest,
    /// The recording was cut off, and nobody has finished it.
    #[error("the recording was cut off and is not finished")]
    Torn,
    /// The manifest names a file that is not there.
    #[error("the file is missing")]
    Missing,
    /// The file cannot be read.
    #[error("the file cannot be read: {error}")]
    Unreadable {
        /// Why.
        error: String,
    },
    /// It is longer or shorter than the manifest says.
    #[error("the file has {found} bytes, and had {expected}")]
    Length {
        /// As the manifest says.
        expected: u64,
        /// As it is.
        found: u64,
    },
    /// It has changed since its digest was made.
    #[error("the file is damaged: its BLAKE3 is not that of the manifest")]
    Digest,
    /// Nobody has made a digest yet.
    #[error("the manifest has no digest of the file")]
    NoDigest,
    /// Lines of the timeline are damaged.
    #[error("{lines} lines are damaged")]
    Lines {
        /// How many.
        lines: u64,
    },
}

impl Report {
    /// Whether nothing is wrong any more.
    pub fn is_whole(&self) -> bool {
        self.problems.iter().all(|problem| problem.repaired)
    }
}

impl Scrub {
    /// The recordings, by id.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn ids(&self) -> io::Result<Vec<String>> {
        let mut ids = Vec::new();
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_dir() && !name.starts_with('.') {
                ids.push(name);
            }
        }
        ids.sort();
        Ok(ids)
    }

    /// The folder of a recording.
    ///
    /// # Errors
    /// When it is sealed and cannot be opened.
    pub fn open(&self, id: &str) -> io::Result<Folder> {
        Folder::open(&self.folder.join(id), id, &self.keys)
    }

    /// The manifest of a recording; none when it cannot be read.
    ///
    /// # Errors
    /// When it is sealed and cannot be opened.
    pub fn manifest(&self, id: &str) -> io::Result<Option<Manifest>> {
        Ok(read_manifest(&self.open(id)?))
    }

    /// Wraps the key of a sealed recording anew with the first key. Whether that changes anything.
    ///
    /// # Errors
    /// When the key that it is wrapped with is not here, or it cannot be written.
    pub fn rewrap(&self, id: &str) -> io::Result<bool> {
        let folder = self.folder.join(id);
        let Some(mut key) = KeyFile::read(&folder)? else { return Ok(false) };
        let changed = key.rewrap(id, &self.keys)?;
        if changed {
            key.write(&folder)?;
        }
        Ok(changed)
    }

    /// Looks at one recording.
    pub fn look(&self, id: &str) -> Report {
        let mut report =
            Report { id: id.to_owned(), live: false, locked: None, files: 0, bytes: 0, problems: Vec::new() };
        let folder = match self.open(id) {
            Ok(folder) => folder,
            Err(error) => {
                match seal::locked(&error) {
                    Some(locked) => {
                        report.locked = Some(locked.key.clone());
                        report.look_at_locked(&self.folder.join(id));
                    }
                    None => report.add(seal::KEY_FILE, unreadable(&error), false),
                }
                return report;
            }
        };
        let Some(mut manifest) = read_manifest(&folder) else {
            report.add("manifest.json", Wrong::NoManifest, false);
            return report;
        };
        if manifest.state == State::Live {
            if self.has_server {
                report.live = true;
                return report;
            }
            let finished = self.repair.then(|| repair(&folder)).flatten();
            report.add("manifest.json", Wrong::Torn, finished.is_some());
            match finished {
                Some(finished) => manifest = finished,
                None => return report,
            }
        }
        let mut lacks_digest = Vec::new();
        let stored = Stored::read(folder.path());
        for (name, bytes, blake3) in files(&manifest) {
            if stored.has_left(folder.path(), name) {
                continue;
            }
            match digest(&folder.path().join(name)) {
                Ok((found, found_bytes)) => {
                    report.files += 1;
                    report.bytes += found_bytes;
                    match blake3 {
                        // A file of another length has another digest: one of the two says enough.
                        _ if found_bytes != bytes && !folder.is_sealed() => {
                            report.add(name, Wrong::Length { expected: bytes, found: found_bytes }, false);
                        }
                        Some(expected) if *expected != found => report.add(name, Wrong::Digest, false),
                        Some(_) => {}
                        // A server makes it by itself.
                        None if self.has_server => {}
                        None => lacks_digest.push(name.to_owned()),
                    }
                }
                Err(error) => report.add(name, unreadable(&error), false),
            }
        }
        // What is damaged gets no digest that says it is not.
        let added = self.repair && report.is_whole() && !lacks_digest.is_empty() && add_digests(&folder);
        lacks_digest.iter().for_each(|name| report.add(name, Wrong::NoDigest, added));
        self.look_at_timeline(&folder, &mut report);
        report
    }

    fn look_at_timeline(&self, folder: &Folder, report: &mut Report) {
        // As it is with new digests.
        let Some(manifest) = read_manifest(folder) else { return };
        let name = manifest.timeline.as_str();
        let (damaged, bytes) = match folder.file(name).and_then(|file| sift(file, &mut io::sink())) {
            Ok(found) => found,
            Err(error) => return report.add(name, unreadable(&error), false),
        };
        report.files += 1;
        report.bytes += bytes;
        if damaged == 0 && bytes == manifest.timeline_bytes {
            return;
        }
        let mended = self.repair
            && mend(folder, &manifest)
                .map_err(|error| tracing::error!(%error, "a timeline stays damaged"))
                .is_ok();
        if damaged > 0 {
            report.add(name, Wrong::Lines { lines: damaged }, mended);
        }
        if bytes != manifest.timeline_bytes {
            report.add(name, Wrong::Length { expected: manifest.timeline_bytes, found: bytes }, mended);
        }
    }
}

impl Report {
    /// What can be said without the key. A recording without digests is being made, or was cut off.
    fn look_at_locked(&mut self, folder: &Path) {
        let Ok(Some(key)) = KeyFile::read(folder) else { return };
        let stored = Stored::read(folder);
        for (name, blake3) in key.blake3.iter().filter(|(name, _)| !stored.has_left(folder, name)) {
            match digest(&folder.join(name)) {
                Ok((found, bytes)) => {
                    (self.files, self.bytes) = (self.files + 1, self.bytes + bytes);
                    if found != *blake3 {
                        self.add(name, Wrong::Digest, false);
                    }
                }
                Err(error) => self.add(name, unreadable(&error), false),
            }
        }
    }

    fn add(&mut self, file: &str, what: Wrong, repaired: bool) {
        self.problems.push(Problem { file: file.to_owned(), what, repaired });
    }
}

fn unreadable(error: &io::Error) -> Wrong {
    match error.kind() {
        io::ErrorKind::NotFound => Wrong::Missing,
        _ => Wrong::Unreadable { error: error.to_string() },
    }
}

fn files(manifest: &Manifest) -> impl Iterator<Item = (&str, u64, Option<&String>)> {
    let tracks =
        manifest.tracks.iter().map(|track| (track.file.as_str(), track.bytes, track.blake3.as_ref()));
    tracks.chain(manifest.mix.iter().map(|mix| (mix.file.as_str(), mix.bytes, mix.blake3.as_ref())))
}

/// Copies the lines that are whole. Gives how many are not, and how many bytes were read.
fn sift(file: impl Read, whole: &mut impl Write) -> io::Result<(u64, u64)> {
    let mut file = BufReader::new(file);
    let (mut damaged, mut bytes, mut text) = (0, 0, Vec::new());
    loop {
        text.clear();
        let read = file.by_ref().take(LINE_BYTES).read_until(b'\n', &mut text)?;
        if read == 0 {
            return Ok((damaged, bytes));
        }
        bytes += read as u64;
        match line::read(&text) {
            Some(_) => whole.write_all(&text)?,
            None => damaged += 1,
        }
    }
}

/// Leaves the damaged lines out of a timeline, which else ends at the first of them. What it was is kept beside it.
fn mend(folder: &Folder, manifest: &Manifest) -> io::Result<()> {
    let name = &manifest.timeline;
    let mut whole = folder.draft(name, ".timeline.draft")?;
    sift(folder.file(name)?, &mut whole)?;
    let damaged = folder.path().join(format!("{name}.damaged"));
    if !damaged.exists() {
        std::fs::hard_link(folder.path().join(name), &damaged)?;
    }
    let timeline_bytes = whole.place()?;
    write_manifest(folder, &Manifest { timeline_bytes, ..manifest.clone() })
}

#[cfg(test)]
#[path = "scrub_test.rs"]
mod tests;
