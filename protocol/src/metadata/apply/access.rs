//! Users, their tokens, and who may do what.

use super::step::{Rights, Step, Stop, check_room};
use crate::limits::{USER_TOKENS_MAX, USERS_MAX};
use crate::metadata::effect::Effect;
use crate::metadata::keys;
use crate::metadata::name::{Label, UserName};
use crate::metadata::outcome::Outcome;
use crate::metadata::refusal::{Bounded, Refusal};
use crate::metadata::table;
use crate::metadata::value::{Bucket, Role, Token, User};

/// Says whether a user may write in a bucket: its owner and administrators.
#[must_use]
pub fn may_write(bucket: &Bucket, user: &User) -> bool {
    user.role == Role::Admin || bucket.owner == user.name
}

impl Step<'_> {
    pub(super) fn create_user(&mut self, name: &UserName, role: Role) -> Result<Outcome, Stop> {
        self.need_admin()?;
        if self.get::<User>(&keys::user(name))?.is_some() {
            return Err(Refusal::UserExists { user: name.clone() }.into());
        }
        let mut totals = self.totals()?;
        check_room(Bounded::Users, totals.users, USERS_MAX)?;
        totals.users += 1;
        totals.admins += u64::from(role == Role::Admin);
        self.set_totals(&totals)?;
        let user = User { name: name.clone(), role, created: self.at, buckets: 0, tokens: 0 };
        self.set(keys::user(name), &user)?;
        let made = self.index;
        self.set(keys::making(name), &made)?;
        Ok(Outcome::Done)
    }

    pub(super) fn existing_user(&self, name: &UserName) -> Result<User, Stop> {
        let user = self.get(&keys::user(name))?;
        Ok(user.ok_or_else(|| Refusal::NoUser { user: name.clone() })?)
    }

    pub(super) fn remove_user(&mut self, name: &UserName) -> Result<Outcome, Stop> {
        self.need_admin()?;
        let user = self.existing_user(name)?;
        if user.buckets > 0 {
            let buckets = user.buckets;
            return Err(Refusal::UserOwnsBuckets { user: name.clone(), buckets }.into());
        }
        let mut totals = self.totals()?;
        if user.role == Role::Admin {
            if !self.has_other_admin(name)? {
                return Err(Refusal::LastAdmin { user: name.clone() }.into());
            }
            totals.admins -= 1;
        }
        totals.users = totals.users.saturating_sub(1);
        self.set_totals(&totals)?;
        // All of them: their number is bounded.
        let limit = USER_TOKENS_MAX as usize;
        let rows = table::rows(&self.draft, &keys::tokens_of(name).end(), None, limit)?;
        for (key, _) in rows {
            self.forget_token(table::number_in(&key)?)?;
        }
        self.delete(keys::user(name));
        self.delete(keys::making(name));
        self.effect(Effect::TokensChanged);
        Ok(Outcome::Done)
    }

    pub(super) fn create_token(
        &mut self,
        user: &UserName,
        hash: &[u8; 32],
        label: &Label,
    ) -> Result<Outcome, Stop> {
        self.need_self(user)?;
        let mut of = self.existing_user(user)?;
        if self.get::<Token>(&keys::token(hash))?.is_some() {
            return Err(Refusal::TokenExists.into());
        }
        check_room(Bounded::Tokens, of.tokens.into(), USER_TOKENS_MAX.into())?;
        of.tokens += 1;
        self.set(keys::user(user), &of)?;
        let id = self.index;
        let (user, label) = (user.clone(), label.clone());
        let token = Token { id, user, hash: *hash, label, created: self.at };
        self.set(keys::token(hash), &token)?;
        self.set(keys::token_id(id), hash)?;
        self.mark(keys::tokens_of(&token.user).number(id).end());
        self.effect(Effect::TokensChanged);
        Ok(Outcome::TokenCreated { id })
    }

    pub(super) fn revoke_token(&mut self, id: u64) -> Result<Outcome, Stop> {
        let hash: Option<[u8; 32]> = self.get(&keys::token_id(id))?;
        let token: Option<Token> = hash.map_or(Ok(None), |hash| self.get(&keys::token(&hash)))?;
        let token = token.ok_or(Refusal::NoToken { id })?;
        // Whose token it is, is nobody else's business.
        if let Rights::User(name) = &self.rights
            && *name != token.user
        {
            return Err(Refusal::NoToken { id }.into());
        }
        let user: Option<User> = self.get(&keys::user(&token.user))?;
        if user.as_ref().is_some_and(|user| user.role == Role::Admin && user.tokens <= 1)
            && !self.has_other_admin(&token.user)?
        {
            return Err(Refusal::LastAdmin { user: token.user }.into());
        }
        self.forget_token(id)?;
        if let Some(mut user) = user {
            user.tokens = user.tokens.saturating_sub(1);
            self.set(keys::user(&token.user), &user)?;
        }
        self.effect(Effect::TokensChanged);
        Ok(Outcome::Done)
    }

    /// Says whether somebody else can act as an administrator. Cost: O(users), which are bounded.
    fn has_other_admin(&self, name: &UserName) -> Result<bool, Stop> {
        let limit = usize::try_from(USERS_MAX).unwrap_or(usize::MAX);
        let users: Vec<User> = table::values(&self.draft, &[keys::table::USER], None, limit)?;
        let is_other = |user: &User| user.name != *name && user.role == Role::Admin;
        Ok(users.iter().any(|user| is_other(user) && user.tokens > 0))
    }

    fn forget_token(&mut self, id: u64) -> Result<(), Stop> {
        if let Some(hash) = self.get::<[u8; 32]>(&keys::token_id(id))? {
            if let Some(token) = self.get::<Token>(&keys::token(&hash))? {
                self.delete(keys::tokens_of(&token.user).number(id).end());
            }
            self.delete(keys::token(&hash));
            self.delete(keys::token_id(id));
        }
        Ok(())
    }
}
