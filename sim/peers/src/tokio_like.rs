//! The workload on turmoil and on madsim. Both offer the names of tokio, so the node is one text.

use crate::Run;
use crate::workload::{Lines, MAX_LATENCY, MIN_LATENCY, NODES, PERIOD, expected, line, rounds};
use std::cell::Cell;
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};

const PORT: u16 = 7000;
const SEED: u64 = 1;

fn address(node: usize) -> IpAddr {
    let last = u8::try_from(node + 1).expect("a small grid");
    Ipv4Addr::new(192, 168, 0, last).into()
}

/// Reads until `rounds` lines have come.
async fn read(mut stream: impl AsyncRead + Unpin, rounds: u64) -> io::Result<u64> {
    let mut lines = Lines::default();
    let mut buffer = [0; 1024];
    while lines.count < rounds {
        let count = stream.read(&mut buffer).await?;
        assert_ne!(count, 0, "a stream ended after {} lines", lines.count);
        lines.take(&buffer[..count]);
    }
    Ok(lines.count)
}

macro_rules! node {
    ($name:ident, $net:path, $time:path, $task:path) => {
        /// One node: gives the number of lines that it read.
        async fn $name(me: usize, rounds: u64) -> io::Result<u64> {
            use {$net as net, $task as task, $time as time};
            let listener = net::TcpListener::bind((IpAddr::from([0, 0, 0, 0]), PORT)).await?;
            // By then all listen.
            time::sleep(PERIOD).await;
            let mut streams = Vec::new();
            for peer in 0..me {
                streams.push(net::TcpStream::connect((address(peer), PORT)).await?);
            }
            while streams.len() < NODES - 1 {
                streams.push(listener.accept().await?.0);
            }
            let mut writers = Vec::new();
            let mut readers = Vec::new();
            for stream in streams {
                let (reader, writer) = tokio::io::split(stream);
                writers.push(writer);
                readers.push(task::spawn(read(reader, rounds)));
            }
            let mut tick = time::interval(PERIOD);
            for round in 0..rounds {
                tick.tick().await;
                let line = line(me, round);
                for writer in &mut writers {
                    writer.write_all(line.as_bytes()).await?;
                    writer.flush().await?;
                }
            }
            let mut count = 0;
            for reader in readers {
                count += reader.await??;
            }
            Ok(count)
        }
    };
}

node!(turmoil_node, turmoil::net, tokio::time, tokio::task);
node!(madsim_node, madsim::net, madsim::time, madsim::task);

pub(crate) fn turmoil(seconds: u64) -> Run {
    let mut sim = turmoil::Builder::new()
        .rng_seed(SEED)
        .min_message_latency(MIN_LATENCY)
        .max_message_latency(MAX_LATENCY)
        .simulation_duration(Duration::from_secs(seconds + 10))
        .build();
    let lines = Rc::new(Cell::new(0));
    for me in 0..NODES {
        let lines = Rc::clone(&lines);
        sim.client(address(me), async move {
            let count = turmoil_node(me, rounds(seconds)).await?;
            lines.set(lines.get() + count);
            Ok(())
        });
    }
    sim.run().expect("no node fails");
    assert_eq!(lines.get(), expected(seconds));
    Run {
        simulated: sim.elapsed(),
        lines: lines.get(),
        events: None,
    }
}

pub(crate) fn madsim(seconds: u64) -> Run {
    let mut config = madsim::Config::default();
    config.net.send_latency = MIN_LATENCY..MAX_LATENCY;
    let runtime = madsim::runtime::Runtime::with_seed_and_config(SEED, config);
    let nodes: Vec<_> = (0..NODES)
        .map(|me| {
            let node = runtime.create_node().ip(address(me)).build();
            node.spawn(madsim_node(me, rounds(seconds)))
        })
        .collect();
    runtime.block_on(async {
        let begin = madsim::time::Instant::now();
        let mut lines = 0;
        for node in nodes {
            lines += node.await.expect("no panic").expect("no node fails");
        }
        assert_eq!(lines, expected(seconds));
        Run {
            simulated: begin.elapsed(),
            lines,
            events: None,
        }
    })
}
