//! Readers that download an object again and again, and what must hold of all they got.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::StreamExt;
use futures::future::try_join_all;
use reqwest::Method;
use sha2::{Digest, Sha256};

use super::super::requests::object_url;
use super::super::wait::{PATIENCE, Watch, until};
use super::model::Sum;
use crate::http::Http;

/// A version that is there.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) version: u64,
    pub(super) cid: String,
    pub(super) digest: Sum,
}

/// What one reader got once.
#[derive(Clone, Debug)]
pub(super) struct Reading {
    version: u64,
    /// The quoted root.
    tag: String,
    digest: Sum,
    /// The latest version that was acknowledged when it began.
    after: u64,
    /// Changes that were begun when it began, and when it ended.
    changes: [u64; 2],
}

/// See the module.
pub(super) struct Readers<'a> {
    http: &'a Http,
    name: &'a str,
    watch: Watch,
    is_over: Cell<bool>,
    changes: Cell<u64>,
    known: RefCell<Vec<Known>>,
    /// When each reader's last whole reading began.
    began: RefCell<BTreeMap<usize, Duration>>,
}

impl<'a> Readers<'a> {
    pub(super) fn new(http: &'a Http, name: &'a str) -> Self {
        Self {
            http,
            name,
            watch: Watch::start(),
            is_over: Cell::new(false),
            changes: Cell::new(0),
            known: RefCell::default(),
            began: RefCell::default(),
        }
    }

    /// Takes note that a version was acknowledged.
    pub(super) fn know(&self, version: Known) {
        self.known.borrow_mut().push(version);
    }

    /// Takes note that a change begins.
    pub(super) fn changes(&self) {
        self.changes.set(self.changes.get() + 1);
    }

    /// Ends every reader after what it reads now.
    pub(super) fn stop(&self) {
        self.is_over.set(true);
    }

    /// Returns once every reader has read what it began from now on.
    pub(super) async fn until_all_read(&self) -> anyhow::Result<()> {
        let now = self.watch.elapsed();
        until(PATIENCE * 5, async || {
            let began = self.began.borrow();
            let have = began.values().filter(|began| **began >= now).count();
            ensure!(have > 0 && have == began.len(), "{have} of {} readers have read", began.len());
            Ok(())
        })
        .await?;
        Ok(())
    }

    /// Reads through each of these peers until it is told to stop, and returns all readings.
    pub(super) async fn read(&self, urls: &[String]) -> anyhow::Result<Vec<Reading>> {
        let readers = urls.iter().enumerate().map(|(number, url)| async move {
            self.began.borrow_mut().insert(number, Duration::ZERO);
            let mut readings: Vec<Reading> = Vec::new();
            while !self.is_over.get() {
                let began = self.watch.elapsed();
                let reading = self.once(url).await.with_context(|| format!("from {url}"))?;
                let is_later = readings.last().is_none_or(|last| last.version <= reading.version);
                ensure!(is_later, "a reader got version {} after a later one", reading.version);
                readings.push(reading);
                self.began.borrow_mut().insert(number, began);
            }
            anyhow::Ok(readings)
        });
        Ok(try_join_all(readers).await?.into_iter().flatten().collect())
    }

    async fn once(&self, url: &str) -> anyhow::Result<Reading> {
        let after = self.known.borrow().last().map_or(0, |known| known.version);
        let changes = self.changes.get();
        let request = self.http.request(Method::GET, &object_url(url, self.name));
        let answer = request.send().await?.error_for_status()?;
        let header = |name: &str| {
            let value = answer.headers().get(name).and_then(|value| value.to_str().ok());
            value.map(str::to_owned).with_context(|| format!("there is no header {name}"))
        };
        let (version, tag) = (header("x-shoal-version")?.parse()?, header("etag")?);
        let mut sum = Sha256::new();
        let mut pieces = answer.bytes_stream();
        while let Some(piece) = pieces.next().await {
            sum.update(piece?);
        }
        let changes = [changes, self.changes.get()];
        Ok(Reading { version, tag, digest: sum.finalize().into(), after, changes })
    }

    /// Returns how many readings saw a change begin.
    ///
    /// # Errors
    /// One of them was not one version, whole, or was older than what had been acknowledged; or none saw a change.
    pub(super) fn judge(&self, readings: &[Reading]) -> anyhow::Result<usize> {
        let known = self.known.borrow();
        judge(&known, readings)?;
        let across = readings.iter().filter(|one| one.changes[0] < one.changes[1]).count();
        ensure!(across > 0, "nobody read while the object changed");
        Ok(across)
    }
}

fn judge(known: &[Known], readings: &[Reading]) -> anyhow::Result<()> {
    for reading in readings {
        let Reading { version, tag, digest, after, .. } = reading;
        let named = known.iter().find(|known| known.version == *version);
        let named = named.with_context(|| format!("nobody wrote the version {version}"))?;
        ensure!(*tag == format!("\"{}\"", named.cid), "version {version} came as {tag}");
        ensure!(*digest == named.digest, "bytes came that are not those of version {version}");
        ensure!(version >= after, "version {version} came when {after} was acknowledged");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{Known, Reading, judge};

    #[test]
    fn mixtures_strangers_and_the_past_are_found() {
        let known =
            |version, mark| Known { version, cid: format!("c{version}"), digest: [mark; 32] };
        let versions = [known(3, 1), known(5, 2)];
        let reading = |version: u64, mark, after| {
            let (tag, digest) = (format!("\"c{version}\""), [mark; 32]);
            Reading { version, tag, digest, after, changes: [0, 0] }
        };
        assert!(judge(&versions, &[reading(3, 1, 3), reading(5, 2, 3)]).is_ok());
        assert!(judge(&versions, &[reading(5, 1, 3)]).is_err(), "bytes of another version");
        assert!(judge(&versions, &[reading(4, 1, 3)]).is_err(), "a version that nobody wrote");
        assert!(judge(&versions, &[reading(3, 1, 5)]).is_err(), "the past");
    }
}
