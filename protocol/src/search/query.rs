//! What people type to find objects, read into what is looked for.
//!
//! Words that stand beside each other must all be found. `word*` finds what begins with it, `"two words"` a phrase, and
//! `-` before either finds what has none of it. `tag:` `type:` `size:` `owner:` `bucket:` `cluster:` look into one
//! property each. Whoever means one of these signs itself puts it in quotes.
//! Never: divides text into words as an index does; says what is alike.

use core::fmt;

use crate::byte_count;
use crate::limits::{SEARCH_CLAUSES_MAX, SEARCH_QUERY_BYTES_MAX};

/// What is looked for: all of these at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Query {
    /// In the order in which they were typed; none finds everything.
    pub clauses: Vec<Clause>,
}

/// One condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Clause {
    /// Whether it must not hold.
    pub excludes: bool,
    /// What it says.
    pub wanted: Wanted,
}

/// What a condition is about. No text is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A word of the name, of a tag or of the content type, or one much like it.
    Word(String),
    /// A word there begins with this.
    Prefix(String),
    /// These words stand there in this order, just so.
    Phrase(String),
    /// There is this tag.
    Tag {
        /// Its name.
        name: String,
        /// Its value; any when absent.
        value: Option<String>,
    },
    /// The content type is this, or `image` for all of `image/*`.
    Type(String),
    /// The bytes of the content are in this range, both ends included.
    Size {
        /// The fewest.
        least: u64,
        /// The most.
        most: u64,
    },
    /// This user wrote it.
    Owner(String),
    /// It lies in this bucket.
    Bucket(String),
    /// It is of the cluster with this name or id.
    Cluster(String),
}

/// What is wrong with a query.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueryError {
    /// Where: characters before it.
    pub at: usize,
    /// What, and what would be right.
    pub detail: String,
}

impl fmt::Display for QueryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at character {} of the query: {}", self.at + 1, self.detail)
    }
}

impl core::error::Error for QueryError {}

/// Why signs alone are refused.
const NO_WORD: &str = "there is no letter and no digit to search for";

/// The properties that can be named.
const FIELDS: &str = "tag, type, size, owner, bucket, cluster";

impl Query {
    /// Reads a query. Cost: O(bytes).
    ///
    /// # Errors
    /// [`QueryError`] for the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, QueryError> {
        if text.len() > SEARCH_QUERY_BYTES_MAX {
            let detail = format!("a query has {SEARCH_QUERY_BYTES_MAX} bytes at most");
            return Err(QueryError { at: 0, detail });
        }
        let mut reader = Reader { rest: text, at: 0 };
        let mut clauses = Vec::new();
        while let Some((at, clause)) = reader.clause()? {
            if clauses.len() == SEARCH_CLAUSES_MAX {
                let detail = format!("a query has {SEARCH_CLAUSES_MAX} conditions at most");
                return Err(QueryError { at, detail });
            }
            clauses.push(clause);
        }
        Ok(Self { clauses })
    }
}

struct Reader<'a> {
    rest: &'a str,
    /// Characters before it.
    at: usize,
}

impl<'a> Reader<'a> {
    fn wrong<T>(at: usize, detail: impl Into<String>) -> Result<T, QueryError> {
        Err(QueryError { at, detail: detail.into() })
    }

