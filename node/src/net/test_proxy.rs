//! A way between two test peers that can be cut, and be narrow.

#![expect(clippy::disallowed_methods, reason = "tests of a driver run tasks of their own")]

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

use super::test_peer::{TestPeer, soon};

/// Bytes that are passed on at a time.
const PIECE_BYTES: usize = 4 << 10;

/// How far a connection may lag behind its rate and catch up: a timer is no finer than a millisecond.
const LAG: Duration = Duration::from_millis(5);

/// Passes TCP connections on, until they are cut.
pub(super) struct Proxy {
    pub(super) address: String,
    connections: Arc<Mutex<Vec<AbortHandle>>>,
}

impl Proxy {
    /// Returns the way to a peer: for each connection, so many bytes per second in each direction, as on a link
    /// that serves them in turn.
    pub(super) async fn to(peer: &TestPeer, bytes_per_second: f64) -> Self {
        let parts: Vec<_> = peer.address.split('/').collect();
        let target = format!("{}:{}", parts[2], parts[4]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("/ip4/127.0.0.1/tcp/{}", listener.local_addr().unwrap().port());
        let connections = Arc::new(Mutex::new(Vec::new()));
        let made = Arc::clone(&connections);
        tokio::spawn(async move {
            loop {
                let (here, _) = listener.accept().await.unwrap();
                let there = TcpStream::connect(&target).await.unwrap();
                let ((from_here, to_here), (from_there, to_there)) =
                    (here.into_split(), there.into_split());
                let task = tokio::spawn(async move {
                    tokio::join!(
                        pass(from_here, to_there, bytes_per_second),
                        pass(from_there, to_here, bytes_per_second)
                    );
                });
                made.lock().unwrap().push(task.abort_handle());
            }
        });
        Self { address, connections }
    }

    /// Returns when so many connections were made.
    pub(super) async fn reaches(&self, count: usize) {
        soon("another connection", async {
            while self.connections.lock().unwrap().len() < count {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    /// Ends a connection, by its number in the order of their making.
    pub(super) fn cut(&self, number: usize) {
        self.connections.lock().unwrap()[number].abort();
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, bytes_per_second: f64) {
    let mut bytes = vec![0; PIECE_BYTES];
    let mut free_at = Instant::now();
    while let Ok(count @ 1..) = from.read(&mut bytes).await {
        let now = Instant::now();
        let earliest = now.checked_sub(LAG).unwrap_or(now);
        free_at = free_at.max(earliest) + Duration::from_secs_f64(count as f64 / bytes_per_second);
        if free_at > now {
            tokio::time::sleep_until(free_at.into()).await;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
    let _was_open = to.shutdown().await.is_ok();
}
