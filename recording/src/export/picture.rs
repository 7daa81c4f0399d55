//! Films: graphs of filters that draw scenes.

use std::collections::BTreeMap;

use super::class::Class;
use super::clock::Way;
use super::layout::{self, Scene};
use super::{
    Kind, Options, PlanError, RESULT_FILE, Step, input, is_screen, metadata, one_line, sound, words,
};
use crate::manifest::{self, Manifest};
use crate::timeline::{Entry, EntryKind};

/// 25 frames a second: as many as a face needs, and whole milliseconds.
const FRAME_MS: u64 = 40;
/// The canvas of a composed film. A screen of 1280x720 loses a fifth of its size on it beside faces, and none without.
const CANVAS: (u32, u32) = (1280, 720);
/// The canvas of screens alone is as large as the largest of them, between these.
const SCREEN_MIN: (u32, u32) = (640, 360);
const SCREEN_MAX: (u32, u32) = (1920, 1080);
/// What is to be seen where nothing is: nearly black.
const GROUND: &str = "0x15181c";
/// What the film's numbers mean as colours: BT.601, as browsers encode cameras and screens, so that next to nothing has to be converted; of the primaries
/// of screens.
const COLOURS: &str = "-color_range tv -colorspace smpte170m -color_primaries bt709 -color_trc bt709";
const FILM_MATRIX: &str = "smpte170m";
/// Longest name in a picture, and longest title.
const LABEL_CHARS: usize = 28;
const TITLE_CHARS: usize = 60;
/// Joining takes so much less than drawing.
const LIGHTER: u64 = 100;

/// The steps of a film.
pub(super) fn film(
    kind: Kind,
    manifest: &Manifest,
    entries: &[Entry],
    options: &Options,
) -> Result<Vec<Step>, PlanError> {
    let canvas = match kind {
        Kind::Screen => screen_canvas(manifest, entries).ok_or(PlanError::NoScreen)?,
        _ => CANVAS,
    };
    let class = Class::read(manifest, entries);
    let scenes = layout::scenes(kind, manifest, &class, canvas, FRAME_MS);
    let end = scenes.last().map_or(FRAME_MS, |scene| scene.to_ms);
    let mut steps = vec![sound::step(manifest, "sound.m4a", "ipod")];
    let mut list = "ffconcat version 1.0\n".to_owned();
    let mut from_ms = 0;
    while from_ms < end {
        let to_ms = (from_ms + options.part_ms).min(end);
        let file = format!("part-{:05}.mkv", steps.len());
        list.push_str(&format!("file {file}\nduration {}\n", seconds(to_ms - from_ms)));
        let part = Part { manifest, class: &class, canvas, options, from_ms, to_ms };
        steps.push(part.step(file, &scenes));
        from_ms = to_ms;
    }
    let work = &options.work;
    let mut arguments = words("-protocol_whitelist file -f concat -i");
    arguments.push(format!("file:{work}/parts.txt"));
    arguments.extend(words("-protocol_whitelist file -f mov -i"));
    arguments.push(format!("file:{work}/sound.m4a"));
    arguments.extend(words("-map 0:v -map 1:a -c copy"));
    arguments.extend(metadata(manifest));
    arguments.extend(words("-movflags +faststart -f mp4"));
    steps.push(Step {
        file: RESULT_FILE.to_owned(),
        reads: vec![("parts.txt".to_owned(), list)],
        arguments,
        media_ms: end,
        weight: (end / LIGHTER).max(1),
    });
    Ok(steps)
}

/// The largest size of any screen, made even and kept within limits; none when none was shared.
fn screen_canvas(manifest: &Manifest, entries: &[Entry]) -> Option<(u32, u32)> {
    let screens: Vec<_> = manifest.tracks.iter().filter(|track| is_screen(track)).collect();
    let last = screens.iter().filter_map(|track| Some((track.width?, track.height?)));
    let earlier = entries.iter().filter_map(|entry| match entry.kind {
        EntryKind::Size { track, width, height } if screens.iter().any(|one| one.track == track) => {
            Some((width, height))
        }
        _ => None,
    });
    let largest = last.chain(earlier).max_by_key(|size| u32::from(size.0) * u32::from(size.1));
    let even = |pixels: u16, min: u32, max: u32| u32::from(pixels).clamp(min, max) / 2 * 2;
    (!screens.is_empty()).then(|| match largest {
        Some((width, height)) => {
            (even(width, SCREEN_MIN.0, SCREEN_MAX.0), even(height, SCREEN_MIN.1, SCREEN_MAX.1))
        }
        None => CANVAS,
    })
}

