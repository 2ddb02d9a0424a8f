//! The program `testnet`: the command line of everything that doubts Shoal.

mod args;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(fault) => return fail(&anyhow::Error::from(fault)),
    };
    match args.run(&runtime) {
        Ok(code) => code,
        Err(fault) => fail(&fault),
    }
}

#[expect(clippy::print_stderr, reason = "a command line tells its failure there")]
fn fail(fault: &anyhow::Error) -> ExitCode {
    eprintln!("testnet: {fault:#}");
    ExitCode::FAILURE
}
