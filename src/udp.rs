//! The media socket: one nonblocking UDP port for IPv4 and IPv6, read and written in batches.
//!
//! - Each datagram comes with the local address that it was sent to (IP_PKTINFO, RFC 3542 section 6.2), because ICE pairs
//!   are pairs of addresses, and with the time at which the kernel took it in (SO_TIMESTAMPNS).
//! - Each datagram is sent from the local address that its pair names, when the machine has that address.
//! - IPv4 is IPv4 outside this file: v4-mapped addresses (RFC 4291, section 2.5.5.2) are turned into plain ones on the
//!   way in and back on the way out.
//! - Consecutive datagrams to one destination with equal sizes leave as one message with UDP_SEGMENT, which the kernel
//!   cuts up at the last moment. Measured on loopback, 1,200 bytes each (`segments_pay` in the tests, 2.5 GHz): one 1.16 µs
//!   either way, runs of two 0.92, of four 0.60, of eight 0.45 µs a datagram.
//!
//! The file is longer than others because it holds all system calls of the worker, and with them all unsafe code.
#![allow(
    unsafe_code,
    reason = "recvmmsg, sendmmsg, control messages, ppoll and eventfd have no safe wrapper in the standard library; \
              this is the only file that calls them"
)]

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use libc::{c_int, c_void, socklen_t};
use sfu::io::Transmit;

/// Largest datagram that is taken in. WebRTC stays below an Ethernet frame's 1500 bytes; the rest is room for tunnels.
pub const DATAGRAM_BYTES: usize = 2048;

/// Most datagrams that one system call takes in, and most messages that one call sends. Past 64 a call's fixed cost is
/// under a hundredth of the work, and a turn of the worker would only get longer.
pub const BATCH: usize = 64;

/// What is asked of the kernel for each direction's buffer: 40 ms of a full gigabit. The kernel may give less
/// (`net.core.rmem_max`); [`Socket::buffers`] says what it gave.
pub const SOCKET_BUFFER_BYTES: c_int = 4 << 20;

/// Room for the control messages of one datagram, in and out: packet info (40 bytes), timestamp (32) and overflow
/// count (24), or packet info and segment size (24).
const CONTROL_BYTES: usize = 128;

/// Most datagrams in one segmented message: the kernel's UDP_MAX_SEGMENTS was 64 before Linux 6.9.
const SEGMENTS: usize = 64;

/// Most bytes in one segmented message: what an IPv4 datagram holds (65,535 with headers), with room to spare.
const SEGMENTED_BYTES: usize = 60_000;

/// How long a batch may wait for the send buffer in all. A packet that is later than this hurts everybody behind it more
/// than its loss does.
const SEND_PATIENCE: Duration = Duration::from_millis(5);

/// A bound UDP socket.
#[derive(Debug)]
pub struct Socket {
    fd: OwnedFd,
    family: Family,
    port: u16,
    /// Addresses that this machine has, from which alone it can send.
    local: HashSet<IpAddr>,
    /// Whether the kernel takes segmented messages.
    segmentation: bool,
}

/// What a socket can carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// IPv4 alone, on machines without IPv6.
    V4,
    /// IPv6, and IPv4 as v4-mapped addresses.
    Dual,
}

impl Socket {
    /// Binds the port (0: any free one) on all addresses. `local` are the machine's own addresses.
    ///
    /// # Errors
    /// When the port is taken, or the system gives no socket of either family.
    pub fn bind(port: u16, local: impl IntoIterator<Item = IpAddr>) -> io::Result<Socket> {
        let local = local.into_iter().map(|ip| ip.to_canonical()).collect();
        let (fd, family) = match open(Family::Dual, port) {
            Ok(fd) => (fd, Family::Dual),
            // No IPv6 in this kernel, or it is switched off on all interfaces.
            Err(error) if matches!(error.raw_os_error(), Some(libc::EAFNOSUPPORT | libc::EADDRNOTAVAIL)) => {
                (open(Family::V4, port)?, Family::V4)
            }
            Err(error) => return Err(error),
        };
        let port = bound_port(&fd)?;
        let segmentation = get_option(&fd, libc::SOL_UDP, libc::UDP_SEGMENT).is_ok();
        Ok(Socket { fd, family, port, local, segmentation })
    }

