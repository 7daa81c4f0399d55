//! What it means. Pure: what was found comes in, words and a verdict go out.

use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use signaling::time::Timestamp;

use super::Finding;
use super::ask::{AskError, Asked};
use super::machine::{Certificate, Data, Port, RecordingsFolder, Sealing, relay_port};
use crate::acme::Trouble;
use crate::config::Settings;
use crate::listener::BACKLOG;
use crate::record::{BucketConfig, BucketTrouble, Cause, Doing};
use crate::tls::Tls;
use crate::udp::SOCKET_BUFFER_BYTES;

const MEGABYTE: u64 = 1_000_000;
/// Room that the lessons need to go on for a while, and below which hardly one fits.
const DISK_BYTES: (u64, u64) = (1_000 * MEGABYTE, 50 * MEGABYTE);
/// Files that a server with nobody on it has open, and some.
const DESCRIPTORS: u64 = 256;
/// Files that one participant costs: signalling, two allocations, a connection for media.
const DESCRIPTORS_EACH: u64 = 4;
/// No clock is right that is before this version of the program: 2026-01-01.
const EARLIEST_SECS: u64 = 1_767_225_600;
/// A certificate that ends within this time is worth a word; who renews by itself does so earlier.
const CERTIFICATE_DAYS: u64 = 14;
const DAY_SECS: u64 = 24 * 3600;

pub(super) fn data(folder: &Path, data: &Data) -> Vec<Finding> {
    let folder = folder.display();
    let finding = match (&data.problem, data.exists) {
        (Some(error), _) => Finding::fail(
            "data folder",
            format!("{folder} cannot be written: {error}"),
            "give the user of the server the right to write there, or choose another with --data-dir",
        ),
        (None, true) => Finding::ok("data folder", format!("{folder} can be written")),
        (None, false) => Finding::ok("data folder", format!("{folder} will be made at the first start")),
    };
    vec![finding]
}

pub(super) fn disk(free_bytes: Option<u64>) -> Finding {
    let advice =
        "make room, or choose a folder on another disk with --data-dir; lessons that cannot be stored stop";
    match free_bytes {
        None => Finding::warn("disk", "the system does not tell how much is free", "look at `df`"),
        Some(free) => {
            let found = format!("{} MB free", free / MEGABYTE);
            match free {
                free if free < DISK_BYTES.1 => Finding::fail("disk", found, advice),
                free if free < DISK_BYTES.0 => Finding::warn("disk", found, advice),
                _ => Finding::ok("disk", found),
            }
        }
    }
}

/// What protects recordings where they lie.
pub(super) fn sealing(sealing: Result<Sealing, String>) -> Finding {
    let subject = "recordings";
    let Sealing { first, opened, locked } = match sealing {
        Ok(sealing) => sealing,
        Err(error) => {
            let advice = "the server does not start without the key; `lectern recordings new-key` makes one";
            return Finding::fail(subject, error, advice);
        }
    };
    let new = match &first {
        Some(key) => format!("new ones are sealed with the key {key}"),
        None => "new ones are not sealed".to_owned(),
    };
    match (locked, opened) {
        (0, 0) => Finding::ok(subject, new),
        (0, _) => Finding::ok(subject, format!("{new}; the keys open all {opened} that are sealed")),
        _ => Finding::warn(
            subject,
            format!("{new}; {locked} cannot be opened, {opened} can"),
            "put the keys that they were sealed with into recording_key_file, below the first: `lectern recordings list` names them",
        ),
    }
}

/// Where recordings are made, which may be a disk of its own.
pub(super) fn recordings(folder: &Path, recordings: &RecordingsFolder) -> Finding {
    let subject = "recordings";
    let folder = folder.display();
    if let Some(error) = &recordings.problem {
        return Finding::fail(
            subject,
            format!("{folder} cannot be written: {error}"),
            "give the user of the server the right to write there (a disk may be mounted read-only, or not at all)",
        );
    }
    let Some((free, reserve)) = recordings.free_bytes.zip(recordings.reserve_bytes) else {
        return Finding::warn(subject, "the system does not tell how much is free for them", "look at `df`");
    };
    let found = format!("{} MB free in {folder}, of which {} stay so", free / MEGABYTE, reserve / MEGABYTE);
    match free < reserve {
        true => Finding::warn(
            subject,
            format!("{found}: none begins"),
            "make room, or put a larger disk there; recording_reserve_megabytes says how much stays free",
        ),
        false => Finding::ok(subject, format!("{found}; a class takes about 1.4 GB an hour")),
    }
}

