//! A participant's media over a real UDP socket: [`sim::client::Client`] on a thread of its own, as a browser would run it.

use std::collections::{BTreeMap, VecDeque};
use std::net::{SocketAddr, UdpSocket};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use sfu::codec::Codec;
use sfu::media::{Kind, Mid, Source};
use sim::client::{Client, ClientConfig, ClientEvent};

/// Something to do with the client on its thread.
type Order = Box<dyn FnOnce(&mut Client, Instant) + Send>;

/// How long an order may wait for a datagram to arrive.
const TICK: Duration = Duration::from_millis(5);

/// What a caller has seen so far.
#[derive(Debug, Default)]
pub struct Seen {
    /// Whether ICE and DTLS are up now.
    pub connected: bool,
    /// How often the connection was lost or closed.
    pub losses: u32,
    /// When each frame of each publisher's track was decoded.
    pub frames: BTreeMap<(u32, Source), Vec<Instant>>,
    /// Keyframe requests that came, with the layer.
    pub keyframe_requests: Vec<(Instant, Source, u8)>,
    /// The last datagrams that were sent, oldest first.
    pub sent: VecDeque<Vec<u8>>,
    /// What the decoders found wrong.
    pub violations: Vec<String>,
    /// RTP on m-lines that are no slots.
    pub astray: u64,
    /// Which datagrams are kept back, see [`Caller::hold`].
    hold: Option<fn(&[u8]) -> bool>,
    /// The datagrams that were, oldest first.
    pub held: VecDeque<Vec<u8>>,
}

/// Datagrams kept in [`Seen::sent`] and in [`Seen::held`].
const SENT: usize = 2_000;

/// See the [module](self).
pub struct Caller {
    /// Its number in every packet.
    pub identity: u32,
    /// Its address.
    pub address: SocketAddr,
    /// The socket of its media, for datagrams that a client would not send.
    pub socket: UdpSocket,
    offer: String,
    sources: Vec<(Mid, Source)>,
    seen: Arc<Mutex<Seen>>,
    orders: Option<Sender<Order>>,
    thread: Option<JoinHandle<()>>,
}

impl Caller {
    /// A caller on a loopback address, with its offer made by `config` (such as [`ClientConfig::new`]).
    pub fn new(identity: u32, config: impl FnOnce(u32, SocketAddr) -> ClientConfig) -> Caller {
        Caller::at("127.0.0.1:0", identity, config)
    }

    /// The same at a given address.
    pub fn at(address: &str, identity: u32, config: impl FnOnce(u32, SocketAddr) -> ClientConfig) -> Caller {
        let socket = UdpSocket::bind(address).unwrap();
        let address = socket.local_addr().unwrap();
        let client = Client::new(config(identity, address), Instant::now());
        let (offer, sources) = (client.offer(), client.sources());
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (orders, queue) = channel();
        let line = Line { socket: socket.try_clone().unwrap(), address, seen: seen.clone(), queue };
        let thread = std::thread::spawn(move || line.run(client));
        Caller { identity, address, socket, offer, sources, seen, orders: Some(orders), thread: Some(thread) }
    }

    /// Its SDP offer.
    pub fn offer(&self) -> String {
        self.offer.clone()
    }

    /// Which sending m-line is for which source.
    pub fn sources(&self) -> Vec<(Mid, Source)> {
        self.sources.clone()
    }

    /// Has something done with the client.
    pub fn order(&self, order: impl FnOnce(&mut Client, Instant) + Send + 'static) {
        let orders = self.orders.as_ref().expect("only dropped in drop");
        orders.send(Box::new(order)).expect("the caller's thread has panicked");
    }

    /// Takes the server's answer, and starts to connect.
    pub fn take_answer(&self, answer: &str) {
        let answer = answer.to_owned();
        self.order(move |client, now| client.handle_answer(now, &answer).expect("an answer to our offer"));
    }

    /// Starts to send a source.
    pub fn publish(&self, source: Source) {
        let codec = if source.kind() == Kind::Audio { Codec::Opus } else { Codec::Vp8 };
        self.order(move |client, now| client.publish(now, source, codec));
    }