    /// The port that it is bound to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address that it is bound to: all of the machine's, with the port.
    pub fn local_addr(&self) -> SocketAddr {
        let any = match self.family {
            Family::V4 => IpAddr::from(Ipv4Addr::UNSPECIFIED),
            Family::Dual => IpAddr::from(Ipv6Addr::UNSPECIFIED),
        };
        SocketAddr::new(any, self.port)
    }

    /// What it can carry.
    pub fn family(&self) -> Family {
        self.family
    }

    /// Bytes of the receive and the send buffer that the kernel gave (it counts its own overhead: about half is ours).
    pub fn buffers(&self) -> (usize, usize) {
        let of = |name| {
            get_option(&self.fd, libc::SOL_SOCKET, name).map_or(0, |v| usize::try_from(v).unwrap_or(0))
        };
        (of(libc::SO_RCVBUF), of(libc::SO_SNDBUF))
    }

    /// Takes in what is there, at most [`BATCH`] datagrams, and returns how many messages the kernel gave; 0 when
    /// nothing waits. They are then read from [`ReceiveArena::datagrams`].
    ///
    /// # Errors
    /// Whatever the kernel says, but for "nothing there" and interruption by a signal.
    pub fn receive(&self, arena: &mut ReceiveArena) -> io::Result<usize> {
        arena.filled = 0;
        arena.aim();
        loop {
            // SAFETY: the headers were just aimed at the arena's own buffers, which live longer than the call and which
            // nothing else borrows (`arena` is borrowed mutably); their lengths are those of the buffers.
            let given = unsafe {
                libc::recvmmsg(
                    self.fd.as_raw_fd(),
                    arena.headers.as_mut_ptr(),
                    BATCH as _,
                    libc::MSG_DONTWAIT,
                    ptr::null_mut(),
                )
            };
            if let Ok(given) = usize::try_from(given) {
                arena.filled = given;
                return Ok(given);
            }
            let error = io::Error::last_os_error();
            match error.kind() {
                io::ErrorKind::Interrupted => {}
                io::ErrorKind::WouldBlock => return Ok(0),
                _ => return Err(error),
            }
        }
    }

    /// Sends a batch in its order. A datagram that the kernel refuses is skipped and counted; when the send buffer stays
    /// full for 5 ms, the rest is dropped and counted.
    pub fn send(&mut self, arena: &mut SendArena, batch: &[Transmit]) -> Sent {
        let mut sent = Sent::default();
        let mut rest = batch;
        let mut deadline = None;
        // Datagrams at the head of `rest` that go one by one because the kernel refused them as one message.
        let mut singly = 0;
        while !rest.is_empty() {
            let (slice, segmentation) = match singly {
                0 => (rest, self.segmentation),
                n => (&rest[..n], false),
            };
            sent.calls += 1;
            let first_group = arena.aim(self, slice, segmentation);
            match self.send_aimed(arena) {
                Ok(messages) => {
                    let datagrams: usize = arena.groups[..messages].iter().sum();
                    sent.datagrams += datagrams as u64;
                    sent.bytes += rest[..datagrams].iter().map(|t| t.contents.len() as u64).sum::<u64>();
                    rest = &rest[datagrams..];
                    singly = singly.saturating_sub(datagrams);
                }
                Err(error) => match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    Some(libc::EAGAIN) => {
                        let deadline = *deadline.get_or_insert_with(|| Instant::now() + SEND_PATIENCE);
                        let left = deadline.saturating_duration_since(Instant::now());
                        if left.is_zero() || !wait_writable(&self.fd, left) {
                            sent.dropped += rest.len() as u64;
                            break;
                        }
                    }
                    code if first_group > 1 => {
                        // EIO: the device cannot do the checksums of segments, and never will (udp_send_skb in the kernel).
                        // Anything else is about this message, such as a segment above the path's MTU.
                        if code == Some(libc::EIO) {
                            self.segmentation = false;
                        }
                        singly = first_group;
                    }
                    // About this datagram or its destination (ECONNREFUSED, EMSGSIZE, ENETUNREACH, EPERM from a firewall),
                    // or for a moment (ENOBUFS): media does not wait.
                    _ => {
                        sent.failed += 1;
                        rest = &rest[1..];
                        singly = singly.saturating_sub(1);
                    }
                },
            }
        }
        sent
    }

    fn send_aimed(&self, arena: &mut SendArena) -> io::Result<usize> {
        // SAFETY: the headers were aimed by `SendArena::aim` at the arena's own buffers and at the contents of the batch,
        // which both outlive the call; the kernel only reads the contents.
        let messages = unsafe {
            libc::sendmmsg(
                self.fd.as_raw_fd(),
                arena.headers.as_mut_ptr(),
                arena.groups.len() as _,
                libc::MSG_DONTWAIT,
            )
        };
        usize::try_from(messages).map_err(|_| io::Error::last_os_error())
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// What became of a batch, see [`Socket::send`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sent {
    /// Datagrams given to the kernel.
    pub datagrams: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Datagrams dropped because the send buffer stayed full.
    pub dropped: u64,
    /// Datagrams that the kernel refused.
    pub failed: u64,
    /// System calls.
    pub calls: u64,
}

