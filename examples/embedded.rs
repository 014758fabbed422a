//! A chat server inside another program: two servers on threads of this one, a client of theirs,
//! and an observer that sees what is delivered.
//!
//!     cargo run --example embedded

use chatroom_chat::{ChatEvent, ChatServer, Config, News};
use chatroom_driver::{Addresses, Observer, Stop};
use chatroom_machine::Time;
use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;

/// Passes on what a server delivers.
struct Deliveries {
    id: u32,
    sender: mpsc::Sender<String>,
}

impl Observer<ChatServer> for Deliveries {
    fn notice(&mut self, _: Time, news: &News) {
        if let News::Protocol(ChatEvent::Delivered { sender, text, .. }) = news {
            let line = format!("server {} has from {sender}: {text}", self.id);
            // The program that listened may have gone.
            let _ = self.sender.send(line);
        }
    }

    fn look(&mut self, _: Time, _: &ChatServer) {}
}

/// Addresses that are free now.
fn free(count: usize) -> Result<Vec<SocketAddr>, Box<dyn Error>> {
    let listeners: Vec<_> = (0..count)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    let addresses = listeners.iter().map(TcpListener::local_addr);
    Ok(addresses.collect::<Result<_, _>>()?)
}

fn main() -> Result<(), Box<dyn Error>> {
    let addresses = free(4)?;
    let (links, masters) = addresses.split_at(2);
    let (sender, deliveries) = mpsc::channel();
    let mut servers = Vec::new();
    for id in 0..2 {
        let mut config = Config::new(id, 2);
        config.observe = true;
        let server = ChatServer::new(config)?;
        let addresses = Addresses {
            doors: vec![links[id as usize], masters[id as usize]],
            places: links.to_vec(),
            state: None,
        };
        let sender = sender.clone();
        let (stopper, stop) = Stop::new()?;
        let thread = std::thread::spawn(move || {
            chatroom_runtime_std::run(server, addresses, Deliveries { id, sender }, &stop)
        });
        servers.push((stopper, thread));
    }

    let mut client = loop {
        // The server may not listen yet.
        match TcpStream::connect(masters[0]) {
            Ok(client) => break client,
            Err(_) if !servers[0].1.is_finished() => std::thread::yield_now(),
            Err(error) => return Err(error.into()),
        }
    };
    let mut replies = BufReader::new(client.try_clone()?).lines();
    let mut alive = String::new();
    while alive != "alive 0,1" {
        client.write_all(b"alive\n")?;
        alive = replies.next().ok_or("the server has left")??;
    }
    client.write_all(b"broadcast hello from outside\n")?;
    for _ in 0..2 {
        println!("{}", deliveries.recv()?);
    }

    for (stopper, thread) in servers {
        stopper.request();
        let outcome = thread.join().map_err(|_| "a server panicked")??;
        println!("ended: {outcome:?}");
    }
    Ok(())
}
