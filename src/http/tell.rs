//! What a connection speaks, by its first bytes: one port can carry pages, TLS, media and the relay.
//!
//! | begins with | is |
//! |---|---|
//! | 0x16 | TLS (RFC 8446, section 5.1: a handshake record) |
//! | a STUN header | the relay: each of its connections begins with a request (RFC 8656) |
//! | a STUN header behind two bytes of length | media: RFC 4571 frames, of which the first is a check |
//! | else | HTTP, which knows what to say to anything |

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// What is enough to tell.
const ENOUGH: usize = 10;
const COOKIE: [u8; 4] = [0x21, 0x12, 0xa4, 0x42];

/// See the [module](self).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Speaks {
    /// TLS, inside of which there is one of the others.
    Tls,
    /// HTTP.
    Http,
    /// TURN.
    Relay,
    /// Media.
    Media,
}

/// Tells by the bytes so far; nothing when more are needed.
pub fn tell(bytes: &[u8]) -> Option<Speaks> {
    match bytes {
        [] => None,
        [0x16, ..] => Some(Speaks::Tls),
        [0..=3, ..] if bytes.get(4..8) == Some(&COOKIE) => Some(Speaks::Relay),
        [0..=3, ..] if bytes.len() < ENOUGH => None,
        [0..=3, ..] if bytes.get(6..10) == Some(&COOKIE) => Some(Speaks::Media),
        _ => Some(Speaks::Http),
    }
}

/// Reads as much as is needed to tell; what was read comes again from the stream that is given back.
///
/// # Errors
/// When the connection ends before.
pub async fn listen_to<S: AsyncRead + Unpin>(mut stream: S) -> io::Result<(Speaks, Begun<S>)> {
    let mut bytes = [0; ENOUGH];
    let mut filled = 0;
    loop {
        let read = stream.read(&mut bytes[filled..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
        if let Some(speaks) = tell(&bytes[..filled]) {
            return Ok((speaks, Begun { bytes, read: 0, filled, stream }));
        }
    }
}

/// A stream whose first bytes have been read, and are read again.
#[derive(Debug)]
pub struct Begun<S> {
    bytes: [u8; ENOUGH],
    read: usize,
    filled: usize,
    stream: S,
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.read < this.filled {
            let count = (this.filled - this.read).min(buf.remaining());
            buf.put_slice(&this.bytes[this.read..this.read + count]);
            this.read += count;
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHECK: [u8; 24] =
        [0, 1, 0, 4, 0x21, 0x12, 0xa4, 0x42, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 0x80, 0x22, 0, 0];

    fn cases() -> Vec<(Speaks, Vec<u8>)> {
        let allocate = [&[0, 3][..], &CHECK[2..]].concat();
        let framed = [&[0, 24][..], &CHECK].concat();
        vec![
            (Speaks::Tls, vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3]),
            (Speaks::Http, b"GET / HTTP/1.1\r\n\r\n".to_vec()),
            (Speaks::Http, b"PRI * HTTP/2.0\r\n\r\n".to_vec()),
            (Speaks::Relay, CHECK.to_vec()),
            (Speaks::Relay, allocate),
            (Speaks::Media, framed),
            (Speaks::Http, vec![0; 12]),
            (Speaks::Http, vec![0xff; 12]),
        ]
    }

    #[test]
    fn each_is_told_as_soon_as_it_can_be_and_never_changes() {
        for (speaks, bytes) in cases() {
            let told: Vec<Option<Speaks>> = (0..=bytes.len()).map(|end| tell(&bytes[..end])).collect();
            let first = told.iter().position(Option::is_some).unwrap();
            assert!(first <= ENOUGH, "{bytes:?}");
            assert!(told[first..].iter().all(|told| *told == Some(speaks)), "{bytes:?}: {told:?}");
        }
    }

    #[tokio::test]
    async fn what_was_read_comes_again() {
        for (speaks, bytes) in cases() {
            for cut in 1..bytes.len() {
                let (first, rest) = bytes.split_at(cut);
                let (told, mut begun) = listen_to(first.chain(rest)).await.unwrap();
                assert_eq!(told, speaks);
                let mut again = Vec::new();
                begun.read_to_end(&mut again).await.unwrap();
                assert_eq!(again, bytes);
            }
        }
    }
}
