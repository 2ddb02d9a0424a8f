//! `shoal download CID --import`: another cluster's public content becomes an object of this one.
//!
//! The peers bring it among themselves, block by block, as it is: it keeps its CID. Never: passes its bytes through this client.

use protocol::api::{Imported, Object, ObjectOp, UploadBegun};
use protocol::{Cid, Fault, Kind};
use reqwest::Method;

use crate::endpoint::Endpoints;
use crate::failure::Failure;
use crate::output;
use crate::question::Question;
use crate::target::{Name, Target};

/// Imports content and shows the object that it is now.
///
/// # Errors
/// [`Kind::NotFound`] if no cluster that is known has made it public; [`Kind::Invalid`] for a name instead of a CID. What was
/// brought is freed then.
pub(crate) async fn run(
    endpoints: &Endpoints,
    target: &Target,
    name: &Name,
    json: bool,
) -> Result<(), Failure> {
    let Target::Content(cid) = target else {
        let detail =
            "cannot import it: --import takes a CID; `shoal cp` copies what this cluster has";
        return Err(Fault::new(Kind::Invalid, detail).into());
    };
    let begin = Question::change(Method::POST, "uploads", format!("import {cid}"));
    let begun: UploadBegun = begin.ask(endpoints).await?;
    match bring(endpoints, *cid, name, &begun.upload).await {
        Ok(object) => output::object(object, json),
        Err(fault) => {
            let path = format!("uploads/{}", begun.upload);
            // It ends by itself, too.
            let _ends_later =
                Question::change(Method::DELETE, path, "end the import").tell(endpoints).await;
            Err(fault.into())
        }
    }
}

async fn bring(
    endpoints: &Endpoints,
    cid: Cid,
    name: &Name,
    upload: &str,
) -> Result<Object, Fault> {
    let path = format!("content/{cid}/import");
    let question = Question::change(Method::POST, path, format!("import {cid}"));
    let imported: Imported = question.parameter("upload", upload).ask(endpoints).await?;
    let op = ObjectOp::Name {
        cid: imported.cid,
        upload: upload.to_owned(),
        size: imported.size,
        tags: imported.tags,
        content_type: imported.content_type,
        public: false,
    };
    Question::on_object(name, &op, format!("name it {name}")).ask(endpoints).await
}
