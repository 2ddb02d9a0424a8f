//! What the kernel counts of a process: processor time, and its memory.
//!
//! Source: proc_pid_stat(5), proc_pid_status(5). Linux only. Never: signals.

use std::path::Path;

/// Clock ticks of `/proc` in a second: fixed by the kernel's interface on every architecture Rust runs on.
const TICKS_PER_S: f64 = 100.0;

/// Returns seconds of processor time, user and system, that a process took; also of one that has ended and
/// was not waited for.
pub(crate) fn cpu_s(pid: u32) -> Option<f64> {
    cpu_s_of(&std::fs::read_to_string(file(pid, "stat")).ok()?)
}

/// Returns the largest resident memory a running process ever had, in bytes.
pub(crate) fn peak_bytes(pid: u32) -> Option<u64> {
    bytes_of("VmHWM:", &std::fs::read_to_string(file(pid, "status")).ok()?)
}

/// Returns the resident memory of a running process, in bytes.
pub(crate) fn resident_bytes(pid: u32) -> Option<u64> {
    bytes_of("VmRSS:", &std::fs::read_to_string(file(pid, "status")).ok()?)
}

/// Says whether a process has ended and waits to be waited for.
pub(crate) fn has_ended(pid: u32) -> bool {
    let stat = std::fs::read_to_string(file(pid, "stat")).unwrap_or_default();
    matches!(fields(&stat).next(), None | Some("Z" | "X"))
}

fn file(pid: u32, name: &str) -> std::path::PathBuf {
    Path::new("/proc").join(pid.to_string()).join(name)
}

/// Returns the fields after the command's name, which is in parentheses and may hold anything.
fn fields(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace()
}

fn cpu_s_of(stat: &str) -> Option<f64> {
    // Fields 14 and 15 of all, counted from 1; the command's name is the second.
    let mut times = fields(stat).skip(11);
    let user: u32 = times.next()?.parse().ok()?;
    let system: u32 = times.next()?.parse().ok()?;
    Some((f64::from(user) + f64::from(system)) / TICKS_PER_S)
}

fn bytes_of(field: &str, status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(field))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib << 10)
}

#[cfg(test)]
mod tests {
    use super::{bytes_of, cpu_s, cpu_s_of, has_ended, peak_bytes, resident_bytes};

    #[test]
    fn figures_are_found_behind_any_name() {
        let stat = "7 (a) b) (c) S 1 7 7 0 -1 4194560 22 0 0 0 150 25 0 0 20 0 1 0 5 6 7";
        assert_eq!(cpu_s_of(stat), Some(1.75));
        let status = "Name:\tx\nVmHWM:\t    2048 kB\nVmRSS:\t 1 kB\n";
        assert_eq!(bytes_of("VmHWM:", status), Some(2 << 20));
        assert_eq!(bytes_of("VmRSS:", status), Some(1 << 10));
        assert_eq!((cpu_s_of(""), bytes_of("VmHWM:", "")), (None, None));
    }

    #[test]
    fn this_process_runs_and_has_memory() {
        let own = std::process::id();
        assert!(!has_ended(own) && cpu_s(own).is_some());
        assert!(peak_bytes(own) >= resident_bytes(own));
        assert!(resident_bytes(own).is_some_and(|bytes| bytes > 1 << 20));
        assert!(has_ended(u32::MAX));
    }
}
