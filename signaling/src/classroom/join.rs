//! `join`: a new session, or going on with one.

use std::collections::BTreeSet;

use sfu::id::PeerId;
use sfu::io::{AddPeer, Command, OfferError, PeerPolicy};
use sfu::media::{Kind, Mid, Source};

use super::deadlines::Deadline;
use super::rate::{Bucket, REQUESTS};
use super::request::check_offer;
use super::{Classroom, Connection, JoinKind, refusal};
use crate::io::{ConnectionId, RequestId};
use crate::message::{Answer, ErrorCode, ErrorReply, Join, VERSION};
use crate::permission::Role;
use crate::time::{Now, Timestamp};
use crate::token::VerifiedToken;

/// Bits of a [`PeerId`] that count within a room; those above are the room's number.
const PEER_BITS: u32 = 24;

/// A join that was let in.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) identity: String,
    pub(super) name: String,
    /// Of the token.
    pub(super) role: Role,
    pub(super) token_expires_at: Timestamp,
    /// Of the token, in MB.
    pub(super) budget: Option<u32>,
    pub(super) connection: ConnectionId,
    pub(super) request: RequestId,
    pub(super) kind: JoinKind,
    pub(super) goes_on: GoesOn,
    pub(super) sources: BTreeSet<Source>,
    /// What the media machine was told.
    pub(super) policy: PeerPolicy,
}

/// Whether a join begins a session or goes on with one.
#[derive(Debug)]
pub(super) enum GoesOn {
    No { session: String },
    Yes { session: String, after: u64 },
}

/// What the media machine has made of an offer.
pub(super) struct Answered {
    pub(super) peer: PeerId,
    pub(super) answer: String,
    pub(super) slots: Vec<(Mid, Kind)>,
}

impl Classroom {
    /// `join`. `session` is a fresh secret of 128 random bits for the case that a session begins.
    #[expect(clippy::too_many_arguments, reason = "each is another thing that only the shell knows")]
    pub fn handle_join(
        &mut self,
        now: Now,
        connection: ConnectionId,
        request: RequestId,
        token: &VerifiedToken,
        session: String,
        kind: JoinKind,
        join: Join,
    ) {
        let whip = kind == JoinKind::Whip;
        let resume = join.resume.clone();
        let admitted = self.admit(now, connection, token, kind, &join);
        let result = admitted.and_then(|goes_on| {
            let sources = parse_sources(&join)?;
            let can_send = match &join.offer {
                Some(offer) if whip => sent_by(offer),
                _ => sources.iter().map(|(_, source)| *source).collect(),
            };
            let role = self.role_for(token);
            let pending = Pending {
                identity: token.identity().to_owned(),
                name: token.name().to_owned(),
                role: token.role(),
                token_expires_at: token.expires_at(),
                budget: token.budget_megabytes(),
                connection,
                request,
                kind,
                goes_on: match resume.filter(|_| goes_on) {
                    Some(resume) => GoesOn::Yes { session: resume.session, after: resume.after },
                    None => GoesOn::No { session },
                },
                sources: can_send,
                policy: self.policy_as(token.identity(), role),
            };
            match join.offer {
                Some(offer) => self.add_peer(now, pending, offer, sources),
                None => self.complete_join(now, pending, None),
            }
            Ok(())
        });
        if let Err(error) = result {
            self.reply(connection, request, Err(error));
        }
        self.settle(now);
    }

