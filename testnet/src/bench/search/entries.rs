//! Names that look like people's, and questions about them: drawn from a seed.
//!
//! Words are made of syllables, so that there are many alike; how often one stands falls with its rank. Never: reads a file.

use std::collections::BTreeMap;

use node::index::Document;
use protocol::Prng;

/// Words that there are.
const WORDS: u64 = 50_000;

/// Syllables of which they are made.
const SYLLABLES: [&str; 32] = [
    "ba", "co", "di", "fen", "gor", "hal", "is", "jun", "ka", "lo", "mir", "ne", "or", "pas",
    "qui", "ral", "sa", "tor", "um", "ve", "wan", "xi", "yor", "zel", "bri", "cha", "dro", "flo",
    "gra", "kli", "ste", "tre",
];

/// Media types, the first ones more often.
const TYPES: [&str; 6] =
    ["image/jpeg", "application/pdf", "text/plain", "video/mp4", "audio/flac", "application/zip"];

/// Milliseconds since 1970 of the newest name.
pub(super) const NOW_MS: u64 = 1_700_000_000_000;
/// Of a year.
const YEAR_MS: u64 = 365 * 24 * 3600 * 1000;

/// Returns the word of a rank: the same for everybody.
pub(super) fn word(rank: u64) -> String {
    let mut prng = Prng::new(rank + 1);
    let count = 2 + prng.below(3);
    let mut word = String::new();
    for _ in 0..count {
        word += SYLLABLES[usize::try_from(prng.below(32)).unwrap_or(0)];
    }
    word
}

/// Returns a rank: half of all draws are among the first 224 of 50,000.
pub(super) fn rank(prng: &mut Prng) -> u64 {
    let bits = prng.below(17);
    prng.below((1 << bits).min(WORDS))
}

/// Returns the name of a number.
pub(super) fn entry(number: u64) -> Document {
    let mut prng = Prng::new(number ^ 0x5ea7_c4e5);
    let mut words =
        |count: u64| -> Vec<String> { (0..count).map(|_| word(rank(&mut prng))).collect() };
    let folder = words(1).join(" ");
    let name = words(3).join(" ");
    let place = words(1).join("");
    let kind = usize::try_from(prng.below(36)).unwrap_or(0);
    let mut tags = BTreeMap::from([("place".to_owned(), place)]);
    if prng.chance(1, 4) {
        tags.insert("project".to_owned(), word(prng.below(100)));
    }
    Document {
        listed: None,
        bucket: format!("bucket-{}", prng.below(20)),
        key: format!("{folder}/{name} {number}"),
        owner: format!("user{}", prng.below(50)),
        cid: format!("bafkrei{number:052}"),
        size: 1 << prng.below(32),
        // Six of the first, five of the second, and so on.
        content_type: TYPES[kind % TYPES.len().min(kind + 1)].to_owned(),
        tags,
        modified_ms: NOW_MS - prng.below(3 * YEAR_MS),
        version: number,
    }
}

/// A kind of question, with one as peers read it, and as SQLite does: the words to match and a condition besides.
pub(super) struct Question {
    pub(super) ours: String,
    /// None where FTS5 has no such thing.
    pub(super) matches: Option<String>,
    pub(super) besides: String,
}

/// The kinds of questions.
pub(super) const KINDS: [&str; 10] = [
    "a frequent word",
    "a rare word",
    "two words",
    "three words",
    "a beginning of three letters",
    "a phrase of two words",
    "a word with one error",
    "a long word with two errors",
    "a word, a tag",
    "a word, type and size",
];

/// Returns a question of a kind about one of so many names.
pub(super) fn question(kind: usize, names: u64, prng: &mut Prng) -> Question {
    let asked = entry(prng.below(names));
    let (_, name) = asked.key.split_once('/').unwrap_or_default();
    let words: Vec<&str> = name.split(' ').take(3).collect();
    let just = |ours: String, matches: String| Question {
        ours,
        matches: Some(matches),
        besides: String::new(),
    };
    let alike = |ours: String| Question { ours, matches: None, besides: String::new() };
    match kind {
        0 => {
            let word = word(prng.below(20));
            just(word.clone(), word)
        }
        1 => {
            let word = word(WORDS / 2 + prng.below(WORDS / 2));
            just(word.clone(), word)
        }
        2 => just(words[..2].join(" "), words[..2].join(" ")),
        3 => just(words.join(" "), words.join(" ")),
        4 => {
            let begins: String = words[0].chars().take(3).collect();
            just(format!("{begins}*"), format!("{begins}*"))
        }
        5 => {
            let phrase = format!("\"{}\"", words[..2].join(" "));
            just(phrase.clone(), phrase)
        }
        6 => alike(with_errors(words[0], 1, prng)),
        7 => alike(with_errors(
            words.iter().max_by_key(|word| word.len()).unwrap_or(&words[0]),
            2,
            prng,
        )),
        8 => {
            let place = &asked.tags["place"];
            Question {
                ours: format!("{} tag:place={place}", words[0]),
                matches: Some(words[0].to_owned()),
                besides: format!(
                    "AND objects.id IN (SELECT id FROM tags WHERE name = 'place' AND value = '{place}')"
                ),
            }
        }
        _ => Question {
            ours: format!("{} type:{} size:>=1MiB", words[0], asked.content_type),
            matches: Some(words[0].to_owned()),
            besides: format!(
                "AND objects.type = '{}' AND objects.size >= 1048576",
                asked.content_type
            ),
        },
    }
}

/// Returns a word with some of its letters replaced.
fn with_errors(word: &str, errors: usize, prng: &mut Prng) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    for number in 0..errors {
        // Apart from each other, and not the first.
        let at = 1 + number * 3 % letters.len().max(2).saturating_sub(1);
        if let Some(letter) = letters.get_mut(at) {
            *letter = char::from(b'a' + u8::try_from(prng.below(26)).unwrap_or(0));
        }
    }
    letters.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use node::index::{Index, IndexChange, Page};
    use protocol::search::Query;
    use protocol::{Prng, WallTime};

    use super::{KINDS, NOW_MS, entry, question};

    #[test]
    fn what_is_asked_about_a_name_finds_it_and_both_are_asked_the_same() {
        let index = Index::in_memory().expect("there is memory");
        let names = 2_000;
        let put = |number| IndexChange::Put(Box::new(entry(number)));
        index.change((0..names).map(put).collect()).expect("they are taken");
        index.commit(1).expect("they are committed");
        let sqlite = super::super::fts5::Fts5::in_memory().expect("there is memory");
        sqlite.put((0..names).map(entry)).expect("they are taken");
        let mut prng = Prng::new(3);
        for kind in 2..KINDS.len() {
            for _ in 0..20 {
                let asked = question(kind, names, &mut prng);
                let query = Query::parse(&asked.ours).expect("it is a query");
                let page = Page { after: 0, limit: 20 };
                let now = WallTime::from_unix_millis(NOW_MS);
                let found = index.search(&query, page, now).expect("it reads");
                if let Some(matches) = &asked.matches {
                    let theirs = sqlite.count(matches, &asked.besides).expect("it reads");
                    // Errors are forgiven by one of them alone.
                    let is_just_so = matches.contains(['*', '"']);
                    assert!(found.total >= theirs, "{}: {found:?} and {theirs}", asked.ours);
                    assert!(!is_just_so || found.total == theirs, "{}: {theirs}", asked.ours);
                    assert!(theirs > 0 || kind == 9, "{}", asked.ours);
                }
            }
        }
    }
}
