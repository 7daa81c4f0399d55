//! The folder of all recordings with its catalogue and tombstones: what is there, what is said about it, and its end.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use recording::manifest::{Manifest, State};
use recording::retention::{Keep, Kept, Rule};
use recording::tombstone::{Reason, Tombstone};
use serde::Serialize;
use signaling::time::Timestamp;
use tokio::sync::mpsc::UnboundedSender;

use super::catalogue::{Catalogue, CatalogueError, Entry, Query, RecordingSummary, Words};
use super::in_use::InUse;
use super::keep;
use super::manifests::Manifests;
use super::seal::{Folder, Keys, Locked};
use super::tombstones::Tombstones;
use crate::metrics::Metrics;

/// What is being removed is renamed to its id behind this.
const GRAVE: &str = ".deleted-";
/// Recordings that are looked through at once.
const PAGE: u32 = 500;

/// Why a recording was not removed.
#[derive(Debug, thiserror::Error)]
pub enum CannotRemove {
    /// It is being made, finished or exported.
    #[error("the recording is still being made, or something else works on it")]
    InUse,
    /// Something of it cannot be removed now. It does not come back all the same, and is tried again.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A recording in lists, with how long it will be there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Listed {
    /// What the catalogue says.
    #[serde(flatten)]
    pub summary: RecordingSummary,
    /// When it goes; never when there is no time.
    pub delete_after: Option<Timestamp>,
    /// Whether something works on it, so that it cannot be removed now.
    pub in_use: bool,
}

/// All recordings on the disk.
pub(super) struct Archive {
    folder: PathBuf,
    rule: Rule,
    pub catalogue: Arc<dyn Catalogue>,
    pub keys: Keys,
    /// Those whose key is not here, by id.
    locked: Mutex<BTreeMap<String, Locked>>,
    pub in_use: InUse,
    manifests: Manifests,
    tombstones: Tombstones,
    /// Who brings recordings into a bucket, if anybody does.
    changes: Option<UnboundedSender<String>>,
    pub metrics: Arc<Metrics>,
}

impl Archive {
    /// Opens the folder, or makes it. Tombstones that the file or the catalogue has lost come from the other.
    pub fn open(
        folder: PathBuf,
        rule: Rule,
        catalogue: Arc<dyn Catalogue>,
        metrics: Arc<Metrics>,
        changes: Option<UnboundedSender<String>>,
        keys: Keys,
    ) -> io::Result<Self> {
        crate::secrets::make_folder(&folder)?;
        let tombstones = Tombstones::open(&folder)?;
        let listed = catalogue.tombstones().map_err(io::Error::other)?;
        for tombstone in &listed {
            tombstones.add(tombstone)?;
        }
        let listed: BTreeSet<&str> = listed.iter().map(|tombstone| tombstone.id.as_str()).collect();
        for tombstone in tombstones.all().iter().filter(|tombstone| !listed.contains(tombstone.id.as_str())) {
            catalogue.bury(tombstone).map_err(io::Error::other)?;
        }
        let (in_use, manifests, locked) = (InUse::default(), Manifests::default(), Mutex::default());
        Ok(Archive { folder, rule, catalogue, keys, locked, in_use, manifests, tombstones, changes, metrics })
    }

    /// The folder of all.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The folder of a recording, if the id is one that a recording can have.
    pub fn path(&self, id: &str) -> Option<PathBuf> {
        let fits = (1..=80).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        fits.then(|| self.folder.join(id))
    }

    /// The folder of a recording, with its files as they were written.
    pub fn open_folder(&self, id: &str) -> io::Result<Folder> {
        Folder::open(&self.path(id).ok_or(io::ErrorKind::NotFound)?, id, &self.keys)
    }

    /// The manifest of a recording; none if there is no such recording, or its key is not here.
    pub fn manifest(&self, id: &str) -> Option<Arc<Manifest>> {
        self.look_up(id).ok().flatten()
    }

    /// The manifest of a recording; none if there is no such recording.
    ///
    /// # Errors
    /// When its key is not here.
    pub fn look_up(&self, id: &str) -> Result<Option<Arc<Manifest>>, Locked> {
        // A backup that was laid back does not count.
        let path = self.path(id).filter(|_| !self.tombstones.has(id));
        path.map_or(Ok(None), |path| self.manifests.read(id, &path, &self.keys))
    }

    /// Those whose key is not here, with its id.
    pub fn locked(&self) -> BTreeMap<String, Locked> {
        // It is never half changed.
        let mut locked = self.locked.lock().unwrap_or_else(PoisonError::into_inner).clone();
        locked.retain(|id, _| !self.tombstones.has(id));
        locked
    }

