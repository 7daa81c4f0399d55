//! A world of one node, links and people, in which chance follows from one seed (but for the order of resends, see [`Join::feedback`]).
//!
//! Time stands still until a test lets it run ([`World::run`], [`World::run_until`]); then the world goes from deadline to
//! deadline: datagrams arriving, the node's timeout, clients' timeouts. A datagram costs no time to handle. Signalling
//! (commands and answers) is immediate: what is measured is media.
//!
//! Everything that is always true is checked while the world runs and collected for [`World::assert_clean`]: the rules of the
//! [`decoder`](crate::decoder), and that slots carry what their `Slots` events say. str0m's own chance is seeded; DTLS' is not (keys, and when it
//! repeats a flight), so runs are compared by [`World::digest`], over what people see, not over bytes, and links spare DTLS unless
//! [`World::lossy_handshakes`] says otherwise.

mod person;
mod report;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use sfu::codec::Codec;
use sfu::id::{PeerId, RoomId};
use sfu::io::{
    AddPeer, Command, Datagram, Event, Importance, Input, Output, PeerPolicy, Picture, RecordedPacket,
    Transmit, Transport,
};
use sfu::media::{Audience, Source};
use sfu::{Node, NodeConfig};
use str0m::config::DtlsCert;

use crate::client::{Client, ClientConfig, Red};
use crate::clock::Clock;
use crate::link::{Link, LinkConfig};
use crate::rng::Rng;

use person::LossPlan;
pub use person::{Announced, Person, Seen, Sighting};

/// Steps at one instant after which something must be going round in circles.
const STEPS_AT_ONE_INSTANT: u32 = 200_000;
/// Unix time when a world begins.
const UNIX_TIME: Duration = Duration::from_secs(1_800_000_000);
/// How long after a slot has changed what it carries packets from before may still be decoded: repairs take time.
const GRACE: Duration = Duration::from_millis(1200);

/// Bytes of a datagram beyond its contents: IPv4 and UDP headers. A bottleneck counts them.
const LOWER_LAYERS: usize = 28;

/// A person's position in [`World::person`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Who(pub usize);

/// The class of teachers in tests.
pub const TEACHERS: Audience = Audience(1);
/// The class of students in tests.
pub const STUDENTS: Audience = Audience(2);

/// Everybody may send everything, and all see it (a seminar).
pub fn seminar() -> PeerPolicy {
    PeerPolicy { class: STUDENTS, publish: [Audience::EVERYBODY; Source::ALL.len()], ..PeerPolicy::default() }
}

/// The teacher of a lecture: seen and always heard by all.
pub fn teacher() -> PeerPolicy {
    PeerPolicy { class: TEACHERS, always_heard: true, importance: Importance::Teacher, ..seminar() }
}

/// A student of a lecture without the floor: its camera is seen by teachers, the rest by nobody.
pub fn student() -> PeerPolicy {
    let mut policy = PeerPolicy { class: STUDENTS, ..PeerPolicy::default() };
    policy.publish[Source::Camera.index()] = TEACHERS;
    policy
}

/// How somebody joins.
#[derive(Debug, Clone)]
pub struct Join {
    /// What it may do.
    pub policy: PeerPolicy,
    /// Its network, both ways.
    pub link: LinkConfig,
    /// Video slots of its offer.
    pub video_slots: usize,
    /// Sends nothing, ever: an offer of slots alone.
    pub viewer: bool,
    /// What it does with redundant audio.
    pub red: Red,
    /// RIDs of its camera; empty for none.
    pub rids: Vec<&'static str>,
    /// Notes each packet, not only each frame, in [`Person::sightings`].
    pub trace_packets: bool,
    /// Notes each frame in [`Person::sightings`]; off for crowds.
    pub note_frames: bool,
    /// Reports each packet (transport-wide feedback). The people's engine resends the streams of one turn in the order of a hash map, and the numbers
    /// that they get by it decide, now and then, what an estimate becomes. Without it, and without loss, a run follows from its seed in each
    /// detail; else it is the same but for such small differences.
    pub feedback: bool,
}

