//! A media worker with real sockets: two people and a worker of the server, on loopback, over IPv4 and IPv6.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so and stops")]

#[allow(dead_code, reason = "other test programs use other parts")]
#[path = "../support/caller.rs"]
mod caller;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use caller::{Caller, eventually};
use lectern::metrics::FORWARD_LATENCY_BOUNDS_US;
use lectern::worker::{WorkerConfig, WorkerHandle, start};
use sfu::id::{PeerId, RoomId};
use sfu::io::{AddPeer, Command, Event, Importance, PeerPolicy, Picture};
use sfu::media::{Audience, Source};
use sim::client::ClientConfig;
use tokio::sync::mpsc;

const PATIENCE: Duration = Duration::from_secs(10);
const ROOM: RoomId = RoomId(1);

/// A room on a worker, without any lesson around it.
struct Stage {
    worker: WorkerHandle,
    events: mpsc::Receiver<Event>,
}

impl Stage {
    fn open(candidates: &[&str]) -> Stage {
        let config = WorkerConfig {
            index: 0,
            port: 0,
            candidate_ips: candidates.iter().map(|ip| ip.parse::<IpAddr>().unwrap()).collect(),
            stream_addr: None,
            relay: None,
            stats: Arc::default(),
            records: None,
        };
        let (sender, events) = mpsc::channel(1_000);
        let (worker, _thread) = start(config, sender).unwrap();
        worker.send(Command::OpenRoom { room: ROOM }).unwrap();
        Stage { worker, events }
    }

    /// Brings a caller in; returns when its media is up.
    fn admit(&mut self, caller: &Caller) {
        let peer = PeerId(caller.identity.into());
        let everything = PeerPolicy {
            class: Audience::EVERYBODY,
            publish: [Audience::EVERYBODY; Source::ALL.len()],
            always_heard: true,
            importance: Importance::Other,
        };
        let add = AddPeer {
            room: ROOM,
            peer,
            offer: caller.offer(),
            sources: caller.sources(),
            policy: everything,
        };
        self.worker.send(Command::AddPeer(Box::new(add))).unwrap();
        let answer = self.event(|event| match event {
            Event::Answered { peer: of, answer, .. } if of == peer => Some(answer),
            Event::Refused { error, .. } => panic!("{error}"),
            _ => None,
        });
        caller.take_answer(&answer);
        self.event(|event| (event == Event::Connected { room: ROOM, peer }).then_some(()));
    }