/// A datagram in a [`ReceiveArena`].
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// Who sent it.
    pub source: SocketAddr,
    /// Address of this machine that it was sent to, if the kernel said so.
    pub destination: Option<IpAddr>,
    /// When the kernel took it in (wall clock).
    pub arrival: Option<SystemTime>,
    /// What it holds.
    pub contents: &'a [u8],
}

/// Buffers for one [`Socket::receive`], made once. It belongs to one thread.
pub struct ReceiveArena {
    contents: Vec<u8>,
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
    parts: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    filled: usize,
}

impl Default for ReceiveArena {
    fn default() -> Self {
        ReceiveArena {
            contents: vec![0; BATCH * DATAGRAM_BYTES],
            names: vec![zeroed_name(); BATCH],
            controls: vec![Control::default(); BATCH],
            parts: vec![libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 }; BATCH],
            headers: vec![zeroed_header(); BATCH],
            filled: 0,
        }
    }
}

impl ReceiveArena {
    /// The datagrams of the last receive that are whole and from somewhere.
    pub fn datagrams(&self) -> impl Iterator<Item = Received<'_>> {
        (0..self.filled).filter_map(|i| self.datagram(i))
    }

    /// How many datagrams of the last receive were larger than [`DATAGRAM_BYTES`].
    pub fn oversize(&self) -> usize {
        self.headers[..self.filled].iter().filter(|h| h.msg_hdr.msg_flags & libc::MSG_TRUNC != 0).count()
    }

    /// Datagrams that the kernel has dropped since the socket was made because nobody read them in time (SO_RXQ_OVFL;
    /// wraps at 2^32), if the last receive said.
    pub fn overflows(&self) -> Option<u32> {
        self.filled.checked_sub(1).and_then(|last| self.control(last).overflows)
    }

    fn datagram(&self, i: usize) -> Option<Received<'_>> {
        let header = &self.headers[i];
        if header.msg_hdr.msg_flags & libc::MSG_TRUNC != 0 {
            return None;
        }
        let start = i * DATAGRAM_BYTES;
        let length = (header.msg_len as usize).min(DATAGRAM_BYTES);
        let control = self.control(i);
        Some(Received {
            source: decode_name(&self.names[i])?,
            destination: control.destination,
            arrival: control.arrival,
            contents: &self.contents[start..start + length],
        })
    }

    /// Points the headers at the buffers, as the kernel has overwritten the lengths.
    fn aim(&mut self) {
        for (i, header) in self.headers.iter_mut().enumerate() {
            let room = &mut self.contents[i * DATAGRAM_BYTES..][..DATAGRAM_BYTES];
            self.parts[i] = libc::iovec { iov_base: room.as_mut_ptr().cast(), iov_len: room.len() };
            header.msg_len = 0;
            let message = &mut header.msg_hdr;
            message.msg_name = ptr::from_mut(&mut self.names[i]).cast();
            message.msg_namelen = size_of::<libc::sockaddr_storage>() as socklen_t;
            message.msg_iov = &raw mut self.parts[i];
            message.msg_iovlen = 1;
            message.msg_control = self.controls[i].0.as_mut_ptr().cast();
            message.msg_controllen = CONTROL_BYTES as _;
            message.msg_flags = 0;
        }
    }

    fn control(&self, i: usize) -> ControlData {
        let mut data = ControlData::default();
        let mut message = self.headers[i].msg_hdr;
        message.msg_control = self.controls[i].0.as_ptr().cast_mut().cast();
        // SAFETY: `msg_control` points at the control buffer of this datagram and `msg_controllen` is what the kernel
        // filled of it, at most its size; the buffer is aligned for `cmsghdr`.
        let mut next = unsafe { libc::CMSG_FIRSTHDR(&raw const message) };
        while !next.is_null() {
            // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return only headers that lie within the buffer.
            let header = unsafe { next.read() };
            // SAFETY: as above; the kernel writes whole messages, and each type below is read with the size that the
            // kernel gives it, which `holds` checks. Unaligned because data follows a header, not its own alignment.
            unsafe {
                let at = libc::CMSG_DATA(next);
                let holds = |size: usize| header.cmsg_len as usize >= libc::CMSG_LEN(size as u32) as usize;
                match (header.cmsg_level, header.cmsg_type) {
                    (libc::SOL_SOCKET, libc::SCM_TIMESTAMPNS) if holds(size_of::<libc::timespec>()) => {
                        let time = at.cast::<libc::timespec>().read_unaligned();
                        data.arrival = wall_clock(time);
                    }
                    (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) if holds(size_of::<u32>()) => {
                        data.overflows = Some(at.cast::<u32>().read_unaligned());
                    }
                    (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) if holds(size_of::<libc::in6_pktinfo>()) => {
                        let info = at.cast::<libc::in6_pktinfo>().read_unaligned();
                        data.destination = Some(IpAddr::from(info.ipi6_addr.s6_addr).to_canonical());
                    }
                    (libc::IPPROTO_IP, libc::IP_PKTINFO) if holds(size_of::<libc::in_pktinfo>()) => {
                        let info = at.cast::<libc::in_pktinfo>().read_unaligned();
                        data.destination = Some(IpAddr::from(info.ipi_addr.s_addr.to_ne_bytes()));
                    }
                    _ => {}
                }
                next = libc::CMSG_NXTHDR(&raw const message, next);
            }
        }
        data
    }
}

