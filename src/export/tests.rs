//! Jobs, with the real ffmpeg behind a script that counts its runs and can hold them.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use super::*;
use crate::record::{CannotRemove, Keys, RecordingsConfig, Rule, SqliteCatalogue, seal_all};
use crate::worker::Feed;

/// Far above what anything here takes, also on a slow busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
const RECORDING: &str = "r-1";
/// The runs of a film of three parts: the question whether there are fonts, the sound, the parts, the joining.
const RUNS: usize = 6;

struct World {
    folder: tempfile::TempDir,
    recordings: Recordings,
    metrics: Arc<Metrics>,
    ended: Arc<Mutex<Vec<Ended>>>,
}

impl World {
    /// With a recording of six seconds.
    fn new() -> Self {
        World::with(1, Keys::default())
    }

    fn with(reserve_bytes: u64, keys: Keys) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        let recording = path.join("recordings").join(RECORDING);
        fs::create_dir_all(&recording).unwrap();
        let arguments = "-v error -f lavfi -i testsrc2=s=160x90:r=5:d=6 -f lavfi -i sine=d=6 \
             -map 0 -c:v libvpx -deadline realtime -cpu-used 8 v-1.webm -map 1 -c:a libopus mix.webm";
        let drawn =
            Command::new("ffmpeg").current_dir(&recording).args(arguments.split_whitespace()).status();
        assert!(drawn.unwrap().success());
        let track = json!({"track": 1, "file": "v-1.webm", "participant": "ada", "name": "Ada", "source": "camera",
            "codec": "vp8", "offsetMs": 0, "durationMs": 6000, "bytes": 1, "clockFit": []});
        let manifest = json!({"version": 1, "id": RECORDING, "room": "knots", "title": "Knots", "lesson": "l",
            "state": "final", "began": "2026-11-26T18:00:00Z", "durationMs": 6000, "tracks": [track],
            "mix": {"file": "mix.webm", "offsetMs": 0, "durationMs": 6000, "bytes": 1}, "pauses": [],
            "timeline": "timeline.ndjson", "timelineBytes": 0});
        fs::write(recording.join("manifest.json"), manifest.to_string()).unwrap();
        fs::write(recording.join("timeline.ndjson"), "").unwrap();
        if keys.seal() {
            seal_all(&recording, RECORDING, &keys);
        }
        let script = "#!/bin/sh\ncd \"$(dirname \"$0\")\" && echo $$ >> runs\n\
             if [ -e hold ] && [ $(wc -l < runs) -ge $(cat hold) ]; then exec sleep 1000; fi\n\
             case \"$*\" in *textfile*) [ -e textless ] && exit 1;; esac\n\
             if [ -e broken ]; then echo 'the sky fell' >&2; exit 1; fi\ncd \"$OLDPWD\" && exec ffmpeg \"$@\"\n";
        fs::write(path.join("ffmpeg"), script).unwrap();
        fs::set_permissions(path.join("ffmpeg"), fs::Permissions::from_mode(0o700)).unwrap();
        let config = RecordingsConfig {
            folder: path.join("recordings"),
            reserve_bytes: Some(reserve_bytes),
            retention: Rule::default(),
            bucket: None,
            keys,
        };
        let metrics = Arc::new(Metrics::new(Vec::new()));
        let catalogue = Arc::new(SqliteCatalogue::open(&path.join("recordings.db")).unwrap());
        let (failed, _) = tokio::sync::mpsc::unbounded_channel();
        let (_, feed) = Feed::new();
        let recordings =
            Recordings::start(config, feed, Vec::new(), catalogue, failed, metrics.clone()).unwrap();
        World { folder, recordings, metrics, ended: Arc::default() }
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn export(&self, name: &str) -> PathBuf {
        self.path().join("recordings").join(RECORDING).join("export").join(name)
    }

