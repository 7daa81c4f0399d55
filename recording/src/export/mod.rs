//! What a recording is handed out as: a film, its sound, its tracks in one file, tables of what was said and of who was there.
//!
//! Everything here is a plan: [`plan`] makes of a manifest and a timeline the [`Step`]s that `ffmpeg` has to take, [`chat`] and [`attendance`]
//! make their files at once. Who runs the steps owns processes, files and time.
//!
//! # How a film is made
//! Who is seen when, and where, is decided first (`layout.rs`): scenes, cut at each change. A film is drawn in parts of [`PART_MS`], each by a process
//! of its own (`picture.rs`): every picture that is in one of its scenes is an input, put onto the canvas where and while the scenes say so. So a change
//! of layout costs nothing, pictures are sought in their files once a part, and a job that was torn goes on with the next part. The sound is made by
//! itself and the parts are joined without being coded again.
//!
//! Files of a recording begin at time 0 and their clocks are not quite the class's: every time goes through [`clock::Way`].

mod attendance;
mod chat;
mod class;
pub mod clock;
mod csv;
mod layout;
mod picture;
mod sound;
#[cfg(test)]
mod testing;
mod text;

use serde::{Deserialize, Serialize};
use sfu::media::{Kind as MediaKind, Source};

use crate::manifest::{Manifest, Track};
use crate::timeline::Entry;

pub use attendance::attendance;
pub use chat::chat;
pub use text::{day_of, parse_time};

/// How much of a film one process draws, in milliseconds. A process begins each picture at the keyframe before its part, which in browsers' video is up
/// to 3000 frames away (libwebrtc's interval when nobody asks): longer parts waste less of that, shorter ones lose less at a restart.
pub const PART_MS: u64 = 120_000;
/// The file in the folder of the work that becomes the export.
pub const RESULT_FILE: &str = "result";

/// What to export. There is at most one export of each kind of a recording.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// One film: the shared screen, or whoever speaks or teaches; faces beside it; the mixed sound. MP4 with H264 and AAC.
    Composed,
    /// Shared screens alone with the mixed sound. MP4 with H264 and AAC.
    Screen,
    /// The mixed sound alone. M4A with AAC.
    Sound,
    /// All tracks as they are in one Matroska file.
    Copy,
    /// What was written in the chat. CSV.
    Chat,
    /// Who was there from when to when. CSV.
    Attendance,
    /// All files of the recording, with both tables. ZIP.
    Zip,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 7] =
        [Kind::Composed, Kind::Screen, Kind::Sound, Kind::Copy, Kind::Chat, Kind::Attendance, Kind::Zip];

    /// Its name, as on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Composed => "composed",
            Kind::Screen => "screen",
            Kind::Sound => "sound",
            Kind::Copy => "copy",
            Kind::Chat => "chat",
            Kind::Attendance => "attendance",
            Kind::Zip => "zip",
        }
    }

    /// The kind of this name.
    pub fn from_name(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// How its file's name ends.
    pub const fn extension(self) -> &'static str {
        match self {
            Kind::Composed | Kind::Screen => "mp4",
            Kind::Sound => "m4a",
            Kind::Copy => "mkv",
            Kind::Chat | Kind::Attendance => "csv",
            Kind::Zip => "zip",
        }
    }

    /// What it is, for `Content-Type`.
    pub const fn media_type(self) -> &'static str {
        match self {
            Kind::Composed | Kind::Screen => "video/mp4",
            Kind::Sound => "audio/mp4",
            Kind::Copy => "video/x-matroska",
            Kind::Chat | Kind::Attendance => "text/csv; charset=utf-8",
            Kind::Zip => "application/zip",
        }
    }

    /// Whether pictures are drawn for it, in which names may stand.
    pub const fn has_pictures(self) -> bool {
        matches!(self, Kind::Composed | Kind::Screen)
    }

    /// Whether it takes `ffmpeg` and time. The others are made while they are fetched.
    pub const fn takes_time(self) -> bool {
        matches!(self, Kind::Composed | Kind::Screen | Kind::Sound | Kind::Copy)
    }
}

/// What is known beside the recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// The folder of the work, as seen from the recording's; nothing in it but letters, digits, `.`, `-` and `/`.
    pub work: String,
    /// Names and the title are written into the picture: `ffmpeg` was built with `drawtext` and finds a font.
    pub with_text: bool,
    /// Threads of the encoder.
    pub threads: usize,
    /// [`PART_MS`], or less in tests. A multiple of 40.
    pub part_ms: u64,
}

