//! `hand` and `floor`

use super::{Classroom, refusal};
use crate::lesson::EventKind;
use crate::message::{Answer, ErrorCode, ErrorReply};
use crate::permission::{Permission, Role};
use crate::time::Now;

impl Classroom {
    pub(super) fn hand(
        &mut self,
        now: Now,
        identity: &str,
        raised: bool,
        other: Option<String>,
    ) -> Result<Answer, ErrorReply> {
        let participant = other.unwrap_or_else(|| identity.to_owned());
        if participant != identity {
            self.require(identity, Permission::GiveFloor)?;
            if raised {
                return Err(refusal(ErrorCode::Forbidden, "a hand is raised by its owner only"));
            }
            self.require_present(&participant)?;
        } else if raised {
            self.require(identity, Permission::RaiseHand)?;
        }
        if self.state.hands.contains(&participant) != raised {
            let kind = if raised {
                EventKind::HandRaised { participant }
            } else {
                EventKind::HandLowered { participant }
            };
            self.log(now, Some(identity), kind);
        }
        Ok(Answer::Done {})
    }

    pub(super) fn floor(
        &mut self,
        now: Now,
        identity: &str,
        participant: String,
        granted: bool,
    ) -> Result<Answer, ErrorReply> {
        // One's own floor may be given back.
        if granted || participant != identity {
            self.require(identity, Permission::GiveFloor)?;
        }
        self.require_present(&participant)?;
        if granted && self.role(&participant) != Role::Student {
            return Err(refusal(
                ErrorCode::Conflict,
                "the floor is for students; others need none or may not have it",
            ));
        }
        if self.state.has_floor(&participant) != granted {
            let about = participant.clone();
            let kind = if granted {
                EventKind::FloorGiven { participant }
            } else {
                EventKind::FloorTaken { participant }
            };
            self.log(now, Some(identity), kind);
            self.refresh_policy(now, &[about]);
        }
        Ok(Answer::Done {})
    }
}
