//! The codecs that Lectern forwards.

use serde::{Deserialize, Serialize};

/// A codec that is forwarded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Codec {
    /// RFC 6716, payload RFC 7587.
    Opus,
    /// Payload RFC 7741.
    Vp8,
    /// Payload RFC 9628.
    Vp9,
    /// Payload RFC 6184.
    H264,
    /// Payload: AOMedia RTP specification for AV1.
    Av1,
}
