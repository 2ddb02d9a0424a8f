//! The command that runs under a lock.
//!
//! On a terminal it stays in the foreground with us, so that it can read from it; the terminal's own signals
//! reach it there by themselves. Elsewhere it leads a group of its own, so that what it starts ends with it.
//! Never: outlives the lease knowingly.
#![expect(
    clippy::disallowed_methods,
    reason = "the client is not simulated: a command takes real time to end"
)]

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::process::ExitStatus;
use std::time::Duration;

use protocol::{Fault, Kind};
use rustix::process::{Pid, Signal as SystemSignal, kill_process, kill_process_group};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::signals::Signal;

/// How long a command may take to end once it is told to.
pub(super) const GRACE: Duration = Duration::from_secs(5);
/// Where the command finds its fencing token.
const FENCE_VARIABLE: &str = "SHOAL_FENCE";

/// A command that was started.
#[derive(Debug)]
pub(super) struct Running {
    child: Child,
    /// Its id; of its group, too, if it leads one.
    pid: Option<Pid>,
    leads_group: bool,
    shown: String,
}

impl Running {
    /// Starts `words`, the program first.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is no such program, [`Kind::Denied`] if it cannot be run; those of the
    /// system.
    pub(super) fn start(words: &[OsString], fence: u64) -> Result<Self, Fault> {
        let (program, arguments) = words.split_first().expect("a command has a word");
        let leads_group = !io::stdin().is_terminal();
        let mut command = Command::new(program);
        command.args(arguments).env(FENCE_VARIABLE, fence.to_string()).kill_on_drop(true);
        if leads_group {
            command.process_group(0);
        }
        let shown = program.to_string_lossy().into_owned();
        let child = command.spawn().map_err(|error| {
            crate::failure::io_fault("cannot run", std::path::Path::new(program), &error)
        })?;
        let pid = child.id().and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        Ok(Self { child, pid, leads_group, shown })
    }

    /// Waits for its end. Cancel-safe.
    ///
    /// # Errors
    /// [`Kind::Internal`] if the system does not tell.
    pub(super) async fn wait(&mut self) -> Result<ExitStatus, Fault> {
        self.child.wait().await.map_err(|error| {
            Fault::new(Kind::Internal, format!("cannot wait for {}: {error}", self.shown))
        })
    }

    /// Gives it a signal that we got.
    pub(super) fn pass_on(&self, signal: Signal) {
        // A terminal has given this one to all that run on it.
        if self.leads_group || !signal.is_of_terminal() {
            self.signal(signal.of_system());
        }
    }

    /// Ends it: first as a request, then by force.
    ///
    /// # Errors
    /// As [`Running::wait`].
    pub(super) async fn end(&mut self) -> Result<(), Fault> {
        self.signal(SystemSignal::TERM);
        let ended = timeout(GRACE, self.wait()).await;
        // What it started may have stayed behind, or have taken no notice.
        self.signal(SystemSignal::KILL);
        match ended {
            Ok(ended) => ended.map(drop),
            Err(_) => self.wait().await.map(drop),
        }
    }

    fn signal(&self, signal: SystemSignal) {
        let Some(pid) = self.pid else { return };
        let sent = if self.leads_group {
            kill_process_group(pid, signal)
        } else if self.child.id().is_some() {
            kill_process(pid, signal)
        } else {
            return;
        };
        // It fails for who is gone, and who is gone needs no signal.
        sent.unwrap_or(());
    }
}
