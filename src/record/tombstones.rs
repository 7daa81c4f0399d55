//! The tombstones of removed recordings on the disk. The catalogue has them too, and each makes good what the other has lost.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use recording::tombstone::{self, TOMBSTONES_FILE, Tombstone};

/// All tombstones.
#[derive(Debug)]
pub(super) struct Tombstones {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    file: File,
    /// Whether the file ends in the middle of a line.
    is_torn: bool,
    by_id: BTreeMap<String, Tombstone>,
}

impl Tombstones {
    /// Opens the file in this folder, or makes it.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(TOMBSTONES_FILE);
        let read = match std::fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            read => read?,
        };
        let read = tombstone::read(&read);
        if read.damaged > 0 {
            tracing::error!(lines = read.damaged, path = %path.display(), "tombstones of removed recordings are damaged");
        }
        let file = OpenOptions::new().append(true).create(true).mode(0o600).open(&path)?;
        // The name is safe when its folder is.
        File::open(folder)?.sync_all()?;
        let by_id = read.found.into_iter().map(|tombstone| (tombstone.id.clone(), tombstone)).collect();
        Ok(Tombstones { state: Mutex::new(State { file, is_torn: read.is_torn, by_id }) })
    }

    /// Brings a tombstone to the disk. A second one changes nothing.
    pub fn add(&self, tombstone: &Tombstone) -> io::Result<()> {
        let mut state = self.lock();
        if state.by_id.contains_key(&tombstone.id) {
            return Ok(());
        }
        let mut line = tombstone::write(tombstone);
        if state.is_torn {
            line.insert(0, '\n');
        }
        // Whatever comes of it: what is written next must not be taken for the rest of this.
        state.is_torn = true;
        state.file.write_all(line.as_bytes())?;
        state.file.sync_data()?;
        state.is_torn = false;
        state.by_id.insert(tombstone.id.clone(), tombstone.clone());
        Ok(())
    }

    /// Whether there is one.
    pub fn has(&self, id: &str) -> bool {
        self.lock().by_id.contains_key(id)
    }

    /// One of them.
    pub fn get(&self, id: &str) -> Option<Tombstone> {
        self.lock().by_id.get(id).cloned()
    }

    /// All of them.
    pub fn all(&self) -> Vec<Tombstone> {
        self.lock().by_id.values().cloned().collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic under the lock leaves `is_torn`, which is safe.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use recording::tombstone::Reason;

    use super::*;

    #[test]
    fn what_was_added_is_there_again_also_behind_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let tombstone = |id: &str| Tombstone {
            id: id.into(),
            at: "2026-11-26T18:00:00.000Z".into(),
            reason: Reason::Asked,
        };
        let tombstones = Tombstones::open(folder.path()).unwrap();
        tombstones.add(&tombstone("a")).unwrap();
        tombstones.add(&tombstone("b")).unwrap();
        tombstones.add(&tombstone("b")).unwrap();
        let path = folder.path().join(TOMBSTONES_FILE);
        let len = std::fs::metadata(&path).unwrap().len();
        OpenOptions::new().write(true).open(&path).unwrap().set_len(len - 5).unwrap();
        let again = Tombstones::open(folder.path()).unwrap();
        assert!(again.has("a") && !again.has("b"));
        again.add(&tombstone("b")).unwrap();
        again.add(&tombstone("c")).unwrap();
        let all = Tombstones::open(folder.path()).unwrap().all();
        assert_eq!(all, ["a", "b", "c"].map(tombstone));
    }
}
