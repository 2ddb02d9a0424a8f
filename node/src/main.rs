//! The daemon `shoald`: command line, process, signals.
//!
//! Reads the settings, takes the data directory, starts the drivers and the node above them, and stops them
//! in reverse. Never: what a peer does; that is [`node::Node`].
#![expect(clippy::disallowed_methods, reason = "the process stands outside the seam")]

mod args;
mod data_dir;
mod run;

use std::process::ExitCode;

use clap::Parser;
use tikv_jemallocator::Jemalloc;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use node::config::{Settings, describe};

// Returns what transfers free to the system, where the C library's allocator keeps it.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

/// Exit status of a usage error, shared with the client.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    // What peers store is nobody else's business on this machine.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let args = args::Args::parse();
    let prints = matches!(args.command, Some(args::Command::Config));
    let settings = match args.settings() {
        Ok(settings) => settings,
        Err(faults) => {
            for fault in faults {
                complain(&fault);
            }
            return ExitCode::from(USAGE);
        }
    };
    if prints {
        print(&describe(&settings));
        return ExitCode::SUCCESS;
    }
    log_by(&settings);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(fault) => {
            complain(&format!("cannot start threads: {fault}"));
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(run::run(settings));
    runtime.shutdown_timeout(std::time::Duration::from_secs(2));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fault) => {
            complain(&format!("{fault:#}"));
            ExitCode::FAILURE
        }
    }
}

fn log_by(settings: &Settings) {
    // Kademlia warns every minute while a peer is alone, which is no fault, and questions of guests beyond
    // their bound are a stranger's, who shall not fill the log. A filter that names them wins.
    let quiet = "libp2p_kad=error,libp2p_request_response=error,openraft=error";
    let filter = format!("{quiet},{}", settings.log);
    // The filter was checked when the settings were read.
    let filter: Targets = filter.parse().unwrap_or_default();
    let lines = tracing_subscriber::registry().with(filter);
    if settings.log_json {
        lines.with(tracing_subscriber::fmt::layer().json().with_writer(std::io::stderr)).init();
    } else {
        let colour = std::io::IsTerminal::is_terminal(&std::io::stderr());
        lines
            .with(tracing_subscriber::fmt::layer().with_ansi(colour).with_writer(std::io::stderr))
            .init();
    }
}

#[expect(
    clippy::print_stderr,
    reason = "before the log exists, standard error is where people look"
)]
fn complain(fault: &str) {
    eprintln!("shoald: {fault}");
}

#[expect(clippy::print_stdout, reason = "the settings are what was asked for")]
fn print(text: &str) {
    println!("{text}");
}
