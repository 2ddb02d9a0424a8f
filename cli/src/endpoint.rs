//! The peers that are asked, and how one takes over for another.
//!
//! [`Endpoints::ask`] is the one place that decides which peer is asked next: after a peer that cannot be
//! reached, breaks off, is busy or has a bad copy, the next one is. A peer that failed is asked last from
//! then on. Owns the HTTP client. Never: trusts bytes (blocks are verified here), or sends a token that was
//! found on this machine to another one.
#![expect(
    clippy::disallowed_methods,
    reason = "the client is not simulated: it waits in real time"
)]

use std::fmt::Display;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use protocol::limits::BLOCK_BYTES_MAX;
use protocol::{Cid, Fault, Kind};
use reqwest::header::HeaderValue;
use reqwest::{Method, RequestBuilder, Url};
use tokio::sync::Semaphore;
use tokio::time::sleep;

use crate::answer::{answer, body, verified};
use crate::question::Question;
use crate::token::Token;

/// How long a connection may take to be made. A peer that takes longer costs more than it brings.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a peer may take to answer a question without bytes: longer than it looks for a leader, and then another
/// one is asked.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a peer may take to say that it is there, where others could be asked instead. One that hangs, as a stopped
/// process does, takes connections and says nothing.
const PROBE_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a transfer may stand still.
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// How often all peers are asked while they are busy.
const ROUNDS_MAX: u32 = 6;
/// How long a busy peer is left alone if it does not say.
const BUSY_WAIT: Duration = Duration::from_millis(250);
/// Longest time that is waited for a busy peer, whatever it asks for.
const BUSY_WAIT_MAX: Duration = Duration::from_secs(5);
/// Peers that can be named: more are a mistake, and each costs a try when all are gone.
const ENDPOINTS_MAX: usize = 64;
/// Requests for blocks under way at a time, over all transfers of this process.
pub(crate) const BLOCK_REQUESTS_MAX: usize = 16;

/// Where `localhost` is. The port is that of the address.
const LOOPBACK: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), 0),
];

/// Why one peer did not do what it was asked.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// It cannot be reached, or broke off. Says nothing about what was asked for.
    Unreachable(Fault),
    /// It answered, and the answer was no.
    Answered(Fault),
    /// Asking another peer would not help.
    Final(Fault),
}

impl Refusal {
    /// Returns the refusal by a peer that answered with `fault`.
    pub(crate) fn of_answer(fault: Fault) -> Self {
        match fault.kind {
            Kind::Busy | Kind::Unavailable | Kind::Corrupt | Kind::NotFound | Kind::Internal => {
                Self::Answered(fault)
            }
            Kind::Invalid | Kind::Denied | Kind::Conflict | Kind::Precondition | Kind::Full => {
                Self::Final(fault)
            }
        }
    }

    /// Orders refusals by how much they say; the most telling one is reported.
    fn weight(&self) -> u8 {
        match self {
            Self::Unreachable(_) => 0,
            Self::Answered(fault) => match fault.kind {
                Kind::NotFound => 1,
                Kind::Internal => 2,
                // Whoever misses peers cannot say that something does not exist.
                Kind::Unavailable | Kind::Busy => 3,
                Kind::Corrupt => 4,
                Kind::Invalid | Kind::Denied | Kind::Conflict | Kind::Precondition | Kind::Full => {
                    5
                }
            },
            Self::Final(_) => 6,
        }
    }

    /// Says whether the peer is at fault rather than the question: others are asked before it from then on.
    fn is_the_peers(&self) -> bool {
        match self {
            Self::Unreachable(_) => true,
            Self::Answered(fault) => {
                matches!(fault.kind, Kind::Unavailable | Kind::Busy | Kind::Internal)
            }
            Self::Final(_) => false,
        }
    }

    /// Says whether another peer may do what this one did not: all of one cluster know the same objects.
    pub(crate) fn others_may_help(&self) -> bool {
        let has_bad_copy = matches!(self, Self::Answered(fault) if fault.kind == Kind::Corrupt);
        has_bad_copy || self.is_the_peers()
    }

    /// Returns how long to leave a busy peer alone; `None` if asking again would not help.
    fn busy_wait(&self) -> Option<Duration> {
        match self {
            Self::Answered(fault) if fault.kind == Kind::Busy => {
                Some(fault.retry_after.unwrap_or(BUSY_WAIT).min(BUSY_WAIT_MAX))
            }
            // Such as a cluster that is choosing its next leader, and says when it will have one.
            Self::Answered(fault) if fault.kind == Kind::Unavailable => {
                fault.retry_after.map(|wait| wait.min(BUSY_WAIT_MAX))
            }
            Self::Unreachable(_) | Self::Answered(_) | Self::Final(_) => None,
        }
    }

