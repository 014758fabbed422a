//! Networks that cut: delay, loss in one direction, silence without an end, reset; on each runtime.
//!
//! Every link goes through a proxy of the test's own, which works at the level of bytes and needs
//! no privileges. The cut in one direction is made once more by the kernel, in a network namespace
//! that routes the packets of one direction into nothing; where the machine allows no namespace
//! this is said on standard error. `CHATROOM_STRICT=1` asserts the bounds on time.

#[path = "conformance/grid/mod.rs"]
#[allow(dead_code, reason = "the other suites use the rest of it")]
mod grid;

use grid::pump::{Pump, ascends, complete, numbers};
use grid::turn::{Turn, Weight};
use grid::{Grid, Kind, all, patient, strict, until, within};
use rustix::net::sockopt::set_socket_linger;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread::{self, sleep};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
/// How often the proxy looks at what it is to do.
const LOOK: Duration = Duration::from_millis(5);

macro_rules! on_each_runtime {
    ($($case:ident;)*) => {
        mod on_std {
            $(#[test] fn $case() { crate::run(crate::$case, crate::Kind::Std); })*
        }
        mod on_smol {
            $(#[test] fn $case() { crate::run(crate::$case, crate::Kind::Smol); })*
        }
    };
}

on_each_runtime! {
    a_link_cut_in_one_direction_is_dropped_and_heals;
    silence_without_an_end_is_noticed_and_heals;
    a_link_that_is_reset_is_whole_again_and_nobody_else_misses_a_message;
    delay_changes_no_order_and_loses_nothing;
    a_cut_by_the_kernel_in_one_direction_is_dropped_and_heals;
    a_stop_over_a_slow_network_loses_nothing_that_had_time_to_arrive;
}

fn run(case: fn(Kind), kind: Kind) {
    let _turn = Turn::take(Weight::Light);
    case(kind);
}

/// One direction of the links of a pair.
#[derive(Default)]
struct Way {
    /// Nothing passes, the end of the stream included, until it is mended.
    cut: AtomicBool,
    /// Milliseconds that every piece takes.
    delay: AtomicU64,
}

impl Way {
    /// Waits out a cut; false if the links were reset meanwhile.
    fn passes(&self, reset: &AtomicBool) -> bool {
        while self.cut.load(Relaxed) && !reset.load(Relaxed) {
            sleep(LOOK);
        }
        !reset.load(Relaxed)
    }
}

/// The links of one pair: from the dialler to the other, and back.
#[derive(Default)]
struct Pair {
    there: Way,
    back: Way,
    /// One for each connection: it is to be reset.
    resets: Mutex<Vec<Arc<AtomicBool>>>,
}

impl Pair {
    fn set_cut(&self, there: bool, back: bool) {
        self.there.cut.store(there, Relaxed);
        self.back.cut.store(back, Relaxed);
    }

    fn reset(&self) {
        for reset in self.resets.lock().unwrap().drain(..) {
            reset.store(true, Relaxed);
        }
    }
}

/// Three servers whose links all go through a proxy.
struct Net {
    grid: Grid,
    /// By dialler and dialled.
    pairs: BTreeMap<(usize, usize), Arc<Pair>>,
}

/// Each server has a base port of its own, so that where it dials the proxy listens.
fn base(id: usize) -> u16 {
    4000 + 100 * id as u16
}

impl Net {
    fn new(kind: Kind, options: &str) -> Self {
        let mut grid = Grid::new(&all(kind, 3), options);
        let mut pairs = BTreeMap::new();
        for id in grid.ids() {
            grid.set_options(id, &format!("--base-port {}", base(id)));
            for other in 0..id {
                let pair = Arc::new(Pair::default());
                let door = TcpListener::bind((grid.host, base(id) + other as u16)).unwrap();
                let to = base(other) + other as u16;
                let (host, shared) = (grid.host, Arc::clone(&pair));
                thread::spawn(move || admit(&door, host, to, &shared));
                pairs.insert((id, other), pair);
            }
        }
        grid.start_all();
        grid.whole();
        Self { grid, pairs }
    }
}

/// Takes connections of the dialler, each with one of its own to the other.
fn admit(door: &TcpListener, host: Ipv4Addr, to: u16, pair: &Arc<Pair>) {
    for near in door.incoming() {
        let near = near.unwrap();
        // A server that is not there: the dialler sees its connection end.
        let Ok(far) = TcpStream::connect((host, to)) else {
            continue;
        };
        let reset = Arc::new(AtomicBool::new(false));
        pair.resets.lock().unwrap().push(Arc::clone(&reset));
        let (near, far) = (Arc::new(near), Arc::new(far));
        for socket in [&near, &far] {
            socket.set_read_timeout(Some(LOOK)).unwrap();
            socket.set_nodelay(true).unwrap();
        }
        let ways = [(true, &near, &far), (false, &far, &near)];
        for (there, from, to) in ways {
            let (from, to) = (Arc::clone(from), Arc::clone(to));
            let (pair, reset) = (Arc::clone(pair), Arc::clone(&reset));
            thread::spawn(move || {
                let way = if there { &pair.there } else { &pair.back };
                if carry(&from, &to, way, &reset).is_err() {
                    reset.store(true, Relaxed);
                }
                if reset.load(Relaxed) {
                    // Takes effect when the last of both threads lets go.
                    for socket in [&from, &to] {
                        let _ = set_socket_linger(socket, Some(Duration::ZERO));
                    }
                }
            });
        }
    }
}

/// Carries bytes one way until the stream ends or is reset.
fn carry(
    mut from: &TcpStream,
    mut to: &TcpStream,
    way: &Way,
    reset: &AtomicBool,
) -> std::io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    while way.passes(reset) {
        let count = match from.read(&mut buffer) {
            Ok(count) => count,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(e) => return Err(e),
        };
        sleep(Duration::from_millis(way.delay.load(Relaxed)));
        if !way.passes(reset) {
            break;
        }
        if count == 0 {
            return to.shutdown(Shutdown::Write);
        }
        to.write_all(&buffer[..count])?;
    }
    Ok(())
}

/// Waits until 1 and 2 have lost each other, as far as each can know, and 0 has both.
fn parted(grid: &Grid, first_knows: bool) -> Duration {
    let mut masters = [0, 1, 2].map(|id| grid.master(id));
    until("the pair has parted", || {
        let [middle, first, second] = masters.each_mut().map(|master| master.alive());
        middle == [0, 1, 2] && second == [0, 2] && (!first_knows || first == [0, 1])
    })
}

/// Cuts the ways between 1 and 2, as `cut` does it for each direction, and mends them.
fn part_and_mend(grid: &Grid, cut: impl Fn(bool), mend: impl Fn(bool)) {
    // The way of the dialler: neither hears the other, for nobody answers whom he does not hear.
    // The way back: the first hears whoever dials, and takes it for up each time.
    for there in [true, false] {
        cut(there);
        // Who still hears the other keeps it until that one gives up, and for as long again.
        within("a cut is noticed", parted(grid, there), 2 * SECOND);
        grid.reaches(0, &[1, 2]);
        grid.reaches(1, &[0]);
        grid.reaches(2, &[0]);
        mend(there);
        within("a mended link is up", grid.whole(), SECOND);
        grid.reaches(1, &[0, 2]);
        grid.reaches(2, &[0, 1]);
    }
}

fn a_link_cut_in_one_direction_is_dropped_and_heals(kind: Kind) {
    let net = Net::new(kind, "");
    let pair = &net.pairs[&(2, 1)];
    let cut = |there| pair.set_cut(there, !there);
    part_and_mend(&net.grid, cut, |_| pair.set_cut(false, false));
}

fn silence_without_an_end_is_noticed_and_heals(kind: Kind) {
    let net = Net::new(kind, "");
    let pair = &net.pairs[&(2, 1)];
    pair.set_cut(true, true);
    within("silence is noticed", parted(&net.grid, true), SECOND);
    pair.set_cut(false, false);
    within("a mended link is up", net.grid.whole(), SECOND);
    net.grid.reaches(1, &[0, 2]);
    net.grid.reaches(2, &[0, 1]);
}

fn a_link_that_is_reset_is_whole_again_and_nobody_else_misses_a_message(kind: Kind) {
    let net = Net::new(kind, patient());
    let grid = &net.grid;
    let watch = grid.watch(1);
    let pump = Pump::start(grid, &[0, 1, 2]);
    for round in 1..=5 {
        net.pairs[&(2, 1)].reset();
        until("the reset is noticed", || {
            watch.told("down 2").len() >= round
        });
        within("a reset link is up", grid.whole(), SECOND);
    }
    let counts = pump.stops();
    complete(grid, 0, &counts);
    for (id, other) in [(1, 2), (2, 1)] {
        complete(grid, id, &[counts[0], counts[id]]);
        grid.reaches(other, &[id]);
        let of_other = numbers(&grid.master(id).get(), other);
        // Gaps where a session broke, and nowhere else.
        let gaps = of_other.windows(2).filter(|w| w[1] != w[0] + 1).count();
        assert!(ascends(&of_other) && gaps <= 5, "{of_other:?}");
    }
}

fn delay_changes_no_order_and_loses_nothing(kind: Kind) {
    let net = Net::new(kind, patient());
    for pair in net.pairs.values() {
        pair.there.delay.store(60, Relaxed);
        pair.back.delay.store(20, Relaxed);
    }
    let pump = Pump::start(&net.grid, &[0, 1, 2]);
    sleep(Duration::from_millis(500));
    pump.arrives(&net.grid);
    net.grid.whole();
}

/// Set for the process that runs in a namespace of its own.
const INSIDE: &str = "CHATROOM_TEST_INSIDE";

fn sh(script: &str) -> Output {
    Command::new("sh").args(["-c", script]).output().unwrap()
}

fn a_cut_by_the_kernel_in_one_direction_is_dropped_and_heals(kind: Kind) {
    if std::env::var_os(INSIDE).is_some() {
        let grid = Grid::up(&all(kind, 3), "");
        // Only 2 dials 1: its port stands in the packets of this pair alone.
        let rule = |verb: &str, there: bool| {
            let port = if there { "dport" } else { "sport" };
            let number = Grid::link_port(1);
            let rule = format!("ip rule {verb} pref 0 ipproto tcp {port} {number} blackhole");
            assert!(sh(&rule).status.success(), "{rule}");
        };
        part_and_mend(
            &grid,
            |there| rule("add", there),
            |there| rule("del", there),
        );
        return;
    }
    // The rule that looks at local addresses stands first: it has to make room.
    let ready = "ip link set lo up && ip rule add pref 1 lookup local \
                 && ip rule del pref 0 lookup local";
    let probe = "ip rule add pref 0 ipproto tcp dport 1 blackhole";
    let allowed = sh(&format!("unshare -rn sh -c '{ready} && {probe}'"));
    let runtime = if kind == Kind::Std {
        "on_std"
    } else {
        "on_smol"
    };
    let name = format!("{runtime}::a_cut_by_the_kernel_in_one_direction_is_dropped_and_heals");
    if !allowed.status.success() {
        // Past the test harness, which would keep it to itself.
        let why = String::from_utf8_lossy(&allowed.stderr);
        let why = why.lines().next().unwrap_or("no reason given");
        let line = format!("SKIPPED {name}: no network namespace: {why}\n");
        std::io::stderr().write_all(line.as_bytes()).unwrap();
        return;
    }
    let inside = Command::new("unshare")
        .args(["-rn", "sh", "-c", &format!("{ready} && exec \"$0\" \"$@\"")])
        .arg(std::env::current_exe().unwrap())
        .args([&name, "--exact", "--nocapture"])
        .env(INSIDE, "1")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&inside.stdout);
    let complaints = String::from_utf8_lossy(&inside.stderr);
    eprintln!("{complaints}");
    assert!(inside.status.success(), "{said}");
    assert!(said.contains("1 passed"), "it did not run: {said}");
}

