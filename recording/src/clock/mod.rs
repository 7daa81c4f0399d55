//! Where in the recording a frame belongs.
//!
//! A sender says by its reports how the RTP timestamps of each of its streams relate to its own clock (RFC 3550, section 6.4.1). Its clock
//! against ours is one number for all its tracks, the smallest difference seen between arrival and capture: so lips match however
//! late either track arrives. [`publisher`] keeps that number, [`stream`] the relation of each stream, [`refit`] looks back at the end, when all
//! reports are known.
//!
//! Times are microseconds: `room` since the recording began on the server's clock, `ntp` on the sender's since its first report.

mod publisher;
mod refit;
mod replayed;
mod stream;

pub use self::publisher::PublisherClock;
pub use self::refit::{add_to_fit, refit, round_us};
pub use self::replayed::{Placed, fit_of_reports};
pub use self::stream::{Anchor, NewReport, StreamClock};

#[cfg(test)]
mod clock_test;