/// Whether the bucket does what recordings want of it.
pub(super) fn bucket(config: &BucketConfig, tried: Result<Duration, BucketTrouble>) -> Finding {
    let subject = "bucket";
    let BucketConfig { bucket, prefix, access_key, region, .. } = config;
    let endpoint = config.endpoint.as_deref().unwrap_or("Amazon");
    let place = match prefix.as_str() {
        "" => format!("{bucket} at {endpoint}"),
        prefix => format!("{bucket} at {endpoint}, below {prefix}"),
    };
    let BucketTrouble { doing, cause, left } = match tried {
        Ok(took) => {
            let found =
                format!("{place}: a file was written, read, listed and removed in {} ms", took.as_millis());
            return Finding::ok(subject, found);
        }
        Err(trouble) => trouble,
    };
    let (what, right) = match doing {
        Doing::Open => ("be used", ""),
        Doing::Write => ("be written to", "s3:PutObject and s3:AbortMultipartUpload"),
        Doing::Read => ("be read from", "s3:GetObject"),
        Doing::List => ("be listed", "s3:ListBucket on the bucket itself"),
        Doing::Remove => ("have files removed", "s3:DeleteObject"),
    };
    let (why, advice) = match cause {
        Cause::Settings(reason) => (reason, "correct the recording_s3_… settings".to_owned()),
        Cause::Unreachable(reason) => (
            format!("no connection: {reason}"),
            "look whether it runs, at recording_s3_endpoint (scheme, name, port), and at what is between: DNS, firewall, certificate".into(),
        ),
        Cause::Slow(within) => (
            format!("no answer within {} s", within.as_secs_f64().ceil()),
            "look whether it runs, and at what is between: a firewall that throws packets away looks like this".into(),
        ),
        Cause::Clock => (
            "it finds this machine's clock wrong".into(),
            "set the clock and keep it by NTP: requests are signed with the time, and may be 15 minutes off".into(),
        ),
        Cause::AccessKey => (
            format!("it does not know the key {access_key}"),
            "correct recording_s3_access_key, or make that key there".into(),
        ),
        Cause::Secret => (
            format!("it does not accept what is signed with the key {access_key}"),
            "correct recording_s3_secret_key; it belongs to recording_s3_access_key, and nothing may be missing at its ends".into(),
        ),
        Cause::NoBucket => (
            "there is no such bucket".into(),
            "make it, or correct recording_s3_bucket; recording_s3_path_style says whether its name is in the path or in the host".into(),
        ),
        Cause::Region => (
            format!("it is not in the region {region}"),
            "set recording_s3_region to where it is".into(),
        ),
        Cause::Denied => (
            format!("the key {access_key} may not do that"),
            format!("give it {right}; a bucket may also be read-only for all, by its policy or a lock on its objects"),
        ),
        Cause::Differs => (
            "what was written is not there as it was".into(),
            "look at what is between: something answers from a cache, or is another bucket".into(),
        ),
        Cause::Other(said) => (said, "look at the log of the bucket's server".into()),
    };
    let left = left.map(|left| format!("; {left} is left in it, and can be removed")).unwrap_or_default();
    Finding::fail(
        subject,
        format!("{place} cannot {what}: {why}{left}"),
        format!("{advice}; until then recordings stay on the disk"),
    )
}

/// The settings lack something of the bucket.
pub(super) fn no_bucket(error: &io::Error) -> Finding {
    Finding::fail(
        "bucket",
        error.to_string(),
        "set it, or recording_store to disk; the server does not start",
    )
}

pub(super) fn port(port: &Port, is_running: bool) -> Finding {
    let Port { name, purpose, flag, is_optional, problem } = port;
    let Some(error) = problem else {
        return Finding::ok(name, format!("free, for {purpose}"));
    };
    if error.kind() != io::ErrorKind::AddrInUse {
        let advice = match error.kind() {
            io::ErrorKind::PermissionDenied => {
                format!(
                    "ports below 1024 need a right: AmbientCapabilities=CAP_NET_BIND_SERVICE in the unit, or {flag}"
                )
            }
            io::ErrorKind::AddrNotAvailable => {
                format!("this machine does not have that address; correct {flag}")
            }
            _ => format!("choose another with {flag}"),
        };
        return Finding::fail(name, format!("cannot be had, for {purpose}: {error}"), advice);
    }
    if is_running {
        return Finding::ok(name, format!("used, for {purpose}: a server runs with this data folder"));
    }
    let found = format!("taken by another program, for {purpose}");
    let advice = format!("end that program (`ss -lntup` names it), or choose another port with {flag}");
    if *is_optional { Finding::warn(name, found, advice) } else { Finding::fail(name, found, advice) }
}

