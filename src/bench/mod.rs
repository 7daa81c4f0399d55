//! `lectern bench`: a load generator that measures a server in another process.
//!
//! The participants are synthetic but whole: each joins by signalling as a stranger's client would, has its own ICE, DTLS and SRTP, sends
//! valid media, and reads, acknowledges and checks what it gets. The server's CPU and memory are read from `/proc`, apart
//! from the generator's. Beside it stand yardsticks, fed with the same packets in the same run, because absolute figures
//! tell more about a machine and its hour than about a server.

mod disks;
mod histogram;
mod media;
mod recorder;
mod relay;
mod report;
mod server;
mod signalling;
mod traffic;
mod usage;
mod yardstick;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use sfu::codec::Codec;
use sfu::media::Source;
use signaling::lesson::Preset;
use signaling::permission::Role;
use sim::client::{Client, ClientConfig};

use disks::{Full, Standing, with_small_disk};
use histogram::Histogram;
use media::{Joining, Media, Totals};
use recorder::Counted;
pub use relay::{RelayReport, STEP_PEOPLE as RELAY_PEOPLE};
pub use report::Report;
use report::{
    Churn, Figures, Idle, Joins, Latency, Limit, Memory, OnDisk, Ratios, Recording, Step, Yardstick,
    Yardsticks,
};
use server::Target;
use signalling::{Credentials, Session};
use traffic::Traffic;
pub use traffic::VOICES;
use usage::Usage;

/// Pictures that a participant shows, as Lectern's own page does on a desktop.
const SHOWN: usize = 9;
/// People of one of many classes.
const CLASS: usize = 10;
/// From the last join to the first figure: keyframes are there, and the first reports.
const SETTLE: Duration = Duration::from_secs(2);
/// How long the server may take from there to send all that is asked for: its estimates of the networks grow from below.
const FULL_RATE: Duration = Duration::from_secs(15);
/// Share of the expected packets that counts as all: sizes of frames vary.
const FULL_SHARE: f64 = 0.9;
/// How long each step of the ramp is looked at.
const STEP: Duration = Duration::from_millis(1500);
/// Each step of the ramp sends so many times what the one before sent.
const STEP_FACTOR: f64 = 1.3;
/// The ramp lets in so many people at most.
const RAMP_PEOPLE: usize = 1500;
/// Share of its core from which on the generator's thread may be what is late.
const GENERATOR_LIMIT: f64 = 0.9;
/// p99 above which a server does not keep up, whatever it loses: sound would break up.
const LATENCY_LIMIT: Duration = Duration::from_millis(50);
/// Voices that sound at once are the loudest, in dBov; the others are silent.
const VOICE_DBOV: i8 = -30;
const SILENT_DBOV: i8 = -100;

/// How often each disk is looked at: one after the other, as the machine changes its mind.
pub const ROUNDS: usize = 3;

/// What people do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scenario {
    /// One sends, N look and listen.
    Lecture,
    /// N send, all see and hear all.
    Seminar,
    /// Seminars of ten, as many as the people fill: what a server is busy with.
    Classes,
    /// A lecture, into which people come and from which they go each second.
    Churn,
}

