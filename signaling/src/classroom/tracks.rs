//! `publish`, `unpublish`, `mute` and `mute-all`

use sfu::io::Command;
use sfu::media::Source;

use super::{Classroom, refusal};
use crate::io::RecorderOrder;
use crate::lesson::EventKind;
use crate::message::{Answer, ErrorCode, ErrorReply};
use crate::permission::{self, Permission, Role};
use crate::time::Now;

impl Classroom {
    pub(super) fn publish(
        &mut self,
        now: Now,
        identity: &str,
        source: Source,
        muted: bool,
    ) -> Result<Answer, ErrorReply> {
        self.require(identity, permission::to_publish(source))?;
        let Some(media) = self.members.get(identity).and_then(|member| member.media.as_ref()) else {
            return Err(refusal(ErrorCode::Conflict, "there is no media connection; join with an offer"));
        };
        if !media.sources.contains(&source) {
            return Err(refusal(ErrorCode::BadRequest, "the offer named no m-line for this source"));
        }
        let peer = media.peer;
        match self.track_muted(identity, source) {
            Some(now_muted) if now_muted == muted => {}
            Some(_) => self.set_muted(now, Some(identity), identity, source, muted),
            None => {
                let participant = identity.to_owned();
                self.log(now, Some(identity), EventKind::Published { participant, source, muted });
                self.media(Command::Publish { peer, source });
                if muted {
                    self.media(Command::SetMuted { peer, source, muted });
                }
            }
        }
        Ok(Answer::Done {})
    }

    /// Nothing happens when it is not published: the server may have been faster, such as when the floor was taken.
    pub(super) fn unpublish(&mut self, now: Now, identity: &str, source: Source) -> Answer {
        if self.track_muted(identity, source).is_some() {
            self.take_track(now, Some(identity), identity, source);
        }
        Answer::Done {}
    }

    pub(super) fn mute(
        &mut self,
        now: Now,
        identity: &str,
        source: Source,
        muted: bool,
        other: Option<String>,
    ) -> Result<Answer, ErrorReply> {
        let participant = other.unwrap_or_else(|| identity.to_owned());
        if participant != identity {
            self.require(identity, Permission::MuteOthers)?;
            self.require_present(&participant)?;
            self.require_rank(identity, &participant)?;
            if !muted {
                return Err(refusal(ErrorCode::Forbidden, "nobody is unmuted by somebody else"));
            }
        }
        match self.track_muted(&participant, source) {
            None => Err(refusal(ErrorCode::NotFound, "this source is not published")),
            Some(now_muted) => {
                if now_muted != muted {
                    self.set_muted(now, Some(identity), &participant, source, muted);
                }
                Ok(Answer::Done {})
            }
        }
    }

    pub(super) fn mute_all(
        &mut self,
        now: Now,
        identity: &str,
        source: Source,
    ) -> Result<Answer, ErrorReply> {
        self.require(identity, Permission::MuteOthers)?;
        let heard = self.state.present().filter(|(_, state)| {
            state.role == Role::Student && state.tracks.get(&source).is_some_and(|track| !track.muted)
        });
        let heard: Vec<String> = heard.map(|(identity, _)| identity.clone()).collect();
        for participant in heard {
            self.set_muted(now, Some(identity), &participant, source, true);
        }
        Ok(Answer::Done {})
    }

    /// Whether a track is muted; nothing if there is no such track.
    pub(super) fn track_muted(&self, identity: &str, source: Source) -> Option<bool> {
        Some(self.state.participants.get(identity)?.tracks.get(&source)?.muted)
    }

    fn set_muted(&mut self, now: Now, by: Option<&str>, identity: &str, source: Source, muted: bool) {
        let participant = identity.to_owned();
        self.log(now, by, EventKind::Muted { participant, source, muted });
        if let Some(peer) = self.peer_of(identity) {
            self.media(Command::SetMuted { peer, source, muted });
            self.order(RecorderOrder::Muted { peer, source, muted });
        }
    }

    /// Takes a track out of the lesson and out of the media.
    pub(super) fn take_track(&mut self, now: Now, by: Option<&str>, identity: &str, source: Source) {
        self.forget_track(identity, source);
        let participant = identity.to_owned();
        self.log(now, by, EventKind::Unpublished { participant, source });
        if let Some(peer) = self.peer_of(identity) {
            self.media(Command::Unpublish { peer, source });
            self.order(RecorderOrder::TrackEnded { peer, source });
        }
    }
}
