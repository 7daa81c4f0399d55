//! Writing the lesson log, and giving it to those who missed some of it.

use super::Classroom;
use crate::io::Output;
use crate::lesson::{EventKind, LessonEvent};
use crate::message::{Answer, Notice};
use crate::time::Now;

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
    pub(super) fn sync(&self, after: u64) -> Answer {
        let seq = self.state.seq;
        match self.events_after(after) {
            Some(events) => Answer::Events { events, seq },
            None => Answer::State { state: Box::new(self.state.clone()), seq },
        }
    }
}
