//! What the media machine says, put into the words of the lesson.

use sfu::id::PeerId;
use sfu::io::{AudioLevel, Event, SlotChange};
use sfu::media::{Audience, Source};

use super::deadlines::Deadline;
use super::join::offer_refusal;
use super::{Classroom, JoinKind, Media, Member};
use crate::io::ConnectionId;
use crate::message::{Answer, MediaState, Notice, Slot, SpeakerLevel};
use crate::permission::{CLASSES, Role};
use crate::time::Now;

impl Classroom {
    /// Something from the media machine. Events about another room, or about peers that have gone, are dropped.
    pub fn handle_media(&mut self, now: Now, event: Event) {
        if event.room() != self.id || self.ended {
            return;
        }
        match event {
            Event::Answered { peer, answer, slots, .. } => {
                if self.peers.contains_key(&peer) {
                    let ice_servers = self.config.ice_servers.clone();
                    self.restart_done(peer, Ok(Answer::Restarted { answer, ice_servers }));
                } else {
                    self.join_answered(now, peer, answer, slots);
                }
            }
            Event::Refused { peer, error, .. } => {
                if self.peers.contains_key(&peer) {
                    self.restart_done(peer, Err(offer_refusal(&error)));
                } else {
                    self.join_refused(peer, &error);
                }
            }
            Event::Connected { peer, .. } => self.media_changed(now, peer, true),
            Event::Disconnected { peer, .. } => self.media_changed(now, peer, false),
            Event::Slots { peer, slots, .. } => self.slots_changed(peer, &slots),
            Event::Speakers { levels, active, .. } => self.speakers_changed(&levels, active),
            Event::Quality { peers, .. } => self.quality_changed(&peers),
            Event::Encodings { peer, source, active, .. } => self.encodings_changed(peer, source, active),
            Event::Pictures { peer, pictures, .. } => self.pictures_changed(now, peer, &pictures),
            Event::Traffic { peers, .. } => self.traffic_changed(&peers),
        }
        self.settle(now);
    }

    fn restart_done(&mut self, peer: PeerId, result: Result<Answer, crate::message::ErrorReply>) {
        let Some((identity, media)) = self.media_of(peer) else { return };
        if media.stale_restarts > 0 {
            media.stale_restarts -= 1;
            return;
        }
        if let Some((connection, request)) = media.restart.take() {
            self.deadlines.clear(&Deadline::Restart(identity));
            self.reply(connection, request, result);
        }
    }

    fn media_changed(&mut self, now: Now, peer: PeerId, connected: bool) {
        let Some((identity, media)) = self.media_of(peer) else { return };
        if media.connected.replace(connected) == Some(connected) {
            return;
        }
        let silent = Deadline::Silent(identity.clone());
        if self.members[&identity].kind == JoinKind::Client {
            let state = if connected { MediaState::Connected } else { MediaState::Disconnected };
            self.notify(self.listener(&identity).into_iter().collect(), Notice::Media { state });
            if !connected {
                // Of who has no connection either, nothing is left.
                self.deadlines.hasten(&Deadline::Resume(identity), now.instant + self.config.resume_grace);
            }
        } else if connected {
            self.deadlines.clear(&silent);
        } else if !self.deadlines.is_set(&silent) {
            self.deadlines.set(silent, now.instant + self.config.media_silence);
        }
    }

    fn slots_changed(&mut self, peer: PeerId, changes: &[SlotChange]) {
        let mut slots = Vec::new();
        for change in changes {
            let carries = change.carries.and_then(|(publisher, source)| {
                self.peers.get(&publisher).map(|identity| (identity.clone(), source))
            });
            let Some((_, media)) = self.media_of(peer) else { return };
            let Some(slot) = media.slots.iter_mut().find(|slot| slot.mid == change.mid) else { continue };
            slot.carries.clone_from(&carries);
            let (participant, source) = carries.unzip();
            slots.push(Slot { mid: change.mid.to_string(), kind: None, participant, source });
        }
        let listener = self.peers.get(&peer).and_then(|identity| self.listener(identity));
        if !slots.is_empty() {
            self.notify(listener.into_iter().collect(), Notice::Slots { slots });
        }
    }

    /// Each class of viewers hears of those whom it may hear.
    fn speakers_changed(&mut self, levels: &[(PeerId, AudioLevel)], active: Option<PeerId>) {
        let speaker = active.as_ref().and_then(|peer| self.peers.get(peer)).cloned();
        self.keep_speaker(speaker.as_ref());
        for class in CLASSES {
            let heard =
                |peer: &PeerId| self.peers.get(peer).filter(|identity| self.is_heard(identity, class));
            let levels = levels.iter().filter_map(|(peer, level)| {
                let participant = heard(peer)?.clone();
                Some(SpeakerLevel { participant, level: level.0 })
            });
            let levels = levels.collect();
            let active = active.as_ref().and_then(heard).cloned();
            let notice = Notice::Speakers { levels, active };
            if self.last_speakers.get(&class.0) != Some(&notice) {
                self.notify(self.listeners_of(class), notice.clone());
                self.last_speakers.insert(class.0, notice);
            }
        }
    }

    pub(super) fn is_heard(&self, identity: &str, class: Audience) -> bool {
        self.policy(identity).publish[Source::Microphone.index()].meets(class)
    }

    /// Those of a class who are told things.
    pub(super) fn listeners_of(&self, class: Audience) -> Vec<ConnectionId> {
        let of_class = |(identity, member): (&String, &Member)| {
            let role = if member.is_recorder { Role::Recorder } else { self.role(identity) };
            member.listener().filter(|_| role.class() == class)
        };
        self.members.iter().filter_map(of_class).collect()
    }

    /// Whose media connection it is.
    pub(super) fn media_of(&mut self, peer: PeerId) -> Option<(String, &mut Media)> {
        let identity = self.peers.get(&peer)?;
        let media = self.members.get_mut(identity)?.media.as_mut()?;
        Some((identity.clone(), media))
    }
}
