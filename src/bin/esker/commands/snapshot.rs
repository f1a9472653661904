//! `esker snapshot`: every source into one snapshot, all or nothing.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use esker::filesystem::Owners;
use esker::format::note::{Keep, Value as Says};
use esker::records::notes::TEXT_SIZE_MAX;
use esker::repository::Repository;
use esker::snapshot::{self, SnapshotOptions, SnapshotSummary, SourceStatus, SourceSummary};
use esker::source::SourceKind;
use serde_json::{Value, json};

use crate::args::{Kdf, Snapshot};
use crate::around;
use crate::context::{Context, holds_config};
use crate::error::Usage;
use crate::exit_code::ExitCode;
use crate::shared::moment::until;
use crate::shared::{creation, place, warnings};
use crate::sources::{self, Gathered, Tell};
use crate::terminal::escape::escape;
use crate::terminal::words;

/// Takes it and says what it cost.
pub fn run(options: &Snapshot, context: &mut Context) -> Result<ExitCode> {
    let (warn, remark) = (|text: &str| context.progress.warn(text), |text: &str| context.progress.remark(text));
    let tell = Tell { warn: &warn, remark: &remark, stop: &context.stop };
    let gathered = sources::gather(options, &context.settings, &tell)?;
    let directories = gathered.directories();
    let Gathered { sources, patterns } = gathered;
    let keep = match &options.keep_until {
        Some(text) => Some(Keep::Until(until(text)?)),
        None => options.keep.then_some(Keep::ForEver),
    };
    if options.comment.as_ref().is_some_and(|comment| comment.len() > TEXT_SIZE_MAX) {
        return Err(Usage::new(format!("a comment has at most {TEXT_SIZE_MAX} bytes")).into());
    }
    let repository = open(options, context)?;
    if keep.is_some() {
        // Before hours of reading, not after them.
        repository.need_owner("pinning a snapshot")?;
    }
    if options.comment.is_some() {
        repository.need_owner("commenting a snapshot")?;
    }
    let mut tags = context.settings.tags.clone();
    tags.extend(options.tag.iter().cloned());
    tags.sort_unstable();
    tags.dedup();
    let snapshot_options = SnapshotOptions {
        host: options.host.clone().unwrap_or_else(|| context.host()),
        user: Owners::new().user_name(rustix::process::geteuid().as_raw()).unwrap_or_default(),
        tags,
        program: concat!("esker ", env!("CARGO_PKG_VERSION")).to_owned(),
        force: options.force,
        dry_run: options.dry_run,
        no_compose: options.no_compose,
        never: context.never()?,
        around: around::of_sources(options, context)?,
    };
    let summary = snapshot::run(&repository, sources, &snapshot_options, &context.monitor(), &context.stop)?;
    context.progress.finish();
    context.run.snapshot_id = summary.id.map(|id| id.to_hex());
    let unused = unused_patterns(&patterns, &summary);
    context.run.summary = Some(as_json(&summary, &unused));
    if let Some(id) = summary.id {
        let comment = options.comment.clone().filter(|comment| !comment.is_empty()).map(Says::Comment);
        let says: Vec<_> = keep.map(Says::Keep).into_iter().chain(comment).map(|says| (id, says)).collect();
        if !says.is_empty() {
            repository.say(&repository.notes()?, says)?;
        }
    }
    print(&summary, &unused, context)?;
    if options.only.is_empty() {
        remark_unused(&unused, &directories, options, context);
    }
    Ok(if summary.reasons.is_empty() { ExitCode::Done } else { ExitCode::Incomplete })
}

fn open(options: &Snapshot, context: &mut Context) -> Result<Arc<Repository>> {
    if options.init && !holds_config(&*context.environment()?.store)? {
        let repository = creation::create(Kdf::Default, 0, None, None, context)?;
        context.signals.install(&context.stop)?;
        return Ok(repository);
    }
    context.open()
}

fn print(summary: &SnapshotSummary, unused: &[String], context: &mut Context) -> Result<()> {
    if context.out.json {
        return context.out.json(&as_json(summary, unused));
    }
    for source in &summary.sources {
        context.out.remark(&source_line(source))?;
    }
    let counts = &summary.counts;
    context.out.remark(&format!(
        "{}: {} new, {} changed, {} unmodified; {} read or known",
        words::counted(counts.files(), "file", "files"),
        words::count(counts.files_new),
        words::count(counts.files_changed),
        words::count(counts.files_unmodified),
        words::size(counts.bytes),
    ))?;
    let took = words::duration(summary.duration.as_secs_f64());
    if summary.totals.chunks_composed > 0 {
        context.out.remark(&format!(
            "{} composed of earlier ones, which saved {} of new data",
            words::counted(summary.totals.chunks_composed, "chunk", "chunks"),
            words::size(summary.totals.bytes_composed),
        ))?;
    }
    context.out.remark(&match summary.id {
        Some(_) => format!(
            "stored {} ({} of new data) in {took}",
            words::size(summary.totals.bytes_stored),
            words::size(summary.totals.bytes_added)
        ),
        // What it would take when it is compressed is not known without storing it.
        None => format!("would store {} of new data (before compression); read in {took}", words::size(summary.totals.bytes_added)),
    })?;
    match summary.id {
        Some(id) => context.out.remark(&format!("snapshot {} saved", id.short()))?,
        None => context.out.remark("dry run: nothing was stored")?,
    }
    for (source, text) in warnings_of(summary) {
        context.progress.warn(&format!("{source}: {text}"));
    }
    if !summary.reasons.is_empty() {
        context.progress.warn(&format!(
            "the snapshot {} incomplete: {} missing or incomplete",
            if summary.id.is_some() { "is" } else { "would be" },
            if summary.reasons.count == 1 {
                "1 thing is".to_owned()
            } else {
                format!("{} things are", words::count(summary.reasons.count))
            },
        ));
    }
    Ok(())
}

