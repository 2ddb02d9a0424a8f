//! Runs scenarios one after the other and tells how each ended.
#![expect(clippy::print_stdout, reason = "a command line prints what was asked for")]

use std::panic::AssertUnwindSafe;

use anyhow::{anyhow, bail};
use futures::FutureExt;
use futures::future::LocalBoxFuture;
use tokio::signal::unix::{SignalKind, signal};

use super::stage::Ctx;
use super::wait::Watch;
use super::{
    appends, backlog, cached, catalogs, crash, crowd, drops, edit, full, heal, histories, hostile,
    joins, leader, letters, locks, members, paused, rot, scrub, search, settings, space, steal,
    stress, tickets, twenty, unread, users, vectors, winners,
};

/// One scenario.
struct Scenario {
    name: &'static str,
    /// What it shows, for people.
    shows: &'static str,
    run: for<'a> fn(&'a Ctx) -> LocalBoxFuture<'a, anyhow::Result<()>>,
}

const SCENARIOS: [Scenario; 31] = [
    Scenario {
        name: "vectors",
        shows: "the CLI gives every file and directory of the vectors its CID",
        run: |ctx| vectors::run(ctx).boxed_local(),
    },
    Scenario {
        name: "twenty",
        shows: "twenty peers find each other, and again without the one they began from",
        run: |ctx| twenty::run(ctx).boxed_local(),
    },
    Scenario {
        name: "crash",
        shows: "killed peers lose nothing acknowledged, and clients are told",
        run: |ctx| crash::run(ctx).boxed_local(),
    },
    Scenario {
        name: "members",
        shows: "a lost voter is replaced, a cluster grows and shrinks under its clients, a peer from the past is refused",
        run: |ctx| members::run(ctx).boxed_local(),
    },
    Scenario {
        name: "joins",
        shows: "uploads through a peer that joins have all their copies, and a wiped peer comes back",
        run: |ctx| joins::run(ctx).boxed_local(),
    },
    Scenario {
        name: "leader",
        shows: "writes go on soon after the leader was killed, and nothing is lost",
        run: |ctx| leader::run(ctx).boxed_local(),
    },
    Scenario {
        name: "histories",
        shows: "what clients saw under faults could have come from a single copy",
        run: |ctx| histories::run(ctx).boxed_local(),
    },
    Scenario {
        name: "rot",
        shows: "flipped bytes on a disk are found, counted and never served",
        run: |ctx| rot::run(ctx).boxed_local(),
    },
    Scenario {
        name: "scrub",
        shows: "what rots while nobody reads it is found, and written anew from the last good copy",
        run: |ctx| scrub::run(ctx).boxed_local(),
    },
    Scenario {
        name: "search",
        shows: "objects are found by words of their names through every peer, whatever happened to it meanwhile",
        run: |ctx| search::run(ctx).boxed_local(),
    },
    Scenario {
        name: "catalogs",
        shows: "what one cluster publishes another finds and fetches, and nothing else; what was withdrawn is gone",
        run: |ctx| catalogs::run(ctx).boxed_local(),
    },
    Scenario {
        name: "letters",
        shows: "work that is given up is told with its reason, and is tried again or forgotten when somebody says so",
        run: |ctx| letters::run(ctx).boxed_local(),
    },
    Scenario {
        name: "full",
        shows: "a full peer refuses clearly, goes on reading and uses freed space again",
        run: |ctx| full::run(ctx).boxed_local(),
    },
    Scenario {
        name: "crowd",
        shows: "more uploads than there is memory for a part of each do not stop each other",
        run: |ctx| crowd::run(ctx).boxed_local(),
    },
    Scenario {
        name: "cached",
        shows: "what is read again comes from memory, within its bound, also after a large download",
        run: |ctx| cached::run(ctx).boxed_local(),
    },
    Scenario {
        name: "steal",
        shows: "a long upload leaves its gateway once: holders take the jobs of bringing other copies",
        run: |ctx| steal::run(ctx).boxed_local(),
    },
    Scenario {
        name: "backlog",
        shows: "a peer with a long queue is relieved by others, and each job has its effect once, whoever is killed",
        run: |ctx| backlog::run(ctx).boxed_local(),
    },
    Scenario {
        name: "stress",
        shows: "many clients of all kinds see no fault while peers die, and nothing is lost",
        run: |ctx| stress::run(ctx).boxed_local(),
    },
    Scenario {
        name: "unread",
        shows: "downloads that nobody reads take little memory and delay nobody",
        run: |ctx| unread::run(ctx).boxed_local(),
    },
    Scenario {
        name: "heal",
        shows: "lost copies come back by themselves, and a short absence moves nothing",
        run: |ctx| heal::run(ctx).boxed_local(),
    },
    Scenario {
        name: "drops",
        shows: "copies that others hold in a peer's stead are dropped, and never the last ones",
        run: |ctx| drops::run(ctx).boxed_local(),
    },
    Scenario {
        name: "paused",
        shows: "a holder that stands still stops nobody else",
        run: |ctx| paused::run(ctx).boxed_local(),
    },
    Scenario {
        name: "hostile",
        shows: "bad input leaves a daemon running, its memory flat and its log quiet",
        run: |ctx| hostile::run(ctx).boxed_local(),
    },
    Scenario {
        name: "settings",
        shows: "wrong settings are told at once, a data directory is used once, ends are clean",
        run: |ctx| settings::run(ctx).boxed_local(),
    },
    Scenario {
        name: "winners",
        shows: "of writers that race for a name one wins, and all peers show its content",
        run: |ctx| winners::run(ctx).boxed_local(),
    },
    Scenario {
        name: "appends",
        shows: "changes of one object that race are all there, once, although peers die and clients ask again",
        run: |ctx| appends::run(ctx).boxed_local(),
    },
    Scenario {
        name: "locks",
        shows: "a lock has one holder, serves in the order of asking, and outlives dead holders",
        run: |ctx| locks::run(ctx).boxed_local(),
    },
    Scenario {
        name: "users",
        shows: "without a valid token there is nothing, and nobody writes in somebody else's bucket",
        run: |ctx| users::run(ctx).boxed_local(),
    },
    Scenario {
        name: "tickets",
        shows: "bad tickets are refused clearly, strangers get nothing, removed peers are cut off",
        run: |ctx| tickets::run(ctx).boxed_local(),
    },
    Scenario {
        name: "edit",
        shows: "a small change of a large object stores little, and readers get a whole version",
        run: |ctx| edit::run(ctx).boxed_local(),
    },
    Scenario {
        name: "space",
        shows: "what is deleted gives its space back, on every peer, without another write",
        run: |ctx| space::run(ctx).boxed_local(),
    },
];

