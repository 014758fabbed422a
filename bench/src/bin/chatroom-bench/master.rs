//! A connection to a server, as a master has it.

use crate::Res;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// The longest that a reply may take.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug)]
pub(crate) struct Master {
    socket: TcpStream,
    buffer: Vec<u8>,
}

impl Master {
    pub(crate) fn new(socket: TcpStream) -> Res<Self> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Self {
            socket,
            buffer: Vec::new(),
        })
    }

    /// The same connection for another thread: one of them writes.
    pub(crate) fn socket(&self) -> Res<TcpStream> {
        Ok(self.socket.try_clone()?)
    }

    pub(crate) fn say(&mut self, bytes: &[u8]) -> Res<()> {
        Ok(self.socket.write_all(bytes)?)
    }

    /// The next line, without its newline.
    pub(crate) fn line(&mut self) -> Res<Vec<u8>> {
        let mut searched = 0;
        let mut came = vec![0; 256 * 1024];
        loop {
            if let Some(at) = memchr::memchr(b'\n', &self.buffer[searched..]) {
                let rest = self.buffer.split_off(searched + at + 1);
                let mut line = std::mem::replace(&mut self.buffer, rest);
                line.pop();
                return Ok(line);
            }
            searched = self.buffer.len();
            match self.socket.read(&mut came) {
                Ok(0) => return Err("a server hung up on its master".into()),
                Ok(count) => self.buffer.extend_from_slice(&came[..count]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(format!("a server owes a reply: {e}").into()),
            }
        }
    }

    pub(crate) fn ask(&mut self, command: &[u8]) -> Res<Vec<u8>> {
        self.say(command)?;
        self.line()
    }

    /// The ids in an answer to `alive`.
    pub(crate) fn ids(line: &[u8]) -> Res<Vec<usize>> {
        let line = std::str::from_utf8(line)?;
        let ids = line.strip_prefix("alive ").ok_or("no answer to alive")?;
        Ok(ids.split(',').map(str::parse).collect::<Result<_, _>>()?)
    }

    pub(crate) fn alive(&mut self) -> Res<Vec<usize>> {
        Self::ids(&self.ask(b"alive\n")?)
    }
}
