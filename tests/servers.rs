//! The servers that the tests of remote stores talk to do what those tests count on. Each is asked here by plain HTTP, without esker.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and prints why it skips")]

#[path = "servers/mod.rs"]
mod servers;

use servers::Server;
use servers::http::request;
use servers::s3::{BUCKET, MOTO_LETS_IN, S3Server};
use servers::webdav::{self, BASIC};

#[test]
fn moto_creates_a_name_once_and_gives_ranges_and_listings() {
    let Some(moto) = S3Server::moto() else { return };
    let send = |verb: &str, path: &str, header: (&str, &str), body: &[u8]| {
        request(&moto.server.address(), verb, &format!("/{BUCKET}{path}"), &[MOTO_LETS_IN, header], body).unwrap()
    };
    let binary = ("Content-Type", "application/octet-stream");
    let absent = ("If-None-Match", "*");
    assert_eq!(send("PUT", "/packs/a", absent, b"first").status, 200);
    assert_eq!(send("PUT", "/packs/a", absent, b"second").status, 412);
    assert_eq!(send("GET", "/packs/a", ("Range", "bytes=1-2"), b"").body, b"ir");
    assert!(send("GET", "?list-type=2&prefix=packs/", binary, b"").text().contains("<Key>packs/a</Key>"));
    assert_eq!(send("DELETE", "/packs/a", binary, b"").status, 204);
    assert_eq!(send("GET", "/packs/a", binary, b"").status, 404);
}

#[test]
fn s3rver_overwrites_whatever_it_is_asked() {
    let Some(s3rver) = S3Server::s3rver() else { return };
    let send = |verb: &str, headers: &[(&str, &str)], body: &[u8]| {
        request(&s3rver.server.address(), verb, &format!("/{BUCKET}/a"), headers, body).unwrap()
    };
    // It takes requests without a signature too.
    assert_eq!(send("PUT", &[("If-None-Match", "*")], b"first").status, 200);
    assert_eq!(send("PUT", &[("If-None-Match", "*")], b"second").status, 200);
    assert_eq!(send("GET", &[], b"").body, b"second");
}

#[test]
fn garage_starts_where_it_is_installed() {
    let Some(garage) = S3Server::garage() else { return };
    let answer = request(&garage.server.address(), "GET", &format!("/{BUCKET}"), &[], b"").unwrap();
    assert_eq!(answer.status, 403, "{}", answer.text());
}

fn moves_without_overwriting(server: &Server) {
    let send = |verb: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| {
        let headers = [headers, &[("Authorization", BASIC)]].concat();
        request(&server.address(), verb, path, &headers, body).unwrap()
    };
    assert_eq!(request(&server.address(), "GET", "/", &[], b"").unwrap().status, 401);
    assert_eq!(send("MKCOL", "/tmp", &[], b"").status, 201);
    for name in ["one", "two"] {
        assert_eq!(send("PUT", &format!("/tmp/{name}"), &[], name.as_bytes()).status, 201);
    }
    let onto = |name: &str| {
        let target = format!("{}/final", server.url());
        send("MOVE", &format!("/tmp/{name}"), &[("Destination", target.as_str()), ("Overwrite", "F")], b"").status
    };
    assert_eq!((onto("one"), onto("two")), (201, 412));
    assert_eq!(send("GET", "/final", &[("Range", "bytes=1-2")], b"").body, b"ne");
    let listing = send("PROPFIND", "/", &[("Depth", "1")], b"");
    assert!(listing.status == 207 && listing.text().contains("final"), "{}", listing.text());
}

#[test]
fn apache_moves_without_overwriting() {
    if let Some(server) = webdav::apache() {
        moves_without_overwriting(&server);
    }
}

#[test]
fn wsgidav_moves_without_overwriting() {
    if let Some(server) = webdav::wsgidav() {
        moves_without_overwriting(&server);
    }
}

#[test]
fn a_server_ends_when_its_test_does() {
    let Some(moto) = S3Server::moto() else { return };
    let address = moto.server.address();
    assert!(request(&address, "GET", "/", &[], b"").is_ok());
    drop(moto);
    assert!(request(&address, "GET", "/", &[], b"").is_err());
}