impl Default for Join {
    fn default() -> Self {
        Join {
            policy: seminar(),
            link: LinkConfig::delayed(Duration::from_millis(10)),
            video_slots: 9,
            viewer: false,
            red: Red::Receives,
            rids: vec!["q", "h", "f"],
            trace_packets: false,
            note_frames: true,
            feedback: true,
        }
    }
}

impl Join {
    /// With another policy.
    pub fn with(policy: PeerPolicy) -> Self {
        Join { policy, ..Join::default() }
    }

    /// Over another link.
    #[must_use]
    pub fn over(self, link: LinkConfig) -> Self {
        Join { link, ..self }
    }
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Delivery {
    at: Instant,
    /// Among those of one instant, the order in which they were sent.
    number: u64,
    to: Recipient,
    /// Public address of the person, on either way.
    public: SocketAddr,
    contents: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Recipient {
    Node,
    Person,
}

/// See the [module](self).
pub struct World {
    seed: u64,
    step: String,
    spare_handshakes: bool,
    obeys_encodings: bool,
    clock: Clock,
    rng: Rng,
    node: Node,
    node_at: SocketAddr,
    node_timeout: Instant,
    /// Commands and datagrams given to the node, and times it was woken.
    node_inputs: u64,
    probe: fn() -> u64,
    /// By how much the probe has grown inside the node.
    node_cost: u64,
    people: Vec<Person>,
    by_public: BTreeMap<SocketAddr, usize>,
    by_peer: BTreeMap<PeerId, usize>,
    deadlines: BTreeSet<(Instant, usize)>,
    queue: BinaryHeap<Reverse<Delivery>>,
    sent: u64,
    rooms: u64,
    addresses: u32,
    certificate: DtlsCert,
    events: Vec<(Instant, Event)>,
    strays: Vec<(SocketAddr, Vec<u8>)>,
    recorded: Vec<RecordedPacket>,
    /// The last number of the node's SRTCP to each person, by its sender. The node and its engine seal with one key, so each sender must be counted by
    /// one of them: else a nonce might come twice.
    reports: BTreeMap<(usize, u32), u32>,
    faults: Vec<String>,
    digest: u64,
}

impl std::fmt::Debug for World {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("World").field("seed", &self.seed).field("step", &self.step).finish_non_exhaustive()
    }
}

impl World {
    /// An empty world.
    pub fn new(seed: u64) -> Self {
        // str0m and its ICE agent draw from the thread's generator; a world lives on one thread.
        fastrand::seed(seed);
        let clock = Clock::new();
        let node_at = SocketAddr::from(([192, 0, 2, 1], 3478));
        let node = Node::new(
            NodeConfig { candidates: vec![node_at], tcp_candidates: Vec::new(), unix_time: UNIX_TIME },
            clock.now(),
        );
        let certificate = str0m::crypto::from_feature_flags()
            .dtls_provider
            .generate_certificate()
            .expect("the provider makes certificates");
        World {
            seed,
            step: "start".into(),
            spare_handshakes: true,
            obeys_encodings: true,
            node_timeout: clock.now(),
            clock,
            rng: Rng::new(seed),
            node,
            node_at,
            node_inputs: 0,
            probe: || 0,
            node_cost: 0,
            people: Vec::new(),
            by_public: BTreeMap::new(),
            by_peer: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            queue: BinaryHeap::new(),
            sent: 0,
            rooms: 0,
            addresses: 0,
            certificate,
            events: Vec::new(),
            strays: Vec::new(),
            recorded: Vec::new(),
            reports: BTreeMap::new(),
            faults: Vec::new(),
            digest: 0xCBF2_9CE4_8422_2325,
        }
    }

    /// Names what comes next; a failing test says in which step it was.
    pub fn step(&mut self, name: impl Into<String>) -> &mut Self {
        self.step = name.into();
        self
    }

    /// From now on links do to DTLS what they do to the rest. Such a run does not repeat in all its times: DTLS spreads its repeats
    /// by chance of its own.
    pub fn lossy_handshakes(&mut self) -> &mut Self {
        self.spare_handshakes = false;
        self
    }

