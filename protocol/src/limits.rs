//! Every bound of Shoal that is part of an agreement between peers or guards a peer's memory.
//!
//! Each constant has its unit and the reason for its value; constants that depend on each other are
//! tied by assertions at compile time. Never: settings. What an operator may change is configuration.

use core::time::Duration;

// ---- Content -------------------------------------------------------------------------------

/// Bytes of a leaf under the profile `unixfs-v1-2025`. Source: IPIP-0499.
pub const CHUNK_BYTES: u32 = 1 << 20;

/// Largest block, in bytes: what IPFS tools exchange at most (Bitswap's limit), and twice a leaf.
pub const BLOCK_BYTES_MAX: u32 = 2 << 20;
const _: () = assert!(CHUNK_BYTES <= BLOCK_BYTES_MAX);

/// Links of an interior node under the profile `unixfs-v1-2025`. Source: IPIP-0499.
pub const NODE_LINKS_MAX: usize = 1024;

/// Deepest DAG that is followed, in levels. 1,024^3 leaves of 1 MiB are a PiB; a HAMT of SHA-like
/// hashes ends after 8 levels. Deeper ones are built to exhaust a reader.
pub const DAG_DEPTH_MAX: usize = 32;

/// Links of a file's node that are followed. Eight times the profile's, for files of other tools;
/// with [`DAG_DEPTH_MAX`] it bounds what a hostile DAG makes a reader remember to some 30 MiB.
pub const READ_LINKS_MAX: usize = 8 * NODE_LINKS_MAX;

/// Links that a reader learns of ahead of the place it reads. Beyond it nodes wait for their turn.
pub const READ_LINKS_AHEAD_MAX: usize = 8 * READ_LINKS_MAX;

/// Blocks of which the way from their root is remembered, some 26 MiB: the nodes of a file of 256 TiB, and the leaves below those
/// that are being read.
pub const WAYS_MAX: usize = 1 << 18;
const _: () = assert!(WAYS_MAX >= 2 * READ_LINKS_AHEAD_MAX);

/// How long before its first byte an interior node is asked for, in bytes of the file: four windows,
/// so that its leaves are known before the window reaches them.
pub const NODE_AHEAD_BYTES: u64 = 4 * DOWNLOAD_WINDOW_BYTES as u64;

/// Interior nodes that are asked for ahead at a time.
pub const NODES_AHEAD_MAX: usize = 4;

/// Largest block of a flat directory, in bytes; larger directories become HAMTs. Source: IPIP-0499.
pub const DIRECTORY_BYTES_MAX: usize = 262_144;

/// Slots of a HAMT node under the profile. Source: IPIP-0499.
pub const HAMT_FANOUT: usize = 256;

/// Largest fan-out of a HAMT that is read: what other tools accept.
pub const HAMT_FANOUT_MAX: u64 = 1024;

/// Sizes of content-defined chunks, in bytes: smallest, aimed at, largest. None is larger than a fixed
/// chunk, so that windows hold as many. Changing one changes every later root and loses the sharing of
/// blocks with earlier uploads. The library needs even numbers.
pub const CDC_BYTES_MIN: usize = 256 << 10;
/// See [`CDC_BYTES_MIN`].
pub const CDC_BYTES_AVERAGE: usize = 512 << 10;
/// See [`CDC_BYTES_MIN`].
pub const CDC_BYTES_MAX: usize = CHUNK_BYTES as usize;
const _: () = assert!(CDC_BYTES_MIN < CDC_BYTES_AVERAGE && CDC_BYTES_AVERAGE < CDC_BYTES_MAX);

// ---- Placement -----------------------------------------------------------------------------

/// Hash ranges that CIDs are divided into: the unit of placement, inventory and anti-entropy.
/// 2^17 keeps about 39 partition copies on each of 10,000 peers with three replicas, so that one copy more
/// fits into a twentieth, while a table of them stays below 1 MiB. See `decisions/0003-placement.md`.
pub const PARTITIONS: u32 = 1 << 17;

/// Most copies of a block. More than this many simultaneous losses is not what replication is for.
pub const REPLICAS_MAX: u8 = 8;

/// Most peers of one cluster.
pub const CLUSTER_PEERS_MAX: usize = 10_000;

/// Longest name of a zone, cluster or peer, in bytes: fits a table row and a metric label.
pub const NAME_BYTES_MAX: usize = 63;

// ---- Wire ----------------------------------------------------------------------------------

/// Bytes in front of every frame: version, reserved, head length, body length.
pub const FRAME_HEADER_BYTES: usize = 8;

/// Largest head of a frame, in bytes: everything of a message but block bytes. Holds
/// [`GOSSIP_ENTRIES_MAX`] gossip entries of the largest size.
pub const FRAME_HEAD_BYTES_MAX: u32 = (64 << 10) - 1;

/// Largest body of a frame, in bytes: one block.
pub const FRAME_BODY_BYTES_MAX: u32 = BLOCK_BYTES_MAX;

