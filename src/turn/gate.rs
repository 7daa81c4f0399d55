//! Who may have what of the relay: authentication, quotas, and the answers to requests (RFC 8656, RFC 8489). Pure: time and
//! secrets are arguments.
//!
//! **Nothing is kept for those who have not proved a credential**, but for a count of the refusals of the present second. The
//! nonce of a challenge is a digest of the client's address and the hour, which is tested without having been stored.
//!
//! **What is not authenticated gets no answer larger than its question**, and at most ten in a second (HARDENING.md, line 15).
//! One answer can't be that small: the challenge to a first Allocate, which carries no credentials yet, has 48 bytes for 28
//! (with the headers of IPv4 and UDP 76 for 56), because RFC 8489 wants realm and nonce in it. Both are as short as they can
//! usefully be. Streams have shown their address in TCP's handshake, and are held to the rate alone.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use turn_types::AddressFamily;
use turn_types::attribute::{
    ChannelNumber, EvenPort, Lifetime, RequestedAddressFamily, RequestedTransport, ReservationToken,
    XorPeerAddress, XorRelayedAddress,
};
use turn_types::message::{ALLOCATE, CHANNEL_BIND, CONNECT, CREATE_PERMISSION, REFRESH};
use turn_types::stun::attribute::{
    Attribute, AttributeFromRaw, AttributeStaticType, AttributeType, ErrorCode, Fingerprint,
    MessageIntegrity, Nonce, PasswordAlgorithm, Realm, Username, XorMappedAddress,
};
use turn_types::stun::message::{
    BINDING, IntegrityAlgorithm, IntegrityKey, LongTermKeyCredentials, Message, MessageClass, MessageWrite,
};

use super::credentials;
use super::filter::Filter;
use super::session::{Full, Owner, Session};
use super::wire::{self, REALM, add, error, signed, success};

/// Unauthenticated answers that one address gets in a second, and all ports of one IP address (a school behind a NAT, whose
/// class of 30 joins at once: four first requests each, and some come twice).
const REFUSALS: (u32, u32) = (10, 300);
/// Addresses whose refusals are counted; in a flood from more, the others get no answer until the next second.
const REFUSED: usize = 16_384;
/// How long a nonce is good, at least; at most twice as long.
const NONCE: Duration = Duration::from_secs(3600);
/// Bytes of the digest in a nonce. It proves nothing but that the client has received something at its address.
const NONCE_DIGEST: usize = 5;

/// Why something was refused, for counting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// No credentials yet: how every client begins.
    Challenge,
    /// Not a request that makes sense.
    Malformed,
    /// Wrong or expired credentials.
    Credentials,
    /// The nonce is too old.
    StaleNonce,
    /// A request for an allocation that is not there, or there already.
    Mismatch,
    /// The filter does not allow the peer.
    Peer,
    /// Not a transport or address family that there is.
    Unsupported,
    /// The credential has its allocations.
    Quota,
    /// The server has no place left.
    Capacity,
    /// No answer: it would have been larger than the question, or one too many in this second.
    Silent,
}

impl Refusal {
    /// For a label.
    pub const fn name(self) -> &'static str {
        match self {
            Refusal::Challenge => "challenge",
            Refusal::Malformed => "malformed",
            Refusal::Credentials => "credentials",
            Refusal::StaleNonce => "stale-nonce",
            Refusal::Mismatch => "mismatch",
            Refusal::Peer => "peer",
            Refusal::Unsupported => "unsupported",
            Refusal::Quota => "quota",
            Refusal::Capacity => "capacity",
            Refusal::Silent => "silent",
        }
    }
}

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub struct Asker {
    /// Its address as this server sees it, never IPv4-mapped.
    pub address: SocketAddr,
    /// Over TCP or TLS, or over UDP.
    pub is_stream: bool,
}

/// What a message leads to.
pub enum Outcome {
    /// Nothing to say.
    Silence(Refusal),
    /// An answer, and why it is a refusal if it is one.
    Answer(Vec<u8>, Option<Refusal>),
    /// A relayed address is wanted; [`Gate::grant`] or [`Gate::fail`] must follow.
    Allocate(Box<Wanted>),
    /// The allocation ends, with this answer.
    End(Vec<u8>),
}

/// A request for an allocation that may be granted. It has its place in the counts already.
pub struct Wanted {
    /// For the session.
    pub owner: Owner,
    /// The family of the relayed address.
    pub is_v4: bool,
    /// Whether its port must be even, as old RTP wants it.
    pub is_even: bool,
    /// For the session: which peers it may reach.
    pub filter: Arc<Filter>,
    /// What is left of the longest life.
    seconds: u32,
    request: Vec<u8>,
}

