//! Lines to typed messages and back: what servers say to each other. Knows the grammar, the
//! protocol's word and the grid's size, nothing of connections.

use crate::news::Why;
use alloc::vec::Vec;

/// One line between servers.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Line<'a> {
    /// `ping SENDER`
    Ping(u32),
    /// `WORD SENDER BODY`, with the protocol's word.
    Message(u32, &'a str),
    /// `hello WORD VERSION N INCARNATION [CAPABILITY…]`
    Hello(Hello<'a>),
    /// `from COUNT OFFSET`: where the broadcasts begin that follow on this link.
    From(Position),
    /// `ack OFFSET`: how far the sender's broadcasts were received.
    Ack(u64),
    /// Anything else.
    Unknown,
}

/// What a server says of itself after its first `ping`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Hello<'a> {
    /// The protocol's word.
    pub(crate) word: &'a str,
    /// How many servers it takes the grid to have.
    pub(crate) servers: u32,
    /// Which incarnation it is; not 0.
    pub(crate) incarnation: u64,
    /// The capability `resume`: whether its sessions resume.
    pub(crate) resumes: bool,
    /// With `resume=INCARNATION.COUNT.OFFSET`: what it has of the broadcasts of that incarnation.
    pub(crate) has: Option<(u64, Position)>,
}

/// A place among the broadcasts of one incarnation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Position {
    /// How many broadcasts lie before it.
    pub(crate) count: u64,
    /// How many bytes their lines have.
    pub(crate) offset: u64,
}

/// More bytes than any server will ever broadcast.
const MOST: u64 = 1 << 60;

/// The version of what is said between servers.
const VERSION: u32 = 1;

/// The longest id of a grid, in digits.
const ID_DIGITS: usize = 4;

/// Room for every line that is not a message.
pub(crate) const CONTROL: usize = 256;

/// The longest line between servers for bodies of at most `text` bytes after `word`.
pub(crate) const fn longest(word: &str, text: usize) -> usize {
    word.len() + b" ".len() + ID_DIGITS + b" ".len() + text
}

/// Reads one line, without its newline.
///
/// # Errors
/// The reason why the line is broken.
pub(crate) fn parse<'a>(line: &'a [u8], word: &str, servers: u32) -> Result<Line<'a>, Why> {
    let line = core::str::from_utf8(line).map_err(|_| Why::NotUtf8)?;
    let (kind, rest) = match line.split_once(' ') {
        Some((kind, rest)) => (kind, Some(rest)),
        None => (line, None),
    };
    match kind {
        "ping" => Ok(Line::Ping(id(rest.ok_or(Why::Malformed)?, servers)?)),
        _ if kind == word => {
            let (sender, body) = rest.and_then(|r| r.split_once(' ')).ok_or(Why::Malformed)?;
            let sender = id(sender, servers)?;
            if body.is_empty() {
                return Err(Why::Malformed);
            }
            Ok(Line::Message(sender, body))
        }
        // What a later version adds is none of ours: such a line is of an unknown kind.
        "hello" => Ok(rest.and_then(hello).map_or(Line::Unknown, Line::Hello)),
        "from" => {
            let at = rest.and_then(|rest| position(rest.split_once(' ')?));
            Ok(at.map_or(Line::Unknown, Line::From))
        }
        "ack" => {
            let offset = rest.and_then(|rest| rest.parse().ok());
            Ok(offset.map_or(Line::Unknown, Line::Ack))
        }
        _ => Ok(Line::Unknown),
    }
}

fn hello(rest: &str) -> Option<Hello<'_>> {
    let mut words = rest.split(' ');
    let word = words.next()?;
    let _version: u32 = words.next()?.parse().ok()?;
    let mut hello = Hello {
        word,
        servers: words.next()?.parse().ok()?,
        incarnation: words.next()?.parse().ok().filter(|&i| i != 0)?,
        resumes: false,
        has: None,
    };
    for capability in words {
        if capability == "resume" {
            hello.resumes = true;
        } else if let Some(has) = capability.strip_prefix("resume=") {
            let (incarnation, at) = has.split_once('.')?;
            hello.resumes = true;
            hello.has = Some((incarnation.parse().ok()?, position(at.split_once('.')?)?));
        }
    }
    Some(hello)
}

fn position((count, offset): (&str, &str)) -> Option<Position> {
    let (count, offset) = (count.parse().ok()?, offset.parse().ok()?);
    let valid = count <= offset && offset <= MOST;
    valid.then_some(Position { count, offset })
}