impl Scenario {
    /// All, by name.
    pub const ALL: [(&'static str, Scenario); 4] = [
        ("lecture", Scenario::Lecture),
        ("seminar", Scenario::Seminar),
        ("classes", Scenario::Classes),
        ("churn", Scenario::Churn),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, scenario)| *scenario == self).expect("all are listed").0
    }

    /// How many people it takes.
    pub fn people(self) -> std::ops::RangeInclusive<usize> {
        match self {
            // More joins than this take longer than anybody waits.
            Scenario::Lecture | Scenario::Churn => 1..=2000,
            // Everybody has a slot for each other; an offer has at most 40 m-lines.
            Scenario::Seminar => 2..=26,
            Scenario::Classes => CLASS..=500,
        }
    }

    /// How many people it takes when nothing is said.
    pub fn usual(self) -> usize {
        match self {
            Scenario::Lecture | Scenario::Churn => 50,
            Scenario::Seminar => 10,
            Scenario::Classes => 5 * CLASS,
        }
    }

    /// People must be a multiple of this.
    pub fn step(self) -> usize {
        if self == Scenario::Classes { CLASS } else { 1 }
    }
}

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// What people do.
    pub scenario: Scenario,
    /// How many look (lecture, churn) or take part (seminar).
    pub people: usize,
    /// How many talk all the time, of each class; the others are silent.
    pub talking: usize,
    /// Codec of the cameras.
    pub codec: Codec,
    /// Bit/s of a camera.
    pub bitrate: u64,
    /// How long to measure.
    pub time: Duration,
    /// Share of packets that may be lost at the highest rate.
    pub loss: f64,
    /// Most steps of the ramp to the highest rate; none without it.
    pub ramp_steps: usize,
    /// Whether the class is recorded, too.
    pub record: bool,
    /// Whether it is recorded onto disks that are full or slow, too.
    pub bad_disks: bool,
    /// A server that runs already, with its secret and, on this machine, its process; without it, an own one is started.
    pub running: Option<(String, String, Option<u32>)>,
    /// This program, which is started as the server.
    pub program: PathBuf,
}

impl Options {
    fn traffic(&self) -> Traffic {
        let (senders, viewers) = match self.scenario {
            Scenario::Lecture | Scenario::Churn => (1, self.people),
            Scenario::Seminar => (self.people, self.people - 1),
            Scenario::Classes => (self.people, CLASS - 1),
        };
        let classes = if self.scenario == Scenario::Classes { self.people / CLASS } else { 1 };
        let (codec, bitrate) = (self.codec, self.bitrate);
        let voices = self.talking;
        Traffic { senders, viewers, listeners: viewers, voices, codec, bitrate, classes, more: 0 }
    }
}

/// Runs the measurement.
///
/// # Errors
/// When the server does not start or refuses, or a participant's media does not connect; the text says which.
pub fn run(options: &Options) -> Result<Report, String> {
    let traffic = options.traffic();
    let half = (options.time / 2).max(Duration::from_millis(500));
    // One half before and one after, as the machine may change its mind in between.
    let mut bare = yardstick::bare(&traffic, half, false)?;
    let mut segments = yardstick::bare(&traffic, half, true)?;

    let mut room = Room::open(options, traffic)?;
    let mut report = room.measure()?;
    if options.record {
        report.recording = Some(room.record(&report)?);
    }
    if options.bad_disks {
        report.disks = room.record_on_disks()?;
    }
    // More of many classes is another number of people.
    if options.ramp_steps > 0 && options.scenario != Scenario::Classes {
        report.limit = room.ramp(&report)?;
    }
    report.idle = room.idle()?;
    room.close();

    bare = bare.and(yardstick::bare(&traffic, half, false)?);
    segments = segments.and(yardstick::bare(&traffic, half, true)?);
    let coturn = if relay::is_installed() {
        match relay::coturn(&traffic, options.time) {
            Ok(cost) => Yardstick::measured(cost),
            Err(error) => Yardstick::failed(error),
        }
    } else {
        Yardstick::failed("not installed".into())
    };
    let yardsticks =
        Yardsticks { bare: Yardstick::measured(bare), bare_segments: Yardstick::measured(segments), coturn };
    let cost = report.server.as_ref().and_then(|server| server.cpu_nanos_per_packet);
    let ratio = |yardstick: &Yardstick| Some(cost? / yardstick.nanos_per_packet?);
    report.ratios = Ratios {
        bare: ratio(&yardsticks.bare),
        bare_segments: ratio(&yardsticks.bare_segments),
        coturn: ratio(&yardsticks.coturn),
    };
    report.yardsticks = yardsticks;
    Ok(report)
}

/// Measures the relay alone, beside coturn.
///
/// # Errors
/// When the server does not start or its relay refuses.
pub fn run_relay(options: &Options) -> Result<RelayReport, String> {
    relay::compare(&options.program, &options.traffic(), options.time, options.loss)
}

