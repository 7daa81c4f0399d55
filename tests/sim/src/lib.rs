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

/// The seeds of a property: 0 up to `count`, all of which run with every change. `SIM_SEEDS=20` in the environment runs twenty times
/// as many, for a night. A seed that fails stays within reach by raising `count`, or gets a test of its own.
///
/// # Panics
/// If `SIM_SEEDS` is no number.
pub fn seeds(count: u64) -> std::ops::Range<u64> {
    let factor = std::env::var("SIM_SEEDS").map_or(1, |text| text.parse().expect("SIM_SEEDS is a number"));
    0..count * factor
}
