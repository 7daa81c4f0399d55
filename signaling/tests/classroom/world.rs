//! A room with a clock, a token secret, a media machine that answers offers, and eyes on every output: whatever a test
//! does, the promises of `signaling::classroom` and `signaling::io` are checked on the way.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use sfu::id::{PeerId, RoomId};
use sfu::io::{Command, Event, OfferError, PeerPolicy, SenderLimit, Traffic};
use sfu::media::{Audience, Kind, Mid, Source};
use signaling::classroom::{Classroom, ClassroomConfig, JoinKind};
use signaling::io::{ConnectionId, Output, RecorderOrder, RequestId};
use signaling::lesson::{
    EventKind, LessonEvent, LessonState, Preset, RecordingEnd, RecordingLimit, RoomSettings,
};
use signaling::message::{
    Answer, EndReason, ErrorCode, ErrorReply, Join, Joined, Notice, ReceiveMode, Request, Resume,
};
use signaling::permission::{self, Role};
use signaling::time::{Now, Timestamp};
use signaling::token::{Claims, VerifiedToken, sign, verify};

pub const ROOM: RoomId = RoomId(7);
pub const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";
const START: Timestamp = Timestamp(1_795_253_400_000);

/// What was sent to one connection.
#[derive(Debug, Default)]
pub struct Inbox {
    pub notices: Vec<Notice>,
    pub closed: bool,
    /// The lesson as this client knows it.
    pub lesson: Option<LessonState>,
    pub kind: Option<JoinKind>,
    /// Whether it was told that somebody looks at small pictures of the room.
    pub is_looked_at: bool,
}

/// How the media machine does.
#[derive(Debug, Clone, PartialEq)]
pub enum MediaMood {
    Answers,
    Refuses(OfferError),
    IsSilent,
}

pub struct World {
    pub room: Classroom,
    pub now: Now,
    pub mood: MediaMood,
    pub inboxes: BTreeMap<ConnectionId, Inbox>,
    pub replies: BTreeMap<RequestId, Result<Answer, ErrorReply>>,
    pub log: Vec<LessonEvent>,
    pub commands: Vec<Command>,
    /// What the media machine holds.
    pub media: BTreeMap<PeerId, MediaPeer>,
    pub done: bool,
    /// A crowd comes in: what is checked for each of them against each other is checked afterwards.
    pub is_crowd: bool,
    /// How many there were.
    pub outputs: usize,
    /// Joins that the media machine has not answered, while it is silent.
    pub held: VecDeque<Event>,
    folded: Option<LessonState>,
    asked: BTreeMap<RequestId, (ConnectionId, String)>,
    identities: BTreeMap<ConnectionId, String>,
    owners: BTreeMap<PeerId, String>,
    answered: BTreeSet<PeerId>,
    joining: String,
    kinds: BTreeMap<RequestId, JoinKind>,
    lost: BTreeSet<ConnectionId>,
    connection_count: u64,
    request_count: u64,
    session_count: u64,
    answers: VecDeque<Event>,
    /// What each identity has asked for (`receive`), in its session.
    wishes: BTreeMap<String, (ReceiveMode, Option<u32>)>,
    /// What each token bounds, in MB; of those that were let in last.
    bounds: BTreeMap<String, Option<u32>>,
    /// Bytes that each identity has used in this lesson.
    used: BTreeMap<String, u64>,
    asks: BTreeMap<RequestId, Ask>,
    /// Whom the event is about that the media machine told last: nobody else learns of it.
    private: Option<String>,
    /// What the recorder knows.
    recorder: Option<Recorder>,
    /// What it was told.
    pub orders: Vec<RecorderOrder>,
    /// Whose class the packets for it are.
    pub handed_to: Audience,
}

/// A recording, as its recorder knows it.
#[derive(Debug)]
struct Recorder {
    recording: String,
    /// Whose packets have a name.
    peers: BTreeSet<PeerId>,
}

/// What a request is about, where the world has to know when it is granted.
enum Ask {
    Join { identity: String, budget: Option<u32> },
    Receive { identity: String, mode: ReceiveMode, budget: Option<u32> },
}

#[derive(Debug, Clone)]
pub struct MediaPeer {
    pub policy: PeerPolicy,
    pub published: BTreeSet<Source>,
    pub muted: BTreeSet<Source>,
    pub view: Vec<(PeerId, Source)>,
    pub receive_limit: Option<u64>,
    pub sender_limits: BTreeMap<Source, SenderLimit>,
    /// As the media machine has told last.
    pub traffic: Traffic,
}