    /// From here on nobody stops layers that the node says nobody needs, as clients that do not know of it.
    pub fn ignore_encodings(&mut self) -> &mut Self {
        self.obeys_encodings = false;
        self
    }

    /// Now.
    pub fn now(&self) -> Instant {
        self.clock.now()
    }

    /// The node.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Its address.
    pub fn node_at(&self) -> SocketAddr {
        self.node_at
    }

    /// A generator for the test's own choices.
    pub fn fork_rng(&mut self, label: u64) -> Rng {
        self.rng.fork(label)
    }

    /// Opens a room.
    pub fn open_room(&mut self) -> RoomId {
        self.rooms += 1;
        let room = RoomId(self.rooms);
        self.command(Command::OpenRoom { room });
        room
    }

    /// Brings somebody into a room; media may flow once time runs.
    ///
    /// # Panics
    /// If the node refuses the offer, or the client the answer.
    pub fn join(&mut self, room: RoomId, join: &Join) -> Who {
        let who = self.people.len();
        let local = self.new_address();
        let identity = u32::try_from(who + 1).expect("few people");
        let mut config = if join.viewer {
            ClientConfig::viewer(identity, local)
        } else {
            ClientConfig::new(identity, local)
        };
        config.video_slots = join.video_slots;
        config.red = join.red;
        config.certificate = Some(self.certificate.clone());
        config.trace_packets = join.trace_packets;
        for line in config.sends.iter_mut().filter(|line| line.source == Source::Camera) {
            line.rids.clone_from(&join.rids);
        }
        self.join_as(room, join, config)
    }

    /// The same with an offer of one's own; its identity must be the number of people so far plus one.
    ///
    /// # Panics
    /// As [`Self::join`].
    pub fn join_as(&mut self, room: RoomId, join: &Join, config: ClientConfig) -> Who {
        let who = self.people.len();
        let peer = PeerId(u64::from(config.identity));
        assert_eq!(config.identity as usize, who + 1, "identities count from 1");
        let public = config.local;
        let now = self.now();
        let client = Client::new(config, now);
        let (mut offer, sources) = (client.offer(), client.sources());
        if !join.feedback {
            offer = offer.replace(" transport-cc", " x-none");
        }
        let links = [0, 1].map(|_| Link::new(join.link, self.rng.fork(who as u64)));
        self.people.push(Person::new(client, peer, room, public, links, now, join));
        self.by_public.insert(public, who);
        self.by_peer.insert(peer, who);
        let policy = join.policy;
        self.command(Command::AddPeer(Box::new(AddPeer { room, peer, offer, sources, policy })));
        assert!(self.people[who].answered, "no answer for {peer:?}: {:?}", self.events.last());
        Who(who)
    }

    /// An address nobody has.
    pub fn new_address(&mut self) -> SocketAddr {
        self.addresses += 1;
        let [_, b, c, d] = self.addresses.to_be_bytes();
        SocketAddr::from(([10, b, c, d], 40_000))
    }

    /// Somebody leaves as the lesson sees it, and closes its connection.
    pub fn leave(&mut self, who: Who) {
        let peer = self.peer(who);
        self.command(Command::RemovePeer { peer });
        let now = self.now();
        self.people[who.0].client.close(now);
        self.people[who.0].gone = true;
        self.drive_person(who.0);
    }

    /// Somebody's machine dies: it neither sends nor hears anything more, and nobody tells the node.
    pub fn kill(&mut self, who: Who) {
        let person = &mut self.people[who.0];
        person.gone = true;
        if let Some(at) = person.deadline.take() {
            self.deadlines.remove(&(at, who.0));
        }
        self.by_public.remove(&person.public);
    }

    /// Somebody new joins from the address that another had.
    pub fn take_address(&mut self, of: Who) -> SocketAddr {
        self.people[of.0].public
    }

    /// Sends a source and says so.
    pub fn publish(&mut self, who: Who, source: Source, codec: Codec) {
        let now = self.now();
        self.people[who.0].client.publish(now, source, codec);
        self.drive_person(who.0);
        let peer = self.peer(who);
        self.command(Command::Publish { peer, source });
    }

