//! `esker forget`: which snapshots go, and why the others stay.

use std::collections::BTreeSet;

use anyhow::Result;
use esker::id::{ObjectHash, SnapshotId};
use esker::prune::PruneOptions;
use esker::repository::survey::{Survey, Surveyed};
use esker::repository::{Repository, RepositoryError};
use esker::retention::forget::{self, ForgetPlan};
use esker::retention::policy::Policy;
use esker::retention::rules::{Group, Rules};
use serde_json::{Value, json};

use crate::args::Forget;
use crate::context::Context;
use crate::error::Usage;
use crate::exit_code::ExitCode;
use crate::shared::{listing, look, place, pruned};
use crate::terminal::escape::escape;
use crate::terminal::{stdout_columns, words};

/// Plans, shows the plan, carries it out.
pub fn run(options: &Forget, context: &mut Context) -> Result<ExitCode> {
    let policy = policy(options, context)?;
    let repository = context.open()?;
    let survey = look::look(&repository, context)?;
    let plan = match &policy {
        None => forget::by_name(&survey, &named(options, &repository, &survey, context)?)?,
        Some((policy, of_sources)) => by_rules(options, policy, of_sources, &survey, context)?,
    };
    show(&plan, &survey, options, context)?;
    if options.dry_run {
        context.out.remark("dry run: nothing was forgotten")?;
        return Ok(ExitCode::Done);
    }
    let recorded = match options.allow_time_jump {
        true => survey.record_over_a_jump(&repository),
        false => survey.record(&repository),
    };
    // A full disk is no reason to stop: forgetting empties it. A store that refuses both is one problem, not two.
    forget::carry_out(&repository, &plan, &context.stop)?;
    if let Err(error) = recorded {
        context.progress.warn(&format!("the time when snapshots were first seen could not be recorded: {error}"));
    }
    let ids: BTreeSet<SnapshotId> = plan.remove.iter().map(|(id, _)| *id).collect();
    if !ids.is_empty() {
        context.out.remark(&format!(
            "forgot {}; `esker undelete` brings one back until a prune frees it",
            words::counted(ids.len() as u64, "snapshot", "snapshots")
        ))?;
    }
    if options.prune {
        let begun = std::time::Instant::now();
        let monitor = context.monitor();
        let summary = esker::prune::run(&repository, &PruneOptions::default(), &monitor, &context.stop)?;
        context.progress.finish();
        pruned::print(&summary, false, begun.elapsed().as_secs_f64(), context)?;
    }
    Ok(ExitCode::Done)
}

/// Ids and hashes of those that were typed; one that is damaged can be named too, and nothing else gets rid of it.
fn named(options: &Forget, repository: &Repository, survey: &Survey, context: &Context) -> Result<Vec<(SnapshotId, ObjectHash)>> {
    let mut objects = Vec::new();
    for name in &options.snapshots {
        let mut damaged =
            survey.damaged.iter().map(|(id, _)| *id).filter(|id| !name.is_empty() && id.to_hex().starts_with(name.as_str()));
        match (place::find(survey, name, &options.filter, context), damaged.next(), damaged.next()) {
            (Ok(surveyed), None, _) => objects.push((surveyed.stored.id, surveyed.stored.hash)),
            (Err(error), Some(id), None) if is_missing(&error) => objects.extend(forget::objects_of_damaged(repository, id)?),
            (Err(error), _, _) => return Err(error),
            (Ok(_), Some(_), _) => return Err(RepositoryError::SnapshotAmbiguous { prefix: name.clone(), count: 2 }.into()),
        }
    }
    Ok(objects)
}

fn is_missing(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(RepositoryError::SnapshotNotFound(_)))
}

/// The rules for every snapshot, and those for the snapshots that hold a source.
type Policies = (Policy, Vec<(String, Policy)>);

/// The rules; `None` when snapshots are named. Rules of the command line replace all of the config file's.
fn policy(options: &Forget, context: &Context) -> Result<Option<Policies>> {
    let given = options.rules.policy();
    if !options.snapshots.is_empty() {
        if given.is_some() || options.group_by.is_some() {
            return Err(Usage::new("name snapshots or give rules, but not both").into());
        }
        return Ok(None);
    }
    let (policy, of_sources) = match (given, &context.settings.keep) {
        (Some(given), _) => (given, Vec::new()),
        (None, Some(keep)) => (keep.policy(), keep.of_sources()),
        (None, None) => Policies::default(),
    };
    if policy.is_empty() && of_sources.is_empty() && options.unsafe_allow_remove_all && options.filter.is_empty() {
        return Err(Usage::new("--unsafe-allow-remove-all without a rule would forget every snapshot there is")
            .hint("select snapshots with --host, --tag or --source, or name them")
            .into());
    }
    Ok(Some((policy, of_sources)))
}

