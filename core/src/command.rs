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

/// Reads one line, without its newline.
///
/// # Errors
/// What is wrong with it, in one line fit for an `error` reply.
pub(crate) fn parse(line: &[u8], text_limit: usize) -> Result<Command<'_>, String> {
    let line =
        core::str::from_utf8(trimmed(line)).map_err(|_| String::from("the line is not UTF-8"))?;
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
                return Err(format!(
                    "a text of {} bytes: expected at most {text_limit}",
                    text.len()
                ));
            }
            return Ok(Command::Broadcast(text));
        }
        _ => {
            let echo: String = line.chars().take(ECHO).collect();
            return Err(format!(
                "unknown command {echo:?}: expected get, alive, broadcast TEXT, crash or watch"
            ));
        }
    };
    match argument {
        None => Ok(command),
        Some(_) => Err(format!("{word} takes no argument")),
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
            assert_eq!(parse(line, 3), Err(String::from(error)));
        }
        assert!(parse(b"broadcast abc", 3).is_ok());
    }

    proptest! {
        #[test]
        fn any_line_gives_a_command_or_a_one_line_error(
            line in proptest::collection::vec(any::<u8>(), 0..80)
        ) {
            if let Err(error) = parse(&line, 20) {
                prop_assert!(!error.contains('\n') && !error.is_empty());
            }
        }
    }
}
