//! The command line of what comes after snapshots: keep rules, forgetting and bringing back, tags and notes, status.

use clap::Args;
use esker::retention::policy::{Count, GroupBy, Period, Policy, tag_list};

use super::Filter;

/// Keep rules, with restic's names.
#[derive(Args, Debug, Default)]
pub struct KeepRules {
    /// Keep the newest N snapshots (-1 or `unlimited`: all)
    #[arg(short = 'l', long, value_name = "N", allow_negative_numbers = true, help_heading = "What to keep")]
    pub keep_last: Option<Count>,
    /// Keep the newest snapshot of each of the last N hours that have one
    #[arg(short = 'H', long, value_name = "N", allow_negative_numbers = true, help_heading = "What to keep")]
    pub keep_hourly: Option<Count>,
    /// Keep the newest snapshot of each of the last N days that have one
    #[arg(short = 'd', long, value_name = "N", allow_negative_numbers = true, help_heading = "What to keep")]
    pub keep_daily: Option<Count>,
    /// Keep the newest snapshot of each of the last N weeks that have one
    #[arg(short = 'w', long, value_name = "N", allow_negative_numbers = true, help_heading = "What to keep")]
    pub keep_weekly: Option<Count>,
    /// Keep the newest snapshot of each of the last N months that have one
    #[arg(short = 'm', long, value_name = "N", allow_negative_numbers = true, help_heading = "What to keep")]
    pub keep_monthly: Option<Count>,
    /// Keep the newest snapshot of each of the last N years that have one
    #[arg(short = 'y', long, value_name = "N", allow_negative_numbers = true, help_heading = "What to keep")]
    pub keep_yearly: Option<Count>,
    /// Keep all snapshots within this period before the newest one, such as 1y5m7d2h
    #[arg(long, value_name = "PERIOD", help_heading = "What to keep")]
    pub keep_within: Option<Period>,
    /// Keep the newest snapshot of each hour within this period
    #[arg(long, value_name = "PERIOD", help_heading = "What to keep")]
    pub keep_within_hourly: Option<Period>,
    /// Keep the newest snapshot of each day within this period
    #[arg(long, value_name = "PERIOD", help_heading = "What to keep")]
    pub keep_within_daily: Option<Period>,
    /// Keep the newest snapshot of each week within this period
    #[arg(long, value_name = "PERIOD", help_heading = "What to keep")]
    pub keep_within_weekly: Option<Period>,
    /// Keep the newest snapshot of each month within this period
    #[arg(long, value_name = "PERIOD", help_heading = "What to keep")]
    pub keep_within_monthly: Option<Period>,
    /// Keep the newest snapshot of each year within this period
    #[arg(long, value_name = "PERIOD", help_heading = "What to keep")]
    pub keep_within_yearly: Option<Period>,
    /// Keep snapshots that have all of these tags (separated by commas); may be given several times
    #[arg(long, value_name = "TAGS", help_heading = "What to keep")]
    pub keep_tag: Vec<String>,
}

impl KeepRules {
    /// The rules that were given; `None`: not one.
    pub fn policy(&self) -> Option<Policy> {
        let counts = [self.keep_last, self.keep_hourly, self.keep_daily, self.keep_weekly, self.keep_monthly, self.keep_yearly];
        let periods = [
            self.keep_within,
            self.keep_within_hourly,
            self.keep_within_daily,
            self.keep_within_weekly,
            self.keep_within_monthly,
            self.keep_within_yearly,
        ];
        let given = counts.iter().any(Option::is_some) || periods.iter().any(Option::is_some) || !self.keep_tag.is_empty();
        let [last, hourly, daily, weekly, monthly, yearly] = counts.map(Option::unwrap_or_default);
        let [within, within_hourly, within_daily, within_weekly, within_monthly, within_yearly] =
            periods.map(Option::unwrap_or_default);
        given.then(|| Policy {
            last,
            hourly,
            daily,
            weekly,
            monthly,
            yearly,
            within,
            within_hourly,
            within_daily,
            within_weekly,
            within_monthly,
            within_yearly,
            tags: self.keep_tag.iter().map(|tags| tag_list(tags)).collect(),
        })
    }
}

/// `forget`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker forget -n --keep-daily 7 --keep-weekly 5 --keep-monthly 12     report what would be forgotten, and why the rest is kept
  esker forget --keep-within-daily 30d --keep-within-monthly 2y
  esker forget --host auth01 --keep-last 10 --keep-tag release
  esker --config /etc/esker.toml forget --prune                        use the [keep] table of the config file
  esker forget 3fa2 81bc                                               forget these two

The rules apply to each group (host and sources) separately. Rules on the command line replace all rules of the config file.

