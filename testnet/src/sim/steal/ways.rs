//! Where the work begins, and the ways in which it may move.
//!
//! Never: runs anything.

use protocol::work::{Policy, Share};

/// Where all work begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// On one peer.
    One,
    /// Nine tenths on a tenth of the peers.
    Skewed,
}

impl Start {
    pub(crate) const ALL: [Self; 2] = [Self::One, Self::Skewed];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::One => "one",
            Self::Skewed => "90/10",
        }
    }
}

/// A way for work to move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Chosen,
    Nothing,
    StealOne,
    RandomVictim,
    NoWaiting,
    OnlyWaiting,
    Push,
}

impl Way {
    pub(crate) const ALL: [Self; 7] = [
        Self::Chosen,
        Self::NoWaiting,
        Self::OnlyWaiting,
        Self::RandomVictim,
        Self::StealOne,
        Self::Push,
        Self::Nothing,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Chosen => "chosen",
            Self::Nothing => "no stealing",
            Self::StealOne => "steal one",
            Self::RandomVictim => "random victim",
            Self::NoWaiting => "no waiting",
            Self::OnlyWaiting => "only waiting",
            Self::Push => "push",
        }
    }

    pub(super) fn policy(self) -> Policy {
        let chosen = Policy::default();
        match self {
            Self::Chosen => chosen,
            Self::Nothing | Self::Push => Policy { asked: 0, wait_after: 0, ..chosen },
            Self::OnlyWaiting => Policy { asked: 0, wait_after: 1, ..chosen },
            Self::StealOne => Policy { share: Share::One, ..chosen },
            Self::RandomVictim => Policy { asked: 1, wait_after: 0, ..chosen },
            Self::NoWaiting => Policy { wait_after: 0, ..chosen },
        }
    }
}
