//! Lectern.
fn main() {}