pub fn config() -> ClassroomConfig {
    ClassroomConfig { event_backlog: 50, can_record: true, ..ClassroomConfig::default() }
}

pub fn token_in(room: &str, identity: &str, role: Role, now: Timestamp) -> VerifiedToken {
    bounded_token(room, identity, role, now, None)
}

/// With a budget, in MB.
pub fn bounded_token(
    room: &str,
    identity: &str,
    role: Role,
    now: Timestamp,
    budget_megabytes: Option<u32>,
) -> VerifiedToken {
    let claims = Claims {
        room: room.into(),
        identity: identity.into(),
        name: format!("name of {identity}"),
        role,
        expires_at_secs: now.as_secs() + 3600,
        not_before_secs: None,
        preset: None,
        title: None,
        budget_megabytes,
    };
    verify(SECRET, &sign(SECRET, &claims).unwrap(), now).unwrap()
}

pub fn offer() -> Join {
    let sources =
        [(Source::Microphone, "0"), (Source::Camera, "1"), (Source::Screen, "2"), (Source::ScreenAudio, "3")];
    Join {
        version: 1,
        offer: Some("v=0\r\n".into()),
        sources: sources.map(|(source, mid)| (source, mid.to_owned())).into(),
        resume: None,
    }
}

pub fn without_media() -> Join {
    Join { version: 1, offer: None, sources: BTreeMap::new(), resume: None }
}

pub fn resume(session: &str, after: u64) -> Join {
    Join { resume: Some(Resume { session: session.into(), after }), ..without_media() }
}

#[expect(clippy::disallowed_methods, reason = "a test needs some instant to begin with")]
fn some_instant() -> Instant {
    Instant::now()
}

impl World {
    pub fn new(preset: Preset) -> Self {
        World::with(RoomSettings::from_preset(preset, "Algebra"), config())
    }

    pub fn with(settings: RoomSettings, config: ClassroomConfig) -> Self {
        let now = Now { instant: some_instant(), wall: START };
        let room = Classroom::open(now, ROOM, "algebra-1".into(), "ab".repeat(16), settings, config);
        let mut world = World::around(room, now, Vec::new());
        world.drain();
        world
    }

    fn around(room: Classroom, now: Now, log: Vec<LessonEvent>) -> Self {
        World {
            room,
            now,
            mood: MediaMood::Answers,
            inboxes: BTreeMap::new(),
            replies: BTreeMap::new(),
            folded: LessonState::fold(&log),
            log,
            commands: Vec::new(),
            media: BTreeMap::new(),
            done: false,
            is_crowd: false,
            outputs: 0,
            held: VecDeque::new(),
            asked: BTreeMap::new(),
            identities: BTreeMap::new(),
            owners: BTreeMap::new(),
            answered: BTreeSet::new(),
            joining: String::new(),
            kinds: BTreeMap::new(),
            lost: BTreeSet::new(),
            connection_count: 0,
            request_count: 0,
            session_count: 0,
            answers: VecDeque::new(),
            wishes: BTreeMap::new(),
            bounds: BTreeMap::new(),
            used: BTreeMap::new(),
            asks: BTreeMap::new(),
            private: None,
            recorder: None,
            orders: Vec::new(),
            handed_to: Audience::NOBODY,
        }
    }

    /// kill -9, and the lesson goes on from what was stored.
    pub fn crash(self) -> Self {
        let state = LessonState::fold(&self.log).unwrap();
        let room = Classroom::restore(self.now, ROOM, state, self.log.clone(), config());
        let mut world = World::around(room, self.now, self.log);
        (world.connection_count, world.request_count) = (self.connection_count, self.request_count);
        world.session_count = self.session_count;
        world.drain();
        world
    }

    pub fn connection(&mut self) -> ConnectionId {
        self.connection_count += 1;
        ConnectionId(self.connection_count)
    }

    fn ask(&mut self, connection: ConnectionId) -> RequestId {
        self.request_count += 1;
        let request = RequestId(self.request_count);
        let identity = self.identities.get(&connection).cloned().unwrap_or_default();
        self.asked.insert(request, (connection, identity));
        request
    }

