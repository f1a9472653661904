//! `esker guard`: how long no rule drops a snapshot that was just seen.

use anyhow::Result;
use serde_json::json;

use crate::args::Guard;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::shared::creation;

/// Shows or changes it.
pub fn run(options: &Guard, context: &mut Context) -> Result<ExitCode> {
    let wanted = match options.period.as_deref() {
        None => None,
        Some("0") => Some(0),
        Some(text) => Some(creation::guard(&Some(text.to_owned()))?),
    };
    let repository = context.open()?;
    let before = repository.config().guard_seconds;
    let Some(seconds) = wanted else {
        if context.out.json {
            return context.out.json(&json!({ "message_type": "guard", "guard_seconds": before })).map(|()| ExitCode::Done);
        }
        return context.out.line(&shown(before)).map(|()| ExitCode::Done);
    };
    // A config is for ever: the same once more would only make the chain longer.
    let config = match seconds == before {
        true => repository.config_number(),
        false => repository.change_config(|config| config.guard_seconds = seconds)?,
    };
    if context.out.json {
        context.out.json(&json!({
            "message_type": "guard_set", "guard_seconds": seconds, "guard_seconds_before": before, "config": config,
        }))?;
    } else {
        context.out.remark(&match seconds {
            0 => "rules of `forget` may drop any snapshot now".to_owned(),
            _ => format!("no rule of `forget` drops a snapshot first seen less than {} ago", shown(seconds)),
        })?;
    }
    Ok(ExitCode::Done)
}

fn shown(seconds: u64) -> String {
    match seconds {
        0 => "none".to_owned(),
        seconds if seconds.is_multiple_of(86_400) => format!("{} days", seconds / 86_400),
        seconds => format!("{} hours", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guard_is_shown_in_days_or_hours() {
        assert_eq!([0, 86_400 * 14, 3600 * 36].map(shown), ["none", "14 days", "36 hours"]);
    }
}
