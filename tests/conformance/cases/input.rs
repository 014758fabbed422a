//! Bad input of every kind, on both ports, while a grid goes on.

use crate::grid::pump::Pump;
use crate::grid::stranger::Stranger;
use crate::grid::{Grid, Kind, all, patient, until};

/// Three servers and a fourth place, which the test plays.
fn with_a_place(kind: Kind) -> Grid {
    let mut grid = Grid::new(&all(kind, 4), patient());
    for id in 0..3 {
        grid.start(id);
    }
    grid.agree(&[0, 1, 2]);
    grid
}

pub(crate) fn broken_lines_close_their_link_and_touch_nothing_else(kind: Kind) {
    let grid = with_a_place(kind);
    let pump = Pump::start(&grid, &[0, 1, 2]);
    let long = [b"msg 3 ".to_vec(), vec![b'x'; 70_000], b"\n".to_vec()].concat();
    let endless = vec![b'y'; 200_000];
    let broken: [&[u8]; 18] = [
        b"ping\n",
        b"ping \n",
        b"ping 3 \n",
        b"ping 3\r\n",
        b"ping 03\n",
        b"ping +3\n",
        b"ping -1\n",
        b"ping 4\n",
        b"ping 99999999999999999999\n",
        b"msg\n",
        b"msg 3\n",
        b"msg 3 \n",
        b"msg x text\n",
        b"msg 4 text\n",
        b"ping \xff\n",
        b"msg 3 \xc3\n",
        &long,
        &endless,
    ];
    let nameless: [&[u8]; 4] = [
        b"\n",
        b"hello\n",
        b"GET / HTTP/1.1\r\nHost: here\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\n",
    ];
    for id in 0..3 {
        let own = format!("ping {id}\n").into_bytes();
        let other = format!("ping {}\n", (id + 1) % 3).into_bytes();
        for line in broken.iter().chain(&nameless).chain([&own[..]].iter()) {
            let mut stranger = Stranger::new(grid.host, Grid::link_port(id));
            stranger.sends(line);
            stranger.is_closed();
        }
        for line in broken.iter().chain([&own[..], &other[..]].iter()) {
            let mut peer = Stranger::new(grid.host, Grid::link_port(id));
            peer.sends(b"ping 3\n");
            assert_eq!(peer.hears(), format!("ping {id}"));
            // Kinds of a later protocol are skipped, so this is no fault.
            peer.sends(b"\nlater 3 words\nGET / HTTP/1.1\r\n");
            peer.sends(line);
            peer.is_closed();
        }
    }
    grid.agree(&[0, 1, 2]);
    pump.arrives(&grid);
}

pub(crate) fn wrong_commands_are_answered_with_an_error_each(kind: Kind) {
    let grid = Grid::up(&all(kind, 3), patient());
    let pump = Pump::start(&grid, &[0, 1, 2]);
    let long = [b"broadcast ".to_vec(), vec![b'x'; 65_537]].concat();
    let longer = vec![b'y'; 300_000];
    let wrong: [&[u8]; 16] = [
        b"",
        b"   \t",
        b"GET",
        b"get now",
        b"alive?",
        b"alive 1",
        b"watch it",
        b"crash now",
        b"broadcast",
        b"broadcast ",
        b"ping 1",
        b"msg 1 text",
        b"broadcast \xff\xfe",
        b"\x00\x01\x02",
        &long,
        &longer,
    ];
    for id in 0..3 {
        let mut master = grid.master(id);
        for line in wrong {
            master.sends(line);
            master.sends(b"\n");
            let reply = master.hears().expect("a reply");
            assert!(reply.starts_with("error "), "{reply}");
            assert_eq!(master.alive(), [0, 1, 2]);
        }
    }
    pump.arrives(&grid);
}

pub(crate) fn a_peer_that_resets_at_any_byte_disturbs_nobody(kind: Kind) {
    let grid = with_a_place(kind);
    let pump = Pump::start(&grid, &[0, 1, 2]);
    let says = b"ping 3\nmsg 3 once\nlater 3\nmsg 3 twice\nping 3\n";
    for id in 0..3 {
        for end in 0..=says.len() {
            let mut peer = Stranger::new(grid.host, Grid::link_port(id));
            peer.sends(&says[..end]);
            peer.resets();
        }
    }
    grid.agree(&[0, 1, 2]);
    pump.arrives(&grid);
}

pub(crate) fn a_master_that_resets_at_any_byte_disturbs_nobody(kind: Kind) {
    let grid = Grid::up(&all(kind, 3), patient());
    let pump = Pump::start(&grid, &[0, 1, 2]);
    let says = b"get\nbroadcast once\nwatch\nalive\nwhat\nbroadcast twice\nget\n";
    for id in 0..3 {
        for end in 0..=says.len() {
            let mut master = Stranger::new(grid.host, Grid::master_port(id));
            master.sends(&says[..end]);
            master.resets();
        }
    }
    // Nobody is left behind: a master is served still.
    until("masters are served", || grid.master(0).alive() == [0, 1, 2]);
    pump.arrives(&grid);
}
