//! Bodies that are read while they are sent, and answers with parts of files.

use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::range::{Wanted, wanted};
use crate::record::Reading;

/// What is read at once: two records.
const PIECE_BYTES: u64 = 128 << 10;

/// A body whose pieces come from elsewhere.
pub(super) struct Pieces(pub mpsc::Receiver<io::Result<Vec<u8>>>);

impl hyper::body::Body for Pieces {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        self.0.poll_recv(context).map(|piece| piece.map(|piece| piece.map(|bytes| Frame::data(bytes.into()))))
    }
}

/// A part of a file. Each piece is read on a thread that may wait, when the one before is sent: who stops reading holds none. The first is read before
/// there is an answer, so that a file that is damaged there is an error with words; the body breaks off where it is later.
///
/// # Errors
/// When the first piece cannot be read.
pub(super) async fn read(file: Reading, part: Range<u64>, name: &str) -> io::Result<Body> {
    let first = piece(file, part).await?;
    let name: Arc<str> = name.into();
    Ok(Body::from_stream(stream::try_unfold(Next::Read(first), move |next| {
        let name = name.clone();
        async move {
            let read = match next {
                Next::Read(read) => read,
                Next::Wanted(file, part) => piece(file, part).await.inspect_err(
                    |error| tracing::error!(file = &*name, %error, "a file of a recording cannot be sent whole"),
                )?,
            };
            Ok::<_, io::Error>(read.map(|(bytes, file, rest)| (bytes, Next::Wanted(file, rest))))
        }
    })))
}

/// A piece with the file and what is to be read after it; nothing at the end.
type Piece = Option<(Vec<u8>, Reading, Range<u64>)>;

/// What comes next of a body.
enum Next {
    Read(Piece),
    Wanted(Reading, Range<u64>),
}

async fn piece(mut file: Reading, part: Range<u64>) -> io::Result<Piece> {
    if part.is_empty() {
        return Ok(None);
    }
    let read = tokio::task::spawn_blocking(move || {
        let mut piece = Vec::new();
        file.seek(SeekFrom::Start(part.start))?;
        file.by_ref().take((part.end - part.start).min(PIECE_BYTES)).read_to_end(&mut piece)?;
        // A plain file may have become shorter.
        let end = if piece.is_empty() { part.start } else { part.end };
        let rest = part.start + piece.len() as u64..end;
        Ok(Some((piece, file, rest)))
    });
    read.await.map_err(io::Error::other).flatten()
}

/// What a request with this `Range` is answered of a file of so many bytes: all of it or a part, if it is there. The body follows.
pub(super) fn part(range: Option<&str>, bytes: u64) -> Result<(Range<u64>, Answer), Beyond> {
    match wanted(range, bytes) {
        Wanted::All => Ok((0..bytes, Answer { of: None, length: bytes })),
        Wanted::Part(part) => {
            let of = Some(format!("bytes {}-{}/{bytes}", part.start, part.end - 1));
            Ok((part.clone(), Answer { of, length: part.end - part.start }))
        }
        Wanted::Beyond => Err(Beyond(bytes)),
    }
}

/// A part was asked for that a file of so many bytes does not have.
pub(super) struct Beyond(u64);

impl Beyond {
    /// The answer.
    pub fn answer(self) -> Response {
        let of = [(header::CONTENT_RANGE, format!("bytes */{}", self.0))];
        (StatusCode::RANGE_NOT_SATISFIABLE, of).into_response()
    }
}

/// An answer without its body.
pub(super) struct Answer {
    of: Option<String>,
    length: u64,
}

impl Answer {
    /// The answer with its body.
    pub fn with(self, body: Body) -> Response {
        let status = if self.of.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::CONTENT_LENGTH, self.length.into());
        // Digits and signs alone.
        let of = self.of.and_then(|of| HeaderValue::from_str(&of).ok());
        headers.extend(of.map(|of| (header::CONTENT_RANGE, of)));
        response
    }
}
