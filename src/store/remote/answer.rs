//! What the answer of a service means: asking again may help, or the failure is final and is told in words that help.

use opendal::{Error, ErrorKind};

use super::date::Dates;
use super::wire;
use crate::clock::{Clock, SystemClock, ahead_in_words};
use crate::store::{Name, StoreError};

/// A request that failed.
#[derive(Debug)]
pub(super) enum Trouble {
    /// Asking again may help; why it failed.
    Passing(String),
    /// Asking again will not help.
    Final(StoreError),
}

/// The store that answered.
pub(super) struct About<'a> {
    /// Its address.
    pub(super) place: &'a str,
    /// What is missing when the place itself is, and what to do.
    pub(super) absent: Option<&'a str>,
    /// What its clock shows.
    pub(super) dates: &'a Dates,
}

/// Reads an error of OpenDAL.
pub(super) fn trouble(store: &About<'_>, name: Option<&Name>, error: &Error) -> Trouble {
    let &About { place, absent, dates } = store;
    let said = Said::by(error);
    let text = said.text();
    let no_store = || Trouble::Final(no_store(place, absent));
    let about = name.map_or_else(|| place.to_owned(), |name| format!("{place}: {name}"));
    match said.reason {
        Reason::Authority => {
            return Trouble::Final(StoreError::untrusted(format!(
                "{place}: the server's certificate does not verify: it is an authority's own, which no server may use; make one \
                 without CA:TRUE, and name it with --option ca-file=FILE"
            )));
        }
        Reason::Certificate => {
            return Trouble::Final(StoreError::untrusted(format!(
                "{place}: the server's certificate does not verify ({text}); if it is your own authority's, name its file with \
                 --option ca-file=FILE"
            )));
        }
        Reason::NoCredentials => {
            return Trouble::Final(StoreError::denied(format!(
                "{place}: no credentials were found; {}",
                where_credentials_are(place)
            )));
        }
        Reason::Other => {}
    }
    match (error.kind(), said.code.as_deref(), said.status) {
        (_, Some("NoSuchBucket"), _) => no_store(),
        (_, Some("RequestTimeTooSkewed" | "RequestExpired"), _) => Trouble::Final(StoreError::untrusted(format!(
            "{place}: the server refuses requests because this machine's clock is wrong{}; set it (timedatectl, NTP) and try again",
            // Requests are signed with the machine's own clock, so that is the one to look at.
            dates.last().map_or_else(String::new, |there| by_how_much(SystemClock::new().now().seconds.saturating_sub(there)))
        ))),
        (_, Some("XMinioStorageFull" | "QuotaExceeded" | "InsufficientStorage" | "StorageFull"), _) | (_, _, Some(507 | 413)) => {
            Trouble::Final(StoreError::full(format!("{about}: {text}")))
        }
        (ErrorKind::ConditionNotMatch, _, _) => match name {
            Some(name) => Trouble::Final(StoreError::exists(name.clone())),
            None => Trouble::Final(StoreError::failed(format!("{about}: {text}"))),
        },
        (ErrorKind::NotFound, _, _) => match name {
            Some(name) => Trouble::Final(StoreError::missing(name.clone())),
            None => no_store(),
        },
        // 423 and 409 are passing: some services answer so while a file is locked. A lasting refusal is denied at once.
        (ErrorKind::PermissionDenied, _, _) | (_, _, Some(401)) => Trouble::Final(StoreError::denied(format!("{about}: {text}"))),
        // Two conditional requests came at the same time. Asking again shows which one won.
        (ErrorKind::RateLimited | ErrorKind::Conflict, _, _) | (_, _, Some(409 | 423 | 425 | 429)) => Trouble::Passing(text),
        _ if error.is_temporary() => Trouble::Passing(text),
        (_, _, Some(500..=599)) => Trouble::Passing(text),
        (ErrorKind::ConfigInvalid, _, _) => Trouble::Final(StoreError::denied(format!("{about}: {text}"))),
        _ => Trouble::Final(StoreError::failed(format!("{about}: {text}"))),
    }
}

/// The place itself is absent.
pub(super) fn no_store(place: &str, absent: Option<&str>) -> StoreError {
    absent.map_or_else(|| StoreError::no_store(place), |advice| StoreError::no_store_but(place, advice))
}

/// How far a wrong clock is ahead. Nothing when the two clocks agree, whatever the server says.
fn by_how_much(ahead_seconds: i64) -> String {
    if ahead_seconds.unsigned_abs() < 60 {
        return String::new();
    }
    format!(" ({})", ahead_in_words(ahead_seconds))
}

/// How to give credentials, for each kind of store.
fn where_credentials_are(place: &str) -> &'static str {
    match place.split("://").next() {
        Some("azblob") => "set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
        Some("gcs") => "name the file of a service account in GOOGLE_APPLICATION_CREDENTIALS",
        _ => "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE for a profile of ~/.aws/credentials",
    }
}

/// Does the range lie beyond the end? Not every service of OpenDAL says so by the kind of its error.
pub(super) fn is_out_of_range(error: &Error) -> bool {
    error.kind() == ErrorKind::RangeNotSatisfied || Said::by(error).status == Some(416)
}

/// Did less come than was asked for? Only OpenDAL's words tell: of a body that ended early, and of a range that ends
/// before it begins, which is azurite's answer when an object has no more bytes.
pub(super) fn is_short(error: &Error) -> bool {
    ["too little data", "content range is invalid"].iter().any(|words| error.message().contains(words))
}