    fn event<T>(&mut self, mut wanted: impl FnMut(Event) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            match self.events.try_recv() {
                Ok(event) => {
                    if let Some(found) = wanted(event) {
                        return found;
                    }
                }
                Err(mpsc::error::TryRecvError::Empty) => {
                    assert!(Instant::now() < deadline, "the event did not come");
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }

    /// Publishes and shows what the caller sends from now on.
    fn show(&self, publisher: &Caller, viewer: &Caller) {
        let of = PeerId(publisher.identity.into());
        for source in [Source::Camera, Source::Microphone] {
            self.worker.send(Command::Publish { peer: of, source }).unwrap();
            publisher.publish(source);
        }
        let picture = Picture { publisher: of, source: Source::Camera, width_px: 1280, height_px: 720 };
        let peer = PeerId(viewer.identity.into());
        self.worker.send(Command::View { peer, pictures: vec![picture] }).unwrap();
    }
}

fn call(server: &str, address: &str) {
    let mut stage = Stage::open(&[server]);
    let alice = Caller::at(address, 1, ClientConfig::new);
    let bob = Caller::at(address, 2, ClientConfig::viewer);
    stage.admit(&alice);
    stage.admit(&bob);
    stage.show(&alice, &bob);
    eventually("Bob sees Alice", PATIENCE, || bob.frames_of(1, Source::Camera) > 50);
    eventually("Bob hears Alice", PATIENCE, || bob.frames_of(1, Source::Microphone) > 50);

    let stats = stage.worker.stats();
    let (latency, _) = stats.forward_latency.read();
    let forwarded = stats.load().rtp_forwarded;
    assert!(latency.iter().sum::<u64>() > 100, "each forwarded packet is timed: {latency:?}");
    assert!(forwarded > 100);
    let soon = FORWARD_LATENCY_BOUNDS_US.partition_point(|bound| *bound <= 20_000);
    let late: u64 = latency[soon..].iter().sum();
    assert!(late * 10 < latency.iter().sum::<u64>(), "most leave within 20 ms: {latency:?}");
    assert_eq!(stats.send_errors.load(Relaxed), 0);
    assert_eq!(stats.events_dropped.load(Relaxed), 0);
    assert!(
        bob.longest_gap(1, Source::Camera, Instant::now() - Duration::from_millis(500))
            < Duration::from_millis(500)
    );
    let seen = bob.seen();
    assert_eq!((seen.losses, seen.astray), (0, 0));
    assert!(seen.violations.is_empty(), "{:?}", seen.violations);
}

#[test]
fn two_people_meet_over_ipv4() {
    call("127.0.0.1", "127.0.0.1:0");
}

#[test]
fn two_people_meet_over_ipv6() {
    call("::1", "[::1]:0");
}

/// The server stands behind a public address that the machine itself does not have: 127.0.0.9 is the only candidate, and a
/// translator on the way puts 127.0.0.1 into its place.
#[test]
fn a_translated_address_works() {
    let mut stage = Stage::open(&["127.0.0.9"]);
    let real = std::net::SocketAddr::from(([127, 0, 0, 1], stage.worker.udp_addr().port()));
    let public = stage.worker.candidates()[0];
    let caller = Caller::new(1, ClientConfig::new);
    let translator = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    translator.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let peer = PeerId(1);
    let add = AddPeer {
        room: ROOM,
        peer,
        offer: caller.offer(),
        sources: caller.sources(),
        policy: PeerPolicy::default(),
    };
    stage.worker.send(Command::AddPeer(Box::new(add))).unwrap();
    let answer = stage.event(|event| match event {
        Event::Answered { answer, .. } => Some(answer),
        _ => None,
    });
    assert!(answer.contains(&format!("127.0.0.9 {}", public.port())), "{answer}");
    let door = translator.local_addr().unwrap();
    let address = format!("127.0.0.9 {}", public.port());
    caller.take_answer(&answer.replace(&address, &format!("127.0.0.1 {}", door.port())));
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 2_048];
    while stage.worker.stats().load().half_open > 0 || !caller.seen().connected {
        assert!(Instant::now() < deadline, "not connected through the translator");
        let Ok((length, source)) = translator.recv_from(&mut buffer) else { continue };
        let target =
            if source.ip() == real.ip() && source.port() == real.port() || source.port() == public.port() {
                caller.address
            } else {
                real
            };
        translator.send_to(&buffer[..length], target).unwrap();
    }
}

/// What a room of nine costs the worker: `cargo test --release -p lectern --test media nine -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn nine_people() {
    let mut stage = Stage::open(&["127.0.0.1"]);
    let people: Vec<Caller> = (1..=9).map(|number| Caller::new(number, ClientConfig::new)).collect();
    for person in &people {
        stage.admit(person);
        let peer = PeerId(person.identity.into());
        for source in [Source::Camera, Source::Microphone] {
            stage.worker.send(Command::Publish { peer, source }).unwrap();
            person.publish(source);
        }
    }
    for viewer in &people {
        let others = people.iter().filter(|other| other.identity != viewer.identity);
        let pictures = others
            .map(|other| Picture {
                publisher: PeerId(other.identity.into()),
                source: Source::Camera,
                width_px: 320,
                height_px: 180,
            })
            .collect();
        stage.worker.send(Command::View { peer: PeerId(viewer.identity.into()), pictures }).unwrap();
    }
    let stats = stage.worker.stats();
    std::thread::sleep(Duration::from_secs(3));
    let read = || {
        let counters = stats.load();
        let of = |count: &std::sync::atomic::AtomicU64| count.load(Relaxed);
        (
            stats.forward_latency.read().0,
            counters,
            of(&stats.send_calls),
            of(&stats.receive_calls),
            of(&stats.busy_ns),
        )
    };
    let (began, before) = (Instant::now(), read());
    std::thread::sleep(Duration::from_secs(5));
    let (seconds, after) = (began.elapsed().as_secs_f64(), read());
    let latency: Vec<u64> = after.0.iter().zip(before.0).map(|(after, before)| after - before).collect();
    let total: u64 = latency.iter().sum();
    let quantile = |share: f64| {
        let wanted = (share * total as f64).ceil() as u64;
        let mut seen = 0;
        let bucket = latency.iter().position(|count| {
            seen += count;
            seen >= wanted
        });
        bucket.and_then(|bucket| FORWARD_LATENCY_BOUNDS_US.get(bucket))
    };
    let rate = |after: u64, before: u64| (after - before) as f64 / seconds;
    println!(
        "{:.0} datagrams/s in by {:.0} calls, {:.0} out by {:.0} calls; busy {:.1} %; forwarding p50 {:?} p99 {:?} us",
        rate(after.1.datagrams_in, before.1.datagrams_in),
        rate(after.3, before.3),
        rate(after.1.datagrams_out, before.1.datagrams_out),
        rate(after.2, before.2),
        rate(after.4, before.4) / 1e7,
        quantile(0.5),
        quantile(0.99),
    );
}