    /// Says that a source is not sent any more, and stops it.
    pub fn unpublish(&mut self, who: Who, source: Source) {
        self.people[who.0].client.unpublish(source);
        self.drive_person(who.0);
        let peer = self.peer(who);
        self.command(Command::Unpublish { peer, source });
    }

    /// Says which pictures somebody shows: of whom, which, and how large.
    pub fn view(&mut self, who: Who, pictures: &[(Who, Source, u16, u16)]) {
        let peer = self.peer(who);
        let pictures = pictures
            .iter()
            .map(|&(of, source, width_px, height_px)| Picture {
                publisher: self.peer(of),
                source,
                width_px,
                height_px,
            })
            .collect();
        self.command(Command::View { peer, pictures });
    }

    /// Measures what the node does by something that grows while code runs (allocations, say), see [`Self::node_cost`].
    pub fn probe_node(&mut self, probe: fn() -> u64) {
        self.probe = probe;
    }

    /// Gives the node something.
    fn feed(&mut self, input: Input<'_>) {
        self.node_inputs += 1;
        let before = (self.probe)();
        self.node.handle(self.clock.now(), input);
        self.node_cost += (self.probe)() - before;
    }

    /// What the recorder was handed since the last call.
    pub fn take_recorded(&mut self) -> Vec<RecordedPacket> {
        std::mem::take(&mut self.recorded)
    }

    /// Gives the node a command.
    pub fn command(&mut self, command: Command) {
        self.feed(Input::Command(command));
        self.drive_node();
    }

    /// Acts on somebody's client, then takes what it sends.
    pub fn with_client<T>(&mut self, who: Who, act: impl FnOnce(&mut Client, Instant) -> T) -> T {
        let now = self.now();
        let result = act(&mut self.people[who.0].client, now);
        self.drive_person(who.0);
        result
    }

    /// A datagram reaches the node at once, from any address.
    pub fn inject(&mut self, source: SocketAddr, contents: &[u8]) {
        let datagram = Datagram { transport: Transport::Udp, source, destination: self.node_at, contents };
        self.feed(Input::Datagram(datagram));
        self.drive_node();
    }

    /// Changes somebody's network, both ways.
    pub fn set_link(&mut self, who: Who, config: LinkConfig) {
        let person = &mut self.people[who.0];
        person.up.set_config(config);
        person.down.set_config(config);
    }

    /// Changes somebody's network, one way each.
    pub fn set_links(&mut self, who: Who, up: LinkConfig, down: LinkConfig) {
        let person = &mut self.people[who.0];
        person.up.set_config(up);
        person.down.set_config(down);
    }

    /// Loses those of somebody's datagrams to the node for which `loses` says so: loss by plan, not by chance.
    pub fn lose_up(&mut self, who: Who, loses: impl FnMut(&[u8]) -> bool + 'static) {
        self.people[who.0].loses_up = Some(LossPlan(Box::new(loses)));
    }

    /// Somebody's address as the node sees it changes without its knowing: a NAT forgot it, or a phone changed cells. What is on
    /// its way to the old address is lost.
    pub fn rebind(&mut self, who: Who) -> SocketAddr {
        let fresh = self.new_address();
        let person = &mut self.people[who.0];
        let old = std::mem::replace(&mut person.public, fresh);
        self.by_public.remove(&old);
        self.by_public.insert(fresh, who.0);
        fresh
    }

    /// Somebody restarts ICE, with a new address or the one it has.
    pub fn restart_ice(&mut self, who: Who, new_address: bool) {
        let now = self.now();
        let local = new_address.then(|| self.rebind(who));
        let person = &mut self.people[who.0];
        person.client.restart_ice(now, local);
        person.answered = false;
        let (peer, offer) = (person.peer, person.client.offer());
        self.drive_person(who.0);
        self.command(Command::RestartPeer { peer, offer });
        assert!(self.people[who.0].answered, "no answer to the restart: {:?}", self.events.last());
    }

    /// Lets time pass.
    pub fn run(&mut self, time: Duration) {
        let end = self.now() + time;
        while self.advance(end) {}
    }

