//! Keys: which table a value is in, and in which order it lies there.
//!
//! A key is a letter for the table, then its parts: numbers big-endian, texts ended by NUL where more follows. No text
//! that people choose has a NUL in it, so keys of one table sort as the list of their parts.
//! Never: reads or writes.

use super::lease::LeaseId;
use super::name::{BucketName, LockName, ObjectKey, UserName};
use super::value::Due;
use crate::topology::Epoch;
use crate::{Cid, OwnerId, PeerId, WallTime};

/// Settings of the cluster.
pub(super) const SETTINGS: &[u8] = b"c";
/// How many there are of what is bounded.
pub(super) const TOTALS: &[u8] = b"n";
/// Epoch of the current topology.
pub(super) const EPOCH: &[u8] = b"E";

/// The key that the cluster signs its catalog with.
pub(super) const CATALOG_KEY: &[u8] = b"K";
/// How the catalog stands.
pub(super) const CATALOG: &[u8] = b"C";

/// Letters of the tables.
pub(super) mod table {
    pub(crate) const BUCKET: u8 = b'b';
    pub(crate) const OBJECT: u8 = b'o';
    pub(crate) const VERSION: u8 = b'v';
    pub(crate) const OWNED: u8 = b'w';
    pub(crate) const PUBLIC: u8 = b'f';
    pub(crate) const PUBLIC_ROOT: u8 = b'F';
    pub(crate) const UPLOAD: u8 = b'p';
    pub(crate) const TOMB: u8 = b'z';
    pub(crate) const PIN: u8 = b'k';
    pub(crate) const DUE: u8 = b'd';
    pub(crate) const DUE_AT: u8 = b'D';
    pub(crate) const USER: u8 = b'u';
    pub(crate) const MAKING: u8 = b'g';
    pub(crate) const TOKEN: u8 = b't';
    pub(crate) const TOKEN_ID: u8 = b'T';
    pub(crate) const USER_TOKEN: u8 = b'U';
    pub(crate) const LEASE: u8 = b'l';
    pub(crate) const SESSION: u8 = b's';
    pub(crate) const MEMBER_SESSIONS: u8 = b'S';
    pub(crate) const LOCK: u8 = b'x';
    pub(crate) const WAITER: u8 = b'y';
    pub(crate) const WAITER_OF: u8 = b'Y';
    pub(crate) const MEMBER: u8 = b'm';
    pub(crate) const MEMBER_PEER: u8 = b'M';
    pub(crate) const REMOVED: u8 = b'R';
    pub(crate) const TICKET: u8 = b'i';
    pub(crate) const TICKET_ID: u8 = b'I';
    pub(crate) const TOPOLOGY: u8 = b'e';
    pub(crate) const REQUEST: u8 = b'q';
    pub(crate) const REQUEST_SLOT: u8 = b'Q';
}

/// Builds one key, part by part.
pub(super) struct Key(Vec<u8>);

impl Key {
    pub(super) fn of(table: u8) -> Self {
        Self(vec![table])
    }

    pub(super) fn bytes(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }

