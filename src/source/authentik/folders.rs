//! The folders of authentik: those mounted into its own services, or those of the usual names where there is no compose.

use std::path::{Path, PathBuf};

use super::super::{DirectorySource, SourceError};
use super::compose::{Compose, Mounted, Project};
use super::settings::{Behind, Settings, behind};
use super::version::Version;
use super::{AuthentikOptions, Notes};
use crate::monitor::Stop;

/// The source's name, other names it has on disk, where it is in the container, the setting that moves it, and whether it holds the
/// files that users upload: without them a deployment is not whole.
struct Folder {
    name: &'static str,
    on_disk: &'static [&'static str],
    in_container: &'static [&'static str],
    setting: &'static [&'static str],
    files: bool,
}

const FOLDERS: [Folder; 5] = [
    Folder { name: "media", on_disk: &["media"], in_container: &["/media"], setting: &["STORAGE__MEDIA__FILE__PATH"], files: true },
    Folder { name: "data", on_disk: &["data"], in_container: &["/data"], setting: &["STORAGE__FILE__PATH"], files: true },
    Folder { name: "certs", on_disk: &["certs"], in_container: &["/certs"], setting: &["CERT_DISCOVERY_DIR"], files: false },
    Folder {
        name: "custom-templates",
        on_disk: &["custom-templates", "templates"],
        in_container: &["/templates", "/custom-templates"],
        setting: &["EMAIL__TEMPLATE_DIR"],
        files: false,
    },
    Folder {
        name: "blueprints",
        on_disk: &["blueprints"],
        in_container: &["/blueprints", "/blueprints/custom"],
        setting: &["BLUEPRINTS_DIR"],
        files: false,
    },
];

/// Mounts that hold nothing of authentik's.
const FOREIGN: [&str; 12] = [
    "/var/run",
    "/run",
    "/dev",
    "/proc",
    "/sys",
    "/tmp",
    "/etc/localtime",
    "/etc/timezone",
    "/usr/share/zoneinfo",
    "/etc/ssl/certs",
    "/usr/share/ca-certificates",
    "/geoip",
];

/// One to be.
struct Found {
    name: String,
    path: PathBuf,
    files: bool,
}

/// Everything that the search knows.
struct Search<'a> {
    options: &'a AuthentikOptions,
    settings: &'a Settings<'a>,
    found: Vec<Found>,
    /// Mounted files that belong to the settings.
    single: Vec<PathBuf>,
}

/// The folders in order, and single files that are mounted.
pub(super) fn folders(
    options: &AuthentikOptions,
    project: &Project,
    compose: Option<&Compose>,
    settings: &Settings<'_>,
    version: Option<Version>,
    notes: &mut Notes,
    stop: &Stop,
) -> Result<(Vec<DirectorySource>, Vec<PathBuf>), SourceError> {
    let mut search = Search { options, settings, found: Vec::new(), single: Vec::new() };
    match compose {
        Some(compose) => search.mounted(compose, notes, stop)?,
        None => search.on_disk(&project.folder)?,
    }
    let on_s3 = settings.any_is(&["STORAGE__BACKEND", "STORAGE__MEDIA__BACKEND"], "s3")?;
    if on_s3 {
        notes
            .warnings
            .push("authentik's files are in S3: they are not in this snapshot, use the versions or a copy of the bucket".into());
    }
    let is_filled = |path: &Path| std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some());
    let is_absent = |path: &Path| std::fs::metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound);
    let filled: Vec<&str> =
        search.found.iter().filter(|one| one.files && is_filled(&one.path)).map(|one| one.name.as_str()).collect();
    let new_layout = version.is_some_and(|version| version >= Version::WITH_DATA);
    let has = |name: &str| search.found.iter().any(|one| one.name == name || one.name.starts_with(&format!("{name}-")));
    if !on_s3 && compose.is_some() && (!(has("media") || has("data")) || new_layout && !has("data")) {
        let places = if new_layout { "/data" } else { "/media or /data" };
        notes.warnings.push(format!(
            "nothing is mounted at {places} of authentik's services: files that it keeps there are lost with the container, and are not \
             in this snapshot"
        ));
    }
    let mut sources = Vec::new();
    for one in &search.found {
        let beside = filled.iter().any(|name| *name != one.name);
        // What was left over by the old layout may be gone, and folders that need not be used need not be there.
        if is_absent(&one.path) && (!one.files || on_s3 || one.name == "media" && (beside || new_layout && has("data"))) {
            continue;
        }
        let allow_empty = !one.files || on_s3 || beside || one.name == "media" && new_layout && has("data") || options.allow_empty;
        sources.push(DirectorySource { allow_empty, ..DirectorySource::new(&one.name, &one.path) });
    }
    if !on_s3 && compose.is_none() && !has("media") && !has("data") {
        // Required, and missing: the run must not succeed without the files.
        let name = if new_layout { "data" } else { "media" };
        sources.push(DirectorySource::new(name, project.folder.join(name)));
    }
    Ok((sources, search.single))
}

