//! Making an export.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use recording::export::{self, Kind, Options, Plan, PlanError, RESULT_FILE, Step};
use recording::manifest::Manifest;
use recording::timeline;
use tokio::sync::watch;

use super::ExportsConfig;
use super::ffmpeg::{self, FfmpegError};
use super::job::{Job, JobError, JobState, Place, result_name};
use crate::clock;
use crate::metrics::{Counted, Metrics};
use crate::record::{Folder, Recordings, UploadError};

/// What the plan in a folder of work was: parts of another do not fit together.
const PLAN_FILE: &str = "plan";

/// Why an export could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The recording has gone.
    #[error("the recording was removed")]
    Gone,
    /// Little is free on the disk.
    #[error("the disk is nearly full")]
    DiskFull,
    /// There is no `ffmpeg` any more.
    #[error("ffmpeg is not installed on the server")]
    NoFfmpeg,
    /// There is nothing to make it of.
    #[error(transparent)]
    Nothing(#[from] PlanError),
    /// `ffmpeg` failed.
    #[error(transparent)]
    Ffmpeg(#[from] FfmpegError),
    /// The disk cannot be read or written.
    #[error("the disk failed: {0}")]
    Disk(#[from] io::Error),
    /// Files that are in a bucket alone cannot be had.
    #[error("the bucket failed: {0}")]
    Bucket(#[from] UploadError),
}

impl ExportError {
    fn code(&self) -> &'static str {
        match self {
            ExportError::Gone => "not-found",
            ExportError::DiskFull => "disk-full",
            ExportError::NoFfmpeg => "ffmpeg-missing",
            ExportError::Nothing(_) => "nothing-to-export",
            ExportError::Ffmpeg(FfmpegError::Failed(words)) if words.contains("No space left") => "disk-full",
            ExportError::Ffmpeg(_) => "ffmpeg-failed",
            ExportError::Disk(error) if error.kind() == io::ErrorKind::StorageFull => "disk-full",
            // Something sealed is not what was sealed.
            ExportError::Disk(error) if error.kind() == io::ErrorKind::InvalidData => "recording-damaged",
            ExportError::Disk(_) => "disk-failed",
            ExportError::Bucket(_) => "store-failed",
        }
    }
}

/// What a job is at.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub job: Job,
    pub progress: f64,
}

impl Told {
    /// The job with its progress.
    pub fn now(&self) -> Job {
        Job { progress: self.progress, ..self.job.clone() }
    }
}

/// Where `ffmpeg` is at work, and the folder of the work as seen from there. Of a sealed recording the work has what it reads; else it is where the
/// recording is.
fn workplace(folder: &Folder, kind: Kind) -> (PathBuf, String) {
    let place = Place { recording: folder.path().to_owned(), kind };
    if folder.is_sealed() {
        (place.work(), ".".to_owned())
    } else {
        (place.recording.clone(), place.work_name())
    }
}

/// The plan of an export of a recording that is in this folder. Blocks.
pub(super) fn plan(
    folder: &Folder,
    manifest: &Manifest,
    kind: Kind,
    config: &ExportsConfig,
    with_text: bool,
) -> Result<Plan, PlanError> {
    let timeline = folder.read(&manifest.timeline).unwrap_or_default();
    let entries = timeline::read(&timeline).entries;
    let (_, work) = workplace(folder, kind);
    let options = Options { work, with_text, threads: config.threads, part_ms: config.part_ms };
    export::plan(kind, manifest, &entries, &options)
}

/// A job, with what it needs.
pub(super) struct Task<'a> {
    pub config: &'a ExportsConfig,
    pub recordings: &'a Recordings,
    pub metrics: &'a Arc<Metrics>,
    pub recording: &'a str,
    pub place: &'a Place,
    pub tell: &'a watch::Sender<Told>,
}

