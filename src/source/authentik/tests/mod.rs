//! The preset over small deployments made here. There is no docker in their `PATH` unless a test puts one there.

mod layouts;

use std::os::unix::fs::PermissionsExt;

use super::super::{DirectorySource, SourceKind, check_sources};
use super::*;

struct Deployment(tempfile::TempDir);

impl Deployment {
    /// Folders with a file in each, and files.
    fn new(folders: &[&str], files: &[(&str, &str)]) -> Self {
        let deployment = Self(tempfile::tempdir().unwrap());
        for name in folders {
            deployment.write(&format!("{name}/file"), "x");
        }
        for (name, text) in files {
            deployment.write(name, text);
        }
        deployment
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.0.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }

    /// A program of this name in the `PATH` of [`Deployment::with_programs`].
    fn program(&self, name: &str, script: &str) {
        self.write(&format!("bin/{name}"), &format!("#!/bin/sh\n{script}"));
        std::fs::set_permissions(self.0.path().join("bin").join(name), std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn options(&self, environment: &[(&str, &str)]) -> AuthentikOptions {
        let path = format!("{}:/usr/bin:/bin", self.0.path().join("bin").display());
        let mut pairs = vec![("PATH", path.as_str())];
        pairs.extend(environment);
        let environment = Environment::from_pairs(pairs);
        AuthentikOptions { environment, ..AuthentikOptions::new(Some(self.0.path().to_owned())) }
    }

    fn discover(&self, environment: &[(&str, &str)]) -> Result<Authentik, SourceError> {
        discover(&self.options(environment), &Stop::new())
    }

    /// The error of a deployment that is refused, with paths shortened.
    fn refused(&self, environment: &[(&str, &str)]) -> String {
        let error = self.discover(environment).unwrap_err().to_string();
        error.replace(&*self.0.path().canonicalize().unwrap().to_string_lossy(), "")
    }

    /// The arguments that would dump the database.
    fn dump(&self, options: &AuthentikOptions) -> Vec<String> {
        let stop = Stop::new();
        let project = Project::find(options.place.as_deref(), &options.environment).unwrap();
        let compose = Compose::read(&project, &options.environment, &stop).unwrap();
        let settings = Settings::new(&project, compose.as_ref()).unwrap();
        PostgresSource::new(servers::postgres(options, compose.as_ref(), &settings, &stop).unwrap()).unwrap().arguments_for_tests()
    }
}

const REACHED: [(&str, &str); 3] =
    [("AUTHENTIK_POSTGRESQL__HOST", "db"), ("AUTHENTIK_POSTGRESQL__PASSWORD", "hunter2"), ("AUTHENTIK_REDIS__HOST", "cache")];

/// A deployment that is not by compose has these.
const DATABASE: &str =
    "services:\n  postgresql:\n    image: postgres:16\n  server:\n    image: ghcr.io/goauthentik/server:2025.12.1\n";

fn names(found: &Authentik) -> Vec<&str> {
    found.sources.iter().map(Source::name).collect()
}

fn folder<'a>(found: &'a Authentik, name: &str) -> &'a DirectorySource {
    let directories = found.sources.iter().filter_map(|source| match source {
        Source::Directory(directory) => Some(directory),
        Source::Stream(_) => None,
    });
    directories.into_iter().find(|directory| directory.name == name).unwrap_or_else(|| panic!("no {name}: {found:?}"))
}

/// Which files a source of settings takes.
fn kept(source: &DirectorySource) -> Vec<String> {
    source.named.iter().flatten().map(|file| file.to_string_lossy().into_owned()).collect()
}

/// What a restore will lack.
fn warnings(found: &Authentik) -> Vec<String> {
    let of = |source: &Source| match source {
        Source::Directory(directory) => directory.warnings.clone(),
        Source::Stream(_) => Vec::new(),
    };
    found.sources.iter().flat_map(of).collect()
}

#[test]
fn the_old_layout_is_found_in_the_order_to_read_it() {
    let deployment = Deployment::new(&["media", "certs", "custom-templates", "blueprints"], &[(".env", "PG_PASS=x\n")]);
    let found = deployment.discover(&REACHED).unwrap();
    assert_eq!(names(&found), ["postgresql", "redis", "media", "certs", "custom-templates", "blueprints", "config"]);
    assert!(warnings(&found).is_empty(), "{found:?}");
    assert!(check_sources(&found.sources).is_ok());
    let kinds: Vec<_> = found.sources.iter().map(Source::kind).take(3).collect();
    assert_eq!(kinds, [SourceKind::Postgres, SourceKind::Redis, SourceKind::Directory]);
}