/// Why there is nothing to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// No screen was shared.
    #[error("no screen was shared while this was recorded")]
    NoScreen,
    /// There is no track at all.
    #[error("nothing was recorded")]
    NoTracks,
    /// It is no kind for which there are steps.
    #[error("this is made while it is fetched")]
    AtOnce,
}

/// A run of `ffmpeg`, in the folder of the recording.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The file that it makes, in the folder of the work.
    pub file: String,
    /// Small files that it reads, in the folder of the work: name and content.
    pub reads: Vec<(String, String)>,
    /// Arguments, without those that say how progress is told; the last names the output and is left out.
    pub arguments: Vec<String>,
    /// How much of the class it plays, in milliseconds: the measure of its own progress.
    pub media_ms: u64,
    /// How much of the whole work it is.
    pub weight: u64,
}

/// Steps, in order. The last one makes [`RESULT_FILE`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// At least one.
    pub steps: Vec<Step>,
}

/// Plans an export.
///
/// # Errors
/// When there is nothing to make it of.
pub fn plan(
    kind: Kind,
    manifest: &Manifest,
    entries: &[Entry],
    options: &Options,
) -> Result<Plan, PlanError> {
    if manifest.tracks.is_empty() && manifest.mix.is_none() {
        return Err(PlanError::NoTracks);
    }
    let steps = match kind {
        Kind::Composed | Kind::Screen => picture::film(kind, manifest, entries, options)?,
        Kind::Sound => vec![sound::step(manifest, RESULT_FILE, "ipod")],
        Kind::Copy => vec![copy(manifest)],
        Kind::Chat | Kind::Attendance | Kind::Zip => return Err(PlanError::AtOnce),
    };
    Ok(Plan { steps })
}

/// All tracks into one file. Their clocks are brought to the class's on the way: packets get other times, and stay as they are.
fn copy(manifest: &Manifest) -> Step {
    let mut arguments = words("-copyts");
    let mut outputs = Vec::new();
    let mix = manifest.mix.as_ref().map(|mix| (mix.file.as_str(), "All voices".to_owned(), None));
    let tracks = manifest.tracks.iter().map(|track| {
        (track.file.as_str(), format!("{} · {}", track.name, source_name(track.source)), Some(track))
    });
    for (index, (file, title, track)) in mix.into_iter().chain(tracks).enumerate() {
        arguments.extend(input(file));
        outputs.extend(words(&format!("-map {index}:0")));
        outputs.extend([format!("-metadata:s:{index}"), format!("title={}", one_line(&title))]);
        let seconds = match track {
            Some(track) => clock::Way::of(track).simplified().expression("TS*TB", 0.0),
            // Nothing is before the beginning: all would be moved for it.
            None => "(TS*TB+abs(TS*TB))/2".to_owned(),
        };
        outputs.extend([format!("-bsf:{index}"), format!("setts=ts=({seconds})/TB")]);
        let disposition = if index == 0 { "default" } else { "0" };
        outputs.extend([format!("-disposition:{index}"), disposition.to_owned()]);
    }
    arguments.extend(outputs);
    arguments.extend(words("-c copy"));
    arguments.extend(metadata(manifest));
    arguments.extend(words("-f matroska"));
    Step {
        file: RESULT_FILE.to_owned(),
        reads: Vec::new(),
        arguments,
        media_ms: manifest.duration_ms,
        weight: manifest.duration_ms.max(1),
    }
}

/// A file of the recording as an input: nothing is guessed of it, and it leads nowhere else.
fn input(file: &str) -> Vec<String> {
    let mut arguments = words("-protocol_whitelist file -f matroska -i");
    arguments.push(format!("file:{file}"));
    arguments
}

fn metadata(manifest: &Manifest) -> Vec<String> {
    let title = if manifest.title.is_empty() { &manifest.room } else { &manifest.title };
    let title = format!("title={}", one_line(title));
    let date = format!("creation_time={}", one_line(&manifest.began));
    // Nothing of the files' own.
    [words("-map_metadata -1 -map_chapters -1"), vec!["-metadata".into(), title, "-metadata".into(), date]]
        .concat()
}

fn words(text: &str) -> Vec<String> {
    text.split_ascii_whitespace().map(str::to_owned).collect()
}

fn one_line(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

fn source_name(source: Source) -> &'static str {
    match source {
        Source::Microphone => "microphone",
        Source::Camera => "camera",
        Source::Screen => "screen",
        Source::ScreenAudio => "sound of the screen",
        Source::Desktop => "desktop",
    }
}

fn is_screen(track: &Track) -> bool {
    track.source.kind() == MediaKind::Video && track.source != Source::Camera
}