/// CIDs in one question whether blocks are held: 1,024 CIDs of 36 bytes fit a frame's head.
pub const HAS_CIDS_MAX: usize = 1024;
const _: () = assert!(HAS_CIDS_MAX * 40 <= FRAME_HEAD_BYTES_MAX as usize);

/// Bytes of requests and their expected replies that one peer may have under way to another, per class
/// of traffic. 16 MiB covers 1 GB/s at 16 ms round trip, and bounds what a hostile peer can pin.
pub const CREDIT_BYTES: u32 = 16 << 20;
const _: () = assert!(CREDIT_BYTES >= 2 * (FRAME_BODY_BYTES_MAX + FRAME_HEAD_BYTES_MAX));

/// Requests that one peer may have under way to another, per class of traffic: small requests cost
/// memory and a task each, which bytes do not show.
pub const REQUESTS_IN_FLIGHT_MAX: usize = 256;

/// Requests that a peer serves at a time to all others together, in each class that carries blocks: most have a block in memory,
/// 512 MiB of leaves at worst. More than this peer or its link can do at a time, so that whoever is refused loses nothing by
/// going elsewhere.
pub const REQUESTS_SERVED_MAX: usize = 512;
const _: () = assert!(REQUESTS_SERVED_MAX >= 2 * REQUESTS_IN_FLIGHT_MAX);

/// Frames waiting to be written to one peer, per class. More would hide a slow peer behind a queue.
pub const OUTBOX_FRAMES_MAX: usize = 16;

/// Frames received and not yet taken by the service, per class, over all peers.
pub const INBOX_FRAMES_MAX: usize = 32;

/// Addresses kept for one peer.
pub const PEER_ADDRESSES_MAX: usize = 6;

/// Longest address, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 200;

/// Addresses in a ticket: a few peers, so that one of them answers, in a text that can still be copied.
pub const TICKET_ADDRESSES_MAX: usize = 8;

/// Entries of one gossip message.
pub const GOSSIP_ENTRIES_MAX: usize = 40;
const _: () = assert!(
    GOSSIP_ENTRIES_MAX * (PEER_ADDRESSES_MAX * (ADDRESS_BYTES_MAX + 3) + 2 * NAME_BYTES_MAX + 100)
        <= FRAME_HEAD_BYTES_MAX as usize
);

/// Longest question of a guest, who need not be a member, in bytes: a ticket, and what a peer says of itself.
pub const GUEST_QUESTION_BYTES_MAX: usize = 16 << 10;

/// Longest answer to a guest, in bytes: the members of the largest cluster, at a hundred bytes each.
pub const GUEST_ANSWER_BYTES_MAX: usize = 1 << 20;
const _: () = assert!(GUEST_ANSWER_BYTES_MAX >= 100 * CLUSTER_PEERS_MAX);

/// How long a guest waits for its answer, the connection included, and a peer keeps what one asked.
pub const GUEST_PATIENCE: Duration = Duration::from_secs(10);

/// Owners named in one reply. Whoever asks wants to know that there are some, or one of its own; a
/// block that more uploads share is not worth a list.
pub const OWNERS_MAX: usize = 64;

/// Longest text of a failure on the wire, in bytes: a line for people, clipped by the sender.
pub const DETAIL_BYTES_MAX: usize = 512;

// ---- Metadata ------------------------------------------------------------------------------

/// Longest command, in bytes: 32 of them fit the body of a frame between peers. A topology of about 1,200
/// peers fits too.
pub const COMMAND_BYTES_MAX: usize = 64 << 10;
const _: () = assert!(32 * COMMAND_BYTES_MAX <= FRAME_BODY_BYTES_MAX as usize);

/// Longest answer to a command, in bytes: a refusal that names a bucket, a key and why.
pub const ANSWER_BYTES_MAX: usize = 4 << 10;

/// Log positions whose answers are remembered, so that a repeated command is not applied twice: at 10,000
/// commands a second more than 6 s, several times what a proposer waits before it gives up.
pub const REQUESTS_REMEMBERED: u64 = 1 << 16;

/// Shortest and longest name of a bucket, in bytes. Source: S3's naming rules.
pub const BUCKET_NAME_BYTES_MIN: usize = 3;
/// See [`BUCKET_NAME_BYTES_MIN`].
pub const BUCKET_NAME_BYTES_MAX: usize = 63;

/// Longest key of an object, in bytes of UTF-8. Source: S3.
pub const KEY_BYTES_MAX: usize = 1024;

/// Longest name of a user, in bytes.
pub const USER_NAME_BYTES_MAX: usize = 64;

/// Longest name of a lock, and of whoever asks for it, in bytes.
pub const LOCK_NAME_BYTES_MAX: usize = 256;

/// Longest label of a token or ticket, in bytes: a line for people.
pub const LABEL_BYTES_MAX: usize = 128;

/// Longest media type, in bytes. Source: RFC 6838 allows 127 on each side of the slash.
pub const CONTENT_TYPE_BYTES_MAX: usize = 255;

