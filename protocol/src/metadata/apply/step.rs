//! One command under way: its draft, who asks, and typed access to the tables.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::ApplyError;
use crate::WallTime;
use crate::metadata::command::Actor;
use crate::metadata::effect::Effect;
use crate::metadata::keys;
use crate::metadata::name::{BucketName, UserName};
use crate::metadata::query;
use crate::metadata::refusal::{Bounded, Need, Refusal};
use crate::metadata::source::{Draft, Source, SourceError};
use crate::metadata::table;
use crate::metadata::value::{Bucket, Role, Settings, Totals, User};

/// Why a command goes no further.
#[derive(Debug)]
pub(super) enum Stop {
    /// It is refused.
    Refused(Refusal),
    /// The peer must stop.
    Failed(ApplyError),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

impl From<ApplyError> for Stop {
    fn from(error: ApplyError) -> Self {
        Self::Failed(error)
    }
}

impl From<SourceError> for Stop {
    fn from(error: SourceError) -> Self {
        Self::Failed(error.into())
    }
}

/// Who asks, and with which rights.
#[derive(Clone, Debug)]
pub(super) enum Rights {
    System,
    Admin(UserName),
    User(UserName),
}

/// One command under way.
pub(super) struct Step<'a> {
    pub(super) draft: Draft<'a, dyn Source + 'a>,
    /// The position in the log.
    pub(super) index: u64,
    /// When it was proposed.
    pub(super) at: WallTime,
    pub(super) rights: Rights,
}

impl<'a> Step<'a> {
    pub(super) fn new(base: &'a (dyn Source + 'a), index: u64, at: WallTime) -> Self {
        Self { draft: Draft::new(base), index, at, rights: Rights::System }
    }

    /// Finds out the rights of whoever asks, in a cluster that was founded.
    pub(super) fn enter(&mut self, actor: &Actor) -> Result<(), Stop> {
        if self.draft.get(keys::SETTINGS)?.is_none() {
            return Err(Refusal::NotFounded.into());
        }
        if let Actor::Bearer { token, .. } = actor
            && !query::is_valid(&self.draft, actor)?
        {
            return Err(Refusal::TokenRevoked { id: *token }.into());
        }
        self.rights = match actor.user() {
            None => Rights::System,
            Some(name) => match self.get::<User>(&keys::user(name))? {
                None => return Err(Refusal::UnknownActor { user: name.clone() }.into()),
                Some(User { role: Role::Admin, .. }) => Rights::Admin(name.clone()),
                Some(User { role: Role::User, .. }) => Rights::User(name.clone()),
            },
        };
        Ok(())
    }

    // ---- Values ----------------------------------------------------------------------------

    pub(super) fn get<T: DeserializeOwned>(&self, key: &[u8]) -> Result<Option<T>, ApplyError> {
        table::get(&self.draft, key)
    }

    pub(super) fn set(&mut self, key: Vec<u8>, value: &impl Serialize) -> Result<(), ApplyError> {
        let bytes = table::bytes(&key, value)?;
        self.draft.put(key, bytes);
        Ok(())
    }

    /// Sets a key that says all there is to say.
    pub(super) fn mark(&mut self, key: Vec<u8>) {
        self.draft.put(key, Vec::new());
    }

    pub(super) fn delete(&mut self, key: Vec<u8>) {
        self.draft.delete(key);
    }

    pub(super) fn effect(&mut self, effect: Effect) {
        self.draft.effect(effect);
    }

    pub(super) fn settings(&self) -> Result<Settings, Stop> {
        Ok(self.get(keys::SETTINGS)?.ok_or(Refusal::NotFounded)?)
    }

    pub(super) fn totals(&self) -> Result<Totals, ApplyError> {
        Ok(self.get(keys::TOTALS)?.unwrap_or_default())
    }

    pub(super) fn set_totals(&mut self, totals: &Totals) -> Result<(), ApplyError> {
        self.set(keys::TOTALS.to_vec(), totals)
    }

    pub(super) fn bucket(&self, name: &BucketName) -> Result<Bucket, Stop> {
        let bucket = self.get(&keys::bucket(name))?;
        Ok(bucket.ok_or_else(|| Refusal::NoBucket { bucket: name.clone() })?)
    }

    pub(super) fn set_bucket_value(&mut self, bucket: &Bucket) -> Result<(), ApplyError> {
        self.set(keys::bucket(&bucket.name), bucket)
    }

    // ---- Rights ----------------------------------------------------------------------------

    /// Returns the asking user; none for a peer itself.
    pub(super) const fn user(&self) -> Option<&UserName> {
        match &self.rights {
            Rights::System => None,
            Rights::Admin(name) | Rights::User(name) => Some(name),
        }
    }

    fn denied(&self, need: Need) -> Stop {
        let actor = self.user().map_or("the peer", UserName::as_str).to_owned();
        Refusal::Denied { actor, need }.into()
    }

    /// Refuses everybody but administrators and the peers themselves.
    pub(super) fn need_admin(&self) -> Result<(), Stop> {
        match &self.rights {
            Rights::System | Rights::Admin(_) => Ok(()),
            Rights::User(_) => Err(self.denied(Need::Admin)),
        }
    }

    /// Refuses everybody but `user`, administrators and the peers themselves.
    pub(super) fn need_self(&self, user: &UserName) -> Result<(), Stop> {
        match &self.rights {
            Rights::System | Rights::Admin(_) => Ok(()),
            Rights::User(name) if name == user => Ok(()),
            Rights::User(_) => Err(self.denied(Need::Owner { user: user.clone() })),
        }
    }

    /// Refuses everybody but users.
    pub(super) fn need_user(&self) -> Result<UserName, Stop> {
        self.user().cloned().ok_or_else(|| self.denied(Need::User))
    }

    /// Refuses everybody but the owner of a bucket, administrators and the peers themselves.
    pub(super) fn need_owner(&self, bucket: &Bucket) -> Result<(), Stop> {
        match &self.rights {
            Rights::System | Rights::Admin(_) => Ok(()),
            Rights::User(name) if *name == bucket.owner => Ok(()),
            Rights::User(_) => Err(self.denied(Need::BucketOwner { bucket: bucket.name.clone() })),
        }
    }
}

/// Refuses a number that has reached its bound.
pub(super) fn check_room(what: Bounded, count: u64, limit: u64) -> Result<(), Refusal> {
    if count < limit { Ok(()) } else { Err(Refusal::TooMany { what, limit }) }
}

/// Returns the refusal of a value that is never right.
pub(super) fn invalid(detail: impl Into<String>) -> Stop {
    Refusal::Invalid { detail: detail.into() }.into()
}
