//! The settings: one table, from which come the flags, the environment variables, the keys of the file, and
//! `docs/configuration.md`. A flag goes before the environment, that before the file, that before the default.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use crate::addresses::Network;

/// Something that must not be printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Keeps a text from being printed.
    pub fn new(text: impl Into<String>) -> Self {
        Secret(text.into())
    }

    /// The text itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// One setting, for the parts that treat all alike.
pub struct Setting {
    /// Heading in the documentation.
    pub section: &'static str,
    /// Key in the file; the flag and the variable follow from it.
    pub key: &'static str,
    /// As it would stand in the file; empty when unset.
    pub default: &'static str,
    /// Meaning, with unit.
    pub help: &'static str,
    /// Takes several values.
    pub many: bool,
    /// A flag that may stand without a value.
    pub switch: bool,
    set: fn(&mut Settings, &str) -> Result<(), String>,
}

impl Setting {
    /// `--http-listen` without the dashes in front.
    pub fn flag(&self) -> String {
        self.key.replace('_', "-")
    }

    /// `LECTERN_HTTP_LISTEN`
    pub fn variable(&self) -> String {
        format!("LECTERN_{}", self.key.to_ascii_uppercase())
    }
}

macro_rules! settings {
    ($($section:literal { $($key:ident: $kind:ty = $default:literal, $check:expr, $help:literal;)* })*) => {
        /// All settings, checked.
        #[derive(Debug, Clone)]
        pub struct Settings {
            $($(#[doc = $help] pub $key: $kind,)*)*
        }

        impl Default for Settings {
            fn default() -> Self {
                Settings { $($($key: <$kind as Value>::parse($default).expect("a test parses every default"),)*)* }
            }
        }

        /// Every setting, in the order of the documentation.
        pub const SETTINGS: &[Setting] = &[$($(Setting {
            section: $section,
            key: stringify!($key),
            default: $default,
            help: $help,
            many: <$kind as Value>::MANY,
            switch: <$kind as Value>::SWITCH,
            set: |settings, text| {
                let value = <$kind as Value>::parse(text)?;
                let check: fn(&$kind) -> Result<(), String> = $check;
                check(&value)?;
                settings.$key = value;
                Ok(())
            },
        },)*)*];
    };
}

settings! {
    "Addresses" {
        http_listen: SocketAddr = "0.0.0.0:8080", any,
            "Address and port of HTTP and signalling. Port 0 takes a free one.";
        udp_port: u16 = "7882", any,
            "First UDP port for media; worker n listens on this plus n. 0 takes free ones.";
        workers: Option<u64> = "", some_within::<1, 256>,
            "Media worker threads. When unset, as many as there are cores.";
        one_port: bool = "false", any,
            "Everything on the port of `http_listen`: pages, signalling, media and the relay over TCP, told apart by their first bytes; and media and the relay over UDP, by one worker. `udp_port`, `workers` and `turn_port` (but 0) are not used then.";
        ice_tcp: bool = "true", any,
            "Takes media over TCP too, for networks without UDP: on TCP ports of the same numbers as the UDP ports, or free ones if those are 0.";
        ice_tcp_connections: u64 = "4000", within::<1, 60_000>,
            "Most TCP connections for media; a quarter of these from one address. Each costs a file descriptor.";
        public_ip: Vec<IpAddr> = "", |addresses| not_wildcard(addresses),
            "Addresses at which clients reach the UDP ports. When unset, the machine's own, loopback included.";
        stun_server: Option<String> = "", |server| stun_address(server),
            "Asks this STUN server (`stun.example.org:3478`) at the start at which address the internet sees this machine, and offers it too: for a machine behind a NAT that lets its ports in under the same numbers.";
        public_url: Option<String> = "", web_address,
            "Where browsers find the server, for links, such as `https://class.example.org`. When unset, the API takes the host that it was asked at, and the demo `http://localhost` with the port.";
    }
    "TLS" {
        tls_cert: Option<PathBuf> = "", any,
            "Certificate chain for HTTPS on the port of `http_listen`, in PEM. It and the key are read again when they change. Requests without TLS are sent to HTTPS.";
        tls_key: Option<PathBuf> = "", any,
            "Private key of `tls_cert`, in PEM.";
        tls_self_signed: bool = "false", any,
            "HTTPS with a certificate that is made in `data_dir` and that nobody else vouches for: for a school's own network, where browsers give no camera to pages without HTTPS. Browsers ask once whether to trust it; the start shows its fingerprint.";
        acme_domains: Vec<String> = "", |names| public_names(names),
            "HTTPS with a certificate for these public names, which the server gets from an authority (ACME, RFC 8555), keeps in `data_dir` and renews by itself. The names lead to this machine, and the authority reaches `http_listen` at their port 443 (TLS-ALPN-01, RFC 8737). To set it agrees to the authority's terms.";
        acme_email: Option<String> = "", mail_address,
            "Where the authority may write about these certificates.";
        acme_directory: String = "https://acme-v02.api.letsencrypt.org/directory", |url| https_address(url),
            "The authority, by the URL of its directory: Let's Encrypt when unset.";
        acme_ca_file: Option<PathBuf> = "", any,
            "Certificate, in PEM, of who vouches for an authority that this system does not know: a school's own.";
        hsts_seconds: Option<u64> = "", some_within::<0, 63_072_000>,
            "How long browsers that were here once come by HTTPS alone (RFC 6797), in seconds; 0: as they like. When unset, 30 days where this server has TLS, a certificate that others vouch for, and a public address without a port; else 0, because it holds for everything under the same name, whatever its port.";
    }
    "TURN" {
        turn_port: Option<u16> = "", any,
            "Port of the relay for clients that cannot reach the media ports, UDP and TCP. When unset 3478, or a free one when that is taken or `udp_port` is 0. 0: no relay.";
        turn_host: Option<String> = "", host_name,
            "Name or address at which clients reach that port. When unset, the first address of each family that clients reach the media ports at.";
        turn_urls: Vec<String> = "", |urls| turn_links(urls),
            "Other TURN servers that participants are sent to instead, such as `turn:turn.example.org:3478?transport=udp`; they share `turn_secret` (coturn: `use-auth-secret`, `deploy/coturn`). The relay inside is off then.";
        turn_secret: Option<Secret> = "", long_secret::<16>,
            "Makes and tests TURN credentials, at least 16 bytes. When unset, a new random one at each start.";
        turn_credential_seconds: u64 = "3600", within::<60, 86_400>,
            "How long a credential can begin allocations, in seconds; those that it has go on. Participants get new ones with each join, resume and ICE restart.";
        turn_kilobits_per_second: u64 = "20000", within::<64, 10_000_000>,
            "Most that one allocation relays, each way.";
        turn_allocations_per_credential: u64 = "12", within::<1, 1000>,
            "Most allocations of one credential. A browser takes one for each of its networks and each TURN URL.";
        turn_allocations: u64 = "8000", within::<1, 60_000>,
            "Most allocations in all, and most TCP connections to the relay; a quarter of these from one address. Each costs a file descriptor.";
        turn_public_peers: bool = "false", any,
            "Lets clients relay to public addresses too, not only to this server's media ports.";
        turn_allow_peers: Vec<Network> = "", any,
            "Addresses and networks (`10.1.0.0/16`) that clients may relay to besides.";
        turn_deny_peers: Vec<Network> = "", any,
            "Addresses and networks that they may not, even if allowed above: where the deployment's databases and consoles are. Private and other special addresses are refused anyway, and this machine's but for its media ports.";
    }
    "Data and secrets" {
        data_dir: PathBuf = "data", any,
            "Folder of lessons and secrets. Made when missing.";
        api_key: Option<Secret> = "", long_secret::<16>,
            "Key of the HTTP API, at least 16 bytes. When unset, a random one, made once and kept in `secrets.toml` in the data folder.";
        token_secret: Option<Secret> = "", long_secret::<32>,
            "Signs the tokens of participants, at least 32 bytes (RFC 7518, section 3.2). When unset, a random one, kept likewise.";
        audit_days: u64 = "90", within::<1, 3650>,
            "How long the [audit](audit.md) keeps who did what, in days.";
    }
    "Recording" {
        recording: bool = "true", any,
            "Teachers and assistants may record. Recordings are in `recordings` in the data folder.";
        record_automatically: Vec<String> = "", |presets| preset_names(presets),
            "Kinds of class (`tutoring`, `lecture`, `seminar`) in which a recording begins by itself when the first teacher or assistant comes. Who has not agreed to be recorded is left out all the same.";
        recording_reserve_megabytes: Option<u64> = "", some_within::<1, 1_000_000_000>,
            "No recording begins when less than this is free on the disk; below a half, those that are made go on with sound only, and below a tenth they end. When unset, the larger of 5 GB and a twentieth of the disk.";
        recording_key_file: Option<PathBuf> = "", any,
            "File of keys with which recordings are encrypted on the disk and in the bucket: 64 hexadecimal digits a line, `#` for comments, with no rights for others than its owner and its group (`lectern recordings new-key` makes one). The first seals new recordings, all of them open. A lost key is a lost recording. When unset, new recordings are not encrypted ([sealed recordings](sealed.md)).";
        recording_retention_days: u64 = "0", within::<0, 36_500>,
            "Recordings are removed for good so many days after their end; 0: never. The API and the console can say something else of one.";
        recording_retention_rooms: Vec<String> = "", |rooms| room_days(rooms),
            "The same for rooms of their own, such as `exam=365,gym=7`; 0: never.";
        ffmpeg: PathBuf = "ffmpeg", any,
            "Program that makes films and sound of recordings (ffmpeg 5 or later, with libx264): a path, or a name that is looked for in `PATH`. Without it recordings are made, watched and fetched as zip all the same.";
        export_jobs: u64 = "1", within::<1, 64>,
            "Most exports of recordings that are made at once. They run at the lowest priority.";
        export_queue: u64 = "20", within::<1, 10_000>,
            "Most exports that wait for their turn.";
        export_threads: Option<u64> = "", some_within::<1, 64>,
            "Threads of the encoder of one export. When unset, half as many as there are cores.";
        recording_store: String = "disk", |store| one_of(store, &["disk", "s3"]),
            "`disk`: recordings stay in the data folder. `s3`: finished ones are brought into a bucket by the protocol of S3 (Amazon, MinIO, Ceph and others), and watched from there.";
        recording_s3_bucket: Option<String> = "", any,
            "The bucket. It must be there.";
        recording_s3_endpoint: Option<String> = "", web_address,
            "Where the protocol is spoken, such as `https://minio.example.org:9000`. When unset, Amazon's own for the region.";
        recording_s3_region: String = "us-east-1", any,
            "The region that requests are signed for.";
        recording_s3_access_key: Option<String> = "", any,
            "Name of the key to the bucket. It must read, write, list and delete.";
        recording_s3_secret_key: Option<Secret> = "", any,
            "The key to the bucket.";
        recording_s3_prefix: String = "", any,
            "Stands before all names in the bucket, such as `lectern/school-1`.";
        recording_s3_path_style: bool = "true", any,
            "The bucket stands in the path of URLs and not in the name of the host.";
        recording_local_days: u64 = "1", within::<0, 36_500>,
            "So many days sound and pictures stay on the disk too once they are in the bucket; 0: not at all.";
    }
    "Webhooks" {
        webhook_url: Vec<String> = "", |urls| webhook_addresses(urls),
            "Where to send events: what happens in rooms and to recordings ([webhooks](webhooks.md)). `http://` or `https://`, without name and password; repeatable. Each is sent everything, in order, at its own pace. A comma in an address is written as `%2C`.";
        webhook_secret: Option<Secret> = "", long_secret::<32>,
            "Signs what is sent to them, at least 32 bytes. Needed with `webhook_url`.";
    }
    "Running" {
        demo: bool = "false", any,
            "Prints links into a demo room.";
        ready_file: Option<PathBuf> = "", any,
            "Written when the server is ready: JSON with `http`, `udp`, `turn` (if there is a relay) and `pid`.";
        drain_seconds: u64 = "8", within::<0, 3600>,
            "Longest time for an orderly end after Ctrl-C or SIGTERM, in seconds.";
        log: String = "info", |filter| log_filter(filter),
            "What to log, such as `info` or `lectern=debug`. Also read from `RUST_LOG` when unset.";
        log_format: LogFormat = "text", any,
            "`text` or `json`.";
    }
    "Test before class" {
        check: bool = "true", any,
            "Lets anybody test on the page `/check` whether a device and its network are ready for class. What a test gets is kept apart from all classes.";
        checks_per_minute: u64 = "30", within::<1, 1_000_000>,
            "Tests that one address may begin in a minute. A school shares one, and so do all behind a proxy: raise it there.";
        checks: u64 = "64", within::<1, 10_000>,
            "Most tests at once.";
        check_seconds: u64 = "60", within::<1, 300>,
            "A test ends after this time, with its connections and what it has of the relay, in seconds.";
    }
    "Console" {
        thumbnails: bool = "true", any,
            "Lets the console (and who has the API key) look at small pictures of a live room's cameras and shared screens. The people in the room see a sign meanwhile, and the [audit](audit.md) says who looked.";
    }
    "Limits of HTTP" {
        http_body_bytes: u64 = "1048576", within::<65_536, 67_108_864>,
            "Longest body of a request, in bytes.";
        http_header_timeout_seconds: u64 = "10", within::<1, 600>,
            "Longest time for the head of a request, in seconds.";
        http_request_timeout_seconds: u64 = "30", within::<1, 600>,
            "Longest time for a request with its body, until its answer begins, in seconds. Signalling apart.";
        http_connections: u64 = "20000", within::<1, 1_000_000>,
            "Most TCP connections at once.";
        http_connections_per_ip: u64 = "2000", within::<1, 1_000_000>,
            "Most TCP connections at once from one address. A school shares one, and so do all behind a proxy: raise it there.";
        http_write_stall_seconds: u64 = "20", within::<1, 600>,
            "A connection that takes nothing of what was sent to it for so long is closed, in seconds.";
    }
    "Limits of signalling" {
        socket_message_bytes: u64 = "262144", within::<4_096, 16_777_216>,
            "Longest message and frame, in bytes. Longer ones close the connection with 1009.";
        socket_frames_per_second: u64 = "500", within::<10, 100_000>,
            "Most WebSocket frames of one connection in a second. More close it with 1008.";
        socket_queue_messages: u64 = "512", within::<16, 65_536>,
            "Messages that wait for a client that does not read; one more and the connection is closed.";
        socket_connect_timeout_seconds: u64 = "10", within::<1, 600>,
            "A connection must show its token within this time, in seconds.";
        socket_join_timeout_seconds: u64 = "10", within::<1, 600>,
            "A connection must join within this time after its token was accepted, in seconds.";
        socket_ping_interval_seconds: u64 = "25", within::<1, 600>,
            "Time between pings, in seconds.";
        socket_ping_timeout_seconds: u64 = "20", within::<1, 600>,
            "A ping must be answered within this time, in seconds.";
    }
    "Limits of rooms" {
        rooms: u64 = "2000", within::<1, 1_000_000>,
            "Most rooms at once.";
        room_queue_messages: u64 = "1024", within::<16, 1_048_576>,
            "Requests that wait for one room; beyond it they get `unavailable`.";
        join_timeout_seconds: u64 = "30", within::<1, 600>,
            "Longest time for a join, in seconds: of a WHIP or WHEP request from offer to answer, of a connection from its token's acceptance.";
        token_hours: u64 = "720", within::<1, 87_600>,
            "Longest life of a token that the API makes, in hours.";
        api_key_guesses_per_minute: u64 = "30", within::<1, 1_000_000>,
            "Wrong API keys that one address may send in a minute; beyond it the API answers it with 429, whatever its key. All behind a proxy are one address: where strangers reach the API through one, limit them there and raise this.";
        end_at_token_expiry: bool = "false", any,
            "Puts a participant out when its token expires. When off, tokens are tested at joins and resumes only, so that nobody drops out of a class that runs late.";
    }
}

/// Where a value came from, for its error.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// The environment.
    Environment,
    /// The settings file.
    File(PathBuf),
}

/// Why the settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A value of the wrong kind or out of range.
    #[error("{key}: {reason} ({})", describe(.key, .origin))]
    Value {
        /// The key in the file.
        key: &'static str,
        /// Where the value came from.
        origin: Origin,
        /// What is wrong.
        reason: String,
    },
    /// A key that does not exist.
    #[error("{key}: no such setting (in {}){}", .path.display(), suggestion(.key))]
    UnknownKey {
        /// The key in the file.
        key: String,
        /// The file.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("config: cannot read {}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("config: {} is not TOML: {source}", .path.display())]
    NotToml {
        /// The file.
        path: PathBuf,
        /// Why, with the line.
        source: Box<toml::de::Error>,
    },
}

fn describe(key: &str, origin: &Origin) -> String {
    match origin {
        Origin::Flag => format!("from the flag --{}", key.replace('_', "-")),
        Origin::Environment => format!("from LECTERN_{} in the environment", key.to_ascii_uppercase()),
        Origin::File(path) => format!("from {}", path.display()),
    }
}

/// The known key that shares most of its beginning and end with the unknown one, if that is more than half of it.
fn suggestion(key: &str) -> String {
    let common = |known: &str| {
        let same = |(a, b): &(u8, u8)| a == b;
        let beginning = known.bytes().zip(key.bytes()).take_while(same).count();
        let end = known.bytes().rev().zip(key.bytes().rev()).take_while(same).count();
        (beginning + end).min(known.len()).min(key.len())
    };
    match SETTINGS.iter().max_by_key(|setting| common(setting.key)) {
        Some(setting) if common(setting.key) * 2 > key.len() => format!("; did you mean {}?", setting.key),
        _ => String::new(),
    }
}

impl Settings {
    /// Puts the settings together. `flag` and `variable` look up one value; `file` is the settings file, if any.
    pub fn load(
        flag: impl Fn(&Setting) -> Option<String>,
        variable: impl Fn(&str) -> Option<String>,
        file: Option<&Path>,
    ) -> Result<Self, ConfigError> {
        let mut settings = Settings::default();
        if let Some(path) = file {
            let text = std::fs::read_to_string(path)
                .map_err(|source| ConfigError::Unreadable { path: path.to_owned(), source })?;
            settings.read_file(&text, path)?;
        }
        for setting in SETTINGS {
            // An empty variable is an unset one: that is how compose files and unit files clear a variable.
            if let Some(text) = variable(&setting.variable()).filter(|text| !text.is_empty()) {
                settings.put(setting, &text, Origin::Environment)?;
            }
            if let Some(text) = flag(setting) {
                settings.put(setting, &text, Origin::Flag)?;
            }
        }
        Ok(settings)
    }

    fn read_file(&mut self, text: &str, path: &Path) -> Result<(), ConfigError> {
        let table: toml::Table = toml::from_str(text)
            .map_err(|source| ConfigError::NotToml { path: path.to_owned(), source: Box::new(source) })?;
        for (key, value) in &table {
            let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) else {
                return Err(ConfigError::UnknownKey { key: key.clone(), path: path.to_owned() });
            };
            let origin = Origin::File(path.to_owned());
            let Some(text) = text_of(value, setting.many) else {
                let reason = format!("a value of type {} does not belong here", value.type_str());
                return Err(ConfigError::Value { key: setting.key, origin, reason });
            };
            self.put(setting, &text, origin)?;
        }
        Ok(())
    }

    fn put(&mut self, setting: &Setting, text: &str, origin: Origin) -> Result<(), ConfigError> {
        (setting.set)(self, text).map_err(|reason| ConfigError::Value { key: setting.key, origin, reason })
    }

    /// The number of media workers: as set, or one for each core.
    pub fn worker_count(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        self.workers.map_or_else(cores, |workers| usize::try_from(workers).unwrap_or(usize::MAX))
    }
}

