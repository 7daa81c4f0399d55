//! A media worker: one thread that carries one [`sfu::Node`] with one UDP socket.
//!
//! Each turn of its loop waits for a datagram, a command or the node's next deadline; takes what is there (bounded, so that
//! nothing starves); lets the node work; and sends all that came of it in as few system calls as possible.
//!
//! **Queues.** Commands come through a bounded queue that never blocks its callers; events leave through the bounded queue
//! of the lessons, with a small overflow of the worker's own, as media never waits for lessons. Both bounds are below.
//!
//! **Panics.** A panic in the node is a bug. The thread does not take the process down: it logs what happened and ends, and
//! from then on [`WorkerHandle::send`] gives [`WorkerGone`] and [`WorkerHandle::is_alive`] is false, which `/readyz` shows. Other
//! workers go on. The rooms of the lost worker have no media until the process is started anew, which is what an
//! orchestrator does with a process that is not ready.

mod feed;

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use sfu::io::{Command, Datagram, Event, Input, Output, Transmit, Transport};
use sfu::{Node, NodeConfig};
use tokio::sync::mpsc;

use crate::addresses;
use crate::metrics::WorkerStats;
use crate::turn::{self, Datagrams, Turn};
use crate::udp::{Family, ReceiveArena, Received, SendArena, Socket, Waker, wait};

pub use feed::{Feed, FeedEnd};

/// Commands that may wait for a worker. A class sends a few a second, and a connection is limited to 20/s; a worker that is
/// this far behind has hung, and is treated as gone rather than waited for.
const COMMANDS: usize = 16_384;

/// Cheap commands (all but joins) that one turn takes: some microseconds each, so at most about a millisecond.
const COMMANDS_PER_TURN: usize = 128;

/// Offers that one turn answers. An offer costs 1 to 3 ms of CPU (parsing, keys), and media of all rooms waits for it.
const OFFERS_PER_TURN: usize = 1;

/// Frames of TCP connections that wait for a worker, and that one turn takes.
const FRAMES: usize = 4_096;
const FRAMES_PER_TURN: usize = 64;

/// Datagrams after which the node's output is sent while more wait in the batch: the first picture's packets leave before the
/// last one's are worked on. Not for a full batch: a worker that has fallen behind does more work the larger its steps are.
const STEP: usize = 16;

/// Transmits that are collected before they are sent: four full system calls, so that segments to one receiver find each
/// other, and little enough that the first does not wait long.
const TRANSMITS: usize = 256;

/// Events that wait here while the lessons' queue is full, before the fleeting ones (speakers, quality, which the next one
/// replaces) are dropped.
const WAITING_EVENTS: usize = 4_096;

/// Events that wait here before all are dropped: the lessons have hung, and memory must not grow.
const WAITING_EVENTS_HARD: usize = 65_536;

/// How soon full queues are tried again. The lessons have no way to wake the worker, and it is rare.
const RETRY: Duration = Duration::from_millis(5);

/// How often the node's counters are published.
const PUBLISH: Duration = Duration::from_millis(100);

/// Longest wait, so that figures of an idle worker are fresh and a stuck one can be told from an idle one.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Packets whose way through the kernel and the worker took longer than this did not: the wall clock was set.
const BELIEVABLE_LATENCY: Duration = Duration::from_secs(10);

/// Receive errors in a row after which the socket counts as broken.
const RECEIVE_ERRORS: u32 = 1_000;

/// At most one log line of a kind in this time.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// Settings of a worker.
#[derive(Debug)]
pub struct WorkerConfig {
    /// Its number, from 0, for names and logs.
    pub index: usize,
    /// Its UDP port; 0 takes any free one.
    pub port: u16,
    /// The addresses at which peers reach it, see [`addresses::candidates`]; with the port they make the candidates.
    pub candidate_ips: Vec<IpAddr>,
    /// Where TCP connections for it are taken ([`crate::tcp`]), if they are.
    pub stream_addr: Option<SocketAddr>,
    /// The relay, if its datagrams come to this worker's port too. It may be set later.
    pub relay: Option<Arc<OnceLock<Turn>>>,
    /// Where it counts.
    pub stats: Arc<WorkerStats>,
    /// Where packets for the recorder go; without it, or when it is full, they are counted and dropped: a disk never holds
    /// media back.
    pub records: Option<Feed>,
}

/// The worker's thread has ended, or has not taken a command for thousands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the media worker is gone")]
pub struct WorkerGone;

