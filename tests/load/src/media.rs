//! The media of all participants: one thread that drives their clients over UDP sockets.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sim::client::{Client, ClientEvent};

/// Latency is counted in steps of 50 µs up to two seconds.
const LATENCY_STEP: Duration = Duration::from_micros(50);
const LATENCY_STEPS: usize = 40_000;
/// Datagrams taken from one socket in a row.
const BURST: usize = 32;

/// A participant's media.
pub struct Participant {
    pub client: Client,
    pub socket: UdpSocket,
}

/// What all participants have seen so far.
#[derive(Debug, Clone)]
pub struct Totals {
    /// Connected now.
    pub connected: usize,
    /// RTP packets received on slots.
    pub rtp_in: u64,
    /// Frames decoded and packets of sound played.
    pub frames: u64,
    /// What a decoder would have stumbled over.
    pub violations: u64,
    /// From a publisher's send to a receiver's whole frame, in steps.
    latency: Vec<u64>,
}

impl Totals {
    /// A quantile of the latency.
    pub fn latency_millis(&self, quantile: f64) -> Option<f64> {
        let total: u64 = self.latency.iter().sum();
        let mut left = (total as f64 * quantile).ceil() as u64;
        for (step, count) in self.latency.iter().enumerate() {
            if left <= *count && total > 0 {
                return Some((step + 1) as f64 * LATENCY_STEP.as_secs_f64() * 1e3);
            }
            left -= (*count).min(left);
        }
        None
    }
}

/// The thread.
pub struct Media {
    thread: JoinHandle<()>,
    totals: Arc<Mutex<Totals>>,
    stop: Arc<AtomicBool>,
}

/// A socket of a participant beside the server.
pub fn socket(server: IpAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind((server, 0))?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

impl Media {
    /// Starts the thread; participants come through the channel.
    pub fn start(joining: Receiver<Participant>) -> Media {
        let totals = Arc::new(Mutex::new(Totals {
            connected: 0,
            rtp_in: 0,
            frames: 0,
            violations: 0,
            latency: vec![0; LATENCY_STEPS],
        }));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (totals, stop) = (Arc::clone(&totals), Arc::clone(&stop));
            move || drive(&joining, &totals, &stop)
        });
        Media { thread, totals, stop }
    }

    /// What was seen so far.
    pub fn totals(&self) -> Totals {
        self.totals.lock().expect("the media thread does not panic while it counts").clone()
    }

    /// Ends the thread.
    pub fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the media thread does not panic");
    }
}

fn drive(joining: &Receiver<Participant>, totals: &Mutex<Totals>, stop: &AtomicBool) {
    let mut participants: Vec<Participant> = Vec::new();
    let mut sent: BTreeMap<(u32, u8, u32), Instant> = BTreeMap::new();
    let mut frames = 0;
    let mut latency = vec![0u64; LATENCY_STEPS];
    let mut buffer = vec![0; 2048];
    let mut last_count = Instant::now();
    while !stop.load(Ordering::Relaxed) {
        while let Ok(participant) = joining.try_recv() {
            participants.push(participant);
        }
        let mut idle = true;
        for participant in &mut participants {
            let Participant { client, socket } = participant;
            let local = client.local();
            for _ in 0..BURST {
                let Ok((len, from)) = socket.recv_from(&mut buffer) else { break };
                idle = false;
                client.handle_datagram(Instant::now(), from, local, &buffer[..len]);
            }
            let now = Instant::now();
            if client.poll_timeout() <= now {
                idle = false;
                client.handle_timeout(now);
                for source in sfu::media::Source::ALL {
                    let number = client.frames_sent(source, 0);
                    if number > 0 {
                        sent.insert((client.identity(), source as u8, number - 1), now);
                    }
                }
            }
            while let Some(transmit) = client.poll_transmit() {
                // A full buffer loses a packet, as a network does.
                let _ = socket.send_to(&transmit.contents, transmit.destination);
            }
            while let Some(event) = client.poll_event() {
                if let ClientEvent::Frame { frame, .. } = event {
                    frames += 1;
                    let stamp = frame.stamp;
                    if stamp.layer == 0
                        && let Some(at) = sent.get(&(stamp.publisher, stamp.source as u8, stamp.frame))
                    {
                        let steps = now.saturating_duration_since(*at).as_micros() / LATENCY_STEP.as_micros();
                        latency[usize::try_from(steps).unwrap_or(LATENCY_STEPS).min(LATENCY_STEPS - 1)] += 1;
                    }
                }
            }
        }
        if last_count.elapsed() >= Duration::from_millis(200) {
            last_count = Instant::now();
            sent.retain(|_, at| at.elapsed() < Duration::from_secs(3));
            let mut totals = totals.lock().expect("nobody panics while holding it");
            totals.connected =
                participants.iter().filter(|participant| participant.client.is_connected()).count();
            totals.rtp_in = participants.iter().map(|participant| participant.client.counters().rtp_in).sum();
            totals.violations = participants
                .iter()
                .flat_map(|participant| participant.client.slots())
                .map(|slot| slot.decoder.violations().len() as u64)
                .sum();
            totals.frames = frames;
            totals.latency.clone_from(&latency);
        }
        if idle {
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}
