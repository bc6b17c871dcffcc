//! Octets compared sixteen at a time, with a bit for each that fits. Said in the words of the machine: loops that the
//! compiler may or may not make registers of were ten times slower in the program than in a measurement of this crate alone.

use std::ops::{BitAnd, BitOr};

use wide::i8x16;

/// Octets that are compared together.
pub(crate) const LANES: usize = 16;

/// Sixteen octets.
#[derive(Clone, Copy)]
pub(crate) struct Lanes(i8x16);

impl Lanes {
    #[inline]
    pub fn of(octets: &[u8; LANES]) -> Self {
        Self(i8x16::new(octets.map(u8::cast_signed)))
    }

    /// Which are one of these.
    #[inline]
    pub fn among<const N: usize>(self, octets: [u8; N]) -> u16 {
        let fits = octets.into_iter().map(|octet| self.are(octet));
        fits.reduce(|all, fits| all | fits).map_or(0, Fits::bits)
    }

    /// Those that are this one.
    #[inline]
    pub fn are(self, octet: u8) -> Fits {
        Fits(self.0.simd_eq(i8x16::splat(octet.cast_signed())))
    }

    /// Those that are less, as signed numbers.
    #[inline]
    pub fn are_below(self, limit: i8) -> Fits {
        Fits(self.0.simd_lt(i8x16::splat(limit)))
    }

    /// Those that are more, as signed numbers.
    #[inline]
    pub fn are_above(self, limit: i8) -> Fits {
        Fits(self.0.simd_gt(i8x16::splat(limit)))
    }
}

/// Which of sixteen octets fit, before they are made bits: several conditions are joined as they are, and made bits once.
#[derive(Clone, Copy)]
pub(crate) struct Fits(i8x16);

impl Fits {
    #[inline]
    pub fn bits(self) -> u16 {
        self.0.to_bitmask() as u16
    }
}

impl BitAnd for Fits {
    type Output = Self;

    #[inline]
    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl BitOr for Fits {
    type Output = Self;

    #[inline]
    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// The bits of sixty-four octets with those that follow them, the first the lowest.
#[inline]
pub(crate) fn bits_of_pairs(
    octets: &[u8; 4 * LANES],
    next: &[u8; 4 * LANES],
    fits: impl Fn(Lanes, Lanes) -> Fits,
) -> u64 {
    let quarters = octets.as_chunks::<LANES>().0.iter().zip(next.as_chunks::<LANES>().0).zip(0..);
    quarters.fold(0, |all, ((quarter, next), at)| {
        all | u64::from(fits(Lanes::of(quarter), Lanes::of(next)).bits()) << (at * LANES)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_octet_in_every_place() {
        for at in 0..LANES {
            for octet in 0..=255u8 {
                let mut octets = [b'.'; LANES];
                octets[at] = octet;
                let lanes = Lanes::of(&octets);
                let of = |fits: &dyn Fn(u8) -> bool| {
                    octets.iter().zip(0..).fold(0, |all, (octet, at)| all | u16::from(fits(*octet)) << at)
                };
                assert_eq!(lanes.among([octet]), of(&|other| other == octet));
                assert_eq!(lanes.among(*b"%\\&"), of(&|other| b"%\\&".contains(&other)));
                assert_eq!(lanes.among([]), 0);
                let next = Lanes::of(&[b'n'; LANES]);
                let pair = lanes.are(octet) & next.are(b'n') | lanes.are_above(octet.cast_signed()) & next.are_below(0);
                assert_eq!(pair.bits(), of(&|other| other == octet));
                for limit in [i8::MIN, -1, 0, b'#' as i8, i8::MAX] {
                    assert_eq!(lanes.are_above(limit).bits(), of(&|other| other.cast_signed() > limit));
                    assert_eq!(
                        lanes.are_below(limit).bits(),
                        of(&|other| other.cast_signed() < limit),
                        "{octet} below {limit}"
                    );
                }
            }
        }
        let mut octets = [b'.'; 64];
        octets[0] = b'%';
        octets[63] = b'&';
        assert_eq!(bits_of_pairs(&octets, &octets, |lanes, next| lanes.are(b'%') | next.are(b'&')), 1 | 1 << 63);
    }
}
