//! An allocation: one relayed address of one client, with its permissions and channels (RFC 8656). Pure.
//!
//! | what | lives | is renewed by |
//! |---|---|---|
//! | the allocation | 300 s, of a test before class no longer than the test | Refresh |
//! | a permission | 300 s | CreatePermission, ChannelBind |
//! | a channel | 600 s | ChannelBind |

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use turn_types::attribute::{Data, XorPeerAddress};
use turn_types::message::SEND;
use turn_types::stun::message::{IntegrityKey, MessageClass, TransactionId};

use super::filter::Filter;
use super::wire;

/// Life of an allocation. RFC 8656 (section 3.2) suggests 600 s; who vanishes without a word is forgotten sooner.
pub const LIFETIME: Duration = Duration::from_secs(300);
/// Life of a permission (RFC 8656, section 9).
const PERMISSION: Duration = Duration::from_secs(300);
/// Life of a channel (RFC 8656, section 12).
const CHANNEL: Duration = Duration::from_secs(600);
/// Most permissions and most channels of an allocation: a client has one for each address of ours that it tries.
const ENTRIES: usize = 64;

/// Why data is not relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dropped {
    /// It is no message for a relay.
    Malformed,
    /// No permission or channel for that peer.
    Permission,
    /// The filter does not allow the peer.
    Peer,
    /// Above the allocation's rate.
    Bandwidth,
}

/// There is no place for more permissions or channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Full;

/// Limits a rate; starts full, with a quarter of a second in hand.
#[derive(Debug, Clone)]
struct Bucket {
    bytes_per_second: u64,
    /// In bytes times nanoseconds per second, so that nothing is lost by rounding.
    level: u128,
    filled: Instant,
}

impl Bucket {
    const SCALE: u128 = 1_000_000_000;

    fn new(bytes_per_second: u64, now: Instant) -> Self {
        let mut bucket = Bucket { bytes_per_second, level: 0, filled: now };
        bucket.level = bucket.capacity();
        bucket
    }

    /// A keyframe must fit whatever the rate is.
    fn capacity(&self) -> u128 {
        u128::from(self.bytes_per_second / 4).max(64 * 1024) * Self::SCALE
    }

    fn take(&mut self, bytes: usize, now: Instant) -> bool {
        let gained =
            now.saturating_duration_since(self.filled).as_nanos() * u128::from(self.bytes_per_second);
        self.filled = self.filled.max(now);
        self.level = (self.level + gained).min(self.capacity());
        let cost = bytes as u128 * Self::SCALE;
        if self.level < cost {
            return false;
        }
        self.level -= cost;
        true
    }
}

#[derive(Debug, Clone, Copy)]
struct Channel {
    peer: SocketAddr,
    expires: Instant,
}

/// Who asked for an allocation, and with what.
#[derive(Clone)]
pub struct Owner {
    /// The credential.
    pub username: Arc<str>,
    /// Made of it.
    pub key: IntegrityKey,
    /// Of the request, which comes again when its answer is lost.
    pub transaction: TransactionId,
    /// For a test before class, the end of all that it has.
    pub ends: Option<Instant>,
}

impl Owner {
    /// When an allocation ends that is granted or refreshed now.
    pub fn expires(&self, now: Instant) -> Instant {
        self.ends.map_or(now + LIFETIME, |ends| ends.min(now + LIFETIME))
    }
}

/// See the [module](self).
pub struct Session {
    owner: Owner,
    granted: Vec<u8>,
    filter: Arc<Filter>,
    is_stream: bool,
    is_v4: bool,
    expires: Instant,
    permissions: HashMap<IpAddr, Instant>,
    channels: HashMap<u16, Channel>,
    numbers: HashMap<SocketAddr, u16>,
    up: Bucket,
    down: Bucket,
}

impl Session {
    /// A session that was granted with this answer.
    pub fn new(
        owner: Owner,
        granted: Vec<u8>,
        filter: Arc<Filter>,
        is_stream: bool,
        is_v4: bool,
        bytes_per_second: u64,
        now: Instant,
    ) -> Self {
        let expires = owner.expires(now);
        Session {
            owner,
            granted,
            filter,
            is_stream,
            is_v4,
            expires,
            permissions: HashMap::new(),
            channels: HashMap::new(),
            numbers: HashMap::new(),
            up: Bucket::new(bytes_per_second, now),
            down: Bucket::new(bytes_per_second, now),
        }
    }

    /// Whose it is.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The answer to the request that made it.
    pub fn granted(&self) -> &[u8] {
        &self.granted
    }

    /// Whether its relayed address is IPv4.
    pub fn is_v4(&self) -> bool {
        self.is_v4
    }

    /// When it ends unless it is refreshed.
    pub fn expires(&self) -> Instant {
        self.expires
    }

    /// Gives it another lifetime.
    pub fn refresh(&mut self, now: Instant) {
        self.expires = self.owner.expires(now);
    }

