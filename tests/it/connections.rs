//! How many connections there are at once, and how long one may say little or nothing.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::harness::Program;
use crate::harness::app::config;
use crate::harness::db::TestDb;
use crate::harness::process::until;
use crate::harness::served::Served;

const LIVE: &[u8] = b"GET /health/live HTTP/1.1\r\nhost: x\r\n\r\n";

/// A connection on which nobody waits for longer than this.
fn connect(address: SocketAddr, patience: Duration) -> TcpStream {
    let stream = TcpStream::connect(address).expect("the system takes it");
    stream.set_read_timeout(Some(patience)).expect("a time");
    stream
}

/// Asks on a connection that stays; gives whether an answer came in time.
fn ask(stream: &mut TcpStream) -> bool {
    stream.write_all(LIVE).expect("the system takes it");
    answered(stream)
}

fn answered(stream: &mut TcpStream) -> bool {
    let (mut answer, mut part) = (Vec::new(), [0; 1024]);
    loop {
        match stream.read(&mut part) {
            Ok(0) => panic!("the connection was closed"),
            Ok(length) => answer.extend_from_slice(&part[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return false;
            }
            Err(error) => panic!("{error}"),
        }
        if answer.ends_with(b"alive\n") {
            return true;
        }
    }
}

/// How long it takes until the server closes the connection, sending a byte of `trickle` each half second meanwhile.
fn closed_after(mut stream: TcpStream, trickle: &[u8]) -> (Duration, String) {
    let start = Instant::now();
    stream
        .set_read_timeout(Some(Duration::from_millis(500)))
        .expect("a time");
    let (mut bytes, mut said, mut part) = (trickle.iter(), Vec::new(), [0; 1024]);
    while start.elapsed() < Duration::from_secs(40) {
        match stream.read(&mut part) {
            Ok(length @ 1..) => said.extend_from_slice(&part[..length]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                if let Some(byte) = bytes.next() {
                    // It may be closed by now; the next look tells.
                    let _ = stream.write_all(&[*byte]);
                }
            }
            _ => return (start.elapsed(), String::from_utf8_lossy(&said).into_owned()),
        }
    }
    panic!("it was never closed: {}", String::from_utf8_lossy(&said));
}

#[tokio::test(flavor = "multi_thread")]
async fn past_the_bound_others_wait_for_one_that_closes_or_says_nothing() {
    let db = TestDb::new(&config(&[]).database).await;
    let program = Program::on(&db.url())
        .with("CARDEA_LIVE_CONNECTIONS", "2")
        .with("CARDEA_MAX_CONNECTIONS", "3");
    let server = program.serve();
    let patience = Duration::from_secs(20);
    let mut three: Vec<_> = (0..3).map(|_| connect(server.address, patience)).collect();
    for stream in &mut three {
        assert!(ask(stream));
    }
    let mut fourth = connect(server.address, Duration::from_secs(1));
    assert!(!ask(&mut fourth), "there was no place");
    // Those who are in are served on.
    assert!(ask(&mut three[0]));
    drop(three.pop());
    fourth.set_read_timeout(Some(patience)).expect("a time");
    assert!(answered(&mut fourth), "its place is free");
    until("the word", || {
        let said = "All 3 connections are in use";
        server.process.stderr.text().contains(said).then_some(())
    });
    // Nobody closes; those who say nothing give their places.
    let mut next: Vec<_> = (0..3).map(|_| connect(server.address, patience)).collect();
    for stream in &mut next {
        assert!(ask(stream), "a place became free");
    }
    // Nobody who waits holds the end up.
    let last = connect(server.address, patience);
    let start = Instant::now();
    server.stop("TERM").success();
    assert!(start.elapsed() < Duration::from_secs(5));
    drop((three, fourth, next, last));
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_headers_and_slow_bodies_are_cut_in_time() {
    let served = Served::with(&["--request-timeout-secs=3"]).await;
    let address: SocketAddr = served
        .url
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    let patience = Duration::from_secs(20);
    let headers = b"GET /health/live HTTP/1.1\r\nhost: x\r\nx-a: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    let clients = [
        // Nothing at all.
        std::thread::spawn(move || closed_after(connect(address, patience), b"").0),
        // A header that never ends.
        std::thread::spawn(move || closed_after(connect(address, patience), headers).0),
        // The same behind a good request.
        std::thread::spawn(move || {
            let mut stream = connect(address, patience);
            assert!(ask(&mut stream));
            closed_after(stream, headers).0
        }),
    ];
    let body = std::thread::spawn(move || {
        let mut stream = connect(address, patience);
        let head = b"POST /graphql HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 999\r\n\r\n";
        stream.write_all(head).expect("the server reads");
        closed_after(stream, &[b' '; 80])
    });
    for client in clients {
        let took = tokio::task::spawn_blocking(|| client.join().expect("it is closed"));
        let took = took.await.expect("a time");
        assert!(
            (Duration::from_secs(9)..Duration::from_secs(15)).contains(&took),
            "{took:?}"
        );
    }
    let body = tokio::task::spawn_blocking(|| body.join().expect("it is closed"));
    let (took, said) = body.await.expect("a time");
    assert!(took < Duration::from_secs(10), "{took:?}: {said}");
    assert!(said.starts_with("HTTP/1.1 "), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn silence_between_requests_has_a_time_of_its_own() {
    let served = Served::with(&[]).await;
    let address: SocketAddr = served
        .url
        .trim_start_matches("http://")
        .parse()
        .expect("an address");
    let asked = tokio::task::spawn_blocking(move || {
        let mut stream = connect(address, Duration::from_secs(20));
        assert!(ask(&mut stream));
        // Longer than headers may take, and shorter than proxies keep a connection.
        std::thread::sleep(Duration::from_secs(12));
        assert!(ask(&mut stream));
    });
    asked.await.expect("it was kept");
}
