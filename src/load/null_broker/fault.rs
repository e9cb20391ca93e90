//! Faults of a broker, planted on purpose: what the generator must notice.

use std::str::FromStr;
use std::time::Duration;

/// The batch that one-time faults strike, counted from 1, when none is named.
const BATCH_DEFAULT: u64 = 100;

/// One fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// A share of the produce answers waits; so do the answers behind them on the same connection.
    Delay { share: f64, by: Duration },
    /// Acknowledged, and not stored.
    Drop { batch: u64 },
    /// Stored twice.
    Duplicate { batch: u64 },
    /// Stored behind the next batch of its connection and partition.
    Reorder { batch: u64 },
    /// Acknowledged with the offset after the one it got.
    WrongOffset { batch: u64 },
    /// One payload byte changed, the CRC computed anew.
    Corrupt { batch: u64 },
    /// The last batches of each partition are acknowledged and kept in memory only.
    AckThenLose,
    /// Claims to flush and does not.
    SkipFsync,
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(text: &str) -> Result<Fault, String> {
        let mut parts = text.split(':');
        let name = parts.next().unwrap_or_default();
        let arguments: Vec<&str> = parts.collect();
        let batch = || match arguments.as_slice() {
            [] => Ok(BATCH_DEFAULT),
            [number] => match number.parse() {
                Ok(number) if number > 0 => Ok(number),
                _ => Err(format!("{text}: {number} is no number of a batch")),
            },
            _ => Err(format!("{text}: at most one number")),
        };
        let alone =
            |fault| if arguments.is_empty() { Ok(fault) } else { Err(format!("{text}: takes no argument")) };
        match name {
            "drop" => batch().map(|batch| Fault::Drop { batch }),
            "duplicate" => batch().map(|batch| Fault::Duplicate { batch }),
            "reorder" => batch().map(|batch| Fault::Reorder { batch }),
            "wrong-offset" => batch().map(|batch| Fault::WrongOffset { batch }),
            "corrupt" => batch().map(|batch| Fault::Corrupt { batch }),
            "ack-then-lose" => alone(Fault::AckThenLose),
            "skip-fsync" => alone(Fault::SkipFsync),
            "delay" => {
                let [share, by] = arguments.as_slice() else {
                    return Err(format!("{text}: a delay is delay:2%:10ms"));
                };
                let share: Option<f64> = share.strip_suffix('%').and_then(|share| share.parse().ok());
                let by: Option<u64> = by.strip_suffix("ms").and_then(|by| by.parse().ok());
                match (share, by) {
                    (Some(share), Some(by)) if (0.0..=100.0).contains(&share) => {
                        Ok(Fault::Delay { share: share / 100.0, by: Duration::from_millis(by) })
                    }
                    _ => Err(format!("{text}: a delay is delay:2%:10ms")),
                }
            }
            _ => Err(format!(
                "{text}: faults are delay, drop, duplicate, reorder, wrong-offset, corrupt, ack-then-lose, skip-fsync"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_read_with_their_numbers() {
        assert_eq!("drop".parse(), Ok(Fault::Drop { batch: 100 }));
        assert_eq!("corrupt:7".parse(), Ok(Fault::Corrupt { batch: 7 }));
        assert_eq!("ack-then-lose".parse(), Ok(Fault::AckThenLose));
        let delay = Fault::Delay { share: 0.02, by: Duration::from_millis(10) };
        assert_eq!("delay:2%:10ms".parse(), Ok(delay));
        for wrong in
            ["", "drop:0", "drop:x", "drop:1:2", "delay:2:10ms", "delay:2%:10", "skip-fsync:1", "pause"]
        {
            assert!(wrong.parse::<Fault>().is_err(), "{wrong}");
        }
    }
}
