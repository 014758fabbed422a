//! What a master says: lines to commands, and the words for what is wrong with them.

use alloc::format;
use alloc::string::String;

/// One command of a master.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    Get,
    Alive,
    Broadcast(&'a str),
    Crash,
    Watch,
}

/// Room for white space around a line: it counts to the line, not to the text.
const SLACK: usize = 64;

/// How much of a bad command its error repeats, in characters.
const ECHO: usize = 40;

/// The longest line of a master for texts of at most `text` bytes.
pub(crate) const fn longest(text: usize) -> usize {
    b"broadcast ".len() + text + SLACK
}

/// What is wrong with a line.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    /// It belongs to an HTTP request: whoever sent it does not mean a chat server, or is a web
    /// page that must not command one.
    Http,
    /// It is no command, for this reason: one line, fit for an `error` reply.
    Line(String),
}

impl<T: Into<String>> From<T> for Bad {
    fn from(reason: T) -> Self {
        Self::Line(reason.into())
    }
}

/// The methods of HTTP/1.1 (RFC 9110, RFC 5789), and what an HTTP/2 client begins with.
const METHODS: [&str; 10] = [
    "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "PRI",
];

/// Whether a line begins like an HTTP request, or like the one header that every request has.
fn is_http(line: &str) -> bool {
    let is_host = |name: &[u8]| name.eq_ignore_ascii_case(b"host:");
    line.as_bytes()
        .first_chunk::<5>()
        .is_some_and(|name| is_host(name))
        || line.split_once(' ').is_some_and(|(word, target)| {
            METHODS.contains(&word)
                && (target.starts_with(['/', '*'])
                    || target.contains("HTTP/")
                    || target.contains("://"))
        })
}

/// Reads one line, without its newline.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn parse(line: &[u8], text_limit: usize) -> Result<Command<'_>, Bad> {
    let line = core::str::from_utf8(trimmed(line)).map_err(|_| "the line is not UTF-8")?;
    let (word, argument) = match line.split_once(' ') {
        Some((word, argument)) => (word, Some(argument)),
        None => (line, None),
    };
    let command = match word {
        "get" => Command::Get,
        "alive" => Command::Alive,
        "crash" => Command::Crash,
        "watch" => Command::Watch,
        "broadcast" => {
            let text = argument.ok_or("broadcast needs a text")?;
            if text.len() > text_limit {
                let length = text.len();
                return Err(
                    format!("a text of {length} bytes: expected at most {text_limit}").into(),
                );
            }
            return Ok(Command::Broadcast(text));
        }
        _ => {
            if is_http(line) {
                return Err(Bad::Http);
            }
            let echo: String = line.chars().take(ECHO).collect();
            return Err(format!(
                "unknown command {echo:?}: expected get, alive, broadcast TEXT, crash or watch"
            )
            .into());
        }
    };
    match argument {
        None => Ok(command),
        Some(_) => Err(format!("{word} takes no argument").into()),
    }
}

/// The line without the white space at its ends; a vertical tab counts, as it does not for
/// [`trim_ascii`](slice::trim_ascii).
fn trimmed(mut line: &[u8]) -> &[u8] {
    while let [b' ' | b'\t' | b'\r' | 0x0b | 0x0c, rest @ ..]
    | [rest @ .., b' ' | b'\t' | b'\r' | 0x0b | 0x0c] = line
    {
        line = rest;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn white_space_around_a_line_goes_and_blanks_inside_a_text_stay() {
        assert_eq!(parse(b" \tget\r", 9), Ok(Command::Get));
        assert_eq!(parse(b"\x0b\x0cget\x0c\x0b", 9), Ok(Command::Get));
        assert_eq!(parse(b"alive", 9), Ok(Command::Alive));
        assert_eq!(parse(b"crash", 9), Ok(Command::Crash));
        assert_eq!(parse(b"watch", 9), Ok(Command::Watch));
        assert_eq!(
            parse(b"broadcast  a  b ", 9),
            Ok(Command::Broadcast(" a  b"))
        );
        assert_eq!(parse(b"broadcast get", 9), Ok(Command::Broadcast("get")));
    }

    #[test]
    fn each_error_names_what_was_wrong() {
        let cases: [(&[u8], &str); 8] = [
            (
                b"",
                "unknown command \"\": expected get, alive, broadcast TEXT, crash or watch",
            ),
            (
                b"GET",
                "unknown command \"GET\": expected get, alive, broadcast TEXT, crash or watch",
            ),
            (
                b"a\tb",
                "unknown command \"a\\tb\": expected get, alive, broadcast TEXT, crash or watch",
            ),
            (b"broadcast", "broadcast needs a text"),
            (b"broadcast  ", "broadcast needs a text"),
            (b"get 1", "get takes no argument"),
            (b"broadcast abcd", "a text of 4 bytes: expected at most 3"),
            (b"get\xff", "the line is not UTF-8"),
        ];
        for (line, error) in cases {
            assert_eq!(parse(line, 3), Err(Bad::Line(String::from(error))));
        }
        assert!(parse(b"broadcast abc", 3).is_ok());
    }

    proptest! {
        #[test]
        fn any_line_gives_a_command_or_a_one_line_error(
            line in proptest::collection::vec(any::<u8>(), 0..80)
        ) {
            if let Err(Bad::Line(error)) = parse(&line, 20) {
                prop_assert!(!error.contains('\n') && !error.is_empty());
            }
        }
    }
}
