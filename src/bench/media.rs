//! The media of all participants: one thread that drives their clients over UDP.
//!
//! On loopback all participants share one port and have an address of 127/8 each, so that one system call takes in what came for
//! many: the generator must cost less than the server that it measures. To another machine each has a port of its own.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use sfu::codec::Codec;
use sfu::io::{Transmit, Transport};
use sfu::media::Source;
use sim::client::{Client, ClientEvent, VideoShape};

use super::histogram::Histogram;
use super::usage::own_thread;
use crate::udp::{ReceiveArena, SendArena, Socket, Waker, wait};

/// Batches taken from a socket before timers and sending have their turn.
const BATCHES: usize = 4;
/// Frames of a source whose sending time is remembered: seconds, at the highest rates.
const FRAMES_REMEMBERED: usize = 4096;
/// A client is not woken more often than this for its engine's sake; frames are sent when they are due.
const ENGINE_GRAIN: Duration = Duration::from_millis(1);
/// The same for one who sends: fine enough for its frames, and it ends.
const SENDER_GRAIN: Duration = Duration::from_micros(50);
/// How long many sockets rest when none had anything: there is no one descriptor to wait for.
const REST: Duration = Duration::from_micros(200);

/// A participant for the thread.
pub struct Joining {
    /// Its media, with the server's answer taken.
    pub client: Client,
    /// Its own socket, where the port is not shared.
    pub socket: Option<Socket>,
    /// When it set out to join.
    pub since: Instant,
    /// What it sends: microphone at this level in dBov, camera in this codec and shape.
    pub sends: Option<(i8, Codec, VideoShape)>,
}

/// What all participants have seen so far.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// Connected now.
    pub connected: usize,
    /// RTP packets received on slots, repairs unwrapped.
    pub packets: u64,
    /// Of these, packets behind a gap: repaired or overtaken.
    pub late: u64,
    /// Packets missing when a later one of their slot came.
    pub lost: u64,
    /// What a decoder would have stumbled over.
    pub violations: u64,
    /// Datagrams that the generator itself did not read in time.
    pub overflows: u64,
    /// From a publisher's send to the kernel's receive for a receiver, each packet.
    pub latency: Histogram,
    /// From setting out to connected media.
    pub connects: Histogram,
    /// CPU time of the generator's thread.
    pub cpu: Duration,
}

enum Order {
    Join(Box<Joining>),
    Pause,
    Leave(u32),
    Totals(Sender<Totals>),
}

/// The thread.
pub struct Media {
    thread: Option<JoinHandle<()>>,
    orders: Option<Sender<Order>>,
    waker: Arc<Waker>,
    server: IpAddr,
    /// The port that all share on loopback.
    port: Option<u16>,
}

impl Media {
    /// Starts the thread, for a server at this address.
    ///
    /// # Errors
    /// When the system gives no socket or thread.
    pub fn start(server: IpAddr) -> io::Result<Media> {
        let shared = match server {
            IpAddr::V4(v4) if v4.is_loopback() => Some(Socket::bind(0, [])?),
            _ => None,
        };
        let port = shared.as_ref().map(Socket::port);
        let waker = Arc::new(Waker::new()?);
        let (orders, inbox) = channel();
        let thread = std::thread::Builder::new().name("bench".into()).spawn({
            let waker = Arc::clone(&waker);
            move || Driver::new(shared, inbox, waker).run()
        })?;
        Ok(Media { thread: Some(thread), orders: Some(orders), waker, server, port })
    }

    /// An address for a participant (numbered from 1), and its socket where the port is not shared.
    ///
    /// # Errors
    /// When the system gives no socket.
    pub fn place(&self, identity: u32) -> io::Result<(SocketAddr, Option<Socket>)> {
        if let Some(port) = self.port {
            return Ok((SocketAddr::new(loopback(identity).into(), port), None));
        }
        // The address from which this machine reaches the server.
        let any: IpAddr = if self.server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { [0u16; 8].into() };
        let probe = std::net::UdpSocket::bind((any, 0))?;
        probe.connect((self.server, 9))?;
        let ip = probe.local_addr()?.ip();
        let socket = Socket::bind(0, [ip])?;
        Ok((SocketAddr::new(ip, socket.port()), Some(socket)))
    }

    /// Takes a participant in.
    pub fn join(&self, joining: Joining) {
        self.order(Order::Join(Box::new(joining)));
    }

    /// Ends what all send.
    pub fn pause(&self) {
        self.order(Order::Pause);
    }

    /// Closes a participant's connection.
    pub fn leave(&self, identity: u32) {
        self.order(Order::Leave(identity));
    }

    /// What was seen until now.
    pub fn totals(&self) -> Totals {
        let (reply, answer) = channel();
        self.order(Order::Totals(reply));
        answer.recv().expect("the media thread answers until it is dropped")
    }

