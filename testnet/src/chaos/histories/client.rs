//! A client: one operation after the other, through any peer, each written down with what came of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::api::{Deleted, Listing, Lock, LockAnswer, LockOp, LockRequest, LockState};
use protocol::{Cid, Codec, Prng};
use reqwest::Method;

use super::super::ask::{Answer, Reply, ask};
use super::super::requests::object;
use super::directory::{Contents, KEYS, Operation, Value};
use super::lock::{self, Told};
use super::places::{Mutual, Pool, Prefix};
use super::record::Clock;
use crate::http::Http;

/// Where the objects are.
pub(super) const BUCKET: &str = "histories";

/// Prefixes and locks in use at a time: few, so that clients meet there.
const PREFIXES: u64 = 5;
const LOCKS: u64 = 2;

/// How long a lock is kept without a renewal: longer than anything here, so that no lease ends by itself.
const TTL_MS: u64 = 12 * 3600 * 1000;

/// What all clients share.
#[derive(Debug)]
pub(super) struct World {
    http: Http,
    peers: Vec<String>,
    clock: Clock,
    left: AtomicU64,
    done: AtomicU64,
    unknown: AtomicU64,
    surprises: Mutex<Vec<String>>,
    /// The prefixes.
    pub(super) prefixes: Pool<Prefix>,
    /// The locks.
    pub(super) locks: Pool<Mutual>,
}

/// What became of one operation.
enum Fate {
    /// It was written down.
    Counted,
    /// It never reached a peer.
    NotSent,
}

impl World {
    /// Returns a world in which so many operations are to be done.
    pub(super) fn new(http: &Http, peers: Vec<String>, operations: u64) -> Self {
        Self {
            http: http.clone(),
            peers,
            clock: Clock::default(),
            left: AtomicU64::new(operations),
            done: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
            surprises: Mutex::default(),
            prefixes: Pool::new(PREFIXES),
            locks: Pool::new(LOCKS),
        }
    }

    /// Returns how many operations are left to be begun.
    pub(super) fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// Returns how many operations there were, and of how many nobody knows the outcome.
    pub(super) fn counts(&self) -> (u64, u64) {
        (self.done.load(Ordering::Relaxed), self.unknown.load(Ordering::Relaxed))
    }

    /// Returns answers that no operation should have.
    pub(super) fn surprises(&self) -> Vec<String> {
        self.surprises.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn surprise(&self, what: String) -> Fate {
        self.surprises.lock().unwrap_or_else(PoisonError::into_inner).push(what);
        Fate::Counted
    }

    fn unknown(&self) -> Fate {
        self.unknown.fetch_add(1, Ordering::Relaxed);
        Fate::Counted
    }
}

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    world: Arc<World>,
    number: u64,
    prng: Prng,
    /// Which peer it asks.
    peer: usize,
    /// What it was told last of the locks it asked for.
    told: BTreeMap<u64, Told>,
}

impl Client {
    /// Returns the client of this number.
    pub(super) fn new(world: Arc<World>, number: u64) -> Self {
        let peer = usize::try_from(number).unwrap_or(0);
        Self { world, number, prng: Prng::new(number), peer, told: BTreeMap::new() }
    }

    /// Goes on until no operation is left.
    pub(super) async fn go_on(mut self) {
        let take = |left: u64| left.checked_sub(1);
        while self.world.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok() {
            if self.prng.chance(1, 20) {
                self.peer = self.prng.index(self.world.peers.len()).unwrap_or(0);
            }
            let fate = match self.prng.chance(1, 5) {
                true => {
                    let place = self.world.locks.pick(&mut self.prng);
                    self.use_lock(&place).await
                }
                false => {
                    let place = self.world.prefixes.pick(&mut self.prng);
                    self.use_object(&place).await
                }
            };
            self.count(&fate);
        }
    }

    /// Looks once more at every place, when all others are done.
    pub(super) async fn look(mut self) {
        for place in self.world.prefixes.all() {
            self.peer += 1;
            let fate = self.list(&place).await;
            self.count(&fate);
        }
        for place in self.world.locks.all() {
            self.peer += 1;
            let fate = self.show(&place).await;
            self.count(&fate);
        }
    }

    fn count(&mut self, fate: &Fate) {
        match fate {
            Fate::Counted => drop(self.world.done.fetch_add(1, Ordering::Relaxed)),
            Fate::NotSent => {
                self.world.left.fetch_add(1, Ordering::Relaxed);
                self.peer += 1;
            }
        }
    }

    fn url(&self) -> String {
        let peers = &self.world.peers;
        peers.get(self.peer % peers.len().max(1)).cloned().unwrap_or_default()
    }

    async fn use_object(&mut self, place: &Prefix) -> Fate {
        let key = self.prng.index(KEYS).unwrap_or(0);
        let guess = place.guess(key);
        match (self.prng.below(20), guess) {
            (0..6, _) => self.read(place, key).await,
            (6..8, _) => self.list(place).await,
            (8..10, _) => self.delete(place, key).await,
            // Now and then although there probably is one.
            (10.., None) | (10..12, _) => self.create(place, key).await,
            (12.., Some(expected)) => self.replace(place, key, expected).await,
        }
    }

