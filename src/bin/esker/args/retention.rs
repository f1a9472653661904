//! The command line of what comes after snapshots: keep rules, forgetting and bringing back, tags and notes, status.

use clap::Args;
use esker::prune::policy::{Count, GroupBy, Period, Policy, tag_list};

use super::Filter;

/// Keep rules, with restic's names.
#[derive(Args, Debug, Default)]
pub struct KeepRules {
    /// Keep the newest N snapshots (-1 or `unlimited`: all)
    #[arg(short = 'l', long, value_name = "N", allow_negative_numbers = true, help_heading = "What to keep")]
    pub keep_last: Option<Count>,
    /// Keep the newest of each of the last N hours that have one
    #[arg(short = 'H', long, value_name = "N", allow_negative_numbers = true, help_heading = "What to keep")]
    pub keep_hourly: Option<Count>,
    /// Keep the newest of each of the last N days that have one
    #[arg(short = 'd', long, value_name = "N", allow_negative_numbers = true, help_heading = "What to keep")]
    pub keep_daily: Option<Count>,
    /// Keep the newest of each of the last N weeks that have one
    #[arg(short = 'w', long, value_name = "N", allow_negative_numbers = true, help_heading = "What to keep")]
    pub keep_weekly: Option<Count>,
    /// Keep the newest of each of the last N months that have one
    #[arg(short = 'm', long, value_name = "N", allow_negative_numbers = true, help_heading = "What to keep")]
    pub keep_monthly: Option<Count>,
    /// Keep the newest of each of the last N years that have one
    #[arg(short = 'y', long, value_name = "N", allow_negative_numbers = true, help_heading = "What to keep")]
    pub keep_yearly: Option<Count>,
    /// Keep what is younger than this before the newest snapshot, such as 1y5m7d2h
    #[arg(long, value_name = "PERIOD", help_heading = "What to keep")]
    pub keep_within: Option<Period>,
    /// Keep the newest of each hour within this before the newest snapshot
    #[arg(long, value_name = "PERIOD", help_heading = "What to keep")]
    pub keep_within_hourly: Option<Period>,
    /// ... of each day
    #[arg(long, value_name = "PERIOD", help_heading = "What to keep")]
    pub keep_within_daily: Option<Period>,
    /// ... of each week
    #[arg(long, value_name = "PERIOD", help_heading = "What to keep")]
    pub keep_within_weekly: Option<Period>,
    /// ... of each month
    #[arg(long, value_name = "PERIOD", help_heading = "What to keep")]
    pub keep_within_monthly: Option<Period>,
    /// ... of each year
    #[arg(long, value_name = "PERIOD", help_heading = "What to keep")]
    pub keep_within_yearly: Option<Period>,
    /// Keep snapshots that have all of these tags (with commas between); may be given several times
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
  esker forget -n --keep-daily 7 --keep-weekly 5 --keep-monthly 12     says what would go, and why the rest is kept
  esker forget --keep-within-daily 30d --keep-within-monthly 2y
  esker forget --host auth01 --keep-last 10 --keep-tag release
  esker --config /etc/esker.toml forget --prune                        by the [keep] table of the config file
  esker forget 3fa2 81bc                                               these two

The rules are applied to each group (host and sources) apart. Rules given here replace all rules of the config file. No rule
drops the newest complete and the newest verified snapshot of a group, what a note keeps (`esker tag --keep`), what was first
seen within the repository's guard period, and snapshots whose claimed time cannot be (they are shown as quarantined and take no
slot). Containers that have another host name at every run need --group-by sources, or `host` in the config file. Snapshots that are named are forgotten whatever the rules say, unless a note keeps them.

