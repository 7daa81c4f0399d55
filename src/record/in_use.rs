//! Which recordings something works on: the recorder, the finishing after a crash, an export. Whether a recording is being made is asked
//! here and not of its manifest, which says `live` also when whatever wrote it has died.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// All that is worked on. Clones are the same.
#[derive(Debug, Clone, Default)]
pub struct InUse(Arc<Mutex<HashMap<Arc<str>, Use>>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    /// By so many, who leave each other alone.
    Shared(usize),
    /// By one, who removes it.
    Alone,
}

/// Keeps a recording from being removed until it is dropped.
#[derive(Debug)]
pub struct Hold {
    of: InUse,
    id: Arc<str>,
}

/// Keeps everybody else from a recording until it is dropped.
#[derive(Debug)]
pub struct Claim {
    of: InUse,
    id: Arc<str>,
}

impl InUse {
    /// Holds a recording; nothing when it is being removed.
    pub fn hold(&self, id: &str) -> Option<Hold> {
        let id: Arc<str> = id.into();
        let mut uses = self.lock();
        match uses.entry(id.clone()).or_insert(Use::Shared(0)) {
            Use::Shared(count) => *count += 1,
            Use::Alone => return None,
        }
        Some(Hold { of: self.clone(), id })
    }

    /// Takes a recording for oneself; nothing when somebody has it.
    pub fn claim(&self, id: &str) -> Option<Claim> {
        let id: Arc<str> = id.into();
        let mut uses = self.lock();
        if uses.contains_key(&id) {
            return None;
        }
        uses.insert(id.clone(), Use::Alone);
        Some(Claim { of: self.clone(), id })
    }

    /// Whether anybody has it.
    pub fn has(&self, id: &str) -> bool {
        self.lock().contains_key(id)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Use>> {
        // Nothing that runs under the lock can be left half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut uses = self.of.lock();
        match uses.get_mut(&self.id) {
            Some(Use::Shared(count)) if *count > 1 => *count -= 1,
            _ => {
                uses.remove(&self.id);
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.of.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_may_hold_and_one_alone_may_claim() {
        let uses = InUse::default();
        let first = uses.hold("a").unwrap();
        let second = uses.hold("a").unwrap();
        assert!(uses.claim("a").is_none());
        drop(first);
        assert!(uses.claim("a").is_none() && uses.has("a"));
        drop(second);
        assert!(!uses.has("a"));
        let claim = uses.claim("a").unwrap();
        assert!(uses.hold("a").is_none() && uses.claim("a").is_none() && uses.hold("b").is_some());
        drop(claim);
        assert!(uses.hold("a").is_some());
    }
}