/// Limits of the relay.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Allocations of one credential.
    pub per_credential: usize,
    /// Allocations in all.
    pub total: usize,
}

/// See the [module](self).
pub struct Gate {
    secret: Vec<u8>,
    nonce_key: hmac::Key,
    begun: Instant,
    limits: Limits,
    filter: Arc<Filter>,
    /// For tests before class, which strangers may make: this server's media and nothing else, whatever is open to participants.
    media_alone: Arc<Filter>,
    allocations: HashMap<Arc<str>, usize>,
    total: usize,
    rates: Rates,
}

type Authentic = (Arc<str>, IntegrityKey);

impl Gate {
    /// With the secret that credentials are made of, and 32 random bytes for nonces.
    pub fn new(secret: &[u8], random: &[u8; 32], limits: Limits, filter: Arc<Filter>, now: Instant) -> Self {
        Gate {
            secret: secret.to_owned(),
            nonce_key: hmac::Key::new(hmac::HMAC_SHA256, random),
            begun: now,
            limits,
            media_alone: Arc::new(Filter { media: filter.media.clone(), ..Filter::default() }),
            filter,
            allocations: HashMap::new(),
            total: 0,
            rates: Rates { since: now, by_address: HashMap::new(), by_ip: HashMap::new() },
        }
    }

    /// Takes a message that is not for relaying. `session` is the asker's, if it has one.
    pub fn handle(
        &mut self,
        asker: Asker,
        session: Option<&mut Session>,
        bytes: &[u8],
        now: Instant,
        wall_secs: u64,
    ) -> Outcome {
        let Some(request) = wire::message(bytes).filter(|message| message.has_class(MessageClass::Request))
        else {
            return Outcome::Silence(Refusal::Malformed);
        };
        match request.method() {
            BINDING => return self.bind_address(asker, session.is_some(), &request, now),
            ALLOCATE | REFRESH | CREATE_PERMISSION | CHANNEL_BIND | CONNECT => {}
            _ => return self.refuse(asker, &request, Refusal::Malformed, ErrorCode::BAD_REQUEST, now),
        }
        let (username, key) = match self.authenticate(asker, session.as_deref(), &request, now, wall_secs) {
            Ok(authentic) => authentic,
            Err(refused) => return refused,
        };
        let unknown = unknown_attributes(&request);
        if !unknown.is_empty() {
            return Outcome::Answer(
                signed(wire::unknown(&request, &unknown), &key),
                Some(Refusal::Unsupported),
            );
        }
        let done = match (request.method(), session) {
            (ALLOCATE, session) => {
                return self.allocate(session.as_deref(), &request, (username, key), now, wall_secs);
            }
            (_, None) => Err((ErrorCode::ALLOCATION_MISMATCH, Refusal::Mismatch)),
            (REFRESH, Some(session)) => return refresh(session, &request, &key, now),
            (CREATE_PERMISSION, Some(session)) => permit(session, &request, now),
            (CHANNEL_BIND, Some(session)) => bind_channel(session, &request, now),
            (_, Some(session)) => connect(session.filter(), &request),
        };
        match done {
            Ok(()) => Outcome::Answer(signed(success(&request), &key), None),
            Err((code, refusal)) => Outcome::Answer(signed(error(&request, code), &key), Some(refusal)),
        }
    }

    /// The answer that grants an allocation, whose relayed address is this.
    pub fn grant(&self, wanted: &Wanted, asker: Asker, relayed: SocketAddr) -> Vec<u8> {
        let request = wire::message(&wanted.request).expect("it was read before");
        let transaction = request.transaction_id();
        let mut answer = success(&request);
        add(&mut answer, &XorRelayedAddress::new(relayed, transaction));
        add(&mut answer, &XorMappedAddress::new(asker.address, transaction));
        add(&mut answer, &Lifetime::new(wanted.seconds));
        signed(answer, &wanted.owner.key)
    }

    /// The answer when there is no relayed address; its place in the counts is free again.
    pub fn fail(&mut self, wanted: &Wanted, code: u16) -> Vec<u8> {
        self.release(&wanted.owner.username);
        let request = wire::message(&wanted.request).expect("it was read before");
        signed(error(&request, code), &wanted.owner.key)
    }

    /// An allocation of this credential has ended.
    pub fn release(&mut self, username: &str) {
        if let Some(count) = self.allocations.get_mut(username) {
            *count -= 1;
            self.total -= 1;
            if *count == 0 {
                self.allocations.remove(username);
            }
        }
    }

