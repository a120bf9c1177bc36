//! `health`: asks the server of this machine how it is, for supervisors of containers. It opens no database and
//! reads no key.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, bail};
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use clap::Args;
use futures_util::future::{Either, select};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// Supervisors wait five seconds by custom.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Args, Debug)]
pub(super) struct Health {
    /// Whether the server lives, whatever its database does
    #[arg(long)]
    live: bool,
}

/// Asks the server that listens at `listen`.
///
/// # Errors
/// If it does not answer within three seconds that it is well.
pub(super) async fn run(listen: SocketAddr, Health { live }: Health) -> anyhow::Result<()> {
    let path = if live {
        "/health/live"
    } else {
        "/health/ready"
    };
    let address = reachable(listen);
    let asked = tokio::time::timeout(PATIENCE, ask(address, path)).await;
    let status = asked.with_context(|| format!("no answer from {address} within {PATIENCE:?}"))?;
    match status.with_context(|| format!("no answer from {address}"))? {
        StatusCode::OK => Ok(()),
        status => bail!("{path} of {address} answers {status}"),
    }
}

async fn ask(address: SocketAddr, path: &str) -> anyhow::Result<StatusCode> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    let request = Request::get(path)
        .header(header::HOST, address.to_string())
        .body(Body::empty())?;
    let response = pin!(sender.send_request(request));
    let answered = match select(response, pin!(connection)).await {
        Either::Left((answered, _)) => answered,
        // The server may have answered before it closed the connection.
        Either::Right((_, response)) => response.await,
    };
    Ok(answered?.status())
}

/// Where a server that listens everywhere is to be found.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}