/// A stretch of the film.
struct Part<'a> {
    manifest: &'a Manifest,
    class: &'a Class,
    canvas: (u32, u32),
    options: &'a Options,
    from_ms: u64,
    to_ms: u64,
}

/// Where a picture is from when to when, in milliseconds of the part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stay {
    from_ms: u64,
    to_ms: u64,
    x: u32,
    y: u32,
}

/// Pictures of a part: by track, and then by size.
type Pictures = BTreeMap<usize, BTreeMap<(u32, u32), Vec<Stay>>>;

impl Part<'_> {
    fn step(&self, file: String, scenes: &[Scene]) -> Step {
        let (pictures, empty) = self.pictures(scenes);
        let mut reads = Vec::new();
        let mut arguments = words("-copyts");
        let (width, height) = self.canvas;
        let mut graph = format!("color=c={GROUND}:s={width}x{height}:r={},format=yuv420p", 1000 / FRAME_MS);
        let title = if self.manifest.title.is_empty() { &self.manifest.room } else { &self.manifest.title };
        let title = short(title, TITLE_CHARS);
        if self.options.with_text && !empty.is_empty() && !title.is_empty() {
            let name = file.replace("mkv", "txt");
            let text = self.text(&name, &title, height / 20, "x=(w-text_w)/2:y=(h-text_h)/2");
            graph.push_str(&format!(",{text}:enable='{}'", within(&empty)));
            reads.push((name, title));
        }
        graph.push_str("[ground0];");
        let mut layers = 0;
        for ((index, sizes), input) in pictures.into_iter().zip(0..) {
            let first_ms = sizes.values().flatten().map(|stay| stay.from_ms).min().unwrap_or(0);
            arguments.extend(self.input(index, self.from_ms + first_ms));
            let copies: String = (0..sizes.len()).map(|nth| format!("[track{input}size{nth}]")).collect();
            let clock = self.clock(index);
            graph.push_str(&format!("[{input}:v]{clock},split={}{copies};", sizes.len()));
            let label = self.label(index);
            for ((size, stays), nth) in sizes.into_iter().zip(0..) {
                graph.push_str(&format!("[track{input}size{nth}]"));
                graph.push_str(&self.scale(size, &self.manifest.tracks[index], label.as_ref()));
                graph.push_str(&format!("[layer{layers}];[ground{layers}][layer{layers}]"));
                graph.push_str(&overlay(size, &stays));
                layers += 1;
                graph.push_str(&format!("[ground{layers}];"));
            }
            reads.extend(label);
        }
        graph.push_str(&format!("[ground{layers}]format=yuv420p[film]"));
        arguments.extend([words("-filter_complex_threads 1 -filter_complex"), vec![graph]].concat());
        arguments.extend(words("-map [film] -frames:v"));
        arguments.push(((self.to_ms - self.from_ms) / FRAME_MS).to_string());
        // A keyframe each 5 s, to seek to.
        arguments.extend(words("-c:v libx264 -preset veryfast -crf 23 -g 125 -pix_fmt yuv420p -threads"));
        arguments.push(self.options.threads.max(1).to_string());
        arguments.extend(words(COLOURS));
        arguments.extend(words("-map_metadata -1 -f matroska"));
        let media_ms = self.to_ms - self.from_ms;
        Step { file, reads, arguments, media_ms, weight: media_ms }
    }

    /// What is seen in this part, and when nothing is.
    fn pictures(&self, scenes: &[Scene]) -> (Pictures, Vec<(u64, u64)>) {
        let (mut pictures, mut empty) = (Pictures::new(), Vec::new());
        for scene in scenes {
            let (from, to) = (scene.from_ms.max(self.from_ms), scene.to_ms.min(self.to_ms));
            if from >= to {
                continue;
            }
            let (from_ms, to_ms) = (from - self.from_ms, to - self.from_ms);
            if scene.pictures.is_empty() {
                empty.push((from_ms, to_ms));
            }
            for placed in &scene.pictures {
                let (size, x, y) =
                    ((placed.place.width, placed.place.height), placed.place.x, placed.place.y);
                let stays = pictures.entry(placed.track).or_default().entry(size).or_default();
                match stays.last_mut().filter(|last| (last.to_ms, last.x, last.y) == (from_ms, x, y)) {
                    Some(last) => last.to_ms = to_ms,
                    None => stays.push(Stay { from_ms, to_ms, x, y }),
                }
            }
        }
        (pictures, empty)
    }

    /// The file with the name of whose picture it is, and what is in it.
    fn label(&self, track: usize) -> Option<(String, String)> {
        let track = &self.manifest.tracks[track];
        let name = self.class.people.get(&track.participant).map_or("", |person| person.name.as_str());
        let name = short(if name.is_empty() { &track.name } else { name }, LABEL_CHARS);
        (self.options.with_text && !name.is_empty()).then(|| (format!("name-{}.txt", track.track), name))
    }

    /// Brings a picture to a size. A publisher changes the size of its picture as it likes: its shape is kept, and so is its place.
    fn scale(
        &self,
        (width, height): (u32, u32),
        track: &manifest::Track,
        label: Option<&(String, String)>,
    ) -> String {
        let (matrix, range) = matrix_and_range(track);
        let scaled = format!(
            "scale=w={width}:h={height}:force_original_aspect_ratio=decrease:force_divisible_by=2:flags=bicubic\
             :in_color_matrix={matrix}:in_range={range}:out_color_matrix={FILM_MATRIX}:out_range=tv,setsar=1"
        );
        let Some((file, text)) = label else { return scaled };
        let label = self.text(file, text, (height / 24).max(14), "x=8:y=8:box=1");
        format!("{scaled},{label}:boxcolor=black@0.5:boxborderw=4")
    }

    /// A track as an input that begins at the keyframe before: a picture that stands still has no frame of its own there.
    fn input(&self, track: usize, class_ms: u64) -> Vec<String> {
        let track = &self.manifest.tracks[track];
        let mut arguments = Vec::new();
        #[expect(clippy::cast_precision_loss, reason = "a recording is shorter than 2^53 ms")]
        let file_ms = Way::of(track).file_ms(class_ms as f64);
        if file_ms > 0.0 {
            arguments.extend([words("-noaccurate_seek -ss"), vec![format!("{:.3}", file_ms / 1e3)]].concat());
        }
        // A change of size must not begin the graph anew, and its time with it.
        arguments.extend(words("-reinit_filter 0 -threads 1"));
        arguments.extend(input(&track.file));
        arguments
    }

    #[expect(clippy::cast_precision_loss, reason = "a recording is shorter than 2^53 ms")]
    fn clock(&self, track: usize) -> String {
        let (from, to) = (self.from_ms as f64, self.to_ms as f64);
        let way = Way::of(&self.manifest.tracks[track]).between(from, to).simplified();
        format!("setpts=({})/TB", way.expression("T", from))
    }

    /// The filter that writes the text of a file, in a font that has its characters.
    fn text(&self, file: &str, text: &str, size: u32, rest: &str) -> String {
        let mut other: Vec<u32> = text.chars().filter(|char| !char.is_ascii()).map(u32::from).collect();
        other.sort_unstable();
        other.dedup();
        let other: Vec<String> = other.iter().map(|char| format!("{char:x}")).collect();
        let font =
            if other.is_empty() { "Sans".to_owned() } else { format!("Sans\\:charset={}", other.join(" ")) };
        let work = &self.options.work;
        format!(
            "drawtext=textfile={work}/{file}:expansion=none:font='{font}':fontsize={size}:fontcolor=white:{rest}"
        )
    }
}

