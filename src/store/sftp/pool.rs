//! A few connections for many threads: one until it has enough to do, then another, up to a bound.
//!
//! A server does what one connection asks in order, so while it syncs one pack it takes no byte of the next: more connections hide that, and
//! use more than one core for ssh's ciphers. Small requests share.

use crate::locks::Unpoisoned;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use super::connection::Connection;
use super::ssh::Verdict;
use super::{SftpAddress, SftpOptions};

/// A connection with this much under way, in bytes, has enough to do.
const ENOUGH: usize = 1 << 20;
/// What a request weighs beside its bytes.
const REQUEST_WEIGHT: usize = 64 << 10;
/// Most calls that share a connection; more wait. Bounds what may be under way.
const CALLS_MAX: usize = 16;

pub(super) struct Pool {
    address: SftpAddress,
    options: SftpOptions,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    open: Vec<Open>,
    opening: bool,
    /// How often opening one failed, and why the last time.
    failures: u64,
    last_failure: Option<Verdict>,
    /// The server does not want more of them than there are.
    no_more: bool,
    ever: bool,
}

struct Open {
    connection: Arc<Connection>,
    weight: usize,
    calls: usize,
}

/// A connection to use for one call.
pub(super) struct Lease<'a> {
    pool: &'a Pool,
    connection: Arc<Connection>,
    weight: usize,
}

impl std::ops::Deref for Lease<'_> {
    type Target = Connection;
    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Pool {
    pub(super) fn new(address: SftpAddress, options: SftpOptions) -> Self {
        Self { address, options, state: Mutex::default(), changed: Condvar::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unpoisoned()
    }

    /// Did a connection ever come about?
    pub(crate) fn was_connected(&self) -> bool {
        self.state().ever
    }

    /// A connection for a call that moves about `bytes`.
    pub(super) fn take(&self, bytes: usize) -> Result<Lease<'_>, Verdict> {
        let weight = bytes.saturating_add(REQUEST_WEIGHT);
        let mut state = self.state();
        let failures = state.failures;
        loop {
            // What is over goes; ending its child may take a moment, which is not spent under the lock.
            let (over, open) = std::mem::take(&mut state.open).into_iter().partition::<Vec<_>, _>(|open| open.connection.is_over());
            state.open = open;
            if !over.is_empty() {
                drop(state);
                drop(over);
                state = self.state();
                continue;
            }
            if state.open.is_empty() && !state.opening {
                state.no_more = false;
            }
            let may_open = state.open.len() < self.options.connections.max(1) && !state.no_more && !state.opening;
            let least = state.open.iter_mut().filter(|open| open.calls < CALLS_MAX).min_by_key(|open| open.weight);
            match least {
                Some(open) if !may_open || open.weight < ENOUGH => {
                    open.weight = open.weight.saturating_add(weight);
                    open.calls += 1;
                    return Ok(Lease { pool: self, connection: Arc::clone(&open.connection), weight });
                }
                _ if may_open => {
                    state.opening = true;
                    drop(state);
                    let opened = Connection::open(&self.address, &self.options);
                    state = self.state();
                    state.opening = false;
                    self.changed.notify_all();
                    match opened {
                        Ok(connection) => {
                            state.ever = true;
                            state.open.push(Open { connection: Arc::new(connection), weight: 0, calls: 0 });
                        }
                        Err(verdict) if state.open.is_empty() => {
                            state.failures += 1;
                            state.last_failure = Some(verdict.clone());
                            return Err(verdict);
                        }
                        // What there is does as well.
                        Err(_) => state.no_more = true,
                    }
                }
                _ => {
                    state = self.changed.wait(state).unpoisoned();
                    // Who waited for the first connection fails with it, instead of trying again one after the other.
                    if state.open.is_empty()
                        && !state.opening
                        && state.failures != failures
                        && let Some(verdict) = &state.last_failure
                    {
                        return Err(verdict.clone());
                    }
                }
            }
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        if let Some(open) = state.open.iter_mut().find(|open| Arc::ptr_eq(&open.connection, &self.connection)) {
            open.weight = open.weight.saturating_sub(self.weight);
            open.calls -= 1;
        }
        drop(state);
        self.pool.changed.notify_all();
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let open = std::mem::take(&mut self.state().open);
        // All at once, so that their goodbyes overlap.
        for open in &open {
            open.connection.say_goodbye();
        }
    }
}
