//! How many connections there may be, in all and of one subscriber.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// All places are taken.
    Total,
    /// The subscriber has all that it may have.
    Address,
}

impl Refused {
    /// For a label.
    pub const fn name(self) -> &'static str {
        match self {
            Refused::Total => "total",
            Refused::Address => "address",
        }
    }
}

/// Places for connections. Clones are the same ones.
#[derive(Debug, Clone)]
pub struct Places {
    counts: Arc<Mutex<Counts>>,
    most: usize,
    most_per_address: usize,
}

#[derive(Debug, Default)]
struct Counts {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// A connection's place, until it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    ip: IpAddr,
}

impl Places {
    /// So many in all, and of one subscriber.
    pub fn new(most: usize, most_per_address: usize) -> Self {
        Places { counts: Arc::default(), most, most_per_address }
    }

    /// A place for a connection of this address.
    ///
    /// # Errors
    /// When there is none.
    pub fn take(&self, ip: IpAddr) -> Result<Place, Refused> {
        let ip = subscriber(ip);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.all >= self.most {
            return Err(Refused::Total);
        }
        let of_address = counts.by_address.entry(ip).or_default();
        if *of_address >= self.most_per_address {
            return Err(Refused::Address);
        }
        *of_address += 1;
        counts.all += 1;
        Ok(Place { places: self.clone(), ip })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.places.counts.lock().unwrap_or_else(PoisonError::into_inner);
        counts.all -= 1;
        if let Some(of_address) = counts.by_address.get_mut(&self.ip) {
            *of_address -= 1;
            if *of_address == 0 {
                counts.by_address.remove(&self.ip);
            }
        }
    }
}

/// What one subscriber has: an IPv4 address, or an IPv6 network of 64 bits.
fn subscriber(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            IpAddr::V6([a, b, c, d, 0, 0, 0, 0].into())
        }
        ip => ip,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_so_many_places_and_gets_them_back() {
        let places = Places::new(5, 2);
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let first = places.take(ip("10.0.0.1")).unwrap();
        let _second = places.take(ip("::ffff:10.0.0.1")).unwrap();
        assert_eq!(places.take(ip("10.0.0.1")).unwrap_err(), Refused::Address);
        let _other = places.take(ip("10.0.0.2")).unwrap();
        drop(first);
        let _again = places.take(ip("10.0.0.1")).unwrap();
        let _network = places.take(ip("2001:db8::1")).unwrap();
        let last = places.take(ip("2001:db8::ffff:2")).unwrap();
        assert_eq!(places.take(ip("2001:db8:0:1::1")).unwrap_err(), Refused::Total);
        drop(last);
        assert!(places.take(ip("2001:db8:0:1::1")).is_ok());
        assert_eq!(
            places.counts.lock().unwrap().by_address.len(),
            3,
            "nothing is kept of those who are gone"
        );
    }
}
