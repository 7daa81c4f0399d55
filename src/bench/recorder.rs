//! What the recorder itself costs: the CPU time of its threads, what it counts of that, and what it takes of the media worker.
//!
//! CPU of a process at one time and at another differs by more than recording costs, on any machine that does something else. What threads
//! used in the same window can be set against each other.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use sfu::codec::Codec;
use sfu::id::{PeerId, RoomId};
use sfu::io::{Output, RecordedPacket};
use sfu::media::Source;

use super::report::{Parts, RecorderCost};
use super::usage::own_thread;
use crate::worker::Feed;

/// How long the server may take to say what it has counted.
const PATIENCE: Duration = Duration::from_secs(5);
/// Packets that the tap is given before the recorder takes them: those of 20 ms in a large class.
const BURST: usize = 100;
const BURSTS: usize = 500;
/// Bytes of a packet of a camera.
const PAYLOAD_BYTES: usize = 750;

/// What the server has counted of its recorder.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counted {
    packets: f64,
    parts: Parts,
}

impl Counted {
    /// Asks for it; none of a server that does not say.
    pub fn read(http: SocketAddr) -> Option<Counted> {
        let mut stream = TcpStream::connect_timeout(&http, PATIENCE).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: {http}\r\nConnection: close\r\n\r\n").ok()?;
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        Counted::parse(&text)
    }

    fn parse(text: &str) -> Option<Counted> {
        let values: HashMap<&str, f64> = text
            .lines()
            .filter_map(|line| line.rsplit_once(' '))
            .filter_map(|(name, value)| Some((name, value.parse().ok()?)))
            .collect();
        let part =
            |name| values.get(format!("lectern_recorder_cpu_seconds_total{{part=\"{name}\"}}").as_str());
        Some(Counted {
            packets: *values.get("lectern_recording_packets_total")?,
            parts: Parts {
                packets: *part("packets")?,
                mix: *part("mix")?,
                write: *part("write")?,
                sync: *part("sync")?,
                wake: *part("wake")?,
            },
        })
    }
}

/// The cost in a window: of the recorder's threads and of all others, and what was counted before and after it.
pub fn cost(
    seconds: f64,
    recorder: Duration,
    others: Duration,
    counted: Option<(Counted, Counted)>,
) -> RecorderCost {
    let packets = counted.map(|(from, to)| to.packets - from.packets).filter(|packets| *packets > 0.0);
    let tap = tap();
    let tapped = packets.map_or(0.0, |packets| packets * tap / 1e9);
    let forwarding = others.as_secs_f64() - tapped;
    RecorderCost {
        cpu_share: recorder.as_secs_f64() / seconds,
        over_forwarding: (recorder.as_secs_f64() + tapped) / forwarding,
        tap_nanos_per_packet: tap,
        packets_per_second: packets.map(|packets| packets / seconds),
        nanos_per_packet: packets.map(|packets| recorder.as_nanos() as f64 / packets),
        parts_nanos_per_packet: counted
            .zip(packets)
            .map(|((from, to), packets)| (to.parts - from.parts) * (1e9 / packets)),
    }
}

/// What a packet costs the media worker more when it is recorded, in nanoseconds: that it is shared, queued, and given back by another thread.
fn tap() -> f64 {
    let mut without = Vec::new();
    let mut with = Vec::new();
    // In turns, as the machine changes its mind.
    for _ in 0..5 {
        without.push(packets_made(false));
        with.push(packets_made(true));
    }
    let least = |times: &[Duration]| times.iter().min().copied().unwrap_or_default();
    let more = least(&with).saturating_sub(least(&without));
    more.as_nanos() as f64 / (BURST * BURSTS) as f64
}

/// CPU time of a thread that makes packets, and gives each away or lets it go.
fn packets_made(recorded: bool) -> Duration {
    let (feed, end) = Feed::new();
    let done = &AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(move || {
            while !done.load(Relaxed) {
                while end.next().is_some() {}
                std::thread::sleep(Duration::from_micros(100));
            }
        });
        let now = Instant::now();
        let mut outputs = VecDeque::new();
        let before = own_thread();
        for burst in 0..BURSTS {
            for index in 0..BURST {
                let payload: Arc<[u8]> = Arc::from(&[0x55; PAYLOAD_BYTES][..]);
                if recorded {
                    outputs.push_back(Output::Record(packet(now, (burst * BURST + index) as u64, &payload)));
                }
                std::hint::black_box(&payload);
                while let Some(output) = outputs.pop_front() {
                    if let Output::Record(packet) = output {
                        feed.take(packet);
                    }
                }
            }
            // The worker waits for the next datagram.
            std::thread::sleep(Duration::from_micros(50));
        }
        let spent = own_thread().saturating_sub(before);
        done.store(true, Relaxed);
        spent
    })
}

fn packet(now: Instant, seq: u64, payload: &Arc<[u8]>) -> RecordedPacket {
    RecordedPacket {
        room: RoomId(1),
        publisher: PeerId(1),
        source: Source::Camera,
        codec: Codec::Vp8,
        layer: 0,
        ssrc: 1,
        arrival: now,
        seq,
        rtp_time: 1,
        clock_rate: 90_000,
        report: None,
        marker: false,
        level_dbov: None,
        colour: None,
        payload: payload.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_server_counts_is_read() {
        let text = "HTTP/1.1 200 OK\r\n\r\n# TYPE lectern_recorder_cpu_seconds_total counter\n\
            lectern_recorder_cpu_seconds_total{part=\"mix\"} 2.5\nlectern_recorder_cpu_seconds_total{part=\"packets\"} 1\n\
            lectern_recorder_cpu_seconds_total{part=\"sync\"} 0.5\nlectern_recorder_cpu_seconds_total{part=\"wake\"} 0.25\n\
            lectern_recorder_cpu_seconds_total{part=\"write\"} 0.125\nlectern_recording_packets_total 1000\n";
        let to = Counted::parse(text).unwrap();
        let cost =
            cost(2.0, Duration::from_millis(4_375), Duration::from_secs(60), Some((Counted::default(), to)));
        assert_eq!((cost.packets_per_second, cost.cpu_share), (Some(500.0), 2.1875));
        let parts = cost.parts_nanos_per_packet.unwrap();
        assert!((parts.mix - 2.5e6).abs() < 1.0 && (parts.write - 0.125e6).abs() < 1.0);
        assert!((cost.over_forwarding - 4.375 / 60.0).abs() < 1e-3);
        assert!(Counted::parse("HTTP/1.1 200 OK\r\n\r\nlectern_rooms 1\n").is_none());
    }

    #[test]
    fn the_real_metrics_have_what_is_read() {
        let metrics = crate::metrics::Metrics::new(Vec::new());
        let text = String::from_utf8(metrics.encode().unwrap()).unwrap();
        assert!(Counted::parse(&text).is_some());
    }
}
