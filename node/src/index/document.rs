//! What is kept of an object, and the fields that it is found by.
//!
//! Never: decides what is alike, or what comes first.

use std::collections::BTreeMap;

use protocol::catalog::EntryId;
use protocol::{ClusterId, Fault, Kind};
use serde::{Deserialize, Serialize};
use tantivy::TantivyDocument;
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing,
    TextOptions, Value,
};
use tantivy::tokenizer::{
    AsciiFoldingFilter, LowerCaser, RemoveLongFilter, SimpleTokenizer, TextAnalyzer,
};

/// Name of the way in which texts are divided into words.
const WORDS: &str = "shoal_words";

/// Bytes of a word that is remembered; longer ones are noise.
const WORD_BYTES_MAX: usize = 255;

/// What stands between the parts of a term: in no name, and before all that are, so that ids are in the order of names.
const SEPARATOR: char = '\0';
/// The next one behind it.
const BEHIND: char = '\u{1}';

/// An object's name in the index. Those of other clusters are in indexes of their own: their ids sort by cluster and sequence.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Id(String);

impl Id {
    /// Returns the id of an object.
    #[must_use]
    pub fn of(bucket: &str, key: &str) -> Self {
        Self(format!("{bucket}{SEPARATOR}{key}"))
    }

    /// Returns the id of an entry of another cluster's catalog.
    #[must_use]
    pub fn listed(cluster: ClusterId, sequence: u64, entry: &EntryId) -> Self {
        let digits: String = entry.0.iter().map(|byte| format!("{byte:02x}")).collect();
        Self(format!("{cluster}{SEPARATOR}{sequence:016x}{SEPARATOR}{digits}"))
    }

    /// Returns what lies before all entries of a cluster, and behind them.
    #[must_use]
    pub fn range_of(cluster: ClusterId) -> (Self, Self) {
        (Self(format!("{cluster}{SEPARATOR}")), Self(format!("{cluster}{BEHIND}")))
    }

    /// Returns the entry that [`Self::listed`] made the id of.
    #[must_use]
    pub fn entry(&self) -> Option<(u64, EntryId)> {
        let (_, rest) = self.0.split_once(SEPARATOR)?;
        let (sequence, digits) = rest.split_once(SEPARATOR)?;
        let mut entry = [0; 32];
        for (at, byte) in entry.iter_mut().enumerate() {
            *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
        }
        Some((u64::from_str_radix(sequence, 16).ok()?, EntryId(entry)))
    }

    pub(super) fn from_term(term: &[u8]) -> Option<Self> {
        String::from_utf8(term.to_vec()).ok().map(Self)
    }

    /// Returns bucket and key.
    #[must_use]
    pub fn parts(&self) -> (&str, &str) {
        self.0.split_once(SEPARATOR).unwrap_or((&self.0, ""))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// What is kept of an object.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Of which catalog it is, and as which entry; `None` for an object of this cluster.
    pub listed: Option<(ClusterId, EntryId)>,
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
    /// Who wrote it.
    pub owner: String,
    /// The root of its content.
    pub cid: String,
    /// Bytes of its content.
    pub size: u64,
    /// Media type.
    pub content_type: String,
    /// Names and values.
    pub tags: BTreeMap<String, String>,
    /// When it was written, in milliseconds since 1970.
    pub modified_ms: u64,
    /// Which version of the object this is.
    pub version: u64,
}

impl Document {
    /// Returns its name.
    #[must_use]
    pub fn id(&self) -> Id {
        match &self.listed {
            Some((cluster, entry)) => Id::listed(*cluster, self.version, entry),
            None => Id::of(&self.bucket, &self.key),
        }
    }
}

/// The fields of the index. A change of them takes another [`LAYOUT`].
#[derive(Clone, Debug)]
pub(super) struct Fields {
    pub(super) schema: Schema,
    pub(super) id: Field,
    /// Words of bucket and key.
    pub(super) name: Field,
    /// Words of tags and content type.
    pub(super) words: Field,
    pub(super) tag: Field,
    pub(super) content_type: Field,
    pub(super) owner: Field,
    pub(super) bucket: Field,
    pub(super) cluster: Field,
    pub(super) cid: Field,
    pub(super) size: Field,
    pub(super) modified: Field,
    version: Field,
    kept: Field,
}

/// Name of the field with the time, which results are ranked by.
pub(super) const MODIFIED: &str = "modified";
/// Name of the field with the version, by which it is seen whether a document is as the object is.
pub(super) const VERSION: &str = "version";

/// The version of the fields and of what is kept: an index of another one is made anew.
pub(super) const LAYOUT: u32 = 3;

impl Fields {
    pub(super) fn new() -> Self {
        let mut schema = Schema::builder();
        let indexing = TextFieldIndexing::default()
            .set_tokenizer(WORDS)
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let text = TextOptions::default().set_indexing_options(indexing);
        Self {
            id: schema.add_text_field("id", STRING),
            name: schema.add_text_field("name", text.clone()),
            words: schema.add_text_field("words", text),
            tag: schema.add_text_field("tag", STRING),
            content_type: schema.add_text_field("content_type", STRING),
            owner: schema.add_text_field("owner", STRING),
            bucket: schema.add_text_field("bucket", STRING),
            cluster: schema.add_text_field("cluster", STRING),
            cid: schema.add_text_field("cid", STRING),
            size: schema.add_u64_field("size", INDEXED | FAST),
            modified: schema.add_u64_field(MODIFIED, FAST),
            version: schema.add_u64_field(VERSION, FAST),
            kept: schema.add_bytes_field("kept", STORED),
            schema: schema.build(),
        }
    }