    /// Goes on by so many bytes, and returns them.
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.at += taken.chars().count();
        self.rest = rest;
        taken
    }

    /// Returns the next condition and where it begins, or `None` at the end.
    fn clause(&mut self) -> Result<Option<(usize, Clause)>, QueryError> {
        let blank = self.rest.len() - self.rest.trim_start().len();
        self.take(blank);
        if self.rest.is_empty() {
            return Ok(None);
        }
        let begins = self.at;
        let excludes = self.rest.starts_with('-');
        if excludes {
            self.take(1);
        }
        let wanted = self.wanted()?;
        Ok(Some((begins, Clause { excludes, wanted })))
    }

    fn wanted(&mut self) -> Result<Wanted, QueryError> {
        let at = self.at;
        if self.rest.starts_with('"') {
            let phrase = self.quoted()?;
            let is_text = has_word(phrase);
            return if is_text {
                Ok(Wanted::Phrase(phrase.to_owned()))
            } else {
                Self::wrong(at, NO_WORD)
            };
        }
        let name_bytes = self.rest.find(|c: char| c == ':' || c == '"' || c.is_whitespace());
        if let Some(bytes) = name_bytes
            && self.rest[bytes..].starts_with(':')
        {
            let field = self.take(bytes);
            self.take(1);
            return self.property(at, field);
        }
        let word = self.bare();
        match word.strip_suffix('*') {
            _ if word.is_empty() => Self::wrong(at, "a word or a phrase in quotes was expected"),
            Some("") => Self::wrong(at, "letters were expected before the *"),
            _ if !has_word(word) => Self::wrong(at, NO_WORD),
            Some(prefix) => Ok(Wanted::Prefix(prefix.to_owned())),
            None => Ok(Wanted::Word(word.to_owned())),
        }
    }

    /// Returns what stands up to the next blank.
    fn bare(&mut self) -> &'a str {
        let bytes = self.rest.find(char::is_whitespace).unwrap_or(self.rest.len());
        self.take(bytes)
    }

    /// Returns what stands between quotes.
    fn quoted(&mut self) -> Result<&'a str, QueryError> {
        let at = self.at;
        let Some(bytes) = self.rest[1..].find('"') else {
            return Self::wrong(at, "the quotes that open here are not closed");
        };
        self.take(1);
        let text = self.take(bytes);
        self.take(1);
        if text.trim().is_empty() {
            Self::wrong(at, "nothing stands between the quotes")
        } else {
            Ok(text)
        }
    }

    fn property(&mut self, begins: usize, field: &str) -> Result<Wanted, QueryError> {
        let at = self.at;
        let value = if self.rest.starts_with('"') { self.quoted()? } else { self.bare() };
        if value.is_empty() {
            return Self::wrong(at, format!("{field}: is followed by nothing"));
        }
        let text = value.to_owned();
        Ok(match field {
            "tag" => match value.split_once('=') {
                Some(("", _)) => return Self::wrong(at, "a tag is NAME or NAME=VALUE"),
                Some((name, value)) => {
                    Wanted::Tag { name: name.to_owned(), value: Some(value.to_owned()) }
                }
                None => Wanted::Tag { name: text, value: None },
            },
            "type" => Wanted::Type(text.to_ascii_lowercase()),
            "size" => match size(value) {
                Some((least, most)) => Wanted::Size { least, most },
                None => {
                    let detail = "a size is such as >10MB, <=1GiB, 4096 or 10kB..20MB";
                    return Self::wrong(at, detail);
                }
            },
            "owner" => Wanted::Owner(text),
            "bucket" => Wanted::Bucket(text),
            "cluster" => Wanted::Cluster(text),
            _ => {
                let detail = format!(
                    "{field:?} is no property: there are {FIELDS}; put what you mean as text in quotes"
                );
                return Self::wrong(begins, detail);
            }
        })
    }
}

/// Says whether there is anything to be found by: signs are in no index.
fn has_word(text: &str) -> bool {
    text.contains(char::is_alphanumeric)
}

/// Reads a range of sizes; one that holds nothing is none.
fn size(text: &str) -> Option<(u64, u64)> {
    let (least, most) = if let Some((least, most)) = text.split_once("..") {
        (byte_count::parse(least)?, byte_count::parse(most)?)
    } else if let Some(least) = text.strip_prefix(">=") {
        (byte_count::parse(least)?, u64::MAX)
    } else if let Some(below) = text.strip_prefix('>') {
        (byte_count::parse(below)?.checked_add(1)?, u64::MAX)
    } else if let Some(most) = text.strip_prefix("<=") {
        (0, byte_count::parse(most)?)
    } else if let Some(above) = text.strip_prefix('<') {
        (0, byte_count::parse(above)?.checked_sub(1)?)
    } else {
        let exact = byte_count::parse(text)?;
        (exact, exact)
    };
    (least <= most).then_some((least, most))
}

#[cfg(test)]
#[path = "query_test.rs"]
mod tests;
