//! Work that can wait: the queue of one peer, and how jobs move to idle peers.
//!
//! A [`Queue`] is one peer's part in it: its own jobs, which outlive crashes, and those it took from others,
//! which do not: a job stays in the queue where it was put until it is done, and is only lent, under a lease
//! with a fencing token. An idle peer asks; nobody pushes to one that did not. What is done twice must have the effect of once: a
//! token says whose word counts, not who worked.
//! Never: does a job; knows placement (the caller says what suits whom).
//! Source: Blumofe and Leiserson, "Scheduling multithreaded computations by work stealing", 1999 (pull);
//! Graham, "Bounds on multiprocessing timing anomalies", 1969 (largest first); Saraswat et al., "Lifeline-based global load
//! balancing", 2011 (whoever asked in vain is served when there is work).

mod borrow;
mod hints;
mod interface;
mod job;
mod ledger;
mod lend;
mod load;
mod message;
mod own;
mod queue;
mod ready;
mod steal;
mod summary;
mod taken;
mod waiters;

pub use interface::{Change, Fit, Input, Output, Planted, Policy, Share, Suits};
pub use job::{Job, JobId, JobKind, JobSpec, Priority, Row, RowState, Subject};
pub use load::Load;
pub use message::{Done, LeaseName, Lent, Message, Outcome};
pub use queue::Queue;
pub use summary::{DeadLetter, Summary, Tally};

#[cfg(test)]
mod faults_test;
#[cfg(test)]
mod format_test;
#[cfg(test)]
mod found_again_test;
#[cfg(test)]
mod lend_test;
#[cfg(test)]
mod queue_test;
#[cfg(test)]
mod testing;
