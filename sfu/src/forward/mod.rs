//! From a publisher's packets to a receiver's slot: which layer, and how the packets must look there.

pub mod map;
pub mod red;
pub mod rewrite;
pub mod select;
pub mod slot;
