//! `esker tag`: what is said of snapshots afterwards. The snapshots stay as they are; a note is added beside them.

use anyhow::Result;
use esker::format::note::{Keep, Value as Says};
use esker::id::SnapshotId;
use esker::records::notes::TEXT_SIZE_MAX;
use esker::repository::Repository;
use esker::repository::survey::Surveyed;
use esker::retention::policy::tag_list;
use serde_json::json;

use crate::args::Tag;
use crate::context::Context;
use crate::error::Usage;
use crate::exit_code::ExitCode;
use crate::shared::moment::until;
use crate::shared::{look, place};
use crate::terminal::words;

/// Works out what to say of each snapshot, and says it.
pub fn run(options: &Tag, context: &mut Context) -> Result<ExitCode> {
    let [add, remove, set] = [&options.add, &options.remove, &options.set].map(|lists| tags(lists));
    let (add, remove, set) = (add?, remove?, (!options.set.is_empty()).then_some(set?));
    let keep = match &options.keep_until {
        Some(text) => Some(Keep::Until(until(text)?)),
        None if options.keep => Some(Keep::ForEver),
        None if options.release => Some(Keep::Release),
        None => None,
    };
    if options.comment.as_ref().is_some_and(|comment| comment.len() > TEXT_SIZE_MAX) {
        return Err(Usage::new(format!("a comment has at most {TEXT_SIZE_MAX} bytes")).into());
    }
    if add.is_empty() && remove.is_empty() && set.is_none() && keep.is_none() && options.comment.is_none() {
        return Err(
            Usage::new("nothing to change; give --add, --remove, --set, --keep, --keep-until, --release or --comment").into()
        );
    }
    if options.snapshots.is_empty() && options.filter.is_empty() {
        return Err(Usage::new("no snapshot was named")
            .hint("name snapshots, or select them with --host, --tag or --source")
            .into());
    }
    let repository = context.open()?;
    let survey = look::look(&repository, context)?;
    let chosen: Vec<&Surveyed> = match options.snapshots.is_empty() {
        true => survey.snapshots.iter().filter(|surveyed| place::passes(&options.filter, surveyed)).collect(),
        false => {
            options.snapshots.iter().map(|name| place::find(&survey, name, &options.filter, context)).collect::<Result<_, _>>()?
        }
    };
    let mut statements = Vec::new();
    for surveyed in chosen {
        let id = surveyed.stored.id;
        statements.extend(changes(surveyed, &add, &remove, set.as_deref()).map(|says| (id, says)));
        if let Some(keep) = keep.filter(|keep| surveyed.notes.keep.unwrap_or(Keep::Release) != *keep) {
            statements.push((id, Says::Keep(keep)));
        }
        if let Some(comment) =
            options.comment.as_ref().filter(|comment| surveyed.notes.comment.as_deref().unwrap_or_default() != **comment)
        {
            statements.push((id, Says::Comment(comment.clone())));
        }
    }
    statements.sort_by_key(|(id, _)| *id);
    statements.dedup();
    conclude(options, &repository, &survey, statements, context)
}

fn conclude(
    options: &Tag,
    repository: &Repository,
    survey: &esker::repository::survey::Survey,
    statements: Vec<(SnapshotId, Says)>,
    context: &mut Context,
) -> Result<ExitCode> {
    let mut ids: Vec<SnapshotId> = statements.iter().map(|(id, _)| *id).collect();
    ids.dedup();
    if !options.dry_run {
        survey.say(repository, statements)?;
    }
    if context.out.json {
        context.out.json(&json!({
            "message_type": "summary",
            "dry_run": options.dry_run,
            "changed_snapshots": ids.len(),
            "snapshots": ids.iter().map(|id| id.to_hex()).collect::<Vec<_>>(),
        }))?;
    } else {
        let did = if options.dry_run { "would change" } else { "changed" };
        context.out.remark(&format!("{did} {}", words::counted(ids.len() as u64, "snapshot", "snapshots")))?;
    }
    Ok(ExitCode::Done)
}

/// What has to be said to get from the tags that are there to those that are wanted.
fn changes<'a>(
    surveyed: &'a Surveyed,
    add: &'a [String],
    remove: &'a [String],
    set: Option<&'a [String]>,
) -> impl Iterator<Item = Says> + 'a {
    let has = |tag: &String| surveyed.tags.contains(tag);
    let come = add.iter().chain(set.into_iter().flatten()).filter(move |tag| !has(tag));
    let go = remove.iter().filter(move |tag| has(tag));
    let replaced = set.into_iter().flat_map(|set| surveyed.tags.iter().filter(move |tag| !set.contains(tag)));
    let says = |present| move |tag: &String| Says::Tag { tag: tag.clone(), present };
    come.map(says(true)).chain(go.chain(replaced).map(says(false)))
}

fn tags(lists: &[String]) -> Result<Vec<String>> {
    let tags: Vec<String> = lists.iter().flat_map(|list| tag_list(list)).filter(|tag| !tag.is_empty()).collect();
    match tags.iter().find(|tag| tag.len() > TEXT_SIZE_MAX) {
        Some(_) => Err(Usage::new(format!("a tag has at most {TEXT_SIZE_MAX} bytes")).into()),
        None => Ok(tags),
    }
}