/// A value of the file as the text that a flag would have.
fn text_of(value: &toml::Value, many: bool) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Boolean(on) => Some(on.to_string()),
        toml::Value::Array(values) if many => {
            let texts: Option<Vec<String>> = values.iter().map(|value| text_of(value, false)).collect();
            texts.map(|texts| texts.join(","))
        }
        _ => None,
    }
}

/// The documentation of all settings, as `docs/configuration.md` has it.
pub fn documentation() -> String {
    let mut text = String::from(
        "# Configuration\n\n\
         <!-- Made by `lectern config-doc` from src/config.rs; a test checks that the two agree. -->\n\n\
         Each setting can stand in a TOML file (`--config FILE` or `LECTERN_CONFIG`), in the environment, or on the command\n\
         line of `lectern serve`. A flag goes before the environment, that before the file, that before the default. A value that\n\
         cannot be used ends the program with an error that names the key and where it came from; so does an unknown key\n\
         in the file. The name of the flag is the key with dashes (`--http-listen`), that of the variable the key in capitals\n\
         behind `LECTERN_` (`LECTERN_HTTP_LISTEN`). Lists are separated by commas, or given by repeating the flag.\n",
    );
    let mut section = "";
    for setting in SETTINGS {
        if setting.section != section {
            section = setting.section;
            text.push_str(&format!("\n## {section}\n| key | default | meaning |\n|---|---|---|\n"));
        }
        let default =
            if setting.default.is_empty() { "–".into() } else { format!("`{}`", setting.default) };
        text.push_str(&format!("| `{}` | {default} | {} |\n", setting.key, setting.help));
    }
    text
}

