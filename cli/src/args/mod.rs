//! The command line: what can be asked, and with which options.
//!
//! Every option that stands here does something. Never: acts, or reads more than arguments and the
//! environment variables that `--help` names.

mod admin;
mod object;
mod value;

use clap::{Args, Parser, Subcommand};

pub(crate) use admin::{
    BucketCommand, BucketSettings, CatalogCommand, ClusterCommand, Invite, KeyCommand, Letters,
    Lock, PeerChange, QueueCommand, RepairCommand, ScrubCommand, UserCommand,
};
pub(crate) use object::{
    Append, Cat, ChunkerName, Copy, Download, Labels, List, Move, Preconditions, Publish, Remove,
    Restore, Search, Stat, Storage, Tags, Update, Upload, Versions, Write,
};
pub(crate) use value::{Match, Range, Tag};

/// Keep files in a Shoal cluster and get them back.
#[derive(Debug, Parser)]
#[command(
    name = "shoal",
    version,
    arg_required_else_help = true,
    after_help = "Example: shoal upload photo.jpg --to photos/oslo.jpg\n\n\
                  TARGET is the name of an object, BUCKET/KEY, or a CID.\n\n\
                  Exit status: 0 done, 1 internal, 2 usage, 3 not found, 4 conflict or precondition failed, \
                  5 denied, 6 unavailable or timed out, 7 corrupt"
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
    /// Who asks; without it, and only at loopback addresses, the administrator's token of this user's daemon
    #[arg(long, value_name = "TOKEN", global = true, env = "SHOAL_TOKEN", hide_env_values = true)]
    pub(crate) token: Option<String>,
    /// Print JSON with a stable schema
    #[arg(long, global = true)]
    pub(crate) json: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Store files, directory trees or standard input; print their CIDs and names
    #[command(
        after_help = "Examples:\n  shoal upload photo.jpg --to photos/oslo.jpg --tag place=Oslo\n  \
                      shoal upload album/ --to photos/2024          (photos/2024/FILE... for every file of the tree)\n  \
                      shoal upload *.jpg --to photos/new/           (photos/new/FILE)\n  \
                      tar c src | shoal upload - --to backup/src.tar\n  \
                      shoal upload album/                           (no names: one UnixFS directory, found by its CID)\n\n\
                      A file goes to BUCKET/KEY exactly. With a destination that ends in a slash, or several PATHs, \
                      each goes below it under its own file name. Of a tree, every file becomes an object \
                      KEY/RELATIVE/PATH; empty directories have none. Hidden files are included. A tree with \
                      symbolic links or special files is refused before anything is sent."
    )]
    Upload(Upload),
    /// Fetch an object, a file or a directory tree, every block verified
    #[command(
        after_help = "Examples:\n  shoal download photos/oslo.jpg\n  shoal download photos/oslo.jpg --version 17 -o old.jpg\n  \
                      shoal download bafy... --range 0-1023 -o head.bin\n  \
                      shoal download bafy... --import photos/oslo.jpg    (keeps what another cluster published)\n\n\
                      A download that was cut off goes on where it stopped when it is run again."
    )]
    Download(Download),
    /// Write a file to standard output, every block verified
    #[command(
        after_help = "Examples:\n  shoal cat notes/todo.txt | less\n  shoal cat bafy... --range 100-199"
    )]
    Cat(Cat),
    /// Show what an object or a CID is: size, tags, blocks
    #[command(after_help = "Example: shoal stat photos/oslo.jpg --json\n\n\
                      Blocks are counted once each; those of a version are also compared with the version before it.")]
    Stat(Stat),
    /// List buckets, or the objects of one
    #[command(
        after_help = "Examples:\n  shoal ls\n  shoal ls photos/2024/\n  shoal ls photos --recursive --json\n  \
                      shoal ls --owner ann\n\n\
                      PREFIX is what keys begin with; what they have in common up to the next slash is listed once, \
                      unless --recursive. With --limit, `next` of the JSON is what --after goes on from."
    )]
    Ls(List),
    /// Find objects by words of their names and tags, the best first; a typing error or two are forgiven
    #[command(
        after_help = "Examples:\n  shoal search holiday oslo\n  shoal search 'oslo -draft type:image size:>1MB'\n  \
                      shoal search 'tag:place=Oslo' --json\n\n\
                      All words must be found. word* finds what begins with it, quotes keep words together, and - before one \
                      leaves out what has it. A shell needs quotes around signs such as > and *."
    )]
    Search(Search),
    /// Remove objects, versions of them, or content that has no name; blocks that others share stay
    #[command(
        after_help = "Examples:\n  shoal rm photos/oslo.jpg\n  shoal rm photos/oslo.jpg --version 17\n  \
                      shoal rm --recursive photos/2024/\n  shoal rm bafy...\n\n\
                      Without --version an object's versions stay listed, and its blocks stay, until the grace period of the \
                      cluster is over."
    )]
    Rm(Remove),
    /// Copy an object; its bytes are shared, not moved
    #[command(
        after_help = "Examples:\n  shoal cp photos/oslo.jpg photos/cover.jpg\n  shoal cp photos/oslo.jpg backup/"
    )]
    Cp(Copy),
    /// Rename an object, in one step
    #[command(after_help = "Example: shoal mv photos/oslo.jpg photos/2024/")]
    Mv(Move),
    /// Replace an object with a file, atomically; keeps its tags and media type, and its old versions
    #[command(after_help = "Example: shoal update photo.jpg photos/oslo.jpg --if-match 17\n\n\
                      There must be such an object; `shoal upload` makes new ones.")]
    Update(Update),
    /// Overwrite a range of an object; a new version that shares every unchanged block
    #[command(after_help = "Example: printf 2025 | shoal write notes/todo.txt --offset 100")]
    Write(Write),
    /// Add bytes at the end of an object; a new version that shares every unchanged block
    #[command(after_help = "Example: date | shoal append logs/today.txt")]
    Append(Append),
    /// List the versions of an object, newest first
    #[command(after_help = "Example: shoal versions photos/oslo.jpg")]
    Versions(Versions),
    /// Make an older version the current one again, as a new version
    #[command(after_help = "Example: shoal restore photos/oslo.jpg 17")]
    Restore(Restore),
    /// Set or remove tags of an object; without any, show them
    #[command(after_help = "Examples:\n  shoal tag photos/oslo.jpg place=Oslo year=2024\n  \
                      shoal tag photos/oslo.jpg --remove year")]
    Tag(Tags),
    /// Make objects public: every cluster that knows this one can find and read them
    #[command(
        after_help = "Examples:\n  shoal publish photos/oslo.jpg\n  shoal publish --recursive photos/2024/\n\n\
                      What is written to a public object later is public too, until `shoal unpublish`. Objects that are \
                      added below a prefix or to a bucket later are not: name them, or upload them with --public."
    )]
    Publish(Publish),
    /// Take public objects back: nobody outside finds or reads them any more
    #[command(
        after_help = "Examples:\n  shoal unpublish photos/oslo.jpg\n  shoal unpublish --recursive photos\n\n\
                      What somebody has downloaded already stays with them."
    )]
    Unpublish(Publish),
    /// Look at the other clusters that publish something
    #[command(subcommand, after_help = "Example: shoal catalog clusters")]
    Catalog(CatalogCommand),
    /// Run a command while holding a lock; without a command, show the lock
    #[command(
        after_help = "Examples:\n  shoal lock nightly -- ./backup.sh\n  shoal lock nightly --wait 10m --ttl 60 -- make deploy\n  \
                      shoal lock nightly\n\n\
                      Locks are granted in the order of asking. The command finds the fencing token, which rises with \
                      every grant, in SHOAL_FENCE. Signals are passed on to it. If the lock is lost, it gets SIGTERM \
                      and, 5 s later, SIGKILL, and the exit status is 4; else the exit status is the command's.\n\n\
                      If this client itself is killed (SIGKILL), its command goes on although the lock passes on when \
                      --ttl is over: let what the command changes refuse a lower SHOAL_FENCE than it has seen."
    )]
    Lock(Lock),
    /// Make, list, change and remove buckets
    #[command(subcommand, after_help = "Example: shoal bucket create photos")]
    Bucket(BucketCommand),
    /// Make, list and remove users
    #[command(subcommand, after_help = "Example: shoal user create ann")]
    User(UserCommand),
    /// Make, list and revoke tokens, by which requests are a user's
    #[command(subcommand, after_help = "Example: shoal key create --user ann --label laptop")]
    Key(KeyCommand),
    /// Look at the cluster, and change who is in it
    #[command(subcommand, after_help = "Example: shoal cluster status")]
    Cluster(ClusterCommand),
    /// See how lost copies come back
    #[command(subcommand, after_help = "Example: shoal repair status")]
    Repair(RepairCommand),
    /// Read everything again that a peer holds, to find what rotted
    #[command(subcommand, after_help = "Example: shoal scrub status")]
    Scrub(ScrubCommand),
    /// Show the work that waits at a peer, who took some of it, and what was given up
    #[command(after_help = "Example: shoal queue --json\n\n\
                      Each peer has a queue of its own, and the one that answers tells of its: name each with \
                      --endpoint to see its own.")]
    Queue {
        #[command(subcommand)]
        what: Option<QueueCommand>,
    },
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::{Cli, Command};

    fn is_read(line: &str) -> bool {
        Cli::try_parse_from(line.split(' ')).is_ok()
    }

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
    fn the_lines_of_the_contract_are_read() {
        for line in [
            "shoal upload a b - --to b/p/ --tag k=v --tag l=w --public --replicas 2 --chunker fastcdc",
            "shoal upload a --to b/k --if-match 7 --content-type text/plain",
            "shoal upload a --to b/k --if-none-match *",
            "shoal download b/k -o - --range 0-9 --version 7",
            "shoal cat b/k --version 7",
            "shoal stat b/k --version 7 --json",
            "shoal ls",
            "shoal ls b/p --owner ann --recursive --limit 5 --after x",
            "shoal ls --owner ann",
            "shoal rm b/k b/l",
            "shoal rm b/k --version 7",
            "shoal rm b/k --if-match 7",
            "shoal rm b/k --version 6 --if-match 7",
            "shoal rm --recursive b/p/ b",
            "shoal cp b/k c/ --version 7",
            "shoal mv b/k c/l",
            "shoal update p b/k --if-match 7",
            "shoal write b/k --offset 5 p",
            "shoal write b/k --offset 5",
            "shoal append b/k",
            "shoal append b/k -",
            "shoal versions b/k",
            "shoal restore b/k 7",
            "shoal tag b/k k=v l=w",
            "shoal tag b/k k=v --remove l --if-match 7",
            "shoal lock n --ttl 30 --wait 10 -- sh -c x --json",
            "shoal lock n",
            "shoal bucket create b --keep-versions 3 --quota 1GB",
            "shoal bucket ls",
            "shoal bucket set b --quota 0",
            "shoal bucket rm b",
            "shoal user create ann --admin",
            "shoal user ls",
            "shoal user rm ann",
            "shoal key create --user ann --label l",
            "shoal key ls",
            "shoal key revoke id",
            "shoal cluster status --token t",
            "shoal repair status --json",
            "shoal scrub start",
            "shoal scrub status --json",
            "shoal queue",
            "shoal search oslo 2024 --tag place=Oslo --local --limit 5",
            "shoal search --tag a=b --cluster home",
            "shoal download bafkreihdwdcefgh4dqkjv67uzcmw7ojee6xedzdetojuzjevtenxquvyku --import b/k",
            "shoal publish b/k b/l",
            "shoal publish --recursive b/photos/",
            "shoal unpublish b/k --json",
            "shoal catalog clusters --json",
            "shoal queue --json",
            "shoal queue retry 1 2 --endpoint http://a",
            "shoal queue forget --all",
            "shoal cluster peers",
            "shoal cluster invite --label l --valid-for 1h",
            "shoal cluster drain p --wait 10m",
            "shoal cluster remove p",
            "shoal cluster set p --zone z --capacity 500GB",
        ] {
            assert!(is_read(line), "{line}");
        }
    }

    #[test]
    fn what_has_no_meaning_is_refused() {
        for line in [
            "shoal upload",
            "shoal upload a --tag k=v",
            "shoal upload a --public",
            "shoal upload a --if-none-match *",
            "shoal upload a --to b",
            "shoal upload a --to b/k --tag novalue",
            "shoal upload a --replicas 0",
            "shoal upload a --replicas 9",
            "shoal ls b --limit 0",
            "shoal ls b --pinned",
            "shoal rm b/k --recursive --version 7",
            "shoal rm b --recursive --if-match 7",
            "shoal rm",
            "shoal cp b/k",
            "shoal write b/k p",
            "shoal write bafy --offset 1",
            "shoal restore b/k",
            "shoal tag b/k novalue",
            "shoal lock n make",
            "shoal lock n --ttl 0 -- make",
            "shoal cluster set p",
            "shoal stat word",
            "shoal search",
            "shoal search x --limit 0",
            "shoal download b/k --import b/l -o x",
            "shoal publish",
            "shoal catalog",
            "shoal search x --local --cluster y",
            "shoal queue p",
            "shoal queue retry",
            "shoal queue retry --all 7",
            "shoal queue forget x",
        ] {
            assert!(!is_read(line), "{line}");
        }
    }

    #[test]
    fn everything_behind_the_dashes_is_the_commands() {
        let cli = Cli::try_parse_from(["shoal", "lock", "n", "--", "x", "--json", "--ttl", "9"]);
        let cli = cli.unwrap();
        let Command::Lock(lock) = cli.command else { panic!("not a lock") };
        assert_eq!(lock.command, ["x", "--json", "--ttl", "9"]);
        assert!(!cli.common.json && lock.ttl.as_secs() == 30);
    }
}
