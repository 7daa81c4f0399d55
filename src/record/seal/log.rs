//! The format of a sealed file, without files: records, the map of what they make, and the index at the end. `docs/sealed.md` has it byte by byte.
//!
//! A file is a head and then records, each of which appends to, patches or cuts what the file says. Nothing that was written is written over; so a
//! process that is killed costs the record that it was writing, and what was said before is never half changed. [`Map`] is what the records so far
//! make: where each piece of the plain file is, and what is patched over it.

use super::Damaged;
use super::keys::{DataKey, FileKey, NONCE_BYTES, SALT_BYTES, TAG_BYTES};

/// How a sealed file begins; the salt follows.
const MAGIC: [u8; 8] = *b"LECSEAL1";
/// How a finished one ends, after the place of its index.
const END: [u8; 8] = *b"LECINDEX";
/// Bytes before the first record.
pub const HEAD_BYTES: usize = MAGIC.len() + SALT_BYTES;
/// Bytes after the index.
pub const END_BYTES: usize = 8 + END.len();
/// Bytes of a record before what is encrypted: kind, place, length, nonce.
pub const RECORD_HEAD_BYTES: usize = ENTRY_BYTES + NONCE_BYTES;
/// Bytes of an entry of the index: kind, place, length.
const ENTRY_BYTES: usize = 1 + 8 + 4;
/// What is appended at once is cut into records of this size: whoever reads one byte decrypts one record.
pub const PIECE_BYTES: usize = 64 << 10;

/// What a record does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Adds at the end, which is its place.
    Append = 1,
    /// Writes over what is there from its place on.
    Patch = 2,
    /// Cuts the file at its place.
    Cut = 3,
    /// Says what the records before it are; it is the last one.
    Index = 4,
}

/// A record without its content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    pub kind: Kind,
    /// In the plain file.
    pub place: u64,
    /// Of what is encrypted, in bytes.
    pub len: u32,
}

impl Entry {
    fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[0] = self.kind as u8;
        bytes[1..9].copy_from_slice(&self.place.to_be_bytes());
        bytes[9..].copy_from_slice(&self.len.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let [kind, place @ .., l0, l1, l2, l3] = *bytes;
        let kind = [Kind::Append, Kind::Patch, Kind::Cut, Kind::Index]
            .into_iter()
            .find(|known| *known as u8 == kind)?;
        Some(Entry { kind, place: u64::from_be_bytes(place), len: u32::from_be_bytes([l0, l1, l2, l3]) })
    }

    /// Bytes of the whole record.
    pub fn record_bytes(self) -> u64 {
        (RECORD_HEAD_BYTES + TAG_BYTES) as u64 + u64::from(self.len)
    }

    /// What is authenticated with the content: which record it is, and what it does. Its file is in the key.
    fn context(self, number: u64) -> [u8; 8 + ENTRY_BYTES] {
        let mut context = [0; 8 + ENTRY_BYTES];
        context[..8].copy_from_slice(&number.to_be_bytes());
        context[8..].copy_from_slice(&self.to_bytes());
        context
    }
}

/// A new file's head, and its key.
pub fn begin(data: &DataKey, name: &str) -> (FileKey, [u8; HEAD_BYTES]) {
    let salt = crate::secrets::random();
    let mut head = [0; HEAD_BYTES];
    head[..MAGIC.len()].copy_from_slice(&MAGIC);
    head[MAGIC.len()..].copy_from_slice(&salt);
    (data.of_file(name, &salt), head)
}

/// The key of the file with this head.
pub fn key_of(data: &DataKey, name: &str, head: &[u8; HEAD_BYTES]) -> Result<FileKey, Damaged> {
    let salt = head.strip_prefix(&MAGIC).and_then(|salt| salt.try_into().ok()).ok_or(Damaged::Head)?;
    Ok(data.of_file(name, salt))
}

/// The head of a record, as it is read.
pub fn read_head(head: &[u8; RECORD_HEAD_BYTES]) -> Option<(Entry, [u8; NONCE_BYTES])> {
    let (entry, nonce) = head.split_first_chunk()?;
    Some((Entry::from_bytes(entry)?, nonce.try_into().ok()?))
}

