//! The shell of Lectern: the only owner of sockets, clock, files and threads. What a class is and how media moves is in
//! the pure crates `signaling` and `sfu`; this crate carries their inputs and outputs.
//!
//! [`Server::start`] brings everything up from [`config::Settings`]; [`Server::stop`] ends it in order.

pub mod acme;
pub mod addresses;
pub mod audit;
pub mod authorities;
pub mod bench;
pub mod classrooms;
pub mod cli;
pub mod clock;
pub mod config;
pub mod discover;
pub mod doctor;
pub mod events;
pub mod export;
pub mod http;
pub mod listener;
pub mod logging;
pub mod metrics;
pub mod places;
pub mod record;
pub mod secrets;
mod server;
pub mod store;
pub mod tcp;
pub mod tls;
pub mod turn;
pub mod udp;
pub mod webhook;
pub mod worker;

pub use server::{Server, StartError};
