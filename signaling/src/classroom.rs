//! A live room: who is in it, what they may do, and what happens there.
//!
//! # Driving it
//!
//! A [`Classroom`] is one state machine without clock, socket or file. The owner calls one `handle_*` with the time,
//! then [`Classroom::poll_output`] until it gives `None`, carrying the outputs out in order (see [`Output`] for what
//! must wait for the disk), then waits for input, at most until [`Classroom::poll_timeout`].
//!
//! - Each [`Classroom::handle_join`] and [`Classroom::handle_request`] is replied to exactly once; a join with an offer and
//!   a `restart` only after the media machine has answered.
//! - Lesson events that a request caused are sent to everybody before its reply.
//! - The owner calls [`Classroom::handle_gone`] for every connection that it has named here and that is lost. After
//!   [`Output::Close`] of a connection it hands in nothing more of it (one more `handle_gone` does no harm).
//! - [`Output::Done`] is the last output, but for refusals of requests that come still: the classroom has ended, and a later
//!   join needs a new one.
//!
//! A panic means a bug here, never bad input.

mod adapt;
mod chat;
mod deadlines;
mod hands;
mod join;
mod leave;
mod log;
mod media;
mod moderation;
mod newcomer;
mod policy;
mod quality;
mod rate;
mod recording;
mod request;
mod session;
mod summary;
mod tracks;
mod view;
mod wall;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use sfu::id::{PeerId, RoomId};
use sfu::io::{Command, PeerPolicy, Picture, Quality};
use sfu::media::{Kind, Mid, Source};

pub use self::adapt::{DATA_SAVER_BITS_PER_SECOND, ReducedPictures};
use self::deadlines::{Deadline, Deadlines};
use self::rate::Bucket;
pub use self::summary::{ParticipantSummary, Summary};
pub use self::wall::{LOOK, THUMBNAILS_MAX, Thumbnail};
use crate::io::{ConnectionId, Output, RequestId};
use crate::lesson::{EventKind, LessonEvent, LessonState, RecordingEnd, RoomSettings};
use crate::message::{Answer, ErrorCode, ErrorReply, IceServer, Notice, ViewPicture};
use crate::permission::{Permission, Role};
use crate::time::{Now, Timestamp};

/// Settings of the server that a classroom needs.
#[derive(Debug, Clone)]
pub struct ClassroomConfig {
    /// How long a participant is kept of whom nothing is heard any more: neither connection nor media.
    pub resume_grace: Duration,
    /// How long one is kept whose connection was lost, and whose media goes on.
    pub media_grace: Duration,
    /// How long a room without participants stays open.
    pub empty_close: Duration,
    /// How long the media machine may take to answer an offer.
    pub media_answer: Duration,
    /// How long a WHIP or WHEP participant may be without a media connection, which is all it has.
    pub media_silence: Duration,
    /// For the `RTCPeerConnection` of clients; given with each join. Credentials that are made per participant are put into the
    /// reply by the shell.
    pub ice_servers: Vec<IceServer>,
    /// How many of the last events are kept for `sync` and resume; beyond them a client gets the state.
    pub event_backlog: usize,
    /// Whether there is a recorder.
    pub can_record: bool,
    /// Whether a participant is put out when its token expires. By default a token is tested at the join and at a resume
    /// only, so that nobody drops out of a class that runs late.
    pub end_at_token_expiry: bool,
}

impl Default for ClassroomConfig {
    fn default() -> Self {
        ClassroomConfig {
            resume_grace: Duration::from_secs(30),
            // A gateway that is started anew, a proxy that is exchanged. Longer, and somebody who is heard hears of nothing and can
            // be told nothing: a teacher who ends the class, among others.
            media_grace: Duration::from_secs(120),
            empty_close: Duration::from_secs(300),
            media_answer: Duration::from_secs(10),
            media_silence: Duration::from_secs(30),
            ice_servers: Vec::new(),
            event_backlog: 2000,
            can_record: false,
            end_at_token_expiry: false,
        }
    }
}

/// What kind of client joins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum JoinKind {
    /// One that speaks this protocol.
    Client,
    /// A WHIP resource (RFC 9725): what its offer sends is published by itself; it is told nothing but its end.
    Whip,
    /// A WHEP resource: its view is the stage, kept up to date here; it is told nothing but its end.
    Whep,
}

