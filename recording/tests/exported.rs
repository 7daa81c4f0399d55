//! Exports made by the real ffmpeg, of a recording whose pictures are plain colours: who is seen where and when, what is heard, and
//! whether every file is whole.
#![expect(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "ffmpeg reads and writes files; a test may stop"
)]

use std::path::{Path, PathBuf};
use std::process::Command;

use recording::export::{Kind, Options, Plan, PlanError, RESULT_FILE, plan};
use recording::manifest::Manifest;
use recording::timeline::{Entry, EntryKind};
use serde_json::{Value, json};
use sfu::media::Source;

const RED: [u8; 3] = [220, 30, 30];
const GREEN: [u8; 3] = [30, 200, 40];
const BLUE: [u8; 3] = [40, 60, 230];
const WHITE: [u8; 3] = [240, 240, 240];
const YELLOW: [u8; 3] = [230, 220, 40];
const GROUND: [u8; 3] = [21, 24, 28];

struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("lectern-exported-{name}-{}", std::process::id()));
        std::fs::create_dir_all(path.join("work")).unwrap();
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn run(folder: &Path, program: &str, arguments: &[String]) -> Vec<u8> {
    let output = Command::new(program).current_dir(folder).args(arguments).output().unwrap();
    let problems = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && problems.is_empty(), "{program} {arguments:?}: {problems}");
    output.stdout
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// A picture track of one colour after the other, each of so many seconds.
fn draw(folder: &Path, file: &str, size: &str, rate: u32, colours: &[([u8; 3], u32)], codec: &str) {
    let mut list = String::new();
    for (index, ([r, g, b], seconds)) in colours.iter().enumerate() {
        // A change of size too, when there are two.
        let size = size.split(',').nth(index).unwrap_or_else(|| size.split(',').next().unwrap());
        let part = format!("part{index}-{file}");
        let input = format!("color=c=0x{r:02x}{g:02x}{b:02x}:s={size}:r={rate}:d={seconds}");
        let arguments = format!("-v error -y -f lavfi -i {input} -c:v {codec} -g 9999 {part}");
        run(folder, "ffmpeg", &words(&arguments));
        list.push_str(&format!("file {part}\nduration {seconds}\n"));
    }
    std::fs::write(folder.join("list.txt"), list).unwrap();
    run(folder, "ffmpeg", &words(&format!("-v error -y -f concat -i list.txt -c copy {file}")));
}

fn tone(folder: &Path, file: &str, frequency: u32, seconds: u32) {
    let input = format!("sine=frequency={frequency}:duration={seconds}");
    run(folder, "ffmpeg", &words(&format!("-v error -y -f lavfi -i {input} -c:a libopus -b:a 40k {file}")));
}

fn track(number: u32, file: &str, who: &str, source: &str, codec: &str, at: (u64, u64)) -> Value {
    json!({"track": number, "file": file, "participant": who, "name": who, "source": source, "codec": codec,
        "offsetMs": at.0, "durationMs": at.1, "bytes": 1, "clockFit": []})
}

fn manifest(duration_ms: u64, tracks: &[Value], mix: bool) -> Manifest {
    let mut manifest = json!({"version": 1, "id": "r", "room": "knots", "title": "Knots, 'and' \"more\": 50%",
        "lesson": "l", "state": "final", "began": "2026-11-26T18:00:00Z", "durationMs": duration_ms,
        "tracks": tracks, "pauses": [], "timeline": "timeline.ndjson", "timelineBytes": 1});
    if mix {
        manifest["mix"] = json!({"file": "mix.webm", "offsetMs": 0, "durationMs": duration_ms, "bytes": 1});
    }
    serde_json::from_value(manifest).unwrap()
}

fn options(with_text: bool) -> Options {
    Options { work: "work".into(), with_text, threads: 1, part_ms: 3_600 }
}

/// Takes all steps; gives the way of the result.
fn carry_out(folder: &Path, plan: &Plan) -> PathBuf {
    for step in &plan.steps {
        for (name, content) in &step.reads {
            std::fs::write(folder.join("work").join(name), content).unwrap();
        }
        let out = format!("file:work/{}", step.file);
        let arguments =
            [words("-hide_banner -nostdin -v error -y"), step.arguments.clone(), vec![out]].concat();
        run(folder, "ffmpeg", &arguments);
    }
    folder.join("work").join(RESULT_FILE)
}

/// What ffprobe says; and the file is decoded to its end without an error.
fn probe(path: &Path) -> Value {
    let folder = path.parent().unwrap();
    let name = path.to_str().unwrap();
    let decode =
        format!("-v error -xerror -i {name} -map 0 -fps_mode passthrough -enc_time_base:v 1:1000 -f null -");
    run(folder, "ffmpeg", &words(&decode));
    let out = run(folder, "ffprobe", &words(&format!("-v error -show_streams -show_format -of json {name}")));
    serde_json::from_slice(&out).unwrap()
}

