//! The files of settings, without which a restored database is of little use: they hold `AUTHENTIK_SECRET_KEY` and passwords.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::super::DirectorySource;
use super::Notes;
use super::compose::{Compose, Given, Project};
use super::folders::plain_name;

/// The source of the files in the deployment's folder.
pub(super) const NAME: &str = "config";

/// The source `config` for the files in the deployment's folder, and one more for each other folder that has some.
pub(super) fn kept(
    project: &Project,
    compose: Option<&Compose>,
    further: impl IntoIterator<Item = PathBuf>,
    notes: &mut Notes,
) -> Vec<DirectorySource> {
    notes
        .warnings
        .extend(project.unreadable.iter().map(|why| format!("{why}: it is not in this snapshot, and a restore needs it")));
    let mut files: BTreeSet<PathBuf> = project.files.iter().chain(&project.env_files).cloned().collect();
    match compose {
        Some(compose) => of_compose(compose, &mut files, notes),
        None if project.env_files.is_empty() && project.unreadable.is_empty() => notes.warnings.push(format!(
            "there is no compose file and no .env in {}: keep AUTHENTIK_SECRET_KEY and the database's password elsewhere, a restore \
             needs them",
            project.folder.display()
        )),
        None => {}
    }
    files.extend(further.into_iter().map(|file| std::path::absolute(&file).unwrap_or(file)));
    let mut by_folder = BTreeMap::<PathBuf, BTreeSet<PathBuf>>::new();
    for file in files {
        // Links on the way are not walked; a file that is a link is kept as one, and so is the file that it leads to.
        let above = file.parent().and_then(|folder| folder.canonicalize().ok());
        let file = above.zip(file.file_name()).map_or(file.clone(), |(folder, name)| folder.join(name));
        let behind = file.is_symlink().then(|| file.canonicalize().ok()).flatten();
        for file in std::iter::once(file).chain(behind) {
            if let Err(error) = readable(&file) {
                notes.warnings.push(format!("{} is not in this snapshot, and a restore may need it: {error}", file.display()));
                continue;
            }
            let above = |folder: &Path| file.strip_prefix(folder).ok().map(Path::to_owned);
            let (folder, below) = match (above(&project.folder), file.parent(), file.file_name()) {
                (Some(below), ..) => (project.folder.clone(), below),
                (None, Some(folder), Some(name)) => (folder.to_owned(), name.into()),
                _ => continue,
            };
            by_folder.entry(folder).or_default().insert(below);
        }
    }
    let mut sources: Vec<DirectorySource> = Vec::new();
    if let Some(files) = by_folder.remove(&project.folder) {
        sources.push(source(NAME.into(), &project.folder, files));
    }
    for (folder, files) in by_folder {
        let last = folder.file_name().map_or("root".into(), |name| name.to_string_lossy().into_owned());
        let mut name = plain_name(&format!("config-{last}"));
        if sources.iter().any(|source| source.name == name) {
            name = plain_name(&format!("config-{}", folder.to_string_lossy().trim_matches('/')));
        }
        sources.push(source(name, &folder, files));
    }
    sources
}

fn of_compose(compose: &Compose, files: &mut BTreeSet<PathBuf>, notes: &mut Notes) {
    let model = &compose.model;
    files.extend(model.files.iter().cloned());
    for service in model.services.values() {
        // One that is missing and may be was no part of the deployment.
        files.extend(service.env_files.iter().map(|file| file.path.clone()).filter(|path| path.exists()));
        files.extend(service.dockerfile.iter().filter(|path| path.exists()).cloned());
    }
    let used = |name: &str| {
        model.services.values().any(|service| service.secrets.values().chain(service.configs.values()).any(|used| used == name))
    };
    for (kind, name, given) in model
        .secrets
        .iter()
        .map(|(name, given)| ("secret", name, given))
        .chain(model.configs.iter().map(|(name, given)| ("config", name, given)))
    {
        match given {
            Given::File(path) => {
                files.insert(path.clone());
            }
            Given::Inline => {}
            Given::Variable(variable) => {
                notes.remarks.push(format!("the {kind} {name:?} is the variable {variable}: kept if .env sets it"))
            }
            Given::External if used(name) => {
                notes.warnings.push(format!(
                    "the {kind} {name:?} is kept by docker itself: it is not in this snapshot, and a restore needs it"
                ));
            }
            Given::External => {}
        }
    }
}

fn readable(path: &Path) -> std::io::Result<()> {
    if path.is_dir() { std::fs::read_dir(path).map(drop) } else { std::fs::File::open(path).map(drop) }
}

/// A folder of which only these files are read.
fn source(name: String, folder: &Path, files: BTreeSet<PathBuf>) -> DirectorySource {
    DirectorySource { named: Some(files.into_iter().collect()), ..DirectorySource::new(name, folder) }
}
