//! The variables of the environment that are ours: a misspelt one would be without effect, and
//! nobody would notice.

use chatroom_cli::failure::Failure;
use clap::{Args, Command};
use std::env;

/// What the variables of this project begin with.
const PREFIX: &str = "CHATROOM_";
/// Variables of the project's tools and tests, which a server may inherit from them.
const TOOLS: [&str; 13] = [
    "CHATROOM_ATTACKS",
    "CHATROOM_BROWSER",
    "CHATROOM_COMMIT_SEEDS",
    "CHATROOM_GOLDEN",
    "CHATROOM_LONG",
    "CHATROOM_SIM_PRINT_HASHES",
    "CHATROOM_STORAGE_SEEDS",
    "CHATROOM_STRICT",
    "CHATROOM_TEST_ALONE",
    "CHATROOM_TEST_BINARY",
    "CHATROOM_TEST_COUNTER",
    "CHATROOM_TEST_INSIDE",
    "CHATROOM_TIMEOUT",
];
/// Variables by which master.py knows its own servers.
const MASTER: &str = "CHATROOM_MASTER";

/// Says no to a variable that begins like ours and is none. An empty one counts as unset.
///
/// # Errors
/// The variable, and the nearest of the names that the options of `A` and the tools have.
pub(crate) fn check<A: Args>() -> Result<(), Failure> {
    let command = A::augment_args(Command::new("known"));
    let options = command.get_arguments().filter_map(|arg| arg.get_env());
    let known: Vec<_> = options.filter_map(|name| name.to_str()).collect();
    let given = env::vars_os().filter(|(_, value)| !value.is_empty());
    let mut names: Vec<_> = given
        .map(|(name, _)| name.to_string_lossy().into_owned())
        .collect();
    // The same complaint every time.
    names.sort();
    match names.iter().find(|name| is_unknown(name, &known)) {
        None => Ok(()),
        Some(name) => Err(Failure::usage(
            format!("the environment has {name}, which is no variable of chatroom"),
            match nearest(name, &known) {
                Some(near) => format!("was {near} meant? `chatroom serve --help` names all"),
                None => "`chatroom serve --help` names all".to_owned(),
            },
        )),
    }
}

fn is_unknown(name: &str, known: &[&str]) -> bool {
    name.starts_with(PREFIX)
        && !name.starts_with(MASTER)
        && !known.contains(&name)
        && !TOOLS.contains(&name)
}

/// The known name that takes the fewest changes, if they are at most half of it.
fn nearest<'a>(name: &str, known: &[&'a str]) -> Option<&'a str> {
    let rest = name.strip_prefix(PREFIX)?;
    let known = known.iter().filter_map(|known| {
        let changes = distance(rest, known.strip_prefix(PREFIX)?);
        Some((changes, *known))
    });
    let (changes, near) = known.min()?;
    (changes * 2 <= near.len() - PREFIX.len()).then_some(near)
}

/// How many bytes have to be inserted, deleted or replaced to make `b` of `a` (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distance_counts_changes() {
        for (a, b, changes) in [
            ("", "", 0),
            ("", "abc", 3),
            ("HOST", "HOST", 0),
            ("HOTS", "HOST", 2),
            ("HOSTS", "HOST", 1),
            ("kitten", "sitting", 3),
        ] {
            assert_eq!(distance(a, b), changes, "{a} {b}");
            assert_eq!(distance(b, a), changes, "{b} {a}");
        }
    }

    #[test]
    fn only_what_is_near_is_suggested() {
        let known = ["CHATROOM_HOST", "CHATROOM_LOG", "CHATROOM_MAX_LOG"];
        for (name, near) in [
            ("CHATROOM_HOSTS", Some("CHATROOM_HOST")),
            ("CHATROOM_HOTS", Some("CHATROOM_HOST")),
            ("CHATROOM_MAXLOG", Some("CHATROOM_MAX_LOG")),
            ("CHATROOM_LOGS", Some("CHATROOM_LOG")),
            ("CHATROOM_SOMETHING_ELSE", None),
            ("CHATROOM_", None),
        ] {
            assert!(is_unknown(name, &known), "{name}");
            assert_eq!(nearest(name, &known), near, "{name}");
        }
        for name in [
            "CHATROOM_HOST",
            "CHATROOM_STORAGE_SEEDS",
            "CHATROOM_STRICT",
            "CHATROOM_MASTER",
            "CHATROOM_MASTER_ID",
            "CHATROOM",
            "CHAT_HOST",
        ] {
            assert!(!is_unknown(name, &known), "{name}");
        }
    }
}