    pub fn join_as(
        &mut self,
        connection: ConnectionId,
        identity: &str,
        role: Role,
        kind: JoinKind,
        join: Join,
    ) -> RequestId {
        let token = token_in("algebra-1", identity, role, self.now.wall);
        self.join_with(connection, &token, kind, join)
    }

    pub fn join_with(
        &mut self,
        connection: ConnectionId,
        token: &VerifiedToken,
        kind: JoinKind,
        join: Join,
    ) -> RequestId {
        self.joining = token.identity().to_owned();
        self.identities.insert(connection, self.joining.clone());
        self.inboxes.entry(connection).or_default();
        let request = self.ask(connection);
        self.kinds.insert(request, kind);
        let (identity, budget) = (self.joining.clone(), token.budget_megabytes());
        self.asks.insert(request, Ask::Join { identity, budget });
        self.session_count += 1;
        let session = format!("session-{}", self.session_count);
        self.room.handle_join(self.now, connection, request, token, session, kind, join);
        self.drain();
        request
    }

    /// Joins with media on a new connection, and must get in.
    pub fn enter(&mut self, identity: &str, role: Role) -> ConnectionId {
        let connection = self.connection();
        let request = self.join_as(connection, identity, role, JoinKind::Client, offer());
        self.joined(request);
        connection
    }

    pub fn try_join(&mut self, identity: &str, role: Role, join: Join) -> Result<Answer, ErrorCode> {
        let connection = self.connection();
        let request = self.join_as(connection, identity, role, JoinKind::Client, join);
        self.result(request)
    }

    pub fn joined(&self, request: RequestId) -> &Joined {
        match &self.replies[&request] {
            Ok(Answer::Joined(joined)) => joined,
            other => panic!("not joined: {other:?}"),
        }
    }

    pub fn request(&mut self, connection: ConnectionId, message: Request) -> RequestId {
        let request = self.ask(connection);
        if let Request::Receive { mode, budget_megabytes: budget } = message {
            let identity = self.identities.get(&connection).cloned().unwrap_or_default();
            self.asks.insert(request, Ask::Receive { identity, mode, budget });
        }
        self.room.handle_request(self.now, connection, request, message);
        self.drain();
        request
    }

    pub fn result(&self, request: RequestId) -> Result<Answer, ErrorCode> {
        self.replies[&request].clone().map_err(|error| error.code)
    }

    /// Asks, and gives the answer.
    pub fn says(&mut self, connection: ConnectionId, message: Request) -> Result<Answer, ErrorCode> {
        let request = self.request(connection, message);
        self.result(request)
    }

    pub fn gone(&mut self, connection: ConnectionId) {
        self.lost.insert(connection);
        self.room.handle_gone(self.now, connection);
        self.drain();
    }

    /// An operator asks for the wall. Gives whether that is a new look.
    pub fn look(&mut self, looker: &str) -> bool {
        let is_new = self.room.handle_look(self.now, looker);
        self.drain();
        is_new
    }

    pub fn recorder_ended(&mut self, recording: &str, reason: RecordingEnd) {
        self.room.handle_recorder_ended(self.now, recording, reason);
        self.drain();
    }

    pub fn recorder_limited(&mut self, recording: &str, limit: Option<RecordingLimit>) {
        self.room.handle_recorder_limited(self.now, recording, limit);
        self.drain();
    }

    pub fn shutdown(&mut self) {
        self.room.handle_shutdown(self.now);
        self.drain();
    }

    pub fn media_says(&mut self, event: Event) {
        if let Event::Traffic { peers, .. } = &event
            && !self.done
        {
            for (peer, traffic) in peers.iter().filter(|(peer, _)| self.answered.contains(peer)) {
                let Some(media) = self.media.get_mut(peer) else { continue };
                let before = std::mem::replace(&mut media.traffic, *traffic);
                let more =
                    traffic.sent_bytes - before.sent_bytes + traffic.received_bytes - before.received_bytes;
                *self.used.entry(self.owners[peer].clone()).or_default() += more;
            }
        }
        let viewer = match &event {
            Event::Pictures { peer, .. } | Event::Encodings { peer, .. } => self.owners.get(peer).cloned(),
            _ => None,
        };
        self.private = viewer;
        self.room.handle_media(self.now, event);
        self.drain();
        self.private = None;
    }

