//! This cluster's own catalog: what is in it, and telling the overlay how it stands.
//!
//! Derived from what is agreed on, by any member alike; the leader is the one that tells. A cluster that never published anything
//! tells nothing. Owns a list of the entries, made anew when it is out of date. Never: what is not public.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use protocol::catalog::{
    ClusterKey, Entry, EntryId, Head, Items, SIGNATURE_BYTES, SignedEntry, Standing, refresh_period,
};
use protocol::limits::{CATALOG_CONTACTS_MAX, CLUSTER_PEERS_MAX, LIST_ROWS_MAX};
use protocol::metadata::{Catalog, Effect, Source, SourceError, query};
use protocol::{Fault, Instant, Kind};
use tokio::sync::Mutex as TurnMutex;
use tracing::debug;

use super::super::Context;
use super::Catalogs;
use crate::env::{Env, Net};
use crate::meta::{Freshness, Told};

/// How long changes gather before others are told: many are told of as one.
const GATHER: Duration = Duration::from_secs(1);

/// How long a head that was signed answers questions.
const HEAD_KEPT: Duration = Duration::from_secs(5);

/// How often a list that changes while it is read is begun anew.
const READS_MAX: usize = 5;

/// The entries of this cluster's catalog. Memory: 120 bytes each.
#[derive(Debug)]
pub(super) struct Listed {
    catalog: Catalog,
    pub(super) items: Items,
    /// By the versions of their objects, in that order.
    entries: Vec<Row>,
    /// The ids and those versions, in order of the ids.
    by_id: Vec<(EntryId, u64)>,
}

/// An entry, by the version of its object.
#[derive(Clone, Copy, Debug)]
struct Row {
    version: u64,
    sequence: u64,
    id: EntryId,
}

impl Listed {
    fn of(catalog: Catalog, entries: Vec<Row>) -> Result<Self, Fault> {
        let items = Items::of(entries.iter().map(|row| (row.sequence, row.id)));
        let items = items.map_err(|error| Fault::new(Kind::Internal, error.to_string()))?;
        let mut by_id: Vec<_> = entries.iter().map(|row| (row.id, row.version)).collect();
        by_id.sort_unstable();
        Ok(Self { catalog, items, entries, by_id })
    }

    /// Returns at which standing of the catalog these are its entries, or those of a later one.
    pub(super) const fn standing(&self) -> Standing {
        standing(&self.catalog)
    }

    fn known(&self, version: u64, sequence: u64) -> Option<EntryId> {
        let at = self.entries.binary_search_by_key(&version, |row| row.version).ok()?;
        self.entries.get(at).filter(|row| row.sequence == sequence).map(|row| row.id)
    }

    fn version_of(&self, id: &EntryId) -> Option<u64> {
        let at = self.by_id.binary_search_by_key(id, |(id, _)| *id).ok()?;
        self.by_id.get(at).map(|(_, version)| *version)
    }
}

const fn standing(catalog: &Catalog) -> Standing {
    Standing { epoch: catalog.epoch, sequence: catalog.sequence }
}

/// A head that was signed, and when.
type Signed = (Instant, Standing, Bytes);

/// This cluster's catalog. Clones are handles to the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Own {
    listed: Arc<Mutex<Option<Arc<Listed>>>>,
    head: Arc<Mutex<Option<Signed>>>,
    /// One list is made at a time.
    turn: Arc<TurnMutex<()>>,
}

