//! What a master says: lines to commands, and the words for what is wrong with them.

use crate::WORD_MAX;
use crate::servers::Servers;
use crate::transaction::Op;
use crate::words::digits;
use alloc::format;
use alloc::string::String;

/// Which crash a master arms, and where it happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Arm {
    /// `crashBeforeVote`: when asked for a vote.
    BeforeVote,
    /// `crashAfterVote`: once the vote was sent.
    AfterVote,
    /// `crashAfterAck`: once the acknowledgement of a pre-commit was sent.
    AfterAck,
    /// `crashVoteREQ IDS`: as the coordinator, once the request to vote was sent to these.
    VoteReq(Servers),
    /// `crashPartialPreCommit IDS`: once the pre-commit was sent to these.
    PreCommit(Servers),
    /// `crashPartialCommit IDS`: once the commit was sent to these.
    Commit(Servers),
}

/// One command of a master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// A transaction.
    Change(Op),
    /// The URL of a song.
    Get(String),
    /// Who is up.
    Alive,
    /// `vote NO`.
    VoteNo,
    /// `crash`.
    Crash,
    /// Another crash, later.
    Arm(Arm),
}

/// How much of a bad command its error repeats, in characters.
const ECHO: usize = 40;

/// All commands, for errors.
const ALL: &str = "add SONG URL, delete SONG, get SONG, alive, vote NO, crash, crashBeforeVote, \
     crashAfterVote, crashAfterAck, crashVoteREQ IDS, crashPartialPreCommit IDS or \
     crashPartialCommit IDS";

/// Reads one line, without white space at its ends.
///
/// # Errors
/// What is wrong with it: one line, fit for an `error` reply.
pub(crate) fn parse(line: &str) -> Result<Command, String> {
    let mut words = line.split_ascii_whitespace();
    let verb = words.next().unwrap_or_default();
    let command = match verb {
        "add" => {
            let song = word(verb, "a song", words.next())?;
            let url = word(verb, "a URL", words.next())?;
            Command::Change(Op::Add { song, url })
        }
        "delete" => {
            let song = word(verb, "a song", words.next())?;
            Command::Change(Op::Delete { song })
        }
        "get" => Command::Get(word(verb, "a song", words.next())?),
        "alive" => Command::Alive,
        "vote" => match words.next() {
            Some("NO") => Command::VoteNo,
            other => {
                let other = other.map(shown).unwrap_or_default();
                return Err(format!("vote {other:?}: expected vote NO"));
            }
        },
        "crash" => Command::Crash,
        "crashBeforeVote" => Command::Arm(Arm::BeforeVote),
        "crashAfterVote" => Command::Arm(Arm::AfterVote),
        "crashAfterAck" => Command::Arm(Arm::AfterAck),
        "crashVoteREQ" => Command::Arm(Arm::VoteReq(ids(&mut words)?)),
        // The handout's other spelling, too.
        "crashPartialPreCommit" | "crashPretialPreCommit" => {
            Command::Arm(Arm::PreCommit(ids(&mut words)?))
        }
        "crashPartialCommit" | "crashPretialCommit" => Command::Arm(Arm::Commit(ids(&mut words)?)),
        _ => return Err(format!("unknown command {:?}: expected {ALL}", shown(line))),
    };
    match words.next() {
        None => Ok(command),
        Some(more) => Err(format!("{verb}: {:?} is one word too many", shown(more))),
    }
}

/// The beginning of what was given.
fn shown(text: &str) -> String {
    text.chars().take(ECHO).collect()
}

fn word(verb: &str, what: &str, given: Option<&str>) -> Result<String, String> {
    let given = given.ok_or_else(|| format!("{verb} needs {what}"))?;
    if given.len() > WORD_MAX {
        let length = given.len();
        return Err(format!(
            "{verb}: {what} of {length} bytes: expected at most {WORD_MAX}"
        ));
    }
    Ok(given.into())
}

/// The rest of the words, which are ids.
fn ids<'a>(words: &mut impl Iterator<Item = &'a str>) -> Result<Servers, String> {
    words
        .map(|word| {
            digits(word).ok_or_else(|| format!("id {:?}: expected a number from 0", shown(word)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_command_is_read_in_each_of_its_spellings() {
        let add = |song: &str, url: &str| {
            let (song, url) = (song.into(), url.into());
            Ok(Command::Change(Op::Add { song, url }))
        };
        let some = |ids: &[u32]| ids.iter().copied().collect::<Servers>();
        assert_eq!(parse("add s u"), add("s", "u"));
        assert_eq!(parse("add  s\tu"), add("s", "u"));
        assert_eq!(parse("get s"), Ok(Command::Get("s".into())));
        assert_eq!(parse("vote NO"), Ok(Command::VoteNo));
        let song = "s".into();
        assert_eq!(parse("delete s"), Ok(Command::Change(Op::Delete { song })));
        assert_eq!(parse("crash"), Ok(Command::Crash));
        for (line, arm) in [
            ("crashBeforeVote", Arm::BeforeVote),
            ("crashAfterVote", Arm::AfterVote),
            ("crashAfterAck", Arm::AfterAck),
            ("crashVoteREQ", Arm::VoteReq(some(&[]))),
            ("crashVoteREQ 2 1", Arm::VoteReq(some(&[1, 2]))),
            ("crashPartialPreCommit 1", Arm::PreCommit(some(&[1]))),
            ("crashPretialPreCommit 1", Arm::PreCommit(some(&[1]))),
            ("crashPartialCommit", Arm::Commit(some(&[]))),
            ("crashPretialCommit 3", Arm::Commit(some(&[3]))),
        ] {
            assert_eq!(parse(line), Ok(Command::Arm(arm)), "{line}");
        }
    }

    #[test]
    fn each_error_names_what_was_wrong() {
        for (line, error) in [
            ("add", "add needs a song"),
            ("add s", "add needs a URL"),
            ("add s u v", "add: \"v\" is one word too many"),
            ("delete", "delete needs a song"),
            ("get", "get needs a song"),
            ("get a b", "get: \"b\" is one word too many"),
            ("vote", "vote \"\": expected vote NO"),
            ("vote YES", "vote \"YES\": expected vote NO"),
            ("crashVoteREQ -1", "id \"-1\": expected a number from 0"),
            ("crash 1", "crash: \"1\" is one word too many"),
        ] {
            assert_eq!(parse(line), Err(String::from(error)), "{line}");
        }
        let long = "x".repeat(WORD_MAX + 1);
        assert!(parse(&format!("get {}", &long[1..])).is_ok());
        let error = format!(
            "get: a song of {} bytes: expected at most {WORD_MAX}",
            long.len()
        );
        assert_eq!(parse(&format!("get {long}")), Err(error));
        assert!(
            parse("put a b")
                .is_err_and(|error| error.starts_with("unknown command \"put a b\": expected add"))
        );
    }

    proptest! {
        #[test]
        fn any_line_gives_a_command_or_a_one_line_error(line in ".{0,80}") {
            if let Err(error) = parse(&line) {
                prop_assert!(!error.contains('\n') && !error.is_empty());
            }
        }
    }
}
