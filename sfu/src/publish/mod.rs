//! What a publisher sends: its tracks and layers, where decoders can start, who speaks, and when a packet was captured.

pub mod clock;
pub mod keyframe;
pub mod rate;
pub mod red;
pub mod speaker;
pub mod track;