impl Own {
    /// Returns the entries as they are here now.
    ///
    /// # Errors
    /// Why the metadata cannot be read.
    pub(super) async fn listed<E: Env>(&self, context: &Context<E>) -> Result<Arc<Listed>, Fault> {
        let _turn = self.turn.lock().await;
        let mut catalog = context.meta.read(Freshness::Local, query::catalog).await?;
        let known = self.listed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(known) = known.as_ref().filter(|known| known.catalog == catalog) {
            return Ok(Arc::clone(known));
        }
        let mut entries = Vec::new();
        for read in 0..READS_MAX {
            entries = read_all(context, catalog.epoch, known.clone()).await?;
            let now = context.meta.read(Freshness::Local, query::catalog).await?;
            if now == catalog || read + 1 == READS_MAX {
                // Of this standing at least: whoever asks next finds that it is out of date.
                break;
            }
            catalog = now;
        }
        let listed = context.env.compute(move || Listed::of(catalog, entries)).await?;
        let listed = Arc::new(listed);
        *self.listed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&listed));
        Ok(listed)
    }

    /// Returns the head, signed now or a moment ago; `None` while nothing was ever published, and in a cluster without a key.
    ///
    /// # Errors
    /// Why the metadata cannot be read.
    pub(super) async fn head<E: Env>(&self, context: &Context<E>) -> Result<Option<Bytes>, Fault> {
        let catalog = context.meta.read(Freshness::Local, query::catalog).await?;
        let standing = standing(&catalog);
        let now = context.env.now();
        let is_fresh = |(at, of, _): &Signed| *of == standing && now.since(*at) < HEAD_KEPT;
        let kept = self.head.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((.., head)) = kept.filter(is_fresh) {
            return Ok(Some(head));
        }
        let signed = sign(context, catalog, standing).await?;
        if let Some(head) = &signed {
            let mut kept = self.head.lock().unwrap_or_else(PoisonError::into_inner);
            *kept = Some((now, standing, head.clone()));
        }
        Ok(signed)
    }

    /// Returns those of the entries that there are, signed, until so many bytes are told; one at least.
    ///
    /// # Errors
    /// Why the metadata cannot be read.
    pub(super) async fn entries<E: Env>(
        &self,
        context: &Context<E>,
        ids: Vec<EntryId>,
        bytes_max: usize,
    ) -> Result<Vec<SignedEntry>, Fault> {
        let Some(key) = key_of(context).await? else { return Ok(Vec::new()) };
        let listed = self.listed(context).await?;
        let epoch = listed.catalog.epoch;
        let versions: Vec<u64> = ids.iter().filter_map(|id| listed.version_of(id)).collect();
        let read = context.meta.read(Freshness::Local, move |state| {
            let (mut found, mut bytes) = (Vec::new(), 0);
            for version in &versions {
                let Some(entry) = entry(state, epoch, *version)? else { continue };
                bytes += entry.bytes().len() + SIGNATURE_BYTES;
                if bytes > bytes_max && !found.is_empty() {
                    break;
                }
                found.push(entry);
            }
            Ok(found)
        });
        let entries: Vec<Entry> = read.await?;
        let sign = move || entries.into_iter().map(|entry| entry.signed(&key)).collect();
        Ok(context.env.compute(sign).await)
    }
}

/// Returns the entry of a public object; `None` when there is none any more.
fn entry(state: &dyn Source, epoch: u64, version: u64) -> Result<Option<Entry>, SourceError> {
    let found = query::published(state, version.checked_sub(1), 1)?.pop();
    let Some((_, published)) = found.filter(|(found, _)| *found == version) else {
        return Ok(None);
    };
    let object = query::object(state, &published.name.bucket, &published.name.key)?;
    let object = object.filter(|object| object.version == version);
    Ok(object.and_then(|object| Entry::of(epoch, &published, &object)))
}

/// Reads all entries. Those that were known are not looked at again: a version and its sequence stand for one entry.
async fn read_all<E: Env>(
    context: &Context<E>,
    epoch: u64,
    known: Option<Arc<Listed>>,
) -> Result<Vec<Row>, Fault> {
    let known = known.filter(|known| known.catalog.epoch == epoch);
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let known = known.clone();
        let page = context.meta.read(Freshness::Local, move |state| {
            let page = query::published(state, after, LIST_ROWS_MAX)?;
            let last = page.last().map(|(version, _)| *version);
            let mut entries = Vec::with_capacity(page.len());
            for (version, published) in &page {
                let (version, sequence) = (*version, published.sequence);
                let id = match known.as_ref().and_then(|known| known.known(version, sequence)) {
                    Some(id) => Some(id),
                    None => entry(state, epoch, version)?.map(|entry| entry.id()),
                };
                entries.extend(id.map(|id| Row { version, sequence, id }));
            }
            Ok((entries, last, page.len() == LIST_ROWS_MAX))
        });
        let (page, last, is_more) = page.await?;
        all.extend(page);
        if !is_more {
            return Ok(all);
        }
        after = last;
    }
}

