//! Servers that stand for those of Azure (azurite) and Google (gcp-storage-emulator). Optional: `make clouds` installs them and runs what needs them.

use std::path::PathBuf;
use std::process::Command;

use super::s3::BUCKET;
use super::{Server, installed, program};

/// The one account of azurite, and its key, which stand in its manual.
pub const ACCOUNT: &str = "devstoreaccount1";
pub const ACCOUNT_KEY: &str = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// Makes a container: its port, account, key and the name are the arguments.
const MAKE_CONTAINER: &str = r#"
import base64, hashlib, hmac, http.client, sys
from email.utils import formatdate
port, account, key, name = sys.argv[1:]
date = formatdate(usegmt=True)
to_sign = "PUT" + "\n" * 12 + f"x-ms-date:{date}\nx-ms-version:2021-08-06\n/{account}/{account}/{name}\nrestype:container"
signature = base64.b64encode(hmac.new(base64.b64decode(key), to_sign.encode(), hashlib.sha256).digest()).decode()
connection = http.client.HTTPConnection("127.0.0.1", int(port))
headers = {"x-ms-date": date, "x-ms-version": "2021-08-06", "Content-Length": "0", "Authorization": f"SharedKey {account}:{signature}"}
connection.request("PUT", f"/{account}/{name}?restype=container", headers=headers)
answer = connection.getresponse()
sys.exit(None if answer.status == 201 else f"{answer.status} {answer.read()}")
"#;

fn cloud(name: &str, below: &str) -> Option<PathBuf> {
    let path = installed(below);
    if !path.exists() && std::env::var_os("ESKER_WITH_CLOUDS").is_none_or(|set| set.is_empty()) {
        println!("SKIPPED: {name} is not installed (make clouds)");
        return None;
    }
    program(name, path, "run make clouds")
}

/// Azurite with an empty container; creates keep their condition.
pub fn azurite() -> Option<Server> {
    let azurite = cloud("azurite", "clouds/node_modules/.bin/azurite-blob")?;
    let server = Server::start("azurite", |folder, port| {
        let mut command = Command::new(&azurite);
        command.args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string(), "--location"]).arg(folder);
        command.args(["--skipApiVersionCheck", "--disableTelemetry", "--silent"]);
        command
    });
    let port = server.port.to_string();
    let made = Command::new("python3").args(["-c", MAKE_CONTAINER, &port, ACCOUNT, ACCOUNT_KEY, BUCKET]).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some(server)
}

/// What esker is told of where azurite is.
pub fn endpoint(azurite: &Server) -> String {
    format!("endpoint={}/{ACCOUNT}", azurite.url())
}

/// The emulator with an empty bucket; it ignores the condition of a create.
pub fn gcp_storage_emulator() -> Option<Server> {
    let emulator = cloud("gcp-storage-emulator", "clouds/bin/gcp-storage-emulator")?;
    Some(Server::start("gcp-storage-emulator", |folder, port| {
        let mut command = Command::new(&emulator);
        command.arg("--data-dir").arg(folder.join("data")).args(["start", "--host", "127.0.0.1", "--port", &port.to_string()]);
        command.args(["--default-bucket", BUCKET]);
        command
    }))
}
