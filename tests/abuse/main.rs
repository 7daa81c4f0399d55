//! Abuse of a running server, from loopback: the lines of the project's list of what must not break it.
//!
//! Each test starts the real `lectern` process with a call of two people on it, does something hostile, and at the end holds
//! besides its own line: the process is the same, nothing panicked, the log did not fill, neither of the two saw a gap above
//! 500 ms, and resident memory is back where it was ([`scene::Scene::close`]).
//!
//! | line | what | test |
//! |---|---|---|
//! | 1-4 | DTLS: strangers, forged alerts, fragments, half-open handshakes | `handshake` |
//! | 5-8, 12, 13 | SRTP: replay, bad tags, third addresses, every first byte and length, keyframe requests, a thousand streams | `rtp` |
//! | 9-11 | sealed with the right keys and wrong inside: reports, media of each codec, feedback | `forged` |
//! | 14, 15 | STUN: malformed, no amplification | `stun` |
//! | 15-18 | TURN: strangers, peers that nobody may reach, quotas, credentials | `turn` |
//! | 19-23 | WebSocket and Socket.IO: sizes, attachments, packets, half-finished upgrades, a client that does not read | `sockets` |
//! | 24, 25 | offers, tracks that are never sent | `offers` |
//! | 26-28 | tokens, identities, rights | `people` |
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so and stops")]

#[allow(dead_code, reason = "other test programs use other parts")]
#[path = "../support/caller.rs"]
mod caller;
mod forged;
mod handshake;
mod offers;
mod people;
mod rtp;
mod scene;
mod signal;
mod sockets;
mod stun;
mod turn;
mod wire;
