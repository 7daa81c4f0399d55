//! What participants are told about TURN: the `iceServers` of an answer. Pure.

use std::net::IpAddr;
use std::time::Duration;

use signaling::message::IceServer;

use super::credentials::{self, Credential};
use crate::config::Secret;

/// Makes the `iceServers` of each participant.
#[derive(Debug, Clone)]
pub struct IceServers {
    urls: Vec<String>,
    secret: Secret,
    lifetime: Duration,
    /// Other servers than this one.
    are_others: bool,
}

impl IceServers {
    /// With these URLs and the secret of their servers; credentials are good for `lifetime`.
    pub fn new(urls: Vec<String>, secret: Secret, lifetime: Duration) -> Self {
        IceServers { urls, secret, lifetime, are_others: false }
    }

    /// The same of other servers, which know no difference between participants and strangers.
    pub fn of_others(urls: Vec<String>, secret: Secret, lifetime: Duration) -> Self {
        IceServers { are_others: true, ..IceServers::new(urls, secret, lifetime) }
    }

    /// For one participant, now. Nothing when there is no TURN.
    pub fn issue(&self, room: &str, identity: &str, now_secs: u64) -> Vec<IceServer> {
        if self.urls.is_empty() {
            return Vec::new();
        }
        let expires = now_secs.saturating_add(self.lifetime.as_secs());
        self.with(credentials::issue(self.secret.expose().as_bytes(), room, identity, expires))
    }

    /// For the test before class of a stranger, which is over at `expires_secs`. Nothing when there is no TURN, or when it is
    /// other servers': they would let a stranger do what participants may.
    pub fn issue_check(&self, id: &str, expires_secs: u64) -> Vec<IceServer> {
        if self.urls.is_empty() || self.are_others {
            return Vec::new();
        }
        self.with(credentials::issue_check(self.secret.expose().as_bytes(), id, expires_secs))
    }

    fn with(&self, credential: Credential) -> Vec<IceServer> {
        vec![IceServer {
            urls: self.urls.clone(),
            username: Some(credential.username),
            credential: Some(credential.password),
        }]
    }
}

/// The URLs of this server's own relay (RFC 7065): UDP, which suits media, before TCP for networks that have no UDP.
///
/// Each URL costs each client an allocation on each of its networks, so `hosts` should be few.
pub fn own_urls(hosts: &[String], port: u16) -> Vec<String> {
    ["udp", "tcp"]
        .iter()
        .flat_map(|transport| {
            hosts.iter().map(move |host| format!("turn:{host}:{port}?transport={transport}"))
        })
        .collect()
}

/// The URLs of the relay when it has the port of media. UDP is not among them: who reaches the port by UDP reaches media itself
/// there, and Chromium, whose relayed and other datagrams share a socket, takes all that comes from the address of a relay for
/// relayed and would then find no other way.
pub fn one_port_urls(hosts: &[String], port: u16, has_tls: bool) -> Vec<String> {
    let schemes = if has_tls { &["turn", "turns"][..] } else { &["turn"] };
    let of_scheme = |scheme| hosts.iter().map(move |host| format!("{scheme}:{host}:{port}?transport=tcp"));
    schemes.iter().flat_map(of_scheme).collect()
}

/// The hosts for [`own_urls`] when none is set: the first address of each family, which are those of the network if there are
/// any. IPv6 loopback is left out: whoever reaches it reaches an IPv4 address of this machine too.
pub fn hosts(candidates: &[IpAddr]) -> Vec<String> {
    let v4 = candidates.iter().find(|ip| ip.is_ipv4()).map(IpAddr::to_string);
    let v6 = candidates.iter().find(|ip| ip.is_ipv6() && (v4.is_none() || !ip.is_loopback()));
    v4.clone().into_iter().chain(v6.map(|ip| format!("[{ip}]"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_have_udp_first_and_brackets_around_ipv6() {
        let candidates =
            ["192.0.2.1", "192.0.2.2", "127.0.0.1", "2001:db8::1", "::1"].map(|ip| ip.parse().unwrap());
        assert_eq!(
            own_urls(&hosts(&candidates), 3478),
            [
                "turn:192.0.2.1:3478?transport=udp",
                "turn:[2001:db8::1]:3478?transport=udp",
                "turn:192.0.2.1:3478?transport=tcp",
                "turn:[2001:db8::1]:3478?transport=tcp",
            ]
        );
        assert_eq!(
            one_port_urls(&hosts(&candidates), 443, true),
            [
                "turn:192.0.2.1:443?transport=tcp",
                "turn:[2001:db8::1]:443?transport=tcp",
                "turns:192.0.2.1:443?transport=tcp",
                "turns:[2001:db8::1]:443?transport=tcp",
            ]
        );
        assert_eq!(one_port_urls(&hosts(&candidates), 443, false).len(), 2);
        assert_eq!(hosts(&["127.0.0.1", "::1"].map(|ip| ip.parse().unwrap())), ["127.0.0.1"]);
        assert_eq!(hosts(&["::1".parse().unwrap()]), ["[::1]"]);
    }

    #[test]
    fn each_participant_has_an_own_credential() {
        let servers = IceServers::new(
            vec!["turn:turn.example.org:3478".into()],
            Secret::new("0123456789abcdef"),
            Duration::from_secs(60),
        );
        let [ada, ben] = ["ada", "ben"].map(|identity| servers.issue("algebra", identity, 1000).remove(0));
        assert_ne!(ada.username, ben.username);
        assert!(ada.username.unwrap().starts_with("1060:"));
        assert_eq!(ada.urls, ["turn:turn.example.org:3478"]);
        let check = servers.issue_check("0f", 1060).remove(0);
        assert!(check.username.unwrap().starts_with("1060:check."));
        let urls = vec!["turn:turn.example.org:3478".into()];
        let others = IceServers::of_others(urls, Secret::new("0123456789abcdef"), Duration::from_secs(60));
        assert_eq!(others.issue("algebra", "ada", 1000).len(), 1);
        assert!(others.issue_check("0f", 1060).is_empty(), "no way for strangers to somebody else's relay");
        let none = IceServers::new(Vec::new(), Secret::new("0123456789abcdef"), Duration::ZERO);
        assert!(none.issue("algebra", "ada", 1000).is_empty());
    }
}
