//! Bytes of TURN: what a message is, where one ends in a stream, and how answers are made. Pure.
//!
//! Messages are read and written by the crates `stun-types` and `turn-types`; ChannelData, which is all but every packet, is
//! four bytes in front of a payload (RFC 8656, section 12.4) and read here.

use std::net::SocketAddr;
use std::ops::Range;

use turn_types::attribute::Data;
use turn_types::attribute::XorPeerAddress;
use turn_types::message::DATA;
use turn_types::stun::attribute::{
    AttributeType, AttributeWrite, ErrorCode, Nonce, Realm, UnknownAttributes,
};
use turn_types::stun::message::{
    IntegrityAlgorithm, IntegrityKey, Message, MessageHeader, MessageWrite, MessageWriteExt, MessageWriteVec,
};

/// The realm. Short because it stands in the one answer that is larger than its question (`gate.rs`).
pub const REALM: &str = "turn";

/// Largest message of a stream: a datagram of an Ethernet frame with the header of a Send indication, and room to spare.
pub const FRAME_BYTES: usize = 2048;

/// Channel numbers: those of RFC 5766, as RFC 8656 (section 12) has narrowed them to 0x4fff for the sake of a port shared with
/// other protocols, of which none uses the rest, and clients in use still draw from all.
pub const CHANNELS: Range<u16> = 0x4000..0x8000;

const CHANNEL_HEADER: usize = 4;

/// A stream carries something that is not TURN, or is too large.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a message of TURN, or one too large")]
pub struct NotTurn;

/// What the first bytes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A STUN message.
    Stun,
    /// ChannelData.
    Channel,
}

/// Told by the first byte (RFC 7983, section 7, and [`CHANNELS`]).
pub fn kind(bytes: &[u8]) -> Option<Kind> {
    match bytes.first()? {
        0..=3 => Some(Kind::Stun),
        0x40..=0x7f => Some(Kind::Channel),
        _ => None,
    }
}

/// The length of the first message of a stream, padding included (RFC 8656, section 12.5), once enough of it is there to know.
///
/// # Errors
/// When no message begins like this; there is no way to find the next one.
pub fn frame(bytes: &[u8]) -> Result<Option<usize>, NotTurn> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let kind = kind(bytes).ok_or(NotTurn)?;
    let [_, _, high, low, ..] = *bytes else { return Ok(None) };
    let length = usize::from(u16::from_be_bytes([high, low]));
    let whole = match kind {
        Kind::Stun if length % 4 != 0 => return Err(NotTurn),
        Kind::Stun => MessageHeader::LENGTH + length,
        Kind::Channel => CHANNEL_HEADER + length.next_multiple_of(4),
    };
    if whole > FRAME_BYTES { Err(NotTurn) } else { Ok(Some(whole)) }
}

/// Reads a STUN message that fills the bytes exactly.
pub fn message(bytes: &[u8]) -> Option<Message<'_>> {
    // The library logs what is wrong with a message; what does not even look like one is not worth its words.
    let [_, _, high, low, cookie @ ..] = bytes else { return None };
    let length = usize::from(u16::from_be_bytes([*high, *low]));
    let fits = length % 4 == 0 && MessageHeader::LENGTH + length == bytes.len();
    if !fits || !cookie.starts_with(&[0x21, 0x12, 0xa4, 0x42]) {
        return None;
    }
    Message::from_bytes(bytes).ok()
}

/// Number and payload of ChannelData; in a stream it may have padding behind it.
pub fn channel(bytes: &[u8]) -> Option<(u16, Range<usize>)> {
    let [a, b, c, d, ..] = *bytes else { return None };
    let number = u16::from_be_bytes([a, b]);
    let end = CHANNEL_HEADER + usize::from(u16::from_be_bytes([c, d]));
    (CHANNELS.contains(&number) && end <= bytes.len()).then_some((number, CHANNEL_HEADER..end))
}

/// ChannelData for a client; padded where it goes into a stream.
pub fn channel_data(number: u16, payload: &[u8], padded: bool) -> Option<Vec<u8>> {
    let length = u16::try_from(payload.len()).ok()?;
    let whole = CHANNEL_HEADER + payload.len();
    let mut bytes = Vec::with_capacity(whole.next_multiple_of(4));
    bytes.extend(number.to_be_bytes());
    bytes.extend(length.to_be_bytes());
    bytes.extend(payload);
    if padded {
        bytes.resize(whole.next_multiple_of(4), 0);
    }
    Some(bytes)
}