/// The line of a [`Hello`], with its newline.
pub(crate) fn push_hello(out: &mut Vec<u8>, hello: &Hello<'_>) {
    out.extend_from_slice(b"hello ");
    out.extend_from_slice(hello.word.as_bytes());
    for number in [VERSION.into(), hello.servers.into(), hello.incarnation] {
        out.push(b' ');
        push_number(out, number);
    }
    if hello.resumes {
        out.extend_from_slice(b" resume");
    }
    if let Some((incarnation, at)) = hello.has {
        out.push(b'=');
        push_number(out, incarnation);
        for number in [at.count, at.offset] {
            out.push(b'.');
            push_number(out, number);
        }
    }
    out.push(b'\n');
}

/// `from COUNT OFFSET` with its newline.
pub(crate) fn push_from(out: &mut Vec<u8>, at: Position) {
    out.extend_from_slice(b"from ");
    push_number(out, at.count);
    out.push(b' ');
    push_number(out, at.offset);
    out.push(b'\n');
}

/// `ack OFFSET` with its newline.
pub(crate) fn push_ack(out: &mut Vec<u8>, offset: u64) {
    out.extend_from_slice(b"ack ");
    push_number(out, offset);
    out.push(b'\n');
}

/// An id in its one spelling: decimal digits without a leading zero.
fn id(digits: &str, servers: u32) -> Result<u32, Why> {
    let plain = digits.bytes().all(|b| b.is_ascii_digit());
    if digits.is_empty() || !plain || (digits.len() > 1 && digits.starts_with('0')) {
        return Err(Why::Malformed);
    }
    match digits.parse() {
        Ok(id) if id < servers => Ok(id),
        Ok(_) | Err(_) => Err(Why::OutsideGrid),
    }
}

/// Appends `id` in decimal.
pub fn push_id(out: &mut Vec<u8>, id: u32) {
    push_number(out, id.into());
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = number;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// `ping ID` with its newline.
pub(crate) fn ping(id: u32) -> Vec<u8> {
    let mut line = b"ping ".to_vec();
    push_id(&mut line, id);
    line.push(b'\n');
    line
}

/// `WORD ID ` with its blank: what stands before every body of `id`.
pub(crate) fn prefix(word: &str, id: u32) -> Vec<u8> {
    let mut prefix = word.as_bytes().to_vec();
    prefix.push(b' ');
    push_id(&mut prefix, id);
    prefix.push(b' ');
    prefix
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use proptest::prelude::*;

    #[test]
    fn each_kind_and_each_fault_is_told_apart() {
        let cases: [(&[u8], Result<Line<'_>, Why>); 19] = [
            (b"ping 2", Ok(Line::Ping(2))),
            (b"msg 0 a b", Ok(Line::Message(0, "a b"))),
            (b"msg 0  a ", Ok(Line::Message(0, " a "))),
            (b"msg 1 \xc3\xa4", Ok(Line::Message(1, "\u{e4}"))),
            (b"", Ok(Line::Unknown)),
            (b"pong 1", Ok(Line::Unknown)),
            (b"GET / HTTP/1.1", Ok(Line::Unknown)),
            (b"msg 1 \xff", Err(Why::NotUtf8)),
            (b"ping", Err(Why::Malformed)),
            (b"ping ", Err(Why::Malformed)),
            (b"ping 1 ", Err(Why::Malformed)),
            (b"ping 01", Err(Why::Malformed)),
            (b"ping +1", Err(Why::Malformed)),
            (b"ping -1", Err(Why::Malformed)),
            (b"ping 3", Err(Why::OutsideGrid)),
            (b"ping 99999999999999999999", Err(Why::OutsideGrid)),
            (b"msg 1", Err(Why::Malformed)),
            (b"msg 1 ", Err(Why::Malformed)),
            (b"msg x y", Err(Why::Malformed)),
        ];
        for (line, expected) in cases {
            assert_eq!(
                parse(line, "msg", 3),
                expected,
                "{}",
                String::from_utf8_lossy(line)
            );
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(id in 0u32..1024, text in "[^\n]{1,40}") {
            let mut line = prefix("msg", id);
            line.extend_from_slice(text.as_bytes());
            prop_assert!(line.len() <= longest("msg", text.len()));
            prop_assert_eq!(parse(&line, "msg", 1024), Ok(Line::Message(id, &text)));
            let line = ping(id);
            prop_assert_eq!(&line[..], &format!("ping {id}\n").into_bytes()[..]);
            prop_assert_eq!(parse(&line[..line.len() - 1], "msg", 1024), Ok(Line::Ping(id)));
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(line in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = parse(&line, "msg", 7);
        }
    }
}
