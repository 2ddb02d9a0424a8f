//! How a cluster finds out which blocks lack copies, and in which order and at which rate they are restored.
//!
//! Two peers compare [`Summary`]s ([`Comparison`]), then the rows of what differs ([`RowComparison`]);
//! [`Findings`] turn the answers of all holders into repairs, a [`Plan`] orders them, each becomes a job ([`Restore`]) of the queue of
//! work, a [`Budget`] says when the next may start, [`Rounds`] when the next comparison may. [`may_drop`] says when a peer that should no longer hold a partition may let go of it,
//! [`Scrub`] what to read again. Why it is done so: `protocol/decisions/0014-repair.md`.
//! Never: IO, clocks; moves a block; decides which owners are dead (the metadata does).

mod absence;
mod budget;
mod comparison;
mod desired;
mod findings;
mod foreground;
mod leave;
mod message;
mod plan;
mod restore;
mod rounds;
mod row;
mod rows;
mod scrub;
mod status;
mod summary;

pub use absence::Absences;
pub use budget::{Budget, BudgetSettings};
pub use comparison::{Answering, Comparison, Step, View, answer, check, differing};
pub use desired::{Absence, Desired, Scope};
pub use findings::{Findings, Repair};
pub use foreground::{Foreground, Tally};
pub use leave::{Confirmations, Evidence, Keep, may_drop};
pub use message::{Answer, Page, Question, RepairFormatError};
pub use plan::{Plan, RepairId, Updated};
pub use restore::Restore;
pub use rounds::{RoundEnd, Rounds};
pub use row::{Row, RowKey};
pub use rows::{Missing, RowComparison, RowStep, Side};
pub use scrub::{Scrub, ScrubSettings, ScrubStatus};
pub use status::{Meter, RepairStatus, ScrubProgress, status};
pub use summary::{Bucket, Planted, Stamp, Summary};

#[cfg(test)]
mod comparison_test;
#[cfg(test)]
mod figures_test;
#[cfg(test)]
mod model;
#[cfg(test)]
mod model_test;
#[cfg(test)]
mod testing;