pub(super) fn running(answered: Result<(), AskError>) -> Finding {
    match answered {
        Ok(()) => Finding::ok("running server", "a server runs with this data folder, and answers"),
        Err(error) => Finding::fail(
            "running server",
            format!("a server has the data folder, and does not answer here: {error}"),
            "it may run with other settings, or hang: look at its log",
        ),
    }
}

pub(super) fn descriptors(limit: Option<u64>, settings: &Settings) -> Finding {
    let wanted =
        settings.http_connections + settings.ice_tcp_connections + settings.turn_allocations + DESCRIPTORS;
    let advice = "set LimitNOFILE=65536 in the unit, or `ulimit -n 65536` before the start";
    match limit {
        Some(limit) if limit < DESCRIPTORS => {
            Finding::fail("open files", format!("only {limit} are allowed"), advice)
        }
        Some(limit) if limit < wanted => Finding::warn(
            "open files",
            format!(
                "{limit} are allowed: enough for about {} participants; the settings allow connections for {wanted}",
                (limit - DESCRIPTORS) / DESCRIPTORS_EACH
            ),
            advice,
        ),
        Some(limit) => Finding::ok("open files", format!("{limit} are allowed")),
        None => Finding::ok("open files", "no limit"),
    }
}

pub(super) fn socket_buffer(given: io::Result<usize>) -> Finding {
    let wanted = usize::try_from(SOCKET_BUFFER_BYTES).unwrap_or(0);
    match given {
        // The kernel counts its own overhead: twice what was asked for.
        Ok(given) if given / 2 < wanted => Finding::warn(
            "socket buffer",
            format!(
                "the kernel gives media {} kB, {} kB are wanted: packets are lost when a core is busy",
                given / 2048,
                wanted / 1024
            ),
            format!(
                "sysctl -w net.core.rmem_max={wanted} net.core.wmem_max={wanted}, and the same in /etc/sysctl.d"
            ),
        ),
        Ok(given) => Finding::ok("socket buffer", format!("{} kB for media", given / 2048)),
        Err(error) => Finding::fail(
            "socket buffer",
            format!("no UDP socket: {error}"),
            "look at limits and sandbox of the process",
        ),
    }
}

pub(super) fn backlog(most: Option<u32>) -> Option<Finding> {
    let subject = "waiting connections";
    Some(match most? {
        most if most < BACKLOG => Finding::warn(
            subject,
            format!(
                "the kernel lets {most} wait: of a school that comes at once, who is beyond that tries again after a second or three"
            ),
            format!("sysctl -w net.core.somaxconn={BACKLOG}, and the same in /etc/sysctl.d"),
        ),
        most => Finding::ok(subject, format!("{most} may wait to be accepted")),
    })
}

pub(super) fn clock(now_secs: u64) -> Finding {
    if now_secs < EARLIEST_SECS {
        let found = "it is before 2026 by this machine's clock";
        return Finding::fail(
            "clock",
            found,
            "set the clock and keep it by NTP: tokens and certificates end by it",
        );
    }
    Finding::ok("clock", Timestamp(now_secs * 1000).to_string())
}

/// What a NAT in front must hand on.
fn forwarded(settings: &Settings) -> String {
    let mut ports = Vec::new();
    if settings.one_port {
        let port = settings.http_listen.port();
        return format!("UDP and TCP {port}");
    }
    let has_proxy = !Tls::is_wanted(settings) && is_https(settings);
    if !has_proxy && !settings.http_listen.ip().is_loopback() {
        ports.push(format!("TCP {} for pages", settings.http_listen.port()));
    }
    let last = usize::from(settings.udp_port) + settings.worker_count().saturating_sub(1);
    let media = match usize::from(settings.udp_port) {
        0 => "the ports of media (set udp_port, so that they stay the same)".to_owned(),
        first if first == last => format!("{first}"),
        first => format!("{first} to {last}"),
    };
    ports.push(format!("UDP {}{media}", if settings.ice_tcp { "and TCP " } else { "" }));
    match relay_port(settings) {
        Some(0) => ports.push("the relay's port (set turn_port)".into()),
        Some(port) => ports.push(format!("UDP and TCP {port}")),
        None => {}
    }
    ports.join(", ")
}

