//! Cables between nodes that can be pulled: each node in a network namespace of its own (network_namespaces(7)).
//!
//! A node has two cables: one to a switch of peers, by which it is cut off, and one to a switch of clients, by which
//! it is still asked. The switches are in this process's own namespace, which [`enter`] makes, so that nothing
//! outside sees any of it; all of it goes with the processes. Never: changes the network of the machine itself.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, bail, ensure};
use serde::{Deserialize, Serialize};

use super::line::Line;

/// Says that this process is in a namespace that [`enter`] made.
const ENTERED: &str = "TESTNET_OWN_NETWORK";

/// The switch that joins the peers, the one for those that are cut off from them, and the one of clients.
const PEERS: &str = "peers";
const EXILE: &str = "exile";
const CLIENTS: &str = "clients";

/// The switch between a node and its line, if one has a line.
const LINED: &str = "lined";

/// A node's ends of its cables.
const PEER_END: &str = "peer";
const CLIENT_END: &str = "client";

/// Ports of every node: each has an address of its own.
pub(super) const PEER_PORT: u16 = 4779;
pub(super) const HTTP_PORT: u16 = 4780;

/// Nodes that there are addresses for.
const NODES_MAX: u8 = 200;

/// Where a node's cables end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cable {
    /// Its number in the network, from 1.
    number: u8,
    /// The process that holds its namespace open.
    holder: u32,
}

impl Cable {
    /// Returns the address that other peers reach it by.
    pub(super) fn peer_address(self) -> String {
        format!("10.47.0.{}", self.number)
    }

    /// Returns the address that clients reach it by.
    pub(super) fn client_address(self) -> String {
        format!("10.48.0.{}", self.number)
    }

    /// Returns what runs a program at this end.
    pub(super) fn command(self, program: &std::path::Path) -> Command {
        let mut command = enter_of(self.holder);
        command.arg(program);
        command
    }
}

/// The switches, and the namespaces that nodes are in. All end when this is dropped.
#[derive(Debug)]
pub(super) struct Cables {
    // Each waits for the end of its input, which comes with the end of this process however that is.
    holders: Vec<Child>,
    laid: u8,
    /// Those that the line leads to.
    nodes: u8,
    /// The number of the node that has a line, and the line once it is laid.
    lined: Option<(u8, Option<Line>)>,
}

impl Cables {
    /// Makes the switches. `lined`: which of the first `nodes` nodes, counted from 0, talks with the others through a [`Line`].
    ///
    /// # Errors
    /// This process is in no namespace of its own, or may not.
    pub(super) fn new(nodes: u8, lined: Option<u8>) -> anyhow::Result<Self> {
        ensure!(has_entered(), "cables are only laid in a network namespace of one's own");
        for switch in [PEERS, EXILE, CLIENTS, LINED] {
            // One that an earlier network left has nobody at it any more.
            drop(ip(&["link", "del", switch]));
            ip(&["link", "add", switch, "type", "bridge"])?;
            ip(&["link", "set", switch, "up"])?;
        }
        ip(&["addr", "add", "10.48.0.254/24", "dev", CLIENTS])?;
        let lined = lined.map(|index| (index.saturating_add(1), None));
        Ok(Self { holders: Vec::new(), laid: 0, nodes, lined })
    }

    /// Makes a namespace and lays its cables.
    ///
    /// # Errors
    /// The system does not let it, or there are no more addresses.
    pub(super) fn lay(&mut self) -> anyhow::Result<Cable> {
        let number = self.laid.saturating_add(1);
        ensure!(number <= NODES_MAX, "there are cables for {NODES_MAX} nodes");
        self.laid = number;
        let cable = Cable { number, holder: self.namespace()? };
        let (own, is_lined) =
            (cable.peer_address(), matches!(&self.lined, Some((lined, _)) if *lined == number));
        let (plug, switch) =
            if is_lined { (format!("l{number}"), LINED) } else { (format!("p{number}"), PEERS) };
        connect((&plug, switch), (cable.holder, PEER_END), std::slice::from_ref(&own))?;
        let client = cable.client_address();
        connect((&format!("c{number}"), CLIENTS), (cable.holder, CLIENT_END), &[client])?;
        if is_lined {
            // To the node the near end is all the others, and to them the far end is the node.
            let (near, far) = (self.namespace()?, self.namespace()?);
            let others = (1..=self.nodes).filter(|other| *other != number);
            let others: Vec<String> =
                others.map(|number| Cable { number, ..cable }.peer_address()).collect();
            connect((&format!("n{number}"), LINED), (near, PEER_END), &others)?;
            connect((&format!("p{number}"), PEERS), (far, PEER_END), &[own])?;
            self.lined = Some((number, Some(Line::lay(near, far, PEER_PORT)?)));
        }
        Ok(cable)
    }

    /// Returns the line of a node.
    ///
    /// # Errors
    /// It has none.
    pub(super) fn line(&self, cable: Cable) -> anyhow::Result<&Line> {
        match &self.lined {
            Some((number, Some(line))) if *number == cable.number => Ok(line),
            Some(_) | None => bail!("node number {} has no line", cable.number),
        }
    }

