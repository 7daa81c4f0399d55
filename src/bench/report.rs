//! What `lectern bench` prints: one JSON object, or the same for people.

use std::fmt::{self, Display, Formatter};

use serde::{Serialize, Serializer};
use sfu::codec::Codec;

use super::histogram::Histogram;
use super::machine;
use super::yardstick::Cost;

/// All figures of a run. Names end in their unit; a figure that could not be had is null.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Name of the scenario.
    pub scenario: &'static str,
    /// As asked for.
    pub people: usize,
    /// How many of them (or beside them) send.
    pub senders: usize,
    /// Of the cameras.
    #[serde(serialize_with = "codec_name")]
    pub codec: Codec,
    /// Of a camera.
    pub bits_per_second: u64,
    /// How long was measured.
    pub seconds: f64,
    /// Whether the server was started for this.
    pub own_server: bool,
    /// From the last join until everybody got all that is sent; none if that never came, and then the figures are of less.
    pub full_rate_after_seconds: Option<f64>,
    /// The server's CPU; none for one on another machine.
    pub server: Option<Figures>,
    /// Packets that the receivers got.
    pub packets: u64,
    /// The same a second.
    pub packets_per_second: f64,
    /// What the scenario sends, were nothing lost.
    pub expected_per_second: f64,
    /// Packets missing when a later one came.
    pub lost: u64,
    /// Packets that came behind a later one: repaired, most of all.
    pub late: u64,
    /// What a decoder would have stumbled over.
    pub decoder_violations: u64,
    /// From the sender's send to the receiver's kernel.
    pub latency: Latency,
    /// Joining.
    pub joins: Joins,
    /// Growth of the server's memory over its empty state.
    pub memory: Memory,
    /// CPU of the generator's media thread, of a core.
    pub generator_cpu_share: f64,
    /// Who came and went, in that scenario.
    pub churn: Option<Churn>,
    /// The same while the class is recorded.
    pub recording: Option<Recording>,
    /// The same on disks that are bad, where it was asked for.
    pub disks: Vec<OnDisk>,
    /// The highest rate.
    pub limit: Option<Limit>,
    /// After all that, when nobody sends any more.
    pub idle: Option<Idle>,
    /// The same packets without a media server.
    pub yardsticks: Yardsticks,
    /// The server's CPU a packet over that of each yardstick.
    pub ratios: Ratios,
}

/// CPU of the server.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Figures {
    /// All threads.
    pub cpu_nanos_per_packet: Option<f64>,
    /// The media workers.
    pub media_nanos_per_packet: Option<f64>,
    /// All threads, of a core.
    pub cpu_share: f64,
    /// The media workers, of a core.
    pub media_cpu_share: f64,
}

/// Quantiles in microseconds.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Latency {
    /// Half are faster.
    #[serde(rename = "p50Micros")]
    pub p50: Option<f64>,
    /// 99 of 100 are faster.
    #[serde(rename = "p99Micros")]
    pub p99: Option<f64>,
    /// 999 of 1000 are faster.
    #[serde(rename = "p999Micros")]
    pub p999: Option<f64>,
}

impl Latency {
    pub(super) fn of(histogram: &Histogram) -> Latency {
        let quantile = |quantile| histogram.quantile_micros(quantile);
        Latency { p50: quantile(0.5), p99: quantile(0.99), p999: quantile(0.999) }
    }
}

/// Times of joins.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Joins {
    /// From the connection of the signalling to the answer.
    pub answered_millis_p50: Option<f64>,
    /// The same.
    pub answered_millis_p95: Option<f64>,
    /// Until ICE and DTLS are done.
    pub connected_millis_p50: Option<f64>,
    /// The same.
    pub connected_millis_p95: Option<f64>,
    /// CPU of the server for one.
    pub server_cpu_millis: Option<f64>,
}

/// Memory of the server.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Memory {
    /// Resident.
    pub resident_kib_per_participant: Option<f64>,
    /// Resident and anonymous: heap and stacks.
    pub heap_kib_per_participant: Option<f64>,
}

