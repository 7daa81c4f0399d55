//! The real server, started in this process on free ports, and spoken to over the network by clients that share no code
//! with it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on says so and stops")]

mod bench;
#[path = "../support/caller.rs"]
#[expect(dead_code, reason = "other tests use more of it")]
mod caller;
mod check;
mod client;
mod end;
mod http;
mod limits;
mod outage;
mod signalling;
mod start;
mod streams;
mod turn;
mod whip;
mod whip_media;