/// What TCP connections of clients bring.
#[derive(Debug)]
pub enum Inflow {
    /// A connection, and where datagrams for it go. It lives until the other end of that is dropped.
    Connected {
        /// Who has connected.
        client: SocketAddr,
        /// Takes datagrams for it.
        out: mpsc::Sender<Vec<u8>>,
    },
    /// A datagram.
    Frame {
        /// Who has sent it.
        client: SocketAddr,
        /// The address of ours that the client has connected to.
        local: IpAddr,
        /// What it holds.
        contents: Vec<u8>,
    },
}

/// Talks to a worker. When the last handle is dropped, the worker ends.
#[derive(Debug, Clone)]
pub struct WorkerHandle {
    /// Dropped before `shared`, so that the worker, woken by the drop of the latter, finds the queue closed.
    commands: SyncSender<Command>,
    inflow: SyncSender<Inflow>,
    shared: Arc<Shared>,
}

/// What the handles share among them, but not with the worker's thread.
#[derive(Debug)]
struct Shared {
    signals: Arc<Signals>,
    udp_addr: SocketAddr,
    candidates: Vec<SocketAddr>,
    stats: Arc<WorkerStats>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // Each handle drops its end of the queue first, so by now all are gone.
        self.signals.waker.wake();
    }
}

/// What handles and thread tell each other besides commands.
#[derive(Debug)]
struct Signals {
    waker: Waker,
    stop: AtomicBool,
    ended: AtomicBool,
}

impl WorkerHandle {
    /// Gives the worker a command. Never blocks.
    ///
    /// # Errors
    /// [`WorkerGone`] when its thread has ended, or has hung with a full queue.
    pub fn send(&self, command: Command) -> Result<(), WorkerGone> {
        match self.commands.try_send(command) {
            Ok(()) => {
                self.shared.signals.waker.wake();
                Ok(())
            }
            Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) => Err(WorkerGone),
        }
    }

    /// Gives the worker something of a TCP connection. Never blocks; false when it was lost, because the worker is behind or
    /// gone.
    pub fn take_in(&self, inflow: Inflow) -> bool {
        let is_taken = self.inflow.try_send(inflow).is_ok();
        if is_taken {
            self.shared.signals.waker.wake();
        }
        is_taken
    }

    /// Its figures.
    pub fn stats(&self) -> Arc<WorkerStats> {
        self.shared.stats.clone()
    }

    /// The address that its socket is bound to.
    pub fn udp_addr(&self) -> SocketAddr {
        self.shared.udp_addr
    }

    /// The addresses at which peers reach it.
    pub fn candidates(&self) -> &[SocketAddr] {
        &self.shared.candidates
    }

    /// Whether its thread runs.
    pub fn is_alive(&self) -> bool {
        !self.shared.signals.ended.load(Relaxed)
    }

    /// Ends the worker, after the commands sent so far.
    pub fn shutdown(&self) {
        self.shared.signals.stop.store(true, Relaxed);
        self.shared.signals.waker.wake();
    }
}

