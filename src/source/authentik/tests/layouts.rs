//! Compose files as they are found in the field, and what is taken for each.

use super::*;

/// The compose file of authentik's documentation, until 2025.8.
const WITH_REDIS: &str = include_str!("compose.yml");

const ENV: &str = "PG_PASS=x\nAUTHENTIK_SECRET_KEY=y\n";
/// Where the stub of docker says that a container is.
const DOCKER: &str = "case \"$*\" in *'ps -q'*) echo 0123456789ab ;; inspect*) echo 127.0.0.9 ;; *version) ;; *) exit 1 ;; esac\n";

/// The compose file of authentik's documentation, from 2025.12.
fn without_redis() -> String {
    let start = WITH_REDIS.find("  redis:\n").unwrap();
    let end = WITH_REDIS.find("  server:\n").unwrap();
    let text = format!("{}{}", &WITH_REDIS[..start], &WITH_REDIS[end..]);
    let text = text.replace("      AUTHENTIK_REDIS__HOST: redis\n", "").replace("./media:/media", "./data:/data");
    text.replace("  redis:\n    driver: local\n", "").replace("2024.12.3", "2026.2.0")
}

/// `server`, with these lines below it, and a database.
fn server(lines: &str) -> String {
    format!("services:\n  postgresql:\n    image: postgres:16\n  server:\n    image: ghcr.io/goauthentik/server\n{lines}")
}

/// What is taken: names and folders of directory sources, and the files of `config`.
fn taken(deployment: &Deployment, environment: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
    let found = deployment.discover(environment).unwrap_or_else(|error| panic!("{error}"));
    let root = deployment.0.path().canonicalize().unwrap();
    let mut folders = Vec::new();
    for source in &found.sources {
        match source {
            Source::Directory(directory) if directory.name.starts_with("config") => {}
            Source::Directory(directory) => {
                let path = directory.path.strip_prefix(&root).unwrap_or(&directory.path);
                folders.push(format!("{}={}", directory.name, path.display()));
            }
            Source::Stream(stream) => folders.push(stream.name().to_owned()),
        }
    }
    (folders, kept(folder(&found, "config")))
}

struct Layout {
    what: &'static str,
    folders: &'static [&'static str],
    files: Vec<(&'static str, String)>,
    environment: &'static [(&'static str, &'static str)],
    taken: &'static [&'static str],
    kept: &'static [&'static str],
}

fn check(layouts: Vec<Layout>) {
    for layout in layouts {
        let files: Vec<_> = layout.files.iter().map(|(name, text)| (*name, text.as_str())).collect();
        let deployment = Deployment::new(layout.folders, &files);
        deployment.program("docker", DOCKER);
        let (taken, kept) = taken(&deployment, layout.environment);
        assert_eq!(taken, layout.taken, "{}", layout.what);
        assert_eq!(kept, layout.kept, "{}", layout.what);
    }
}

#[test]
fn the_official_files_are_read() {
    let env = || (".env", ENV.to_owned());
    check(vec![
        Layout {
            what: "2024.12",
            folders: &["media", "certs", "custom-templates"],
            files: vec![("docker-compose.yml", WITH_REDIS.into()), env()],
            environment: &[],
            taken: &["postgresql", "redis", "media=media", "certs=certs", "custom-templates=custom-templates"],
            kept: &[".env", "docker-compose.yml"],
        },
        Layout {
            what: "an upgrade by the tag alone: its Redis is no longer authentik's",
            folders: &["media", "certs"],
            files: vec![("docker-compose.yml", WITH_REDIS.into()), (".env", format!("{ENV}AUTHENTIK_TAG=2025.10.2\n"))],
            environment: &[],
            taken: &["postgresql", "media=media", "certs=certs"],
            kept: &[".env", "docker-compose.yml"],
        },
        Layout {
            what: "2026.2",
            folders: &["data", "media"],
            files: vec![("compose.yml", without_redis()), env()],
            environment: &[],
            taken: &["postgresql", "data=data"],
            kept: &[".env", "compose.yml"],
        },
        Layout {
            what: "a file of one's own for one's own image",
            folders: &["data"],
            files: vec![("compose.yml", without_redis()), (".env", format!("{ENV}AUTHENTIK_IMAGE=registry.local/sso\n"))],
            environment: &[],
            taken: &["postgresql", "data=data"],
            kept: &[".env", "compose.yml"],
        },
    ]);
}

