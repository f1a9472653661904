//! authentik's PostgreSQL and Redis: reached as its settings say, or through their containers.

use super::super::postgres::{ConnInfo, PostgresOptions};
use super::super::redis::{RedisOptions, RedisPlace, RedisSource};
use super::super::{Secret, SourceError};
use super::compose::{Compose, Service};
use super::settings::{Behind, Settings};
use super::version::Version;
use super::{AuthentikOptions, Notes};
use crate::monitor::Stop;

/// Programs between authentik and its database, in whose containers there is no `pg_dump`.
const POOLERS: [&str; 4] = ["pgbouncer", "pgpool", "pgcat", "haproxy"];

/// The service of the compose file that a setting names as a host; one that this process names is reached from here.
fn service_of<'a>(name: &str, setting: &str, compose: Option<&'a Compose>, settings: &Settings<'_>) -> Option<&'a str> {
    if settings.of_process(setting).is_some() {
        return None;
    }
    let services = &compose?.model.services;
    let by_container = |(_, service): &(&String, &Service)| service.container.as_deref() == Some(name);
    let found = services.get_key_value(name).or_else(|| services.iter().find(by_container));
    found.map(|(name, _)| name.as_str())
}

/// The services whose image has one of these words in its name.
fn by_image<'a>(compose: &'a Compose, words: &[&str]) -> Vec<&'a str> {
    let last = |service: &Service| service.image_name().rsplit('/').next().unwrap_or_default().to_owned();
    let fits = |service: &Service| words.iter().any(|word| last(service).contains(word));
    compose.model.services.iter().filter(|(_, service)| fits(service)).map(|(name, _)| name.as_str()).collect()
}

/// The service that the database runs in, if it is one of the deployment's own.
fn database_service<'a>(
    host: Option<&str>,
    compose: Option<&'a Compose>,
    settings: &Settings<'_>,
) -> Result<Option<&'a str>, SourceError> {
    const HOST: &str = "AUTHENTIK_POSTGRESQL__HOST";
    let Some(found) = compose else { return Ok(None) };
    let candidates = || by_image(found, &["postgres", "pgvector", "timescale", "pgautoupgrade"]);
    let Some(host) = host else {
        let usual = ["postgresql", "postgres", "db"].into_iter().find_map(|name| found.model.services.get_key_value(name));
        let only = || Some(candidates()).filter(|names| names.len() == 1).map(|names| names[0]);
        return match usual.map(|(name, _)| name.as_str()).or_else(only) {
            Some(name) => Ok(Some(name)),
            None => Err(SourceError::Settings(format!(
                "nothing says where authentik's PostgreSQL is: its services have no {HOST}, and the compose files have no service for it"
            ))),
        };
    };
    let Some(service) = service_of(host, HOST, compose, settings) else { return Ok(None) };
    let image = found.model.services[service].image_name();
    if !POOLERS.iter().any(|pooler| image.contains(pooler)) {
        return Ok(Some(service));
    }
    match candidates()[..] {
        [name] => Ok(Some(name)),
        _ => Err(SourceError::Settings(format!(
            "authentik reaches its database through {service:?}, which is no PostgreSQL: say how pg_dump is run beside the database \
             (command-prefix of [source.authentik])"
        ))),
    }
}

