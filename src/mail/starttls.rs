//! The connection below STARTTLS. It hands out what comes in the clear byte by byte, so that nothing
//! said before TLS can be taken for something said within.
//!
//! Whoever sits on the way can send answers right behind the one to STARTTLS. A reader that had taken
//! them in together would keep them and believe, once TLS holds, that they came from the server, down
//! to "your mail is accepted". Left in the connection, they are no TLS and end it.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use lettre::transport::smtp::client::AsyncTokioStream;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// First byte of a TLS handshake, which begins no SMTP command.
const HANDSHAKE: u8 = 0x16;

/// A connection that may go over to TLS.
#[derive(Debug)]
pub(super) struct Upgradable {
    tcp: TcpStream,
    tls: bool,
}

impl Upgradable {
    pub(super) fn new(tcp: TcpStream) -> Self {
        Self { tcp, tls: false }
    }
}

impl AsyncTokioStream for Upgradable {
    fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.peer_addr()
    }
}

impl AsyncRead for Upgradable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.tls {
            return Pin::new(&mut self.tcp).poll_read(cx, buffer);
        }
        let mut byte = [0];
        let mut one = ReadBuf::new(&mut byte);
        ready!(Pin::new(&mut self.tcp).poll_read(cx, &mut one))?;
        buffer.put_slice(one.filled());
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Upgradable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.tls |= bytes.first() == Some(&HANDSHAKE);
        Pin::new(&mut self.tcp).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(cx)
    }
}
