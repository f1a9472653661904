//! Azure and Google, or rather what stands for them on loopback: with the features, and where the servers are installed (tests/README.md).

use super::contract::{CONDITIONS, keeps_by_environment};
use super::end_to_end::days;
use super::house::House;
use crate::servers::clouds;
use crate::servers::s3::BUCKET;

fn class(house: &House) -> String {
    house.run(&["doctor", "store", "--json"]).json_line("class")["class"].as_str().unwrap().to_owned()
}

#[test]
#[cfg(feature = "azblob")]
fn a_repository_lives_on_azure() {
    let Some(azurite) = clouds::azurite() else { return };
    let mut house = House::on_azure(&azurite);
    days(&house);
    assert_eq!(class(&house), "shared");
    house.repository("azblob://not-there/hosts");
    house.exits(&["snapshots"], 10).says(&["container not-there"]);
    house.exits(&["init", "--kdf", "low"], 10).says(&["container not-there"]);
    house.unset("AZURE_STORAGE_ACCOUNT_KEY");
    house.exits(&["snapshots"], 13).says(&["AZURE_STORAGE_ACCOUNT_KEY"]);
}

#[test]
#[cfg(feature = "azblob")]
fn azure_keeps_the_contract() {
    let Some(azurite) = clouds::azurite() else { return };
    let environment = [("AZURE_STORAGE_ACCOUNT_NAME", clouds::ACCOUNT), ("AZURE_STORAGE_ACCOUNT_KEY", clouds::ACCOUNT_KEY)];
    keeps_by_environment(&format!("azblob://{BUCKET}"), &clouds::endpoint(&azurite), &environment, &[]);
}

#[test]
#[cfg(feature = "gcs")]
fn a_repository_lives_on_google() {
    let Some(emulator) = clouds::gcp_storage_emulator() else { return };
    let mut house = House::on_google(&emulator);
    days(&house);
    // Google's own servers keep the condition; the emulator does not.
    assert_eq!(class(&house), "single_maintainer");
    house.repository("gcs://not-there/hosts");
    house.exits(&["snapshots"], 10).says(&["bucket not-there"]);
    house.exits(&["init", "--kdf", "low"], 10).says(&["bucket not-there"]);
    house.options.retain(|option| !option.contains("anonymous"));
    house.exits(&["snapshots"], 13).says(&["GOOGLE_APPLICATION_CREDENTIALS"]);
}

#[test]
#[cfg(feature = "gcs")]
fn google_keeps_the_contract_but_for_the_condition() {
    let Some(emulator) = clouds::gcp_storage_emulator() else { return };
    let options = [format!("endpoint={}", emulator.url()), "anonymous=true".to_owned()].join("\n");
    // OpenDAL reads the answer to a replace, and the emulator's has a null where Google's has a content type.
    let left_out = [&CONDITIONS[..], &["a_replaced_object_is_the_new_one_whole"]].concat();
    keeps_by_environment(&format!("gcs://{BUCKET}"), &options, &[], &left_out);
}
