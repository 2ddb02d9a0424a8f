//! How one direction of a link treats a frame, and the task that carries frames across it.
//!
//! A frame occupies the link for its length, then travels for the link's delay. Frames keep their order
//! unless the seed says otherwise. What waits for a full inbox holds up what is sent after it.
//! Never: changes a byte, unless a sender with bad memory is asked for.
#![expect(clippy::disallowed_methods, reason = "frames on their way belong to no process")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use node::env::Inbound;
use protocol::PeerId;
use protocol::wire::{Class, Frame};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

use crate::sim::chance::{Chance, nanos};
use crate::sim::world::World;

/// Frames on their way in one direction of one class: what the buffers of a connection hold.
const IN_FLIGHT_FRAMES_MAX: usize = 64;
/// An overtaken frame, or the second copy of one, is late by at most this.
const LATE_MAX: Duration = Duration::from_millis(200);

/// How one direction of a link behaves. The default is a quiet local network.
#[derive(Clone, Copy, Debug)]
pub struct LinkHabits {
    /// Least and most time on the way.
    pub delay: (Duration, Duration),
    /// Bytes per second.
    pub bytes_per_second: u64,
    /// Frames lost, in parts per million.
    pub losses: u64,
    /// Frames that arrive twice, in parts per million.
    pub repeats: u64,
    /// Frames that later ones overtake, in parts per million.
    pub overtaken: u64,
    /// Frames that break their connection, in parts per million.
    pub resets: u64,
    /// Frames with a bit of their body flipped, in parts per million: by bad memory of the sender, which no
    /// encryption notices. Only a check from end to end does.
    pub garbles: u64,
}

impl Default for LinkHabits {
    fn default() -> Self {
        Self {
            delay: (Duration::from_micros(100), Duration::from_micros(300)),
            bytes_per_second: 1 << 30,
            losses: 0,
            repeats: 0,
            overtaken: 0,
            resets: 0,
            garbles: 0,
        }
    }
}

/// One direction of a connection, for one class.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lane {
    pub(super) from: PeerId,
    pub(super) to: PeerId,
    pub(super) class: Class,
    /// Number of the connection: frames of a broken one do not arrive.
    pub(super) connection: u64,
}

/// What becomes of one frame.
struct Fate {
    /// When each copy arrives; none when it is lost.
    arrivals: Vec<u64>,
    breaks: bool,
}

impl LinkHabits {
    /// Draws what becomes of a frame sent `now`, when nothing may arrive before `earliest` out of order.
    fn fate(&self, chance: &Chance, now: u64, earliest: &mut u64) -> Fate {
        let breaks = chance.happens(self.resets);
        if chance.happens(self.losses) {
            return Fate { arrivals: Vec::new(), breaks };
        }
        let (least, most) = self.delay;
        let mut at = now + nanos(chance.between(least, most));
        let late = || nanos(chance.between(Duration::ZERO, LATE_MAX));
        if chance.happens(self.overtaken) {
            at += late();
        } else {
            at = at.max(*earliest);
            *earliest = at;
        }
        let mut arrivals = vec![at];
        if chance.happens(self.repeats) {
            arrivals.push(at + late());
        }
        Fate { arrivals, breaks }
    }
}

/// Carries frames from an outbox to the other side's inbox, until the outbox is gone.
pub(super) async fn carry(world: World, lane: Lane, mut outbox: mpsc::Receiver<Frame>) {
    let room = Arc::new(Semaphore::new(IN_FLIGHT_FRAMES_MAX));
    let mut earliest = 0;
    while let Some(mut frame) = outbox.recv().await {
        let habits = world.network().habits(lane.from, lane.to);
        if world.network().chance().happens(habits.garbles) {
            frame.body = garbled(&frame.body, world.network().chance());
        }
        let bytes = frame.wire_bytes() as u64;
        let occupied = bytes.saturating_mul(1_000_000_000) / habits.bytes_per_second.max(1);
        if occupied > 0 {
            world.clock().sleep(Duration::from_nanos(occupied)).await;
        }
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        let now = world.clock().nanos();
        let fate = habits.fate(world.network().chance(), now, &mut earliest);
        if fate.breaks {
            world.network().break_connection(&world, lane);
        }
        let permit = Arc::new(permit);
        for at in fate.arrivals {
            let arrival = arrive(world.clone(), lane, frame.clone(), at, Arc::clone(&permit));
            tokio::spawn(arrival);
        }
    }
}

/// Returns the bytes with one bit flipped.
fn garbled(body: &Bytes, chance: &Chance) -> Bytes {
    let mut bytes = body.to_vec();
    let at = usize::try_from(chance.below(bytes.len() as u64)).unwrap_or(0);
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 1 << chance.below(8);
    }
    bytes.into()
}

/// Puts a frame into the receiver's inbox at its time, waiting for room there.
async fn arrive(
    world: World,
    lane: Lane,
    frame: Frame,
    at: u64,
    permit: Arc<OwnedSemaphorePermit>,
) {
    world.clock().sleep_until_nanos(at).await;
    let Some(inbox) = world.network().inbox_of(&world, lane) else { return };
    let Ok(place) = inbox.reserve().await else { return };
    let Lane { from, to, class, .. } = lane;
    world.record(format_args!("frame {from} {to} {}", class.name()), &[&frame.head, &frame.body]);
    place.send(Inbound { from, frame });
    drop(permit);
}
