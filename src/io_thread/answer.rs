//! What an administrative request asks of a replica: its start, its end of an epoch, its producers, its size.
//!
//! In: questions of the control thread. Out: answers. Deleting records raises the start of the log; segments that lie before it
//! go with the next round of retention, as in Kafka.

use crate::ids::Offset;
use crate::io_thread::{IoLoop, epoch_error, partition_mut};
use crate::log::{Log, ReadError};
use crate::metadata::{Answer, Question, RememberedProducer};
use crate::wire::error_code::ErrorCode;

impl IoLoop {
    pub(super) fn answer_question(&mut self, slot: u32, question: Question) -> Answer {
        let Some(partition) = partition_mut(&mut self.partitions, slot) else {
            return Answer::Refused(ErrorCode::UnknownTopicOrPartition);
        };
        if partition.log.has_failed() {
            return Answer::Refused(ErrorCode::KafkaStorageError);
        }
        if !partition.leads() && !matches!(question, Question::Extent) {
            return Answer::Refused(ErrorCode::NotLeaderOrFollower);
        }
        match question {
            Question::DeleteRecords { before } => {
                let before = before.unwrap_or(partition.log.high_watermark());
                match partition.log.delete_records_before(before) {
                    Ok(()) => {}
                    Err(ReadError::OutOfRange { .. }) => return Answer::Refused(ErrorCode::OffsetOutOfRange),
                    Err(error) => {
                        tracing::error!(topic = %partition.topic, partition = partition.number, %error, "records could not be deleted");
                        return Answer::Refused(ErrorCode::KafkaStorageError);
                    }
                }
                partition.show();
                let start = partition.log.start_offset();
                // Readers before the new start are told.
                for (set, entry) in partition.watchers.clone() {
                    self.flag(set, entry);
                }
                Answer::LowWatermark(start)
            }
            Question::EndOfEpoch { current, epoch } => match epoch_error(current, partition.leader_epoch) {
                Some(error) => Answer::Refused(error),
                None => {
                    let (epoch, end) = end_of_epoch(&partition.log, epoch).unwrap_or((-1, Offset(-1)));
                    Answer::EndOfEpoch { epoch, end }
                }
            },
            Question::Producers => {
                let remembered = partition.log.producers().sorted().into_iter();
                let of = |(id, producer): (i64, &crate::producer::Producer)| RememberedProducer {
                    id,
                    epoch: producer.epoch,
                    last_sequence: producer.last_batch().map_or(-1, |batch| batch.last_sequence),
                    last_timestamp: producer.last_timestamp,
                    coordinator_epoch: producer.coordinator_epoch,
                    transaction_first: producer.transaction_first.unwrap_or(-1),
                };
                Answer::Producers(remembered.map(of).collect())
            }
            Question::Extent => {
                Answer::Extent { directory: partition.directory, bytes: partition.log.bytes() }
            }
        }
    }
}

/// The largest epoch up to `epoch` and where it ended; an epoch before the first one known ends where that begins (KIP-279).
/// `None`: nothing is known of it.
pub(super) fn end_of_epoch(log: &Log, epoch: i32) -> Option<(i32, Offset)> {
    let history = log.epochs();
    let (first, latest) = (history.entries().first()?, history.latest()?);
    if epoch > latest.epoch || epoch < 0 {
        return None;
    }
    if epoch < first.epoch {
        return Some((epoch, Offset(first.start_offset)));
    }
    let found = history.end_offset_of(epoch, log.end_offset().0)?;
    Some((found.epoch, Offset(found.start_offset)))
}