/// A kind of value that a setting can have.
trait Value: Sized {
    const MANY: bool = false;
    const SWITCH: bool = false;
    fn parse(text: &str) -> Result<Self, String>;
}

macro_rules! parsed {
    ($($kind:ty, $name:literal;)*) => { $(impl Value for $kind {
        fn parse(text: &str) -> Result<Self, String> {
            text.trim().parse().map_err(|_| format!("`{text}` is not {}", $name))
        }
    })* };
}

parsed! {
    u16, "a port, 0 to 65535";
    u64, "a whole number";
    SocketAddr, "an address with a port, such as 0.0.0.0:8080";
    IpAddr, "an IP address";
    Network, "an IP address or a network such as 10.0.0.0/8";
}

impl Value for String {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl Value for PathBuf {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Err("the path is empty".into()) } else { Ok(text.into()) }
    }
}

impl Value for Secret {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Secret::new(text))
    }
}

impl Value for bool {
    const SWITCH: bool = true;
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(format!("`{text}` is neither true nor false")),
        }
    }
}

impl Value for LogFormat {
    fn parse(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(LogFormat::Text),
            "json" => Ok(LogFormat::Json),
            _ => Err(format!("`{text}` is neither text nor json")),
        }
    }
}

impl<T: Value> Value for Option<T> {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() { Ok(None) } else { T::parse(text).map(Some) }
    }
}