Some snapshots are never dropped, whatever the rules say: the newest complete and the newest verified snapshot of each group,
pinned snapshots (`esker tag --keep`), snapshots first seen within the guard period, and quarantined snapshots, whose time is not
plausible. If containers have a new host name at every run, use --group-by sources or set `host` in the config file. A snapshot
that you name is forgotten whatever the rules say, unless it is pinned.

Forgetting frees no space. `esker prune` does, or --prune in the same run. Until then `esker undelete` brings a snapshot back.
A damaged snapshot stops every prune until you forget it by its id.")]
pub struct Forget {
    /// Forget these snapshots, without any rule
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// What to keep
    #[command(flatten)]
    pub rules: KeepRules,
    /// Group snapshots by host, sources (or paths) and tags, separated by commas; empty: one group
    #[arg(short = 'g', long, value_name = "BY")]
    pub group_by: Option<GroupBy>,
    /// Which snapshots the rules consider
    #[command(flatten)]
    pub filter: Filter,
    /// Allow rules that keep nothing of a group, not even its newest complete and newest verified snapshot
    #[arg(long)]
    pub unsafe_allow_remove_all: bool,
    /// Confirm that the clock is right after a long time without snapshots
    #[arg(long)]
    pub allow_time_jump: bool,
    /// Free the space afterwards, as `esker prune` does
    #[arg(long, conflicts_with = "dry_run")]
    pub prune: bool,
    /// Report what would be forgotten, but forget nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `undelete`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker undelete               list the snapshots that can be brought back
  esker undelete 3fa2          bring it back, under a new id

A snapshot comes back whole or not at all. If a prune has freed a part of it, nothing is saved (exit code 1).")]
pub struct Undelete {
    /// Bring back these snapshots [default: list the forgotten ones]
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// Check whether they can be brought back, but save nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `tag`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker tag --add release,2026.2 latest
  esker tag --set nightly --host auth01             these tags only, for all snapshots of a host
  esker tag --keep latest                           pin it: no rule forgets it until you release it
  esker tag --keep-until 2027-01-31 3fa2            pin it until this day
  esker tag --release 3fa2                          unpin it
  esker tag --comment 'before the upgrade' latest

The snapshots themselves do not change: esker adds a note to them. Needs an owner's key.")]
pub struct Tag {
    /// Which snapshots; or select them with --tag, --host, --source
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// Add these tags, separated by commas
    #[arg(long, value_name = "TAGS", conflicts_with = "set")]
    pub add: Vec<String>,
    /// Remove these tags
    #[arg(long, value_name = "TAGS", conflicts_with = "set")]
    pub remove: Vec<String>,
    /// Replace all tags with these; empty: no tags
    #[arg(long, value_name = "TAGS")]
    pub set: Vec<String>,
    /// Pin the snapshot: no rule of `forget` drops it
    #[arg(long, conflicts_with_all = ["keep_until", "release"])]
    pub keep: bool,
    /// Pin until a date, a date and time, or for a period such as 30d
    #[arg(long, value_name = "WHEN", conflicts_with = "release")]
    pub keep_until: Option<String>,
    /// Unpin: the rules decide again
    #[arg(long)]
    pub release: bool,
    /// Set the comment; empty: no comment
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Which snapshots, if none is named
    #[command(flatten)]
    pub filter: Filter,
    /// Report what would be changed, but change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `status`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker status                               the state of the backups and of the repository
  esker status --max-age 26h || notify       exit code 3 if a group's newest snapshot is older, incomplete or missing
  esker status --host auth01 --max-age 1d    only one host
  esker status --metrics /var/lib/node_exporter/esker.prom
                                             for Prometheus; the file is replaced atomically

The last line says OK or names the problem. Exit code 0: the newest snapshot of every group is complete and not older than
--max-age, and the last run of every host succeeded. Exit code 3: one of these does not hold. Exit codes 20 and 21: an earlier
`esker verify` found damage (20: all of it repairable; 21: data is affected). `status` itself reads no data.

A group raises no alarm if newer complete snapshots of its host hold its sources or replaced them, or if it has only one snapshot,
older than 14 days and four times --max-age. `esker forget` removes a group that you no longer want.

With a writer key, `status` sees only when runs began, committed or failed. Only an owner's key shows whether a snapshot is
complete, and the state of the packs.")]
pub struct Status {
    /// The greatest allowed age of a group's newest snapshot, such as 26h or 2d
    #[arg(long, value_name = "PERIOD")]
    pub max_age: Option<Period>,
    /// Group snapshots by host, sources (or paths) and tags, separated by commas
    #[arg(short = 'g', long, value_name = "BY")]
    pub group_by: Option<GroupBy>,
    /// Write metrics of all hosts and sources to FILE, in the text format of Prometheus
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub metrics: Option<std::path::PathBuf>,
    /// Which snapshots
    #[command(flatten)]
    pub filter: Filter,
}