/// Tags of one object: S3 has 10; a few more for our own.
pub const TAGS_MAX: usize = 16;

/// Longest name of a tag, in bytes: 128 characters in S3, each at most 4 bytes, cut to a half.
pub const TAG_NAME_BYTES_MAX: usize = 256;

/// Longest value of a tag, in bytes: 256 characters in S3, likewise.
pub const TAG_VALUE_BYTES_MAX: usize = 512;
const _: () = assert!(
    2 * KEY_BYTES_MAX + TAGS_MAX * (TAG_NAME_BYTES_MAX + TAG_VALUE_BYTES_MAX + 4)
        <= COMMAND_BYTES_MAX / 2
);

/// Alternatives of one precondition. Clients send one or two; a long list costs nothing but its bytes.
pub const MATCH_TAGS_MAX: usize = 64;

/// Most versions that a bucket can be told to keep of one object (all, without a bound, is another
/// setting): a write reads that many to find the oldest. S3's lifecycle rules go as far.
pub const KEEP_VERSIONS_MAX: u32 = 100;

/// Versions beyond the bound that go with one write, when a bound was lowered.
pub const TRIM_VERSIONS_STEP: usize = 256;

/// Entries of the due list in one purge: each may name a key of the greatest length.
pub const PURGE_ENTRIES_MAX: usize = 48;
const _: () =
    assert!(PURGE_ENTRIES_MAX * (BUCKET_NAME_BYTES_MAX + KEY_BYTES_MAX + 32) <= COMMAND_BYTES_MAX);

/// Versions and pins that one command removes at most: some milliseconds of every peer's time.
pub const PURGE_STEP: usize = 1024;

/// Users of a cluster.
pub const USERS_MAX: u64 = 10_000;

/// Tokens of one user.
pub const USER_TOKENS_MAX: u32 = 256;

/// Buckets of a cluster: listings page, so this bounds only what a runaway program leaves behind.
pub const BUCKETS_MAX: u64 = 100_000;

/// Tickets that are remembered: given out, used or expired.
pub const TICKETS_MAX: u64 = 1024;

/// Leases at a time, over all kinds: the leader keeps a countdown of some 100 bytes for each.
pub const LEASES_MAX: u64 = 1 << 17;

/// Sessions of one member at a time. One would do; a daemon that restarts before its last one has run out
/// opens another, and the oldest beyond this is closed.
pub const MEMBER_SESSIONS_MAX: usize = 4;

/// Waiters of one lock.
pub const LOCK_WAITERS_MAX: u32 = 1024;

/// Shortest lease, in milliseconds: below it a busy machine loses leases by chance.
pub const LEASE_TTL_MS_MIN: u64 = 100;

/// Longest lease, in milliseconds: a week, for an upload over a slow link.
pub const LEASE_TTL_MS_MAX: u64 = 7 * 24 * 3600 * 1000;

/// How long deleted content can be had back unless the cluster says otherwise, in milliseconds.
pub const GRACE_MS_DEFAULT: u64 = 3600 * 1000;

/// Longest grace, in milliseconds: 30 days.
pub const GRACE_MS_MAX: u64 = 30 * 24 * 3600 * 1000;

/// How long a used, expired or withdrawn ticket is remembered, in milliseconds, so that its refusal can
/// say why: a day.
pub const TICKET_MEMORY_MS: u64 = 24 * 3600 * 1000;

/// Earlier topologies that are kept beside the current one, for reads of blocks that have not moved yet.
pub const TOPOLOGIES_KEPT: usize = 8;

/// Changes of members that one topology takes up: each costs up to 200 ms of the leader's time.
pub const TOPOLOGY_CHANGES_MAX: usize = 16;

/// Rows of one page of a listing. Source: S3.
pub const LIST_ROWS_MAX: usize = 1000;

/// Rows that a scan takes from the disk at once.
pub const SCAN_ROWS: usize = 256;

/// How long a voter may stay away before another peer takes its place: longer than a restart with a long
/// log to replay, short beside the time to the next failure.
pub const VOTER_AWAY: Duration = Duration::from_secs(30);

/// Log entries that a learner may lag behind and still become a voter: it catches up within a second.
pub const VOTER_LAG_MAX: u64 = 1000;

// ---- Transfer ------------------------------------------------------------------------------

/// Bytes of one upload that may be on their way to holders. Each block is sent to several holders, so the
/// memory is this once (blocks are shared), and the time to notice a stalled upload is bounded by it.
pub const UPLOAD_WINDOW_BYTES: u32 = 16 << 20;

/// Bytes that one download may fetch ahead of what it delivered.
pub const DOWNLOAD_WINDOW_BYTES: u32 = 16 << 20;

/// Bytes of blocks that all uploads of a peer may hold together, and about as much that all its downloads fetch ahead:
/// each of those may hold a chunk, and one or two that its consumer is being given, however many there are. Chosen so
/// that a daemon stays below 300 MiB with what RocksDB and the connections take.
pub const TRANSFER_BYTES_MAX: u32 = 96 << 20;

