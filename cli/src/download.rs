//! `shoal download` and `shoal cat`: verified bytes to a file, a directory tree or standard output.
//!
//! A file is written beside its target and renamed when it is whole; a tree is put together in a directory
//! beside its target. Never: overwrites without being told to, or writes outside the target.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use protocol::dag::{ByteRange, Content};
use protocol::limits::DOWNLOAD_WINDOW_BYTES;
use protocol::{Cid, Fault, Kind};

use protocol::api::Object;

use crate::args::{Cat, Download, Range};
use crate::endpoint::Endpoints;
use crate::failure::{Failure, io_fault, stdout_failure};
use crate::fetch::{Fetch, FetchError, Written};
use crate::import;
use crate::object;
use crate::output::{self, ObjectRow, Progress};
use crate::part::{Part, check_target};
use crate::stat::dag_fault;
use crate::target::Target;
use crate::tree_download;

/// Downloads to a file, a directory or standard output.
///
/// # Errors
/// [`Kind::Conflict`], before anything is fetched, if the target exists; those of fetching and writing.
pub(crate) async fn run(endpoints: &Endpoints, args: &Download, json: bool) -> Result<(), Failure> {
    if let Some(name) = &args.import {
        return import::run(endpoints, &args.target, name, json).await;
    }
    let target = match &args.output {
        Some(output) => output.clone(),
        None => own_name(&args.target)?,
    };
    if target == Path::new("-") {
        let version = args.version.as_deref();
        return to_stdout(endpoints, (&args.target, version), args.range, json).await;
    }
    check_target(&target, args.force)?;
    let (cid, object) = subject(endpoints, &args.target, args.version.as_deref()).await?;
    let root = endpoints.block(cid).await?;
    let content = Content::of_root(cid, &root).map_err(|error| dag_fault(cid, &error))?;
    let row = |kind, size| match object {
        Some(object) => ObjectRow { kind: Some(kind), ..ObjectRow::of(object) },
        None => ObjectRow::new(cid, kind, size),
    };
    let mut row = match content {
        Content::File { size } => {
            let written = to_file(endpoints, cid, (root, size), &target, args).await?;
            let mut row = row("file", size);
            row.bytes_written = Some(written.bytes);
            row.bytes_resumed = Some(written.bytes_resumed);
            row
        }
        Content::Directory => {
            if args.range.is_some() {
                return Err(is_directory(cid, "a range of it cannot be downloaded").into());
            }
            let bytes = tree_download::run(endpoints, cid, &root, &target).await?;
            let mut row = row("directory", bytes);
            row.bytes_written = Some(bytes);
            row
        }
    };
    row.path = Some(target.display().to_string());
    if json { output::json(&row) } else { output::line(&format!("{cid}  {}", shown(&target))) }
}

/// Writes a file to standard output.
///
/// # Errors
/// Those of fetching and writing; [`Failure::OutputClosed`] if nobody reads on.
pub(crate) async fn cat(endpoints: &Endpoints, args: &Cat, json: bool) -> Result<(), Failure> {
    let version = args.version.as_deref();
    to_stdout(endpoints, (&args.target, version), args.range, json).await
}

/// Returns the CID of a target, and what is said of it if it has a name.
///
/// # Errors
/// [`Kind::NotFound`] if there is no such object or it was deleted; [`Kind::Invalid`] for a version of a CID.
async fn subject(
    endpoints: &Endpoints,
    target: &Target,
    version: Option<&str>,
) -> Result<(Cid, Option<Object>), Fault> {
    match target {
        Target::Name(name) => {
            let object = object::look(endpoints, name, version).await?;
            Ok((object::cid_of(name, &object)?, Some(object)))
        }
        Target::Content(cid) => {
            object::no_version(*cid, version)?;
            Ok((*cid, None))
        }
    }
}

/// Returns the name of the file that a target is downloaded to if none is said.
fn own_name(target: &Target) -> Result<PathBuf, Fault> {
    match target {
        Target::Content(cid) => Ok(PathBuf::from(cid.to_string())),
        Target::Name(name) => name.file_name().map(PathBuf::from).ok_or_else(|| {
            let detail = format!("cannot call a file as {name} ends; name one with -o");
            Fault::new(Kind::Invalid, detail)
        }),
    }
}

