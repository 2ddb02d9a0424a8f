//! Users, and the tokens by which requests are theirs.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct User {
    /// The name.
    pub name: String,
    /// `admin`, who may do everything, or `user`, who writes in buckets of their own.
    pub role: String,
    /// When the user was made, RFC 3339.
    pub created: String,
}

/// Answer to `GET users`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Users {
    /// In order of their names.
    pub users: Vec<User>,
    /// What to pass as `after` for the next page; null at the end.
    #[serde(default)]
    pub next: Option<String>,
}

/// Body of `POST users`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateUser {
    /// The name: 1 to 63 letters, digits, `.`, `_` or `-`.
    pub name: String,
    /// Whether the user may do everything.
    #[serde(default)]
    pub admin: bool,
}

/// Body of `POST tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// Whose requests it makes; the asker's own when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// For what, for people.
    #[serde(default)]
    pub label: String,
}

/// A token that was made. It is shown once, and stored as its hash only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Secret {
    /// Its id, by which it is listed and revoked.
    pub id: String,
    /// Whose requests it makes.
    pub user: String,
    /// The token: what goes behind `Authorization: Bearer`.
    pub token: String,
}

/// A token, without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Token {
    /// Its id.
    pub id: String,
    /// Whose requests it makes.
    pub user: String,
    /// For what, for people.
    pub label: String,
    /// When it was made, RFC 3339.
    pub created: String,
}

/// Answer to `GET tokens`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tokens {
    /// Of all users for an administrator, else of the asker.
    pub tokens: Vec<Token>,
    /// What to pass as `after` for the next page; null at the end.
    #[serde(default)]
    pub next: Option<String>,
}