    /// Lets time pass until `done`, at most `limit`. How long it took, or nothing if it never was.
    pub fn run_until(&mut self, limit: Duration, mut done: impl FnMut(&World) -> bool) -> Option<Duration> {
        let start = self.now();
        let end = start + limit;
        loop {
            if done(self) {
                return Some(self.now() - start);
            }
            if !self.advance(end) {
                return done(self).then(|| self.now() - start);
            }
        }
    }

    /// Goes to the next deadline and does what is due; not beyond `end`. False when `end` is reached.
    fn advance(&mut self, end: Instant) -> bool {
        let mut next = self.node_timeout;
        if let Some(Reverse(delivery)) = self.queue.peek() {
            next = next.min(delivery.at);
        }
        if let Some((at, _)) = self.deadlines.first() {
            next = next.min(*at);
        }
        if next > end {
            self.clock.advance_to(end);
            return false;
        }
        self.clock.advance_to(next);
        let now = self.now();
        let mut steps = 0;
        loop {
            let mut idle = true;
            let mut for_node = false;
            while self.queue.peek().is_some_and(|Reverse(delivery)| delivery.at <= now) {
                let Some(Reverse(delivery)) = self.queue.pop() else { break };
                // One by one: of what it is given in one turn, the engine sends the streams in any order, and which packet is lost would
                // not follow from the seed. Batches are tested with the worker.
                let to_node = delivery.to == Recipient::Node;
                self.deliver(delivery);
                if to_node {
                    self.drive_node();
                }
                idle = false;
            }
            if self.node_timeout <= now {
                self.feed(Input::Timeout);
                for_node = true;
                idle = false;
            }
            if for_node {
                self.drive_node();
            }
            while let Some((at, who)) = self.deadlines.first().copied()
                && at <= now
            {
                self.deadlines.pop_first();
                self.people[who].deadline = None;
                self.people[who].client.handle_timeout(now);
                self.drive_person(who);
                idle = false;
                steps += 1;
                assert!(steps < STEPS_AT_ONE_INSTANT, "client {who} goes round in circles");
            }
            if idle {
                return true;
            }
            steps += 1;
            assert!(steps < STEPS_AT_ONE_INSTANT, "the node goes round in circles");
        }
    }

    fn deliver(&mut self, delivery: Delivery) {
        let now = self.now();
        match delivery.to {
            Recipient::Node => {
                let datagram = Datagram {
                    transport: Transport::Udp,
                    source: delivery.public,
                    destination: self.node_at,
                    contents: &delivery.contents,
                };
                self.feed(Input::Datagram(datagram));
            }
            Recipient::Person => {
                let Some(&who) = self.by_public.get(&delivery.public) else { return };
                let person = &mut self.people[who];
                let local = person.client.local();
                person.client.handle_datagram(now, self.node_at, local, &delivery.contents);
                self.drive_person(who);
            }
        }
    }

    /// Takes all that the node gives out.
    fn drive_node(&mut self) {
        let now = self.now();
        let mut batch = Vec::new();
        loop {
            let before = (self.probe)();
            let output = self.node.poll_output(now);
            self.node_cost += (self.probe)() - before;
            match output {
                Output::Timeout(at) => {
                    self.node_timeout = at;
                    break;
                }
                Output::Transmit(transmit) => {
                    self.note_report(&transmit);
                    batch.push(transmit);
                }
                Output::Event(event) => self.handle_event(event),
                Output::Record(packet) => self.recorded.push(packet),
            }
        }
        batch.sort_by_key(|transmit| (transmit.destination, stream_of(&transmit.contents)));
        for transmit in batch {
            let Some(&who) = self.by_public.get(&transmit.destination) else {
                self.strays.push((transmit.destination, transmit.contents));
                continue;
            };
            if transmit.source != self.node_at {
                self.faults.push(format!("the node sends from {}", transmit.source));
            }
            let link = &mut self.people[who].down;
            let arrivals = pass(link, now, &transmit.contents, self.spare_handshakes);
            self.enqueue(arrivals, Recipient::Person, transmit.destination, &transmit.contents);
        }
    }

