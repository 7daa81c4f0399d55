//! The classroom as its owner sees it: named steps over a simulated world, and random ones.

mod access;
mod features;
mod media;
mod random;
mod sessions;
mod world;
