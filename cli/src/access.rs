//! `shoal user` and `shoal key`: who may ask, and the tokens that say who asks.
//!
//! Never: stores a token; it is printed once.

use protocol::api::{CreateToken, CreateUser, Secret, Tokens, User, Users};
use reqwest::Method;
use serde_json::json;

use crate::args::{KeyCommand, UserCommand};
use crate::endpoint::Endpoints;
use crate::failure::Failure;
use crate::list::Pages;
use crate::output;
use crate::question::Question;
use crate::target::segment;

/// Does what is asked with users.
///
/// # Errors
/// The most telling of the peers' refusals.
pub(crate) async fn users(
    endpoints: &Endpoints,
    what: &UserCommand,
    json: bool,
) -> Result<(), Failure> {
    match what {
        UserCommand::Create { name, admin } => {
            let body = CreateUser { name: name.clone(), admin: *admin };
            let question = Question::change(Method::POST, "users", format!("make user {name}"));
            show(&question.json(&body).ask(endpoints).await?, json)
        }
        UserCommand::Ls => {
            let question = Question::get("users", "list the users");
            let mut pages = Pages::new(endpoints, question, None, None);
            let mut users = Users { users: Vec::new(), next: None };
            while let Some(page) = pages.next::<Users>().await? {
                users.users.extend(page.users);
            }
            if json {
                return output::json(&users);
            }
            let row = |user: User| [user.name, user.role, user.created];
            let rows: Vec<_> = users.users.into_iter().map(row).collect();
            output::table(["USER", "ROLE", "CREATED"], &rows)
        }
        UserCommand::Rm { name } => {
            let (path, doing) = (format!("users/{}", segment(name)), format!("remove user {name}"));
            Question::change(Method::DELETE, path, doing).tell(endpoints).await?;
            if json {
                return output::json(&json!({ "name": name }));
            }
            output::line(&output::plain(&format!("removed user {name}")))
        }
        UserCommand::Whoami => {
            show(&Question::get("whoami", "ask who this is").ask(endpoints).await?, json)
        }
    }
}

fn show(user: &User, json: bool) -> Result<(), Failure> {
    if json {
        return output::json(user);
    }
    output::line(&output::plain(&format!("user {}  role {}", user.name, user.role)))
}

/// Does what is asked with tokens.
///
/// # Errors
/// The most telling of the peers' refusals.
pub(crate) async fn keys(
    endpoints: &Endpoints,
    what: &KeyCommand,
    json: bool,
) -> Result<(), Failure> {
    match what {
        KeyCommand::Create { user, label } => {
            let body = CreateToken { user: user.clone(), label: label.clone() };
            let question = Question::change(Method::POST, "tokens", "make a token");
            let secret: Secret = question.json(&body).ask(endpoints).await?;
            if json {
                return output::json(&secret);
            }
            // The token alone, so that a script can take it.
            output::line(&output::plain(&secret.token))
        }
        KeyCommand::Ls => {
            let question = Question::get("tokens", "list the tokens");
            let mut pages = Pages::new(endpoints, question, None, None);
            let mut tokens = Tokens { tokens: Vec::new(), next: None };
            while let Some(page) = pages.next::<Tokens>().await? {
                tokens.tokens.extend(page.tokens);
            }
            if json {
                return output::json(&tokens);
            }
            let rows = tokens.tokens.into_iter();
            let rows: Vec<_> =
                rows.map(|token| [token.id, token.user, token.created, token.label]).collect();
            output::table(["ID", "USER", "CREATED", "LABEL"], &rows)
        }
        KeyCommand::Revoke { id } => {
            let (path, doing) = (format!("tokens/{}", segment(id)), format!("revoke token {id}"));
            Question::change(Method::DELETE, path, doing).tell(endpoints).await?;
            if json {
                return output::json(&json!({ "id": id }));
            }
            output::line(&output::plain(&format!("revoked token {id}")))
        }
    }
}
