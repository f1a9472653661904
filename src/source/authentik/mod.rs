//! The preset `authentik`: finds what an authentik deployment keeps, from its own settings.
//!
//! Settings are read anew at every run: `AUTHENTIK_*` variables of this process, else those of the `.env` file, with authentik's
//! forms `env://NAME?fallback` and `file:///path?fallback`; from a compose deployment `PG_DB`, `PG_USER`, `PG_PASS` and the folders
//! it mounts. Order: PostgreSQL, Redis, directories; files named by the database are captured after it.
//!
//! Found but not named: the folder layouts until 2025.10 (`media`) and from 2025.12 (`data`). Redis is gone since 2025.10.

mod compose;
mod settings;

use std::path::{Path, PathBuf};

use self::compose::Compose;
use self::settings::Settings;
use super::child::Child;
use super::postgres::{ConnInfo, PostgresOptions, PostgresSource};
use super::redis::{RedisOptions, RedisPlace, RedisSource};
use super::{DirectorySource, Environment, Secret, Source, SourceError};
use crate::monitor::Stop;

/// Where to look for a deployment.
#[derive(Clone, Debug)]
pub struct AuthentikOptions {
    /// The folder of the compose file and `.env`, or the compose file itself; none: the current folder if it holds either, else `/`
    /// (inside a container or on a bare machine).
    pub place: Option<PathBuf>,
    /// Where `AUTHENTIK_*` is looked up, and what `pg_dump` sees.
    pub environment: Environment,
    /// Stands before `pg_dump` (`docker exec -i NAME`) and takes it where the database's own socket is: then host, port and password
    /// of authentik's settings are not used. Empty: as the settings say, or through the compose file.
    pub command_prefix: Vec<String>,
    /// Names of sources that may fail.
    pub optional: Vec<String>,
    /// Patterns of what is left out of every folder, in gitignore's language.
    pub excludes: Vec<String>,
}

impl AuthentikOptions {
    /// Everything by default, over the environment of this process.
    pub fn new(place: Option<PathBuf>) -> Self {
        let environment = Environment::of_process();
        Self { place, environment, command_prefix: Vec::new(), optional: Vec::new(), excludes: Vec::new() }
    }

    fn is_optional(&self, name: &str) -> bool {
        self.optional.iter().any(|given| given == name)
    }
}

/// What was found.
#[derive(Debug)]
pub struct Authentik {
    /// PostgreSQL, Redis, directories, settings: in the order to read them.
    pub sources: Vec<Source>,
    /// What a person should know: what is not included and why.
    pub remarks: Vec<String>,
}

/// The folders of authentik: the source's name, other names it has on disk, where it is in the container, the setting that moves
/// it, and whether the deployment is nothing without it.
struct Folder {
    name: &'static str,
    on_disk: &'static [&'static str],
    in_container: &'static [&'static str],
    setting: &'static [&'static str],
    files: bool,
}

const FOLDERS: [Folder; 5] = [
    Folder { name: "media", on_disk: &["media"], in_container: &["/media"], setting: &["STORAGE__MEDIA__FILE__PATH"], files: true },
    Folder { name: "data", on_disk: &["data"], in_container: &["/data"], setting: &["STORAGE__FILE__PATH"], files: true },
    Folder { name: "certs", on_disk: &["certs"], in_container: &["/certs"], setting: &["CERT_DISCOVERY_DIR"], files: false },
    Folder {
        name: "custom-templates",
        on_disk: &["custom-templates", "templates"],
        in_container: &["/templates", "/custom-templates"],
        setting: &["EMAIL__TEMPLATE_DIR"],
        files: false,
    },
    Folder {
        name: "blueprints",
        on_disk: &["blueprints"],
        in_container: &["/blueprints", "/blueprints/custom"],
        setting: &["BLUEPRINTS_DIR"],
        files: false,
    },
];

/// Looks around and lists the sources. Reads settings and, for Redis in a container, asks docker for its address; opens nothing.
pub fn discover(options: &AuthentikOptions, stop: &Stop) -> Result<Authentik, SourceError> {
    let compose = Compose::find(options.place.as_deref())?;
    let mut remarks = Vec::new();
    let settings = Settings::read(&options.environment, &compose.folder, &mut remarks)?;
    let mut sources = vec![Source::Stream(Box::new(postgres(options, &compose, &settings)?))];
    match redis(options, &compose, &settings, stop)? {
        Some(source) => sources.push(Source::Stream(Box::new(source))),
        None => remarks.push("no Redis is configured: right for authentik 2025.10 and later, which have none".into()),
    }
    directories(&compose, &settings, &mut sources, &mut remarks)?;
    configuration(&compose, &mut sources, &mut remarks);
    for source in &mut sources {
        if let Source::Directory(directory) = source {
            directory.optional = options.is_optional(&directory.name);
            directory.excludes.extend_from_slice(&options.excludes);
        }
    }
    Ok(Authentik { sources, remarks })
}

