//! Who did what: an append-only list of administrative acts, for the operator (`GET /api/audit`, the console).
//!
//! An entry says when, who, from where, what, to what, and how it went. It never holds a token, a key or what somebody said. Acts that come by the API are
//! on the disk before they are answered ([`Audit::record`]); those in a class, which are in the lesson's own log too, are handed to the
//! writer and not waited for ([`Audit::note`]), as no class waits for an audit.

mod sqlite;

use std::net::IpAddr;
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use serde_json::Value;
use signaling::time::Timestamp;
use tokio::sync::oneshot;

use self::sqlite::{Reader, Writer};
use crate::clock;
use crate::metrics::Metrics;

/// Entries that wait for the disk: beyond it they are lost, counted and logged, as a class does not wait.
const QUEUE: usize = 4096;
/// Most entries in one transaction.
const GROUP: usize = 256;
/// How long an act waits for its entry.
const WITHIN: Duration = Duration::from_secs(2);
/// Refused acts that are written down in [`REFUSED_WINDOW`]: whoever knocks at the door without end must not fill the disk.
const REFUSED: u32 = 120;
const REFUSED_WINDOW: Duration = Duration::from_secs(60);
/// How often old entries are looked for.
const PRUNE: Duration = Duration::from_secs(3600);

/// Who.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Actor {
    /// Whoever has the API key.
    ApiKey,
    /// The same, in the console.
    Console,
    /// Somebody with a participant's token, of this identity.
    Participant(String),
    /// Somebody with a link to a recording.
    Link,
    /// Somebody who has not shown who it is.
    Stranger,
}

impl Actor {
    fn name(&self) -> &'static str {
        match self {
            Actor::ApiKey => "api-key",
            Actor::Console => "console",
            Actor::Participant(_) => "participant",
            Actor::Link => "link",
            Actor::Stranger => "stranger",
        }
    }

    fn identity(&self) -> Option<&str> {
        match self {
            Actor::Participant(identity) => Some(identity),
            _ => None,
        }
    }
}

/// What was done. docs/audit.md lists all with what their objects and details are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Somebody opened the console, or tried a wrong key.
    SignIn,
    /// A token was made.
    TokenCreate,
    /// A link to a recording was made.
    LinkCreate,
    /// A recording was begun, paused, taken up or ended.
    RecordingStart,
    /// See [`Act::RecordingStart`].
    RecordingPause,
    /// See [`Act::RecordingStart`].
    RecordingResume,
    /// See [`Act::RecordingStart`].
    RecordingStop,
    /// How long a recording is kept was changed.
    RecordingChange,
    /// A recording was removed.
    RecordingDelete,
    /// An export was asked for.
    ExportCreate,
    /// Somebody began to look at small pictures of a room.
    RoomLook,
    /// Settings of a room were changed.
    RoomSettings,
    /// A lesson was ended for everybody.
    RoomEnd,
    /// All students were muted.
    RoomMute,
    /// Somebody was muted by another.
    ParticipantMute,
    /// Somebody was taken out.
    ParticipantRemove,
    /// Somebody was given another role.
    ParticipantRole,
    /// Another change by the API; the detail names the request.
    Other,
}

impl Act {
    /// As it is written down and asked for.
    pub const fn name(self) -> &'static str {
        match self {
            Act::SignIn => "sign-in",
            Act::TokenCreate => "token.create",
            Act::LinkCreate => "link.create",
            Act::RecordingStart => "recording.start",
            Act::RecordingPause => "recording.pause",
            Act::RecordingResume => "recording.resume",
            Act::RecordingStop => "recording.stop",
            Act::RecordingChange => "recording.change",
            Act::RecordingDelete => "recording.delete",
            Act::ExportCreate => "export.create",
            Act::RoomLook => "room.look",
            Act::RoomSettings => "room.settings",
            Act::RoomEnd => "room.end",
            Act::RoomMute => "room.mute",
            Act::ParticipantMute => "participant.mute",
            Act::ParticipantRemove => "participant.remove",
            Act::ParticipantRole => "participant.role",
            Act::Other => "other",
        }
    }
}

/// An entry to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEntry {
    /// Who.
    pub actor: Actor,
    /// From where, as the system sees it: a proxy, if there is one.
    pub address: Option<IpAddr>,
    /// What.
    pub act: Act,
    /// In which room, if in one.
    pub room: Option<String>,
    /// To what: the id of a recording, the identity of a participant.
    pub object: Option<String>,
    /// `ok`, or the code of the refusal.
    pub outcome: String,
    /// More about it; never a secret. `Null` if there is nothing to say.
    pub detail: Value,
}

/// An entry, as it is read.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// Counts up.
    pub seq: u64,
    /// When.
    pub at: Timestamp,
    /// `api-key`, `console`, `participant`, `link` or `stranger`.
    pub actor: String,
    /// Of the participant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<String>,
    /// From where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// What, see [`Act::name`].
    pub act: String,
    /// In which room.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub room: Option<String>,
    /// To what.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// `ok`, or the code of the refusal.
    pub outcome: String,
    /// More about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<Value>,
}