    /// What it has seen so far.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("the caller's thread has panicked")
    }

    /// Keeps back what it would send from now on, where `held` says so; with `None`, nothing.
    pub fn hold(&self, held: Option<fn(&[u8]) -> bool>) {
        self.seen().hold = held;
    }

    /// How many frames of a publisher's track it has decoded.
    pub fn frames_of(&self, publisher: u32, source: Source) -> usize {
        self.seen().frames.get(&(publisher, source)).map_or(0, Vec::len)
    }

    /// The longest time without a frame of a publisher's track, from `since` (or the frame before) until now.
    pub fn longest_gap(&self, publisher: u32, source: Source, since: Instant) -> Duration {
        let seen = self.seen();
        let frames = seen.frames.get(&(publisher, source)).map_or(&[][..], Vec::as_slice);
        let first = frames.partition_point(|at| *at < since).saturating_sub(1);
        let mut longest = Duration::ZERO;
        let mut last = frames.get(first).copied().unwrap_or(since);
        for at in frames[first.min(frames.len())..].iter().copied().chain([Instant::now()]) {
            longest = longest.max(at.saturating_duration_since(last));
            last = at;
        }
        longest
    }
}

impl Drop for Caller {
    fn drop(&mut self) {
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            // A panic there has been printed, and a second one here would hide it.
            let _ = thread.join();
        }
    }
}

/// The caller's thread.
struct Line {
    socket: UdpSocket,
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    queue: Receiver<Order>,
}

impl Line {
    fn run(self, mut client: Client) {
        let mut buffer = [0; 2_048];
        loop {
            loop {
                match self.queue.try_recv() {
                    Ok(order) => order(&mut client, Instant::now()),
                    Err(std::sync::mpsc::TryRecvError::Empty) => break,
                    Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
                }
            }
            self.take(&mut client);
            let wait = client.poll_timeout().saturating_duration_since(Instant::now());
            let wait = wait.clamp(Duration::from_micros(200), TICK);
            self.socket.set_read_timeout(Some(wait)).expect("a time above zero");
            if let Ok((length, source)) = self.socket.recv_from(&mut buffer) {
                client.handle_datagram(Instant::now(), source, self.address, &buffer[..length]);
            }
            let now = Instant::now();
            if client.poll_timeout() <= now {
                client.handle_timeout(now);
            }
        }
    }

    /// Sends what the client has, and notes what happened to it.
    fn take(&self, client: &mut Client) {
        let mut seen = self.seen.lock().expect("only this thread panics with it");
        while let Some(out) = client.poll_transmit() {
            let kept = if seen.hold.is_some_and(|held| held(&out.contents)) {
                &mut seen.held
            } else {
                // Refusals by the kernel are losses, which media survives.
                let _ = self.socket.send_to(&out.contents, out.destination);
                &mut seen.sent
            };
            kept.push_back(out.contents);
            if kept.len() > SENT {
                kept.pop_front();
            }
        }
        while let Some(event) = client.poll_event() {
            match event {
                ClientEvent::Connected => seen.connected = true,
                ClientEvent::Disconnected | ClientEvent::Closed => {
                    seen.connected = false;
                    seen.losses += 1;
                }
                ClientEvent::KeyframeRequest { source, layer } => {
                    seen.keyframe_requests.push((Instant::now(), source, layer));
                }
                ClientEvent::Frame { frame, .. } => {
                    let track = (frame.stamp.publisher, frame.stamp.source);
                    seen.frames.entry(track).or_default().push(frame.at);
                }
                ClientEvent::Packet { .. } => {}
            }
        }
        seen.astray = client.counters().rtp_astray;
        let violations = client.slots().iter().flat_map(|slot| slot.decoder.violations());
        seen.violations = violations.map(|violation| format!("{violation:?}")).collect();
    }
}

/// Whether a datagram is DTLS (RFC 7983, section 7).
pub fn is_dtls(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(20..=63))
}

/// Whether it is SRTP or SRTCP.
pub fn is_media(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(128..=191))
}

/// Whether it is SRTP (RFC 5761, section 4).
pub fn is_rtp(datagram: &[u8]) -> bool {
    is_media(datagram) && !matches!(datagram.get(1), Some(192..=223))
}

/// Whether it is STUN.
pub fn is_stun(datagram: &[u8]) -> bool {
    matches!(datagram.first(), Some(0..=3))
}

/// Waits until something that another thread or process does holds.
pub fn eventually(what: &str, patience: Duration, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience;
    while !holds() {
        assert!(Instant::now() < deadline, "within {patience:?} it did not happen that {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
