//! The recorder of Lectern, without a clock, file or thread.
//!
//! A recording is tracks plus the lesson's log: what the media machine hands out as [`sfu::io::RecordedPacket`] goes, untouched, into a file a
//! track, and everything that happened goes, line by line, into a [`timeline`].
//!
//! # Driving it
//!
//! A [`recorder::Recorder`] holds one recording. The owner
//! 1. gives it a [`recorder::Input`] with [`recorder::Recorder::handle`]; several in a row are fine;
//! 2. calls [`recorder::Recorder::poll_output`] until there is nothing, and does what each output says, in order;
//! 3. waits for input, at most until [`recorder::Recorder::poll_timeout`].
//!
//! Whatever happens to the process, [`recover::plan`] makes a whole recording of what is on the disk. A panic means a bug here, never bad input.

pub mod clock;
pub mod colour;
pub mod export;
pub mod frames;
pub mod line;
pub mod manifest;
pub mod mix;
pub mod recorder;
pub mod recover;
pub mod reorder;
pub mod retention;
pub mod space;
pub mod timeline;
pub mod tombstone;
pub mod webm;

#[cfg(test)]
mod testing;
