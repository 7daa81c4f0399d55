//! Recordings: from the packets of the media workers to files on the disk, and the list of what there is.
//!
//! Three parties, none of which waits for the next. A media worker hands packets to its [`crate::worker::Feed`], which refuses them when the recorder
//! is behind. The recorder's thread (`recorder.rs`) drives a [`recording::recorder::Recorder`] for each room that is recorded, and gives
//! what comes of it to the disk's thread (`disk.rs`). When the disk is behind, packets are thrown away before the recorders, which
//! write a gap down; so memory is bounded, and files are whole. A file that cannot be written ends its recording, and the class hears of it.
//!
//! Folders under `data_dir/recordings` are the truth; the catalogue (`catalogue.rs`) is made from them.

mod archive;
mod bring;
mod bucket;
mod catalogue;
mod disk;
mod files;
mod finish;
mod in_use;
mod keep;
mod manifests;
mod open;
mod probe;
mod recorder;
mod remote;
mod scrub;
mod seal;
mod spent;
mod stored;
mod together;
mod tombstones;
mod upkeep;
mod upload;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use recording::manifest::Manifest;
use recording::space::Reserve;
use sfu::id::RoomId;
use signaling::io::RecorderOrder;
use signaling::lesson::{RecordingEnd, RecordingLimit};
use signaling::time::Timestamp;
use tokio::sync::mpsc::UnboundedSender;

use crate::metrics::Metrics;
use crate::worker::{FeedEnd, WorkerHandle};

use self::archive::Archive;
use self::bucket::Bucket;
use self::remote::Remote;

pub use archive::{CannotRemove, Listed};
pub use bucket::BucketConfig;
pub use catalogue::{Catalogue, CatalogueError, Entry, Query, RecordingSummary, SqliteCatalogue};
pub use in_use::Hold;
pub use keep::{parse as parse_keep, to_text as keep_text};
pub use open::{as_written, lay_open};
pub use probe::{BucketTrouble, Cause, Doing, try_bucket};
pub use recording::retention::{Keep, Rule};
pub use recording::tombstone::Reason;
pub use remote::Pieces;
pub use scrub::{Problem, Report, Scrub, Wrong};
pub use seal::{Draft, Folder, Keys, KeysError, Locked, Reading, Writing, is_sealed, new_key};
pub use upload::UploadError;

/// How long somebody who watches waits for a bucket that does not answer.
const READ_PATIENCE: Duration = Duration::from_secs(5);

/// What a class has to hear of its recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Its room.
    pub room: RoomId,
    /// Its id.
    pub recording: String,
    /// What.
    pub what: What,
}

/// What has become of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    /// It could not go on.
    Ended(RecordingEnd),
    /// It goes on without something, or has all again.
    Limited(Option<RecordingLimit>),
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

impl CannotBegin {
    /// For a label.
    pub const fn name(self) -> &'static str {
        match self {
            CannotBegin::DiskFull => "disk-full",
            CannotBegin::NoFolder => "no-folder",
        }
    }
}

/// How to record.
#[derive(Debug, Clone)]
pub struct RecordingsConfig {
    /// Where: a folder for each recording.
    pub folder: PathBuf,
    /// So much of the disk stays free; the larger of 5 GB and a twentieth when nothing is said.
    pub reserve_bytes: Option<u64>,
    /// How long recordings are kept.
    pub retention: Rule,
    /// Where finished recordings are brought to, if not left on the disk.
    pub bucket: Option<BucketConfig>,
    /// What seals them, if anything does.
    pub keys: Keys,
}

/// All recordings. Clones are the same.
#[derive(Clone)]
pub struct Recordings {
    shared: Arc<Shared>,
}

