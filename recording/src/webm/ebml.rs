//! Elements of EBML (RFC 8794) and the identifiers of Matroska (RFC 9559, section 5.1) that are written here.

/// RFC 8794, section 11.2.
pub const EBML: u32 = 0x1A45_DFA3;
pub const EBML_VERSION: u32 = 0x4286;
pub const EBML_READ_VERSION: u32 = 0x42F7;
pub const EBML_MAX_ID_LENGTH: u32 = 0x42F2;
pub const EBML_MAX_SIZE_LENGTH: u32 = 0x42F3;
pub const DOC_TYPE: u32 = 0x4282;
pub const DOC_TYPE_VERSION: u32 = 0x4287;
pub const DOC_TYPE_READ_VERSION: u32 = 0x4285;
pub const VOID: u32 = 0xEC;

pub const SEGMENT: u32 = 0x1853_8067;
pub const SEEK_HEAD: u32 = 0x114D_9B74;
pub const SEEK: u32 = 0x4DBB;
pub const SEEK_ID: u32 = 0x53AB;
pub const SEEK_POSITION: u32 = 0x53AC;

pub const INFO: u32 = 0x1549_A966;
pub const TIMESTAMP_SCALE: u32 = 0x2A_D7B1;
pub const MUXING_APP: u32 = 0x4D80;
pub const WRITING_APP: u32 = 0x5741;
pub const DURATION: u32 = 0x4489;

pub const TRACKS: u32 = 0x1654_AE6B;
pub const TRACK_ENTRY: u32 = 0xAE;
pub const TRACK_NUMBER: u32 = 0xD7;
pub const TRACK_UID: u32 = 0x73C5;
pub const TRACK_TYPE: u32 = 0x83;
pub const FLAG_LACING: u32 = 0x9C;
pub const CODEC_ID: u32 = 0x86;
pub const CODEC_PRIVATE: u32 = 0x63A2;
pub const CODEC_DELAY: u32 = 0x56AA;
pub const SEEK_PRE_ROLL: u32 = 0x56BB;
pub const VIDEO: u32 = 0xE0;
pub const PIXEL_WIDTH: u32 = 0xB0;
pub const PIXEL_HEIGHT: u32 = 0xBA;
/// RFC 9559, section 5.1.4.1.28.16.
pub const COLOUR: u32 = 0x55B0;
pub const MATRIX_COEFFICIENTS: u32 = 0x55B1;
pub const RANGE: u32 = 0x55B9;
pub const TRANSFER_CHARACTERISTICS: u32 = 0x55BA;
pub const PRIMARIES: u32 = 0x55BB;
pub const AUDIO: u32 = 0xE1;
pub const SAMPLING_FREQUENCY: u32 = 0xB5;
pub const CHANNELS: u32 = 0x9F;

pub const CLUSTER: u32 = 0x1F43_B675;
pub const TIMESTAMP: u32 = 0xE7;
pub const SIMPLE_BLOCK: u32 = 0xA3;

pub const CUES: u32 = 0x1C53_BB6B;
pub const CUE_POINT: u32 = 0xBB;
pub const CUE_TIME: u32 = 0xB3;
pub const CUE_TRACK_POSITIONS: u32 = 0xB7;
pub const CUE_TRACK: u32 = 0xF7;
pub const CUE_CLUSTER_POSITION: u32 = 0xF1;

/// A size of eight bytes that says "unknown" (RFC 8794, section 6.2).
pub const UNKNOWN_SIZE: [u8; 8] = [0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];

/// Appends an identifier, which tells its own length.
pub fn append_id(out: &mut Vec<u8>, id: u32) {
    let bytes = id.to_be_bytes();
    out.extend_from_slice(&bytes[(id.leading_zeros() / 8) as usize..]);
}

/// Appends a size in as few bytes as it takes (RFC 8794, section 4.1). All ones means "unknown", so that one takes a byte more.
pub fn append_size(out: &mut Vec<u8>, size: u64) {
    let mut len = 1;
    while len < 8 && size >= (1 << (7 * len)) - 1 {
        len += 1;
    }
    let marked = size | 1 << (7 * len);
    out.extend_from_slice(&marked.to_be_bytes()[8 - len..]);
}

/// A size in eight bytes, to be patched over [`UNKNOWN_SIZE`].
pub fn long_size(size: u64) -> [u8; 8] {
    (size | 1 << 56).to_be_bytes()
}

/// Appends an element with bytes.
pub fn append_bytes(out: &mut Vec<u8>, id: u32, bytes: &[u8]) {
    append_id(out, id);
    append_size(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends an element with a number.
pub fn append_number(out: &mut Vec<u8>, id: u32, value: u64) {
    let skip = (value.leading_zeros() as usize / 8).min(7);
    append_bytes(out, id, &value.to_be_bytes()[skip..]);
}

/// Appends an element with elements in it.
pub fn append_master(out: &mut Vec<u8>, id: u32, fill: impl FnOnce(&mut Vec<u8>)) {
    let mut body = Vec::new();
    fill(&mut body);
    append_bytes(out, id, &body);
}

/// Appends an element without meaning, of so many bytes altogether: at least 2, at most 127.
pub fn append_void(out: &mut Vec<u8>, len: usize) {
    append_bytes(out, VOID, &vec![0; len - 2]);
}

/// An identifier or a size at the beginning of `bytes`: its value (an identifier keeps its mark) and length. `None` for what is cut short
/// or none.
pub fn read_number(bytes: &[u8], keep_mark: bool, max_len: usize) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let len = first.leading_zeros() as usize + 1;
    if len > max_len {
        return None;
    }
    let mut value = bytes.get(..len)?.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    if !keep_mark {
        value &= (1 << (7 * len)) - 1;
    }
    Some((value, len))
}
