//! The command lines of `prune` and `unlock`.

use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use clap::Args;
use esker::prune::MaxUnused;

/// `prune`
#[derive(Args, Debug)]
#[command(
    long_about = "Free the space of snapshots that were forgotten, while backups may run.\n\n\
        What no snapshot needs is condemned; every backup that runs says what of it it still relies on; then it is deleted. When no backup \
        runs, all of that happens at once; else the next prune deletes what this one condemned (or this one, with --grace). A prune that \
        was interrupted is finished by the next. Small packs, as short runs leave them, are put together when they fill one.",
    after_help = "\
Examples:
  esker prune                          free space; a second one right after it does almost nothing
  esker prune --max-unused 0           repack every partly used pack
  esker prune --grace 15m              wait for running backups, so that all of it is freed now"
)]
pub struct Prune {
    /// Leave at most so much unused in partly used packs: a size, a percentage, or `unlimited`
    #[arg(long, value_name = "LIMIT", default_value = "5%", value_parser = limit)]
    pub max_unused: MaxUnused,
    /// Read at most so many bytes of packs to store again what is used of them; 0 repacks nothing
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_repack_size: Option<u64>,
    /// Wait so long for running backups to let go, such as 15m
    #[arg(long, value_name = "DURATION", default_value = "0s", value_parser = duration)]
    pub grace: Duration,
    /// Go on although far more would go than what was forgotten explains
    #[arg(long)]
    pub force: bool,
    /// Say what would be freed, change nothing
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

/// `unlock`
#[derive(Args, Debug)]
#[command(
    long_about = "Show the runs that a prune waits for, and end those that are dead.\n\n\
        Nothing is ever locked. But a backup that was killed leaves a session, and a prune keeps what it may rely on: until the next run on \
        the same machine sees that it is dead, or for two weeks, when nobody can see it: in a container that is gone, or on a machine that \
        is. Ended by mistake, a run that lives fails at its end and commits nothing; what it stored is used by the next one.",
    after_help = "\
Examples:
  esker unlock --dry-run               who is at work, and who is dead
  esker unlock                         end those whose process, on this machine, is gone
  esker unlock 3fa2                    end this one, wherever it ran"
)]
pub struct Unlock {
    /// End these; without any, those whose process is gone from this machine
    #[arg(value_name = "SESSION", conflicts_with = "remove_all")]
    pub sessions: Vec<String>,
    /// End all of them, also those that may be at work
    #[arg(long)]
    pub remove_all: bool,
    /// Show them and end none
    #[arg(short = 'n', long)]
    pub dry_run: bool,
}

fn size(text: &str) -> Result<u64, String> {
    ByteSize::from_str(text).map(|size| size.as_u64()).map_err(|_| "not a size, such as 500MiB or 10GiB".to_owned())
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
        None => Ok(MaxUnused::Bytes(
            size(text).map_err(|_| "neither a size (500MiB), nor a percentage (5%), nor `unlimited`".to_owned())?,
        )),
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    let refuse = || "not a duration, such as 90s, 15m, 2h or 1d".to_owned();
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
