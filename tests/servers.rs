//! The servers that the tests of remote stores talk to do what those tests count on. Each is asked here by plain HTTP, without esker.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and prints why it skips")]

#[path = "servers/mod.rs"]
mod servers;

use std::time::{Duration, Instant};

use servers::Server;
use servers::faulty::{Fault, FaultyServer, Link, Objects, Tally, Verb};
use servers::http::{Answer, request};
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

// -- the one that goes wrong ---------------------------------------------------------------------------

fn ask(server: &FaultyServer, verb: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> std::io::Result<Answer> {
    request(&server.address(), verb, &format!("/{BUCKET}{path}"), headers, body)
}

#[test]
fn the_faulty_server_is_a_good_one_without_faults() {
    let server = FaultyServer::start();
    let send = |verb: &str, path: &str, headers: &[(&str, &str)], body: &[u8]| ask(&server, verb, path, headers, body).unwrap();
    assert_eq!(send("PUT", "/a/one", &[("If-None-Match", "*")], b"first").status, 200);
    assert_eq!(send("PUT", "/a/one", &[("If-None-Match", "*")], b"second").status, 412);
    assert_eq!(send("GET", "/a/one", &[], b"").body, b"first");
    let part = send("GET", "/a/one", &[("Range", "bytes=1-3")], b"");
    assert_eq!((part.status, part.text().as_str(), part.header("content-range")), (206, "irs", Some("bytes 1-3/5")));
    assert_eq!(send("GET", "/a/one", &[("Range", "bytes=5-9")], b"").status, 416);
    assert_eq!(send("HEAD", "/a/one", &[], b"").header("content-length"), Some("5"));
    assert_eq!((send("HEAD", "/a/two", &[], b"").status, send("GET", "/a/two", &[], b"").status), (404, 404));
    assert_eq!(send("DELETE", "/a/one", &[], b"").status, 204);
    assert_eq!(send("DELETE", "/a/one", &[], b"").status, 204);
    assert!(request(&server.address(), "GET", "/another/a", &[], b"").unwrap().text().contains("NoSuchBucket"));
    let counts = server.counts();
    assert_eq!(counts.of(Verb::Put), Tally { requests: 2, received: 11, sent: counts.of(Verb::Put).sent });
    assert_eq!(counts.requests(), 11);
}

#[test]
fn the_faulty_server_lists_in_pages_and_late() {
    let server = FaultyServer::start();
    server.set_page(2);
    for name in ["a/1", "a/2", "a/3", "a%20b", "c"] {
        ask(&server, "PUT", &format!("/{name}"), &[], b"x").unwrap();
    }
    let names = |answer: &Answer| -> Vec<String> {
        answer.text().split("<Key>").skip(1).map(|rest| rest.split('<').next().unwrap().to_owned()).collect()
    };
    let first = ask(&server, "GET", "/?list-type=2&prefix=a%2F", &[], b"").unwrap();
    assert_eq!(names(&first), ["a/1", "a/2"]);
    assert!(first.text().contains("<NextContinuationToken>after:a/2<"), "{}", first.text());
    let second = ask(&server, "GET", "?list-type=2&prefix=a/&continuation-token=after%3Aa%2F2", &[], b"").unwrap();
    assert_eq!(names(&second), ["a/3"]);
    assert!(second.text().contains("<IsTruncated>false<"));
    let folders = ask(&server, "GET", "?list-type=2&prefix=&delimiter=/&max-keys=1000", &[], b"").unwrap().text();
    assert!(
        folders.contains("<CommonPrefixes><Prefix>a/</Prefix></CommonPrefixes>") && folders.contains("<Key>a b</Key>"),
        "{folders}"
    );
    server.list_late(2);
    ask(&server, "PUT", "/d", &[], b"x").unwrap();
    let shown = || names(&ask(&server, "GET", "?list-type=2&prefix=d", &[], b"").unwrap()).len();
    assert_eq!((shown(), shown(), shown()), (0, 0, 1));
}

#[test]
fn the_faulty_server_goes_wrong_as_planned() {
    let server = FaultyServer::start();
    let put = || ask(&server, "PUT", "/a", &[("If-None-Match", "*")], &[7; 100_000]);
    let get = || ask(&server, "GET", "/a", &[], b"");
    let once = |fault: Fault| server.plan(move |seen| (seen.number == 1).then_some(fault));
    let stored = || server.objects().contains_key("a");
    for fault in [Fault::Reset, Fault::ResetHalfway, Fault::Stall(Duration::from_millis(50))] {
        once(fault);
        assert!(put().is_err() && !stored(), "{fault:?}");
    }
    once(Fault::Status(503, "SlowDown"));
    assert!(put().is_ok_and(|answer| answer.status == 503 && answer.text().contains("SlowDown")) && !stored());
    once(Fault::Late(Duration::from_millis(100)));
    assert!(put().is_err() && stored());
    server.set_objects(&Objects::new());
    once(Fault::LoseReply);
    assert!(put().is_err() && stored());
    server.set_objects(&Objects::new());
    once(Fault::Twice);
    assert!(put().is_ok_and(|answer| answer.status == 412) && stored());
    for fault in [Fault::ResetHalfway, Fault::Truncate, Fault::StallHalfway(Duration::from_millis(50))] {
        once(fault);
        assert!(get().is_err(), "{fault:?}");
    }
    once(Fault::Short);
    assert_eq!(get().unwrap().body.len(), 50_000);
    assert_eq!(get().unwrap().body.len(), 100_000);
}

#[test]
fn the_faulty_server_is_gone_for_a_while_and_comes_back_at_the_same_port() {
    let server = FaultyServer::start();
    server.plan(|seen| (seen.number == 1).then_some(Fault::Gone(Duration::from_millis(150))));
    assert!(ask(&server, "GET", "/a", &[], b"").is_err());
    std::thread::sleep(Duration::from_millis(20));
    let refused = ask(&server, "GET", "/a", &[], b"").unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(ask(&server, "GET", "/a", &[], b"").unwrap().status, 404);
}

#[test]
fn the_faulty_server_is_as_far_and_as_narrow_as_its_link() {
    let server = FaultyServer::start();
    ask(&server, "PUT", "/a", &[], &[7; 500_000]).unwrap();
    server.set_link(Link::new(Duration::from_millis(30), Some(5_000_000)));
    let began = Instant::now();
    ask(&server, "HEAD", "/a", &[], b"").unwrap();
    let there_and_back = began.elapsed();
    assert!(there_and_back >= Duration::from_millis(30), "{there_and_back:?}");
    let began = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_eq!(ask(&server, "GET", "/a", &[], b"").unwrap().body.len(), 500_000));
        }
    });
    assert!(began.elapsed() >= Duration::from_millis(400), "2 MB at 5 MB/s came in {:?}", began.elapsed());
    assert!(server.counts().most_under_way >= 2);
}
