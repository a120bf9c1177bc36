//! How long a connection may say nothing, or say little at a time. It knows nothing of requests but where they begin and end.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use hyper::body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, Sleep};

/// How long a connection may take to send the headers of a request, from its first byte on; the first request from the
/// beginning of the connection on.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may be silent between requests, or take nothing of an answer. Longer than the minute for which
/// proxies keep connections, so that they are the ones to close them while there are places.
const IDLE_TIMEOUT: Duration = Duration::from_secs(75);
/// How long a connection may be silent between requests while there is no place for anybody else.
const CROWDED_TIMEOUT: Duration = Duration::from_secs(10);

/// What a connection holds among all of them, and among those of its thread.
pub(super) type Place = (OwnedSemaphorePermit, Arc<()>);

/// Where a connection is.
#[derive(Clone)]
pub(super) struct Phase(Arc<AtomicU8>);

/// The headers of a request are on their way.
const HEADERS: u8 = 0;
/// A request is at work, which has a time limit of its own.
const WORK: u8 = 1;
/// An answer is on its way, for hours where it is a stream of events.
const ANSWER: u8 = 2;
/// Nothing is on its way.
const REST: u8 = 3;
/// No HTTP any more: a socket looks after itself.
const SOCKET: u8 = 4;
/// No phase: the time has to be set anew.
const NONE: u8 = 5;

impl Phase {
    /// The headers of a request have arrived.
    pub(super) fn begins(&self) {
        self.0.store(WORK, Ordering::Relaxed);
    }

    /// Its answer is known, and this is what it says.
    pub(super) fn answered(&self, body: Body, becomes_socket: bool) -> Answer {
        let phase = if becomes_socket { SOCKET } else { ANSWER };
        self.0.store(phase, Ordering::Relaxed);
        let phase = self.clone();
        Answer { body, phase }
    }
}

/// What an answer says. Behind its end the connection rests.
pub(super) struct Answer {
    body: Body,
    phase: Phase,
}