    async fn exports(&self) -> Exports {
        let config = ExportsConfig {
            ffmpeg: self.path().join("ffmpeg"),
            jobs: 1,
            queue: 1,
            threads: 1,
            part_ms: 2_000,
        };
        let ended = self.ended.clone();
        let on_end = Arc::new(move |one| ended.lock().unwrap().push(one));
        Exports::start(config, self.recordings.clone(), self.metrics.clone(), on_end).await
    }

    /// Runs from this one on stand still.
    fn hold(&self, from: usize) {
        fs::write(self.path().join("hold"), from.to_string()).unwrap();
    }

    fn let_go(&self) {
        fs::remove_file(self.path().join("hold")).unwrap();
    }

    /// Processes that were begun so far.
    fn runs(&self) -> Vec<u32> {
        let runs = fs::read_to_string(self.path().join("runs")).unwrap_or_default();
        runs.lines().map(|pid| pid.parse().unwrap()).collect()
    }

    fn outcomes(&self, kind: Kind, outcome: &str) -> u64 {
        self.metrics.exports.with_label_values(&[kind.name(), outcome]).get()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.recordings.end();
    }
}

async fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn ended(exports: &Exports, kind: Kind) -> Job {
    until("the job has ended", || {
        let job = exports.job(RECORDING, kind)?;
        matches!(job.state, JobState::Done | JobState::Failed).then_some(job)
    })
    .await
}

