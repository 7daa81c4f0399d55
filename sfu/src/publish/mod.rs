//! What a publisher sends: its tracks and layers, where decoders can start, who speaks, and when a packet was captured.

pub mod bits;
pub mod clock;
pub mod dependency;
pub mod h264;
pub mod keyframe;
pub mod layers;
pub mod rate;
pub mod red;
pub mod size;
pub mod speaker;
pub mod track;
pub mod vp9;
