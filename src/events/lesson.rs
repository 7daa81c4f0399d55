//! What of a lesson's log is told.

use signaling::lesson::{EventKind, LessonEvent, RecordingEnd};

use super::What;

/// What an event of the lesson tells others, if anything. `recording` finds the id of the recording that is being made, which the lesson's own
/// events name only when it begins.
///
/// # Errors
/// Those of `recording`.
pub(super) fn told<E>(
    event: &LessonEvent,
    recording: impl FnOnce() -> Result<Option<String>, E>,
) -> Result<Option<What>, E> {
    Ok(Some(match &event.kind {
        EventKind::Opened { settings, .. } => {
            What::RoomOpened { title: settings.title.clone(), preset: settings.preset }
        }
        EventKind::Closed {} => What::RoomEnded {},
        EventKind::Joined { participant, name, role } => {
            What::ParticipantJoined { identity: participant.clone(), name: name.clone(), role: *role }
        }
        EventKind::Left { participant, reason } => {
            What::ParticipantLeft { identity: participant.clone(), reason: *reason }
        }
        EventKind::RecordingStarted { recording } => What::RecordingStarted { recording: recording.clone() },
        EventKind::RecordingPaused {} => What::RecordingPaused { recording: recording()? },
        EventKind::RecordingResumed {} => What::RecordingResumed { recording: recording()? },
        EventKind::RecordingStopped { reason: RecordingEnd::Failed | RecordingEnd::DiskFull } => {
            What::RecordingFailed { recording: recording()? }
        }
        EventKind::RecordingStopped { reason } => {
            What::RecordingStopped { recording: recording()?, reason: *reason }
        }
        EventKind::Published { .. }
        | EventKind::Unpublished { .. }
        | EventKind::Muted { .. }
        | EventKind::HandRaised { .. }
        | EventKind::HandLowered { .. }
        | EventKind::FloorGiven { .. }
        | EventKind::FloorTaken { .. }
        | EventKind::RoleChanged { .. }
        | EventKind::Chat { .. }
        | EventKind::SettingsChanged { .. }
        | EventKind::RecordingLimited { .. }
        | EventKind::RecordingConsent { .. } => return Ok(None),
    }))
}
