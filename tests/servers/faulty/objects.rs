//! The bucket: names to bytes, and what S3 says about them.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

/// A bucket's content.
pub type Objects = BTreeMap<String, Arc<Vec<u8>>>;

/// An answer before it is sent.
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(&'static str, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn new(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    fn with(mut self, name: &'static str, value: impl ToString) -> Self {
        self.headers.push((name, value.to_string()));
        self
    }

    pub fn xml(status: u16, body: String) -> Self {
        let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{body}").into_bytes();
        Self { status, headers: vec![("Content-Type", "application/xml".to_owned())], body }
    }

    /// As S3 says that something did not work.
    pub fn error(status: u16, code: &str) -> Self {
        let body = format!("<Error><Code>{code}</Code><Message>made by a test</Message><RequestId>TEST</RequestId></Error>");
        Self::xml(status, body)
    }
}

pub struct Object {
    pub bytes: Arc<Vec<u8>>,
    /// Listings that will not show it yet.
    pub unseen: u32,
}

pub struct Bucket {
    pub objects: BTreeMap<String, Object>,
    pub page: usize,
    pub late: u32,
    pub ignores_conditions: bool,
}

const LAST_MODIFIED: &str = "2026-01-01T00:00:00.000Z";
pub const LAST_MODIFIED_HTTP: &str = "Thu, 01 Jan 2026 00:00:00 GMT";

fn etag(bytes: &[u8]) -> String {
    format!("\"{}\"", &blake3::hash(bytes).to_hex()[..32])
}

impl Bucket {
    pub fn new() -> Self {
        Self { objects: BTreeMap::new(), page: 1000, late: 0, ignores_conditions: false }
    }

    pub fn objects(&self) -> Objects {
        self.objects.iter().map(|(key, object)| (key.clone(), object.bytes.clone())).collect()
    }

    pub fn set_objects(&mut self, objects: &Objects) {
        let object = |bytes: &Arc<Vec<u8>>| Object { bytes: bytes.clone(), unseen: 0 };
        self.objects = objects.iter().map(|(key, bytes)| (key.clone(), object(bytes))).collect();
    }

    pub fn put(&mut self, key: &str, bytes: &Arc<Vec<u8>>, only_if_absent: bool) -> Reply {
        if only_if_absent && !self.ignores_conditions && self.objects.contains_key(key) {
            return Reply::error(412, "PreconditionFailed");
        }
        self.objects.insert(key.to_owned(), Object { bytes: bytes.clone(), unseen: self.late });
        Reply::new(200).with("ETag", etag(bytes))
    }

    /// All of it or `range`, a header's text.
    pub fn get(&self, key: &str, range: Option<&str>) -> Reply {
        let Some(Object { bytes, .. }) = self.objects.get(key) else { return Reply::error(404, "NoSuchKey") };
        let reply = |status, body: &[u8]| Reply { body: body.to_vec(), ..described(status, bytes) };
        let Some(range) = range else { return reply(200, bytes) };
        let asked = || {
            let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
            let size = bytes.len();
            let (from, to) = match (from.parse::<usize>().ok(), to.parse::<usize>().ok()) {
                (Some(from), to) => (from, to.map_or(size, |to| to.saturating_add(1).min(size))),
                (None, Some(last)) => (size.saturating_sub(last), size),
                (None, None) => return None,
            };
            (from < to).then_some((from, to))
        };
        match asked() {
            Some((from, to)) => {
                reply(206, &bytes[from..to]).with("Content-Range", format!("bytes {from}-{}/{}", to - 1, bytes.len()))
            }
            None => Reply::error(416, "InvalidRange").with("Content-Range", format!("bytes */{}", bytes.len())),
        }
    }

    /// Its length stands in `x-length`: the connection says it where a body's length stands.
    pub fn head(&self, key: &str) -> Reply {
        match self.objects.get(key) {
            Some(Object { bytes, .. }) => described(200, bytes),
            None => Reply::new(404),
        }
    }

    pub fn length(&self, key: &str) -> usize {
        self.objects.get(key).map_or(0, |object| object.bytes.len())
    }

    pub fn delete(&mut self, key: &str) -> Reply {
        self.objects.remove(key);
        Reply::new(204)
    }

    /// A page of ListObjectsV2.
    pub fn list(&mut self, query: &BTreeMap<String, String>) -> Reply {
        let text = |name: &str| query.get(name).map_or("", String::as_str);
        let (prefix, delimiter) = (text("prefix"), text("delimiter"));
        let page = text("max-keys").parse().map_or(self.page, |most: usize| most.min(self.page));
        // The token is the last name of the page before.
        let after = text("continuation-token").strip_prefix("after:").unwrap_or(text("start-after"));
        let is_first = after.is_empty();
        let mut rows = String::new();
        let (mut count, mut last, mut more) = (0, String::new(), false);
        for (key, object) in &mut self.objects {
            if !key.starts_with(prefix) {
                continue;
            }
            if object.unseen > 0 {
                object.unseen -= u32::from(is_first);
                continue;
            }
            let found = key[prefix.len()..].find(delimiter).filter(|_| !delimiter.is_empty());
            let folder = found.map(|at| &key[..prefix.len() + at + delimiter.len()]);
            let row = folder.unwrap_or(key);
            if row <= after && !is_first || row == last {
                continue;
            }
            if count == page {
                more = true;
                break;
            }
            match folder {
                Some(folder) => write!(rows, "<CommonPrefixes><Prefix>{folder}</Prefix></CommonPrefixes>").unwrap(),
                None => write!(
                    rows,
                    "<Contents><Key>{key}</Key><LastModified>{LAST_MODIFIED}</LastModified><ETag>{}</ETag><Size>{}</Size></Contents>",
                    etag(&object.bytes).replace('"', "&quot;"),
                    object.bytes.len()
                )
                .unwrap(),
            }
            last = row.to_owned();
            count += 1;
        }
        let next = if more { format!("<NextContinuationToken>after:{last}</NextContinuationToken>") } else { String::new() };
        Reply::xml(
            200,
            format!(
                "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Prefix>{prefix}</Prefix><KeyCount>{count}</KeyCount>\
                 <MaxKeys>{page}</MaxKeys><IsTruncated>{more}</IsTruncated>{next}{rows}</ListBucketResult>"
            ),
        )
    }
}

fn described(status: u16, bytes: &[u8]) -> Reply {
    Reply::new(status)
        .with("ETag", etag(bytes))
        .with("Last-Modified", LAST_MODIFIED_HTTP)
        .with("Content-Type", "application/octet-stream")
}
