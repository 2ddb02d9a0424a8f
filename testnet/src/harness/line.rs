//! A line between a node and its peers on which everything that the node sends can be made late.
//!
//! Where the kernel has no queue that delays, two threads stand between them, each in a network namespace of its own: the near
//! one has the addresses of the peers, the far one that of the node. What one accepts, the other connects. What
//! peers send passes at once. Only TCP passes. Never: loses, reorders or changes a byte.
#![expect(clippy::disallowed_methods, reason = "real processes live in real time")]

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

/// Most bytes of a piece that is passed on.
const PIECE_BYTES: usize = 64 << 10;
/// Pieces of a connection that may be on their way, 64 MiB: what a fast peer sends in a second.
const PIECES_MAX: usize = 1024;
/// Connections that one end accepted and the other has not made yet.
const CALLS_MAX: usize = 64;
/// Connections that wait to be accepted.
const BACKLOG: u32 = 64;

/// A line; dropped, it breaks.
#[derive(Debug)]
pub(super) struct Line {
    delay_micros: Arc<AtomicU64>,
    // Both ends stop when it goes.
    _stop: watch::Sender<()>,
}

/// A connection that one end accepted: the other makes it.
struct Call {
    from: IpAddr,
    to: SocketAddr,
    stream: std::net::TcpStream,
}

/// What one end goes by.
struct End {
    port: u16,
    is_near: bool,
    delay_micros: Arc<AtomicU64>,
    out: mpsc::Sender<Call>,
    calls: mpsc::Receiver<Call>,
    stop: watch::Receiver<()>,
}

impl Line {
    /// Lays a line between two namespaces, each known by a process in it. `port`: that of all peers.
    ///
    /// # Errors
    /// A namespace cannot be entered, or its port is taken.
    pub(super) fn lay(near: u32, far: u32, port: u16) -> anyhow::Result<Self> {
        let delay_micros = Arc::new(AtomicU64::new(0));
        let (stop, stopped) = watch::channel(());
        let (to_far, of_near) = mpsc::channel(CALLS_MAX);
        let (to_near, of_far) = mpsc::channel(CALLS_MAX);
        for (holder, is_near, out, calls) in
            [(near, true, to_far, of_far), (far, false, to_near, of_near)]
        {
            let (delay_micros, stop) = (Arc::clone(&delay_micros), stopped.clone());
            let end = End { port, is_near, delay_micros, out, calls, stop };
            let (told, tell) = std::sync::mpsc::channel();
            std::thread::spawn(move || match begin(holder, end.port) {
                Ok((runtime, listener)) => {
                    drop(told.send(Ok(())));
                    runtime.block_on(end.run(listener));
                }
                Err(fault) => drop(told.send(Err(fault))),
            });
            tell.recv().context("the end of a line did not begin")??;
        }
        Ok(Self { delay_micros, _stop: stop })
    }

    /// Has what the node sends from now on reach its peers so much later.
    pub(super) fn delay(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap_or(u64::MAX);
        self.delay_micros.store(micros, Ordering::Relaxed);
    }
}

/// Moves this thread into a namespace and listens there.
fn begin(holder: u32, port: u16) -> anyhow::Result<(tokio::runtime::Runtime, TcpListener)> {
    let namespace = File::open(format!("/proc/{holder}/ns/net"))?;
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .context("cannot enter a network namespace")?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let listener = runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind((Ipv4Addr::UNSPECIFIED, port).into())?;
        socket.listen(BACKLOG)
    })?;
    Ok((runtime, listener))
}

impl End {
    async fn run(mut self, listener: TcpListener) {
        loop {
            tokio::select! {
                biased; // the end; then connections in the order in which they were asked for
                _ = self.stop.changed() => return,
                Some(call) = self.calls.recv() => {
                    tokio::spawn(carry(call, self.is_near, Arc::clone(&self.delay_micros)));
                }
                accepted = listener.accept() => {
                    // Whoever asked sees that the connection ends, and asks again.
                    if let Ok((stream, from)) = accepted && let Ok(call) = call(stream, from) {
                        drop(self.out.try_send(call));
                    }
                }
            }
        }
    }
}

fn call(stream: TcpStream, from: SocketAddr) -> std::io::Result<Call> {
    let to = stream.local_addr()?;
    Ok(Call { from: from.ip(), to, stream: stream.into_std()? })
}

/// Makes a connection that the other end accepted, and passes bytes on until it ends. `is_near`: whether it leads to the node.
async fn carry(call: Call, is_near: bool, delay_micros: Arc<AtomicU64>) -> std::io::Result<()> {
    let accepted = TcpStream::from_std(call.stream)?;
    let socket = TcpSocket::new_v4()?;
    // Each sees the address that it would see without the line.
    socket.bind((call.from, 0).into())?;
    let made = socket.connect(call.to).await?;
    accepted.set_nodelay(true)?;
    made.set_nodelay(true)?;
    let (node, peer) = if is_near { (made, accepted) } else { (accepted, made) };
    let ((of_node, to_node), (of_peer, to_peer)) = (node.into_split(), peer.into_split());
    let at_once = Arc::new(AtomicU64::new(0));
    // When one direction fails, both ends.
    tokio::try_join!(pass(of_node, to_peer, delay_micros), pass(of_peer, to_node, at_once))?;
    Ok(())
}

/// Passes on what comes, each piece as late as was asked for when it came.
async fn pass(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    delay_micros: Arc<AtomicU64>,
) -> std::io::Result<()> {
    let (queue, mut pieces) = mpsc::channel::<(Instant, Bytes)>(PIECES_MAX);
    let read = async move {
        loop {
            let mut piece = BytesMut::with_capacity(PIECE_BYTES);
            if from.read_buf(&mut piece).await? == 0 {
                return Ok(());
            }
            let delay = Duration::from_micros(delay_micros.load(Ordering::Relaxed));
            if queue.send((Instant::now() + delay, piece.freeze())).await.is_err() {
                return Ok(());
            }
        }
    };
    let write = async move {
        while let Some((at, piece)) = pieces.recv().await {
            sleep_until(at).await;
            to.write_all(&piece).await?;
        }
        to.shutdown().await
    };
    tokio::try_join!(read, write).map(drop)
}
