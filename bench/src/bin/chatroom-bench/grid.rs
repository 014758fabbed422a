//! A grid of processes, which ends with the value that stands for it.

use crate::Res;
use crate::master::Master;
use crate::subject::Subject;
use crate::text;
use nix::sys::signal::{SigSet, Signal, kill};
use nix::unistd::Pid;
use std::net::TcpStream;
use std::process::Child;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a grid may take for what takes a second at most.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What has to be ended if this process is told to end.
static STARTED: Mutex<Vec<Pid>> = Mutex::new(Vec::new());

/// Makes SIGINT and SIGTERM end the servers too.
pub(crate) fn end_on_signals() -> Res<()> {
    let mut signals = SigSet::empty();
    signals.add(Signal::SIGINT);
    signals.add(Signal::SIGTERM);
    signals.thread_block()?;
    std::thread::spawn(move || {
        let _ = signals.wait();
        for &pid in STARTED
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
        {
            let _ = kill(pid, Signal::SIGKILL);
        }
        std::process::exit(130);
    });
    Ok(())
}

#[derive(Debug)]
pub(crate) struct Grid {
    subject: Subject,
    children: Vec<Option<Child>>,
    pub(crate) masters: Vec<Master>,
    environment: Vec<(&'static str, &'static str)>,
}

impl Grid {
    /// Starts all servers at once and connects a master to each.
    pub(crate) fn start(
        subject: &Subject,
        n: usize,
        environment: &[(&'static str, &'static str)],
    ) -> Res<Self> {
        let mut grid = Self {
            subject: subject.clone(),
            children: (0..n).map(|_| None).collect(),
            masters: Vec::new(),
            environment: environment.to_vec(),
        };
        for id in 0..n {
            grid.spawn(id)?;
        }
        for id in 0..n {
            let master = grid.connect(id)?;
            grid.masters.push(master);
        }
        Ok(grid)
    }

    /// A grid that is whole and has calmed down.
    pub(crate) fn settled(
        subject: &Subject,
        n: usize,
        environment: &[(&'static str, &'static str)],
    ) -> Res<Self> {
        let mut grid = Self::start(subject, n, environment)?;
        grid.until_whole()?;
        std::thread::sleep(Duration::from_millis(300));
        Ok(grid)
    }

    fn spawn(&mut self, id: usize) -> Res<()> {
        let mut command = self.subject.command(id, self.children.len());
        command.envs(self.environment.iter().copied());
        let child = command
            .spawn()
            .map_err(|e| format!("cannot start {}: {e}", self.subject.name))?;
        started().push(pid_of(&child)?);
        self.children[id] = Some(child);
        Ok(())
    }

    /// One more master of a server.
    pub(crate) fn connect(&mut self, id: usize) -> Res<Master> {
        let begin = Instant::now();
        loop {
            if let Ok(socket) = TcpStream::connect(("127.0.0.1", Subject::master_port(id))) {
                return Master::new(socket);
            }
            let ended = match self.children[id].as_mut() {
                Some(child) => child.try_wait()?,
                None => return Err(format!("server {id} does not run").into()),
            };
            if let Some(status) = ended {
                return Err(format!("server {id} ended: {status}. Is its port taken?").into());
            }
            if begin.elapsed() > PATIENCE {
                return Err(format!("server {id} does not listen").into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until every server lists every other.
    pub(crate) fn until_whole(&mut self) -> Res<()> {
        let begin = Instant::now();
        let n = self.masters.len();
        let mut lacking: Vec<usize> = (0..n).collect();
        while !lacking.is_empty() {
            let mut still = Vec::new();
            for &id in &lacking {
                if self.masters[id].alive()?.len() < n {
                    still.push(id);
                }
            }
            lacking = still;
            if begin.elapsed() > PATIENCE {
                return Err(format!("{lacking:?} do not see the whole grid").into());
            }
            if !lacking.is_empty() {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(())
    }

    pub(crate) fn pid(&self, id: usize) -> Res<Pid> {
        pid_of(self.children[id].as_ref().ok_or("no such server")?)
    }

    pub(crate) fn pids(&self) -> Res<Vec<Pid>> {
        (0..self.children.len()).map(|id| self.pid(id)).collect()
    }

    pub(crate) fn signal(&self, id: usize, signal: Signal) -> Res<()> {
        Ok(kill(self.pid(id)?, signal)?)
    }

    /// Takes in a server that was killed, and starts it again.
    pub(crate) fn revive(&mut self, id: usize) -> Res<()> {
        self.end(id);
        self.spawn(id)?;
        self.masters[id] = self.connect(id)?;
        Ok(())
    }

    /// Whether every log has exactly what each speaker sent.
    pub(crate) fn check_logs(&mut self, per: &[usize], bytes: usize) -> Res<()> {
        for (id, master) in self.masters.iter_mut().enumerate() {
            let reply = master.ask(b"get\n")?;
            text::check(&reply, per, bytes).map_err(|e| format!("the log of {id}: {e}"))?;
        }
        Ok(())
    }

    fn end(&mut self, id: usize) {
        if let Some(mut child) = self.children[id].take() {
            // It may have ended by itself.
            let _ = child.kill();
            let _ = child.wait();
            if let Ok(pid) = pid_of(&child) {
                started().retain(|&other| other != pid);
            }
        }
    }
}

impl Drop for Grid {
    fn drop(&mut self) {
        self.masters.clear();
        for id in 0..self.children.len() {
            self.end(id);
        }
    }
}

fn started() -> std::sync::MutexGuard<'static, Vec<Pid>> {
    STARTED.lock().unwrap_or_else(PoisonError::into_inner)
}

fn pid_of(child: &Child) -> Res<Pid> {
    Ok(Pid::from_raw(i32::try_from(child.id())?))
}
