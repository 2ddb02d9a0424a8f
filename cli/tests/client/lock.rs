//! Commands under a lock.

use std::fs;
use std::path::Path;
use std::process::{Child, Output, Stdio};

use serde_json::{Value, json};

use crate::fake::{Fake, LOST, SILENT, problem};
use crate::{assert_exit, command, home, shoal, text};

const LOCK: &str = "POST /api/v1/locks/n";
const GRANTED: &str = r#"{"state":"granted","fence":7,"expires_in_ms":3000}"#;
const GRANTED_LONG: &str = r#"{"state":"granted","fence":7,"expires_in_ms":60000}"#;
const QUEUED: &str = r#"{"state":"queued","position":3}"#;
const RELEASED: &str = r#"{"state":"released"}"#;

/// Returns the operations that were asked for, with the requests.
fn operations(peer: &Fake) -> Vec<(String, Value)> {
    let bodies = peer.seen(LOCK).into_iter();
    let bodies = bodies.map(|seen| serde_json::from_str::<Value>(&seen.body).unwrap());
    bodies.map(|body| (body["op"].as_str().unwrap().to_owned(), body)).collect()
}

fn ops(peer: &Fake) -> Vec<String> {
    operations(peer).into_iter().map(|(op, _)| op).collect()
}

fn lost() -> String {
    String::from_utf8(problem(409, "conflict", "the lease is over")).unwrap()
}

fn locked(peer: &Fake, options: &[&str], script: &str, directory: &Path) -> Output {
    let args = [&["lock", "n"], options, &["--", "sh", "-c", script]].concat();
    shoal(&[&peer.url], &args, directory)
}

#[test]
fn a_command_runs_with_its_fence_and_its_exit_status_is_ours() {
    let (peer, home) = (Fake::start(), home());
    peer.script(LOCK, &[(200, GRANTED_LONG), (200, RELEASED)]);
    let ran = locked(&peer, &["--ttl", "60"], "echo $SHOAL_FENCE; exit 42", home.path());
    assert_exit(&ran, 42, "");
    assert_eq!(text(&ran), "7\n");
    let asked = operations(&peer);
    assert_eq!(ops(&peer), ["acquire", "release"]);
    assert_eq!((&asked[0].1["ttl_ms"], &asked[1].1["fence"]), (&json!(60_000), &json!(7)));
    assert_eq!(asked[0].1["owner"], asked[1].1["owner"]);
    peer.script(LOCK, &[(200, GRANTED_LONG), (200, RELEASED)]);
    assert_exit(&locked(&peer, &[], "kill -9 $$", home.path()), 137, "");
    peer.script(LOCK, &[(200, GRANTED_LONG), (200, RELEASED)]);
    let absent = shoal(&[&peer.url], &["lock", "n", "--", "./nowhere"], home.path());
    assert_exit(&absent, 3, "cannot run ./nowhere");
    assert_eq!(ops(&peer).last().unwrap(), "release", "what cannot run holds nothing");
}

#[test]
fn a_place_in_the_queue_is_asked_for_again_by_the_same_owner() {
    let (peer, home) = (Fake::start(), home());
    // While it waits, an answer is lost, and the cluster has no leader for a moment.
    let no_leader = String::from_utf8(problem(503, "unavailable", "no leader")).unwrap();
    let answers = [
        (202, QUEUED),
        (LOST, ""),
        (503, &*no_leader),
        (202, QUEUED),
        (200, GRANTED_LONG),
        (200, RELEASED),
    ];
    peer.script(LOCK, &answers);
    assert_exit(&locked(&peer, &["--ttl", "9"], "true", home.path()), 0, "");
    let asked = operations(&peer);
    assert_eq!(ops(&peer), ["acquire", "acquire", "acquire", "acquire", "acquire", "release"]);
    assert!(asked.iter().all(|(_, body)| body["owner"] == asked[0].1["owner"]));
    assert_eq!(asked[0].1["wait_ms"], 3000, "shorter than the lease of its place");
    peer.state.lock().unwrap().seen.clear();
    peer.script(LOCK, &[(LOST, "")]);
    assert_exit(&locked(&peer, &[], "true", home.path()), 6, "is shoald running there?");
}

#[test]
fn whoever_waited_long_enough_gives_the_place_up() {
    let (peer, home) = (Fake::start(), home());
    peer.script(LOCK, &[(202, QUEUED), (200, RELEASED)]);
    let late = locked(&peer, &["--wait", "0"], "echo ran", home.path());
    assert_exit(&late, 6, "lock n was not granted in 0 s, 2 before it");
    assert_eq!(
        (text(&late), ops(&peer)),
        (String::new(), vec!["acquire".into(), "release".into()])
    );
}

#[test]
fn a_lost_lease_ends_the_command_and_what_it_started() {
    let (peer, home) = (Fake::start(), home());
    peer.script(LOCK, &[(200, GRANTED), (200, GRANTED), (409, &lost())]);
    let script = "trap 'echo told >> log; exit 0' TERM; sleep 1000 > /dev/null 2>&1 & echo $! > pid; echo started >> log; wait";
    let ended = locked(&peer, &["--ttl", "3"], script, home.path());
    assert_exit(&ended, 4, "lost lock n");
    assert_exit(&ended, 4, "the lease is over");
    assert_eq!(fs::read_to_string(home.path().join("log")).unwrap(), "started\ntold\n");
    let pid = fs::read_to_string(home.path().join("pid")).unwrap();
    assert!(!is_running(pid.trim()), "what it started has ended, too");
    let renewed = &operations(&peer)[1];
    assert_eq!((renewed.0.as_str(), &renewed.1["fence"]), ("renew", &json!(7)));
}

