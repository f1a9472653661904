//! The command lines of `prune` and `unlock`.

use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use esker::prune::MaxUnused;

/// `prune`
#[derive(Args, Debug)]
#[command(
    long_about = "Free the space of forgotten snapshots. Backups may run at the same time.\n\n\
        A prune condemns the data that no snapshot needs. Each running backup answers which of it the backup still uses. The rest is \
        deleted. If no backup runs, all of this happens at once. Otherwise the next prune deletes what this one condemned, or this one \
        waits (--grace). The next prune finishes one that was interrupted. Small packs are merged when they fill a whole one.",
    after_help = "\
Examples:
  esker prune                          free space; an immediate second run does almost nothing
  esker prune --max-unused 0           repack every partly used pack
  esker prune --grace 15m              wait for running backups, so that all space is freed now"
)]
pub struct Prune {
    /// How much unused data may remain in partly used packs: a size, a percentage, or `unlimited`
    #[arg(long, value_name = "LIMIT", default_value = "5%", value_parser = limit)]
    pub max_unused: MaxUnused,
    /// How many bytes of packs may be repacked; 0 repacks nothing
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_repack_size: Option<u64>,
    /// How long to wait for running backups to release data, such as 15m
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub grace: Duration,
    /// Continue even if far more would be deleted than the forgotten snapshots explain
    #[arg(long)]
    pub force: bool,
    /// Report what would be freed, but change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `unlock`
#[derive(Args, Debug)]
#[command(
    long_about = "Show the runs that a prune waits for, and end those that are dead.\n\n\
        esker never locks the repository. But a backup that was killed leaves a session, and a prune keeps the data that the session may \
        use. The next run on the same machine ends such a session. After two weeks of silence it ends by itself, for example if its \
        container or machine is gone. If you end a live run by mistake, it fails and saves nothing. The next run uses what it stored.",
    after_help = "\
Examples:
  esker unlock --dry-run               show live and dead runs
  esker unlock                         end runs of this machine whose process is gone
  esker unlock 3fa2                    end this run, on whatever machine it ran"
)]
pub struct Unlock {
    /// End these sessions [default: those of this machine whose process is gone]
    #[arg(value_name = "SESSION", conflicts_with = "remove_all")]
    pub sessions: Vec<String>,
    /// End all sessions, including those that may be alive
    #[arg(long)]
    pub remove_all: bool,
    /// Show the sessions, but end none
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

fn size(text: &str) -> Result<u64, String> {
    ByteSize::from_str(text).map(|size| size.as_u64()).map_err(|_| "expected a size, such as 500MiB or 10GiB".to_owned())
}

fn limit(text: &str) -> Result<MaxUnused, String> {
    if text == "unlimited" {
        return Ok(MaxUnused::Unlimited);
    }
    match text.strip_suffix('%') {
        Some(percent) => match percent.trim().parse::<f64>() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(MaxUnused::Percent(percent)),
            _ => Err("a percentage is between 0% and 100%".to_owned()),
        },
        None => {
            Ok(MaxUnused::Bytes(size(text).map_err(|_| "expected a size (500MiB), a percentage (5%) or `unlimited`".to_owned())?))
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let refuse = || "expected a duration, such as 90s, 15m, 2h or 1d".to_owned();
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| refuse())?;
    let unit = match &text[digits.len()..] {
        "s" | "" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(refuse()),
    };
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(refuse)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_size_a_percentage_or_unlimited() {
        assert_eq!(limit("5%").unwrap(), MaxUnused::Percent(5.0));
        assert_eq!(limit("0").unwrap(), MaxUnused::Bytes(0));
        assert_eq!(limit("1GiB").unwrap(), MaxUnused::Bytes(1 << 30));
        assert_eq!(limit("unlimited").unwrap(), MaxUnused::Unlimited);
        for wrong in ["", "-1%", "101%", "NaN%", "many"] {
            assert!(limit(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_duration_has_one_unit() {
        assert_eq!(duration("15m").unwrap(), Duration::from_secs(900));
        assert_eq!(duration("0s").unwrap(), Duration::ZERO);
        assert_eq!(duration("2d").unwrap(), Duration::from_secs(172_800));
        for wrong in ["", "m", "1w", "1h30m", "-1s", "99999999999999999999s", "999999999999999999d"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