    /// Lets time pass, with the timeouts on their way.
    pub fn pass(&mut self, duration: Duration) {
        let end = self.now.instant + duration;
        loop {
            let due = self.room.poll_timeout().filter(|due| *due <= end);
            let next = due.unwrap_or(end).max(self.now.instant);
            self.now.wall = self.now.wall.plus(next - self.now.instant);
            self.now.instant = next;
            if due.is_none() {
                return;
            }
            self.room.handle_timeout(self.now);
            self.drain();
        }
    }

    /// The media connection of somebody.
    pub fn peer(&self, identity: &str) -> PeerId {
        self.peer_of(identity).unwrap_or_else(|| panic!("{identity} has no media connection"))
    }

    pub fn peer_of(&self, identity: &str) -> Option<PeerId> {
        let mut mine = self
            .answered
            .iter()
            .filter(|peer| self.media.contains_key(peer) && self.owners[peer] == identity);
        let peer = mine.next().copied();
        assert_eq!(mine.next(), None, "{identity} has two media connections");
        peer
    }

    pub fn inbox(&self, connection: ConnectionId) -> &Inbox {
        &self.inboxes[&connection]
    }

    pub fn ended(&self, connection: ConnectionId) -> Option<EndReason> {
        self.inboxes.get(&connection)?.notices.iter().find_map(|notice| match notice {
            Notice::Ended { reason } => Some(*reason),
            _ => None,
        })
    }

    pub fn kinds(&self) -> Vec<&EventKind> {
        self.log.iter().map(|event| &event.kind).collect()
    }

    /// Lets the media machine answer what it has held back.
    pub fn release(&mut self) {
        self.mood = MediaMood::Answers;
        while let Some(event) = self.held.pop_front() {
            self.answers.push_back(event);
        }
        self.drain();
    }

    fn drain(&mut self) {
        loop {
            let mut replied = BTreeSet::new();
            while let Some(output) = self.room.poll_output() {
                let late = self.done && !matches!(output, Output::Reply { result: Err(_), .. });
                assert!(!late, "an output after Done: {output:?}");
                self.outputs += 1;
                self.carry_out(output, &mut replied);
            }
            match self.answers.pop_front() {
                Some(event) => {
                    if let Event::Answered { peer, .. } = &event {
                        self.answered.insert(*peer);
                    }
                    self.room.handle_media(self.now, event);
                }
                None => break,
            }
        }
        if !self.is_crowd {
            self.check();
        }
    }

    fn carry_out(&mut self, output: Output, replied: &mut BTreeSet<String>) {
        match output {
            Output::Log(event) => {
                assert_eq!(event.seq, self.log.len() as u64 + 1, "the log has no gaps");
                assert!(
                    self.log.last().is_none_or(|last| last.at <= event.at),
                    "the log's time never goes back"
                );
                // What a request causes is stored before it is acknowledged.
                assert!(
                    event.by.as_ref().is_none_or(|by| !replied.contains(by)),
                    "{event:?} after its reply"
                );
                match &mut self.folded {
                    Some(state) => state.apply(&event),
                    None => self.folded = LessonState::from_opened(&event),
                }
                self.log.push(event);
            }
            Output::Reply { connection, request, result } => {
                let (asked_on, identity) =
                    self.asked.remove(&request).expect("each request is replied to once");
                assert_eq!(asked_on, connection);
                if result.is_ok() {
                    replied.insert(identity);
                    let inbox = &self.inboxes[&connection];
                    if let (Some(JoinKind::Client), Some(lesson)) = (inbox.kind, &inbox.lesson) {
                        assert_eq!(
                            lesson.seq,
                            self.log.len() as u64,
                            "what a request caused is sent before its reply"
                        );
                    }
                }
                self.granted(request, &result);
                if let Ok(Answer::Joined(joined)) = &result {
                    self.inboxes.get_mut(&connection).unwrap().kind = Some(self.kinds[&request]);
                    self.take_joined(connection, joined);
                }
                if let Ok(Answer::Said { seq }) = &result {
                    assert!(*seq <= self.log.len() as u64);
                }
                self.replies.insert(request, result);
            }
            Output::Notify { connections, notice } => {
                assert!(!connections.is_empty());
                self.check_privacy(&connections, &notice);
                for connection in connections {
                    self.take_notice(connection, notice.clone());
                }
            }
            Output::Close { connection } => {
                assert!(self.ended(connection).is_some(), "closed without a word");
                self.inboxes.get_mut(&connection).unwrap().closed = true;
            }
            Output::Media(command) => self.take_command(command),
            Output::Recorder(order) => self.take_order(order),
            Output::Done => self.done = true,
        }
    }

