//! Reads sealed files as if they were plain: from anything that has their bytes.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;
use std::sync::Arc;

use super::Damaged;
use super::keys::{DataKey, FileKey, TAG_BYTES};
use super::log::{self, END_BYTES, Entry, HEAD_BYTES, Kind, Map, Mapped, Piece, RECORD_HEAD_BYTES};

/// Something with the bytes of a sealed file.
pub trait Source {
    /// Reads all of these bytes.
    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()>;
}

impl Source for File {
    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(self, bytes, at)
    }
}

/// What to do about a record that is not what was sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust {
    /// It is an error. Contents are not looked at but those of patches.
    Strict,
    /// The file ends before it, as after a loss of power: every record is looked at.
    Torn,
}

/// Key and map of a sealed file of so many bytes, and whether it was finished. One that is still written, or was cut off, is read up to its last
/// whole record. None when not even its head is whole.
pub fn read_map(
    source: &impl Source,
    bytes: u64,
    data: &DataKey,
    name: &str,
    trust: Trust,
) -> io::Result<Option<(Mapped, bool)>> {
    if bytes < HEAD_BYTES as u64 {
        return Ok(None);
    }
    let key = log::key_of(data, name, &fetch(source, 0)?)?;
    match read_index(source, bytes, &key) {
        Ok(Some(map)) => return Ok(Some((Mapped { key, map }, true))),
        Err(error) if trust == Trust::Strict || error.kind() != io::ErrorKind::InvalidData => {
            return Err(error);
        }
        _ => {}
    }
    let mut map = Map::default();
    let torn = |number: u64| match trust {
        Trust::Strict => Err(Damaged::Record(number)),
        Trust::Torn => Ok(()),
    };
    while map.end() + RECORD_HEAD_BYTES as u64 <= bytes {
        let head = fetch(source, map.end())?;
        let Some((entry, _)) = log::read_head(&head) else {
            torn(map.next())?;
            break;
        };
        // An index that was not finished, or a record.
        if entry.kind == Kind::Index || map.end() + entry.record_bytes() > bytes {
            break;
        }
        if !map.admits(entry) {
            torn(map.next())?;
            break;
        }
        let content = match (entry.kind, trust) {
            (Kind::Append, Trust::Strict) => Vec::new(),
            _ => match read_record(source, &key, (map.next(), entry), map.end()) {
                Ok(content) => content,
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    torn(map.next())?;
                    break;
                }
                Err(error) => return Err(error),
            },
        };
        map.add(entry, if entry.kind == Kind::Patch { content } else { Vec::new() });
    }
    Ok(Some((Mapped { key, map }, false)))
}

/// By the index of a finished file; none when there is none.
fn read_index(source: &impl Source, bytes: u64, key: &FileKey) -> io::Result<Option<Map>> {
    let Some(end_at) = bytes.checked_sub(END_BYTES as u64).filter(|at| *at >= HEAD_BYTES as u64) else {
        return Ok(None);
    };
    let Some(at) = log::read_end(&fetch(source, end_at)?) else { return Ok(None) };
    if at.checked_add(RECORD_HEAD_BYTES as u64).is_none_or(|head_end| head_end > end_at) {
        return Err(Damaged::Index.into());
    }
    let (entry, _) = log::read_head(&fetch(source, at)?).ok_or(Damaged::Index)?;
    if entry.kind != Kind::Index || at + entry.record_bytes() != end_at {
        return Err(Damaged::Index.into());
    }
    let index = read_record(source, key, (Map::index_number(entry), entry), at)?;
    let mut map = Map::default();
    for entry in Map::read_index(&index)? {
        if !map.admits(entry) || map.end() + entry.record_bytes() > at {
            return Err(Damaged::Index.into());
        }
        let patch = match entry.kind {
            Kind::Patch => read_record(source, key, (map.next(), entry), map.end())?,
            _ => Vec::new(),
        };
        map.add(entry, patch);
    }
    if (map.end(), map.len()) == (at, entry.place) { Ok(Some(map)) } else { Err(Damaged::Index.into()) }
}

fn fetch<const BYTES: usize>(source: &impl Source, at: u64) -> io::Result<[u8; BYTES]> {
    let mut bytes = [0; BYTES];
    source.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// The content of the record that begins here, and is to be this one.
fn read_record(
    source: &impl Source,
    key: &FileKey,
    (number, entry): (u64, Entry),
    at: u64,
) -> io::Result<Vec<u8>> {
    let head = log::read_head(&fetch(source, at)?).filter(|(found, _)| *found == entry);
    let (_, nonce) = head.ok_or(Damaged::Record(number))?;
    let mut sealed = vec![0; entry.len as usize + TAG_BYTES];
    source.read_exact_at(&mut sealed, at + RECORD_HEAD_BYTES as u64)?;
    Ok(log::open(key, number, entry, nonce, sealed)?)
}

/// A sealed file as if it were plain, as long as it was when it was opened.
#[derive(Debug)]
pub struct Reader<S> {
    source: S,
    file: Mapped,
    at: u64,
    /// The piece that was read last, as it counts.
    held: Option<(Piece, Vec<u8>)>,
}

impl<S: Source> Reader<S> {
    /// Reads what is there of a file of so many bytes.
    pub fn open(source: S, bytes: u64, data: &DataKey, name: &str) -> io::Result<Self> {
        let read = read_map(&source, bytes, data, name, Trust::Strict)?;
        // A file that has just been made has nothing yet.
        let empty = || Mapped { key: log::begin(data, name).0, map: Map::default() };
        let file = read.map_or_else(empty, |(file, _)| file);
        Ok(Reader { source, file, at: 0, held: None })
    }

    /// How long the plain file is.
    pub fn plain_bytes(&self) -> u64 {
        self.file.map.len()
    }

    fn hold(&mut self, piece: Piece) -> io::Result<&[u8]> {
        let content = match self.held.take() {
            Some((held, content)) if held == piece => content,
            _ => {
                let content =
                    read_record(&self.source, &self.file.key, (piece.number, piece.entry), piece.at)?;
                self.file.map.patched(piece, content)
            }
        };
        Ok(&self.held.insert((piece, content)).1)
    }
}

impl<S: Source> Read for Reader<S> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let at = self.at;
        let Some(piece) = self.file.map.pieces(at, at.saturating_add(1)).first().copied() else {
            return Ok(0);
        };
        let from = usize::try_from(at - piece.place).unwrap_or(usize::MAX);
        let rest = self.hold(piece)?.get(from..).unwrap_or_default();
        let count = rest.len().min(to.len());
        to[..count].copy_from_slice(&rest[..count]);
        self.at += count as u64;
        Ok(count)
    }
}

