//! Uploads: who refers to them, in which sessions they began, and when they are dead for good.
//!
//! An upload can be referred to for the first time only while its session or its own lease lives, and again only while
//! it is in the table. Sessions are numbered by the log, so a closed one is never opened again; an upload that was
//! purged before its session closed leaves a mark (`tomb`) until then. So dead is for ever.

use super::step::{Step, Stop};
use crate::limits::MEMBER_SESSIONS_MAX;
use crate::metadata::effect::Effect;
use crate::metadata::keys;
use crate::metadata::lease::LeaseId;
use crate::metadata::outcome::Outcome;
use crate::metadata::query;
use crate::metadata::refusal::Refusal;
use crate::metadata::table::{self, session_of};
use crate::metadata::value::{Due, Lease, Member, Session, Upload};
use crate::{Cid, OwnerId};

/// When an upload that nothing refers to any more is dead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Release {
    /// A grace period from now.
    AfterGrace,
    /// Now: it had its grace.
    Now,
}

impl Step<'_> {
    // ---- References ------------------------------------------------------------------------

    /// Refuses an upload whose blocks nobody promises to keep.
    pub(super) fn check_upload(&self, upload: OwnerId) -> Result<(), Stop> {
        match query::state(&self.draft, upload)? {
            query::Known::Referenced | query::Known::Open => Ok(()),
            query::Known::NotOpened | query::Known::Dead => {
                Err(Refusal::UploadExpired { upload }.into())
            }
        }
    }

    /// Notes one more reference to an upload.
    pub(super) fn hold_upload(&mut self, id: OwnerId, root: Cid, size: u64) -> Result<(), Stop> {
        let known: Option<Upload> = self.get(&keys::upload(id))?;
        let mut upload = known.unwrap_or(Upload { root, size, count: 0 });
        if upload.root != root || upload.size != size {
            let Upload { root, size, .. } = upload;
            return Err(Refusal::UploadMismatch { upload: id, root, size }.into());
        }
        if upload.count == 0 {
            self.remove_due(&Due::Upload(id))?;
        }
        upload.count += 1;
        Ok(self.set(keys::upload(id), &upload)?)
    }

    /// Notes one reference less.
    pub(super) fn drop_upload(&mut self, id: OwnerId, release: Release) -> Result<(), Stop> {
        let Some(mut upload) = self.get::<Upload>(&keys::upload(id))? else { return Ok(()) };
        upload.count = upload.count.saturating_sub(1);
        if upload.count == 0 && release == Release::Now {
            return self.bury_upload(id);
        }
        self.set(keys::upload(id), &upload)?;
        if upload.count == 0 {
            self.add_due_after_grace(Due::Upload(id))?;
        }
        Ok(())
    }

    /// Forgets an upload that nothing refers to, and sees to it that nothing ever will.
    pub(super) fn bury_upload(&mut self, id: OwnerId) -> Result<(), Stop> {
        self.delete(keys::upload(id));
        self.end_lease(&LeaseId::Upload(id))?;
        if self.get::<Session>(&keys::session(session_of(id)))?.is_some() {
            self.mark(keys::tomb(id));
        }
        self.effect(Effect::UploadDead { upload: id });
        Ok(())
    }

    // ---- Sessions --------------------------------------------------------------------------

    pub(super) fn open_session(&mut self, raft_id: u64, ttl_ms: u64) -> Result<Outcome, Stop> {
        self.need_admin()?;
        if self.get::<Member>(&keys::member(raft_id))?.is_none() {
            return Err(Refusal::NoMember { raft_id }.into());
        }
        let mut sessions: Vec<u64> = self.get(&keys::member_sessions(raft_id))?.unwrap_or_default();
        if sessions.len() >= MEMBER_SESSIONS_MAX {
            // The oldest: its process is gone, one directory has one daemon.
            let oldest = sessions.remove(0);
            self.close_session(oldest)?;
        }
        let session = self.index;
        self.begin_lease(LeaseId::Session(session), ttl_ms)?;
        self.set(keys::session(session), &Session { raft_id })?;
        sessions.push(session);
        self.set(keys::member_sessions(raft_id), &sessions)?;
        let mut totals = self.totals()?;
        totals.session_last = session;
        self.set_totals(&totals)?;
        Ok(Outcome::SessionOpened { session })
    }

    pub(super) fn renew_session(&mut self, session: u64) -> Result<Outcome, Stop> {
        self.need_admin()?;
        self.renew_lease(&LeaseId::Session(session), None)
    }

    pub(super) fn close_session_asked(&mut self, session: u64) -> Result<Outcome, Stop> {
        self.need_admin()?;
        self.close_session(session)?;
        Ok(Outcome::Done)
    }

    /// Closes a session; uploads that nothing refers to and that have no lease of their own are dead from now on.
    pub(super) fn close_session(&mut self, session: u64) -> Result<(), Stop> {
        let Some(Session { raft_id }) = self.get(&keys::session(session))? else { return Ok(()) };
        self.delete(keys::session(session));
        self.end_lease(&LeaseId::Session(session))?;
        let mut sessions: Vec<u64> = self.get(&keys::member_sessions(raft_id))?.unwrap_or_default();
        sessions.retain(|other| *other != session);
        if sessions.is_empty() {
            self.delete(keys::member_sessions(raft_id));
        } else {
            self.set(keys::member_sessions(raft_id), &sessions)?;
        }
        // From now on the session's being closed says what the marks say.
        if !table::rows(&self.draft, &keys::tombs_of(session).end(), None, 1)?.is_empty() {
            self.add_due(Due::Session(session), self.at)?;
        }
        self.effect(Effect::SessionClosed { session });
        Ok(())
    }

    // ---- Uploads over several requests -----------------------------------------------------

    pub(super) fn begin_upload(&mut self, upload: OwnerId, ttl_ms: u64) -> Result<Outcome, Stop> {
        let id = LeaseId::Upload(upload);
        if self.get::<Lease>(&keys::lease(&id))?.is_some() {
            return self.renew_own(&id, upload);
        }
        let is_open = self.get::<Session>(&keys::session(session_of(upload)))?.is_some();
        if !is_open || self.draft_has(&keys::tomb(upload))? {
            return Err(Refusal::UploadExpired { upload }.into());
        }
        self.begin_lease(id, ttl_ms)?;
        Ok(Outcome::Leased { renewals: self.index })
    }

    pub(super) fn renew_upload(&mut self, upload: OwnerId) -> Result<Outcome, Stop> {
        self.renew_own(&LeaseId::Upload(upload), upload)
    }

    fn renew_own(&mut self, id: &LeaseId, upload: OwnerId) -> Result<Outcome, Stop> {
        let lease: Option<Lease> = self.get(&keys::lease(id))?;
        let lease = lease.ok_or(Refusal::UploadExpired { upload })?;
        // Not even by an administrator: a renewal says that whose it is was there.
        if query::is_left_behind(&self.draft, &lease)? {
            return Err(Refusal::UploadExpired { upload }.into());
        }
        if let Some(user) = &lease.user {
            self.need_self(user)?;
        }
        self.renew_lease(id, None)
    }

    pub(super) fn end_upload_asked(&mut self, upload: OwnerId) -> Result<Outcome, Stop> {
        let lease: Option<Lease> = self.get(&keys::lease(&LeaseId::Upload(upload)))?;
        if let Some(user) = lease.and_then(|lease| lease.user) {
            self.need_self(&user)?;
        }
        self.end_upload(upload)?;
        Ok(Outcome::Done)
    }

    pub(super) fn end_upload(&mut self, upload: OwnerId) -> Result<(), Stop> {
        let ended = self.end_lease(&LeaseId::Upload(upload))?;
        if ended && query::state(&self.draft, upload)? == query::Known::Dead {
            self.effect(Effect::UploadDead { upload });
        }
        Ok(())
    }
}
