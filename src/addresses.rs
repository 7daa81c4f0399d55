//! The addresses at which media reaches this machine: what goes into ICE candidates; and networks of addresses.

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::str::FromStr;

/// Most candidate addresses. Each costs every client a connectivity check per own address, and machines with many
/// temporary IPv6 addresses or container bridges have dozens.
const CANDIDATES: usize = 16;

/// The candidate addresses: `public` when there are any, else the machine's own, in order of preference.
///
/// # Errors
/// When the system does not tell its addresses, or has none that media could use.
pub fn candidates(public: &[IpAddr]) -> io::Result<Vec<IpAddr>> {
    let found = if public.is_empty() { own()? } else { public.to_vec() };
    let found = preferred(found);
    if found.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::AddrNotAvailable,
            "this machine has no address that media could use; name one with --public-ip",
        ));
    }
    Ok(found)
}

/// All addresses of this machine's interfaces.
///
/// # Errors
/// When the system does not tell.
pub fn own() -> io::Result<Vec<IpAddr>> {
    Ok(if_addrs::get_if_addrs()?.into_iter().map(|interface| interface.ip()).collect())
}

/// Drops what no peer can use, duplicates, and what is too many, and puts the likely first: an address of the network
/// before loopback (which only a local run uses), IPv4 before IPv6 (as the first of a family stands for a public
/// address that the machine does not know of). Otherwise the order stays.
fn preferred(addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut kept: Vec<IpAddr> = Vec::new();
    for ip in addresses.into_iter().map(|ip| ip.to_canonical()) {
        if usable(ip) && !kept.contains(&ip) {
            kept.push(ip);
        }
    }
    kept.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6()));
    if kept.len() > CANDIDATES {
        // Loopback sorts last, and must not be what a local run loses.
        let (loopback, mut rest): (Vec<_>, Vec<_>) = kept.into_iter().partition(IpAddr::is_loopback);
        rest.truncate(CANDIDATES.saturating_sub(loopback.len()));
        rest.extend(loopback);
        rest.truncate(CANDIDATES);
        kept = rest;
    }
    kept
}

fn usable(ip: IpAddr) -> bool {
    // Link-local needs a zone, which a candidate cannot carry (RFC 8839, section 5.1).
    let link_local = match ip {
        IpAddr::V4(ip) => ip.is_link_local() || ip.is_broadcast(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !link_local && !ip.is_unspecified() && !ip.is_multicast()
}

/// An address, or all that begin alike: `10.1.2.3`, `10.0.0.0/8`, `2001:db8::/32`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Whether the address is in it. An IPv4-mapped address is not in an IPv4 network.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.address, ip) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => same_bits(u32::from(own), u32::from(ip), 32, self.bits),
            (IpAddr::V6(own), IpAddr::V6(ip)) => same_bits(u128::from(own), u128::from(ip), 128, self.bits),
            _ => false,
        }
    }
}

/// Whether the first `bits` of `width` agree.
fn same_bits<T>(a: T, b: T, width: u32, bits: u8) -> bool
where
    T: std::ops::BitXor<Output = T> + Into<u128>,
{
    let difference: u128 = (a ^ b).into();
    // A shift by the whole width leaves nothing to compare, which is what /0 means.
    difference.checked_shr(width - u32::from(bits)).unwrap_or(0) == 0
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is neither an address nor a network such as 10.0.0.0/8");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(width), str::parse).map_err(|_| wrong())?;
        if bits > width { Err(wrong()) } else { Ok(Network { address, bits }) }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    fn ips(list: &str) -> Vec<IpAddr> {
        list.split_whitespace().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn network_before_loopback_and_no_link_local() {
        let own = ips(
            "127.0.0.1 ::1 169.254.3.4 fe80::1 10.0.0.5 2001:db8::7 10.0.0.5 ::ffff:10.0.0.5 0.0.0.0 ff02::1",
        );
        assert_eq!(preferred(own), ips("10.0.0.5 2001:db8::7 127.0.0.1 ::1"));
    }

    #[test]
    fn public_addresses_replace_the_own_ones_in_their_order() {
        let public = ips("203.0.113.9 203.0.113.1 2001:db8::1");
        assert_eq!(candidates(&public).unwrap(), public);
        assert!(candidates(&ips("0.0.0.0")).is_err());
    }

    #[test]
    fn many_addresses_leave_room_for_loopback() {
        let many: Vec<String> = (1..100).map(|i| format!("10.0.0.{i}")).collect();
        let kept = preferred(ips(&format!("127.0.0.1 {}", many.join(" "))));
        assert_eq!(kept.len(), CANDIDATES);
        assert_eq!(kept[0], ips("10.0.0.1")[0]);
        assert!(kept.contains(&ips("127.0.0.1")[0]));
    }

    #[test]
    fn this_machine_has_loopback() {
        let found = candidates(&[]).unwrap();
        assert!(found.contains(&ips("127.0.0.1")[0]), "{found:?}");
        assert!(found.iter().all(|ip| usable(*ip)));
    }

    #[test]
    fn networks_are_read_as_people_write_them() {
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0.0/", "10/8", "/8", "host", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
        let all: Network = "0.0.0.0/0".parse().unwrap();
        assert!(
            all.contains(ip("1.2.3.4")) && !all.contains(ip("::1")) && !all.contains(ip("::ffff:1.2.3.4"))
        );
        let some: Network = "2001:db8::/33".parse().unwrap();
        assert!(some.contains(ip("2001:db8:7fff::1")) && !some.contains(ip("2001:db8:8000::1")));
        let one: Network = "10.0.0.1".parse().unwrap();
        assert!(one.contains(ip("10.0.0.1")) && !one.contains(ip("10.0.0.0")));
    }

    proptest! {
        /// A network has exactly the addresses that begin like it.
        #[test]
        fn a_network_is_a_prefix(a: u32, b: u32, bits in 0_u8..=32) {
            let network = Network { address: Ipv4Addr::from(a).into(), bits };
            let same = bits == 0 || a >> (32 - bits) == b >> (32 - bits);
            prop_assert_eq!(network.contains(Ipv4Addr::from(b).into()), same);
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }
}
