//! Pictures of how real daemons fare, from runs that are measured for them: as SVG, as PNG, and as the figures behind both.
//!
//! Each brings up a network of its own and takes it down again; that of stealing needs none, only the simulation.
//! Never: smooths what was measured, begins a y axis elsewhere than at zero, or judges.

mod command;
mod draw;
mod failure;
mod figure;
mod growth;
mod healing;
mod load;
mod series;
mod stealing;

pub use command::{PlotArgs, main};
