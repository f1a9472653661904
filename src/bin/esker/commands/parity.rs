//! `esker parity`: recovery data beside packs, against bad sectors.

use anyhow::Result;
use esker::format::names;
use esker::repair::parity;
use serde_json::json;

use crate::args::{Parity, ParityAction};
use crate::context::Context;
use crate::error::Usage;
use crate::exit_code::ExitCode;
use crate::terminal::words;

/// Does one of them.
pub fn run(options: &Parity, context: &mut Context) -> Result<ExitCode> {
    match options.action {
        ParityAction::Set { percent } => set(percent, context),
        ParityAction::Add { percent, dry_run } => add(percent, dry_run, context),
        ParityAction::Drop { dry_run } => drop(dry_run, context),
    }
}

fn set(percent: u8, context: &mut Context) -> Result<ExitCode> {
    let repository = context.open()?;
    let before = repository.config().parity_percent();
    let config = parity::set(&repository, percent)?;
    if context.out.json {
        context.out.json(&json!({
            "message_type": "parity_set", "percent": percent, "percent_before": before, "config": config,
        }))?;
    } else {
        context.out.remark(&match percent {
            0 => "new packs get no parity; existing parity remains until `esker parity drop`".to_owned(),
            _ => format!("new packs get {percent}% of parity; `esker parity add` creates it for existing packs"),
        })?;
    }
    Ok(ExitCode::Done)
}

fn add(percent: Option<u8>, dry_run: bool, context: &mut Context) -> Result<ExitCode> {
    let repository = context.open()?;
    let percent = percent.unwrap_or(repository.config().parity_percent());
    if percent == 0 {
        return Err(Usage::new("no amount of parity was given, and this repository is set to none")
            .hint("give --percent 5%; for new packs too, run `esker parity set 5%`")
            .into());
    }
    let summary = parity::add(&repository, percent, dry_run, &*context.monitor(), &context.stop)?;
    context.progress.finish();
    if context.out.json {
        context.out.json(&json!({
            "message_type": "summary",
            "dry_run": dry_run,
            "percent": percent,
            "packs": summary.packs,
            "added": summary.added,
            "bytes": summary.bytes,
            "packs_damaged": summary.damaged.iter().map(|id| names::pack_name(*id).to_string()).collect::<Vec<_>>(),
        }))?;
    } else {
        let verb = if dry_run { "would get" } else { "got" };
        context.out.remark(&format!(
            "{} of {} {verb} {percent}% of parity ({})",
            words::count(summary.added),
            words::counted(summary.packs, "pack", "packs"),
            words::size(summary.bytes),
        ))?;
    }
    // Damaged packs were told of one by one.
    Ok(if summary.damaged.is_empty() { ExitCode::Done } else { ExitCode::DamageData })
}

fn drop(dry_run: bool, context: &mut Context) -> Result<ExitCode> {
    let repository = context.open()?;
    let (count, bytes) = parity::remove(&repository, dry_run, &context.stop)?;
    if context.out.json {
        context.out.json(&json!({ "message_type": "summary", "dry_run": dry_run, "removed": count, "bytes": bytes }))?;
        return Ok(ExitCode::Done);
    }
    let verb = if dry_run { "would be deleted" } else { "deleted" };
    context.out.remark(&format!("{} {verb} ({})", words::counted(count, "parity object", "parity objects"), words::size(bytes)))?;
    if repository.config().parity_percent() > 0 {
        context.out.remark("new packs still get parity; `esker parity set 0` stops that")?;
    }
    Ok(ExitCode::Done)
}
