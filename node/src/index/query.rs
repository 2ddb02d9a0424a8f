//! What people look for, as tantivy asks for it.
//!
//! A word that is just so counts more than one with typing errors, and one of a name more than one of a tag.
//! Never: reads text that people typed; that is [`protocol::search`].

use std::ops::Bound;

use protocol::ClusterId;
use protocol::search::{Clause, Query, Wanted};
use tantivy::Term;
use tantivy::query::{
    AllQuery, BooleanQuery, BoostQuery, ConstScoreQuery, EmptyQuery, FuzzyTermQuery, Occur,
    PhrasePrefixQuery, PhraseQuery, Query as TantivyQuery, RangeQuery, TermQuery,
};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::tokenizer::TextAnalyzer;

use super::document::{Fields, tag_term};

/// How much more a word counts that is in the name.
const NAME_BOOST: f32 = 2.0;
/// What a word counts that begins as it should, or that is much alike: less than the rarest one that is just so.
const PREFIX_SCORE: f32 = 0.5;
/// See [`PREFIX_SCORE`].
const ALIKE_SCORE: f32 = 0.2;

/// Letters that a word has in which one error is forgiven, and two: shorter ones are like too many others.
const ONE_ERROR_CHARS: usize = 4;
/// See [`ONE_ERROR_CHARS`].
const TWO_ERRORS_CHARS: usize = 8;

/// Words with the same beginning that are looked for behind others. Of more, the first ones: a few are all that a page shows.
const BEGINNINGS_MAX: u32 = 20_000;

type Asked = Box<dyn TantivyQuery>;

/// Returns what tantivy is asked.
pub(super) fn of(
    query: &Query,
    clusters: Option<&[ClusterId]>,
    fields: &Fields,
    analyzer: &TextAnalyzer,
) -> Asked {
    let mut reader = Reader { fields, analyzer: analyzer.clone() };
    let mut clauses: Vec<(Occur, Asked)> = Vec::new();
    for Clause { excludes, wanted } in &query.clauses {
        let occur = if *excludes { Occur::MustNot } else { Occur::Must };
        clauses.push((occur, reader.wanted(wanted, *excludes)));
    }
    if let Some(clusters) = clusters {
        let of = clusters.iter().map(|cluster| exact(fields.cluster, &cluster.to_string()));
        clauses.push((Occur::Must, any(of)));
    }
    // What is only excluded is taken from everything.
    if clauses.iter().all(|(occur, _)| *occur == Occur::MustNot) {
        clauses.push((Occur::Must, Box::new(AllQuery)));
    }
    Box::new(BooleanQuery::new(clauses))
}

struct Reader<'a> {
    fields: &'a Fields,
    analyzer: TextAnalyzer,
}

impl Reader<'_> {
    fn wanted(&mut self, wanted: &Wanted, is_exact: bool) -> Asked {
        let fields = self.fields;
        match wanted {
            Wanted::Word(text) => match &self.tokens(text)[..] {
                [word] => any([
                    self.word(fields.name, word, is_exact, NAME_BOOST),
                    self.word(fields.words, word, is_exact, 1.0),
                ]),
                words => self.phrase(words),
            },
            Wanted::Phrase(text) => {
                let words = self.tokens(text);
                self.phrase(&words)
            }
            Wanted::Prefix(text) => {
                let words = self.tokens(text);
                let fields = [(fields.name, NAME_BOOST), (fields.words, 1.0)];
                match &words[..] {
                    [] => Box::new(EmptyQuery),
                    [word] => any(fields.map(|(field, boost)| begins(field, word, boost))),
                    words => any(fields.map(|(field, boost)| -> Asked {
                        let mut phrase = PhrasePrefixQuery::new(terms(field, words));
                        phrase.set_max_expansions(BEGINNINGS_MAX);
                        Box::new(BoostQuery::new(Box::new(phrase), boost))
                    })),
                }
            }
            Wanted::Tag { name, value } => exact(fields.tag, &tag_term(name, value.as_deref())),
            Wanted::Type(text) => exact(fields.content_type, text),
            Wanted::Owner(text) => exact(fields.owner, text),
            Wanted::Bucket(text) => exact(fields.bucket, text),
            Wanted::Size { least, most } => {
                let bound = |bytes: u64| Bound::Included(Term::from_field_u64(fields.size, bytes));
                let range = RangeQuery::new(bound(*least), bound(*most));
                Box::new(ConstScoreQuery::new(Box::new(range), 0.0))
            }
            // Whose index it is was decided before.
            Wanted::Cluster(_) => Box::new(AllQuery),
        }
    }

    /// Returns the words of a text as the index has them.
    fn tokens(&mut self, text: &str) -> Vec<String> {
        let mut words = Vec::new();
        self.analyzer.token_stream(text).process(&mut |token| words.push(token.text.clone()));
        words
    }

    fn word(&self, field: Field, word: &str, is_exact: bool, boost: f32) -> Asked {
        let term = Term::from_field_text(field, word);
        let just_so: Asked = Box::new(TermQuery::new(term.clone(), IndexRecordOption::WithFreqs));
        let errors = match word.chars().count() {
            _ if is_exact => 0,
            0..ONE_ERROR_CHARS => 0,
            ONE_ERROR_CHARS..TWO_ERRORS_CHARS => 1,
            TWO_ERRORS_CHARS.. => 2,
        };
        let mut asked = vec![just_so];
        if errors > 0 {
            let alike = FuzzyTermQuery::new(term, errors, true);
            asked.push(Box::new(ConstScoreQuery::new(Box::new(alike), ALIKE_SCORE)));
        }
        Box::new(BoostQuery::new(any(asked), boost))
    }

    fn phrase(&self, words: &[String]) -> Asked {
        let fields = [(self.fields.name, NAME_BOOST), (self.fields.words, 1.0)];
        match words {
            [] => Box::new(EmptyQuery),
            [word] => any(fields.map(|(field, boost)| self.word(field, word, true, boost))),
            words => any(fields.map(|(field, boost)| -> Asked {
                let phrase = PhraseQuery::new(terms(field, words));
                Box::new(BoostQuery::new(Box::new(phrase), boost))
            })),
        }
    }
}

fn terms(field: Field, words: &[String]) -> Vec<Term> {
    words.iter().map(|word| Term::from_field_text(field, word)).collect()
}

fn begins(field: Field, word: &str, boost: f32) -> Asked {
    let begins = FuzzyTermQuery::new_prefix(Term::from_field_text(field, word), 0, true);
    Box::new(ConstScoreQuery::new(Box::new(begins), PREFIX_SCORE * boost))
}

/// Returns the condition that a field has this term, which says nothing of relevance.
fn exact(field: Field, text: &str) -> Asked {
    let term = TermQuery::new(Term::from_field_text(field, text), IndexRecordOption::Basic);
    Box::new(ConstScoreQuery::new(Box::new(term), 0.0))
}

fn any(asked: impl IntoIterator<Item = Asked>) -> Asked {
    Box::new(BooleanQuery::union(asked.into_iter().collect()))
}
