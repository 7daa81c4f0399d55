//! Words for media that both the lesson and the media machine use.

use serde::{Deserialize, Serialize};

pub use str0m::media::{Mid, Rid};

/// What a track shows or sounds: a participant has at most one track of each source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The voice of the participant.
    Microphone,
    /// The face of the participant.
    Camera,
    /// A shared screen or window.
    Screen,
    /// The sound of the shared screen.
    ScreenAudio,
    /// A lab desktop that Lectern shows as a track.
    Desktop,
}

impl Source {
    /// All sources, in the order of their discriminants; `Source::ALL[s.index()] == s`.
    pub const ALL: [Source; 5] =
        [Source::Microphone, Source::Camera, Source::Screen, Source::ScreenAudio, Source::Desktop];

    /// Position in [`Source::ALL`], for tables per source.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether it is sound or a picture.
    pub const fn kind(self) -> Kind {
        match self {
            Source::Microphone | Source::ScreenAudio => Kind::Audio,
            Source::Camera | Source::Screen | Source::Desktop => Kind::Video,
        }
    }
}

/// Sound or picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Sound.
    Audio,
    /// A picture.
    Video,
}

/// A set of classes of people (teachers, students, …): who may see or hear a track.
///
/// The lesson machine maps roles to bits; the media machine only intersects them. A track reaches a peer when the
/// track's audience contains the peer's class, so that visibility costs one `and` per pair and never grows with
/// the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Audience(pub u8);

impl Audience {
    /// Nobody.
    pub const NOBODY: Audience = Audience(0);
    /// Every class.
    pub const EVERYBODY: Audience = Audience(u8::MAX);

    /// Whether the two have a class in common.
    pub const fn meets(self, other: Audience) -> bool {
        self.0 & other.0 != 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Audience) -> Audience {
        Audience(self.0 | other.0)
    }
}

/// How much of a track a receiver gets: one of its simulcast layers, and of that stream the spatial and temporal layers up to
/// these (scalable coding; RFC 9628, section 3; AV1 RTP specification, section 2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Target {
    /// Simulcast layer, 0 the smallest picture.
    pub layer: u8,
    /// Highest spatial layer, 0 the smallest picture; 0 where a stream has only one.
    pub spatial: u8,
    /// Highest temporal layer, 0 the fewest pictures a second.
    pub temporal: u8,
}

/// One step of a track's ladder of qualities: what it shows and what it costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rung {
    /// What is forwarded.
    pub target: Target,
    /// What it takes on the wire, all lower layers that it needs included; measured, or what is usual while it has not been sent yet.
    pub bits_per_second: u64,
    /// Width and height in pixels, where known.
    pub size: Option<(u16, u16)>,
}

impl Target {
    /// All of a simulcast layer, whatever it is made of.
    pub const fn whole(layer: u8) -> Target {
        Target { layer, spatial: u8::MAX, temporal: u8::MAX }
    }
}