    /// Returns what tantivy indexes of an object.
    pub(super) fn document(&self, document: &Document) -> Result<TantivyDocument, Fault> {
        let mut doc = TantivyDocument::new();
        doc.add_text(self.id, document.id().as_str());
        // Two values: no phrase goes across.
        doc.add_text(self.name, &document.key);
        doc.add_text(self.name, &document.bucket);
        for (name, value) in &document.tags {
            doc.add_text(self.words, name);
            doc.add_text(self.words, value);
            doc.add_text(self.tag, tag_term(name, None));
            doc.add_text(self.tag, tag_term(name, Some(value)));
        }
        let content_type = type_of(&document.content_type);
        doc.add_text(self.words, &content_type);
        if let Some((major, _)) = content_type.split_once('/') {
            doc.add_text(self.content_type, major);
        }
        doc.add_text(self.content_type, &content_type);
        doc.add_text(self.owner, &document.owner);
        doc.add_text(self.bucket, &document.bucket);
        if let Some((cluster, _)) = &document.listed {
            doc.add_text(self.cluster, cluster.to_string());
        }
        doc.add_text(self.cid, &document.cid);
        doc.add_u64(self.size, document.size);
        doc.add_u64(self.modified, document.modified_ms);
        doc.add_u64(self.version, document.version);
        let kept = serde_json::to_vec(document)
            .map_err(|error| Fault::new(Kind::Internal, error.to_string()))?;
        doc.add_bytes(self.kept, &kept);
        Ok(doc)
    }

    /// Returns what was kept of an object.
    pub(super) fn kept(&self, doc: &TantivyDocument) -> Result<Document, Fault> {
        let bytes = doc.get_first(self.kept).and_then(|value| value.as_bytes());
        let corrupt =
            |why: String| Fault::new(Kind::Corrupt, format!("a document of the index: {why}"));
        let bytes = bytes.ok_or_else(|| corrupt("nothing was kept".to_owned()))?;
        serde_json::from_slice(bytes).map_err(|error| corrupt(error.to_string()))
    }
}

/// Returns the term of a tag by its name, or by name and value.
pub(super) fn tag_term(name: &str, value: Option<&str>) -> String {
    match value {
        Some(value) => format!("{name}{SEPARATOR}{value}"),
        None => name.to_owned(),
    }
}

/// Returns a content type without its parameters.
fn type_of(text: &str) -> String {
    text.split(';').next().unwrap_or(text).trim().to_ascii_lowercase()
}

/// Returns how texts are divided into words: at all but letters and digits, without case and accents.
pub(super) fn analyzer() -> TextAnalyzer {
    TextAnalyzer::builder(SimpleTokenizer::default())
        .filter(RemoveLongFilter::limit(WORD_BYTES_MAX))
        .filter(LowerCaser)
        .filter(AsciiFoldingFilter)
        .build()
}

/// Returns the name under which the fields ask for [`analyzer`].
pub(super) const fn analyzer_name() -> &'static str {
    WORDS
}
