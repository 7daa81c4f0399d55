//! Asks a STUN server at which address the internet sees this machine (RFC 8489): for a machine behind a NAT that lets its ports
//! in under the same numbers.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::{UdpSocket, lookup_host};
use turn_types::stun::attribute::XorMappedAddress;
use turn_types::stun::message::{
    BINDING, Message, MessageClass, MessageWrite, MessageWriteExt, MessageWriteVec,
};

/// How long each of the questions waits for its answer (RFC 8489, section 6.2.1, has more and longer ones).
const WAITS: [Duration; 3] =
    [Duration::from_millis(500), Duration::from_millis(1000), Duration::from_millis(1500)];

/// Why the address is not known.
#[derive(Debug, thiserror::Error)]
pub enum DiscoverError {
    /// The name leads nowhere.
    #[error("stun_server: {server} is not found: {source}")]
    Name {
        /// As set.
        server: String,
        /// Why.
        source: io::Error,
    },
    /// No answer.
    #[error(
        "stun_server: {server} does not answer; the network may let no UDP out, or no STUN server is there"
    )]
    Silence {
        /// As set.
        server: String,
    },
    /// No socket.
    #[error("stun_server: {0}")]
    Socket(#[from] io::Error),
}

/// The addresses at which `server` (`host:port`) sees this machine, one for each family in which it can be asked.
///
/// # Errors
/// When it answers in none.
pub async fn public_addresses(server: &str) -> Result<Vec<IpAddr>, DiscoverError> {
    let named = lookup_host(server).await;
    let all: Vec<SocketAddr> =
        named.map_err(|source| DiscoverError::Name { server: server.to_owned(), source })?.collect();
    let of_family = |is_v4: bool| all.iter().copied().find(|address| address.is_ipv4() == is_v4);
    let mut found = Vec::new();
    for address in [true, false].into_iter().filter_map(of_family) {
        // A machine without a family cannot ask in it.
        if let Ok(Some(ip)) = ask(address).await {
            found.push(ip);
        }
    }
    if found.is_empty() {
        return Err(DiscoverError::Silence { server: server.to_owned() });
    }
    Ok(found)
}

async fn ask(server: SocketAddr) -> io::Result<Option<IpAddr>> {
    let any = if server.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).await?;
    // Answers of others do not come through.
    socket.connect(server).await?;
    let builder = Message::builder_request(BINDING, MessageWriteVec::with_capacity(20));
    let transaction = builder.transaction_id();
    let question = builder.finish();
    let mut bytes = [0; 1500];
    for wait in WAITS {
        socket.send(&question).await?;
        let answer = async {
            loop {
                let length = socket.recv(&mut bytes).await?;
                let Ok(message) = Message::from_bytes(&bytes[..length]) else { continue };
                let is_ours =
                    message.transaction_id() == transaction && message.has_class(MessageClass::Success);
                if let (true, Ok(mapped)) = (is_ours, message.attribute::<XorMappedAddress>()) {
                    return io::Result::Ok(mapped.addr(transaction).ip());
                }
            }
        };
        match tokio::time::timeout(wait, answer).await {
            Ok(Ok(ip)) => return Ok(Some(ip)),
            // Nobody is there (ECONNREFUSED), or will be soon: asked again when an answer would be late.
            Ok(Err(_)) => tokio::time::sleep(wait).await,
            Err(_) => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use turn_types::stun::message::MessageWriteExt;

    use super::*;

    /// A STUN server that sees everybody at 198.51.100.9, loses the first question, and says things first that are no answer.
    async fn server() -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        tokio::spawn(async move {
            let mut bytes = [0; 100];
            let mut questions = 0;
            while let Ok((length, from)) = socket.recv_from(&mut bytes).await {
                questions += 1;
                if questions == 1 {
                    continue;
                }
                let question = Message::from_bytes(&bytes[..length]).unwrap();
                assert!(question.has_method(BINDING) && question.has_class(MessageClass::Request));
                let other = Message::builder_request(BINDING, MessageWriteVec::with_capacity(20)).finish();
                for nonsense in [&b"nonsense"[..], &other] {
                    socket.send_to(nonsense, from).await.unwrap();
                }
                let mut answer = Message::builder_success(&question, MessageWriteVec::with_capacity(60));
                let seen =
                    XorMappedAddress::new("198.51.100.9:7".parse().unwrap(), question.transaction_id());
                answer.add_attribute(&seen).unwrap();
                socket.send_to(&answer.finish(), from).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn the_address_is_what_the_server_sees() {
        let server = server().await;
        let found = public_addresses(&server.to_string()).await.unwrap();
        assert_eq!(found, ["198.51.100.9".parse::<IpAddr>().unwrap()]);
    }

    #[tokio::test]
    async fn silence_is_told() {
        // Bound, and never read.
        let silent = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let error = public_addresses(&silent.local_addr().unwrap().to_string()).await.unwrap_err();
        assert!(error.to_string().contains("does not answer"), "{error}");
        let error = public_addresses("name.invalid:3478").await.unwrap_err();
        assert!(error.to_string().contains("is not found"), "{error}");
    }
}
