//! `chat`

use super::rate::CHATS;
use super::{Classroom, refusal};
use crate::lesson::EventKind;
use crate::message::{Answer, ErrorCode, ErrorReply};
use crate::permission::Permission;
use crate::time::Now;

/// Longest message, in bytes (HARDENING, default limits).
pub const CHAT_BYTES_MAX: usize = 4 * 1024;
/// Longest nonce, in bytes.
pub const NONCE_BYTES_MAX: usize = 64;

impl Classroom {
    pub(super) fn chat(
        &mut self,
        now: Now,
        identity: &str,
        text: String,
        nonce: String,
    ) -> Result<Answer, ErrorReply> {
        self.require(identity, Permission::Chat)?;
        if text.len() > CHAT_BYTES_MAX {
            return Err(refusal(
                ErrorCode::TooLarge,
                format!("the text is longer than {CHAT_BYTES_MAX} bytes"),
            ));
        }
        if nonce.is_empty() || nonce.len() > NONCE_BYTES_MAX {
            return Err(refusal(ErrorCode::BadRequest, format!("a nonce has 1 to {NONCE_BYTES_MAX} bytes")));
        }
        if text.trim().is_empty() {
            return Err(refusal(ErrorCode::BadRequest, "the text is empty"));
        }
        // A retry after a lost acknowledgement: said once.
        let said =
            self.state.chat.iter().rev().find(|message| message.by == identity && message.nonce == nonce);
        if let Some(said) = said {
            return Ok(Answer::Said { seq: said.seq });
        }
        let member = self.members.get_mut(identity).expect("a request comes from a member");
        if !member.chats.take(CHATS, now.instant) {
            return Err(refusal(ErrorCode::RateLimited, "too many messages; wait a moment"));
        }
        let seq = self.log(now, Some(identity), EventKind::Chat { text, nonce });
        Ok(Answer::Said { seq })
    }
}