/// What the control messages of one datagram say.
#[derive(Default)]
struct ControlData {
    destination: Option<IpAddr>,
    arrival: Option<SystemTime>,
    overflows: Option<u32>,
}

/// Buffers for [`Socket::send`], made once. It belongs to one thread.
pub struct SendArena {
    names: Vec<libc::sockaddr_storage>,
    controls: Vec<Control>,
    parts: Vec<libc::iovec>,
    headers: Vec<libc::mmsghdr>,
    /// Datagrams in each message.
    groups: Vec<usize>,
}

impl Default for SendArena {
    fn default() -> Self {
        SendArena {
            names: vec![zeroed_name(); BATCH],
            controls: vec![Control::default(); BATCH],
            parts: Vec::with_capacity(BATCH * 4),
            headers: vec![zeroed_header(); BATCH],
            groups: Vec::with_capacity(BATCH),
        }
    }
}

impl SendArena {
    /// Points headers at the first messages of the batch, at most [`BATCH`], and returns the datagrams of the first.
    fn aim(&mut self, socket: &Socket, batch: &[Transmit], segmentation: bool) -> usize {
        self.groups.clear();
        self.parts.clear();
        let mut rest = batch;
        while !rest.is_empty() && self.groups.len() < BATCH {
            let group = if segmentation { segments(rest) } else { 1 };
            self.groups.push(group);
            self.parts.extend(rest[..group].iter().map(|t| libc::iovec {
                // The kernel does not write through it.
                iov_base: t.contents.as_ptr().cast_mut().cast(),
                iov_len: t.contents.len(),
            }));
            rest = &rest[group..];
        }
        // Only now, as `parts` may have moved while it grew.
        let mut start = 0;
        for (i, &group) in self.groups.iter().enumerate() {
            let first = &batch[start];
            let name_length = encode_name(&mut self.names[i], first.destination, socket.family);
            let message = &mut self.headers[i].msg_hdr;
            message.msg_name = ptr::from_mut(&mut self.names[i]).cast();
            message.msg_namelen = name_length;
            message.msg_iov = &raw mut self.parts[start];
            message.msg_iovlen = group as _;
            message.msg_flags = 0;
            let source = first.source.ip();
            // All of 127/8 is this machine's, though only 127.0.0.1 stands in the list.
            let source = (source.is_loopback() || socket.local.contains(&source)).then_some(source);
            let segment = (group > 1).then_some(first.contents.len());
            let used = self.controls[i].write(source, segment);
            message.msg_control =
                if used == 0 { ptr::null_mut() } else { self.controls[i].0.as_mut_ptr().cast() };
            message.msg_controllen = used as _;
            start += group;
        }
        self.groups.first().copied().unwrap_or(0)
    }
}