/// The name of a source and what a restore of it will lack.
fn warnings_of(summary: &SnapshotSummary) -> impl Iterator<Item = (&str, &str)> {
    summary.sources.iter().flat_map(|source| source.warnings.iter().map(|text| (source.name.as_str(), text.as_str())))
}

/// Patterns that left nothing out of any directory. Without a directory there was nothing to leave out.
fn unused_patterns(given: &[String], summary: &SnapshotSummary) -> Vec<String> {
    if !summary.sources.iter().any(|source| source.kind == SourceKind::Directory) {
        return Vec::new();
    }
    let used: HashSet<&String> = summary.sources.iter().flat_map(|source| &source.used_patterns).collect();
    given.iter().filter(|pattern| !used.contains(pattern)).cloned().collect()
}

/// Of the command line, and of paths, a pattern that leaves nothing out is most often a typing error; a rule of a config file such as
/// `*.tmp` is in order on a day without such files.
fn remark_unused(unused: &[String], directories: &[(String, PathBuf)], options: &Snapshot, context: &Context) {
    let of_flags = |pattern: &String| options.leave_out.exclude.contains(pattern) || options.leave_out.iexclude.contains(pattern);
    let directory = |(name, path): &(String, PathBuf)| format!("{name} ({})", escape(path.as_os_str().as_bytes()));
    for pattern in unused {
        let said = format!("the pattern {} left nothing out", escape(pattern.as_bytes()));
        if pattern.trim_start_matches('!').starts_with('/') {
            context.progress.warn(&format!(
                "{said}: it is neither the path of something in a source, nor that path from the source's directory on; the directories \
                 are {}",
                directories.iter().map(directory).collect::<Vec<_>>().join(", "),
            ));
        } else if of_flags(pattern) {
            context.progress.warn(&said);
        } else {
            context.monitor().note(&said);
        }
    }
}

fn source_line(source: &SourceSummary) -> String {
    let status = match source.status {
        SourceStatus::Ok => String::new(),
        other => format!("  ({})", status_word(other)),
    };
    format!(
        "{:<20} {:<10} {:>10}  {}{status}",
        escape(source.name.as_bytes()),
        source.kind.as_str(),
        words::size(source.bytes),
        words::duration(source.duration.as_secs_f64()),
    )
}

fn status_word(status: SourceStatus) -> &'static str {
    match status {
        SourceStatus::Ok => "ok",
        SourceStatus::OptionalFailed => "optional failed",
        SourceStatus::WithoutStatus => "ended without status",
    }
}

fn as_json(summary: &SnapshotSummary, unused: &[String]) -> Value {
    let counts = &summary.counts;
    let sources: Vec<Value> = summary
        .sources
        .iter()
        .map(|source| {
            json!({
                "name": source.name,
                "kind": source.kind.as_str(),
                "status": status_word(source.status),
                "bytes": source.bytes,
                "duration": source.duration.as_secs_f64(),
                "left_out": {
                    "by_pattern": source.left_out.by_pattern,
                    "by_size": source.left_out.by_size,
                    "marked": source.left_out.marked,
                    "other_file_systems": source.left_out.other_file_systems,
                    "own": source.left_out.own,
                },
            })
        })
        .collect();
    let reasons: Vec<Value> = summary
        .reasons
        .kept
        .iter()
        .map(|(path, detail)| {
            let mut object = serde_json::Map::new();
            place::put_bytes(&mut object, "path", path);
            object.insert("detail".to_owned(), detail.as_str().into());
            Value::Object(object)
        })
        .collect();
    json!({
        "message_type": "summary",
        "dry_run": summary.id.is_none(),
        "snapshot_id": summary.id.map(|id| id.to_hex()),
        "files_new": counts.files_new,
        "files_changed": counts.files_changed,
        "files_unmodified": counts.files_unmodified,
        "dirs_new": counts.dirs_new,
        "dirs_changed": counts.dirs_changed,
        "dirs_unmodified": counts.dirs_unmodified,
        "data_blobs": summary.totals.data_chunks_new,
        "tree_blobs": summary.totals.tree_chunks_new,
        "data_added": summary.totals.bytes_added,
        "data_composed": summary.totals.bytes_composed,
        "data_blobs_composed": summary.totals.chunks_composed,
        "data_added_packed": summary.totals.bytes_stored,
        "total_files_processed": counts.files(),
        "total_bytes_processed": counts.bytes,
        "total_duration": summary.duration.as_secs_f64(),
        "sources": sources,
        "warnings": warnings::as_json(warnings_of(summary)),
        "incomplete": !summary.reasons.is_empty(),
        "unused_patterns": unused,
        "reasons": reasons,
        "reasons_count": summary.reasons.count,
    })
}
