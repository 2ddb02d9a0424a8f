//! Content without a name: kept by its CID, for a user.

use super::step::{Rights, Step, Stop};
use super::upload::Release;
use crate::limits::PURGE_STEP;
use crate::metadata::keys;
use crate::metadata::outcome::Outcome;
use crate::metadata::refusal::Refusal;
use crate::metadata::table;
use crate::metadata::value::Pin;
use crate::{Cid, OwnerId};

impl Step<'_> {
    pub(super) fn pin(&mut self, root: &Cid, size: u64, upload: OwnerId) -> Result<Outcome, Stop> {
        let user = self.need_user()?;
        self.check_upload(upload)?;
        let key = keys::pin(root, &user);
        let before: Option<Pin> = self.get(&key)?;
        // The new one first, so that an upload that is pinned again is at no moment without a reference.
        self.hold_upload(upload, *root, size)?;
        if let Some(before) = before {
            self.drop_upload(before.upload, Release::AfterGrace)?;
        }
        self.set(key, &Pin { root: *root, user, size, upload, created: self.at })?;
        Ok(Outcome::Done)
    }

    pub(super) fn unpin(&mut self, root: &Cid) -> Result<Outcome, Stop> {
        let (mut pins, mut more) = (Vec::new(), false);
        match &self.rights {
            Rights::User(user) => pins.extend(self.get::<Pin>(&keys::pin(root, user))?),
            Rights::System | Rights::Admin(_) => {
                let prefix = keys::pins_of(root).end();
                pins = table::values(&self.draft, &prefix, None, PURGE_STEP + 1)?;
                more = pins.len() > PURGE_STEP;
                pins.truncate(PURGE_STEP);
            }
        }
        if pins.is_empty() {
            return Err(Refusal::NoPin { root: *root }.into());
        }
        for pin in &pins {
            self.delete(keys::pin(root, &pin.user));
            self.drop_upload(pin.upload, Release::AfterGrace)?;
        }
        Ok(Outcome::Unpinned { pins: pins.len() as u64, more })
    }
}
