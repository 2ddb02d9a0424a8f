//! One whole peer: its services started in order and wired to each other.
//!
//! The only place that knows every service. Generic over the machine below, so that the simulator runs
//! exactly this. Never: the API, the process, the command line.

use std::collections::BTreeSet;
use std::time::Duration;

use bytes::Bytes;
use futures::Stream;
use prometheus_client::registry::Registry;
use protocol::api;
use protocol::catalog::BookLimits;
use protocol::dag::ByteRange;
use protocol::invite::Ticket;
use protocol::limits::{INBOX_FRAMES_MAX, TICKET_ADDRESSES_MAX};
use protocol::metadata::{Actor, DisplayName, Op, Outcome, RequestId, Written};
use protocol::repair::{RepairStatus, Restore, ScrubSettings};
use protocol::search::Query;
use protocol::topology::{ReplicaCount, Zone};
use protocol::transfer::SpreadRule;
use protocol::wire::Class;
use protocol::{Cid, ClusterId, Fault, Kind, OwnerId, PeerId, WallTime};
use tokio::sync::mpsc;

use crate::cache::BlockCache;
use crate::entry::{self, Entry, Newcomer};
use crate::env::{Env, GuestProtocol, Membership, Net};
use crate::flows::{
    self, Catalogs, Change, Context, Description, Download, EditAt, Heal, HealSettings, Planted,
    Root, Scope, Scrub, ScrubInbox, Search, Searched, UploadOptions, Uploaded, WorkSettings,
};
use crate::index::{Document, Index, Page};
use crate::meta::{self, Meta, MetaSettings};
use crate::peers::{Peers, PeersSettings, Placements};
use crate::rpc::{Rpc, RpcMetrics, dispatch};
use crate::serve::PeerHandler;
use crate::sessions::Sessions;
use crate::store::{self, Store, StoreSettings, Usage};
use crate::work::{self, LetterWish, Work};

/// How often a peer tells how much it holds. Others use it for display only.
const USAGE_INTERVAL: Duration = Duration::from_secs(2);

/// What makes one peer differ from another.
#[derive(Clone, Debug)]
pub struct NodeSettings {
    /// How it becomes a member, if it is none yet.
    pub entry: Entry,
    /// The peer's name for people.
    pub name: DisplayName,
    /// Where it is.
    pub zone: Zone,
    /// How it stores blocks, its capacity among that.
    pub store: StoreSettings,
    /// Bytes of memory for blocks that were read; 0: none are kept.
    pub cache_bytes: u64,
    /// When it repairs.
    pub heal: HealSettings,
    /// How this peer works off queues.
    pub work: WorkSettings,
    /// How fast it reads everything again.
    pub scrub: ScrubSettings,
    /// What searches look into; without it this peer answers none.
    pub index: Option<Index>,
    /// How this peer takes part among other clusters; without it, it does not.
    pub federation: Option<Federation>,
    /// How copies of a long upload spread.
    pub spread: SpreadRule,
    /// Placements computed before: empty, or shared with other peers of this process.
    pub placements: Placements,
    /// Test-only defects.
    #[doc(hidden)]
    pub planted: Planted,
    /// Test-only defects of agreement, and eyes on it.
    #[doc(hidden)]
    pub meta: MetaProbe,
}

/// How a peer takes part among other clusters.
#[derive(Clone, Debug)]
pub struct Federation {
    /// Where entries of their catalogs are kept.
    pub index: Index,
    /// What they may make this peer keep.
    pub quota: CatalogQuota,
}

/// What other clusters may make a peer keep, and which of them it wants nothing of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogQuota {
    /// Clusters.
    pub clusters: usize,
    /// Entries of one of them.
    pub entries_of_one: u64,
    /// Entries of all together.
    pub entries: u64,
    /// Clusters that are kept alone; all when empty.
    pub allowed: BTreeSet<ClusterId>,
    /// Clusters that are not.
    pub blocked: BTreeSet<ClusterId>,
}

/// What tests may do to a peer's part in agreement.
#[doc(hidden)]
#[derive(Clone, Debug, Default)]
pub struct MetaProbe {
    /// Defects.
    pub planted: meta::Planted,
    /// Eyes.
    pub observer: meta::Observer,
}