/// Binds the socket and starts the thread. Events of the node go to `events`.
///
/// # Errors
/// When the port is taken, no candidate fits the socket, or the system gives no socket or thread.
pub fn start(
    config: WorkerConfig,
    events: mpsc::Sender<Event>,
) -> io::Result<(WorkerHandle, JoinHandle<()>)> {
    let candidates_of = |socket: &Socket, port: u16| -> Vec<SocketAddr> {
        let usable = |ip: &&IpAddr| ip.is_ipv4() || socket.family() == Family::Dual;
        let ips = config.candidate_ips.iter().filter(usable);
        ips.map(|ip| SocketAddr::new(ip.to_canonical(), port)).collect()
    };
    // Without the machine's own addresses it can still send, from the address that the kernel picks.
    let own = addresses::own().unwrap_or_default();
    let socket = Socket::bind(config.port, own)?;
    let candidates = candidates_of(&socket, socket.port());
    let tcp_candidates: Vec<SocketAddr> = config.stream_addr.map_or_else(Vec::new, |at| {
        let all = candidates_of(&socket, at.port()).into_iter();
        // Who listens on 0.0.0.0 has no IPv6.
        all.filter(|candidate| candidate.is_ipv4() || at.is_ipv6()).collect()
    });
    if candidates.is_empty() {
        return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, "no address for media fits the socket"));
    }
    let (receive_buffer, send_buffer) = socket.buffers();
    tracing::info!(
        worker = config.index,
        udp_port = socket.port(),
        family = ?socket.family(),
        receive_buffer_bytes = receive_buffer,
        send_buffer_bytes = send_buffer,
        ?candidates,
        ?tcp_candidates,
        "media worker starts"
    );
    let now = Instant::now();
    let node = NodeConfig {
        candidates: candidates.clone(),
        tcp_candidates: tcp_candidates.clone(),
        unix_time: crate::clock::unix_time(),
    };
    let node = Node::new(node, now);
    let signals = Arc::new(Signals {
        waker: Waker::new()?,
        stop: AtomicBool::new(false),
        ended: AtomicBool::new(false),
    });
    let (command_sender, commands) = sync_channel(COMMANDS);
    let (inflow_sender, inflow) = sync_channel(FRAMES);
    let shared = Shared {
        signals: signals.clone(),
        udp_addr: socket.local_addr(),
        candidates: candidates.clone(),
        stats: config.stats.clone(),
    };
    let index = config.index;
    let thread = std::thread::Builder::new().name(format!("media-{index}")).spawn(move || {
        guard(index, &signals.clone(), move || {
            let streams = Streams { inflow, candidates: tcp_candidates, connected: HashMap::new() };
            Worker::new(&config, socket, node, candidates, streams, commands, signals, events, now).run()
        });
    })?;
    Ok((WorkerHandle { commands: command_sender, inflow: inflow_sender, shared: Arc::new(shared) }, thread))
}

/// Runs the worker and says how it ended, by a panic or not; the process goes on in either case.
fn guard(index: usize, signals: &Signals, body: impl FnOnce() -> io::Result<()>) {
    // Also when logging panics.
    let _ended = Ended(signals);
    // Nothing of the worker is used after a panic: it is dropped as a whole.
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => tracing::info!(worker = index, "media worker has ended"),
        Ok(Err(error)) => tracing::error!(worker = index, %error, "media worker has lost its socket"),
        Err(panic) => tracing::error!(
            worker = index,
            panic = panic_message(panic.as_ref()),
            "media worker has panicked; its rooms have no media until a restart"
        ),
    }
}

/// Says that the thread has ended, however it did.
struct Ended<'a>(&'a Signals);

