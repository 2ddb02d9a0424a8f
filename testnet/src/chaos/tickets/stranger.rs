//! A program that speaks libp2p, knows everything of a cluster but a ticket, and asks for its blocks.
//!
//! It is no part of ours: it opens connections and streams by the library alone, and sends a question without
//! waiting to be let in.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::io::{AsyncReadExt, AsyncWriteExt};
use libp2p::core::muxing::{StreamMuxerBox, StreamMuxerExt, SubstreamBox};
use libp2p::core::transport::{Boxed, DialOpts, PortUse};
use libp2p::core::upgrade::Version;
use libp2p::core::{Endpoint, Transport};
use libp2p::identity::Keypair;
use libp2p::{PeerId, noise, tcp, yamux};
use protocol::invite::{JoinRequest, decode_answer};
use protocol::topology::Zone;
use protocol::wire::{Class, FrameHeader, Message, Request, protocol_name};
use protocol::{Cid, ClusterId, Kind};

use super::super::stage::{Ctx, Stage};
use super::super::wait::{PATIENCE, Watch, within};
use crate::content::Content;

/// Times that it asks for a block.
const TRIES: usize = 1000;

/// Times that it guesses a ticket.
const GUESSES: usize = 50;

/// Streams of one connection before it opens another one.
const STREAMS: usize = 100;

/// The protocol by which newcomers show their tickets.
const GUEST: &str = "/shoal/guest/1";

/// See the module.
pub(super) async fn run(ctx: &Ctx, stage: &Stage) -> anyhow::Result<()> {
    let url = stage.url("a0")?;
    let secret = Content { seed: 5, size: 300_000 };
    let cid = ctx.http.upload(&url, secret).await?.cid;
    let cluster = ctx.http.get(&format!("{url}/api/v1/cluster")).await?;
    let cluster: protocol::api::Cluster = serde_json::from_str(&cluster)?;
    let (cluster, cid): (ClusterId, Cid) = (cluster.id.parse()?, cid.parse()?);
    let stranger = Stranger::new(stage.node("a0")?.addrs.first().context("no address")?)?;

    let (refusals_before, watch) = (refusals(stage)?, Watch::start());
    let mut connection = stranger.connect().await?;
    let guest = stranger.ask(&mut connection, GUEST, &[]).await?;
    ensure!(guest.is_agreed, "not even what is open to everybody was agreed to: {guest:?}");
    let mut told = 0;
    for number in 0..TRIES {
        if number % STREAMS == 0 {
            connection = stranger.connect().await?;
        }
        let class = Class::ALL[number % Class::ALL.len()];
        let (name, asked) = (protocol_name(cluster, class), question(cid, number)?);
        let answer = stranger.ask(&mut connection, &name, &asked).await?;
        ensure!(!answer.is_agreed, "try {number}: {name} was agreed to: {answer:?}");
        ensure!(answer.bytes.is_empty(), "try {number}: {} bytes came", answer.bytes.len());
        if number < GUESSES {
            let answer = stranger.ask(&mut connection, GUEST, &guess(cluster, number)).await?;
            // Who asks too often is not answered.
            let Some(answer) = answer.bytes.get(4..) else { continue };
            let refusal = decode_answer(answer).err().context("a guessed ticket let it in")?;
            ensure!(refusal.kind == Kind::Denied, "a guessed ticket: {refusal}");
            told += 1;
        }
    }
    ensure!(told > 0, "none of {GUESSES} guessed tickets was answered");
    let lines = refusals(stage)? - refusals_before;
    let allowed = 1 + watch.elapsed().as_secs() / 60;
    ensure!(lines as u64 <= allowed, "the log names one stranger {lines} times");
    ctx.note(format!(
        "a stranger asked {TRIES} times for a block, and guessed {GUESSES} tickets, of which {told} were answered"
    ));
    Ok(())
}

/// Returns how often the log of the peer that is asked says that somebody was not let in.
fn refusals(stage: &Stage) -> anyhow::Result<usize> {
    let log = std::fs::read_to_string(&stage.node("a0")?.log)?;
    Ok(log.lines().filter(|line| line.contains("peer not let in")).count())
}

