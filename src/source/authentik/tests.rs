//! The preset over small deployments made here.

use super::super::SourceKind;
use super::*;

const COMPOSE: &str = "services:\n  postgresql:\n    image: postgres\n    volumes:\n      - database:/var/lib/postgresql/data\n  redis:\n    \
    volumes:\n      - redis:/data\n  server:\n    volumes:\n      - ./media:/media\n      - \"./my-templates:/templates:ro\"\n  worker:\n    \
    volumes:\n      - ./certs:/certs\nvolumes:\n  database:\n  redis:\n";

struct Deployment(tempfile::TempDir);

impl Deployment {
    fn new(folders: &[&str], files: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in folders {
            std::fs::create_dir_all(folder.path().join(name)).unwrap();
            std::fs::write(folder.path().join(name).join("file"), "x").unwrap();
        }
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).unwrap();
        }
        Self(folder)
    }

    fn discover(&self, environment: &[(&str, &str)]) -> Result<Authentik, SourceError> {
        let environment = Environment::from_pairs(environment.iter().copied());
        discover(&AuthentikOptions { environment, ..AuthentikOptions::new(Some(self.0.path().to_owned())) }, &Stop::new())
    }
}

const REACHED: [(&str, &str); 3] =
    [("AUTHENTIK_POSTGRESQL__HOST", "db"), ("AUTHENTIK_POSTGRESQL__PASSWORD", "hunter2"), ("AUTHENTIK_REDIS__HOST", "cache")];

fn names(found: &Authentik) -> Vec<&str> {
    found.sources.iter().map(Source::name).collect()
}

#[test]
fn the_old_layout_is_found_in_the_order_to_read_it() {
    let deployment = Deployment::new(&["media", "certs", "custom-templates", "blueprints"], &[(".env", "PG_PASS=x\n")]);
    let found = deployment.discover(&REACHED).unwrap();
    assert_eq!(names(&found), ["postgresql", "redis", "media", "certs", "custom-templates", "blueprints", "config"]);
    assert!(found.remarks.is_empty(), "{:?}", found.remarks);
    assert!(super::super::check_sources(&found.sources).is_ok());
}

#[test]
fn the_new_layout_has_data_and_no_redis() {
    let deployment = Deployment::new(&["data", "certs", "templates"], &[]);
    let found = deployment.discover(&REACHED[..2]).unwrap();
    assert_eq!(names(&found), ["postgresql", "data", "certs", "custom-templates"]);
    assert!(found.remarks.iter().any(|remark| remark.contains("no Redis is configured")));
    assert!(found.remarks.iter().any(|remark| remark.contains("AUTHENTIK_SECRET_KEY")), "{:?}", found.remarks);
}

#[test]
fn a_compose_file_says_which_folders_are_mounted() {
    let deployment = Deployment::new(&["media", "certs", "my-templates"], &[("docker-compose.yml", COMPOSE), (".env", "")]);
    let found = deployment.discover(&REACHED).unwrap();
    assert_eq!(names(&found), ["postgresql", "redis", "media", "certs", "custom-templates", "config"]);
    let Source::Directory(templates) = &found.sources[4] else { panic!("not a folder") };
    assert!(templates.path.ends_with("my-templates"));
}

#[test]
fn without_a_host_the_database_is_reached_through_its_container() {
    let file = COMPOSE.replace("  redis:\n    volumes:\n      - redis:/data\n", "");
    let deployment = Deployment::new(&["media"], &[("compose.yml", &file), (".env", "PG_PASS=hunter2\nPG_USER=u\nPG_DB=d\n")]);
    let place = Some(deployment.0.path().join("compose.yml"));
    let mut options = AuthentikOptions { environment: Environment::default(), ..AuthentikOptions::new(place) };
    let compose = Compose::find(options.place.as_deref()).unwrap();
    let settings = Settings::read(&options.environment, &compose.folder, &mut Vec::new()).unwrap();
    let source = postgres(&options, &compose, &settings).unwrap();
    let argv = source.arguments_for_tests();
    assert_eq!(argv[..2], ["docker", "compose"]);
    assert_eq!(argv[4..7], ["exec", "-T", "postgresql"]);
    assert_eq!(argv.last().unwrap(), "--dbname=user='u' dbname='d'");
    assert!(argv.iter().all(|argument| !argument.contains("hunter2")));
    assert!(redis(&options, &compose, &settings, &Stop::new()).unwrap().is_none());

    options.command_prefix = ["docker", "exec", "-i", "db"].map(String::from).to_vec();
    let argv = postgres(&options, &compose, &settings).unwrap().arguments_for_tests();
    assert_eq!(argv[..5], ["docker", "exec", "-i", "db", "pg_dump"]);
}

#[test]
fn sources_may_be_made_optional_and_folders_filtered() {
    let deployment = Deployment::new(&["media"], &[(".env", "")]);
    let mut options = AuthentikOptions::new(Some(deployment.0.path().to_owned()));
    options.environment = Environment::from_pairs(REACHED);
    (options.optional, options.excludes) = (vec!["redis".into(), "config".into()], vec!["*.tmp".into()]);
    let found = discover(&options, &Stop::new()).unwrap();
    let optional: Vec<_> = found.sources.iter().filter(|source| source.optional()).map(Source::name).collect();
    assert_eq!(optional, ["redis", "config"]);
    let Source::Directory(config) = &found.sources[3] else { panic!("not a folder") };
    assert_eq!(config.excludes.first().unwrap(), "/*");
    assert_eq!(config.excludes.last().unwrap(), "*.tmp");
}

#[test]
fn a_deployment_without_its_files_fails_instead_of_succeeding_without_them() {
    let deployment = Deployment::new(&["certs"], &[]);
    let found = deployment.discover(&REACHED).unwrap();
    let media = found.sources.iter().find(|source| source.name() == "media").unwrap();
    let Source::Directory(media) = media else { panic!("not a folder") };
    assert!(!media.optional && media.check().is_err());
}

#[test]
fn media_in_s3_are_said_to_be_missing() {
    let deployment = Deployment::new(&["certs"], &[(".env", "AUTHENTIK_STORAGE__MEDIA__BACKEND=s3\n")]);
    let found = deployment.discover(&REACHED).unwrap();
    assert!(found.sources.iter().all(|source| source.name() != "media"));
    assert!(found.remarks.iter().any(|remark| remark.contains("S3")));
}

#[test]
fn nothing_to_go_by_is_a_clear_mistake() {
    let error = Deployment::new(&["media"], &[]).discover(&[]).unwrap_err();
    assert!(error.to_string().contains("AUTHENTIK_POSTGRESQL__HOST"), "{error}");
    let error =
        Deployment::new(&["media"], &[]).discover(&[REACHED[0], ("AUTHENTIK_REDIS__HOST", "r"), ("AUTHENTIK_REDIS__TLS", "true")]);
    assert!(error.unwrap_err().to_string().contains("TLS"));
}

#[test]
fn the_kinds_are_those_of_the_sources() {
    let deployment = Deployment::new(&["media"], &[]);
    let found = deployment.discover(&REACHED).unwrap();
    let kinds: Vec<_> = found.sources.iter().map(Source::kind).collect();
    assert_eq!(kinds, [SourceKind::Postgres, SourceKind::Redis, SourceKind::Directory]);
}
