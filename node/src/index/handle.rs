//! The handle of the index: what is written into it, and what is found.
//!
//! One writer at a time, which whoever follows the cluster's names has; searches go on beside it, over what was committed last.
//! Calls take their time on the disk: not for a task that others wait for.

use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::search::Query;
use protocol::{Cid, ClusterId, Fault, Kind, WallTime};
use tantivy::collector::{Count, TopDocs};
use tantivy::directory::MmapDirectory;
use tantivy::query::{Query as TantivyQuery, TermQuery};
use tantivy::schema::IndexRecordOption;
use tantivy::{
    DocId, DocSet, IndexReader, IndexWriter, ReloadPolicy, Score, SegmentReader, TERMINATED,
    TantivyDocument, TantivyError, Term,
};
use tracing::warn;

use super::document::{Document, Fields, Id, LAYOUT, MODIFIED, VERSION, analyzer, analyzer_name};
use super::query;

/// Memory of the writer between two commits: the least that tantivy takes, and some.
const WRITER_BYTES: usize = 20 << 20;

/// How much more something counts that was written just now, and how long until that is half of it.
const FRESH_BOOST: f64 = 0.25;
/// See [`FRESH_BOOST`].
const FRESH_HALF_MS: f64 = 30.0 * 24.0 * 3600.0 * 1000.0;

/// A change of the index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IndexChange {
    /// This is how an object is now.
    Put(Box<Document>),
    /// There is no such object.
    Remove(Id),
    /// There is none of this cluster.
    RemoveCluster(ClusterId),
}

/// Which of the hits are wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Page {
    /// Hits before it.
    pub after: usize,
    /// Hits of it, at least one.
    pub limit: usize,
}

/// One that was found.
#[derive(Clone, Debug, PartialEq)]
pub struct Hit {
    /// What was kept of it.
    pub document: Document,
    /// How well it fits: more is better, and means something beside others of the same search alone.
    pub score: f64,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Found {
    /// The page, best first.
    pub hits: Vec<Hit>,
    /// How many there are on all pages.
    pub total: u64,
}

/// An index. Clones are handles to the same one.
#[derive(Clone)]
pub struct Index(Arc<Inner>);

struct Inner {
    index: tantivy::Index,
    reader: IndexReader,
    fields: Fields,
    /// None before the first change, and after one that failed.
    writer: Mutex<Option<IndexWriter>>,
}

impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index").finish_non_exhaustive()
    }
}

impl Index {
    /// Opens the index in a folder, which is made where there is none. One that cannot be read, or is of another layout, is
    /// removed: all of it is derived.
    ///
    /// # Errors
    /// [`Kind::Internal`] when the folder cannot be written.
    pub fn open(folder: &Path) -> Result<Self, Fault> {
        // Another layout is another folder.
        let place = folder.join(LAYOUT.to_string());
        match Self::open_at(&place) {
            Ok(index) => Ok(index),
            Err(error) => {
                warn!(err = %error, "the index of names cannot be read, and is made anew");
                remove(&place)?;
                Self::open_at(&place).map_err(|error| failed(&error))
            }
        }
    }

    fn open_at(place: &PathBuf) -> Result<Self, TantivyError> {
        std::fs::create_dir_all(place)?;
        let fields = Fields::new();
        let index =
            tantivy::Index::open_or_create(MmapDirectory::open(place)?, fields.schema.clone())?;
        Self::over(index, fields)
    }

    /// Returns an empty index in memory.
    ///
    /// # Errors
    /// [`Kind::Internal`] when it cannot be made.
    pub fn in_memory() -> Result<Self, Fault> {
        let fields = Fields::new();
        Self::over(tantivy::Index::create_in_ram(fields.schema.clone()), fields)
            .map_err(|error| failed(&error))
    }

    fn over(index: tantivy::Index, fields: Fields) -> Result<Self, TantivyError> {
        index.tokenizers().register(analyzer_name(), analyzer());
        let reader = index.reader_builder().reload_policy(ReloadPolicy::Manual).try_into()?;
        Ok(Self(Arc::new(Inner { index, reader, fields, writer: Mutex::new(None) })))
    }