impl<S: Source> Seek for Reader<S> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.file.map.len().checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// What a whole sealed file of this name says.
pub fn open_bytes(data: &DataKey, name: &str, sealed: &[u8]) -> io::Result<Vec<u8>> {
    let mut source = Sparse::default();
    source.add(0, sealed.to_vec());
    let mut plain = Vec::new();
    Reader::open(source, sealed.len() as u64, data, name)?.read_to_end(&mut plain)?;
    Ok(plain)
}

/// A file of which some parts are here, and the others are asked for: one in a bucket.
#[derive(Debug, Default)]
pub struct Sparse(Vec<(u64, Vec<u8>)>);

/// A part that is not here yet.
#[derive(Debug, thiserror::Error)]
#[error("bytes {} to {} are not here", .0.start, .0.end)]
struct Needs(Range<u64>);

impl Sparse {
    /// Key and map of the file, once all that is needed for them is here. None when it is no sealed file.
    pub fn map(&self, bytes: u64, data: &DataKey, name: &str) -> io::Result<Option<Arc<Mapped>>> {
        Ok(read_map(self, bytes, data, name, Trust::Strict)?.map(|(file, _)| Arc::new(file)))
    }

    /// Adds a part.
    pub fn add(&mut self, at: u64, bytes: Vec<u8>) {
        self.0.push((at, bytes));
    }

    /// What is to be added before it is tried again; nothing when it failed for another reason.
    pub fn needs(error: &io::Error) -> Option<Range<u64>> {
        Some(error.get_ref()?.downcast_ref::<Needs>()?.0.clone())
    }
}

impl Source for Sparse {
    fn read_exact_at(&self, bytes: &mut [u8], at: u64) -> io::Result<()> {
        let end = at.saturating_add(bytes.len() as u64);
        let part = self.0.iter().find_map(|(start, part)| {
            let from = usize::try_from(at.checked_sub(*start)?).ok()?;
            part.get(from..from.checked_add(bytes.len())?)
        });
        bytes.copy_from_slice(part.ok_or_else(|| io::Error::other(Needs(at..end)))?);
        Ok(())
    }
}

/// A part of a plain file, made of the sealed bytes as they come.
#[derive(Debug)]
pub struct Stream {
    file: Arc<Mapped>,
    range: Range<u64>,
    pieces: VecDeque<Piece>,
    /// Where `waiting` begins in the sealed file.
    at: u64,
    waiting: Vec<u8>,
}

impl Stream {
    /// Begins; nothing when the file does not have this part.
    pub fn new(file: Arc<Mapped>, range: Range<u64>) -> Option<Self> {
        let pieces: VecDeque<Piece> = file.map.pieces(range.start, range.end).iter().copied().collect();
        let at = pieces.front()?.at;
        (range.end <= file.map.len()).then(|| Stream { file, range, pieces, at, waiting: Vec::new() })
    }

    /// The bytes of the sealed file that it needs.
    pub fn needs(&self) -> Range<u64> {
        let end = self.pieces.back().map_or(self.at, |last| last.at + last.entry.record_bytes());
        self.at..end
    }

    /// Takes the next of these bytes, and gives what they have.
    pub fn take(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        self.waiting.extend_from_slice(bytes);
        let mut plain = Vec::new();
        while let Some(piece) = self.pieces.front().copied() {
            // Patches may lie between pieces.
            let between = usize::try_from(piece.at - self.at).unwrap_or(usize::MAX).min(self.waiting.len());
            self.waiting.drain(..between);
            self.at += between as u64;
            let len = usize::try_from(piece.entry.record_bytes()).unwrap_or(usize::MAX);
            let (true, Some(record)) = (self.at == piece.at, self.waiting.get(..len)) else { break };
            let Mapped { key, map } = &*self.file;
            let mut source = Sparse::default();
            source.add(0, record.to_vec());
            let content = map.patched(piece, read_record(&source, key, (piece.number, piece.entry), 0)?);
            let within = |at: u64| usize::try_from(at.saturating_sub(piece.place)).unwrap_or(usize::MAX);
            let part = within(self.range.start)..within(self.range.end).min(content.len());
            plain.extend_from_slice(content.get(part).ok_or(Damaged::Record(piece.number))?);
            self.waiting.drain(..len);
            self.at += len as u64;
            self.pieces.pop_front();
        }
        Ok(plain)
    }
}
