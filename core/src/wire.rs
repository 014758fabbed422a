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
    /// Anything else.
    Unknown,
}

/// The longest id of a grid, in digits.
const ID_DIGITS: usize = 4;

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
        _ => Ok(Line::Unknown),
    }
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
    let mut digits = [0; 10];
    let mut at = digits.len();
    let mut rest = id;
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