    async fn read(&self, place: &Prefix, key: usize) -> Fate {
        let request = object(&self.world.http, Method::GET, &self.url(), &name(place, key));
        let begin = place.record.begin(&self.world.clock);
        let answer = match ask(request).await {
            Reply::Answered(answer) => answer,
            Reply::NotSent => return Fate::NotSent,
            // Nothing was seen, so nothing can be wrong with it.
            Reply::Unknown(_) => return self.world.unknown(),
        };
        let found = match (answer.status, &answer.tag) {
            (404, _) => None,
            (200, Some(tag)) => {
                let value = place.value_of(tag);
                let is_whole = Cid::of(Codec::Raw, &answer.body).to_string() == *tag;
                if value.is_none() || !is_whole {
                    return self.world.surprise(format!("{} was {tag}", name(place, key)));
                }
                value
            }
            _ => return self.unexpected("read", &answer),
        };
        place.saw(key, found);
        place.record.answered(&self.world.clock, begin, Operation::Read { key, found });
        Fate::Counted
    }

    async fn list(&self, place: &Prefix) -> Fate {
        let url = format!(
            "{}/api/v1/objects/{BUCKET}?prefix={}/&limit={}",
            self.url(),
            place.number,
            KEYS + 1
        );
        let begin = place.record.begin(&self.world.clock);
        let answer = match ask(self.world.http.request(Method::GET, &url)).await {
            Reply::Answered(answer) if answer.status == 200 => answer,
            Reply::Answered(answer) => return self.unexpected("list", &answer),
            Reply::NotSent => return Fate::NotSent,
            Reply::Unknown(_) => return self.world.unknown(),
        };
        let Some(found) = contents(place, &answer) else {
            return self.unexpected("list of strange things", &answer);
        };
        place.record.answered(&self.world.clock, begin, Operation::List { found });
        Fate::Counted
    }

    async fn create(&self, place: &Prefix, key: usize) -> Fate {
        let value = new_value(place);
        let request = object(&self.world.http, Method::PUT, &self.url(), &name(place, key))
            .header("if-none-match", "*")
            .body(bytes(place.number, value));
        let operation = |is_done| Operation::Create { key, value, is_done };
        self.write(place, key, request, Some(value), operation).await
    }

    async fn replace(&self, place: &Prefix, key: usize, expected: Value) -> Fate {
        let Some(root) = place.root_of(expected) else { return Fate::NotSent };
        let value = new_value(place);
        let request = object(&self.world.http, Method::PUT, &self.url(), &name(place, key))
            .header("if-match", format!("\"{root}\""))
            .body(bytes(place.number, value));
        let operation = |is_done| Operation::Replace { key, expected, value, is_done };
        self.write(place, key, request, Some(value), operation).await
    }

    async fn delete(&self, place: &Prefix, key: usize) -> Fate {
        let request = object(&self.world.http, Method::DELETE, &self.url(), &name(place, key));
        let operation = |existed| Operation::Delete { key, existed };
        self.write(place, key, request, None, operation).await
    }

    /// Sends a request that leaves `value` behind, and writes down whether it was done.
    async fn write(
        &self,
        place: &Prefix,
        key: usize,
        request: reqwest::RequestBuilder,
        value: Option<Value>,
        operation: impl Fn(Option<bool>) -> Operation,
    ) -> Fate {
        let begin = place.record.begin(&self.world.clock);
        let answer = match ask(request).await {
            Reply::Answered(answer) => answer,
            Reply::NotSent => return Fate::NotSent,
            Reply::Unknown(_) => {
                place.record.unknown(begin, operation(None));
                return self.world.unknown();
            }
        };
        let is_done = match (answer.status, value) {
            (200, None) => match serde_json::from_slice::<Deleted>(&answer.body) {
                Ok(deleted) => deleted.existed,
                Err(_) => return self.unexpected("delete", &answer),
            },
            (200 | 201, Some(_)) => true,
            (412, Some(_)) => false,
            _ => return self.unexpected("write", &answer),
        };
        if is_done {
            place.saw(key, value);
        }
        place.record.answered(&self.world.clock, begin, operation(Some(is_done)));
        Fate::Counted
    }

    async fn use_lock(&mut self, place: &Mutual) -> Fate {
        match (self.told.get(&place.number).copied(), self.prng.below(8)) {
            (_, 0) => self.show(place).await,
            (Some(Told::Granted(fence)), 1..6) => self.release(place, fence).await,
            (Some(Told::Queued(_)), 1) => self.withdraw(place).await,
            _ => self.acquire(place).await,
        }
    }

