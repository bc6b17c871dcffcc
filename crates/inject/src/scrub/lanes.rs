//! Octets compared sixteen at a time, with a bit for each that fits. Said in the words of the machine: loops that the
//! compiler may or may not make registers of were ten times slower in the program than in a measurement of this crate alone.

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
        let fits = octets.into_iter().map(|octet| self.0.simd_eq(i8x16::splat(octet.cast_signed())));
        fits.reduce(|all, fits| all | fits).map_or(0, |all| all.to_bitmask() as u16)
    }

    /// Which are less, as signed numbers.
    #[inline]
    pub fn below(self, limit: i8) -> u16 {
        self.0.simd_lt(i8x16::splat(limit)).to_bitmask() as u16
    }
}

/// The bits of sixty-four octets, the first the lowest.
#[inline]
pub(crate) fn bits(octets: &[u8; 4 * LANES], fits: impl Fn(Lanes) -> u16) -> u64 {
    let quarters = octets.as_chunks::<LANES>().0.iter().zip(0..);
    quarters.fold(0, |all, (quarter, at)| all | u64::from(fits(Lanes::of(quarter))) << (at * LANES))
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
                for limit in [i8::MIN, -1, 0, b'#' as i8, i8::MAX] {
                    assert_eq!(lanes.below(limit), of(&|other| other.cast_signed() < limit), "{octet} below {limit}");
                }
            }
        }
        let mut octets = [b'.'; 64];
        octets[0] = b'%';
        octets[63] = b'&';
        assert_eq!(bits(&octets, |lanes| lanes.among(*b"%&")), 1 | 1 << 63);
    }
}
