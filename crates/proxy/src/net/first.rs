//! The first head of a raw connection: read before anybody knows whether it is CONNECT or a plain request.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use model::bounds::{HEAD_SECONDS_MAX, HEADER_FIELDS_MAX};
use model::canonical::Malformed;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

use super::frame::{Fault, Framing, Place, check_head};
use super::guard::Violation;

/// The checked head of a raw connection.
#[derive(Debug)]
pub struct FirstHead {
    /// Any token; CONNECT among them.
    pub method: Method,
    /// The target as it came: an authority for CONNECT, a URL or a path otherwise.
    pub target: String,
    /// All fields, `Host` and `Proxy-Authorization` included.
    pub headers: HeaderMap,
    /// Everything that was read, for hyper to read again ([`Rewind`]); after CONNECT nothing but its head.
    pub raw: Bytes,
}

/// Reads the first head within [`HEAD_SECONDS_MAX`] and the bounds, and checks it as strictly as the guard does. `None`
/// when the client went away, or said nothing whole in time: there is nobody to answer.
///
/// # Errors
/// What the client sent is not one HTTP/1.1 head, or something follows a CONNECT before it was answered.
pub async fn read_first_head<IO: AsyncRead + Unpin>(io: &mut IO) -> Result<Option<FirstHead>, Violation> {
    let limit = Duration::from_secs(HEAD_SECONDS_MAX);
    tokio::time::timeout(limit, read_untimed(io)).await.unwrap_or(Ok(None))
}

async fn read_untimed<IO: AsyncRead + Unpin>(io: &mut IO) -> Result<Option<FirstHead>, Violation> {
    let mut buffer = BytesMut::with_capacity(512);
    let mut scanned = 0;
    loop {
        match io.read_buf(&mut buffer).await {
            Ok(0) | Err(_) => return Ok(None),
            Ok(_) => {}
        }
        let quoting = |fault| Violation::quoting(fault, &buffer);
        if !buffer.first().is_some_and(u8::is_ascii_alphabetic) {
            return Err(quoting(BROKEN));
        }
        if let Some(end) = Framing::block_end_from(&buffer, &mut scanned).map_err(quoting)? {
            return read_head(&buffer, end)
                .map_err(quoting)
                .map(|(method, target, headers)| Some(FirstHead { method, target, headers, raw: buffer.freeze() }));
        }
    }
}

const BROKEN: Fault = Fault::Malformed(Malformed::Framing);

fn read_head(read: &[u8], end: usize) -> Result<(Method, String, HeaderMap), Fault> {
    let raw = read.get(..end).unwrap_or_default();
    check_head(raw, Place::First)?;
    let mut fields = [httparse::EMPTY_HEADER; HEADER_FIELDS_MAX];
    let mut request = httparse::Request::new(&mut fields);
    request.parse(raw).map_err(|_| BROKEN)?;
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    for field in request.headers.iter() {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| BROKEN)?;
        headers.append(name, HeaderValue::from_bytes(field.value).map_err(|_| BROKEN)?);
    }
    let method = Method::from_bytes(request.method.unwrap_or_default().as_bytes()).map_err(|_| BROKEN)?;
    // What follows a CONNECT belongs to the tunnel, which is not open yet (RFC 9110 9.3.6).
    if method == Method::CONNECT && read.len() > end {
        return Err(BROKEN);
    }
    Ok((method, request.path.unwrap_or_default().to_owned(), headers))
}

/// A stream with octets to be read before its own.
#[derive(Debug)]
pub struct Rewind<IO> {
    prefix: Bytes,
    io: IO,
}

impl<IO> Rewind<IO> {
    /// Puts `prefix` (may be empty) in front of `io`.
    pub const fn new(prefix: Bytes, io: IO) -> Self {
        Self { prefix, io }
    }

    /// The stream behind.
    pub const fn get_ref(&self) -> &IO {
        &self.io
    }
}

impl<IO: AsyncRead + Unpin> AsyncRead for Rewind<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        if this.prefix.is_empty() {
            return Pin::new(&mut this.io).poll_read(cx, out);
        }
        let count = this.prefix.len().min(out.remaining());
        out.put_slice(this.prefix.get(..count).unwrap_or_default());
        this.prefix.advance(count);
        if this.prefix.is_empty() {
            this.prefix = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

impl<IO: AsyncWrite + Unpin> AsyncWrite for Rewind<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}
