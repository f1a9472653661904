//! Servers that speak S3: moto (keeps the condition of a create), s3rver and Garage (ignore it and overwrite).

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Server, certificate, http, installed, program};

/// The bucket that is there from the start.
pub const BUCKET: &str = "esker";
/// What moto and s3rver take; Garage makes its own.
pub const ACCESS_KEY: &str = "S3RVER";
pub const SECRET_KEY: &str = "S3RVER-and-a-secret-part";

/// A server with an empty bucket, and who may use it.
pub struct S3Server {
    pub server: Server,
    /// `http://127.0.0.1:PORT`, or with `https`.
    pub endpoint: String,
    pub region: &'static str,
    pub access_key: String,
    pub secret_key: String,
}

impl S3Server {
    /// moto: create-if-absent has one winner. Whatever is signed is let in, until it is told to look at the rights of accounts
    /// (`/moto-api/reset-auth`): then it lets them do what their policies say.
    pub fn moto() -> Option<Self> {
        let python = moto_python()?;
        let server = Server::start("moto", |_, port| moto_command(&python, port));
        let endpoint = server.url();
        let this = Self::with_keys(server, endpoint);
        this.make_bucket(BUCKET);
        Some(this)
    }

    /// moto behind TLS with a certificate that nobody knows; the path of the certificate for whoever is to know it. No bucket is in it.
    pub fn moto_with_unknown_certificate(folder: &Path) -> Option<(Self, PathBuf)> {
        let python = moto_python()?;
        let (key, certificate) = certificate::make(folder);
        let command = |_: &Path, port| {
            let mut command = moto_command(&python, port);
            command.arg("-c").arg(&certificate).arg("-k").arg(&key);
            command
        };
        // It speaks TLS, which this test code does not: that it listens must do.
        let server = Server::start_with("moto", command, |address| std::net::TcpStream::connect(address).is_ok());
        let endpoint = format!("https://{}", server.address());
        Some((Self::with_keys(server, endpoint), certificate))
    }

    /// s3rver: the condition is ignored and the object overwritten.
    pub fn s3rver() -> Option<Self> {
        if !installed("npm").exists() && Command::new("npm").arg("--version").output().is_err() {
            println!("SKIPPED: s3rver is not installed where there is no npm");
            return None;
        }
        let s3rver = program("s3rver", installed("npm/node_modules/.bin/s3rver"), "run .ci/servers, as make test does")?;
        let server = Server::start("s3rver", |folder, port| {
            let mut command = Command::new(&s3rver);
            command.arg("--directory").arg(folder).args(["--address", "127.0.0.1", "--no-vhost-buckets", "--silent"]);
            command.args(["--port", &port.to_string(), "--configure-bucket", BUCKET]);
            command
        });
        let endpoint = server.url();
        Some(Self { secret_key: "S3RVER".to_owned(), ..Self::with_keys(server, endpoint) })
    }

    /// Garage, where it is on the path or `.ci/servers` built it: the condition is ignored, and listings are whole. Its build takes minutes, so
    /// nobody must have it unless `ESKER_WITH_GARAGE` is set.
    pub fn garage() -> Option<Self> {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        let built = installed("garage/bin/garage");
        let on_path = std::env::split_paths(&paths).map(|path| path.join("garage")).find(|path| path.exists());
        let garage = match on_path {
            Some(garage) => garage,
            None if built.exists() || std::env::var_os("ESKER_WITH_GARAGE").is_some_and(|set| !set.is_empty()) => {
                program("garage", built, "run .ci/servers, as make soak does")?
            }
            None => {
                println!("SKIPPED: no garage on the path (ESKER_WITH_GARAGE=1 .ci/servers builds it)");
                return None;
            }
        };
        let server = Server::start("garage", |folder, port| {
            std::fs::write(folder.join("garage.toml"), garage_configuration(folder, port)).unwrap();
            let mut command = Command::new(&garage);
            command.arg("-c").arg(folder.join("garage.toml")).arg("server").env("RUST_LOG", "garage=warn");
            command
        });
        let run = |arguments: &[&str]| {
            let mut command = Command::new(&garage);
            let output = command.arg("-c").arg(server.folder().join("garage.toml")).args(arguments).output().unwrap();
            (output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned())
        };
        let began = Instant::now();
        let node = loop {
            let (done, text) = run(&["node", "id", "-q"]);
            if done && run(&["status"]).0 {
                break text.split('@').next().unwrap().trim().to_owned();
            }
            assert!(began.elapsed() < Duration::from_secs(60), "garage does not answer: {text}");
            std::thread::sleep(Duration::from_millis(50));
        };
        for arguments in [
            &["layout", "assign", "-z", "here", "-c", "100G", &node][..],
            &["layout", "apply", "--version", "1"],
            &["bucket", "create", BUCKET],
        ] {
            assert!(run(arguments).0, "garage {arguments:?}");
        }
        let (_, key) = run(&["key", "create", "tests"]);
        let field = |name: &str| key.lines().find_map(|line| Some(line.strip_prefix(name)?.trim().to_owned())).unwrap();
        let (access_key, secret_key) = (field("Key ID:"), field("Secret key:"));
        assert!(run(&["bucket", "allow", "--read", "--write", BUCKET, "--key", &access_key]).0, "garage bucket allow");
        let endpoint = server.url();
        Some(Self { server, endpoint, region: "garage", access_key, secret_key })
    }

    fn with_keys(server: Server, endpoint: String) -> Self {
        Self { server, endpoint, region: "us-east-1", access_key: ACCESS_KEY.to_owned(), secret_key: SECRET_KEY.to_owned() }
    }

    /// One more bucket (moto, which lets everybody in).
    pub fn make_bucket(&self, name: &str) {
        let answer = http::request(&self.server.address(), "PUT", &format!("/{name}"), &[MOTO_LETS_IN], b"").unwrap();
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}

/// moto looks at nothing but that there is a signature.
pub const MOTO_LETS_IN: (&str, &str) =
    ("Authorization", "AWS4-HMAC-SHA256 Credential=S3RVER/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0");

fn moto_python() -> Option<PathBuf> {
    program("moto", installed("venv/bin/moto_server"), "run .ci/servers, as make test does")?;
    Some(installed("venv/bin/python"))
}

fn moto_command(python: &Path, port: u16) -> Command {
    let mut command = Command::new(python);
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/servers/start_moto.py"));
    command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).env("AWS_EC2_METADATA_DISABLED", "true");
    command
}

fn garage_configuration(folder: &Path, port: u16) -> String {
    let mut text = String::new();
    let folder = folder.display();
    let rpc = super::free_port();
    write!(
        text,
        "metadata_dir = \"{folder}/meta\"\ndata_dir = \"{folder}/data\"\ndb_engine = \"sqlite\"\nreplication_factor = 1\n\
         rpc_bind_addr = \"127.0.0.1:{rpc}\"\nrpc_public_addr = \"127.0.0.1:{rpc}\"\nrpc_secret = \"{}\"\n\
         [s3_api]\ns3_region = \"garage\"\napi_bind_addr = \"127.0.0.1:{port}\"\nroot_domain = \".s3.localhost\"\n",
        "5a".repeat(32)
    )
    .unwrap();
    text
}