/// A running peer. Clones are handles to the same one.
#[derive(Clone, Debug)]
pub struct Node<E: Env> {
    cluster: ClusterId,
    context: Context<E>,
    heal: Heal,
    scrub: Scrub,
    search: Search,
    catalogs: Catalogs,
}

impl<E: Env> Node<E> {
    /// Starts a peer and returns when its store has recovered, it is a member of its cluster, and it answers
    /// others.
    ///
    /// # Errors
    /// Why the store cannot be opened, or the cluster's refusal to let it in.
    pub async fn start(env: E, settings: NodeSettings) -> Result<Self, Fault> {
        let mut store_settings = settings.store.clone();
        store_settings.planted.ack_before_sync = settings.planted.ack_before_sync;
        let home = entry::home(&env, &settings.entry).await?;
        let cluster = home.cluster;
        let store = store::start(env.clone(), store_settings).await?;
        let rpc = Rpc::new(env.clone(), RpcMetrics::default());
        let mut meta_settings = MetaSettings::new(cluster);
        meta_settings.planted = settings.meta.planted;
        meta_settings.observer = settings.meta.observer.clone();
        let meta = Meta::start(env.clone(), meta_settings, rpc.clone()).await?;
        let (heal, heal_inbox) = Heal::new();
        let (work, work_inbox, tasks) = Work::new();
        let (asked, queue) = (heal.clone(), work.clone());
        let handler = PeerHandler::new(env.clone(), store.clone(), meta.clone(), asked, queue);
        let (notices, gossip) = mpsc::channel(INBOX_FRAMES_MAX);
        for class in Class::ALL {
            let inbox = env.net().take_inbox(class).ok_or_else(taken)?;
            let task =
                dispatch(env.clone(), class, inbox, rpc.clone(), handler.clone(), notices.clone());
            env.spawn("rpc.dispatch", task);
        }
        let newcomer = Newcomer {
            peer: env.net().local_peer(),
            name: settings.name.clone(),
            zone: settings.zone.clone(),
            capacity_bytes: settings.store.capacity_bytes,
        };
        let home = entry::enter(&env, &meta, home, &settings.entry, newcomer).await?;
        let first = home.first_peers();
        let members: BTreeSet<PeerId> = first.iter().map(|(peer, _)| *peer).collect();
        env.net().set_membership(Some(Membership { cluster, members: members.clone() }));
        for (peer, addresses) in first {
            env.net().dial(peer, addresses);
        }
        let own = PeersSettings {
            cluster,
            name: settings.name.to_string(),
            zone: settings.zone.clone(),
            capacity_bytes: settings.store.capacity_bytes,
            replicas: ReplicaCount::MIN,
            placements: settings.placements.clone(),
        };
        let events = env.net().take_events().ok_or_else(taken)?;
        let peers = Peers::start(env.clone(), own, rpc.clone(), events, gossip).await?;
        env.spawn("node.usage", tell_usage(env.clone(), store.clone(), peers.clone()));
        let sessions = Sessions::start(env.clone(), meta.clone());
        let context = Context::new(env, store, peers, rpc, meta, sessions, work);
        let context = context.with_cache(BlockCache::new(settings.cache_bytes));
        let context = context.with_spread(settings.spread).with_planted(settings.planted);
        let (scrub, scrub_inbox) = Scrub::new();
        let search = Search::over(settings.index);
        let catalogs = Catalogs::over(settings.federation.as_ref().map(|own| own.index.clone()));
        let node = Self { cluster, context, heal, scrub, search, catalogs };
        node.start_flows(members)?;
        node.start_federation(settings.federation)?;
        let healing = flows::heal(node.context.clone(), settings.heal, heal_inbox);
        node.context.env.spawn("heal", healing);
        node.start_scrub(settings.scrub, scrub_inbox)?;
        node.start_work(settings.work, work_inbox, tasks);
        Ok(node)
    }

