//! The recorder of Lectern, without a clock, file or thread.
