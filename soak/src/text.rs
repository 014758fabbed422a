//! Texts that carry their identity, so that a log tells of every entry whose it is.

use std::io::Write;

/// A broadcast: the `number`-th, from 1, of the `life`-th life, from 0, of `server`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    /// Who broadcasts.
    pub(crate) server: usize,
    /// In which life.
    pub(crate) life: u32,
    /// Which of that life's broadcasts.
    pub(crate) number: u64,
}

/// The byte at `at` of the padding of a text: another text has others.
fn pad(identity: Identity, at: usize) -> u8 {
    let mix = identity.number * 31 + u64::from(identity.life) * 17 + identity.server as u64 * 7;
    b'a' + ((mix + at as u64 * 3) % 26) as u8
}

/// Appends the text of `identity` with `length` bytes of padding. It has no comma and no blank.
pub(crate) fn push(out: &mut Vec<u8>, identity: Identity, length: usize) {
    let Identity {
        server,
        life,
        number,
    } = identity;
    // Writing to a vector never fails.
    let _ = write!(out, "{server}.{life}.{number}.{length}:");
    out.extend((0..length).map(|at| pad(identity, at)));
}

/// The identity in a text; `None` if it is not, byte for byte, one that [`push`] makes.
#[must_use]
pub(crate) fn parse(text: &[u8]) -> Option<Identity> {
    let colon = text.iter().position(|&byte| byte == b':')?;
    let mut fields = std::str::from_utf8(&text[..colon]).ok()?.split('.');
    let identity = Identity {
        server: fields.next()?.parse().ok()?,
        life: fields.next()?.parse().ok()?,
        number: fields.next()?.parse().ok()?,
    };
    let length: usize = fields.next()?.parse().ok()?;
    let padding = &text[colon + 1..];
    let whole = fields.next().is_none()
        && padding.len() == length
        && (padding.iter().enumerate()).all(|(at, &byte)| byte == pad(identity, at));
    whole.then_some(identity)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_known_again_and_a_damaged_one_is_not() {
        let identity = Identity {
            server: 3,
            life: 2,
            number: 77,
        };
        let mut text = Vec::new();
        push(&mut text, identity, 40);
        assert_eq!(parse(&text), Some(identity));
        for end in 0..text.len() {
            assert_eq!(parse(&text[..end]), None);
        }
        for at in 0..text.len() {
            let mut other = text.clone();
            other[at] ^= 1;
            assert_ne!(parse(&other), Some(identity), "{at}");
        }
        assert_eq!(parse(&[&text[..], b"x"].concat()), None);
    }
}
