//! What commands changed, told to whoever follows it, in the order of the log.
//!
//! Each follower has a bounded queue of what it wants to hear. One that falls behind, or whose peer took over a whole snapshot, hears
//! [`Told::Missed`] instead of what it missed, and reads the state anew: nothing is lost unnoticed.
//! Never: waits for a follower; stores anything.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use protocol::limits::META_EFFECTS_MAX;
use protocol::metadata::Effect;
use tokio::sync::mpsc;

/// What a follower hears.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// A command applied on this peer changed this.
    Effect(Effect),
    /// There was more than the queue holds, or a snapshot was taken over: read the state anew.
    Missed,
}

/// One follower's end.
#[derive(Debug)]
pub struct Effects {
    queue: mpsc::Receiver<Effect>,
    missed: Arc<AtomicBool>,
}

impl Effects {
    /// Returns what comes next; `None` once this peer's metadata has stopped. Cancel-safe.
    pub async fn next(&mut self) -> Option<Told> {
        if self.take_missed() {
            return Some(Told::Missed);
        }
        let effect = self.queue.recv().await;
        // Set while this waited, always with something in the queue to wake it.
        if self.take_missed() {
            return Some(Told::Missed);
        }
        effect.map(Told::Effect)
    }

    /// Returns what is there already: all that was told before the call, one after the other, until there is nothing. Not for a
    /// loop beside [`Self::next`] in another task.
    pub fn try_next(&mut self) -> Option<Told> {
        if self.take_missed() {
            return Some(Told::Missed);
        }
        let effect = self.queue.try_recv().ok();
        if self.take_missed() {
            return Some(Told::Missed);
        }
        effect.map(Told::Effect)
    }

    /// Says whether something was missed, and if so forgets what is queued: the reader starts anew.
    fn take_missed(&mut self) -> bool {
        let missed = self.missed.swap(false, Ordering::AcqRel);
        if missed {
            while self.queue.try_recv().is_ok() {}
        }
        missed
    }
}

#[derive(Debug)]
struct Follower {
    wants: fn(&Effect) -> bool,
    queue: mpsc::Sender<Effect>,
    missed: Arc<AtomicBool>,
}

/// Where effects are told. Clones are handles to the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Teller {
    followers: Arc<Mutex<Vec<Follower>>>,
}

impl Teller {
    /// Returns the end of a new follower, who hears of all that it wants from now on.
    pub(super) fn follow(&self, wants: fn(&Effect) -> bool) -> Effects {
        let (queue, receiver) = mpsc::channel(META_EFFECTS_MAX);
        let missed = Arc::new(AtomicBool::new(false));
        let follower = Follower { wants, queue, missed: Arc::clone(&missed) };
        self.followers.lock().unwrap_or_else(PoisonError::into_inner).push(follower);
        Effects { queue: receiver, missed }
    }

    /// Tells everybody, in the order in which they came.
    pub(super) fn tell(&self, effects: &[Effect]) {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        followers.retain(|follower| !follower.queue.is_closed());
        for follower in followers.iter() {
            let mut wanted = effects.iter().filter(|effect| (follower.wants)(effect));
            let fits = wanted.all(|effect| follower.queue.try_send(effect.clone()).is_ok());
            if !fits {
                follower.missed.store(true, Ordering::Release);
                // Whoever emptied the queue in between and waits is woken.
                follower.queue.try_send(Effect::SettingsChanged).ok();
            }
        }
    }

    /// Tells everybody that anything may have changed.
    pub(super) fn tell_missed(&self) {
        let followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        for follower in followers.iter() {
            follower.missed.store(true, Ordering::Release);
            // Wakes whoever waits; a full queue wakes him too.
            follower.queue.try_send(Effect::SettingsChanged).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;
    use protocol::limits::META_EFFECTS_MAX;
    use protocol::metadata::Effect;

    use super::{Teller, Told};

    #[test]
    fn a_follower_hears_all_in_order_or_that_it_missed_some() {
        let teller = Teller::default();
        let mut quick = teller.follow(|_| true);
        let mut slow = teller.follow(|effect| *effect != Effect::MembersChanged);
        for _ in 0..2 {
            teller.tell(&vec![Effect::DueChanged; META_EFFECTS_MAX - 1]);
            teller.tell(&[Effect::TokensChanged]);
            for _ in 1..META_EFFECTS_MAX {
                let heard = quick.next().now_or_never().flatten();
                assert_eq!(heard, Some(Told::Effect(Effect::DueChanged)));
            }
            let heard = quick.next().now_or_never().flatten();
            assert_eq!(heard, Some(Told::Effect(Effect::TokensChanged)));
        }
        assert_eq!(slow.next().now_or_never().flatten(), Some(Told::Missed));
        assert_eq!(slow.next().now_or_never(), None, "what came before is history");
        assert_eq!(slow.try_next(), None);
        teller.tell(&[Effect::DueChanged, Effect::MembersChanged]);
        assert_eq!(slow.try_next(), Some(Told::Effect(Effect::DueChanged)));
        assert_eq!(slow.try_next(), None, "it does not want to hear of members");
        for _ in 0..2 {
            assert!(matches!(quick.try_next(), Some(Told::Effect(_))));
        }
        teller.tell_missed();
        assert_eq!(quick.next().now_or_never().flatten(), Some(Told::Missed));
        teller.tell(&[Effect::MembersChanged]);
        for follower in [&mut quick, &mut slow] {
            let _missed = follower.next().now_or_never();
        }
        drop(teller);
        assert_eq!(quick.next().now_or_never(), Some(None));
    }
}
