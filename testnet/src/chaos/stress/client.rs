//! A client with three endpoints: it asks the next one where one does not answer, and judges what it is shown.
//!
//! Never: calls a request failed while one of its endpoints may still answer.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use protocol::Prng;
use protocol::api::Listing;
use reqwest::{Method, RequestBuilder};

use super::super::ask::{Answer, Reply, ask};
use super::super::wait::{Watch, pause};
use super::figures::Figures;
use super::objects::{BUCKET, FOLDER, Left, Objects, folder, left, name};
use crate::http::Http;

/// Endpoints of a client.
pub(super) const ENDPOINTS: usize = 3;

/// How long a client asks its endpoints before it calls a request failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// Pause after all endpoints were asked in vain, the first time; it doubles up to the other one.
const PAUSE_MIN: Duration = Duration::from_millis(20);
/// See [`PAUSE_MIN`].
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// What a client asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    Download,
    Upload,
    Delete,
    List,
}

/// What all clients share.
#[derive(Debug)]
pub(super) struct World {
    pub(super) http: Http,
    pub(super) urls: Vec<String>,
    pub(super) objects: Objects,
    pub(super) figures: Figures,
    /// Requests that are left to be begun.
    left: AtomicU64,
    /// Requests that were asked again, of another endpoint or later.
    pub(super) asked_again: AtomicU64,
    /// Whether something went wrong: then all stop.
    is_over: AtomicBool,
}

impl World {
    pub(super) fn new(http: &Http, urls: Vec<String>, objects: u32) -> Self {
        Self {
            http: http.clone(),
            urls,
            objects: Objects::new(objects),
            figures: Figures::default(),
            left: AtomicU64::new(0),
            asked_again: AtomicU64::new(0),
            is_over: AtomicBool::new(false),
        }
    }

    /// Has so many requests more be made.
    pub(super) fn allow(&self, requests: u64) {
        self.left.fetch_add(requests, Ordering::Relaxed);
    }

    /// Returns how many requests are left to be begun.
    pub(super) fn left(&self) -> u64 {
        self.left.load(Ordering::Relaxed)
    }

    /// Ends the clients before the last request.
    pub(super) fn give_up(&self) {
        self.is_over.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        let take = |left: u64| left.checked_sub(1);
        !self.is_over.load(Ordering::Relaxed)
            && self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }
}

/// One client.
#[derive(Debug)]
pub(super) struct Client {
    world: Arc<World>,
    prng: Prng,
    /// The endpoints it knows.
    endpoints: [usize; ENDPOINTS],
    /// Which of them it asks first.
    at: usize,
}

impl Client {
    /// Returns the client of this number.
    pub(super) fn new(world: &Arc<World>, number: u64) -> Self {
        let first = usize::try_from(number).unwrap_or(0);
        let endpoints = std::array::from_fn(|at| (first + at) % world.urls.len().max(1));
        Self { world: Arc::clone(world), prng: Prng::new(number), endpoints, at: 0 }
    }

    /// Makes requests until none is left.
    ///
    /// # Errors
    /// A request failed, or showed what cannot have been so.
    pub(super) async fn go_on(mut self) -> Result<(), String> {
        while self.world.take() {
            let outcome = match self.prng.below(100) {
                0..80 => self.read().await,
                80..95 => self.change().await,
                _ => self.list().await,
            };
            if outcome.is_err() {
                self.world.give_up();
                return outcome;
            }
        }
        Ok(())
    }

    /// Returns a key: four of five times one of a fifth of them.
    fn key(&mut self) -> u32 {
        let count = u64::from(self.world.objects.count());
        let bound = if self.prng.chance(4, 5) { count / 5 } else { count };
        // The popular ones are in all folders.
        let drawn = self.prng.below(bound.max(1)) * 5 % count;
        u32::try_from(drawn).unwrap_or(0)
    }

    async fn read(&mut self) -> Result<(), String> {
        let key = self.key();
        self.read_key(key).await
    }

