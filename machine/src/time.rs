//! Time as the core knows it: microseconds since the driver started, given by the driver.

use core::fmt;
use core::ops::{Add, Sub};

/// A moment: microseconds since an origin that the driver chose.
///
/// Moments given to one machine never decrease; a driver whose clock steps back repeats the last
/// moment instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(u64);

/// A length of time in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(u64);

impl Time {
    /// The driver's origin.
    pub const ZERO: Self = Self(0);

    /// The moment `us` microseconds after the origin.
    #[must_use]
    pub const fn from_micros(us: u64) -> Self {
        Self(us)
    }

    /// Microseconds since the origin.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// How long ago `earlier` was; zero if it lies ahead.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Span {
        Span(self.0.saturating_sub(earlier.0))
    }
}

impl Span {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// `us` microseconds.
    #[must_use]
    pub const fn from_micros(us: u64) -> Self {
        Self(us)
    }

    /// `ms` milliseconds; saturates.
    #[must_use]
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(1000))
    }

    /// The length in microseconds.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.0
    }

    /// `n` times the length; saturates.
    #[must_use]
    pub const fn times(self, n: u64) -> Self {
        Self(self.0.saturating_mul(n))
    }
}

/// Saturates at the end of time.
impl Add<Span> for Time {
    type Output = Self;
    fn add(self, span: Span) -> Self {
        Self(self.0.saturating_add(span.0))
    }
}

/// Saturates.
impl Add for Span {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

/// Stops at the origin.
impl Sub<Span> for Time {
    type Output = Self;
    fn sub(self, span: Span) -> Self {
        Self(self.0.saturating_sub(span.0))
    }
}

/// Seconds with six decimals, as in `1.250000s`.
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:06}s", self.0 / 1_000_000, self.0 % 1_000_000)
    }
}

/// Milliseconds with three decimals, as in `450.000ms`.
impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03}ms", self.0 / 1000, self.0 % 1000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_a_span_away_from_another() {
        let (early, span) = (Time::from_micros(1_000), Span::from_millis(2));
        let late = early + span;
        assert_eq!((late.as_micros(), span.as_micros()), (3_000, 2_000));
        assert_eq!((late.since(early), late - span), (span, early));
        assert_eq!(span + Span::from_micros(5), Span::from_micros(2_005));
        assert_eq!(span.times(3), Span::from_millis(6));
    }

    #[test]
    fn arithmetic_saturates_at_both_ends() {
        assert_eq!(
            Time::from_micros(u64::MAX) + Span::from_micros(1),
            Time::from_micros(u64::MAX)
        );
        assert_eq!(Time::from_micros(3) - Span::from_micros(5), Time::ZERO);
        assert_eq!(Time::ZERO.since(Time::from_micros(9)), Span::ZERO);
        assert_eq!(Span::from_millis(u64::MAX).as_micros(), u64::MAX);
        assert_eq!(
            Span::from_micros(u64::MAX) + Span::from_micros(1),
            Span::from_micros(u64::MAX)
        );
    }
}