    async fn show(&self, place: &Mutual) -> Fate {
        let begin = place.record.begin(&self.world.clock);
        let answer = match ask(self.world.http.request(Method::GET, &self.lock_url(place))).await {
            Reply::Answered(answer) => answer,
            Reply::NotSent => return Fate::NotSent,
            Reply::Unknown(_) => return self.world.unknown(),
        };
        let Ok(Lock { owner, fence, waiting, .. }) = serde_json::from_slice(&answer.body) else {
            return self.unexpected("look at a lock", &answer);
        };
        let owner = owner.map(|owner| owner.parse().unwrap_or(u64::MAX));
        let operation = lock::Operation::Show { holder: owner.zip(fence), waiting };
        place.record.answered(&self.world.clock, begin, operation);
        Fate::Counted
    }

    async fn acquire(&mut self, place: &Mutual) -> Fate {
        let (owner, begin) = (self.number, place.record.begin(&self.world.clock));
        let operation = |told| lock::Operation::Acquire { owner, told };
        let answer = match self.ask_lock(place, LockOp::Acquire, None).await {
            Reply::Answered(answer) => answer,
            Reply::NotSent => return Fate::NotSent,
            Reply::Unknown(_) => {
                place.record.unknown(begin, operation(None));
                return self.world.unknown();
            }
        };
        let told = match serde_json::from_slice(&answer.body) {
            Ok(LockAnswer { state: LockState::Granted, fence: Some(fence), .. }) => {
                Told::Granted(fence)
            }
            Ok(LockAnswer { state: LockState::Queued, position: Some(place), .. }) => {
                Told::Queued(place)
            }
            _ => return self.unexpected("acquire", &answer),
        };
        place.record.answered(&self.world.clock, begin, operation(Some(told)));
        self.told.insert(place.number, told);
        Fate::Counted
    }

    async fn release(&mut self, place: &Mutual, fence: u64) -> Fate {
        let (owner, begin) = (self.number, place.record.begin(&self.world.clock));
        let operation = |is_done| lock::Operation::Release { owner, fence, is_done };
        let is_done = match self.ask_lock(place, LockOp::Release, Some(fence)).await {
            Reply::Answered(answer) if answer.status == 200 => true,
            Reply::Answered(answer) if answer.status == 409 => false,
            Reply::Answered(answer) => return self.unexpected("release", &answer),
            Reply::NotSent => return Fate::NotSent,
            Reply::Unknown(_) => {
                place.record.unknown(begin, operation(None));
                return self.world.unknown();
            }
        };
        self.told.remove(&place.number);
        place.record.answered(&self.world.clock, begin, operation(Some(is_done)));
        Fate::Counted
    }

    async fn withdraw(&mut self, place: &Mutual) -> Fate {
        let (owner, begin) = (self.number, place.record.begin(&self.world.clock));
        let operation = |is_holder| lock::Operation::Withdraw { owner, is_holder };
        match self.ask_lock(place, LockOp::Release, None).await {
            Reply::Answered(answer) if matches!(answer.status, 200 | 400) => {
                self.told.remove(&place.number);
                let is_holder = answer.status == 400;
                place.record.answered(&self.world.clock, begin, operation(is_holder));
                Fate::Counted
            }
            Reply::Answered(answer) => self.unexpected("withdraw", &answer),
            Reply::NotSent => Fate::NotSent,
            Reply::Unknown(_) => {
                place.record.unknown(begin, operation(false));
                self.world.unknown()
            }
        }
    }

    async fn ask_lock(&self, place: &Mutual, op: LockOp, fence: Option<u64>) -> Reply {
        let owner = self.number.to_string();
        let body = LockRequest { op, owner, ttl_ms: Some(TTL_MS), wait_ms: None, fence };
        ask(self.world.http.request(Method::POST, &self.lock_url(place)).json(&body)).await
    }

    fn lock_url(&self, place: &Mutual) -> String {
        format!("{}/api/v1/locks/{BUCKET}-{}", self.url(), place.number)
    }

    fn unexpected(&self, what: &str, answer: &Answer) -> Fate {
        self.world.surprise(format!("{what}: {}", answer.problem()))
    }
}

fn name(place: &Prefix, key: usize) -> String {
    format!("{BUCKET}/{}/{key}", place.number)
}

/// Returns the bytes of a value: different for every value of every prefix.
fn bytes(prefix: u64, value: Value) -> String {
    format!("{prefix} {value}")
}

fn new_value(place: &Prefix) -> Value {
    let root = |value| Cid::of(Codec::Raw, bytes(place.number, value).as_bytes()).to_string();
    place.new_value(root)
}

/// Returns what a listing shows; `None` when it shows what nobody wrote.
fn contents(place: &Prefix, answer: &Answer) -> Option<Contents> {
    let listing: Listing = serde_json::from_slice(&answer.body).ok()?;
    let mut contents = [None; KEYS];
    for row in listing.objects {
        let (prefix, key) = row.key.as_deref()?.split_once('/')?;
        let slot = contents.get_mut(key.parse::<usize>().ok()?)?;
        *slot = Some(place.value_of(row.cid.as_deref()?)?);
        if prefix != place.number.to_string() {
            return None;
        }
    }
    Some(contents)
}
