//! The Redis source against real servers on private sockets, and against a false one that misbehaves.

#![allow(clippy::unwrap_used, reason = "a test may fail")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use esker::monitor::Stop;
use esker::source::redis::{RedisOptions, RedisSource};
use esker::source::{SourceError, StreamEnd, StreamSource};

#[path = "common/services.rs"]
mod services;
use services::Redis;

fn source(url: &str) -> RedisSource {
    let mut options = RedisOptions::from_url("redis", url).unwrap();
    options.patience = Duration::from_secs(20);
    RedisSource::new(options).unwrap()
}

/// The one stream, read in pieces of an odd size, and found whole.
fn take(source: &mut RedisSource) -> Result<Vec<u8>, SourceError> {
    assert_eq!(source.prepare(&Stop::new())?, ["dump.rdb"]);
    let mut stream = source.open(0)?;
    let (mut bytes, mut piece) = (Vec::new(), [0; 1237]);
    loop {
        match stream.read(&mut piece).map_err(|error| SourceError::from_read("redis", error))? {
            0 => break,
            n => bytes.extend_from_slice(&piece[..n]),
        }
    }
    assert_eq!(stream.finish()?, StreamEnd::Ok);
    Ok(bytes)
}

fn fact(source: &RedisSource, name: &str) -> Option<String> {
    source.facts().into_iter().find(|(known, _)| known == name).map(|(_, value)| value)
}

fn fill(redis: &Redis) {
    let fill = "for n = 1, 20000 do redis.call('SET', 'session:' .. n, string.rep('v', n % 300) .. n) end \
                for n = 1, 500 do redis.call('HSET', 'hash', 'f' .. n, n); redis.call('ZADD', 'set', n, 'm' .. n) end \
                redis.call('SELECT', 3); redis.call('LPUSH', 'list', 1, 2, 3); return 'filled'";
    assert_eq!(redis.cli(&["EVAL", fill, "0"]), "filled");
    assert_eq!(redis.cli(&["SET", "expiring", "x", "EX", "100000"]), "OK");
}

#[test]
fn a_streamed_rdb_loads_in_another_server_with_the_same_keys() {
    for settings in [&["--repl-diskless-sync", "yes"], &["--repl-diskless-sync", "no"]] {
        let redis = Redis::start(settings);
        fill(&redis);
        let mut source = source(&redis.url());
        let rdb = take(&mut source).unwrap();
        let other = Redis::load(&rdb);
        assert_eq!(other.digest(), redis.digest(), "{settings:?}");
        assert_ne!(other.digest(), "0".repeat(40));
        assert_eq!(fact(&source, "rdb_checksum").as_deref(), Some("checked"));
        assert_eq!(fact(&source, "method").as_deref(), Some("replication"));
        assert!(redis.cli(&["INFO", "server"]).contains(&fact(&source, "server_version").unwrap()));
        assert!(source.warnings().is_empty());
    }
}

#[test]
fn a_saved_file_is_read_after_a_save_that_really_happened() {
    let redis = Redis::start(&[]);
    fill(&redis);
    let file = redis.folder().join("dump.rdb");
    let mut source = source(&format!("{}?rdb={}", redis.url(), file.display()));
    for turn in 0..2 {
        redis.cli(&["SET", "turn", &turn.to_string()]);
        let rdb = take(&mut source).unwrap();
        assert_eq!(Redis::load(&rdb).digest(), redis.digest());
    }
    assert_eq!(fact(&source, "method").as_deref(), Some("bgsave"));
}

#[test]
fn a_save_under_way_is_waited_for_and_another_one_is_made() {
    let redis = Redis::start(&["--rdb-key-save-delay", "50"]);
    fill(&redis);
    assert!(redis.cli(&["BGSAVE"]).contains("started"));
    // The one under way does not know this key.
    redis.cli(&["SET", "later", "x"]);
    let rdb = take(&mut source(&format!("{}?rdb={}", redis.url(), redis.folder().join("dump.rdb").display()))).unwrap();
    assert_eq!(Redis::load(&rdb).cli(&["GET", "later"]), "x");
}