#[test]
fn the_new_layout_has_data_and_no_redis_and_nothing_is_said_of_either() {
    let deployment = Deployment::new(&["data", "certs", "templates"], &[(".env", "AUTHENTIK_TAG=2025.12.1\n")]);
    let found = deployment.discover(&REACHED[..2]).unwrap();
    assert_eq!(names(&found), ["postgresql", "data", "certs", "custom-templates", "config"]);
    assert!(warnings(&found).is_empty() && found.remarks.is_empty(), "{found:?}");
}

#[test]
fn an_old_authentik_whose_redis_is_named_nowhere_is_warned_of() {
    let deployment = Deployment::new(&["media"], &[(".env", "AUTHENTIK_TAG=2025.4.1\n")]);
    let found = deployment.discover(&REACHED[..2]).unwrap();
    assert!(warnings(&found).iter().any(|warning| warning.contains("uses Redis")), "{found:?}");
}

#[test]
fn settings_that_no_file_holds_are_warned_of() {
    let deployment = Deployment::new(&["data"], &[]);
    let mut options = deployment.options(&REACHED[..2]);
    options.keep = vec![deployment.0.path().join("data/file")];
    let found = discover(&options, &Stop::new()).unwrap();
    assert!(warnings(&found)[0].contains("AUTHENTIK_SECRET_KEY"), "{found:?}");
}

#[test]
fn without_a_host_the_database_is_reached_through_its_container() {
    let deployment = Deployment::new(&["data"], &[("compose.yml", DATABASE), (".env", "PG_PASS=hunter2\nPG_USER=u\nPG_DB=d\n")]);
    let mut options = deployment.options(&[]);
    options.place = Some(deployment.0.path().join("compose.yml"));
    let argv = deployment.dump(&options);
    assert_eq!(argv[..3], ["docker", "compose", "--file"]);
    assert_eq!(argv[4..7], ["exec", "-T", "postgresql"]);
    assert_eq!(argv.last().unwrap(), "--dbname=user='u' dbname='d'");
    assert!(argv.iter().all(|argument| !argument.contains("hunter2")));

    options.command_prefix = ["docker", "exec", "-i", "db"].map(String::from).to_vec();
    assert_eq!(deployment.dump(&options)[..5], ["docker", "exec", "-i", "db", "pg_dump"]);
}

#[test]
fn a_host_of_authentiks_services_is_its_container_or_a_server_elsewhere() {
    let environment = |host: &str| {
        format!(
            "services:\n  database:\n    image: postgres:16\n    container_name: ak-db\n  server:\n    image: goauthentik/server:2025.12\n    \
             environment:\n      - AUTHENTIK_POSTGRESQL__HOST={host}\n      - AUTHENTIK_POSTGRESQL__USER=ak\n      \
             - AUTHENTIK_POSTGRESQL__PASSWORD=file:///run/secrets/pg\n    secrets: [{{source: password, target: pg}}]\n\
             secrets:\n  password:\n    file: pg.txt\n"
        )
    };
    for (host, wanted) in [("database", Some("database")), ("ak-db", Some("database")), ("db.example.com", None)] {
        let deployment = Deployment::new(&["data"], &[("compose.yml", &environment(host)), ("pg.txt", "s3cret\n")]);
        let argv = deployment.dump(&deployment.options(&[]));
        let service = argv.iter().position(|word| word == "-T").map(|at| argv[at + 1].as_str());
        assert_eq!(service, wanted, "{argv:?}");
        assert_eq!(argv.last().unwrap().contains("host='db.example.com'"), wanted.is_none());
        assert!(argv.last().unwrap().contains("user='ak'"));
    }
}

#[test]
fn without_compose_the_container_goes_by_its_name() {
    let files = [("compose.yml", DATABASE), (".env", "COMPOSE_PROJECT_NAME=Sign.On\n")];
    let deployment = Deployment::new(&["data"], &files);
    deployment.program("docker", "[ \"$6\" = signon-postgresql-1 ] && echo 0123456789abcdef || exit 1\n");
    let argv = deployment.dump(&deployment.options(&[]));
    assert_eq!(argv[..5], ["docker", "exec", "-i", "signon-postgresql-1", "pg_dump"]);
}

