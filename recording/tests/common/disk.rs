//! Drives a recorder and does what it says, in memory.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use recording::manifest::Manifest;
use recording::recorder::{Begin, FileId, Input, Output, Recorder};
use serde_json::json;
use sfu::id::PeerId;

use super::run;

/// A write, as it would reach a disk.
#[derive(Clone)]
pub enum Write {
    Create(FileId),
    Append(FileId, Vec<u8>),
    Patch(FileId, u64, Vec<u8>),
    Manifest(Box<Manifest>),
}

#[derive(Default)]
pub struct Disk {
    pub names: BTreeMap<FileId, String>,
    pub files: BTreeMap<FileId, Vec<u8>>,
    pub manifest: Option<Manifest>,
    pub journal: Vec<(Instant, Write)>,
    pub keyframes_wanted: Vec<(Instant, u8)>,
    pub done: bool,
}

impl Disk {
    pub fn apply(&mut self, write: &Write) {
        match write {
            Write::Create(file) => {
                assert!(self.files.insert(*file, Vec::new()).is_none(), "created twice");
            }
            Write::Append(file, bytes) => self.files.get_mut(file).expect("created").extend_from_slice(bytes),
            Write::Patch(file, at, bytes) => {
                let at = *at as usize;
                self.files.get_mut(file).expect("created")[at..at + bytes.len()].copy_from_slice(bytes);
            }
            Write::Manifest(manifest) => self.manifest = Some(Manifest::clone(manifest)),
        }
    }

    fn take(&mut self, now: Instant, output: Output) {
        let write = match output {
            Output::Create { file, name } => {
                self.names.insert(file, name);
                Write::Create(file)
            }
            Output::Append { file, bytes } => Write::Append(file, bytes),
            Output::Patch { file, at, bytes } => Write::Patch(file, at, bytes),
            Output::Manifest(manifest) => Write::Manifest(manifest),
            Output::WantKeyframe { layer, .. } => {
                self.keyframes_wanted.push((now, layer));
                return;
            }
            Output::Done { .. } => {
                self.done = true;
                return;
            }
            Output::Close { .. } | Output::Sync => return,
        };
        self.apply(&write);
        self.journal.push((now, write));
    }

    pub fn file(&self, name: &str) -> &[u8] {
        let id = self.names.iter().find(|(_, found)| *found == name).map(|(id, _)| id);
        &self.files[id.unwrap_or_else(|| panic!("no {name} among {:?}", self.names))]
    }
}

pub fn begin(start: Instant) -> Recorder {
    Recorder::begin(
        start,
        Begin {
            id: "rec-1".into(),
            room: "5b".into(),
            title: "Fractions".into(),
            lesson: "lesson-1".into(),
            began: "2026-11-26T18:00:00Z".into(),
            state: json!({"people": []}),
        },
    )
}

/// Records inputs, each at its time, and stops at the end.
pub fn record(start: Instant, mut inputs: Vec<(Instant, Input)>, end_ms: u64) -> Disk {
    inputs.sort_by_key(|(at, _)| *at);
    let mut recorder = begin(start);
    let mut disk = Disk::default();
    for peer in 1..=9 {
        let (identity, name) = (format!("p{peer}"), format!("Person {peer}"));
        recorder.handle(start, Input::Member { peer: PeerId(peer), identity, name });
    }
    let end = start + Duration::from_millis(end_ms);
    inputs.push((end, Input::Stop));
    for (at, input) in inputs {
        while let Some(timeout) = recorder.poll_timeout().filter(|timeout| *timeout < at) {
            recorder.handle(timeout, Input::Timeout);
            while let Some(output) = recorder.poll_output() {
                disk.take(timeout, output);
            }
        }
        recorder.handle(at, input);
        while let Some(output) = recorder.poll_output() {
            disk.take(at, output);
        }
    }
    assert!(disk.done && recorder.poll_timeout().is_none());
    disk
}