/// What was encrypted in a record: `sealed` is what follows its head.
pub fn open(
    key: &FileKey,
    number: u64,
    entry: Entry,
    nonce: [u8; NONCE_BYTES],
    sealed: Vec<u8>,
) -> Result<Vec<u8>, Damaged> {
    key.open(nonce, &entry.context(number), sealed).ok_or(Damaged::Record(number))
}

fn write(key: &FileKey, number: u64, entry: Entry, content: &[u8], to: &mut Vec<u8>) {
    let mut sealed = Vec::with_capacity(content.len() + TAG_BYTES);
    sealed.extend_from_slice(content);
    let nonce = key.seal(&entry.context(number), &mut sealed);
    to.extend_from_slice(&entry.to_bytes());
    to.extend_from_slice(&nonce);
    to.extend_from_slice(&sealed);
}

/// Where the index is, by the last bytes of a file; nothing when it was not finished.
pub fn read_end(end: &[u8; END_BYTES]) -> Option<u64> {
    let (at, end) = end.split_first_chunk()?;
    (*end == END).then_some(u64::from_be_bytes(*at))
}

/// A piece of the plain file, and the record that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece {
    /// Where it begins in the plain file.
    pub place: u64,
    /// How much of the record still counts: the rest was cut off.
    pub len: u64,
    pub entry: Entry,
    pub number: u64,
    /// Where the record begins in the sealed file.
    pub at: u64,
}

/// What the records so far make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Map {
    entries: Vec<Entry>,
    /// By place, without gaps.
    pieces: Vec<Piece>,
    /// Written over the pieces, one after the other.
    patches: Vec<(u64, Vec<u8>)>,
    len: u64,
    end: u64,
}

impl Default for Map {
    fn default() -> Self {
        let end = HEAD_BYTES as u64;
        Map { entries: Vec::new(), pieces: Vec::new(), patches: Vec::new(), len: 0, end }
    }
}

impl Map {
    /// How long the plain file is.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Where the next record goes in the sealed file.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The number of the next record.
    pub fn next(&self) -> u64 {
        self.entries.len() as u64
    }

    /// Whether a record can come next.
    pub fn admits(&self, entry: Entry) -> bool {
        match entry.kind {
            Kind::Append => entry.place == self.len && entry.len > 0,
            Kind::Patch => {
                entry.len > 0
                    && entry.place.checked_add(u64::from(entry.len)).is_some_and(|end| end <= self.len)
            }
            Kind::Cut => entry.place < self.len && entry.len == 0,
            Kind::Index => false,
        }
    }

    /// Adds a record that was admitted; `patch` is the content of one that patches.
    pub fn add(&mut self, entry: Entry, patch: Vec<u8>) {
        match entry.kind {
            Kind::Append => {
                let (number, len) = (self.next(), u64::from(entry.len));
                self.pieces.push(Piece { place: self.len, len, entry, number, at: self.end });
                self.len += len;
            }
            Kind::Patch => self.patches.push((entry.place, patch)),
            Kind::Cut => {
                self.len = entry.place;
                self.pieces.retain(|piece| piece.place < entry.place);
                if let Some(last) = self.pieces.last_mut() {
                    last.len = last.len.min(entry.place - last.place);
                }
                // What comes there later is not what was patched.
                self.patches.retain(|(place, _)| *place < entry.place);
                for (place, patch) in &mut self.patches {
                    patch.truncate(usize::try_from(entry.place - *place).unwrap_or(usize::MAX));
                }
            }
            Kind::Index => {}
        }
        self.end += entry.record_bytes();
        self.entries.push(entry);
    }

    /// The pieces with a part of the plain file.
    pub fn pieces(&self, from: u64, to: u64) -> &[Piece] {
        let first = self.pieces.partition_point(|piece| piece.place + piece.len <= from);
        let behind = self.pieces.partition_point(|piece| piece.place < to);
        self.pieces.get(first..behind).unwrap_or_default()
    }

