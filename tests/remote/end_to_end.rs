//! The same days of one repository on every real server.

use super::house::House;
use crate::servers::s3::S3Server;
use crate::servers::sshd::Sshd;
use crate::servers::webdav;

/// Two days, a look at them, one forgotten, its space freed, the other restored.
fn days(house: &House) {
    house.init();
    house.fill(1);
    let first = house.snapshot();
    let first_data = house.data();
    house.fill(2);
    let second = house.snapshot();
    let second_data = house.data();
    assert_ne!(first_data, second_data);

    let listed = house.run(&["ls", "-R", "latest"]).out;
    assert!(listed.contains("folder1/file1") && listed.contains("large"), "{listed}");
    assert_eq!(house.restored(&first), first_data);
    house.run(&["verify", "--read-data"]);
    house.run(&["forget", &first]);
    let freed = house.run(&["prune", "--max-unused", "0"]);
    assert!(!freed.err.is_empty() || !freed.out.is_empty());
    assert_eq!(house.snapshot_ids(), std::slice::from_ref(&second));
    house.run(&["verify", "--read-data"]);

    // Also for a machine that never saw this repository.
    std::fs::remove_dir_all(house.path("cache")).unwrap();
    assert_eq!(house.restored(&second), second_data);
    let third = house.snapshot();
    assert_eq!(house.restored(&third), second_data);
    house.exits(&["init", "--kdf", "low"], 1).says(&["already"]);
}

#[test]
fn a_repository_lives_on_moto() {
    let Some(moto) = S3Server::moto() else { return };
    days(&House::on_s3(&moto));
}

#[test]
fn a_repository_lives_on_apache() {
    let Some(apache) = webdav::apache() else { return };
    days(&House::on_webdav(&apache));
}

#[test]
fn a_repository_lives_on_wsgidav() {
    let Some(wsgidav) = webdav::wsgidav() else { return };
    days(&House::on_webdav(&wsgidav));
}

#[test]
fn a_repository_lives_on_sftp() {
    let Some(sshd) = Sshd::start() else { return };
    days(&House::on_sftp(&sshd));
}
