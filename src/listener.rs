//! Ports that take TCP connections: of HTTP, of media and of the relay.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// Connections that wait to be accepted, as far as the system lets them (`net.core.somaxconn`, 4096 for years). Beyond it the system throws their first
/// packet away, and the client tries again after a second, then after three: a school that comes at nine o'clock, or back after a restart.
pub(crate) const BACKLOG: u32 = 4096;
/// Bytes that the kernel keeps for a client that is slow to take them. Its own choice is megabytes, in which the present waits
/// behind the past: at 1 Mbit/s this is half a second.
const SEND_BUFFER: u32 = 64 * 1024;
/// How long to wait when the system gives no more file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Listens for connections on this port (0: any free one), of IPv6 and IPv4 if the machine has both.
///
/// # Errors
/// When the port is taken.
pub fn bind(port: u16) -> io::Result<TcpListener> {
    let bind = |socket: TcpSocket, ip: IpAddr| {
        socket.set_reuseaddr(true)?;
        socket.set_send_buffer_size(SEND_BUFFER)?; // what is accepted inherits it
        socket.bind(SocketAddr::new(ip, port))?;
        socket.listen(BACKLOG)
    };
    match TcpSocket::new_v6().and_then(|socket| bind(socket, Ipv6Addr::UNSPECIFIED.into())) {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            // No IPv6 on this machine.
            bind(TcpSocket::new_v4()?, Ipv4Addr::UNSPECIFIED.into())
        }
        result => result,
    }
}

/// Listens at this address, for HTTP.
///
/// # Errors
/// When the address cannot be had.
pub fn bind_at(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Takes connections for ever, and hands each to `serve`.
pub async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    serve: impl Fn(TcpStream, SocketAddr) -> F,
) {
    loop {
        match listener.accept().await {
            Ok((stream, source)) => {
                // Media does not wait for more of itself.
                let _ = stream.set_nodelay(true);
                tokio::spawn(serve(stream, source));
            }
            Err(error) => {
                tracing::debug!(%error, "a connection was not accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