/// Puts a picture of this size into the middle of its place, while it has one.
fn overlay((width, height): (u32, u32), stays: &[Stay]) -> String {
    let whens: Vec<(u64, u64)> = stays.iter().map(|stay| (stay.from_ms, stay.to_ms)).collect();
    // A sum, for expressions may not be nested deeply. Between the stays the picture is not there.
    let at = |number: &dyn Fn(&Stay) -> u32| match stays {
        [only] => number(only).to_string(),
        _ => {
            let terms =
                stays.iter().map(|stay| format!("{}*{}", during(stay.from_ms, stay.to_ms), number(stay)));
            terms.collect::<Vec<_>>().join("+")
        }
    };
    let (x, y) = (at(&|stay| stay.x), at(&|stay| stay.y));
    let when = within(&whens);
    format!("overlay=x='{x}+({width}-w)/2':y='{y}+({height}-h)/2':eval=frame:enable='{when}'")
}

/// Whether the time is in one of these stretches.
fn within(stretches: &[(u64, u64)]) -> String {
    stretches.iter().map(|(from, to)| during(*from, *to)).collect::<Vec<_>>().join("+")
}

fn during(from_ms: u64, to_ms: u64) -> String {
    format!("gte(t,{})*lt(t,{})", seconds(from_ms), seconds(to_ms))
}

fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}

