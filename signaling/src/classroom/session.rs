//! Sessions: how they begin, go on, and get a media connection.

use std::collections::BTreeSet;
use std::time::Duration;

use sfu::io::{Command, PeerPolicy, Quality};
use sfu::media::Source;

use super::adapt::{Flow, Wishes};
use super::deadlines::Deadline;
use super::join::{Answered, Pending};
use super::{Classroom, JoinKind, Media, Member, SlotState, refusal};
use crate::lesson::{EventKind, LeaveReason};
use crate::message::{EndReason, ErrorCode, ErrorReply, Joined, Slot, VERSION};
use crate::permission::Role;
use crate::time::{Now, Timestamp};

/// A token may be valid for longer than an `Instant` reaches; a lesson is not.
const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;

impl Classroom {
    /// A new session begins.
    pub(super) fn begin_session(
        &mut self,
        now: Now,
        pending: Pending,
        session: String,
        answered: Option<Answered>,
    ) -> Joined {
        let Pending { identity, name, connection, kind, budget, .. } = pending;
        let role = self.role_of_new(&identity, pending.role);
        let is_recorder = role == Role::Recorder;
        // To come again is no way around the limit.
        let before = self.members.get(&identity).map(|member| (member.chats, member.thumbnails));
        let (chats, thumbnails) = before.unwrap_or_default();
        self.replace(now, &identity, is_recorder);
        if !is_recorder {
            // Before `joined`, so that nobody sees an observer with a raised hand: the role may have come with a new token.
            if role != Role::Student {
                self.lower_and_silence(now, &identity);
            }
            let kind = EventKind::Joined { participant: identity.clone(), name, role };
            self.log(now, Some(&identity), kind);
        }
        // The others hear of it now; the newcomer has it in the state of its reply.
        self.send_unsent();
        let answer = answered.as_ref().map(|answered| answered.answer.clone());
        let member = Member {
            kind,
            is_recorder,
            session: session.clone(),
            connection: Some(connection),
            media: None,
            view: Vec::new(),
            permissions: BTreeSet::new(),
            chats,
            thumbnails,
            wishes: Wishes::bounded(budget),
        };
        self.members.insert(identity.clone(), member);
        let permissions = self.permissions(&identity);
        self.members.get_mut(&identity).expect("just put in").permissions = permissions;
        self.connections.get_mut(&connection).expect("its join is under way").member = Some(identity.clone());
        if let Some(answered) = answered {
            self.connect_media(&identity, answered, pending.sources.clone(), pending.policy);
            self.tell_limits(&identity);
        }
        if kind != JoinKind::Client {
            let silence = self.config.media_silence;
            self.deadlines.set(Deadline::Silent(identity.clone()), now.instant + silence);
        }
        self.watch_token(now, &identity, pending.token_expires_at);
        self.watch_emptiness(now);
        if kind == JoinKind::Whip {
            for source in pending.sources {
                // What the role may not send is not published; the rest goes on.
                let _ = self.publish(now, &identity, source, false);
            }
        }
        let mut joined = self.joined(now, &identity, session, answer);
        joined.state = Some(Box::new(self.state.clone()));
        joined
    }

    fn watch_token(&mut self, now: Now, identity: &str, expires_at: Timestamp) {
        if self.config.end_at_token_expiry {
            let left = Duration::from_millis(expires_at.0.saturating_sub(now.wall.0).min(YEAR_MS));
            self.deadlines.set(Deadline::Token(identity.to_owned()), now.instant + left);
        }
    }

    /// Puts out whoever was there under this identity.
    fn replace(&mut self, now: Now, identity: &str, by_recorder: bool) {
        if by_recorder && self.state.is_present(identity) {
            let participant = identity.to_owned();
            self.log(now, None, EventKind::Left { participant, reason: LeaveReason::Left });
        }
        for source in self.tracks_of(identity) {
            self.take_track(now, None, identity, source);
        }
        self.drop_member(identity, EndReason::Replaced);
        self.watch_emptiness(now);
    }

