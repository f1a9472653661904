//! `esker config check`: everything that can be known of a config file before the first night.

use std::collections::BTreeSet;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::Result;
use esker::monitor::Stop;
use esker::notify;
use esker::store::location;
use serde_json::json;

use super::read;
use crate::args::{Global, Snapshot};
use crate::error::report;
use crate::exit_code::ExitCode;
use crate::secret::SecretSource;
use crate::settings::{self, Environment, Hooks, MonitorEntry, Settings, SourceEntry, Words};
use crate::sources::{self, Tell};
use crate::terminal::Output;
use crate::terminal::escape::{escape, escape_lines};

/// What was found, each once: profiles share most of a file.
#[derive(Default)]
struct Findings {
    errors: BTreeSet<(String, String)>,
    warnings: BTreeSet<(String, String)>,
    /// Of the profile that is looked at.
    place: String,
}

impl Findings {
    fn error(&mut self, text: impl ToString) {
        let text = text.to_string();
        if !self.errors.iter().any(|(_, other)| *other == text) {
            self.errors.insert((self.place.clone(), text));
        }
    }

    fn warning(&mut self, text: impl ToString) {
        let text = text.to_string();
        if !self.warnings.iter().any(|(_, other)| *other == text) {
            self.warnings.insert((self.place.clone(), text));
        }
    }
}

/// Looks at the top of the file and at every profile; 2 when something would fail.
pub fn run(path: &Path, global: &Global, out: &mut Output) -> Result<ExitCode> {
    let mut findings = Findings::default();
    let (mut files, mut profiles) = (vec![path.to_owned()], Vec::new());
    match read(path) {
        Err(error) => findings.error(in_words(&error)),
        Ok(config) => {
            files = config.files.clone();
            profiles = config.profiles().map(str::to_owned).collect();
            // The flags of this call say nothing about the file.
            let alone = Global { config: global.config.clone(), ..Global::default() };
            let environment = Environment { password: None, variables: Vec::new(), ..Environment::of_process() };
            for profile in std::iter::once(None).chain(profiles.iter().map(|name| Some(name.as_str()))) {
                findings.place = profile.map_or_else(String::new, |name| format!("profile {name:?}: "));
                match config.choose(profile).map_err(anyhow::Error::msg) {
                    Err(error) => findings.error(in_words(&error)),
                    Ok(section) => match settings::of_section(section, &alone, &environment) {
                        Err(error) => findings.error(in_words(&error)),
                        Ok(settings) => look(settings, profile.is_none() && !profiles.is_empty(), &mut findings),
                    },
                }
            }
        }
    }
    show(&findings, &files, &profiles, out)?;
    Ok(if findings.errors.is_empty() { ExitCode::Done } else { ExitCode::Usage })
}

fn in_words(error: &anyhow::Error) -> String {
    report(error).map_or_else(|| error.to_string(), |report| report.message)
}

fn show(findings: &Findings, files: &[PathBuf], profiles: &[String], out: &mut Output) -> Result<()> {
    if out.json {
        let list =
            |found: &BTreeSet<(String, String)>| found.iter().map(|(place, text)| format!("{place}{text}")).collect::<Vec<_>>();
        return out.json(&json!({
            "message_type": "config_check",
            "files": files.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>(),
            "profiles": profiles,
            "errors": list(&findings.errors),
            "warnings": list(&findings.warnings),
        }));
    }
    for (place, text) in &findings.errors {
        out.line(&format!("error: {}", escape_lines(&format!("{place}{text}"))))?;
    }
    for (place, text) in &findings.warnings {
        out.line(&format!("warning: {}", escape_lines(&format!("{place}{text}"))))?;
    }
    let files: Vec<String> = files.iter().map(|path| escape(path.as_os_str().as_encoded_bytes())).collect();
    let profiles = if profiles.is_empty() { "no profiles".to_owned() } else { format!("profiles {}", profiles.join(", ")) };
    if findings.errors.is_empty() {
        out.remark(&format!("{}: in order ({profiles})", files.join(", ")))?;
    }
    Ok(())
}

/// `has_profiles`: what is missing here may stand in these.
fn look(mut settings: Settings, has_profiles: bool, findings: &mut Findings) {
    repository(&settings, has_profiles, findings);
    secret(&settings, has_profiles, findings);
    if let Some(path) = &settings.log_file
        && !path.parent().is_some_and(Path::is_dir)
    {
        findings.error(format!("log-file {}: its folder does not exist", shown(path)));
    }
    // Taken out: what is missing of these must not hide what comes after.
    let keys = &mut settings.leave_out;
    for path in std::mem::take(&mut keys.exclude_files).iter().chain(&std::mem::take(&mut keys.iexclude_files)) {
        if let Err(error) = std::fs::read(path) {
            findings.error(format!("exclude file {}: {error}", shown(path)));
        }
    }
    for source in &settings.sources {
        source_files(source, findings);
    }
    hooks("[hooks]", &settings.hooks, findings);
    monitor(&settings.monitor, findings);
    gathered(settings, findings);
}

fn repository(settings: &Settings, has_profiles: bool, findings: &mut Findings) {
    match settings.repository.as_deref().map(|place| place.to_str()) {
        None if has_profiles => {}
        None => findings.warning("no repository is named, so -r or ESKER_REPOSITORY must name it"),
        Some(None) => {}
        Some(Some(text)) => {
            if let Err(error) = location::parse(text) {
                findings.error(format!("repository: {error}"));
            }
        }
    }
}

