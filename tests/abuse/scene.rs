//! A running server with a call on it that must not notice anything.

use std::fs::{self, File};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};
use sfu::media::Source;
use sim::client::ClientConfig;

use crate::caller::{Caller, eventually};
use crate::signal::Signal;
use crate::wire::{PATIENCE, http};

/// Longest time without a picture that the bystanders may see (HARDENING.md).
const FREEZE: Duration = Duration::from_millis(500);

/// What resident memory may be above the baseline afterwards: allocator and page granularity; an attack that leaks, leaks more.
const MEMORY_SLACK: u64 = 24 << 20;

/// Log lines that an attack may cost: a few about it, and those of a call.
const LOG_LINES: usize = 300;

/// Tells when the machine itself stood still: a thread that does nothing but sleep, and notes how late it wakes. On a machine
/// that builds something else at the same time, a picture is late without any fault of the server.
struct Metronome {
    stop: Arc<AtomicBool>,
    latest_us: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Metronome {
    const BEAT: Duration = Duration::from_millis(5);

    fn start() -> Metronome {
        let (stop, latest_us) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stop_there, latest_there) = (stop.clone(), latest_us.clone());
        let thread = std::thread::spawn(move || {
            while !stop_there.load(Relaxed) {
                let began = Instant::now();
                std::thread::sleep(Metronome::BEAT);
                let late = began.elapsed().saturating_sub(Metronome::BEAT);
                latest_there.fetch_max(late.as_micros() as u64, Relaxed);
            }
        });
        Metronome { stop, latest_us, thread: Some(thread) }
    }

    /// The longest time that it was late.
    fn longest(&self) -> Duration {
        Duration::from_micros(self.latest_us.load(Relaxed))
    }
}

impl Drop for Metronome {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Scenes run one at a time: they measure time, and the machine may be small.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

/// A `lectern` process.
pub struct Server {
    child: Child,
    folder: PathBuf,
    secret: String,
    pub api_key: String,
    pub http: SocketAddr,
    /// The relay, on UDP and TCP.
    pub turn: SocketAddr,
}

impl Server {
    /// Starts it on free ports with its own data.
    pub fn start(name: &str, more: &[&str]) -> Server {
        let folder = std::env::temp_dir().join(format!("lectern-abuse-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (secret, api_key) = ("s".repeat(40), "k".repeat(24));
        let ready = folder.join("ready");
        let log = File::create(folder.join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_lectern"))
            .args(["serve", "--http-listen", "127.0.0.1:0", "--udp-port", "0", "--public-ip", "127.0.0.1"])
            // One worker, so that the bystanders share it with whatever is thrown at it.
            .args(["--workers", "1", "--socket-ping-interval-seconds", "300"])
            .args([
                "--ready-file",
                ready.to_str().unwrap(),
                "--data-dir",
                folder.join("data").to_str().unwrap(),
            ])
            .args(["--token-secret", &secret, "--api-key", &api_key])
            .args(more)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Server { child, folder, secret, api_key, http: nowhere, turn: nowhere };
        let mut text = String::new();
        let deadline = Instant::now() + Duration::from_secs(20);
        while text.trim().is_empty() {
            assert!(server.runs(), "the server has ended:\n{}", server.log());
            assert!(Instant::now() < deadline, "the server is not ready:\n{}", server.log());
            std::thread::sleep(Duration::from_millis(10));
            text = fs::read_to_string(&ready).unwrap_or_default();
        }
        let ready: Value = serde_json::from_str(&text).unwrap();
        let http = ready["http"].as_str().unwrap();
        let turn: SocketAddr = ready["turn"].as_str().unwrap().parse().unwrap();
        server.turn.set_port(turn.port());
        server.http = http.trim_start_matches("http://").trim_end_matches('/').parse().unwrap();
        server
    }

    /// Has its process stand still for a while.
    pub fn freeze(&self, time: Duration) {
        self.frozen(|| std::thread::sleep(time));
    }

    /// Has its process stand still while something is done.
    pub fn frozen<T>(&self, what: impl FnOnce() -> T) -> T {
        let signal = |name: &str| {
            let pid = self.child.id().to_string();
            assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
        };
        signal("-STOP");
        let done = what();
        signal("-CONT");
        done
    }

    fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// All that it has logged.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.join("log")).unwrap_or_default()
    }

    /// Resident memory, in bytes.
    pub fn resident(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// The sum over all labels of a metric; 0 if it is not there.
    pub fn metric(&self, name: &str) -> f64 {
        let text = http(self.http, "GET", "/metrics", &[], "").body;
        let values = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
            let (found, value) = line.rsplit_once(' ')?;
            (found.split('{').next() == Some(name)).then(|| value.parse::<f64>().unwrap())
        });
        values.sum()
    }

    /// Claims of a valid token.
    pub fn claims(room: &str, identity: &str, role: &str) -> Value {
        let exp = now_secs() + 3600;
        json!({
            "aud": "lectern", "exp": exp, "room": room, "identity": identity, "name": identity, "role": role,
            "preset": "seminar",
        })
    }

    /// A token with any claims and any header, signed with the server's secret by the algorithm of the key.
    pub fn sign(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(self.secret.as_bytes())).unwrap()
    }