impl hyper::body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Answer {
    fn drop(&mut self) {
        let phase = &self.phase.0;
        let _ = phase.compare_exchange(ANSWER, REST, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// A connection that ends where nobody goes on. It holds its place among all connections until it is dropped, as a socket, too.
pub(super) struct Patient {
    stream: TcpStream,
    phase: Phase,
    /// The phase for which the time runs.
    timed: u8,
    time: Pin<Box<Sleep>>,
    /// When the phase has lasted too long.
    until: Instant,
    /// The other side takes nothing just now of what it was answered.
    stuck: bool,
    idle_timeout: Duration,
    crowded_timeout: Duration,
    place: Place,
}

impl Patient {
    pub(super) fn new(stream: TcpStream, place: Place) -> (Self, Phase) {
        let phase = Phase(Arc::new(AtomicU8::new(HEADERS)));
        let this = Self {
            stream,
            phase: phase.clone(),
            timed: HEADERS,
            time: Box::pin(tokio::time::sleep(HEADER_TIMEOUT)),
            until: Instant::now() + HEADER_TIMEOUT,
            stuck: false,
            idle_timeout: IDLE_TIMEOUT,
            crowded_timeout: CROWDED_TIMEOUT,
            place,
        };
        (this, phase)
    }

    /// Nothing moves: whether that has been so for too long.
    fn waits<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let phase = self.phase();
        let (limit, step) = match phase {
            HEADERS => (HEADER_TIMEOUT, HEADER_TIMEOUT),
            ANSWER => (self.idle_timeout, self.idle_timeout),
            REST => (self.idle_timeout, self.crowded_timeout),
            _ => {
                self.timed = NONE;
                return Poll::Pending;
            }
        };
        if self.timed != phase {
            self.timed = phase;
            let now = Instant::now();
            self.until = now + limit;
            self.time.as_mut().reset(self.until.min(now + step));
        }
        loop {
            ready!(self.time.as_mut().poll(context));
            let reached = self.time.deadline();
            if reached >= self.until || (phase == REST && self.is_crowded()) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            self.time.as_mut().reset(self.until.min(reached + step));
        }
    }

    /// Whether there is no place for anybody else.
    fn is_crowded(&self) -> bool {
        self.place.0.semaphore().available_permits() == 0
    }

    /// Where it is. While something is stuck, that is an answer, whatever was asked behind it: hyper takes the next
    /// request in before the last answer is out.
    fn phase(&self) -> u8 {
        if self.stuck {
            ANSWER
        } else {
            self.phase.0.load(Ordering::Relaxed)
        }
    }

    /// What came of writing.
    fn wrote<T>(
        &mut self,
        written: Poll<io::Result<T>>,
        context: &mut Context<'_>,
    ) -> Poll<io::Result<T>> {
        if written.is_pending() {
            self.stuck = true;
            return self.waits(context);
        }
        if matches!(self.timed, ANSWER | REST) {
            self.timed = NONE;
        }
        if std::mem::take(&mut self.stuck) {
            // For what was not read meanwhile, and was not begun.
            context.waker().wake_by_ref();
        }
        written
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.stuck && self.phase.0.load(Ordering::Relaxed) != SOCKET {
            // Whoever takes no answers is asked for no more requests.
            return self.waits(context);
        }
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Pending => self.waits(context),
            read @ Poll::Ready(_) => {
                if buffer.filled().len() > before && self.phase.0.load(Ordering::Relaxed) == REST {
                    // The next request begins, and its time with it.
                    self.phase.0.store(HEADERS, Ordering::Relaxed);
                    self.timed = NONE;
                }
                read
            }
        }
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(written, context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(written, context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        // An answer is out, or a part of it. hyper does not ask for the next request until the system wakes it: the time
        // begins here.
        match self.waits(context) {
            Poll::Pending => Poll::Ready(Ok(())),
            over @ Poll::Ready(_) => over,
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use axum::http::Response;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tokio::sync::Semaphore;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);

    /// A client, and its connection with one of `places`.
    async fn connected(places: &Arc<Semaphore>) -> (TcpStream, Patient, Phase) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let client = TcpStream::connect(address).await.expect("a connection");
        let (stream, _) = listener.accept().await.expect("a client");
        let place = Arc::clone(places).try_acquire_owned().expect("a place");
        let (stream, phase) = Patient::new(stream, (place, Arc::default()));
        (client, stream, phase)
    }

    /// Answers every request with so many bytes.
    async fn served(stream: Patient, phase: Phase, bytes: usize) -> hyper::Result<()> {
        let service = service_fn(move |_| {
            phase.begins();
            let phase = phase.clone();
            async move {
                let body = phase.answered(Body::from(vec![b'.'; bytes]), false);
                Ok::<_, Infallible>(Response::new(body))
            }
        });
        hyper::server::conn::http1::Builder::new()
            .header_read_timeout(None)
            .serve_connection(TokioIo::new(stream), service)
            .await
    }

    #[tokio::test]
    async fn a_silent_connection_gives_way_only_where_there_is_no_place_for_others() {
        let places = Arc::new(Semaphore::new(2));
        let (mut client, mut stream, phase) = connected(&places).await;
        stream.crowded_timeout = Duration::from_millis(200);
        let answer = phase.answered(Body::empty(), false);

        let mut byte = [0];
        let while_it_is_silent = Duration::from_millis(700);
        let other = Arc::clone(&places).try_acquire_owned().expect("a place");
        let read = tokio::time::timeout(while_it_is_silent, stream.read(&mut byte));
        assert!(read.await.is_err(), "its answer goes on");
        drop((answer, other));
        let read = tokio::time::timeout(while_it_is_silent, stream.read(&mut byte));
        assert!(read.await.is_err(), "there is one more place");
        let other = Arc::clone(&places).try_acquire_owned().expect("a place");
        let read = tokio::time::timeout(LONG, stream.read(&mut byte));
        let read = read.await.expect("it does not wait for the long time");
        assert_eq!(read.map_err(|e| e.kind()), Err(io::ErrorKind::TimedOut));
        drop((stream, other));
        assert_eq!(client.read(&mut byte).await.ok(), Some(0), "it is over");
    }

    #[tokio::test]
    async fn an_answer_that_is_not_taken_yet_is_no_silence() {
        const BYTES: usize = 16 << 20;
        let places = Arc::new(Semaphore::new(1));
        let (mut client, mut stream, phase) = connected(&places).await;
        stream.crowded_timeout = Duration::from_millis(200);
        let asked = async {
            // The second one is read once the first answer is out, and not while it is stuck.
            let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\n\r\n";
            client.write_all(request).await.expect("it is read");
            for _ in 0..2 {
                tokio::time::sleep(Duration::from_millis(700)).await;
                let mut answer = vec![0; BYTES];
                client.read_exact(&mut answer).await.expect("all of it");
            }
            drop(client);
        };
        let both = async { tokio::join!(served(stream, phase, BYTES), asked) };
        let both = tokio::time::timeout(LONG, both).await;
        both.expect("all of it is answered").0.ok();
    }

    #[tokio::test]
    async fn whoever_takes_no_answer_is_let_go_whatever_it_asks_for() {
        let places = Arc::new(Semaphore::new(1));
        let (mut client, mut stream, phase) = connected(&places).await;
        stream.idle_timeout = Duration::from_millis(400);
        let request =
            b"GET / HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 1\r\n\r\nx";
        let asked = async {
            for _ in 0..20 {
                client.write_all(request).await.expect("room");
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
            std::future::pending::<()>().await;
        };
        let ended = tokio::select! {
            ended = served(stream, phase, 16 << 20) => ended,
            () = asked => unreachable!(),
            // Sooner than a new request would have it.
            () = tokio::time::sleep(Duration::from_secs(8)) => panic!("it goes on"),
        };
        assert!(ended.is_err());
        assert_eq!(places.available_permits(), 1, "its place is free");
    }

    #[tokio::test]
    async fn silence_behind_an_answer_ends_the_connection_and_each_request_begins_it_anew() {
        let places = Arc::new(Semaphore::new(1));
        let (mut client, mut stream, phase) = connected(&places).await;
        stream.idle_timeout = Duration::from_millis(1500);
        let start = Instant::now();
        let asked = async {
            let mut answer = [0; 512];
            for _ in 0..3 {
                let request = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";
                client.write_all(request).await.expect("it is read");
                assert!(client.read(&mut answer).await.expect("an answer") > 0);
                tokio::time::sleep(Duration::from_millis(700)).await;
            }
            assert!(start.elapsed() >= Duration::from_millis(2100));
            assert_eq!(client.read(&mut answer).await.ok(), Some(0), "it is over");
        };
        let both = async { tokio::join!(served(stream, phase, 3), asked) };
        let both = tokio::time::timeout(LONG, both).await;
        assert!(both.expect("it ends by itself").0.is_err());
        assert!(start.elapsed() >= Duration::from_millis(2900));
        assert_eq!(places.available_permits(), 1, "its place is free");
    }
}