fn is_running(pid: &str) -> bool {
    // One that ended and whom nobody waited for is still listed, without a command line.
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| !line.is_empty())
}

#[test]
fn a_lease_that_nobody_renews_ends_the_command_although_it_takes_no_notice() {
    let (peer, home) = (Fake::start(), home());
    peer.script(LOCK, &[(200, GRANTED), (LOST, "")]);
    let script = "trap '' TERM; echo started > log; while :; do sleep 0.1; done";
    let ended = locked(&peer, &["--ttl", "3"], script, home.path());
    assert_exit(&ended, 4, "no peer could renew it in time");
    assert!(home.path().join("log").exists());
}

#[test]
fn a_lease_that_was_over_before_the_release_is_told() {
    let (peer, home) = (Fake::start(), home());
    peer.script(LOCK, &[(200, GRANTED_LONG), (409, &lost())]);
    assert_exit(&locked(&peer, &["--ttl", "60"], "true", home.path()), 4, "the lease is over");
    peer.script(LOCK, &[(200, GRANTED_LONG), (LOST, "")]);
    let left = locked(&peer, &["--ttl", "60"], "exit 3", home.path());
    assert_exit(&left, 3, "the lock passes on when its lease of 60 s is over");
}

#[test]
fn signals_are_passed_on() {
    let (peer, home) = (Fake::start(), home());
    peer.script(LOCK, &[(200, GRANTED_LONG), (200, GRANTED_LONG)]);
    let script = "trap 'echo int; exit 9' INT; trap 'echo usr1; kill -INT $PPID' USR1; kill -USR1 $PPID; while :; do sleep 0.1; done";
    let args = ["lock", "n", "--ttl", "60", "--", "sh", "-c", script];
    let ran = shoal(&[&peer.url], &args, home.path());
    assert_exit(&ran, 9, "");
    assert_eq!(text(&ran), "usr1\nint\n");
}

#[test]
fn an_interrupted_wait_gives_the_place_up() {
    let (peer, home) = (Fake::start(), home());
    peer.script(LOCK, &[(202, QUEUED)]);
    let mut waiting = command(&[&peer.url], &["lock", "n", "--", "true"], home.path());
    let waiting = waiting.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    while ops(&peer).is_empty() {
        std::thread::yield_now();
    }
    interrupt(&waiting);
    assert_exit(&waiting.wait_with_output().unwrap(), 130, "");
    assert_eq!(ops(&peer).last().unwrap(), "release");
}

#[test]
fn an_interrupted_wait_releases_what_was_granted_meanwhile() {
    let holds = String::from_utf8(problem(400, "invalid", "release needs the fence")).unwrap();
    // Told so, or told that the place is given up, just before the acquisition came in.
    for withdrawn in [(400, &*holds), (200, RELEASED)] {
        for holder in [None, Some("somebody else")] {
            let (peer, home) = (Fake::start(), home());
            peer.script(LOCK, &[(SILENT, ""), withdrawn, (200, RELEASED)]);
            let mut waiting = command(&[&peer.url], &["lock", "n", "--", "true"], home.path());
            let waiting = waiting.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            while ops(&peer).is_empty() {
                std::thread::yield_now();
            }
            let owner = operations(&peer)[0].1["owner"].as_str().unwrap().to_owned();
            let owner = holder.map_or(owner, str::to_owned);
            let held = json!({ "name": "n", "owner": owner, "fence": 9, "waiting": 0 });
            peer.script("GET /api/v1/locks/n", &[(200, &held.to_string())]);
            interrupt(&waiting);
            assert_exit(&waiting.wait_with_output().unwrap(), 130, "");
            let fences: Vec<_> =
                operations(&peer).into_iter().map(|(_, body)| body["fence"].clone()).collect();
            let released = if holder.is_none() { vec![json!(9)] } else { vec![] };
            assert_eq!(fences, [vec![Value::Null, Value::Null], released].concat());
        }
    }
}

#[test]
fn a_grant_that_cannot_be_renewed_at_once_is_released_with_its_fence() {
    let (peer, home) = (Fake::start(), home());
    let stale = r#"{"state":"granted","fence":7,"expires_in_ms":0}"#;
    let no_leader = String::from_utf8(problem(503, "unavailable", "no leader")).unwrap();
    peer.script(LOCK, &[(200, stale), (503, &no_leader), (200, RELEASED)]);
    assert_exit(&locked(&peer, &[], "true", home.path()), 6, "no leader");
    assert_eq!(ops(&peer), ["acquire", "renew", "release"]);
    assert_eq!(operations(&peer)[2].1["fence"], json!(7));
}

#[test]
fn the_help_says_what_becomes_of_the_command_when_the_client_is_killed() {
    let home = home();
    let help = text(&shoal(&["http://h"], &["lock", "--help"], home.path()));
    let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(help.contains("killed (SIGKILL), its command goes on"), "{help}");
}

fn interrupt(child: &Child) {
    let pid = rustix::process::Pid::from_child(child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}

#[test]
fn without_a_command_the_lock_is_shown() {
    let (peer, home) = (Fake::start(), home());
    let free = r#"{"name":"n","owner":null,"fence":null,"waiting":0}"#;
    peer.script("GET /api/v1/locks/n", &[(200, free)]);
    let shown = shoal(&[&peer.url], &["lock", "n"], home.path());
    assert_eq!(text(&shown), "lock n  free  waiting 0\n");
    let run = ["lock", "n", "--json", "--", "true"];
    assert_exit(&shoal(&[&peer.url], &run, home.path()), 2, "no JSON");
}