fn seconds(probed: &Value) -> f64 {
    probed["format"]["duration"].as_str().unwrap().parse().unwrap()
}

/// The colour at a place of the film at a time.
fn colours(path: &Path, at: f64, width: usize, places: &[(usize, usize)]) -> Vec<[u8; 3]> {
    let name = path.to_str().unwrap();
    let arguments = format!("-v error -ss {at} -i {name} -frames:v 1 -f rawvideo -pix_fmt rgb24 -");
    let frame = run(path.parent().unwrap(), "ffmpeg", &words(&arguments));
    places.iter().map(|(x, y)| std::array::from_fn(|c| frame[(y * width + x) * 3 + c])).collect()
}

fn assert_looks(path: &Path, at: f64, width: usize, expected: &[((usize, usize), [u8; 3])]) {
    let places: Vec<_> = expected.iter().map(|(place, _)| *place).collect();
    for (found, (place, colour)) in colours(path, at, width, &places).iter().zip(expected) {
        let apart = found.iter().zip(colour).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
        assert!(apart < 24, "at {at} s, {place:?}: {found:?} and not {colour:?}");
    }
}

/// Loudness of each tenth of a second, 0 to 1.
fn loudness(path: &Path) -> Vec<f64> {
    let name = path.to_str().unwrap();
    let arguments = format!("-v error -i {name} -map 0:a:0 -f s16le -ac 1 -ar 8000 -");
    let pcm = run(path.parent().unwrap(), "ffmpeg", &words(&arguments));
    let samples: Vec<f64> =
        pcm.chunks_exact(2).map(|pair| f64::from(i16::from_le_bytes([pair[0], pair[1]])) / 32768.0).collect();
    samples
        .chunks(800)
        .map(|part| (part.iter().map(|s| s * s).sum::<f64>() / part.len() as f64).sqrt())
        .collect()
}

/// Twelve seconds: a teacher whose picture changes its size, two students of whom one goes and one is muted for a while, and a screen
/// with a frame each second whose clock is not the class's.
fn lesson(folder: &Path) -> (Manifest, Vec<Entry>) {
    let vp8 = "libvpx -deadline realtime -cpu-used 8 -b:v 300k";
    draw(folder, "v-1.webm", "320x180,160x90", 25, &[(RED, 6), (RED, 6)], vp8);
    draw(
        folder,
        "v-2.webm",
        "320x180",
        25,
        &[(BLUE, 6)],
        "libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 300k",
    );
    draw(folder, "v-3.mkv", "180x320", 25, &[(GREEN, 9)], "libx264 -preset ultrafast -bf 0");
    draw(folder, "v-4.webm", "640x360", 1, &[(WHITE, 1), (YELLOW, 3)], vp8);
    tone(folder, "mix.webm", 440, 12);
    let mut tracks = vec![
        track(1, "v-1.webm", "ada", "camera", "vp8", (0, 12_000)),
        track(2, "v-2.webm", "ben", "camera", "vp9", (2_000, 6_000)),
        track(3, "v-3.mkv", "cem", "camera", "h264", (3_000, 9_000)),
        track(4, "v-4.webm", "ada", "screen", "vp8", (5_000, 4_000)),
    ];
    // Its first second took two of the class's.
    tracks[3]["clockFit"] = json!([[0.0, 5000.0], [1000.0, 7000.0], [4000.0, 10_000.0]]);
    tracks[3]["width"] = json!(640);
    tracks[3]["height"] = json!(360);
    let person = |name: &str, role: &str| json!({"name": name, "role": role, "present": true, "joinedAt": "2026-11-26T18:00:00Z", "tracks": {}});
    let state = json!({"settings": {"preset": "seminar"}, "chat": [],
        "participants": {"ada": person("Ada L.", "teacher"), "ben": person("王小明", "student"), "cem": person("Cem", "student")}});
    let speaker = |who: &str| EntryKind::Speaker { participant: Some(who.into()) };
    let mute = |muted| EntryKind::Muted { participant: "cem".into(), source: Source::Camera, muted };
    let entries = [
        (0, EntryKind::Snapshot { state }),
        (0, speaker("ada")),
        (6_000, mute(true)),
        (9_000, mute(false)),
        (10_400, speaker("ben")),
    ];
    let entries = entries.into_iter().map(|(at_ms, kind)| Entry { at_ms, kind }).collect();
    (manifest(12_000, &tracks, true), entries)
}

const STAGE: (usize, usize) = (512, 360);
const FACES: [(usize, usize); 3] = [(1152, 72), (1152, 216), (1152, 360)];

