//! Ctrl-C and its kin: the first asks the operation to stop, the second ends the process.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use anyhow::{Context, Result};
use esker::monitor::Stop;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag;

/// Which signal came first.
#[derive(Clone, Debug, Default)]
pub struct Signals {
    caught: Arc<AtomicUsize>,
    installed: Arc<AtomicBool>,
}

impl Signals {
    /// From now on SIGINT, SIGTERM and SIGHUP set `stop`; once it is set, another one kills, as it does a program that never
    /// heard of signals. Not called before the password was typed: at a prompt one Ctrl-C has to be enough.
    pub fn install(&self, stop: &Stop) -> Result<()> {
        if self.installed.swap(true, Ordering::SeqCst) {
            // Twice, the first signal would find its own flag set.
            return Ok(());
        }
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            // In this order: the second signal finds the flag that the first one set.
            flag::register_conditional_default(signal, stop.flag()).context("setting up signals")?;
            flag::register(signal, stop.flag()).context("setting up signals")?;
            let number = usize::try_from(signal).context("setting up signals")?;
            flag::register_usize(signal, Arc::clone(&self.caught), number).context("setting up signals")?;
        }
        Ok(())
    }

    /// The signal that asked to stop.
    pub fn caught(&self) -> Option<i32> {
        i32::try_from(self.caught.load(Ordering::SeqCst)).ok().filter(|&number| number != 0)
    }
}
