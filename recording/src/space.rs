//! What is recorded while the disk fills up.
//!
//! | free, of the reserve | new recordings | those that are made |
//! |---|---|---|
//! | all of it or more | begin | go on |
//! | less | do not begin | go on |
//! | less than a half | do not begin | go on with sound only, until three quarters are free again |
//! | less than a tenth | do not begin | end |
//!
//! Sound is a twentieth of a class's bytes, so it lasts long; and what else is stored on the same disk, as the lessons are, keeps the last tenth.

/// The reserve in bytes, when nothing is said, is at least this …
const LEAST: u64 = 5_000_000_000;
/// … and such a part of the disk.
const SHARE: u64 = 20;

/// What of the disk should stay free.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reserve {
    bytes: u64,
}

/// What those that are made do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Running {
    /// They go on.
    #[default]
    Whole,
    /// They go on without pictures.
    SoundOnly,
    /// They end.
    Ended,
}

impl Reserve {
    /// So many bytes of a disk of `disk_bytes`; the usual part of it when nothing is said.
    pub fn new(bytes: Option<u64>, disk_bytes: u64) -> Self {
        Reserve { bytes: bytes.unwrap_or_else(|| (disk_bytes / SHARE).max(LEAST)) }
    }

    /// How many bytes.
    pub fn bytes(self) -> u64 {
        self.bytes
    }

    /// Whether a recording may begin when so many bytes are free.
    pub fn lets_begin(self, free: u64) -> bool {
        free >= self.bytes
    }

    /// What those that are made do when so many bytes are free, and did `before`.
    pub fn running(self, before: Running, free: u64) -> Running {
        let enough = match before {
            Running::Whole => self.bytes / 2,
            Running::SoundOnly | Running::Ended => self.bytes / 4 * 3,
        };
        if free < self.bytes / 10 {
            Running::Ended
        } else if free < enough {
            Running::SoundOnly
        } else {
            Running::Whole
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn first_nothing_new_then_sound_only_then_nothing() {
        use Running::*;
        let reserve = Reserve::new(Some(1000), 0);
        let mut running = Whole;
        let told = [1000, 999, 500, 499, 600, 749, 100, 99, 150, 750, 600].map(|free| {
            running = reserve.running(running, free);
            (reserve.lets_begin(free), running)
        });
        let expected = [
            (true, Whole),
            (false, Whole),
            (false, Whole),
            (false, SoundOnly),
            (false, SoundOnly),
            (false, SoundOnly),
            (false, SoundOnly),
            (false, Ended),
            (false, SoundOnly),
            (false, Whole),
            (false, Whole),
        ];
        assert_eq!(told, expected);
        assert_eq!(Reserve::new(None, 1_000_000_000_000), Reserve { bytes: 50_000_000_000 });
        assert_eq!(Reserve::new(None, 1_000), Reserve { bytes: LEAST });
    }

    proptest! {
        /// Whatever the disk does: what is free decides, less free is never more recorded, and a value that moves a little about a mark
        /// does not switch pictures on and off.
        #[test]
        fn less_free_is_never_more(bytes in 1000u64..u64::MAX / 8, steps in proptest::collection::vec(0.0..1.5, 1..50)) {
            let reserve = Reserve::new(Some(bytes), 0);
            let rank = |running| [Running::Ended, Running::SoundOnly, Running::Whole].iter().position(|one| *one == running);
            let mut running = Running::Whole;
            for share in steps {
                let free = (bytes as f64 * share) as u64;
                let next = reserve.running(running, free);
                prop_assert!(rank(reserve.running(running, free / 2)) <= rank(next));
                prop_assert!(!reserve.lets_begin(free) || next == Running::Whole);
                if running == Running::Whole && next == Running::SoundOnly {
                    prop_assert_eq!(reserve.running(next, free + free / 4), Running::SoundOnly);
                }
                running = next;
            }
        }
    }
}
