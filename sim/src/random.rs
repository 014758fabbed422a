//! Keyed choices: each is a hash of what it is for, so that taking one out moves no other.

/// A point in the tree of choices that grows from one seed. Branch with [`on`](Choice::on) and
/// [`at`](Choice::at), then draw. Two different paths give independent values; the same path
/// always gives the same one, on every machine and in every build.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice(u64);

impl Choice {
    /// The root of the tree of `seed`.
    #[must_use]
    pub const fn seed(seed: u64) -> Self {
        Self(mix(seed ^ 0x5851_f42d_4c95_7f2d))
    }

    /// The branch for a purpose.
    #[must_use]
    pub const fn on(self, purpose: &str) -> Self {
        // FNV-1a: purposes are short, and most of these calls are folded at compile time.
        let bytes = purpose.as_bytes();
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut i = 0;
        while i < bytes.len() {
            hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0000_0100_0000_01b3);
            i += 1;
        }
        self.at(hash)
    }

    /// The branch with a number.
    #[inline]
    #[must_use]
    pub const fn at(self, index: u64) -> Self {
        Self(mix(self
            .0
            .rotate_left(23)
            .wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15))
            ^ 0xd6e8_feb8_6659_fd93))
    }

    /// The value drawn here: 64 even bits.
    #[inline]
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// A value in `0 .. bound`; 0 if `bound` is 0.
    #[inline]
    #[must_use]
    pub const fn below(self, bound: u64) -> u64 {
        ((self.0 as u128 * bound as u128) >> 64) as u64
    }

    /// A value in `low ..= high`; `low` if the range is empty.
    #[inline]
    #[must_use]
    pub const fn between(self, low: u64, high: u64) -> u64 {
        if high <= low {
            return low;
        }
        match (high - low).checked_add(1) {
            Some(width) => low + self.below(width),
            None => self.0,
        }
    }

    /// True in `permille` of 1000 cases.
    #[inline]
    #[must_use]
    pub const fn chance(self, permille: u32) -> bool {
        self.below(1000) < permille as u64
    }

    /// Puts `items` in an order that is drawn here.
    pub fn shuffle<T>(self, items: &mut [T]) {
        for end in (1..items.len()).rev() {
            let other = self.at(end as u64).below(end as u64 + 1);
            items.swap(end, usize::try_from(other).unwrap_or(0));
        }
    }

    /// One of `items`, or `None` if there are none.
    pub fn pick<T>(self, items: &[T]) -> Option<&T> {
        items.get(usize::try_from(self.below(items.len() as u64)).unwrap_or(0))
    }
}

/// The finaliser of SplitMix64: every input bit moves every output bit.
#[inline]
pub(crate) const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_the_same_for_ever() {
        let root = Choice::seed(7);
        let drawn = [
            root,
            root.on("link"),
            root.at(1),
            root.on("link").at(1).at(2),
        ];
        assert_eq!(drawn.map(Choice::bits), PINNED);
    }

    /// A plan's file means the same run only as long as these hold.
    const PINNED: [u64; 4] = [
        17_454_865_949_639_441_193,
        16_334_931_815_173_465_132,
        13_255_629_488_056_770_378,
        7_193_575_294_578_852_890,
    ];

    #[test]
    fn draws_stay_within_their_bounds_and_reach_them() {
        let mut seen = [0_u32; 7];
        for index in 0..7000 {
            let choice = Choice::seed(1).at(index);
            assert_eq!(choice.below(0), 0);
            assert_eq!(choice.between(5, 4), 5);
            assert_eq!(choice.between(9, 9), 9);
            assert_eq!(choice.between(0, u64::MAX), choice.bits());
            assert!(!choice.chance(0) && choice.chance(1000));
            let value = choice.between(3, 9);
            seen[usize::try_from(value - 3).unwrap()] += 1;
        }
        assert!(
            seen.iter().all(|count| (850..1150).contains(count)),
            "{seen:?}"
        );
    }

    #[test]
    fn a_shuffle_is_a_permutation_and_reaches_every_place() {
        let mut firsts = [0_u32; 5];
        for index in 0..1000 {
            let mut items = [0, 1, 2, 3, 4];
            Choice::seed(2).at(index).shuffle(&mut items);
            firsts[items[0]] += 1;
            items.sort_unstable();
            assert_eq!(items, [0, 1, 2, 3, 4]);
        }
        assert!(
            firsts.iter().all(|count| (150..250).contains(count)),
            "{firsts:?}"
        );
        assert_eq!(Choice::seed(1).pick::<u8>(&[]), None);
        assert_eq!(Choice::seed(1).pick(&[4]), Some(&4));
    }
}