/// What recording all of it adds. Measured right after the figures without it, and followed by the same again.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Recording {
    /// While it is recorded.
    pub on: Option<Figures>,
    /// After it, as before.
    pub off: Option<Figures>,
    /// While it is recorded.
    pub latency: Latency,
    /// After it, as before.
    pub latency_off: Latency,
    /// CPU of the server a packet with recording, over the mean without it before and after.
    pub ratio: Option<f64>,
    /// What the recorder itself used meanwhile.
    pub recorder: Option<RecorderCost>,
}

/// What the recorder costs by itself.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RecorderCost {
    /// Its threads, of a core.
    pub cpu_share: f64,
    /// They and the tap over all else that the server used in the same time.
    pub over_forwarding: f64,
    /// What a recorded packet costs the media worker more: measured by itself, in this process.
    pub tap_nanos_per_packet: f64,
    /// Recorded; none of a server that does not count them, and then nothing for a packet.
    pub packets_per_second: Option<f64>,
    /// Its threads.
    pub nanos_per_packet: Option<f64>,
    /// What of that was for what.
    pub parts_nanos_per_packet: Option<Parts>,
}

/// A cost, by what for.
#[derive(Debug, Clone, Copy, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Parts {
    /// Packets are taken, ordered and put together into frames of files.
    pub packets: f64,
    /// Voices are decoded, mixed and encoded, and files' new bytes handed to the disk's thread.
    pub mix: f64,
    /// Files are written.
    pub write: f64,
    /// They are made safe.
    pub sync: f64,
    /// Its threads fall asleep and wake up.
    pub wake: f64,
}

impl std::ops::Sub for Parts {
    type Output = Parts;

    fn sub(self, other: Parts) -> Parts {
        Parts {
            packets: self.packets - other.packets,
            mix: self.mix - other.mix,
            write: self.write - other.write,
            sync: self.sync - other.sync,
            wake: self.wake - other.wake,
        }
    }
}

impl std::ops::Mul<f64> for Parts {
    type Output = Parts;

    fn mul(self, by: f64) -> Parts {
        Parts {
            packets: self.packets * by,
            mix: self.mix * by,
            write: self.write * by,
            sync: self.sync * by,
            wake: self.wake * by,
        }
    }
}

/// People who are there and send nothing.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Idle {
    /// In the room, those of the ramp among them.
    pub people: usize,
    /// CPU of the server, all threads, of a core.
    pub cpu_share: f64,
    /// The same, each second for each of them.
    pub cpu_micros_per_participant_second: f64,
}

/// How late forwarding is while a disk does what it does: medians of [`ROUNDS`](super::ROUNDS) rounds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OnDisk {
    /// What it does, in words.
    pub disk: &'static str,
    /// The medians.
    pub latency: Latency,
    /// How much later than when nothing is recorded 99 of 100 are, in milliseconds.
    pub p99_more_millis: Option<f64>,
    /// CPU of the server a packet over that when nothing is recorded.
    pub cpu_ratio: Option<f64>,
}

/// Comings and goings.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Churn {
    /// How many left, and as many came.
    pub came_and_went: u64,
}

/// The ramp to the highest rate.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limit {
    /// Of the steps that kept the limits, the one at which the worker's core was nearest to half full.
    pub half_load: Option<Step>,
    /// The last step that kept the limits.
    pub best: Option<Step>,
    /// `loss`, `latency`, `rate` when pictures were held back, or `generator` when that was the one to give up; none when the steps
    /// ran out.
    pub broke_by: Option<&'static str>,
    /// All steps.
    pub steps: Vec<Step>,
}

/// One rate.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// In the room.
    pub people: usize,
    /// Forwarded.
    pub packets_per_second: f64,
    /// Were nothing lost.
    pub expected_per_second: f64,
    /// The media worker, of a core.
    pub media_cpu_share: f64,
    /// Share of packets lost.
    pub loss: f64,
    /// As above.
    #[serde(flatten)]
    pub latency: Latency,
    /// The generator, of a core.
    pub generator_cpu_share: f64,
    /// CPU of the server, all threads.
    pub nanos_per_packet: Option<f64>,
}

/// One yardstick.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Yardstick {
    /// CPU a packet.
    pub nanos_per_packet: Option<f64>,
    /// Packets sent on.
    pub packets: u64,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