    /// What counts of a piece whose record had this content.
    pub fn patched(&self, piece: Piece, mut content: Vec<u8>) -> Vec<u8> {
        content.truncate(usize::try_from(piece.len).unwrap_or(usize::MAX));
        for (place, patch) in &self.patches {
            let from = piece.place.max(*place);
            let to = (piece.place + piece.len).min(*place + patch.len() as u64);
            if from < to {
                let within = |start: u64| {
                    let at = |at: u64| usize::try_from(at - start).unwrap_or(usize::MAX);
                    at(from)..at(to)
                };
                content[within(piece.place)].copy_from_slice(&patch[within(*place)]);
            }
        }
        content
    }

    /// What is in an index, one entry a record. They are to be admitted one by one.
    pub fn read_index(index: &[u8]) -> Result<Vec<Entry>, Damaged> {
        let entries = index.chunks(ENTRY_BYTES).map(|entry| Entry::from_bytes(entry.try_into().ok()?));
        entries.collect::<Option<_>>().ok_or(Damaged::Index)
    }

    /// How many records an index of so many bytes is about: its own number.
    pub fn index_number(entry: Entry) -> u64 {
        u64::from(entry.len) / ENTRY_BYTES as u64
    }
}

/// The key of a file, and what its records make.
#[derive(Debug)]
pub struct Mapped {
    pub key: FileKey,
    pub map: Map,
}

/// A file that is written.
#[derive(Debug)]
pub struct Log {
    key: FileKey,
    map: Map,
}

/// Records that are to be written at the end of the file, and count from then on.
#[derive(Debug)]
pub struct Records {
    /// All of them.
    pub bytes: Vec<u8>,
    added: Vec<(Entry, Vec<u8>)>,
}

impl Log {
    /// Goes on with a file that has these records.
    pub fn new(file: Mapped) -> Self {
        Log { key: file.key, map: file.map }
    }

    /// What the records that were written make.
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// Adds at the end.
    pub fn append(&self, bytes: &[u8]) -> Records {
        let mut place = self.map.len;
        let pieces = bytes.chunks(PIECE_BYTES).map(|piece| {
            let at = place;
            place += piece.len() as u64;
            (Kind::Append, at, piece)
        });
        self.records(pieces)
    }

    /// Writes over what is there; nothing when it is not all there.
    pub fn patch(&self, place: u64, bytes: &[u8]) -> Option<Records> {
        let fits = place.checked_add(bytes.len() as u64).is_some_and(|end| end <= self.map.len);
        let mut at = place;
        let pieces = bytes.chunks(PIECE_BYTES).map(|piece| {
            let place = at;
            at += piece.len() as u64;
            (Kind::Patch, place, piece)
        });
        fits.then(|| self.records(pieces))
    }

    /// Cuts; nothing to write when it is not longer.
    pub fn cut(&self, len: u64) -> Records {
        let cut = (len < self.map.len).then_some((Kind::Cut, len, [].as_slice()));
        self.records(cut.into_iter())
    }

    fn records<'a>(&self, of: impl Iterator<Item = (Kind, u64, &'a [u8])>) -> Records {
        let mut records = Records { bytes: Vec::new(), added: Vec::new() };
        for (number, (kind, place, content)) in (self.map.next()..).zip(of) {
            let len = u32::try_from(content.len()).unwrap_or(u32::MAX);
            let entry = Entry { kind, place, len };
            write(&self.key, number, entry, content, &mut records.bytes);
            let patch = if kind == Kind::Patch { content.to_vec() } else { Vec::new() };
            records.added.push((entry, patch));
        }
        records
    }

    /// Takes note that records were written.
    pub fn wrote(&mut self, records: Records) {
        for (entry, patch) in records.added {
            self.map.add(entry, patch);
        }
    }

    /// The end of a finished file: the index, and where it is.
    pub fn end(&self) -> Vec<u8> {
        let index: Vec<u8> = self.map.entries.iter().flat_map(|entry| entry.to_bytes()).collect();
        // Four thousand million bytes of index are a file of 20 TB.
        let len = u32::try_from(index.len()).unwrap_or(u32::MAX);
        let entry = Entry { kind: Kind::Index, place: self.map.len, len };
        let mut end = Vec::with_capacity(index.len() + 64);
        write(&self.key, self.map.next(), entry, &index, &mut end);
        end.extend_from_slice(&self.map.end.to_be_bytes());
        end.extend_from_slice(&END);
        end
    }
}
