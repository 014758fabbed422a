//! A [`Machine`] on smol and async-io: one thread for all its sockets.
//!
//! The sockets are watched by one poller of our own (`watch`), on Linux an epoll instance, and
//! async-io waits for that: one registration, one task, however many connections there are. A task
//! and a registration for each would cost two thread switches for every message that arrives. On
//! other systems the poller has no descriptor, and async-io watches every socket for the one task.
//!
//! Every turn: what is ready is read, a bounded amount; then the clock is asked whether the
//! machine's timeout has come; then the task waits for the next socket or the alarm. Where news
//! come every few milliseconds, as with many connections, the next turn first lingers in our
//! own poller, as long as no timeout is near: that costs one thread switch and two system
//! calls, where being woken through async-io costs two and ten. Nothing else runs on the thread.
//!
//! All rules about sockets and about the order of calls are in `chatroom-driver`.

#![forbid(unsafe_code)]

mod alarm;
mod commits;
// A task waits for the driver's poller in one of two ways; the second is for systems whose poller
// has no descriptor.
#[cfg_attr(
    all(
        any(target_os = "linux", target_os = "android"),
        not(feature = "portable")
    ),
    path = "sockets/linux.rs"
)]
#[cfg_attr(
    not(all(
        any(target_os = "linux", target_os = "android"),
        not(feature = "portable")
    )),
    path = "sockets/unix.rs"
)]
mod sockets;
mod watch;

use alarm::Alarm;
use chatroom_driver::{Addresses, Error, Observer, Outcome, Reads, Shell, Stop};
use chatroom_machine::Machine;
use commits::Commits;
use smol::LocalExecutor;
use smol::future;
use watch::{Found, LINGER, Watch};

/// Runs `machine` until it halts. Blocks the calling thread, which does all the work; async-io
/// adds a thread of its own that waits.
///
/// # Errors
/// When a door can't be listened on, the system denies what a runtime needs, or the machine's
/// files can't be used or written to. Nothing that happens on a connection is an error.
pub fn run<M: Machine, O: Observer<M>>(
    machine: M,
    addresses: Addresses,
    observer: O,
    stop: &Stop,
) -> Result<Outcome, Error> {
    let mut shell = Shell::new(machine, addresses, observer, Reads::Ready)?;
    // Not `smol::block_on`: it would take turns with async-io's thread at waiting, and each
    // change of hands costs more than being woken by that thread does.
    future::block_on(LocalExecutor::new().run(serve(&mut shell, stop)))
}

async fn serve<M: Machine, O: Observer<M>>(
    shell: &mut Shell<M, O>,
    stop: &Stop,
) -> Result<Outcome, Error> {
    let mut watch = Watch::new(shell, stop)?;
    let mut alarm = Alarm::new(shell.clock());
    shell.start()?;
    let mut commits = Commits::new(shell.take_files());
    watch.follow(shell);
    let (mut quick, mut lingers) = (false, false);
    loop {
        let found = watch.turn(shell, lingers)?;
        commits.tell(shell).await?;
        shell.expire();
        watch.follow(shell);
        if shell.outcome().is_some() {
            // Whoever comes now is turned away rather than left waiting.
            drop(watch);
            commits.end().await;
            return Ok(shell.farewell());
        }
        commits.begin(shell);
        let now = shell.clock().now();
        let has_time = shell.deadline().since(now) > LINGER;
        let calm = has_time && !commits.is_busy();
        lingers = found == Found::Little && (quick || lingers) && calm;
        if found == Found::Much {
            future::yield_now().await;
        } else if !lingers {
            alarm.set(shell.deadline());
            watch.wait(&mut alarm, &mut commits).await?;
            quick = shell.clock().now().since(now) < LINGER;
        }
    }
}