#[test]
fn podman_is_asked_where_there_is_no_docker() {
    let deployment = Deployment::new(&["data"], &[("compose.yml", DATABASE)]);
    deployment.program("podman", "[ \"$2\" = version ] || exit 1\n");
    // The search for docker must not leave this folder.
    let mut options = deployment.options(&[]);
    options.environment = Environment::from_pairs([("PATH", deployment.0.path().join("bin"))]);
    let argv = deployment.dump(&options);
    assert_eq!(argv[..3], ["podman", "compose", "--file"]);
}

#[test]
fn docker_compose_says_what_its_files_mean_where_it_is_there() {
    let deployment =
        Deployment::new(&["real", "media"], &[("compose.yml", &format!("{DATABASE}    env_file: [a.env]\n")), ("a.env", "A=1\n")]);
    let answer = serde_json::json!({
        "name": "signon",
        "services": {
            "postgresql": { "image": "postgres:16" },
            "server": {
                "image": "ghcr.io/goauthentik/server:2024.8",
                "environment": { "AUTHENTIK_POSTGRESQL__NAME": "a$$b", "AUTHENTIK_POSTGRESQL__USER": null },
                "volumes": [{ "type": "bind", "source": deployment.0.path().join("real"), "target": "/media", "bind": {} }],
            },
        },
    });
    deployment.write("answer.json", &answer.to_string());
    let answer = deployment.0.path().join("answer.json");
    deployment
        .program("docker", &format!("case \"$*\" in *'config --format json') cat {} ;; *) exit 1 ;; esac\n", answer.display()));
    let found = deployment.discover(&REACHED).unwrap();
    assert!(folder(&found, "media").path.ends_with("real"));
    assert_eq!(kept(folder(&found, "config")), ["a.env", "compose.yml"]);
    assert!(deployment.dump(&deployment.options(&[])).last().unwrap().contains("dbname='a$b'"));
}

#[test]
fn compose_sees_the_variables_that_its_files_mention_and_no_secret_of_ours() {
    let deployment =
        Deployment::new(&["data"], &[("compose.yml", &format!("{DATABASE}    labels: [\"${{MINE}} $ESKER_PASSWORD\"]\n"))]);
    deployment.program("docker", &format!("env > {}\nexit 1\n", deployment.0.path().join("seen").display()));
    deployment.discover(&[REACHED[0], ("MINE", "m"), ("OTHER", "o"), ("ESKER_PASSWORD", "s")]).unwrap();
    let seen = std::fs::read_to_string(deployment.0.path().join("seen")).unwrap();
    assert!(seen.contains("MINE=m") && !seen.contains("OTHER") && !seen.contains("ESKER"), "{seen}");
}

#[test]
fn docker_that_is_down_is_said_to_be_down() {
    let files = [("compose.yml", &*format!("{}  redis:\n    image: redis\n", DATABASE.replace("2025.12.1", "2024.8")))];
    let deployment = Deployment::new(&[], &files);
    deployment.program("docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1\n");
    let error = deployment.refused(&[]);
    assert!(error.contains("Cannot connect to the Docker daemon") && error.contains("Is docker running"), "{error}");
    assert!(!error.contains("AUTHENTIK_REDIS__HOST"), "{error}");
}

#[test]
fn a_volume_that_cannot_be_read_is_an_error_with_the_ways_to_reach_it() {
    let file = format!("{DATABASE}    volumes:\n      - files:/data\nvolumes:\n  files:\n");
    let deployment = Deployment::new(&[], &[("compose.yml", &file), (".env", "COMPOSE_PROJECT_NAME=ak\n")]);
    let error = deployment.refused(&[]);
    for words in
        ["data is in the docker volume \"ak_files\"", "/var/lib/docker/volumes/ak_files/_data", "as root", "folders = { data"]
    {
        assert!(error.contains(words), "{words}: {error}");
    }
    // Any of the ways that it names works.
    let mut options = deployment.options(&[]);
    options.folders.insert("data".into(), deployment.0.path().to_owned());
    let found = discover(&options, &Stop::new()).unwrap();
    assert_eq!(names(&found), ["postgresql", "data", "config"]);
    deployment.write("volumes/_data/file", "x");
    let place = deployment.0.path().join("volumes/_data");
    deployment.program(
        "docker",
        &format!("[ \"$1 $2 $5\" = 'volume inspect ak_files' ] && echo {} || [ \"$2\" = version ]\n", place.display()),
    );
    let found = deployment.discover(&[]).unwrap();
    assert_eq!(folder(&found, "data").path, place);
}