    /// Which peers it may reach.
    pub fn filter(&self) -> &Arc<Filter> {
        &self.filter
    }

    /// Gives permissions, which the filter has allowed: all or none.
    ///
    /// # Errors
    /// When there are too many.
    pub fn permit(&mut self, peers: &[IpAddr], now: Instant) -> Result<(), Full> {
        self.permissions.retain(|_, expires| *expires > now);
        let new = peers.iter().filter(|peer| !self.permissions.contains_key(peer)).count();
        if self.permissions.len() + new > ENTRIES {
            return Err(Full);
        }
        self.permissions.extend(peers.iter().map(|peer| (*peer, now + PERMISSION)));
        Ok(())
    }

    /// Whether this channel may be bound to this peer: neither is bound to another (RFC 8656, section 12.2).
    pub fn may_bind(&mut self, number: u16, peer: SocketAddr, now: Instant) -> bool {
        self.forget_channels(now);
        let peer_of = self.channels.get(&number).map(|channel| channel.peer);
        let number_of = self.numbers.get(&peer).copied();
        peer_of.is_none_or(|bound| bound == peer) && number_of.is_none_or(|bound| bound == number)
    }

    /// Binds a channel, for which [`Session::may_bind`] holds, to a peer that the filter has allowed.
    ///
    /// # Errors
    /// When there are too many.
    pub fn bind(&mut self, number: u16, peer: SocketAddr, now: Instant) -> Result<(), Full> {
        if self.channels.len() >= ENTRIES && !self.channels.contains_key(&number) {
            return Err(Full);
        }
        self.permit(&[peer.ip()], now)?;
        self.channels.insert(number, Channel { peer, expires: now + CHANNEL });
        self.numbers.insert(peer, number);
        Ok(())
    }

    fn forget_channels(&mut self, now: Instant) {
        let numbers = &mut self.numbers;
        self.channels.retain(|_, channel| {
            let lives = channel.expires > now;
            if !lives {
                numbers.remove(&channel.peer);
            }
            lives
        });
    }

    /// ChannelData or a Send indication of the client: to which peer which part of it goes.
    ///
    /// # Errors
    /// When nothing is to be sent.
    pub fn handle_client(
        &mut self,
        bytes: &[u8],
        now: Instant,
    ) -> Result<(SocketAddr, Range<usize>), Dropped> {
        let (peer, payload) = match wire::kind(bytes) {
            Some(wire::Kind::Channel) => {
                let (number, payload) = wire::channel(bytes).ok_or(Dropped::Malformed)?;
                let channel = self.channels.get(&number).filter(|channel| channel.expires > now);
                (channel.ok_or(Dropped::Permission)?.peer, payload)
            }
            Some(wire::Kind::Stun) => send_indication(bytes).ok_or(Dropped::Malformed)?,
            None => return Err(Dropped::Malformed),
        };
        self.check(peer, now)?;
        if !self.up.take(payload.len(), now) {
            return Err(Dropped::Bandwidth);
        }
        Ok((peer, payload))
    }

    /// A datagram of a peer: what the client gets of it.
    ///
    /// # Errors
    /// When it gets nothing.
    pub fn handle_peer(
        &mut self,
        peer: SocketAddr,
        payload: &[u8],
        now: Instant,
    ) -> Result<Vec<u8>, Dropped> {
        self.check(peer, now)?;
        if !self.down.take(payload.len(), now) {
            return Err(Dropped::Bandwidth);
        }
        let number = self.numbers.get(&peer).copied();
        let bound =
            number.filter(|number| self.channels.get(number).is_some_and(|channel| channel.expires > now));
        match bound {
            Some(number) => wire::channel_data(number, payload, self.is_stream).ok_or(Dropped::Malformed),
            None => Ok(wire::data_indication(peer, payload)),
        }
    }

    /// A permission has no port, and what it was given for may be narrower: the filter has the last word on each datagram.
    fn check(&self, peer: SocketAddr, now: Instant) -> Result<(), Dropped> {
        if !self.filter.permits(peer) {
            return Err(Dropped::Peer);
        }
        if self.expires <= now {
            return Err(Dropped::Permission);
        }
        match self.permissions.get(&peer.ip()) {
            Some(expires) if *expires > now => Ok(()),
            _ => Err(Dropped::Permission),
        }
    }
}

/// Peer and place of the payload of a Send indication (RFC 8656, section 11.1).
fn send_indication(bytes: &[u8]) -> Option<(SocketAddr, Range<usize>)> {
    let message = wire::message(bytes)?;
    if !message.has_class(MessageClass::Indication) || !message.has_method(SEND) {
        return None;
    }
    let peer = message.attribute::<XorPeerAddress>().ok()?.addr(message.transaction_id());
    let (offset, data) = message.attribute_and_offset::<Data<'_>>().ok()?;
    // Behind the attribute's type and length.
    let start = offset + 4;
    Some((peer, start..start + data.data().len()))
}

#[cfg(test)]
#[path = "session_test.rs"]
mod tests;