/// See the [module's page](self) for how to drive it.
#[derive(Debug)]
pub struct Classroom {
    id: RoomId,
    config: ClassroomConfig,
    state: LessonState,
    /// The last events, ending with number `state.seq`.
    backlog: VecDeque<LessonEvent>,
    /// The time of the last event: the log's times never go back, even if the wall clock does.
    last_at: Timestamp,
    /// Sessions by identity. A participant that is present in `state` without a session here was restored and may come back.
    members: BTreeMap<String, Member>,
    /// Every connection that has asked to join and is not gone.
    connections: BTreeMap<ConnectionId, Connection>,
    /// Joins that wait for the media machine, by the peer that they will have.
    pending: BTreeMap<PeerId, join::Pending>,
    /// Whose media connection it is.
    peers: BTreeMap<PeerId, String>,
    /// Roles that a teacher has given in this lesson; they outlive a rejoin, whatever the token says.
    given_roles: BTreeMap<String, Role>,
    /// What each class of viewers was last told about speakers.
    last_speakers: BTreeMap<u8, Notice>,
    /// Who spoke last in the recording.
    recorded_speaker: Option<String>,
    /// What each identity has used in this lesson, also those who have left.
    meters: BTreeMap<String, adapt::Meter>,
    reduced: ReducedPictures,
    wall: wall::Wall,
    deadlines: Deadlines,
    peer_count: u64,
    /// Something was logged since WHEP players were last sent the stage.
    stage_is_old: bool,
    /// Logged, not yet sent.
    unsent: Vec<LessonEvent>,
    outputs: VecDeque<Output>,
    ended: bool,
}

/// A session.
#[derive(Debug)]
struct Member {
    kind: JoinKind,
    /// Not shown, not counted, not in the lesson's state.
    is_recorder: bool,
    /// The secret that resumes it.
    session: String,
    connection: Option<ConnectionId>,
    media: Option<Media>,
    /// What its client shows, for when peers come and go.
    view: Vec<ViewPicture>,
    /// What it was last told.
    permissions: BTreeSet<Permission>,
    chats: Bucket,
    thumbnails: Bucket,
    wishes: adapt::Wishes,
}

/// A media connection of a member.
#[derive(Debug)]
struct Media {
    peer: PeerId,
    /// What its m-lines can send; nothing named means WHIP's microphone and camera.
    sources: BTreeSet<Source>,
    slots: Vec<SlotState>,
    /// What the media machine was last told.
    policy: PeerPolicy,
    /// As the media machine last said; nothing until it first does.
    connected: Option<bool>,
    quality: Quality,
    /// A `restart` that waits for the media machine.
    restart: Option<(ConnectionId, RequestId)>,
    /// Restarts that were given up; their answers are dropped.
    stale_restarts: u32,
    /// The view of a WHEP player, as last sent.
    stage: Vec<Picture>,
    flow: adapt::Flow,
}

#[derive(Debug)]
struct SlotState {
    mid: Mid,
    kind: Kind,
    carries: Option<(String, Source)>,
}

/// A connection that has asked to join.
#[derive(Debug)]
struct Connection {
    requests: Bucket,
    long_answers: Bucket,
    /// The identity that it speaks for, once joined.
    member: Option<String>,
    /// The join that it waits for.
    joining: Option<PeerId>,
}

impl Classroom {
    /// Opens a room with a new lesson, and logs it. `lesson_id` is 128 random bits in hexadecimal; `room` is the number
    /// of the room in the media machine, `name` its name.
    pub fn open(
        now: Now,
        room: RoomId,
        name: String,
        lesson_id: String,
        settings: RoomSettings,
        config: ClassroomConfig,
    ) -> Self {
        let opened = LessonEvent {
            seq: 1,
            at: now.wall,
            by: None,
            kind: EventKind::Opened { lesson: lesson_id, room: name, settings },
        };
        let state = LessonState::from_opened(&opened).expect("the event is `opened`");
        let mut classroom = Classroom::new(room, state, VecDeque::from([opened.clone()]), config);
        classroom.outputs.push_back(Output::Log(opened));
        classroom.begin(now);
        classroom
    }

    /// Goes on with a lesson after a crash or a restart. `recent` are the last events up to `state`, as many as there
    /// are to hand. Those who were present have [`ClassroomConfig::resume_grace`] to join again.
    pub fn restore(
        now: Now,
        room: RoomId,
        state: LessonState,
        recent: Vec<LessonEvent>,
        config: ClassroomConfig,
    ) -> Self {
        let mut recent = VecDeque::from(recent);
        if recent.back().is_some_and(|event| event.seq != state.seq) {
            recent.clear(); // not of this state: clients that resume get the state instead
        }
        let surplus = recent.len().saturating_sub(config.event_backlog);
        let given_roles = recent.iter().filter_map(|event| match &event.kind {
            EventKind::RoleChanged { participant, role } => Some((participant.clone(), *role)),
            _ => None,
        });
        let given_roles = given_roles.collect();
        recent.drain(..surplus);
        let mut classroom = Classroom::new(room, state, recent, config);
        classroom.given_roles = given_roles;
        classroom.begin(now);
        if classroom.state.closed {
            classroom.close_room();
        } else if classroom.state.present().next().is_some() {
            let grace = classroom.config.resume_grace;
            classroom.deadlines.set(Deadline::Restored, now.instant + grace);
        }
        if !classroom.ended {
            // What was written until the crash is kept; the recorder of that time is gone.
            classroom.end_recording(now, None, RecordingEnd::Interrupted);
        }
        classroom
    }