async fn to_stdout(
    endpoints: &Endpoints,
    (target, version): (&Target, Option<&str>),
    range: Option<Range>,
    json: bool,
) -> Result<(), Failure> {
    if json {
        let detail = "standard output takes the bytes themselves, so there is no JSON beside them; use `shoal download -o PATH --json`";
        return Err(Fault::new(Kind::Invalid, detail).into());
    }
    let (cid, _) = subject(endpoints, target, version).await?;
    let root = endpoints.block(cid).await?;
    let content = Content::of_root(cid, &root).map_err(|error| dag_fault(cid, &error))?;
    let Content::File { size } = content else {
        return Err(is_directory(cid, "download it to a path with -o").into());
    };
    let range = byte_range(cid, range, size)?;
    let stdout = std::io::stdout().as_fd().try_clone_to_owned();
    let stdout = stdout.map_err(|error| stdout_failure(&error))?;
    let progress = Progress::start("cat", Some(bytes_of(range, size)));
    let fetched = fetch(endpoints, cid, root, range, &progress).run(File::from(stdout), 0).await;
    progress.finish();
    match fetched {
        Ok(_) => Ok(()),
        Err(FetchError::Write(error)) => Err(stdout_failure(&error)),
        Err(FetchError::Fetch(fault)) => Err(fault.into()),
    }
}

async fn to_file(
    endpoints: &Endpoints,
    cid: Cid,
    (root, size): (Bytes, u64),
    target: &Path,
    args: &Download,
) -> Result<Written, Fault> {
    let range = byte_range(cid, args.range, size)?;
    let part = match args.range {
        None => Part::open(target, &cid.to_string())?,
        // A part of a leaf cannot be verified later, so a range always starts anew.
        Some(_) => {
            let part = Part::open(target, &format!("{cid}.{}", range.start))?;
            part.clear()?;
            part
        }
    };
    let leftover = part.bytes()?;
    let progress = Progress::start(&shown(target), Some(bytes_of(range, size)));
    let fetched = fetch(endpoints, cid, root, range, &progress).run(part.handle()?, leftover).await;
    progress.finish();
    match fetched {
        Ok(written) => part.commit(args.force).map(|()| written),
        Err(FetchError::Write(error)) => {
            part.discard();
            Err(io_fault("cannot write", target, &error))
        }
        Err(FetchError::Fetch(mut fault)) => {
            let may_go_on = matches!(fault.kind, Kind::Unavailable | Kind::Busy);
            if may_go_on && args.range.is_none() && part.bytes()? > 0 {
                fault.detail.push_str("; the same command goes on where this one stopped");
            } else {
                part.discard();
            }
            Err(fault)
        }
    }
}

fn fetch<'a>(
    endpoints: &'a Endpoints,
    cid: Cid,
    root: Bytes,
    range: ByteRange,
    progress: &'a Progress,
) -> Fetch<'a> {
    let window_bytes = DOWNLOAD_WINDOW_BYTES.into();
    Fetch { endpoints, cid, root, range, window_bytes, progress }
}

/// Returns the range that is meant, cut to the file as HTTP does.
fn byte_range(cid: Cid, range: Option<Range>, size: u64) -> Result<ByteRange, Fault> {
    let Some(range) = range else { return Ok(ByteRange::default()) };
    if range.first >= size {
        let detail = format!(
            "cannot read {cid} from byte {}: it has {size} bytes, counted from 0",
            range.first
        );
        return Err(Fault::new(Kind::Invalid, detail));
    }
    Ok(ByteRange {
        start: range.first,
        end: range.last.map(|last| last.saturating_add(1).min(size)),
    })
}

fn bytes_of(range: ByteRange, size: u64) -> u64 {
    range.end.unwrap_or(size).saturating_sub(range.start)
}

fn is_directory(cid: Cid, advice: &str) -> Fault {
    Fault::new(Kind::Invalid, format!("{cid} is a directory; {advice}"))
}

fn shown(path: &Path) -> String {
    output::plain(&path.display().to_string())
}