impl Task<'_> {
    /// Makes it, or what is not made yet of it.
    pub async fn carry_out(&self, mut job: Job) -> Result<(), ExportError> {
        let _running = Counted::new(&self.metrics.exports_running);
        job.state = JobState::Running;
        job.began_at.get_or_insert(clock::wall());
        self.write(&job).await?;
        let program = ffmpeg::find(&self.config.ffmpeg).ok_or(ExportError::NoFfmpeg)?;
        self.bring_back().await?;
        let (recordings, recording) = (self.recordings.clone(), self.recording.to_owned());
        let folder = blocking(move || recordings.open(&recording)).await?;
        let with_text = job.kind.has_pictures() && ffmpeg::writes_text(&program).await;
        match self.take_all(&program, &folder, job.kind, with_text).await {
            // A font may have no glyphs for a name, or such as cannot be drawn: better no names than no film.
            Err(ExportError::Ffmpeg(FfmpegError::Failed(words))) if with_text => {
                tracing::warn!(recording = self.recording, words, "an export is tried again without names");
                self.take_all(&program, &folder, job.kind, false).await?;
            }
            taken => taken?,
        }
        self.finish(folder, job).await
    }

    /// Has all files on the disk. What comes back from a bucket leaves again when nobody holds the recording any more.
    async fn bring_back(&self) -> Result<(), ExportError> {
        let (recordings, recording) = (self.recordings.clone(), self.recording.to_owned());
        let runtime = tokio::runtime::Handle::current();
        let brought = blocking(move || Ok(recordings.bring_back(&recording, &runtime))).await??;
        if brought > 0 {
            tracing::info!(recording = self.recording, files = brought, "brought back for an export");
        }
        Ok(())
    }

    /// Takes all steps that are not taken yet.
    async fn take_all(
        &self,
        program: &Path,
        folder: &Folder,
        kind: Kind,
        with_text: bool,
    ) -> Result<(), ExportError> {
        let plan = self.begin(folder, kind, with_text).await?;
        let workplace = workplace(folder, kind);
        let whole: u64 = plan.steps.iter().map(|step| step.weight).sum();
        let mut done = 0;
        for step in &plan.steps {
            #[expect(clippy::cast_precision_loss, reason = "milliseconds, for a progress bar")]
            let tell = |part: f64| {
                let progress = (done as f64 + part * step.weight as f64) / whole.max(1) as f64;
                self.tell.send_modify(|told| told.progress = progress.clamp(0.0, 1.0));
            };
            self.take(program, &workplace, step, tell).await?;
            // Also of a step that was taken before.
            tell(1.0);
            done += step.weight;
        }
        Ok(())
    }

    /// Notes why it failed, and removes what it has made. What that counts as.
    pub async fn fail(&self, error: &ExportError) -> Option<&'static str> {
        let place = self.place.clone();
        let mut job = self.tell.borrow().now();
        job.state = JobState::Failed;
        job.ended_at = Some(clock::wall());
        job.error = Some(JobError { code: error.code().to_owned(), message: error.to_string() });
        let exists = self.exists().await;
        if !exists || matches!(error, ExportError::Gone) {
            return Some("cancelled");
        }
        tracing::warn!(recording = self.recording, kind = job.kind.name(), %error, "an export has failed");
        let noted = blocking(move || {
            let _ = std::fs::remove_dir_all(place.work());
            place.write(&job)
        });
        if let Err(error) = noted.await {
            tracing::warn!(recording = self.recording, %error, "that an export has failed cannot be written");
        }
        Some("failed")
    }

    async fn exists(&self) -> bool {
        let (recordings, recording) = (self.recordings.clone(), self.recording.to_owned());
        matches!(blocking(move || Ok(recordings.manifest(&recording))).await, Ok(Some(_)))
    }

    async fn write(&self, job: &Job) -> Result<(), ExportError> {
        let (place, written) = (self.place.clone(), job.clone());
        blocking(move || place.write(&written)).await?;
        self.tell.send_modify(|told| told.job = job.clone());
        Ok(())
    }

    /// Plans, and makes the folder of the work fit for the plan.
    async fn begin(&self, folder: &Folder, kind: Kind, with_text: bool) -> Result<Plan, ExportError> {
        let (recordings, recording) = (self.recordings.clone(), self.recording.to_owned());
        let (config, place, folder) = (self.config.clone(), self.place.clone(), folder.clone());
        blocking(move || {
            let Some(manifest) = recordings.manifest(&recording) else { return Ok(Err(ExportError::Gone)) };
            let plan = match plan(&folder, &manifest, kind, &config, with_text) {
                Ok(plan) => plan,
                Err(error) => return Ok(Err(error.into())),
            };
            let digest = blake3::hash(format!("{plan:?}").as_bytes()).to_hex().to_string();
            let work = place.work();
            if std::fs::read_to_string(work.join(PLAN_FILE)).ok().as_deref() != Some(&digest) {
                let _ = std::fs::remove_dir_all(&work);
                place.make_work()?;
                std::fs::write(work.join(PLAN_FILE), digest)?;
            }
            // A process that was not ended in order may still write there; it writes into nothing then.
            for entry in std::fs::read_dir(&work)?.flatten() {
                if entry.file_name().to_string_lossy().starts_with(".draft-") {
                    std::fs::remove_file(entry.path())?;
                }
            }
            if folder.is_sealed() {
                lay_open(&folder, &manifest, &plan, &work)?;
            }
            Ok(Ok(plan))
        })
        .await?
    }

    /// Takes a step, unless it was taken already.
    async fn take(
        &self,
        program: &Path,
        (at, work_name): &(PathBuf, String),
        step: &Step,
        part: impl Fn(f64),
    ) -> Result<(), ExportError> {
        let work = self.place.work();
        let whole = work.join(&step.file);
        if whole.exists() {
            return Ok(());
        }
        if self.recordings.check().is_err() {
            return Err(if self.exists().await { ExportError::DiskFull } else { ExportError::Gone });
        }
        let (folder, reads) = (work.clone(), step.reads.clone());
        blocking(move || {
            reads.iter().try_for_each(|(name, content)| std::fs::write(folder.join(name), content))
        })
        .await?;
        let draft = format!(".draft-{}", crate::secrets::random_hex::<8>());
        let output = format!("file:{work_name}/{draft}");
        let arguments: Vec<String> = step.arguments.iter().cloned().chain([output]).collect();
        #[expect(clippy::cast_precision_loss, reason = "milliseconds, for a progress bar")]
        let progress = |ms: u64| part((ms as f64 / step.media_ms.max(1) as f64).min(1.0));
        ffmpeg::run(program, at, &arguments, progress).await?;
        blocking(move || {
            let draft = work.join(draft);
            File::open(&draft)?.sync_all()?;
            std::fs::rename(&draft, &whole)
        })
        .await?;
        Ok(())
    }

    /// Moves the result to its place.
    async fn finish(&self, folder: Folder, mut job: Job) -> Result<(), ExportError> {
        let place = self.place.clone();
        let job = blocking(move || {
            let made = place.work().join(RESULT_FILE);
            let bytes = made.metadata()?.len();
            if folder.is_sealed() {
                let name = result_name(job.kind);
                let mut sealed = folder.draft(&name, &format!("{}.draft", place.work_name()))?;
                io::copy(&mut File::open(&made)?, &mut sealed)?;
                sealed.place()?;
            } else {
                std::fs::rename(&made, place.result())?;
            }
            job.state = JobState::Done;
            job.progress = 1.0;
            job.ended_at = Some(clock::wall());
            job.bytes = Some(bytes);
            place.write(&job)?;
            // It is done, whatever is left: the next start removes it.
            let _ = std::fs::remove_dir_all(place.work());
            Ok(job)
        })
        .await?;
        self.tell.send_modify(|told| *told = Told { progress: 1.0, job });
        Ok(())
    }
}

/// Lays what a plan reads of a sealed recording into the folder of the work, as it was.
fn lay_open(folder: &Folder, manifest: &Manifest, plan: &Plan, work: &Path) -> io::Result<()> {
    let tracks = manifest.tracks.iter().map(|track| &track.file);
    for name in tracks.chain(manifest.mix.iter().map(|mix| &mix.file)) {
        let input = format!("file:{name}");
        let is_read = plan.steps.iter().any(|step| step.arguments.contains(&input));
        if is_read && !work.join(name).exists() {
            let draft = work.join(format!(".draft-{}", crate::secrets::random_hex::<8>()));
            io::copy(&mut folder.file(name)?, &mut File::create(&draft)?)?;
            std::fs::rename(&draft, work.join(name))?;
        }
    }
    Ok(())
}

/// Files are read and written on threads that may wait.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(io::Error::other)?
}
