//! `s3://BUCKET/PREFIX`: Amazon S3 and everything that speaks its protocol.

use opendal::Operator;
use opendal::services::S3;

use super::{COMMON, Ground, Publish, Remote, SetUpError};
use crate::store::options::Options;

/// Options beside the common ones.
const KNOWN: [&str; 11] = [
    "endpoint",
    "region",
    "profile",
    "virtual-host",
    "checksum",
    "sse",
    "sse-kms-key-id",
    "role-arn",
    "external-id",
    "instance-credentials",
    "anonymous",
];

/// Opens a store in `bucket` below `prefix`. Credentials come from where AWS's own tools look for them:
/// `AWS_ACCESS_KEY_ID` and its fellows, `~/.aws/credentials` with `AWS_PROFILE`, a web identity, a container's or a
/// machine's role.
pub(in crate::store) fn open(bucket: &str, prefix: &str, options: &Options) -> Result<Remote, SetUpError> {
    let known: Vec<&str> = KNOWN.iter().chain(&COMMON).copied().collect();
    let named = options.for_kind("s3", &known)?;
    let ground = Ground::new(options, named)?;

    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let endpoint = named
        .text("endpoint")
        .map(str::to_owned)
        .or_else(|| variable("AWS_ENDPOINT_URL_S3"))
        .or_else(|| variable("AWS_ENDPOINT_URL"));
    let region = named
        .text("region")
        .map(str::to_owned)
        .or_else(|| variable("AWS_REGION"))
        .or_else(|| variable("AWS_DEFAULT_REGION"))
        // What every server but Amazon's takes for the default.
        .unwrap_or_else(|| "us-east-1".to_owned());
    let is_amazon = endpoint.as_deref().is_none_or(|endpoint| endpoint.contains("amazonaws.com"));

    let mut builder = S3::default().bucket(bucket).root(&format!("/{prefix}")).region(&region);
    if let Some(endpoint) = &endpoint {
        builder = builder.endpoint(super::plain_endpoint(endpoint)?);
    }
    // Amazon is leaving path style; most others know nothing else.
    if named.yes("virtual-host")?.unwrap_or(is_amazon) && !bucket.contains('.') {
        builder = builder.enable_virtual_host_style();
    }
    // Asking a machine's role takes seconds where there is none.
    if !named.yes("instance-credentials")?.unwrap_or(is_amazon) {
        builder = builder.disable_ec2_metadata();
    }
    match named.text("checksum").unwrap_or("md5") {
        "none" => {}
        kind @ ("md5" | "crc32c") => builder = builder.checksum_algorithm(kind),
        _ => {
            return Err(
                crate::store::options::OptionsError::Value { name: "checksum".to_owned(), wanted: "md5, crc32c or none" }.into()
            );
        }
    }
    if let Some(sse) = named.text("sse") {
        builder = builder.server_side_encryption(sse);
    }
    if let Some(key) = named.text("sse-kms-key-id") {
        builder = builder.server_side_encryption_aws_kms_key_id(key);
    }
    if let Some(role) = named.text("role-arn") {
        builder = builder.role_arn(role);
        // What assumes the role has no transport of its own.
        opendal::HttpTransporter::install_default(ground.transport.clone());
    }
    if let Some(id) = named.text("external-id") {
        builder = builder.external_id(id);
    }
    if let Some(profile) = named.text("profile") {
        builder = builder.profile(profile);
    }
    if named.yes("anonymous")?.unwrap_or(false) {
        builder = builder.skip_signature();
    }
    let operator = Operator::new(builder).map_err(|error| SetUpError::Address(format!("s3://{bucket}: {}", error.message())))?;
    let place = format!("s3://{bucket}{}{prefix}", if prefix.is_empty() { "" } else { "/" });
    let server = endpoint.as_deref().unwrap_or("Amazon S3");
    let absent =
        format!("{server} has no bucket {bucket}; esker makes no buckets: create it, or look at the region and the endpoint");
    let mut store = ground.build(operator, Publish::Conditional, place, Some(absent));
    store.at = endpoint.map_or_else(|| format!(" at Amazon S3 in {region}"), |endpoint| format!(" at {endpoint}"));
    Ok(store)
}
