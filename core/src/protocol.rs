//! What a protocol is to a [`Node`](crate::Node): the rules of one service, and nothing of links,
//! listeners, clients' connections, heartbeats or shutdown, which the node has.

use crate::clients::Clients;
use crate::config::{Config, ConfigError, Limits};
use crate::mesh::Mesh;
use crate::news::{News, Why};
use crate::outputs::Outputs;
use crate::volumes::Volumes;
use alloc::string::String;
use alloc::vec::Vec;
use chatroom_machine::{Action, Conn, Notice, Time, Volume, VolumeId};
use core::fmt;
use core::hash::Hash;

/// The rules of one service on a full mesh of servers.
///
/// The node calls these methods with what happened and a [`Context`] that takes what is to be
/// done. Per link, messages arrive in the order in which they were sent, whole, and only between
/// the [`peer_up`](Protocol::peer_up) and the [`peer_down`](Protocol::peer_down) of a session.
pub trait Protocol: Sized {
    /// The first word of every message between servers: `WORD SENDER BODY`. Neither empty nor
    /// `ping`, without white space.
    const WORD: &'static str;

    /// Whether sessions between two incarnations that both live resume: what is
    /// [broadcast](Context::broadcast) arrives once even if their link breaks, as long as the sender
    /// keeps it ([`Limits::lag`]); else [`lost`](Self::lost) says how much is missing. Such a
    /// protocol has no use of [`Context::send`].
    const RESUMES: bool = false;

    /// What it stores: a driver needs a directory for it if there is any.
    const VOLUMES: &'static [Volume] = &[];

    /// What a log, a metric or a checker is told of it.
    type Event: Notice + Clone + Eq + Hash;

    /// What is configured of it beside the node's times and limits.
    type Options: Clone + fmt::Debug + Default + Eq + Hash;

    /// What a line of a client asks for.
    type Command<'a>;

    /// Whether `options` lie within their bounds.
    ///
    /// # Errors
    /// [`ConfigError`] names the first that does not.
    fn check(options: &Self::Options) -> Result<(), ConfigError> {
        let _ = options;
        Ok(())
    }

    /// The state of a server that has done nothing yet. `config` was checked.
    fn new(config: &Config<Self::Options>) -> Self;

    /// The longest message that it sends whatever the limits are, in bytes: [`Limits::text`] has to
    /// leave room for it.
    #[must_use]
    fn longest_message() -> usize {
        1
    }

    /// The longest line of a client, in bytes. A longer one is answered with an error.
    fn longest_command(limits: &Limits) -> usize;

    /// The longest line that is [published](Context::publish), in bytes: at most
    /// [`Limits::watch`].
    #[must_use]
    fn longest_published(limits: &Limits) -> usize {
        let _ = limits;
        0
    }

    /// Reads one line of a client, without white space at its ends. Changes nothing.
    ///
    /// # Errors
    /// What is wrong with it and what was expected: one line. The client is sent `error REASON`.
    fn parse<'a>(limits: &Limits, line: &'a str) -> Result<Self::Command<'a>, String>;

    /// A record was found in `volume`: see [`Machine::handle_recovered`]. Before everything else;
    /// nothing may be sent yet.
    ///
    /// [`Machine::handle_recovered`]: chatroom_machine::Machine::handle_recovered
    fn recovered(&mut self, volume: VolumeId, number: u64, record: &[u8]) {
        let _ = (volume, number, record);
    }

    /// The server starts; what was stored before was [recovered](Self::recovered).
    fn start(&mut self, cx: &mut Context<'_, Self::Event>) {
        let _ = cx;
    }

    /// All records of `volume` with a number below `next` are durable: what had to wait for one of
    /// them may be sent now.
    fn stored(&mut self, cx: &mut Context<'_, Self::Event>, volume: VolumeId, next: u64) {
        let _ = (cx, volume, next);
    }

    /// A session with `peer` began.
    fn peer_up(&mut self, cx: &mut Context<'_, Self::Event>, peer: u32) {
        let _ = (cx, peer);
    }

    /// The session with `peer` ended: nothing more of it arrives.
    fn peer_down(&mut self, cx: &mut Context<'_, Self::Event>, peer: u32) {
        let _ = (cx, peer);
    }

    /// `count` broadcasts of `peer` are missing before the next of its messages: its link broke,
    /// and it no longer kept them when it was linked again. Only if it [resumes](Self::RESUMES).
    fn lost(&mut self, cx: &mut Context<'_, Self::Event>, peer: u32, count: u64) {
        let _ = (cx, peer, count);
    }

    /// A message of `peer` arrived on its link `conn`: UTF-8, at least one byte, at most
    /// [`Limits::text`], without a newline.
    ///
    /// # Errors
    /// The fault for which the link is closed, one that [is a fault](Why::is_fault).
    fn message(
        &mut self,
        cx: &mut Context<'_, Self::Event>,
        peer: u32,
        conn: Conn,
        body: &[u8],
    ) -> Result<Receipt, Why>;

    /// A client gave a command.
    fn command(
        &mut self,
        cx: &mut Context<'_, Self::Event>,
        client: Conn,
        command: Self::Command<'_>,
    );

    /// The moment of [`next_timeout`](Self::next_timeout) has come.
    fn timeout(&mut self, cx: &mut Context<'_, Self::Event>) {
        let _ = cx;
    }

    /// When [`timeout`](Self::timeout) is to be called; `None` if nothing is pending.
    fn next_timeout(&self) -> Option<Time> {
        None
    }

    /// The node is about to end, for good or for want of time: the last that clients are told.
    /// May be called more than once.
    fn ending(&mut self, cx: &mut Context<'_, Self::Event>) {
        let _ = cx;
    }

    /// The first contiguous piece of what [`Context::reply_shared`] promised to a client: the bytes
    /// from `from` up to `to` of the protocol's own store. Not empty if `from < to`; what was
    /// promised never changes.
    fn shared(&self, from: u64, to: u64) -> &[u8] {
        let _ = (from, to);
        &[]
    }
}