/// What ffprobe says of a file: the times of its packets in seconds, and its duration.
pub fn probe(file: &[u8]) -> (Vec<f64>, f64) {
    let path = temporary(file);
    let arguments = ["-v", "error", "-show_entries", "packet=pts_time:format=duration", "-of", "csv", &path];
    let (fine, out, problems) = run("ffprobe", &arguments, &[]);
    std::fs::remove_file(&path).expect("ours");
    assert!(fine && problems.is_empty(), "ffprobe: {problems}");
    let (mut times, mut duration) = (Vec::new(), 0.0);
    for line in String::from_utf8(out).expect("numbers").lines() {
        let mut fields = line.split(',');
        match (fields.next(), fields.next().and_then(|value| value.parse().ok())) {
            (Some("packet"), Some(time)) => times.push(time),
            (Some("format"), Some(value)) => duration = value,
            _ => {}
        }
    }
    (times, duration)
}

/// Range and matrix of the colours as the container has them, in ffprobe's words; those of a bitstream would take their place.
pub fn probe_colour(file: &[u8]) -> String {
    let path = temporary(file);
    let entries = "stream=color_range,color_space";
    let container = "-nofind_stream_info";
    let (fine, out, problems) = run(
        "ffprobe",
        &["-v", "error", container, "-show_entries", entries, "-of", "default=nw=1:nk=1", &path],
        &[],
    );
    std::fs::remove_file(&path).expect("ours");
    assert!(fine && problems.is_empty(), "ffprobe: {problems}");
    String::from_utf8(out).expect("words").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Decodes a whole file: any problem is a failure. Gives how many frames came out.
pub fn decode(file: &[u8]) -> usize {
    let path = temporary(file);
    let arguments =
        ["-v", "error", "-xerror", "-i", &path, "-f", "framecrc", "-fps_mode", "passthrough", "pipe:1"];
    let (fine, out, problems) = run("ffmpeg", &arguments, &[]);
    std::fs::remove_file(&path).expect("ours");
    assert!(fine && problems.is_empty(), "ffmpeg: {problems}");
    String::from_utf8_lossy(&out).lines().filter(|line| !line.starts_with('#')).count()
}

/// How many bytes each picture has that comes out of this decoder.
pub fn picture_bytes(file: &[u8], decoder: &str) -> Vec<usize> {
    let path = temporary(file);
    let mut arguments = vec!["-v", "error", "-xerror", "-c:v", decoder, "-i", &path];
    // As the decoder gives them: ffmpeg would make all as large as the first.
    arguments.extend(["-autoscale", "0", "-fps_mode", "passthrough", "-f", "framecrc", "pipe:1"]);
    let (fine, out, problems) = run("ffmpeg", &arguments, &[]);
    std::fs::remove_file(&path).expect("ours");
    assert!(fine && problems.is_empty(), "ffmpeg: {problems}");
    let out = String::from_utf8_lossy(&out);
    let pictures = out.lines().filter(|line| !line.starts_with('#'));
    pictures.map(|line| line.split(',').nth(4).expect("size").trim().parse().expect("number")).collect()
}

/// Samples of a file of sound, 48 kHz mono; silence where there is nothing.
pub fn samples(file: &[u8]) -> Vec<f32> {
    let path = temporary(file);
    let arguments = [
        "-v",
        "error",
        "-i",
        &path,
        "-f",
        "f32le",
        "-ac",
        "1",
        "-ar",
        "48000",
        "-af",
        "aresample=async=1:first_pts=0",
        "pipe:1",
    ];
    let (fine, out, problems) = run("ffmpeg", &arguments, &[]);
    std::fs::remove_file(&path).expect("ours");
    assert!(fine && problems.is_empty(), "ffmpeg: {problems}");
    out.chunks_exact(4).map(|bytes| f32::from_le_bytes(bytes.try_into().expect("four"))).collect()
}

fn temporary(file: &[u8]) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("lectern-recording-{}-{number}", std::process::id()));
    std::fs::write(&path, file).expect("there is space");
    path.to_str().expect("plain").to_owned()
}