/// The database: reached as authentik's settings say, or through its container.
fn postgres(options: &AuthentikOptions, compose: &Compose, settings: &Settings) -> Result<PostgresSource, SourceError> {
    let get = |key: &str| settings.get(&format!("POSTGRESQL__{key}"));
    let host = get("HOST")?;
    let name = get("NAME")?.or_else(|| settings.plain("PG_DB")).unwrap_or_else(|| "authentik".into());
    let user = get("USER")?.or_else(|| settings.plain("PG_USER")).unwrap_or_else(|| "authentik".into());
    let mut conninfo = ConnInfo::default();
    let mut set = |key: &str, value: &str| {
        conninfo.set(key, value).map_err(|what| SourceError::Settings(format!("authentik's setting for PostgreSQL's {key} {what}")))
    };
    set("user", &user)?;
    set("dbname", &name)?;
    let mut prefix = options.command_prefix.clone();
    if !prefix.is_empty() {
        // The user knows the way, and it ends at the database's own socket.
    } else if host.is_none() && compose.text.is_some() {
        // In the container the socket trusts its users: no password is needed, and none could be handed in unseen.
        let service = compose.service(&["postgresql", "postgres", "db"]).unwrap_or("postgresql");
        prefix = compose.run_in(service);
    } else if host.is_none() && !settings.any("POSTGRESQL__") {
        return Err(SourceError::Settings(format!(
            "nothing says where authentik's PostgreSQL is: set AUTHENTIK_POSTGRESQL__HOST (and __USER, __NAME, __PASSWORD), or name the \
             folder of its compose file ({} has none)",
            compose.folder.display()
        )));
    } else {
        set("host", host.as_deref().unwrap_or("localhost"))?;
        for (key, parameter) in
            [("PORT", "port"), ("SSLMODE", "sslmode"), ("SSLROOTCERT", "sslrootcert"), ("SSLCERT", "sslcert"), ("SSLKEY", "sslkey")]
        {
            if let Some(value) = get(key)? {
                set(parameter, &value)?;
            }
        }
        let password = get("PASSWORD")?.or_else(|| settings.plain("PG_PASS")).map(zeroize::Zeroizing::new);
        if let Some(password) = password {
            set("password", &password)?;
        }
    }
    let mut postgres = PostgresOptions::new("postgresql", "")?;
    postgres.conninfo = conninfo;
    postgres.databases = vec![name];
    postgres.command_prefix = prefix;
    postgres.environment = options.environment.clone();
    postgres.optional = options.is_optional(&postgres.name);
    PostgresSource::new(postgres)
}

/// Redis, if the deployment has one.
fn redis(
    options: &AuthentikOptions,
    compose: &Compose,
    settings: &Settings,
    stop: &Stop,
) -> Result<Option<RedisSource>, SourceError> {
    let get = |key: &str| settings.get(&format!("REDIS__{key}"));
    let host = match get("HOST")? {
        Some(host) => host,
        None => match compose.service(&["redis"]) {
            Some(service) => address_in_docker(options, compose, service, stop)?,
            None => return Ok(None),
        },
    };
    if get("TLS")?.is_some_and(|value| matches!(value.to_ascii_lowercase().as_str(), "true" | "1" | "yes" | "on")) {
        // One place explains what to do instead.
        return RedisOptions::from_url("redis", "rediss://").and_then(RedisSource::new).map(Some);
    }
    let mut redis = RedisOptions::from_url("redis", "redis://")?;
    let port = match get("PORT")? {
        Some(port) => port.parse().map_err(|_| SourceError::Settings("AUTHENTIK_REDIS__PORT is no port".into()))?,
        None => 6379,
    };
    redis.place = if host.starts_with('/') { RedisPlace::Unix(host.into()) } else { RedisPlace::Tcp { host, port } };
    redis.password = get("PASSWORD")?.filter(|password| !password.is_empty()).map(Secret::new);
    redis.user = get("USERNAME")?.filter(|user| !user.is_empty() && redis.password.is_some());
    redis.optional = options.is_optional(&redis.name);
    RedisSource::new(redis).map(Some)
}