    fn bind_address(&mut self, asker: Asker, is_known: bool, request: &Message<'_>, now: Instant) -> Outcome {
        let mut answer = success(request);
        add(&mut answer, &XorMappedAddress::new(asker.address, request.transaction_id()));
        let answer = answer.finish();
        if is_known {
            return Outcome::Answer(answer, None);
        }
        // The answer to a bare request has 32 bytes for 20. Clients of this server have no need of it: what they learn by it
        // is a candidate that ICE finds by itself. Who wants it over UDP asks with 12 bytes of padding.
        let fits = asker.is_stream || answer.len() <= request.as_bytes().len();
        if fits && self.rates.take(asker.address, now) {
            Outcome::Answer(answer, None)
        } else {
            Outcome::Silence(Refusal::Silent)
        }
    }

    /// An answer to what is not authenticated, if there may be one.
    fn refuse(
        &mut self,
        asker: Asker,
        request: &Message<'_>,
        refusal: Refusal,
        code: u16,
        now: Instant,
    ) -> Outcome {
        let answer = match code {
            ErrorCode::UNAUTHORIZED | ErrorCode::STALE_NONCE => {
                wire::challenge(request, code, &self.nonce(asker.address, self.hour(now)))
            }
            _ => error(request, code).finish(),
        };
        // See the module for the exception.
        let is_first = refusal == Refusal::Challenge && request.has_method(ALLOCATE);
        let fits = asker.is_stream || is_first || answer.len() <= request.as_bytes().len();
        if fits && self.rates.take(asker.address, now) {
            Outcome::Answer(answer, Some(refusal))
        } else {
            Outcome::Silence(Refusal::Silent)
        }
    }

    /// RFC 8489, section 9.2.4.
    fn authenticate(
        &mut self,
        asker: Asker,
        session: Option<&Session>,
        request: &Message<'_>,
        now: Instant,
        wall_secs: u64,
    ) -> Result<Authentic, Outcome> {
        let mut no = |refusal, code| Err(self.refuse(asker, request, refusal, code, now));
        if !request.has_attribute(MessageIntegrity::TYPE) {
            return no(Refusal::Challenge, ErrorCode::UNAUTHORIZED);
        }
        let (Ok(username), Ok(nonce), Ok(_)) =
            (request.attribute::<Username>(), request.attribute::<Nonce>(), request.attribute::<Realm>())
        else {
            return no(Refusal::Malformed, ErrorCode::BAD_REQUEST);
        };
        let username = username.username();
        let hour = self.hour(now);
        let is_good = |hour| {
            verify_slices_are_equal(self.nonce(asker.address, hour).as_bytes(), nonce.nonce().as_bytes())
                .is_ok()
        };
        if !is_good(hour) && !is_good(hour.wrapping_sub(1)) {
            return Err(self.refuse(asker, request, Refusal::StaleNonce, ErrorCode::STALE_NONCE, now));
        }
        let (username, key) = match session.map(Session::owner) {
            // A class may last longer than the credential that it began with.
            Some(owner) if *owner.username == *username => (owner.username.clone(), owner.key.clone()),
            Some(_) => {
                return Err(self.refuse(
                    asker,
                    request,
                    Refusal::Credentials,
                    ErrorCode::WRONG_CREDENTIALS,
                    now,
                ));
            }
            None if credentials::check(username, wall_secs).is_ok() => {
                let password = credentials::password(&self.secret, username);
                let credentials = LongTermKeyCredentials::new(username.into(), password, REALM.into());
                (username.into(), credentials.make_key(IntegrityAlgorithm::Sha1))
            }
            None => {
                return Err(self.refuse(asker, request, Refusal::Credentials, ErrorCode::UNAUTHORIZED, now));
            }
        };
        match request.validate_integrity_with_key(&key) {
            Ok(_) => Ok((username, key)),
            Err(_) => Err(self.refuse(asker, request, Refusal::Credentials, ErrorCode::UNAUTHORIZED, now)),
        }
    }

