//! The command line of `repair`, `recover` and `parity`.

use clap::{Args, Subcommand, ValueHint};

use super::{FromSecret, percent};

/// `repair`
#[derive(Args, Debug)]
#[command(after_help = "\
Run these in this order. Stop when nothing is damaged any more:
  esker verify --read-data       find all damage and what it affects
  esker repair index             rebuild index files from the packs
  esker repair packs             restore packs from parity or from a mirror (--from)
  esker snapshot ...             store again what the sources still have
  esker repair snapshots         for each snapshot with lost files, make one without them
  esker recover                  collect folders of lost snapshots

Nothing is deleted. Only a damaged pack is overwritten, with the bytes that match its name.")]
pub struct Repair {
    /// What to repair
    #[command(subcommand)]
    pub action: RepairAction,
}

/// The actions of `repair`.
#[derive(Subcommand, Debug)]
pub enum RepairAction {
    /// Index packs that no readable index file lists, from the packs' own directories
    Index {
        /// Report which packs, but write nothing
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// Read packs and restore those that are damaged or missing
    Packs(Box<RepairPacks>),
    /// For each snapshot with lost files, make one without them
    Snapshots(RepairSnapshots),
}

/// `repair packs`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker repair packs                               read all packs; restore what parity can restore
  esker repair packs 0a1b2c                        only this pack
  esker repair packs --from /mnt/usb/backup        also look in a mirror of this repository
  esker repair packs --from /mnt/copy --from-password-file pw
                                                   also look in another repository, which is read whole

A pack that cannot be restored stays in place and is recorded as damaged. If a later snapshot reads the same data, it stores
the data again. Exit code 21: some packs remain damaged. Exit code 20, with -n: all of them can be restored.")]
pub struct RepairPacks {
    /// The first digits of pack ids, or pack names as `verify` prints them [default: all packs]
    #[arg(value_name = "PACK")]
    pub packs: Vec<String>,
    /// Also look in this mirror, folder of packs or other repository; may be given several times
    #[arg(long, value_name = "URL", value_hint = ValueHint::DirPath)]
    pub from: Vec<String>,
    /// Set an option of their stores. `-o` then applies only to the store of -r
    #[arg(long = "from-option", value_name = "NAME=VALUE", help_heading = "The other repository")]
    pub from_options: Vec<String>,
    /// What opens another repository
    #[command(flatten)]
    pub secret: FromSecret,
    /// Report what could be restored, but change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `repair snapshots`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker repair snapshots -n            report what is lost, and in which snapshots
  esker repair snapshots latest        only this one

Run `esker repair packs` first. Whatever it could not restore counts as lost. The original snapshot remains; forget it when you
no longer expect to find a mirror. The new snapshot has the same time and records what it lacks.")]
pub struct RepairSnapshots {
    /// Repair only these snapshots [default: all]
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// Which snapshots `latest` considers
    #[command(flatten)]
    pub filter: super::Filter,
    /// Read every byte of every file instead of using the result of `repair packs`
    #[arg(long)]
    pub read_data: bool,
    /// Report what is lost, but save nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `recover`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker recover -n                     report which folders there are
  esker recover                        save one snapshot with each of them below `recovered`

Use this if snapshot objects are lost or damaged. Their folders remain in the packs until a prune deletes them. It also finds
folders of runs that were killed before they saved a snapshot.")]
pub struct Recover {
    /// Report what would be recovered, but save nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `parity`
#[derive(Args, Debug)]
pub struct Parity {
    /// What to do
    #[command(subcommand)]
    pub action: ParityAction,
}

/// The actions of `parity`.
#[derive(Subcommand, Debug)]
pub enum ParityAction {
    /// Set how much recovery data new packs get
    #[command(after_help = "\
Examples:
  esker parity set 5%      a 16 MiB pack survives 50 bad sectors, or a hole of 700 KiB
  esker parity set 0       none")]
    Set {
        /// A percentage up to 50, or 0 for none
        #[arg(value_name = "PERCENT", value_parser = percent)]
        percent: u8,
    },
    /// Create recovery data for packs that have none
    Add {
        /// How much [default: the setting of the repository]
        #[arg(long, value_name = "PERCENT", value_parser = percent)]
        percent: Option<u8>,
        /// Report for how many packs, but create none
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// Delete all recovery data
    Drop {
        /// Report how much, but delete none
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
}
