//! Which package holds a program that is not there.

use std::io;

/// Programs with their packages: of Debian and Ubuntu, of Fedora and RHEL.
const PACKAGES: [(&[&str], &str, &str); 9] = [
    (&["psql", "pg_dump", "pg_dumpall", "pg_restore"], "postgresql-client", "postgresql"),
    (&["redis-cli"], "redis-tools", "redis"),
    (&["docker"], "docker.io (or docker-ce-cli of docker.com)", "docker-ce-cli of docker.com"),
    (&["podman"], "podman", "podman"),
    (&["ssh"], "openssh-client", "openssh-clients"),
    (&["kubectl"], "kubectl of kubernetes.io", "kubectl of kubernetes.io"),
    (&["mysqldump", "mysql", "mariadb-dump", "mariadb"], "mariadb-client", "mariadb"),
    (&["sqlite3"], "sqlite3", "sqlite"),
    (&["slapcat"], "slapd", "openldap-servers"),
];

/// What to do when `program` could not be started, as the tail of a message; nothing when it was found.
pub(super) fn advice(program: &str, error: &io::Error) -> String {
    if error.kind() != io::ErrorKind::NotFound || program.contains('/') {
        return String::new();
    }
    let known = PACKAGES.iter().find(|(programs, ..)| programs.contains(&program));
    known.map_or_else(
        || "; it is not installed, or PATH does not lead to it".to_owned(),
        |(_, debian, fedora)| {
            format!(
                "; it is not installed, or PATH does not lead to it: install {debian} on Debian and Ubuntu, {fedora} on Fedora and RHEL"
            )
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_program_names_its_package_and_another_failure_does_not() {
        let missing = io::Error::from(io::ErrorKind::NotFound);
        assert!(advice("pg_dump", &missing).contains("postgresql-client on Debian"));
        assert!(advice("no-such-program", &missing).contains("not installed"));
        assert_eq!(advice("/opt/pg_dump", &missing), "");
        assert_eq!(advice("pg_dump", &io::Error::from(io::ErrorKind::PermissionDenied)), "");
    }
}