    fn granted(&mut self, request: RequestId, result: &Result<Answer, ErrorReply>) {
        let Some(ask) = self.asks.remove(&request) else { return };
        match (ask, result) {
            (Ask::Join { identity, budget }, Ok(Answer::Joined(joined))) => {
                if !joined.resumed {
                    self.wishes.remove(&identity);
                }
                self.bounds.insert(identity, budget);
            }
            (Ask::Receive { identity, mode, budget }, Ok(_)) => {
                self.wishes.insert(identity, (mode, budget));
            }
            _ => {}
        }
    }

    /// Nobody learns how others' pictures do or what they use; and what they suffer from, only teachers and assistants.
    fn check_privacy(&self, connections: &[ConnectionId], notice: &Notice) {
        let identities = || connections.iter().map(|connection| &self.identities[connection]);
        match notice {
            Notice::Pictures { .. } | Notice::Encodings { .. } => {
                assert_eq!(connections.len(), 1);
                if let Some(private) = &self.private {
                    assert!(identities().eq([private]), "{notice:?} for {connections:?}");
                }
            }
            Notice::Usage(_) => assert_eq!(connections.len(), 1),
            Notice::Quality { participants } => {
                for entry in participants.iter().filter(|entry| !entry.trouble.is_empty()) {
                    for identity in identities().filter(|identity| **identity != entry.participant) {
                        let role = self.room.state().participants.get(identity).map(|found| found.role);
                        assert!(role.is_some_and(Role::is_staff), "{identity} learns {entry:?}");
                    }
                }
            }
            _ => {}
        }
    }

    /// What an identity is to be sent.
    fn limit_of(&self, identity: &str) -> Option<u64> {
        let (mode, own) = self.wishes.get(identity).copied().unwrap_or_default();
        let bound = self.bounds.get(identity).copied().flatten();
        let budget = own.into_iter().chain(bound).min().map(|megabytes| u64::from(megabytes) * 1_000_000);
        let used = self.used.get(identity).copied().unwrap_or_default();
        let is_over = |percent: u64| budget.is_some_and(|budget| used * 100 >= budget * percent);
        if is_over(100) || mode == ReceiveMode::AudioOnly {
            Some(0)
        } else if is_over(80) || mode == ReceiveMode::DataSaver {
            Some(250_000)
        } else {
            None
        }
    }

    fn take_joined(&mut self, connection: ConnectionId, joined: &Joined) {
        assert_eq!(joined.seq, self.log.len() as u64, "a join is acknowledged after it is stored");
        let inbox = self.inboxes.get_mut(&connection).unwrap();
        inbox.is_looked_at = false;
        if let Some(state) = &joined.state {
            assert_eq!(state.seq, joined.seq);
            inbox.lesson = Some((**state).clone());
        } else {
            // The client of the lost connection has it up to the number that it said; here: from the log.
            let events = joined.events.as_ref().unwrap();
            let had = self.log.len() - events.len();
            let whole: Vec<_> = self.log[..had].iter().chain(events).cloned().collect();
            assert_eq!(whole, self.log, "what was missed, and no more");
            inbox.lesson = LessonState::fold(&whole);
        }
    }

    fn take_notice(&mut self, connection: ConnectionId, notice: Notice) {
        let inbox = self.inboxes.get_mut(&connection).unwrap();
        assert!(!inbox.closed, "told after the end: {notice:?}");
        if let Notice::Lesson { events } = &notice {
            let lesson = inbox.lesson.as_mut().expect("events come after the join");
            for event in events {
                assert!(event.seq <= self.log.len() as u64, "sent before it is stored");
                assert_eq!(event.seq, lesson.seq + 1, "no gaps for a client");
                lesson.apply(event);
            }
        }
        if let Notice::Thumbnails { wanted } = notice {
            assert_ne!(inbox.is_looked_at, wanted, "told twice");
            inbox.is_looked_at = wanted;
        }
        inbox.notices.push(notice);
    }

