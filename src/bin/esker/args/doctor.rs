//! `doctor`: what it can check.

use clap::{Args, Subcommand};

/// `doctor`
#[derive(Args, Debug)]
pub struct Doctor {
    /// What to check; without it, a list of what can be checked
    #[command(subcommand)]
    pub what: Option<DoctorWhat>,
}

/// What `doctor` can check.
#[derive(Subcommand, Debug)]
pub enum DoctorWhat {
    /// What the store of --repo can be trusted with, and how fast it answers; needs no password, and no repository there
    Store(DoctorStore),
}

/// `doctor store`
#[derive(Args, Debug)]
#[command(after_help = "\
Creates a dozen small objects below probe/, 32 at once under one name, reads, lists and deletes them. Exit code 0: it can hold
a repository, and the class says who may do what at the same time; 13: it cannot, or does not answer.

Example:
  esker -r s3://backups/authentik doctor store")]
pub struct DoctorStore {
    /// Delete nothing, also not what was created for the trial; the next prune clears that away
    #[arg(long)]
    pub no_delete: bool,
}