/// Uploads and downloads under way at once. Each holds a connection and a few KiB besides its blocks.
pub const TRANSFERS_MAX: u32 = 256;

/// How long the consumer of a download may take nothing while there is something for it: longer than somebody looks at
/// a page of what comes through a pipe. After that it has gone without saying so, and holds a place that others need.
pub const UNREAD_MAX: Duration = Duration::from_secs(300);

/// How long a request for one block may take before another holder is tried.
/// Guess: 2 MiB at 1 MB/s and some waiting; measure in a simulation of slow links.
pub const BLOCK_REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long an upload waits for the copies beyond its write quorum before it is acknowledged without
/// them. They go on in the background.
pub const LATE_COPY_GRACE: Duration = Duration::from_secs(2);

/// Blocks of one upload below their write quorum, and again above it with copies on the way: small blocks
/// cost requests and bookkeeping that bytes do not show.
pub const UPLOAD_BLOCKS_MAX: usize = 256;

/// Finished blocks that an upload remembers, so that runs of equal blocks (zeros) are stored once.
pub const UPLOAD_RECENT_BLOCKS_MAX: usize = 1024;

/// Puts of one block to one peer before that peer counts as lost to the block.
pub const PUT_ATTEMPTS_MAX: u8 = 3;

/// Pause before the second put of a block to a peer that failed at once; four times as long before each
/// further one. Guess: a peer that is too busy has worked off its inbox by then.
pub const PUT_RETRY_PAUSE: Duration = Duration::from_millis(250);

/// Peers that may hold one block and are considered by a transfer: a full replica set and as many spares.
pub const CANDIDATES_MAX: usize = 2 * REPLICAS_MAX as usize;

/// Blocks that one download may fetch ahead, however small they are.
pub const DOWNLOAD_BLOCKS_MAX: usize = 256;
const _: () = assert!(DOWNLOAD_WINDOW_BYTES as usize / CHUNK_BYTES as usize <= DOWNLOAD_BLOCKS_MAX);

/// Soonest that a second holder is asked for a block. Below this, the jitter of a busy machine looks slow.
pub const HEDGE_AFTER_MIN: Duration = Duration::from_millis(50);

/// Latest that a second holder is asked for a block, while the hedge budget lasts.
pub const HEDGE_AFTER_MAX: Duration = Duration::from_secs(2);

/// Requests that pay for one hedge: at most 5 % extra reads.
pub const HEDGE_PRICE: u32 = 20;

/// Hedges that a peer may save up over its requests of the past: one that becomes slow delays every block that it was asked
/// for, of all downloads at once.
pub const HEDGES_SAVED_MAX: u32 = 32;

/// In what time what a holder was seen to take is worth half. Guess: one that was a second late is tried again after half a
/// minute, with one request.
pub const PACE_HALF_LIFE: Duration = Duration::from_secs(4);

/// Holders whose pace a peer remembers.
pub const PACE_HOLDERS_MAX: usize = 1024;

/// Times that a download goes through all holders of a block before it gives up.
pub const HOLDER_ROUNDS_MAX: u8 = 3;

/// Pause before the second round through the holders of a block; twice as long before each further one.
/// Guess: the rounds span a restart of a holder, about 2 s; measure in a simulation of restarts.
pub const HOLDER_ROUND_PAUSE: Duration = Duration::from_millis(700);

/// Times that a download waits for a busy holder of one block, per round, before it counts as failed.
pub const BUSY_RETRIES_MAX: u8 = 6;

/// Pause after the first `busy` of a holder; twice as long after each further one for the same block.
pub const BUSY_PAUSE: Duration = Duration::from_millis(50);

/// Memory in which a peer keeps blocks that were read, unless its operator says otherwise: what clients read again and
/// again within minutes, small beside what transfers may take, so that both together stay below 300 MiB.
pub const CACHE_BYTES: u64 = 32 << 20;
const _: () = assert!(CACHE_BYTES + TRANSFER_BYTES_MAX as u64 <= 128 << 20);

// ---- Work ----------------------------------------------------------------------------------

/// Jobs in one peer's queue, those that ended as dead letters included: a million leaves of an upload
/// spree would be a TiB behind. Some 30 MiB of memory with the largest jobs.
pub const WORK_JOBS_MAX: usize = 1 << 16;

/// Jobs of others that one peer keeps, started or not: two grants, so that the second may come while the
/// first is worked off.
pub const WORK_TAKEN_MAX: usize = 2 * WORK_GRANT_JOBS_MAX;

/// Jobs of one grant: half of what the largest upload leaves behind at a time goes to the first that asks, so that it spreads in
/// few hops. Holders and payloads make it fewer.
pub const WORK_GRANT_JOBS_MAX: usize = 1 << 14;

