//! What somebody who has just come, or come back, is told besides the answer to its join: that of which only changes are told
//! otherwise.

use super::{Classroom, JoinKind};
use crate::message::{MediaState, Notice};

impl Classroom {
    /// After the answer to a join.
    pub(super) fn tell_newcomer(&mut self, identity: &str) {
        self.tell_media_state(identity);
        self.tell_speakers(identity);
        self.tell_quality(identity);
        self.tell_adaptation(identity);
        self.tell_looks(identity);
    }

    /// A session that goes on may have missed how its media does. A new media connection has no state yet.
    fn tell_media_state(&mut self, identity: &str) {
        let member = self.members.get(identity).filter(|member| member.kind == JoinKind::Client);
        if let Some(connected) = member.and_then(|member| member.media.as_ref()?.connected) {
            let state = if connected { MediaState::Connected } else { MediaState::Disconnected };
            self.notify(self.listener(identity).into_iter().collect(), Notice::Media { state });
        }
    }

    /// Who speaks, as the others of its class were told last, without those who have gone or may not be heard since. Also that nobody
    /// does: one who comes back may remember somebody.
    fn tell_speakers(&mut self, identity: &str) {
        let class = self.role(identity).class();
        let Some(Notice::Speakers { levels, active }) = self.last_speakers.get(&class.0) else { return };
        let heard = |who: &String| self.members.contains_key(who) && self.is_heard(who, class);
        let notice = Notice::Speakers {
            levels: levels.iter().filter(|level| heard(&level.participant)).cloned().collect(),
            active: active.clone().filter(heard),
        };
        self.notify(self.listener(identity).into_iter().collect(), notice);
    }
}
