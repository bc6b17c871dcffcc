//! Deltas (git-scm.com/docs/gitformat-pack, "Deltified representation"): two sizes, then pieces of the base and new octets.

/// What a delta makes of its base, at most `most` octets; nothing where it is odd.
pub(super) fn apply(base: &[u8], delta: &[u8], most: usize) -> Option<Vec<u8>> {
    let mut rest = delta;
    if size(&mut rest)? != base.len() {
        return None;
    }
    let size = size(&mut rest)?;
    if size > most {
        return None;
    }
    let mut made = Vec::with_capacity(size);
    while let Some(octet) = next(&mut rest) {
        let piece = if octet & 0x80 != 0 {
            let (from, length) = copied(octet, &mut rest)?;
            base.get(from..from + length)?
        } else {
            // 0 is reserved.
            let (piece, after) = rest.split_at_checked(usize::from(octet)).filter(|_| octet > 0)?;
            rest = after;
            piece
        };
        if made.len() + piece.len() > size {
            return None;
        }
        made.extend_from_slice(piece);
    }
    (made.len() == size).then_some(made)
}

fn next(rest: &mut &[u8]) -> Option<u8> {
    let (first, after) = rest.split_first()?;
    *rest = after;
    Some(*first)
}

/// Seven bits an octet, the lowest first.
fn size(rest: &mut &[u8]) -> Option<usize> {
    let (mut size, mut shift) = (0, 0u32);
    loop {
        let octet = next(rest)?;
        if shift > 21 {
            return None;
        }
        size |= usize::from(octet & 0x7f) << shift;
        if octet & 0x80 == 0 {
            return Some(size);
        }
        shift += 7;
    }
}

/// A place of the base and a length: four octets and three, of which only those are there that the bits say.
fn copied(bits: u8, rest: &mut &[u8]) -> Option<(usize, usize)> {
    let mut values = [0usize; 7];
    for (number, value) in values.iter_mut().enumerate() {
        if bits >> number & 1 == 1 {
            *value = usize::from(next(rest)?);
        }
    }
    let [a, b, c, d, low, middle, high] = values;
    let length = low | middle << 8 | high << 16;
    Some((a | b << 8 | c << 16 | d << 24, if length == 0 { 0x1_0000 } else { length }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_and_new_octets() {
        let base = b"0123456789";
        // 10 octets to 6: four from 2, then two new ones.
        let whole = [10, 6, 0x91, 2, 4, 2, b'a', b'b'];
        assert_eq!(apply(base, &whole, 6).as_deref(), Some(b"2345ab".as_slice()));
        assert_eq!(apply(base, &whole, 5), None, "more than may be made");
        for odd in [
            &[][..],
            &[10],
            &[9, 6, 0x91, 2, 4, 2, b'a', b'b'],
            &[10, 7, 0x91, 2, 4, 2, b'a', b'b'],
            &[10, 5, 0x91, 2, 4, 2, b'a', b'b'],
            &[10, 6, 0x91, 8, 4, 2, b'a', b'b'],
            &[10, 6, 0x91, 2, 4, 2, b'a'],
            &[10, 6, 0x91, 2, 4, 0, 2, b'a', b'b'],
            &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80],
        ] {
            assert_eq!(apply(base, odd, 100), None, "{odd:?}");
        }
        // Without a length it is 65,536 octets.
        let long = vec![b'x'; 0x1_0000];
        let delta = [0x80, 0x80, 4, 0x80, 0x80, 4, 0x80];
        assert_eq!(apply(&long, &delta, 1 << 20), Some(long));
    }
}
