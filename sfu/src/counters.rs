//! What a node has done so far, for metrics.

/// Counts since the node was made. All only grow, but for the gauges at the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counters {
    /// Datagrams that came in.
    pub datagrams_in: u64,
    /// Their bytes.
    pub bytes_in: u64,
    /// Datagrams that went out.
    pub datagrams_out: u64,
    /// Their bytes.
    pub bytes_out: u64,
    /// Datagrams that belong to no peer, or that its engine does not accept.
    pub datagrams_dropped: u64,
    /// Datagrams of a peer that its engine answered with an error, or that were of too many unknown streams.
    pub datagrams_refused: u64,
    /// SRTP and SRTCP from a peer's address that its engine dropped: a wrong tag, or a packet that had come before.
    pub media_unproved: u64,
    /// RTP packets that publishers sent.
    pub rtp_in: u64,
    /// RTP packets written to subscribers.
    pub rtp_forwarded: u64,
    /// RTP packets of publishers that were dropped because of policy, mute or an unknown SSRC.
    pub rtp_denied: u64,
    /// RTP packets that publishers sent and that never arrived, from sequence numbers.
    pub rtp_lost_in: u64,
    /// Those of them that were rebuilt from redundant audio (RFC 2198).
    pub rtp_rebuilt_in: u64,
    /// RTP packets that subscribers report as lost.
    pub rtp_lost_out: u64,
    /// NACKed packets, from subscribers.
    pub nacks_in: u64,
    /// NACKed packets, to publishers.
    pub nacks_out: u64,
    /// Keyframe requests (PLI, FIR) from subscribers.
    pub keyframe_requests_in: u64,
    /// Keyframe requests to publishers, after merging and limiting.
    pub keyframe_requests_out: u64,
    /// Offers answered.
    pub joins: u64,
    /// Offers refused.
    pub joins_refused: u64,
    /// Peers whose handshake did not finish in time.
    pub handshakes_expired: u64,
    /// Gauge: rooms now.
    pub rooms: u64,
    /// Gauge: peers now.
    pub peers: u64,
    /// Gauge: published tracks now.
    pub tracks: u64,
    /// Gauge: peers whose ICE or DTLS is not done now.
    pub half_open: u64,
}
