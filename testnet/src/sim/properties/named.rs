//! Property 4: a read after an acknowledged write returns it or a later one, and preconditions are enforced.
//!
//! Versions are places in the log, so they say in which order the cluster carried requests out. What clients were told
//! must fit that order, and that order must fit the times at which they asked. Requests whose outcome nobody knows
//! excuse what they can explain.

use crate::sim::history::{Condition, Request, Seen, Told, What};

/// Judges all requests about one name, in the order in which they began. Returns what is wrong. Cost: O(requests²).
#[must_use]
pub fn judge(requests: &[Request]) -> Vec<String> {
    let story = Story { requests };
    requests.iter().filter_map(|request| story.judge(request)).collect()
}

/// Judges the versions that a name has in the end, if nobody ever asked for its deletion: all that were acknowledged
/// must be there.
#[must_use]
pub fn judge_versions(requests: &[Request], listed: &[u64]) -> Vec<String> {
    if requests.iter().any(|request| request.what == What::Delete) {
        return Vec::new();
    }
    let versions = requests.iter().filter_map(Request::version);
    let lost = versions.filter(|version| !listed.contains(version));
    lost.map(|version| format!("acknowledged version {version} is lost")).collect()
}

struct Story<'a> {
    requests: &'a [Request],
}

impl Story<'_> {
    fn judge(&self, request: &Request) -> Option<String> {
        match request.told {
            Told::Written { now, replaced } => self.write(request, now, replaced),
            Told::Deleted(Some(version)) => self.order(request, version),
            Told::Found(Some(seen)) => self.found(request, seen),
            Told::Found(None) | Told::Deleted(None) => self.absent(request, self.floor(request)),
            Told::Refused(_) => self.refused(request),
            Told::Nothing => None,
        }
    }

    /// Returns the newest version with content that somebody had been told of before a request began.
    fn floor(&self, request: &Request) -> Option<u64> {
        self.told_of(request.begun).max()
    }

    fn told_of(&self, before: u64) -> impl Iterator<Item = u64> {
        let ended = self.requests.iter().filter(move |other| other.ended < before);
        ended.filter_map(|other| match other.told {
            Told::Written { now, .. } | Told::Found(Some(now)) => Some(now.version),
            Told::Nothing | Told::Refused(_) | Told::Deleted(_) | Told::Found(None) => None,
        })
    }

    /// Says whether a deletion may have come behind `above` and before `below`, begun before `by`.
    fn may_be_deleted(&self, above: u64, below: u64, by: u64) -> bool {
        let deletions = self.requests.iter().filter(|other| other.what == What::Delete);
        deletions.filter(|other| other.begun <= by).any(|deletion| match deletion.told {
            Told::Deleted(Some(version)) => above < version && version < below,
            Told::Nothing => true,
            Told::Deleted(None) | Told::Refused(_) | Told::Written { .. } | Told::Found(_) => false,
        })
    }

    /// A version must be higher than all that were told of before its request began.
    fn order(&self, request: &Request, version: u64) -> Option<String> {
        let before = self.requests.iter().filter(|other| other.ended < request.begun);
        let known = before.filter_map(|other| {
            let Told::Found(Some(seen)) = other.told else { return other.version() };
            Some(seen.version)
        });
        let newest = known.max()?;
        (newest >= version)
            .then(|| format!("version {version} is not behind {newest}, which was there before"))
    }

    fn write(&self, request: &Request, now: Seen, replaced: Option<u64>) -> Option<String> {
        let version = now.version;
        if let Some(wrong) = self.order(request, version) {
            return Some(wrong);
        }
        let twins = self.requests.iter().filter(|other| other.version() == Some(version));
        if twins.count() > 1 {
            return Some(format!("version {version} was given twice"));
        }
        let What::Write { condition, .. } = request.what else {
            return Some(format!("version {version} was written by what is no write"));
        };
        let holds = match condition {
            Condition::Anyhow => true,
            Condition::Absent => replaced.is_none(),
            Condition::Version(wanted) => replaced == Some(wanted),
        };
        if !holds {
            return Some(format!("version {version} replaced {replaced:?} against {condition:?}"));
        }
        let between = |other: &&Request| {
            let at = other.version();
            at.is_some_and(|at| replaced.is_none_or(|replaced| at > replaced) && at < version)
        };
        let before = self.requests.iter().filter(between);
        match replaced {
            Some(replaced) => {
                let skipped = before.filter_map(Request::version).max()?;
                Some(format!("version {version} replaced {replaced} and not {skipped}"))
            }
            None => {
                let written = before.filter(|other| matches!(other.told, Told::Written { .. }));
                let last = written.filter_map(Request::version).max()?;
                let excused = self.may_be_deleted(last, version, request.ended);
                (!excused).then(|| format!("version {version} replaced nothing, and not {last}"))
            }
        }
    }

    fn found(&self, request: &Request, seen: Seen) -> Option<String> {
        let Seen { version, root } = seen;
        let known = self.requests.iter().filter_map(|other| match other.told {
            Told::Nothing | Told::Refused(_) | Told::Found(None) | Told::Deleted(None) => None,
            Told::Written { now, .. } => Some((other.ended, now.version, Some(now.root))),
            Told::Deleted(Some(version)) => Some((other.ended, version, None)),
            Told::Found(Some(seen)) => Some((other.ended, seen.version, Some(seen.root))),
        });
        for (ended, at, what) in known {
            if at == version && what != Some(root) {
                return Some(format!("version {version} was found with content {root}"));
            }
            if ended < request.begun && at > version {
                return Some(format!("version {version} was found after {at} was told of"));
            }
        }
        let may_have_written = |other: &Request| {
            let What::Write { root: written, .. } = other.what else { return false };
            let by_then = other.begun <= request.ended;
            match other.told {
                Told::Written { now, .. } => by_then && now == seen,
                Told::Nothing => by_then && written.is_none_or(|written| written == root),
                Told::Refused(_) | Told::Deleted(_) | Told::Found(_) => false,
            }
        };
        let is_explained = self.requests.iter().any(may_have_written);
        (!is_explained)
            .then(|| format!("version {version} with content {root} was found, and never written"))
    }

    fn absent(&self, request: &Request, floor: Option<u64>) -> Option<String> {
        let floor = floor?;
        let excused = self.may_be_deleted(floor, u64::MAX, request.ended);
        (!excused).then(|| format!("nothing was found after version {floor}, which nobody deleted"))
    }

    /// A write on the condition of absence is refused only where something may have been.
    fn refused(&self, request: &Request) -> Option<String> {
        let is_race = request.what
            == What::Write { root: root_of(request), condition: Condition::Absent }
            && request.told == Told::Refused(protocol::Kind::Precondition);
        if !is_race {
            return None;
        }
        let may_be_there = |other: &Request| {
            let writes = matches!(other.what, What::Write { .. });
            let happened = matches!(other.told, Told::Written { .. } | Told::Nothing);
            writes && happened && other.begun <= request.ended
        };
        let excused = self.requests.iter().any(may_be_there);
        (!excused).then(|| "a name that nobody wrote was refused as taken".to_owned())
    }
}