    fn take_command(&mut self, command: Command) {
        self.commands.push(command.clone());
        match command {
            Command::AddPeer(add) => {
                assert_eq!((add.room, add.peer.0 >> 24), (ROOM, ROOM.0));
                let fresh = self.owners.insert(add.peer, self.joining.clone());
                assert_eq!(fresh, None, "peers are never used again");
                let peer = MediaPeer {
                    policy: add.policy,
                    published: BTreeSet::new(),
                    muted: BTreeSet::new(),
                    view: Vec::new(),
                    receive_limit: None,
                    sender_limits: BTreeMap::new(),
                    traffic: Traffic::default(),
                };
                self.media.insert(add.peer, peer);
                self.answer(add.peer);
            }
            Command::RestartPeer { peer, .. } => self.answer(peer),
            Command::RemovePeer { peer } => {
                self.media.remove(&peer);
            }
            Command::SetPolicy { peer, policy } => self.media.get_mut(&peer).unwrap().policy = policy,
            Command::Publish { peer, source } => {
                let media = self.media.get_mut(&peer).unwrap();
                assert_ne!(
                    media.policy.publish[source.index()],
                    Audience::NOBODY,
                    "published without permission"
                );
                media.published.insert(source);
                media.muted.remove(&source);
            }
            Command::Unpublish { peer, source } => {
                let media = self.media.get_mut(&peer).unwrap();
                assert!(media.published.remove(&source));
                assert!(!media.sender_limits.contains_key(&source), "a limit of what is not sent");
                media.muted.remove(&source);
            }
            Command::SetMuted { peer, source, muted } => {
                let media = self.media.get_mut(&peer).unwrap();
                assert!(media.published.contains(&source));
                if muted {
                    media.muted.insert(source)
                } else {
                    media.muted.remove(&source)
                };
            }
            Command::View { peer, pictures } => {
                let view: Vec<_> =
                    pictures.iter().map(|picture| (picture.publisher, picture.source)).collect();
                assert_eq!(view.iter().collect::<BTreeSet<_>>().len(), view.len(), "a picture twice");
                assert!(
                    view.iter()
                        .all(|(publisher, _)| self.media.contains_key(publisher) && *publisher != peer)
                );
                self.media.get_mut(&peer).unwrap().view = view;
            }
            Command::CloseRoom { .. } => self.media.clear(),
            Command::SetReceiveLimit { peer, video_bits_per_second } => {
                let media = self.media.get_mut(&peer).unwrap();
                assert_ne!(media.receive_limit, video_bits_per_second, "told twice");
                media.receive_limit = video_bits_per_second;
            }
            Command::SetSenderLimit { peer, source, limit } => {
                let media = self.media.get_mut(&peer).unwrap();
                assert!(media.published.contains(&source), "a limit of what is not sent");
                let before = match limit {
                    Some(limit) => media.sender_limits.insert(source, limit),
                    None => media.sender_limits.remove(&source),
                };
                assert_ne!(before, limit, "told twice");
            }
            Command::OpenRoom { .. } | Command::AddCandidate { .. } | Command::RecordKeyframe { .. } => {}
            Command::Record { audience, .. } => self.handed_to = audience,
        }
    }

    /// Nothing of those who have not agreed is told.
    fn take_order(&mut self, order: RecorderOrder) {
        let state = self.room.state();
        let may = |identity: &String| state.may_be_recorded(identity);
        let check_state = |told: &LessonState| {
            assert!(told.participants.keys().all(may) && told.hands.iter().chain(&told.floor).all(may));
            assert!(told.chat.iter().all(|message| may(&message.by)) && told.consents.is_empty());
        };
        match &order {
            RecorderOrder::Begin { recording, state } => {
                assert!(self.recorder.is_none(), "two recordings at once");
                check_state(state);
                self.recorder = Some(Recorder { recording: recording.clone(), peers: BTreeSet::new() });
            }
            RecorderOrder::Member { peer, identity, .. } => {
                assert!(may(identity) && self.owners[peer] == *identity);
                self.recorder.as_mut().unwrap().peers.insert(*peer);
            }
            RecorderOrder::MemberLeft { .. }
            | RecorderOrder::TrackEnded { .. }
            | RecorderOrder::Muted { .. }
            | RecorderOrder::Pause
            | RecorderOrder::Resume => assert!(self.recorder.is_some()),
            RecorderOrder::Event(event) => {
                let says =
                    matches!(event.kind, EventKind::Chat { .. }).then_some(event.by.as_ref()).flatten();
                assert!(event.kind.participant().map(str::to_owned).iter().chain(says).all(may), "{event:?}");
            }
            RecorderOrder::Snapshot(state) => check_state(state),
            RecorderOrder::Speaker { identity } => assert!(may(identity)),
            // After a crash there is none to stop.
            RecorderOrder::Stop => self.recorder = None,
        }
        self.orders.push(order);
    }