    /// Returns what was refused, and why.
    pub(crate) fn into_fault(self) -> Fault {
        match self {
            Self::Unreachable(fault) | Self::Answered(fault) | Self::Final(fault) => fault,
        }
    }
}

/// Which peer is asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum First {
    /// The one named first that answers.
    Named,
    /// Another one each time, so that all work.
    InTurn,
}

/// One peer's HTTP interface.
#[derive(Debug)]
pub(crate) struct Endpoint {
    url: Url,
    /// What it is sent as `Authorization`. Printed as "Sensitive".
    token: Option<HeaderValue>,
    /// Whether it answered once: another one need not be probed for it.
    is_known: AtomicBool,
    has_failed: AtomicBool,
}

/// The peers that were named.
#[derive(Debug)]
pub(crate) struct Endpoints {
    http: reqwest::Client,
    peers: Vec<Endpoint>,
    turn: AtomicUsize,
    block_requests: Semaphore,
}

impl Endpoints {
    /// Returns the peers at `urls`, which are asked with `token`. Connects to none.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if one is not the address of an HTTP interface.
    pub(crate) fn new(urls: &[String], token: &Token) -> Result<Self, Fault> {
        let named = urls.iter().map(|url| url.trim()).filter(|url| !url.is_empty());
        let peers = named.map(|url| Endpoint::parse(url, token)).collect::<Result<Vec<_>, _>>()?;
        if peers.is_empty() || peers.len() > ENDPOINTS_MAX {
            let detail = format!("{} endpoints given, expected 1 to {ENDPOINTS_MAX}", peers.len());
            return Err(Fault::new(Kind::Invalid, detail));
        }
        let http = reqwest::Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            // Peers are named directly; a proxy of the environment is meant for the web.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            // The name is trusted with a token of this machine, so no name server may say where it leads.
            .resolve_to_addrs("localhost", &LOOPBACK)
            .user_agent(concat!("shoal/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| {
                Fault::new(Kind::Internal, format!("cannot set up the HTTP client: {error}"))
            })?;
        let block_requests = Semaphore::new(BLOCK_REQUESTS_MAX);
        Ok(Self { http, peers, turn: AtomicUsize::new(0), block_requests })
    }

    /// Asks one peer after the other until one does it, and again while all are busy.
    ///
    /// # Errors
    /// The most telling of the refusals.
    pub(crate) async fn ask<T>(
        &self,
        first: First,
        mut attempt: impl AsyncFnMut(&Endpoint) -> Result<T, Refusal>,
    ) -> Result<T, Fault> {
        let mut round = 1;
        loop {
            let mut worst: Option<Refusal> = None;
            for index in self.order(first) {
                let peer = &self.peers[index];
                let outcome = match self.probe(peer).await {
                    Ok(()) => attempt(peer).await,
                    Err(refusal) => Err(refusal),
                };
                let refusal = match outcome {
                    Ok(done) => {
                        peer.has_failed.store(false, Ordering::Relaxed);
                        return Ok(done);
                    }
                    Err(Refusal::Final(fault)) => return Err(fault),
                    Err(refusal) => refusal,
                };
                if refusal.is_the_peers() {
                    peer.has_failed.store(true, Ordering::Relaxed);
                }
                if worst.as_ref().is_none_or(|worst| refusal.weight() > worst.weight()) {
                    worst = Some(refusal);
                }
            }
            let worst = worst.expect("at least one endpoint was asked");
            let Some(wait) = worst.busy_wait().filter(|_| round < ROUNDS_MAX) else {
                return Err(self.advised(worst));
            };
            sleep(wait).await;
            round += 1;
        }
    }

    /// Finds out whether a peer that was not asked before is there, where there are others.
    async fn probe(&self, peer: &Endpoint) -> Result<(), Refusal> {
        if self.peers.len() > 1 && !peer.is_known.load(Ordering::Relaxed) {
            let request = self.http.get(peer.url_of("readyz"));
            match answer(peer, "ask", request, PROBE_TIMEOUT).await {
                // Whatever it says of its health, it says something.
                Ok(_) | Err(Refusal::Final(_) | Refusal::Answered(_)) => {}
                Err(refusal @ Refusal::Unreachable(_)) => return Err(refusal),
            }
            peer.is_known.store(true, Ordering::Relaxed);
        }
        Ok(())
    }

