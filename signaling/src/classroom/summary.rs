//! What the console shows of a room.

use serde::Serialize;
use sfu::io::Quality;
use sfu::media::Source;

use super::{Classroom, JoinKind};
use crate::lesson::RoomSettings;
use crate::permission::Role;
use crate::time::Timestamp;

/// A room as the console shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Summary {
    /// Name of the room.
    pub room: String,
    /// Id of the lesson.
    pub lesson: String,
    /// Number of the last event.
    pub seq: u64,
    /// Settings now.
    pub settings: RoomSettings,
    /// Those who are there, by identity; recorders are not among them.
    pub participants: Vec<ParticipantSummary>,
    /// How many recorders there are.
    pub recorders: usize,
    /// Joins that wait for the media machine.
    pub joining: usize,
    /// Raised hands.
    pub hands: usize,
}

/// A participant as the console shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ParticipantSummary {
    /// Who.
    pub identity: String,
    /// The shown name.
    pub name: String,
    /// The role now.
    pub role: Role,
    /// When it last came.
    pub joined_at: Timestamp,
    /// How it came; absent for someone from before a restart who has not come back yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<JoinKind>,
    /// Whether its signalling connection is up.
    pub connected: bool,
    /// Whether its media connection is up; absent when it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub media_connected: Option<bool>,
    /// How good the media connection is; absent when it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<Quality>,
    /// What it publishes, and whether that is muted.
    pub tracks: Vec<TrackSummary>,
    /// Whether it has the floor.
    pub floor: bool,
    /// Whether its hand is raised.
    pub hand: bool,
}

/// A track as the console shows it.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TrackSummary {
    /// Which.
    pub source: Source,
    /// Whether it is muted.
    pub muted: bool,
}

impl Classroom {
    /// The room for the console.
    pub fn summary(&self) -> Summary {
        let participants = self.state.present().map(|(identity, state)| {
            let member = self.members.get(identity);
            let media = member.and_then(|member| member.media.as_ref());
            let track = |(source, track): (&Source, &crate::lesson::TrackState)| TrackSummary {
                source: *source,
                muted: track.muted,
            };
            ParticipantSummary {
                identity: identity.clone(),
                name: state.name.clone(),
                role: state.role,
                joined_at: state.joined_at,
                kind: member.map(|member| member.kind),
                connected: member.is_some_and(|member| member.connection.is_some()),
                media_connected: media.map(|media| media.connected == Some(true)),
                quality: media.map(|media| media.quality),
                tracks: state.tracks.iter().map(track).collect(),
                floor: self.state.has_floor(identity),
                hand: self.state.hands.contains(identity),
            }
        });
        Summary {
            room: self.state.room.clone(),
            lesson: self.state.lesson.clone(),
            seq: self.state.seq,
            settings: self.state.settings.clone(),
            participants: participants.collect(),
            recorders: self.members.values().filter(|member| member.is_recorder).count(),
            joining: self.pending.len(),
            hands: self.state.hands.len(),
        }
    }
}