    fn answer(&mut self, peer: PeerId) {
        let slots = vec![(Mid::from("4"), Kind::Audio), (Mid::from("5"), Kind::Video)];
        let answered = Event::Answered { room: ROOM, peer, answer: "v=0 answer".into(), slots };
        match self.mood.clone() {
            MediaMood::Answers => self.answers.push_back(answered),
            MediaMood::IsSilent => self.held.push_back(answered),
            MediaMood::Refuses(error) => self.answers.push_back(Event::Refused { room: ROOM, peer, error }),
        }
    }

    /// What holds after each input.
    fn check(&self) {
        let state = self.room.state();
        assert_eq!(self.folded.as_ref(), Some(state), "the state is the fold of the log");
        for (connection, inbox) in &self.inboxes {
            let live =
                !inbox.closed && inbox.kind == Some(JoinKind::Client) && !self.lost.contains(connection);
            if let Some(lesson) = inbox.lesson.as_ref().filter(|_| live) {
                assert_eq!(lesson, state, "every client has the same lesson");
                assert_eq!(inbox.is_looked_at, self.room.is_looked_at(), "who is looked at knows it");
            }
        }
        for thumbnail in self.room.thumbnails() {
            assert!(self.room.is_looked_at(), "a picture that nobody looks at");
            let participant = &state.participants[&thumbnail.participant];
            let is_sent = participant.tracks.get(&thumbnail.source).is_some_and(|track| !track.muted);
            assert!(participant.present && is_sent, "a picture of what is not sent: {thumbnail:?}");
        }
        let recorded = self.recorder.as_ref().map(|recorder| &recorder.recording);
        assert_eq!(recorded, state.recording.as_ref().map(|recording| &recording.id));
        let writes = state.recording.as_ref().is_some_and(|recording| !recording.paused);
        let audience = if writes { permission::ARCHIVE } else { Audience::NOBODY };
        assert_eq!(self.handed_to, audience, "packets come while they are written");
        for peer in &self.answered {
            let Some(media) = self.media.get(peer) else { continue };
            let identity = &self.owners[peer];
            if let Some(recorder) = &self.recorder {
                let may = state.may_be_recorded(identity) && state.is_present(identity);
                assert!(!may || recorder.peers.contains(peer), "{identity} is recorded without a name");
            }
            let Some(participant) = state.participants.get(identity).filter(|found| found.present) else {
                assert!(media.published.is_empty());
                continue;
            };
            assert_eq!(self.peer_of(identity), Some(*peer));
            assert_eq!(media.receive_limit, self.limit_of(identity), "the budget and the wish of {identity}");
            let role = participant.role;
            let may_be_recorded = state.may_be_recorded(identity);
            let policy =
                permission::media_policy(role, &state.settings, state.has_floor(identity), may_be_recorded);
            if media.policy.class != Role::Recorder.class() {
                assert_eq!(media.policy, policy, "the media machine holds to the table");
            }
            let tracks: BTreeSet<Source> = participant.tracks.keys().copied().collect();
            assert_eq!(media.published, tracks, "the media machine and the lesson agree on tracks");
            let muted = participant.tracks.iter().filter(|(_, track)| track.muted).map(|(source, _)| *source);
            assert_eq!(media.muted, muted.collect());
        }
        for (_, participant) in state.present() {
            let has_floor =
                state.floor.iter().any(|holder| std::ptr::eq(participant, &state.participants[holder]));
            for source in participant.tracks.keys() {
                let audience = permission::audience(participant.role, &state.settings, has_floor, *source);
                assert_ne!(audience, Audience::NOBODY, "a track that its owner may not send");
            }
        }
        if self.done {
            assert!(self.room.has_ended() && self.asked.is_empty(), "ended with open requests");
            assert_eq!(self.room.poll_timeout(), None);
        }
    }

    /// Every request has its reply, and joins that wait are known.
    pub fn assert_all_replied(&self) {
        assert!(self.asked.is_empty(), "without a reply: {:?}", self.asked);
    }
}
