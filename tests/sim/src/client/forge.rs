//! What no engine would send, from a participant whose keys are right.

use std::collections::BTreeMap;

use sfu::srtp::{self, Sealer};
use str0m::config::CryptoProvider;

use super::Client;
use super::encoder::Outgoing;

/// Far above what the engine has numbered its own RTCP with: under AES-GCM no number may come twice.
const FIRST_RTCP: u32 = 1 << 24;

/// Changes a packet of video before it is sealed: its payload, and its dependency descriptor.
pub type Mangle = Box<dyn FnMut(&mut Vec<u8>, &mut Option<Vec<u8>>) + Send>;

/// A client's tools for it.
#[derive(Default)]
pub(super) struct Forge {
    sealer: Option<Sealer>,
    mangle: Option<Mangle>,
    newest: BTreeMap<u32, u64>,
}

/// The engine's cryptography, with an ear on the keys. They are left with the thread, where a server in the same thread would take them for its own:
/// whoever uses it listens after each output.
pub(super) fn listening() -> CryptoProvider {
    srtp::listening(str0m::crypto::from_feature_flags())
}

impl Forge {
    pub(super) fn listen(&mut self) {
        if let Some(agreed) = srtp::take() {
            let mut sealer = Sealer::new(&agreed).expect("a profile of ours");
            sealer.number_rtcp_from(FIRST_RTCP);
            self.sealer = Some(sealer);
        }
    }

    pub(super) fn note(&mut self, ssrc: u32, seq: u64) {
        let newest = self.newest.entry(ssrc).or_default();
        *newest = seq.max(*newest);
    }

    pub(super) fn mangle(&mut self, packet: &mut Outgoing) {
        if let Some(mangle) = &mut self.mangle
            && packet.level_dbov.is_none()
        {
            mangle(&mut packet.payload, &mut packet.dependency);
        }
    }
}

impl Client {
    /// Seals a compound RTCP packet (RFC 3550, section 6.1) with any content, so that the server takes it for this client's; `None` before the
    /// handshake, or below eight bytes. The client must have been made with [`super::ClientConfig::forges`]; its engine's own RTCP is taken for
    /// replays from then on.
    pub fn seal_rtcp(&mut self, plain: &[u8]) -> Option<Vec<u8>> {
        self.forge.sealer.as_mut()?.rtcp(plain)
    }

    /// The SSRCs under which media has come so far, each with its newest sequence number. The client must have been made with
    /// [`super::ClientConfig::forges`].
    pub fn heard(&self) -> Vec<(u32, u16)> {
        self.forge.newest.iter().map(|(ssrc, seq)| (*ssrc, *seq as u16)).collect()
    }

    /// Changes all video that it sends from now on.
    pub fn mangle_video(&mut self, mangle: Option<Mangle>) {
        self.forge.mangle = mangle;
    }
}