/// How many datagrams at the head of a batch make one segmented message: same addresses, same size, but for the last,
/// which may be shorter.
fn segments(batch: &[Transmit]) -> usize {
    let first = &batch[0];
    let size = first.contents.len();
    if size == 0 {
        return 1;
    }
    let most = SEGMENTS.min(SEGMENTED_BYTES / size).max(1);
    let mut count = 1;
    while let Some(next) = batch.get(count).filter(|_| count < most) {
        let same = next.destination == first.destination && next.source == first.source;
        let length = next.contents.len();
        if !same || length > size || length == 0 {
            break;
        }
        count += 1;
        if length < size {
            break;
        }
    }
    count
}

/// Control messages of one datagram, aligned as `cmsghdr` asks.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

const _: () = assert!(align_of::<libc::cmsghdr>() <= align_of::<Control>());
const _: () = assert!(size_of::<libc::sockaddr_in6>() <= size_of::<libc::sockaddr_storage>());

impl Default for Control {
    fn default() -> Self {
        Control([0; CONTROL_BYTES])
    }
}

impl Control {
    /// Writes the source address and the segment size, where there are any, and returns the bytes used.
    fn write(&mut self, source: Option<IpAddr>, segment: Option<usize>) -> usize {
        let mut used = 0;
        match source {
            // On a dual-stack socket too: the kernel hands v4-mapped destinations to IPv4, which reads this one.
            Some(IpAddr::V4(ip)) => {
                let info = libc::in_pktinfo {
                    ipi_ifindex: 0,
                    ipi_spec_dst: libc::in_addr { s_addr: u32::from_ne_bytes(ip.octets()) },
                    ipi_addr: libc::in_addr { s_addr: 0 },
                };
                used = self.push(used, libc::IPPROTO_IP, libc::IP_PKTINFO, info);
            }
            Some(IpAddr::V6(ip)) => {
                let info =
                    libc::in6_pktinfo { ipi6_addr: libc::in6_addr { s6_addr: ip.octets() }, ipi6_ifindex: 0 };
                used = self.push(used, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, info);
            }
            None => {}
        }
        if let Some(size) = segment {
            let size =
                u16::try_from(size).expect("`segments` bounds a segment by SEGMENTED_BYTES, below 2^16");
            used = self.push(used, libc::SOL_UDP, libc::UDP_SEGMENT, size);
        }
        used
    }

    fn push<T: Copy>(&mut self, used: usize, level: c_int, kind: c_int, data: T) -> usize {
        let size = size_of::<T>() as u32;
        // SAFETY: arithmetic on a size, no memory is touched.
        let (length, space) = unsafe { (libc::CMSG_LEN(size), libc::CMSG_SPACE(size) as usize) };
        assert!(used + space <= CONTROL_BYTES, "CONTROL_BYTES has room for packet info and a segment size");
        // SAFETY: the header and its data lie within the buffer (just checked), whose start is aligned for `cmsghdr` and in
        // which each message takes a multiple of that alignment (CMSG_SPACE). A zeroed `cmsghdr` is valid.
        unsafe {
            let at = self.0.as_mut_ptr().add(used).cast::<libc::cmsghdr>();
            let mut header: libc::cmsghdr = std::mem::zeroed();
            header.cmsg_len = length as _;
            header.cmsg_level = level;
            header.cmsg_type = kind;
            at.write(header);
            libc::CMSG_DATA(at).cast::<T>().write_unaligned(data);
        }
        used + space
    }
}

/// Wakes a thread that sits in [`wait`] from any other thread.
#[derive(Debug)]
pub struct Waker(File);

impl Waker {
    /// A waker that nobody has used.
    ///
    /// # Errors
    /// When the process has no file descriptor left.
    pub fn new() -> io::Result<Waker> {
        // SAFETY: no pointers; the descriptor is checked, and nobody else owns it.
        let fd = unsafe {
            let fd = libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Waker(File::from(fd)))
    }

    /// Makes the present or next [`wait`] return.
    pub fn wake(&self) {
        // It fails only when the counter is at its limit of 2^64 - 2: then the wake is already there.
        let _ = (&self.0).write(&1u64.to_ne_bytes());
    }

