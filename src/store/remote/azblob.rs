//! `azblob://CONTAINER/PREFIX`: Azure Blob Storage.

use opendal::Operator;
use opendal::services::Azblob;

use super::{COMMON, Ground, Publish, Remote, SetUpError};
use crate::store::options::Options;

/// Options beside the common ones.
const KNOWN: [&str; 2] = ["endpoint", "account"];

/// Opens a store in `container` below `prefix`. Account and key come from `AZURE_STORAGE_ACCOUNT_NAME` and
/// `AZURE_STORAGE_ACCOUNT_KEY` (or `AZBLOB_...`), or from the identity of the machine.
pub(in crate::store) fn open(container: &str, prefix: &str, options: &Options) -> Result<Remote, SetUpError> {
    let known: Vec<&str> = KNOWN.iter().chain(&COMMON).copied().collect();
    let named = options.for_kind("azblob", &known)?;
    let ground = Ground::new(options, named)?;
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let mut builder = Azblob::default().container(container).root(&format!("/{prefix}"));
    let account = named.text("account").map(str::to_owned).or_else(|| variable("AZURE_STORAGE_ACCOUNT_NAME"));
    if let Some(account) = &account {
        builder = builder.account_name(account);
    }
    match named
        .text("endpoint")
        .map(str::to_owned)
        .or_else(|| account.map(|account| format!("https://{account}.blob.core.windows.net")))
    {
        Some(endpoint) => builder = builder.endpoint(super::plain_endpoint(&endpoint)?),
        None => return Err(SetUpError::Address("azblob:// needs --option account=NAME or AZURE_STORAGE_ACCOUNT_NAME".to_owned())),
    }
    if let Some(key) = variable("AZURE_STORAGE_ACCOUNT_KEY") {
        builder = builder.account_key(&key);
    }
    let operator =
        Operator::new(builder).map_err(|error| SetUpError::Address(format!("azblob://{container}: {}", error.message())))?;
    let place = format!("azblob://{container}{}{prefix}", if prefix.is_empty() { "" } else { "/" });
    let absent = format!("there is no container {container}; esker makes none: create it");
    Ok(ground.build(operator, Publish::Conditional, place, Some(absent)))
}
