//! `config`: is the config file as it should be, and what does it mean?

use clap::{Args, Subcommand};

/// `config`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker --config /etc/esker/esker.toml config check     before the first scheduled run
  esker --config /etc/esker/esker.toml -P offsite config show")]
pub struct Config {
    /// What to do.
    #[command(subcommand)]
    pub action: ConfigAction,
}

/// The actions.
#[derive(Subcommand, Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigAction {
    /// Check the file, its includes and all profiles: keys, variables, sources, files and their modes, programs
    Check,
    /// Print the resulting settings, after includes, variables and the profile; never shows secrets
    Show,
}
