//! Where an SFTP store is: `sftp://[user@]host[:port]/path`, or as scp writes it, `sftp:[user@]host:path`.
//!
//! The path of the first form is absolute, as for curl, git and borg; `/~/path` is below the login's home folder. (restic takes the same text as
//! below the home folder and writes `//path` for an absolute one, which means the same here.) In the second form a path without a `/` before
//! it is below the home folder, as for scp and restic. Nothing is percent-decoded. There is no place for a password: keys and agents do that.

use std::fmt;

/// Where an SFTP store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SftpAddress {
    /// The login's name; `None` leaves it to ssh's own settings.
    pub user: Option<String>,
    /// A name or number, or an alias from the user's `ssh_config`.
    pub host: String,
    /// `None` leaves it to ssh's own settings.
    pub port: Option<u16>,
    /// On the server: absolute, or below the home folder when it begins without `/`; `.` is the home folder itself.
    pub path: String,
}

/// A text that is no such address. Shows nothing of the text: it may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// `user:password@host`.
    #[error("an sftp address has no place for a password: use a key, an agent, or what else your ssh_config names")]
    Password,
    /// No host, or one with signs that no host has.
    #[error("an sftp address is sftp://[user@]host[:port]/path or sftp:[user@]host:path; this one names no host that can be")]
    Host,
    /// The name before the `@`.
    #[error("the login's name in the sftp address holds signs that no such name has")]
    User,
    /// Not a number from 1 to 65535.
    #[error("the port in the sftp address is not a number from 1 to 65535")]
    Port,
    /// The path is missing.
    #[error("the sftp address has no path: sftp://host/absolute/path, or sftp://host/~/path below the home folder")]
    Path,
}

impl SftpAddress {
    /// Reads what follows `sftp:`.
    pub fn parse(rest: &str) -> Result<Self, AddressError> {
        match rest.strip_prefix("//") {
            Some(url) => {
                let (authority, path) = url.split_once('/').ok_or(AddressError::Path)?;
                let (user, place) = login(authority)?;
                let (host, port) = match place.strip_prefix('[') {
                    Some(bracketed) => {
                        let (host, after) = bracketed.split_once(']').ok_or(AddressError::Host)?;
                        (host, if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or(AddressError::Host)?) })
                    }
                    None => place.split_once(':').map_or((place, None), |(host, port)| (host, Some(port))),
                };
                let port = match port {
                    None => None,
                    Some(port) => Some(port.parse().ok().filter(|port| *port != 0).ok_or(AddressError::Port)?),
                };
                let path = match path.strip_prefix("~/") {
                    Some(below) => below.to_owned(),
                    None if path == "~" => String::new(),
                    None => format!("/{}", path.trim_start_matches('/')),
                };
                Self::new(user, host, port, path)
            }
            None => {
                // The `@` of a login stands before the first `:`; a password's `:` stands before the `@`.
                let (authority, path) = rest.split_once(':').ok_or(AddressError::Host)?;
                if path.split('/').next().is_some_and(|first| first.contains('@')) && !authority.contains('@') {
                    return Err(AddressError::Password);
                }
                let (user, host) = login(authority)?;
                Self::new(user, host, None, path.to_owned())
            }
        }
    }

    fn new(user: Option<&str>, host: &str, port: Option<u16>, path: String) -> Result<Self, AddressError> {
        // ssh hands host and user to a shell where a ProxyCommand names them; a leading `-` would be an option.
        let is_host = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '%') || !c.is_ascii();
        let is_user = |c: char| !c.is_control() && !c.is_whitespace() && !"'`\"\\$;&<>|(){}".contains(c);
        if host.is_empty() || host.starts_with('-') || !host.chars().all(|c| is_host(c) && !c.is_control()) {
            return Err(AddressError::Host);
        }
        if user.is_some_and(|user| user.is_empty() || user.starts_with('-') || !user.chars().all(is_user)) {
            return Err(AddressError::User);
        }
        if path.contains('\0') {
            return Err(AddressError::Path);
        }
        let trimmed = path.trim_end_matches('/');
        let path = match (trimmed, path.starts_with('/')) {
            ("", true) => "/",
            ("", false) => ".",
            (trimmed, _) => trimmed,
        };
        Ok(Self { user: user.map(str::to_owned), host: host.to_owned(), port, path: path.to_owned() })
    }
}

/// `user@place`.
fn login(authority: &str) -> Result<(Option<&str>, &str), AddressError> {
    match authority.rsplit_once('@') {
        Some((user, _)) if user.contains(':') => Err(AddressError::Password),
        Some((user, place)) => Ok((Some(user), place)),
        None => Ok((None, authority)),
    }
}

impl fmt::Display for SftpAddress {
    /// As it is read by [`SftpAddress::parse`] after `sftp:`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("sftp://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        if self.host.contains(':') { write!(f, "[{}]", self.host) } else { f.write_str(&self.host) }?;
        if let Some(port) = self.port {
            write!(f, ":{port}")?;
        }
        match self.path.as_str() {
            "." => f.write_str("/~"),
            path if path.starts_with('/') => f.write_str(path),
            path => write!(f, "/~/{path}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_and_shown_again() {
        let meant = |user: Option<&str>, host: &str, port, path: &str| SftpAddress {
            user: user.map(str::to_owned),
            host: host.to_owned(),
            port,
            path: path.to_owned(),
        };
        for (text, address) in [
            ("//host/srv/backup", meant(None, "host", None, "/srv/backup")),
            ("//me@host:2222/srv/backup/", meant(Some("me"), "host", Some(2222), "/srv/backup")),
            ("//me@host//srv/backup", meant(Some("me"), "host", None, "/srv/backup")),
            ("//host/~/backup", meant(None, "host", None, "backup")),
            ("//host/~", meant(None, "host", None, ".")),
            ("//host/", meant(None, "host", None, "/")),
            ("//[fe80::1%eth0]:22/x", meant(None, "fe80::1%eth0", Some(22), "/x")),
            ("//me@example.org@host/x", meant(Some("me@example.org"), "host", None, "/x")),
            ("me@host:/srv/backup", meant(Some("me"), "host", None, "/srv/backup")),
            ("host:backup/of it", meant(None, "host", None, "backup/of it")),
            ("me@host:a@b/c", meant(Some("me"), "host", None, "a@b/c")),
        ] {
            assert_eq!(SftpAddress::parse(text), Ok(address.clone()), "{text}");
            assert_eq!(SftpAddress::parse(address.to_string().strip_prefix("sftp:").unwrap()), Ok(address));
        }
    }

    #[test]
    fn what_is_no_address_is_refused_without_showing_it() {
        for (text, error) in [
            ("//me:secret@host/x", AddressError::Password),
            ("me:secret@host:/x", AddressError::Password),
            ("//host", AddressError::Path),
            ("///x", AddressError::Host),
            ("//-oProxyCommand=x/x", AddressError::Host),
            ("//ho st/x", AddressError::Host),
            ("//$(id)/x", AddressError::Host),
            ("//-l@host/x", AddressError::User),
            ("//a;b@host/x", AddressError::User),
            ("//host:0/x", AddressError::Port),
            ("//host:ssh/x", AddressError::Port),
            ("//[::1/x", AddressError::Host),
            ("host", AddressError::Host),
            ("//host/a\0b", AddressError::Path),
        ] {
            assert_eq!(SftpAddress::parse(text), Err(error), "{text}");
            assert!(!error.to_string().contains("secret"));
        }
    }
}