#[test]
fn forms_of_compose_files_are_understood() {
    let text = String::from;
    check(vec![
        Layout {
            what: "other services mount the same places",
            folders: &["films", "proxy", "media", "certs"],
            files: vec![(
                "compose.yaml",
                server(
                    "    volumes: ['./media:/media/:rw,z', \"./certs:/certs\"] # ours\n  player:\n    image: jellyfin\n    volumes: [./films:/media]\n  \
                        proxy:\n    image: traefik\n    volumes: [./proxy:/certs]\n",
                ),
            )],
            environment: &[],
            taken: &["postgresql", "media=media", "certs=certs"],
            kept: &["compose.yaml"],
        },
        Layout {
            what: "variables with defaults, of .env and of this process",
            folders: &["up/media", "media", "c", "t"],
            files: vec![
                (
                    "compose.yml",
                    server("    volumes:\n      - ${BASE:-.}/media:/media\n      - ${C:-./${D}}:/certs\n      - $T:/templates\n"),
                ),
                (".env", text("UP=./up\nBASE=${UP}\nD=c\nT=/nowhere\n")),
            ],
            environment: &[("T", "./t")],
            taken: &["postgresql", "media=up/media", "certs=c", "custom-templates=t"],
            kept: &[".env", "compose.yml"],
        },
        Layout {
            what: "anchors, merge keys and block scalars",
            folders: &["d", "c"],
            files: vec![(
                "compose.yml",
                text(
                    "x-authentik: &authentik\n  image: goauthentik/server:2025.12\n  volumes: &mounts\n    - ./d:/data\n    - ./c:/certs\n  \
                     environment: &env\n    AUTHENTIK_LOG_LEVEL: >-\n      info\nservices:\n  db:\n    image: postgres\n  a:\n    \
                     <<: *authentik\n    command: server\n  b:\n    <<: [*authentik]\n    volumes: *mounts\n",
                ),
            )],
            environment: &[],
            taken: &["postgresql", "data=d", "certs=c"],
            kept: &["compose.yml"],
        },
        Layout {
            what: "an override by its name",
            folders: &["real", "media"],
            files: vec![
                ("docker-compose.yml", server("    volumes: [./media:/media]\n")),
                ("docker-compose.override.yml", text("services:\n  server:\n    volumes:\n      - ./real:/media\n")),
            ],
            environment: &[],
            taken: &["postgresql", "media=real"],
            kept: &["docker-compose.override.yml", "docker-compose.yml"],
        },
        Layout {
            what: "tags of overrides",
            folders: &["real", "media", "certs"],
            files: vec![
                ("compose.yml", server("    volumes: [./media:/media, ./certs:/certs]\n    env_file: gone.env\n")),
                (
                    "compose.override.yaml",
                    text("services:\n  server:\n    volumes: !override [./real:/data]\n    env_file: !reset null\n"),
                ),
            ],
            environment: &[],
            taken: &["postgresql", "data=real"],
            kept: &["compose.override.yaml", "compose.yml"],
        },
        Layout {
            what: "COMPOSE_FILE of .env with a separator of its own",
            folders: &["real", "media"],
            files: vec![
                ("compose.yml", text("services: {other: {image: x}}\n")),
                ("a/one.yml", server("    volumes: [../media:/media]\n")),
                ("two.yml", text("services: {server: {volumes: [../real:/media]}}\n")),
                (".env", text("COMPOSE_FILE=a/one.yml;two.yml\nCOMPOSE_PATH_SEPARATOR=;\n")),
            ],
            environment: &[],
            taken: &["postgresql", "media=real"],
            kept: &[".env", "a/one.yml", "two.yml"],
        },
        Layout {
            what: "COMPOSE_FILE of this process",
            folders: &["data"],
            files: vec![("prod.yml", server("    volumes: [./data:/data]\n"))],
            environment: &[("COMPOSE_FILE", "prod.yml")],
            taken: &["postgresql", "data=data"],
            kept: &["prod.yml"],
        },
        Layout {
            what: "long forms, bound volumes, an external volume",
            folders: &["d", "c", "t"],
            files: vec![
                (
                    "compose.yml",
                    server(
                        "    volumes:\n      - type: bind\n        source: ./d\n        target: /data\n        read_only: true\n      \
                     - {type: volume, source: certs, target: /certs}\n      - type: tmpfs\n        target: /tmp\n      - /blueprints\n      \
                     - templates:/templates\nvolumes:\n  certs:\n    driver_opts: {type: none, o: bind, device: ./c}\n  \
                     templates:\n    driver_opts: {type: none, o: 'bind,ro', device: \"${PWD}/t\"}\n",
                    ),
                ),
                (".env", text("PWD=.\n")),
            ],
            environment: &[],
            taken: &["postgresql", "data=d", "certs=c", "custom-templates=t"],
            kept: &[".env", "compose.yml"],
        },
        Layout {
            what: "files of variables, secrets and configs",
            folders: &["data"],
            files: vec![
                (
                    "compose.yml",
                    server(
                        "    volumes: [./data:/data, ./brand.css:/web/dist/custom.css]\n    env_file:\n      - a.env\n      \
                         - {path: sub/b.env, required: true}\n      - path: gone.env\n        required: false\n    secrets: [key]\n    \
                         configs: [{source: conf, target: /conf}]\nsecrets:\n  key: {file: ./secrets/key}\nconfigs:\n  conf: {file: 'conf [1].yml'}\n  \
                         inline: {content: x}\n",
                    ),
                ),
                ("a.env", text("A=1\n")),
                ("sub/b.env", text("B=1\n")),
                ("sub/other.env", text("B=1\n")),
                ("secrets/key", text("k")),
                ("secrets/other", text("k")),
                ("conf [1].yml", text("k")),
                ("conf 1.yml", text("k")),
                ("brand.css", text("k")),
            ],
            environment: &[],
            taken: &["postgresql", "data=data"],
            kept: &["a.env", "brand.css", "compose.yml", "conf [1].yml", "secrets/key", "sub/b.env"],
        },
        Layout {
            what: "extends and include",
            folders: &["common/data", "db"],
            files: vec![
                (
                    "compose.yml",
                    text(
                        "include:\n  - db/compose.yml\nservices:\n  ak:\n    extends: {file: common/base.yml, service: authentik}\n",
                    ),
                ),
                (
                    "common/base.yml",
                    text(
                        "services:\n  base:\n    volumes: [./data:/data]\n  authentik:\n    extends: base\n    image: goauthentik/server\n",
                    ),
                ),
                ("db/compose.yml", text("services:\n  postgresql:\n    image: postgres:${V:?}\n    env_file: db.env\n")),
                ("db/.env", text("V=16\n")),
                ("db/db.env", text("POSTGRES_DB=x\n")),
            ],
            environment: &[],
            taken: &["postgresql", "data=common/data"],
            kept: &["common/base.yml", "compose.yml", "db/.env", "db/compose.yml", "db/db.env"],
        },
        Layout {
            what: "a profile that is active and one that is not",
            folders: &["data", "old"],
            files: vec![
                (
                    "compose.yml",
                    server(
                        "    profiles: [sso]\n    volumes: [./data:/data]\n  old:\n    image: goauthentik/server\n    profiles: [old]\n    volumes: [./old:/media]\n",
                    ),
                ),
                (".env", text("COMPOSE_PROFILES=web,sso\n")),
            ],
            environment: &[],
            taken: &["postgresql", "data=data"],
            kept: &[".env", "compose.yml"],
        },
        Layout {
            what: "folders that settings move, and folders inside folders",
            folders: &["store/files", "uploads", "bp"],
            files: vec![(
                "compose.yml",
                server(
                    "    environment: {AUTHENTIK_STORAGE__FILE__PATH: /srv/files}\n    volumes: [./store:/srv, ./uploads:/media/public, \
                     ./bp:/blueprints/custom]\n",
                ),
            )],
            environment: &[],
            taken: &["postgresql", "data=store/files", "blueprints=bp", "media-public=uploads"],
            kept: &["compose.yml"],
        },
        Layout {
            what: "server and worker that mount different folders",
            folders: &["one", "two"],
            files: vec![(
                "compose.yml",
                server(
                    "    volumes: [./one:/certs]\n  worker:\n    image: ghcr.io/goauthentik/server\n    volumes: [./two:/certs]\n",
                ),
            )],
            environment: &[],
            taken: &["postgresql", "certs=one", "certs-worker=two"],
            kept: &["compose.yml"],
        },
    ]);
}

