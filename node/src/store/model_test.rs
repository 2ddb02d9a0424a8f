//! The store against a model: random orders, crashes in between, and nothing acknowledged may be lost.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::OnceLock;

use bytes::Bytes;
use protocol::cid::Codec;
use protocol::{Cid, OwnerId, Prng};

use super::testing::{MemoryDisk, TestEnv};
use super::{Planted, Store, StoreSettings, start};

const BLOCKS: u64 = 12;
const OWNERS: u64 = 4;

/// Who refers to a block, as far as the answers tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Reference {
    block: u64,
    owner: u64,
    root: bool,
}

struct Run {
    prng: Prng,
    disk: MemoryDisk,
    env: TestEnv<MemoryDisk>,
    store: Store<TestEnv<MemoryDisk>>,
    settings: StoreSettings,
    /// References that were acknowledged.
    certain: BTreeSet<Reference>,
    /// References whose acknowledgement the crash came before.
    possible: BTreeSet<Reference>,
}

/// Returns a block and its name; made once, because debug builds hash slowly.
fn named(number: u64) -> &'static (Cid, Bytes) {
    static BLOCKS_MADE: OnceLock<Vec<(Cid, Bytes)>> = OnceLock::new();
    let made = BLOCKS_MADE.get_or_init(|| {
        let named = |bytes: Bytes| (Cid::of(Codec::Raw, &bytes), bytes);
        (0..BLOCKS).map(|number| named(made(number))).collect()
    });
    &made[usize::try_from(number).unwrap()]
}

fn block(number: u64) -> Bytes {
    named(number).1.clone()
}

fn cid(number: u64) -> Cid {
    named(number).0
}

fn made(number: u64) -> Bytes {
    // Given small blocks, blocks of many sizes, and one that is as long as a segment.
    let lengths = [0, 1, 300, 511, 512, 700, 1500, 3000, 5000, 8000, 16_384, 2000];
    let mut prng = Prng::new(number);
    let length = lengths[usize::try_from(number).unwrap() % lengths.len()];
    (0..length).map(|_| prng.next_u64().to_le_bytes()[0]).collect()
}

fn owner(number: u64) -> OwnerId {
    OwnerId::from_bytes([u8::try_from(number).unwrap() + 1; 16])
}

impl Run {
    async fn new(seed: u64, planted: Planted) -> Self {
        let disk = MemoryDisk::new(1 << 30);
        let env = TestEnv::new(disk.clone());
        let mut settings = StoreSettings::with_capacity(1 << 20);
        settings.segment_bytes = 16 << 10;
        settings.small_block_bytes = 512;
        settings.reserve_bytes = Some(1000);
        settings.planted = planted;
        let store = start(env.clone(), settings.clone()).await.unwrap();
        let (certain, possible) = (BTreeSet::new(), BTreeSet::new());
        Self { prng: Prng::new(seed), disk, env, store, settings, certain, possible }
    }

    fn reference(&mut self) -> Reference {
        let block = self.prng.below(BLOCKS);
        let owner = self.prng.below(OWNERS);
        Reference { block, owner, root: self.prng.chance(1, 3) }
    }

    /// Says whether a block must be, or may be, held.
    fn held(&self, number: u64) -> (bool, bool) {
        let of_block = |reference: &&Reference| reference.block == number;
        let must = self.certain.iter().any(|reference| of_block(&reference));
        (must, must || self.possible.iter().any(|reference| of_block(&reference)))
    }

    async fn step(&mut self) -> Result<(), String> {
        match self.prng.below(12) {
            0..5 => self.put_some().await,
            5 => {
                let reference = self.reference();
                let (must, may) = self.held(reference.block);
                let held = self
                    .store
                    .claim(vec![cid(reference.block)], owner(reference.owner), reference.root)
                    .await
                    .map_err(|error| error.to_string())?[0];
                check(!must || held.is_some(), "claim: an acknowledged block is not held")?;
                check(may || held.is_none(), "claim: a released block is held")?;
                if held.is_some() {
                    self.certain.insert(reference);
                }
                Ok(())
            }
            6 => {
                let number = self.prng.below(OWNERS);
                self.store.release(owner(number)).await.map_err(|error| error.to_string())?;
                self.certain.retain(|reference| reference.owner != number);
                self.possible.retain(|reference| reference.owner != number);
                Ok(())
            }
            7 => self.crash_while_putting().await,
            8 => {
                self.store.stop().await;
                self.restart(false).await
            }
            _ => {
                let number = self.prng.below(BLOCKS);
                self.look_at(number).await
            }
        }
    }

