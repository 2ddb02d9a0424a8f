//! The tasks that read and write the streams of connected peers.
//!
//! Owns: one writer per member and class, for as long as there is a session with it, and for as long as its
//! streams last, one reader per member and class, and a few more that read earlier streams to their end.
//! Never: waits.

#![expect(clippy::disallowed_methods, reason = "a driver spawns its tasks on its own runtime")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use libp2p::{PeerId, Stream};
use protocol::limits::OUTBOX_FRAMES_MAX;
use protocol::wire::{Class, FrameError};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tracing::debug;

use super::identity::peer_from_libp2p;
use super::links::{Links, PerClass};
use super::metrics::NetMetrics;
use super::streams::{ReadEnd, read_frames, write_frames};
use crate::env::Inbound;

/// Reports that wait to be handled; the tasks that make them wait with them.
const NOTES_MAX: usize = 64;

/// Streams that a writer may be given before it looks: the one it should use, and a newer one.
const STREAMS_WAITING_MAX: usize = 2;

/// Streams of one peer and class that are read at a time.
const READERS_MAX: usize = 8;

/// What a stream's task reports.
#[derive(Debug)]
pub(super) enum Note {
    /// A stream cannot be written to; the writer waits for another one.
    WriteFailed { peer: PeerId, class: Class },
    /// A peer broke the framing.
    Malformed { peer: PeerId, class: Class, err: FrameError },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Lines {
    links: Arc<Links>,
    metrics: NetMetrics,
    inboxes: PerClass<mpsc::Sender<Inbound>>,
    notes: mpsc::Sender<Note>,
    writers: BTreeMap<PeerId, PerClass<Writer>>,
    readers: BTreeMap<PeerId, PerClass<Readers>>,
}

/// A task that writes.
#[derive(Debug)]
struct Writer {
    /// Where it takes its streams from.
    streams: mpsc::Sender<Stream>,
    task: AbortHandle,
}

impl Drop for Writer {
    /// Ends the task with its frames and its streams, also where it waits for a peer that reads nothing.
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The tasks that read a class of one peer's, oldest first.
#[derive(Debug, Default)]
struct Readers(VecDeque<AbortHandle>);

impl Readers {
    /// Adds a reader. Streams that another one replaces are read to their end, since the last frames on them may be
    /// under way. While two peers find out which of their connections bears a class, several replace each other.
    fn add(&mut self, reader: AbortHandle) {
        self.0.retain(|reader| !reader.is_finished());
        self.0.push_back(reader);
        if self.0.len() > READERS_MAX
            && let Some(oldest) = self.0.pop_front()
        {
            oldest.abort();
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

impl Lines {
    /// Returns no lines yet, and where their tasks report.
    pub(super) fn new(
        links: Arc<Links>,
        metrics: NetMetrics,
        inboxes: PerClass<mpsc::Sender<Inbound>>,
    ) -> (Self, mpsc::Receiver<Note>) {
        let (notes, notes_out) = mpsc::channel(NOTES_MAX);
        let (writers, readers) = (BTreeMap::new(), BTreeMap::new());
        (Self { links, metrics, inboxes, notes, writers, readers }, notes_out)
    }

    /// Returns whether frames can be sent to a peer.
    pub(super) fn serve(&self, peer: &PeerId) -> bool {
        self.writers.contains_key(peer)
    }

    /// Returns whether frames can be sent to nobody.
    pub(super) fn are_none(&self) -> bool {
        self.writers.is_empty()
    }

    /// Writes a peer's frames of a class to this stream from now on.
    pub(super) fn write(&mut self, peer: PeerId, class: Class, stream: Stream) {
        if !self.serve(&peer) {
            self.start_writers(peer);
        }
        if let Some(writers) = self.writers.get(&peer)
            && writers.get(class).streams.try_send(stream).is_err()
        {
            // It has two that it did not look at yet, or it has ended: it asks again when a write fails.
            debug!(%peer, class = class.name(), "stream was not needed");
        }
    }

    /// Reads frames from a stream a peer opened, instead of from its earlier ones of this class.
    pub(super) fn read(&mut self, peer: PeerId, class: Class, stream: Stream) {
        let Some(name) = peer_from_libp2p(&peer) else { return };
        let inbox = self.inboxes.get(class).clone();
        let tally = self.metrics.received(class);
        let notes = self.notes.clone();
        let task = tokio::spawn(async move {
            if let ReadEnd::Malformed(err) = read_frames(stream, name, inbox, tally).await {
                // Nobody takes it only when the network stops.
                let _has_stopped = notes.send(Note::Malformed { peer, class, err }).await.is_err();
            }
        });
        let readers =
            self.readers.entry(peer).or_insert_with(|| PerClass::from_fn(|_| Readers::default()));
        readers.get_mut(class).add(task.abort_handle());
    }

    /// Ends the writers to a peer with which there is no session any more; who waits to send is told.
    pub(super) fn end_writers(&mut self, peer: PeerId) {
        self.writers.remove(&peer);
        self.metrics.set_peers(self.writers.len());
        if let Some(name) = peer_from_libp2p(&peer) {
            self.links.remove(name);
        }
    }

    /// Ends the readers of a peer that is not connected any more, or may say nothing any more.
    pub(super) fn end_readers(&mut self, peer: PeerId) {
        self.readers.remove(&peer);
    }

    fn start_writers(&mut self, peer: PeerId) {
        let Some(name) = peer_from_libp2p(&peer) else { return };
        let (outboxes, frames) = PerClass::from_fn(|_| mpsc::channel(OUTBOX_FRAMES_MAX)).unzip();
        let writers = frames.map(|class, frames| {
            let (streams, streams_out) = mpsc::channel(STREAMS_WAITING_MAX);
            let notes = self.notes.clone();
            let tally = self.metrics.sent(class);
            let task = tokio::spawn(write_frames(frames, streams_out, tally, async move || {
                // Nobody takes it only when the network stops.
                let _has_stopped = notes.send(Note::WriteFailed { peer, class }).await.is_err();
            }));
            Writer { streams, task: task.abort_handle() }
        });
        self.writers.insert(peer, writers);
        self.metrics.set_peers(self.writers.len());
        self.links.add(name, outboxes);
    }
}
