//! Checksums: CRC-32C for record batches and snapshots, CRC-32 for old message sets, XXH32 for LZ4 frames.
//!
//! In: bytes. Out: the checksum; the same bytes in pieces give the same one.

/// CRC-32C (Castagnoli) of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    ::crc32c::crc32c(bytes)
}

/// CRC-32C of what `crc` covers, followed by `bytes`.
pub fn crc32c_append(crc: u32, bytes: &[u8]) -> u32 {
    ::crc32c::crc32c_append(crc, bytes)
}

/// CRC-32C of two pieces of which only the checksums are known, and the length of the second: a header can change
/// before a large body without reading the body again.
pub fn crc32c_combine(first: u32, second: u32, second_bytes: usize) -> u32 {
    ::crc32c::crc32c_combine(first, second, second_bytes)
}

/// CRC-32 (IEEE) of `bytes`, as gzip and old message sets have it.
pub fn crc32(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// XXH32 of `bytes` with seed 0: one byte of it guards the header of an LZ4 frame, all of it its blocks.
pub fn xxh32(bytes: &[u8]) -> u32 {
    const P1: u32 = 0x9e37_79b1;
    const P2: u32 = 0x85eb_ca77;
    const P3: u32 = 0xc2b2_ae3d;
    const P4: u32 = 0x27d4_eb2f;
    const P5: u32 = 0x1656_67b1;
    let word = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    let round =
        |lane: u32, word: u32| lane.wrapping_add(word.wrapping_mul(P2)).rotate_left(13).wrapping_mul(P1);

    let stripes = bytes.chunks_exact(16);
    let tail = stripes.remainder();
    let mut hash = if bytes.len() >= 16 {
        let mut lanes = [P1.wrapping_add(P2), P2, 0, 0u32.wrapping_sub(P1)];
        for stripe in stripes {
            for (lane, piece) in lanes.iter_mut().zip(stripe.chunks_exact(4)) {
                *lane = round(*lane, word(piece));
            }
        }
        lanes
            .iter()
            .zip([1, 7, 12, 18])
            .fold(0u32, |sum, (lane, turn)| sum.wrapping_add(lane.rotate_left(turn)))
    } else {
        P5
    };
    hash = hash.wrapping_add(bytes.len() as u32);
    let words = tail.chunks_exact(4);
    let last = words.remainder();
    for piece in words {
        hash = hash.wrapping_add(word(piece).wrapping_mul(P3)).rotate_left(17).wrapping_mul(P4);
    }
    for byte in last {
        hash = hash.wrapping_add(u32::from(*byte).wrapping_mul(P5)).rotate_left(11).wrapping_mul(P1);
    }
    hash = (hash ^ (hash >> 15)).wrapping_mul(P2);
    hash = (hash ^ (hash >> 13)).wrapping_mul(P3);
    hash ^ (hash >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_answers() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(xxh32(b""), 0x02cc_5d05);
        assert_eq!(xxh32(b"abc"), 0x32d1_53ff);
        assert_eq!(xxh32(b"Nobody inspects the spammish repetition"), 0xe229_3b2f);
    }

    #[test]
    fn pieces_give_the_checksum_of_the_whole() {
        let bytes: Vec<u8> = (0..1000u32).map(|i| (i * 7) as u8).collect();
        let (head, tail) = bytes.split_at(40);
        assert_eq!(crc32c_append(crc32c(head), tail), crc32c(&bytes));
        assert_eq!(crc32c_combine(crc32c(head), crc32c(tail), tail.len()), crc32c(&bytes));
    }
}
