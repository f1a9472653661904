//! `esker recover`: a snapshot of the folders no snapshot reaches any more.

use anyhow::Result;
use esker::filesystem::Owners;
use esker::repair::recover::{self, RecoverOptions, RecoverSummary};
use serde_json::{Value, json};

use crate::args::Recover;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::terminal::escape::escape;
use crate::terminal::words;

/// Looks for them, and commits one snapshot that holds each in a folder of its own.
pub fn run(options: &Recover, context: &mut Context) -> Result<ExitCode> {
    let repository = context.open()?;
    let recover_options = RecoverOptions {
        host: context.host(),
        user: Owners::new().user_name(rustix::process::geteuid().as_raw()).unwrap_or_default(),
        program: concat!("esker ", env!("CARGO_PKG_VERSION")).to_owned(),
        dry_run: options.dry_run,
    };
    let summary = recover::run(&repository, &recover_options, &context.monitor(), &context.stop)?;
    context.progress.finish();
    print(&summary, options.dry_run, context)?;
    Ok(if summary.unreadable > 0 { ExitCode::DamageData } else { ExitCode::Done })
}

fn print(summary: &RecoverSummary, dry_run: bool, context: &mut Context) -> Result<()> {
    let entries = |root: &recover::Root| root.entries.iter().map(|name| escape(name)).collect::<Vec<_>>();
    if context.out.json {
        let root =
            |root: &recover::Root| json!({ "name": root.name, "newest": words::rfc3339(root.newest), "entries": entries(root) });
        return context.out.json(&json!({
            "message_type": "summary",
            "dry_run": dry_run,
            "snapshot_id": summary.snapshot.map(|id| id.to_hex()),
            "roots": summary.roots.iter().map(root).collect::<Vec<Value>>(),
            "trees": summary.trees,
            "trees_unreadable": summary.unreadable,
            "lost": summary.lost,
        }));
    }
    for root in &summary.roots {
        context.out.line(&format!("{}  {}  {}", root.name, words::local_time(root.newest), entries(root).join(" ")))?;
    }
    if summary.unreadable > 0 {
        let trees = words::counted(summary.unreadable, "folder or list", "folders or lists");
        context.out.remark(&format!("{trees} cannot be read; `esker verify --read-data` says why"))?;
    }
    if summary.lost > 0 {
        let lost = words::counted(summary.lost, "entry was", "entries were");
        context.out.remark(&format!("{lost} left out, because their content cannot be read"))?;
    }
    context.out.remark(&match (summary.roots.len() as u64, summary.snapshot) {
        (0, _) => "every folder belongs to a snapshot; there is nothing to recover".to_owned(),
        (count, Some(id)) => format!(
            "snapshot {} holds {} that belonged to no snapshot, each below `recovered`",
            id.short(),
            words::counted(count, "folder", "folders")
        ),
        (count, None) if dry_run => {
            format!("would put {} into a new snapshot; nothing was changed", words::counted(count, "folder", "folders"))
        }
        (count, None) => format!("{} no snapshot reaches", words::counted(count, "folder that", "folders that")),
    })
}