/// Bytes of a lent job in a grant, without its payload and its holder: what its fields take at most.
pub const WORK_LENT_BYTES: usize = 126;
/// Bytes that the name of its holder takes besides.
pub const WORK_HOLDER_BYTES: usize = 33;
const _: () = assert!(
    WORK_GRANT_JOBS_MAX * WORK_LENT_BYTES + WORK_MESSAGE_SPARE <= FRAME_BODY_BYTES_MAX as usize
);

/// Jobs of one report: done, failed, or still held.
pub const WORK_REPORT_JOBS_MAX: usize = 4_096;
const _: () = assert!(
    WORK_REPORT_JOBS_MAX * (DETAIL_BYTES_MAX / 2 + 64) + WORK_MESSAGE_SPARE
        <= FRAME_BODY_BYTES_MAX as usize
);

/// Bytes of a message about work that are neither jobs nor reports.
pub const WORK_MESSAGE_SPARE: usize = 1 << 10;

/// Longest job in its stored form, in bytes: ids, two CIDs' worth of subject, its holder, and the payload.
pub const JOB_BYTES_MAX: usize = 544;

/// Longest stored row of a queue, in bytes: a job and the reason why it is a dead letter.
pub const JOB_ROW_BYTES_MAX: usize = JOB_BYTES_MAX + DETAIL_BYTES_MAX + 16;

/// What a job carries beyond its subject, in bytes: an owner and a few peers.
pub const JOB_PAYLOAD_BYTES_MAX: usize = 300;
const _: () = assert!(JOB_PAYLOAD_BYTES_MAX + 240 <= JOB_BYTES_MAX);

/// Longest reason of a failed job on its way to its queue, in bytes.
pub const WORK_REASON_BYTES_MAX: usize = DETAIL_BYTES_MAX / 2;

/// Dead letters of one queue. When there are more, jobs that fail go on being tried, as seldom as any.
pub const WORK_DEAD_MAX: usize = 1_024;
const _: () = assert!(WORK_DEAD_MAX < WORK_JOBS_MAX);

/// Times that a job is tried before it becomes a dead letter. With the pauses between them that is
/// a quarter of an hour: longer than a restart of everything that it may depend on.
pub const WORK_ATTEMPTS_MAX: u32 = 10;

/// The same for work that is found again while it is to be done: with the pauses a few seconds, in which a peer that
/// starts again is back.
pub const WORK_ATTEMPTS_FOUND_MAX: u32 = 4;

/// Pause after the first failure of a job; twice as long after each further one.
pub const WORK_RETRY_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause between two attempts.
pub const WORK_RETRY_PAUSE_MAX: Duration = Duration::from_secs(300);

/// How long a granted job is left alone without a word of whoever took it. Longer than a few lost
/// reports; short beside the time that a repair may take.
pub const WORK_LEASE: Duration = Duration::from_secs(30);

/// How long a full queue asks to wait: some jobs are done by then.
pub const WORK_BUSY_PAUSE: Duration = Duration::from_secs(1);

/// Numbers that a queue may draw before it has to sync again which it has drawn.
pub const WORK_NUMBERS_RESERVED: u64 = 1 << 16;

/// Most bytes that a job says it moves or reads: 256 TiB, more than a peer stores. Sums of a grant's jobs fit 64 bits.
pub const JOB_MOVES_BYTES_MAX: u64 = 1 << 48;
const _: () = assert!(JOB_MOVES_BYTES_MAX < u64::MAX / (2 * WORK_GRANT_JOBS_MAX as u64));

/// Jobs that one peer works on at a time.
pub const WORK_SLOTS_MAX: usize = 64;

/// Peers that wait for work at one peer: each waits at those whose distance in the order of ids is a power of two, 14 in
/// the largest cluster, and lists of members differ for a while.
pub const WORK_WAITERS_MAX: usize = 32;

/// How long a peer that waits for work is remembered. It says so again within half of it or a little more.
pub const WORK_WAIT: Duration = Duration::from_secs(20);

/// Grants that answer one peer's saying that it waits: bits of the word in which it notes them. As many piles of work as
/// come in a moment to those before it.
pub const WORK_ANSWERS_MAX: u32 = 32;

/// For how long a peer that waited and got work gets its shares of what comes besides: several piles that come at once
/// are shared by the same peers. Guess: ten hops of 25 ms, within a continent.
pub const WORK_FADE: Duration = Duration::from_millis(250);

/// How long a peer that was told of work waits before it is told again, if it did not come for it.
pub const WORK_HINT: Duration = Duration::from_millis(200);

/// Peers that one search for work reaches: what a single message of a member may make others send.
pub const WORK_SEEK_PEERS_MAX: u8 = 8;

/// Questions for work of one peer that are not answered for good.
pub const WORK_ASKS_MAX: usize = 256;

// ---- Store ---------------------------------------------------------------------------------

/// Bytes of blocks that wait for the store's writer. Two groups: one is synced while the next gathers.
pub const STORE_QUEUE_BYTES_MAX: u32 = 2 * STORE_GROUP_BYTES_MAX;

/// Commands that wait for the store's writer: small ones cost memory that bytes do not show.
pub const STORE_QUEUE_COMMANDS_MAX: usize = 256;