    pub(super) fn number(self, number: u64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    /// Adds a text that is the end of the key, or a prefix of one.
    pub(super) fn text(self, text: &str) -> Self {
        self.bytes(text.as_bytes())
    }

    /// Adds a text that more follows on.
    pub(super) fn ended(self, text: &str) -> Self {
        self.text(text).bytes(&[0])
    }

    pub(super) fn end(self) -> Vec<u8> {
        self.0
    }
}

/// Returns the first key behind all that begin with `prefix`, which is not empty and not all 0xFF.
pub(super) fn behind(prefix: &[u8]) -> Vec<u8> {
    let mut behind = prefix.to_vec();
    while let Some(last) = behind.pop() {
        if last < u8::MAX {
            behind.push(last + 1);
            break;
        }
    }
    behind
}

/// Returns the first key behind `key` itself.
pub(super) fn next(mut key: Vec<u8>) -> Vec<u8> {
    key.push(0);
    key
}

pub(super) fn bucket(name: &BucketName) -> Vec<u8> {
    Key::of(table::BUCKET).text(name.as_str()).end()
}

pub(super) fn object(bucket: &BucketName, key: &ObjectKey) -> Vec<u8> {
    objects(bucket).text(key.as_str()).end()
}

/// Current objects of a bucket.
pub(super) fn objects(bucket: &BucketName) -> Key {
    Key::of(table::OBJECT).ended(bucket.as_str())
}

/// Versions of an object, newest first.
pub(super) fn versions(bucket: &BucketName, key: &ObjectKey) -> Vec<u8> {
    Key::of(table::VERSION).ended(bucket.as_str()).ended(key.as_str()).end()
}

pub(super) fn version(bucket: &BucketName, key: &ObjectKey, version: u64) -> Vec<u8> {
    Key(versions(bucket, key)).number(!version).end()
}

/// Current objects of a user.
pub(super) fn owned_by(user: &UserName) -> Key {
    Key::of(table::OWNED).ended(user.as_str())
}

pub(super) fn owned(user: &UserName, bucket: &BucketName, key: &ObjectKey) -> Vec<u8> {
    owned_by(user).ended(bucket.as_str()).text(key.as_str()).end()
}

/// A public object, by the version of it that is current.
pub(super) fn public(version: u64) -> Vec<u8> {
    Key::of(table::PUBLIC).number(version).end()
}

/// Public objects of one root.
pub(super) fn public_roots(root: &Cid) -> Key {
    Key::of(table::PUBLIC_ROOT).bytes(&root.to_bytes())
}

pub(super) fn public_root(root: &Cid, version: u64) -> Vec<u8> {
    public_roots(root).number(version).end()
}

pub(super) fn upload(upload: OwnerId) -> Vec<u8> {
    Key::of(table::UPLOAD).bytes(upload.as_bytes()).end()
}

/// Dead uploads of a session that is still open.
pub(super) fn tombs_of(session: u64) -> Key {
    Key::of(table::TOMB).number(session)
}

pub(super) fn tomb(upload: OwnerId) -> Vec<u8> {
    Key::of(table::TOMB).bytes(upload.as_bytes()).end()
}

/// Pins of one root.
pub(super) fn pins_of(root: &Cid) -> Key {
    Key::of(table::PIN).bytes(&root.to_bytes())
}

pub(super) fn pin(root: &Cid, user: &UserName) -> Vec<u8> {
    pins_of(root).text(user.as_str()).end()
}

fn due_part(key: Key, due: &Due) -> Vec<u8> {
    match due {
        Due::Upload(upload) => key.bytes(&[0]).bytes(upload.as_bytes()),
        Due::Object { bucket, key: object } => {
            key.bytes(&[1]).ended(bucket.as_str()).text(object.as_str())
        }
        Due::Ticket(hash) => key.bytes(&[2]).bytes(hash),
        Due::Session(session) => key.bytes(&[3]).number(*session),
    }
    .end()
}

/// Entries of the due list, by time.
pub(super) fn due(at: WallTime, due: &Due) -> Vec<u8> {
    due_part(Key::of(table::DUE).number(at.as_unix_millis()), due)
}

/// Behind all entries that are due by `now`.
pub(super) fn due_until(now: WallTime) -> Vec<u8> {
    behind(&Key::of(table::DUE).number(now.as_unix_millis()).end())
}

/// When something is due.
pub(super) fn due_at(due: &Due) -> Vec<u8> {
    due_part(Key::of(table::DUE_AT), due)
}

/// When a user was made, by the log.
pub(super) fn making(name: &UserName) -> Vec<u8> {
    Key::of(table::MAKING).text(name.as_str()).end()
}

pub(super) fn user(name: &UserName) -> Vec<u8> {
    Key::of(table::USER).text(name.as_str()).end()
}

pub(super) fn token(hash: &[u8; 32]) -> Vec<u8> {
    Key::of(table::TOKEN).bytes(hash).end()
}

pub(super) fn token_id(id: u64) -> Vec<u8> {
    Key::of(table::TOKEN_ID).number(id).end()
}

/// Tokens of one user.
pub(super) fn tokens_of(user: &UserName) -> Key {
    Key::of(table::USER_TOKEN).ended(user.as_str())
}

pub(super) fn lease(id: &LeaseId) -> Vec<u8> {
    let key = Key::of(table::LEASE);
    match id {
        LeaseId::Session(session) => key.bytes(&[0]).number(*session),
        LeaseId::Upload(upload) => key.bytes(&[1]).bytes(upload.as_bytes()),
        LeaseId::LockHolder { name, fence } => key.bytes(&[2]).ended(name.as_str()).number(*fence),
        LeaseId::LockWaiter { name, place } => key.bytes(&[3]).ended(name.as_str()).number(*place),
    }
    .end()
}

pub(super) fn session(session: u64) -> Vec<u8> {
    Key::of(table::SESSION).number(session).end()
}

pub(super) fn member_sessions(raft_id: u64) -> Vec<u8> {
    Key::of(table::MEMBER_SESSIONS).number(raft_id).end()
}

pub(super) fn lock(name: &LockName) -> Vec<u8> {
    Key::of(table::LOCK).text(name.as_str()).end()
}

/// Waiters of a lock, in the order of their places.
pub(super) fn waiters(name: &LockName) -> Key {
    Key::of(table::WAITER).ended(name.as_str())
}

pub(super) fn waiter(name: &LockName, place: u64) -> Vec<u8> {
    waiters(name).number(place).end()
}

/// The place of an owner.
pub(super) fn waiter_of(name: &LockName, owner: &LockName) -> Vec<u8> {
    Key::of(table::WAITER_OF).ended(name.as_str()).text(owner.as_str()).end()
}

pub(super) fn member(raft_id: u64) -> Vec<u8> {
    Key::of(table::MEMBER).number(raft_id).end()
}

pub(super) fn member_peer(peer: PeerId) -> Vec<u8> {
    Key::of(table::MEMBER_PEER).bytes(peer.public_key()).end()
}

pub(super) fn removed(raft_id: u64) -> Vec<u8> {
    Key::of(table::REMOVED).number(raft_id).end()
}

pub(super) fn ticket(hash: &[u8; 32]) -> Vec<u8> {
    Key::of(table::TICKET).bytes(hash).end()
}

pub(super) fn ticket_id(id: u64) -> Vec<u8> {
    Key::of(table::TICKET_ID).number(id).end()
}

pub(super) fn topology(epoch: Epoch) -> Vec<u8> {
    Key::of(table::TOPOLOGY).number(epoch.0).end()
}

pub(super) fn request(id: &[u8; 16]) -> Vec<u8> {
    Key::of(table::REQUEST).bytes(id).end()
}

pub(super) fn request_slot(slot: u64) -> Vec<u8> {
    Key::of(table::REQUEST_SLOT).number(slot).end()
}
