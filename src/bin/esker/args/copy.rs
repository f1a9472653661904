//! The command line of what works on two repositories: `copy`, `mirror`, and the other repository of `init` and `repair`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueHint};

/// The other repository, and what opens it. restic's names.
#[derive(Args, Debug, Default)]
// Ids of their own: the global flags have fields of the same names, and clap would take one for the other.
pub struct From {
    /// Where the other repository is
    #[arg(id = "from-repo", long = "from-repo", value_name = "URL", env = "ESKER_FROM_REPOSITORY", hide_env_values = true, value_hint = ValueHint::DirPath, help_heading = "The other repository")]
    pub repository: Option<OsString>,
    /// Read its password from the first line of FILE
    #[arg(id = "from-password-file", long = "from-password-file", value_name = "FILE", env = "ESKER_FROM_PASSWORD_FILE", hide_env_values = true, value_hint = ValueHint::FilePath, help_heading = "The other repository")]
    pub password_file: Option<PathBuf>,
    /// Run CMD and take the first line it prints as its password
    #[arg(id = "from-password-command", long = "from-password-command", value_name = "CMD", env = "ESKER_FROM_PASSWORD_COMMAND", hide_env_values = true, value_hint = ValueHint::CommandString, help_heading = "The other repository")]
    pub password_command: Option<String>,
    /// Use an exported key of it
    #[arg(id = "from-key-file", long = "from-key-file", value_name = "FILE", env = "ESKER_FROM_KEY_FILE", hide_env_values = true, value_hint = ValueHint::FilePath, help_heading = "The other repository")]
    pub key_file: Option<PathBuf>,
}
