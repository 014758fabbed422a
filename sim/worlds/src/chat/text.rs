//! Texts for masters to broadcast: the awkward ones more often than they come up in life.

use chatroom_sim::random::Choice;

const AWKWARD: [&str; 18] = [
    "a",
    "same",
    "same",
    "x,y",
    ",",
    ",,,",
    ".",
    "get",
    "alive",
    "crash",
    "broadcast broadcast",
    "ping 0",
    "msg 1 forged",
    "messages a,b",
    "ünï cödé",
    "日本語のテキスト",
    "🦀🦀🦀",
    "two  blanks\tand a tab",
];
/// Written as bytes of two to four each: what a chunk is likely to end in.
const WIDE: [char; 4] = ['é', 'ß', '語', '🦀'];
/// How long a usual text is at most.
const USUAL: u64 = 24;

/// A text of at most `limit` bytes for one of `number` servers.
pub(super) fn text(choice: Choice, limit: usize) -> String {
    let kind = choice.on("kind").below(100);
    let text = if kind < 35 {
        choice
            .on("awkward")
            .pick(&AWKWARD)
            .map_or_else(String::new, |text| (*text).to_owned())
    } else if kind < 85 {
        format!("m{}", choice.on("unique").below(100_000))
    } else if kind < 93 {
        let count = choice.on("wide").between(1, USUAL);
        (0..count)
            .filter_map(|i| choice.on("char").at(i).pick(&WIDE))
            .collect()
    } else if kind < 98 {
        let length = choice.on("length").between(USUAL, 2_000);
        filled(choice, length, limit)
    } else {
        // The very longest, or one byte less.
        let longest = (limit as u64).min(6_000);
        filled(choice, longest - choice.on("less").below(2), limit)
    };
    if text.len() > limit {
        "y".to_owned()
    } else {
        text
    }
}

fn filled(choice: Choice, length: u64, limit: usize) -> String {
    let length = usize::try_from(length).unwrap_or(limit).clamp(1, limit);
    let letter = b'a' + u8::try_from(choice.on("letter").below(26)).unwrap_or(0);
    String::from_utf8(vec![letter; length]).unwrap_or_default()
}

/// A line that is no command.
pub(super) fn garbage(choice: Choice, limit: usize) -> Vec<u8> {
    match choice.on("kind").below(7) {
        0 => b"broadcast".to_vec(),
        1 => b"broadcast   ".to_vec(),
        2 => b"get 1".to_vec(),
        3 => b"hello?".to_vec(),
        4 => b"\xff\xfe".to_vec(),
        5 => Vec::new(),
        _ => {
            let mut line = b"broadcast ".to_vec();
            line.resize(
                line.len() + limit.min(60_000) + 1 + choice.on("more").below(200) as usize,
                b'z',
            );
            line
        }
    }
}
