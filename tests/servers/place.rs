//! Where the tests find what `.ci/servers` installs.

use std::path::PathBuf;

/// Where `.ci/servers` puts what it installs.
pub fn installed(below: &str) -> PathBuf {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let caches = || variable("XDG_CACHE_HOME").or_else(|| Some(variable("HOME")?.join(".cache")));
    let place = variable("ESKER_TEST_SERVERS").or_else(|| Some(caches()?.join("esker-test-servers")));
    place.unwrap_or_default().join(below)
}

/// A program that a test needs. Absent, the test fails with words on what to do; with `ESKER_WITHOUT_SERVERS` set it says that it
/// is skipped, and none.
#[allow(clippy::print_stdout, reason = "a test that is skipped says so")]
pub fn program(name: &str, path: PathBuf, advice: &str) -> Option<PathBuf> {
    if path.exists() {
        return Some(path);
    }
    if std::env::var_os("ESKER_WITHOUT_SERVERS").is_some_and(|set| !set.is_empty()) {
        println!("SKIPPED: {name} is not installed and ESKER_WITHOUT_SERVERS is set");
        return None;
    }
    panic!("{name} is not at {}: {advice}; ESKER_WITHOUT_SERVERS=1 leaves out the tests that need it", path.display());
}
