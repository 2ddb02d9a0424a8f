//! Whether a peer's misbehaviour is worth another line in the log.
//!
//! Never: logs, forgets to count; it only says whether to speak.

use std::num::NonZeroUsize;
use std::time::Duration;

use lru::LruCache;
use protocol::{Instant, PeerId};

/// At most one line per peer in this time.
const QUIET: Duration = Duration::from_secs(60);

/// Peers remembered. With more offenders than this, the least recent may get a second line.
const PEERS_MAX: NonZeroUsize = NonZeroUsize::new(1024).expect("1024 is not zero");

/// Remembers who was named in the log, and when.
#[derive(Debug)]
pub(crate) struct LogLimiter {
    named: LruCache<PeerId, Instant>,
}

impl LogLimiter {
    pub(crate) fn new() -> Self {
        Self { named: LruCache::new(PEERS_MAX) }
    }

    /// Returns whether `peer` may be named in the log now, and remembers that it was.
    pub(crate) fn may_log(&mut self, peer: PeerId, now: Instant) -> bool {
        if self.named.get(&peer).is_some_and(|at| now.since(*at) < QUIET) {
            return false;
        }
        self.named.put(peer, now);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::{LogLimiter, QUIET};
    use protocol::{Instant, PeerId};
    use std::time::Duration;

    #[test]
    fn a_peer_is_named_once_a_minute() {
        let mut limiter = LogLimiter::new();
        let start = Instant::ZERO;
        let (a, b) = (PeerId::from_public_key([1; 32]), PeerId::from_public_key([2; 32]));
        assert!(limiter.may_log(a, start));
        assert!(!limiter.may_log(a, start.after(QUIET - Duration::from_millis(1))));
        assert!(limiter.may_log(b, start));
        assert!(limiter.may_log(a, start.after(QUIET)));
    }

    #[test]
    fn memory_is_bounded_however_many_peers_offend() {
        let mut limiter = LogLimiter::new();
        let start = Instant::ZERO;
        for n in 0..5000_u32 {
            let mut key = [0; 32];
            key[..4].copy_from_slice(&n.to_be_bytes());
            assert!(limiter.may_log(PeerId::from_public_key(key), start));
        }
        assert_eq!(limiter.named.len(), super::PEERS_MAX.get());
    }
}