fn secret(settings: &Settings, has_profiles: bool, findings: &mut Findings) {
    match &settings.opening.source {
        SecretSource::PasswordFile(path) => secret_file("password-file", path, findings),
        SecretSource::KeyFile(path) => secret_file("key-file", path, findings),
        SecretSource::PasswordCommand(words) => program("password-command", words.first(), findings),
        SecretSource::Prompt if !has_profiles => {
            findings.warning("no secret is named, so the password comes from the environment or a prompt");
        }
        SecretSource::Prompt | SecretSource::PasswordVariable(_) => {}
    }
}

fn secret_file(what: &str, path: &Path, findings: &mut Findings) {
    match std::fs::metadata(path) {
        Err(error) => findings.error(format!("{what} {}: {error}", shown(path))),
        Ok(found) if found.is_dir() => findings.error(format!("{what} {} is a folder", shown(path))),
        Ok(found) if found.is_file() && found.mode() & 0o077 != 0 => {
            let text = format!("{what} {} can be read by others (mode {:04o}); `chmod 600` it", shown(path), found.mode() & 0o7777);
            // A key file like this is refused when it is used.
            if what == "key-file" { findings.error(text) } else { findings.warning(text) }
        }
        Ok(_) => {
            if let Err(error) = std::fs::File::open(path) {
                findings.error(format!("{what} {}: {error}", shown(path)));
            }
        }
    }
}

fn source_files(source: &SourceEntry, findings: &mut Findings) {
    let name = source.name.clone().unwrap_or_else(|| source.directory.as_deref().map_or_else(String::new, shown));
    if let Some(path) = &source.directory {
        match std::fs::metadata(path) {
            Err(error) if source.optional => findings.warning(format!("source {name}: {}: {error}", shown(path))),
            Err(error) => findings.error(format!("source {name}: {}: {error}", shown(path))),
            Ok(_) => {}
        }
    }
    let split = |words: &Words| words.split().unwrap_or_default();
    if let Some(words) = &source.command {
        program(&format!("source {name}"), split(words).first(), findings);
    }
    if let Some(postgres) = &source.postgres {
        match &postgres.command_prefix {
            Some(words) => program(&format!("source {name}: command-prefix"), split(words).first(), findings),
            None => {
                for tool in ["psql", "pg_dump"] {
                    let place = postgres.bin_dir.as_ref().map(|folder| folder.join(tool).to_string_lossy().into_owned());
                    program(&format!("source {name}"), Some(&place.unwrap_or_else(|| tool.to_owned())), findings);
                }
            }
        }
    }
    if let Some(words) = source.authentik.as_ref().and_then(|authentik| authentik.command_prefix.as_ref()) {
        program("authentik: command-prefix", split(words).first(), findings);
    }
    if let Some(of_source) = &source.hooks {
        hooks(&format!("hooks of source {name}"), of_source, findings);
    }
}

/// Puts the sources together as `snapshot` does: names, passwords' files, patterns, what a preset finds. Each of them alone first, so
/// that one mistake does not hide the next.
fn gathered(mut settings: Settings, findings: &mut Findings) {
    let all = std::mem::take(&mut settings.sources);
    for source in &all {
        settings.sources = vec![source.clone()];
        gather(&settings, findings);
    }
    if !all.is_empty() {
        settings.sources = all;
        gather(&settings, findings);
    }
}

fn gather(settings: &Settings, findings: &mut Findings) {
    let heard = std::cell::RefCell::new(Vec::new());
    let tell = Tell { warn: &|text| heard.borrow_mut().push(text.to_owned()), remark: &|_| {}, stop: &Stop::new() };
    if let Err(error) = sources::gather(&Snapshot::default(), settings, &tell) {
        findings.error(in_words(&error));
    }
    heard.into_inner().into_iter().for_each(|text| findings.warning(text));
}

fn hooks(what: &str, hooks: &Hooks, findings: &mut Findings) {
    for commands in hooks.all() {
        for words in commands.split().unwrap_or_default() {
            program(what, words.first(), findings);
        }
    }
}

fn monitor(monitor: &MonitorEntry, findings: &mut Findings) {
    if monitor.sends() && !notify::is_built() {
        findings.error(format!("[monitor]: {}", notify::NotifyError::NotBuilt));
    }
    if let Some(words) = &monitor.on_failure {
        program("[monitor] on-failure", words.split().unwrap_or_default().first(), findings);
    }
    monitor.ping_file.iter().for_each(|path| secret_file("ping-file", path, findings));
    for message in &monitor.message {
        message.url_file.iter().for_each(|path| secret_file("url-file", path, findings));
        message.secret_file.iter().for_each(|path| secret_file("secret-file", path, findings));
    }
}

/// Is there such a program, in PATH or by its path?
fn program(what: &str, name: Option<&String>, findings: &mut Findings) {
    let Some(name) = name else { return };
    let can_run =
        |path: &Path| std::fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0);
    let found = match name.contains('/') {
        true => can_run(Path::new(name)),
        false => {
            std::env::var_os("PATH").is_some_and(|path| std::env::split_paths(&path).any(|folder| can_run(&folder.join(name))))
        }
    };
    if !found {
        findings.error(format!("{what}: the program {name:?} is not found"));
    }
}

fn shown(path: &Path) -> String {
    escape(path.as_os_str().as_encoded_bytes())
}