    /// Returns how far it reflects what the cluster agrees on: every change below this place in the log. 0 for an index that
    /// reflects nothing.
    ///
    /// # Errors
    /// [`Kind::Internal`] when it cannot be read.
    pub fn position(&self) -> Result<u64, Fault> {
        let metas = self.0.index.load_metas().map_err(|error| failed(&error))?;
        Ok(metas.payload.and_then(|text| text.parse().ok()).unwrap_or(0))
    }

    /// Returns the objects in it.
    #[must_use]
    pub fn documents(&self) -> u64 {
        self.0.reader.searcher().num_docs()
    }

    /// Takes changes, which are found from the next commit on.
    ///
    /// # Errors
    /// [`Kind::Internal`] when they cannot be written: all since the last commit are forgotten then.
    pub fn change(&self, changes: Vec<IndexChange>) -> Result<(), Fault> {
        let fields = &self.0.fields;
        self.write(|writer| {
            for change in changes {
                let term = match &change {
                    IndexChange::Put(document) => {
                        Term::from_field_text(fields.id, document.id().as_str())
                    }
                    IndexChange::Remove(id) => Term::from_field_text(fields.id, id.as_str()),
                    IndexChange::RemoveCluster(cluster) => {
                        Term::from_field_text(fields.cluster, &cluster.to_string())
                    }
                };
                writer.delete_term(term);
                if let IndexChange::Put(document) = change {
                    let document = fields.document(&document)?;
                    writer.add_document(document).map_err(|error| failed(&error))?;
                }
            }
            Ok(())
        })
    }

    /// Makes what was taken durable and findable, with how far it reflects the cluster's log.
    ///
    /// # Errors
    /// As [`Self::change`].
    pub fn commit(&self, position: u64) -> Result<(), Fault> {
        self.write(|writer| {
            let mut commit = writer.prepare_commit().map_err(|error| failed(&error))?;
            commit.set_payload(&position.to_string());
            commit.commit().map(drop).map_err(|error| failed(&error))
        })?;
        self.0.reader.reload().map_err(|error| failed(&error))
    }

    /// Does something with the writer. One that failed is not used again: it may be anyhow.
    fn write<T>(
        &self,
        what: impl FnOnce(&mut IndexWriter) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut writer = self.lock();
        let open = match writer.as_mut() {
            Some(open) => open,
            None => {
                let opened =
                    self.0.index.writer_with_num_threads::<TantivyDocument>(1, WRITER_BYTES);
                writer.insert(opened.map_err(|error| failed(&error))?)
            }
        };
        let outcome = what(open);
        if outcome.is_err() {
            *writer = None;
        }
        outcome
    }

