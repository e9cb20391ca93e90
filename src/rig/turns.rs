//! The order of a comparison: which pair of which row runs when, and who goes first in it.
//!
//! In: how many pairs each row gets, and the seed. Out: turns, one pair each. Pure. Two turns that follow each other
//! are one ABBA or BAAB of one row: a machine that drifts steadily through it favours neither side.

use super::plan::sequence;

/// One pair: two blocks next to each other in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Turn {
    pub row: usize,
    pub pair: u64,
    pub a_first: bool,
}

/// `pairs[row]` pairs of each row, an odd number rounded up.
pub fn turns(pairs: &[u64], seed: u64) -> Vec<Turn> {
    let mut order = sequence(seed, "turns");
    let mut fours: Vec<[Turn; 2]> = Vec::new();
    for (row, pairs) in pairs.iter().enumerate() {
        for four in 0..pairs.div_ceil(2) {
            let a_first = order.next_u64() & 1 == 0;
            fours.push([
                Turn { row, pair: 2 * four, a_first },
                Turn { row, pair: 2 * four + 1, a_first: !a_first },
            ]);
        }
    }
    order.shuffle(&mut fours);
    fours.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_side_goes_first_as_often_as_the_other_and_fours_stay_together() {
        let all = turns(&[8, 8, 3], 42);
        assert_eq!(all.len(), 20);
        for four in all.chunks(2) {
            assert_eq!(four[0].row, four[1].row);
            assert_ne!(four[0].a_first, four[1].a_first);
        }
        for (row, count) in [(0, 8), (1, 8), (2, 4)] {
            let mut pairs: Vec<u64> =
                all.iter().filter(|turn| turn.row == row).map(|turn| turn.pair).collect();
            pairs.sort_unstable();
            assert_eq!(pairs, (0..count).collect::<Vec<_>>());
        }
        assert_eq!(all, turns(&[8, 8, 3], 42));
        assert_ne!(all, turns(&[8, 8, 3], 43));
    }
}
