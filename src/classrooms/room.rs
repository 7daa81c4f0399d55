//! The task of a room: hands inputs to its [`Classroom`] and carries out what comes of them.
//!
//! **Stored before acknowledged.** Outputs wait in order. What one turn has logged becomes one append; replies, notices and
//! closes that stand with it follow when it is on disk. Commands for media never wait. One append is under way at a time,
//! so a slow disk makes the next one larger.
//!
//! **When the store fails**, the append is tried again, less and less often. Meanwhile media goes on: slots and speakers
//! are still told, and new requests are refused with `unavailable`, as what they did could not be kept. When the
//! store comes back, everything that was held goes out in order.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use sfu::id::RoomId;
use sfu::io::{Command, Event, Reason};
use signaling::classroom::{Classroom, ReducedPictures};
use signaling::io::{ConnectionId, Output, RecorderOrder, RequestId};
use signaling::lesson::{LessonEvent, LessonState, RecordingEnd};
use signaling::message::{Answer, EndReason, ErrorCode, ErrorReply, Notice, RecordAction, Request};
use tokio::sync::mpsc;

use super::{Classrooms, Look, Outlet, Packed, ReplyTo, RoomInput, WorkerLoad, code_name, lock, request_id};
use crate::clock;
use crate::record::{CannotBegin, What};
use crate::secrets::random_hex;
use crate::store::{Append, Later, LessonStore, StoreError};

/// Inputs that are taken at once: a queue that was emptied one by one would fall behind (a lesson of the forerunner).
const INPUTS_AT_ONCE: usize = 128;
/// Events that are read from the store at once.
const EVENTS_AT_ONCE: u32 = 1000;
/// First and longest wait before an append is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));
/// Outputs that are held while the store fails. A room of 500 whose people all leave makes a few thousand; beyond this
/// the room is given up, and comes back from the store with the next join.
const HELD: usize = 20_000;

/// Runs a room until its classroom has ended.
pub(super) async fn run(
    rooms: Classrooms,
    name: String,
    id: RoomId,
    worker: usize,
    mut inbox: mpsc::Receiver<RoomInput>,
    mut events: mpsc::Receiver<Event>,
) {
    let place = Place { rooms, name, id, worker };
    if let Some((classroom, first)) = open(&place.rooms, &place.name, id, &mut inbox).await {
        let mut room = Room {
            rooms: place.rooms.clone(),
            name: place.name.clone(),
            worker,
            classroom,
            outlets: HashMap::new(),
            replies: HashMap::new(),
            held: VecDeque::new(),
            append: None,
            is_failing: false,
            participants: 0,
            reduced: ReducedPictures::default(),
            done: false,
        };
        if let Some(first) = first {
            room.take(first);
        }
        room.drain();
        room.serve(&mut inbox, &mut events).await;
    }
    // Out of the maps first: what comes from then on makes a new room. What came before is not handed on to that: the
    // connections have this room, and the next would not hear when they go.
    drop(place);
    inbox.close();
    while let Some(input) = inbox.recv().await {
        match input {
            join @ RoomInput::Join { .. } => {
                join.refuse(ErrorCode::Unavailable, "the room is ending; join again")
            }
            other => other.refuse(ErrorCode::NotJoined, "the room has ended"),
        }
    }
}

/// A room's place in the maps and counts, given back when its task ends, also by a panic.
struct Place {
    rooms: Classrooms,
    name: String,
    id: RoomId,
    worker: usize,
}

impl Drop for Place {
    fn drop(&mut self) {
        let shared = &self.rooms.shared;
        shared.forget(&self.name, self.id);
        lock(&shared.media).remove(&self.id);
        if let Some(recordings) = &shared.recordings {
            recordings.room_gone(self.id);
        }
        shared.metrics.rooms.dec();
        shared.workers[self.worker].rooms.fetch_sub(1, Relaxed);
    }
}