Forgetting frees no space: `esker prune` does, or --prune in the same run; `esker undelete` brings a snapshot back until then.
A snapshot that is damaged can be forgotten by its id, and stops a prune until it is.")]
pub struct Forget {
    /// Forget these, and ask no rule
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// What to keep
    #[command(flatten)]
    pub rules: KeepRules,
    /// What tells groups apart: host, sources (or paths), tags, with commas between; empty: all are one group
    #[arg(short = 'g', long, value_name = "BY")]
    pub group_by: Option<GroupBy>,
    /// Which snapshots the rules look at
    #[command(flatten)]
    pub filter: Filter,
    /// Let the rules keep nothing of a group, and drop its newest complete and newest verified snapshot too
    #[arg(long)]
    pub unsafe_allow_remove_all: bool,
    /// The clock is right: nothing came for months, and the rules may count from what came then
    #[arg(long)]
    pub allow_time_jump: bool,
    /// Then free the space, as `esker prune` does
    #[arg(long, conflicts_with = "dry_run")]
    pub prune: bool,
    /// Say what would be forgotten, and forget nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `undelete`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker undelete               what was forgotten and may still be brought back
  esker undelete 3fa2          brings it back, under a new id

A snapshot comes back whole or not at all: when a prune has begun to free a part of it, nothing is committed (exit code 1).")]
pub struct Undelete {
    /// Bring these back; without any, list those that were forgotten
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// Look whether they could be brought back, and commit nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `tag`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker tag --add release,2026.2 latest
  esker tag --set nightly --host auth01             these tags and no others, for all of a host
  esker tag --keep latest                           no rule forgets it, until it is released
  esker tag --keep-until 2027-01-31 3fa2            ... or until then
  esker tag --release 3fa2                          as long as the rules say
  esker tag --comment 'before the upgrade' latest

The snapshots themselves are not changed: a note is added beside them. Needs an owner's key.")]
pub struct Tag {
    /// Which snapshots; or choose them with --tag, --host, --source
    #[arg(value_name = "SNAPSHOT")]
    pub snapshots: Vec<String>,
    /// Add these tags, with commas between
    #[arg(long, value_name = "TAGS", conflicts_with = "set")]
    pub add: Vec<String>,
    /// Take these tags away
    #[arg(long, value_name = "TAGS", conflicts_with = "set")]
    pub remove: Vec<String>,
    /// Have these tags and no others; empty: none
    #[arg(long, value_name = "TAGS")]
    pub set: Vec<String>,
    /// Keep for ever, whatever the rules of forget say
    #[arg(long, conflicts_with_all = ["keep_until", "release"])]
    pub keep: bool,
    /// Keep until then: a date, a date and time, or a period from now such as 30d
    #[arg(long, value_name = "WHEN", conflicts_with = "release")]
    pub keep_until: Option<String>,
    /// Keep no longer than the rules say
    #[arg(long)]
    pub release: bool,
    /// A comment, in place of the one before; empty: none
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Which snapshots, when none is named
    #[command(flatten)]
    pub filter: Filter,
    /// Say what would be changed, and change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `status`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  esker status                               what there is, and what was proved of it
  esker status --max-age 26h || notify       exit code 3: the newest snapshot of a group is older, incomplete, or missing
  esker status --host auth01 --max-age 1d    of one host only
  esker status --metrics /var/lib/node_exporter/esker.prom
                                             for Prometheus: written beside the old file and renamed

The last line is OK, or what is wrong. Exit code 0: every group has a complete newest snapshot that is no older than --max-age, and
the last run of no host failed; 3: something of that is wrong; 20 and 21: damage that is known from verifications (20: all of it
repairable; 21: data is affected). It reads back nothing itself: `esker verify` does.

A group is silent when newer complete snapshots of its host hold its sources or took their place, and when it has one snapshot only,
made more than 14 days and four times --max-age ago. `esker forget` removes a group that is no longer wanted.

With a writer key it can only tell when runs were begun and committed, by the names in the repository and their session records;
whether a snapshot is complete, and everything about packs, needs an owner's key.")]
pub struct Status {
    /// The newest snapshot of a group may be this old, such as 26h or 2d
    #[arg(long, value_name = "PERIOD")]
    pub max_age: Option<Period>,
    /// What tells groups apart: host, sources (or paths), tags, with commas between
    #[arg(short = 'g', long, value_name = "BY")]
    pub group_by: Option<GroupBy>,
    /// Write what is known to FILE in the text format of Prometheus, of all hosts and sources
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub metrics: Option<std::path::PathBuf>,
    /// Which snapshots
    #[command(flatten)]
    pub filter: Filter,
}
