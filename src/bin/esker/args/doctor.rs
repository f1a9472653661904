//! `doctor`: what it can check.

use clap::{Args, Subcommand};

/// `doctor`
#[derive(Args, Debug)]
#[command(after_help = "\
Without a command, `esker doctor` lists what can be checked, also by other commands.

Example:
  esker -r s3://backups/authentik doctor store")]
pub struct Doctor {
    /// What to check
    #[command(subcommand)]
    pub what: Option<DoctorWhat>,
}

/// What `doctor` can check.
#[derive(Subcommand, Debug)]
pub enum DoctorWhat {
    /// Test whether the store can hold a repository and how fast it is; needs no password
    Store(DoctorStore),
}

/// `doctor store`
#[derive(Args, Debug)]
#[command(after_help = "\
The test works with and without a repository at --repo, and needs no password. It creates a dozen small objects below
probe/ and 32 at once under one name. Then it reads, lists and deletes them.

Exit code 0: the store can hold a repository. Its class says which operations may run at the same time.
Exit code 13: the store cannot hold a repository, or it does not answer.

Example:
  esker -r s3://backups/authentik doctor store")]
pub struct DoctorStore {
    /// Delete nothing, not even the objects of the test; the next prune deletes them
    #[arg(long)]
    pub no_delete: bool,
}
