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
    /// Add a password for an owner or, with --writer, for a host that only takes snapshots
    Add {
        /// The new password
        #[command(flatten)]
        new: NewPassword,
        /// The new password opens a writer key, which takes snapshots but cannot read any
        #[arg(long)]
        writer: bool,
        /// A label, at most 24 bytes; it is encrypted with the key
        #[arg(long, value_name = "TEXT", default_value = "password")]
        label: String,
    },
    /// List the keyslots
    List,
    /// Remove a keyslot; the last keyslot of an owner cannot be removed
    Remove {
        /// The first digits of the keyslot's id
        #[arg(value_name = "ID")]
        id: String,
    },
    /// Change the password of the keyslot in use
    Passwd {
        /// The new password
        #[command(flatten)]
        new: NewPassword,
    },
    /// Revoke every writer key, after a host was compromised
    ///
    /// Raises the generation of the writer secret. Hosts need a new writer key afterwards. Passwords and keys of owners do not change.
    /// Existing snapshots remain valid. New data is not deduplicated against old data, so the next snapshot of each host stores
    /// everything once more. A snapshot of a run that began before the rotation is quarantined: it is listed and kept, but never `latest`.
    /// If the rotation is interrupted, the next one finishes it.
    #[command(after_help = "\
Examples:
  esker key rotate --dry-run
  esker key rotate && esker key export --writer --output writer.key

If an *owner* key was stolen, create a new repository and fill it with `esker copy`.")]
    Rotate {
        /// Report what would be done, but change nothing
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// Write a key to a file that only you can read
    #[command(after_help = "\
Examples:
  esker key export --writer --output writer.key         for a host that takes snapshots but cannot read any
  esker key export --owner --output owner.key           full access; do not keep it on the hosts

The file opens the repository without a password: `esker --key-file FILE ...`.")]
    Export {
        /// Export the writer key, for hosts (the default)
        #[arg(long, conflicts_with = "owner")]
        writer: bool,
        /// Export the owner key
        #[arg(long)]
        owner: bool,
        /// The file to create [default: standard output]
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
    /// Run CMD and read the new password from the first line that it prints
    #[arg(long, value_name = "CMD", value_hint = ValueHint::CommandString)]
    pub new_password_command: Option<String>,
    /// How much memory a guess of the new password costs
    #[arg(long, value_enum, default_value_t, value_name = "LEVEL")]
    pub kdf: Kdf,
}
