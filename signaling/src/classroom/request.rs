//! Requests of those who have joined.

use sfu::io::Command;
use sfu::limits::OFFER_BYTES;

use super::deadlines::Deadline;
use super::rate::REQUESTS;
use super::{Classroom, refusal};
use crate::io::{ConnectionId, RequestId};
use crate::lesson::LeaveReason;
use crate::message::{Answer, EndReason, ErrorCode, ErrorReply, Request};
use crate::time::Now;

/// Longest `candidate:…` line, in bytes. RFC 8839, section 5.1, has no bound; real ones have under 250.
pub const CANDIDATE_BYTES_MAX: usize = 1024;

impl Classroom {
    /// A request after `join`.
    pub fn handle_request(
        &mut self,
        now: Now,
        connection: ConnectionId,
        request: RequestId,
        message: Request,
    ) {
        if let Some(result) = self.answer(now, connection, request, message).transpose() {
            self.reply(connection, request, result);
        }
        self.settle(now);
    }

    /// The answer, or nothing when it comes (or has come) by another way.
    fn answer(
        &mut self,
        now: Now,
        connection: ConnectionId,
        request: RequestId,
        message: Request,
    ) -> Result<Option<Answer>, ErrorReply> {
        let not_joined = || refusal(ErrorCode::NotJoined, "join first");
        let entry = self.connections.get_mut(&connection).ok_or_else(not_joined)?;
        if !entry.requests.take(REQUESTS, now.instant) {
            return Err(refusal(ErrorCode::RateLimited, "too many requests; wait a moment"));
        }
        let identity = entry.member.clone().ok_or_else(not_joined)?;
        let identity = identity.as_str();
        let answer = match message {
            Request::Restart { offer } => {
                self.restart(now, identity, connection, request, offer)?;
                return Ok(None);
            }
            Request::Candidate { candidate } => self.candidate(identity, candidate)?,
            Request::Publish { source, muted } => self.publish(now, identity, source, muted)?,
            Request::Unpublish { source } => self.unpublish(now, identity, source),
            Request::Mute { source, muted, participant } => {
                self.mute(now, identity, source, muted, participant)?
            }
            Request::MuteAll { source } => self.mute_all(now, identity, source)?,
            Request::View { pictures } => self.view(now, identity, pictures)?,
            Request::Receive { mode, budget_megabytes } => self.receive(identity, mode, budget_megabytes)?,
            Request::Sending { source, limit } => self.sending(identity, source, limit)?,
            Request::Thumbnail { source, jpeg } => self.thumbnail(now, identity, source, jpeg.as_deref())?,
            Request::Hand { raised, participant } => self.hand(now, identity, raised, participant)?,
            Request::Floor { participant, granted } => self.floor(now, identity, participant, granted)?,
            Request::Chat { text, nonce } => self.chat(now, identity, text, nonce)?,
            Request::Settings(change) => self.change_settings(now, identity, &change)?,
            Request::Role { participant, role } => self.change_role(now, identity, participant, role)?,
            Request::Record { action } => self.record(now, identity, action)?,
            Request::Consent { agreed } => self.consent(now, identity, agreed)?,
            Request::Remove { participant } => self.remove(now, identity, &participant)?,
            Request::Sync { after } => self.sync(now, connection, after)?,
            Request::Leave {} => {
                let reply = Some((connection, request));
                self.depart(now, identity, LeaveReason::Left, Some(identity), EndReason::Left, reply);
                return Ok(None);
            }
            Request::End {} => {
                self.end(now, identity, connection, request)?;
                return Ok(None);
            }
        };
        Ok(Some(answer))
    }

    fn restart(
        &mut self,
        now: Now,
        identity: &str,
        connection: ConnectionId,
        request: RequestId,
        offer: String,
    ) -> Result<(), ErrorReply> {
        check_offer(&offer)?;
        let member = self.members.get_mut(identity).expect("a request comes from a member");
        let media = member.media.as_mut().ok_or_else(no_media)?;
        if media.restart.is_some() {
            return Err(refusal(ErrorCode::Conflict, "a restart is under way"));
        }
        media.restart = Some((connection, request));
        let peer = media.peer;
        self.deadlines.set(Deadline::Restart(identity.to_owned()), now.instant + self.config.media_answer);
        self.media(Command::RestartPeer { peer, offer });
        Ok(())
    }

    fn candidate(&mut self, identity: &str, candidate: String) -> Result<Answer, ErrorReply> {
        if candidate.len() > CANDIDATE_BYTES_MAX {
            return Err(refusal(ErrorCode::TooLarge, "the candidate is too long"));
        }
        let peer = self.peer_of(identity).ok_or_else(no_media)?;
        // An empty line is the end of the candidates (RFC 8838, section 13); there is nothing to do then.
        if !candidate.is_empty() {
            self.media(Command::AddCandidate { peer, candidate });
        }
        Ok(Answer::Done {})
    }

    /// The media machine has not answered a restart.
    pub(super) fn give_up_restart(&mut self, identity: &str) {
        let Some(media) = self.members.get_mut(identity).and_then(|member| member.media.as_mut()) else {
            return;
        };
        if let Some((connection, request)) = media.restart.take() {
            media.stale_restarts += 1;
            self.deadlines.clear(&Deadline::Restart(identity.to_owned()));
            let error = refusal(ErrorCode::Unavailable, "the media connection does not answer; join anew");
            self.reply(connection, request, Err(error));
        }
    }
}

pub(super) fn check_offer(offer: &str) -> Result<(), ErrorReply> {
    if offer.len() > OFFER_BYTES {
        return Err(refusal(ErrorCode::TooLarge, format!("the offer is longer than {OFFER_BYTES} bytes")));
    }
    Ok(())
}

fn no_media() -> ErrorReply {
    refusal(ErrorCode::Conflict, "there is no media connection; join with an offer")
}
