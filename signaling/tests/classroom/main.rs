//! The classroom as its owner sees it: named steps over a simulated world, and random ones.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod access;
mod adapt;
mod features;
mod media;
mod random;
mod recording;
mod sessions;
mod wall;
mod world;