/// The status of a slow network that the machine does not allow.
const NO_NETWORK: i32 = 77;

fn a_stop_over_a_slow_network_loses_nothing_that_had_time_to_arrive(kind: Kind) {
    let runtime = if kind == Kind::Std { "std" } else { "smol" };
    // A busy machine may be too slow for what the network has time for.
    let whole = if strict() { " --whole" } else { "" };
    let networks = [
        format!("--delay 100{whole}"),
        format!("--rate 1000000 --texts 100{whole}"),
        "--rate 1000000".to_owned(),
    ];
    for network in networks {
        let ran = Command::new("python3")
            .arg(concat!(
                env!("CARGO_MANIFEST_DIR"),
                "/tests/network/farewell.py"
            ))
            .args(["--binary", env!("CARGO_BIN_EXE_chatroom")])
            .args(["--runtime", runtime])
            .args(network.split_whitespace())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&ran.stdout);
        if ran.status.code() == Some(NO_NETWORK) || said.is_empty() && !ran.status.success() {
            let line = format!("SKIPPED a stop over a slow network ({runtime}): {said}\n");
            std::io::stderr().write_all(line.as_bytes()).unwrap();
            return;
        }
        eprintln!("{network}: {said}");
        let complaints = String::from_utf8_lossy(&ran.stderr);
        assert!(ran.status.success(), "{network}: {said}{complaints}");
    }
}
