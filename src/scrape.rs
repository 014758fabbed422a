//! The port at which metrics are read: as much HTTP as that takes, and a bound on everything.

use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

/// Requests answered at one time, each on a thread of its own; further ones wait in the system's
/// queue.
const AT_ONCE: usize = 4;
/// How long one request may take, from its connection to the last byte of the answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// Bytes of a request, its headers included.
const REQUEST: usize = 8 << 10;
/// The pause after an accept that failed, most likely for want of a descriptor.
const PAUSE: Duration = Duration::from_millis(100);

const CONTENT: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

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
    let (status, body) = match request(socket, until)? {
        None => ("431 Request Header Fields Too Large", String::new()),
        Some(head) => respond(&head, registry),
    };
    let content = match body.is_empty() {
        true => "text/plain",
        false => CONTENT,
    };
    let response = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {content}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
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

fn respond(head: &[u8], registry: &Registry) -> (&'static str, String) {
    let line = head.split(|&byte| byte == b'\r').next().unwrap_or(head);
    let mut words = line.split(|&byte| byte == b' ');
    let (method, target) = (words.next(), words.next().unwrap_or_default());
    let path = target.split(|&byte| byte == b'?').next();
    if method != Some(b"GET") {
        return ("405 Method Not Allowed\r\nAllow: GET", String::new());
    }
    if path != Some(b"/metrics") {
        return ("404 Not Found", String::new());
    }
    let mut body = String::new();
    match text::encode(&mut body, registry) {
        Ok(()) => ("200 OK", body),
        Err(fmt) => ("500 Internal Server Error", fmt.to_string()),
    }
}

/// What is left of the time until `until`.
fn left(until: Instant) -> io::Result<Duration> {
    match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}
