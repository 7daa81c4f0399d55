//! Limits of the media machine. Each bounds what one peer can cost.

use std::time::Duration;

/// Longest SDP offer, in bytes. The slot model's offer of 16 m-lines has 60 kB in Chromium.
pub const OFFER_BYTES: usize = 200 * 1024;
/// Most m-lines in one offer: 4 to send, 3 audio and 25 video slots, with room to grow.
pub const OFFER_M_LINES: usize = 40;
/// Most peers whose ICE and DTLS are not done on one node.
pub const HALF_OPEN_PEERS: usize = 256;
/// A peer that has not finished ICE and DTLS by then is removed.
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// Most SSRCs that one publisher may use: 5 sources, simulcast of three, RTX each, and some for restarts.
pub const SSRCS_PER_PEER: usize = 20;
/// Least time between two keyframe requests to one layer of a publisher.
pub const KEYFRAME_INTERVAL: Duration = Duration::from_millis(500);
