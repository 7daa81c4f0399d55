//! Writing the lesson log, and giving it to those who missed some of it.

use super::rate::LONG_ANSWERS;
use super::{Classroom, refusal};
use crate::io::{ConnectionId, Output};
use crate::lesson::{EventKind, LessonEvent};
use crate::message::{Answer, ErrorCode, ErrorReply, Notice};
use crate::time::Now;

/// An answer with at most so many events is not long, also when all of them are the longest messages (200 KiB).
const SHORT_ANSWER_EVENTS: u64 = 50;

impl Classroom {
    /// Numbers an event, orders it stored, folds it in, and remembers to tell everybody. Gives its number.
    pub(super) fn log(&mut self, now: Now, by: Option<&str>, kind: EventKind) -> u64 {
        self.last_at = self.last_at.max(now.wall);
        let event =
            LessonEvent { seq: self.state.seq + 1, at: self.last_at, by: by.map(str::to_owned), kind };
        self.state.apply(&event);
        self.backlog.push_back(event.clone());
        if self.backlog.len() > self.config.event_backlog {
            self.backlog.pop_front();
        }
        self.outputs.push_back(Output::Log(event.clone()));
        self.keep(&event);
        self.unsent.push(event);
        self.stage_is_old = true;
        self.state.seq
    }

    /// Sends what was logged since the last time, as one notice. Whoever joins now has it in the state of its reply, so this
    /// comes before it is a member.
    pub(super) fn send_unsent(&mut self) {
        if self.unsent.is_empty() {
            return;
        }
        let events = std::mem::take(&mut self.unsent);
        let connections = self.members.values().filter_map(super::Member::listener).collect();
        self.notify(connections, Notice::Lesson { events });
    }

    /// The events after this number, if all of them are still here.
    pub(super) fn events_after(&self, after: u64) -> Option<Vec<LessonEvent>> {
        if after == self.state.seq {
            return Some(Vec::new());
        }
        let first = self.backlog.front()?.seq;
        if after > self.state.seq || after.saturating_add(1) < first {
            return None;
        }
        let skip = usize::try_from(after + 1 - first).ok()?;
        Some(self.backlog.iter().skip(skip).cloned().collect())
    }

    /// `sync`
    pub(super) fn sync(
        &mut self,
        now: Now,
        connection: ConnectionId,
        after: u64,
    ) -> Result<Answer, ErrorReply> {
        self.limit_long_answers(now, connection, Some(after))?;
        let seq = self.state.seq;
        Ok(match self.events_after(after) {
            Some(events) => Answer::Events { events, seq },
            None => Answer::State { state: Box::new(self.state.clone()), seq },
        })
    }

    /// Counts an answer that will hold what there is after a number, or the state, if it is long.
    pub(super) fn limit_long_answers(
        &mut self,
        now: Now,
        connection: ConnectionId,
        after: Option<u64>,
    ) -> Result<(), ErrorReply> {
        let missing = after.and_then(|after| self.state.seq.checked_sub(after));
        if missing.is_some_and(|events| events <= SHORT_ANSWER_EVENTS) {
            return Ok(());
        }
        let entry = self.connections.get_mut(&connection);
        if entry.is_some_and(|entry| !entry.long_answers.take(LONG_ANSWERS, now.instant)) {
            return Err(refusal(ErrorCode::RateLimited, "too many long answers; wait a moment"));
        }
        Ok(())
    }
}