/// The classroom: restored from its open lesson, or made for the first join, which is given back.
async fn open(
    rooms: &Classrooms,
    name: &str,
    id: RoomId,
    inbox: &mut mpsc::Receiver<RoomInput>,
) -> Option<(Classroom, Option<RoomInput>)> {
    let config = &rooms.shared.classroom;
    match load(rooms.shared.store.as_ref(), name).await {
        Ok(Some((state, events))) => {
            let classroom = Classroom::restore(clock::now(), id, state, events, config.clone());
            return Some((classroom, None));
        }
        Ok(None) => {}
        Err(error) => {
            tracing::error!(room = name, %error, "the lesson of a room cannot be read");
            inbox.close();
            while let Some(input) = inbox.recv().await {
                input.refuse(ErrorCode::Unavailable, "the lesson store does not answer");
            }
            return None;
        }
    }
    loop {
        match inbox.recv().await? {
            RoomInput::Join { connection, token, kind, join, reply, outlet } => {
                let mut settings = token.room_settings();
                settings.record_automatically = rooms.shared.record_automatically.contains(&settings.preset);
                let lesson = random_hex::<16>();
                let classroom =
                    Classroom::open(clock::now(), id, name.to_owned(), lesson, settings, config.clone());
                return Some((
                    classroom,
                    Some(RoomInput::Join { connection, token, kind, join, reply, outlet }),
                ));
            }
            RoomInput::Shutdown => return None,
            // Nobody is here yet.
            other => other.refuse(ErrorCode::NotJoined, "join first"),
        }
        // A room that was made to be restored, and has nothing to restore, goes again.
        if inbox.is_empty() {
            return None;
        }
    }
}

/// The open lesson of a room, and its events.
async fn load(
    store: &dyn LessonStore,
    room: &str,
) -> Result<Option<(LessonState, Vec<LessonEvent>)>, StoreError> {
    let Some(lesson) = store.open_lesson(room).await? else { return Ok(None) };
    let mut events: Vec<LessonEvent> = Vec::new();
    loop {
        let after = events.last().map_or(0, |event| event.seq);
        let more = store.events(&lesson.lesson, after, EVENTS_AT_ONCE).await?;
        if more.is_empty() {
            break;
        }
        events.extend(more);
    }
    Ok(LessonState::fold(&events).map(|state| (state, events)))
}

struct Room {
    rooms: Classrooms,
    name: String,
    worker: usize,
    classroom: Classroom,
    outlets: HashMap<ConnectionId, Box<dyn Outlet>>,
    replies: HashMap<(ConnectionId, RequestId), Pending>,
    /// What is to be said, in order, and has to wait for an append. `Log` entries are still to be stored.
    held: VecDeque<Output>,
    append: Option<Appending>,
    is_failing: bool,
    /// As counted in the metrics.
    participants: usize,
    /// The same.
    reduced: ReducedPictures,
    done: bool,
}

struct Pending {
    reply: ReplyTo,
    is_join: bool,
    since: Instant,
}

/// An append under way.
struct Appending {
    result: Later<()>,
    append: Append,
    /// How many of the held outputs, from the first, wait for it.
    covers: usize,
    since: Instant,
    retry_in: Duration,
}

impl Room {
    async fn serve(&mut self, inbox: &mut mpsc::Receiver<RoomInput>, events: &mut mpsc::Receiver<Event>) {
        let mut inputs = Vec::with_capacity(INPUTS_AT_ONCE);
        let mut media = Vec::with_capacity(INPUTS_AT_ONCE);
        while !(self.done && self.held.is_empty() && self.append.is_none()) {
            let wake = self.classroom.poll_timeout().filter(|_| !self.done);
            tokio::select! {
                result = stored(&mut self.append), if self.append.is_some() => self.stored(result),
                _ = inbox.recv_many(&mut inputs, INPUTS_AT_ONCE), if !self.done => {
                    for input in inputs.drain(..) {
                        self.take(input);
                    }
                }
                _ = events.recv_many(&mut media, INPUTS_AT_ONCE), if !self.done => {
                    for event in media.drain(..) {
                        self.classroom.handle_media(clock::now(), event);
                    }
                }
                () = sleep_until(wake), if wake.is_some() => self.classroom.handle_timeout(clock::now()),
            }
            self.drain();
        }
    }

