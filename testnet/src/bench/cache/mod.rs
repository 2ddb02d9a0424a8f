//! Hit rates of the peers' cache, beside those of plain policies and of the best that could be.
//!
//! The cache is the daemon's own type; the others are written for this. All see the same requests, from empty, and
//! hold the same number of objects of one size. [`trace`] says what is asked for.
//! Never: starts a daemon; measures time.

mod optimum;
mod policies;
mod rates;
mod trace;

pub(super) use rates::{Rates, run};
