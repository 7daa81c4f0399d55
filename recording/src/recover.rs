//! Makes a whole recording of what a killed process, a full disk or a power cut has left.
//!
//! [`plan`] looks at the manifest, the timeline and the tracks' files, and says what to do. It is done in this order: files, timeline, manifest; so it
//! can be cut off again at any place and done again. A recording that is whole is left alone.

use std::collections::BTreeMap;
use std::io::{Read, Seek};

use sfu::codec::Codec;
use sfu::media::Kind;

use crate::clock::{Placed, add_to_fit, fit_of_reports};
use crate::manifest::{self, Manifest, Mix, State, Track};
use crate::mix::Mix as Mixing;
use crate::timeline::{self, Entry, EntryKind};
use crate::webm::recover::{Found, Recovery, Torn, find, finished_duration_ms, frames_from, recover};

/// What a decoder has to hear before it sounds right is read from before the end of the mix, in milliseconds.
const PRE_ROLL_MS: u64 = 200;
/// So much is added to a torn mix at most, in milliseconds: a mix is made two seconds behind live.
const MIX_BEHIND_MS: u64 = 10_000;

/// What to do to make a recording whole.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Files to cut, append to and patch, by name.
    pub files: Vec<(String, Recovery)>,
    /// Cut the timeline here.
    pub timeline_bytes: u64,
    /// Then append this to it.
    pub timeline_append: String,
    /// Replace the manifest by this.
    pub manifest: Manifest,
}

/// Plans the recovery of a recording, with the manifest as it was last written and the bytes of the timeline. `open` gives a file of the
/// recording with its length, or nothing when there is none of that name. `None` when there is nothing to do.
///
/// # Errors
/// What a file's reader says.
pub fn plan<F: Read + Seek>(
    manifest: &Manifest,
    timeline: &[u8],
    mut open: impl FnMut(&str) -> std::io::Result<Option<(F, u64)>>,
) -> std::io::Result<Option<Plan>> {
    if manifest.state != State::Live {
        return Ok(None);
    }
    let read = timeline::read(timeline);
    let mut recovered = Manifest { tracks: Vec::new(), mix: None, ..manifest.clone() };
    let mut files = Vec::new();
    for track in known_tracks(manifest, &read.entries) {
        let Some((mut file, len)) = open(&track.file)? else { continue };
        let recovery = recover(&mut file, len)?;
        let is_torn = recovery.is_some();
        let (duration_ms, bytes) = match recovery {
            Some(recovery) => {
                let state = (recovery.duration_ms, recovery.keep_bytes + recovery.append.len() as u64);
                let playable = recovery.frames > 0;
                files.push((track.file.clone(), recovery));
                if !playable {
                    continue;
                }
                state
            }
            None => match finished_duration_ms(&mut file, len)? {
                Some(duration_ms) => (duration_ms, len),
                None => continue,
            },
        };
        let mut track = Track { duration_ms, bytes, ..track };
        if is_torn || track.clock_fit.is_empty() {
            track.clock_fit = fit(&track, &read.entries);
        }
        recovered.tracks.push(track);
    }
    let last_entry = read.entries.iter().map(|entry| entry.at_ms).max().unwrap_or(0);
    let ends = recovered.tracks.iter().map(|track| track.offset_ms.saturating_add(track.duration_ms));
    recovered.duration_ms = ends.fold(last_entry, u64::max);
    if let Some((mut file, len)) = open(manifest::MIX_FILE)? {
        let entry = |duration_ms, bytes| {
            let file = manifest::MIX_FILE.to_owned();
            Mix { file, offset_ms: 0, duration_ms, bytes, blake3: None }
        };
        match find(&mut file, len)? {
            Found::Whole => {
                recovered.mix =
                    finished_duration_ms(&mut file, len)?.map(|duration_ms| entry(duration_ms, len));
            }
            found => {
                let torn = if let Found::Torn(torn) = found { Some(torn) } else { None };
                let recovery = lengthen(torn, &recovered, &mut open)?;
                let bytes = recovery.keep_bytes + recovery.append.len() as u64;
                recovered.mix = (bytes > 0).then(|| entry(recovery.duration_ms, bytes));
                files.push((manifest::MIX_FILE.to_owned(), recovery));
            }
        }
    }
    let mix_ms = recovered.mix.as_ref().map_or(0, |mix| mix.duration_ms);
    recovered.duration_ms = recovered.duration_ms.max(mix_ms);
    recovered.pauses = pauses(&read.entries, recovered.duration_ms);
    recovered.state = State::Recovered;
    let mut timeline_append = String::new();
    if !read.entries.iter().any(|entry| entry.kind == EntryKind::Stopped {}) {
        let at_ms = recovered.duration_ms;
        timeline_append = timeline::write(&Entry { at_ms, kind: EntryKind::Stopped {} });
    }
    let timeline_bytes = read.whole_bytes as u64;
    recovered.timeline_bytes = timeline_bytes + timeline_append.len() as u64;
    Ok(Some(Plan { files, timeline_bytes, timeline_append, manifest: recovered }))
}