/// The process is gone, or nobody has taken notice yet of its end.
fn is_dead(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .map_or(true, |stat| stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z')))
}

#[tokio::test]
async fn a_job_goes_on_where_it_was() {
    let world = World::new();
    world.hold(4);
    let exports = world.exports().await;
    assert_eq!(exports.request(RECORDING, Kind::Composed).unwrap().state, JobState::Queued);
    // The question, the sound, the first part; the second hangs.
    until("it hangs", || (world.runs().len() == 4).then_some(())).await;
    let progress = exports.job(RECORDING, Kind::Composed).unwrap().progress;
    assert!(progress > 0.2 && progress < 0.8, "{progress}");
    exports.close().await;
    until("its process is gone", || is_dead(world.runs()[3]).then_some(())).await;
    assert!(world.export(".composed/part-00001.mkv").exists());
    assert_eq!(exports.request(RECORDING, Kind::Sound), Err(RequestError::Closing));
    // What a process that was not ended would leave behind.
    fs::write(world.export(".composed/.draft-0"), "torn").unwrap();

    world.let_go();
    let exports = world.exports().await;
    let job = ended(&exports, Kind::Composed).await;
    assert_eq!((job.state, job.progress, &job.error), (JobState::Done, 1.0, &None));
    // Neither the sound nor the first part was made anew.
    assert_eq!(world.runs().len(), 4 + RUNS - 2);
    let film = world.export("composed.mp4");
    assert_eq!(job.bytes, Some(film.metadata().unwrap().len()));
    let probe = ["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"];
    let probed = Command::new("ffprobe").args(probe).arg(&film).output().unwrap();
    let seconds: f64 = String::from_utf8(probed.stdout).unwrap().trim().parse().unwrap();
    assert!((seconds - 6.0).abs() < 0.1, "{seconds}");
    until("the work is tidied", || (!world.export(".composed").exists()).then_some(())).await;
    assert_eq!((world.outcomes(Kind::Composed, "done"), world.outcomes(Kind::Composed, "cancelled")), (1, 0));

    // It is not made again, also not by the next process.
    assert_eq!(exports.request(RECORDING, Kind::Composed).unwrap().state, JobState::Done);
    exports.close().await;
    let exports = world.exports().await;
    assert_eq!(exports.jobs(RECORDING), [job]);
    assert!(exports.remove(RECORDING, Kind::Composed).await.unwrap());
    assert!(!exports.remove(RECORDING, Kind::Composed).await.unwrap());
    assert!(!film.exists() && !world.export("").exists());
    assert_eq!(world.runs().len(), 4 + RUNS - 2);
}

/// Whatever is wrong with the fonts: better no names than no film.
#[tokio::test]
async fn without_fonts_there_are_no_names() {
    let world = World::new();
    fs::write(world.path().join("textless"), "").unwrap();
    let exports = world.exports().await;
    exports.request(RECORDING, Kind::Composed).unwrap();
    let job = ended(&exports, Kind::Composed).await;
    assert_eq!((job.state, &job.error), (JobState::Done, &None));
    // One part was tried with names, unless there are none at all on this machine.
    assert!([RUNS, RUNS + 2].contains(&world.runs().len()), "{:?}", world.runs());
    exports.close().await;
}

#[tokio::test]
async fn one_at_a_time_and_few_wait() {
    let world = World::new();
    world.hold(1);
    let exports = world.exports().await;
    exports.request(RECORDING, Kind::Sound).unwrap();
    until("it runs", || (world.runs().len() == 1).then_some(())).await;
    assert_eq!(exports.request(RECORDING, Kind::Copy).unwrap().state, JobState::Queued);
    assert_eq!(exports.request(RECORDING, Kind::Composed), Err(RequestError::QueueFull));
    // The same again is the same.
    assert_eq!(exports.request(RECORDING, Kind::Sound).unwrap().state, JobState::Running);
    assert_eq!(exports.jobs(RECORDING).len(), 2);
    // Time in which a second one would begin, if it could.
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(world.runs().len(), 1);
    assert_eq!((world.metrics.exports_running.get(), world.metrics.exports_waiting.get()), (1, 1));

    // One that waits is cancelled, then the one that runs: nothing is left of either.
    assert!(exports.remove(RECORDING, Kind::Copy).await.unwrap());
    assert!(exports.remove(RECORDING, Kind::Sound).await.unwrap());
    until("its process is gone", || is_dead(world.runs()[0]).then_some(())).await;
    assert!(exports.jobs(RECORDING).is_empty() && !world.export("").exists());
    assert_eq!((world.outcomes(Kind::Sound, "cancelled"), world.outcomes(Kind::Copy, "cancelled")), (1, 1));
    assert_eq!((world.metrics.exports_running.get(), world.metrics.exports_waiting.get()), (0, 0));

    // The next one has its turn.
    world.let_go();
    exports.request(RECORDING, Kind::Copy).unwrap();
    assert_eq!(ended(&exports, Kind::Copy).await.state, JobState::Done);
    exports.close().await;
}

#[tokio::test]
async fn what_cannot_be_made_says_why() {
    let world = World::new();
    let exports = world.exports().await;
    assert_eq!(exports.request("r-2", Kind::Copy), Err(RequestError::NoRecording));
    assert_eq!(exports.request("../r-1", Kind::Copy), Err(RequestError::NoRecording));
    assert_eq!(exports.request(RECORDING, Kind::Screen), Err(PlanError::NoScreen.into()));
    fs::write(world.path().join("broken"), "").unwrap();
    exports.request(RECORDING, Kind::Sound).unwrap();
    let job = ended(&exports, Kind::Sound).await;
    let error = job.error.unwrap();
    assert_eq!((job.state, error.code.as_str()), (JobState::Failed, "ffmpeg-failed"));
    assert!(error.message.contains("the sky fell"), "{}", error.message);
    until("it is counted", || (world.outcomes(Kind::Sound, "failed") == 1).then_some(())).await;
    assert!(!world.export(".sound").exists());
    // Asked for again, it is tried again.
    fs::remove_file(world.path().join("broken")).unwrap();
    until("the task has gone", || {
        exports.request(RECORDING, Kind::Sound).ok().filter(|job| job.error.is_none())
    })
    .await;
    assert_eq!(ended(&exports, Kind::Sound).await.state, JobState::Done);
    // Both ends are told, in their order.
    let told = |is_done| Ended { recording: RECORDING.into(), kind: Kind::Sound, is_done };
    let all = [told(false), told(true)];
    until("both are told", || (*world.ended.lock().unwrap() == all).then_some(())).await;
    exports.close().await;

    let config = ExportsConfig { ffmpeg: "no-such-program".into(), ..exports.shared.config.clone() };
    let exports =
        Exports::start(config, world.recordings.clone(), world.metrics.clone(), Arc::new(|_| {})).await;
    assert_eq!(exports.request(RECORDING, Kind::Copy), Err(RequestError::NoFfmpeg));
    // What is there can be had all the same.
    assert_eq!(exports.request(RECORDING, Kind::Sound).unwrap().state, JobState::Done);

    let world = World::with(u64::MAX, Keys::default());
    assert_eq!(world.exports().await.request(RECORDING, Kind::Copy), Err(RequestError::DiskFull));
    // The start makes digests, and writes the manifest anew with them: not over what is written here.
    let sealed = |manifest: &Manifest| manifest.tracks.iter().all(|track| track.blake3.is_some());
    let manifest = || world.recordings.manifest(RECORDING).filter(|manifest| sealed(manifest));
    let mut manifest = Manifest::clone(&*until("the digests are made", manifest).await);
    manifest.state = State::Live;
    let path = world.path().join("recordings").join(RECORDING).join("manifest.json");
    fs::write(path, serde_json::to_vec(&manifest).unwrap()).unwrap();
    assert_eq!(world.exports().await.request(RECORDING, Kind::Copy), Err(RequestError::Live));
}

#[tokio::test]
async fn a_recording_goes_with_its_exports() {
    let world = World::new();
    world.hold(1);
    let exports = world.exports().await;
    exports.request(RECORDING, Kind::Copy).unwrap();
    until("it runs", || (world.runs().len() == 1).then_some(())).await;
    // Not behind the job's back: only whoever removes it in the open ends the job first.
    let removed = world.recordings.remove(RECORDING, clock::wall());
    assert!(matches!(removed, Err(CannotRemove::InUse)), "{removed:?}");
    exports.forget(RECORDING).await;
    world.recordings.remove(RECORDING, clock::wall()).unwrap();
    until("its process is gone", || is_dead(world.runs()[0]).then_some(())).await;
    assert!(exports.jobs(RECORDING).is_empty());
    assert_eq!(world.outcomes(Kind::Copy, "cancelled"), 1);
    assert!(!world.path().join("recordings").join(RECORDING).exists());
}

/// The bytes with which WebM, Matroska and MP4 begin, in any file of a folder.
fn lies_open(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(lies_open(&path));
        } else {
            let file = fs::read(&path).unwrap();
            if file.starts_with(&[0x1a, 0x45, 0xdf, 0xa3]) || file.get(4..8) == Some(b"ftyp") {
                found.push(path);
            }
        }
    }
    found
}

