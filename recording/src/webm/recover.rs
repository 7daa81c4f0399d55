//! Finishes a file that nobody ended: a killed process, a full disk, a power cut.
//!
//! The heads of all blocks are read, their payloads are not. What is whole is kept, the torn end is cut off, and the file gets the ending that
//! the writer would have given it. A finished file is left alone, so recovering twice is as good as once.

use std::io::{Read, Seek, SeekFrom};

use sfu::media::Kind;

use super::ebml::*;
use super::writer::{BODY_AT, Cluster, DURATION_BYTES, Ending, Layout, SEEK_HEAD_BYTES, Writer};

/// Bytes that are read at once: many blocks of sound, and of a picture's blocks only a head.
const WINDOW: usize = 8192;
/// The head of a file with its codec's configuration is far shorter.
const HEAD_BYTES: u64 = 64 << 10;

/// How to finish a torn file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes that are whole; cut the file here. 0 when there is nothing to play in it.
    pub keep_bytes: u64,
    /// What to append then.
    pub append: Vec<u8>,
    /// What to write where; the last one, when all else is safe, says that the file is finished.
    pub patches: Vec<(u64, Vec<u8>)>,
    /// How long the file plays.
    pub duration_ms: u64,
    /// Whole frames in it.
    pub frames: u64,
}

impl Recovery {
    pub(crate) fn nothing() -> Self {
        Recovery { keep_bytes: 0, append: Vec::new(), patches: Vec::new(), duration_ms: 0, frames: 0 }
    }
}

/// What [`find`] has found.
pub(crate) enum Found {
    /// There is nothing to do: it is finished, or empty.
    Whole,
    /// Nothing in it can be played.
    Nothing,
    /// It can be finished.
    Torn(Torn),
}

/// A file that nobody ended; by default one of which nothing is kept.
#[derive(Default)]
pub(crate) struct Torn {
    layout: Layout,
    keep_bytes: u64,
    frames: u64,
}

impl Torn {
    /// When its last whole frame is.
    pub fn last_ms(&self) -> u64 {
        self.layout.last_ms
    }

    /// Writes on behind its last whole frame; [`Torn::end`] takes what the writer gives.
    pub fn writer(&self, kind: Kind) -> Writer {
        Writer::resume(kind, self.layout.clone(), self.keep_bytes)
    }

    /// Finishes it as it is.
    pub fn finish(self) -> Recovery {
        let ending = self.layout.ending(self.keep_bytes);
        self.end(Vec::new(), ending)
    }

    /// Finishes it with what was written on.
    pub fn end(self, mut append: Vec<u8>, ending: Ending) -> Recovery {
        append.extend_from_slice(&ending.append);
        let mut patches = ending.patches;
        patches.push(ending.commit);
        let duration_ms = ending.duration_ms;
        Recovery { keep_bytes: self.keep_bytes, append, patches, duration_ms, frames: self.frames }
    }
}

/// Looks at a file of `len` bytes. `None` when there is nothing to do: it is finished, or empty.
///
/// # Errors
/// What the reader says. A file that makes no sense is no error: nothing of it is kept.
pub fn recover(file: &mut (impl Read + Seek), len: u64) -> std::io::Result<Option<Recovery>> {
    Ok(match find(file, len)? {
        Found::Whole => None,
        Found::Nothing => Some(Recovery::nothing()),
        Found::Torn(torn) => Some(torn.finish()),
    })
}

/// As [`recover`], but somebody may write on.
pub(crate) fn find(file: &mut (impl Read + Seek), len: u64) -> std::io::Result<Found> {
    if len == 0 {
        return Ok(Found::Whole);
    }
    let mut file = Window::new(file, len);
    let Some((mut layout, at, finished)) = read_head(&mut file)? else { return Ok(Found::Nothing) };
    if finished {
        return Ok(Found::Whole);
    }
    let (mut keep_bytes, mut frames) = (0, 0);
    let mut blocks = Blocks { file: &mut file, at, cluster: None, last_ms: 0 };
    while let Some(block) = blocks.next()? {
        if layout.clusters.last().is_none_or(|last| last.at != block.cluster.at) {
            layout.clusters.push(Cluster { keyframe: block.keyframe, ..block.cluster });
        }
        layout.add_block(block.at_ms);
        frames += 1;
        keep_bytes = block.end;
    }
    Ok(if frames == 0 { Found::Nothing } else { Found::Torn(Torn { layout, keep_bytes, frames }) })
}

/// The frames of a file from a time on, with their times in milliseconds, whether it is finished or not.
///
/// # Errors
/// What the reader says.
pub(crate) fn frames_from(
    file: &mut (impl Read + Seek),
    len: u64,
    from_ms: u64,
) -> std::io::Result<Vec<(u64, Vec<u8>)>> {
    let mut file = Window::new(file, len);
    let Some((_, at, _)) = read_head(&mut file)? else { return Ok(Vec::new()) };
    let mut frames = Vec::new();
    let mut blocks = Blocks { file: &mut file, at, cluster: None, last_ms: 0 };
    while let Some(block) = blocks.next()? {
        let bytes = usize::try_from(block.end - block.data_at).unwrap_or(usize::MAX);
        if block.at_ms >= from_ms
            && bytes <= WINDOW
            && let Some(data) = blocks.file.get(block.data_at, bytes)?
        {
            frames.push((block.at_ms, data.to_vec()));
        }
    }
    Ok(frames)
}