fn root_of(request: &Request) -> Option<protocol::Cid> {
    match request.what {
        What::Write { root, .. } => root,
        What::Delete | What::Read => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{judge, judge_versions};
    use crate::sim::history::{Condition, Request, Seen, Told, What};
    use protocol::{Cid, Codec, Kind};

    fn root(text: &str) -> Cid {
        Cid::of(Codec::Raw, text.as_bytes())
    }

    fn request(begun: u64, ended: u64, what: What, told: Told) -> Request {
        Request { key: "k".to_owned(), begun, ended, what, told }
    }

    fn write(begun: u64, version: u64, replaced: Option<u64>) -> Request {
        let root = root(&version.to_string());
        let what = What::Write { root: Some(root), condition: Condition::Anyhow };
        request(begun, begun + 5, what, Told::Written { now: Seen { version, root }, replaced })
    }

    fn create(begun: u64, version: u64, replaced: Option<u64>) -> Request {
        let mut request = write(begun, version, replaced);
        request.what = What::Write { root: None, condition: Condition::Absent };
        request
    }

    fn read(begun: u64, version: Option<u64>) -> Request {
        let seen = version.map(|version| Seen { version, root: root(&version.to_string()) });
        request(begun, begun + 5, What::Read, Told::Found(seen))
    }

    fn delete(begun: u64, version: Option<u64>) -> Request {
        request(begun, begun + 5, What::Delete, Told::Deleted(version))
    }

    fn in_doubt(begun: u64, what: What) -> Request {
        request(begun, u64::MAX, what, Told::Nothing)
    }

    fn is_sound(requests: &[Request]) -> bool {
        judge(requests).is_empty()
    }

    #[test]
    fn a_read_returns_the_last_acknowledged_write_or_a_later_one() {
        let writes = [write(0, 1, None), write(10, 2, Some(1))];
        let with = |last: Request| [writes[0].clone(), writes[1].clone(), last];
        assert!(is_sound(&with(read(20, Some(2)))));
        assert!(!is_sound(&with(read(20, Some(1)))), "stale");
        assert!(is_sound(&with(read(12, Some(1)))), "the second write was under way");
        assert!(!is_sound(&with(read(20, None))), "lost");
        assert!(!is_sound(&with(read(20, Some(3)))), "never written");
        let mut other = read(20, Some(2));
        other.told = Told::Found(Some(Seen { version: 2, root: root("other") }));
        assert!(!is_sound(&with(other)), "other content");
        assert!(!is_sound(&[read(0, Some(7))]));
        assert!(!is_sound(&[read(0, Some(1)), write(10, 1, None)]), "from the future");
    }

    #[test]
    fn reads_do_not_go_back_and_what_is_in_doubt_explains_what_it_can() {
        let unknown =
            in_doubt(0, What::Write { root: Some(root("3")), condition: Condition::Anyhow });
        let story = [unknown, write(0, 1, None), read(10, Some(3)), read(20, Some(1))];
        assert!(is_sound(&story[..3]));
        assert!(!is_sound(&story));
        let gone = in_doubt(0, What::Delete);
        assert!(is_sound(&[gone, write(0, 1, None), read(10, None)]));
    }

    #[test]
    fn a_deletion_lasts_until_the_next_write() {
        assert!(is_sound(&[write(0, 1, None), delete(10, Some(2)), read(20, None)]));
        assert!(!is_sound(&[write(0, 1, None), delete(10, Some(2)), read(20, Some(1))]));
        assert!(!is_sound(&[write(0, 1, None), delete(10, None)]));
        assert!(!is_sound(&[delete(0, Some(1)), write(10, 2, None), read(20, None)]));
    }

    #[test]
    fn the_condition_of_absence_has_one_winner() {
        assert!(is_sound(&[create(0, 1, None)]));
        assert!(!is_sound(&[create(0, 1, None), create(2, 2, None)]));
        assert!(!is_sound(&[create(0, 1, None), create(2, 2, Some(1))]));
        assert!(is_sound(&[create(0, 1, None), delete(1, Some(2)), create(2, 3, None)]));
        let mut loser = create(0, 1, None);
        loser.told = Told::Refused(Kind::Precondition);
        assert!(is_sound(&[loser.clone(), create(2, 2, None)]));
        assert!(!is_sound(&[loser]), "nobody wrote it");
    }

    #[test]
    fn a_write_replaces_what_was_current() {
        assert!(!is_sound(&[write(0, 1, None), write(0, 2, Some(1)), write(0, 3, Some(1))]));
        assert!(!is_sound(&[write(0, 2, None), write(10, 1, None)]), "against time");
        let mut on_condition = write(20, 3, Some(2));
        on_condition.what = What::Write { root: None, condition: Condition::Version(2) };
        let before = [write(0, 1, None), write(10, 2, Some(1))];
        assert!(is_sound(&[before[0].clone(), before[1].clone(), on_condition.clone()]));
        on_condition.what = What::Write { root: None, condition: Condition::Version(1) };
        assert!(!is_sound(&[before[0].clone(), before[1].clone(), on_condition]));
        assert!(!is_sound(&[write(0, 1, None), write(0, 1, None)]), "one version twice");
    }

    #[test]
    fn every_acknowledged_version_of_a_name_that_nobody_deletes_is_listed() {
        let story = [write(0, 1, None), write(10, 2, Some(1))];
        assert!(judge_versions(&story, &[2, 1]).is_empty());
        assert_eq!(judge_versions(&story, &[2]).len(), 1);
        assert!(judge_versions(&[write(0, 1, None), delete(10, Some(2))], &[]).is_empty());
    }
}