/// A Data indication for a client.
pub fn data_indication(peer: SocketAddr, payload: &[u8]) -> Vec<u8> {
    let mut message = Message::builder_indication(DATA, MessageWriteVec::with_capacity(payload.len() + 52));
    let transaction = message.transaction_id();
    add(&mut message, &XorPeerAddress::new(peer, transaction));
    add(&mut message, &Data::new(payload));
    message.finish()
}

/// Adds an attribute.
pub fn add(message: &mut MessageWriteVec, attribute: &dyn AttributeWrite) {
    // It refuses what comes after the integrity, which is always added last, and what does not fit 64 KiB; payloads are
    // at most a datagram.
    message.add_attribute(attribute).expect("there is room, and the integrity comes last");
}

/// The beginning of a success.
pub fn success(request: &Message<'_>) -> MessageWriteVec {
    Message::builder_success(request, MessageWriteVec::with_capacity(96))
}

/// An error without words: every code says what its name says.
pub fn error(request: &Message<'_>, code: u16) -> MessageWriteVec {
    let mut message = Message::builder_error(request, MessageWriteVec::with_capacity(96));
    add(&mut message, &ErrorCode::new(code, "").expect("codes are constants from 300 to 699"));
    message
}

/// The error for attributes that must be understood, and are not.
pub fn unknown(request: &Message<'_>, attributes: &[AttributeType]) -> MessageWriteVec {
    let mut message = error(request, ErrorCode::UNKNOWN_ATTRIBUTE);
    add(&mut message, &UnknownAttributes::new(attributes));
    message
}

/// An error that asks for credentials, with what they are to be made with.
pub fn challenge(request: &Message<'_>, code: u16, nonce: &str) -> Vec<u8> {
    let mut message = error(request, code);
    add(&mut message, &Realm::new(REALM).expect("a short constant"));
    add(&mut message, &Nonce::new(nonce).expect("nonces have eight characters"));
    message.finish()
}

/// Ends an answer with its integrity.
pub fn signed(mut message: MessageWriteVec, key: &IntegrityKey) -> Vec<u8> {
    message
        .add_message_integrity_with_key(key, IntegrityAlgorithm::Sha1)
        .expect("there is room, and it is added once");
    message.finish()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use turn_types::stun::attribute::Attribute;

    use super::*;

    #[test]
    fn frames_of_a_stream_are_cut_where_they_end() {
        assert_eq!(frame(&[]), Ok(None));
        assert_eq!(frame(&[0, 1, 0]), Ok(None));
        assert_eq!(frame(&[0, 1, 0, 8]), Ok(Some(28)));
        assert_eq!(frame(&[0x40, 0, 0, 5]), Ok(Some(12)));
        assert_eq!(frame(&[0x7f, 0xff, 0, 0]), Ok(Some(4)));
        for wrong in [
            &[0x16, 3, 1, 0][..],
            b"GET ",
            &[0, 1, 0, 7],
            &[0, 1, 0xff, 0xfc],
            &[0x40, 0, 0xff, 0xff],
            &[0x80, 0, 0, 1],
        ] {
            assert_eq!(frame(wrong), Err(NotTurn), "{wrong:?}");
        }
    }

    #[test]
    fn channel_data_comes_back_and_is_padded_in_streams_alone() {
        for padded in [false, true] {
            let bytes = channel_data(0x4001, b"hello", padded).unwrap();
            assert_eq!(bytes.len(), if padded { 12 } else { 9 });
            assert_eq!(channel(&bytes), Some((0x4001, 4..9)));
        }
        assert_eq!(channel(&[0x40, 0, 0, 2, 1]), None);
        assert_eq!(channel(&[0x80, 0, 0, 0]), None);
    }

    proptest! {
        /// Whatever comes, nothing panics, and what is taken for a message is as long as it says.
        #[test]
        fn any_bytes_are_read_or_left(bytes in prop::collection::vec(any::<u8>(), 0..200), stun: bool) {
            let mut bytes = bytes;
            if stun && bytes.len() >= 20 {
                let length = (bytes.len() - 20) / 4 * 4;
                bytes.truncate(20 + length);
                bytes[0] &= 0x3f;
                bytes[2..4].copy_from_slice(&(length as u16).to_be_bytes());
                bytes[4..8].copy_from_slice(&[0x21, 0x12, 0xa4, 0x42]);
            }
            let _ = frame(&bytes);
            if let Some((_, range)) = channel(&bytes) {
                prop_assert!(range.end <= bytes.len());
            }
            if let Some(message) = message(&bytes) {
                for (offset, attribute) in message.iter_attributes() {
                    prop_assert!(offset + 4 + usize::from(attribute.length()) <= bytes.len());
                }
            }
        }
    }
}
