//! The simulated world of Lectern: a clock, links and clients, all driven by one seed.
//!
//! - [`clock`], [`rng`], [`link`]: time, chance and the network;
//! - [`codec`]: synthetic media that says whose it is;
//! - [`decoder`]: the rules that a receiver holds forwarding against;
//! - [`client`]: a participant, also for tests over real sockets;
//! - [`world`]: all of them around one node.

pub mod client;
pub mod clock;
pub mod codec;
pub mod decoder;
pub mod link;
pub mod rng;
pub mod world;
