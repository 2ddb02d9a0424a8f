//! Whether a peer is in touch with enough of its cluster for it to agree: by what the peer knows, without asking.
//!
//! A follower that hears from its leader may follow one that lost its quorum, and knows nothing of that; so whoever watches has
//! it ask the leader, too, and what counts is for how long that was not answered. Never: asks anybody.

use core::time::Duration;

/// What a peer knows of its touch with the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Touch {
    /// How long ago it heard from a leader; `None`: not since it started.
    pub leader: Option<Duration>,
    /// Where it leads: how long ago a quorum was heard from; `None`: it does not lead, or has not heard from one.
    pub quorum: Option<Duration>,
    /// For how long it has been asking what is agreed on, without an answer; `None`: it is not asking, or was just answered.
    pub unanswered: Option<Duration>,
}

/// Why a peer cannot have its cluster agree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutOfTouch {
    /// It started, and nobody leads as far as it knows.
    #[error("this peer has not heard from a leader of its cluster since it started")]
    NoLeader,
    /// It has heard from nobody for too long.
    #[error("this peer has not been in touch with a majority of its cluster for {} ms", silent.as_millis())]
    Silent {
        /// For how long.
        silent: Duration,
    },
    /// Those it hears from cannot agree either.
    #[error("the cluster has not agreed on anything that this peer asked for {} ms", unanswered.as_millis())]
    Unanswered {
        /// For how long.
        unanswered: Duration,
    },
}

impl Touch {
    /// Says whether the peer may have its cluster agree. `patience`: longer than an election takes, so that one is no reason.
    ///
    /// # Errors
    /// [`OutOfTouch`]
    pub fn check(&self, patience: Duration) -> Result<(), OutOfTouch> {
        // One that began to lead a moment ago heard from another leader before, and from nobody since.
        let heard = [self.leader, self.quorum].into_iter().flatten().min();
        match heard {
            None => return Err(OutOfTouch::NoLeader),
            Some(silent) if silent > patience => return Err(OutOfTouch::Silent { silent }),
            Some(_) => {}
        }
        match self.unanswered {
            Some(unanswered) if unanswered > patience => Err(OutOfTouch::Unanswered { unanswered }),
            Some(_) | None => Ok(()),
        }
    }
}

/// Returns how long ago a majority of voters was heard from, by how long ago each was: nothing for the leader itself, `None` for
/// one that was not heard from. `None` when there is no such majority.
#[must_use]
pub fn quorum_silence(voters: impl IntoIterator<Item = Option<Duration>>) -> Option<Duration> {
    let mut voters: Vec<Option<Duration>> = voters.into_iter().collect();
    // Those that were not heard from come last.
    voters.sort_unstable_by_key(|silence| silence.unwrap_or(Duration::MAX));
    voters.get(voters.len() / 2).copied().flatten()
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::{OutOfTouch, Touch, quorum_silence};

    const PATIENCE: Duration = Duration::from_secs(4);

    fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn check(
        leader: Option<u64>,
        quorum: Option<u64>,
        unanswered: Option<u64>,
    ) -> Result<(), OutOfTouch> {
        let [leader, quorum, unanswered] = [leader, quorum, unanswered].map(|at| at.map(s));
        Touch { leader, quorum, unanswered }.check(PATIENCE)
    }

    #[test]
    fn a_quorum_is_more_than_half_of_the_voters() {
        assert_eq!(quorum_silence([Some(s(0))]), Some(s(0)));
        assert_eq!(quorum_silence([Some(s(0)), Some(s(9))]), Some(s(9)));
        assert_eq!(quorum_silence([Some(s(0)), None]), None);
        assert_eq!(quorum_silence([None, Some(s(0)), Some(s(3))]), Some(s(3)));
        assert_eq!(quorum_silence([Some(s(0)), Some(s(7)), None, Some(s(1)), None]), Some(s(7)));
        assert_eq!(quorum_silence([Some(s(0)), Some(s(1)), None, None, None]), None);
        assert_eq!(quorum_silence([]), None);
    }

    #[test]
    fn a_peer_is_in_touch_by_a_leader_or_as_one() {
        assert_eq!(check(None, None, None), Err(OutOfTouch::NoLeader));
        assert_eq!(check(Some(1), None, None), Ok(()));
        assert_eq!(check(None, Some(0), None), Ok(()));
        assert_eq!(check(Some(5), None, None), Err(OutOfTouch::Silent { silent: s(5) }));
        assert_eq!(check(Some(9), Some(5), None), Err(OutOfTouch::Silent { silent: s(5) }));
        // It leads since a moment ago, and nobody had time to answer.
        assert_eq!(check(Some(2), None, None), Ok(()));
    }

    #[test]
    fn a_leader_without_a_quorum_answers_nobody() {
        assert_eq!(check(Some(0), None, Some(4)), Ok(()), "an election takes as long");
        let unanswered = s(5);
        assert_eq!(check(Some(0), None, Some(5)), Err(OutOfTouch::Unanswered { unanswered }));
    }
}
