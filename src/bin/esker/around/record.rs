//! The last run of each host that was started on this machine, kept beside the lock: what `status --metrics` tells of runs that
//! committed nothing.

use std::io::Write;
use std::path::Path;

use anyhow::Result;
use esker::clock::{Clock, SystemClock};
use esker::private;
use serde_json::Value;

use super::lock::id_of_place;
use crate::context::{Context, states};
use crate::monitoring::Told;

/// A record larger than this is something else.
const RECORD_BYTES_MAX: u64 = 1 << 20;

/// Keeps the run. A machine without a place for it keeps none.
pub fn keep(host: &str, told: &Told, context: &Context) {
    if let Err(error) = try_keep(host, told, context) {
        context.progress.remark(&format!("how this run ended could not be kept for `status --metrics`: {error:#}"));
    }
}

fn try_keep(host: &str, told: &Told, context: &Context) -> Result<()> {
    let Some(folder) = states() else { return Ok(()) };
    let mut record = told.json.clone();
    record["ended_at"] = SystemClock::new().now().seconds.into();
    // For a person only, and long.
    record["summary"]["reasons"] = Value::Null;
    let host = blake3::hash(host.as_bytes()).to_hex();
    let path = folder.join(format!("{}{}.json", prefix(context)?, &host[..16]));
    Ok(private::replace(&path, record.to_string().as_bytes())?)
}

/// Every record of this repository.
pub fn all(context: &Context) -> Vec<Value> {
    let (Some(folder), Ok(prefix)) = (states(), prefix(context)) else { return Vec::new() };
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let of_repository = |name: &str| name.starts_with(&prefix) && name.ends_with(".json");
    let entries = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(of_repository));
    // One that cannot be read is as good as none.
    entries.filter_map(|entry| serde_json::from_slice(&private::read(&entry.path(), RECORD_BYTES_MAX).ok()?).ok()).collect()
}

fn prefix(context: &Context) -> Result<String> {
    Ok(format!("run-{}-", &id_of_place(context)?[..16]))
}

/// Writes a file beside the old one and renames it, so that a reader sees the one or the other.
pub fn replace(path: &Path, content: &[u8], mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::Builder::new().prefix(".esker-").tempfile_in(folder)?;
    file.write_all(content)?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
