//! Monitors are told how a run went, and never make one fail.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::common::{House, exits, json, stderr, stdout};

/// A request as it came.
#[derive(Clone, Debug)]
struct Seen {
    /// `GET /path`
    line: String,
    headers: Vec<String>,
    body: String,
}

/// A server that answers every request with this status, and remembers it.
struct Server {
    url: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Server {
    fn start(status: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shared = Arc::clone(&seen);
        // Ends with the test; nobody waits for it.
        let _ = esker::parallel::background("monitor", move || {
            for stream in listener.incoming() {
                answer(stream.unwrap(), status, &shared);
            }
        });
        Self { url, seen }
    }

    /// The requests so far, sorted by nothing but their arrival.
    fn lines(&self) -> Vec<String> {
        self.seen.lock().unwrap().iter().map(|seen| seen.line.clone()).collect()
    }

    fn take(&self) -> Vec<Seen> {
        std::mem::take(&mut *self.seen.lock().unwrap())
    }
}

fn answer(mut stream: TcpStream, status: &str, seen: &Mutex<Vec<Seen>>) {
    let mut reader = BufReader::new(stream.try_clone().unwrap());
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 || line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_owned());
    }
    let length = head.iter().find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    let _ = reader.read_exact(&mut body);
    if head.is_empty() {
        return;
    }
    let line = head.remove(0).trim_end_matches(" HTTP/1.1").to_owned();
    seen.lock().unwrap().push(Seen { line, headers: head, body: String::from_utf8_lossy(&body).into_owned() });
    let _ = write!(stream, "HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
}

fn house(monitor: &str) -> House {
    let house = House::with_repository();
    house.write("data/a", b"a");
    configure(&house, monitor);
    house
}

fn configure(house: &House, monitor: &str) {
    house.write("esker.toml", format!("{monitor}\n[[source]]\ndirectory = 'data'\n").as_bytes());
}

#[test]
fn a_ping_tells_the_start_and_the_exit_code_without_a_body() {
    let server = Server::start("200 OK");
    let house = house(&format!("[monitor]\nping = '{}/uuid'\n", server.url));
    assert_eq!(stderr(&exits(house.esker(), ["-c", "esker.toml", "snapshot", "--no-progress"], 0)), "");
    let mut lines = server.lines();
    lines.sort_unstable();
    assert_eq!(lines, ["GET /uuid/0", "GET /uuid/start"]);
    assert!(server.take().iter().all(|seen| seen.body.is_empty()));
    // A run that fails says so; other commands, dry runs say nothing.
    exits(house.esker(), ["-c", "esker.toml", "snapshot", "--command", "x=false"], 4);
    assert!(server.lines().contains(&"GET /uuid/4".to_owned()), "{:?}", server.lines());
    server.take();
    exits(house.esker(), ["-c", "esker.toml", "verify"], 0);
    exits(house.esker(), ["-c", "esker.toml", "snapshot", "--dry-run"], 0);
    assert_eq!(server.lines(), Vec::<String>::new());
    // The address is a secret, so it may stand in a file; the body is sent when asked for.
    house.write("ping", format!("{}/other\n", server.url).as_bytes());
    configure(&house, "[monitor]\nping-file = 'ping'\nbody = true\ncommands = ['verify']\n");
    exits(house.esker(), ["-c", "esker.toml", "verify"], 0);
    let told = server.take().into_iter().find(|seen| seen.line == "POST /other/0").unwrap();
    let run = json(told.body.as_bytes());
    assert_eq!((&run["command"], &run["exit_code"]), (&"verify".into(), &0.into()));
}

