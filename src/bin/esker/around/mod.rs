//! What happens around a command: one run at a time, hooks, and telling monitors.

mod lock;
pub mod record;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Result;
use serde_json::{Value, json};

use crate::args::{Command, Snapshot};
use crate::context::Context;
use crate::ended::Ended;
use crate::error::Failure;
use crate::exit_code::ExitCode;
use crate::hooks::{self, Facts, OfSources, Stage};
use crate::monitoring::{Monitoring, Told};
use crate::settings::{Hooks, Wrapped};
use crate::sources;

/// What hooks and monitors are told, as far as it is known.
#[derive(Default)]
pub struct Run {
    /// The id of the snapshot that was committed.
    pub snapshot_id: Option<String>,
    /// The summary, as `--json` prints it.
    pub summary: Option<Value>,
}

/// Which of the commands that hooks and monitors are for this is.
pub fn name(command: &Command) -> Option<Wrapped> {
    match command {
        Command::Snapshot(_) => Some(Wrapped::Snapshot),
        Command::Forget(_) => Some(Wrapped::Forget),
        Command::Prune(_) => Some(Wrapped::Prune),
        Command::Verify(_) => Some(Wrapped::Verify),
        Command::Copy(_) => Some(Wrapped::Copy),
        Command::Mirror(_) => Some(Wrapped::Mirror),
        _ => None,
    }
}

/// A dry run changes nothing, so there is nothing to prepare and nothing to tell.
fn is_dry(command: &Command) -> bool {
    match command {
        Command::Snapshot(options) => options.dry_run,
        Command::Forget(options) => options.dry_run,
        Command::Prune(options) => options.dry_run,
        Command::Copy(options) => options.dry_run,
        Command::Mirror(options) => options.dry_run,
        _ => false,
    }
}

/// What runs the command itself.
pub type Act = fn(Command, &mut Context) -> Result<ExitCode>;

/// Runs a command, with all that belongs around it.
pub fn run(what: Command, context: &mut Context, command: Act) -> Result<ExitCode> {
    let Some(name) = name(&what).filter(|_| !is_dry(&what)) else { return command(what, context) };
    // Before any hook: a second run must not stop and start what the first one is reading.
    let _lock = match &what {
        Command::Snapshot(options) if !options.allow_overlap => lock::take(options, context)?,
        _ => None,
    };
    let belongs = |commands: &Option<Vec<Wrapped>>| match commands {
        Some(commands) => commands.contains(&name),
        None => name == Wrapped::Snapshot,
    };
    let hooks = Some(context.settings.hooks.clone()).filter(|hooks| hooks.all().next().is_some() && belongs(&hooks.commands));
    let monitor = Some(context.settings.monitor.clone()).filter(|monitor| belongs(&monitor.commands));
    if hooks.is_some() || context.settings.sources.iter().any(|source| source.hooks.is_some()) {
        // What was begun by a hook has to be ended by one, also after Ctrl-C.
        context.signals.install(&context.stop)?;
    }
    let mut story = Story { name, host: host(&what, context), begun: Instant::now() };
    let monitoring = monitor.map(|entry| Monitoring::new(entry, Arc::clone(&context.progress)));
    monitoring.iter().for_each(|monitoring| monitoring.start(&story.told(context, None)));
    let result = story.hooked(hooks.as_ref(), what, context, command);
    let ended = Ended::of(&result, &context.signals, name == Wrapped::Snapshot);
    let told = story.told(context, Some(&ended));
    if name == Wrapped::Snapshot {
        record::keep(&story.host, &told, context);
    }
    monitoring.iter().for_each(|monitoring| monitoring.end(&told));
    result
}

fn host(what: &Command, context: &Context) -> String {
    match what {
        Command::Snapshot(options) => options.host.clone().unwrap_or_else(|| context.host()),
        _ => context.host(),
    }
}

/// One run of a command.
struct Story {
    name: Wrapped,
    host: String,
    begun: Instant,
}

impl Story {
    fn hooked(&mut self, hooks: Option<&Hooks>, what: Command, context: &mut Context, command: Act) -> Result<ExitCode> {
        let Some(hooks) = hooks else { return command(what, context) };
        let facts = self.facts(context, None);
        let result = match hooks::run(hooks, Stage::Before, &facts, Some(&context.stop), &context.progress) {
            Ok(()) => command(what, context),
            Err(why) => Err(Failure::new(format!("{why}; nothing was done"))
                .hint("`on-failure = \"warn\"` in [hooks] continues without it")
                .into()),
        };
        context.progress.finish();
        let ended = Ended::of(&result, &context.signals, self.name == Wrapped::Snapshot);
        let facts = self.facts(context, Some(&ended));
        // Not stopped by the Ctrl-C that stopped the run; only a `before` gives an answer that counts.
        if ended.code != ExitCode::Done {
            let _ = hooks::run(hooks, Stage::OnError, &facts, None, &context.progress);
        }
        let _ = hooks::run(hooks, Stage::After, &facts, None, &context.progress);
        result
    }

    fn facts(&self, context: &Context, ended: Option<&Ended>) -> Facts {
        let mut facts = facts(self.name, &self.host);
        facts.extend(context.run.snapshot_id.clone().map(|id| ("ESKER_SNAPSHOT_ID", id)));
        if let Some(ended) = ended {
            facts.insert("ESKER_EXIT_CODE", ended.code.number().to_string());
            facts.extend(ended.report.as_ref().map(|report| ("ESKER_ERROR", report.message.clone())));
        }
        facts
    }

    fn told(&self, context: &Context, ended: Option<&Ended>) -> Told {
        let exit_code = ended.map(|ended| ended.code.number());
        let report = ended.and_then(|ended| ended.report.as_ref());
        let duration = self.begun.elapsed().as_secs_f64();
        let message = report.map_or_else(String::new, |report| report.message.clone());
        Told {
            exit_code,
            json: json!({
                "message_type": "run",
                "command": self.name.name(),
                "host": self.host,
                "exit_code": exit_code,
                "snapshot_id": context.run.snapshot_id,
                "duration": duration,
                "message": message,
                "hint": report.and_then(|report| report.hint.clone()),
                "summary": context.run.summary,
            }),
            facts: self.facts(context, ended),
        }
    }
}

fn facts(name: Wrapped, host: &str) -> Facts {
    Facts::from([("ESKER_COMMAND", name.name().to_owned()), ("ESKER_HOST", host.to_owned())])
}

/// The hooks of the sources of this run, for the library to call; none for a dry run.
pub fn of_sources(options: &Snapshot, context: &Context) -> Result<Option<Arc<dyn esker::snapshot::Around>>> {
    let hooks: BTreeMap<String, Hooks> = sources::hooks(&context.settings)?;
    if hooks.is_empty() || options.dry_run {
        return Ok(None);
    }
    let host = options.host.clone().unwrap_or_else(|| context.host());
    let progress = Arc::clone(&context.progress);
    Ok(Some(Arc::new(OfSources { hooks, facts: facts(Wrapped::Snapshot, &host), progress })))
}
