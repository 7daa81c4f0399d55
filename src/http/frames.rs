//! Follows the frames of a WebSocket (RFC 6455, section 5.2) by their headers, without keeping a payload.

use std::time::{Duration, Instant};

/// What a client may send.
#[derive(Debug, Clone, Copy)]
pub struct FrameLimits {
    /// Longest frame, and longest message of several frames, in bytes of payload.
    pub message_bytes: u64,
    /// Most frames in a second, of all kinds.
    pub frames_per_second: u64,
}

/// What a client did wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Violation {
    /// A frame or message over the limit.
    Oversize,
    /// Too many frames.
    Flood,
    /// Frames before the handshake was answered (RFC 6455, section 4.1: the client waits for the answer).
    Early,
}

impl Violation {
    /// The status code of the close frame (RFC 6455, section 7.4.1).
    pub fn close_code(self) -> u16 {
        match self {
            Violation::Oversize => 1009,
            Violation::Flood => 1008,
            Violation::Early => 1002,
        }
    }

    /// For metrics.
    pub fn name(self) -> &'static str {
        match self {
            Violation::Oversize => "oversize",
            Violation::Flood => "flood",
            Violation::Early => "early",
        }
    }
}

/// A close frame of the server: final, unmasked, two bytes of payload.
pub fn close_frame(code: u16) -> [u8; 4] {
    let [high, low] = code.to_be_bytes();
    [0x88, 2, high, low]
}

/// Longest header: 2 bytes, 8 of length, 4 of mask.
const HEADER: usize = 14;
/// Opcodes from here on are control frames, which do not belong to the message around them.
const CONTROL: u8 = 8;

/// Where in the stream of frames one direction of a connection is.
#[derive(Debug, Clone, Default)]
pub struct FrameMeter {
    header: [u8; HEADER],
    header_len: usize,
    /// Payload that is still to come of the present frame.
    payload_left: u64,
    /// Payload so far of a message of several frames.
    message_bytes: u64,
    frames: u64,
    window: Option<Instant>,
}

impl FrameMeter {
    /// Follows bytes of a client.
    ///
    /// # Errors
    /// The first violation; what follows it in the stream has no meaning.
    pub fn take(&mut self, mut bytes: &[u8], limits: &FrameLimits, now: Instant) -> Result<(), Violation> {
        while !bytes.is_empty() {
            if let Some(frame) = self.step(&mut bytes) {
                self.count(now);
                if frame.payload_bytes > limits.message_bytes {
                    return Err(Violation::Oversize);
                }
                if frame.opcode < CONTROL {
                    self.message_bytes += frame.payload_bytes;
                    if self.message_bytes > limits.message_bytes {
                        return Err(Violation::Oversize);
                    }
                    if frame.is_final {
                        self.message_bytes = 0;
                    }
                }
                if self.frames > limits.frames_per_second {
                    return Err(Violation::Flood);
                }
            }
        }
        Ok(())
    }

    /// Follows bytes of the server, of which nothing is demanded.
    pub fn follow(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            self.step(&mut bytes);
        }
    }

    /// How many of these bytes belong to the frame that has begun; all of `bytes` at most.
    pub fn until_boundary(&self, bytes: &[u8]) -> usize {
        let mut meter = self.clone();
        let mut rest = bytes;
        while !rest.is_empty() && !meter.at_boundary() {
            meter.step(&mut rest);
        }
        bytes.len() - rest.len()
    }

    /// Whether no frame has begun.
    pub fn at_boundary(&self) -> bool {
        self.header_len == 0 && self.payload_left == 0
    }

    fn count(&mut self, now: Instant) {
        if self.window.is_none_or(|begin| now.duration_since(begin) >= Duration::from_secs(1)) {
            self.window = Some(now);
            self.frames = 0;
        }
        self.frames += 1;
    }

    /// Takes some bytes, at least one; gives the frame when its header is whole.
    fn step(&mut self, bytes: &mut &[u8]) -> Option<Frame> {
        if self.payload_left > 0 {
            let taken = usize::try_from(self.payload_left).map_or(bytes.len(), |left| left.min(bytes.len()));
            *bytes = &bytes[taken..];
            self.payload_left -= taken as u64;
            return None;
        }
        self.header[self.header_len] = bytes[0];
        self.header_len += 1;
        *bytes = &bytes[1..];
        let header = &self.header[..self.header_len];
        let [first, second, rest @ ..] = header else { return None };
        let short = second & 0x7f;
        let length_bytes = match short {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask_bytes = if second & 0x80 == 0 { 0 } else { 4 };
        if rest.len() < length_bytes + mask_bytes {
            return None;
        }
        let payload_bytes = match length_bytes {
            0 => u64::from(short),
            _ => rest[..length_bytes].iter().fold(0, |length, byte| length << 8 | u64::from(*byte)),
        };
        let frame = Frame { opcode: first & 0x0f, is_final: first & 0x80 != 0, payload_bytes };
        self.header_len = 0;
        self.payload_left = payload_bytes;
        Some(frame)
    }
}