    /// Whether this join is let in, and if so, whether a session goes on.
    fn admit(
        &mut self,
        now: Now,
        connection: ConnectionId,
        token: &VerifiedToken,
        kind: JoinKind,
        join: &Join,
    ) -> Result<bool, ErrorReply> {
        if self.ended {
            return Err(refusal(ErrorCode::Unavailable, "the room is closing; join anew"));
        }
        let fresh = Connection {
            requests: Bucket::default(),
            long_answers: Bucket::default(),
            member: None,
            joining: None,
        };
        let entry = self.connections.entry(connection).or_insert(fresh);
        if !entry.requests.take(REQUESTS, now.instant) {
            return Err(refusal(ErrorCode::RateLimited, "too many requests; wait a moment"));
        }
        if join.version != VERSION {
            return Err(refusal(
                ErrorCode::UnsupportedVersion,
                format!("this server speaks version {VERSION}"),
            ));
        }
        if entry.joining.is_some() {
            return Err(refusal(ErrorCode::Conflict, "a join is under way"));
        }
        token.check_room(&self.state.room).map_err(|error| refusal(error.code(), error.to_string()))?;
        if now.wall >= token.expires_at() {
            return Err(refusal(ErrorCode::TokenExpired, "the token's time is over"));
        }
        let identity = token.identity();
        let joined_as = entry.member.as_deref();
        let member = self.members.get(identity);
        // WHIP and WHEP resources have no sessions that go on.
        let held = member.filter(|held| held.kind == JoinKind::Client && kind == JoinKind::Client);
        let resume =
            join.resume.as_ref().filter(|resume| held.is_some_and(|held| held.session == resume.session));
        // A session that is here already may come again only for a new media connection.
        if joined_as.is_some_and(|joined| joined != identity || resume.is_none() || join.offer.is_none()) {
            return Err(refusal(ErrorCode::AlreadyJoined, "this connection has joined already"));
        }
        if self.state.removed.iter().any(|removed| removed == identity) {
            return Err(refusal(ErrorCode::Removed, "you were taken out of this lesson"));
        }
        if let Some(offer) = &join.offer {
            check_offer(offer)?;
        }
        if let Some(resume) = resume {
            self.limit_long_answers(now, connection, Some(resume.after))?;
            return Ok(true);
        }
        if join.resume.is_some() && join.offer.is_none() {
            return Err(refusal(ErrorCode::SessionUnknown, "there is no such session (any more); join anew"));
        }
        self.admit_new(token)?;
        self.limit_long_answers(now, connection, None)?;
        Ok(false)
    }

    /// Locks and limits are for those who are not there yet; teachers always come in.
    fn admit_new(&self, token: &VerifiedToken) -> Result<(), ErrorReply> {
        let (identity, role) = (token.identity(), self.role_for(token));
        if role == Role::Recorder || self.state.is_present(identity) {
            return Ok(());
        }
        if self.state.settings.locked && !role.is_staff() {
            return Err(refusal(ErrorCode::RoomLocked, "the room is locked"));
        }
        if role != Role::Teacher {
            let mut people: BTreeSet<&str> =
                self.state.present().map(|(identity, _)| identity.as_str()).collect();
            let joining = self.pending.values().filter(|pending| pending.role != Role::Recorder);
            people.extend(joining.map(|pending| pending.identity.as_str()));
            people.remove(identity);
            if people.len() >= usize::try_from(self.state.settings.max_participants).unwrap_or(usize::MAX) {
                return Err(refusal(ErrorCode::RoomFull, "the room takes no more participants"));
            }
        }
        Ok(())
    }

    /// What a teacher has made of this identity in this lesson, else what the token says.
    fn role_for(&self, token: &VerifiedToken) -> Role {
        self.role_of_new(token.identity(), token.role())
    }

    pub(super) fn role_of_new(&self, identity: &str, token_role: Role) -> Role {
        if token_role == Role::Recorder {
            return Role::Recorder;
        }
        self.given_roles.get(identity).copied().unwrap_or(token_role)
    }

    /// Has the media machine answer the offer; the join goes on when it has.
    fn add_peer(&mut self, now: Now, pending: Pending, offer: String, sources: Vec<(Mid, Source)>) {
        self.peer_count += 1;
        let peer = PeerId((self.id.0 << PEER_BITS) | self.peer_count);
        let policy = pending.policy;
        if let Some(entry) = self.connections.get_mut(&pending.connection) {
            entry.joining = Some(peer);
        }
        self.pending.insert(peer, pending);
        self.deadlines.set(Deadline::Answer(peer), now.instant + self.config.media_answer);
        self.media(Command::AddPeer(Box::new(AddPeer { room: self.id, peer, offer, sources, policy })));
    }

    /// The media machine has answered the offer of a join.
    pub(super) fn join_answered(&mut self, now: Now, peer: PeerId, answer: String, slots: Vec<(Mid, Kind)>) {
        let Some(pending) = self.take_pending(peer) else { return };
        self.complete_join(now, pending, Some(Answered { peer, answer, slots }));
    }

    /// The media machine has refused the offer of a join.
    pub(super) fn join_refused(&mut self, peer: PeerId, error: &OfferError) {
        let Some(pending) = self.take_pending(peer) else { return };
        self.reply(pending.connection, pending.request, Err(offer_refusal(error)));
    }

