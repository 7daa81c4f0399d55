//! A node: all rooms and peers that one thread carries.

use std::net::SocketAddr;
use std::time::Instant;

use crate::counters::Counters;
use crate::io::{Input, Output};

/// Settings of a [`Node`].
#[derive(Debug, Clone)]
pub struct NodeConfig {
    /// The addresses at which peers reach this node, put into answers as host candidates.
    pub candidates: Vec<SocketAddr>,
}

/// See the [crate's front page](crate) for how to drive it.
#[derive(Debug)]
pub struct Node {
    config: NodeConfig,
    counters: Counters,
}

impl Node {
    /// A node without rooms.
    pub fn new(config: NodeConfig, _now: Instant) -> Self {
        Node { config, counters: Counters::default() }
    }

    /// Takes something in. `now` never goes back.
    pub fn handle(&mut self, _now: Instant, _input: Input<'_>) {}

    /// Gives something out; to be called after each [`Node::handle`] (or after a batch of them) until it
    /// gives [`Output::Timeout`].
    pub fn poll_output(&mut self, now: Instant) -> Output {
        Output::Timeout(now + std::time::Duration::from_secs(3600))
    }

    /// What it has done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// The addresses at which peers reach it.
    pub fn candidates(&self) -> &[SocketAddr] {
        &self.config.candidates
    }
}