struct Frame {
    opcode: u8,
    is_final: bool,
    payload_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: FrameLimits = FrameLimits { message_bytes: 1000, frames_per_second: 10 };

    fn frame(opcode: u8, is_final: bool, masked: bool, length: u64) -> Vec<u8> {
        let mut bytes = vec![opcode | if is_final { 0x80 } else { 0 }];
        let mask = if masked { 0x80 } else { 0 };
        match length {
            0..=125 => bytes.push(mask | u8::try_from(length).unwrap()),
            126..=0xffff => {
                bytes.push(mask | 126);
                bytes.extend(u16::try_from(length).unwrap().to_be_bytes());
            }
            _ => {
                bytes.push(mask | 127);
                bytes.extend(length.to_be_bytes());
            }
        }
        if masked {
            bytes.extend([1, 2, 3, 4]);
        }
        bytes
    }

    fn whole(opcode: u8, is_final: bool, length: usize) -> Vec<u8> {
        let mut bytes = frame(opcode, is_final, true, length as u64);
        bytes.extend(vec![0xff; length]);
        bytes
    }

    fn run(bytes: &[u8], piece: usize) -> Result<FrameMeter, Violation> {
        let mut meter = FrameMeter::default();
        let now = Instant::now();
        for piece in bytes.chunks(piece) {
            meter.take(piece, &LIMITS, now)?;
        }
        Ok(meter)
    }

    #[test]
    fn frames_within_the_limits_pass_in_any_pieces() {
        let bytes: Vec<u8> = [
            whole(1, true, 0),
            whole(1, true, 125),
            whole(1, true, 126),
            whole(9, true, 5),
            whole(2, true, 1000),
        ]
        .concat();
        for piece in 1..bytes.len() {
            assert!(run(&bytes, piece).unwrap().at_boundary());
        }
        assert!(!run(&bytes[..bytes.len() - 1], 7).unwrap().at_boundary());
    }

    #[test]
    fn a_long_frame_is_seen_by_its_header() {
        for length in [1001, 0xffff, 0x1_0000, u64::MAX] {
            assert_eq!(run(&frame(1, true, true, length), 1).unwrap_err(), Violation::Oversize, "{length}");
        }
    }

    #[test]
    fn a_message_of_many_frames_counts_as_a_whole_and_control_frames_do_not() {
        let parts = [whole(1, false, 500), whole(9, true, 100), whole(0, false, 500)].concat();
        run(&parts, 13).unwrap();
        let more = [parts.clone(), whole(0, true, 1)].concat();
        assert_eq!(run(&more, 13).unwrap_err(), Violation::Oversize);
        let next = [parts, whole(0, true, 0), whole(1, true, 1000)].concat();
        run(&next, 13).unwrap();
    }

    #[test]
    fn too_many_frames_in_a_second() {
        let mut meter = FrameMeter::default();
        let start = Instant::now();
        for n in 0..100u64 {
            let time = start + Duration::from_millis(n * 101);
            meter.take(&whole(10, true, 0), &LIMITS, time).unwrap();
        }
        let flood = whole(10, true, 0).repeat(11);
        assert_eq!(meter.take(&flood, &LIMITS, start + Duration::from_secs(20)), Err(Violation::Flood));
    }

    #[test]
    fn the_boundary_of_the_servers_frame_is_found() {
        let mut meter = FrameMeter::default();
        let mut bytes = frame(1, true, false, 300);
        bytes.extend([0; 300]);
        meter.follow(&bytes[..10]);
        let rest = [&bytes[10..], &[0x81, 0x01, 0x00]].concat();
        assert_eq!(meter.until_boundary(&rest), bytes.len() - 10);
        assert_eq!(meter.until_boundary(&rest[..20]), 20);
    }
}