#[test]
fn a_composed_film_shows_who_is_there() {
    let folder = Folder::new("composed");
    let (manifest, entries) = lesson(&folder.0);
    let film = carry_out(&folder.0, &plan(Kind::Composed, &manifest, &entries, &options(false)).unwrap());
    let probed = probe(&film);
    let streams = probed["streams"].as_array().unwrap();
    assert_eq!([&streams[0]["codec_name"], &streams[1]["codec_name"]], ["h264", "aac"]);
    assert_eq!([&streams[0]["width"], &streams[0]["height"]], [1280, 720]);
    assert!((seconds(&probed) - 12.0).abs() < 0.1, "{}", probed["format"]);
    assert_eq!(streams[0]["nb_frames"], "300");

    assert_looks(&film, 1.0, 1280, &[((640, 360), RED), ((1200, 100), RED)]);
    assert_looks(&film, 2.6, 1280, &[(STAGE, RED), (FACES[0], BLUE), (FACES[1], GROUND)]);
    assert_looks(
        &film,
        4.6,
        1280,
        &[(STAGE, RED), (FACES[0], BLUE), (FACES[1], GREEN), ((1060, 216), GROUND)],
    );
    assert_looks(&film, 6.6, 1280, &[(STAGE, WHITE), (FACES[0], RED), (FACES[1], BLUE), (FACES[2], GROUND)]);
    assert_looks(&film, 7.3, 1280, &[(STAGE, YELLOW), (FACES[0], RED), (FACES[1], BLUE)]);
    assert_looks(&film, 8.7, 1280, &[(STAGE, YELLOW), (FACES[0], RED), (FACES[1], GROUND)]);
    assert_looks(&film, 9.7, 1280, &[(STAGE, YELLOW), (FACES[0], RED), (FACES[1], GREEN)]);
    assert_looks(&film, 11.0, 1280, &[(STAGE, RED), (FACES[0], GREEN), (FACES[1], GROUND)]);
    let loud = loudness(&film);
    assert!(loud[5..115].iter().all(|rms| *rms > 0.03), "{loud:?}");
}

/// A track's colours are what the manifest says; the film says what its own are, and ffmpeg, ffprobe and players read that.
#[test]
fn a_film_has_the_colours_of_its_tracks() {
    let folder = Folder::new("coloured");
    let encoders = [
        ("v-1.webm", "vp8", "libvpx -deadline realtime -cpu-used 8 -b:v 1M"),
        ("v-2.webm", "vp9", "libvpx-vp9 -deadline realtime -cpu-used 8 -b:v 1M"),
        ("v-3.mkv", "h264", "libx264 -preset ultrafast -bf 0"),
    ];
    // (matrix in the manifest, full range, how ffmpeg is to encode it)
    let codings = [
        (Some((6, false)), "smpte170m", "tv"),
        (Some((1, false)), "bt709", "tv"),
        (Some((1, true)), "bt709", "pc"),
        (None, "", "tv"),
    ];
    for (said, matrix, range) in codings {
        for (file, codec, encoder) in encoders {
            // Where neither the manifest nor the bitstream says it, as in recordings from before they did.
            let matrix = if matrix.is_empty() { "smpte170m" } else { matrix };
            let [r, g, b] = GREEN;
            // Without any tag of its own: what the bitstream or the container says is not what is tested here.
            let convert = format!(
                "scale=out_color_matrix={matrix}:out_range={range},format=yuv420p,setparams=range=unknown:colorspace=unknown"
            );
            let input = format!("color=c=0x{r:02x}{g:02x}{b:02x}:s=1280x720:r=10:d=1,format=rgb24,{convert}");
            let arguments = format!("-v error -y -f lavfi -i {input} -c:v {encoder} {file}");
            run(&folder.0, "ffmpeg", &words(&arguments));
            let mut track = track(1, file, "ada", "camera", codec, (0, 1_000));
            if let Some((matrix, full_range)) = said {
                track["colour"] = json!({"matrix": matrix, "fullRange": full_range});
            }
            let manifest = manifest(1_000, &[track], false);
            let film = carry_out(&folder.0, &plan(Kind::Composed, &manifest, &[], &options(false)).unwrap());
            let probed = probe(&film);
            let stream = &probed["streams"][0];
            assert_eq!([&stream["color_space"], &stream["color_range"]], ["smpte170m", "tv"]);
            let found = colours(&film, 0.5, 1280, &[(640, 360)])[0];
            let apart = found.iter().zip(GREEN).map(|(a, b)| a.abs_diff(b)).max().unwrap();
            assert!(apart < 10, "{codec}, {matrix}, {range}: {found:?} and not {GREEN:?}");
        }
    }
}