    /// Makes a namespace and returns the process that holds it open.
    fn namespace(&mut self) -> anyhow::Result<u32> {
        let mut unshare = Command::new("unshare");
        unshare.args(["--net", "--", "cat"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = unshare.spawn().context("cannot make a network namespace")?;
        // It echoes once it is in its namespace, and not before.
        let is_there = echo(&mut holder);
        let id = holder.id();
        self.holders.push(holder);
        is_there.context("the holder of a network namespace does not run")?;
        inside(id, "ip", &["link", "set", "lo", "up"])?;
        Ok(id)
    }
}

impl Drop for Cables {
    fn drop(&mut self) {
        // It is in namespaces that are about to go.
        self.lined = None;
        for holder in &mut self.holders {
            drop(holder.kill());
            drop(holder.wait());
        }
    }
}

/// Lays a cable from a switch to a namespace, in which its end has these addresses.
fn connect(
    (plug, switch): (&str, &str),
    (holder, end): (u32, &str),
    addresses: &[String],
) -> anyhow::Result<()> {
    let netns = holder.to_string();
    ip(&["link", "add", plug, "type", "veth", "peer", "name", end, "netns", &netns])?;
    ip(&["link", "set", plug, "master", switch])?;
    ip(&["link", "set", plug, "up"])?;
    for address in addresses {
        inside(holder, "ip", &["addr", "add", &format!("{address}/24"), "dev", end])?;
    }
    inside(holder, "ip", &["link", "set", end, "up"])
}

/// Limits what a node sends to its peers to so many bytes per second, or no more: a token bucket of two milliseconds, at
/// least a few packets, before a queue of a fifth of a second.
pub(super) fn limit(cable: Cable, bytes_per_s: Option<u64>) -> anyhow::Result<()> {
    let Some(rate) = bytes_per_s else {
        return inside(cable.holder, "tc", &["qdisc", "del", "dev", PEER_END, "root"]);
    };
    let (bits, burst) = (format!("{}bit", rate * 8), (rate / 500).max(16 << 10).to_string());
    let bucket = ["tbf", "rate", &bits, "burst", &burst, "latency", "200ms"];
    let place = ["qdisc", "replace", "dev", PEER_END, "root"];
    inside(cable.holder, "tc", &[place.as_slice(), &bucket].concat())
}

/// Plugs a node into the switch of those that are cut off, or back into that of the peers.
pub(super) fn plug(cable: Cable, is_cut: bool) -> anyhow::Result<()> {
    let switch = if is_cut { EXILE } else { PEERS };
    ip(&["link", "set", &format!("p{}", cable.number), "master", switch])
}

fn echo(holder: &mut Child) -> anyhow::Result<()> {
    use io::{Read, Write};
    holder.stdin.as_mut().context("it has no input")?.write_all(b"?")?;
    let mut answer = [0];
    holder.stdout.as_mut().context("it has no output")?.read_exact(&mut answer)?;
    Ok(())
}

fn ip(arguments: &[&str]) -> anyhow::Result<()> {
    ran(Command::new("ip").args(arguments)).with_context(|| format!("ip {}", arguments.join(" ")))
}

/// Runs a program in the namespace that a process holds open.
fn inside(holder: u32, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
    ran(enter_of(holder).arg(program).args(arguments))
        .with_context(|| format!("{program} {}", arguments.join(" ")))
}

fn enter_of(holder: u32) -> Command {
    let mut command = Command::new("nsenter");
    command.arg(format!("--net=/proc/{holder}/ns/net")).arg("--");
    command
}

fn ran(command: &mut Command) -> anyhow::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("{}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}

/// Says whether this process has a network of its own, in which cables can be laid.
#[must_use]
pub fn has_entered() -> bool {
    std::env::var_os(ENTERED).is_some()
}

/// Begins this program anew in a network namespace of its own, with a loopback of its own; does not return then.
/// Returns where the system does not allow that: then there are no cables, and everything else works.
///
/// # Errors
/// The program does not begin again.
pub fn enter() -> anyhow::Result<()> {
    if has_entered() {
        return ip(&["link", "set", "lo", "up"]);
    }
    // Who is not root may be so in a namespace of users of his own, and mount there, too.
    let as_root = ["--net"].as_slice();
    let as_user = ["--user", "--map-root-user", "--mount", "--net"].as_slice();
    let kinds = if rustix::process::geteuid().is_root() { as_root } else { as_user };
    let mut trial = Command::new("unshare");
    trial.args(kinds).args(["--", "ip", "link", "add", "trial", "type", "bridge"]);
    let is_allowed = trial.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !is_allowed.as_ref().is_ok_and(ExitStatus::success) {
        return Ok(());
    }
    let own = std::env::current_exe().context("cannot find this program")?;
    let mut again = Command::new("unshare");
    again.args(kinds).arg("--").arg(own).args(std::env::args_os().skip(1)).env(ENTERED, "1");
    Err(again.exec()).context("cannot begin anew in another network namespace")
}
