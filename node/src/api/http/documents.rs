//! The cluster's values as documents of the API.
//!
//! Never: reads or changes anything.

use protocol::api;
use protocol::metadata::query::NamedObject;
use protocol::metadata::{
    Bucket, ObjectName, ObjectVersion, Pin, Role, Ticket, Token, User, Written,
};
use protocol::{Fault, Kind, WallTime};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::flows::Description;

/// Returns a time as RFC 3339 has it, in UTC with milliseconds.
pub(super) fn time_text(at: WallTime) -> String {
    let nanos = i128::from(at.as_unix_millis()) * 1_000_000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos).ok();
    time.and_then(|time| time.format(&Rfc3339).ok()).unwrap_or_default()
}

/// Returns a time of [`time_text`] as HTTP has it (RFC 9110, section 5.6.7).
pub(super) fn http_date(text: &str) -> Option<String> {
    let time = OffsetDateTime::parse(text, &Rfc3339).ok()?;
    let day = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
        .get(usize::from(time.weekday().number_days_from_monday()))?;
    let month =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
            .get(usize::from(u8::from(time.month())) - 1)?;
    let (year, date) = (time.year(), time.day());
    let (hour, minute, second) = time.to_hms();
    Some(format!("{day}, {date:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT"))
}

/// Returns a text with everything but letters, digits and a few signs as `%XX`, fit for a header.
pub(super) fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~=:/@ ".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Returns a version of an object. `current`: whether a read without a version gets it.
pub(super) fn object(name: &ObjectName, version: &ObjectVersion, current: bool) -> api::Object {
    let content = version.content.as_ref();
    api::Object {
        bucket: Some(name.bucket.to_string()),
        key: Some(name.key.to_string()),
        cid: content.map(|content| content.root.to_string()),
        size: version.size(),
        version: Some(version.version.to_string()),
        content_type: content.map(|content| content.content_type.to_string()).unwrap_or_default(),
        owner: version.owner.to_string(),
        tags: version.tags.as_map().clone(),
        modified: time_text(version.modified),
        public: version.public,
        current,
        deleted: version.is_delete_marker(),
    }
}

/// Returns the current version of an object.
pub(super) fn named_object(found: &NamedObject) -> api::Object {
    object(&found.name, &found.object, true)
}

/// Returns an object that was written just now.
pub(super) fn written(
    name: &ObjectName,
    written: &Written,
    description: &Description,
    owner: &User,
) -> api::Object {
    api::Object {
        bucket: Some(name.bucket.to_string()),
        key: Some(name.key.to_string()),
        cid: Some(written.root.to_string()),
        size: written.size,
        version: Some(written.version.to_string()),
        content_type: description.content_type.to_string(),
        owner: owner.name.to_string(),
        tags: description.tags.as_map().clone(),
        modified: time_text(written.modified),
        public: description.public,
        current: true,
        deleted: false,
    }
}

/// Returns content without a name.
pub(super) fn pin(pin: &Pin) -> api::Object {
    api::Object {
        bucket: None,
        key: None,
        cid: Some(pin.root.to_string()),
        size: pin.size,
        version: None,
        content_type: "application/octet-stream".to_owned(),
        owner: pin.user.to_string(),
        tags: std::collections::BTreeMap::new(),
        modified: time_text(pin.created),
        public: false,
        current: true,
        deleted: false,
    }
}

/// Returns a bucket.
pub(super) fn bucket(bucket: &Bucket) -> api::Bucket {
    api::Bucket {
        name: bucket.name.to_string(),
        owner: bucket.owner.to_string(),
        created: time_text(bucket.created),
        objects: bucket.objects,
        versions: bucket.versions,
        bytes: bucket.bytes,
        keep_versions: bucket.keep_versions,
        quota_bytes: bucket.quota_bytes,
        quota_objects: bucket.quota_objects,
    }
}

/// Returns a user.
pub(super) fn user(user: &User) -> api::User {
    let role = match user.role {
        Role::Admin => "admin",
        Role::User => "user",
    };
    api::User {
        name: user.name.to_string(),
        role: role.to_owned(),
        created: time_text(user.created),
    }
}

/// Returns a token without its secret.
pub(super) fn token(token: &Token) -> api::Token {
    api::Token {
        id: token.id.to_string(),
        user: token.user.to_string(),
        label: token.label.to_string(),
        created: time_text(token.created),
    }
}

/// Returns a ticket without its secret.
pub(super) fn invite(ticket: &Ticket) -> api::Invite {
    api::Invite {
        id: ticket.id.to_string(),
        label: ticket.label.to_string(),
        expires: time_text(ticket.expires),
    }
}

/// Returns the failure of an answer that belongs to another question.
pub(super) fn other_answer() -> Fault {
    Fault::new(Kind::Internal, "the cluster gave an answer of another kind")
}
