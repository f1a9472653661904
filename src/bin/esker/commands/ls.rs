//! `esker ls`: what is in a snapshot.

use anyhow::Result;
use esker::format::tree::{Node, NodeKind};
use esker::repository::Reader;
use esker::restore::coverage::is_affected;

use crate::args::Ls;
use crate::context::Context;
use crate::exit_code::ExitCode;
use crate::shared::incomplete::Incomplete;
use crate::shared::place::{Place, mode_text, node_json, shown, trimmed};
use crate::terminal::escape::escape;
use crate::terminal::words;

/// Lists one folder, or everything below it, or one entry.
pub fn run(options: &Ls, context: &mut Context) -> Result<ExitCode> {
    let place = Place::parse(&options.place)?;
    let repository = context.open()?;
    let stored = place.find(&repository, &options.filter, context)?;
    if let Some(incomplete) = Incomplete::of(&repository, &stored, is_affected(&stored.snapshot, place.path))? {
        incomplete.tell(context);
        if context.out.json {
            context.out.json(&incomplete.json())?;
        }
    }
    let reader = Reader::new(&repository, &*context.progress)?;
    context.progress.finish();
    let root = &stored.snapshot.root;
    let base = trimmed(place.path);
    let content = match reader.resolve(root, place.path, &stored.id.short())? {
        None => root.clone(),
        Some(node) if node.kind == NodeKind::Folder => node.content,
        Some(node) => {
            print(options, context, &base, &node)?;
            return Ok(ExitCode::Done);
        }
    };
    reader.walk::<anyhow::Error>(&content, &mut |path, node| {
        context.check_stop()?;
        let path = if base.is_empty() { path.to_vec() } else { [&base, &b"/"[..], path].concat() };
        print(options, context, &path, node)?;
        Ok(options.recursive)
    })?;
    Ok(ExitCode::Done)
}

fn print(options: &Ls, context: &mut Context, path: &[u8], node: &Node) -> Result<()> {
    if context.out.json {
        return context.out.json(&node_json("node", path, node));
    }
    let name = shown(path, node.kind);
    if !options.long {
        return context.out.line(&name);
    }
    let owner = |name: &Option<String>, id: u32| name.as_ref().map_or_else(|| id.to_string(), |name| escape(name.as_bytes()));
    let size = if node.kind == NodeKind::File { words::count(node.size) } else { String::new() };
    let mut line = format!(
        "{} {:<8} {:<8} {size:>15} {} {name}",
        mode_text(node),
        owner(&node.user, node.uid),
        owner(&node.group, node.gid),
        words::local_time(node.mtime),
    );
    if node.kind == NodeKind::Symlink {
        line += " -> ";
        line += &escape(&node.link_target);
    }
    context.out.line(&line)
}