impl<T: Value> Value for Vec<T> {
    const MANY: bool = true;
    fn parse(text: &str) -> Result<Self, String> {
        text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(T::parse).collect()
    }
}

fn any<T>(_: &T) -> Result<(), String> {
    Ok(())
}

fn within<const MIN: u64, const MAX: u64>(value: &u64) -> Result<(), String> {
    if (MIN..=MAX).contains(value) { Ok(()) } else { Err(format!("{value} is not between {MIN} and {MAX}")) }
}

fn some_within<const MIN: u64, const MAX: u64>(value: &Option<u64>) -> Result<(), String> {
    value.as_ref().map_or(Ok(()), within::<MIN, MAX>)
}

fn not_wildcard(addresses: &[IpAddr]) -> Result<(), String> {
    match addresses.iter().find(|address| address.is_unspecified() || address.is_multicast()) {
        Some(address) => Err(format!("{address} is not an address that clients can send to")),
        None => Ok(()),
    }
}

fn long_secret<const MIN: usize>(secret: &Option<Secret>) -> Result<(), String> {
    match secret {
        Some(secret) if secret.expose().len() < MIN => {
            Err(format!("too short: {} bytes, at least {MIN} are needed", secret.expose().len()))
        }
        _ => Ok(()),
    }
}

fn web_address(url: &Option<String>) -> Result<(), String> {
    match url {
        Some(url) if !(url.starts_with("http://") || url.starts_with("https://")) => {
            Err(format!("`{url}` does not begin with http:// or https://"))
        }
        _ => Ok(()),
    }
}

