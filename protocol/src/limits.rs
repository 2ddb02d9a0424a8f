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

/// Frames waiting to be written to one peer, per class. More would hide a slow peer behind a queue.
pub const OUTBOX_FRAMES_MAX: usize = 16;

/// Frames received and not yet taken by the service, per class, over all peers.
pub const INBOX_FRAMES_MAX: usize = 32;

/// Addresses kept for one peer.
pub const PEER_ADDRESSES_MAX: usize = 6;

/// Longest address, in bytes.
pub const ADDRESS_BYTES_MAX: usize = 200;

/// Entries of one gossip message.
pub const GOSSIP_ENTRIES_MAX: usize = 40;
const _: () = assert!(
    GOSSIP_ENTRIES_MAX * (PEER_ADDRESSES_MAX * (ADDRESS_BYTES_MAX + 3) + 2 * NAME_BYTES_MAX + 100)
        <= FRAME_HEAD_BYTES_MAX as usize
);

/// Owners named in one reply. Whoever asks wants to know that there are some, or one of its own; a
/// block that more uploads share is not worth a list.
pub const OWNERS_MAX: usize = 64;

/// Longest text of a failure on the wire, in bytes: a line for people, clipped by the sender.
pub const DETAIL_BYTES_MAX: usize = 512;

// ---- Transfer ------------------------------------------------------------------------------

/// Bytes of one upload that may be on their way to holders. Each block is sent to several holders, so the
/// memory is this once (blocks are shared), and the time to notice a stalled upload is bounded by it.
pub const UPLOAD_WINDOW_BYTES: u32 = 16 << 20;

/// Bytes that one download may fetch ahead of what it delivered.
pub const DOWNLOAD_WINDOW_BYTES: u32 = 16 << 20;

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

/// Times that a download goes through all holders of a block before it gives up.
pub const HOLDER_ROUNDS_MAX: u8 = 3;

/// Pause before the second round through the holders of a block; twice as long before each further one.
/// Guess: the rounds span a restart of a holder, about 2 s; measure in a simulation of restarts.
pub const HOLDER_ROUND_PAUSE: Duration = Duration::from_millis(700);

/// Times that a download waits for a busy holder of one block, per round, before it counts as failed.
pub const BUSY_RETRIES_MAX: u8 = 6;

/// Pause after the first `busy` of a holder; twice as long after each further one for the same block.
pub const BUSY_PAUSE: Duration = Duration::from_millis(50);

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

// ---- Disk ----------------------------------------------------------------------------------

/// Calls that wait for one lane (index writes, file writes, reads) of the disk driver.
pub const DISK_LANE_CALLS_MAX: usize = 256;

/// Threads that read, and so the reads under way at once: a disk with a queue gains up to here (measured
/// on two cores), and each may hold a block.
pub const DISK_READ_THREADS: usize = 4;

/// Bytes of index changes that share one sync.
pub const DISK_GROUP_BYTES_MAX: usize = 8 << 20;

/// Free bytes below which the index takes no more, whatever the device's size: a flush of all of its write
/// buffers (32 MiB) and its log must still fit, for it to go on when there is room again.
pub const DISK_RESERVE_BYTES_MAX: u64 = 64 << 20;

/// The same on a device that is small itself.
pub const DISK_RESERVE_BYTES_MIN: u64 = 8 << 20;
