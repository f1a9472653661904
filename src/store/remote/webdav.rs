//! `webdav://` and `webdavs://`: folders on a web server.
//!
//! A PUT there may leave a part behind, and no server we know keeps a condition on it. So an object is put under a
//! temporary name and moved with `Overwrite: F`, which all of them refuse when the name is taken (RFC 4918, 9.9.4).

use std::collections::HashSet;
use std::sync::Mutex;

use http::{Request, StatusCode};
use opendal::options::WriteOptions;
use opendal::services::Webdav;
use opendal::{Buffer, ErrorKind, HttpTransporter, Operator};

use super::answer::Trouble;
use super::{COMMON, Ground, Publish, Remote, SetUpError};
use crate::clock::{SystemRng, random};
use crate::locks::Unpoisoned;
use crate::store::options::Options;
use crate::store::{Name, StoreError};

/// Options beside the common ones.
const KNOWN: [&str; 3] = ["user", "password-file", "plain-password"];

/// Opens a store at `authority`, below `path`. The password comes from `WEBDAV_PASSWORD` or a file, never from the
/// address.
pub(in crate::store) fn open(
    tls: bool,
    user: Option<&str>,
    authority: &str,
    path: &str,
    options: &Options,
) -> Result<Remote, SetUpError> {
    let known: Vec<&str> = KNOWN.iter().chain(&COMMON).copied().collect();
    let named = options.for_kind("webdav", &known)?;
    let ground = Ground::new(options, named)?;
    let scheme = if tls { "webdavs" } else { "webdav" };
    let place = format!("{scheme}://{authority}/{path}");

    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let user = user.map(str::to_owned).or_else(|| named.text("user").map(str::to_owned)).or_else(|| variable("WEBDAV_USERNAME"));
    let password = match named.path("password-file") {
        None => variable("WEBDAV_PASSWORD"),
        Some(file) => {
            let text = std::fs::read_to_string(&file)
                .map_err(|error| SetUpError::Credentials(format!("cannot read the password file {}: {error}", file.display())))?;
            Some(text.lines().next().unwrap_or_default().to_owned())
        }
    };
    let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
    let is_here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    if password.is_some() && !tls && !is_here && !named.yes("plain-password")?.unwrap_or(false) {
        return Err(SetUpError::Credentials(format!(
            "{place} would get the password unencrypted; use webdavs://, or --option plain-password=true where the network is safe"
        )));
    }

    let endpoint = format!("{}://{authority}", if tls { "https" } else { "http" });
    let mut builder = Webdav::default().endpoint(&endpoint).root(&format!("/{path}")).disable_create_dir(true);
    let mut authorization = None;
    if let Some(user) = &user {
        let password = password.unwrap_or_default();
        builder = builder.username(user).password(&password);
        let basic = opendal::raw::format_authorization_by_basic(user, &password)
            .map_err(|error| SetUpError::Credentials(error.message().to_owned()))?;
        authorization = Some(basic);
    }
    let operator = Operator::new(builder).map_err(|error| SetUpError::Address(format!("{place}: {}", error.message())))?;
    let root = match path.trim_matches('/') {
        "" => String::new(),
        path => format!("/{path}"),
    };
    let mover = Mover {
        transport: ground.transport.clone(),
        root_url: format!("{endpoint}{}", opendal::raw::percent_encode_path(&root)),
        authorization,
        made: Mutex::default(),
    };
    Ok(ground.build(operator, Publish::Moved(mover), place, None))
}

/// Gives names by moving.
pub(super) struct Mover {
    transport: HttpTransporter,
    /// Address of the store's folder, without a `/` at its end.
    root_url: String,
    /// Value of the header, when there are credentials.
    authorization: Option<String>,
    /// Folders that are there.
    made: Mutex<HashSet<String>>,
}

impl Mover {
    /// Makes the store's own folder, and those above it.
    pub(super) async fn create_place(&self, remote: &Remote) -> Result<(), Trouble> {
        remote.operator.create_dir("/").await.map_err(|error| remote.trouble(None, &error))
    }