    fn take(&mut self, input: RoomInput) {
        let now = clock::now();
        match input {
            input @ (RoomInput::Join { .. } | RoomInput::Request { .. }) if self.is_failing => {
                input.refuse(ErrorCode::Unavailable, "the lesson cannot be stored at the moment");
            }
            RoomInput::Join { connection, token, kind, join, reply, outlet } => {
                let request = self.expect_reply(connection, reply, true);
                self.outlets.entry(connection).or_insert(outlet);
                let session = random_hex::<16>();
                self.classroom.handle_join(now, connection, request, &token, session, kind, *join);
            }
            RoomInput::Request { connection, request: message, reply } => {
                if let Err(error) = self.check_disk(&message) {
                    return reply(Err(error));
                }
                let request = self.expect_reply(connection, reply, false);
                self.classroom.handle_request(now, connection, request, message);
            }
            RoomInput::Gone { connection } => {
                if self.outlets.remove(&connection).is_some() {
                    self.classroom.handle_gone(now, connection);
                }
            }
            RoomInput::Recorder { recording, what: What::Ended(reason) } => {
                self.classroom.handle_recorder_ended(now, &recording, reason);
            }
            RoomInput::Recorder { recording, what: What::Limited(limit) } => {
                self.classroom.handle_recorder_limited(now, &recording, limit);
            }
            RoomInput::Summary(answer) => {
                // The console may have gone.
                let _ = answer.send(self.classroom.summary());
            }
            RoomInput::Look { looker, answer } => {
                let is_new = self.classroom.handle_look(now, &looker);
                let thumbnails = self.classroom.thumbnails().collect();
                // Whoever looks may have gone.
                let _ = answer.send(Look { is_new, thumbnails });
            }
            RoomInput::Shutdown => self.classroom.handle_shutdown(now),
        }
    }

    /// A recording does not begin on a disk that has no place for it.
    fn check_disk(&self, message: &Request) -> Result<(), ErrorReply> {
        if !matches!(message, Request::Record { action: RecordAction::Start }) {
            return Ok(());
        }
        let refused = |error: CannotBegin| ErrorReply::new(ErrorCode::Unavailable, error.to_string());
        self.refused_by_disk().map_or(Ok(()), |error| Err(refused(error)))
    }

    fn refused_by_disk(&self) -> Option<CannotBegin> {
        let error = self.rooms.shared.recordings.as_ref()?.check().err()?;
        self.rooms.shared.metrics.recordings_refused.with_label_values(&[error.name()]).inc();
        Some(error)
    }

    fn expect_reply(&mut self, connection: ConnectionId, reply: ReplyTo, is_join: bool) -> RequestId {
        let request = request_id(&self.rooms.shared);
        self.replies.insert((connection, request), Pending { reply, is_join, since: Instant::now() });
        request
    }

    /// Carries out what the classroom wants.
    fn drain(&mut self) {
        let mut logged = false;
        while let Some(output) = self.classroom.poll_output() {
            match output {
                Output::Media(command) => self.order(command),
                Output::Recorder(order) => {
                    // One that begins by itself has nobody to be refused to.
                    if let RecorderOrder::Begin { recording, .. } = &order
                        && let Some(error) = self.refused_by_disk()
                    {
                        let reason = match error {
                            CannotBegin::DiskFull => RecordingEnd::DiskFull,
                            CannotBegin::NoFolder => RecordingEnd::Failed,
                        };
                        self.classroom.handle_recorder_ended(clock::now(), recording, reason);
                        continue;
                    }
                    if let Some(recordings) = &self.rooms.shared.recordings {
                        recordings.order(self.classroom.id(), self.worker, order);
                    }
                }
                Output::Done => self.done = true,
                Output::Notify { connections, notice } if self.is_failing && is_fleeting(&notice) => {
                    self.notify(&connections, &notice);
                }
                output => {
                    logged |= matches!(output, Output::Log(_));
                    self.held.push_back(output);
                }
            }
        }
        if logged {
            self.count_participants();
        }
        self.count_reduced(self.classroom.reduced_pictures());
        self.pump();
        if self.held.len() > HELD {
            self.give_up("more happened than can be held while the store fails");
        }
    }