/// A room with its people.
struct Room<'a> {
    options: &'a Options,
    traffic: Traffic,
    target: Target,
    media: Media,
    sessions: Vec<(u32, Session)>,
    name: String,
    next_identity: u32,
    joins: Histogram,
    /// Before anybody was there.
    empty: Option<Usage>,
}

impl<'a> Room<'a> {
    fn open(options: &'a Options, traffic: Traffic) -> Result<Room<'a>, String> {
        let target = match &options.running {
            Some((url, secret, pid)) => Target::running(url, secret.clone(), *pid)?,
            None if options.bad_disks => {
                let reserve = ["--recording-reserve-megabytes", "1"];
                Target::start_by(&options.program, &reserve, with_small_disk)?
            }
            None => Target::start(&options.program, &[])?,
        };
        let empty = target.pid.map(Usage::read).transpose()?;
        let media = Media::start(target.http.ip()).map_err(|error| error.to_string())?;
        let mut room = Room {
            options,
            traffic,
            target,
            media,
            sessions: Vec::new(),
            name: format!("bench-{}", std::process::id()),
            next_identity: 1,
            joins: Histogram::default(),
            empty,
        };
        let people = match options.scenario {
            Scenario::Seminar | Scenario::Classes => options.people,
            Scenario::Lecture | Scenario::Churn => options.people + 1,
        };
        for index in 0..people {
            room.join(index < traffic.senders)?;
        }
        room.wait_connected(people)?;
        for at in 0..room.sessions.len() {
            room.view(at)?;
        }
        Ok(room)
    }

    /// Lets one more in.
    fn join(&mut self, sends: bool) -> Result<(), String> {
        let identity = self.next_identity;
        self.next_identity += 1;
        let since = Instant::now();
        let (local, socket) = self.media.place(identity).map_err(|error| error.to_string())?;
        let mut config = ClientConfig { trace_packets: true, ..ClientConfig::new(identity, local) };
        config.video_slots = config.video_slots.max(self.shown());
        if sends {
            // One layer: what is forwarded is then what was asked for.
            config.sends.iter_mut().for_each(|line| line.rids.clear());
        }
        let mut client = Client::new(config, since);
        let (class, place) = self.class_of(identity);
        let credentials = Credentials {
            secret: self.target.secret.as_bytes(),
            room: &format!("{}-{class}", self.name),
            identity: format!("p{identity}"),
            role: if place == 0 { Role::Teacher } else { Role::Student },
            preset: Preset::Seminar,
        };
        let started = Instant::now();
        let mut session = Session::connect(self.target.http, &credentials)?;
        let answer = session.join(&client)?;
        self.joins.record(started.elapsed());
        client.handle_answer(Instant::now(), &answer).map_err(|error| format!("{error:?}"))?;
        if place == 0 {
            // The preset takes fewer; a teacher may raise that. Those who come and go overlap.
            session.request(
                "settings",
                &serde_json::json!({"maxParticipants": 2 * self.options.people + RAMP_PEOPLE + 10}),
            )?;
        }
        let level = if place < self.options.talking { VOICE_DBOV } else { SILENT_DBOV };
        let sends = sends.then(|| (level, self.traffic.codec, self.traffic.shape()));
        let publishes = sends.is_some();
        self.media.join(Joining { client, socket, since: started, sends });
        if publishes {
            session.request("publish", &serde_json::json!({"source": "microphone"}))?;
            session.request("publish", &serde_json::json!({"source": "camera"}))?;
        }
        self.sessions.push((identity, session));
        // What others are told is read now and then, as a browser would; otherwise the server would take them for dead.
        if identity.is_multiple_of(16) {
            self.listen()?;
        }
        Ok(())
    }

    /// The class of somebody, and its place there, both from 0.
    fn class_of(&self, identity: u32) -> (usize, usize) {
        let index = identity as usize - 1;
        match self.options.scenario {
            Scenario::Classes => (index / CLASS, index % CLASS),
            _ => (0, index),
        }
    }

    fn shown(&self) -> usize {
        match self.options.scenario {
            Scenario::Classes => CLASS - 1,
            Scenario::Seminar => self.options.people - 1,
            Scenario::Lecture | Scenario::Churn => SHOWN,
        }
    }

    /// Shows one participant all who send.
    fn view(&mut self, at: usize) -> Result<(), String> {
        let (class, _) = self.class_of(self.sessions[at].0);
        let size = self.traffic.senders / self.traffic.classes;
        let (identity, session) = &mut self.sessions[at];
        let shown = (class * size + 1..=(class + 1) * size).filter(|sender| *sender != *identity as usize);
        let pictures: Vec<_> = shown
            .map(|sender| {
                let source = Source::Camera;
                serde_json::json!({"participant": format!("p{sender}"), "source": source, "width": 640, "height": 360})
            })
            .collect();
        session.request("view", &serde_json::json!({ "pictures": pictures }))?;
        Ok(())
    }

    fn listen(&mut self) -> Result<(), String> {
        self.sessions.iter_mut().try_for_each(|(_, session)| session.read_waiting())
    }

    /// Waits, and answers the server's pings.
    fn wait(&mut self, time: Duration) -> Result<(), String> {
        let until = Instant::now() + time;
        loop {
            self.listen()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(200)));
        }
    }

    fn wait_connected(&mut self, people: usize) -> Result<(), String> {
        let began = Instant::now();
        loop {
            let connected = self.media.totals().connected;
            if connected == people {
                return Ok(());
            }
            if began.elapsed() > Duration::from_secs(15) {
                return Err(format!(
                    "media of only {connected} of {people} participants connected; is the UDP port open?"
                ));
            }
            self.wait(Duration::from_millis(50))?;
        }
    }

    fn usage(&self) -> Result<Option<Usage>, String> {
        self.target.pid.map(Usage::read).transpose()
    }

    fn look(&self) -> Result<Look, String> {
        Ok(Look { at: Instant::now(), usage: self.usage()?, totals: self.media.totals() })
    }

    /// The figures at the scenario's own rate.
    fn measure(&mut self) -> Result<Report, String> {
        let joined = self.usage()?;
        self.wait(SETTLE)?;
        let settled_in = self.wait_for_full_rate()?;
        let from = self.look()?;
        let churn = match self.options.scenario {
            Scenario::Churn => Some(self.come_and_go()?),
            Scenario::Lecture | Scenario::Seminar | Scenario::Classes => {
                self.wait(self.options.time)?;
                None
            }
        };
        let to = self.look()?;
        let window = Window::between(&from, &to);
        let people = self.sessions.len() as f64;
        let grown = |part: fn(&Usage) -> u64| {
            let (empty, full) = (self.empty.as_ref()?, to.usage.as_ref()?);
            Some(part(full).saturating_sub(part(empty)) as f64 / people / 1024.0)
        };
        let cpu_per_join = joined
            .zip(self.empty)
            .map(|(joined, empty)| (joined.cpu - empty.cpu).as_secs_f64() * 1e3 / people);
        let connects = &to.totals.connects;
        let millis = |histogram: &Histogram, quantile| histogram.quantile_micros(quantile).map(|us| us / 1e3);
        Ok(Report {
            scenario: self.options.scenario.name(),
            people: self.options.people,
            senders: self.traffic.senders,
            codec: self.options.codec,
            bits_per_second: self.options.bitrate,
            seconds: window.seconds,
            own_server: self.target.is_own(),
            full_rate_after_seconds: settled_in.map(|time| time.as_secs_f64()),
            server: window.figures(),
            packets: window.packets,
            packets_per_second: window.rate(),
            expected_per_second: self.traffic.packets_per_second(),
            lost: window.lost,
            late: window.late,
            decoder_violations: to.totals.violations,
            latency: Latency::of(&window.latency),
            joins: Joins {
                answered_millis_p50: millis(&self.joins, 0.5),
                answered_millis_p95: millis(&self.joins, 0.95),
                connected_millis_p50: millis(connects, 0.5),
                connected_millis_p95: millis(connects, 0.95),
                server_cpu_millis: cpu_per_join,
            },
            memory: Memory {
                resident_kib_per_participant: grown(|usage| usage.resident),
                heap_kib_per_participant: grown(|usage| usage.anonymous),
            },
            generator_cpu_share: window.generator,
            churn,
            recording: None,
            disks: Vec::new(),
            limit: None,
            idle: None,
            yardsticks: Yardsticks::default(),
            ratios: Ratios::default(),
        })
    }

    /// The same figures while everything is recorded, and once more without.
    fn record(&mut self, before: &Report) -> Result<Recording, String> {
        self.agree()?;
        self.recorder("start")?;
        self.wait(SETTLE)?;
        let counted = Counted::read(self.target.http);
        let on = self.window_from_now()?;
        let counted = counted.zip(Counted::read(self.target.http));
        self.recorder("stop")?;
        let cost = on.cpu.map(|(all, _)| {
            recorder::cost(on.seconds, on.recorder, all.saturating_sub(on.recorder), counted)
        });
        let off = self.window()?;
        let nanos = |figures: &Option<Figures>| figures.as_ref().and_then(|all| all.cpu_nanos_per_packet);
        let (on_figures, off_figures) = (on.figures(), off.figures());
        let without =
            nanos(&before.server).zip(nanos(&off_figures)).map(|(one, two)| f64::midpoint(one, two));
        Ok(Recording {
            ratio: nanos(&on_figures).zip(without).map(|(on, off)| on / off),
            on: on_figures,
            off: off_figures,
            latency: Latency::of(&on.latency),
            latency_off: Latency::of(&off.latency),
            recorder: cost,
        })
    }

    /// Everybody may be recorded.
    fn agree(&mut self) -> Result<(), String> {
        let agreed = serde_json::json!({"agreed": true});
        for (_, session) in &mut self.sessions {
            session.request("consent", &agreed)?;
        }
        self.sessions[0].1.request("settings", &serde_json::json!({"recordStudentCameras": true}))?;
        Ok(())
    }

    fn recorder(&mut self, action: &str) -> Result<(), String> {
        self.sessions[0].1.request("record", &serde_json::json!({ "action": action }))?;
        Ok(())
    }

    /// How late forwarding is without recording, with it, and with it on disks that are bad.
    fn record_on_disks(&mut self) -> Result<Vec<OnDisk>, String> {
        let server = self.target.pid.ok_or("the server's process is not known")?;
        let names = ["not recorded", "recorded", "on a disk that stands still", "on a full disk"];
        let mut windows: [Vec<Window>; 4] = std::array::from_fn(|_| Vec::new());
        self.agree()?;
        for _ in 0..ROUNDS {
            windows[0].push(self.window()?);
            self.recorder("start")?;
            windows[1].push(self.window()?);
            let standing = Standing::begin(server, &self.target.recordings)?;
            windows[2].push(self.window_from_now()?);
            drop(standing);
            self.recorder("stop")?;
            self.wait(SETTLE)?;
            self.recorder("start")?;
            self.wait(SETTLE)?;
            let full = Full::fill(server, &self.target.recordings)?;
            windows[3].push(self.window_from_now()?);
            drop(full);
            // It has ended by itself, if it did.
            self.recorder("stop")?;
            self.wait(SETTLE)?;
        }
        let of = |windows: &[Window], figure: &dyn Fn(&Window) -> Option<f64>| {
            let mut values: Vec<f64> = windows.iter().filter_map(figure).collect();
            values.sort_by(f64::total_cmp);
            values.get(values.len() / 2).copied()
        };
        let latency = |windows: &[Window]| {
            let quantile = |share| of(windows, &|window| window.latency.quantile_micros(share));
            Latency { p50: quantile(0.5), p99: quantile(0.99), p999: quantile(0.999) }
        };
        let cpu = |windows: &[Window]| of(windows, &|window| window.figures()?.cpu_nanos_per_packet);
        let (p99, nanos) = (latency(&windows[0]).p99, cpu(&windows[0]));
        let all = names.into_iter().zip(&windows).map(|(disk, windows)| {
            let latency = latency(windows);
            OnDisk {
                disk,
                p99_more_millis: latency.p99.zip(p99).map(|(on, off)| (on - off) / 1e3),
                cpu_ratio: cpu(windows).zip(nanos).map(|(on, off)| on / off),
                latency,
            }
        });
        Ok(all.collect())
    }

    /// What happens from when things have settled.
    fn window(&mut self) -> Result<Window, String> {
        self.wait(SETTLE)?;
        self.window_from_now()
    }

    fn window_from_now(&mut self) -> Result<Window, String> {
        let from = self.look()?;
        self.wait(self.options.time)?;
        Ok(Window::between(&from, &self.look()?))
    }

    /// Waits until everybody gets what the scenario sends; gives how long that took from the last join, none if they never did.
    fn wait_for_full_rate(&mut self) -> Result<Option<Duration>, String> {
        let began = Instant::now();
        while began.elapsed() < FULL_RATE {
            let from = self.look()?;
            self.wait(Duration::from_millis(500))?;
            let window = Window::between(&from, &self.look()?);
            if window.rate() >= self.traffic.packets_per_second() * FULL_SHARE {
                return Ok(Some(SETTLE + began.elapsed()));
            }
        }
        Ok(None)
    }

    /// Each second a twentieth of the people leave, and as many come.
    fn come_and_go(&mut self) -> Result<Churn, String> {
        let each_second = self.options.people.div_ceil(20);
        let every = Duration::from_secs(1) / each_second as u32;
        let began = Instant::now();
        let mut changes = 0;
        while began.elapsed() < self.options.time {
            // Never the teacher, who is the first; the oldest of the others.
            let (identity, mut session) = self.sessions.remove(1);
            session.leave();
            self.media.leave(identity);
            self.join(false)?;
            self.view(self.sessions.len() - 1)?;
            changes += 1;
            let due = began + every * changes;
            self.wait(due.saturating_duration_since(Instant::now()))?;
        }
        Ok(Churn { came_and_went: u64::from(changes) })
    }

    /// Lets ever more people in who see and hear everybody who sends, until packets are lost or late; none where nothing can be said
    /// of the server.
    ///
    /// More people and not a higher rate: the latter is what the server's estimates hold back.
    fn ramp(&mut self, report: &Report) -> Result<Option<Limit>, String> {
        let Some(share) = report.server.as_ref().map(|server| server.media_cpu_share).filter(|s| *s > 0.0)
        else {
            return Ok(None);
        };
        let mut limit = Limit::default();
        let alone = self.traffic.packets_per_second();
        let each = Traffic { more: 1, ..self.traffic }.packets_per_second() - alone;
        // The first step should fill half of a core, if it does not already.
        let mut factor = (0.5 / share).clamp(STEP_FACTOR, 4.0);
        for _ in 0..self.options.ramp_steps {
            let wanted = ((alone * factor - alone) / each).ceil() as usize;
            let wanted = wanted.max(self.traffic.more + 1).min(RAMP_PEOPLE);
            if wanted <= self.traffic.more {
                break;
            }
            while self.traffic.more < wanted {
                self.join(false)?;
                self.traffic.more += 1;
                self.view(self.sessions.len() - 1)?;
            }
            self.wait_connected(self.sessions.len())?;
            let full = self.wait_for_full_rate()?;
            let from = self.look()?;
            self.wait(STEP)?;
            let window = Window::between(&from, &self.look()?);
            let figures = window.figures();
            let step = Step {
                people: self.sessions.len(),
                packets_per_second: window.rate(),
                expected_per_second: self.traffic.packets_per_second(),
                media_cpu_share: figures.as_ref().map_or(0.0, |figures| figures.media_cpu_share),
                loss: window.lost as f64 / (window.packets + window.lost).max(1) as f64,
                latency: Latency::of(&window.latency),
                generator_cpu_share: window.generator,
                nanos_per_packet: figures.and_then(|figures| figures.cpu_nanos_per_packet),
            };
            let late = step.latency.p99.is_some_and(|p99| p99 > LATENCY_LIMIT.as_secs_f64() * 1e6);
            // The generator's own limits come first: what it does not read says nothing of the server.
            let broke = if window.overflows > 0 || step.generator_cpu_share > GENERATOR_LIMIT {
                Some("generator")
            } else if step.loss > self.options.loss {
                Some("loss")
            } else if late {
                Some("latency")
            } else if full.is_none() {
                Some("rate")
            } else {
                None
            };
            limit.steps.push(step.clone());
            if broke.is_some() {
                limit.broke_by = broke;
                break;
            }
            limit.best = Some(step);
            factor *= STEP_FACTOR;
        }
        // A step that broke tells of what broke, and not of a load.
        let kept = limit.steps.len() - usize::from(limit.broke_by.is_some());
        let from_half = |step: &&Step| (step.media_cpu_share - 0.5).abs();
        let half_load = limit.steps[..kept].iter().min_by(|a, b| from_half(a).total_cmp(&from_half(b)));
        limit.half_load = half_load.cloned();
        Ok(Some(limit))
    }

    /// What the same people cost who send nothing: connected, and listed, no more.
    fn idle(&mut self) -> Result<Option<Idle>, String> {
        self.media.pause();
        let people = self.sessions.len();
        let window = self.window()?;
        Ok(window.cpu.map(|(cpu, _)| Idle {
            people,
            cpu_share: cpu.as_secs_f64() / window.seconds,
            cpu_micros_per_participant_second: cpu.as_secs_f64() * 1e6 / window.seconds / people as f64,
        }))
    }

    fn close(mut self) {
        for (_, session) in &mut self.sessions {
            session.leave();
        }
    }
}