#[test]
fn what_is_not_understood_is_refused_with_file_and_line() {
    for (lines, env, says) in [
        (
            "    volumes:\n      - ${MEDIA}:/media\n",
            "",
            "/compose.yml:7: the volume \":/media\" is none: the variable MEDIA has no value here",
        ),
        ("    volumes:\n      - ${BASE}/media:/media\n", "", "/compose.yml:7: the variable BASE has no value here: set it in .env"),
        ("    volumes:\n      - ./a:media\n", "", "/compose.yml:7: a volume is mounted at \"media\""),
        ("    volumes: {a: b}\n", "", "/compose.yml:6: volumes is no list"),
        ("    volumes: [{type: cloud, source: a, target: /data}]\n", "", "/compose.yml:6: a volume of the type \"cloud\""),
        ("    volumes_from: [other]\n", "", "/compose.yml:6: `volumes_from`"),
        ("    env_file: gone.env\n", "", "/compose.yml:6: env_file /gone.env: No such file"),
        ("    image: x\n", "", "/compose.yml:6: the key \"image\" is given twice"),
        ("    labels: [\"${X:?say X}\"]\n", "", "/compose.yml:6: the variable X has no value: say X"),
        ("    extends: nobody\n", "", "/compose.yml:6: there is no service \"nobody\" to extend"),
        (
            "\ninclude: ['https://example.com/x.yml']\n",
            "",
            "/compose.yml:7: the file \"https://example.com/x.yml\" is included from elsewhere",
        ),
        ("  x: [\n", "", "/compose.yml:"),
        ("    profiles: [off]\n", "", "/compose.yml: no service runs authentik"),
        ("", "COMPOSE_FILE=gone.yml\n", "COMPOSE_FILE names /gone.yml, which is no file"),
    ] {
        let deployment = Deployment::new(&["media", "data"], &[("compose.yml", &server(lines)), (".env", env)]);
        let error = deployment.refused(&[]);
        assert!(error.starts_with(says), "{lines}: {error}");
    }
}

