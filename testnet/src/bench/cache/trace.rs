//! Requests for objects, 80 % of them for 20 % of the objects, from a seed.
//!
//! A million requests for ten thousand objects. How popular an object is follows from its rank, in one of two ways:
//!
//! - **Two classes.** With a chance of 4/5 one of the 2,000 first ranks, each as likely as any other of them; else
//!   one of the 8,000 others, likewise. Nothing distinguishes the popular ones from each other.
//! - **Nested.** The same again within the popular fifth, and so on: 2,000, 400, 80 and 16 ranks get 4/5 of what the
//!   class around them gets, the rest of each class one share each. Popularity in steps, as measured ones fall off.
//!
//! and which objects have these ranks, in one of two ways:
//!
//! - **Steady.** Who is popular stays so: each request is drawn independently of all others. No such trace was
//!   ever recorded; counting is the best that can be done on it.
//! - **Changing.** After every 500 requests one of the 2,000 first ranks, each as likely, changes places with one of
//!   all ranks: each changes hands once in the trace on average. And before every 50,000 requests somebody
//!   reads 1,000 objects once each, one behind the other in the order of their numbers, from a random one on, as
//!   a backup does: 2 % of all requests.
//!
//! Never: looks at a policy; what it says was chosen before any was measured.

use protocol::Prng;

/// Objects.
pub(super) const OBJECTS: usize = 10_000;

/// Requests, those of scans among them.
pub(super) const REQUESTS: usize = 1_000_000;

/// One in so many objects is popular.
const POPULAR_PART: usize = 5;

/// Smallest class that is popular throughout.
const CORE: usize = 16;

/// Requests between two changes of rank.
const CHANGE_EVERY: usize = 500;

/// Requests from the beginning of a scan to that of the next.
const SCAN_EVERY: usize = 50_000;

/// Objects of a scan.
const SCAN: usize = 1_000;

/// How popular an object of a rank is; see the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Popularity {
    TwoClasses,
    Nested,
}

/// Whether ranks change hands; see the module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Course {
    Steady,
    Changing,
}

/// All kinds of traces, and how they are called.
pub(super) const KINDS: [(&str, Popularity, Course); 4] = [
    ("two classes, steady", Popularity::TwoClasses, Course::Steady),
    ("two classes, changing", Popularity::TwoClasses, Course::Changing),
    ("nested, steady", Popularity::Nested, Course::Steady),
    ("nested, changing", Popularity::Nested, Course::Changing),
];

/// Returns the numbers of the objects that are asked for, in order.
pub(super) fn draw(popularity: Popularity, course: Course, mut prng: Prng) -> Vec<usize> {
    let mut by_rank: Vec<usize> = (0..OBJECTS).collect();
    prng.shuffle(&mut by_rank);
    let mut requests = Vec::with_capacity(REQUESTS);
    let mut scan = 0..0;
    for number in 0..REQUESTS {
        if course == Course::Changing && number % SCAN_EVERY == 0 {
            let first = below(OBJECTS, &mut prng);
            scan = first..first + SCAN;
        }
        if course == Course::Changing && number % CHANGE_EVERY == 0 {
            let popular = below(OBJECTS / POPULAR_PART, &mut prng);
            by_rank.swap(popular, below(OBJECTS, &mut prng));
        }
        requests.push(match scan.next() {
            Some(scanned) => scanned % OBJECTS,
            None => by_rank[rank(popularity, &mut prng)],
        });
    }
    requests
}

fn rank(popularity: Popularity, prng: &mut Prng) -> usize {
    let last_class = match popularity {
        Popularity::TwoClasses => OBJECTS / POPULAR_PART,
        Popularity::Nested => CORE,
    };
    let mut class = OBJECTS;
    while class > last_class {
        let popular = class / POPULAR_PART;
        if !prng.chance(4, 5) {
            return popular + below(class - popular, prng);
        }
        class = popular;
    }
    below(class, prng)
}

fn below(bound: usize, prng: &mut Prng) -> usize {
    prng.index(bound).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::{Course, KINDS, OBJECTS, Popularity, REQUESTS, draw};
    use protocol::Prng;

    #[test]
    fn a_fifth_of_the_objects_gets_four_fifths_of_the_requests() {
        for (popularity, core) in [(Popularity::TwoClasses, 0.0064), (Popularity::Nested, 0.4096)] {
            let requests = draw(popularity, Course::Steady, Prng::new(3));
            let mut counts = vec![0_u32; OBJECTS];
            requests.iter().for_each(|object| counts[*object] += 1);
            counts.sort_unstable_by(|one, other| other.cmp(one));
            let share =
                |first: usize| f64::from(counts[..first].iter().sum::<u32>()) / REQUESTS as f64;
            assert!((0.795..0.81).contains(&share(OBJECTS / 5)), "{popularity:?}");
            // The first sixteen of two equal classes are the luckiest of equals.
            assert!((share(16) - core).abs() < 0.003, "{popularity:?}: {}", share(16));
        }
    }

    #[test]
    fn a_seed_decides_a_trace_and_all_have_the_same_length() {
        for (name, popularity, course) in KINDS {
            let trace = draw(popularity, course, Prng::new(5));
            assert_eq!(trace.len(), REQUESTS, "{name}");
            assert!(trace.iter().all(|object| *object < OBJECTS), "{name}");
            assert_eq!(trace, draw(popularity, course, Prng::new(5)), "{name}");
        }
    }
}