fn is_https(settings: &Settings) -> bool {
    settings.public_url.as_ref().is_some_and(|url| url.starts_with("https://"))
}

/// Addresses that lead nowhere from outside of the network that they are in.
fn is_private(ip: IpAddr) -> bool {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, ..] = ip.octets();
            // RFC 1918, and RFC 6598 for carriers.
            ip.is_private() || ip.is_loopback() || ip.is_link_local() || (a == 100 && (64..128).contains(&b))
        }
        IpAddr::V6(ip) => ip.is_loopback() || ip.is_unicast_link_local() || ip.is_unique_local(),
    }
}

pub(super) fn addresses(settings: &Settings, own: &[IpAddr]) -> Vec<Finding> {
    let own: Vec<IpAddr> = own.iter().map(IpAddr::to_canonical).collect();
    let mut findings = Vec::new();
    for ip in settings.public_ip.iter().map(IpAddr::to_canonical) {
        findings.push(if own.contains(&ip) {
            Finding::ok(
                "public_ip",
                format!("{ip} is this machine's; a firewall must let in {}", forwarded(settings)),
            )
        } else if ip.is_loopback() {
            Finding::fail("public_ip", format!("{ip} is no address of this machine"), "correct public_ip")
        } else {
            Finding::ok("public_ip", format!("{ip} is not this machine's: a NAT must have it")).with(format!(
                "it must forward to this machine: {}, under the same numbers",
                forwarded(settings)
            ))
        });
    }
    let told = if settings.public_ip.is_empty() { &own } else { &settings.public_ip };
    let advice = "for a class over the internet set public_ip to the address that the world sees, and forward the ports";
    let list = |ips: &[IpAddr]| ips.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
    let useful: Vec<IpAddr> = told.iter().copied().filter(|ip| !is_link_local(*ip)).collect();
    findings.push(if useful.iter().all(IpAddr::is_loopback) {
        Finding::warn("reach", "loopback alone: only this machine reaches it", advice)
    } else if useful.iter().all(|ip| is_private(*ip)) {
        let near: Vec<IpAddr> = useful.into_iter().filter(|ip| !ip.is_loopback()).collect();
        Finding::warn(
            "reach",
            format!("private addresses alone: only this network reaches it ({})", list(&near)),
            advice,
        )
    } else {
        let far: Vec<IpAddr> = useful.into_iter().filter(|ip| !is_private(*ip)).collect();
        Finding::ok("reach", format!("participants come to {}", list(&far)))
    });
    findings.push(match own.iter().any(|ip| ip.is_ipv6() && !is_private(*ip)) {
        true => Finding::ok("IPv6", "this machine has it"),
        false => Finding::ok("IPv6", "none beyond this network: participants come by IPv4, which all have"),
    });
    findings
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

pub(super) fn relay(settings: &Settings) -> Finding {
    if !settings.turn_urls.is_empty() {
        let urls = settings.turn_urls.join(", ");
        return match settings.turn_secret {
            Some(_) => Finding::ok("relay", format!("participants are sent to {urls}")),
            None => Finding::fail(
                "relay",
                format!("{urls} needs a secret"),
                "set turn_secret to the secret of those servers",
            ),
        };
    }
    let alone = settings
        .turn_host
        .as_deref()
        .is_none_or(|host| host.parse().is_ok_and(|ip: IpAddr| ip.is_loopback()));
    match (settings.one_port, settings.turn_port, relay_port(settings)) {
        (_, Some(0), _) => Finding::warn(
            "relay",
            "switched off (turn_port is 0)",
            "networks that let no UDP out, and no unusual ports, do not reach the class; leave turn_port out",
        ),
        (true, _, _) => Finding::ok("relay", format!("on the one port, {}", settings.http_listen.port())),
        (_, _, Some(0)) => Finding::warn(
            "relay",
            "on a port that changes with each start (udp_port is 0)",
            "set turn_port, so that a firewall can know it",
        ),
        (_, _, Some(port)) if settings.turn_host.is_some() && alone => Finding::warn(
            "relay",
            format!("on port {port}, and told as this machine alone"),
            "correct turn_host",
        ),
        (_, _, port) => Finding::ok("relay", format!("on port {}, UDP and TCP", port.unwrap_or_default())),
    }
}

pub(super) fn https(settings: &Settings) -> Finding {
    let listen = settings.http_listen.ip().to_canonical();
    let url = settings.public_url.as_deref().unwrap_or_default();
    if settings.tls_cert.is_some() != settings.tls_key.is_some() {
        return Finding::fail("HTTPS", "tls_cert and tls_key belong together", "set both or neither");
    }
    if Tls::is_wanted(settings) {
        if url.starts_with("http://") {
            let found = "the port speaks HTTPS, public_url says http://";
            return Finding::warn("HTTPS", found, "set public_url to the address with https://");
        }
        let how = if settings.tls_self_signed {
            "by a certificate that signs itself: browsers ask once whether to trust it".into()
        } else if settings.tls_cert.is_some() {
            "by tls_cert".into()
        } else {
            format!("by a certificate from {}", settings.acme_directory)
        };
        return Finding::ok("HTTPS", how);
    }
    if is_https(settings) {
        return Finding::ok("HTTPS", format!("by a proxy in front, as public_url says ({url})"))
            .with("test it with --url, and let the proxy pass WebSockets");
    }
    if listen.is_loopback() {
        return Finding::ok("HTTPS", "none; only this machine reaches the pages, and needs none");
    }
    Finding::warn(
        "HTTPS",
        "none: browsers on other devices give no camera and no microphone",
        "with a public name set acme_domains; or put a proxy with HTTPS in front and set public_url; or set tls_cert and tls_key; or tls_self_signed inside a school",
    )
}

pub(super) fn certificate(
    read: Result<Certificate, String>,
    settings: &Settings,
    now_secs: u64,
) -> Vec<Finding> {
    let Certificate { names, life: (begins, ends) } = match read {
        Ok(certificate) => certificate,
        Err(error) => {
            let advice = "both must be PEM, readable for the server's user, and of one pair";
            return vec![Finding::fail("certificate", error, advice)];
        }
    };
    let days = ends.saturating_sub(now_secs) / DAY_SECS;
    let life = if now_secs < begins {
        Finding::fail(
            "certificate",
            "it is not good yet",
            "look at this machine's clock, and at the certificate",
        )
    } else if ends <= now_secs {
        Finding::fail("certificate", "it has expired", "renew it; the server reads the files again by itself")
    } else if days < CERTIFICATE_DAYS {
        Finding::warn(
            "certificate",
            format!("{days} days left"),
            "renew it; the server reads the files again by itself",
        )
    } else {
        Finding::ok("certificate", format!("readable, fits its key, {days} days left"))
    };
    let Some(host) = settings.public_url.as_deref().and_then(host) else {
        let names = names.join(", ");
        return vec![
            life,
            Finding::ok("certificate", format!("good for {names}")).with("set public_url to one of them"),
        ];
    };
    let fits = if covers(&names, host) {
        Finding::ok("certificate", format!("good for {host}"))
    } else {
        let found = format!("not good for {host} (public_url), but for {}", names.join(", "));
        Finding::fail("certificate", found, "get one for that name, or correct public_url")
    };
    vec![life, fits]
}

/// What an authority has given or has not. `read` is the certificate that was kept.
pub(super) fn authority(
    read: Result<Option<Certificate>, String>,
    trouble: Option<Trouble>,
    settings: &Settings,
    now_secs: u64,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let names = settings.acme_domains.join(", ");
    let since = |reason: &str, trouble: &Trouble| {
        format!("{reason} ({}): {}", Timestamp(trouble.at_secs * 1000), trouble.reason)
    };
    let finding = match (read, trouble) {
        (Err(error), _) => Finding::fail("certificate", error, "correct these settings"),
        (Ok(None), Some(trouble)) => {
            Finding::fail("certificate", since("none could be got", &trouble), trouble.advice)
        }
        (Ok(None), None) => Finding::ok("certificate", format!("none yet: the server gets one for {names}")),
        (Ok(Some(Certificate { life: (_, ends), .. })), trouble) => {
            let days = ends.saturating_sub(now_secs) / DAY_SECS;
            match trouble {
                Some(trouble) if ends <= now_secs => {
                    Finding::fail("certificate", since("it has expired", &trouble), trouble.advice)
                }
                Some(trouble) => {
                    let found = since(&format!("{days} days left, and not renewed"), &trouble);
                    Finding::warn("certificate", found, trouble.advice)
                }
                None if ends <= now_secs => {
                    Finding::warn("certificate", "it has expired", "start the server: it gets a new one")
                }
                None => Finding::ok("certificate", format!("for {names}, {days} days left")),
            }
        }
    };
    findings.push(finding);
    let port = settings.http_listen.port();
    if port != 443 {
        findings.push(Finding::warn(
            "authority",
            format!("it comes to TCP port 443 of {names}; http_listen has port {port}"),
            "set http_listen to port 443, or let the NAT or proxy in front pass that port's bytes on to it",
        ));
    }
    let host = settings.public_url.as_deref().and_then(host);
    if let Some(host) = host.filter(|host| !covers(&settings.acme_domains, host)) {
        let found = format!("not good for {host} (public_url), but for {names}");
        findings.push(Finding::fail("certificate", found, "correct public_url or acme_domains"));
    }
    findings
}

/// Where a public name leads, as this machine sees it.
pub(super) fn name(
    name: &str,
    found: io::Result<Vec<IpAddr>>,
    settings: &Settings,
    own: &[IpAddr],
) -> Finding {
    let advice = "correct its DNS records (A, AAAA), or name this machine's address in public_ip";
    let ips = match found {
        Ok(ips) => ips,
        Err(error) => return Finding::fail(name, format!("leads nowhere: {error}"), advice),
    };
    let ours = |ip: &IpAddr| own.contains(ip) || settings.public_ip.contains(ip);
    let list = ips.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ");
    match ips.iter().all(ours) {
        true => Finding::ok(name, format!("leads here, to {list}")),
        // A NAT's address is not known here, unless it is set.
        false => {
            Finding::warn(name, format!("leads to {list}, not all of which is known as this machine"), advice)
        }
    }
}

/// The host of a URL, without brackets.
fn host(url: &str) -> Option<&str> {
    let authority = url.split_once("://")?.1.split(['/', '?', '#']).next()?;
    match authority.strip_prefix('[') {
        Some(v6) => v6.split(']').next(),
        None => authority.split(':').next(),
    }
}

/// Whether one of the names is for the host; `*` stands for one whole label at the beginning (RFC 9525, section 6.3).
fn covers(names: &[String], host: &str) -> bool {
    if let Ok(ip) = host.parse::<IpAddr>() {
        return names.iter().any(|name| name.parse() == Ok(ip));
    }
    names.iter().any(|name| {
        let wild = name.strip_prefix("*.").zip(host.split_once('.'));
        name.eq_ignore_ascii_case(host)
            || wild.is_some_and(|(name, (_, rest))| name.eq_ignore_ascii_case(rest))
    })
}

pub(super) fn asked(url: &str, asked: Result<Asked, AskError>) -> Vec<Finding> {
    let Asked { health, ready } = match asked {
        Ok(asked) => asked,
        Err(error) => {
            let advice = match &error {
                AskError::Url(_) => "write it with http:// or https://",
                AskError::Connect { .. } => {
                    "look whether the server runs, at the name's addresses, and at firewall and proxy"
                }
                AskError::Tls { .. } => {
                    "look at the certificate; one that signs itself is trusted with SSL_CERT_FILE"
                }
                AskError::Answer(_) => "look at what else listens there",
            };
            return vec![Finding::fail("server", error.to_string(), advice)];
        }
    };
    let health = match health.status {
        200 => Finding::ok("server", format!("{url} answers")),
        status => Finding::fail(
            "server",
            format!("{url}/healthz answers with {status}"),
            "something else answers there: look at the proxy",
        ),
    };
    let ready = match ready.status {
        200 => Finding::ok("server", "it takes participants"),
        status => Finding::fail(
            "server",
            format!("it takes no participants: {status} {}", ready.body.trim()),
            "`store`: disk or data folder; `workers`: start it anew; `draining`: it is about to end",
        ),
    };
    vec![health, ready]
}

#[cfg(test)]
#[path = "judge_test.rs"]
mod tests;