    /// Puts some blocks at the same time and waits for all answers.
    async fn put_some(&mut self) -> Result<(), String> {
        let count = 1 + self.prng.below(6);
        let references: Vec<_> = (0..count).map(|_| self.reference()).collect();
        let puts = references.iter().map(|reference| {
            let Reference { block: number, owner: who, root } = *reference;
            let store = self.store.clone();
            async move { store.put(cid(number), block(number), owner(who), root).await }
        });
        for result in futures::future::join_all(puts).await {
            result.map_err(|error| error.to_string())?;
        }
        self.certain.extend(references);
        Ok(())
    }

    async fn crash_while_putting(&mut self) -> Result<(), String> {
        let references: Vec<_> = (0..4).map(|_| self.reference()).collect();
        let mut acks = Vec::new();
        for reference in &references {
            let Reference { block: number, owner: who, root } = *reference;
            let store = self.store.clone();
            let put = async move { store.put(cid(number), block(number), owner(who), root).await };
            #[expect(clippy::disallowed_methods, reason = "this is the machine below the test")]
            acks.push(tokio::spawn(put));
        }
        for _ in 0..self.prng.below(25) {
            tokio::task::yield_now().await;
        }
        self.env.kill().await;
        for (ack, reference) in acks.into_iter().zip(references) {
            match ack.await.unwrap() {
                Ok(_) => self.certain.insert(reference),
                Err(_) => self.possible.insert(reference),
            };
        }
        self.restart(true).await
    }

    async fn restart(&mut self, power_cut: bool) -> Result<(), String> {
        self.env.kill().await;
        if power_cut {
            self.disk.crash(&mut self.prng);
        }
        let started = start(self.env.clone(), self.settings.clone()).await;
        self.store = started.map_err(|error| format!("start: {error}"))?;
        for number in 0..BLOCKS {
            self.look_at(number).await?;
        }
        Ok(())
    }

    async fn look_at(&mut self, number: u64) -> Result<(), String> {
        let (must, may) = self.held(number);
        let bytes = self.store.get(cid(number)).await.map_err(|error| error.to_string())?;
        let has = self.store.has(vec![cid(number)]).await.map_err(|error| error.to_string())?;
        check(has == [bytes.is_some()], "has and get disagree")?;
        check(!must || bytes.is_some(), "an acknowledged block is gone")?;
        check(may || bytes.is_none(), "a released block is still held")?;
        if let Some(bytes) = bytes {
            check(bytes == block(number), "a block has other bytes")?;
        }
        let found = self.store.owners(cid(number)).await.map_err(|error| error.to_string())?;
        for who in 0..OWNERS {
            let reference = Reference { block: number, owner: who, root: true };
            let told = found.contains(&owner(who));
            check(!self.certain.contains(&reference) || told, "a root is not told")?;
            let known = self.certain.contains(&reference) || self.possible.contains(&reference);
            check(known || !told, "a root is told that nobody has")?;
        }
        Ok(())
    }

    /// Lets go of everything, and sees that the space comes back.
    async fn end(mut self) -> Result<(), String> {
        for number in 0..OWNERS {
            self.store.release(owner(number)).await.map_err(|error| error.to_string())?;
        }
        self.certain.clear();
        self.possible.clear();
        for _ in 0..2000 {
            tokio::task::yield_now().await;
        }
        let usage = self.store.usage();
        check(usage.blocks == 0, "blocks are counted that nobody holds")?;
        check(usage.used_bytes < self.settings.segment_bytes, "space was not regained")?;
        self.restart(true).await?;
        check(self.store.usage().blocks == 0, "blocks came back")
    }
}

fn check(holds: bool, otherwise: &str) -> Result<(), String> {
    if holds { Ok(()) } else { Err(otherwise.to_owned()) }
}

async fn run(seed: u64, planted: Planted) -> Result<(), String> {
    let mut run = Run::new(seed, planted).await;
    for _ in 0..60 {
        run.step().await?;
    }
    run.end().await
}

#[tokio::test(start_paused = true)]
async fn nothing_acknowledged_is_lost_and_nothing_released_stays() {
    let mut failures = BTreeMap::new();
    for seed in 0..300 {
        if let Err(failure) = run(seed, Planted::default()).await {
            failures.insert(seed, failure);
        }
    }
    assert_eq!(failures, BTreeMap::new());
}

#[tokio::test(start_paused = true)]
async fn a_store_that_acknowledges_before_the_sync_is_found_out() {
    for seed in 0..300 {
        if let Err(failure) = run(seed, Planted { ack_before_sync: true }).await {
            assert!(failure.contains("acknowledged") || failure.contains("corrupt"), "{failure}");
            return;
        }
    }
    panic!("300 seeds did not find it");
}
