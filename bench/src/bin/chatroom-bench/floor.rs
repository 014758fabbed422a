//! What the machine itself costs: raw sockets, with nothing of a chat.

use crate::Res;
use crate::probe::Cpu;
use nix::poll::PollTimeout;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Bytes of one write, and of one read.
const BATCH: usize = 64 * 1024;

/// Deliveries a second, and CPU µs a delivery, of both sides together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fan {
    pub(crate) rate: f64,
    pub(crate) cpu: f64,
}

fn pair() -> Res<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let near = TcpStream::connect(listener.local_addr()?)?;
    let (far, _) = listener.accept()?;
    near.set_nodelay(true)?;
    far.set_nodelay(true)?;
    Ok((near, far))
}

/// One thread writes `count` lines of `bytes` to each of `peers` sockets, in large batches; as many
/// threads read and find the lines.
pub(crate) fn fan(peers: usize, bytes: usize, count: usize) -> Res<Fan> {
    let mut line = vec![b'x'; bytes];
    line.push(b'\n');
    let lines = (BATCH / line.len()).max(1);
    let batch = line.repeat(lines);
    let rounds = count.div_ceil(lines);
    let pairs: Vec<_> = (0..peers).map(|_| pair()).collect::<Res<_>>()?;
    let (mut near, far): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
    let cpu = Cpu::own();
    let (used, begin) = (cpu.used()?, Instant::now());
    let found = std::thread::scope(|scope| -> Res<usize> {
        let readers: Vec<_> = far
            .into_iter()
            .map(|socket| scope.spawn(move || split(socket)))
            .collect();
        for _ in 0..rounds {
            for socket in &mut near {
                socket.write_all(&batch)?;
            }
        }
        near.clear();
        let mut found = 0;
        for reader in readers {
            found += reader.join().map_err(|_| "a reader panicked")??;
        }
        Ok(found)
    })?;
    if found != rounds * lines * peers {
        return Err("the floor lost lines".into());
    }
    let deliveries = found as f64;
    Ok(Fan {
        rate: deliveries / begin.elapsed().as_secs_f64(),
        cpu: (cpu.used()? - used).as_secs_f64() * 1e6 / deliveries,
    })
}

/// Reads to the end, and counts the lines.
fn split(mut socket: TcpStream) -> Res<usize> {
    let mut buffer = vec![0; BATCH];
    let mut found = 0;
    loop {
        match socket.read(&mut buffer)? {
            0 => return Ok(found),
            count => found += memchr::memchr_iter(b'\n', &buffer[..count]).count(),
        }
    }
}

/// How long each of `count` round trips of a line between two processes took.
pub(crate) fn round_trips(count: usize) -> Res<Vec<Duration>> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    let mut echo = Command::new(std::env::current_exe()?)
        .args(["--echo", &port.to_string()])
        .stdin(Stdio::null())
        .spawn()?;
    let (mut socket, _) = listener.accept()?;
    socket.set_nodelay(true)?;
    let mut bytes = [b'x'; 32];
    let mut trips = Vec::with_capacity(count);
    for _ in 0..count {
        let begin = Instant::now();
        socket.write_all(&bytes)?;
        socket.read_exact(&mut bytes)?;
        trips.push(begin.elapsed());
    }
    drop(socket);
    echo.wait()?;
    Ok(trips)
}

/// The other side of [`round_trips`]: sends back what comes.
pub(crate) fn echo(port: u16) -> Res<()> {
    let mut socket = TcpStream::connect(("127.0.0.1", port))?;
    socket.set_nodelay(true)?;
    let mut bytes = [0; 32];
    while socket.read_exact(&mut bytes).is_ok() {
        socket.write_all(&bytes)?;
    }
    Ok(())
}

/// CPU seconds a second of `n` threads that each send a line to every other once in `period`, and
/// read what comes, with one wake-up for all that is there.
pub(crate) fn heartbeats(n: usize, period: Duration, span: Duration) -> Res<f64> {
    let mut ends: Vec<Vec<TcpStream>> = (0..n).map(|_| Vec::new()).collect();
    for i in 0..n {
        for j in 0..i {
            let (near, far) = pair()?;
            ends[i].push(near);
            ends[j].push(far);
        }
    }
    let over = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = ends
        .into_iter()
        .enumerate()
        .map(|(i, sockets)| {
            let over = Arc::clone(&over);
            let phase = period.mul_f64(i as f64 / n as f64);
            std::thread::spawn(move || beat(sockets, period, phase, &over))
        })
        .collect();
    std::thread::sleep(period * 2);
    let cpu = Cpu::own();
    let (used, begin) = (cpu.used()?, Instant::now());
    std::thread::sleep(span);
    let share = (cpu.used()? - used).as_secs_f64() / begin.elapsed().as_secs_f64();
    over.store(true, Ordering::Relaxed);
    for thread in threads {
        thread.join().map_err(|_| "a heart panicked")??;
    }
    Ok(share)
}

fn beat(
    mut sockets: Vec<TcpStream>,
    period: Duration,
    phase: Duration,
    over: &AtomicBool,
) -> Res<()> {
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    for (i, socket) in sockets.iter().enumerate() {
        socket.set_nonblocking(true)?;
        epoll.add(socket, EpollEvent::new(EpollFlags::EPOLLIN, i as u64))?;
    }
    let mut events = [EpollEvent::empty(); 128];
    let mut buffer = [0; 4096];
    let mut due = Instant::now() + phase;
    while !over.load(Ordering::Relaxed) {
        let wait = due.saturating_duration_since(Instant::now());
        // Rounded up: rounded down it would spin through the last millisecond.
        let wait = wait + Duration::from_millis(1);
        let timeout = PollTimeout::try_from(wait).map_err(|_| "a long period")?;
        // Interrupted or not, what is there is read and what is due is sent.
        let count = epoll.wait(&mut events, timeout).unwrap_or(0);
        for event in &events[..count] {
            let at = usize::try_from(event.data())?;
            match sockets[at].read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Err(e.into()),
            }
        }
        if Instant::now() >= due {
            due += period;
            for socket in &mut sockets {
                // Whoever is over has closed its ends.
                let _ = socket.write(b"ping 12\n");
            }
        }
    }
    Ok(())
}