    /// The session goes on, on this connection, and with a new media connection if there was an offer.
    pub(super) fn go_on(
        &mut self,
        now: Now,
        pending: Pending,
        session: &str,
        after: u64,
        answered: Option<Answered>,
    ) -> Result<Joined, ErrorReply> {
        let Pending { identity, connection, budget, .. } = pending;
        // While the offer was answered the session may have ended, or another may have begun in its place.
        let held = self.members.get(&identity).filter(|member| member.session == session);
        let held =
            held.ok_or_else(|| refusal(ErrorCode::SessionUnknown, "the session has ended; join anew"))?;
        let old = held.connection.filter(|old| *old != connection);
        let answer = answered.as_ref().map(|answered| answered.answer.clone());
        self.bound_budget(&identity, budget);
        if let Some(answered) = answered {
            self.move_media(now, &identity, answered, pending.sources, pending.policy);
        }
        // What was logged until now goes to the old connection too; the new one has it in its reply.
        self.send_unsent();
        if let Some(old) = old {
            self.close(old, EndReason::Replaced);
        }
        self.deadlines.clear(&Deadline::Resume(identity.clone()));
        self.watch_token(now, &identity, pending.token_expires_at);
        let permissions = self.permissions(&identity);
        let member =
            self.members.get_mut(&identity).expect("it was held above, and only its connection was closed");
        member.connection = Some(connection);
        member.permissions = permissions; // told in the reply
        self.connections.get_mut(&connection).expect("its join is under way").member = Some(identity.clone());
        let mut joined = self.joined(now, &identity, session.to_owned(), answer);
        joined.resumed = true;
        match self.events_after(after) {
            Some(events) => joined.events = Some(events),
            None => joined.state = Some(Box::new(self.state.clone())),
        }
        Ok(joined)
    }

    /// A member sends and sees over a new media connection from now on.
    fn move_media(
        &mut self,
        now: Now,
        identity: &str,
        answered: Answered,
        sources: BTreeSet<Source>,
        told: PeerPolicy,
    ) {
        let peer = answered.peer;
        // What the new connection has no m-line for goes with the old one.
        for source in self.tracks_of(identity) {
            if !sources.contains(&source) {
                self.take_track(now, None, identity, source);
            }
        }
        let was_good =
            self.members[identity].media.as_ref().is_none_or(|media| media.quality == Quality::Good);
        self.drop_media(identity);
        self.connect_media(identity, answered, sources, told);
        let tracks = self.state.participants.get(identity).map(|state| state.tracks.clone());
        for (source, track) in tracks.unwrap_or_default() {
            self.media(Command::Publish { peer, source });
            if track.muted {
                self.media(Command::SetMuted { peer, source, muted: true });
            }
        }
        self.tell_limits(identity);
        self.send_view(identity);
        self.watch_shortage(now, identity);
        if !was_good {
            self.send_quality(&[identity.to_owned()]);
        }
    }

    /// A member has a new media connection: it is held to the table, and others who show its pictures are sent them.
    fn connect_media(
        &mut self,
        identity: &str,
        answered: Answered,
        sources: BTreeSet<Source>,
        told: PeerPolicy,
    ) {
        let Answered { peer, slots, .. } = answered;
        let policy = self.policy(identity);
        if policy != told {
            self.media(Command::SetPolicy { peer, policy });
        }
        let slots = slots.into_iter().map(|(mid, kind)| SlotState { mid, kind, carries: None }).collect();
        let media = Media {
            peer,
            sources,
            slots,
            policy,
            connected: None,
            quality: Quality::Good,
            restart: None,
            stale_restarts: 0,
            stage: Vec::new(),
            flow: Flow::default(),
        };
        self.members.get_mut(identity).expect("called for a member").media = Some(media);
        self.peers.insert(peer, identity.to_owned());
        self.introduce(identity);
        self.refresh_views_of(identity);
        self.refresh_stages();
    }

    fn joined(&self, now: Now, identity: &str, session: String, answer: Option<String>) -> Joined {
        let media = self.members.get(identity).and_then(|member| member.media.as_ref());
        let slots = media.map_or(&[][..], |media| &media.slots).iter().map(|slot| {
            let (participant, source) = slot.carries.clone().unzip();
            Slot { mid: slot.mid.to_string(), kind: Some(slot.kind), participant, source }
        });
        Joined {
            version: VERSION,
            session,
            resumed: false,
            participant: identity.to_owned(),
            role: self.role(identity),
            room: self.state.room.clone(),
            permissions: self.permissions(identity).into_iter().collect(),
            answer,
            slots: slots.collect(),
            ice_servers: self.config.ice_servers.clone(),
            seq: self.state.seq,
            state: None,
            events: None,
            server_time: now.wall,
        }
    }
}