    /// Starts what goes on for as long as the peer runs.
    fn start_flows(&self, first: BTreeSet<PeerId>) -> Result<(), Fault> {
        let context = &self.context;
        let (env, meta) = (&context.env, &context.meta);
        let guests = env.net().take_guests(GuestProtocol::Join).ok_or_else(taken)?;
        env.spawn("members", flows::follow_members(context.clone(), self.cluster, first));
        env.spawn("guests", flows::answer_guests(env.clone(), meta.clone(), self.cluster, guests));
        env.spawn("locks", context.locks.clone().follow(meta.clone()));
        env.spawn("collect", flows::collect(context.clone()));
        env.spawn("drain", flows::drain(context.clone()));
        env.spawn("search", flows::follow_objects(context.clone(), self.search.clone()));
        Ok(())
    }

    /// Starts what tells other clusters of this one, and knows of them.
    fn start_federation(&self, federation: Option<Federation>) -> Result<(), Fault> {
        let context = &self.context;
        let (env, net) = (&context.env, context.env.net());
        let strangers = net.take_guests(GuestProtocol::Overlay).ok_or_else(taken)?;
        let gossip = net.take_gossip().ok_or_else(taken)?;
        // What nobody takes is refused.
        let Some(Federation { quota, .. }) = federation else { return Ok(()) };
        let limits = BookLimits {
            own: self.cluster,
            clusters: quota.clusters,
            entries_of_one: quota.entries_of_one,
            entries: quota.entries,
            allowed: quota.allowed,
            blocked: quota.blocked,
        };
        let catalogs = &self.catalogs;
        env.spawn("catalog.tell", flows::tell_catalog(context.clone(), catalogs.clone()));
        let keeping = flows::keep_catalogs(context.clone(), catalogs.clone(), limits, gossip);
        env.spawn("catalog.keep", keeping);
        let answering = flows::answer_strangers(context.clone(), catalogs.clone(), strangers);
        env.spawn("catalog.answer", answering);
        Ok(())
    }

    /// Starts what looks for rot, and what writes corrupt copies anew.
    fn start_scrub(&self, settings: ScrubSettings, inbox: ScrubInbox) -> Result<(), Fault> {
        let context = &self.context;
        let corrupt = context.store.take_corrupt().ok_or_else(taken)?;
        let metrics = self.scrub.metrics().clone();
        let rewriting = flows::rewrite(context.clone(), self.heal.clone(), metrics, corrupt);
        context.env.spawn("scrub.rewrite", rewriting);
        context.env.spawn("scrub", flows::scrub(context.clone(), settings, inbox));
        Ok(())
    }

    /// Starts the queue of work, and what works it off.
    fn start_work(
        &self,
        settings: WorkSettings,
        inbox: work::Inbox,
        tasks: mpsc::Receiver<work::Task>,
    ) {
        let (context, copied) = (&self.context, self.heal.metrics().clone());
        context.env.spawn("work", flows::queue(context.clone(), inbox, settings.steals));
        context.env.spawn("work.peers", flows::follow_peers(context.clone()));
        let carrying = flows::carry_out(context.clone(), settings.budget, copied, tasks);
        context.env.spawn("work.jobs", carrying);
    }

    /// Returns the cluster.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }

    /// Returns what the cluster agrees on.
    #[must_use]
    pub fn meta(&self) -> &Meta<E> {
        &self.context.meta
    }

    /// Returns what flows need.
    #[must_use]
    pub fn context(&self) -> &Context<E> {
        &self.context
    }

    /// Returns the peer table.
    #[must_use]
    pub fn peers(&self) -> &Peers {
        &self.context.peers
    }

    /// Returns how much this peer holds.
    #[must_use]
    pub fn usage(&self) -> Usage {
        self.context.store.usage()
    }

