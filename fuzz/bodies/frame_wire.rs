//! One stream in two cuttings: at either door, from a stranger or from whom we dialled, how the
//! bytes are cut changes nothing of what comes of them.

use chatroom_chat::*;
use chatroom_machine::*;

/// All that a stream led to.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    log: Vec<u8>,
    alive: Vec<u32>,
    /// What the two other connections and the stream's own are sent.
    sent: [Vec<u8>; 3],
    /// What was told; nothing if it crashed, for a crash tells nothing.
    news: Vec<News>,
    halt: Option<Halt>,
}

/// The first byte chooses the connection, the second how many of the next are cuts.
pub(crate) fn frame_wire(data: &[u8]) {
    if let [kind, cuts, rest @ ..] = data {
        let (cuts, stream) = rest.split_at(rest.len().min(usize::from(*cuts) % 9));
        let cuts: Vec<usize> = cuts.iter().map(|c| usize::from(*c)).collect();
        let whole = feed(*kind, stream, &[]);
        assert_eq!(whole, feed(*kind, stream, &cuts), "cut at {cuts:?}");
        let every: Vec<usize> = (1..stream.len()).collect();
        assert_eq!(whole, feed(*kind, stream, &every), "byte by byte");
    }
}

fn feed(kind: u8, stream: &[u8], cuts: &[usize]) -> Outcome {
    let mut config = Config::new(1, 3);
    config.incarnation = 7;
    config.limits.text = 24;
    config.observe = true;
    let server = ChatServer::new(config).expect("a valid configuration");
    let checks = Checks::thorough().panicking().only(Side::Machine);
    let mut server = Checked::new(server, checks);
    let now = Time::ZERO;
    server.handle_start(now);
    let dial = loop {
        if let Some(Action::Dial { conn, .. }) = server.poll() {
            break conn;
        }
    };
    server
        .handle_dialled(now, dial, Dialled::Connected)
        .expect("being dialled");
    let watcher = server
        .handle_accepted(now, MASTERS, Remote::default())
        .expect("room");
    server.handle_bytes(now, watcher, b"watch\n").expect("open");
    let subject = match kind % 3 {
        0 => dial,
        1 => server
            .handle_accepted(now, LINKS, Remote::default())
            .expect("room"),
        _ => server
            .handle_accepted(now, MASTERS, Remote::default())
            .expect("room"),
    };
    let mut outcome = Outcome {
        log: vec![],
        alive: vec![],
        sent: [vec![], vec![], vec![]],
        news: vec![],
        halt: None,
    };
    let mut cuts: Vec<usize> = cuts.iter().map(|c| c % (stream.len() + 1)).collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    for pair in cuts.windows(2) {
        let ended = server.handle_bytes(now, subject, &stream[pair[0]..pair[1]]);
        while let Some(action) = server.poll() {
            match action {
                Action::Notice(news) => outcome.news.push(news),
                Action::Halt(halt) => outcome.halt = Some(halt),
                Action::Dial { .. }
                | Action::Send(_)
                | Action::Pause(_)
                | Action::Resume(_)
                | Action::Close(_)
                | Action::Shut(_)
                | Action::Open(_)
                | Action::Store(_)
                | Action::Discard { .. } => {}
            }
        }
        if ended.is_err() {
            break;
        }
    }
    if outcome.halt.is_some() {
        outcome.news.clear();
    }
    for (conn, sent) in [watcher, dial, subject].into_iter().zip(&mut outcome.sent) {
        while let piece @ [_, ..] = server.pending(conn, 0) {
            sent.extend_from_slice(piece);
            let count = piece.len();
            server.handle_sent(now, conn, count).expect("pending");
        }
    }
    (outcome.log, outcome.alive) = (server.protocol().log(), server.alive());
    outcome
}
