//! Where a password or key comes from. Never from an argument: arguments are public.

use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use esker::environment::Environment;
use zeroize::Zeroizing;

use crate::error::{NoSecret, Usage};
use crate::terminal::escape::escape;

/// A password or key file larger than this is something else.
const SECRET_SIZE_MAX: u64 = 64 << 10;

/// The name of the systemd credential that holds a password, and of the one that holds a key.
pub const CREDENTIAL_PASSWORD: &str = "esker-password";
/// See [`CREDENTIAL_PASSWORD`].
pub const CREDENTIAL_KEY: &str = "esker-key";

/// Where the secret is to be had.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretSource {
    /// The only line of a file.
    PasswordFile(PathBuf),
    /// The first line that a command prints; program and arguments.
    PasswordCommand(Vec<String>),
    /// The value of `ESKER_PASSWORD`.
    PasswordVariable(Zeroizing<String>),
    /// An exported key.
    KeyFile(PathBuf),
    /// A person.
    Prompt,
}

impl SecretSource {
    /// Might somebody be asked for it?
    pub fn may_ask(&self) -> bool {
        matches!(self, Self::Prompt | Self::PasswordCommand(_))
    }
}

/// What opens a repository.
pub enum Secret {
    /// A password, or a recovery key typed in its place.
    Password(Zeroizing<String>),
    /// The line of an exported owner or writer key.
    Key(Zeroizing<String>),
}

/// The secret of an existing repository. `warn` hears of files that others may read.
pub fn load(source: &SecretSource, warn: &dyn Fn(&str)) -> Result<Secret> {
    load_asking(source, "password or recovery key: ", warn)
}

/// The same, where a person has to know which of two repositories is meant.
pub fn load_asking(source: &SecretSource, prompt: &str, warn: &dyn Fn(&str)) -> Result<Secret> {
    Ok(match source {
        SecretSource::PasswordFile(path) => Secret::Password(password_file(path, warn)?),
        SecretSource::PasswordCommand(words) => Secret::Password(password_command(words)?),
        SecretSource::PasswordVariable(value) => Secret::Password(value.clone()),
        SecretSource::KeyFile(path) => Secret::Key(key_file(path)?),
        SecretSource::Prompt => Secret::Password(ask(prompt)?),
    })
}

/// The password of a keyslot that is about to be made: a person types it twice.
pub fn load_new(source: &SecretSource, what: &str, warn: &dyn Fn(&str)) -> Result<Zeroizing<String>> {
    match source {
        SecretSource::Prompt => {
            let first = ask(&format!("{what}: "))?;
            let again = ask(&format!("{what}, again: "))?;
            if first != again {
                return Err(Usage::new("the two passwords differ; nothing was changed").into());
            }
            Ok(first)
        }
        SecretSource::KeyFile(_) => Err(Usage::new("a new keyslot needs a password, not a key file")
            .hint("use --password-file, --password-command or ESKER_PASSWORD")
            .into()),
        other => match load(other, warn)? {
            Secret::Password(password) => Ok(password),
            Secret::Key(_) => Err(Usage::new("a new keyslot needs a password, not a key").into()),
        },
    }
}

/// The only line of a file; others being able to read it is worth a warning.
pub fn password_file(path: &Path, warn: &dyn Fn(&str)) -> Result<Zeroizing<String>> {
    let shown = escape(path.as_os_str().as_encoded_bytes());
    let mut file = File::open(path).map_err(|error| {
        Usage::new(format!("password file {shown}: {error}")).hint("check the path, and that this user may read it")
    })?;
    let metadata = file.metadata().with_context(|| format!("password file {shown}"))?;
    // Pipes and devices (`--password-file <(pass show backup)`) have no owner that matters.
    if metadata.is_file() && metadata.mode() & 0o077 != 0 {
        warn(&format!("password file {shown} can be read by others; `chmod 600` it"));
    }
    let bytes = read_bounded(&mut file).with_context(|| format!("password file {shown}"))?;
    only_line(bytes).map_err(|what| Usage::new(format!("password file {shown} {what}")).into())
}

fn password_command(words: &[String]) -> Result<Zeroizing<String>> {
    let (program, arguments) = words.split_first().ok_or_else(|| Usage::new("the password command is empty"))?;
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(Environment::of_process_without_secrets().for_child())
        .stdin(Stdio::inherit())
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .spawn()
        .map_err(|error| {
            NoSecret::new(format!("password command {program:?} cannot be started: {error}"))
                .hint("check the name of the program and PATH; the command runs without a shell")
        })?;
    let output = match child.stdout.as_mut() {
        Some(stdout) => read_bounded(stdout),
        None => Ok(Zeroizing::default()),
    };
    drop(child.stdout.take());
    let status = child.wait().context("password command")?;
    if !status.success() {
        return Err(NoSecret::new(format!("password command {program:?} failed: {status}"))
            .hint("run it by hand as the same user: it must print the password and end with exit status 0")
            .into());
    }
    let mut bytes = output.context("password command")?;
    if let Some(end) = bytes.iter().position(|&byte| byte == b'\n') {
        bytes.truncate(end + 1);
    }
    only_line(bytes).map_err(|what| NoSecret::new(format!("the output of password command {program:?} {what}")).into())
}

