//! `record` and `consent`: when a recording is made, and who is in it.
//!
//! Who has not agreed is left out: the media machine hands the recorder none of their packets ([`permission::ARCHIVE`]), and the
//! recorder is told nothing of what they do. After somebody has agreed, or does not any more, the recording gets the lesson anew.

use sfu::io::Command;
use sfu::media::Audience;

use super::{Classroom, refusal};
use crate::io::{Output, RecorderOrder};
use crate::lesson::{EventKind, LessonEvent, LessonState, RecordingEnd, RecordingLimit};
use crate::message::{Answer, ErrorCode, ErrorReply, RecordAction};
use crate::permission::{self, Permission};
use crate::time::Now;

impl Classroom {
    /// `record`
    pub(super) fn record(
        &mut self,
        now: Now,
        identity: &str,
        action: RecordAction,
    ) -> Result<Answer, ErrorReply> {
        self.require(identity, Permission::Record)?;
        let paused = self.state.recording.as_ref().map(|recording| recording.paused);
        match (action, paused) {
            (RecordAction::Start, None) => {
                if !self.config.can_record {
                    return Err(refusal(ErrorCode::Unavailable, "this server does not record"));
                }
                self.begin_recording(now, Some(identity));
            }
            (RecordAction::Pause, Some(false)) => {
                self.log(now, Some(identity), EventKind::RecordingPaused {});
                self.order(RecorderOrder::Pause);
                self.hand_over(Audience::NOBODY);
            }
            (RecordAction::Resume, Some(true)) => {
                self.log(now, Some(identity), EventKind::RecordingResumed {});
                self.order(RecorderOrder::Resume);
                self.hand_over(permission::ARCHIVE);
            }
            (RecordAction::Stop, Some(_)) => {
                self.end_recording(now, Some(identity), RecordingEnd::Stopped);
            }
            (RecordAction::Pause | RecordAction::Resume, None) => {
                return Err(refusal(ErrorCode::Conflict, "nothing is recorded"));
            }
            // It is so already.
            (RecordAction::Start | RecordAction::Resume | RecordAction::Pause, Some(_))
            | (RecordAction::Stop, None) => {}
        }
        Ok(Answer::Done {})
    }

    /// `consent`
    pub(super) fn consent(&mut self, now: Now, identity: &str, agreed: bool) -> Result<Answer, ErrorReply> {
        self.require_present(identity)?;
        if self.state.consents.get(identity) != Some(&agreed) {
            let before = self.state.may_be_recorded(identity);
            self.log(
                now,
                Some(identity),
                EventKind::RecordingConsent { participant: identity.to_owned(), agreed },
            );
            if self.state.may_be_recorded(identity) != before {
                self.recorded_people_changed(now, identity);
            }
        }
        Ok(Answer::Done {})
    }

    /// Somebody may be recorded from now on, or no longer.
    pub(super) fn recorded_people_changed(&mut self, now: Now, identity: &str) {
        self.refresh_policy(now, &[identity.to_owned()]);
        self.introduce(identity);
        if self.state.recording.is_some() {
            let state = Box::new(self.recorded_state());
            self.order(RecorderOrder::Snapshot(state));
        }
    }

    /// The recorder could not go on: the disk is full, or broken.
    pub fn handle_recorder_ended(&mut self, now: Now, recording: &str, reason: RecordingEnd) {
        if self.state.recording.as_ref().is_some_and(|current| current.id == recording) {
            self.end_recording(now, None, reason);
            self.settle(now);
        }
    }

    /// The recorder goes on without some of it, or has all again.
    pub fn handle_recorder_limited(&mut self, now: Now, recording: &str, limit: Option<RecordingLimit>) {
        let current = self.state.recording.as_ref().filter(|current| current.id == recording);
        if current.is_some_and(|current| current.limit != limit) {
            self.log(now, None, EventKind::RecordingLimited { limit });
            self.settle(now);
        }
    }

