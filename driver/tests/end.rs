//! What holds after the end of a run: the sockets that are left may still have news, and none of
//! it reaches the machine, whose handles are all dead.

use chatroom_chat::{ChatServer, Config, MASTERS};
use chatroom_driver::{Addresses, Change, Outcome, Progress, Reads, Shell, Silent};
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

#[test]
fn news_of_a_dial_after_a_crash_do_nothing() {
    let host = Ipv4Addr::LOCALHOST;
    let peer = TcpListener::bind((host, 0)).unwrap();
    let here = SocketAddr::from((host, 0));
    let addresses = Addresses {
        doors: vec![here, here],
        places: vec![peer.local_addr().unwrap(), here],
        state: None,
    };
    let server = ChatServer::new(Config::new(1, 2)).unwrap();
    let mut shell = Shell::new(server, addresses, Silent, Reads::Ready).unwrap();
    shell.start().unwrap();
    let began = shell.take_changes().expect("a dial under way");
    let [Change::Write(dialled)] = began[..] else {
        panic!("{began:?}");
    };

    let mut master = TcpStream::connect(shell.address(MASTERS).unwrap()).unwrap();
    master.write_all(b"crash\n").unwrap();
    let begin = Instant::now();
    let mut connected = None;
    while shell.outcome().is_none() {
        assert!(begin.elapsed() < Duration::from_secs(30));
        if connected.is_none() {
            assert_ne!(shell.accept(MASTERS), Progress::Over);
            let mut changes = shell.take_changes().unwrap_or_default().into_iter();
            connected = changes.find(|change| matches!(change, Change::Opened(_)));
        } else if let Some(Change::Opened(conn)) = connected {
            let _ = shell.readable(conn);
        }
    }
    assert_eq!(shell.outcome(), Some(Outcome::Crash));

    shell.writable(dialled);
    shell.abandon(dialled);
    shell.expire();
    shell.stop();
    assert_eq!(shell.outcome(), Some(Outcome::Crash));
    assert_eq!(shell.take_changes(), None);
}
