//! The same by another reader of policies: moto, with accounts and the policies of `examples/s3/` as they are. It knows no
//! condition on overwriting, so a host has the policy without one.

use super::house::{Account, House};
use super::policy;
use crate::servers::http::{Answer, request};
use crate::servers::s3::{BUCKET, S3Server};

/// moto takes whoever signs, until it is told to look.
const BY_NOBODY: (&str, &str) =
    ("Authorization", "AWS4-HMAC-SHA256 Credential=X/20260101/us-east-1/iam/aws4_request, SignedHeaders=host, Signature=0");

fn escaped(text: &str) -> String {
    text.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn iam(moto: &S3Server, action: &str, fields: &[(&str, &str)]) -> Answer {
    let mut body = format!("Action={action}&Version=2010-05-08");
    for (name, value) in fields {
        body += &format!("&{name}={}", escaped(value));
    }
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let answer = request(&moto.server.address(), "POST", "/", &[BY_NOBODY, form], body.as_bytes()).unwrap();
    assert_eq!(answer.status, 200, "{action}: {}", answer.text());
    answer
}

/// An account with one policy.
fn account(moto: &S3Server, name: &str, file: &str) -> Account {
    iam(moto, "CreateUser", &[("UserName", name)]);
    iam(moto, "PutUserPolicy", &[("UserName", name), ("PolicyName", "esker"), ("PolicyDocument", &policy::text(file, BUCKET))]);
    let key = iam(moto, "CreateAccessKey", &[("UserName", name)]).text();
    let field = |name: &str| {
        let from = key.find(&format!("<{name}>")).unwrap() + name.len() + 2;
        key[from..].split('<').next().unwrap().to_owned()
    };
    Account { access_key: field("AccessKeyId"), secret_key: field("SecretAccessKey") }
}

#[test]
fn a_host_adds_snapshots_that_only_the_owner_reads_and_deletes() {
    let Some(moto) = S3Server::moto() else { return };
    let owner = account(&moto, "owner", "s3/owner-policy.json");
    let host = account(&moto, "host", "s3/writer-policy-without-condition.json");
    let looks = request(&moto.server.address(), "POST", "/moto-api/reset-auth", &[], b"0").unwrap();
    assert_eq!(looks.status, 200, "{}", looks.text());

    let house = House::new(&moto.endpoint);
    let stranger = Account { access_key: "AKIASTRANGER".to_owned(), secret_key: "none".to_owned() };
    house.owner(&stranger, &["init", "--kdf", "low"], 13);
    house.set_up(&owner);
    house.host(&host, &["snapshot", "data"], 0);
    house.fill(2);
    house.host(&host, &["snapshot", "data"], 0);
    house.host(&host, &["status", "--max-age", "1h"], 0);
    house.host(&host, &["restore", "latest", "--target", "stolen"], 12);

    // Even whoever learns the owner's password gets nothing out of, and nothing out of the way by, the credentials of a host.
    for command in [
        &["snapshots"][..],
        &["restore", "latest", "--target", "stolen"],
        &["forget", "latest"],
        &["prune", "--force"],
        &["init", "--kdf", "low"],
    ] {
        let said = house.owner(&host, command, if command[0] == "init" { 1 } else { 13 });
        assert!(command[0] == "init" || said.err.contains("AccessDenied") || said.err.contains("403"), "{command:?}: {}", said.err);
    }
    assert!(!house.path("stolen/data").exists());

    house.owner(&owner, &["forget", "latest~1"], 0);
    house.owner(&owner, &["prune"], 0);
    house.restores(&owner);
    house.owner(&owner, &["verify", "--read-data"], 0);
    house.fill(3);
    house.host(&host, &["snapshot", "data"], 0);
    house.restores(&owner);
}
