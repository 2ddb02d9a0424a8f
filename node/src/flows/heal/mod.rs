//! Healing: lost copies come back without anyone asking.
//!
//! One task per peer (`task`) looks who is away (`watch`), and after every change that matters, and every ten
//! minutes ([`HealSettings`]), runs a `round`: it compares its `inventory` with those of the others (`ask`; they
//! `answer`), plans, and puts what is to be copied into the queue of work, from which whoever has time does it. What differs,
//! what is copied first and how fast is decided by `protocol::repair`. Owns the plan and the summary of the inventory, which is not kept up to date as blocks come and
//! go: whoever needs one scans the store, at a cost of O(references), a few seconds old at most for answers. A peer
//! that should not hold something any more gives it to those who lack it, and drops it once all who should hold
//! it do (`depart`). Never: removes a block that fewer others hold than should.

mod answer;
mod ask;
mod depart;
mod handle;
mod inventory;
mod metrics;
mod round;
mod settings;
mod task;
mod watch;

pub use handle::Heal;
pub(crate) use handle::HealInbox;
pub use metrics::HealMetrics;
pub use settings::HealSettings;
pub(crate) use task::heal;