/// How things stood.
struct Look {
    at: Instant,
    usage: Option<Usage>,
    totals: Totals,
}

/// What happened between two looks.
struct Window {
    seconds: f64,
    cpu: Option<(Duration, Duration)>,
    recorder: Duration,
    packets: u64,
    lost: u64,
    late: u64,
    overflows: u64,
    latency: Histogram,
    generator: f64,
}

impl Window {
    fn between(from: &Look, to: &Look) -> Window {
        let seconds = (to.at - from.at).as_secs_f64();
        let usage = from.usage.zip(to.usage);
        Window {
            seconds,
            cpu: usage
                .map(|(from, to)| (to.cpu.saturating_sub(from.cpu), to.media.saturating_sub(from.media))),
            recorder: usage.map_or(Duration::ZERO, |(from, to)| to.recorder.saturating_sub(from.recorder)),
            packets: to.totals.packets - from.totals.packets,
            lost: to.totals.lost - from.totals.lost,
            late: to.totals.late - from.totals.late,
            overflows: to.totals.overflows.saturating_sub(from.totals.overflows),
            latency: to.totals.latency.since(&from.totals.latency),
            generator: (to.totals.cpu - from.totals.cpu).as_secs_f64() / seconds,
        }
    }

    fn rate(&self) -> f64 {
        self.packets as f64 / self.seconds
    }

    fn figures(&self) -> Option<Figures> {
        let (all, media) = self.cpu?;
        let nanos = |time: Duration| (self.packets > 0).then(|| time.as_nanos() as f64 / self.packets as f64);
        Some(Figures {
            cpu_nanos_per_packet: nanos(all),
            media_nanos_per_packet: nanos(media),
            cpu_share: all.as_secs_f64() / self.seconds,
            media_cpu_share: media.as_secs_f64() / self.seconds,
        })
    }
}

/// The machine's processor and how many cores it gives.
fn machine() -> (String, usize) {
    let info = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    (model.map_or_else(|| "unknown".into(), |(_, name)| name.trim().to_owned()), cores)
}

/// Whether an address is one that the options may name; for the command line.
///
/// # Errors
/// With the reason.
pub fn check_url(url: &str) -> Result<SocketAddr, String> {
    Target::running(url, String::new(), None).map(|target| target.http)
}