    /// A valid token.
    pub fn token(&self, room: &str, identity: &str, role: &str) -> String {
        self.sign(&Header::default(), &Server::claims(room, identity, role))
    }

    /// The secret, for signatures that no library makes.
    pub fn secret(&self) -> &[u8] {
        self.secret.as_bytes()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Its own child, by its handle.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(40).collect();
            eprintln!("the server's last lines:\n{}", tail.into_iter().rev().collect::<Vec<_>>().join("\n"));
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

pub fn now_secs() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// A participant with signalling and media.
pub struct Person {
    pub signal: Signal,
    pub caller: Caller,
    pub identity: String,
    pub joined: Value,
    /// Where the server takes its media.
    pub media: SocketAddr,
}

impl Person {
    /// Joins; media is on its way, or held by what `prepare` did to the caller.
    pub fn join_with(
        server: &Server,
        room: &str,
        number: u32,
        role: &str,
        prepare: impl FnOnce(&Caller),
    ) -> Person {
        let caller = Caller::new(number, ClientConfig::new);
        prepare(&caller);
        Person::join_as(server, room, number, role, caller)
    }

    /// Joins with this caller.
    fn join_as(server: &Server, room: &str, number: u32, role: &str, caller: Caller) -> Person {
        let identity = format!("p{number}");
        let mut signal = Signal::connect(server.http, &server.token(room, &identity, role)).unwrap();
        let joined = signal.must("join", &join_request(&caller));
        let answer = joined["answer"].as_str().unwrap();
        let media = candidate_of(answer);
        caller.take_answer(answer);
        Person { signal, caller, identity, joined, media }
    }

    /// Joins, and waits for media.
    pub fn join(server: &Server, room: &str, number: u32, role: &str) -> Person {
        let person = Person::join_with(server, room, number, role, |_| {});
        eventually("media connects", PATIENCE, || person.caller.seen().connected);
        person
    }

    /// Somebody who can send what no engine would, and waits for media.
    pub fn forger(server: &Server, room: &str, number: u32, role: &str) -> Person {
        let config = |number, address| ClientConfig { forges: true, ..ClientConfig::new(number, address) };
        let person = Person::join_as(server, room, number, role, Caller::new(number, config));
        eventually("media connects", PATIENCE, || person.caller.seen().connected);
        person
    }

    /// Shows camera and microphone.
    pub fn publish(&mut self) {
        for (source, name) in [(Source::Camera, "camera"), (Source::Microphone, "microphone")] {
            self.caller.publish(source);
            self.signal.must("publish", &json!({ "source": name }));
        }
    }

    /// Looks at somebody's camera.
    pub fn view(&mut self, publisher: &Person) {
        let picture =
            json!({ "participant": publisher.identity, "source": "camera", "width": 640, "height": 360 });
        self.signal.must("view", &json!({ "pictures": [picture] }));
    }
}

/// What a caller joins with.
pub fn join_request(caller: &Caller) -> Value {
    let sources: serde_json::Map<String, Value> = caller
        .sources()
        .into_iter()
        .map(|(mid, source)| {
            let name = serde_json::to_value(source).unwrap();
            (name.as_str().unwrap().to_owned(), json!(mid.to_string()))
        })
        .collect();
    json!({ "version": 1, "offer": caller.offer(), "sources": sources })
}

/// The first host candidate of an SDP answer.
pub fn candidate_of(answer: &str) -> SocketAddr {
    let line = answer.lines().find_map(|line| line.strip_prefix("a=candidate:")).unwrap();
    let fields: Vec<&str> = line.split(' ').collect();
    SocketAddr::new(fields[4].parse::<IpAddr>().unwrap(), fields[5].parse().unwrap())
}

/// A server with two people in a call, each seeing the other, while something is done to the server.
pub struct Scene {
    pub server: Server,
    pub alice: Person,
    pub bob: Person,
    begun: Instant,
    metronome: Metronome,
    baseline: u64,
    _turn: MutexGuard<'static, ()>,
}

impl Scene {
    /// Starts the server and the call.
    pub fn open(name: &str) -> Scene {
        Scene::open_with(name, &[])
    }

    /// The same with more arguments for the server.
    pub fn open_with(name: &str, more: &[&str]) -> Scene {
        // A scene that failed has nothing to do with the next.
        let turn = ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let server = Server::start(name, more);
        let mut alice = Person::join(&server, "bystanders", 1, "teacher");
        let mut bob = Person::join(&server, "bystanders", 2, "student");
        alice.publish();
        bob.publish();
        alice.view(&bob);
        bob.view(&alice);
        let both_see = |count: usize| {
            bob.caller.frames_of(1, Source::Camera) >= count
                && alice.caller.frames_of(2, Source::Camera) >= count
        };
        eventually("the bystanders see each other", PATIENCE, || both_see(15));
        let baseline = server.resident();
        let (begun, metronome) = (Instant::now(), Metronome::start());
        Scene { server, alice, bob, begun, metronome, baseline, _turn: turn }
    }

    /// How long the machine itself may have kept something from happening that passes three threads or processes: a picture
    /// those of its sender, the server and its viewer.
    pub fn stalled(&self) -> Duration {
        self.metronome.longest() * 3
    }

    /// What must hold after anything that was done.
    pub fn close(mut self) {
        assert!(self.server.runs(), "the server has ended:\n{}", self.server.log());
        for (viewer, publisher) in [(&self.bob, 1), (&self.alice, 2)] {
            for source in [Source::Camera, Source::Microphone] {
                let gap = viewer.caller.longest_gap(publisher, source, self.begun);
                let stalled = self.stalled();
                assert!(
                    gap <= FREEZE + stalled,
                    "{source:?} of {publisher} stood still for {gap:?} ({stalled:?})"
                );
            }
            let seen = viewer.caller.seen();
            assert_eq!((seen.losses, seen.astray), (0, 0));
            assert!(seen.violations.is_empty(), "{:?}", seen.violations);
        }
        for person in [&mut self.alice, &mut self.bob] {
            person.signal.idle();
            assert!(!person.signal.gone, "a bystander's signalling was closed");
            person.signal.must("sync", &json!({ "after": 0 }));
        }
        let readiness = http(self.server.http, "GET", "/readyz", &[], "");
        assert_eq!(readiness.status, 200, "{readiness:?}");
        let log = self.server.log();
        assert!(!log.contains("panicked"), "{log}");
        let lines = log.lines().count();
        assert!(lines <= LOG_LINES, "{lines} lines of log:\n{log}");
        let limit = self.baseline + MEMORY_SLACK;
        let mut resident = 0;
        let what = "memory returns to its baseline";
        eventually(what, Duration::from_secs(20), || {
            resident = self.server.resident();
            resident <= limit
        });
        let late = self.metronome.longest();
        eprintln!(
            "memory: {} KiB before, {} KiB after; late by {late:?}",
            self.baseline >> 10,
            resident >> 10
        );
    }
}

/// The instrument itself: a server that stands still is noticed.
#[test]
#[should_panic(expected = "stood still")]
fn a_freeze_is_noticed() {
    let scene = Scene::open("freeze");
    scene.server.freeze(Duration::from_secs(4));
    let (alice, bob) = (&scene.alice.caller, &scene.bob.caller);
    let frames = (alice.frames_of(2, Source::Camera), bob.frames_of(1, Source::Camera));
    eventually("pictures go on", PATIENCE, || {
        alice.frames_of(2, Source::Camera) > frames.0 + 10 && bob.frames_of(1, Source::Camera) > frames.1 + 10
    });
    scene.close();
}

/// And one whose log has filled.
#[test]
#[should_panic(expected = "lines of log")]
fn a_flooded_log_is_noticed() {
    let scene = Scene::open("log");
    let mut log = fs::OpenOptions::new().append(true).open(scene.server.folder.join("log")).unwrap();
    std::io::Write::write_all(&mut log, "line\n".repeat(LOG_LINES + 1).as_bytes()).unwrap();
    scene.close();
}
