//! The same names and bytes as a folder on a web server: what WebDAV says about them (RFC 4918, class 1, as much as is asked for).
//! A folder is a name that ends in `/`; the root is always there.

use std::fmt::Write as _;
use std::sync::Arc;

use super::objects::{Bucket, LAST_MODIFIED_HTTP, Object, Reply};
use super::plan::Verb;

/// What a request says beside its body.
pub struct Asked<'a> {
    pub verb: Verb,
    /// The path, without the `/` at both ends.
    pub key: &'a str,
    pub range: Option<&'a str>,
    /// Where to move to, as a path like `key`.
    pub destination: Option<String>,
    /// Whatever stands there may be replaced.
    pub overwrite: bool,
}

fn folder(key: &str) -> String {
    if key.is_empty() { String::new() } else { format!("{key}/") }
}

fn parent(key: &str) -> &str {
    key.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Bucket {
    fn is_folder(&self, key: &str) -> bool {
        key.is_empty() || self.objects.contains_key(&folder(key))
    }

    pub fn dav(&mut self, asked: &Asked<'_>, body: &Arc<Vec<u8>>) -> Reply {
        let key = asked.key;
        match asked.verb {
            Verb::Head | Verb::List => self.propfind(key, asked.verb == Verb::List),
            Verb::Get if self.is_folder(key) => Reply::new(405),
            Verb::Get => self.get(key, asked.range),
            Verb::Put if self.is_folder(key) => Reply::new(405),
            Verb::Put if !self.is_folder(parent(key)) => Reply::new(409),
            Verb::Put => self.insert(key, body.clone()),
            Verb::MakeFolder if self.is_folder(key) || self.objects.contains_key(key) => Reply::new(405),
            Verb::MakeFolder if !self.is_folder(parent(key)) => Reply::new(409),
            Verb::MakeFolder => self.insert(&folder(key), Arc::default()),
            Verb::Move => self.rename(key, asked),
            Verb::Delete => {
                let (all, below) = (self.objects.len(), folder(key));
                self.objects.retain(|name, _| name != key && !name.starts_with(&below));
                Reply::new(if self.objects.len() == all { 404 } else { 204 })
            }
        }
    }

    fn insert(&mut self, key: &str, bytes: Arc<Vec<u8>>) -> Reply {
        let was = self.objects.insert(key.to_owned(), Object { bytes, unseen: 0 });
        Reply::new(if was.is_some() { 204 } else { 201 })
    }

    /// Of files only.
    fn rename(&mut self, key: &str, asked: &Asked<'_>) -> Reply {
        let Some(to) = asked.destination.as_deref() else { return Reply::new(400) };
        let Some(object) = self.objects.get(key) else { return Reply::new(404) };
        if !self.is_folder(parent(to)) {
            return Reply::new(409);
        }
        if self.objects.contains_key(to) && !asked.overwrite && !self.ignores_conditions {
            return Reply::new(412);
        }
        let bytes = object.bytes.clone();
        self.objects.remove(key);
        self.insert(to, bytes)
    }

    fn propfind(&self, key: &str, below_too: bool) -> Reply {
        let mut rows = String::new();
        let mut row = |path: &str, length: Option<usize>| {
            let what = match length {
                None => "<D:resourcetype><D:collection/></D:resourcetype>".to_owned(),
                Some(length) => format!("<D:resourcetype/><D:getcontentlength>{length}</D:getcontentlength>"),
            };
            write!(
                rows,
                "<D:response><D:href>/{path}</D:href><D:propstat><D:prop>{what}<D:getlastmodified>{LAST_MODIFIED_HTTP}</D:getlastmodified>\
                 </D:prop><D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>"
            )
            .unwrap();
        };
        if let Some(object) = self.objects.get(key) {
            row(key, Some(object.bytes.len()));
        } else if self.is_folder(key) {
            let folder = folder(key);
            row(&folder, None);
            let below = self.objects.iter().filter_map(|(name, object)| Some((name, name.strip_prefix(&folder)?, object)));
            for (name, rest, object) in below.filter(|_| below_too) {
                match rest.split_once('/') {
                    None if rest.is_empty() => {}
                    None => row(name, Some(object.bytes.len())),
                    Some((_, "")) => row(name, None),
                    Some(_) => {}
                }
            }
        } else {
            return Reply::new(404);
        }
        Reply::xml(207, format!("<D:multistatus xmlns:D=\"DAV:\">{rows}</D:multistatus>"))
    }
}