async fn key_of<E: Env>(context: &Context<E>) -> Result<Option<ClusterKey>, Fault> {
    let seed = context.meta.read(Freshness::Local, query::catalog_key).await?;
    Ok(seed.map(ClusterKey::from_seed))
}

async fn sign<E: Env>(
    context: &Context<E>,
    catalog: Catalog,
    standing: Standing,
) -> Result<Option<Bytes>, Fault> {
    let Some(key) = key_of(context).await?.filter(|_| catalog.sequence > 0) else {
        return Ok(None);
    };
    let settings = context.meta.read(Freshness::Local, query::settings).await?;
    let Some(settings) = settings else { return Ok(None) };
    let own = context.peers.view().own();
    let view = context.peers.view();
    let mut infos: Vec<_> = view.peers().values().collect();
    // This peer first: it is there. Then those that are, in an order of chance, so that not always the same ones are asked.
    let mut prng = context.env.prng();
    prng.shuffle(&mut infos);
    infos.sort_by_key(|info| (info.id != own, !view.is_there(info.id)));
    let peers = u32::try_from(infos.len().min(CLUSTER_PEERS_MAX)).unwrap_or(u32::MAX);
    let contacts = infos.into_iter().filter_map(|info| {
        let address = info.addresses.first()?;
        Some(format!("{address}/p2p/{}", info.id)).filter(|contact| Head::can_name(contact))
    });
    let head = Head {
        key: key.public(),
        name: settings.name,
        standing,
        entries: catalog.entries,
        peers,
        contacts: contacts.take(CATALOG_CONTACTS_MAX).collect(),
        issued: context.env.wall(),
    };
    let signed = context.env.compute(move || head.sign(&key)).await;
    signed.map(Some).map_err(|error| Fault::new(Kind::Internal, error.to_string()))
}

/// Tells the overlay how this cluster's catalog stands, for as long as the peer runs: soon after a change, and now and then.
pub(crate) async fn tell<E: Env>(context: Context<E>, catalogs: Catalogs) {
    let own = catalogs.own();
    let concerns = |effect: &Effect| matches!(effect, Effect::ObjectChanged { .. });
    let mut effects = context.meta.effects(concerns);
    loop {
        if context.meta.status().is_leader {
            match own.head(&context).await {
                Ok(Some(head)) => {
                    context.env.net().gossip(head);
                }
                Ok(None) => {}
                Err(err) => debug!(%err, "the overlay was not told of the catalog"),
            }
        }
        let refresh = context.env.now().after(refresh_period(catalogs.known().len() + 1));
        let standing = context.meta.read(Freshness::Local, query::catalog).await.ok();
        // Whatever else changes is not the overlay's business.
        loop {
            tokio::select! {
                biased; // news before the clock
                change = effects.next() => match change {
                    Some(Told::Effect(_) | Told::Missed) => {
                        gather(&context, &mut effects).await;
                        let now = context.meta.read(Freshness::Local, query::catalog).await.ok();
                        if now != standing || context.env.now() >= refresh {
                            break;
                        }
                    }
                    None => return,
                },
                () = context.env.sleep_until(refresh) => break,
            }
        }
    }
}

/// Listens for a while.
async fn gather<E: Env>(context: &Context<E>, effects: &mut crate::meta::Effects) {
    let end = context.env.now().after(GATHER);
    loop {
        tokio::select! {
            biased; // as above
            change = effects.next() => if change.is_none() { return },
            () = context.env.sleep_until(end) => return,
        }
    }
}