impl Search<'_> {
    /// Where there is no compose: where a setting moved it, else the folder of the usual name.
    fn on_disk(&mut self, root: &Path) -> Result<(), SourceError> {
        for folder in &FOLDERS {
            let said = self.options.folders.get(folder.name).cloned();
            let path = match said.or(self.settings.first(folder.setting)?.map(PathBuf::from)) {
                Some(path) => Some(path),
                None => folder.on_disk.iter().map(|name| root.join(name)).find(|path| path.is_dir()),
            };
            if let Some(path) = path {
                self.found.push(Found { name: folder.name.to_owned(), path, files: folder.files });
            }
        }
        Ok(())
    }

    /// What is mounted into authentik's services.
    fn mounted(&mut self, compose: &Compose, notes: &mut Notes, stop: &Stop) -> Result<(), SourceError> {
        let services = self.settings.services();
        for (_, service) in services {
            for mount in service.mounts.values() {
                if let Some(name) = &mount.unset {
                    return Err(mount.place.refuse(format_args!("the variable {name} has no value here: set it in .env")));
                }
            }
        }
        let mut places: Vec<(String, &Folder)> = Vec::new();
        for folder in &FOLDERS {
            if let Some(path) = self.options.folders.get(folder.name) {
                self.found.push(Found { name: folder.name.to_owned(), path: path.clone(), files: folder.files });
            }
            let moved = self.settings.first(folder.setting)?;
            let moved = moved.map(|place| place.trim_end_matches('/').to_owned());
            let usual = folder.in_container.iter().map(ToString::to_string).filter(|_| moved.is_none());
            places.extend(moved.clone().into_iter().chain(usual).map(|place| (place, folder)));
        }
        for (place, folder) in &places {
            for (service_name, service) in services {
                let name = folder.name.to_owned();
                self.add(name, folder.files, behind(place, service, compose), service_name, compose, stop)?;
            }
        }
        for (service_name, service) in services {
            for (target, mount) in &service.mounts {
                let above = places.iter().find_map(|(place, folder)| Some((target.strip_prefix(place.as_str())?, folder)));
                match above {
                    Some(("", _)) => {}
                    Some((below, folder)) if below.starts_with('/') => {
                        let name = format!("{}{}", folder.name, below.replace('/', "-"));
                        let what = behind(target, service, compose);
                        self.add(name, folder.files, what, service_name, compose, stop)?;
                    }
                    _ => self.other(target, &mount.what, notes),
                }
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        name: String,
        files: bool,
        what: Behind,
        service: &str,
        compose: &Compose,
        stop: &Stop,
    ) -> Result<(), SourceError> {
        if self.options.folders.contains_key(&name) {
            return Ok(());
        }
        let path = match what {
            Behind::Path(path) => path,
            Behind::Volume(key, below) => self.volume(&name, &key, &below, compose, stop)?,
            Behind::Variable(_) | Behind::Container => return Ok(()),
        };
        if path.is_file() {
            self.single.push(path);
            return Ok(());
        }
        if self.found.iter().any(|one| path.starts_with(&one.path)) {
            return Ok(());
        }
        let name = plain_name(&name);
        let taken = self.found.iter().any(|one| one.name == name);
        let name = if taken { plain_name(&format!("{name}-{service}")) } else { name };
        self.found.push(Found { name, path, files });
        Ok(())
    }

    /// A mount of which authentik's own folders know nothing.
    fn other(&mut self, target: &str, what: &Mounted, notes: &mut Notes) {
        if FOREIGN.iter().any(|foreign| Path::new(target).starts_with(foreign)) {
            return;
        }
        let advice = "is not included: add a source of its own for it";
        let warning = match what {
            Mounted::Path(path) if path.is_file() => {
                self.single.push(path.clone());
                return;
            }
            Mounted::Path(path) if path.is_dir() => format!("{}, mounted at {target}, {advice}", path.display()),
            Mounted::Volume(name) => format!("the volume {name:?}, mounted at {target}, {advice}"),
            Mounted::Path(_) | Mounted::Nothing => return,
        };
        if !notes.warnings.contains(&warning) {
            notes.warnings.push(warning);
        }
    }

    /// The folder of a named volume on this host; an error where it cannot be read, with the ways to reach it.
    fn volume(&self, name: &str, key: &str, below: &Path, compose: &Compose, stop: &Stop) -> Result<PathBuf, SourceError> {
        let known = compose.model.volumes.get(key).cloned().unwrap_or_default();
        let volume = compose.volume_name(key);
        let engine = compose.client.engine();
        let root = match known.device {
            Some(device) => device,
            None => match compose.client.volume_folder(&volume, stop)? {
                Some(folder) => PathBuf::from(folder),
                None if engine == "podman" => Path::new("/var/lib/containers/storage/volumes").join(&volume).join("_data"),
                None => Path::new("/var/lib/docker/volumes").join(&volume).join("_data"),
            },
        };
        let path = if below.as_os_str().is_empty() { root } else { root.join(below) };
        let Err(error) = std::fs::read_dir(&path) else { return Ok(path) };
        if self.options.is_optional(name) {
            return Ok(path);
        }
        let driver = known.driver.map_or(String::new(), |driver| format!(", of the driver {driver:?}"));
        Err(SourceError::Unfit(format!(
            "{name} is in the {engine} volume {volume:?}{driver}, and {} cannot be read: {error}\nRun esker as root on the host of \
             {engine}, or mount a folder in place of the volume (./{name}:/{name}), or mount the volume where esker runs and name that \
             place:\n  [source.authentik]\n  folders = {{ {name} = \"PLACE\" }}",
            path.display()
        )))
    }
}

/// A name that a source can have.
pub(super) fn plain_name(name: &str) -> String {
    let plain = |sign: char| if sign.is_ascii_alphanumeric() || matches!(sign, '.' | '_' | '-') { sign } else { '-' };
    let name: String = name.to_lowercase().chars().map(plain).collect();
    name.trim_start_matches(['.', '_', '-']).chars().take(64).collect()
}
