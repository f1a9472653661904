//! Bugs planted by name, to show that the suite catches them (`tests/README.md` says which test catches which).
//!
//! Without the feature `planted-bugs` every question is answered no at compile time, and nothing of this is in the program. With it, the
//! environment variable `ESKER_PLANTED` names the one bug that is alive. Never in a build for use.

/// Is this bug alive?
#[cfg(not(feature = "planted-bugs"))]
#[inline(always)]
pub(crate) const fn is(_bug: &str) -> bool {
    false
}

/// Is this bug alive?
#[cfg(feature = "planted-bugs")]
pub fn is(bug: &str) -> bool {
    static ALIVE: std::sync::OnceLock<Option<String>> = std::sync::OnceLock::new();
    ALIVE.get_or_init(|| std::env::var("ESKER_PLANTED").ok()).as_deref() == Some(bug)
}
