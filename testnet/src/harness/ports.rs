//! Ports for nodes: given ones, or ones that are free now.

use std::net::{TcpListener, UdpSocket};

use anyhow::Context;

/// Tries to find a port that is free for TCP and UDP both.
const TRIES_MAX: u32 = 100;

/// Where ports come from.
#[derive(Debug)]
pub(super) struct Ports {
    next: Option<u16>,
    // Held until the daemons are started, so that no port is given twice.
    taken: Vec<(TcpListener, UdpSocket)>,
}

impl Ports {
    /// Returns ports from `base` on, or free ones.
    pub(super) fn new(base: Option<u16>) -> Self {
        Self { next: base, taken: Vec::new() }
    }

    /// Returns one more port.
    ///
    /// # Errors
    /// There is none left.
    pub(super) fn take(&mut self) -> anyhow::Result<u16> {
        if let Some(port) = self.next {
            self.next = port.checked_add(1);
            return Ok(port);
        }
        for _ in 0..TRIES_MAX {
            let tcp = TcpListener::bind(("127.0.0.1", 0)).context("no port is free")?;
            let port = tcp.local_addr()?.port();
            if let Ok(udp) = UdpSocket::bind(("127.0.0.1", port)) {
                self.taken.push((tcp, udp));
                return Ok(port);
            }
        }
        anyhow::bail!("no port is free for both TCP and UDP")
    }
}