    /// Ids of what has a folder.
    pub fn ids(&self) -> io::Result<Vec<String>> {
        let names = std::fs::read_dir(&self.folder)?
            .filter_map(|entry| Some(entry.ok()?.file_name().to_string_lossy().into_owned()));
        Ok(names.filter(|name| self.path(name).is_some()).collect())
    }

    /// Puts a recording into the catalogue as it is now. That this fails is logged: the next start does it again.
    pub fn put(&self, id: &str) {
        let manifest = match self.look_up(id) {
            Ok(Some(manifest)) => manifest,
            Ok(None) => return,
            Err(locked) => {
                tracing::warn!(
                    recording = id,
                    key = locked.key,
                    "a recording is locked: its key is not here"
                );
                self.locked.lock().unwrap_or_else(PoisonError::into_inner).insert(id.to_owned(), locked);
                return;
            }
        };
        // Removed meanwhile.
        let Ok(folder) = self.open_folder(id) else { return };
        let keep_until = match keep::read(folder.path()) {
            Ok(keep) => keep.map(keep::to_text),
            Err(error) => {
                tracing::error!(recording = id, %error, "how long a recording is kept cannot be read: it is kept");
                Some(keep::to_text(Keep::Forever))
            }
        };
        // What was said is read once it has ended.
        let words = match manifest.state {
            State::Live => Words::default(),
            State::Final | State::Recovered => Words::read(&folder, &manifest),
        };
        let entry = Entry { manifest: &manifest, keep_until: keep_until.as_deref(), words: &words };
        if let Err(error) = self.catalogue.put(&entry) {
            tracing::error!(recording = id, %error, "a recording is not in the catalogue until the next start");
        }
        self.tell(id);
    }

    /// Tells who brings recordings into a bucket that something has changed.
    fn tell(&self, id: &str) {
        if let Some(changes) = &self.changes {
            // At the end nobody listens any more; the next start looks at all.
            let _ = changes.send(id.to_owned());
        }
    }

    /// Whether a recording was removed.
    pub fn is_buried(&self, id: &str) -> bool {
        self.tombstones.has(id)
    }

    /// The tombstone of a removed recording.
    pub fn tombstone(&self, id: &str) -> Option<Tombstone> {
        self.tombstones.get(id)
    }

    /// Takes a tombstone over that somebody else has written.
    pub fn take_over(&self, tombstone: &Tombstone) -> io::Result<()> {
        if self.tombstones.has(&tombstone.id) {
            return Ok(());
        }
        self.tombstones.add(tombstone)?;
        self.catalogue.bury(tombstone).map_err(io::Error::other)?;
        match (self.path(&tombstone.id), self.in_use.claim(&tombstone.id)) {
            (Some(folder), Some(_claim)) => self.purge(&tombstone.id, &folder),
            // It goes within the hour.
            _ => Ok(()),
        }
    }

    /// Takes out of the catalogue what has no folder.
    pub fn forget_missing(&self) -> io::Result<()> {
        let there: BTreeSet<String> = self.ids()?.into_iter().collect();
        self.catalogue.keep_only(&there).map_err(io::Error::other)
    }

    /// Those that fit, with how long they will be there.
    pub fn list(&self, query: &Query) -> Result<Vec<Listed>, CatalogueError> {
        Ok(self.catalogue.list(query)?.into_iter().map(|summary| self.listed(summary)).collect())
    }

    /// One of the list.
    pub fn get(&self, id: &str) -> Result<Option<Listed>, CatalogueError> {
        Ok(self.catalogue.get(id)?.map(|summary| self.listed(summary)))
    }

    fn listed(&self, summary: RecordingSummary) -> Listed {
        let delete_after = kept(&summary).and_then(|kept| self.rule.delete_after(&kept)).map(Timestamp);
        Listed { delete_after, in_use: self.in_use.has(&summary.id), summary }
    }