#[test]
fn a_message_has_the_form_that_its_template_gives_it() {
    let server = Server::start("200 OK");
    let house = house(&format!(
        r#"
[[monitor.message]]
when = ["failure"]
url = "{0}/topic?host={{host}}"
headers = {{ Title = "{{command}} {{status}}", Authorization = "Bearer {{secret}}" }}
body = "exit {{exit_code}}: {{message}}"
secret-file = "token"
[[monitor.message]]
when = ["success", "failure"]
url = "{0}/hook"
method = "PUT"
body = '{{"text": "{{message}}", "run": {{json}}}}'
"#,
        server.url
    ));
    house.write("token", b"t0ken\n");
    std::fs::set_permissions(house.path("token"), std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    exits(house.esker(), ["-c", "esker.toml", "snapshot", "--host", "a b"], 0);
    let seen = server.take();
    assert_eq!(seen.len(), 1, "{seen:?}");
    assert_eq!(seen[0].line, "PUT /hook");
    assert_eq!(json(seen[0].body.as_bytes())["run"]["summary"]["incomplete"], false);
    assert!(seen[0].headers.iter().any(|header| header.to_lowercase() == "content-type: application/json"), "{seen:?}");
    exits(house.esker(), ["-c", "esker.toml", "snapshot", "--host", "a b", "--command", "x=false"], 4);
    let seen = server.take();
    let told = seen.iter().find(|seen| seen.line == "POST /topic?host=a%20b").unwrap();
    assert!(told.body.starts_with("exit 4: ") && told.body.contains("\"x\" failed"), "{told:?}");
    let headers: Vec<_> = told.headers.iter().map(|header| header.to_lowercase()).collect();
    assert!(headers.contains(&"title: snapshot failure".to_owned()), "{headers:?}");
    assert!(headers.contains(&"authorization: bearer t0ken".to_owned()), "{headers:?}");
}

#[test]
fn a_monitor_that_cannot_be_reached_costs_seconds_and_never_the_backup() {
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = silent.local_addr().unwrap();
    let house = house(&format!("[monitor]\nping = 'http://{place}/secret-uuid'\ntimeout = '1s'\n"));
    let begun = Instant::now();
    let message = stderr(&exits(house.esker(), ["-c", "esker.toml", "snapshot", "--no-progress"], 0));
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(message.contains("warning: the monitor of `ping` was not told"), "{message}");
    assert!(!message.contains("secret-uuid"), "{message}");
    let refusing = Server::start("500 Internal Server Error");
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for url in [refusing.url.clone(), format!("http://{nobody}"), "http://no-such-host.invalid".to_owned()] {
        configure(&house, &format!("[monitor]\nping = '{url}/x'\ntimeout = '2s'\n"));
        let message = stderr(&exits(house.esker(), ["-c", "esker.toml", "snapshot", "--no-progress"], 0));
        assert!(message.contains("was not told"), "{url}: {message}");
    }
    assert_eq!(house.snapshot_count(), 4);
}

#[test]
fn on_failure_gets_the_run_on_its_input() {
    let house = house("[monitor]\non-failure = ['sh', '-c', 'cat > told; echo $ESKER_EXIT_CODE > code']\n");
    exits(house.esker(), ["-c", "esker.toml", "snapshot"], 0);
    assert!(!house.path("told").exists());
    exits(house.esker(), ["-c", "esker.toml", "snapshot", "--command", "x=false"], 4);
    let run = json(&std::fs::read(house.path("told")).unwrap());
    assert_eq!(run["message_type"], "run");
    assert_eq!((&run["command"], &run["exit_code"]), (&"snapshot".into(), &4.into()));
    assert!(run["message"].as_str().unwrap().contains("\"x\" failed"), "{run}");
    assert_eq!(std::fs::read_to_string(house.path("code")).unwrap(), "4\n");
    configure(&house, "[monitor]\non-failure = 'false'\n");
    let message = stderr(&exits(house.esker(), ["-c", "esker.toml", "snapshot", "--command", "x=false"], 4));
    assert!(message.contains("warning: on-failure"), "{message}");
}

/// A page in the text format of Prometheus: values by the name and its labels. Every sample stands below its HELP and TYPE.
fn samples(page: &str) -> BTreeMap<String, f64> {
    let mut samples = BTreeMap::new();
    let mut metric = String::new();
    for line in page.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            metric = rest.split(' ').next().unwrap().to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            assert_eq!(rest, format!("{metric} gauge"));
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(name.split('{').next().unwrap(), metric, "{line}");
            assert_eq!(samples.insert(name.to_owned(), value.parse().unwrap()), None, "{line}");
        }
    }
    samples
}

#[test]
fn metrics_tell_of_each_host_and_source_and_only_a_commit_moves_the_time() {
    let house = House::with_repository();
    house.write("data/a", b"a");
    let metrics = |code| {
        exits(house.esker(), ["status", "--metrics", "esker.prom"], code);
        samples(&std::fs::read_to_string(house.path("esker.prom")).unwrap())
    };
    let run = |arguments: &[&str], code| {
        let mut command = house.esker();
        command.args(["snapshot", "data", "--host", "auth \"01\""]);
        exits(command, arguments, code)
    };
    run(&["--command", "words=echo hello"], 0);
    let labels = "host=\"auth \\\"01\\\"\",source=\"words\"";
    let first = metrics(0);
    let time = first[&format!("esker_last_complete_snapshot_timestamp_seconds{{{labels}}}")];
    assert!(time > 1_000_000_000.0, "{first:?}");
    assert_eq!(first[&format!("esker_source_stream_bytes{{{labels}}}")], 6.0);
    assert_eq!(first["esker_status_exit_code"], 0.0);
    assert_eq!(first["esker_last_run_exit_code{host=\"auth \\\"01\\\"\"}"], 0.0);
    assert_eq!(first["esker_packs_damaged{kind=\"lost\"}"], 0.0);
    std::thread::sleep(Duration::from_millis(1100));
    // A run that fails moves nothing but what is said of the run.
    run(&["--command", "words=false"], 4);
    let failed = metrics(3);
    assert_eq!(failed["esker_failed_since_last_snapshot{host=\"auth \\\"01\\\"\"}"], 1.0);
    assert!(failed["esker_last_failed_run_timestamp_seconds{host=\"auth \\\"01\\\"\"}"] > time);
    assert!(failed["esker_last_snapshot_added_bytes{host=\"auth \\\"01\\\"\"}"] > 0.0);
    assert_eq!(failed[&format!("esker_last_complete_snapshot_timestamp_seconds{{{labels}}}")], time);
    assert_eq!(failed["esker_last_run_exit_code{host=\"auth \\\"01\\\"\"}"], 4.0);
    // An incomplete one is the newest, and not the newest complete.
    run(&["--command", "words=false", "--optional", "words"], 3);
    exits(house.esker(), ["verify", "--read-data"], 0);
    let incomplete = metrics(3);
    assert_eq!(incomplete["esker_failed_since_last_snapshot{host=\"auth \\\"01\\\"\"}"], 0.0);
    assert_eq!(incomplete[&format!("esker_last_complete_snapshot_timestamp_seconds{{{labels}}}")], time);
    assert!(incomplete[&format!("esker_last_snapshot_timestamp_seconds{{{labels}}}")] > time);
    assert_eq!(incomplete[&format!("esker_last_snapshot_complete{{{labels}}}")], 0.0);
    assert!(incomplete["esker_oldest_proof_timestamp_seconds"] > time, "{incomplete:?}");
    // Readable for the collector, and nothing is left beside it.
    let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(house.path("esker.prom")).unwrap().permissions());
    assert_eq!(mode & 0o777, 0o644);
    let names = stdout(&std::process::Command::new("ls").arg("-A").current_dir(house.path("")).output().unwrap());
    assert!(!names.contains(".esker-"), "{names}");
}