/// The database.
pub(super) fn postgres(
    options: &AuthentikOptions,
    compose: Option<&Compose>,
    settings: &Settings<'_>,
    stop: &Stop,
) -> Result<PostgresOptions, SourceError> {
    let get = |key: &str| settings.get(&format!("POSTGRESQL__{key}"));
    let host = get("HOST")?;
    let service = if options.command_prefix.is_empty() { database_service(host.as_deref(), compose, settings)? } else { None };
    let of_service = |name: &str| Some(compose?.model.services.get(service?)?.variable(name)?.to_owned());
    let name = get("NAME")?.or_else(|| of_service("POSTGRES_DB")).or_else(|| settings.plain("PG_DB"));
    let user = get("USER")?.or_else(|| of_service("POSTGRES_USER")).or_else(|| settings.plain("PG_USER"));
    let name = name.unwrap_or_else(|| "authentik".into());
    let mut conninfo = ConnInfo::default();
    let mut set = |key: &str, value: &str| {
        conninfo.set(key, value).map_err(|what| SourceError::Settings(format!("authentik's setting for PostgreSQL's {key} {what}")))
    };
    set("user", &user.unwrap_or_else(|| "authentik".into()))?;
    set("dbname", &name)?;
    let mut postgres = PostgresOptions::new("postgresql", "")?;
    postgres.environment = options.environment.clone();
    postgres.command_prefix = options.command_prefix.clone();
    if !postgres.command_prefix.is_empty() {
        // The user knows the way, and it ends at the database's own socket.
    } else if let (Some(service), Some(compose)) = (service, compose) {
        // In the container the socket trusts its users: no password is needed, and none could be handed in unseen.
        postgres.command_prefix = compose.run_in(service, stop)?;
        postgres.environment = compose.client.environment().clone();
    } else if host.is_none() && !settings.any("POSTGRESQL__") {
        return Err(SourceError::Settings(
            "nothing says where authentik's PostgreSQL is: set AUTHENTIK_POSTGRESQL__HOST (and __USER, __NAME, __PASSWORD), or name the \
             folder of its compose file (--preset-dir, or `directory` in [source.authentik])"
                .into(),
        ));
    } else {
        set("host", host.as_deref().unwrap_or("localhost"))?;
        for (key, parameter) in [("PORT", "port"), ("SSLMODE", "sslmode")] {
            if let Some(value) = get(key)? {
                set(parameter, &value)?;
            }
        }
        for (key, parameter) in [("SSLROOTCERT", "sslrootcert"), ("SSLCERT", "sslcert"), ("SSLKEY", "sslkey")] {
            if let Some(value) = get(key)? {
                set(parameter, &file_here(key, &value, settings)?)?;
            }
        }
        let password = get("PASSWORD")?.or_else(|| settings.plain("PG_PASS")).map(zeroize::Zeroizing::new);
        if let Some(password) = password {
            set("password", &password)?;
        }
    }
    postgres.conninfo = conninfo;
    postgres.databases = vec![name];
    postgres.optional = options.is_optional(&postgres.name);
    Ok(postgres)
}

/// A file that authentik's settings name, as a file of this host.
fn file_here(key: &str, path: &str, settings: &Settings<'_>) -> Result<String, SourceError> {
    let name = format!("AUTHENTIK_POSTGRESQL__{key}");
    if settings.of_process(&name).is_some() {
        return Ok(path.to_owned());
    }
    match settings.behind(path) {
        Behind::Path(path) => Ok(path.to_string_lossy().into_owned()),
        _ => Err(SourceError::Settings(format!("{name} is {path}, a file inside the container: set {name} for esker too"))),
    }
}

/// Redis, if the deployment has one.
pub(super) fn redis(
    options: &AuthentikOptions,
    compose: Option<&Compose>,
    settings: &Settings<'_>,
    version: Option<Version>,
    notes: &mut Notes,
    stop: &Stop,
) -> Result<Option<RedisSource>, SourceError> {
    const HOST: &str = "AUTHENTIK_REDIS__HOST";
    let get = |key: &str| settings.get(&format!("REDIS__{key}"));
    // From then on a Redis that is still there is not authentik's, unless this process says so.
    if version.is_some_and(|version| version >= Version::WITHOUT_REDIS) && settings.of_process(HOST).is_none() {
        return Ok(None);
    }
    let service = |compose: &Compose| -> Option<String> {
        let usual = compose.model.services.get_key_value("redis").map(|(name, _)| name.as_str());
        let only = || Some(by_image(compose, &["redis", "valkey"])).filter(|names| names.len() == 1).map(|names| names[0]);
        usual.or_else(only).map(str::to_owned)
    };
    let host = match (get("HOST")?, compose) {
        (Some(host), _) => match (service_of(&host, HOST, compose, settings), compose) {
            (Some(service), Some(compose)) => compose.address(service, stop)?,
            _ => host,
        },
        (None, Some(compose)) => match service(compose) {
            Some(service) => compose.address(&service, stop)?,
            None => return Ok(without_redis(version, notes)),
        },
        (None, None) => return Ok(without_redis(version, notes)),
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

/// Before 2025.10 authentik cannot run without one: then it is somewhere that nothing here names.
fn without_redis(version: Option<Version>, notes: &mut Notes) -> Option<RedisSource> {
    if let Some(version) = version.filter(|version| *version < Version::WITHOUT_REDIS) {
        notes
            .warnings
            .push(format!("authentik {version} uses Redis, and nothing says where it is (AUTHENTIK_REDIS__HOST): not included"));
    }
    None
}