#[tokio::test]
async fn nothing_of_a_sealed_recording_lies_open_but_for_a_job_that_runs() {
    let world = World::with(1, Keys::of(&[1]));
    let recordings = world.path().join("recordings");
    assert_eq!(lies_open(&recordings), Vec::<PathBuf>::new());
    world.hold(4);
    let exports = world.exports().await;
    exports.request(RECORDING, Kind::Composed).unwrap();
    until("it hangs", || (world.runs().len() == 4).then_some(())).await;
    // What it reads, and what it has made.
    for name in ["v-1.webm", "mix.webm", "sound.m4a", "part-00001.mkv"] {
        assert!(lies_open(&recordings).contains(&world.export(".composed").join(name)), "{name}");
    }
    exports.close().await;
    assert_eq!(lies_open(&recordings), Vec::<PathBuf>::new());
    // A process that was killed.
    fs::create_dir(world.export(".composed")).unwrap();
    fs::write(world.export(".composed/v-1.webm"), [0x1a, 0x45, 0xdf, 0xa3]).unwrap();
    let exports = world.exports().await;
    until("it hangs again, from the beginning", || (world.runs().len() == 5).then_some(())).await;
    exports.close().await;
    world.let_go();
    let exports = world.exports().await;
    let job = ended(&exports, Kind::Composed).await;
    assert_eq!((job.state, &job.error), (JobState::Done, &None));
    until("the work is tidied", || (!world.export(".composed").exists()).then_some(())).await;
    assert_eq!(lies_open(&recordings), Vec::<PathBuf>::new());
    let folder = world.recordings.open(RECORDING).unwrap();
    let film = folder.read(&Exports::file(Kind::Composed)).unwrap();
    assert_eq!(job.bytes, Some(film.len() as u64));
    fs::write(world.path().join("film.mp4"), film).unwrap();
    let probe = ["-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0"];
    let probed = Command::new("ffprobe").args(probe).arg(world.path().join("film.mp4")).output().unwrap();
    let seconds: f64 = String::from_utf8(probed.stdout).unwrap().trim().parse().unwrap();
    assert!((seconds - 6.0).abs() < 0.1, "{seconds}");
    exports.request(RECORDING, Kind::Copy).unwrap();
    assert_eq!(ended(&exports, Kind::Copy).await.state, JobState::Done);
    assert!(exports.remove(RECORDING, Kind::Copy).await.unwrap());
    exports.close().await;
}

