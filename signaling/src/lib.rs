//! The lesson machine of Lectern: rooms, people, roles and the lesson log, without a clock, socket, file or thread.

pub mod classroom;
pub mod io;
pub mod jpeg;
pub mod lesson;
pub mod message;
pub mod permission;
pub mod replay;
pub mod role;
pub mod time;
pub mod token;