/// The same with names and a card; of screens alone, and of a size of their own.
#[test]
fn a_film_of_the_screen_has_a_card_where_none_is() {
    let folder = Folder::new("screen");
    let (manifest, entries) = lesson(&folder.0);
    let film = carry_out(&folder.0, &plan(Kind::Screen, &manifest, &entries, &options(true)).unwrap());
    let probed = probe(&film);
    assert_eq!([&probed["streams"][0]["width"], &probed["streams"][0]["height"]], [640, 360]);
    assert!((seconds(&probed) - 12.0).abs() < 0.1, "{}", probed["format"]);
    let middle = (320, 300);
    assert_looks(&film, 4.6, 640, &[(middle, GROUND)]);
    assert_looks(&film, 6.6, 640, &[(middle, WHITE)]);
    assert_looks(&film, 9.6, 640, &[(middle, YELLOW)]);
    assert_looks(&film, 10.5, 640, &[(middle, GROUND)]);
    // The title is on the card, and the name on the screen.
    let lit = |at: f64, rows: std::ops::Range<usize>, is: &dyn Fn(&[u8; 3]) -> bool| {
        let places: Vec<_> = rows.flat_map(|y| (0..640).map(move |x| (x, y))).collect();
        colours(&film, at, 640, &places).iter().filter(|colour| is(colour)).count()
    };
    assert!(lit(2.0, 160..200, &|colour| colour[0] > 200) > 50);
    assert!(lit(6.6, 0..40, &|colour| colour[0] < 140) > 50);
    assert_eq!(lit(6.6, 160..200, &|colour| colour[0] < 140), 0);

    let mut none = manifest;
    none.tracks.truncate(3);
    assert_eq!(plan(Kind::Screen, &none, &entries, &options(true)), Err(PlanError::NoScreen));
    none.tracks.clear();
    none.mix = None;
    assert_eq!(plan(Kind::Composed, &none, &entries, &options(true)), Err(PlanError::NoTracks));
}

/// Without a mix every voice is at its time, also where its clock is not the class's.
#[test]
fn sound_is_at_its_time() {
    let folder = Folder::new("sound");
    tone(&folder.0, "a-1.webm", 440, 2);
    tone(&folder.0, "a-2.webm", 620, 3);
    let mut tracks = vec![
        track(1, "a-1.webm", "ada", "microphone", "opus", (1_000, 2_000)),
        track(2, "a-2.webm", "ben", "microphone", "opus", (6_000, 3_000)),
    ];
    tracks[1]["clockFit"] = json!([[0.0, 6_000.0], [3_000.0, 9_003.0]]);
    let manifest = manifest(12_000, &tracks, false);
    let sound = carry_out(&folder.0, &plan(Kind::Sound, &manifest, &[], &options(false)).unwrap());
    let probed = probe(&sound);
    assert_eq!(probed["streams"][0]["codec_name"], "aac");
    assert!((seconds(&probed) - 12.0).abs() < 0.1, "{}", probed["format"]);
    for (tenth, rms) in loudness(&sound).into_iter().enumerate() {
        // Two tenths around each edge belong to the coder.
        match tenth {
            11..=28 | 61..=88 => assert!(rms > 0.03, "at {tenth}: {rms}"),
            0..=8 | 32..=58 | 92.. => assert!(rms < 0.001, "at {tenth}: {rms}"),
            _ => {}
        }
    }
}

#[test]
fn a_copy_has_every_track_as_it_is_at_its_time() {
    let folder = Folder::new("copy");
    let (manifest, entries) = lesson(&folder.0);
    let copy = carry_out(&folder.0, &plan(Kind::Copy, &manifest, &entries, &options(false)).unwrap());
    let probed = probe(&copy);
    let codecs: Vec<_> = probed["streams"].as_array().unwrap().iter().map(|one| &one["codec_name"]).collect();
    assert_eq!(codecs, ["opus", "vp8", "vp9", "h264", "vp8"]);
    assert_eq!(probed["streams"][2]["tags"]["title"], "ben · camera");
    assert!((seconds(&probed) - 12.0).abs() < 0.1, "{}", probed["format"]);
    let times = |stream: usize| -> Vec<f64> {
        let name = copy.to_str().unwrap();
        let arguments =
            format!("-v error -select_streams {stream} -show_entries packet=pts_time -of csv=p=0 {name}");
        let out = run(&folder.0, "ffprobe", &words(&arguments));
        String::from_utf8(out).unwrap().lines().map(|line| line.trim_matches(',').parse().unwrap()).collect()
    };
    assert_eq!(times(2)[0], 2.0);
    assert_eq!((times(3)[0], times(3).len()), (3.0, 225));
    // As its clock says: a second of the file took two of the class.
    assert_eq!(times(4), [5.0, 7.0, 8.0, 9.0]);
}