/// Mixes what the tracks have behind the end of a torn mix, which is made some time behind live. Without any, the recording may
/// have been too short for one.
fn lengthen<F: Read + Seek>(
    torn: Option<Torn>,
    recovered: &Manifest,
    open: &mut impl FnMut(&str) -> std::io::Result<Option<(F, u64)>>,
) -> std::io::Result<Recovery> {
    let last_ms = torn.as_ref().map_or(0, Torn::last_ms);
    let until_ms = recovered.duration_ms.min(last_ms + MIX_BEHIND_MS);
    let begun = match &torn {
        Some(torn) => Mixing::resume(torn.writer(Kind::Audio), last_ms),
        None if recovered.duration_ms <= MIX_BEHIND_MS && !recovered.tracks.is_empty() => Mixing::begin(),
        None => None,
    };
    let Some(mut mix) = begun else { return Ok(torn.map_or_else(Recovery::nothing, Torn::finish)) };
    let mut frames = Vec::new();
    for track in recovered.tracks.iter().filter(|track| track.codec == Codec::Opus) {
        let from_ms = last_ms.saturating_sub(PRE_ROLL_MS).saturating_sub(track.offset_ms);
        if track.duration_ms > from_ms
            && let Some((mut file, len)) = open(&track.file)?
        {
            let of_track = frames_from(&mut file, len, from_ms)?.into_iter();
            frames.extend(of_track.map(|(at_ms, data)| (track.offset_ms + at_ms, track.track, data)));
        }
    }
    frames.sort_by_key(|(at_ms, track, _)| (*at_ms, *track));
    for (at_ms, track, data) in frames.iter().filter(|(at_ms, ..)| *at_ms < until_ms) {
        mix.handle(*track, *at_ms as f64 * 1e3, data, None);
    }
    let (bytes, ending, _) = mix.finish(until_ms as f64 * 1e3);
    Ok(torn.unwrap_or_default().end(bytes, ending))
}

/// Ticks a second of a codec's timestamps (RFC 7587, section 4.1, and the payload formats of pictures).
const fn clock_rate(codec: Codec) -> u32 {
    match codec {
        Codec::Opus => 48_000,
        Codec::Vp8 | Codec::Vp9 | Codec::H264 | Codec::Av1 => 90_000,
    }
}

/// What the reports in the timeline say of a track's times.
fn fit(track: &Track, entries: &[Entry]) -> Vec<(f64, f64)> {
    let reports: Vec<Placed> = entries
        .iter()
        .filter_map(|entry| match entry.kind {
            EntryKind::Report { track: of, ntp, rtp_time, arrival, placed, captured, stepped }
                if of == track.track =>
            {
                let (placed, captured) = placed.zip(captured)?;
                Some(Placed { ntp: ntp - stepped, rtp_time, arrival, placed, captured })
            }
            _ => None,
        })
        .collect();
    let mut fit = Vec::new();
    add_to_fit(&mut fit, track.offset_ms, &fit_of_reports(clock_rate(track.codec), &reports));
    fit
}