/// Which entries. Without `after` the latest come first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    /// With numbers above this, in order, to read on.
    pub after: Option<u64>,
    /// With numbers below this, to page back.
    pub before: Option<u64>,
    /// Of this kind of actor, or of this identity.
    pub actor: Option<String>,
    /// Of this act, or of all that begin so with a full stop after it: `recording` for `recording.start` and others.
    pub act: Option<String>,
    /// In this room, or to this object.
    pub object: Option<String>,
    /// With this text in identity, address, room or object.
    pub text: Option<String>,
    /// At most so many.
    pub limit: u32,
}

/// The audit cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the audit failed: {0}")]
pub struct AuditError(String);

impl From<rusqlite::Error> for AuditError {
    fn from(error: rusqlite::Error) -> Self {
        AuditError(error.to_string())
    }
}

struct Job {
    at: Timestamp,
    entry: NewEntry,
    done: Option<oneshot::Sender<bool>>,
}

/// The list. Clones are the same.
#[derive(Clone)]
pub struct Audit {
    jobs: SyncSender<Job>,
    reader: Arc<Reader>,
    /// Since when, and how many were refused.
    refused: Arc<Mutex<(Instant, u32)>>,
    metrics: Arc<Metrics>,
}

impl Audit {
    /// Opens the file, or makes it, and starts the thread that writes. Entries are kept for `days`.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn open(path: &Path, days: u64, metrics: Arc<Metrics>) -> Result<Self, AuditError> {
        let kept = Duration::from_secs(days.saturating_mul(24 * 3600));
        let writer = Writer::open(path)?;
        let reader = Arc::new(Reader::open(path)?);
        let (jobs, queue) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || write(writer, &queue, kept))
            .map_err(|error| AuditError(error.to_string()))?;
        let refused = Arc::new(Mutex::new((Instant::now(), 0)));
        Ok(Audit { jobs, reader, refused, metrics })
    }

    /// Writes an entry down, and returns when it is on the disk; or after two seconds, since an act that was done cannot be taken back.
    pub async fn record(&self, entry: NewEntry) {
        let (done, stored) = oneshot::channel();
        if !self.push(entry, Some(done)) {
            return;
        }
        // A failure of the disk was logged by the thread.
        if tokio::time::timeout(WITHIN, stored).await.is_err() {
            tracing::error!("an act was answered before it was written into the audit: the disk is slow");
        }
    }

    /// Hands an entry to the writer.
    pub fn note(&self, entry: NewEntry) {
        self.push(entry, None);
    }

    fn push(&self, entry: NewEntry, done: Option<oneshot::Sender<bool>>) -> bool {
        if entry.outcome != "ok" && !self.may_refuse(Instant::now()) {
            self.metrics.audit_dropped.with_label_values(&["flood"]).inc();
            return false;
        }
        match self.jobs.try_send(Job { at: clock::wall(), entry, done }) {
            Ok(()) => true,
            Err(error) => {
                self.metrics.audit_dropped.with_label_values(&["full"]).inc();
                let (TrySendError::Full(job) | TrySendError::Disconnected(job)) = error;
                tracing::error!(
                    act = job.entry.act.name(),
                    "an act is not in the audit: the disk is too slow"
                );
                false
            }
        }
    }

    fn may_refuse(&self, now: Instant) -> bool {
        let mut refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        if now.duration_since(refused.0) > REFUSED_WINDOW {
            *refused = (now, 0);
        }
        refused.1 += 1;
        refused.1 <= REFUSED
    }

    /// Entries that fit. Waits for the disk, so it belongs on a thread that may wait.
    ///
    /// # Errors
    /// When they cannot be read.
    pub fn list(&self, query: &Query) -> Result<Vec<Entry>, AuditError> {
        self.reader.list(query)
    }
}

/// The thread: ends when the last [`Audit`] is gone and all is written.
fn write(mut writer: Writer, queue: &Receiver<Job>, kept: Duration) {
    let mut group = Vec::with_capacity(GROUP);
    let mut prune_at = Instant::now();
    loop {
        match queue.recv_timeout(prune_at.saturating_duration_since(Instant::now())) {
            Ok(first) => {
                group.push(first);
                group.extend(queue.try_iter().take(GROUP - 1));
                write_group(&mut writer, &mut group);
            }
            Err(RecvTimeoutError::Timeout) => {
                let old = clock::wall().0.saturating_sub(u64::try_from(kept.as_millis()).unwrap_or(u64::MAX));
                if let Err(error) = writer.prune(Timestamp(old)) {
                    tracing::error!(%error, "old entries of the audit are still there");
                }
                prune_at = Instant::now() + PRUNE;
            }
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}

fn write_group(writer: &mut Writer, group: &mut Vec<Job>) {
    let written = writer.add(group.iter().map(|job| (job.at, &job.entry)));
    if let Err(error) = &written {
        tracing::error!(%error, entries = group.len(), "acts are not in the audit");
    }
    for done in group.drain(..).filter_map(|job| job.done) {
        // Who asked may have gone.
        let _ = done.send(written.is_ok());
    }
}

#[cfg(test)]
#[path = "audit_test.rs"]
mod tests;