    /// Adds the metrics of every service to a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.context.store.metrics().register(registry);
        self.context.rpc.metrics().register(registry);
        self.context.cache.metrics().register(registry);
        self.context.meta.metrics().register(registry);
        self.context.metrics.register(registry);
        self.heal.metrics().register(registry);
        self.scrub.metrics().register(registry);
        self.context.work.metrics().register(registry);
    }

    /// Returns the work that waits here, and what moved between this peer and others.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when the peer shuts down.
    pub async fn queue(&self) -> Result<api::Queue, Fault> {
        let (summary, letters) = self.context.work.look().await?;
        let (own, now) = (self.context.peers.view().own(), self.context.env.wall());
        Ok(api::Queue::of(own, now, &summary, &letters))
    }

    /// Tries a job of this peer's queue again that was given up, or forgets it.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when there is no such job; [`Kind::Unavailable`] when the peer shuts down.
    pub async fn settle_letter(&self, number: u64, wish: LetterWish) -> Result<(), Fault> {
        self.context.work.settle_letter(number, wish).await
    }

    /// Searches the objects of this cluster and the public ones of others, as this peer knows them.
    ///
    /// # Errors
    /// As [`Search`] says: a page too far behind, a cluster that is not known, no index.
    pub async fn search(&self, query: Query, scope: Scope, page: Page) -> Result<Searched, Fault> {
        self.search.search(&self.context, &self.catalogs, query, scope, page).await
    }

    /// Returns what is known of other clusters.
    #[must_use]
    pub fn catalogs(&self) -> &Catalogs {
        &self.catalogs
    }

    /// Returns how repair stands in the partitions that this peer sees to, and how its scrub stands.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when the peer shuts down.
    pub async fn repair_status(&self) -> Result<RepairStatus, Fault> {
        let status = self.heal.status().await?;
        let (_, letters) = self.context.work.look().await?;
        let copies = letters.iter().filter(|letter| Restore::of(&letter.job.spec).is_some());
        let copies_given_up = copies.count() as u64;
        Ok(RepairStatus { scrub: self.scrub.progress().await?, copies_given_up, ..status })
    }

    /// Begins to read everything again now, as fast as a scrub may.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] when the peer shuts down.
    pub async fn begin_scrub(&self) -> Result<(), Fault> {
        self.scrub.begin_pass().await
    }

    /// Returns a new ticket to this cluster and its secret. It opens nothing before its hash is committed.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] while no address is known by which others reach a peer.
    pub fn new_ticket(&self, expires: WallTime) -> Result<([u8; 32], Ticket), Fault> {
        let view = self.context.peers.view();
        let own = view.own();
        // This peer first: it is there.
        let mut infos: Vec<_> = view.peers().values().collect();
        infos.sort_by_key(|info| info.id != own);
        let addresses = infos.into_iter().filter_map(|info| {
            let address = info.addresses.first()?;
            Some(format!("{address}/p2p/{}", info.id))
        });
        let addresses: Vec<String> = addresses.take(TICKET_ADDRESSES_MAX).collect();
        if addresses.is_empty() {
            let detail =
                "no address is known yet by which a new peer reaches this cluster; try again";
            return Err(Fault::new(Kind::Unavailable, detail));
        }
        let mut secret = [0; 32];
        self.context.env.fill_secret(&mut secret);
        Ok((secret, Ticket { cluster: self.cluster, addresses, secret, expires }))
    }

    /// See [`flows::put_object`].
    ///
    /// # Errors
    /// As there.
    pub async fn put_object(
        &self,
        change: Change,
        description: Description,
        source: impl Stream<Item = Result<Bytes, Fault>> + Send + Unpin + 'static,
        options: UploadOptions,
    ) -> Result<Written, Fault> {
        flows::put_object(&self.context, change, description, source, options).await
    }

    /// See [`flows::edit_object`].
    ///
    /// # Errors
    /// As there.
    pub async fn edit_object(
        &self,
        change: Change,
        at: EditAt,
        source: impl Stream<Item = Result<Bytes, Fault>> + Send + Unpin + 'static,
        options: UploadOptions,
    ) -> Result<Written, Fault> {
        flows::edit_object(&self.context, change, at, source, options).await
    }

    /// See [`flows::pin_content`].
    ///
    /// # Errors
    /// As there.
    pub async fn pin_content(
        &self,
        actor: Actor,
        request: RequestId,
        source: impl Stream<Item = Result<Bytes, Fault>> + Send + Unpin + 'static,
        options: UploadOptions,
    ) -> Result<Uploaded, Fault> {
        flows::pin_content(&self.context, actor, request, source, options).await
    }

    /// See [`flows::begin_upload`].
    ///
    /// # Errors
    /// As there.
    pub async fn begin_upload(&self, actor: Actor) -> Result<(OwnerId, Duration), Fault> {
        flows::begin_upload(&self.context, actor).await
    }

    /// See [`flows::end_upload`].
    ///
    /// # Errors
    /// As there.
    pub async fn end_upload(&self, actor: Actor, upload: OwnerId) -> Result<(), Fault> {
        flows::end_upload(&self.context, actor, upload).await
    }

    /// See [`flows::upload_part`].
    ///
    /// # Errors
    /// As there.
    pub async fn upload_part(
        &self,
        actor: &Actor,
        upload: OwnerId,
        source: impl Stream<Item = Result<Bytes, Fault>> + Send + Unpin + 'static,
        options: UploadOptions,
    ) -> Result<Uploaded, Fault> {
        flows::upload_part(&self.context, actor, upload, source, options).await
    }

    /// See [`flows::put_block`].
    ///
    /// # Errors
    /// As there.
    pub async fn put_block(
        &self,
        actor: &Actor,
        upload: OwnerId,
        block: (Cid, Bytes),
        options: UploadOptions,
    ) -> Result<(), Fault> {
        flows::put_block(&self.context, actor, upload, block, options).await
    }

    /// See [`flows::refer`].
    ///
    /// # Errors
    /// As there.
    pub async fn refer(&self, actor: Actor, request: RequestId, op: Op) -> Result<Outcome, Fault> {
        flows::refer(&self.context, actor, request, op).await
    }

    /// See [`flows::download`].
    ///
    /// # Errors
    /// As there.
    pub async fn download(&self, root: Root, range: ByteRange) -> Result<Download, Fault> {
        match flows::download(&self.context, root, range).await {
            // A bare root that nobody here holds may be another cluster's.
            Err(fault)
                if fault.kind == Kind::NotFound
                    && matches!(root, Root::Bare(_))
                    && !self.catalogs.known().is_empty() =>
            {
                flows::fetch(&self.context, &self.catalogs, root.cid(), range).await
            }
            opened => opened,
        }
    }

    /// Brings all of another cluster's public content into an upload of this one, and returns its size, and what its cluster says of
    /// it where that is known.
    ///
    /// # Errors
    /// [`Kind::NotFound`] when no cluster that is known has made it public; and as [`flows::put_block`].
    pub async fn import(
        &self,
        actor: Actor,
        root: Cid,
        upload: OwnerId,
        options: UploadOptions,
    ) -> Result<(u64, Option<Document>), Fault> {
        let keep = flows::Keep { actor, upload, options };
        flows::import(&self.context, &self.catalogs, root, keep).await
    }

    /// See [`flows::block`].
    ///
    /// # Errors
    /// As there.
    pub async fn block(&self, block: Root) -> Result<Bytes, Fault> {
        flows::block(&self.context, block).await
    }

    /// Returns one whole block that a client asks for, of this cluster or of another's public content. `above`: the blocks that lead
    /// to it, from the root on; none for a root.
    ///
    /// # Errors
    /// As [`Self::block`].
    pub async fn block_below(&self, above: Vec<Cid>, cid: Cid) -> Result<Bytes, Fault> {
        match flows::block(&self.context, Root::Bare(cid)).await {
            Err(fault) if fault.kind == Kind::NotFound && !self.catalogs.known().is_empty() => {
                let way: Vec<Cid> = above.into_iter().chain([cid]).collect();
                flows::fetch_block(&self.context, &self.catalogs, &way).await
            }
            found => found,
        }
    }

    /// Returns the machine below.
    #[must_use]
    pub fn env(&self) -> &E {
        &self.context.env
    }

    /// Returns once the disk or the agreement has failed, with the reason: the peer must stop then. [`Kind::Conflict`]
    /// when its data directory is an older copy of what it had. Cancel-safe.
    pub async fn failed(&self) -> Fault {
        tokio::select! {
            biased; // either is reason enough
            reason = self.context.store.failed() => Fault::new(Kind::Internal, reason),
            reason = self.context.meta.failed() => reason,
        }
    }

    /// Finishes what was begun, hands leadership over where this peer has it, and returns when nothing is left
    /// to do. The peer stays a member of its cluster: it may come back.
    pub async fn stop(&self) {
        self.context.meta.stop().await;
        self.context.store.stop().await;
    }
}

fn taken() -> Fault {
    Fault::new(Kind::Internal, "another peer runs over this network already")
}

async fn tell_usage<E: Env>(env: E, store: Store<E>, peers: Peers) {
    loop {
        peers.set_used_bytes(store.usage().used_bytes);
        env.sleep_until(env.now().after(USAGE_INTERVAL)).await;
    }
}
