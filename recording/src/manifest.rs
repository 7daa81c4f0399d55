//! What a recording consists of: `manifest.json`.

use serde::{Deserialize, Serialize};
use sfu::codec::Codec;
use sfu::media::Source;

use crate::colour::Colour;

/// The version of the format that is written here.
pub const VERSION: u32 = 1;
/// The name of the timeline's file.
pub const TIMELINE_FILE: &str = "timeline.ndjson";
/// The name of the mix's file.
pub const MIX_FILE: &str = "mix.webm";

/// The manifest of a recording.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// [`VERSION`].
    pub version: u32,
    /// The recording's id.
    pub id: String,
    /// The room's name.
    pub room: String,
    /// The lesson's title.
    pub title: String,
    /// The lesson's id.
    pub lesson: String,
    /// How far it is.
    pub state: State,
    /// When it began: RFC 3339 in UTC.
    pub began: String,
    /// How long it is, in milliseconds.
    pub duration_ms: u64,
    /// The tracks, in the order in which they began.
    pub tracks: Vec<Track>,
    /// All voices in one file.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub mix: Option<Mix>,
    /// When it was paused: from, to, in milliseconds since it began.
    pub pauses: Vec<(u64, u64)>,
    /// The timeline's file.
    pub timeline: String,
    /// How many bytes of it there are.
    pub timeline_bytes: u64,
}

/// How far a recording is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// Being written, or torn.
    Live,
    /// Ended as it should.
    Final,
    /// Torn, and finished afterwards.
    Recovered,
}

/// A track's file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Track {
    /// Its number in the recording, from 1.
    pub track: u32,
    /// The file's name.
    pub file: String,
    /// The identity of its publisher.
    pub participant: String,
    /// The name that the publisher shows.
    pub name: String,
    /// What it is.
    pub source: Source,
    /// How it is coded.
    pub codec: Codec,
    /// Where time 0 of the file is, in milliseconds since the recording began.
    pub offset_ms: u64,
    /// How long the file plays, in milliseconds.
    pub duration_ms: u64,
    /// How long the file is.
    pub bytes: u64,
    /// Width of the last picture in pixels.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub width: Option<u16>,
    /// Height of the last picture in pixels.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub height: Option<u16>,
    /// What its numbers mean as colours; what there is none of, the bitstream says.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub colour: Option<Colour>,
    /// Pairs (milliseconds in the file, milliseconds since the recording began) between which time runs straight; when there are none,
    /// the two differ by the offset.
    pub clock_fit: Vec<(f64, f64)>,
    /// Digest of the file, when it is finished.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub blake3: Option<String>,
}

/// The mix's file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Mix {
    /// The file's name.
    pub file: String,
    /// Where time 0 of the file is, in milliseconds since the recording began: 0, which makes it the clock of the replay.
    pub offset_ms: u64,
    /// How long the file plays, in milliseconds.
    pub duration_ms: u64,
    /// How long the file is.
    pub bytes: u64,
    /// Digest of the file, when it is finished.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub blake3: Option<String>,
}

impl Manifest {
    /// Whether all its files have names that lead nowhere else. One that others have made must be asked first.
    pub fn names_are_plain(&self) -> bool {
        let tracks = self.tracks.iter().map(|track| &track.file);
        tracks.chain(self.mix.iter().map(|mix| &mix.file)).chain([&self.timeline]).all(|name| is_plain(name))
    }
}

/// Whether it is the name of a file in a recording's folder: neither a way elsewhere, nor hidden, nor one of the folder's own.
fn is_plain(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    (1..=80).contains(&name.len())
        && name.bytes().all(fits)
        && !name.starts_with('.')
        && !name.ends_with(".json")
}

/// The name of a track's file.
pub fn file_name(track: u32, codec: Codec) -> String {
    match codec {
        Codec::Opus => format!("a-{track}.webm"),
        Codec::H264 => format!("v-{track}.mkv"),
        Codec::Vp8 | Codec::Vp9 | Codec::Av1 => format!("v-{track}.webm"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_on_the_wire() {
        let json = r#"{"version":1,"id":"r","room":"5b","title":"Fractions","lesson":"l","state":"live",
            "began":"2026-11-26T18:00:00Z","durationMs":5000,"tracks":[{"track":1,"file":"v-1.mkv","participant":"ana",
            "name":"Ana","source":"screen","codec":"h264","offsetMs":3,"durationMs":4,"bytes":5,"width":640,"height":360,
            "clockFit":[[0.0,3.0],[4.0,7.5]]}],"mix":{"file":"mix.webm","offsetMs":0,"durationMs":1,"bytes":2,"blake3":"ab"},
            "pauses":[[1,2]],"timeline":"timeline.ndjson","timelineBytes":9}"#;
        let manifest: Manifest = serde_json::from_str(json).expect("as above");
        let again: serde_json::Value = serde_json::to_value(&manifest).expect("plain");
        assert_eq!(again, serde_json::from_str::<serde_json::Value>(json).expect("json"));
        assert_eq!(file_name(1, manifest.tracks[0].codec), manifest.tracks[0].file);
    }
}
