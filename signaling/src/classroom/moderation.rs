//! `settings`, `role` and `remove`

use std::collections::BTreeSet;

use super::{Classroom, refusal};
use crate::lesson::{EventKind, LeaveReason};
use crate::message::{Answer, EndReason, ErrorCode, ErrorReply, SettingsChange};
use crate::permission::{Permission, Role};
use crate::time::Now;
use crate::token::{TITLE_BYTES_MAX, is_plain};

/// Most participants that a room can be set to.
pub const PARTICIPANTS_MAX: u32 = 10_000;

impl Classroom {
    pub(super) fn change_settings(
        &mut self,
        now: Now,
        identity: &str,
        change: &SettingsChange,
    ) -> Result<Answer, ErrorReply> {
        self.require(identity, Permission::Settings)?;
        if let Some(title) = &change.title {
            if title.len() > TITLE_BYTES_MAX {
                return Err(refusal(
                    ErrorCode::TooLarge,
                    format!("the title is longer than {TITLE_BYTES_MAX} bytes"),
                ));
            }
            if !is_plain(title, TITLE_BYTES_MAX) {
                return Err(refusal(ErrorCode::BadRequest, "the title has control characters"));
            }
        }
        if change.max_participants.is_some_and(|most| !(1..=PARTICIPANTS_MAX).contains(&most)) {
            return Err(refusal(
                ErrorCode::BadRequest,
                format!("maxParticipants is 1 to {PARTICIPANTS_MAX}"),
            ));
        }
        let settings = change.apply(&self.state.settings);
        if settings != self.state.settings {
            self.log(now, Some(identity), EventKind::SettingsChanged { settings });
            // Also those who were there before a restart and have not come back yet.
            let present = self.state.present().map(|(identity, _)| identity);
            let everybody: BTreeSet<String> = self.members.keys().chain(present).cloned().collect();
            self.refresh_policy(now, &everybody.into_iter().collect::<Vec<_>>());
        }
        Ok(Answer::Done {})
    }

    pub(super) fn change_role(
        &mut self,
        now: Now,
        identity: &str,
        participant: String,
        role: Role,
    ) -> Result<Answer, ErrorReply> {
        self.require(identity, Permission::SetRole)?;
        if participant == identity {
            // Else a lesson could be left without anybody who leads it.
            return Err(refusal(ErrorCode::Forbidden, "nobody changes their own role"));
        }
        if role == Role::Recorder {
            return Err(refusal(ErrorCode::BadRequest, "a participant cannot become a recorder"));
        }
        self.require_present(&participant)?;
        if self.role(&participant) != role {
            self.given_roles.insert(participant.clone(), role);
            if role != Role::Student {
                self.lower_and_silence(now, &participant);
            }
            let was_recorded = self.state.may_be_recorded(&participant);
            let (about, before) = (participant.clone(), self.role(&participant).class());
            self.log(now, Some(identity), EventKind::RoleChanged { participant, role });
            self.refresh_policy(now, std::slice::from_ref(&about));
            if self.state.may_be_recorded(&about) != was_recorded {
                self.recorded_people_changed(now, &about);
            }
            if self.role(&about).class() != before {
                // It may know more of the others now.
                self.tell_quality(&about);
            }
        }
        Ok(Answer::Done {})
    }

    /// Hands and the floor are for students.
    pub(super) fn lower_and_silence(&mut self, now: Now, identity: &str) {
        let participant = identity.to_owned();
        if self.state.hands.contains(&participant) {
            self.log(now, None, EventKind::HandLowered { participant: participant.clone() });
        }
        if self.state.has_floor(identity) {
            self.log(now, None, EventKind::FloorTaken { participant });
        }
    }

    /// Also of somebody who has left already, so that they do not come back.
    pub(super) fn remove(
        &mut self,
        now: Now,
        identity: &str,
        participant: &str,
    ) -> Result<Answer, ErrorReply> {
        self.require(identity, Permission::Remove)?;
        if participant == identity {
            return Err(refusal(ErrorCode::BadRequest, "to go, leave"));
        }
        let is_recorder = self.members.get(participant).is_some_and(|member| member.is_recorder);
        if is_recorder || !self.state.participants.contains_key(participant) {
            return Err(refusal(ErrorCode::NotFound, "there is no such participant"));
        }
        self.require_rank(identity, participant)?;
        if !self.state.removed.iter().any(|removed| removed == participant) {
            self.depart(now, participant, LeaveReason::Removed, Some(identity), EndReason::Removed, None);
            self.refuse_pending_of(participant);
        }
        Ok(Answer::Done {})
    }
}
