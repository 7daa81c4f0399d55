//! The recorder of Lectern, without a clock, file or thread.
//!
//! A recording is tracks plus the lesson's log: what the media machine hands out as [`sfu::io::RecordedPacket`] goes, untouched, into a file a
//! track, and everything that happened goes, line by line, into a timeline. Here is the [`timeline`]; the muxers come with the recorder.

pub mod timeline;
