//! The command line: what can be asked, and with which options.
//!
//! Every option that stands here does something. Never: acts, or reads more than arguments and the
//! environment variables that `--help` names.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use protocol::limits::REPLICAS_MAX;
use protocol::{Cid, Fault, Kind};

/// Keep files in a Shoal cluster and get them back.
#[derive(Debug, Parser)]
#[command(
    name = "shoal",
    version,
    arg_required_else_help = true,
    after_help = "Example: shoal upload photo.jpg\n\nExit status: 0 done, 1 internal, 2 usage, 3 not found, \
                  4 conflict, 5 denied, 6 unavailable or timed out, 7 corrupt"
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command takes.
#[derive(Clone, Debug, Args)]
pub(crate) struct Common {
    /// Address of a peer's HTTP interface; repeat it to name others that are tried in turn
    #[arg(
        long = "endpoint",
        value_name = "URL",
        global = true,
        env = "SHOAL_ENDPOINT",
        value_delimiter = ',',
        default_value = "http://127.0.0.1:4780"
    )]
    pub(crate) endpoints: Vec<String>,
    /// Print JSON with a stable schema
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Store files, directory trees or standard input; print their CIDs
    #[command(
        after_help = "Examples:\n  shoal upload photo.jpg\n  shoal upload album/ notes.txt\n  tar c src | shoal upload -\n\n\
                      Hidden files are included. A tree with symbolic links or special files is refused before \
                      anything is sent."
    )]
    Upload(Upload),
    /// Fetch a file or a directory tree, every block verified
    #[command(
        after_help = "Examples:\n  shoal download bafy... -o photo.jpg\n  shoal download bafy... --range 0-1023 -o head.bin\n\n\
                      A download that was cut off goes on where it stopped when it is run again."
    )]
    Download(Download),
    /// Write a file to standard output, every block verified
    #[command(
        after_help = "Examples:\n  shoal cat bafy... | less\n  shoal cat bafy... --range 100-199"
    )]
    Cat(Cat),
    /// Show what a CID is: kind, size, links
    #[command(after_help = "Example: shoal stat bafy... --json")]
    Stat(Target),
    /// Remove content that was uploaded; blocks that other content shares stay
    #[command(after_help = "Example: shoal rm bafy...")]
    Rm(Target),
    /// Look at the cluster
    #[command(subcommand, after_help = "Example: shoal cluster status")]
    Cluster(Cluster),
}

#[derive(Debug, Args)]
pub(crate) struct Upload {
    /// Files, directories, or `-` for standard input
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) options: UploadOptions,
}

/// How content is stored.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct UploadOptions {
    /// Copies of each block of a file; directories' own blocks always have the cluster's number [default: that, too]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=i64::from(REPLICAS_MAX)))]
    pub(crate) replicas: Option<u8>,
    /// How files are cut into blocks; `fastcdc` shares more between versions, but has CIDs of its own
    #[arg(long, value_enum)]
    pub(crate) chunker: Option<ChunkerName>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ChunkerName {
    /// Every MiB: the CID is the one that IPFS tools compute
    Fixed,
    /// Where the content says so
    Fastcdc,
}

#[derive(Debug, Args)]
pub(crate) struct Target {
    /// What to act on
    #[arg(value_name = "CID")]
    pub(crate) target: String,
}

impl Target {
    /// Returns the CID.
    ///
    /// # Errors
    /// [`Kind::Invalid`] if it is something else.
    pub(crate) fn cid(&self) -> Result<Cid, Fault> {
        self.target.parse().map_err(|error| {
            let hint =
                "names (BUCKET/KEY) are not available yet; give a CID as `shoal upload` prints it";
            Fault::new(Kind::Invalid, format!("{error}; {hint}"))
        })
    }
}

#[derive(Debug, Args)]
pub(crate) struct Download {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Where to write; `-` is standard output [default: the CID, in the current directory]
    #[arg(short, long, value_name = "PATH")]
    pub(crate) output: Option<PathBuf>,
    /// Only bytes A to B, both included and counted from 0; `A-` goes to the end
    #[arg(long, value_name = "A-B")]
    pub(crate) range: Option<Range>,
    /// Replace a file that exists
    #[arg(long)]
    pub(crate) force: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Cat {
    #[command(flatten)]
    pub(crate) target: Target,
    /// Only bytes A to B, both included and counted from 0; `A-` goes to the end
    #[arg(long, value_name = "A-B")]
    pub(crate) range: Option<Range>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Subcommand)]
pub(crate) enum Cluster {
    /// Show the cluster and its peers
    #[command(after_help = "Example: shoal cluster status")]
    Status,
    /// List the peers
    #[command(after_help = "Example: shoal cluster peers --json")]
    Peers,
}

/// Bytes of a file as `--range` names them: first, and last if there is one, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u64,
    pub(crate) last: Option<u64>,
}

impl FromStr for Range {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "expected A-B with A not greater than B, or A-, in bytes".to_owned();
        let (first, last) = text.split_once('-').ok_or_else(wrong)?;
        let number = |digits: &str| {
            // `parse` would also take a sign.
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            digits.parse().ok().filter(|_| is_number)
        };
        let first = number(first).ok_or_else(wrong)?;
        let last = match last {
            "" => None,
            digits => Some(number(digits).filter(|last| *last >= first).ok_or_else(wrong)?),
        };
        Ok(Self { first, last })
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Cli, Range, Target};

    #[test]
    fn the_command_line_is_consistent_and_every_command_has_an_example() {
        Cli::command().debug_assert();
        let mut waiting = vec![Cli::command()];
        while let Some(command) = waiting.pop() {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("Example"), "{}", command.get_name());
            waiting.extend(command.get_subcommands().cloned());
        }
    }

    #[test]
    fn ranges_are_read_as_http_reads_them() {
        assert_eq!("0-0".parse(), Ok(Range { first: 0, last: Some(0) }));
        assert_eq!("5-".parse(), Ok(Range { first: 5, last: None }));
        for wrong in
            ["", "-", "-5", "5", "6-5", "a-b", "+1-2", "1-+2", "1-2-3", "99999999999999999999-"]
        {
            assert!(wrong.parse::<Range>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_name_is_told_from_a_cid() {
        let name = Target { target: "bucket/key".to_owned() };
        let fault = name.cid().unwrap_err();
        assert!(fault.detail.contains("names (BUCKET/KEY) are not available yet"), "{fault}");
        assert_eq!(fault.kind.exit_status(), 2);
    }

    #[test]
    fn endpoints_are_repeated_or_separated_by_commas() {
        let cli = Cli::parse_from([
            "shoal",
            "cluster",
            "status",
            "--endpoint",
            "http://a",
            "--endpoint=http://b,http://c",
        ]);
        assert_eq!(cli.common.endpoints, ["http://a", "http://b", "http://c"]);
    }
}
