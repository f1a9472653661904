//! `esker unlock`: sessions that a prune waits for, and ending those of runs that are dead.

use anyhow::Result;
use esker::repository::unlock::{self, UnderWay};
use serde_json::json;

use crate::args::Unlock;
use crate::context::Context;
use crate::error::Usage;
use crate::exit_code::ExitCode;
use crate::terminal::escape::escape;
use crate::terminal::words;

/// What becomes of a session.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    Stays,
    WouldEnd,
    Ended,
    Committed,
}

/// Ends those that were named, or else those that are proved to be dead, and shows all.
pub fn run(options: &Unlock, context: &mut Context) -> Result<ExitCode> {
    let repository = context.open()?;
    let sessions = unlock::under_way(&repository)?;
    let mut wanted = vec![options.remove_all; sessions.len()];
    for name in &options.sessions {
        wanted[named(&sessions, name)?] = true;
    }
    if options.sessions.is_empty() && !options.remove_all {
        wanted = sessions.iter().map(|session| session.is_dead).collect();
    }
    let mut fates = Vec::with_capacity(sessions.len());
    for (session, wanted) in sessions.iter().zip(wanted) {
        fates.push(match wanted {
            false => Fate::Stays,
            true if options.dry_run => Fate::WouldEnd,
            true if unlock::end(&repository, session.id)? => Fate::Ended,
            true => Fate::Committed,
        });
    }
    show(&sessions, &fates, options.dry_run, context)?;
    Ok(ExitCode::Done)
}

/// The place of the one whose id begins like this.
fn named(sessions: &[UnderWay], prefix: &str) -> Result<usize> {
    let fits = |session: &UnderWay| !prefix.is_empty() && session.id.to_hex().starts_with(prefix);
    let mut fitting = sessions.iter().enumerate().filter(|(_, session)| fits(session)).map(|(place, _)| place);
    match (fitting.next(), fitting.next()) {
        (Some(place), None) => Ok(place),
        (None, _) => Err(Usage::new(format!("no session {} is active", escape(prefix.as_bytes())))
            .hint("`esker unlock --dry-run` lists the active ones")
            .into()),
        (Some(_), Some(_)) => {
            Err(Usage::new(format!("{} fits several sessions; type more of it", escape(prefix.as_bytes()))).into())
        }
    }
}

fn show(sessions: &[UnderWay], fates: &[Fate], dry_run: bool, context: &mut Context) -> Result<()> {
    let ended = fates.iter().filter(|fate| **fate == Fate::Ended).count() as u64;
    if context.out.json {
        for (session, fate) in sessions.iter().zip(fates) {
            let start = session.start.as_ref();
            context.out.json(&json!({
                "message_type": "session",
                "session": session.id.to_hex(),
                "hostname": start.map(|start| &start.host),
                "pid": start.map(|start| start.pid),
                "program": start.map(|start| &start.program),
                "since": start.map(|start| words::rfc3339(start.time)),
                "dead": session.is_dead,
                "ended": *fate == Fate::Ended,
                "committed": *fate == Fate::Committed,
            }))?;
        }
        return context.out.json(&json!({
            "message_type": "summary", "dry_run": dry_run, "sessions": sessions.len(), "sessions_ended": ended,
        }));
    }
    if sessions.is_empty() {
        return context.out.remark("no run is active");
    }
    let rows = sessions.iter().zip(fates).map(|(session, fate)| row(session, *fate)).collect();
    context.out.line(&words::table(&["Session", "Host", "Process", "Since", ""], &[2], rows))?;
    context.out.remark(&match dry_run {
        true => "dry run: nothing was changed".to_owned(),
        false => format!("ended {}", words::counted(ended, "session", "sessions")),
    })?;
    if fates.contains(&Fate::Stays) && ended == 0 {
        context.out.remark("to end another run that you know to be dead: esker unlock SESSION")?;
    }
    Ok(())
}

fn row(session: &UnderWay, fate: Fate) -> Vec<String> {
    let start = session.start.as_ref();
    let state = match fate {
        Fate::Ended => "ended",
        Fate::WouldEnd => "would be ended",
        Fate::Committed => "has committed meanwhile",
        Fate::Stays if session.is_dead => "its process is gone",
        Fate::Stays if start.is_none() => "its first record cannot be read",
        Fate::Stays => "may be at work",
    };
    vec![
        session.id.short(),
        start.map(|start| escape(start.host.as_bytes())).unwrap_or_default(),
        start.map(|start| start.pid.to_string()).unwrap_or_default(),
        start.map(|start| words::local_time(start.time)).unwrap_or_default(),
        state.to_owned(),
    ]
}
