//! Users and their tokens.

use super::page;
use crate::metadata::command::Actor;
use crate::metadata::keys;
use crate::metadata::name::UserName;
use crate::metadata::source::{Source, SourceError};
use crate::metadata::table;
use crate::metadata::value::{Token, User};

/// Returns a user. Cost: one read.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn user(source: &dyn Source, name: &UserName) -> Result<Option<User>, SourceError> {
    Ok(table::get(source, &keys::user(name))?)
}

/// Returns users in order of their names, behind `after`.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn users(
    source: &dyn Source,
    after: Option<&UserName>,
    limit: usize,
) -> Result<Vec<User>, SourceError> {
    let from = after.map(|after| keys::next(keys::user(after)));
    Ok(table::values(source, &[keys::table::USER], from.as_deref(), page(limit))?)
}

/// Returns the user whose requests a token makes, and the token's id, by the SHA-256 of its secret. Cost: two reads.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn user_of_token(
    source: &dyn Source,
    hash: &[u8; 32],
) -> Result<Option<(User, u64)>, SourceError> {
    let token: Option<Token> = table::get(source, &keys::token(hash))?;
    let Some(token) = token else { return Ok(None) };
    Ok(user(source, &token.user)?.map(|user| (user, token.id)))
}

/// Says whether whoever acts may still do so as the user they are: their token is valid, where they act by one.
/// Cost: two reads.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn is_valid(source: &dyn Source, actor: &Actor) -> Result<bool, SourceError> {
    let Actor::Bearer { user, token } = actor else { return Ok(true) };
    let hash: Option<[u8; 32]> = table::get(source, &keys::token_id(*token))?;
    let Some(hash) = hash else { return Ok(false) };
    let found: Option<Token> = table::get(source, &keys::token(&hash))?;
    Ok(found.is_some_and(|found| found.user == *user))
}

/// Returns tokens in the order in which they were made, behind `after`: of one user, or of all.
///
/// # Errors
/// [`SourceError`] when the state cannot be read.
pub fn tokens(
    source: &dyn Source,
    of: Option<&UserName>,
    after: Option<u64>,
    limit: usize,
) -> Result<Vec<Token>, SourceError> {
    let at = |id: u64| match of {
        Some(user) => keys::tokens_of(user).number(id).end(),
        None => keys::token_id(id),
    };
    let prefix = of.map_or(vec![keys::table::TOKEN_ID], |user| keys::tokens_of(user).end());
    let from = after.map(|after| keys::next(at(after)));
    let rows = table::rows(source, &prefix, from.as_deref(), page(limit))?;
    let mut tokens = Vec::with_capacity(rows.len());
    for (key, _) in rows {
        let by_id = keys::token_id(table::number_in(&key)?);
        let hash: [u8; 32] = table::get(source, &by_id)?.ok_or_else(|| table::missing(&by_id))?;
        let by_hash = keys::token(&hash);
        tokens.push(table::get(source, &by_hash)?.ok_or_else(|| table::missing(&by_hash))?);
    }
    Ok(tokens)
}
