//! Settings, the data directory and signals, as an operator meets them.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;

use super::client::{end, shoald, start};
use super::stage::Ctx;
use super::wait::{PATIENCE, until, within};

/// See the module.
pub(super) async fn run(ctx: &Ctx) -> anyhow::Result<()> {
    let folder = ctx.folder()?;
    every_fault_at_once(folder.path()).await.context("wrong settings")?;
    printed_settings_are_taken(folder.path()).await.context("printed settings")?;
    one_daemon_a_directory(ctx, folder.path()).await.context("one data directory")?;
    any_port(ctx, folder.path()).await.context("any port")
}

/// The usage status, shared with the client.
const USAGE: i32 = 2;

async fn every_fault_at_once(folder: &Path) -> anyhow::Result<()> {
    let faults =
        "capacitty = 5\nreplicas = \"many\"\nhttp = 80\nlisten = [\"nowhere\"]\nmdns = 3\n";
    std::fs::write(folder.join("wrong.toml"), faults)?;
    let arguments = ["--config", "wrong.toml", "--zone", "two words", "--data-dir", "untouched"];
    let ended = shoald(folder, &arguments).await?.expect(USAGE)?;
    for name in ["capacitty", "replicas", "http", "listen", "mdns", "--zone"] {
        let told = ended.err.lines().filter(|line| line.contains(name));
        ensure!(told.count() >= 1, "nothing is said of {name}: {}", ended.err);
    }
    ensure!(ended.err.lines().count() == 6, "not one line a fault: {}", ended.err);
    ensure!(!folder.join("untouched").exists(), "a data directory was made all the same");

    std::fs::write(folder.join("broken.toml"), "replicas = = 3\n")?;
    // With a directory of its own each, lest a daemon that starts all the same takes the user's.
    for config in ["broken.toml", "absent.toml"] {
        let arguments = ["--config", config, "--data-dir", "untouched"];
        shoald(folder, &arguments).await?.expect(USAGE)?.expect_one_line(&[config])?;
    }
    shoald(folder, &["--no-such-flag", "--data-dir", "untouched"]).await?.expect(USAGE)?;
    ensure!(!folder.join("untouched").exists(), "a data directory was made all the same");
    Ok(())
}

async fn printed_settings_are_taken(folder: &Path) -> anyhow::Result<()> {
    let arguments = ["config", "--data-dir", "d", "--zone", "attic", "--capacity", "5GB"];
    let printed = shoald(folder, &arguments).await?.expect(0)?.out;
    for line in ["data-dir = \"d\"", "zone = \"attic\"", "capacity = 5000000000"] {
        ensure!(printed.lines().any(|printed| printed == line), "{line} is not in\n{printed}");
    }
    let lines: Vec<&str> = printed.lines().collect();
    for (line, before) in lines.iter().skip(1).zip(&lines) {
        let is_value = line.contains(" =") && !line.starts_with("# ");
        ensure!(!is_value || before.starts_with("# "), "{line} has no comment:\n{printed}");
    }
    std::fs::write(folder.join("printed.toml"), &printed)?;
    let again = shoald(folder, &["config", "--config", "printed.toml"]).await?.expect(0)?.out;
    ensure!(again == printed, "what was printed reads back as\n{again}");
    Ok(())
}

fn signal(child: &Child, signal: Signal) -> anyhow::Result<()> {
    let id = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    Ok(kill_process(id.context("the daemon has ended")?, signal)?)
}

async fn one_daemon_a_directory(ctx: &Ctx, folder: &Path) -> anyhow::Result<()> {
    // Ports of this network alone; two daemons of one directory never both listen on them.
    let http = free_port()?;
    let (address, url) = (format!("127.0.0.1:{http}"), format!("http://127.0.0.1:{http}/readyz"));
    let arguments = ["--data-dir", "data", "--http", &address, "--listen", "/ip4/127.0.0.1/tcp/0"];
    for stop in [Signal::TERM, Signal::INT] {
        let mut first = start("shoald", folder, &arguments)?;
        until(PATIENCE, async || {
            ensure!(first.try_wait()?.is_none(), "the daemon ended");
            Ok(ctx.http.get(&url).await.map(|_| ())?)
        })
        .await?;

        let second = shoald(folder, &arguments).await?.expect(1)?;
        let says = second.err.lines().any(|line| {
            line.contains("another daemon uses the data directory") && line.contains("data")
        });
        ensure!(says, "the second daemon said {}", second.err);
        ctx.http.get(&url).await.context("the first daemon after the second one's try")?;

        signal(&first, stop)?;
        let ended = end(first).await?;
        ensure!(
            ended.status == Some(0),
            "{stop:?} ended it with {:?}: {}",
            ended.status,
            ended.err
        );
    }
    Ok(())
}

/// Where any port would do, the log says which one was taken.
async fn any_port(ctx: &Ctx, folder: &Path) -> anyhow::Result<()> {
    let listen = "/ip4/127.0.0.1/tcp/0";
    let arguments = ["--data-dir", "any", "--http", "127.0.0.1:0", "--listen", listen];
    let mut daemon = start("shoald", folder, &arguments)?;
    let log = daemon.stderr.take().context("standard error is open")?;
    let mut lines = BufReader::new(log).lines();
    let address = within(PATIENCE, "the daemon", async {
        while let Some(line) = lines.next_line().await? {
            let said = line.split_once("http=").map(|(_, rest)| rest.split_whitespace().next());
            if let Some(Some(address)) = said {
                return anyhow::Ok(address.to_owned());
            }
        }
        bail!("the log does not say where HTTP is")
    })
    .await??;
    let answered = ctx.http.get(&format!("http://{address}/healthz")).await;
    daemon.kill().await.context("the daemon does not end")?;
    answered.with_context(|| format!("at {address}, as the log says")).map(drop)
}

/// Returns a port that nobody listens on.
///
/// # Errors
/// There is none.
pub(super) fn free_port() -> anyhow::Result<u16> {
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).context("no port is free")?;
    Ok(listener.local_addr()?.port())
}
