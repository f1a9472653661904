//! What a prune did, for `prune` and `forget --prune`.

use anyhow::Result;
use esker::prune::{PruneSummary, Waiting};
use serde_json::{Value, json};

use crate::context::Context;
use crate::terminal::escape::escape;
use crate::terminal::words;

/// The result, for a person or a script.
pub fn print(summary: &PruneSummary, dry_run: bool, seconds: f64, context: &mut Context) -> Result<()> {
    if context.out.json {
        return context.out.json(&as_json(summary, dry_run, seconds));
    }
    if summary.settled {
        return context.out.remark("nothing has changed since the last prune");
    }
    let packs = |count| words::counted(count, "pack", "packs");
    if summary.packs_unexplained > 0 {
        context.out.remark(&format!(
            "{} {} in {} in place: no snapshot needs them yet, but a running backup may have just stored them",
            if dry_run { "would leave" } else { "left" },
            words::size(summary.bytes_unexplained),
            packs(summary.packs_unexplained)
        ))?;
    }
    if dry_run {
        let size = freed(summary.bytes_condemned, summary);
        context.out.remark(&match summary.packs_repacked {
            0 => format!("would free {size} in {}", packs(summary.packs_condemned)),
            repacked => format!(
                "would free {size}: {} would be deleted, after {} of chunks in {} of them are stored again",
                packs(summary.packs_condemned),
                words::size(summary.bytes_written),
                words::count(repacked),
            ),
        })?;
        return context.out.remark("dry run: nothing was changed");
    }
    if summary.packs_repacked > 0 {
        context.out.remark(&format!(
            "repacked the used part of {} ({} written)",
            packs(summary.packs_repacked),
            words::size(summary.bytes_written)
        ))?;
    }
    context.out.remark(&match (summary.packs_deleted, summary.packs_waiting) {
        (0, 0) => format!("nothing to free, in {}", words::duration(seconds)),
        (0, _) => format!("nothing freed yet, in {}", words::duration(seconds)),
        (deleted, _) => {
            let size = freed(summary.bytes_deleted, summary);
            format!("freed {size}: {} deleted, in {}", packs(deleted), words::duration(seconds))
        }
    })?;
    if summary.too_full_to_repack {
        context.out.remark("the store is too full to repack partly used packs; run `esker prune` again")?;
    }
    if summary.sessions_revoked > 0 {
        let sessions = words::counted(summary.sessions_revoked, "abandoned session", "abandoned sessions");
        context.out.remark(&format!("ended {sessions}"))?;
    }
    if summary.packs_pardoned > 0 {
        context.out.remark(&format!("{} are needed after all and remain", packs(summary.packs_pardoned)))?;
    }
    if summary.packs_waiting > 0 {
        context.out.remark(&format!(
            "the next prune frees {} in {}, after these runs release them (within ten minutes, or at their end):",
            words::size(summary.bytes_waiting),
            packs(summary.packs_waiting)
        ))?;
        for waiting in &summary.waiting {
            context.out.remark(&format!("  {}", waiting_line(waiting)))?;
        }
        context.out.remark("to end a run that you know to be dead: esker unlock SESSION")?;
    }
    Ok(())
}

/// What the store gains: the packs that go, less those that were written in their place.
fn freed(bytes_gone: u64, summary: &PruneSummary) -> String {
    words::size(bytes_gone.saturating_sub(summary.bytes_written))
}

fn waiting_line(waiting: &Waiting) -> String {
    let host = match &waiting.host {
        Some(host) => format!("a backup of host {}", escape(host.as_bytes())),
        None => "a session whose first record cannot be read".to_owned(),
    };
    let pid = waiting.pid.map(|pid| format!(", process {pid}")).unwrap_or_default();
    let since = waiting.since.map(|since| format!(", since {}", words::local_time(since))).unwrap_or_default();
    format!("{host}{pid}{since} (session {})", waiting.session.short())
}

fn as_json(summary: &PruneSummary, dry_run: bool, seconds: f64) -> Value {
    let waiting = |waiting: &Waiting| {
        json!({
            "session": waiting.session.to_hex(),
            "hostname": waiting.host,
            "pid": waiting.pid,
            "since": waiting.since.map(words::rfc3339),
        })
    };
    json!({
        "message_type": "summary",
        "dry_run": dry_run,
        "settled": summary.settled,
        "packs_deleted": summary.packs_deleted,
        "bytes_deleted": summary.bytes_deleted,
        "packs_condemned": summary.packs_condemned,
        "bytes_condemned": summary.bytes_condemned,
        "packs_waiting": summary.packs_waiting,
        "bytes_waiting": summary.bytes_waiting,
        "packs_unexplained": summary.packs_unexplained,
        "bytes_unexplained": summary.bytes_unexplained,
        "packs_pardoned": summary.packs_pardoned,
        "packs_repacked": summary.packs_repacked,
        "bytes_written": summary.bytes_written,
        "bytes_used": summary.bytes_used,
        "bytes_unused": summary.bytes_unused,
        "sessions_revoked": summary.sessions_revoked,
        "objects_cleared": summary.objects_cleared,
        "index_files_replaced": summary.index_files_replaced,
        "too_full_to_repack": summary.too_full_to_repack,
        "waiting": summary.waiting.iter().map(waiting).collect::<Vec<_>>(),
        "total_duration": seconds,
    })
}