    #[cfg(test)]
    pub(crate) fn first(&self) -> &Endpoint {
        &self.peers[0]
    }

    fn order(&self, first: First) -> Vec<usize> {
        let count = self.peers.len();
        let start = match first {
            First::Named => 0,
            First::InTurn => self.turn.fetch_add(1, Ordering::Relaxed),
        };
        let mut order: Vec<usize> = (0..count).map(|i| (start.wrapping_add(i)) % count).collect();
        // Stable: among those that work, and among those that do not, the order stays.
        order.sort_by_key(|index| self.peers[*index].has_failed.load(Ordering::Relaxed));
        order
    }

    /// Returns what failed, and what to do about it.
    fn advised(&self, refusal: Refusal) -> Fault {
        let advice = match &refusal {
            Refusal::Unreachable(_) => {
                "; is shoald running there? name another peer with --endpoint"
            }
            Refusal::Answered(fault) if matches!(fault.kind, Kind::Busy | Kind::Unavailable) => {
                "; try again later"
            }
            Refusal::Answered(_) | Refusal::Final(_) => "",
        };
        let mut fault = refusal.into_fault();
        if self.peers.len() > 1 {
            fault.detail.push_str(&format!(" ({} endpoints tried)", self.peers.len()));
        }
        fault.detail.push_str(advice);
        fault
    }

    /// Returns a request to `peer`, with its token. `url`: one of the peer's.
    pub(crate) fn request(&self, peer: &Endpoint, method: Method, url: Url) -> RequestBuilder {
        let request = self.http.request(method, url);
        match &peer.token {
            Some(token) => request.header(reqwest::header::AUTHORIZATION, token),
            None => request,
        }
    }

    /// Says whether `peer` answers and takes requests.
    pub(crate) async fn is_ready(&self, peer: &Endpoint) -> Result<(), Refusal> {
        let request = self.http.get(peer.url_of("readyz"));
        answer(peer, "ask", request, ANSWER_TIMEOUT).await.map(drop)
    }

    /// Returns the bytes of a block, verified. A corrupt copy is asked for elsewhere.
    ///
    /// # Errors
    /// The most telling of the peers' refusals: [`Kind::Corrupt`] if one had only a corrupt copy.
    pub(crate) async fn block(&self, cid: Cid) -> Result<Bytes, Fault> {
        self.block_below(&[], cid).await
    }

    /// Returns the bytes of a block, verified, of this cluster or of another's public content. `above`: the blocks that lead to it,
    /// from the root on.
    ///
    /// # Errors
    /// As [`Self::block`].
    pub(crate) async fn block_below(&self, above: &[Cid], cid: Cid) -> Result<Bytes, Fault> {
        let permit = self.block_requests.acquire().await;
        let _permit = permit.expect("the semaphore is never closed");
        let below = above.iter().map(Cid::to_string).collect::<Vec<_>>().join(",");
        let question = Question::get(format!("blocks/{cid}"), format!("get block {cid}"))
            .parameter_if("below", Some(below).filter(|below| !below.is_empty()));
        self.ask(First::InTurn, async |peer| {
            let response = question.ask_peer(self, peer).await?;
            let bytes = body(peer, response, BLOCK_BYTES_MAX as usize).await?;
            verified(peer, cid, bytes).await
        })
        .await
    }

    /// Stores a block, as `question` says, on its holders; returns when it is durable.
    ///
    /// # Errors
    /// The most telling of the peers' refusals.
    pub(crate) async fn put_block(&self, question: &Question) -> Result<(), Fault> {
        let permit = self.block_requests.acquire().await;
        let _permit = permit.expect("the semaphore is never closed");
        self.ask(First::InTurn, async |peer| question.ask_peer(self, peer).await.map(drop)).await
    }
}

impl Endpoint {
    fn parse(text: &str, token: &Token) -> Result<Self, Fault> {
        let wrong = |why: &dyn Display| {
            let expected = "expected an address such as http://127.0.0.1:4780";
            Fault::new(Kind::Invalid, format!("endpoint {text:?}: {why}; {expected}"))
        };
        let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
        let mut url: Url = full.parse().map_err(|error| wrong(&error))?;
        if url.scheme() != "http" || url.host().is_none() {
            return Err(wrong(&"only http is spoken"));
        }
        url.set_query(None);
        url.set_fragment(None);
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        Ok(Self {
            token: token.of(&url),
            url,
            is_known: AtomicBool::new(false),
            has_failed: AtomicBool::new(false),
        })
    }

