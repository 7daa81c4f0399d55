//! What the machine is, as far as it matters to a server.

use std::fs::{File, TryLockError};
use std::io;
use std::net::{IpAddr, TcpListener};
use std::path::{Path, PathBuf};

use recording::space::Reserve;
use rustix::process::{Resource, getrlimit};
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use x509_parser::extensions::GeneralName;
use x509_parser::parse_x509_certificate;

use crate::config::Settings;
use crate::record::{Keys, Scrub};
use crate::tls::Tls;
use crate::{listener, udp};

/// The data folder.
#[derive(Debug)]
pub(super) struct Data {
    /// Whether a server writes into it now.
    pub is_locked: bool,
    /// Whether it is there.
    pub exists: bool,
    /// Why nothing can be written there.
    pub problem: Option<io::Error>,
    /// What its disk has left for this user.
    pub free_bytes: Option<u64>,
}

/// Looks at it, and makes none.
pub(super) fn data(folder: &Path) -> Data {
    let exists = folder.is_dir();
    // A folder that is missing will be made in the nearest one that is there.
    let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
    let place = absolute.ancestors().find(|place| place.exists()).unwrap_or(&absolute).to_owned();
    let lock = File::options().write(true).open(folder.join("lock"));
    let is_locked = lock.is_ok_and(|file| matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
    let free = rustix::fs::statvfs(&place).ok();
    let free_bytes = free.map(|stat| stat.f_bavail.saturating_mul(stat.f_frsize));
    Data { is_locked, exists, problem: write(&place).err(), free_bytes }
}

/// The folder of the recordings.
#[derive(Debug)]
pub(super) struct RecordingsFolder {
    /// Why nothing can be written there.
    pub problem: Option<io::Error>,
    /// What its disk has left for this user.
    pub free_bytes: Option<u64>,
    /// What of that is to stay free.
    pub reserve_bytes: Option<u64>,
}

/// Looks at it; nothing when it is not there, or else the data folder tells about it.
pub(super) fn recordings(settings: &Settings) -> Option<RecordingsFolder> {
    let folder = settings.data_dir.join("recordings");
    if !folder.exists() {
        return None;
    }
    let stat = rustix::fs::statvfs(&folder).ok();
    let bytes = |blocks: fn(&rustix::fs::StatVfs) -> u64| {
        stat.as_ref().map(|stat| blocks(stat).saturating_mul(stat.f_frsize))
    };
    let given = settings.recording_reserve_megabytes.map(|megabytes| megabytes * 1_000_000);
    Some(RecordingsFolder {
        problem: write(&folder).err(),
        free_bytes: bytes(|stat| stat.f_bavail),
        reserve_bytes: bytes(|stat| stat.f_blocks).map(|all| Reserve::new(given, all).bytes()),
    })
}

/// What recordings are sealed with.
#[derive(Debug, Default)]
pub(super) struct Sealing {
    /// The id of the key that seals new ones, if any does.
    pub first: Option<String>,
    /// How many are sealed and can be opened.
    pub opened: usize,
    /// How many cannot.
    pub locked: usize,
}

/// Reads the keys, and tries them on what is there.
pub(super) fn sealing(settings: &Settings) -> Result<Sealing, String> {
    let keys = Keys::load(settings.recording_key_file.as_deref()).map_err(|error| error.to_string())?;
    let mut sealing = Sealing { first: keys.first().map(str::to_owned), ..Sealing::default() };
    let folder = settings.data_dir.join("recordings");
    let scrub = Scrub { folder, keys, has_server: true, repair: false };
    // Without the folder there are none.
    for id in scrub.ids().unwrap_or_default() {
        match scrub.open(&id) {
            Ok(folder) => sealing.opened += usize::from(folder.is_sealed()),
            Err(_) => sealing.locked += 1,
        }
    }
    Ok(sealing)
}

fn write(place: &Path) -> io::Result<()> {
    if !place.is_dir() {
        return Err(io::Error::new(
            io::ErrorKind::NotADirectory,
            format!("{} is no folder", place.display()),
        ));
    }
    let file: PathBuf = place.join(format!(".lectern-doctor-{}", crate::secrets::random_hex::<8>()));
    File::options().write(true).create_new(true).open(&file)?;
    std::fs::remove_file(&file)
}

/// A port that the settings want.
#[derive(Debug)]
pub(super) struct Port {
    /// Such as `UDP 7882`.
    pub name: String,
    /// What for.
    pub purpose: &'static str,
    /// The flag that chooses another.
    pub flag: &'static str,
    /// Whether the server starts without it, or takes another.
    pub is_optional: bool,
    /// Why it cannot be had.
    pub problem: Option<io::Error>,
}

/// All of them; those that the system chooses are always free.
pub(super) fn ports(settings: &Settings) -> Vec<Port> {
    let mut ports = Vec::new();
    let mut add = |name: String, purpose, flag, is_optional, bound: io::Result<()>| {
        ports.push(Port { name, purpose, flag, is_optional, problem: bound.err() });
    };
    let http = settings.http_listen;
    let pages = "pages, signalling, API";
    let name = match http.port() {
        0 => "TCP, any free".into(),
        _ => format!("TCP {http}"),
    };
    add(name, pages, "--http-listen", false, TcpListener::bind(http).map(drop));
    let udp = |port| udp::Socket::bind(port, []).map(drop);
    if settings.one_port {
        if http.port() != 0 {
            add(format!("UDP {}", http.port()), "media", "--http-listen", false, udp(http.port()));
        }
        return ports;
    }
    if settings.udp_port != 0 {
        for worker in 0..settings.worker_count() {
            let port = u16::try_from(worker).ok().and_then(|worker| settings.udp_port.checked_add(worker));
            let Some(port) = port else {
                let beyond = io::Error::new(io::ErrorKind::InvalidInput, "there are no ports beyond 65535");
                add(format!("UDP {}+{worker}", settings.udp_port), "media", "--udp-port", false, Err(beyond));
                break;
            };
            add(format!("UDP {port}"), "media", "--udp-port", false, udp(port));
            if settings.ice_tcp {
                let bound = listener::bind(port).map(drop);
                add(format!("TCP {port}"), "media without UDP", "--udp-port", true, bound);
            }
        }
    }
    if let Some(port) = relay_port(settings).filter(|port| *port != 0) {
        let is_optional = settings.turn_port.is_none();
        add(format!("UDP {port}"), "relay", "--turn-port", is_optional, udp(port));
        add(format!("TCP {port}"), "relay", "--turn-port", is_optional, listener::bind(port).map(drop));
    }
    ports
}

/// The port that the relay will have, if it has one of its own.
pub(super) fn relay_port(settings: &Settings) -> Option<u16> {
    match settings.turn_port {
        _ if settings.one_port || !settings.turn_urls.is_empty() => None,
        Some(0) => None,
        Some(port) => Some(port),
        None if settings.udp_port == 0 => Some(0),
        None => Some(3478),
    }
}

/// Files that the process may have open; nothing for no limit.
pub(super) fn descriptors() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Bytes of a media socket's receive buffer, as the kernel counts them: twice what is for datagrams.
pub(super) fn socket_buffer() -> io::Result<usize> {
    udp::Socket::bind(0, []).map(|socket| socket.buffers().0)
}

/// Most connections that the system lets wait for a program; nothing where it does not say.
pub(super) fn backlog() -> Option<u32> {
    std::fs::read_to_string("/proc/sys/net/core/somaxconn").ok()?.trim().parse().ok()
}

/// What a certificate says.
#[derive(Debug)]
pub(super) struct Certificate {
    /// Names and addresses that it is for.
    pub names: Vec<String>,
    /// When it begins and ends, in seconds since 1970.
    pub life: (u64, u64),
}

/// The first one of a file, after the server's own test of the pair.
pub(super) fn certificate(settings: &Settings, path: &Path) -> Result<Certificate, String> {
    Tls::load(settings, &[]).map_err(|error| error.to_string())?;
    let unreadable = |reason: String| format!("tls_cert: {}: {reason}", path.display());
    let der = CertificateDer::from_pem_file(path).map_err(|error| unreadable(error.to_string()))?;
    read(&der).map_err(unreadable)
}

/// The one that an authority gave, if it is there, after the server's own test of the settings.
pub(super) fn from_authority(settings: &Settings) -> Result<Option<Certificate>, String> {
    let tls = Tls::load(settings, &[]).map_err(|error| error.to_string())?;
    tls.and_then(|tls| tls.certificate()).map(|der| read(&der)).transpose()
}

fn read(der: &CertificateDer<'_>) -> Result<Certificate, String> {
    let (_, parsed) = parse_x509_certificate(der).map_err(|error| error.to_string())?;
    let mut names = Vec::new();
    // Browsers look at nothing else (RFC 9110, section 4.3.4).
    if let Ok(Some(others)) = parsed.subject_alternative_name() {
        for name in &others.value.general_names {
            match name {
                GeneralName::DNSName(name) => names.push((*name).to_owned()),
                GeneralName::IPAddress(bytes) => names.extend(address(bytes).map(|ip| ip.to_string())),
                _ => {}
            }
        }
    }
    let seconds = |timestamp: i64| u64::try_from(timestamp).unwrap_or(0);
    let validity = parsed.validity();
    let life = (seconds(validity.not_before.timestamp()), seconds(validity.not_after.timestamp()));
    Ok(Certificate { names, life })
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}
