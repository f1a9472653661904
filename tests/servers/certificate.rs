//! A certificate that nobody signed but itself, for 127.0.0.1 and localhost.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Makes `key.pem` and `certificate.pem` in a folder.
pub fn make(folder: &Path) -> (PathBuf, PathBuf) {
    let (key, certificate) = (folder.join("key.pem"), folder.join("certificate.pem"));
    let configuration = folder.join("openssl.cnf");
    // A server's, not an authority's: openssl's own defaults make the other kind, which no client takes from a server.
    std::fs::write(
        &configuration,
        "[req]\ndistinguished_name=name\nx509_extensions=extensions\nprompt=no\n[name]\nCN=esker tests\n\
         [extensions]\nbasicConstraints=critical,CA:FALSE\nsubjectAltName=IP:127.0.0.1,DNS:localhost\n",
    )
    .unwrap();
    let output = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "30", "-config"])
        .arg(&configuration)
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .stdin(Stdio::null())
        .output()
        .unwrap_or_else(|error| panic!("cannot run openssl: {error} (Debian: openssl)"));
    assert!(output.status.success(), "openssl: {}", String::from_utf8_lossy(&output.stderr));
    (key, certificate)
}
