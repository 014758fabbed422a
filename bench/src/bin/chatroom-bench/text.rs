//! Texts that say who sent them and as which one, and the check of a log that is made of them.

use crate::Res;

/// The shortest text.
pub(crate) const SHORTEST: usize = 12;

/// `count` broadcasts of `speaker` from number `first` on, of `bytes` each, as a master sends them.
pub(crate) fn broadcasts(speaker: usize, first: usize, count: usize, bytes: usize) -> Vec<u8> {
    let mut lines = Vec::with_capacity(count * (bytes + 11));
    for number in first..first + count {
        lines.extend_from_slice(b"broadcast ");
        let begin = lines.len();
        lines.extend_from_slice(format!("{speaker:03}.{number:08}").as_bytes());
        lines.resize(begin + bytes, b'x');
        lines.push(b'\n');
    }
    lines
}

/// How many texts an answer to `get` holds; nothing is checked.
pub(crate) fn count(reply: &[u8]) -> usize {
    match reply.strip_prefix(b"messages ") {
        None | Some([]) => 0,
        Some(texts) => memchr::memchr_iter(b',', texts).count() + 1,
    }
}

/// Whether an answer to `get` has exactly `per[speaker]` texts of each speaker, whole and in order.
pub(crate) fn check(reply: &[u8], per: &[usize], bytes: usize) -> Res<()> {
    let mut next = vec![0; per.len()];
    let mut rest = reply.strip_prefix(b"messages ").ok_or("no answer to get")?;
    while !rest.is_empty() {
        let end = memchr::memchr(b',', rest).unwrap_or(rest.len());
        let text = &rest[..end];
        rest = rest.get(end + 1..).unwrap_or(&[]);
        if text.len() != bytes || text[SHORTEST..].iter().any(|&b| b != b'x') {
            return Err(format!("a text of {} bytes, not {bytes}, or changed", text.len()).into());
        }
        let head = std::str::from_utf8(&text[..SHORTEST])?;
        let (speaker, number) = head.split_once('.').ok_or("a text of nobody")?;
        let (speaker, number): (usize, usize) = (speaker.parse()?, number.parse()?);
        let due = next.get_mut(speaker).ok_or("a text of nobody")?;
        if *due != number {
            return Err(format!("text {number} of {speaker} where {due} was due").into());
        }
        *due += 1;
    }
    if next != per {
        return Err(format!("{next:?} texts where {per:?} were sent").into());
    }
    Ok(())
}
