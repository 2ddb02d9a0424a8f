//! The options of the commands about locks, buckets, users, tokens and the cluster.

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::value::{bytes, duration};

/// Shortest and longest lease of a lock: shorter ones are lost to a change of leader, which takes a second
/// or two; after a longer one nobody remembers who died.
const TTL_MIN: Duration = Duration::from_secs(1);
const TTL_MAX: Duration = Duration::from_secs(24 * 3600);

#[derive(Debug, Args)]
pub(crate) struct Lock {
    /// The lock
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// How long the lock outlives a holder that died, in seconds or with a unit
    #[arg(long, value_name = "S", default_value = "30", value_parser = ttl)]
    pub(crate) ttl: Duration,
    /// How long to wait for it, in seconds or with a unit [default: as long as it takes]
    #[arg(long, value_name = "S", value_parser = duration)]
    pub(crate) wait: Option<Duration>,
    /// What to run while holding it
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<OsString>,
}

fn ttl(text: &str) -> Result<Duration, String> {
    let ttl = duration(text)?;
    if (TTL_MIN..=TTL_MAX).contains(&ttl) {
        return Ok(ttl);
    }
    Err("expected 1 second to 24 hours".to_owned())
}

#[derive(Debug, Subcommand)]
pub(crate) enum BucketCommand {
    /// Make a bucket
    #[command(after_help = "Example: shoal bucket create photos --keep-versions 10 --quota 500GB")]
    Create {
        /// Its name: 3 to 63 lower-case letters, digits, dots and dashes
        #[arg(value_name = "BUCKET")]
        name: String,
        #[command(flatten)]
        settings: BucketSettings,
    },
    /// List the buckets
    #[command(after_help = "Example: shoal bucket ls")]
    Ls,
    /// Remove an empty bucket
    #[command(after_help = "Example: shoal bucket rm photos")]
    Rm {
        /// Its name
        #[arg(value_name = "BUCKET")]
        name: String,
    },
    /// Change a bucket; what is not named stays, 0 takes a bound away
    #[command(after_help = "Example: shoal bucket set photos --owner ann --quota 0")]
    Set {
        /// Its name
        #[arg(value_name = "BUCKET")]
        name: String,
        #[command(flatten)]
        settings: BucketSettings,
    },
}

