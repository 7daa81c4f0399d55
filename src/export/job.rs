//! A job on the disk.

use std::fs::{DirBuilder, File};
use std::io::{self, Write as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use recording::export::Kind;
use serde::{Deserialize, Serialize};
use signaling::time::Timestamp;

use crate::record::is_sealed;

/// The folder of exports in a recording's.
const FOLDER: &str = "export";

/// An export that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Job {
    /// What it makes. A recording has at most one job of each kind, which is its name too.
    pub kind: Kind,
    /// How far it is.
    pub state: JobState,
    /// How much of it is done, 0 to 1.
    pub progress: f64,
    /// When it was asked for.
    pub requested_at: Timestamp,
    /// When it began to be made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_at: Option<Timestamp>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// How large its file is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<JobError>,
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobState {
    /// Waits for its turn.
    Queued,
    /// Is being made.
    Running,
    /// Its file can be fetched.
    Done,
    /// Cannot be made.
    Failed,
}

/// Why a job failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobError {
    /// For programs.
    pub code: String,
    /// For people.
    pub message: String,
}

impl Job {
    /// One that waits.
    pub fn new(kind: Kind, now: Timestamp) -> Self {
        Job {
            kind,
            state: JobState::Queued,
            progress: 0.0,
            requested_at: now,
            began_at: None,
            ended_at: None,
            bytes: None,
            error: None,
        }
    }
}

/// Where an export of a recording is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// The recording's folder.
    pub recording: PathBuf,
    pub kind: Kind,
}

impl Place {
    /// The folder of the work, as seen from the recording's.
    pub fn work_name(&self) -> String {
        format!("{FOLDER}/.{}", self.kind.name())
    }

    /// The folder of the work.
    pub fn work(&self) -> PathBuf {
        self.recording.join(self.work_name())
    }

    /// The finished export.
    pub fn result(&self) -> PathBuf {
        self.recording.join(result_name(self.kind))
    }

    /// Removes the work if nobody may find it: what is sealed lies there as it is.
    pub fn hide_work(&self) {
        if is_sealed(&self.recording)
            && let Err(error) = std::fs::remove_dir_all(self.work())
            && error.kind() != io::ErrorKind::NotFound
        {
            let path = self.work();
            tracing::error!(path = %path.display(), %error, "parts of a sealed recording lie open on the disk");
        }
    }

    fn job(&self) -> PathBuf {
        self.recording.join(FOLDER).join(format!("{}.json", self.kind.name()))
    }

    /// Makes the folders. The recording's own is not made: if it has gone, there is nothing to export.
    pub fn make_work(&self) -> io::Result<()> {
        make(&self.recording.join(FOLDER))?;
        make(&self.work())
    }

    /// The job; none when there is none or it cannot be read.
    pub fn read(&self) -> Option<Job> {
        let job: Job = serde_json::from_slice(&std::fs::read(self.job()).ok()?).ok()?;
        // Somebody has removed the file by hand.
        let is_there = job.state != JobState::Done || self.result().exists();
        Some(job).filter(|job| is_there && job.kind == self.kind)
    }

    /// Writes the job in one step.
    pub fn write(&self, job: &Job) -> io::Result<()> {
        make(&self.recording.join(FOLDER))?;
        let draft = self.job().with_extension("draft");
        let mut file = File::create(&draft)?;
        file.write_all(&serde_json::to_vec_pretty(job)?)?;
        file.sync_data()?;
        std::fs::rename(&draft, self.job())
    }

    /// Removes all of it. Whether there was something.
    pub fn remove(&self) -> io::Result<bool> {
        // The job last: as long as it is there, what is left of it is found.
        let is_there = |result: io::Result<()>| match result {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        };
        let work = is_there(std::fs::remove_dir_all(self.work()))?;
        let result = is_there(std::fs::remove_file(self.result()))?;
        let job = is_there(std::fs::remove_file(self.job()))?;
        // Only when it is empty.
        let _ = std::fs::remove_dir(self.recording.join(FOLDER));
        Ok(work || result || job)
    }
}

/// The name of a finished export, as seen from the recording's folder.
pub(super) fn result_name(kind: Kind) -> String {
    format!("{FOLDER}/{}.{}", kind.name(), kind.extension())
}

fn make(folder: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// Jobs that are not finished, in the order in which they were asked for, with their recordings. Folders of work that belong to none are removed. Blocks.
pub(super) fn unfinished(recordings: &Path) -> Vec<(String, Job)> {
    let mut found = Vec::new();
    let folders = std::fs::read_dir(recordings).into_iter().flatten().flatten();
    for folder in folders.filter(|folder| folder.path().join(FOLDER).is_dir()) {
        let name = folder.file_name().to_string_lossy().into_owned();
        if name.starts_with('.') {
            continue;
        }
        for kind in Kind::ALL {
            let place = Place { recording: folder.path(), kind };
            // What a process that was killed has left. The job begins anew.
            place.hide_work();
            let job = place.read().filter(|job| matches!(job.state, JobState::Queued | JobState::Running));
            match job {
                Some(job) => found.push((name.clone(), job)),
                // Nobody works in it: this process has just begun.
                None if place.work().exists() => {
                    if let Err(error) = std::fs::remove_dir_all(place.work()) {
                        tracing::warn!(recording = name, %error, "what an export has left behind cannot be removed");
                    }
                }
                None => {}
            }
        }
    }
    found.sort_by_key(|(_, job)| job.requested_at.0);
    found
}
