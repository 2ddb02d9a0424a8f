//! The way from whoever sends a frame to the task that writes it: one bounded outbox per peer and class.
//!
//! Owned by the swarm's task, which adds and removes peers; read by everyone who sends.
//! Never: waits; only a few lines run under its lock.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock};

use protocol::PeerId;
use protocol::wire::{Class, Frame};
use tokio::sync::mpsc;

/// One of something per class.
#[derive(Clone, Debug)]
pub(super) struct PerClass<T>([T; Class::ALL.len()]);

impl<T> PerClass<T> {
    /// Returns what `make` returns for each class.
    pub(super) fn from_fn(make: impl FnMut(Class) -> T) -> Self {
        Self(Class::ALL.map(make))
    }

    /// Returns what `change` makes of each.
    pub(super) fn map<U>(self, mut change: impl FnMut(Class, T) -> U) -> PerClass<U> {
        let [control, bulk, background] = self.0;
        PerClass([
            change(Class::Control, control),
            change(Class::Bulk, bulk),
            change(Class::Background, background),
        ])
    }

    /// Returns the one of a class.
    pub(super) fn get(&self, class: Class) -> &T {
        let [control, bulk, background] = &self.0;
        match class {
            Class::Control => control,
            Class::Bulk => bulk,
            Class::Background => background,
        }
    }

    /// Returns the one of a class, to be changed.
    pub(super) fn get_mut(&mut self, class: Class) -> &mut T {
        let [control, bulk, background] = &mut self.0;
        match class {
            Class::Control => control,
            Class::Bulk => bulk,
            Class::Background => background,
        }
    }
}

impl<A, B> PerClass<(A, B)> {
    /// Returns the first and the second of each pair.
    pub(super) fn unzip(self) -> (PerClass<A>, PerClass<B>) {
        let [control, bulk, background] = self.0;
        (PerClass([control.0, bulk.0, background.0]), PerClass([control.1, bulk.1, background.1]))
    }
}

/// The outboxes of every connected peer of the cluster.
#[derive(Debug, Default)]
pub(super) struct Links(RwLock<BTreeMap<PeerId, PerClass<mpsc::Sender<Frame>>>>);

impl Links {
    /// Returns the outbox of a class to a peer, if it is connected.
    pub(super) fn outbox(&self, peer: PeerId, class: Class) -> Option<mpsc::Sender<Frame>> {
        let links = self.0.read().unwrap_or_else(PoisonError::into_inner);
        links.get(&peer).map(|outboxes| outboxes.get(class).clone())
    }

    /// Adds a peer, or replaces its outboxes.
    pub(super) fn add(&self, peer: PeerId, outboxes: PerClass<mpsc::Sender<Frame>>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(peer, outboxes);
    }

    /// Removes a peer. Who waits for room in its outboxes learns of it when their tasks end.
    pub(super) fn remove(&self, peer: PeerId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).remove(&peer);
    }

    /// Removes every peer.
    pub(super) fn clear(&self) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