    /// Says how long a recording is kept; by the rule when nothing is said.
    pub fn set_keep(&self, id: &str, keep: Option<Keep>) -> io::Result<()> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        let folder = self.path(id).ok_or_else(missing)?;
        let _hold = self.in_use.hold(id).ok_or_else(missing)?;
        keep::write(&folder, keep)?;
        self.put(id);
        Ok(())
    }

    /// Removes a recording: a tombstone first, then all that there is of it.
    pub fn remove(&self, id: &str, at: Timestamp, reason: Reason) -> Result<(), CannotRemove> {
        let Some(folder) = self.path(id) else { return Ok(()) };
        let _claim = self.in_use.claim(id).ok_or(CannotRemove::InUse)?;
        let tombstone = Tombstone { id: id.to_owned(), at: at.to_string(), reason };
        self.tombstones.add(&tombstone)?;
        // From here on it does not come back.
        self.metrics.recordings_removed.with_label_values(&[reason.name()]).inc();
        tracing::info!(recording = id, reason = reason.name(), "a recording was removed");
        if let Err(error) = self.catalogue.bury(&tombstone) {
            tracing::error!(recording = id, %error, "a removed recording is in the catalogue until the next start");
        }
        self.tell(id);
        Ok(self.purge(id, &folder)?)
    }

    /// Removes the folder of what is buried.
    fn purge(&self, id: &str, folder: &Path) -> io::Result<()> {
        // Renamed first: nobody finds half of it.
        let grave = self.folder.join(format!("{GRAVE}{id}"));
        match std::fs::rename(folder, &grave) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // A grave of the same name, of a removal that was cut off.
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                std::fs::remove_dir_all(&grave)?;
                std::fs::rename(folder, &grave)?;
            }
            renamed => renamed?,
        }
        match std::fs::remove_dir_all(&grave) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes what has a tombstone and is there all the same: half removed, or laid back from a backup.
    pub fn purge_buried(&self) -> io::Result<()> {
        let log = |what: &str, error: io::Error| {
            tracing::error!(recording = what, %error, "a removed recording is still on the disk");
        };
        for entry in std::fs::read_dir(&self.folder)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name.starts_with(GRAVE) {
                std::fs::remove_dir_all(self.folder.join(&name)).unwrap_or_else(|error| log(&name, error));
            } else if self.tombstones.has(&name)
                && let Some(_claim) = self.in_use.claim(&name)
                && let Some(folder) = self.path(&name)
            {
                tracing::warn!(recording = name, "a removed recording was there again, and is removed again");
                self.purge(&name, &folder).unwrap_or_else(|error| log(&name, error));
            }
        }
        Ok(())
    }

    /// Removes what has been kept as long as it was to be. Gives how many.
    pub fn apply_retention(&self, now: Timestamp) -> Result<usize, CatalogueError> {
        let (mut removed, mut before) = (0, None);
        loop {
            let query = Query { before: before.clone(), limit: PAGE, ..Query::default() };
            let page = self.catalogue.list(&query)?;
            let all = page.iter().filter_map(|summary| Some((summary.id.as_str(), kept(summary)?)));
            for id in self.rule.due(now.0, all) {
                // The catalogue is a list of what was; what counts is what is.
                if !self.is_due(id, now) {
                    continue;
                }
                match self.remove(id, now, Reason::Retention) {
                    Ok(()) => removed += 1,
                    // It goes next time.
                    Err(CannotRemove::InUse) => {}
                    Err(CannotRemove::Io(error)) => {
                        tracing::error!(recording = id, %error, "a recording cannot be removed whole");
                    }
                }
            }
            // Several that began in the same millisecond at the end of a page wait for the next time.
            match page.last() {
                Some(last) if page.len() == PAGE as usize => before = Some(last.began.clone()),
                _ => return Ok(removed),
            }
        }
    }

    fn is_due(&self, id: &str, now: Timestamp) -> bool {
        let Some((folder, manifest)) = self.path(id).zip(self.manifest(id)) else { return false };
        let Ok(keep) = keep::read(&folder) else { return false };
        let ended_ms = ended_ms(&manifest.began, manifest.duration_ms);
        let kept = ended_ms.map(|ended_ms| Kept { room: &manifest.room, ended_ms, keep });
        manifest.state != State::Live
            && kept.is_some_and(|kept| self.rule.delete_after(&kept).is_some_and(|after| after < now.0))
    }
}

impl std::fmt::Debug for Archive {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Archive")
            .field("folder", &self.folder)
            .field("rule", &self.rule)
            .finish_non_exhaustive()
    }
}

/// What retention looks at; nothing of a recording that is not finished, or that nobody knows when it was.
fn kept(summary: &RecordingSummary) -> Option<Kept<'_>> {
    if summary.state == State::Live {
        return None;
    }
    let keep = summary.keep_until.as_ref().map(|text| keep::parse(text).unwrap_or(Keep::Forever));
    let ended_ms = ended_ms(&summary.began, summary.duration_ms)?;
    Some(Kept { room: &summary.room, ended_ms, keep })
}

fn ended_ms(began: &str, duration_ms: u64) -> Option<u64> {
    began.parse().ok().map(|Timestamp(began_ms)| began_ms.saturating_add(duration_ms))
}
