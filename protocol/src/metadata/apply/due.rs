//! The due list: what goes for good at its time, when the leader proposes it.
//!
//! An entry lies under its time, and its time under the entry, so that it can be found from both sides. A purge
//! removes at most [`PURGE_STEP`] versions, however much is due; what is left of an entry stays on the list.

use super::step::{Step, Stop, invalid};
use super::upload::Release;
use crate::WallTime;
use crate::limits::{PURGE_ENTRIES_MAX, PURGE_STEP};
use crate::metadata::effect::Effect;
use crate::metadata::keys;
use crate::metadata::name::{BucketName, ObjectKey};
use crate::metadata::outcome::Outcome;
use crate::metadata::table;
use crate::metadata::value::{Due, DueEntry, ObjectVersion, Ticket, Upload};

impl Step<'_> {
    pub(super) fn due_at(&self, due: &Due) -> Result<Option<WallTime>, Stop> {
        Ok(self.get(&keys::due_at(due))?)
    }

    pub(super) fn add_due_after_grace(&mut self, due: Due) -> Result<(), Stop> {
        let at = self.at.after_millis(self.settings()?.grace_ms);
        self.add_due(due, at)
    }

    /// Puts something on the list, or moves it there.
    pub(super) fn add_due(&mut self, due: Due, at: WallTime) -> Result<(), Stop> {
        self.remove_due(&due)?;
        self.set(keys::due_at(&due), &at)?;
        let key = keys::due(at, &due);
        self.set(key, &DueEntry { at, due })?;
        self.effect(Effect::DueChanged);
        Ok(())
    }

    pub(super) fn remove_due(&mut self, due: &Due) -> Result<(), Stop> {
        if let Some(at) = self.due_at(due)? {
            self.delete(keys::due(at, due));
            self.delete(keys::due_at(due));
            self.effect(Effect::DueChanged);
        }
        Ok(())
    }

    pub(super) fn purge(&mut self, entries: &[DueEntry]) -> Result<Outcome, Stop> {
        self.need_admin()?;
        if entries.len() > PURGE_ENTRIES_MAX {
            return Err(invalid(format!("a purge may name {PURGE_ENTRIES_MAX} entries at most")));
        }
        let (mut done, mut removed, mut more) = (0, 0, false);
        for DueEntry { at, due } in entries {
            // Whoever proposed it may have looked before something took the entry off the list.
            if *at > self.at || self.due_at(due)? != Some(*at) {
                continue;
            }
            let budget = PURGE_STEP - removed;
            if budget == 0 {
                more = true;
                break;
            }
            let (rows, is_done) = self.purge_one(due, budget)?;
            removed += rows;
            if is_done {
                self.remove_due(due)?;
                done += 1;
            } else {
                more = true;
            }
        }
        Ok(Outcome::Purged { entries: done, versions: removed as u64, more })
    }

    /// Removes at most `budget` rows of what is due. Returns how many, and whether that was all.
    fn purge_one(&mut self, due: &Due, budget: usize) -> Result<(usize, bool), Stop> {
        match due {
            Due::Upload(id) => {
                let upload: Option<Upload> = self.get(&keys::upload(*id))?;
                if upload.is_some_and(|upload| upload.count == 0) {
                    self.bury_upload(*id)?;
                }
                Ok((1, true))
            }
            Due::Object { bucket, key } => self.purge_object(bucket, key, budget),
            Due::Ticket(hash) => {
                if let Some(ticket) = self.get::<Ticket>(&keys::ticket(hash))? {
                    self.delete(keys::ticket(hash));
                    self.delete(keys::ticket_id(ticket.id));
                    let mut totals = self.totals()?;
                    totals.tickets = totals.tickets.saturating_sub(1);
                    self.set_totals(&totals)?;
                }
                Ok((1, true))
            }
            Due::Session(session) => {
                let prefix = keys::tombs_of(*session).end();
                let rows = table::rows(&self.draft, &prefix, None, budget)?;
                for (key, _) in &rows {
                    self.delete(key.to_vec());
                }
                Ok((rows.len(), rows.len() < budget))
            }
        }
    }

    /// Removes versions of a deleted object, the marker last, so that it stays deleted until the end.
    fn purge_object(
        &mut self,
        bucket: &BucketName,
        key: &ObjectKey,
        budget: usize,
    ) -> Result<(usize, bool), Stop> {
        let versions: Vec<ObjectVersion> = self.newest(bucket, key, budget + 1)?;
        let Some((marker, older)) = versions.split_first() else { return Ok((0, true)) };
        if !marker.is_delete_marker() {
            return Ok((0, true));
        }
        let mut record = self.bucket(bucket)?;
        for version in older {
            self.drop_version(&mut record, key, version, Release::Now)?;
        }
        let is_done = versions.len() <= budget;
        if is_done {
            self.drop_version(&mut record, key, marker, Release::Now)?;
        }
        self.set_bucket_value(&record)?;
        Ok((older.len() + usize::from(is_done), is_done))
    }
}