    /// RFC 8656, section 7.2.
    fn allocate(
        &mut self,
        session: Option<&Session>,
        request: &Message<'_>,
        (username, key): Authentic,
        now: Instant,
        wall_secs: u64,
    ) -> Outcome {
        if let Some(session) = session {
            // The same again, because the answer was lost.
            if session.owner().transaction == request.transaction_id() {
                return Outcome::Answer(session.granted().to_owned(), None);
            }
        }
        let left = credentials::check_ends(&username).map(|ends| ends.saturating_sub(wall_secs));
        let (used, total) = (self.allocations.get(&username).copied().unwrap_or(0), self.total);
        let family = match request.raw_attribute(RequestedAddressFamily::TYPE) {
            Some(raw) => RequestedAddressFamily::from_raw(raw).map(|family| family.family()).ok(),
            None => Some(AddressFamily::IPV4),
        };
        let transport = request.attribute::<RequestedTransport>().map(|transport| transport.protocol());
        // An even port may be had; a reservation for the port behind it, or one that was made, may not.
        let even_port = request.attribute::<EvenPort>();
        let is_reserved = even_port.as_ref().is_ok_and(EvenPort::requested)
            || request.has_attribute(ReservationToken::TYPE);
        let refused = match (session, transport) {
            (Some(_), _) => Some((ErrorCode::ALLOCATION_MISMATCH, Refusal::Mismatch)),
            (_, Err(_)) => Some((ErrorCode::BAD_REQUEST, Refusal::Malformed)),
            (_, Ok(transport)) if transport != RequestedTransport::UDP => {
                Some((ErrorCode::UNSUPPORTED_TRANSPORT_PROTOCOL, Refusal::Unsupported))
            }
            _ if family.is_none() => Some((ErrorCode::ADDRESS_FAMILY_NOT_SUPPORTED, Refusal::Unsupported)),
            _ if used >= self.limits.per_credential => {
                Some((ErrorCode::ALLOCATION_QUOTA_REACHED, Refusal::Quota))
            }
            _ if is_reserved || total >= self.limits.total => {
                Some((ErrorCode::INSUFFICIENT_CAPACITY, Refusal::Capacity))
            }
            _ => None,
        };
        if let Some((code, refusal)) = refused {
            return Outcome::Answer(signed(error(request, code), &key), Some(refusal));
        }
        *self.allocations.entry(username.clone()).or_default() += 1;
        self.total += 1;
        let ends = left.map(|seconds| now + Duration::from_secs(seconds));
        let owner = Owner { username, key, transaction: request.transaction_id(), ends };
        Outcome::Allocate(Box::new(Wanted {
            seconds: seconds_until(owner.expires(now), now),
            filter: if ends.is_some() { &self.media_alone } else { &self.filter }.clone(),
            owner,
            is_v4: family == Some(AddressFamily::IPV4),
            is_even: even_port.is_ok(),
            request: request.as_bytes().to_owned(),
        }))
    }

    fn hour(&self, now: Instant) -> u8 {
        let hours = now.saturating_duration_since(self.begun).as_secs() / NONCE.as_secs();
        // 256 hours later a nonce would be good again if its client kept its port for so long, and then it is no harm.
        (hours % 256) as u8
    }

