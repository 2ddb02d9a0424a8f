//! What guests may ask of a peer: how much, how many at a time, how often.
//!
//! Never: counts; [`super::Gate`] does.

use std::time::Duration;

use libp2p::StreamProtocol;
use protocol::limits::{
    GUEST_ANSWER_BYTES_MAX, GUEST_QUESTION_BYTES_MAX, OVERLAY_ANSWER_BYTES_MAX,
    OVERLAY_QUESTION_BYTES_MAX,
};

use crate::env::GuestProtocol;

/// Things in a time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    /// How many at once.
    pub(super) burst: u32,
    /// How long until one more.
    pub(super) pause: Duration,
}

/// What one protocol allows.
#[derive(Clone, Debug)]
pub(in crate::net) struct Limits {
    pub(super) name: StreamProtocol,
    pub(super) question_bytes_max: usize,
    pub(super) answer_bytes_max: usize,
    /// Questions of others that are read at a time, over all of them: 4 MiB of memory at most.
    pub(super) reading: usize,
    /// Those that are answered at a time: 32 MiB of memory or so.
    pub(super) places: usize,
    /// Those of one guest that wait for their answer.
    pub(super) open_of_one: usize,
    /// Questions at a time on one connection, in both directions together.
    pub(super) streams_per_connection: usize,
    /// Questions of one guest.
    pub(super) of_one: Rate,
    /// Questions of all guests together.
    pub(super) of_all: Rate,
    /// KiB of answers to one guest. Beyond it, answers wait for their time.
    pub(super) kib_of_one: Rate,
    /// The same to all guests together.
    pub(super) kib_of_all: Rate,
}

/// The longest that an answer waits for its time: less than whoever asks has patience.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(5);

impl Limits {
    /// Returns those of a protocol. `rate`: bytes per second that guests may take of what is public, all together.
    pub(in crate::net) fn of(protocol: GuestProtocol, rate: u64) -> Self {
        let second = Duration::from_secs(1);
        let free = Rate { burst: u32::MAX, pause: Duration::ZERO };
        match protocol {
            GuestProtocol::Join => Self {
                name: StreamProtocol::new("/shoal/guest/1"),
                question_bytes_max: GUEST_QUESTION_BYTES_MAX,
                answer_bytes_max: GUEST_ANSWER_BYTES_MAX,
                reading: 64,
                places: 32,
                open_of_one: 4,
                streams_per_connection: 2,
                of_one: Rate { burst: 8, pause: second },
                // Twenty peers that join at once are served at once.
                of_all: Rate { burst: 128, pause: second / 20 },
                kib_of_one: free,
                kib_of_all: free,
            },
            GuestProtocol::Overlay => {
                let kib = u32::try_from((rate >> 10).max(1)).unwrap_or(u32::MAX);
                let half = kib.div_ceil(2);
                Self {
                    name: StreamProtocol::new("/shoal/overlay/1"),
                    question_bytes_max: OVERLAY_QUESTION_BYTES_MAX,
                    answer_bytes_max: OVERLAY_ANSWER_BYTES_MAX,
                    reading: 64,
                    places: 16,
                    open_of_one: 4,
                    streams_per_connection: 4,
                    of_one: Rate { burst: 64, pause: second / 50 },
                    of_all: Rate { burst: 512, pause: second / 500 },
                    // Two seconds' worth at once.
                    kib_of_one: Rate { burst: half.saturating_mul(2), pause: second / half },
                    kib_of_all: Rate { burst: kib.saturating_mul(2), pause: second / kib },
                }
            }
        }
    }
}
