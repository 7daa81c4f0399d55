//! All deadlines of a classroom.
//!
//! | deadline | set when | cleared when | what happens |
//! |---|---|---|---|
//! | `Answer` | an offer goes to the media machine for a join | it answers or refuses | the join fails with `unavailable` |
//! | `Restart` | an offer goes to the media machine for a restart | it answers or refuses | the restart fails with `unavailable` |
//! | `Resume` | a connection is lost; brought forward when its media is lost too | the session is resumed or replaced | `left {timeout}` |
//! | `Silent` | a WHIP or WHEP participant joins or its media is lost | media is connected | `left {timeout}` |
//! | `Restored` | a lesson is restored with people present | never | `left {timeout}` for those who did not come back |
//! | `Token` | a join, if so configured | the participant leaves | `ended {token-expired}` |
//! | `Shortage` | a network no longer carries what was asked for, or does again | it changes back, the participant leaves | `quality` with other `trouble` |
//! | `Look` | somebody looks at the wall | never; each look puts it off | `thumbnails` without `wanted`, and there are none any more |
//! | `Empty` | nobody is there | somebody joins | the lesson is closed |

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use sfu::id::PeerId;

/// What can be due. An identity has at most one of each.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Deadline {
    Answer(PeerId),
    Restart(String),
    Resume(String),
    Silent(String),
    Restored,
    Token(String),
    Shortage(String),
    Look,
    Empty,
}

/// When each is due.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    at: BTreeMap<Deadline, Instant>,
    order: BTreeSet<(Instant, Deadline)>,
}

impl Deadlines {
    /// Sets a deadline, in place of an earlier one of the same name.
    pub(super) fn set(&mut self, deadline: Deadline, at: Instant) {
        self.clear(&deadline);
        self.order.insert((at, deadline.clone()));
        self.at.insert(deadline, at);
    }

    /// Brings a deadline that is set forward, if it is later.
    pub(super) fn hasten(&mut self, deadline: &Deadline, at: Instant) {
        if self.at.get(deadline).is_some_and(|set| *set > at) {
            self.set(deadline.clone(), at);
        }
    }

    pub(super) fn clear(&mut self, deadline: &Deadline) {
        if let Some(at) = self.at.remove(deadline) {
            self.order.remove(&(at, deadline.clone()));
        }
    }

    /// Clears all that is about one participant.
    pub(super) fn clear_all_of(&mut self, identity: &str) {
        let names =
            [Deadline::Restart, Deadline::Resume, Deadline::Silent, Deadline::Token, Deadline::Shortage];
        for name in names {
            self.clear(&name(identity.to_owned()));
        }
    }

    pub(super) fn clear_everything(&mut self) {
        self.at.clear();
        self.order.clear();
    }

    pub(super) fn is_set(&self, deadline: &Deadline) -> bool {
        self.at.contains_key(deadline)
    }

    /// The earliest.
    pub(super) fn next(&self) -> Option<Instant> {
        self.order.first().map(|(at, _)| *at)
    }

    /// Takes out the earliest that is due.
    pub(super) fn pop_due(&mut self, now: Instant) -> Option<Deadline> {
        let (at, _) = self.order.first()?;
        if *at > now {
            return None;
        }
        let (_, deadline) = self.order.pop_first()?;
        self.at.remove(&deadline);
        Some(deadline)
    }
}
