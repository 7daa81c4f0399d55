//! WebM files of one track (Matroska for H264, which WebM does not name; RFC 9559, over EBML, RFC 8794).
//!
//! While a file grows it is only appended to: segment and clusters have an unknown size (RFC 8794, section 6.2), so it can be played when it is
//! cut anywhere. When it ends, cues are appended, and sizes, duration and the seek head are patched into places that were left for them; the
//! size of the segment comes last and says that the file is finished. [`recover`] does the same for a file that nobody ended.

mod ebml;
pub mod recover;
mod writer;

pub use self::writer::{Ending, Head, Writer, duration_ms};

#[cfg(test)]
mod webm_test;
