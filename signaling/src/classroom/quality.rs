//! How connections do, and what their owners suffer from: `quality`.
//!
//! Teachers and assistants learn how everybody does and why; others learn how those do whom they may see, and why only of themselves.

use std::collections::BTreeSet;
use std::time::Duration;

use sfu::id::PeerId;
use sfu::io::{Quality, SenderLimit};
use sfu::media::Audience;

use super::Classroom;
use super::deadlines::Deadline;
use crate::message::{Notice, ParticipantQuality, Trouble};
use crate::permission::{CLASSES, STAFF};
use crate::time::Now;

/// How long a network must not carry what was asked for before a teacher hears of it, and carry it before it is over: a moment of
/// loss is no trouble, and a name that comes and goes in a list helps nobody.
const SHORTAGE: Duration = Duration::from_secs(5);

impl Classroom {
    /// `Quality` of the media machine.
    pub(super) fn quality_changed(&mut self, peers: &[(PeerId, Quality)]) {
        let mut changed = Vec::new();
        for (peer, quality) in peers {
            if let Some((identity, media)) = self.media_of(*peer) {
                media.quality = *quality;
                changed.push(identity);
            }
        }
        self.send_quality(&changed);
    }

    /// Tells everybody who may know how some participants do.
    pub(super) fn send_quality(&mut self, identities: &[String]) {
        let changed: Vec<ParticipantQuality> =
            identities.iter().filter_map(|identity| self.quality_of(identity)).collect();
        for class in CLASSES {
            let seen = changed.iter().filter_map(|entry| self.as_told(entry, class));
            let seen: Vec<ParticipantQuality> = seen.collect();
            let mut listeners = self.listeners_of(class);
            // Those who learn of themselves what others of their class do not get a notice of their own.
            let mut single = Vec::new();
            for own in &changed {
                let others_know = seen.iter().any(|entry| entry == own);
                if !others_know && self.role(&own.participant).class() == class {
                    let Some(listener) = self.listener(&own.participant) else { continue };
                    listeners.retain(|connection| *connection != listener);
                    let others = seen.iter().filter(|entry| entry.participant != own.participant);
                    let participants = others.chain([own]).cloned().collect();
                    single.push((listener, Notice::Quality { participants }));
                }
            }
            if !seen.is_empty() {
                self.notify(listeners, Notice::Quality { participants: seen });
            }
            for (listener, notice) in single {
                self.notify(vec![listener], notice);
            }
        }
    }

    /// A newcomer takes everybody's connection for good; this says whose is not.
    pub(super) fn tell_quality(&mut self, identity: &str) {
        let class = self.role(identity).class();
        let participants = self.members.keys().filter_map(|other| {
            let entry = self.quality_of(other)?;
            let told = if other == identity { Some(entry) } else { self.as_told(&entry, class) };
            told.filter(|entry| entry.quality != Quality::Good || !entry.trouble.is_empty())
        });
        let participants: Vec<_> = participants.collect();
        if !participants.is_empty() {
            self.notify(self.listener(identity).into_iter().collect(), Notice::Quality { participants });
        }
    }

    /// How a participant does; nothing of recorders and of those without media.
    fn quality_of(&self, identity: &str) -> Option<ParticipantQuality> {
        let member = self.members.get(identity).filter(|member| !member.is_recorder)?;
        let quality = member.media.as_ref()?.quality;
        let trouble = member.wishes.trouble.clone();
        Some(ParticipantQuality { participant: identity.to_owned(), quality, trouble })
    }

    /// What a class is told of somebody.
    fn as_told(&self, entry: &ParticipantQuality, class: Audience) -> Option<ParticipantQuality> {
        if class == STAFF {
            return Some(entry.clone());
        }
        self.is_visible(&entry.participant, class)
            .then(|| ParticipantQuality { trouble: Vec::new(), ..entry.clone() })
    }

    /// What a participant suffers from has changed, perhaps: those who may know are told.
    pub(super) fn trouble_changed(&mut self, identity: &str) {
        let Some(member) = self.members.get_mut(identity) else { return };
        let wishes = &mut member.wishes;
        let limits: BTreeSet<Trouble> = wishes.limits.values().map(|limit| trouble_of(*limit)).collect();
        let short = wishes.is_short.then_some(Trouble::Receiving);
        let trouble: Vec<Trouble> = short.into_iter().chain(limits).collect();
        if wishes.trouble == trouble {
            return;
        }
        wishes.trouble = trouble;
        let Some(entry) = self.quality_of(identity) else { return };
        let mut listeners = self.listeners_of(STAFF);
        let own = self.listener(identity).filter(|own| !listeners.contains(own));
        listeners.extend(own);
        self.notify(listeners, Notice::Quality { participants: vec![entry] });
    }

    /// A participant's pictures have changed: begins to wait, or stops waiting, for that to be trouble or the end of it.
    pub(super) fn watch_shortage(&mut self, now: Now, identity: &str) {
        let Some(member) = self.members.get(identity) else { return };
        let deadline = Deadline::Shortage(identity.to_owned());
        if member.is_short_now() == member.wishes.is_short {
            self.deadlines.clear(&deadline);
        } else if !self.deadlines.is_set(&deadline) {
            self.deadlines.set(deadline, now.instant + SHORTAGE);
        }
    }

    /// It has held for long enough.
    pub(super) fn shortage_settled(&mut self, identity: &str) {
        let Some(member) = self.members.get_mut(identity) else { return };
        member.wishes.is_short = member.is_short_now();
        self.trouble_changed(identity);
    }
}

impl super::Member {
    fn is_short_now(&self) -> bool {
        self.media.as_ref().is_some_and(|media| media.flow.is_short())
    }
}

const fn trouble_of(limit: SenderLimit) -> Trouble {
    match limit {
        SenderLimit::Bandwidth => Trouble::SendingBandwidth,
        SenderLimit::Cpu => Trouble::SendingCpu,
    }
}
