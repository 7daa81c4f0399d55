//! Which peers a relay may reach. Pure: addresses in, a verdict out.
//!
//! A relay here exists to reach this server's own media sockets, so these are all that it reaches by default, each with its
//! address and its port. Everything else is refused unless it is listed, or unless the operator opens the relay to public
//! addresses; then all that is not public unicast stays refused, in every spelling (CVE-2020-26262, CVE-2026-27624).
//!
//! Addresses are compared as they are written, never after taking an IPv4 address out of an IPv6 one: what an IPv6 spelling
//! would reach depends on translators that we do not see, so such spellings are simply not public.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::addresses::Network;

/// See the [module](self).
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Where this server's media workers are reached: always allowed, with exactly these ports.
    pub media: Vec<SocketAddr>,
    /// Refused, even if listed below or public.
    pub denied: Vec<Network>,
    /// Allowed on all ports.
    pub allowed: Vec<Network>,
    /// Whether public unicast addresses are allowed.
    pub public: bool,
    /// Addresses of this machine: whatever else listens there is none of a client's business, public or not.
    pub own: Vec<IpAddr>,
}

impl Filter {
    /// Whether data may go to and come from this peer.
    pub fn permits(&self, peer: SocketAddr) -> bool {
        self.media.contains(&peer) || self.permits_all_ports(peer.ip())
    }

    /// Whether a permission for this address may be given. Permissions have no port (RFC 8656, section 9): for an address of
    /// a media worker data is still held to its port by [`Filter::permits`].
    pub fn permits_address(&self, ip: IpAddr) -> bool {
        self.media.iter().any(|media| media.ip() == ip) || self.permits_all_ports(ip)
    }

    fn permits_all_ports(&self, ip: IpAddr) -> bool {
        let listed = |networks: &[Network]| networks.iter().any(|network| network.contains(ip));
        if listed(&self.denied) {
            return false;
        }
        listed(&self.allowed) || (self.public && is_public(ip) && !self.own.contains(&ip))
    }

    /// Whether anything outside of this machine may be reached.
    pub fn reaches_out(&self) -> bool {
        self.public || !self.allowed.is_empty()
    }
}

/// Whether an address is public unicast, and reaches what it says. The lists are IANA's special-purpose registries
/// (RFC 6890 and updates).
pub fn is_public(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => is_public_v4(ip),
        IpAddr::V6(ip) => is_public_v6(ip),
    }
}

fn is_public_v4(ip: Ipv4Addr) -> bool {
    let [a, b, c, _] = ip.octets();
    let special = matches!(
        (a, b, c),
        // This host; private; shared (also Alibaba's metadata); loopback; link-local (also metadata); private.
        (0 | 10 | 127, _, _) | (100, 64..=127, _) | (169, 254, _) | (172, 16..=31, _)
            // Protocol assignments (also Oracle's metadata); documentation; 6to4 relays; private; benchmarks.
            | (192, 0, 0 | 2) | (192, 88, 99) | (192, 168, _) | (198, 18 | 19, _)
            // Documentation; multicast, reserved, broadcast.
            | (198, 51, 100) | (203, 0, 113) | (224..=255, _, _)
    );
    // Azure's wire server has a public address and is reached from its machines alone.
    !special && ip != Ipv4Addr::new(168, 63, 129, 16)
}

