//! `b2://BUCKET/PREFIX`: Backblaze B2 by its own protocol. It has no conditions: two creates of one name at the same time may both
//! succeed, so that the class is single maintainer. Through its S3 protocol it is no different.

use opendal::Operator;
use opendal::services::B2;

use super::{COMMON, Ground, Publish, Remote, SetUpError};
use crate::store::options::Options;

/// Options beside the common ones.
const KNOWN: [&str; 1] = ["bucket-id"];

/// Opens a store in `bucket` below `prefix`, with `B2_APPLICATION_KEY_ID` and `B2_APPLICATION_KEY`.
pub(in crate::store) fn open(bucket: &str, prefix: &str, options: &Options) -> Result<Remote, SetUpError> {
    let known: Vec<&str> = KNOWN.iter().chain(&COMMON).copied().collect();
    let named = options.for_kind("b2", &known)?;
    let ground = Ground::new(options, named)?;
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (Some(id), Some(key)) = (variable("B2_APPLICATION_KEY_ID"), variable("B2_APPLICATION_KEY")) else {
        return Err(SetUpError::Credentials("b2:// needs B2_APPLICATION_KEY_ID and B2_APPLICATION_KEY".to_owned()));
    };
    let Some(bucket_id) = named.text("bucket-id") else {
        return Err(SetUpError::Address("b2:// needs --option bucket-id=ID (`b2 bucket get` shows it)".to_owned()));
    };
    let builder =
        B2::default().bucket(bucket).bucket_id(bucket_id).application_key_id(&id).application_key(&key).root(&format!("/{prefix}"));
    let operator = Operator::new(builder).map_err(|error| SetUpError::Address(format!("b2://{bucket}: {}", error.message())))?;
    let place = format!("b2://{bucket}{}{prefix}", if prefix.is_empty() { "" } else { "/" });
    let absent = format!("there is no bucket {bucket}; esker makes no buckets: create it");
    Ok(ground.build(operator, Publish::Asked, place, Some(absent)))
}