/// What became of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It took effect.
    Kept,
    /// It was valid, but there was no room for it. Counted as missed.
    Missed,
}

/// What a protocol may see and do while it handles one call.
#[derive(Debug)]
pub struct Context<'a, E> {
    pub(crate) out: &'a mut Outputs<E>,
    pub(crate) mesh: &'a mut Mesh,
    pub(crate) clients: &'a mut Clients,
    pub(crate) volumes: &'a mut Volumes,
}

impl<E> Context<'_, E> {
    /// The moment of the call.
    #[must_use]
    pub const fn now(&self) -> Time {
        self.out.now
    }

    /// The own id.
    #[must_use]
    pub const fn id(&self) -> u32 {
        self.mesh.id()
    }

    /// How many servers the grid has.
    #[must_use]
    pub const fn servers(&self) -> u32 {
        self.mesh.servers()
    }

    /// The own id and those of the peers that are up, ascending.
    #[must_use]
    pub fn alive(&self) -> Vec<u32> {
        self.mesh.alive()
    }

    /// Sends `body` to every peer that is up. It is encoded once.
    ///
    /// A peer that owes more than [`Limits::lag`] bytes of reading by then is dropped, and a
    /// client that broadcasts is read from no further while peers lag behind.
    ///
    /// # Panics
    /// If `body` is empty, longer than [`Limits::text`] or has a newline: the receiver would
    /// close the link.
    pub fn broadcast(&mut self, body: &[u8]) {
        self.mesh.check_body(body);
        self.out.counters.broadcasts += 1;
        self.mesh.broadcast(self.out, body);
    }

    /// Sends `body` to one peer, in one order with what is broadcast. Does nothing if the peer is
    /// down: [`Protocol::peer_down`] told.
    ///
    /// # Panics
    /// As [`broadcast`](Self::broadcast).
    pub fn send(&mut self, peer: u32, body: &[u8]) {
        self.mesh.check_body(body);
        self.mesh.send(self.out, peer, body);
    }

    /// Sends `bytes` to a client; pieces of one reply go out together. Does nothing if the client
    /// is gone.
    ///
    /// A client that is owed more than [`Limits::replies`] bytes is read from no further until it
    /// reads.
    pub fn reply(&mut self, client: Conn, bytes: &[u8]) {
        self.clients.owe(self.out, client, bytes);
    }

    /// Sends the bytes from `from` up to `to` of the protocol's own store to a client, without a
    /// copy: see [`Protocol::shared`].
    pub fn reply_shared(&mut self, client: Conn, from: u64, to: u64) {
        self.clients.owe_shared(self.out, client, from, to);
    }

    /// Sends `error REASON` to a client.
    pub fn refuse(&mut self, client: Conn, reason: &str) {
        self.clients.refuse(self.out, client, reason);
    }

    /// Has a client get everything that is [published](Self::publish) from now on.
    pub fn subscribe(&mut self, client: Conn) {
        self.clients.watch(client);
    }

    /// Whether any client has subscribed.
    #[must_use]
    pub const fn has_subscribers(&self) -> bool {
        self.clients.watched()
    }

    /// Sends a line, given in pieces and with its newline, to every client that has subscribed. One
    /// that is owed more than [`Limits::watch`] bytes by then is closed.
    pub fn publish(&mut self, line: &[&[u8]]) {
        self.clients.publish(self.out, line);
    }

    /// Stores a record, and gives its number: [`Protocol::stored`] tells when it is durable. **Send
    /// nothing that depends on it before.**
    ///
    /// # Panics
    /// If the protocol has no such volume, or the record has more than
    /// [`RECORD_MAX`](chatroom_machine::RECORD_MAX) bytes.
    pub fn store(&mut self, volume: VolumeId, record: &[u8]) -> u64 {
        self.volumes.store(self.out, volume, record)
    }

    /// Lets go of the records of a log up to `through`: they are never recovered again, or only
    /// by chance.
    pub fn discard(&mut self, volume: VolumeId, through: u64) {
        self.out.push(Action::Discard { volume, through });
    }

    /// Sends `bytes` to every client, whether it has said anything or not. One that is owed more
    /// than [`Limits::watch`] bytes by then is closed.
    pub fn announce(&mut self, bytes: &[u8]) {
        self.clients.announce(self.out, bytes);
    }

    /// Tells a log, a metric or a checker.
    pub fn emit(&mut self, event: E) {
        self.out.emit(News::Protocol(event));
    }

    /// Whether events of single messages are wanted, for checkers: [`Config::observe`].
    #[must_use]
    pub const fn observes(&self) -> bool {
        self.out.observe
    }

    /// Has the node end in good order as after this call, as a driver's
    /// [`handle_shutdown`](chatroom_machine::Machine::handle_shutdown) does: what was sent and stored
    /// so far goes out, within [`SHUTDOWN`](crate::SHUTDOWN). Until then messages still come, and the
    /// protocol does with them what it likes.
    pub const fn shut_down(&mut self) {
        self.out.shutdown = true;
    }

    /// Ends the process at once, as if it had been killed: nothing more is sent.
    pub const fn crash(&mut self) {
        self.out.crashed = true;
    }
}