    /// Somebody has come: a recording begins if it is to begin by itself, or goes on after an interruption.
    pub(super) fn record_by_itself(&mut self, now: Now) {
        let is_led = self.state.present().any(|(_, state)| state.role.is_staff());
        let state = &self.state;
        let wanted = state.recording_interrupted
            || (state.settings.record_automatically && state.recordings.is_empty());
        if self.config.can_record && state.recording.is_none() && is_led && wanted {
            self.begin_recording(now, None);
        }
    }

    fn begin_recording(&mut self, now: Now, by: Option<&str>) {
        // Unique, as lessons and their numbers are.
        let recording = format!("{}-{}", self.state.lesson, self.state.seq + 1);
        self.log(now, by, EventKind::RecordingStarted { recording: recording.clone() });
        let state = Box::new(self.recorded_state());
        self.order(RecorderOrder::Begin { recording, state });
        for identity in self.members.keys().cloned().collect::<Vec<_>>() {
            self.introduce(&identity);
        }
        self.hand_over(permission::ARCHIVE);
    }

    /// Ends the recording, if one is made.
    pub(super) fn end_recording(&mut self, now: Now, by: Option<&str>, reason: RecordingEnd) {
        let Some(recording) = &self.state.recording else { return };
        // What somebody had held does not begin again by itself.
        let reason = match reason {
            RecordingEnd::Interrupted if recording.paused => RecordingEnd::Stopped,
            reason => reason,
        };
        self.hand_over(Audience::NOBODY);
        self.order(RecorderOrder::Stop);
        self.log(now, by, EventKind::RecordingStopped { reason });
    }

    fn hand_over(&mut self, audience: Audience) {
        self.media(Command::Record { room: self.id, audience });
    }

    /// Orders something from the recorder, if a recording is made.
    pub(super) fn order(&mut self, order: RecorderOrder) {
        if self.state.recording.is_some() {
            self.outputs.push_back(Output::Recorder(order));
        }
    }

    /// Names the sender of packets that may come from now on, and what of theirs is muted.
    pub(super) fn introduce(&mut self, identity: &str) {
        let Some(peer) = self.peer_of(identity) else { return };
        let Some(state) = self.state.participants.get(identity) else { return };
        if !self.state.may_be_recorded(identity) {
            return;
        }
        let (identity, name) = (identity.to_owned(), state.name.clone());
        let muted: Vec<_> =
            state.tracks.iter().filter(|(_, track)| track.muted).map(|(source, _)| *source).collect();
        self.order(RecorderOrder::Member { peer, identity, name });
        for source in muted {
            self.order(RecorderOrder::Muted { peer, source, muted: true });
        }
    }

    /// Tells the recorder of an event, if the event may be recorded.
    pub(super) fn keep(&mut self, event: &LessonEvent) {
        let is_about_itself = matches!(
            event.kind,
            EventKind::RecordingStarted { .. }
                | EventKind::RecordingPaused {}
                | EventKind::RecordingResumed {}
                | EventKind::RecordingLimited { .. }
                | EventKind::RecordingStopped { .. }
                | EventKind::RecordingConsent { .. }
        );
        if self.state.recording.is_none() || is_about_itself {
            return;
        }
        let says = matches!(event.kind, EventKind::Chat { .. }).then_some(event.by.as_deref()).flatten();
        let about = event.kind.participant().or(says);
        if about.is_none_or(|identity| self.state.may_be_recorded(identity)) {
            self.order(RecorderOrder::Event(Box::new(event.clone())));
        }
    }

    /// The active speaker, as far as the recording may know.
    pub(super) fn keep_speaker(&mut self, active: Option<&String>) {
        let Some(identity) = active.filter(|identity| self.state.may_be_recorded(identity)) else { return };
        if self.recorded_speaker.as_ref() != Some(identity) {
            self.recorded_speaker = Some(identity.clone());
            let identity = identity.clone();
            self.order(RecorderOrder::Speaker { identity });
        }
    }

    /// The lesson without those who have not agreed.
    fn recorded_state(&self) -> LessonState {
        let mut state = self.state.clone();
        let may = |identity: &String| self.state.may_be_recorded(identity);
        state.participants.retain(|identity, _| may(identity));
        state.hands.retain(may);
        state.floor.retain(may);
        state.removed.clear();
        state.chat.retain(|message| may(&message.by));
        state.consents.clear();
        state
    }
}