/// Returns a question for a block, as members ask it.
fn question(cid: Cid, number: usize) -> anyhow::Result<Vec<u8>> {
    let request = Request::GetBlock { cid };
    let id = number as u64 + 1;
    let frame = Message::Request { id, patience: Duration::from_secs(5), request }.encode()?;
    let header = FrameHeader::of(&frame)?.encode();
    Ok([&header[..], &frame.head, &frame.body].concat())
}

/// Returns a question to be let in by a ticket that nobody made.
fn guess(cluster: ClusterId, number: usize) -> Vec<u8> {
    let mut secret = [7; 32];
    secret[..8].copy_from_slice(&(number as u64).to_be_bytes());
    let request = JoinRequest {
        cluster,
        secret,
        raft_id: 1 + number as u64,
        name: "stranger".to_owned(),
        zone: Zone::default(),
        capacity_bytes: 1 << 30,
        addresses: Vec::new(),
    };
    let bytes = request.encode();
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], &bytes].concat()
}

/// What came on a stream.
#[derive(Debug)]
struct Came {
    /// Whether the protocol was agreed to.
    is_agreed: bool,
    /// What came behind that.
    bytes: Vec<u8>,
}

struct Stranger {
    transport: std::cell::RefCell<Boxed<(PeerId, StreamMuxerBox)>>,
    address: libp2p::Multiaddr,
}

impl Stranger {
    fn new(address: &str) -> anyhow::Result<Self> {
        let key = Keypair::generate_ed25519();
        let transport = tcp::tokio::Transport::new(tcp::Config::default())
            .upgrade(Version::V1)
            .authenticate(noise::Config::new(&key)?)
            .multiplex(yamux::Config::default())
            .boxed();
        let bare = address.split("/p2p/").next().unwrap_or_default();
        Ok(Self { transport: transport.into(), address: bare.parse()? })
    }

    async fn connect(&self) -> anyhow::Result<StreamMuxerBox> {
        let options = DialOpts { role: Endpoint::Dialer, port_use: PortUse::New };
        let dial = self.transport.borrow_mut().dial(self.address.clone(), options)?;
        Ok(within(PATIENCE, "a connection", dial).await?.context("no connection")?.1)
    }

    /// Asks for a protocol on a stream of its own, with a question right behind, and returns all that comes.
    async fn ask(
        &self,
        connection: &mut StreamMuxerBox,
        name: &str,
        question: &[u8],
    ) -> anyhow::Result<Came> {
        let opened = poll_fn(|cx| connection.poll_outbound_unpin(cx));
        let mut stream: SubstreamBox = within(PATIENCE, "a stream", opened).await??;
        let expected = [line("/multistream/1.0.0"), line(name)].concat();
        let refused = [line("/multistream/1.0.0"), line("na")].concat();
        let exchange = async {
            stream.write_all(&[&expected, question].concat()).await?;
            stream.close().await?;
            let mut came = Vec::new();
            // The other side may reset the stream, which ends what comes as well.
            drop(stream.read_to_end(&mut came).await);
            anyhow::Ok(came)
        };
        let came = within(PATIENCE, "an answer", driven(connection, exchange)).await??;
        if let Some(bytes) = came.strip_prefix(expected.as_slice()) {
            return Ok(Came { is_agreed: true, bytes: bytes.to_vec() });
        }
        let rest = came.strip_prefix(refused.as_slice());
        let rest = rest.with_context(|| format!("neither agreed to nor refused: {came:?}"))?;
        Ok(Came { is_agreed: false, bytes: rest.to_vec() })
    }
}

/// Returns a line of the negotiation of protocols.
fn line(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    [&[length], text.as_bytes(), b"\n"].concat()
}

/// Runs `work` while a connection moves its bytes.
async fn driven<T>(connection: &mut StreamMuxerBox, work: impl Future<Output = T>) -> T {
    let mut work = Box::pin(work);
    poll_fn(|cx| {
        // Streams that the other side opens are of no interest, nor is its opinion of this one.
        while matches!(connection.poll_inbound_unpin(cx), Poll::Ready(Ok(_))) {}
        drop(connection.poll_unpin(cx));
        work.as_mut().poll(cx)
    })
    .await
}