/// How a track's colours are read, in the words of the `scale` filter. It is told, because decoders of VP9 and AV1 forget what the file says; what the manifest
/// does not say, they know from the bitstream.
fn matrix_and_range(track: &manifest::Track) -> (&'static str, &'static str) {
    let colour = track.colour.unwrap_or_default();
    let matrix = match colour.matrix {
        Some(1) => "bt709",
        Some(4) => "fcc",
        Some(5 | 6) => "smpte170m",
        Some(7) => "smpte240m",
        Some(9 | 10) => "bt2020",
        _ => "auto",
    };
    let range = match colour.full_range {
        Some(true) => "pc",
        Some(false) => "tv",
        None => "auto",
    };
    (matrix, range)
}

/// A text as it is written into a picture. Emoji are left out: their fonts are coloured bitmaps, which `drawtext` does not draw.
fn short(text: &str, chars: usize) -> String {
    let is_drawn = |char: &char| !matches!(u32::from(*char), 0x200d | 0x2600..=0x27bf | 0xe000..=0xf8ff | 0xfe00..=0xfe0f | 0x1f000..=0x1ffff);
    let line: String = one_line(text).chars().filter(is_drawn).collect();
    let line = line.trim();
    if line.chars().count() <= chars {
        return line.to_owned();
    }
    line.chars().take(chars - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use sfu::media::Source;

    use super::*;
    use crate::export::testing::manifest;
    use crate::export::{PART_MS, plan};

    /// Longest argument that Linux takes (`MAX_ARG_STRLEN`, execve(2)).
    const ARGUMENT_BYTES: usize = 128 * 1024;

    fn cameras(count: u32, duration_ms: u64) -> Manifest {
        let track = |n: u32| {
            json!({"track": n, "file": format!("v-{n}.webm"), "participant": format!("p{n}"), "name": "N",
                "source": "camera", "codec": "vp8", "offsetMs": 0, "durationMs": duration_ms, "bytes": 1, "clockFit": []})
        };
        manifest(duration_ms, (1..=count).map(track).collect())
    }

    fn options(part_ms: u64) -> Options {
        Options { work: "export/.composed".into(), with_text: true, threads: 1, part_ms }
    }

    fn after<'a>(step: &'a Step, argument: &str) -> &'a str {
        let at = step.arguments.iter().position(|found| found == argument).expect("it is there");
        &step.arguments[at + 1]
    }

    proptest! {
        /// No frame is drawn twice or not at all, wherever parts are cut.
        #[test]
        fn parts_are_the_whole(duration_ms in 1u64..600_000, part_frames in 1u64..4_000, people in 0u32..4) {
            let part_ms = part_frames.max(duration_ms / 40 / 50) * FRAME_MS;
            let mut manifest = cameras(people, duration_ms);
            manifest.mix = serde_json::from_value(json!({"file": "mix.webm", "offsetMs": 0, "durationMs": 1, "bytes": 1})).ok();
            let plan = plan(Kind::Composed, &manifest, &[], &options(part_ms)).unwrap();
            let parts = &plan.steps[1..plan.steps.len() - 1];
            let frames: u64 = parts.iter().map(|part| after(part, "-frames:v").parse::<u64>().unwrap()).sum();
            prop_assert_eq!(frames, duration_ms.div_ceil(FRAME_MS));
            let list = &plan.steps.last().unwrap().reads[0].1;
            for part in parts {
                prop_assert!(part.media_ms <= part_ms && list.contains(&part.file));
            }
            prop_assert_eq!(&plan.steps.last().unwrap().file, RESULT_FILE);
        }
    }

    #[test]
    fn texts_are_short_and_have_no_emoji() {
        assert_eq!(short(" Ada 🎉 L.\n❤️", 28), "Ada  L.");
        assert_eq!(short("👩‍🏫", 28), "");
        assert_eq!(short("王小明同学", 4), "王小明…");
    }

    /// Everybody comes and goes all the time for as long as a part lasts.
    #[test]
    fn the_wildest_class_fits_into_an_argument() {
        let manifest = cameras(30, PART_MS);
        let mut entries = Vec::new();
        for at_ms in (0..PART_MS).step_by(100) {
            let participant = format!("p{}", at_ms / 100 * 7 % 30 + 1);
            let muted = at_ms / 3_000 % 2 == 0;
            let kind = EntryKind::Muted { participant: participant.clone(), source: Source::Camera, muted };
            entries.push(Entry { at_ms, kind });
            if at_ms % 3_000 == 0 {
                entries.push(Entry { at_ms, kind: EntryKind::Speaker { participant: Some(participant) } });
            }
        }
        let plan = plan(Kind::Composed, &manifest, &entries, &options(PART_MS)).unwrap();
        let graph = after(&plan.steps[1], "-filter_complex").len();
        assert!(graph > 10_000 && graph < ARGUMENT_BYTES, "{graph} bytes");
    }
}