/// Bytes of blocks that share one sync. At 1 GB/s these take 16 ms, a few times what a sync costs.
pub const STORE_GROUP_BYTES_MAX: u32 = 16 << 20;
const _: () = assert!(STORE_GROUP_BYTES_MAX >= 4 * BLOCK_BYTES_MAX);

/// Bytes copied forward in one step of regaining space: how long a put may wait behind it.
pub const STORE_RECLAIM_STEP_BYTES: u32 = 4 << 20;

/// Records looked at in one step of regaining space or of a recovery.
pub const STORE_STEP_RECORDS: usize = 256;

/// References dropped in one step of a release: how long a put may wait behind it.
pub const STORE_RELEASE_STEP: usize = 512;

/// Segment files kept open for reading. Opening one costs tens of microseconds; a file handle little.
pub const STORE_FILES_OPEN_MAX: usize = 128;

/// Owners told of one root.
pub const STORE_OWNERS_MAX: usize = 64;

/// Places in the end of a segment that look like a record and are none, before a recovery gives the rest
/// up: each may cost a read of a block, and a hostile block can hold thousands.
pub const STORE_FALSE_RECORDS_MAX: usize = 1024;

// ---- Agreement -----------------------------------------------------------------------------

/// Entries of the Raft log in one message, and in one write. Their bytes are bounded apart from this.
pub const META_ENTRIES_MAX: u64 = 1_024;

/// Raft ids whose latest marks a peer remembers: those of all members, and as many of such as left.
pub const META_MARKS_MAX: usize = 2 * CLUSTER_PEERS_MAX;

/// Commands of one peer under way to the leader, its own clients' and those it forwards. With the largest
/// command that is 8 MiB.
pub const META_PROPOSALS_MAX: usize = 128;

/// Bytes of one page of a snapshot on its way to a peer that lost the log's beginning.
pub const META_PAGE_BYTES: usize = 512 << 10;

/// Effects of commands that wait for one subscriber. One that falls behind is told so, and reads again.
pub const META_EFFECTS_MAX: usize = 1_024;

// ---- Disk ----------------------------------------------------------------------------------

/// Calls that wait for one lane (index writes, file writes, reads) of the disk driver.
pub const DISK_LANE_CALLS_MAX: usize = 256;

/// Threads that read, and so the reads under way at once: a disk with a queue gains up to here (measured
/// on two cores), and each may hold a block.
pub const DISK_READ_THREADS: usize = 4;

/// Threads that read the home of metadata: apart from those that read blocks, which may take long.
pub const DISK_METADATA_READ_THREADS: usize = 2;

/// Frozen states of the disk at a time. Each keeps what was changed since on the disk, and a thread.
pub const DISK_VIEWS_MAX: usize = 4;

/// Bytes of index changes that share one sync.
pub const DISK_GROUP_BYTES_MAX: usize = 8 << 20;

/// Free bytes below which the index takes no more, whatever the device's size: a flush of all of its write
/// buffers (32 MiB) and its log must still fit, for it to go on when there is room again.
pub const DISK_RESERVE_BYTES_MAX: u64 = 64 << 20;

/// The same on a device that is small itself.
pub const DISK_RESERVE_BYTES_MIN: u64 = 8 << 20;

// ---- Repair --------------------------------------------------------------------------------

/// How long a peer may be away before others take its place: longer than a restart, an update or a power
/// cut that somebody mends at once, short beside the time to the next failure.
pub const REPAIR_AWAY: Duration = Duration::from_secs(600);

/// Bytes per second that a peer copies at most to restore and move blocks, unless its operator says otherwise. Guess: four
/// gigabits, while nobody is served.
pub const REPAIR_RATE: u64 = 512 << 20;

/// How long a difference between inventories must last before it is repaired: uploads are on their way to
/// several holders at once, and differ meanwhile. Three times what the block of an upload may take.
pub const REPAIR_SETTLE: Duration = Duration::from_secs(30);
const _: () = assert!(REPAIR_SETTLE.as_secs() >= 3 * BLOCK_REQUEST_TIMEOUT.as_secs());

/// How long another peer's word that it holds a partition is good for letting go of it. A disk that is lost
/// meanwhile is a copy less; shorter, and a large hand-over would have to ask again for what it asked.
pub const REPAIR_CONFIRMED_FOR: Duration = Duration::from_secs(60);

/// Time between two comparisons of a pair of peers, where nothing changed that calls for one at once. At
/// some hundred bytes for equal inventories, traffic is no reason for a longer one.
pub const REPAIR_INTERVAL: Duration = Duration::from_secs(600);

/// Absent peers that a question names. More than that are away in catastrophes only; who is not named counts
/// as there, and is found unreachable.
pub const REPAIR_ABSENT_MAX: usize = 64;

/// Groups of partitions in the upper level of a comparison: some as many as partitions in a group, so that
/// both levels cost a few kilobytes.
pub const INVENTORY_GROUPS: u32 = 512;
const _: () = assert!(PARTITIONS.is_multiple_of(INVENTORY_GROUPS));