#[test]
fn a_failed_save_is_refused_and_its_danger_said() {
    let redis = Redis::start(&["--dbfilename", "dump.rdb", "--save", "3600 1"]);
    fill(&redis);
    // Its file is a folder now: writing works, taking the place does not.
    std::fs::create_dir_all(redis.folder().join("dump.rdb/full")).unwrap();
    let error = take(&mut source(&format!("{}?rdb={}", redis.url(), redis.folder().join("dump.rdb").display()))).unwrap_err();
    assert!(error.to_string().contains("REFUSES ALL WRITES (MISCONF)"), "{error}");
}

#[test]
fn a_file_that_is_not_the_servers_is_refused() {
    let redis = Redis::start(&[]);
    fill(&redis);
    let other = tempfile::NamedTempFile::new().unwrap();
    let error = take(&mut source(&format!("{}?rdb={}", redis.url(), other.path().display()))).unwrap_err();
    assert!(error.to_string().contains("is that the server's dump.rdb?"), "{error}");
}

#[test]
fn passwords_and_users_with_few_rights_work_and_wrong_ones_do_not() {
    let redis = Redis::start(&["--requirepass", "hunter2", "--user", "backup", "on", ">s3cret", "+sync", "+replconf"]);
    let with = |login: &str| format!("{}?{login}", redis.url());
    assert!(take(&mut source(&with("password=hunter2"))).is_ok());
    assert!(take(&mut source(&with("user=backup&password=s3cret"))).is_ok());
    for wrong in ["password=guess99", "user=backup&password=guess99"] {
        let error = source(&with(wrong)).prepare(&Stop::new()).unwrap_err().to_string();
        assert!(error.contains("WRONGPASS") && !error.contains("guess99"), "{error}");
    }
    let error = take(&mut source(&redis.url())).unwrap_err().to_string();
    assert!(error.contains("NOAUTH"), "{error}");
    let error = take(&mut source(&with("user=backup&password=s3cret&rdb=/tmp/x"))).unwrap_err().to_string();
    assert!(error.contains("+bgsave +lastsave +info"), "{error}");
}

#[test]
fn a_replica_is_taken_while_it_has_its_master_and_refused_without() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let master = Redis::start(&["--port", &port, "--bind", "127.0.0.1"]);
    fill(&master);
    let replica = Redis::start(&["--replicaof", "127.0.0.1", &port]);
    while !replica.cli(&["INFO", "replication"]).contains("master_link_status:up") {
        std::thread::sleep(Duration::from_millis(20));
    }
    let saved = format!("{}?rdb={}", replica.url(), replica.folder().join("dump.rdb").display());
    for url in [&replica.url(), &saved] {
        let mut source = source(url);
        let rdb = take(&mut source).unwrap();
        assert_eq!(Redis::load(&rdb).digest(), master.digest());
        assert_eq!(fact(&source, "role").as_deref(), Some("replica"));
        assert!(source.warnings().is_empty(), "{:?}", source.warnings());
    }
    drop(master);
    while replica.cli(&["INFO", "replication"]).contains("master_link_status:up") {
        std::thread::sleep(Duration::from_millis(20));
    }
    for url in [&replica.url(), &saved] {
        let error = source(url).prepare(&Stop::new()).unwrap_err().to_string();
        assert!(error.contains("replica without a link to its master 127.0.0.1:"), "{error}");
    }
}

#[test]
fn an_empty_server_is_a_warning() {
    let redis = Redis::start(&[]);
    let mut source = source(&redis.url());
    take(&mut source).unwrap();
    assert!(source.warnings()[0].contains("no key at all"), "{:?}", source.warnings());
}

#[test]
fn a_server_without_checksums_is_a_warning() {
    let redis = Redis::start(&["--rdbchecksum", "no"]);
    fill(&redis);
    let mut source = source(&redis.url());
    let rdb = take(&mut source).unwrap();
    assert!(rdb.ends_with(&[0; 8]));
    assert_eq!(fact(&source, "rdb_checksum").as_deref(), Some("off"));
    assert!(source.warnings()[0].contains("rdbchecksum no"));
}

