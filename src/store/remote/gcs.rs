//! `gcs://BUCKET/PREFIX`: Google Cloud Storage.

use opendal::Operator;
use opendal::services::Gcs;

use super::{COMMON, Ground, Publish, Remote, SetUpError};
use crate::store::options::Options;

/// Options beside the common ones.
const KNOWN: [&str; 3] = ["endpoint", "credential-file", "anonymous"];

/// Opens a store in `bucket` below `prefix`. Credentials come from `GOOGLE_APPLICATION_CREDENTIALS`, gcloud's own file,
/// or the identity of the machine.
pub(in crate::store) fn open(bucket: &str, prefix: &str, options: &Options) -> Result<Remote, SetUpError> {
    let known: Vec<&str> = KNOWN.iter().chain(&COMMON).copied().collect();
    let named = options.for_kind("gcs", &known)?;
    let ground = Ground::new(options, named)?;
    let mut builder = Gcs::default().bucket(bucket).root(&format!("/{prefix}"));
    if let Some(endpoint) = named.text("endpoint") {
        // Another server than Google's: this machine has no role there, and to ask for one takes seconds.
        builder = builder.endpoint(super::plain_endpoint(endpoint)?).disable_vm_metadata();
    }
    if let Some(file) = named.text("credential-file") {
        builder = builder.credential_path(file);
    }
    if named.yes("anonymous")?.unwrap_or(false) {
        builder = builder.skip_signature();
    }
    let operator = Operator::new(builder).map_err(|error| SetUpError::Address(format!("gcs://{bucket}: {}", error.message())))?;
    let place = format!("gcs://{bucket}{}{prefix}", if prefix.is_empty() { "" } else { "/" });
    let absent = format!("there is no bucket {bucket}; esker makes no buckets: create it");
    Ok(ground.build(operator, Publish::Conditional, place, Some(absent)))
}