#[derive(Debug, Args)]
pub(crate) struct BucketSettings {
    /// The user who may write in it
    #[arg(long, value_name = "NAME")]
    pub(crate) owner: Option<String>,
    /// Versions kept of one object
    #[arg(long, value_name = "N")]
    pub(crate) keep_versions: Option<u32>,
    /// Bytes of all versions it may have, such as 500GB
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) quota: Option<u64>,
    /// Objects it may have
    #[arg(long, value_name = "N")]
    pub(crate) quota_objects: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum UserCommand {
    /// Make a user; `shoal key create --user NAME` then makes a token
    #[command(after_help = "Example: shoal user create ann")]
    Create {
        /// The name: 1 to 63 letters, digits, `.`, `_` or `-`
        #[arg(value_name = "NAME")]
        name: String,
        /// Let the user do everything
        #[arg(long)]
        admin: bool,
    },
    /// List the users
    #[command(after_help = "Example: shoal user ls")]
    Ls,
    /// Remove a user, with all tokens; refused while the user owns buckets
    #[command(after_help = "Example: shoal user rm ann")]
    Rm {
        /// The name
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Show whose token is used
    #[command(after_help = "Example: shoal user whoami")]
    Whoami,
}

#[derive(Debug, Subcommand)]
pub(crate) enum KeyCommand {
    /// Make a token, and print it once
    #[command(after_help = "Example: shoal key create --user ann --label laptop")]
    Create {
        /// Whose requests it makes [default: whoever asks]
        #[arg(long, value_name = "NAME")]
        user: Option<String>,
        /// For what, to tell it from others
        #[arg(long, value_name = "TEXT", default_value = "")]
        label: String,
    },
    /// List the tokens, without their secrets
    #[command(after_help = "Example: shoal key ls")]
    Ls,
    /// Revoke a token: it is refused from now on
    #[command(after_help = "Example: shoal key revoke 9f86d081")]
    Revoke {
        /// Its id, as `shoal key ls` prints it
        #[arg(value_name = "ID")]
        id: String,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum RepairCommand {
    /// Show how many blocks lack copies, and how long until they have them
    #[command(after_help = "Example: shoal repair status --json\n\n\
                      Each peer sees to a part of the blocks, and the one that answers tells of its part: name each \
                      with --endpoint to see its own.")]
    Status,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ScrubCommand {
    /// Have the peer that answers read everything again that it holds, now
    #[command(after_help = "Example: shoal scrub start --endpoint http://127.0.0.1:4790\n\n\
                      Peers do so by themselves too, as the setting scrub-within says.")]
    Start,
    /// Show how far it has come, and what it found
    #[command(after_help = "Example: shoal scrub status --json")]
    Status,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// Try jobs again that were given up
    #[command(after_help = "Example: shoal queue retry --all --endpoint http://127.0.0.1:4790\n\n\
                      What is not wanted any more by then ends at once.")]
    Retry(Letters),
    /// Forget jobs that were given up; a copy that lacks is found again by the next comparison of peers
    #[command(after_help = "Example: shoal queue forget 17 --endpoint http://127.0.0.1:4790")]
    Forget(Letters),
}

#[derive(Debug, Args)]
pub(crate) struct Letters {
    /// Their numbers, as `shoal queue` prints them
    #[arg(value_name = "JOB", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) jobs: Vec<u64>,
    /// All that the peer shows
    #[arg(long)]
    pub(crate) all: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ClusterCommand {
    /// Show the cluster and its peers
    #[command(after_help = "Example: shoal cluster status")]
    Status,
    /// List the peers
    #[command(after_help = "Example: shoal cluster peers --json")]
    Peers,
    /// Make a ticket by which one new peer joins, and print it once
    #[command(after_help = "Example: shoal cluster invite --label attic --valid-for 1h\n\n\
                      On the new machine: shoald --join TICKET")]
    Invite(Invite),
    /// List the tickets that can still be used
    #[command(after_help = "Example: shoal cluster invites")]
    Invites,
    /// Withdraw a ticket
    #[command(after_help = "Example: shoal cluster uninvite 9f86d081")]
    Uninvite {
        /// Its id, as `shoal cluster invites` prints it
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Move everything off a peer; returns when it is safe to switch it off
    #[command(after_help = "Example: shoal cluster drain attic\n\n\
                      Interrupted, or after --wait, the peer goes on; the same command waits again.")]
    Drain {
        /// Peer id, the beginning of one, or the peer's name
        #[arg(value_name = "PEER")]
        peer: String,
        /// How long to wait, in seconds or with a unit [default: as long as it takes]
        #[arg(long, value_name = "S", value_parser = duration)]
        wait: Option<Duration>,
    },
    /// Take a peer out of the cluster: one that was drained, or that is lost
    #[command(after_help = "Example: shoal cluster remove attic")]
    Remove {
        /// Peer id, the beginning of one, or the peer's name
        #[arg(value_name = "PEER")]
        peer: String,
        /// Also one that is there and was not drained: what only it holds is lost
        #[arg(long)]
        force: bool,
    },
    /// Change the zone or the capacity of a peer
    #[command(after_help = "Example: shoal cluster set attic --zone house --capacity 2TB")]
    Set {
        /// Peer id, the beginning of one, or the peer's name
        #[arg(value_name = "PEER")]
        peer: String,
        #[command(flatten)]
        change: PeerChange,
    },
}

#[derive(Debug, Args)]
pub(crate) struct Invite {
    /// For whom, to tell it from others
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) label: String,
    /// How long it may be used [default: a day]
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub(crate) valid_for: Option<Duration>,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
pub(crate) struct PeerChange {
    /// What fails together with it; empty for none
    #[arg(long, value_name = "NAME")]
    pub(crate) zone: Option<String>,
    /// Bytes of blocks it holds, such as 500GB; 0 makes it a gateway
    #[arg(long, value_name = "BYTES", value_parser = bytes)]
    pub(crate) capacity: Option<u64>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CatalogCommand {
    /// List the clusters that are known: how much they publish, and how old what is known of it is
    #[command(after_help = "Example: shoal catalog clusters --json")]
    Clusters,
}