    /// Starts the next append, or says what need not wait for one.
    fn pump(&mut self) {
        if self.append.is_some() {
            return;
        }
        let logged = self.held.iter().filter_map(|output| match output {
            Output::Log(event) => Some(event.clone()),
            _ => None,
        });
        let events: Vec<LessonEvent> = logged.collect();
        if events.is_empty() {
            self.say(self.held.len());
            return;
        }
        let lesson = self.classroom.state().lesson.clone();
        let append = Append { lesson, room: self.name.clone(), events };
        self.append = Some(Appending {
            result: self.rooms.shared.store.append(append.clone()),
            append,
            covers: self.held.len(),
            since: Instant::now(),
            retry_in: RETRY.0,
        });
    }

    fn stored(&mut self, result: Result<(), StoreError>) {
        let Some(mut appending) = self.append.take() else { return };
        let metrics = &self.rooms.shared.metrics;
        match result {
            Ok(()) => {
                metrics.append_seconds.observe(appending.since.elapsed().as_secs_f64());
                metrics.append_events.inc_by(appending.append.events.len() as u64);
                if std::mem::take(&mut self.is_failing) {
                    tracing::info!(room = self.name, "the lesson can be stored again");
                }
                self.say(appending.covers);
            }
            Err(error) => {
                metrics.append_errors.inc();
                // A transaction whose commit failed may have been kept after all; what is there need not be added again.
                if let (StoreError::OutOfOrder { last, .. }, true) = (&error, self.is_failing) {
                    let first = appending.append.events.first().map_or(0, |event| event.seq);
                    appending.append.events.retain(|event| event.seq > *last);
                    if first > *last {
                        return self.give_up(&error.to_string());
                    }
                } else if !error.is_passing() {
                    return self.give_up(&error.to_string());
                }
                if !std::mem::replace(&mut self.is_failing, true) {
                    tracing::error!(room = self.name, %error, "the lesson cannot be stored; trying again");
                    appending.covers -= self.say_fleeting(appending.covers);
                }
                let (wait, store) = (appending.retry_in, self.rooms.shared.store.clone());
                let append = appending.append.clone();
                appending.retry_in = (wait * 2).min(RETRY.1);
                appending.result = Box::pin(async move {
                    tokio::time::sleep(wait).await;
                    store.append(append).await
                });
                self.append = Some(appending);
            }
        }
    }

    /// Says the first held outputs.
    fn say(&mut self, count: usize) {
        for output in self.held.drain(..count).collect::<Vec<_>>() {
            match output {
                Output::Reply { connection, request, result } => self.reply(connection, request, result),
                Output::Notify { connections, notice } => self.notify(&connections, &notice),
                Output::Close { connection } => {
                    if let Some(outlet) = self.outlets.remove(&connection) {
                        outlet.close();
                    }
                }
                // Stored by now; the others never wait.
                Output::Log(_) | Output::Media(_) | Output::Recorder(_) | Output::Done => {}
            }
        }
    }

    /// Says what is held about media; gives how many of the first `covers` outputs that were. What comes next about media will not
    /// wait for the store, and what is older must not be said after it.
    fn say_fleeting(&mut self, covers: usize) -> usize {
        let mut said = 0;
        for (place, output) in std::mem::take(&mut self.held).into_iter().enumerate() {
            match output {
                Output::Notify { connections, notice } if is_fleeting(&notice) => {
                    said += usize::from(place < covers);
                    self.notify(&connections, &notice);
                }
                output => self.held.push_back(output),
            }
        }
        said
    }

    fn reply(
        &mut self,
        connection: ConnectionId,
        request: RequestId,
        mut result: Result<Answer, ErrorReply>,
    ) {
        let Some(pending) = self.replies.remove(&(connection, request)) else { return };
        self.issue_ice_servers(connection, &mut result);
        let metrics = &self.rooms.shared.metrics;
        let outcome = result.as_ref().map_or_else(|error| code_name(error.code), |_| "ok".to_owned());
        if pending.is_join {
            metrics.joins.with_label_values(&[&outcome]).inc();
            if result.is_ok() {
                metrics.join_seconds.observe(pending.since.elapsed().as_secs_f64());
            }
        } else {
            metrics.requests.with_label_values(&[&outcome]).inc();
        }
        (pending.reply)(result);
    }

