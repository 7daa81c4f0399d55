//! Exports: recordings as films, sound and single files, made in the background.
//!
//! What has to be done is planned by [`recording::export`]; here it is done. There is one task for each export that is asked for. It waits for its turn,
//! takes the plan's steps with `ffmpeg` (`ffmpeg.rs`) in a folder of its own, and at last moves the result to its place. A step's file gets its name
//! when it is whole, and what an export is at is on the disk (`job.rs`); so a server that was ended, in order or not, goes on at the step at which it was.
//!
//! ```text
//! <recording>/export/composed.json    the job
//!                    composed.mp4     the export, whole
//!                    .composed/       work: parts that are done, and one that is not
//! ```
//!
//! `ffmpeg` reads and writes plain files. Of a sealed recording what a job reads is in the folder of its work as it was, which goes with the job, with
//! an end of the server in order, and at the next start; such a job begins anew.

mod ffmpeg;
mod job;
mod work;
pub mod zip;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use recording::export::{Kind, PlanError};
use recording::manifest::{Manifest, State};
use tokio::sync::{Semaphore, watch};

use crate::clock;
use crate::metrics::{Counted, Metrics};
use crate::record::Recordings;

pub use job::{Job, JobError, JobState};
pub use work::ExportError;

use job::Place;
use work::{Task, Told};

/// How to export.
#[derive(Debug, Clone)]
pub struct ExportsConfig {
    /// The program: a path, or a name to look for.
    pub ffmpeg: PathBuf,
    /// Most at once.
    pub jobs: usize,
    /// Most that wait.
    pub queue: usize,
    /// Threads of an encoder.
    pub threads: usize,
    /// [`recording::export::PART_MS`], or less in tests.
    pub part_ms: u64,
}

/// Why an export cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// There is no such recording.
    #[error("there is no such recording")]
    NoRecording,
    /// It has not ended.
    #[error("the recording is still being made")]
    Live,
    /// There is nothing to make it of.
    #[error(transparent)]
    Nothing(#[from] PlanError),
    /// There is no `ffmpeg`.
    #[error(
        "films and sound are made by ffmpeg, which is not installed on the server: install it (apt install ffmpeg), \
         or set `ffmpeg` to where it is"
    )]
    NoFfmpeg,
    /// Little is free on the disk.
    #[error("the disk is nearly full; nothing is exported until there is space again")]
    DiskFull,
    /// Enough wait.
    #[error("too many exports wait already; try again when some are done")]
    QueueFull,
    /// The server is ending.
    #[error("the server is ending")]
    Closing,
    /// The disk does not take it.
    #[error("the job cannot be written: {0}")]
    Disk(String),
}

/// A job that has come to its end, for whoever tells others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Of which recording.
    pub recording: String,
    /// What of it.
    pub kind: Kind,
    /// Whether it is there; otherwise it failed. Those that were cancelled are not told.
    pub is_done: bool,
}

/// Is called with each job that ends; may wait for a disk.
pub type OnEnd = Arc<dyn Fn(Ended) + Send + Sync>;

/// What a task is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    GoOn,
    /// Ends it and removes what there is.
    Cancel,
    /// Ends it; the next start goes on.
    Close,
}

/// A job that waits or runs.
struct Live {
    wish: watch::Sender<Wish>,
    /// What it is at. The sender goes with the task.
    told: watch::Receiver<Told>,
}

type Key = (String, Kind);

struct Shared {
    config: ExportsConfig,
    recordings: Recordings,
    metrics: Arc<Metrics>,
    on_end: OnEnd,
    turns: Arc<Semaphore>,
    live: Mutex<Option<BTreeMap<Key, Live>>>,
}

/// All exports. Clones are the same.
#[derive(Clone)]
pub struct Exports {
    shared: Arc<Shared>,
}