/// Longest message of a comparison, in bytes; it travels as a body.
pub const INVENTORY_MESSAGE_BYTES_MAX: usize = 64 << 10;
const _: () = assert!(INVENTORY_MESSAGE_BYTES_MAX <= FRAME_BODY_BYTES_MAX as usize);

/// Groups whose partitions are asked for at once.
pub const INVENTORY_GROUPS_ASKED_MAX: usize = 8;
const _: () = assert!(
    INVENTORY_GROUPS_ASKED_MAX * (PARTITIONS / INVENTORY_GROUPS) as usize
        <= INVENTORY_PARTITIONS_MAX
);

/// Partitions in one message, each with its digest.
pub const INVENTORY_PARTITIONS_MAX: usize = 2048;
const _: () = assert!(
    INVENTORY_PARTITIONS_MAX * 20 + REPAIR_ABSENT_MAX * 33 + 64 <= INVENTORY_MESSAGE_BYTES_MAX
);

/// Rows in one page: each in the worst case with a block of its own.
pub const INVENTORY_ROWS_MAX: usize = 1024;
const _: () = assert!(INVENTORY_ROWS_MAX * (39 + 17) + 64 <= INVENTORY_MESSAGE_BYTES_MAX);

/// Rows of which a peer remembers who lacks them while it asks the holders of some partitions, and repairs
/// that wait, each at some 150 bytes. What is beyond is found by the next comparison.
pub const REPAIR_ROWS_MAX: usize = 1 << 16;

/// Partitions of which a peer remembers who confirmed to hold what it wants to let go of, at some 200 bytes.
pub const REPAIR_CONFIRMED_MAX: usize = 1 << 14;

/// References of one partition that a peer lets go of at once, in one write of some megabytes. A partition with
/// more of them is kept: that takes two billion references in all, or so many uploads of one block.
pub const STORE_DROP_ROWS_MAX: usize = 1 << 14;

/// References after which the store turns to others before it lets go of the next partition.
pub const STORE_DROP_STEP: usize = 1 << 12;

/// Time in which a peer reads again all that it holds: bits that rot are found before the second copy of
/// a block is likely to be lost.
pub const SCRUB_PASS: Duration = Duration::from_secs(30 * 24 * 3600);

/// Nodes that are no leaves, of content that is named after its blocks were uploaded: a file of a pebibyte has as many. What
/// they came to is remembered while it is looked through, some 100 bytes each.
pub const AUDIT_NODES_MAX: usize = 1 << 20;

/// Nodes of such content that are read before it is their turn: enough to hide the way to another peer.
pub const AUDIT_NODES_AHEAD: usize = 4;

/// Levels of such content, directories in directories included: more than the 256 that the client makes of a tree, of a few
/// levels each where they are large, and the file at the end.
pub const AUDIT_DEPTH_MAX: usize = 1024;
const _: () = assert!(AUDIT_DEPTH_MAX >= 256 * 3 + DAG_DEPTH_MAX);

/// Links of all nodes on the way from such a root to where it is looked through, 56 bytes each.
pub const AUDIT_LINKS_MAX: usize = 1 << 19;
const _: () = assert!(AUDIT_LINKS_MAX >= DAG_DEPTH_MAX * READ_LINKS_MAX);

/// Leaves of such content whose length is remembered: those that their upload remembers as well, which asks nobody for them again.
pub const AUDIT_LEAVES_REMEMBERED: usize = 2 * UPLOAD_RECENT_BLOCKS_MAX;

/// Bytes of a query as people type it.
pub const SEARCH_QUERY_BYTES_MAX: usize = 1_024;

/// Conditions of a query: each costs a walk over part of the index, one with typing errors over many words of it.
pub const SEARCH_CLAUSES_MAX: usize = 16;

/// Hits of one page of a search.
pub const SEARCH_HITS_MAX: usize = 100;

/// Hits of all pages of a search: what is ranked is kept in memory up to there.
pub const SEARCH_DEPTH_MAX: usize = 10_000;

/// Names of changed objects that wait for the index, some 150 bytes each: a second or two of the busiest cluster, many times.
pub const SEARCH_BACKLOG_MAX: usize = 65_536;

// ---- Catalogs ------------------------------------------------------------------------------

/// Entries of one other cluster that are kept, unless the operator says otherwise: 80 MB of index, and 8 MB of memory while they
/// are compared.
pub const CATALOG_QUOTA: u64 = 200_000;

/// Entries of all other clusters that are kept, unless the operator says otherwise.
pub const CATALOGS_QUOTA: u64 = 2_000_000;

/// Bytes per second that peers of other clusters may take, unless the operator says otherwise: a quarter of a gigabit line.
pub const GUEST_RATE: u64 = 32 << 20;

/// Longest head of a catalog with its signature, in bytes: gossip carries hints, not content.
pub const CATALOG_HEAD_BYTES_MAX: usize = 2 << 10;

