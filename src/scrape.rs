//! The port at which metrics are read: as much HTTP as that takes, and a bound on everything.

use crate::exposition::Format;
use prometheus_client::registry::Registry;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Requests answered at one time, each on a thread of its own; further ones wait in the system's
/// queue.
pub(crate) const AT_ONCE: usize = 4;
/// How long one request may take, from its connection to the last byte of the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of a request, its headers included.
const REQUEST: usize = 8 << 10;
/// The pause after an accept that failed, most likely for want of a descriptor.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers `GET /metrics` on `listener` with what `registry` has, until the process ends.
///
/// # Errors
/// If there can be no thread for it.
pub(crate) fn serve(listener: TcpListener, registry: Registry) -> io::Result<()> {
    let shared = Arc::new((listener, registry));
    for _ in 0..AT_ONCE {
        let shared = Arc::clone(&shared);
        let one = thread::Builder::new().name("metrics".into());
        one.spawn(move || {
            let (listener, registry) = &*shared;
            loop {
                match listener.accept() {
                    // A scraper that breaks off is its own loss.
                    Ok((socket, _)) => drop(answer(&socket, registry)),
                    Err(_) => thread::sleep(PAUSE),
                }
            }
        })?;
    }
    Ok(())
}

fn answer(socket: &TcpStream, registry: &Registry) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    let (status, content, body) = match request(socket, until)? {
        None => error("431 Request Header Fields Too Large"),
        Some(head) => respond(&head, registry),
    };
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content}\r\nVary: Accept\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let mut rest = response.as_bytes();
    while !rest.is_empty() {
        socket.set_write_timeout(Some(left(until)?))?;
        let written = (&mut &*socket).write(rest)?;
        rest = &rest[written..];
    }
    socket.shutdown(Shutdown::Write)
}

/// The head of a request; `None` if it is too long.
fn request(mut socket: &TcpStream, until: Instant) -> io::Result<Option<Vec<u8>>> {
    let mut head = Vec::new();
    let mut piece = [0; 1024];
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= REQUEST {
            return Ok(None);
        }
        socket.set_read_timeout(Some(left(until)?))?;
        match socket.read(&mut piece)? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            count => head.extend_from_slice(&piece[..count]),
        }
    }
    Ok(Some(head))
}

/// Status, content type and body of an answer.
type Answer = (&'static str, &'static str, String);

fn error(status: &'static str) -> Answer {
    (status, "text/plain", String::new())
}

fn respond(head: &[u8], registry: &Registry) -> Answer {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n");
    let mut words = lines.next().unwrap_or_default().split(' ');
    let (method, target) = (words.next(), words.next().unwrap_or_default());
    if method != Some("GET") {
        return error("405 Method Not Allowed\r\nAllow: GET");
    }
    if target.split('?').next() != Some("/metrics") {
        return error("404 Not Found");
    }
    let headers = lines.filter_map(|line| line.split_once(':'));
    let accepts = headers.filter(|(name, _)| name.eq_ignore_ascii_case("accept"));
    let format = Format::asked(accepts.map(|(_, value)| value));
    match format.encode(registry) {
        Ok(body) => ("200 OK", format.content_type(), body),
        Err(fmt::Error) => error("500 Internal Server Error"),
    }
}

/// What is left of the time until `until`.
fn left(until: Instant) -> io::Result<Duration> {
    match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}