fn stun_address(server: &Option<String>) -> Result<(), String> {
    match server {
        Some(server) if server.rsplit_once(':').is_none_or(|(_, port)| port.parse::<u16>().is_err()) => {
            Err(format!("`{server}` is not a host with a port, such as stun.example.org:3478"))
        }
        _ => Ok(()),
    }
}

fn preset_names(presets: &[String]) -> Result<(), String> {
    let known = ["tutoring", "lecture", "seminar"];
    match presets.iter().find(|preset| !known.contains(&preset.as_str())) {
        Some(preset) => Err(format!("`{preset}` is none of tutoring, lecture and seminar")),
        None => Ok(()),
    }
}

fn one_of(text: &str, known: &[&str]) -> Result<(), String> {
    if known.contains(&text) { Ok(()) } else { Err(format!("`{text}` is none of {}", known.join(", "))) }
}

/// Days by room, of texts that are checked.
pub fn days_by_room(rooms: &[String]) -> std::collections::BTreeMap<String, u64> {
    rooms.iter().filter_map(|text| room_with_days(text)).collect()
}

fn room_with_days(text: &str) -> Option<(String, u64)> {
    let (room, days) = text.rsplit_once('=')?;
    let days = days.trim().parse().ok().filter(|days| *days <= 36_500)?;
    (!room.trim().is_empty()).then(|| (room.trim().to_owned(), days))
}