    /// Reads one object and judges what it is shown.
    ///
    /// # Errors
    /// As [`Self::go_on`].
    pub(super) async fn read_key(&mut self, key: u32) -> Result<(), String> {
        let from = self.world.objects.done(key);
        let path = format!("objects/{BUCKET}/{}", name(key));
        let answer = self.ask(What::Download, Method::GET, &path, |request| request).await?;
        let found = match answer.status {
            200 => Some(&answer.body),
            404 => None,
            _ => return Err(format!("{path} was not read: {}", answer.problem())),
        };
        self.world.objects.seen(key, from).judge(key, found)
    }

    async fn change(&mut self) -> Result<(), String> {
        for _ in 0..100 {
            let key = self.key();
            if let Some(number) = self.world.objects.begin(key) {
                return self.change_key(key, number).await;
            }
        }
        // Everything popular is being changed.
        self.read().await
    }

    /// Makes a change that was begun.
    ///
    /// # Errors
    /// As [`Self::go_on`].
    pub(super) async fn change_key(&mut self, key: u32, number: u32) -> Result<(), String> {
        let path = format!("objects/{BUCKET}/{}", name(key));
        let id = format!("{key:016x}{number:016x}");
        let request = |request: RequestBuilder| request.header("x-shoal-request", &id);
        let answer = match left(key, number) {
            Left::Nothing => self.ask(What::Delete, Method::DELETE, &path, request).await?,
            Left::Content(content) => {
                let body = content.slice(0, content.size);
                let with_body = |asked: RequestBuilder| request(asked).body(body.clone());
                self.ask(What::Upload, Method::PUT, &path, with_body).await?
            }
        };
        if !matches!(answer.status, 200 | 201) {
            return Err(format!("change {number} of {path}: {}", answer.problem()));
        }
        self.world.objects.end(key);
        Ok(())
    }

    /// Lists a folder and judges every key of it.
    async fn list(&mut self) -> Result<(), String> {
        let number = self.key() / FOLDER;
        let keys = number * FOLDER..((number + 1) * FOLDER).min(self.world.objects.count());
        let from: Vec<u32> = keys.clone().map(|key| self.world.objects.done(key)).collect();
        let path = format!("objects/{BUCKET}?prefix={}&limit=1000", folder(number));
        let answer = self.ask(What::List, Method::GET, &path, |request| request).await?;
        if answer.status != 200 {
            return Err(format!("{path} was not listed: {}", answer.problem()));
        }
        let listing: Listing = answer.document().map_err(|fault| format!("{fault:#}"))?;
        let sizes =
            listing.objects.into_iter().filter_map(|object| Some((object.key?, object.size)));
        let mut sizes: BTreeMap<String, u64> = sizes.collect();
        for (key, from) in keys.zip(from) {
            self.world.objects.seen(key, from).judge_listed(key, sizes.remove(&name(key)))?;
        }
        match sizes.keys().next() {
            None => Ok(()),
            Some(key) => Err(format!("{path} shows {key}, which nobody made")),
        }
    }

    /// Asks one endpoint after the other until one answers.
    async fn ask(
        &mut self,
        what: What,
        method: Method,
        path: &str,
        with: impl Fn(RequestBuilder) -> RequestBuilder,
    ) -> Result<Answer, String> {
        let watch = Watch::start();
        let mut wait = PAUSE_MIN;
        loop {
            let mut faults = Vec::new();
            for _ in 0..ENDPOINTS {
                let url = &self.world.urls[self.endpoints[self.at % ENDPOINTS]];
                let url = format!("{url}/api/v1/{path}");
                match ask(with(self.world.http.request(method.clone(), &url))).await {
                    Reply::Answered(answer) => {
                        self.world.figures.took(what, watch.elapsed());
                        return Ok(answer);
                    }
                    Reply::NotSent => faults.push("nobody listens".to_owned()),
                    Reply::Unknown(why) => faults.push(why),
                }
                self.world.asked_again.fetch_add(1, Ordering::Relaxed);
                self.at += 1;
            }
            if watch.elapsed() > PATIENCE {
                return Err(format!("{method} {path} had no answer: {}", faults.join("; ")));
            }
            pause(wait).await;
            wait = (2 * wait).min(PAUSE_MAX);
        }
    }
}