#[test]
fn nobody_at_home_is_said_plainly() {
    let error = source("unix:/no/such.sock").prepare(&Stop::new()).unwrap_err();
    assert!(error.to_string().starts_with("cannot connect to Redis at /no/such.sock: "), "{error}");
}

/// A whole small RDB of a real server.
fn real_rdb() -> Vec<u8> {
    let redis = Redis::start(&[]);
    redis.cli(&["SET", "key", "value"]);
    take(&mut source(&redis.url())).unwrap()
}

/// Takes the stream from a false server that answers OK to everything before SYNC and `answer` to that, in pieces.
fn take_from(answer: &[&[u8]]) -> Result<Vec<u8>, SourceError> {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let talk = || {
                let (mut socket, _) = listener.accept().unwrap();
                for line in BufReader::new(socket.try_clone().unwrap()).lines().map_while(Result::ok) {
                    match line.as_str() {
                        "INFO" => socket.write_all(b"-NOPERM not for you\r\n").unwrap(),
                        "REPLCONF" => socket.write_all(b"+OK\r\n").unwrap(),
                        "SYNC" => break,
                        _ => {}
                    }
                }
                socket
            };
            // The first connection is that of `prepare`, which only asks for the state.
            drop(talk());
            let mut socket = talk();
            for piece in answer {
                // The reader may have gone away: it knows enough.
                let _ = socket.write_all(piece);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        take(&mut source(&url))
    })
}

#[test]
fn only_a_whole_replication_stream_is_accepted() {
    let rdb = real_rdb();
    let mark = *b"0123456789abcdef0123456789abcdef01234567";
    let marked = [b"$EOF:".as_slice(), &mark, b"\r\n"].concat();
    let counted = format!("${}\r\n", rdb.len()).into_bytes();

    // Whole: with keepalives before, in pieces that cut the mark and the checksum, or counted.
    assert_eq!(take_from(&[b"\n", b"\n\n", &marked, &rdb, &mark]).unwrap(), rdb);
    let (front, back) = rdb.split_at(rdb.len() - 3);
    assert_eq!(take_from(&[&marked, front, &[back, &mark[..7]].concat(), &mark[7..]]).unwrap(), rdb);
    assert_eq!(take_from(&[b"\n", &counted, &rdb]).unwrap(), rdb);
    // What follows a counted stream is the stream of commands: not ours.
    assert_eq!(take_from(&[&counted, &[&rdb[..], b"*1\r\n$4\r\nPING\r\n"].concat()]).unwrap(), rdb);

    let refused = |pieces: &[&[u8]], why: &str| {
        let error = take_from(pieces).unwrap_err();
        assert!(error.to_string().contains(why), "{error}");
    };
    // Cut off: before, in and instead of the mark.
    refused(&[&marked, front], "closed the connection");
    refused(&[&marked, &rdb, &mark[..39]], "closed the connection");
    refused(&[&counted, front], "closed the connection");
    refused(&[&marked], "closed the connection");
    refused(&[b"\n"], "closed the connection");
    // An end that is none, a wrong checksum, no RDB at all, no stream at all.
    refused(&[&marked, front, &mark], "it was cut off");
    let mut flipped = rdb.clone();
    flipped[12] ^= 1;
    refused(&[&marked, &flipped, &mark], "its checksum is");
    refused(&[&marked, b"<html>", &mark], "begin as an RDB");
    refused(&[&marked, &mark], "begin as an RDB");
    refused(&[b"$0\r\n"], "begin as an RDB");
    refused(&[b"-NOMASTERLINK Can't SYNC while not connected with my master\r\n"], "NOMASTERLINK");
    refused(&[b"$EOF:short\r\n"], "no size of the RDB");
    refused(&[b"$-1\r\n"], "no size of the RDB");
    refused(&[b"HTTP/1.1 400 Bad Request\r\n"], "no size of the RDB");
}

#[test]
fn a_silent_server_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut options = RedisOptions::from_url("redis", &format!("redis://:x@{}", listener.local_addr().unwrap())).unwrap();
    options.patience = Duration::from_millis(300);
    let error = RedisSource::new(options).unwrap().prepare(&Stop::new()).unwrap_err();
    assert!(error.to_string().contains("said nothing for"), "{error}");
}
