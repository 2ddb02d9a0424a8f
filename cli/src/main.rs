//! `shoal`, the client: what people ask a Shoal cluster.
//!
//! Never: decides anything about the cluster; it asks a peer over HTTP and checks what it gets.

mod access;
mod answer;
mod args;
mod bucket;
mod catalog;
mod cluster;
mod download;
mod endpoint;
mod failure;
mod fetch;
mod import;
mod list;
mod lock;
mod object;
mod output;
mod part;
mod patch;
mod publish;
mod question;
mod queue;
mod remove;
mod repair;
mod search;
mod send;
mod source;
mod stat;
mod target;
mod token;
mod tree;
mod tree_download;
mod upload;

use std::process::ExitCode;

use clap::Parser;
use clap::error::ErrorKind;
use protocol::{Fault, Kind};

use crate::args::{Cli, Command};
use crate::endpoint::Endpoints;
use crate::failure::Failure;
use crate::token::Token;

/// Threads that move bytes; hashing and files have their own.
const WORKER_THREADS: usize = 2;
/// Threads that hash, read and write: each holds a piece of a file.
const BLOCKING_THREADS_MAX: usize = 24;
/// A command line without a command shows the help, too.
const SHOWS_HELP: ErrorKind = ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
/// Exit status of a command that Ctrl-C ended, as shells tell it.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and version are printed as they are.
        Err(error) if error.exit_code() == 0 || error.kind() == SHOWS_HELP => error.exit(),
        Err(error) => {
            output::usage(&error);
            return ExitCode::from(Kind::Invalid.exit_status());
        }
    };
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
            biased; // what is done is done, whatever came at the same time
            ended = run(&cli) => Some(ended),
            // What was running is dropped, and removes what it left half done.
            // A command that runs under a lock is told first; that is done where it runs.
            _ = tokio::signal::ctrl_c(), if !matches!(cli.command, Command::Lock(_)) => None,
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
    let token = Token::choose(cli.common.token.as_deref())?;
    let endpoints = &Endpoints::new(&cli.common.endpoints, &token)?;
    let json = cli.common.json;
    match &cli.command {
        Command::Upload(args) => upload::run(endpoints, args, json).await,
        Command::Download(args) => download::run(endpoints, args, json).await,
        Command::Cat(args) => download::cat(endpoints, args, json).await,
        Command::Stat(args) => stat::run(endpoints, args, json).await,
        Command::Ls(args) => list::run(endpoints, args, json).await,
        Command::Search(args) => search::run(endpoints, args, json).await,
        Command::Rm(args) => remove::run(endpoints, args, json).await,
        Command::Cp(args) => object::copy(endpoints, args, json).await,
        Command::Mv(args) => object::rename(endpoints, args, json).await,
        Command::Update(args) => upload::update(endpoints, args, json).await,
        Command::Write(args) => patch::write(endpoints, args, json).await,
        Command::Append(args) => patch::append(endpoints, args, json).await,
        Command::Versions(args) => list::versions(endpoints, args, json).await,
        Command::Restore(args) => object::restore(endpoints, args, json).await,
        Command::Tag(args) => object::tag(endpoints, args, json).await,
        Command::Publish(args) => publish::run(endpoints, args, true, json).await,
        Command::Unpublish(args) => publish::run(endpoints, args, false, json).await,
        Command::Catalog(what) => catalog::run(endpoints, what, json).await,
        Command::Lock(args) => lock::run(endpoints, args, json).await,
        Command::Bucket(what) => bucket::run(endpoints, what, json).await,
        Command::User(what) => access::users(endpoints, what, json).await,
        Command::Key(what) => access::keys(endpoints, what, json).await,
        Command::Cluster(what) => cluster::run(endpoints, what, json).await,
        Command::Repair(what) => repair::run(endpoints, what, json).await,
        Command::Scrub(what) => repair::scrub(endpoints, what, json).await,
        Command::Queue { what } => queue::run(endpoints, what.as_ref(), json).await,
    }
}