#[test]
fn what_a_restore_will_lack_is_a_warning() {
    for (lines, says) in [
        ("    command: server\n", "nothing is mounted at /media or /data"),
        ("    volumes: [./data:/data, ./extra:/opt/extra]\n", "mounted at /opt/extra, is not included"),
        ("    volumes: [./data:/data, other:/opt/extra]\n", "the volume \"other\", mounted at /opt/extra, is not included"),
        (
            "    volumes: [./data:/data]\n    secrets: [k]\nsecrets: {k: {external: true}}\n",
            "the secret \"k\" is kept by docker itself",
        ),
        ("    volumes: [./data:/data]\nsecrets: {k: {file: ./gone}}\n", "/gone is not in this snapshot"),
        ("    volumes: [./data:/data]\n    environment: {AUTHENTIK_STORAGE__BACKEND: s3}\n", "are in S3"),
    ] {
        let deployment = Deployment::new(&["data", "extra"], &[("compose.yml", &server(lines))]);
        let found = deployment.discover(&[]).unwrap();
        assert!(warnings(&found).len() == 1 && warnings(&found)[0].contains(says), "{lines}: {found:?}");
    }
    let quiet =
        "    volumes: [./data:/data, ./certs:/certs, ./media:/media, /var/run/docker.sock:/var/run/docker.sock, ./geo:/geoip]\n";
    let deployment = Deployment::new(&["data", "geo"], &[("compose.yml", &server(quiet))]);
    let found = deployment.discover(&[]).unwrap();
    assert!(warnings(&found).is_empty(), "{found:?}");
    assert_eq!(names(&found), ["postgresql", "data", "config"], "absent certificates and a leftover of the old layout are normal");
}

#[test]
fn a_file_behind_a_link_is_kept_where_it_is() {
    let file = server("    env_file: [link/a.env, b.env]\n    volumes: [./data:/data]\n");
    let deployment = Deployment::new(&["data"], &[("compose.yml", &file), ("real/a.env", "A=1\n")]);
    std::os::unix::fs::symlink("real", deployment.0.path().join("link")).unwrap();
    std::os::unix::fs::symlink("real/a.env", deployment.0.path().join("b.env")).unwrap();
    let found = deployment.discover(&[]).unwrap();
    assert_eq!(kept(folder(&found, "config")), ["b.env", "compose.yml", "real/a.env"]);
}

#[test]
fn files_elsewhere_are_kept_beside_the_settings() {
    let elsewhere = Deployment::new(&[], &[("esker.toml", "x"), ("other.toml", "x"), ("shared.env", "A=1\n")]);
    let env = elsewhere.0.path().join("shared.env");
    let file = server(&format!("    env_file: {}\n    volumes: [./data:/data]\n", env.display()));
    let deployment = Deployment::new(&["data"], &[("compose.yml", &file)]);
    let mut options = deployment.options(&[]);
    options.keep = vec![elsewhere.0.path().join("esker.toml")];
    let found = discover(&options, &Stop::new()).unwrap();
    let last = found.sources.last().unwrap();
    assert!(last.name().starts_with("config-"), "{found:?}");
    assert_eq!(kept(folder(&found, last.name())), ["esker.toml", "shared.env"]);
    // Another source may have the folder as a whole.
    let mut sources = found.sources;
    sources.push(Source::Directory(DirectorySource::new("elsewhere", elsewhere.0.path())));
    assert!(check_sources(&sources).is_ok());
}