struct Shared {
    config: RecordingsConfig,
    messages: Sender<Message>,
    archive: Arc<Archive>,
    /// Dropped to end the upkeep.
    upkeep: Mutex<Option<Sender<()>>>,
    /// Where files are that are not on the disk.
    bucket: Option<Remote>,
    /// Ends what goes to the bucket.
    uploads_end: tokio::sync::watch::Sender<bool>,
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
    DiskFailed {
        /// Which.
        recording: String,
        /// Because there was no place.
        full: bool,
    },
    /// So much of the disk is free now, of all that it holds; in bytes.
    Space {
        /// What may be used.
        free: u64,
        /// Its size.
        all: u64,
    },
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
        notices: UnboundedSender<Notice>,
        metrics: Arc<Metrics>,
    ) -> std::io::Result<Self> {
        let folder = config.folder.clone();
        let (changes, changed) = tokio::sync::mpsc::unbounded_channel();
        let changes = config.bucket.is_some().then_some(changes);
        let retention = config.retention.clone();
        let archive = Arc::new(Archive::open(
            folder,
            retention,
            catalogue,
            metrics.clone(),
            changes,
            config.keys.clone(),
        )?);
        let (messages, inbox) = channel();
        let (disk, disk_thread) = disk::start(archive.clone(), messages.clone())?;
        let in_use = archive.in_use.clone();
        let reserve = config.reserve_bytes;
        let recorder = recorder::start(inbox, feed, disk, workers, notices, in_use, reserve, metrics)?;
        // Neither is waited for at the end: what they have not done is done at the next start.
        finish::start(archive.clone())?;
        let (upkeep, ending) = channel();
        upkeep::start(archive.clone(), ending)?;
        let (uploads_end, uploads_ending) = tokio::sync::watch::channel(false);
        let mut bucket = None;
        if let Some(config) = &config.bucket {
            upload::start(archive.clone(), config, changed, uploads_ending)?;
            let open = Bucket::open(config, READ_PATIENCE).map_err(std::io::Error::other)?;
            bucket = Some(Remote::new(open));
        }
        let (threads, upkeep) = (Mutex::new(vec![recorder, disk_thread]), Mutex::new(Some(upkeep)));
        let shared = Shared { config, messages, archive, upkeep, bucket, uploads_end, threads };
        Ok(Recordings { shared: Arc::new(shared) })
    }

    /// Whether a recording can begin now.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self) -> Result<(), CannotBegin> {
        let (free, all) = disk::space(&self.shared.config.folder).map_err(|_| CannotBegin::NoFolder)?;
        let reserve = Reserve::new(self.shared.config.reserve_bytes, all);
        if reserve.lets_begin(free) { Ok(()) } else { Err(CannotBegin::DiskFull) }
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

    /// Those that fit, the latest first.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub fn list(&self, query: &Query) -> Result<Vec<Listed>, CatalogueError> {
        self.shared.archive.list(query)
    }

    /// One recording of the list; none when it is not there.
    ///
    /// # Errors
    /// When the catalogue cannot be read.
    pub fn listed(&self, id: &str) -> Result<Option<Listed>, CatalogueError> {
        self.shared.archive.get(id)
    }

    /// The folder with the folders of all recordings.
    pub fn root(&self) -> &std::path::Path {
        &self.shared.config.folder
    }

    /// The folder of a recording, if the id is one that a recording can have.
    pub fn folder(&self, id: &str) -> Option<PathBuf> {
        self.shared.archive.path(id)
    }

    /// The folder of a recording, with its files as they were written.
    ///
    /// # Errors
    /// When it is sealed and cannot be opened.
    pub fn open(&self, id: &str) -> std::io::Result<Folder> {
        self.shared.archive.open_folder(id)
    }

    /// Those whose key is not here, by id.
    pub fn locked(&self) -> BTreeMap<String, Locked> {
        self.shared.archive.locked()
    }

    /// The manifest of a recording; none if there is no such recording.
    ///
    /// # Errors
    /// When its key is not here.
    pub fn look_up(&self, id: &str) -> Result<Option<Arc<Manifest>>, Locked> {
        self.shared.archive.look_up(id)
    }

    /// The manifest of a recording; none if there is no such recording, or its key is not here.
    pub fn manifest(&self, id: &str) -> Option<Arc<Manifest>> {
        self.shared.archive.manifest(id)
    }

    /// A part of a recording's file that is in the bucket, piece by piece, as it was written. None when recordings stay on the disk.
    ///
    /// # Errors
    /// When the bucket does not give it.
    pub async fn read_stored(
        &self,
        id: &str,
        name: &str,
        folder: &Folder,
        part: Range<u64>,
    ) -> Option<Result<Pieces, UploadError>> {
        Some(self.shared.bucket.as_ref()?.read(id, name, folder.key(), part).await)
    }

    /// Brings back onto the disk what of a recording has left it for the bucket: for what needs all files there. Gives how many that were. Waits;
    /// hold the recording meanwhile ([`Recordings::hold`]), as else the files leave again.
    ///
    /// # Errors
    /// When the bucket does not give a file as it was, or it cannot be written.
    pub fn bring_back(&self, id: &str, runtime: &tokio::runtime::Handle) -> Result<usize, UploadError> {
        match &self.shared.bucket {
            Some(bucket) => runtime.block_on(bring::bring_back(&self.shared.archive, &bucket.bucket, id)),
            None => Ok(0),
        }
    }

    /// Keeps a recording from being removed; nothing when it is being removed.
    pub fn hold(&self, id: &str) -> Option<Hold> {
        self.shared.archive.in_use.hold(id)
    }

    /// Says how long a recording is kept; by the settings when nothing is said.
    ///
    /// # Errors
    /// When that cannot be written down, or there is no such recording.
    pub fn keep(&self, id: &str, keep: Option<Keep>) -> std::io::Result<()> {
        self.shared.archive.set_keep(id, keep)
    }

    /// Removes a recording for good: a tombstone first, then out of the list, then from the disk.
    ///
    /// # Errors
    /// When something works on it, or it cannot be removed whole now.
    pub fn remove(&self, id: &str, now: Timestamp) -> Result<(), CannotRemove> {
        self.shared.archive.remove(id, now, Reason::Asked)
    }

    /// Does what else is done each hour: removes what was kept long enough, finishes what could not be finished.
    pub fn upkeep(&self, now: Timestamp) {
        upkeep::run(&self.shared.archive, now);
    }

    /// Ends all recordings in order, and waits until they are on the disk.
    pub fn end(&self) {
        let _ = self.shared.messages.send(Message::End);
        self.shared.uploads_end.send_replace(true);
        self.shared.upkeep.lock().unwrap_or_else(PoisonError::into_inner).take();
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

/// What the recorder's own tests are made with.
#[cfg(test)]
#[path = "../../recording/tests/common/mod.rs"]
mod clips;
#[cfg(test)]
mod disk_test;
#[cfg(test)]
mod lesson_test;
#[cfg(test)]
#[path = "record_test.rs"]
mod tests;

#[cfg(test)]
mod sealed_test;
#[cfg(test)]
pub(crate) use sealed_test::seal_all;

#[cfg(test)]
mod killed_test;
