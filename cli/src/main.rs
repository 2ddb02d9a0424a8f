//! `shoal`, the client: what people ask a Shoal cluster.
//!
//! Never: decides anything about the cluster; it asks a peer over HTTP and checks what it gets.

mod answer;
mod args;
mod cluster;
mod download;
mod endpoint;
mod failure;
mod fetch;
mod output;
mod part;
mod source;
mod stat;
mod tree;
mod tree_download;
mod upload;

use std::process::ExitCode;

use clap::Parser;
use protocol::{Fault, Kind};

use crate::args::{Cli, Command};
use crate::endpoint::Endpoints;
use crate::failure::Failure;

/// Threads that move bytes; hashing and files have their own.
const WORKER_THREADS: usize = 2;
/// Threads that hash, read and write: each holds a piece of a file.
const BLOCKING_THREADS_MAX: usize = 24;
/// Exit status of a command that Ctrl-C ended, as shells tell it.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(WORKER_THREADS)
        .max_blocking_threads(BLOCKING_THREADS_MAX)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            output::fault(&Fault::new(Kind::Internal, format!("cannot start threads: {error}")));
            return ExitCode::from(Kind::Internal.exit_status());
        }
    };
    let ended = runtime.block_on(async {
        tokio::select! {
            ended = run(&cli) => Some(ended),
            // What was running is dropped, and removes what it left half done.
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    // A thread may wait for standard input for ever; nobody needs it now.
    runtime.shutdown_background();
    match ended {
        Some(Ok(())) => ExitCode::SUCCESS,
        Some(Err(failure)) => {
            if let Failure::Told(fault) = &failure {
                output::fault(fault);
            }
            ExitCode::from(failure.exit_status())
        }
        None => ExitCode::from(INTERRUPTED),
    }
}

async fn run(cli: &Cli) -> Result<(), Failure> {
    let endpoints = Endpoints::new(&cli.common.endpoints)?;
    let json = cli.common.json;
    match &cli.command {
        Command::Upload(args) => upload::run(&endpoints, args, json).await,
        Command::Download(args) => download::run(&endpoints, args, json).await,
        Command::Cat(args) => download::cat(&endpoints, args, json).await,
        Command::Stat(target) => stat::stat(&endpoints, target.cid()?, json).await,
        Command::Rm(target) => stat::remove(&endpoints, target.cid()?, json).await,
        Command::Cluster(what) => cluster::run(&endpoints, *what, json).await,
    }
}