    /// Credentials for TURN are made for each participant, with the secret that only the shell has.
    fn issue_ice_servers(&self, connection: ConnectionId, result: &mut Result<Answer, ErrorReply>) {
        let issue = |identity: &str| {
            self.rooms.shared.ice_servers.issue(&self.name, identity, clock::wall().as_secs())
        };
        match result {
            Ok(Answer::Joined(joined)) => joined.ice_servers.extend(issue(&joined.participant)),
            Ok(Answer::Restarted { ice_servers, .. }) => {
                ice_servers.extend(self.classroom.participant(connection).map(issue).unwrap_or_default());
            }
            _ => {}
        }
    }

    fn notify(&self, connections: &[ConnectionId], notice: &Notice) {
        let packed = Packed::new(notice);
        for connection in connections {
            if let Some(outlet) = self.outlets.get(connection) {
                outlet.notify(&packed);
            }
        }
    }

    fn order(&mut self, command: Command) {
        let worker: &WorkerLoad = &self.rooms.shared.workers[self.worker];
        if worker.handle.send(command).is_err() {
            // Joins find out by the classroom's deadline; readiness and the worker's own log tell the operator.
            tracing::debug!(room = self.name, worker = self.worker, "the media worker is gone");
        }
    }

    fn count_participants(&mut self) {
        let present = self.classroom.state().present().count();
        let metrics = &self.rooms.shared.metrics;
        metrics.participants.add(signed(present) - signed(self.participants));
        self.participants = present;
    }

    fn count_reduced(&mut self, reduced: ReducedPictures) {
        if reduced == self.reduced {
            return;
        }
        let gauge = &self.rooms.shared.metrics.pictures_reduced;
        for ((reason, count), (_, before)) in reduced.iter().zip(self.reduced.iter()) {
            if count != before {
                gauge.with_label_values(&[reason_name(reason)]).add(signed(count) - signed(before));
            }
        }
        self.reduced = reduced;
    }

    /// Ends the room without its log: what could not be stored did not happen, and the next join restores what did.
    fn give_up(&mut self, reason: &str) {
        tracing::error!(
            room = self.name,
            reason,
            "the room is given up, and will be restored from the store"
        );
        self.append = None;
        self.held.clear();
        self.done = true;
        self.put_out();
    }

    /// Leaves nobody waiting: requests are refused, and clients join again by themselves.
    fn put_out(&mut self) {
        for (_, pending) in self.replies.drain() {
            (pending.reply)(Err(ErrorReply::new(ErrorCode::Unavailable, "the room has ended unexpectedly")));
        }
        let ended = Packed::new(&Notice::Ended { reason: EndReason::Shutdown });
        for (_, outlet) in self.outlets.drain() {
            outlet.notify(&ended);
            outlet.close();
        }
        self.order(Command::CloseRoom { room: self.classroom.id() });
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.rooms.shared.metrics.participants.sub(signed(self.participants));
        self.count_reduced(ReducedPictures::default());
        if !self.done {
            // A panic, which is a bug, in this room; it costs this room a rejoin and no other room anything.
            tracing::error!(room = self.name, "the room has failed, and will be restored from the store");
            self.put_out();
        }
    }
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The reason as it stands on the wire.
const fn reason_name(reason: Reason) -> &'static str {
    match reason {
        Reason::Bandwidth => "bandwidth",
        Reason::SenderCpu => "sender-cpu",
        Reason::SenderBandwidth => "sender-bandwidth",
        Reason::LayerMissing => "layer-missing",
        Reason::Policy => "policy",
        Reason::Hidden => "hidden",
    }
}

/// Waits for the append; the caller has made sure that there is one.
async fn stored(append: &mut Option<Appending>) -> Result<(), StoreError> {
    match append {
        Some(appending) => appending.result.as_mut().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => tokio::time::sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}

/// Notices about media, which are true whatever the log says.
fn is_fleeting(notice: &Notice) -> bool {
    matches!(
        notice,
        Notice::Slots { .. }
            | Notice::Speakers { .. }
            | Notice::Quality { .. }
            | Notice::Media { .. }
            | Notice::Encodings { .. }
            | Notice::Pictures { .. }
            | Notice::Usage(_)
            | Notice::Thumbnails { .. }
    )
}

#[cfg(test)]
#[path = "room_test.rs"]
mod tests;