fn room_days(rooms: &[String]) -> Result<(), String> {
    match rooms.iter().find(|text| room_with_days(text).is_none()) {
        Some(text) => Err(format!("`{text}` is not a room with its days, 0 to 36500, such as exam=365")),
        None => Ok(()),
    }
}

fn host_name(host: &Option<String>) -> Result<(), String> {
    let is_good = |host: &str| match host.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']').is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok()),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"-._".contains(&b)),
    };
    match host {
        Some(host) if !is_good(host) => {
            Err(format!("`{host}` is neither a name nor an address (IPv6 in brackets), without port"))
        }
        _ => Ok(()),
    }
}

fn public_names(names: &[String]) -> Result<(), String> {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A last label of digits is an address.
    let is_good = |name: &String| {
        let mut labels = name.rsplit('.');
        name.len() <= 253
            && labels.clone().count() >= 2
            && labels.clone().all(is_label)
            && labels.next().is_some_and(|last| last.parse::<u64>().is_err())
    };
    match names.iter().find(|name| !is_good(name)) {
        Some(name) if name.starts_with("*.") => Err(format!(
            "`{name}`: authorities give certificates for whole domains to who runs their name servers; name each host"
        )),
        Some(name) => Err(format!("`{name}` is not a public name such as class.example.org")),
        None => Ok(()),
    }
}