    /// The media machine has not answered.
    pub(super) fn give_up_join(&mut self, peer: PeerId) {
        self.abandon_join(
            peer,
            refusal(ErrorCode::Unavailable, "the media server does not answer; try again"),
        );
    }

    /// Ends a join that waits for the media machine.
    pub(super) fn abandon_join(&mut self, peer: PeerId, error: ErrorReply) {
        let Some(pending) = self.take_pending(peer) else { return };
        self.media(Command::RemovePeer { peer });
        self.reply(pending.connection, pending.request, Err(error));
    }

    /// Somebody was removed while joining.
    pub(super) fn refuse_pending_of(&mut self, identity: &str) {
        let joining = self.pending.iter().filter(|(_, pending)| pending.identity == identity);
        let joining: Vec<PeerId> = joining.map(|(peer, _)| *peer).collect();
        for peer in joining {
            self.abandon_join(peer, refusal(ErrorCode::Removed, "you were taken out of this lesson"));
        }
    }

    fn take_pending(&mut self, peer: PeerId) -> Option<Pending> {
        let pending = self.pending.remove(&peer)?;
        self.deadlines.clear(&Deadline::Answer(peer));
        if let Some(entry) = self.connections.get_mut(&pending.connection) {
            entry.joining = None;
        }
        Some(pending)
    }

    /// The offer is answered (or there was none).
    fn complete_join(&mut self, now: Now, pending: Pending, answered: Option<Answered>) {
        let (connection, request) = (pending.connection, pending.request);
        let peer = answered.as_ref().map(|answered| answered.peer);
        let result = match pending.goes_on {
            GoesOn::No { ref session } => {
                let session = session.clone();
                Ok(self.begin_session(now, pending, session, answered))
            }
            GoesOn::Yes { ref session, after } => {
                let session = session.clone();
                self.go_on(now, pending, &session, after, answered)
            }
        };
        if let (Err(_), Some(peer)) = (&result, peer) {
            self.media(Command::RemovePeer { peer });
        }
        let identity = self.connections.get(&connection).and_then(|entry| entry.member.clone());
        self.reply(connection, request, result.map(|joined| Answer::Joined(Box::new(joined))));
        if let Some(identity) = identity {
            self.tell_newcomer(&identity);
            self.record_by_itself(now);
        }
    }
}

/// What a client is told when its offer is refused.
pub(super) fn offer_refusal(error: &OfferError) -> ErrorReply {
    let code = match error {
        OfferError::TooLong => ErrorCode::TooLarge,
        OfferError::Busy | OfferError::NoRoom => ErrorCode::Unavailable,
        _ => ErrorCode::OfferRefused,
    };
    refusal(code, error.to_string())
}

fn parse_sources(join: &Join) -> Result<Vec<(Mid, Source)>, ErrorReply> {
    let parse = |(source, mid): (&Source, &String)| {
        // The engine's mids have 16 alphanumeric characters at most, and it would bend others to fit.
        let fits = (1..=16).contains(&mid.len()) && mid.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let bad = || refusal(ErrorCode::BadRequest, "a mid in `sources` has 1 to 16 letters and digits");
        if fits { Ok((Mid::from(mid.as_str()), *source)) } else { Err(bad()) }
    };
    join.sources.iter().map(parse).collect()
}

/// What a WHIP offer sends: a microphone if it has an audio m-line that sends, a camera likewise (RFC 9725, section 4.2).
fn sent_by(offer: &str) -> BTreeSet<Source> {
    let mut sources = BTreeSet::new();
    for section in offer.split("\nm=").skip(1) {
        let mut words = section.split_whitespace();
        let (kind, port) = (words.next(), words.next());
        // Without a direction it is `sendrecv` (RFC 8866, section 6.7).
        let says = |attributes: &[&str]| section.lines().any(|line| attributes.contains(&line.trim_end()));
        // Port 0 disables an m-line unless it is `bundle-only` (RFC 8843, section 6).
        let open = port != Some("0") || says(&["a=bundle-only"]);
        if open && !says(&["a=recvonly", "a=inactive"]) {
            match kind {
                Some("audio") => sources.insert(Source::Microphone),
                Some("video") => sources.insert(Source::Camera),
                _ => false,
            };
        }
    }
    sources
}