    /// Forgets the wakes so far.
    pub fn clear(&self) {
        let mut count = [0; 8];
        // It fails only when there was none.
        let _ = (&self.0).read(&mut count);
    }
}

/// What [`wait`] has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Ready {
    /// The socket has something to read, or an error to report.
    pub socket: bool,
    /// The waker was used.
    pub woken: bool,
}

/// Waits until the socket has something, the waker is used, or the time is over; a signal ends it early.
///
/// # Errors
/// When a descriptor is no longer valid, which is a bug.
pub fn wait(socket: &Socket, waker: &Waker, timeout: Duration) -> io::Result<Ready> {
    let entry = |fd: RawFd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
    let mut entries = [entry(socket.fd.as_raw_fd()), entry(waker.0.as_raw_fd())];
    match poll(&mut entries, timeout) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        Err(_) => Ok(Ready::default()),
        Ok(()) => Ok(Ready { socket: entries[0].revents != 0, woken: entries[1].revents != 0 }),
    }
}

fn wait_writable(fd: &OwnedFd, timeout: Duration) -> bool {
    let mut entries = [libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLOUT, revents: 0 }];
    poll(&mut entries, timeout).is_ok() && entries[0].revents != 0
}

fn poll(entries: &mut [libc::pollfd], timeout: Duration) -> io::Result<()> {
    let timeout = libc::timespec {
        tv_sec: libc::time_t::try_from(timeout.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: timeout.subsec_nanos() as _,
    };
    // SAFETY: the entries and the time live longer than the call; no signal mask is given.
    let given =
        unsafe { libc::ppoll(entries.as_mut_ptr(), entries.len() as _, &raw const timeout, ptr::null()) };
    if given < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn open(family: Family, port: u16) -> io::Result<OwnedFd> {
    let domain = match family {
        Family::V4 => libc::AF_INET,
        Family::Dual => libc::AF_INET6,
    };
    // SAFETY: no pointers; the descriptor is checked, and nobody else owns it.
    let fd = unsafe {
        let fd = libc::socket(domain, libc::SOCK_DGRAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC, 0);
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(fd)
    };
    let (any, name) = match family {
        Family::V4 => (IpAddr::from(Ipv4Addr::UNSPECIFIED), (libc::IPPROTO_IP, libc::IP_PKTINFO)),
        Family::Dual => {
            set_option(&fd, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 0)?;
            // Covers IPv4 too, with a v4-mapped address.
            (IpAddr::from(Ipv6Addr::UNSPECIFIED), (libc::IPPROTO_IPV6, libc::IPV6_RECVPKTINFO))
        }
    };
    set_option(&fd, name.0, name.1, 1)?;
    set_option(&fd, libc::SOL_SOCKET, libc::SO_TIMESTAMPNS, 1)?;
    // Only a figure is lost without it.
    let _ = set_option(&fd, libc::SOL_SOCKET, libc::SO_RXQ_OVFL, 1);
    for (forced, polite) in [(libc::SO_RCVBUFFORCE, libc::SO_RCVBUF), (libc::SO_SNDBUFFORCE, libc::SO_SNDBUF)]
    {
        // The first goes past the system's limit and needs a capability (CAP_NET_ADMIN); the second takes what is allowed.
        if set_option(&fd, libc::SOL_SOCKET, forced, SOCKET_BUFFER_BYTES).is_err() {
            set_option(&fd, libc::SOL_SOCKET, polite, SOCKET_BUFFER_BYTES)?;
        }
    }
    let mut address = zeroed_name();
    let length = encode_name(&mut address, SocketAddr::new(any, port), family);
    // SAFETY: `address` holds an address of `length` bytes.
    let bound = unsafe { libc::bind(fd.as_raw_fd(), ptr::from_ref(&address).cast(), length) };
    if bound < 0 { Err(io::Error::last_os_error()) } else { Ok(fd) }
}

fn bound_port(fd: &OwnedFd) -> io::Result<u16> {
    let mut name = zeroed_name();
    let mut length = size_of::<libc::sockaddr_storage>() as socklen_t;
    // SAFETY: `name` has room for `length` bytes.
    let given =
        unsafe { libc::getsockname(fd.as_raw_fd(), ptr::from_mut(&mut name).cast(), &raw mut length) };
    if given < 0 {
        return Err(io::Error::last_os_error());
    }
    decode_name(&name)
        .map(|address| address.port())
        .ok_or_else(|| io::Error::other("the socket is of another family"))
}

fn set_option(fd: &OwnedFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    let at = ptr::from_ref(&value).cast::<c_void>();
    // SAFETY: `at` points at a c_int, and its size is given.
    let done = unsafe { libc::setsockopt(fd.as_raw_fd(), level, name, at, size_of::<c_int>() as socklen_t) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn get_option(fd: &OwnedFd, level: c_int, name: c_int) -> io::Result<c_int> {
    let mut value: c_int = 0;
    let mut length = size_of::<c_int>() as socklen_t;
    let at = ptr::from_mut(&mut value).cast::<c_void>();
    // SAFETY: `at` points at a c_int, and its size is given.
    let done = unsafe { libc::getsockopt(fd.as_raw_fd(), level, name, at, &raw mut length) };
    if done < 0 { Err(io::Error::last_os_error()) } else { Ok(value) }
}

fn zeroed_name() -> libc::sockaddr_storage {
    // SAFETY: plain old data; all zero is an address of no family.
    unsafe { std::mem::zeroed() }
}

fn zeroed_header() -> libc::mmsghdr {
    // SAFETY: plain old data; null pointers with zero lengths.
    unsafe { std::mem::zeroed() }
}

/// Writes an address as a socket of this family takes it, and returns its length.
fn encode_name(name: &mut libc::sockaddr_storage, address: SocketAddr, family: Family) -> socklen_t {
    let v6 = match (address, family) {
        (SocketAddr::V4(v4), Family::V4) => {
            let value = libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: v4.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(v4.ip().octets()) },
                sin_zero: [0; 8],
            };
            // SAFETY: a `sockaddr_storage` has room and alignment for every address.
            unsafe { ptr::from_mut(name).cast::<libc::sockaddr_in>().write(value) };
            return size_of::<libc::sockaddr_in>() as socklen_t;
        }
        (SocketAddr::V4(v4), Family::Dual) => SocketAddrV6::new(v4.ip().to_ipv6_mapped(), v4.port(), 0, 0),
        // An IPv4 socket refuses it (EAFNOSUPPORT), which is counted.
        (SocketAddr::V6(v6), _) => v6,
    };
    let value = libc::sockaddr_in6 {
        sin6_family: libc::AF_INET6 as libc::sa_family_t,
        sin6_port: v6.port().to_be(),
        sin6_flowinfo: v6.flowinfo(),
        sin6_addr: libc::in6_addr { s6_addr: v6.ip().octets() },
        sin6_scope_id: v6.scope_id(),
    };
    // SAFETY: a `sockaddr_storage` has room and alignment for every address.
    unsafe { ptr::from_mut(name).cast::<libc::sockaddr_in6>().write(value) };
    size_of::<libc::sockaddr_in6>() as socklen_t
}

/// Reads an address that the kernel wrote; plain IPv4 for a v4-mapped one.
fn decode_name(name: &libc::sockaddr_storage) -> Option<SocketAddr> {
    let from = ptr::from_ref(name);
    match c_int::from(name.ss_family) {
        libc::AF_INET => {
            // SAFETY: the family says what the storage holds.
            let v4 = unsafe { from.cast::<libc::sockaddr_in>().read() };
            let ip = Ipv4Addr::from(v4.sin_addr.s_addr.to_ne_bytes());
            Some(SocketAddrV4::new(ip, u16::from_be(v4.sin_port)).into())
        }
        libc::AF_INET6 => {
            // SAFETY: the family says what the storage holds.
            let v6 = unsafe { from.cast::<libc::sockaddr_in6>().read() };
            let ip = Ipv6Addr::from(v6.sin6_addr.s6_addr);
            let port = u16::from_be(v6.sin6_port);
            Some(match ip.to_ipv4_mapped() {
                Some(ip) => SocketAddrV4::new(ip, port).into(),
                // The flow label says nothing about who it is, and would make one peer look like several.
                None => SocketAddrV6::new(ip, port, 0, v6.sin6_scope_id).into(),
            })
        }
        _ => None,
    }
}

fn wall_clock(time: libc::timespec) -> Option<SystemTime> {
    let seconds = u64::try_from(time.tv_sec).ok()?;
    let nanos = u32::try_from(time.tv_nsec).ok().filter(|n| *n < 1_000_000_000)?;
    UNIX_EPOCH.checked_add(Duration::new(seconds, nanos))
}

#[cfg(test)]
mod tests;
