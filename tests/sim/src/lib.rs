//! The simulated world of Lectern: a clock, links and clients, all driven by one seed.

pub mod clock;
pub mod codec;
pub mod link;
pub mod rng;
