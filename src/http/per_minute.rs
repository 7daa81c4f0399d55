//! What one address may do so many times a minute: send wrong API keys, begin tests before class.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Within this the limit may be used up at once.
const WINDOW: Duration = Duration::from_secs(60);
/// Most addresses that are remembered, 2 MB or so. Beyond them all others count as one.
const ADDRESSES: usize = 32_768;

/// How often each address has done it.
#[derive(Debug)]
pub struct PerMinute {
    /// Between two in the long run.
    interval: Duration,
    /// When each address will have paid for what it has done.
    due: Mutex<HashMap<IpAddr, Instant>>,
}

impl PerMinute {
    /// So many a minute.
    pub fn new(per_minute: u64) -> Self {
        let per_minute = u32::try_from(per_minute.max(1)).unwrap_or(u32::MAX);
        PerMinute { interval: WINDOW / per_minute, due: Mutex::default() }
    }

    /// Whether an address may do it once more.
    pub fn may(&self, address: IpAddr, now: Instant) -> bool {
        let due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        let due = due.get(&place(&due, address));
        due.is_none_or(|due| *due + self.interval <= now + WINDOW)
    }

    /// An address has done it.
    pub fn count(&self, address: IpAddr, now: Instant) {
        let mut due = self.due.lock().unwrap_or_else(PoisonError::into_inner);
        if due.len() >= ADDRESSES {
            due.retain(|_, due| *due > now);
        }
        let place = place(&due, address);
        let due = due.entry(place).or_insert(now);
        // Several that may do it may come at the same time; that costs no more than the whole window.
        *due = ((*due).max(now) + self.interval).min(now + WINDOW);
    }
}

/// Where an address is counted. A household or a machine has a whole /64 of IPv6 (RFC 6177, section 2).
fn place(due: &HashMap<IpAddr, Instant>, address: IpAddr) -> IpAddr {
    let network = match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    };
    if due.len() < ADDRESSES || due.contains_key(&network) { network } else { Ipv6Addr::UNSPECIFIED.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_may_do_it_so_often_a_minute() {
        let rate = PerMinute::new(6);
        let now = crate::clock::now().instant;
        let [mine, neighbour, other] =
            ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1"].map(|text| text.parse::<IpAddr>().unwrap());
        for _ in 0..6 {
            assert!(rate.may(mine, now));
            rate.count(mine, now);
        }
        assert!(!rate.may(mine, now) && !rate.may(neighbour, now));
        assert!(rate.may(other, now));
        let later = now + Duration::from_secs(10);
        assert!(!rate.may(mine, later - Duration::from_millis(1)) && rate.may(mine, later));
        rate.count(mine, later);
        assert!(!rate.may(mine, later));
        // Whoever rests has all of them again, and no more.
        let rested = now + Duration::from_secs(1000);
        for _ in 0..6 {
            assert!(rate.may(mine, rested));
            rate.count(mine, rested);
        }
        assert!(!rate.may(mine, rested));
    }

    #[test]
    fn many_addresses_take_no_more_memory_and_no_way_around() {
        let rate = PerMinute::new(1);
        let now = crate::clock::now().instant;
        let address = |n: u32| IpAddr::V4(n.into());
        for n in 0..100_000 {
            rate.count(address(n), now);
        }
        assert!(rate.due.lock().unwrap().len() <= ADDRESSES + 1);
        assert!(!rate.may(address(5), now) && !rate.may(address(200_000), now));
        rate.count(address(1), now + 2 * WINDOW);
        assert_eq!(rate.due.lock().unwrap().len(), 1);
    }
}