    fn new(
        room: RoomId,
        state: LessonState,
        backlog: VecDeque<LessonEvent>,
        config: ClassroomConfig,
    ) -> Self {
        Classroom {
            id: room,
            config,
            last_at: backlog.back().map_or(Timestamp(0), |event| event.at),
            state,
            backlog,
            members: BTreeMap::new(),
            connections: BTreeMap::new(),
            pending: BTreeMap::new(),
            peers: BTreeMap::new(),
            given_roles: BTreeMap::new(),
            last_speakers: BTreeMap::new(),
            recorded_speaker: None,
            meters: BTreeMap::new(),
            reduced: ReducedPictures::default(),
            wall: wall::Wall::default(),
            deadlines: Deadlines::default(),
            peer_count: 0,
            stage_is_old: false,
            unsent: Vec::new(),
            outputs: VecDeque::new(),
            ended: false,
        }
    }

    fn begin(&mut self, now: Now) {
        self.media(Command::OpenRoom { room: self.id });
        self.watch_emptiness(now);
    }

    /// What to do next, or nothing.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Classroom::handle_timeout`] wants to be called, at the latest.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now: Now) {
        while let Some(deadline) = self.deadlines.pop_due(now.instant) {
            match deadline {
                Deadline::Answer(peer) => self.give_up_join(peer),
                Deadline::Restart(identity) => self.give_up_restart(&identity),
                Deadline::Resume(identity) | Deadline::Silent(identity) => self.time_out(now, &identity),
                Deadline::Restored => self.time_out_restored(now),
                Deadline::Shortage(identity) => self.shortage_settled(&identity),
                Deadline::Token(identity) => self.expire(now, &identity),
                Deadline::Look => self.end_looks(),
                Deadline::Empty => self.close_empty(now),
            }
        }
        self.settle(now);
    }

    /// The lesson as it is.
    pub fn state(&self) -> &LessonState {
        &self.state
    }

    /// The room's number in the media machine.
    pub fn id(&self) -> RoomId {
        self.id
    }

    /// Who has joined by this connection.
    pub fn participant(&self, connection: ConnectionId) -> Option<&str> {
        self.connections.get(&connection)?.member.as_deref()
    }

    /// Whether [`Output::Done`] was given: a join needs a new classroom.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// The end of each `handle_*`: WHEP players follow the stage, nothing is said of pictures that nobody gets any more, and everybody hears
    /// what was logged.
    fn settle(&mut self, now: Now) {
        if std::mem::take(&mut self.stage_is_old) {
            self.refresh_stages();
            self.forget_unseen_pictures(now);
            self.forget_unsent_thumbnails();
        }
        self.send_unsent();
    }

    fn media(&mut self, command: Command) {
        self.outputs.push_back(Output::Media(command));
    }

    fn reply(&mut self, connection: ConnectionId, request: RequestId, result: Result<Answer, ErrorReply>) {
        self.send_unsent();
        self.outputs.push_back(Output::Reply { connection, request, result });
    }

    fn notify(&mut self, connections: Vec<ConnectionId>, notice: Notice) {
        if !connections.is_empty() {
            self.outputs.push_back(Output::Notify { connections, notice });
        }
    }

    /// The connection of a member that is told things: WHIP and WHEP have nobody who would listen.
    fn listener(&self, identity: &str) -> Option<ConnectionId> {
        self.members.get(identity).and_then(Member::listener)
    }

    /// The role now.
    fn role(&self, identity: &str) -> Role {
        if self.members.get(identity).is_some_and(|member| member.is_recorder) {
            return Role::Recorder;
        }
        // Someone who is not there may the least.
        self.state.participants.get(identity).map_or(Role::Recorder, |state| state.role)
    }
}

impl Member {
    fn listener(&self) -> Option<ConnectionId> {
        self.connection.filter(|_| self.kind == JoinKind::Client)
    }
}

/// A refusal.
fn refusal(code: ErrorCode, message: impl Into<String>) -> ErrorReply {
    ErrorReply::new(code, message)
}