/// Peers of a cluster that its head names: what fits beside a name, and more than one that may be away.
pub const CATALOG_CONTACTS_MAX: usize = 6;
const _: () =
    assert!(CATALOG_CONTACTS_MAX * (ADDRESS_BYTES_MAX + 3) + 512 <= CATALOG_HEAD_BYTES_MAX);

/// Longest entry of a catalog, in bytes: the longest names, 16 of the longest tags, and some.
pub const CATALOG_ENTRY_BYTES_MAX: usize = 16 << 10;
const _: () = assert!(
    CATALOG_ENTRY_BYTES_MAX
        >= KEY_BYTES_MAX
            + BUCKET_NAME_BYTES_MAX
            + CONTENT_TYPE_BYTES_MAX
            + TAGS_MAX * (TAG_NAME_BYTES_MAX + TAG_VALUE_BYTES_MAX + 6)
            + 256
);

/// Longest question of a peer of another cluster, in bytes: a message of reconciliation, or 1,024 ids.
pub const OVERLAY_QUESTION_BYTES_MAX: usize = 64 << 10;

/// Longest answer to it, in bytes: the largest block, and what says that it is one.
pub const OVERLAY_ANSWER_BYTES_MAX: usize = BLOCK_BYTES_MAX as usize + (16 << 10);

/// Entries that are asked for at a time.
pub const OVERLAY_IDS_MAX: usize = 1_024;
const _: () = assert!(OVERLAY_IDS_MAX * 33 + 256 <= OVERLAY_QUESTION_BYTES_MAX);

/// Bytes of entries in one answer: a quarter of the largest, so that a slow line is not held up for long.
pub const OVERLAY_ENTRIES_BYTES_MAX: usize = 512 << 10;
const _: () =
    assert!(OVERLAY_ENTRIES_BYTES_MAX + CATALOG_ENTRY_BYTES_MAX <= OVERLAY_ANSWER_BYTES_MAX);

/// Heads in one answer, 512 KiB of them at most: whoever asks hears of the others by gossip.
pub const CATALOG_CLUSTERS_TOLD_MAX: usize = 256;
const _: () =
    assert!(CATALOG_CLUSTERS_TOLD_MAX * CATALOG_HEAD_BYTES_MAX <= OVERLAY_ANSWER_BYTES_MAX);

/// Bytes of one answer of reconciliation: 8,000 ids.
pub const RECONCILE_ANSWER_BYTES_MAX: usize = 256 << 10;

/// Messages of one reconciliation: those of a million ids that one side lacks, and as many again.
pub const RECONCILE_ROUNDS_MAX: usize = 256;

/// Heads of one cluster that say nothing but that it lives are taken this far apart.
pub const CATALOG_HEAD_PAUSE: Duration = Duration::from_secs(5);

/// How often a cluster tells that its catalog is as it was, where few others do, and at the longest.
pub const CATALOG_REFRESH: Duration = Duration::from_secs(30);
/// See [`CATALOG_REFRESH`].
pub const CATALOG_REFRESH_MAX: Duration = Duration::from_secs(24 * 3600);

/// What one head of one cluster costs every peer of the overlay, in bytes sent: some eight copies of 500 bytes, and what says that
/// there are such. By simulation of the mesh.
pub const HEAD_COST_BYTES: u64 = 4_100;

/// Bytes a second that a peer sends for heads while nothing changes: little beside what keeps its connections open.
pub const HEAD_BUDGET_BYTES: u64 = 1_500;

/// Heads of one cluster that say something new are passed on this far apart.
pub const CATALOG_TELL_PAUSE: Duration = Duration::from_millis(500);

/// Clusters that were never heard of: so many at once, and one more in each pause.
pub const CATALOG_NEW_BURST: u32 = 500;
/// See [`CATALOG_NEW_BURST`].
pub const CATALOG_NEW_PAUSE: Duration = Duration::from_millis(200);

/// A cluster of which something is kept gives way to no other for this long after it was heard of.
pub const CATALOG_KEPT: Duration = Duration::from_secs(24 * 3600);

/// How far the clock of another cluster may be ahead.
pub const CATALOG_CLOCKS_APART: Duration = Duration::from_secs(600);

/// A cluster that did not answer and is heard of is asked again after this.
pub const CATALOG_RETRY_HEARD: Duration = Duration::from_secs(5);

/// Pause after a pull that failed, and the longest: doubled each time.
pub const CATALOG_RETRY: Duration = Duration::from_secs(1);
/// See [`CATALOG_RETRY`].
pub const CATALOG_RETRY_MAX: Duration = Duration::from_secs(120);

/// Times that a cluster may tell what cannot be true before it is left alone, and for how long: a broken disk or an old build is
/// forgiven, a habit is not.
pub const CATALOG_FAULTS_MAX: u32 = 3;
/// See [`CATALOG_FAULTS_MAX`].
pub const CATALOG_CUT_OFF: Duration = Duration::from_secs(3600);