/// The address of a compose service whose port is not published, as it is by default.
fn address_in_docker(options: &AuthentikOptions, compose: &Compose, service: &str, stop: &Stop) -> Result<String, SourceError> {
    let mut environment = options.environment.clone();
    environment.pass_for_prefix();
    let ask = |argv: Vec<String>| {
        let answer = Child::answer(&argv, &environment, stop, &Secret::default());
        let answer = answer.map_err(|error| match error {
            SourceError::Stopped => error,
            _ => SourceError::Unfit(format!(
                "the compose file has a service {service:?}, but docker does not say where it is ({error}); set AUTHENTIK_REDIS__HOST"
            )),
        })?;
        Ok(String::from_utf8_lossy(&answer).split_whitespace().next().unwrap_or_default().to_owned())
    };
    let nowhere = |text: String| match text.is_empty() {
        true => Err(SourceError::Unfit(format!(
            "the service {service:?} of the compose file is not running: no address to reach it at"
        ))),
        false => Ok(text),
    };
    let container = nowhere(ask(compose.docker(&["ps", "-q", service]))?)?;
    let address = "{{range .NetworkSettings.Networks}}{{.IPAddress}} {{end}}";
    nowhere(ask(["docker", "inspect", "--format", address, &container].map(String::from).to_vec())?)
}

/// The static folders of either layout.
fn directories(
    compose: &Compose,
    settings: &Settings,
    sources: &mut Vec<Source>,
    remarks: &mut Vec<String>,
) -> Result<(), SourceError> {
    let on_s3 = settings.any_is(&["STORAGE__BACKEND", "STORAGE__MEDIA__BACKEND"], "s3")?;
    let mut files = false;
    for folder in &FOLDERS {
        let moved = if compose.text.is_some() { None } else { settings.first(folder.setting)? };
        let candidates = moved.map(PathBuf::from).into_iter().chain(compose.mounted(folder.in_container));
        let candidates = candidates.chain(folder.on_disk.iter().map(|name| compose.folder.join(name)));
        if let Some(path) = candidates.into_iter().find(|path| path.is_dir()) {
            let found = DirectorySource::new(folder.name, path);
            // An empty folder of these is usual; empty media is a volume that is not mounted.
            sources.push(Source::Directory(DirectorySource { allow_empty: !folder.files || on_s3, ..found }));
            files |= folder.files;
        } else if let Some(volume) = compose.named_volume(folder.in_container) {
            remarks.push(format!(
                "{} is in the docker volume {volume:?}, which is not included: add --dir {}=$(docker volume inspect ...)",
                folder.name, folder.name
            ));
        } else if !folder.files && folder.name != "blueprints" {
            remarks.push(format!("no folder {} in {}: not included", folder.name, compose.folder.display()));
        }
    }
    if on_s3 {
        remarks.push("media are in S3: there is nothing local to back up, use the versioning or replication of the bucket".into());
    } else if !files {
        // Required, and missing: the run must not succeed without the files.
        sources.push(Source::Directory(DirectorySource::new("media", compose.folder.join("media"))));
    }
    Ok(())
}

/// `.env` and the compose file, without which (`AUTHENTIK_SECRET_KEY`, `PG_PASS`) a restored database is of little use.
fn configuration(compose: &Compose, sources: &mut Vec<Source>, remarks: &mut Vec<String>) {
    const FILES: [&str; 6] =
        ["/.env", "/docker-compose.yml", "/docker-compose.yaml", "/compose.yml", "/compose.yaml", "/docker-compose.override.yml"];
    let env = compose.folder.join(".env");
    match std::fs::File::open(&env) {
        Ok(_) => {
            let mut config = DirectorySource::new("config", &compose.folder);
            config.excludes = std::iter::once("/*".to_owned()).chain(FILES.map(|file| format!("!{file}"))).collect();
            sources.push(Source::Directory(config));
        }
        Err(error) => remarks.push(format!(
            "{} is not included ({error}): keep AUTHENTIK_SECRET_KEY and the database's password elsewhere, a restore needs them",
            env.display()
        )),
    }
}

/// Is this folder one of a deployment?
fn looks_like_one(folder: &Path) -> bool {
    compose::FILES.iter().chain(&[".env"]).any(|name| folder.join(name).is_file())
}

#[cfg(test)]
mod tests;
