//! The sound of an export.

use super::clock::Way;
use super::{Step, input, metadata, words};
use crate::manifest::Manifest;
use sfu::media::Kind;

/// Enough for the mix, which is mono at 40 kbit/s of a better codec.
const BITS_PER_SECOND: &str = "80k";
/// Coding sound takes so much less than coding pictures.
const LIGHTER: u64 = 20;

/// Makes the sound of the whole recording: the mix, or when there is none all tracks mixed, or silence.
pub(super) fn step(manifest: &Manifest, file: &str, format: &str) -> Step {
    let tracks: Vec<_> = manifest.tracks.iter().filter(|track| track.source.kind() == Kind::Audio).collect();
    let mut arguments = words("-copyts");
    // Opus stops sending in silence: what is not there must not make what follows come early.
    let whole = "aresample=48000:async=1:first_pts=0";
    let graph = if let Some(mix) = &manifest.mix {
        arguments.extend(input(&mix.file));
        format!("[0:a]{whole},apad[sound]")
    } else if tracks.is_empty() {
        "anullsrc=r=48000:cl=mono[sound]".to_owned()
    } else {
        let mut graph = String::new();
        for (index, track) in tracks.iter().enumerate() {
            arguments.extend(input(&track.file));
            let seconds = Way::of(track).simplified().expression("T", 0.0);
            graph.push_str(&format!("[{index}:a]asetpts=({seconds})/TB,{whole}[a{index}];"));
        }
        (0..tracks.len()).for_each(|index| graph.push_str(&format!("[a{index}]")));
        let count = tracks.len();
        graph.push_str(&format!("amix=inputs={count}:duration=longest:normalize=0,alimiter,apad[sound]"));
        graph
    };
    arguments.extend([words("-filter_complex_threads 1 -filter_complex"), vec![graph]].concat());
    arguments.extend(words("-map [sound] -ac 1 -c:a aac -b:a"));
    arguments.push(BITS_PER_SECOND.to_owned());
    arguments.extend(["-t".to_owned(), seconds(manifest.duration_ms)]);
    arguments.extend(metadata(manifest));
    arguments.extend(words("-movflags +faststart -f"));
    arguments.push(format.to_owned());
    Step {
        file: file.to_owned(),
        reads: Vec::new(),
        arguments,
        media_ms: manifest.duration_ms,
        weight: (manifest.duration_ms / LIGHTER).max(1),
    }
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}