/// The line of an exported key. Such a file opens the repository without a password, so it must be the caller's alone.
fn key_file(path: &Path) -> Result<Zeroizing<String>> {
    let shown = escape(path.as_os_str().as_encoded_bytes());
    let mut file = File::open(path).map_err(|error| {
        NoSecret::new(format!("key file {shown}: {error}")).hint("check the path, and that this user may read it")
    })?;
    let metadata = file.metadata().with_context(|| format!("key file {shown}"))?;
    let me = rustix::process::geteuid().as_raw();
    if !metadata.is_file() {
        return Err(NoSecret::new(format!("key file {shown} is not a file")).into());
    }
    // systemd gives credentials as root's, mode 0400 with an ACL for the service's user.
    let credential = std::env::var_os("CREDENTIALS_DIRECTORY").is_some_and(|folder| path.starts_with(folder));
    if metadata.uid() != me && !credential {
        return Err(NoSecret::new(format!("key file {shown} belongs to another user (uid {})", metadata.uid()))
            .hint(format!("a key file has to belong to the user who runs esker (uid {me})"))
            .into());
    }
    if metadata.mode() & 0o077 != 0 && !credential {
        return Err(NoSecret::new(format!("key file {shown} can be used by others (mode {:04o})", metadata.mode() & 0o7777))
            .hint(format!("`chmod 600 {shown}`; if others may have read it, the key is no secret any more"))
            .into());
    }
    let bytes = read_bounded(&mut file).with_context(|| format!("key file {shown}"))?;
    let line = only_line(bytes).map_err(|what| NoSecret::new(format!("key file {shown} {what}")))?;
    Ok(Zeroizing::new(line.trim().to_owned()))
}

fn ask(prompt: &str) -> Result<Zeroizing<String>> {
    let typed = rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(|error| {
        NoSecret::new(format!("no password was given, and there is no terminal to ask on ({error})"))
            .hint("give --password-file, --password-command, --key-file, or set ESKER_PASSWORD")
    })?;
    if typed.is_empty() {
        return Err(NoSecret::new("the password is empty").into());
    }
    Ok(typed)
}

/// At most [`SECRET_SIZE_MAX`], without leaving copies of a growing buffer behind.
fn read_bounded(from: &mut dyn Read) -> Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(SECRET_SIZE_MAX + 1)?));
    from.take(SECRET_SIZE_MAX + 1).read_to_end(&mut bytes)?;
    anyhow::ensure!(bytes.len() as u64 <= SECRET_SIZE_MAX, "larger than {SECRET_SIZE_MAX} bytes");
    Ok(bytes)
}

/// Cuts one newline off the end. Several lines, none, or something other than text are a mistake rather than a password.
fn only_line(bytes: Zeroizing<Vec<u8>>) -> Result<Zeroizing<String>, &'static str> {
    let text = std::str::from_utf8(&bytes).map_err(|_| "is not UTF-8 text")?;
    // A byte order mark is the mark of an editor, not the beginning of a password.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let line = text.strip_suffix('\n').map_or(text, |line| line.strip_suffix('\r').unwrap_or(line));
    match line {
        "" => Err("is empty"),
        line if line.contains('\n') => Err("has more than one line"),
        line => Ok(Zeroizing::new(line.to_owned())),
    }
}

/// Makes a file that only its owner can read and writes one line to it; an existing file is left alone.
pub fn write_key_file(path: &Path, line: &str) -> Result<()> {
    let shown = escape(path.as_os_str().as_encoded_bytes());
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .with_context(|| format!("making key file {shown}"))?;
    let line = Zeroizing::new(format!("{line}\n"));
    file.write_all(line.as_bytes()).and_then(|()| file.sync_all()).with_context(|| format!("writing key file {shown}"))
}

/// Keeps secrets out of core dumps and away from other processes of the same user. Best effort: a kernel that refuses is no
/// reason not to make a backup.
pub fn protect_process() {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn file(content: &str, mode: u32) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(content.as_bytes()).unwrap();
        file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).unwrap();
        file
    }

    fn password_of(content: &str) -> Result<String> {
        let file = file(content, 0o600);
        password_file(file.path(), &|warning| panic!("{warning}")).map(|password| password.to_string())
    }

    #[test]
    fn one_trailing_newline_is_not_part_of_the_password() {
        assert_eq!(password_of("secret\n").unwrap(), "secret");
        assert_eq!(password_of("secret\r\n").unwrap(), "secret");
        assert_eq!(password_of(" se cret ").unwrap(), " se cret ");
    }

    #[test]
    fn a_byte_order_mark_is_not_part_of_the_password() {
        assert_eq!(password_of("\u{feff}secret\n").unwrap(), "secret");
    }

    #[test]
    fn an_empty_file_or_one_of_several_lines_is_no_password() {
        assert!(password_of("").is_err());
        assert!(password_of("\n").is_err());
        assert!(password_of("one\ntwo\n").is_err());
    }

    #[test]
    fn a_password_file_that_others_can_read_gives_a_warning() {
        let warned = Cell::new(false);
        let file = file("secret\n", 0o644);
        assert_eq!(*password_file(file.path(), &|_| warned.set(true)).unwrap(), "secret");
        assert!(warned.get());
    }

    #[test]
    fn a_password_command_gives_its_first_line_and_must_end_well() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(*password_command(&words("printf secret\\nuser:x\\n")).unwrap(), "secret");
        assert!(password_command(&words("false")).is_err());
        assert!(password_command(&words("true")).is_err());
        assert!(password_command(&words("/no/such/program")).is_err());
    }

    #[test]
    fn a_key_file_that_others_can_read_is_refused() {
        assert_eq!(*key_file(file("ESKER-WRITER-1 abc\n", 0o600).path()).unwrap(), "ESKER-WRITER-1 abc");
        assert!(key_file(file("ESKER-WRITER-1 abc\n", 0o640).path()).is_err());
    }

    #[test]
    fn a_key_file_is_written_for_its_owner_only_and_never_over_another() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        write_key_file(&path, "ESKER-OWNER-1 xyz").unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        assert_eq!(*key_file(&path).unwrap(), "ESKER-OWNER-1 xyz");
        assert!(write_key_file(&path, "other").is_err());
    }
}
