//! A second copy on the far side of a network, by the real program: killed in the middle, it goes on where it ended, and what it holds is
//! proved and restored.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::house::{House, PASSWORD, noise};
use crate::servers::s3::S3Server;
use crate::servers::sshd::Sshd;

/// Snapshots, each with so much that no other has.
const DAYS: u64 = 3;
const DAY_BYTES: usize = 400_000;
/// So slow that a run which is to be killed has most of a day's data still to send.
const SLOW: &str = "500K";

/// A repository of some days; no two have anything large in common.
fn with_days(house: &House) {
    house.init();
    for day in 0..DAYS {
        house.write("data/large", &noise(day, DAY_BYTES));
        house.write(&format!("data/folder/{day}"), &noise(100 + day, 5_000));
        house.snapshot();
    }
}

/// What is said about the store of `house`, under the name of the option for another store than `-r`'s.
fn options_of<'a>(house: &'a House, name: &'a str) -> Vec<String> {
    house.options.iter().map(|option| format!("--{name}={}", option.strip_prefix("--option=").unwrap())).collect()
}

/// A house beside `to` that copies from `from`.
fn copying(to: &House, from: &House) -> (House, Vec<String>) {
    let mut copying = to.beside();
    for (name, value) in from.environment() {
        copying.set(name, value);
    }
    copying.set("ESKER_FROM_PASSWORD", PASSWORD);
    copying.set("ESKER_FROM_REPOSITORY", from.place());
    (copying, options_of(from, "from-option"))
}

fn run(house: &House, command: &str, more: &[String]) -> serde_json::Value {
    let arguments: Vec<&str> = [command, "--json"].into_iter().chain(more.iter().map(String::as_str)).collect();
    house.run(&arguments).json_line("total_duration")
}

fn started(house: &House, arguments: &[&str]) -> Child {
    let mut command: Command = house.command(arguments);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// It must have been at work until now.
fn kill(mut child: Child) {
    child.kill().unwrap();
    let status = child.wait().unwrap();
    assert_eq!(status.signal(), Some(9), "it had ended before it was killed: {status:?}");
}

fn copies(from: &House, to: &House) {
    with_days(from);
    let (copying, more) = copying(to, from);
    let more_words: Vec<&str> = more.iter().map(String::as_str).collect();
    copying.run(&[&["init", "--kdf", "low", "--copy-chunker-params"][..], &more_words].concat());

    let mut child = started(&copying, &[&["copy", "--json", "--limit-upload", SLOW][..], &more_words].concat());
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let first = lines.map_while(Result::ok).find(|line| line.contains("\"copied\""));
    kill(child);
    assert!(first.is_some(), "nothing was copied");
    assert_eq!(to.snapshot_ids().len(), 1);

    let summary = run(&copying, "copy", &more);
    assert_eq!((&summary["snapshots_there"], &summary["snapshots_copied"]), (&1.into(), &(DAYS - 1).into()), "{summary}");
    // Each day is in one snapshot, so what the first one has was not read again.
    let read = summary["bytes_read"].as_u64().unwrap();
    assert!(read < DAY_BYTES as u64 * DAYS, "{read} bytes were read again");
    let summary = run(&copying, "copy", &more);
    assert_eq!((&summary["snapshots_there"], &summary["bytes_read"]), (&DAYS.into(), &0.into()), "{summary}");
    is_whole(to, from);
}

/// What `original` backed up last comes out of the place of `copy`, all of which is good.
fn is_whole(copy: &House, original: &House) {
    assert_eq!(copy.snapshot_ids().len(), DAYS as usize);
    copy.run(&["verify", "--read-data"]);
    assert!(copy.restored("latest") == original.data(), "it restores to something else");
}

#[test]
fn a_copy_from_a_disk_to_s3_goes_on_where_it_was_killed() {
    let Some(moto) = S3Server::moto() else { return };
    copies(&House::on_disk(), &House::on_s3(&moto));
}

#[test]
fn a_copy_from_s3_over_ssh_goes_on_where_it_was_killed() {
    let (Some(moto), Some(sshd)) = (S3Server::moto(), Sshd::start()) else { return };
    copies(&House::on_s3(&moto), &House::on_sftp(&sshd));
}

// -- mirrors --------------------------------------------------------------------------------------------

fn packs(folder: &Path) -> usize {
    let below = |folder: &Path| -> Vec<_> {
        std::fs::read_dir(folder).map_or_else(|_| Vec::new(), |entries| entries.flatten().map(|entry| entry.path()).collect())
    };
    below(&folder.join("packs")).iter().map(|folder| below(folder).len()).sum()
}

/// `mirror`, once killed when the first pack stands in `folder`, which is the place of `to`.
fn mirrors(from: &House, to: &House, folder: &Path, more: &[String]) {
    with_days(from);
    let more: Vec<String> = std::iter::once(to.place().to_owned()).chain(more.iter().cloned()).collect();
    let more_words: Vec<&str> = more.iter().map(String::as_str).collect();
    let slow = ["mirror", "--json", "--limit-upload", SLOW, "--limit-download", SLOW];
    let child = started(from, &[&slow[..], &more_words].concat());
    let began = Instant::now();
    while packs(folder) == 0 {
        assert!(began.elapsed() < Duration::from_secs(60), "no pack comes");
        std::thread::sleep(Duration::from_millis(5));
    }
    kill(child);
    let before = packs(folder);

    let summary = run(from, "mirror", &more);
    let (copied, there) = (summary["objects_copied"].as_u64().unwrap(), summary["objects_there"].as_u64().unwrap());
    assert!(copied > 0 && there >= before as u64, "{before} packs stood there: {summary}");
    let summary = run(from, "mirror", &more);
    assert_eq!((&summary["objects_copied"], &summary["objects_there"]), (&0.into(), &(copied + there).into()), "{summary}");
    is_whole(to, from);
}

#[test]
fn a_mirror_of_s3_on_a_disk_goes_on_where_it_was_killed() {
    let Some(moto) = S3Server::moto() else { return };
    let to = House::on_disk();
    mirrors(&House::on_s3(&moto), &to, Path::new(to.place()), &[]);
}

#[test]
fn a_mirror_of_a_disk_over_ssh_goes_on_where_it_was_killed() {
    let Some(sshd) = Sshd::start() else { return };
    let to = House::on_sftp(&sshd);
    mirrors(&House::on_disk(), &to, &sshd.files().join("repo"), &options_of(&to, "to-option"));
}
