//! Servers that speak WebDAV: Apache's mod_dav, and WsgiDAV on cheroot. Both ask for a name and a password.

use std::path::PathBuf;
use std::process::Command;

use super::{Server, installed, program};

/// Who may use it.
pub const USER: &str = "dav-user";
pub const PASSWORD: &str = "dav password";
/// `USER:PASSWORD` as HTTP sends it.
pub const BASIC: &str = "Basic ZGF2LXVzZXI6ZGF2IHBhc3N3b3Jk";
/// SHA-1 of the password, as Apache reads it.
const PASSWORD_FOR_APACHE: &str = "{SHA}Vf/McaUzP6z7pZTHL2/yE/14JvA=";

/// Apache with mod_dav over an empty folder.
pub fn apache() -> Option<Server> {
    let apache = program("Apache", PathBuf::from("/usr/sbin/apache2"), "Debian: apache2-bin; make test installs it")?;
    Some(Server::start("apache", |folder, port| {
        for below in ["dav", "lock", "run"] {
            std::fs::create_dir(folder.join(below)).unwrap();
        }
        let mut configuration = String::new();
        for module in ["mpm_event", "authn_core", "authn_file", "auth_basic", "authz_core", "authz_user", "dav", "dav_fs"] {
            configuration += &format!("LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n");
        }
        let place = folder.display();
        configuration += &format!(
            "ServerName 127.0.0.1\nListen 127.0.0.1:{port}\nServerRoot {place}/run\nPidFile {place}/run/pid\nDefaultRuntimeDir {place}/run\n\
             Mutex pthread\nErrorLog /dev/stderr\nLogLevel warn\nStartServers 1\nServerLimit 2\nThreadsPerChild 40\nMaxRequestWorkers 80\n\
             DocumentRoot {place}/dav\nDavLockDB {place}/lock/db\n\
             <Directory {place}/dav>\nDav On\nAuthType Basic\nAuthName tests\nAuthUserFile {place}/passwords\nRequire valid-user\n</Directory>\n"
        );
        // It gives up root for somebody else, and that is where its files must be.
        if rustix::process::geteuid().is_root() {
            let user = uzers::get_user_by_name("www-data").expect("a user www-data");
            configuration += "User www-data\nGroup www-data\n";
            for below in ["", "dav", "lock"] {
                std::os::unix::fs::chown(folder.join(below), Some(user.uid()), Some(user.primary_group_id())).unwrap();
            }
        }
        std::fs::write(folder.join("passwords"), format!("{USER}:{PASSWORD_FOR_APACHE}\n")).unwrap();
        std::fs::write(folder.join("apache.conf"), configuration).unwrap();
        let mut command = Command::new(&apache);
        command.arg("-f").arg(folder.join("apache.conf")).arg("-DFOREGROUND");
        command
    }))
}

/// WsgiDAV over an empty folder.
pub fn wsgidav() -> Option<Server> {
    let wsgidav = program("WsgiDAV", installed("venv/bin/wsgidav"), "run .ci/servers, as make test does")?;
    Some(Server::start("wsgidav", |folder, port| {
        std::fs::create_dir(folder.join("dav")).unwrap();
        let configuration = serde_json::json!({
            "host": "127.0.0.1",
            "port": port,
            "server": "cheroot",
            "server_args": { "numthreads": 40 },
            "provider_mapping": { "/": folder.join("dav") },
            "http_authenticator": { "accept_basic": true, "accept_digest": false, "default_to_digest": false },
            "simple_dc": { "user_mapping": { "*": { USER: { "password": PASSWORD } } } },
            "verbose": 1,
        });
        std::fs::write(folder.join("wsgidav.json"), configuration.to_string()).unwrap();
        let mut command = Command::new(&wsgidav);
        command.arg("--config").arg(folder.join("wsgidav.json"));
        command
    }))
}
