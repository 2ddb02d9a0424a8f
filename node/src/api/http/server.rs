//! The HTTP server: connections, their limits, and a shutdown that lets requests end.
#![expect(
    clippy::disallowed_methods,
    reason = "the API stands above the seam and is not simulated"
)]

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

/// Connections served at once. Each costs a task and its buffers.
const CONNECTIONS_MAX: usize = 1024;

/// How long a client may take to send the head of a request, and how long an idle connection is kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(30);

/// Bytes read from a connection at a time: large enough that a chunk takes few reads.
const BUFFER_BYTES: usize = 512 << 10;

/// Bytes of the head of a request. Ours have a few hundred; tokens and cookies of others a few thousand.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// How long requests may go on after the shutdown began.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);

/// Serves until `stop`, then lets requests under way end.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let graceful = GracefulShutdown::new();
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
        let stream = tokio::select! {
            biased; // a stop is not kept waiting by clients
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    // Out of file descriptors: wait for some to come back rather than spin.
                    warn!(err = %error, "connection not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        if let Err(error) = stream.set_nodelay(true) {
            debug!(err = %error, "option not set");
        }
        let service = TowerToHyperService::new(router.clone());
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEAD_TIMEOUT)
            .max_header_size(HEAD_BYTES_MAX)
            .max_buf_size(BUFFER_BYTES)
            .serve_connection(TokioIo::new(stream), service);
        let connection = graceful.watch(connection);
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                debug!(err = %error, "connection ended early");
            }
            drop(slot);
        });
    }
    drop(listener);
    tokio::select! {
        biased; // done, or out of patience
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(DRAIN_TIMEOUT) => warn!("requests were cut off by the shutdown"),
    }
}
