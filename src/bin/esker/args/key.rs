//! The command line of `key`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueHint};

use super::Kdf;

/// `key`
#[derive(Args, Debug)]
pub struct Key {
    /// What to do
    #[command(subcommand)]
    pub action: KeyAction,
}

/// The actions of `key`.
#[derive(Subcommand, Debug)]
pub enum KeyAction {
    /// Add a password for an owner, or with --writer for a host that only takes snapshots
    Add {
        /// Where the new password comes from
        #[command(flatten)]
        new: NewPassword,
        /// The new password gives a writer key: it takes snapshots and can read none
        #[arg(long)]
        writer: bool,
        /// A word to remember it by, at most 24 bytes; sealed with the key
        #[arg(long, value_name = "TEXT", default_value = "password")]
        label: String,
    },
    /// List the keyslots
    List,
    /// Remove a keyslot; the last owner's cannot be removed
    Remove {
        /// The first digits of its id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Change the password of the keyslot that was opened
    Passwd {
        /// Where the new password comes from
        #[command(flatten)]
        new: NewPassword,
    },
    /// Make every writer key void, after a host was in somebody else's hands
    ///
    /// Raises the generation of the writer secret. Hosts need a new key afterwards; passwords and keys of owners stay as they are. What
    /// is there goes on to count, and nothing new is deduplicated against it: the next snapshot of each host stores everything once more.
    /// What a run commits that began before is quarantined: shown, kept, and never `latest`. Cut off anywhere, the next one finishes it.
    #[command(after_help = "\
Examples:
  esker key rotate --dry-run
  esker key rotate && esker key export --writer --output writer.key

Whose *owner* key was stolen needs a new repository: `esker copy` fills it.")]
    Rotate {
        /// Say what would be done, change nothing
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// Write a key to a file that only you can read
    #[command(after_help = "\
Examples:
  esker key export --writer --output writer.key         for a host that takes snapshots and can read none
  esker key export --owner --output owner.key           everything; keep it away from the hosts

Whoever has the file needs no password: `esker --key-file FILE ...`.")]
    Export {
        /// The writer key, for hosts; this is also what comes without a flag
        #[arg(long, conflicts_with = "owner")]
        writer: bool,
        /// The owner key instead of the writer key
        #[arg(long)]
        owner: bool,
        /// The file to make; without it the key goes to standard output
        #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
        output: Option<PathBuf>,
    },
}

/// Where a new password comes from: a file, a command, or asked for twice.
#[derive(Args, Debug, Default)]
pub struct NewPassword {
    /// Read the new password from the first line of FILE
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, conflicts_with = "new_password_command")]
    pub new_password_file: Option<PathBuf>,
    /// Run CMD and take the first line it prints as the new password
    #[arg(long, value_name = "CMD", value_hint = ValueHint::CommandString)]
    pub new_password_command: Option<String>,
    /// Memory that guessing the new password costs
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    pub kdf: Kdf,
}
