//! The shell of Lectern: the only owner of sockets, clock, files and threads. What a class is and how media moves is in
//! the pure crates `signaling` and `sfu`; this crate carries their inputs and outputs.

pub mod addresses;
pub mod config;
pub mod metrics;
pub mod store;
pub mod udp;
pub mod worker;
