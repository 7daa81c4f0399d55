//! Recordings: from the packets of the media workers to files on the disk, and the list of what there is.
//!
//! Three parties, none of which waits for the next. A media worker hands packets to its [`crate::worker::Feed`], which refuses them when the recorder
//! is behind. The recorder's thread (`recorder.rs`) drives a [`recording::recorder::Recorder`] for each room that is recorded, and gives
//! what comes of it to the disk's thread (`disk.rs`). When the disk is behind, packets are thrown away before the recorders, which
//! write a gap down; so memory is bounded, and files are whole. A file that cannot be written ends its recording, and the class hears of it.
//!
//! Folders under `data_dir/recordings` are the truth; the catalogue (`catalogue.rs`) is made from them.

mod catalogue;
mod disk;
mod files;
mod finish;
mod in_use;
mod manifests;
mod recorder;

use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use recording::manifest::Manifest;
use sfu::id::RoomId;
use signaling::io::RecorderOrder;
use tokio::sync::mpsc::UnboundedSender;

use crate::metrics::Metrics;
use crate::worker::{FeedEnd, WorkerHandle};

use self::manifests::Manifests;

pub use catalogue::{Catalogue, Query, RecordingSummary, SqliteCatalogue};
pub use in_use::{Hold, InUse};

/// A recording could not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failed {
    /// Its room.
    pub room: RoomId,
    /// Its id.
    pub recording: String,
}

/// Why no recording can begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CannotBegin {
    /// Little is free on the disk.
    #[error("the disk is nearly full; nothing new is recorded until there is space again")]
    DiskFull,
    /// The folder cannot be looked at.
    #[error("the folder of the recordings cannot be used")]
    NoFolder,
}

/// Why a recording was not removed.
#[derive(Debug, thiserror::Error)]
pub enum CannotRemove {
    /// It is being made, finished or exported.
    #[error("the recording is still being made, or something else works on it")]
    InUse,
    /// Something of it cannot be removed; it is not in the list any more all the same.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// How to record.
#[derive(Debug, Clone)]
pub struct RecordingsConfig {
    /// Where: a folder for each recording.
    pub folder: PathBuf,
    /// So much of the disk stays free; the larger of 5 GB and a twentieth when nothing is said.
    pub reserve_bytes: Option<u64>,
}

/// All recordings. Clones are the same.
#[derive(Clone)]
pub struct Recordings {
    shared: Arc<Shared>,
}

struct Shared {
    config: RecordingsConfig,
    messages: Sender<Message>,
    catalogue: Arc<dyn Catalogue>,
    in_use: InUse,
    manifests: Manifests,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// Something for the recorder's thread.
pub(crate) enum Message {
    /// From a room.
    Order {
        /// Which.
        room: RoomId,
        /// The media worker that has it.
        worker: usize,
        /// What to do.
        order: RecorderOrder,
    },
    /// The room is gone, whatever it was doing.
    RoomGone(RoomId),
    /// The disk could not write for this recording.
    DiskFailed(String),
    /// End all, and then the thread.
    End,
}

impl Recordings {
    /// Starts the threads. What a crash has torn is finished first, in the background.
    ///
    /// # Errors
    /// When the folder cannot be made, or a thread not be started.
    pub fn start(
        config: RecordingsConfig,
        feed: FeedEnd,
        workers: Vec<WorkerHandle>,
        catalogue: Arc<dyn Catalogue>,
        failed: UnboundedSender<Failed>,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        crate::secrets::make_folder(&config.folder)?;
        let (messages, inbox) = channel();
        let (disk, disk_thread) = disk::start(config.folder.clone(), messages.clone(), catalogue.clone())?;
        let in_use = InUse::default();
        let recorder = recorder::start(inbox, feed, disk, workers, failed, in_use.clone(), metrics)?;
        // Not waited for at the end: what it has not finished is finished at the next start.
        finish::start(config.folder.clone(), catalogue.clone(), in_use.clone())?;
        let threads = Mutex::new(vec![recorder, disk_thread]);
        let manifests = Manifests::default();
        let shared = Shared { config, messages, catalogue, in_use, manifests, threads };
        Ok(Recordings { shared: Arc::new(shared) })
    }

    /// Whether a recording can begin now.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), CannotBegin> {
        let stat = rustix::fs::statvfs(&self.shared.config.folder).map_err(|_| CannotBegin::NoFolder)?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        let all = stat.f_blocks.saturating_mul(stat.f_frsize);
        let reserve = self.shared.config.reserve_bytes.unwrap_or_else(|| usual_reserve(all));
        if free < reserve { Err(CannotBegin::DiskFull) } else { Ok(()) }
    }

    /// Hands on what a room wants of its recorder.
    pub fn order(&self, room: RoomId, worker: usize, order: RecorderOrder) {
        // The thread lives until the server ends.
        let _ = self.shared.messages.send(Message::Order { room, worker, order });
    }

    /// A room has ended, in order or not.
    pub fn room_gone(&self, room: RoomId) {
        let _ = self.shared.messages.send(Message::RoomGone(room));
    }

    /// The list.
    pub fn catalogue(&self) -> &Arc<dyn Catalogue> {
        &self.shared.catalogue
    }

    /// The folder of a recording, if the id is one that a recording can have.
    pub fn folder(&self, id: &str) -> Option<PathBuf> {
        let fits = (1..=80).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        fits.then(|| self.shared.config.folder.join(id))
    }

    /// The manifest of a recording; none if there is no such recording.
    pub fn manifest(&self, id: &str) -> Option<Arc<Manifest>> {
        self.shared.manifests.read(id, &self.folder(id)?)
    }

    /// Keeps a recording from being removed; nothing when it is being removed.
    pub fn hold(&self, id: &str) -> Option<Hold> {
        self.shared.in_use.hold(id)
    }

    /// Whether something works on it: it is being made, finished, exported or removed.
    pub fn is_in_use(&self, id: &str) -> bool {
        self.shared.in_use.has(id)
    }

    /// Removes a recording: out of the list, then from the disk.
    ///
    /// # Errors
    /// When something works on it, or it cannot be removed.
    pub fn delete(&self, id: &str) -> Result<(), CannotRemove> {
        let Some(folder) = self.folder(id) else { return Ok(()) };
        let _claim = self.shared.in_use.claim(id).ok_or(CannotRemove::InUse)?;
        // Renamed first: what is half removed is not taken for a recording.
        let grave = self.shared.config.folder.join(format!(".deleted-{id}"));
        std::fs::rename(&folder, &grave)?;
        self.shared.catalogue.remove(id);
        Ok(std::fs::remove_dir_all(&grave)?)
    }

    /// Ends all recordings in order, and waits until they are on the disk.
    pub fn end(&self) {
        let _ = self.shared.messages.send(Message::End);
        let threads =
            std::mem::take(&mut *self.shared.threads.lock().unwrap_or_else(PoisonError::into_inner));
        for thread in threads {
            // A panic there was logged there.
            let _ = thread.join();
        }
    }
}

impl std::fmt::Debug for Recordings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recordings").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

/// What stays free on a disk of this size.
fn usual_reserve(all: u64) -> u64 {
    (all / 20).max(5_000_000_000)
}

#[cfg(test)]
#[path = "record_test.rs"]
mod tests;