fn mail_address(address: &Option<String>) -> Result<(), String> {
    let is_good =
        |text: &str| text.split_once('@').is_some_and(|(who, place)| !who.is_empty() && place.contains('.'));
    match address {
        Some(address) if !is_good(address) || address.contains(char::is_whitespace) => {
            Err(format!("`{address}` is not a mail address"))
        }
        _ => Ok(()),
    }
}

fn https_address(url: &str) -> Result<(), String> {
    match url.strip_prefix("https://") {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') => Ok(()),
        _ => Err(format!("`{url}` does not begin with https://")),
    }
}

fn webhook_addresses(urls: &[String]) -> Result<(), String> {
    // Addresses may hold a secret of the receiver's, so none is repeated.
    let schemes = ["http://", "https://"];
    let host = |url: &String| {
        let rest = schemes.iter().find_map(|scheme| url.strip_prefix(scheme))?;
        rest.split(['/', '?', '#']).next().map(str::to_owned).filter(|host| !host.is_empty())
    };
    for url in urls {
        match host(url) {
            None => return Err("an address does not begin with http:// or https:// and a host".into()),
            Some(host) if host.contains('@') => {
                return Err("an address has a name and password in it, which are not sent".into());
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn turn_links(urls: &[String]) -> Result<(), String> {
    match urls.iter().find(|url| !["turn:", "turns:"].iter().any(|scheme| url.starts_with(scheme))) {
        Some(url) => Err(format!("`{url}` does not begin with turn: or turns:")),
        None => Ok(()),
    }
}

fn log_filter(filter: &str) -> Result<(), String> {
    let parsed: Result<tracing_subscriber::EnvFilter, _> = filter.parse();
    parsed.map(|_| ()).map_err(|error| format!("`{filter}` is not a log filter: {error}"))
}

#[cfg(test)]
#[path = "config_test.rs"]
mod tests;