/// The tracks of the manifest, and those that began after it was last written.
fn known_tracks(manifest: &Manifest, entries: &[Entry]) -> Vec<Track> {
    let mut tracks: BTreeMap<u32, Track> =
        manifest.tracks.iter().map(|track| (track.track, track.clone())).collect();
    let names: BTreeMap<&str, &str> =
        manifest.tracks.iter().map(|track| (track.participant.as_str(), track.name.as_str())).collect();
    for entry in entries {
        match &entry.kind {
            EntryKind::TrackStarted { track, participant, source, codec, colour } => {
                tracks.entry(*track).or_insert_with(|| Track {
                    track: *track,
                    file: manifest::file_name(*track, *codec),
                    participant: participant.clone(),
                    name: names.get(participant.as_str()).copied().unwrap_or(participant).to_owned(),
                    source: *source,
                    codec: *codec,
                    offset_ms: entry.at_ms,
                    duration_ms: 0,
                    bytes: 0,
                    width: None,
                    height: None,
                    colour: *colour,
                    clock_fit: Vec::new(),
                    blake3: None,
                });
            }
            EntryKind::Size { track, width, height } => {
                if let Some(track) = tracks.get_mut(track) {
                    (track.width, track.height) = (Some(*width), Some(*height));
                }
            }
            _ => {}
        }
    }
    tracks.into_values().collect()
}

fn pauses(entries: &[Entry], end_ms: u64) -> Vec<(u64, u64)> {
    let (mut pauses, mut from) = (Vec::new(), None);
    for entry in entries {
        match entry.kind {
            EntryKind::Paused {} => from = Some(entry.at_ms),
            EntryKind::Resumed {} => pauses.extend(from.take().map(|from| (from, entry.at_ms))),
            _ => {}
        }
    }
    pauses.extend(from.map(|from| (from, end_ms)));
    pauses
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use sfu::media::Source;

    use super::*;

    fn live() -> Manifest {
        Manifest {
            version: 1,
            id: "r".into(),
            room: "5b".into(),
            title: "t".into(),
            lesson: "l".into(),
            state: State::Live,
            began: "2026-11-26T18:00:00Z".into(),
            duration_ms: 0,
            tracks: Vec::new(),
            mix: None,
            pauses: Vec::new(),
            timeline: manifest::TIMELINE_FILE.into(),
            timeline_bytes: 0,
        }
    }

    #[test]
    fn tracks_and_pauses_come_from_the_timeline() {
        let kinds = [
            (
                700,
                EntryKind::TrackStarted {
                    track: 1,
                    participant: "ana".into(),
                    source: Source::Camera,
                    codec: Codec::H264,
                    colour: None,
                },
            ),
            (700, EntryKind::Size { track: 1, width: 640, height: 360 }),
            (900, EntryKind::Paused {}),
        ];
        let mut timeline: String =
            kinds.into_iter().map(|(at_ms, kind)| timeline::write(&Entry { at_ms, kind })).collect();
        let whole = timeline.len() as u64;
        timeline.push_str("12345678 {\"torn");
        let mut bytes = Vec::new();
        let head = crate::webm::Head {
            codec: Codec::H264,
            size: Some((640, 360)),
            colour: None,
            codec_private: Some(vec![1]),
            channels: 2,
            uid: 1,
        };
        let mut writer = crate::webm::Writer::begin(&head, &mut bytes);
        writer.write(0, true, &[1, 2, 3], &mut bytes);
        writer.write(400, false, &[1, 2, 3], &mut bytes);
        let open =
            |name: &str| Ok((name == "v-1.mkv").then(|| (Cursor::new(bytes.clone()), bytes.len() as u64)));
        let plan = plan(&live(), timeline.as_bytes(), open).expect("memory").expect("torn");
        let recovered = &plan.manifest;
        assert_eq!((plan.timeline_bytes, recovered.state), (whole, State::Recovered));
        let track = &recovered.tracks[0];
        assert_eq!((track.offset_ms, track.duration_ms, track.width), (700, 500, Some(640)));
        assert_eq!((recovered.duration_ms, recovered.pauses.as_slice()), (1200, &[(900, 1200)][..]));
        assert_eq!(track.bytes, plan.files[0].1.keep_bytes + plan.files[0].1.append.len() as u64);
        let nothing = |_: &str| -> std::io::Result<Option<(Cursor<Vec<u8>>, u64)>> { Ok(None) };
        assert_eq!(super::plan(recovered, timeline.as_bytes(), nothing).expect("memory"), None);
    }
}