impl Drop for Ended<'_> {
    fn drop(&mut self) {
        self.0.ended.store(true, Relaxed);
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// TCP connections, as the thread knows them.
struct Streams {
    inflow: Receiver<Inflow>,
    candidates: Vec<SocketAddr>,
    connected: HashMap<SocketAddr, mpsc::Sender<Vec<u8>>>,
}

impl Streams {
    /// False when the datagram was lost.
    fn send(&mut self, to: SocketAddr, contents: Vec<u8>) -> bool {
        match self.connected.get(&to).map(|out| out.try_send(contents)) {
            Some(Ok(())) => true,
            Some(Err(mpsc::error::TrySendError::Closed(_))) => {
                self.connected.remove(&to);
                false
            }
            // A client that takes too little loses the rest; one that is gone, all.
            Some(Err(mpsc::error::TrySendError::Full(_))) | None => false,
        }
    }
}

/// The relay, when its datagrams come to the worker's port.
struct Relay {
    turn: Arc<OnceLock<Turn>>,
    outbox: Arc<dyn Datagrams>,
    /// From the outbox.
    waiting: Receiver<Transmit>,
}

impl Relay {
    /// Whether the datagram was for the relay, and has gone there.
    fn takes(&self, received: &Received<'_>) -> bool {
        let Some(turn) = self.turn.get().filter(|_| turn::is_for_relay(received.contents)) else {
            return false;
        };
        turn.handle_datagram(&self.outbox, received.source, received.destination, received.contents);
        true
    }
}

/// What the relay sends by the worker's socket.
struct Outbox {
    queue: SyncSender<Transmit>,
    signals: Arc<Signals>,
}

impl Datagrams for Outbox {
    fn send(&self, from: Option<IpAddr>, to: SocketAddr, contents: Vec<u8>) -> bool {
        // Full: the network does not take what comes, and what is late is worth nothing.
        let taken = self.queue.try_send(turn::transmit(from, to, contents)).is_ok();
        if taken {
            self.signals.waker.wake();
        }
        taken
    }
}

/// The state of the thread.
struct Worker {
    index: usize,
    socket: Socket,
    node: Node,
    candidates: Vec<SocketAddr>,
    streams: Streams,
    relay: Option<Relay>,
    commands: Receiver<Command>,
    signals: Arc<Signals>,
    events: mpsc::Sender<Event>,
    /// Events that found the queue full, oldest first.
    waiting: VecDeque<Event>,
    records: Option<Feed>,
    stats: Arc<WorkerStats>,
    sending: SendArena,
    transmits: Vec<Transmit>,
    /// The last time that the node was told; it must not go back.
    node_time: Instant,
    /// When the node wants to be woken.
    node_timeout: Instant,
    published: Instant,
    receive_errors: u32,
    overflows: Option<u32>,
    trouble: LogLimit,
}

/// What one turn left undone.
#[derive(Default)]
struct Pending {
    /// There is more to take in at once.
    work: bool,
    /// No handle is left, or one has asked for the end.
    end: bool,
}

impl Worker {
    #[expect(
        clippy::too_many_arguments,
        reason = "called once, from `start`, which has just made all of them"
    )]
    fn new(
        config: &WorkerConfig,
        socket: Socket,
        node: Node,
        candidates: Vec<SocketAddr>,
        streams: Streams,
        commands: Receiver<Command>,
        signals: Arc<Signals>,
        events: mpsc::Sender<Event>,
        now: Instant,
    ) -> Self {
        let relay = config.relay.clone().map(|turn| {
            let (queue, waiting) = sync_channel(turn::DATAGRAMS_QUEUED);
            Relay { turn, outbox: Arc::new(Outbox { queue, signals: signals.clone() }), waiting }
        });
        Worker {
            index: config.index,
            socket,
            node,
            candidates,
            streams,
            relay,
            commands,
            signals,
            events,
            waiting: VecDeque::new(),
            records: config.records.clone(),
            stats: config.stats.clone(),
            sending: SendArena::default(),
            transmits: Vec::with_capacity(TRANSMITS),
            node_time: now,
            node_timeout: now,
            published: now,
            receive_errors: 0,
            overflows: None,
            trouble: LogLimit::default(),
        }
    }

    fn run(mut self) -> io::Result<()> {
        let mut received = ReceiveArena::default();
        let mut pending = Pending { work: true, end: false };
        let mut turn_start = Instant::now();
        loop {
            if !pending.work {
                let timeout = self.patience(turn_start);
                let ready = wait(&self.socket, &self.signals.waker, timeout)?;
                turn_start = Instant::now();
                if ready.woken {
                    self.signals.waker.clear();
                }
            }
            pending = self.turn(turn_start, &mut received)?;
            let turn_end = Instant::now();
            count(&self.stats.turns, 1);
            count(&self.stats.busy_ns, nanos(turn_end - turn_start));
            turn_start = turn_end;
            if turn_end.duration_since(self.published) >= PUBLISH || pending.end {
                self.published = turn_end;
                self.stats.store(&self.node.counters());
                self.streams.connected.retain(|_, out| !out.is_closed());
            }
            if pending.end && !pending.work {
                return Ok(());
            }
        }
    }

    /// How long to wait when nothing comes in.
    fn patience(&self, now: Instant) -> Duration {
        let wait = self.node_timeout.saturating_duration_since(now).min(LONGEST_WAIT);
        if self.waiting.is_empty() { wait } else { wait.min(RETRY) }
    }

    fn turn(&mut self, now: Instant, received: &mut ReceiveArena) -> io::Result<Pending> {
        let mut pending = self.take_commands(now);
        let (full, oldest) = self.take_datagrams(now, received)?;
        // A flood of datagrams does not keep a worker from ending.
        pending.work |= full && !pending.end;
        pending.work |= self.take_frames(now) && !pending.end;
        if self.node_timeout <= now {
            self.tell_node(now, Input::Timeout);
        }
        if let Some(relay) = &self.relay {
            let before = self.transmits.len();
            self.transmits.extend(relay.waiting.try_iter().take(TRANSMITS));
            // Who left the rest there has woken the worker already.
            pending.work |= self.transmits.len() - before == TRANSMITS && !pending.end;
        }
        self.drain_node(now, oldest);
        self.retry_events();
        Ok(pending)
    }

    fn take_commands(&mut self, now: Instant) -> Pending {
        // Read before the queue: what was sent before the order to stop is then still found below.
        let mut pending = Pending { work: false, end: self.signals.stop.load(Relaxed) };
        let mut offers = 0;
        for _ in 0..COMMANDS_PER_TURN {
            match self.commands.try_recv() {
                Ok(command) => {
                    offers +=
                        usize::from(matches!(command, Command::AddPeer(_) | Command::RestartPeer { .. }));
                    self.tell_node(now, Input::Command(command));
                    if offers >= OFFERS_PER_TURN {
                        pending.work = true;
                        return pending;
                    }
                }
                Err(TryRecvError::Empty) => return pending,
                Err(TryRecvError::Disconnected) => {
                    pending.end = true;
                    return pending;
                }
            }
        }
        pending.work = true;
        pending
    }

    /// Takes in a batch. Tells whether it was full, and when the oldest datagram arrived whose output is still in the node.
    fn take_datagrams(
        &mut self,
        now: Instant,
        arena: &mut ReceiveArena,
    ) -> io::Result<(bool, Option<Instant>)> {
        let messages = match self.socket.receive(arena) {
            Ok(0) => return Ok((false, None)),
            Ok(messages) => messages,
            Err(error) => {
                self.receive_errors += 1;
                count(&self.stats.receive_errors, 1);
                if self.receive_errors >= RECEIVE_ERRORS {
                    return Err(error);
                }
                if let Some(missed) = self.trouble.take(now) {
                    tracing::warn!(worker = self.index, %error, missed, "receiving media failed");
                }
                return Ok((true, None));
            }
        };
        self.receive_errors = 0;
        count(&self.stats.receive_calls, 1);
        count(&self.stats.oversize, arena.oversize() as u64);
        self.count_overflows(now, arena.overflows());
        let wall_now = SystemTime::now();
        let mut oldest: Option<Instant> = None;
        let full = messages == crate::udp::BATCH;
        for (i, received) in arena.datagrams().enumerate() {
            if i > 0 && i % STEP == 0 && !full {
                self.drain_node(Instant::now(), oldest.take());
            }
            if self.relay.as_ref().is_some_and(|relay| relay.takes(&received)) {
                continue;
            }
            let Some(destination) = candidate_for(&self.candidates, received.source, received.destination)
            else {
                count(&self.stats.unroutable, 1);
                continue;
            };
            let age = received.arrival.and_then(|arrival| wall_now.duration_since(arrival).ok());
            let arrival = age
                .filter(|age| *age < BELIEVABLE_LATENCY)
                .and_then(|age| now.checked_sub(age))
                .unwrap_or(now);
            oldest = Some(oldest.map_or(arrival, |oldest| oldest.min(arrival)));
            // Packets that waited in the kernel while the node worked are given the time at which it stopped.
            self.node_time = self.node_time.max(arrival);
            let datagram = Datagram {
                transport: Transport::Udp,
                source: received.source,
                destination,
                contents: received.contents,
            };
            self.node.handle(self.node_time, Input::Datagram(datagram));
        }
        Ok((full, oldest))
    }

    /// Takes in what TCP connections have brought. Tells whether there may be more.
    fn take_frames(&mut self, now: Instant) -> bool {
        for _ in 0..FRAMES_PER_TURN {
            match self.streams.inflow.try_recv() {
                Ok(Inflow::Connected { client, out }) => {
                    self.streams.connected.insert(client, out);
                }
                Ok(Inflow::Frame { client, local, contents }) => {
                    match candidate_for(&self.streams.candidates, client, Some(local)) {
                        Some(destination) => {
                            let datagram = Datagram {
                                transport: Transport::Tcp,
                                source: client,
                                destination,
                                contents: &contents,
                            };
                            self.tell_node(now, Input::Datagram(datagram));
                        }
                        None => count(&self.stats.unroutable, 1),
                    }
                }
                Err(_) => return false,
            }
        }
        true
    }

    fn count_overflows(&mut self, now: Instant, total: Option<u32>) {
        let Some(total) = total else { return };
        let lost = total.wrapping_sub(self.overflows.replace(total).unwrap_or(0));
        if lost > 0 {
            count(&self.stats.receive_overflows, u64::from(lost));
            if let Some(missed) = self.trouble.take(now) {
                tracing::warn!(worker = self.index, lost, missed, "media came faster than it could be read");
            }
        }
    }

    fn tell_node(&mut self, now: Instant, input: Input<'_>) {
        self.node_time = self.node_time.max(now);
        self.node.handle(self.node_time, input);
    }

    /// Takes all that the node gives out.
    fn drain_node(&mut self, now: Instant, oldest: Option<Instant>) {
        self.node_time = self.node_time.max(now);
        loop {
            match self.node.poll_output(self.node_time) {
                Output::Transmit(transmit) if transmit.transport == Transport::Tcp => {
                    let is_taken = self.streams.send(transmit.destination, transmit.contents);
                    count(&self.stats.send_errors, u64::from(!is_taken));
                }
                Output::Transmit(transmit) => {
                    self.transmits.push(transmit);
                    if self.transmits.len() >= TRANSMITS {
                        self.flush(oldest);
                    }
                }
                Output::Event(event) => self.publish(event),
                Output::Record(packet) => {
                    let taken = self.records.as_ref().is_some_and(|records| records.take(packet));
                    count(&self.stats.records_dropped, u64::from(!taken));
                }
                Output::Timeout(timeout) => {
                    self.node_timeout = timeout;
                    break;
                }
            }
        }
        self.flush(oldest);
    }

    /// Sends what was collected. `oldest` is the arrival of the oldest datagram behind it, from which forwarded packets
    /// are timed: the truth for a batch of one, an upper bound for more.
    fn flush(&mut self, oldest: Option<Instant>) {
        if self.transmits.is_empty() {
            return;
        }
        let sent = self.socket.send(&mut self.sending, &self.transmits);
        count(&self.stats.send_calls, sent.calls);
        count(&self.stats.send_errors, sent.dropped + sent.failed);
        if let Some(oldest) = oldest {
            let forwarded = self.transmits.iter().filter(|t| t.forwarded).count() as u64;
            if forwarded > 0 {
                self.stats.forward_latency.record_many(oldest.elapsed(), forwarded);
            }
        }
        self.transmits.clear();
    }

    fn publish(&mut self, event: Event) {
        let event = if self.waiting.is_empty() {
            match self.events.try_send(event) {
                Ok(()) => return,
                Err(mpsc::error::TrySendError::Full(event)) => event,
                // The process ends: nobody wants to know.
                Err(mpsc::error::TrySendError::Closed(_)) => return count(&self.stats.events_dropped, 1),
            }
        } else {
            event
        };
        let fleeting =
            matches!(event, Event::Speakers { .. } | Event::Quality { .. } | Event::Traffic { .. });
        let room = if fleeting { WAITING_EVENTS } else { WAITING_EVENTS_HARD };
        if self.waiting.len() < room {
            count(&self.stats.events_delayed, 1);
            self.waiting.push_back(event);
        } else {
            count(&self.stats.events_dropped, 1);
            if let Some(missed) = self.trouble.take(self.node_time) {
                tracing::warn!(worker = self.index, missed, "lessons do not take media events");
            }
        }
    }

    fn retry_events(&mut self) {
        while let Some(event) = self.waiting.pop_front() {
            match self.events.try_send(event) {
                Ok(()) => {}
                Err(mpsc::error::TrySendError::Full(event)) => {
                    self.waiting.push_front(event);
                    return;
                }
                Err(mpsc::error::TrySendError::Closed(_)) => {
                    count(&self.stats.events_dropped, 1 + self.waiting.len() as u64);
                    self.waiting.clear();
                }
            }
        }
    }
}

/// The candidate that a datagram was sent to: the one with its address; or, when the address is translated on the way (a
/// public address that this machine does not have), the first of its family. ICE knows only candidates.
fn candidate_for(
    candidates: &[SocketAddr],
    source: SocketAddr,
    destination: Option<IpAddr>,
) -> Option<SocketAddr> {
    let exact = candidates.iter().find(|candidate| Some(candidate.ip()) == destination);
    exact.or_else(|| candidates.iter().find(|candidate| candidate.is_ipv4() == source.is_ipv4())).copied()
}

/// Adds to a count that only this thread writes.
fn count(counter: &AtomicU64, by: u64) {
    if by > 0 {
        counter.store(counter.load(Relaxed).wrapping_add(by), Relaxed);
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Lets a line through once in [`LOG_INTERVAL`], as an attacker must not fill the disk.
#[derive(Default)]
struct LogLimit {
    last: Option<Instant>,
    missed: u64,
}

impl LogLimit {
    /// When the line may be logged: how many before it were not.
    fn take(&mut self, now: Instant) -> Option<u64> {
        if self.last.is_some_and(|last| now.duration_since(last) < LOG_INTERVAL) {
            self.missed += 1;
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.missed))
    }
}

#[cfg(test)]
mod tests;
