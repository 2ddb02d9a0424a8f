//! Ports for nodes: given ones, or ones that are free now.

use std::net::{TcpListener, UdpSocket};

use anyhow::Context;

/// Tries to find a port that is free for TCP and UDP both.
const TRIES_MAX: u32 = 100;

/// Where ports come from.
#[derive(Debug)]
pub(super) struct Ports {
    source: Source,
    // Held until the daemons are started, so that no port is given twice.
    taken: Vec<(TcpListener, UdpSocket)>,
}

#[derive(Debug)]
enum Source {
    Free,
    /// The next one; none after the last there is.
    Given(Option<u16>),
}

impl Ports {
    /// Returns ports from `base` on, or free ones.
    pub(super) fn new(base: Option<u16>) -> Self {
        let source = base.map_or(Source::Free, |port| Source::Given(Some(port)));
        Self { source, taken: Vec::new() }
    }

    /// Returns one more port.
    ///
    /// # Errors
    /// There is none left.
    pub(super) fn take(&mut self) -> anyhow::Result<u16> {
        if let Source::Given(next) = &mut self.source {
            let port = next.context("there are no ports above 65535: give a lower first one")?;
            *next = port.checked_add(1);
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