    fn order(&self, order: Order) {
        // It ends only when the sender is dropped, or by a panic, which the next `totals` shows.
        let _ = self.orders.as_ref().expect("there until the drop").send(order);
        self.waker.wake();
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        self.orders = None;
        self.waker.wake();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The loopback address of a participant: 127.1.0.1 and up.
pub fn loopback(identity: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(0x7F01_0000 + identity)
}

struct Person {
    client: Client,
    port: usize,
    since: Instant,
    sends: Option<(i8, Codec, VideoShape)>,
    /// Its entry in the timers; an entry may be too early, never too late.
    armed: Option<Instant>,
    /// Highest sequence number of each slot.
    highest: Vec<Option<u64>>,
}

struct Driver {
    ports: Vec<Socket>,
    shared: bool,
    people: HashMap<u32, Person>,
    /// Whose address behind which port.
    owners: HashMap<(usize, IpAddr), u32>,
    timers: BinaryHeap<Reverse<(Instant, u32)>>,
    inbox: Receiver<Order>,
    waker: Arc<Waker>,
    sending: SendArena,
    out: Vec<Vec<Transmit>>,
    seen: Seen,
    overflows: Vec<u32>,
}

/// Counts, and when frames were sent.
#[derive(Default)]
struct Seen {
    totals: Totals,
    sent: HashMap<(u32, Source), Vec<(u32, SystemTime)>>,
    violations_of_the_gone: u64,
}

impl Driver {
    fn new(shared: Option<Socket>, inbox: Receiver<Order>, waker: Arc<Waker>) -> Self {
        let mut driver = Driver {
            ports: Vec::new(),
            shared: shared.is_some(),
            people: HashMap::new(),
            owners: HashMap::new(),
            timers: BinaryHeap::new(),
            inbox,
            waker,
            sending: SendArena::default(),
            out: Vec::new(),
            seen: Seen::default(),
            overflows: Vec::new(),
        };
        if let Some(socket) = shared {
            driver.add_port(socket);
        }
        driver
    }

    fn add_port(&mut self, socket: Socket) -> usize {
        self.ports.push(socket);
        self.out.push(Vec::new());
        self.overflows.push(0);
        self.ports.len() - 1
    }

    fn run(mut self) {
        let mut arena = ReceiveArena::default();
        loop {
            loop {
                match self.inbox.try_recv() {
                    Ok(order) => self.obey(order),
                    Err(std::sync::mpsc::TryRecvError::Empty) => break,
                    Err(std::sync::mpsc::TryRecvError::Disconnected) => return,
                }
            }
            let mut idle = true;
            for port in 0..self.ports.len() {
                idle &= !self.receive(port, &mut arena);
            }
            self.flush();
            idle &= !self.wake_the_due();
            if idle {
                self.rest();
            }
        }
    }

    fn rest(&mut self) {
        let now = Instant::now();
        let due = self.timers.peek().map_or(Duration::from_millis(20), |Reverse((at, _))| {
            at.saturating_duration_since(now).min(Duration::from_millis(20))
        });
        if !self.shared {
            std::thread::sleep(due.min(REST));
        } else if let Ok(ready) = wait(&self.ports[0], &self.waker, due)
            && ready.woken
        {
            self.waker.clear();
        }
    }

    fn obey(&mut self, order: Order) {
        let now = Instant::now();
        match order {
            Order::Join(joining) => {
                let Joining { client, socket, since, sends } = *joining;
                let port = match socket {
                    Some(socket) => self.add_port(socket),
                    None => 0,
                };
                let (id, local) = (client.identity(), client.local());
                self.owners.insert((port, local.ip()), id);
                let highest = vec![None; client.slots().len()];
                let person = Person { client, port, since, sends, armed: None, highest };
                self.people.insert(id, person);
                self.start_sending(id, now);
                self.collect(id, None);
            }
            Order::Pause => {
                for person in self.people.values_mut() {
                    person.client.unpublish(Source::Camera);
                    person.client.unpublish(Source::Microphone);
                }
            }
            Order::Leave(id) => {
                let Some(person) = self.people.get_mut(&id) else { return };
                person.client.close(now);
                self.collect(id, None);
                self.flush();
                if let Some(person) = self.people.remove(&id) {
                    self.seen.violations_of_the_gone += violations(&person.client);
                    self.owners.remove(&(person.port, person.client.local().ip()));
                }
            }
            Order::Totals(reply) => {
                let people = || self.people.values();
                let totals = &mut self.seen.totals;
                totals.connected = people().filter(|person| person.client.is_connected()).count();
                totals.violations = self.seen.violations_of_the_gone
                    + people().map(|person| violations(&person.client)).sum::<u64>();
                totals.overflows = self.overflows.iter().map(|count| u64::from(*count)).sum();
                totals.cpu = own_thread();
                // Whoever asked may have gone.
                let _ = reply.send(totals.clone());
            }
        }
    }

    fn start_sending(&mut self, id: u32, now: Instant) {
        let Some(person) = self.people.get_mut(&id) else { return };
        let Some((level, codec, shape)) = person.sends else { return };
        // Frames are numbered anew.
        self.seen.sent.retain(|(publisher, _), _| *publisher != id);
        person.client.publish(now, Source::Microphone, Codec::Opus);
        person.client.set_level(Source::Microphone, level);
        person.client.set_dtx(Source::Microphone, true);
        person.client.publish_with(now, Source::Camera, codec, &[shape]);
    }

    /// Takes in what is there for a port. Whether there was anything.
    fn receive(&mut self, port: usize, arena: &mut ReceiveArena) -> bool {
        let mut any = false;
        for _ in 0..BATCHES {
            // What is wrong with a socket here shows as people who are not connected.
            let Ok(count) = self.ports[port].receive(arena) else { break };
            if count == 0 {
                break;
            }
            any = true;
            if let Some(total) = arena.overflows() {
                self.overflows[port] = total;
            }
            let now = Instant::now();
            for datagram in arena.datagrams() {
                let Some(id) = datagram.destination.and_then(|ip| self.owners.get(&(port, ip))).copied()
                else {
                    continue;
                };
                if let Some(person) = self.people.get_mut(&id) {
                    let local = person.client.local();
                    person.client.handle_datagram(now, datagram.source, local, datagram.contents);
                    self.collect(id, datagram.arrival);
                }
            }
            if count < crate::udp::BATCH {
                break;
            }
        }
        any
    }

    /// Lets those go on who are due. Whether any was.
    fn wake_the_due(&mut self) -> bool {
        let mut any = false;
        while let Some(Reverse((at, id))) = self.timers.peek().copied()
            && at <= Instant::now()
        {
            any = true;
            self.timers.pop();
            let Some(person) = self.people.get_mut(&id).filter(|person| person.armed == Some(at)) else {
                continue;
            };
            person.armed = None;
            let now = Instant::now();
            person.client.handle_timeout(now);
            self.note_sent(id);
            self.collect(id, None);
            self.flush();
        }
        any
    }

    /// Remembers when the frames left that a client has just made.
    fn note_sent(&mut self, id: u32) {
        let Some(person) = self.people.get_mut(&id).filter(|person| person.sends.is_some()) else { return };
        let now = SystemTime::now();
        for source in [Source::Microphone, Source::Camera] {
            let frames = person.client.frames_sent(source, 0);
            let Some(frame) = frames.checked_sub(1) else { continue };
            let ring = self
                .seen
                .sent
                .entry((id, source))
                .or_insert_with(|| vec![(u32::MAX, SystemTime::UNIX_EPOCH); FRAMES_REMEMBERED]);
            let entry = &mut ring[frame as usize % FRAMES_REMEMBERED];
            if entry.0 != frame {
                *entry = (frame, now);
            }
        }
    }

    /// Takes what a client gives.
    fn collect(&mut self, id: u32, arrival: Option<SystemTime>) {
        let Some(person) = self.people.get_mut(&id) else { return };
        let totals = &mut self.seen.totals;
        while let Some(event) = person.client.poll_event() {
            match event {
                ClientEvent::Connected => totals.connects.record(person.since.elapsed()),
                ClientEvent::Packet { slot, stamp, seq } => {
                    totals.packets += 1;
                    match &mut person.highest[slot] {
                        Some(highest) if seq <= *highest => totals.late += 1,
                        Some(highest) => {
                            totals.lost += seq - *highest - 1;
                            *highest = seq;
                        }
                        first => *first = Some(seq),
                    }
                    let sent = self.seen.sent.get(&(stamp.publisher, stamp.source));
                    let sent = sent.map(|ring| ring[stamp.frame as usize % FRAMES_REMEMBERED]);
                    if let (Some((frame, sent)), Some(arrival)) = (sent, arrival)
                        && frame == stamp.frame
                    {
                        totals.latency.record(arrival.duration_since(sent).unwrap_or_default());
                    }
                }
                _ => {}
            }
        }
        while let Some(transmit) = person.client.poll_transmit() {
            self.out[person.port].push(Transmit {
                transport: Transport::Udp,
                source: transmit.source,
                destination: transmit.destination,
                contents: transmit.contents,
                forwarded: false,
            });
        }
        let due = person.client.poll_timeout();
        let grain = if person.sends.is_some() { SENDER_GRAIN } else { ENGINE_GRAIN };
        let due = due.max(Instant::now() + grain);
        if person.armed.is_none_or(|armed| armed > due) {
            person.armed = Some(due);
            self.timers.push(Reverse((due, id)));
        }
    }

    fn flush(&mut self) {
        for (socket, out) in self.ports.iter_mut().zip(&mut self.out) {
            if !out.is_empty() {
                socket.send(&mut self.sending, out);
                out.clear();
            }
        }
    }
}

fn violations(client: &Client) -> u64 {
    client.slots().iter().map(|slot| slot.decoder.violations().len() as u64).sum()
}
