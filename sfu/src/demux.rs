//! Whose datagram it is.
//!
//! Media and DTLS are found by their source address, which only a STUN request with a valid MESSAGE-INTEGRITY may have set; STUN is
//! found by the ufrag it names, so that a peer which comes back from the same address is not swallowed by its dead predecessor.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use crate::id::{PeerId, RoomId};
use crate::io::Transport;

/// Addresses kept for one peer: its candidates of all families, and where it roams.
const ADDRESSES_PER_PEER: usize = 16;

/// Where datagrams come from. A port number of TCP is another than that of UDP.
pub type Remote = (Transport, SocketAddr);

/// A peer and its room.
pub type Owner = (RoomId, PeerId);

/// See the [module](self).
#[derive(Debug, Default)]
pub struct Demux {
    by_address: BTreeMap<Remote, Owner>,
    by_ufrag: BTreeMap<String, Owner>,
    /// What to forget with a peer, oldest first.
    known: BTreeMap<PeerId, Known>,
}

#[derive(Debug, Default)]
struct Known {
    addresses: Vec<Remote>,
    ufrags: Vec<String>,
}

/// What the first byte says (RFC 7983, section 7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// A STUN message.
    Stun,
    /// DTLS, RTP or RTCP: of a known address only.
    Session,
    /// Nothing that is spoken here.
    Other,
}

impl Family {
    /// Looks at a datagram.
    pub fn of(datagram: &[u8]) -> Self {
        match datagram.first() {
            Some(0..=3) if datagram.len() >= 20 => Family::Stun,
            Some(20..=63 | 128..=191) => Family::Session,
            _ => Family::Other,
        }
    }
}

impl Demux {
    /// The peer that a STUN request for this ufrag is for.
    pub fn by_ufrag(&self, ufrag: &str) -> Option<Owner> {
        self.by_ufrag.get(ufrag).copied()
    }

    /// The peer behind an address.
    pub fn by_address(&self, address: Remote) -> Option<Owner> {
        self.by_address.get(&address).copied()
    }

    /// A peer is reached by this ufrag (also).
    pub fn add_ufrag(&mut self, owner: Owner, ufrag: String) {
        let known = self.known.entry(owner.1).or_default();
        // An ICE restart makes a second one; checks for the old one may still be on their way.
        if known.ufrags.len() >= 2 {
            let oldest = known.ufrags.remove(0);
            self.by_ufrag.remove(&oldest);
        }
        known.ufrags.push(ufrag.clone());
        self.by_ufrag.insert(ufrag, owner);
    }

    /// A verified STUN request of a peer has come from this address.
    pub fn add_address(&mut self, owner: Owner, address: Remote) {
        let before = self.by_address.insert(address, owner);
        if before == Some(owner) {
            return;
        }
        if let Some(before) = before.and_then(|(_, peer)| self.known.get_mut(&peer)) {
            before.addresses.retain(|other| *other != address);
        }
        let known = self.known.entry(owner.1).or_default();
        known.addresses.push(address);
        if known.addresses.len() > ADDRESSES_PER_PEER {
            let oldest = known.addresses.remove(0);
            self.by_address.remove(&oldest);
        }
    }

    /// A peer is gone.
    pub fn remove(&mut self, peer: PeerId) {
        let Some(known) = self.known.remove(&peer) else { return };
        for address in known.addresses {
            self.by_address.remove(&address);
        }
        for ufrag in known.ufrags {
            self.by_ufrag.remove(&ufrag);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(peer: u64) -> Owner {
        (RoomId(1), PeerId(peer))
    }

    #[test]
    fn an_address_moves_to_whoever_proved_it_last() {
        let mut demux = Demux::default();
        let address = (Transport::Udp, SocketAddr::from(([127, 0, 0, 1], 5000)));
        demux.add_address(owner(3), (Transport::Tcp, address.1));
        demux.add_address(owner(1), address);
        demux.add_address(owner(2), address);
        assert_eq!(demux.by_address(address), Some(owner(2)));
        demux.remove(PeerId(1));
        assert_eq!(demux.by_address(address), Some(owner(2)), "the old owner does not take it along");
        demux.remove(PeerId(2));
        assert_eq!(demux.by_address(address), None);
        assert_eq!(demux.by_address((Transport::Tcp, address.1)), Some(owner(3)));
    }

    #[test]
    fn a_peer_holds_few_addresses_and_ufrags() {
        let mut demux = Demux::default();
        for port in 1..=1000 {
            demux.add_address(owner(1), (Transport::Udp, SocketAddr::from(([127, 0, 0, 1], port))));
            demux.add_ufrag(owner(1), port.to_string());
        }
        assert_eq!(demux.by_address.len(), ADDRESSES_PER_PEER);
        assert_eq!(demux.by_ufrag.len(), 2);
        assert_eq!(demux.by_ufrag("1000"), Some(owner(1)));
        demux.remove(PeerId(1));
        assert!(demux.by_address.is_empty() && demux.by_ufrag.is_empty() && demux.known.is_empty());
    }

    #[test]
    fn first_bytes() {
        let long = |first: u8| [vec![first], vec![0; 30]].concat();
        for byte in 0..=255u8 {
            let family = match byte {
                0..=3 => Family::Stun,
                20..=63 | 128..=191 => Family::Session,
                _ => Family::Other,
            };
            assert_eq!(Family::of(&long(byte)), family, "{byte}");
        }
        assert_eq!(Family::of(&[]), Family::Other);
        assert_eq!(Family::of(&[0; 19]), Family::Other);
    }
}