/// How long a finished file says that it plays.
///
/// # Errors
/// What the reader says.
pub fn finished_duration_ms(file: &mut (impl Read + Seek), len: u64) -> std::io::Result<Option<u64>> {
    let mut file = Window::new(file, len);
    let Some((layout, _, true)) = read_head(&mut file)? else { return Ok(None) };
    let Some((DURATION, Some(8), at)) = file.element(layout.duration_at)? else { return Ok(None) };
    let bytes = file.get(at, 8)?.and_then(|bytes| <[u8; 8]>::try_from(bytes).ok());
    let duration = bytes.map(f64::from_be_bytes).filter(|duration| (0.0..1e15).contains(duration));
    Ok(duration.map(|duration| duration.round() as u64))
}

/// The places in the head, where the clusters begin, and whether the file is finished. `None` for a head that is not ours or not whole.
fn read_head(file: &mut Window<'_, impl Read + Seek>) -> std::io::Result<Option<(Layout, u64, bool)>> {
    let mut layout = Layout::default();
    let Some((EBML, Some(size), body)) = file.element(0)? else { return Ok(None) };
    layout.segment_at = body.saturating_add(size);
    let Some((SEGMENT, segment_size, body)) = file.element(layout.segment_at)? else { return Ok(None) };
    if body != layout.segment_at + BODY_AT {
        return Ok(None);
    }
    let finished = segment_size.is_some_and(|size| body.saturating_add(size) == file.len);
    layout.seek_head_at = body;
    layout.info_at = body + SEEK_HEAD_BYTES as u64;
    // What is patched at the end (the seek head, the duration) may be torn itself: it is not looked at.
    let Some((INFO, Some(size), body)) = file.element(layout.info_at)? else { return Ok(None) };
    if !(DURATION_BYTES as u64..HEAD_BYTES).contains(&size) {
        return Ok(None);
    }
    layout.tracks_at = body + size;
    layout.duration_at = layout.tracks_at - DURATION_BYTES as u64;
    let Some((TRACKS, Some(size), body)) = file.element(layout.tracks_at)? else { return Ok(None) };
    if size >= HEAD_BYTES {
        return Ok(None);
    }
    Ok(Some((layout, body + size, finished)))
}

/// A frame.
struct Block {
    /// Where it is in; whether that begins with a keyframe is not known.
    cluster: Cluster,
    at_ms: u64,
    keyframe: bool,
    data_at: u64,
    end: u64,
}

/// Goes from block to block up to the first thing that is not whole, or not of the writer's making: cues, or a torn end.
struct Blocks<'w, 'f, F> {
    file: &'w mut Window<'f, F>,
    at: u64,
    cluster: Option<Cluster>,
    last_ms: u64,
}

impl<F: Read + Seek> Blocks<'_, '_, F> {
    fn next(&mut self) -> std::io::Result<Option<Block>> {
        while let Some((id, size, body)) = self.file.element(self.at)? {
            match (id, size) {
                (CLUSTER, _) if body == self.at + BODY_AT => {
                    let Some((TIMESTAMP, Some(8), time_at)) = self.file.element(body)? else { break };
                    let Some(bytes) = self.file.get(time_at, 8)? else { break };
                    let time_ms = bytes.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
                    if time_ms < self.last_ms || time_ms > i64::MAX.unsigned_abs() {
                        break;
                    }
                    self.cluster = Some(Cluster { at: self.at, time_ms, keyframe: false });
                    self.at = time_at + 8;
                }
                (SIMPLE_BLOCK, Some(size)) if size >= 4 && body.saturating_add(size) <= self.file.len => {
                    let Some(cluster) = self.cluster else { break };
                    let Some(&[track, high, low, flags]) = self.file.get(body, 4)? else { break };
                    let relative = i16::from_be_bytes([high, low]);
                    if track != 0x81 || relative < 0 || flags & 0x7f != 0 {
                        break;
                    }
                    let at_ms = cluster.time_ms + u64::from(relative.unsigned_abs());
                    self.last_ms = self.last_ms.max(at_ms);
                    self.at = body + size;
                    let keyframe = flags & 0x80 != 0;
                    return Ok(Some(Block { cluster, at_ms, keyframe, data_at: body + 4, end: self.at }));
                }
                _ => break,
            }
        }
        Ok(None)
    }
}

/// Reads a file in pieces.
struct Window<'a, F> {
    file: &'a mut F,
    len: u64,
    start: u64,
    buffer: Vec<u8>,
}

impl<'a, F: Read + Seek> Window<'a, F> {
    fn new(file: &'a mut F, len: u64) -> Self {
        Window { file, len, start: 0, buffer: Vec::new() }
    }

    /// Bytes of the file, few of them; `None` when it is shorter.
    fn get(&mut self, at: u64, count: usize) -> std::io::Result<Option<&[u8]>> {
        let Some(end) = at.checked_add(count as u64).filter(|end| *end <= self.len) else { return Ok(None) };
        if at < self.start || end > self.start + self.buffer.len() as u64 {
            self.file.seek(SeekFrom::Start(at))?;
            self.buffer.clear();
            self.file.by_ref().take(WINDOW as u64).read_to_end(&mut self.buffer)?;
            self.start = at;
        }
        let from = usize::try_from(at - self.start).unwrap_or(usize::MAX);
        Ok(self.buffer.get(from..from.saturating_add(count)))
    }

    /// The element at a place: its identifier, its size (`None` for "unknown") and where its body begins.
    fn element(&mut self, at: u64) -> std::io::Result<Option<(u32, Option<u64>, u64)>> {
        let longest = usize::try_from(self.len.saturating_sub(at).min(12)).unwrap_or(0);
        let Some(bytes) = self.get(at, longest)? else { return Ok(None) };
        let read = read_number(bytes, true, 4).and_then(|(id, id_len)| {
            let (size, size_len) = read_number(&bytes[id_len..], false, 8)?;
            let unknown = size == (1 << (7 * size_len)) - 1;
            Some((u32::try_from(id).ok()?, (!unknown).then_some(size), at + (id_len + size_len) as u64))
        });
        Ok(read)
    }
}
