//! `doctor`: what it can check.

use clap::{Args, Subcommand};

/// `doctor`
#[derive(Args, Debug)]
pub struct Doctor {
    /// What to check [default: list the checks]
    #[command(subcommand)]
    pub what: Option<DoctorWhat>,
}

/// What `doctor` can check.
#[derive(Subcommand, Debug)]
pub enum DoctorWhat {
    /// Test what the store of --repo guarantees and how fast it is; needs no password and no repository
    Store(DoctorStore),
}

/// `doctor store`
#[derive(Args, Debug)]
#[command(after_help = "\
The test creates a dozen small objects below probe/ and 32 at once under one name. Then it reads, lists and deletes them.
Exit code 0: the store can hold a repository; its class says which operations may run at the same time. Exit code 13: it
cannot, or it does not answer.

Example:
  esker -r s3://backups/authentik doctor store")]
pub struct DoctorStore {
    /// Delete nothing, not even the objects of the test; the next prune deletes them
    #[arg(long)]
    pub no_delete: bool,
}
