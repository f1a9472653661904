//! The little of HTTP that tests need to speak for themselves: one request on a connection of its own, its whole answer.

use std::io::{BufRead, BufReader, Error, ErrorKind, Result, Write};
use std::net::TcpStream;
use std::time::Duration;

/// Names in lower case.
pub type Headers = Vec<(String, String)>;

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Headers,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// One request and its answer. `path` is sent as it is.
pub fn request(address: &str, verb: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer> {
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut head = format!("{verb} {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    head += "\r\n";
    (&stream).write_all(&[head.as_bytes(), body].concat())?;
    read_answer(&mut BufReader::new(&stream), verb)
}

fn bad(what: &str) -> Error {
    Error::new(ErrorKind::InvalidData, what.to_owned())
}

/// The first line and the headers (names in lower case); none when the connection ended before the first byte.
pub fn read_head(reader: &mut impl BufRead) -> Result<Option<(String, Headers)>> {
    let mut line = || {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        Ok::<_, Error>(line)
    };
    let first = line()?;
    if first.is_empty() {
        return Ok(None);
    }
    let mut headers = Vec::new();
    loop {
        let line = line()?;
        match line.trim_end() {
            "" if line.is_empty() => return Err(bad("the head is cut off")),
            "" => return Ok(Some((first.trim_end().to_owned(), headers))),
            header => {
                let (name, value) = header.split_once(':').ok_or_else(|| bad("a header without a colon"))?;
                headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
            }
        }
    }
}

fn read_answer(reader: &mut impl BufRead, verb: &str) -> Result<Answer> {
    let (first, headers) = read_head(reader)?.ok_or_else(|| bad("no answer"))?;
    let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).ok_or_else(|| bad("no status"))?;
    let mut answer = Answer { status, headers, body: Vec::new() };
    if verb == "HEAD" || status == 204 || status == 304 {
        return Ok(answer);
    }
    if answer.header("transfer-encoding") == Some("chunked") {
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let length = usize::from_str_radix(line.trim_end(), 16).map_err(|_| bad("no length of a chunk"))?;
            let mut chunk = vec![0; length + 2];
            reader.read_exact(&mut chunk)?;
            if length == 0 {
                return Ok(answer);
            }
            answer.body.extend_from_slice(&chunk[..length]);
        }
    }
    match answer.header("content-length").map(str::parse) {
        Some(length) => {
            answer.body = vec![0; length.map_err(|_| bad("no length"))?];
            reader.read_exact(&mut answer.body)?;
        }
        None => drop(reader.read_to_end(&mut answer.body)?),
    }
    Ok(answer)
}