    /// Puts `bytes` and moves them to `name`. Replaces an existing object only when `over`.
    pub(super) async fn publish(&self, remote: &Remote, name: &Name, bytes: &Buffer, over: bool) -> Result<(), Trouble> {
        let unlucky = |error: crate::clock::RngError| Trouble::Final(StoreError::failed(error.to_string()));
        let random: String = random::<12>(&SystemRng).map_err(unlucky)?.iter().map(|byte| format!("{byte:02x}")).collect();
        let temporary = format!("tmp/{random}");
        let folder = name.folder();
        self.make_folder(remote, "tmp").await?;
        self.make_folder(remote, folder).await?;
        let outcome = self.put_and_move(remote, &temporary, name, bytes, over).await;
        if outcome.is_err() {
            // What is left behind is not listed; it costs room only.
            let _ = remote.operator.delete(&temporary).await;
            // One of the folders may have been taken away.
            self.made.lock().unpoisoned().clear();
        }
        outcome
    }

    async fn put_and_move(&self, remote: &Remote, temporary: &str, name: &Name, bytes: &Buffer, over: bool) -> Result<(), Trouble> {
        let put = remote.operator.write_options(temporary, bytes.clone(), WriteOptions::default()).await;
        put.map_err(|error| match error.kind() {
            // The temporary name is nobody's business, and that it "does not exist" means a folder that went away.
            ErrorKind::NotFound => Trouble::Passing("a folder went away".to_owned()),
            _ => remote.trouble(Some(name), &error),
        })?;
        let address = |path: &str| format!("{}/{}", self.root_url, opendal::raw::percent_encode_path(path));
        let mut request = Request::builder()
            .method("MOVE")
            .uri(address(temporary))
            .header("Destination", address(name.as_str()))
            .header("Overwrite", if over { "T" } else { "F" });
        if let Some(authorization) = &self.authorization {
            request = request.header(http::header::AUTHORIZATION, authorization);
        }
        let request = request
            .body(Buffer::new())
            .map_err(|error| Trouble::Final(StoreError::failed(format!("{}: {error}", remote.place))))?;
        let answer = self.transport.send(request).await.map_err(|error| remote.trouble(Some(name), &error))?;
        match answer.status() {
            status if status.is_success() => Ok(()),
            StatusCode::PRECONDITION_FAILED if !over => Err(Trouble::Final(StoreError::exists(name.clone()))),
            // 404: the temporary file is gone, moved by a request whose reply was lost or swept away; 409: the folder
            // is.
            status @ (StatusCode::NOT_FOUND | StatusCode::CONFLICT | StatusCode::LOCKED | StatusCode::TOO_MANY_REQUESTS) => {
                Err(Trouble::Passing(format!("the server answered {status} to the move")))
            }
            status if status.is_server_error() && status != StatusCode::INSUFFICIENT_STORAGE => {
                Err(Trouble::Passing(format!("the server answered {status} to the move")))
            }
            StatusCode::INSUFFICIENT_STORAGE => Err(Trouble::Final(StoreError::full(format!("{}: {name}", remote.place)))),
            status @ (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) => Err(Trouble::Final(StoreError::denied(format!(
                "{}: the server answered {status} when {name} was to get its name (it must allow MOVE)",
                remote.place
            )))),
            status => Err(Trouble::Final(StoreError::failed(format!(
                "{}: the server answered {status} when {name} was to get its name",
                remote.place
            )))),
        }
    }

    async fn make_folder(&self, remote: &Remote, folder: &str) -> Result<(), Trouble> {
        if folder.is_empty() || self.made.lock().unpoisoned().contains(folder) {
            return Ok(());
        }
        remote.operator.create_dir(&format!("{folder}/")).await.map_err(|error| remote.trouble(None, &error))?;
        self.made.lock().unpoisoned().insert(folder.to_owned());
        Ok(())
    }
}
