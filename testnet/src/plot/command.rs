//! `testnet plot`: which pictures are drawn, and where they lie.

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use clap::{Args, ValueEnum};

use super::{draw, failure, growth, healing, stealing};
use crate::bench::scratch::Scratch;

/// What there is to draw.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Plot {
    /// Requests that each peer answers before, during and after the failure of one.
    Failure,
    /// What each peer has to do and to hold as peers are added.
    Growth,
    /// What lacks and what is copied while a peer joins and while one is lost for good.
    Healing,
    /// How well waiting work spreads over idle peers, beside other ways.
    Stealing,
}

/// Draw what real daemons do, from runs that are measured for it.
#[derive(Clone, Debug, Args)]
#[command(after_help = "Example: testnet plot --only failure --out /tmp/plots")]
pub struct PlotArgs {
    /// Only this one.
    #[arg(value_name = "NAME", value_enum, conflicts_with = "only")]
    name: Option<Plot>,
    /// The same.
    #[arg(long, value_name = "NAME", value_enum)]
    only: Option<Plot>,
    /// Where the pictures and the figures behind them are written.
    #[arg(long, value_name = "DIR", default_value = "plots")]
    out: PathBuf,
    /// Where daemons live meanwhile, in a folder of their own; `$TMPDIR` when absent.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

/// Draws what is asked for.
///
/// # Errors
/// A daemon failed, or a picture cannot be written. What was started is taken down all the same.
pub async fn main(args: &PlotArgs, out: &mut (impl Write + Send)) -> anyhow::Result<()> {
    std::fs::create_dir_all(&args.out)
        .with_context(|| format!("cannot make {}", args.out.display()))?;
    let scratch = Scratch::make(args.dir.as_deref())?;
    for plot in Plot::value_variants() {
        if args.name.or(args.only).is_some_and(|only| only != *plot) {
            continue;
        }
        let mut figure = match plot {
            Plot::Failure => failure::measure(&scratch).await?,
            Plot::Growth => growth::measure(&scratch).await?,
            Plot::Healing => healing::measure(&scratch).await?,
            Plot::Stealing => stealing::measure().await?,
        };
        figure.caption = format!("{} {}", figure.caption, machine(*plot)?);
        for path in draw::save(&figure, &args.out)? {
            writeln!(out, "{}", path.display())?;
        }
    }
    Ok(())
}

/// Returns on what it was measured, and how busy that was.
fn machine(plot: Plot) -> anyhow::Result<String> {
    if plot == Plot::Stealing {
        return Ok(String::new());
    }
    let cores = std::thread::available_parallelism()?;
    // Of the last minute; absent where the system does not tell.
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let load = text
        .split_whitespace()
        .next()
        .map_or(String::new(), |load| format!("; load average of the machine at the end {load}"));
    Ok(format!("All of it on one machine of {cores} processors{load}."))
}
