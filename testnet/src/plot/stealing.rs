//! Stealing: the table of `testnet sim --scenario steal` as bars, from a run of the same simulation.
//!
//! Only the shorter delay, which the targets are for. Never: judges; the scenario does.

use anyhow::Context;

use super::figure::{Colour, Figure, Panel, Point, Series, Shape, XAxis};
use crate::sim::steal::{self, DELAYS, JOBS_PER_PEER, PEERS, Row, SEEDS, Start, Way};

/// Most peers that all ways are run with, and the ways of more: at a thousand the worst alone take minutes.
const ALL_WAYS_PEERS_MAX: usize = 100;
const WAYS_OF_MORE: [Way; 1] = [Way::Chosen];
/// Where the axis ends; longer makespans are told in figures.
const MAKESPAN_SHOWN: f64 = 3.0;

/// Runs the simulation.
///
/// # Errors
/// It panicked.
#[expect(clippy::disallowed_methods, reason = "a simulation keeps a processor busy for seconds")]
pub(super) async fn measure() -> anyhow::Result<Figure> {
    let runs = Start::ALL.map(|start| {
        tokio::task::spawn_blocking(move || {
            let rows = |peers| {
                let has_all = peers <= ALL_WAYS_PEERS_MAX;
                let ways = if has_all { Way::ALL.as_slice() } else { &WAYS_OF_MORE };
                steal::rows(start, DELAYS[0], peers, ways)
            };
            PEERS.into_iter().flat_map(rows).collect::<Vec<Row>>()
        })
    });
    let mut rows = Vec::new();
    for run in runs {
        rows.extend(run.await.context("the simulation panicked")?);
    }
    Ok(figure(&rows))
}

fn figure(rows: &[Row]) -> Figure {
    let mut peers: Vec<usize> = rows.iter().map(|row| row.peers).collect();
    peers.sort_unstable();
    peers.dedup();
    let panels = Start::ALL.map(|start| {
        let place = |row: &Row| peers.iter().zip(0u32..).find(|(one, _)| **one == row.peers);
        let points = |way: Way, y: fn(&Row) -> f64| {
            let own = rows.iter().filter(|row| row.start == start && row.way == way);
            own.filter_map(|row| Some(Point::new(place(row)?.1.into(), y(row)))).collect()
        };
        let bars = Way::ALL.map(|way| Series {
            name: way.name().to_owned(),
            colour: colour(way),
            shape: Shape::Bars,
            points: points(way, |row| row.makespan),
        });
        let target = Series {
            name: "target for chosen".to_owned(),
            colour: Colour::Ink,
            shape: Shape::Level,
            points: points(Way::Chosen, |row| row.makespan_max),
        };
        let names = peers.iter().map(ToString::to_string).collect();
        Panel {
            title: match start {
                Start::One => "All work begins on one peer",
                Start::Skewed => "Nine tenths of the work begin on a tenth of the peers",
            }
            .to_owned(),
            x: XAxis::names("peers", names),
            y_label: "makespan / ideal".to_owned(),
            y_cut: Some(MAKESPAN_SHOWN),
            series: bars.into_iter().chain([target]).collect(),
            ..Panel::default()
        }
    });
    let caption = format!(
        "Simulation of the queues alone, in virtual time: {JOBS_PER_PEER} jobs for each peer there is, of exponential sizes up to four times the average; a \
        message takes {} average jobs. Makespan: until the last job is done, over the ideal, which is all work over all peers (1 is the best); means \
        of {SEEDS} seeds; with more than {ALL_WAYS_PEERS_MAX} peers only the chosen way was run. Bars with a gap go on to the figure above them.",
        DELAYS[0],
    );
    Figure {
        name: "stealing",
        title: "How well waiting work spreads over idle peers, by way of stealing".to_owned(),
        columns: 1,
        panels: panels.into(),
        caption,
    }
}

const fn colour(way: Way) -> Colour {
    match way {
        Way::Chosen => Colour::Blue,
        Way::OnlyWaiting => Colour::Sky,
        Way::NoWaiting => Colour::Orange,
        Way::RandomVictim => Colour::Vermillion,
        Way::StealOne => Colour::Purple,
        Way::Push => Colour::Green,
        Way::Nothing => Colour::Yellow,
    }
}
