//! What a master says: lines to commands, and the words for what is wrong with them.

use alloc::format;
use alloc::string::String;

/// One command of a master.
#[derive(Debug, PartialEq, Eq)]
pub enum Command<'a> {
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

/// The longest `delivered SENDER TEXT` line, with its newline, for texts of at most `text` bytes.
pub(crate) const fn longest_delivered(text: usize) -> usize {
    b"delivered 1023 \n".len() + text
}

/// Reads one line, without white space at its ends.
///
/// # Errors
/// What is wrong with it: one line, fit for an `error` reply.
pub(crate) fn parse(line: &str, text_limit: usize) -> Result<Command<'_>, String> {
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
                return Err(format!(
                    "a text of {length} bytes: expected at most {text_limit}"
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_command_is_read_and_blanks_inside_a_text_stay() {
        assert_eq!(parse("get", 9), Ok(Command::Get));
        assert_eq!(parse("alive", 9), Ok(Command::Alive));
        assert_eq!(parse("crash", 9), Ok(Command::Crash));
        assert_eq!(parse("watch", 9), Ok(Command::Watch));
        assert_eq!(parse("broadcast  a  ", 9), Ok(Command::Broadcast(" a  ")));
        assert_eq!(parse("broadcast get", 9), Ok(Command::Broadcast("get")));
    }

    #[test]
    fn each_error_names_what_was_wrong() {
        let cases: [(&str, &str); 6] = [
            (
                "",
                "unknown command \"\": expected get, alive, broadcast TEXT, crash or watch",
            ),
            (
                "GET",
                "unknown command \"GET\": expected get, alive, broadcast TEXT, crash or watch",
            ),
            (
                "a\tb",
                "unknown command \"a\\tb\": expected get, alive, broadcast TEXT, crash or watch",
            ),
            ("broadcast", "broadcast needs a text"),
            ("get 1", "get takes no argument"),
            ("broadcast abcd", "a text of 4 bytes: expected at most 3"),
        ];
        for (line, error) in cases {
            assert_eq!(parse(line, 3), Err(String::from(error)));
        }
        assert!(parse("broadcast abc", 3).is_ok());
    }

    proptest! {
        #[test]
        fn any_line_gives_a_command_or_a_one_line_error(
            line in ".{0,80}"
        ) {
            if let Err(error) = parse(&line, 20) {
                prop_assert!(!error.contains('\n') && !error.is_empty());
            }
        }
    }
}