#[test]
fn sources_may_be_made_optional_and_folders_filtered() {
    let deployment = Deployment::new(&["media"], &[(".env", "")]);
    let mut options = deployment.options(&REACHED);
    (options.optional, options.excludes) = (vec!["redis".into(), "config".into()], vec!["*.tmp".into()]);
    let found = discover(&options, &Stop::new()).unwrap();
    let optional: Vec<_> = found.sources.iter().filter(|source| source.optional()).map(Source::name).collect();
    assert_eq!(optional, ["redis", "config"]);
    assert_eq!(folder(&found, "config").excludes, ["*.tmp"]);
}

#[test]
fn a_deployment_without_its_files_fails_instead_of_succeeding_without_them() {
    let found = Deployment::new(&["certs"], &[]).discover(&REACHED).unwrap();
    let media = folder(&found, "media");
    assert!(!media.optional && media.check().is_err());
    // With a tag of the new layout it is the new folder that is missing.
    let found = Deployment::new(&["certs"], &[(".env", "AUTHENTIK_TAG=2026.2.0\n")]).discover(&REACHED[..2]).unwrap();
    assert!(folder(&found, "data").check().is_err());
    assert!(!names(&found).contains(&"media"));
}

#[test]
fn empty_media_are_normal_beside_filled_data_and_a_fault_alone() {
    let deployment = Deployment::new(&["data"], &[(".env", "")]);
    std::fs::create_dir(deployment.0.path().join("media")).unwrap();
    let found = deployment.discover(&REACHED[..2]).unwrap();
    assert!(folder(&found, "media").check().is_ok());
    std::fs::remove_file(deployment.0.path().join("data/file")).unwrap();
    let found = deployment.discover(&REACHED[..2]).unwrap();
    assert!(folder(&found, "media").check().is_err());
    let mut options = deployment.options(&REACHED[..2]);
    options.allow_empty = true;
    let found = discover(&options, &Stop::new()).unwrap();
    assert!(folder(&found, "media").check().is_ok());
}

#[test]
fn media_in_s3_are_said_to_be_missing() {
    let deployment = Deployment::new(&["certs"], &[(".env", "AUTHENTIK_STORAGE__MEDIA__BACKEND=s3\n")]);
    let found = deployment.discover(&REACHED).unwrap();
    assert!(found.sources.iter().all(|source| source.name() != "media"));
    assert!(warnings(&found).iter().any(|warning| warning.contains("S3")));
}

#[test]
fn nothing_to_go_by_is_a_clear_mistake() {
    let error = Deployment::new(&["media"], &[]).discover(&[]).unwrap_err();
    assert!(error.to_string().contains("AUTHENTIK_POSTGRESQL__HOST"), "{error}");
    let error = Deployment::new(&["media"], &[]).discover(&[REACHED[0], REACHED[2], ("AUTHENTIK_REDIS__TLS", "true")]);
    assert!(error.unwrap_err().to_string().contains("TLS"));
}

#[test]
fn values_may_point_to_a_variable_or_a_file() {
    let deployment =
        Deployment::new(&[], &[("secret", "from file\n"), (".env", "AUTHENTIK_F=of the file\nAUTHENTIK_A=of the file\n")]);
    let at = |rest: &str| format!("file://{}/{rest}", deployment.0.path().display());
    let process = Environment::from_pairs([
        ("AUTHENTIK_A", "plain?x".to_owned()),
        ("AUTHENTIK_B", "env://OTHER".into()),
        ("AUTHENTIK_C", "env://MISSING?fall back".into()),
        ("AUTHENTIK_D", at("secret")),
        ("AUTHENTIK_E", at("missing?else")),
        ("AUTHENTIK_G", at("missing")),
        ("OTHER", "from variable".into()),
    ]);
    let project = Project::find(Some(deployment.0.path()), &process).unwrap();
    let settings = Settings::new(&project, None).unwrap();
    let get = |key: &str| settings.get(key).unwrap().unwrap();
    let values = ["A", "B", "C", "D", "E", "F"].map(get);
    assert_eq!(values, ["plain?x", "from variable", "fall back", "from file", "else", "of the file"]);
    assert!(settings.get("G").unwrap_err().to_string().contains("AUTHENTIK_G points to"));
    assert!(settings.get("H").unwrap().is_none());
}

#[test]
fn the_source_of_the_database_is_the_one_authentik_names() {
    let deployment = Deployment::new(&["data"], &[]);
    let found = deployment.discover(&REACHED[..2]).unwrap();
    let Source::Stream(stream) = &found.sources[0] else { panic!("no stream") };
    let stream: &dyn StreamSource = &**stream;
    assert_eq!((stream.name(), stream.optional()), ("postgresql", false));
}
