//! The signals that people and supervisors send, as a stream.
//!
//! While somebody listens, they do not end this process. Never: handles what cannot be caught.

use protocol::{Fault, Kind};
use rustix::process::Signal as SystemSignal;
use tokio::signal::unix::{self, SignalKind};

/// A signal that is passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Signal {
    Hangup,
    Interrupt,
    Quit,
    User1,
    User2,
    Terminate,
}

impl Signal {
    /// Returns it as the system calls it.
    pub(super) fn of_system(self) -> SystemSignal {
        match self {
            Self::Hangup => SystemSignal::HUP,
            Self::Interrupt => SystemSignal::INT,
            Self::Quit => SystemSignal::QUIT,
            Self::User1 => SystemSignal::USR1,
            Self::User2 => SystemSignal::USR2,
            Self::Terminate => SystemSignal::TERM,
        }
    }

    /// Returns its number.
    pub(super) fn number(self) -> i32 {
        self.of_system().as_raw()
    }

    /// Says whether a terminal sends it to all that run in its foreground, when a key is pressed.
    pub(super) fn is_of_terminal(self) -> bool {
        matches!(self, Self::Interrupt | Self::Quit)
    }
}

/// Signals as they come.
#[derive(Debug)]
pub(super) struct Signals {
    hangup: unix::Signal,
    interrupt: unix::Signal,
    quit: unix::Signal,
    user1: unix::Signal,
    user2: unix::Signal,
    terminate: unix::Signal,
}

impl Signals {
    /// Begins to listen.
    ///
    /// # Errors
    /// [`Kind::Internal`] if the system does not allow it.
    pub(super) fn listen() -> Result<Self, Fault> {
        let listen = |kind| {
            unix::signal(kind).map_err(|error| {
                Fault::new(Kind::Internal, format!("cannot listen to signals: {error}"))
            })
        };
        Ok(Self {
            hangup: listen(SignalKind::hangup())?,
            interrupt: listen(SignalKind::interrupt())?,
            quit: listen(SignalKind::quit())?,
            user1: listen(SignalKind::user_defined1())?,
            user2: listen(SignalKind::user_defined2())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// Returns the next one. Cancel-safe.
    pub(super) async fn next(&mut self) -> Signal {
        tokio::select! {
            biased; // what ends a command, before what only tells it something
            _ = self.terminate.recv() => Signal::Terminate,
            _ = self.interrupt.recv() => Signal::Interrupt,
            _ = self.quit.recv() => Signal::Quit,
            _ = self.hangup.recv() => Signal::Hangup,
            _ = self.user1.recv() => Signal::User1,
            _ = self.user2.recv() => Signal::User2,
        }
    }
}
