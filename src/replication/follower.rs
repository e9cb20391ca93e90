//! Where a follower cuts its log before it follows a new leader (KIP-101, KIP-279; contract 5.7).
//!
//! In: the follower's epochs and end, and where the leader says that an epoch ended. Out: an offset to cut to, and whether to ask
//! again. The same rule serves the answer to OffsetForLeaderEpoch and the diverging epoch of a fetch answer (KIP-595).

use crate::ids::Offset;
use crate::log::epoch_history::EpochHistory;

/// The leader's answer for an epoch that was asked for: the largest epoch it knows that is not later, and where it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LeaderSays {
    /// It knows of no epoch: it writes an old format, or its log says nothing.
    Nothing,
    /// A leader of before KIP-279 names no epoch.
    End(Offset),
    EpochEnd {
        epoch: i32,
        end: Offset,
    },
}

/// What the follower does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cut {
    /// Everything at or beyond goes; the end of the log where nothing does.
    pub to: Offset,
    /// Whether it is sure now. If not, the next question is for the epoch that is then the latest.
    pub is_final: bool,
}

/// One step. `end` is the end of the follower's log; `high_watermark` is where it falls back to when epochs say nothing.
pub fn next_cut(says: LeaderSays, epochs: &EpochHistory, end: Offset, high_watermark: Offset) -> Cut {
    let (epoch, leader_end) = match says {
        LeaderSays::Nothing => return Cut { to: high_watermark.min(end), is_final: true },
        LeaderSays::End(leader_end) => return Cut { to: leader_end.min(end), is_final: true },
        LeaderSays::EpochEnd { epoch, end } => (epoch, end),
    };
    match epochs.end_offset_of(epoch, end.0) {
        // Ours ended where the next of our epochs began: what follows was written by leaders the new one never heard of.
        Some(ours) if ours.epoch == epoch => {
            Cut { to: Offset(ours.start_offset).min(leader_end).min(end), is_final: true }
        }
        // The leader's epoch is unknown here: cut to the end of the one before it, and ask about that one.
        Some(ours) => Cut { to: Offset(ours.start_offset).min(end), is_final: false },
        // All epochs here are later than what the leader knows: none of what they wrote is its.
        None => {
            let first = epochs.entries().first().map_or(end, |first| Offset(first.start_offset));
            Cut { to: first.min(leader_end).min(end), is_final: true }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SplitMix64;

    fn epochs(entries: &[(i32, i64)]) -> EpochHistory {
        let mut epochs = EpochHistory::default();
        entries.iter().for_each(|(epoch, offset)| epochs.assign(*epoch, *offset));
        epochs
    }

    fn says(epoch: i32, end: i64) -> LeaderSays {
        LeaderSays::EpochEnd { epoch, end: Offset(end) }
    }

    #[test]
    fn a_follower_cuts_where_the_histories_part() {
        let ours = epochs(&[(0, 0), (1, 10), (3, 20)]);
        let cut = |says| next_cut(says, &ours, Offset(30), Offset(15));
        let sure = |to| Cut { to: Offset(to), is_final: true };
        assert_eq!(cut(says(3, 40)), sure(30), "the leader has more");
        assert_eq!(cut(says(3, 25)), sure(25), "the leader has less of it");
        assert_eq!(cut(says(1, 15)), sure(15), "the leader went on from less");
        assert_eq!(cut(says(1, 25)), sure(20), "ours ended before the leader's");
        assert_eq!(cut(says(2, 22)), Cut { to: Offset(20), is_final: false }, "an epoch we never heard of");
        assert_eq!(cut(LeaderSays::Nothing), sure(15));
        assert_eq!(cut(LeaderSays::End(Offset(12))), sure(12));
        assert_eq!(next_cut(says(1, 5), &epochs(&[(2, 8)]), Offset(9), Offset(0)), sure(5));
        assert_eq!(next_cut(says(1, 9), &epochs(&[(2, 8)]), Offset(9), Offset(0)), sure(8));
    }

    /// The offsets that both logs have alike, by the epoch that wrote each.
    fn common(a: &[i32], b: &[i32]) -> usize {
        a.iter().zip(b).take_while(|(a, b)| a == b).count()
    }

    fn history(log: &[i32]) -> EpochHistory {
        let mut epochs = EpochHistory::default();
        for (offset, epoch) in log.iter().enumerate() {
            if epochs.latest().is_none_or(|latest| latest.epoch < *epoch) {
                epochs.assign(*epoch, offset as i64);
            }
        }
        epochs
    }

    /// Logs are lists of the epoch that wrote each offset. An epoch has one leader, so two logs agree on an offset and its
    /// epoch only where they agree on all before it: invented histories keep to that.
    #[test]
    fn after_the_last_cut_everything_left_is_what_the_leader_has() {
        for seed in 0..3000 {
            let mut random = SplitMix64::new(seed);
            let mut below = |bound: u64| random.next_u64() % bound;
            let mut logs = [Vec::new(), Vec::new(), Vec::new()];
            for epoch in 0..1 + below(6) as i32 {
                let leader = below(3) as usize;
                let count = below(4) as usize;
                logs[leader].extend(std::iter::repeat_n(epoch, count));
                // Some follow it: each has a part of what the leader has, in place of what it had.
                for follower in 0..3 {
                    if follower != leader && below(2) == 0 {
                        let shared = common(&logs[follower], &logs[leader]);
                        let len = shared + below((logs[leader].len() - shared + 1) as u64) as usize;
                        logs[follower] = logs[leader][..len].to_vec();
                    }
                }
            }
            let (leader, mut log) = (logs[0].clone(), logs[1].clone());
            let theirs = history(&leader);
            let shared = common(&log, &leader);
            let mut steps = 0;
            loop {
                steps += 1;
                assert!(steps < 20, "seed {seed}");
                let ours = history(&log);
                let Some(latest) = ours.latest() else { break };
                let answer = match theirs.end_offset_of(latest.epoch, leader.len() as i64) {
                    Some(end) => LeaderSays::EpochEnd { epoch: end.epoch, end: Offset(end.start_offset) },
                    None => LeaderSays::EpochEnd { epoch: latest.epoch, end: Offset(0) },
                };
                let cut = next_cut(answer, &ours, Offset(log.len() as i64), Offset(0));
                log.truncate(cut.to.0 as usize);
                if cut.is_final {
                    break;
                }
            }
            assert_eq!(log, leader[..log.len().min(leader.len())], "seed {seed}: {leader:?}");
            assert_eq!(log.len(), shared, "seed {seed}: more was cut than had to be");
        }
    }
}