fn is_public_v6(ip: Ipv6Addr) -> bool {
    let [a, b, ..] = ip.segments();
    // Global unicast is 2000::/3 (RFC 4291, section 2.4). Outside of it are ::, ::1, IPv4-mapped and -compatible,
    // NAT64 (64:ff9b::/96 and 64:ff9b:1::/48), ULA, link-local, site-local and multicast.
    let global = a & 0xe000 == 0x2000;
    // Inside: protocol assignments, Teredo and ORCHID (2001::/23), documentation (2001:db8::/32, 3fff::/20), 6to4 (2002::/16).
    let special = match a {
        0x2001 => b < 0x200 || b == 0xdb8,
        0x3fff => b < 0x1000,
        _ => a == 0x2002,
    };
    // Networks may choose their own NAT64 prefix, of which 96 bits and the lengths below hold an IPv4 address in known places
    // (RFC 6052, section 2.2). Such a prefix cannot be told from others; an operator who has one lists it with
    // `turn_deny_peers`.
    global && !special
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// All that HARDENING.md names, and more spellings of it.
    const NEVER_PUBLIC: &str = "127.0.0.1 127.1.2.3 0.0.0.0 0.1.2.3 :: ::1 ::ffff:127.0.0.1 ::127.0.0.1 ::ffff:0:127.0.0.1 \
        10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 ::ffff:10.0.0.1 ::ffff:192.168.1.1 100.64.0.1 100.100.100.200 \
        169.254.1.1 169.254.169.254 ::ffff:169.254.169.254 fe80::1 fe80::a9fe:a9fe fec0::1 fc00::1 fd00:ec2::254 \
        168.63.129.16 192.0.0.192 224.0.0.1 239.255.255.255 ff02::1 ff0e::1 255.255.255.255 240.0.0.1 192.0.2.1 198.51.100.1 \
        203.0.113.1 198.18.0.1 2001:db8::1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b::808:808 64:ff9b:1::a00:1 2002:7f00:1:: \
        2002:a9fe:a9fe::1 2002:808:808::1 2001:0:7f00:1::1 2001:10::1 100::1 5f00::1 3fff::1";

    #[test]
    fn special_addresses_are_refused_in_every_spelling() {
        let open = Filter { public: true, ..Filter::default() };
        for text in NEVER_PUBLIC.split_whitespace() {
            assert!(!open.permits_address(ip(text)), "{text}");
            assert!(!open.permits(SocketAddr::new(ip(text), 443)), "{text}");
        }
        for text in
            "1.1.1.1 8.8.8.8 172.15.0.1 172.32.0.1 100.63.0.1 100.128.0.1 2001:4860:4860::8888 2a00::1"
                .split(' ')
        {
            assert!(open.permits_address(ip(text)), "{text}");
            assert!(!Filter::default().permits_address(ip(text)), "{text}");
        }
    }

    #[test]
    fn media_is_reached_at_its_port_and_nothing_else_of_the_machine() {
        let media: SocketAddr = "127.0.0.1:7882".parse().unwrap();
        let filter = Filter { media: vec![media], ..Filter::default() };
        assert!(filter.permits(media) && filter.permits_address(media.ip()));
        for other in
            ["127.0.0.1:6379", "127.0.0.2:7882", "[::ffff:127.0.0.1]:7882", "[::1]:7882", "0.0.0.0:7882"]
        {
            assert!(!filter.permits(other.parse().unwrap()), "{other}");
        }
        assert!(!filter.permits_address(ip("::ffff:127.0.0.1")));
        assert!(!filter.reaches_out());
    }

    /// Line 17: what the deployment runs on its own, also on public addresses.
    #[test]
    fn own_and_denied_addresses_are_refused_where_public_ones_are_not() {
        let filter = Filter {
            media: vec!["9.9.9.9:7882".parse().unwrap()],
            denied: vec!["8.8.0.0/16".parse().unwrap(), "10.1.1.1".parse().unwrap()],
            allowed: vec!["10.1.0.0/16".parse().unwrap(), "8.8.8.8".parse().unwrap()],
            public: true,
            own: vec![ip("9.9.9.9")],
        };
        let permits = |text: &str| filter.permits(text.parse().unwrap());
        assert!(permits("9.9.9.9:7882") && permits("10.1.2.3:5") && permits("7.7.7.7:5"));
        for refused in ["9.9.9.9:6379", "9.9.9.9:27017", "8.8.8.8:53", "10.1.1.1:5", "10.2.0.1:5"] {
            assert!(!permits(refused), "{refused}");
        }
    }

    proptest! {
        /// No IPv4 address gets through in IPv6 clothes, whichever it is: mapped, compatible, translated, 6to4, Teredo.
        #[test]
        fn no_ipv4_address_hides_in_an_ipv6_one(address: u32, low: u64, middle: u16) {
            let v4 = u128::from(address);
            let open = Filter { public: true, ..Filter::default() };
            let prefix = |high: u128, shift: u32| high << shift;
            let spellings = [
                v4,
                prefix(0xffff, 32) | v4,
                prefix(0xffff_0000, 32) | v4,
                prefix(0x0064_ff9b, 96) | v4,
                prefix(0x0064_ff9b_0001, 80) | u128::from(middle) << 64 | v4,
                prefix(0x2002, 112) | v4 << 80 | u128::from(low),
                prefix(0x2001_0000, 96) | v4 << 64 | u128::from(low),
                prefix(0xfe80, 112) | u128::from(low),
                prefix(0xfd, 120) | v4 << 64 | u128::from(low),
                prefix(0xff, 120) | v4 << 64 | u128::from(low),
            ];
            for spelling in spellings {
                let ip = Ipv6Addr::from(spelling);
                prop_assert!(!open.permits_address(ip.into()), "{ip}");
            }
        }

        /// The standard library's own idea of special addresses is a subset of ours.
        #[test]
        fn what_the_library_calls_special_is_refused(address: u32) {
            let ip = Ipv4Addr::from(address);
            if ip.is_private() || ip.is_loopback() || ip.is_link_local() || ip.is_broadcast()
                || ip.is_multicast() || ip.is_unspecified() || ip.is_documentation() {
                prop_assert!(!is_public(ip.into()), "{ip}");
            }
        }

        /// By default nothing but media gets through, whatever else is true.
        #[test]
        fn the_default_reaches_media_alone(a: u128, v4: u32, port: u16) {
            let media: SocketAddr = "198.51.100.7:7882".parse().unwrap();
            let filter = Filter { media: vec![media], own: vec![media.ip()], ..Filter::default() };
            for ip in [IpAddr::from(Ipv6Addr::from(a)), IpAddr::from(Ipv4Addr::from(v4)), media.ip()] {
                let peer = SocketAddr::new(ip, port);
                prop_assert_eq!(filter.permits(peer), peer == media);
                prop_assert_eq!(filter.permits_address(ip), ip == media.ip());
            }
        }
    }
}