impl Exports {
    /// Begins. Jobs that the last process had not finished go on, in the order in which they were asked for.
    pub async fn start(
        config: ExportsConfig,
        recordings: Recordings,
        metrics: Arc<Metrics>,
        on_end: OnEnd,
    ) -> Self {
        let turns = Arc::new(Semaphore::new(config.jobs.max(1)));
        let live = Mutex::new(Some(BTreeMap::new()));
        let exports =
            Exports { shared: Arc::new(Shared { config, recordings, metrics, on_end, turns, live }) };
        let folder = exports.shared.recordings.root().to_owned();
        // Reading thousands of folders waits for the disk.
        let found = tokio::task::spawn_blocking(move || job::unfinished(&folder)).await;
        for (recording, job) in found.unwrap_or_default() {
            let place = exports.place(&recording, job.kind);
            if let (Some(place), Some(live)) = (place, exports.live().as_mut()) {
                tracing::info!(recording, kind = job.kind.name(), "an export goes on");
                exports.spawn(live, recording, job, place);
            }
        }
        exports
    }

    /// Asks for an export that takes time. One that is there or under way already is not made again; one that failed is. Blocks.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub fn request(&self, recording: &str, kind: Kind) -> Result<Job, RequestError> {
        let manifest = self.ended(recording)?;
        let place = self.place(recording, kind).ok_or(RequestError::NoRecording)?;
        let folder = self.shared.recordings.open(recording);
        let folder = folder.map_err(|error| RequestError::Disk(error.to_string()))?;
        // What there is to make, before anything is begun.
        work::plan(&folder, &manifest, kind, &self.shared.config, false)?;
        if let Some(job) = self.job(recording, kind).filter(|job| job.state != JobState::Failed) {
            return Ok(job);
        }
        if ffmpeg::find(&self.shared.config.ffmpeg).is_none() {
            return Err(RequestError::NoFfmpeg);
        }
        if self.shared.recordings.check().is_err() {
            return Err(RequestError::DiskFull);
        }
        let mut live = self.live();
        let jobs = live.as_mut().ok_or(RequestError::Closing)?;
        if let Some(job) = jobs.get(&(recording.to_owned(), kind)) {
            return Ok(job.told.borrow().job.clone());
        }
        let waiting = jobs.values().filter(|live| live.told.borrow().job.state == JobState::Queued).count();
        if waiting >= self.shared.config.queue {
            return Err(RequestError::QueueFull);
        }
        let job = Job::new(kind, clock::wall());
        place.write(&job).map_err(|error| RequestError::Disk(error.to_string()))?;
        self.spawn(jobs, recording.to_owned(), job.clone(), place);
        Ok(job)
    }

    /// A job, with its progress now. Blocks.
    pub fn job(&self, recording: &str, kind: Kind) -> Option<Job> {
        let live = self.live().as_ref().and_then(|live| {
            let told = live.get(&(recording.to_owned(), kind))?.told.borrow();
            Some(told.now())
        });
        live.or_else(|| self.place(recording, kind)?.read())
    }

    /// All jobs of a recording. Blocks.
    pub fn jobs(&self, recording: &str) -> Vec<Job> {
        Kind::ALL.into_iter().filter_map(|kind| self.job(recording, kind)).collect()
    }

    /// The file of an export, once it is there, as seen from the recording's folder.
    pub fn file(kind: Kind) -> String {
        job::result_name(kind)
    }

    /// Ends a job, and removes it and what it has made. Whether there was one.
    ///
    /// # Errors
    /// When something cannot be removed.
    pub async fn remove(&self, recording: &str, kind: Kind) -> std::io::Result<bool> {
        let was_live = self.end(Wish::Cancel, |key| (key.0.as_str(), key.1) == (recording, kind)).await;
        let Some(place) = self.place(recording, kind) else { return Ok(was_live) };
        let removed = tokio::task::spawn_blocking(move || place.remove()).await;
        Ok(removed.map_err(std::io::Error::other)?? || was_live)
    }

    /// The recording is to be removed: its jobs end before.
    pub async fn forget(&self, recording: &str) {
        self.end(Wish::Cancel, |key| key.0 == recording).await;
    }

    /// Ends all jobs at once. The next start goes on with them.
    pub async fn close(&self) {
        self.end(Wish::Close, |_| true).await;
        *self.live() = None;
    }

    /// The manifest of a recording that has ended. Blocks.
    ///
    /// # Errors
    /// When there is no such recording, or it is being made.
    pub fn ended(&self, recording: &str) -> Result<Arc<Manifest>, RequestError> {
        match self.shared.recordings.manifest(recording) {
            None => Err(RequestError::NoRecording),
            Some(manifest) if manifest.state == State::Live => Err(RequestError::Live),
            Some(manifest) => Ok(manifest),
        }
    }

    fn place(&self, recording: &str, kind: Kind) -> Option<Place> {
        Some(Place { recording: self.shared.recordings.folder(recording)?, kind })
    }

    fn live(&self) -> MutexGuard<'_, Option<BTreeMap<Key, Live>>> {
        // Nothing that could panic is done while it is held.
        self.shared.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells jobs to end, and waits until they have. Whether there were any.
    async fn end(&self, wish: Wish, which: impl Fn(&Key) -> bool) -> bool {
        let ending: Vec<_> = self
            .live()
            .iter()
            .flatten()
            .filter(|(key, _)| which(key))
            .map(|(_, live)| {
                live.wish.send_replace(wish);
                live.told.clone()
            })
            .collect();
        let any = !ending.is_empty();
        for mut told in ending {
            // An error means that the task has gone.
            while told.changed().await.is_ok() {}
        }
        any
    }

    fn spawn(&self, live: &mut BTreeMap<Key, Live>, recording: String, job: Job, place: Place) {
        let key = (recording.clone(), job.kind);
        let (wish, mut wished) = watch::channel(Wish::GoOn);
        let (tell, told) = watch::channel(Told { job: job.clone(), progress: 0.0 });
        live.insert(key.clone(), Live { wish, told });
        let exports = self.clone();
        let waiting = Counted::new(&self.shared.metrics.exports_waiting);
        tokio::spawn(async move {
            let kind = job.kind;
            let task = Task {
                config: &exports.shared.config,
                recordings: &exports.shared.recordings,
                metrics: &exports.shared.metrics,
                recording: &recording,
                place: &place,
                tell: &tell,
            };
            let turns = exports.shared.turns.clone();
            let made = async {
                // The semaphore lives as long as the exports, and is fair: first come, first served.
                let _turn = turns.acquire_owned().await;
                drop(waiting);
                // Nothing removes the recording meanwhile, unless it ends this first.
                let Some(_hold) = task.recordings.hold(task.recording) else { return Err(ExportError::Gone) };
                task.carry_out(job).await
            };
            // What is dropped here ends its process with it.
            let ended = tokio::select! {
                biased;
                wish = ended_by(&mut wished) => Err(wish),
                outcome = made => Ok(outcome),
            };
            let outcome = match ended {
                Err(Wish::Close) => {
                    let hiding = place.clone();
                    // The next start does it too.
                    let _ = tokio::task::spawn_blocking(move || hiding.hide_work()).await;
                    None
                }
                Err(_) => {
                    let removing = place.clone();
                    // The one who has cancelled removes it again, and is told what cannot be.
                    let _ = tokio::task::spawn_blocking(move || removing.remove()).await;
                    Some("cancelled")
                }
                Ok(Ok(())) => Some("done"),
                Ok(Err(error)) => task.fail(&error).await,
            };
            if let Some(outcome) = outcome {
                exports.shared.metrics.exports.with_label_values(&[kind.name(), outcome]).inc();
                tracing::info!(recording, kind = kind.name(), outcome, "an export has ended");
                if outcome != "cancelled" {
                    let ended = Ended { recording, kind, is_done: outcome == "done" };
                    let on_end = exports.shared.on_end.clone();
                    // A panic there is no concern of the jobs.
                    let _ = tokio::task::spawn_blocking(move || on_end(ended)).await;
                }
            }
            if let Some(live) = exports.live().as_mut() {
                live.remove(&key);
            }
            // Last: whoever waits for the end finds the job gone.
            drop(tell);
        });
    }
}

async fn ended_by(wished: &mut watch::Receiver<Wish>) -> Wish {
    match wished.wait_for(|wish| *wish != Wish::GoOn).await {
        Ok(wish) => *wish,
        Err(_) => Wish::Close,
    }
}

impl std::fmt::Debug for Exports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exports").field("config", &self.shared.config).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