#[tokio::test]
async fn a_zip_has_it_all() {
    zip_has_it_all(World::new()).await;
    zip_has_it_all(World::with(1, Keys::of(&[1]))).await;
}

async fn zip_has_it_all(world: World) {
    let folder = world.path().join("recordings").join(RECORDING);
    // The start makes digests.
    let digests = |manifest: &Arc<Manifest>| manifest.tracks.iter().all(|track| track.blake3.is_some());
    let manifest = || world.recordings.manifest(RECORDING).filter(digests);
    let manifest = until("the digests are made", manifest).await;
    let mut pieces = zip::stream(&world.recordings, manifest.clone(), "Knots 2026".into());
    let mut file = Vec::new();
    while let Some(piece) = pieces.recv().await {
        file.extend(piece.unwrap());
    }
    let mut archive = ::zip::ZipArchive::new(std::io::Cursor::new(file)).unwrap();
    let mut names: Vec<String> = archive.file_names().map(|name| name.unwrap().into_owned()).collect();
    names.sort();
    let expected = ["attendance.csv", "chat.csv", "manifest.json", "mix.webm", "timeline.ndjson", "v-1.webm"];
    assert_eq!(names, expected.map(|name| format!("Knots 2026/{name}")));
    for name in ["v-1.webm", "mix.webm", "timeline.ndjson"] {
        let mut found = Vec::new();
        // Its checksum is tested at the end.
        std::io::copy(&mut archive.by_name(&format!("Knots 2026/{name}")).unwrap(), &mut found).unwrap();
        assert!(found == world.recordings.open(RECORDING).unwrap().read(name).unwrap(), "{name}");
    }
    // Digests are of files as they lie there: of those in the archive only if they are the same.
    let mut inside = String::new();
    std::io::Read::read_to_string(&mut archive.by_name("Knots 2026/manifest.json").unwrap(), &mut inside)
        .unwrap();
    let is_sealed = world.recordings.open(RECORDING).unwrap().is_sealed();
    assert!(!is_sealed || !inside.contains("blake3"));
    // A file that is missing is an error, and no archive that only looks whole.
    fs::remove_file(folder.join("mix.webm")).unwrap();
    let mut pieces = zip::stream(&world.recordings, manifest, "Knots 2026".into());
    let mut last = None;
    while let Some(piece) = pieces.recv().await {
        last = Some(piece);
    }
    assert!(last.unwrap().is_err());
}