    /// Eight characters: the hour, and a digest of it and the client's address.
    fn nonce(&self, address: SocketAddr, hour: u8) -> String {
        let digest = hmac::sign(&self.nonce_key, format!("{hour} {address}").as_bytes());
        let mut bytes = [hour; 1 + NONCE_DIGEST];
        bytes[1..].copy_from_slice(&digest.as_ref()[..NONCE_DIGEST]);
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

/// As the attribute Lifetime has it; a fraction of a second lost is nobody's harm.
fn seconds_until(expires: Instant, now: Instant) -> u32 {
    u32::try_from(expires.saturating_duration_since(now).as_secs()).unwrap_or(u32::MAX)
}

/// What requests may carry; what else must be understood is not (RFC 8489, section 6.3.1).
const KNOWN: [AttributeType; 13] = [
    Username::TYPE,
    Realm::TYPE,
    Nonce::TYPE,
    MessageIntegrity::TYPE,
    Fingerprint::TYPE,
    PasswordAlgorithm::TYPE,
    RequestedTransport::TYPE,
    RequestedAddressFamily::TYPE,
    Lifetime::TYPE,
    EvenPort::TYPE,
    ReservationToken::TYPE,
    XorPeerAddress::TYPE,
    ChannelNumber::TYPE,
];

fn unknown_attributes(request: &Message<'_>) -> Vec<AttributeType> {
    let kinds = request.iter_attributes().map(|(_, attribute)| attribute.get_type());
    // DONT-FRAGMENT is among the unknown, as RFC 8656 (section 7.2) allows.
    kinds.filter(|kind| kind.comprehension_required() && !KNOWN.contains(kind)).take(8).collect()
}

type Done = Result<(), (u16, Refusal)>;

const FORBIDDEN: (u16, Refusal) = (ErrorCode::FORBIDDEN, Refusal::Peer);
const BAD_REQUEST: (u16, Refusal) = (ErrorCode::BAD_REQUEST, Refusal::Malformed);
const WRONG_FAMILY: (u16, Refusal) = (ErrorCode::PEER_ADDRESS_FAMILY_MISMATCH, Refusal::Unsupported);

fn full(_: Full) -> (u16, Refusal) {
    (ErrorCode::INSUFFICIENT_CAPACITY, Refusal::Capacity)
}

/// RFC 8656, section 8.2.
fn refresh(session: &mut Session, request: &Message<'_>, key: &IntegrityKey, now: Instant) -> Outcome {
    let family = request.attribute::<RequestedAddressFamily>().map(|family| family.family());
    if family.is_ok_and(|family| (family == AddressFamily::IPV4) != session.is_v4()) {
        return Outcome::Answer(signed(error(request, WRONG_FAMILY.0), key), Some(WRONG_FAMILY.1));
    }
    let ends = request.attribute::<Lifetime>().is_ok_and(|lifetime| lifetime.seconds() == 0);
    session.refresh(now);
    let seconds = if ends { 0 } else { seconds_until(session.expires(), now) };
    let mut answer = success(request);
    add(&mut answer, &Lifetime::new(seconds));
    let answer = signed(answer, key);
    if ends { Outcome::End(answer) } else { Outcome::Answer(answer, None) }
}

/// RFC 8656, section 10.2.
fn permit(session: &mut Session, request: &Message<'_>, now: Instant) -> Done {
    let mut peers: Vec<IpAddr> = Vec::new();
    for (_, attribute) in request.iter_attributes() {
        if attribute.get_type() == XorPeerAddress::TYPE {
            let peer = XorPeerAddress::from_raw(attribute).map_err(|_| BAD_REQUEST)?;
            peers.push(peer.addr(request.transaction_id()).ip());
        }
    }
    if peers.is_empty() {
        return Err(BAD_REQUEST);
    }
    // The filter first: what a forbidden address is of is nobody's business.
    if !peers.iter().all(|peer| session.filter().permits_address(*peer)) {
        return Err(FORBIDDEN);
    }
    if peers.iter().any(|peer| peer.is_ipv4() != session.is_v4()) {
        return Err(WRONG_FAMILY);
    }
    session.permit(&peers, now).map_err(full)
}

/// RFC 8656, section 12.2.
fn bind_channel(session: &mut Session, request: &Message<'_>, now: Instant) -> Done {
    let peer = peer(request)?;
    let number = request.attribute::<ChannelNumber>().map_err(|_| BAD_REQUEST)?.channel();
    if !session.filter().permits(peer) {
        return Err(FORBIDDEN);
    }
    if peer.is_ipv4() != session.is_v4() {
        return Err(WRONG_FAMILY);
    }
    if !wire::CHANNELS.contains(&number) || !session.may_bind(number, peer, now) {
        return Err(BAD_REQUEST);
    }
    session.bind(number, peer, now).map_err(full)
}

/// RFC 6062, section 4.3: connections to peers over TCP are not offered, and a forbidden peer is told so first.
fn connect(filter: &Filter, request: &Message<'_>) -> Done {
    if filter.permits(peer(request)?) { Err(BAD_REQUEST) } else { Err(FORBIDDEN) }
}

fn peer(request: &Message<'_>) -> Result<SocketAddr, (u16, Refusal)> {
    let peer = request.attribute::<XorPeerAddress>().map_err(|_| BAD_REQUEST)?;
    Ok(peer.addr(request.transaction_id()))
}

/// Counts answers to what is not authenticated in windows of a second. Each window gives half of the limit, so that two that touch
/// give no more than the limit within any second.
struct Rates {
    since: Instant,
    by_address: HashMap<SocketAddr, u32>,
    by_ip: HashMap<IpAddr, u32>,
}

impl Rates {
    fn take(&mut self, address: SocketAddr, now: Instant) -> bool {
        if now.saturating_duration_since(self.since) >= Duration::from_secs(1) {
            self.since = now;
            self.by_address.clear();
            self.by_ip.clear();
        }
        if self.by_address.len() >= REFUSED && !self.by_address.contains_key(&address) {
            return false;
        }
        let of_ip = self.by_ip.entry(address.ip()).or_default();
        if *of_ip >= REFUSALS.1 / 2 {
            return false;
        }
        let of_address = self.by_address.entry(address).or_default();
        if *of_address >= REFUSALS.0 / 2 {
            return false;
        }
        *of_ip += 1;
        *of_address += 1;
        true
    }
}

#[cfg(test)]
#[path = "gate_test.rs"]
mod tests;