fn by_rules(
    options: &Forget,
    policy: &Policy,
    of_sources: &[(String, Policy)],
    survey: &Survey,
    context: &Context,
) -> Result<ForgetPlan> {
    let of_config = context.settings.keep.as_ref().and_then(|keep| keep.group_by());
    let rules = Rules {
        policy: policy.clone(),
        of_sources: of_sources.to_vec(),
        group_by: options.group_by.or(of_config).unwrap_or_default(),
        zone: jiff::tz::TimeZone::system(),
        remove_all: options.unsafe_allow_remove_all,
    };
    let selected = |surveyed: &Surveyed| place::passes(&options.filter, surveyed);
    Ok(forget::by_rules(survey, &rules, &selected, options.allow_time_jump)?)
}

fn show(plan: &ForgetPlan, survey: &Survey, options: &Forget, context: &mut Context) -> Result<()> {
    if context.out.json {
        return context.out.json(&as_json(plan, survey, options.dry_run));
    }
    let will = if options.dry_run { "would forget" } else { "forget" };
    if plan.groups.is_empty() {
        let ids: BTreeSet<SnapshotId> = plan.remove.iter().map(|(id, _)| *id).collect();
        return if ids.is_empty() { Ok(()) } else { table(will, ids.into_iter().map(|id| (id, String::new())), survey, context) };
    }
    for group in &plan.groups {
        if !context.out.quiet {
            context.out.line(&format!("{}:", escape(group.name().as_bytes())))?;
        }
        table("keep", group.keep.iter().map(|kept| (kept.id, kept.reasons.join("; "))), survey, context)?;
        table(will, group.remove.iter().map(|id| (*id, String::new())), survey, context)?;
    }
    Ok(())
}

fn table(will: &str, rows: impl Iterator<Item = (SnapshotId, String)>, survey: &Survey, context: &mut Context) -> Result<()> {
    let damaged = |id: SnapshotId| vec![id.short(), "(damaged)".to_owned()];
    let rows: Vec<(SnapshotId, String)> = rows.collect();
    if rows.is_empty() || context.out.quiet {
        return Ok(());
    }
    context.out.line(&format!("  {will} {}:", words::counted(rows.len() as u64, "snapshot", "snapshots")))?;
    let columns = stdout_columns().map(|columns| columns.saturating_sub(4));
    let text =
        words::fitted_table(&["ID", "Time", "Host", "Tags", "Sources", "Reasons"], &[], &[3, 2], columns, &|names_columns| {
            let one = |(id, reasons): &(SnapshotId, String)| match survey.find(id) {
                Some((stored, tags)) => row(stored, tags, reasons, names_columns),
                None => damaged(*id),
            };
            rows.iter().map(one).collect()
        });
    text.lines().try_for_each(|line| context.out.line(&format!("    {line}")))
}

fn row(stored: &esker::repository::StoredSnapshot, tags: &[String], reasons: &str, names_columns: usize) -> Vec<String> {
    let snapshot = &stored.snapshot;
    let sources: Vec<String> = snapshot.sources.iter().map(|source| escape(source.name.as_bytes())).collect();
    vec![
        stored.id.short(),
        words::local_time(snapshot.time),
        escape(snapshot.host.as_bytes()),
        escape(tags.join(",").as_bytes()),
        words::names(&sources, names_columns),
        escape(reasons.as_bytes()),
    ]
}

/// restic's form: an array of groups. Snapshots that were named are one group without host, sources and tags.
fn as_json(plan: &ForgetPlan, survey: &Survey, dry_run: bool) -> Value {
    let snapshot = |id: &SnapshotId| {
        survey.find(id).map_or_else(|| json!({ "id": id.to_hex() }), |(stored, tags)| listing::plain_json(stored, tags))
    };
    let named;
    let groups = match plan.groups.is_empty() && !plan.remove.is_empty() {
        false => &plan.groups,
        true => {
            let remove: BTreeSet<SnapshotId> = plan.remove.iter().map(|(id, _)| *id).collect();
            let remove = remove.into_iter().collect();
            named = vec![Group { host: None, sources: None, tags: None, keep: Vec::new(), remove }];
            &named
        }
    };
    let group = |group: &Group| {
        let reasons = group.keep.iter().map(|kept| json!({ "snapshot": snapshot(&kept.id), "matches": kept.reasons }));
        json!({
            "dry_run": dry_run,
            "host": group.host,
            "sources": group.sources,
            "tags": group.tags,
            "keep": group.keep.iter().map(|kept| snapshot(&kept.id)).collect::<Vec<_>>(),
            "remove": group.remove.iter().map(&snapshot).collect::<Vec<_>>(),
            "reasons": reasons.collect::<Vec<_>>(),
        })
    };
    groups.iter().map(group).collect()
}