/// Why no request can succeed, where that is known. rustls and OpenDAL tell it only in words, and this is the one place
/// that reads them.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Reason {
    /// The server's certificate does not verify.
    Certificate,
    /// The same, because the server uses the certificate of an authority as its own.
    Authority,
    /// The requests cannot be signed.
    NoCredentials,
    /// Anything else.
    Other,
}

impl Reason {
    fn of(error: &Error, causes: Option<&str>) -> Self {
        match causes {
            Some(causes) if causes.contains("CaUsedAsEndEntity") => Self::Authority,
            Some(causes) if causes.contains("certificate") => Self::Certificate,
            _ if error.to_string().contains("load signing credential") => Self::NoCredentials,
            _ => Self::Other,
        }
    }
}

/// What the service, or the network below it, said.
struct Said {
    reason: Reason,
    status: Option<u16>,
    code: Option<String>,
    message: String,
}

impl Said {
    fn by(error: &Error) -> Self {
        // OpenDAL keeps the response's head and the decoded body only as text.
        let whole = error.to_string();
        let status = between(&whole, "status: ", ",").and_then(|digits| digits.trim().parse().ok());
        let body = error.message();
        let code = between(body, "code: \"", "\"").filter(|code| !code.is_empty());
        let mut message = match &code {
            Some(_) => between(body, "message: \"", "\", ").or_else(|| between(body, "message: \"", "\"")).unwrap_or_default(),
            None => body.to_owned(),
        };
        let causes = std::error::Error::source(error).map(wire::causes);
        let reason = Reason::of(error, causes.as_deref());
        if let Some(causes) = causes {
            let says_it_all = code.is_some() || matches!(reason, Reason::Certificate | Reason::Authority);
            message = if says_it_all { causes } else { format!("{message}: {causes}") };
        }
        Self { reason, status, code, message }
    }

    /// One line, of bounded length, without anything a terminal would obey.
    fn text(&self) -> String {
        let message: String = self
            .message
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
            .chars()
            .map(|c| if c.is_control() { '\u{fffd}' } else { c })
            .take(300)
            .collect();
        if matches!(self.reason, Reason::Certificate | Reason::Authority) {
            return message;
        }
        match (self.code.as_deref(), self.status) {
            (None, None) => message,
            (Some(code), _) => {
                format!("{} ({message})", code.chars().filter(|c| c.is_ascii_graphic()).take(80).collect::<String>())
            }
            // The page a web server sends along says nothing more than its status.
            (None, Some(status)) if message.is_empty() || message.starts_with('<') => format!("the server answered {status}"),
            (None, Some(status)) => format!("the server answered {status}: {message}"),
        }
    }
}

fn between(text: &str, before: &str, after: &str) -> Option<String> {
    let rest = &text[text.find(before)? + before.len()..];
    Some(rest[..rest.find(after)?].to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::StoreErrorKind;

    fn name() -> Name {
        Name::new("gc/1").unwrap()
    }

    fn said(kind: ErrorKind, message: &str, status: u16) -> Trouble {
        let error = Error::new(kind, message.to_owned()).with_context("response", format!("Parts {{ status: {status}, version }}"));
        let store = About { place: "s3://b", absent: Some("there is no bucket b"), dates: &Dates::default() };
        trouble(&store, Some(&name()), &error)
    }

    #[test]
    fn a_refusal_is_told_with_the_services_own_words_and_no_escape() {
        let body = "S3Error { code: \"AccessDenied\", message: \"not \u{1b}[31mthis\", resource: \"/b\" }";
        let Trouble::Final(error) = said(ErrorKind::PermissionDenied, body, 403) else { panic!() };
        assert_eq!(error.kind, StoreErrorKind::Denied);
        assert_eq!(error.detail(), "s3://b: gc/1: AccessDenied (not \u{fffd}[31mthis)");
    }

    #[test]
    fn answers_are_told_apart() {
        let code = |code: &str| format!("S3Error {{ code: \"{code}\", message: \"m\", resource: \"\" }}");
        assert!(matches!(
            said(ErrorKind::ConfigInvalid, &code("NoSuchBucket"), 404),
            Trouble::Final(StoreError { kind: StoreErrorKind::NoStore { .. }, .. })
        ));
        assert!(
            matches!(said(ErrorKind::NotFound, &code("NoSuchKey"), 404), Trouble::Final(StoreError { kind: StoreErrorKind::Missing, name: Some(n), .. }) if n == name())
        );
        assert!(matches!(
            said(ErrorKind::ConditionNotMatch, "", 412),
            Trouble::Final(StoreError { kind: StoreErrorKind::Exists, .. })
        ));
        assert!(matches!(said(ErrorKind::Unexpected, "", 507), Trouble::Final(StoreError { kind: StoreErrorKind::Full, .. })));
        assert!(matches!(said(ErrorKind::Unexpected, "", 401), Trouble::Final(StoreError { kind: StoreErrorKind::Denied, .. })));
        assert!(
            matches!(said(ErrorKind::PermissionDenied, &code("RequestTimeTooSkewed"), 403), Trouble::Final(e) if e.kind == StoreErrorKind::Untrusted && e.detail().contains("clock"))
        );
        for status in [409, 423, 429, 500, 502, 503, 504] {
            assert!(matches!(said(ErrorKind::Unexpected, "", status), Trouble::Passing(_)), "{status}");
        }
        assert!(matches!(said(ErrorKind::Unexpected, "no", 400), Trouble::Final(StoreError { kind: StoreErrorKind::Failed, .. })));
    }
}