/// One of several runs at a time, which together run all scenarios.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    first: usize,
    every: usize,
}

impl std::str::FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers =
            text.split_once('/').and_then(|(k, n)| Some((k.parse().ok()?, n.parse().ok()?)));
        match numbers {
            Some((k, every)) if (1..=every).contains(&k) => Ok(Self { first: k - 1, every }),
            Some(_) | None => Err("a share is K/N, with K from 1 to N".to_owned()),
        }
    }
}

/// Prints the name of every scenario and what it shows.
pub fn list() {
    for scenario in &SCENARIOS {
        println!("{:<9} {}", scenario.name, scenario.shows);
    }
}

/// Runs this share of the scenarios of these names, of all when there is none, and prints how each ended. Returns
/// whether all passed. `operations`: how many clients do in the scenario of histories. An interrupt takes the
/// running one's network down and ends the run.
///
/// # Errors
/// A name is not known, or the run was interrupted.
pub async fn run(only: &[String], share: Share, operations: u64) -> anyhow::Result<bool> {
    if let Some(name) = only.iter().find(|name| !SCENARIOS.iter().any(|one| one.name == **name)) {
        let names: Vec<&str> = SCENARIOS.iter().map(|one| one.name).collect();
        bail!("there is no scenario {name} (there are {})", names.join(", "));
    }
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (mut passed, mut failed) = (0_usize, 0_usize);
    let chosen =
        |scenario: &&Scenario| only.is_empty() || only.iter().any(|name| name == scenario.name);
    for scenario in SCENARIOS.iter().filter(chosen).skip(share.first).step_by(share.every) {
        let watch = Watch::start();
        let ctx = Ctx::new(operations)?;
        let outcome = tokio::select! {
            biased; // whoever interrupts wants the end
            _ = interrupt.recv() => bail!("interrupted"),
            _ = terminate.recv() => bail!("interrupted"),
            outcome = perform(scenario, &ctx) => outcome,
        };
        let seconds = watch.elapsed().as_secs_f64();
        for note in ctx.notes() {
            println!("   {}: {note}", scenario.name);
        }
        match outcome {
            Ok(()) => {
                passed += 1;
                println!("ok {} ({seconds:.1} s)", scenario.name);
            }
            Err(fault) => {
                failed += 1;
                for tail in ctx.log_tails() {
                    println!("{tail}");
                }
                println!("FAILED {}: {fault:#} ({seconds:.1} s)", scenario.name);
            }
        }
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

/// Runs one scenario; a panic in it is its failure, and so is a network that it leaves behind.
async fn perform(scenario: &Scenario, ctx: &Ctx) -> anyhow::Result<()> {
    let outcome = AssertUnwindSafe((scenario.run)(ctx)).catch_unwind().await;
    outcome.unwrap_or_else(|_| Err(anyhow!("the scenario panicked")))?;
    match ctx.leftovers().first() {
        Some(leftover) => bail!("the network was not taken down: {leftover}"),
        None => Ok(()),
    }
}