impl Yardstick {
    pub(super) fn measured(cost: Cost) -> Yardstick {
        Yardstick { nanos_per_packet: cost.nanos_per_packet(), packets: cost.packets, missing: None }
    }

    pub(super) fn failed(missing: String) -> Yardstick {
        Yardstick { missing: Some(missing), ..Yardstick::default() }
    }
}

/// All yardsticks.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Yardsticks {
    /// Receive, decrypt, seal and send each.
    pub bare: Yardstick,
    /// The same, packets to one receiver together as segments.
    pub bare_segments: Yardstick,
    /// A relay.
    pub coturn: Yardstick,
}

/// The server over the yardsticks.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Ratios {
    /// See [`Yardsticks::bare`].
    pub bare: Option<f64>,
    /// See [`Yardsticks::bare_segments`].
    pub bare_segments: Option<f64>,
    /// See [`Yardsticks::coturn`].
    pub coturn: Option<f64>,
}

fn codec_name<S: Serializer>(codec: &Codec, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{codec:?}").to_lowercase())
}

/// A figure, or a dash.
struct Maybe(Option<f64>, usize);

impl Display for Maybe {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(value) => write!(f, "{value:.*}", self.1),
            None => f.write_str("-"),
        }
    }
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let (model, cores) = machine();
        let whole = |value| Maybe(value, 0);
        let millis = |value: Option<f64>| Maybe(value.map(|us| us / 1e3), 2);
        let mut row = |name: &str, value: &dyn Display| writeln!(f, "{name:<42} {value}");
        row("machine", &format_args!("{model}, {cores} cores"))?;
        row(
            "scenario",
            &format_args!(
                "{} of {}, {} sending {:?} at {} kbit/s and Opus, {:.1} s",
                self.scenario,
                self.people,
                self.senders,
                self.codec,
                self.bits_per_second / 1000,
                self.seconds
            ),
        )?;
        row(
            "packets forwarded",
            &format_args!(
                "{:.0} a second of {:.0} expected",
                self.packets_per_second, self.expected_per_second
            ),
        )?;
        match self.full_rate_after_seconds {
            Some(seconds) => row("all of them after", &format_args!("{seconds:.1} s"))?,
            None => row("all of them after", &"never: the server has held pictures back")?,
        }
        row(
            "lost / late / faults a decoder would see",
            &format_args!("{} / {} / {}", self.lost, self.late, self.decoder_violations),
        )?;
        if let Some(server) = &self.server {
            row("server CPU a packet", &format_args!("{} ns", whole(server.cpu_nanos_per_packet)))?;
            row("  of that the media worker", &format_args!("{} ns", whole(server.media_nanos_per_packet)))?;
            row("server CPU", &format_args!("{:.1} % of a core", server.cpu_share * 100.0))?;
        } else {
            row("server CPU", &"not known (name its process with --pid)")?;
        }
        for (name, yardstick, ratio) in [
            ("bare loop", &self.yardsticks.bare, self.ratios.bare),
            ("bare loop with segments", &self.yardsticks.bare_segments, self.ratios.bare_segments),
            ("coturn", &self.yardsticks.coturn, self.ratios.coturn),
        ] {
            match &yardstick.missing {
                Some(why) => row(name, why)?,
                None => row(
                    name,
                    &format_args!(
                        "{} ns a packet; the server takes {} times that",
                        whole(yardstick.nanos_per_packet),
                        Maybe(ratio, 2)
                    ),
                )?,
            }
        }
        row(
            "sender to receiver's kernel p50/p99/p99.9",
            &format_args!(
                "{} / {} / {} ms",
                millis(self.latency.p50),
                millis(self.latency.p99),
                millis(self.latency.p999)
            ),
        )?;
        let joins = &self.joins;
        row(
            "join answered p50/p95",
            &format_args!(
                "{} / {} ms",
                Maybe(joins.answered_millis_p50, 1),
                Maybe(joins.answered_millis_p95, 1)
            ),
        )?;
        row(
            "media connected p50/p95",
            &format_args!(
                "{} / {} ms",
                Maybe(joins.connected_millis_p50, 1),
                Maybe(joins.connected_millis_p95, 1)
            ),
        )?;
        row("server CPU a join", &format_args!("{} ms", Maybe(joins.server_cpu_millis, 2)))?;
        row(
            "memory a participant, resident / heap",
            &format_args!(
                "{} / {} KiB",
                whole(self.memory.resident_kib_per_participant),
                whole(self.memory.heap_kib_per_participant)
            ),
        )?;
        row("generator CPU", &format_args!("{:.0} % of a core", self.generator_cpu_share * 100.0))?;
        if let Some(recording) = &self.recording {
            let nanos =
                |figures: &Option<Figures>| whole(figures.as_ref().and_then(|all| all.cpu_nanos_per_packet));
            row(
                "server CPU a packet, recorded / not again",
                &format_args!(
                    "{} / {} ns, {} times that without",
                    nanos(&recording.on),
                    nanos(&recording.off),
                    Maybe(recording.ratio, 3)
                ),
            )?;
            row(
                "p50/p99/p99.9, recorded; not again",
                &format_args!(
                    "{} / {} / {}; {} / {} / {} ms",
                    millis(recording.latency.p50),
                    millis(recording.latency.p99),
                    millis(recording.latency.p999),
                    millis(recording.latency_off.p50),
                    millis(recording.latency_off.p99),
                    millis(recording.latency_off.p999)
                ),
            )?;
        }
        if let Some(cost) = self.recording.as_ref().and_then(|recording| recording.recorder.as_ref()) {
            row(
                "recorder",
                &format_args!(
                    "{:.2} % of a core; with the tap {:.2} % of all else",
                    cost.cpu_share * 100.0,
                    cost.over_forwarding * 100.0
                ),
            )?;
            row(
                "  a recorded packet",
                &format_args!(
                    "{} ns, of {} a second; the tap {:.0} ns",
                    whole(cost.nanos_per_packet),
                    whole(cost.packets_per_second),
                    cost.tap_nanos_per_packet
                ),
            )?;
            if let Some(Parts { packets, mix, write, sync, wake }) = cost.parts_nanos_per_packet {
                row(
                    "  packets / mix / write / sync / wake",
                    &format_args!("{packets:.0} / {mix:.0} / {write:.0} / {sync:.0} / {wake:.0} ns"),
                )?;
            }
        }
        for on in &self.disks {
            row(
                on.disk,
                &format_args!(
                    "p50/p99/p99.9 {} / {} / {} ms, p99 {} ms more, {} times the CPU",
                    millis(on.latency.p50),
                    millis(on.latency.p99),
                    millis(on.latency.p999),
                    Maybe(on.p99_more_millis, 2),
                    Maybe(on.cpu_ratio, 3)
                ),
            )?;
        }
        if let Some(churn) = &self.churn {
            row("came and went", &churn.came_and_went)?;
        }
        if let Some(idle) = &self.idle {
            row(
                "server CPU when nobody sends",
                &format_args!(
                    "{:.2} % of a core for {} people, {:.0} µs a second each",
                    idle.cpu_share * 100.0,
                    idle.people,
                    idle.cpu_micros_per_participant_second
                ),
            )?;
        }
        let Some(limit) = &self.limit else { return Ok(()) };
        if let Some(half) = &limit.half_load {
            row(
                "nearest to half load (p50/p99/p99.9)",
                &format_args!(
                    "{:.0} packets/s, {:.0} % of a core: {} / {} / {} ms",
                    half.packets_per_second,
                    half.media_cpu_share * 100.0,
                    millis(half.latency.p50),
                    millis(half.latency.p99),
                    millis(half.latency.p999)
                ),
            )?;
        }
        let broke = match limit.broke_by {
            Some("generator") => "then the generator could not keep up: the server carries more",
            Some("latency") => "then p99 passed 50 ms",
            Some("rate") => "then pictures were held back",
            Some(_) => "then packets were lost",
            None => "when the steps ran out",
        };
        match &limit.best {
            Some(best) => row(
                "most packets",
                &format_args!(
                    "{:.0} a second with {:.0} % of a core, {broke}",
                    best.packets_per_second,
                    best.media_cpu_share * 100.0
                ),
            ),
            None => row("most packets", &format_args!("not found: {broke} at the first step")),
        }
    }
}
