//! The command line of `repair`, `recover` and `parity`.

use clap::{Args, Subcommand, ValueHint};

use super::{FromSecret, percent};

/// `repair`
#[derive(Args, Debug)]
#[command(after_help = "\
In this order, each only if the one before left something:
  esker verify --read-data       finds all damage, and says what it hits
  esker repair index             index files again, from the packs themselves
  esker repair packs             packs again, from parity or from a mirror (--from)
  esker snapshot ...             stores again what the sources still have of the rest
  esker repair snapshots         beside each snapshot that lost files for good, one without them
  esker recover                  folders of snapshots that are gone

Nothing is deleted, and nothing is written over but a pack by the bytes that are its name.")]
pub struct Repair {
    /// What to mend
    #[command(subcommand)]
    pub action: RepairAction,
}

/// The actions of `repair`.
#[derive(Subcommand, Debug)]
pub enum RepairAction {
    /// Index packs that no readable index file tells of, from their own directories
    Index {
        /// Say which, and write nothing
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// Read packs, and put back those that are damaged or missing, byte by byte
    Packs(Box<RepairPacks>),
    /// Beside each snapshot that lost something for good, make one without it
    Snapshots(RepairSnapshots),
}

/// `repair packs`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker repair packs                               reads all of them; parity mends what it can
  esker repair packs 0a1b2c                        this one only
  esker repair packs --from /mnt/usb/backup        a mirror of this repository may have what is missing here
  esker repair packs --from /mnt/copy --from-password-file pw
                                                   another repository may have the same data: it is read whole

A pack that nothing gives back stays where it is and is noted in the repository: the next snapshot that still has what stood in
it stores it again. Exit code 21: some packs stay damaged; 20 with -n: all of them can be put back.")]
pub struct RepairPacks {
    /// First digits of the ids of packs, or their names as `verify` shows them; without any: all packs
    #[arg(value_name = "PACK")]
    pub packs: Vec<String>,
    /// A mirror of this repository, a folder that holds its packs, or another repository; may be given several times
    #[arg(long, value_name = "URL", value_hint = ValueHint::DirPath)]
    pub from: Vec<String>,
    /// Say something about their stores, as -o does; with any of these, -o is about the store of -r alone
    #[arg(long = "from-option", value_name = "NAME=VALUE", help_heading = "The other repository")]
    pub from_options: Vec<String>,
    /// What opens another repository
    #[command(flatten)]
    pub secret: FromSecret,
    /// Say what could be put back, and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `repair snapshots`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker repair snapshots -n            what is lost, and in which snapshots
  esker repair snapshots latest        this one only

Run `esker repair packs` before: what it could not put back is what counts as lost here. The original snapshot stays; forget it
when you no longer hope for a mirror. The new one stands at the same time and says what it lacks.")]
pub struct RepairSnapshots {
    /// Only these; without any: all snapshots
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// What `latest` looks at
    #[command(flatten)]
    pub filter: super::Filter,
    /// Read every byte of every file instead of going by what `repair packs` found
    #[arg(long)]
    pub read_data: bool,
    /// Say what is lost, and commit nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `recover`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker recover -n                     which folders there are
  esker recover                        one snapshot with each of them below `recovered`

For when snapshot objects are lost or damaged: their trees are still in the packs until a prune takes them away. Folders of runs
that were killed before they could commit are found too.")]
pub struct Recover {
    /// Say what would be recovered, and commit nothing
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
    /// How much recovery data new packs get
    #[command(after_help = "\
Examples:
  esker parity set 5%      a pack of 16 MiB outlives 50 bad sectors anywhere, or a hole of 700 KiB
  esker parity set 0       none")]
    Set {
        /// A percentage up to 50, or 0 for none
        #[arg(value_name = "PERCENT", value_parser = percent)]
        percent: u8,
    },
    /// Make recovery data for packs that have none
    Add {
        /// How much; without it what the repository is set to
        #[arg(long, value_name = "PERCENT", value_parser = percent)]
        percent: Option<u8>,
        /// Say for how many, and make none
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
    /// Delete all recovery data
    Drop {
        /// Say how much, and delete none
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
}
