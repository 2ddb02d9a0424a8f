//! The one seam under everything: now, sleep, chance, tasks, hashing, network, disk.
//!
//! The daemon runs over [`real`]; the simulator brings its own implementation with a virtual clock, seeded
//! chance, a network that loses and a disk that forgets. Whatever stands above this file reaches the
//! machine through it and through nothing else, so that a seed decides a whole run.
//! Never: policy. An implementation does what it is told, or says that it could not.

mod disk;
mod net;
pub mod real;

use std::future::Future;

use protocol::{Instant, Prng, WallTime};

pub use disk::{
    Batch, Change, Disk, DiskError, DiskFile, DiskView, Durability, Home, Map, MapReader, Space,
};
pub use net::{
    Gossip, GuestProtocol, GuestQuestion, Inbound, Membership, Net, NetError, NetEvent, Verdict,
};

/// The machine below a peer, real or simulated. Clones are handles to the same one.
pub trait Env: Clone + Send + Sync + 'static {
    /// Its network.
    type Net: Net;
    /// Its disk.
    type Disk: Disk;

    /// Returns the time on the monotonic clock, counted from the peer's start.
    fn now(&self) -> Instant;

    /// Returns civil time. It may jump; nothing that must be correct may depend on it.
    fn wall(&self) -> WallTime;

    /// Returns when the clock has reached `at`. Cancel-safe.
    fn sleep_until(&self, at: Instant) -> impl Future<Output = ()> + Send;

    /// Returns a generator of its own, seeded by the machine: not for secrets.
    fn prng(&self) -> Prng;

    /// Fills `bytes` with randomness fit for secrets and for ids that must never collide.
    fn fill_secret(&self, bytes: &mut [u8]);

    /// Runs `task` beside the caller until it ends or the machine stops. A panic in it stops the machine.
    fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static);

    /// Runs `work`, which takes processor time and does not wait, where it delays nobody else.
    fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = T> + Send;

    /// Returns the network.
    fn net(&self) -> &Self::Net;

    /// Returns the disk.
    fn disk(&self) -> &Self::Disk;
}