    /// Returns the address of `path`, percent-encoded, below this one.
    pub(crate) fn url_of(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(&format!("{}{path}", self.url.path()));
        url
    }

    /// Returns what to do when this peer does not know who asks.
    pub(crate) fn token_advice(&self) -> &'static str {
        match self.token {
            Some(_) => {
                "; the token that was sent is not one of this cluster: give another with --token or SHOAL_TOKEN"
            }
            None => "; give it with --token or SHOAL_TOKEN",
        }
    }

    /// Returns the refusal of a peer that broke off. `doing`: what was tried.
    pub(crate) fn broken(&self, doing: &str, why: &dyn Display) -> Refusal {
        let detail = format!("cannot {doing}: {self}: {why}");
        Refusal::Unreachable(Fault::new(Kind::Unavailable, detail))
    }
}

impl Display for Endpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.url.as_str().trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use std::sync::atomic::Ordering;

    use protocol::{Fault, Kind};

    use super::{Endpoints, First, Refusal};
    use crate::token::Token;

    fn endpoints(urls: &[&str]) -> Endpoints {
        let urls: Vec<_> = urls.iter().map(|url| (*url).to_owned()).collect();
        let endpoints = Endpoints::new(&urls, &Token::default()).unwrap();
        // Nobody is there to be probed.
        endpoints.peers.iter().for_each(|peer| peer.is_known.store(true, Ordering::Relaxed));
        endpoints
    }

    fn run<T>(future: impl Future<Output = T>) -> T {
        let runtime = tokio::runtime::Builder::new_current_thread();
        { runtime }.enable_all().start_paused(true).build().unwrap().block_on(future)
    }

    #[test]
    fn addresses_are_read_and_nonsense_is_refused() {
        let peers = endpoints(&["127.0.0.1:4780", "http://[::1]:1/", "http://host/below"]).peers;
        let shown: Vec<_> = peers.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["http://127.0.0.1:4780", "http://[::1]:1", "http://host/below"]);
        for wrong in ["https://host", "ftp://host", "http://", ""] {
            let refused = Endpoints::new(&[wrong.to_owned()], &Token::default()).unwrap_err();
            assert_eq!(refused.kind, Kind::Invalid, "{wrong}");
        }
    }

    #[test]
    fn a_peer_that_failed_is_asked_last_from_then_on() {
        let endpoints = endpoints(&["http://dead", "http://live"]);
        let mut asked = Vec::new();
        for _ in 0..2 {
            let answer = run(endpoints.ask(First::Named, async |peer| {
                asked.push(peer.to_string());
                match peer.to_string().as_str() {
                    "http://dead" => Err(peer.broken("ask", &"refused")),
                    _ => Ok(()),
                }
            }));
            assert_eq!(answer, Ok(()));
        }
        assert_eq!(asked, ["http://dead", "http://live", "http://live"]);
    }

    #[test]
    fn the_most_telling_refusal_is_reported() {
        let endpoints = endpoints(&["http://a", "http://b", "http://c"]);
        let mut answers = [Kind::NotFound, Kind::Corrupt, Kind::Unavailable].into_iter();
        let answer = run(endpoints.ask(First::Named, async |_| {
            Err::<(), _>(Refusal::of_answer(Fault::new(answers.next().unwrap(), "no")))
        }));
        assert_eq!(answer.unwrap_err().kind, Kind::Corrupt);
    }

    #[test]
    fn a_busy_peer_is_asked_again_after_the_time_it_names_but_not_for_ever() {
        let endpoints = endpoints(&["http://a"]);
        let mut asked = 0;
        let answer = run(endpoints.ask(First::Named, async |_| {
            asked += 1;
            if asked < 3 {
                return Err(Refusal::of_answer(Fault::busy("full", Duration::from_secs(1))));
            }
            Ok(asked)
        }));
        assert_eq!(answer, Ok(3));
        let for_ever = run(endpoints.ask(First::Named, async |_| {
            Err::<(), _>(Refusal::of_answer(Fault::busy("full", Duration::from_secs(3600))))
        }));
        assert_eq!(for_ever.unwrap_err().kind, Kind::Busy);
    }

    #[test]
    fn what_no_peer_can_mend_is_not_asked_of_the_next() {
        let endpoints = endpoints(&["http://a", "http://b"]);
        let mut asked = 0;
        let answer = run(endpoints.ask(First::Named, async |_| {
            asked += 1;
            Err::<(), _>(Refusal::of_answer(Fault::new(Kind::Full, "no room")))
        }));
        assert_eq!((answer.unwrap_err().kind, asked), (Kind::Full, 1));
    }
}