    fn lock(&self) -> MutexGuard<'_, Option<IndexWriter>> {
        // Whoever panicked left a writer that may be anyhow.
        self.0.writer.lock().unwrap_or_else(|poisoned: PoisonError<_>| {
            let mut writer = poisoned.into_inner();
            *writer = None;
            writer
        })
    }

    /// Ends the writer, and waits for what it does beside: nothing is written after that before the next change.
    pub fn close(&self) {
        if let Some(writer) = self.lock().take()
            && let Err(error) = writer.wait_merging_threads()
        {
            warn!(err = %error, "the index of names was not tidied");
        }
    }

    /// Returns up to `limit` objects of the last commit with their versions, in the order of their ids, behind `after` and up to
    /// `last`.
    ///
    /// # Errors
    /// [`Kind::Internal`] when it cannot be read.
    pub fn ids(
        &self,
        after: Option<&Id>,
        last: Option<&Id>,
        limit: usize,
    ) -> Result<Vec<(Id, u64)>, Fault> {
        let mut found = BTreeSet::new();
        for segment in self.0.reader.searcher().segment_readers() {
            let some = self.ids_of(segment, (after, last), limit);
            found.extend(some.map_err(|error| failed(&error))?);
        }
        Ok(found.into_iter().take(limit).collect())
    }

    fn ids_of(
        &self,
        segment: &SegmentReader,
        (after, last): (Option<&Id>, Option<&Id>),
        limit: usize,
    ) -> Result<Vec<(Id, u64)>, TantivyError> {
        let versions = segment.fast_fields().u64(VERSION)?;
        let index = segment.inverted_index(self.0.fields.id)?;
        let mut range = index.terms().range();
        if let Some(after) = after {
            range = range.gt(after.as_str());
        }
        if let Some(last) = last {
            range = range.le(last.as_str());
        }
        let mut terms = range.into_stream()?;
        let mut found = Vec::new();
        while found.len() < limit
            && let Some((term, info)) = terms.next()
        {
            let mut docs = index.read_postings_from_terminfo(info, IndexRecordOption::Basic)?;
            let is_alive = |doc| segment.alive_bitset().is_none_or(|alive| alive.is_alive(doc));
            while docs.doc() != TERMINATED && !is_alive(docs.doc()) {
                docs.advance();
            }
            if docs.doc() != TERMINATED
                && let Some(id) = Id::from_term(term)
            {
                found.push((id, versions.first(docs.doc()).unwrap_or(0)));
            }
        }
        Ok(found)
    }

    /// Searches what was committed last. Cost: a walk over what the rarest condition finds; a word with typing errors costs one
    /// over the words of the index.
    ///
    /// # Errors
    /// [`Kind::Internal`] when it cannot be read.
    pub fn search(&self, query: &Query, page: Page, now: WallTime) -> Result<Found, Fault> {
        self.search_among(None, query, page, now)
    }

    /// Searches entries of these clusters; of all for `None`. Cost and errors as [`Self::search`].
    ///
    /// # Errors
    /// As there.
    pub fn search_among(
        &self,
        clusters: Option<&[ClusterId]>,
        query: &Query,
        page: Page,
        now: WallTime,
    ) -> Result<Found, Fault> {
        let asked = query::of(query, clusters, &self.0.fields, &analyzer());
        self.search_in(&asked, page, now.as_unix_millis()).map_err(|error| failed(&error))?
    }

    /// Returns entries of clusters that list content of this root, at most so many.
    ///
    /// # Errors
    /// [`Kind::Internal`] when it cannot be read.
    pub fn listed(&self, root: &Cid, limit: usize) -> Result<Vec<Document>, Fault> {
        let term = Term::from_field_text(self.0.fields.cid, &root.to_string());
        let asked = TermQuery::new(term, IndexRecordOption::Basic);
        let page = Page { after: 0, limit };
        let found = self.search_in(&asked, page, 0).map_err(|error| failed(&error))??;
        Ok(found.hits.into_iter().map(|hit| hit.document).collect())
    }

    fn search_in(
        &self,
        asked: &dyn TantivyQuery,
        page: Page,
        now_ms: u64,
    ) -> Result<Result<Found, Fault>, TantivyError> {
        let fields = &self.0.fields;
        let searcher = self.0.reader.searcher();
        let top = TopDocs::with_limit(page.limit.max(1)).and_offset(page.after);
        let ranked = top.tweak_score(move |segment: &SegmentReader| {
            let modified = segment.fast_fields().u64(MODIFIED).ok();
            move |doc: DocId, score: Score| {
                let modified = modified.as_ref().and_then(|column| column.first(doc)).unwrap_or(0);
                let freshness = freshness(now_ms.saturating_sub(modified));
                // What fits alike is in order of its age.
                (f64::from(score) * (1.0 + FRESH_BOOST * freshness), modified)
            }
        });
        let (best, total) = searcher.search(asked, &(ranked, Count))?;
        let mut hits = Vec::with_capacity(best.len());
        for ((score, _), address) in best {
            match fields.kept(&searcher.doc(address)?) {
                Ok(document) => hits.push(Hit { document, score }),
                Err(fault) => return Ok(Err(fault)),
            }
        }
        Ok(Ok(Found { hits, total: total as u64 }))
    }
}

/// Returns 1 for what was written now, and half of it for each [`FRESH_HALF_MS`].
#[expect(clippy::cast_precision_loss, reason = "an age in milliseconds, for ranking")]
fn freshness(age_ms: u64) -> f64 {
    (-(age_ms as f64) / FRESH_HALF_MS).exp2()
}

fn remove(place: &Path) -> Result<(), Fault> {
    std::fs::remove_dir_all(place).map_err(|error| {
        let detail =
            format!("the index of names at {} cannot be removed: {error}", place.display());
        Fault::new(Kind::Internal, detail)
    })
}

fn failed(error: &TantivyError) -> Fault {
    let mend = "if this goes on, stop the peer and remove the folder `names`: it is made anew";
    Fault::new(Kind::Internal, format!("the index of names: {error} ({mend})"))
}