    /// Each sender of reports is counted by one (see the field).
    fn note_report(&mut self, transmit: &Transmit) {
        let Some((ssrc, number)) = report_nonce(&transmit.contents) else { return };
        let Some(&who) = self.by_public.get(&transmit.destination) else { return };
        if self.reports.insert((who, ssrc), number).is_some_and(|before| number <= before) {
            self.faults.push(format!("{who}: two count the reports of {ssrc:x}, now at {number:x}"));
        }
    }

    fn enqueue(
        &mut self,
        arrivals: [Option<Instant>; 2],
        to: Recipient,
        public: SocketAddr,
        contents: &[u8],
    ) {
        for at in arrivals.into_iter().flatten() {
            self.sent += 1;
            let delivery = Delivery { at, number: self.sent, to, public, contents: contents.to_vec() };
            self.queue.push(Reverse(delivery));
        }
    }

    /// Takes all that a client gives out.
    fn drive_person(&mut self, who: usize) {
        let now = self.now();
        if self.people[who].gone
            && self.people[who].deadline.is_none()
            && !self.by_public.contains_key(&self.people[who].public)
        {
            return;
        }
        let mut batch: Vec<_> = std::iter::from_fn(|| self.people[who].client.poll_transmit()).collect();
        batch.sort_by_key(|transmit| stream_of(&transmit.contents));
        for transmit in batch {
            let person = &mut self.people[who];
            if person.keep_sent {
                person.sent.push(transmit.contents.clone());
            }
            if person.loses_up.as_mut().is_some_and(|plan| (plan.0)(&transmit.contents)) {
                continue;
            }
            let arrivals = pass(&mut person.up, now, &transmit.contents, self.spare_handshakes);
            let public = person.public;
            self.enqueue(arrivals, Recipient::Node, public, &transmit.contents);
        }
        while let Some(event) = self.people[who].client.poll_event() {
            self.handle_client_event(who, event);
        }
        let person = &mut self.people[who];
        let at = person.client.poll_timeout();
        if person.deadline != Some(at) {
            if let Some(old) = person.deadline.replace(at) {
                self.deadlines.remove(&(old, who));
            }
            self.deadlines.insert((at, who));
        }
    }
}

/// Sends a datagram over a link. str0m keeps its streams in hash maps, so which of them speak first at one instant, and which
/// stands for the sender in RTCP, is chance that no seed reaches; it must not decide what is lost. RTP is put in order before
/// ([`stream_of`]); RTCP of one instant shares its fate; DTLS is spared if so asked.
fn pass(link: &mut Link, now: Instant, datagram: &[u8], spare_handshakes: bool) -> [Option<Instant>; 2] {
    match datagram {
        // RFC 7983, section 7.
        [20..=63, ..] if spare_handshakes => link.handle_spared(now, datagram.len() + LOWER_LAYERS),
        // RFC 5761, section 4.
        [128..=191, 192..=223, ..] => link.handle_shared(now, datagram.len() + LOWER_LAYERS),
        _ => link.handle(now, datagram.len() + LOWER_LAYERS),
    }
}

/// A key that puts the datagrams of one instant in order: RTCP, then RTP by its stream, which it says in the clear (RFC 3711,
/// section 3). Within a stream the order is kept.
fn stream_of(datagram: &[u8]) -> (u8, [u8; 4]) {
    match datagram {
        [128..=191, kind @ 192..=223, high, low, ..] => (1, [*kind, *high, *low, 0]),
        [128..=191, _, _, _, _, _, _, _, a, b, c, d, ..] => (2, [*a, *b, *c, *d]),
        _ => (0, [0; 4]),
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("world: seed {}, step {:?}, at {:?}", self.seed, self.step, self.clock.elapsed());
        }
    }
}

/// What the nonce of an SRTCP packet is made of: its sender, and its number at the end (RFC 7714, section 9.1).
fn report_nonce(contents: &[u8]) -> Option<(u32, u32)> {
    let [128..=191, 192..=223, _, _, ssrc @ ..] = contents else { return None };
    let word = |bytes: &[u8]| Some(u32::from_be_bytes(bytes.try_into().ok()?));
    Some((word(ssrc.get(..4)?)?, word(contents.last_chunk::<4>()?)?))
}
