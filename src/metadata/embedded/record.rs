//! The bytes of the embedded store: a header, then one record for each commit.
//!
//! In: changes, or bytes. Out: the other one. A record is whole and its checksum right, or it is no record.
//!
//! | bytes   | header field     |                                                                  |
//! |---------|------------------|------------------------------------------------------------------|
//! | 0..8    | magic            | `metadata` in ASCII                                              |
//! | 8..10   | version          | of everything behind it                                          |
//! | 10..12  | reserved         | 0                                                                |
//! | 12..20  | `snapshot_bytes` | the file was written whole up to here: nothing before can be torn |
//! | 20..24  | crc              | CRC-32C of 0..20                                                 |
//!
//! | bytes   | record field     |                                                                  |
//! |---------|------------------|------------------------------------------------------------------|
//! | 0..4    | `payload_bytes`  |                                                                  |
//! | 4..8    | crc              | CRC-32C of the sequence and the payload                          |
//! | 8..16   | sequence         | one higher than the record before                                |
//! | 16..    | payload          | a `CommitRecord`, encoded as Kafka encodes a flexible message    |

use std::sync::Arc;

use crate::config::Overrides;
use crate::ids::BrokerId;
use crate::metadata::state::{Change, Led, NewLead, Placement, StoredTopic};
use crate::wire::array::Array;
use crate::wire::message::message;
use crate::wire::primitive::{DecodeError, Field, Reader, Uuid, Version};

pub const MAGIC: &[u8; 8] = b"metadata";
pub const VERSION: u16 = 1;
pub const HEADER_BYTES: usize = 24;
pub const RECORD_HEADER_BYTES: usize = 16;
/// More than any commit: a request has at most 100 MiB, and what is stored of it is shorter.
pub const PAYLOAD_BYTES_MAX: usize = 128 << 20;

const ENCODING: Version = Version { number: 0, flexible: true };

message! {
    pub struct CommitRecord<'a> {
        changes: Array<'a, ChangeRecord<'a>> [..];
    }

    pub struct ChangeRecord<'a> {
        kind: i8 [..];
        id: Uuid [.., tag 0];
        name: &'a str [.., tag 1];
        number: i64 [.., tag 2];
        leader_epochs: Array<'a, i32> [.., tag 3];
        overrides: Array<'a, OverrideRecord<'a>> [.., tag 4];
        placements: Array<'a, PlacementRecord<'a>> [.., tag 5];
    }

    /// `leader` is -1 where nobody can lead, and -2 where nobody was elected yet.
    pub struct PlacementRecord<'a> {
        partition: i32 [..];
        replicas: Array<'a, i32> [..];
        leader_epoch: i32 [..];
        leader: i32 [..];
        isr: Array<'a, i32> [..];
        controller_epoch: i32 [..];
        recovering: bool [..];
        version: i32 [..];
    }

    pub struct OverrideRecord<'a> {
        key: &'a str [..];
        value: &'a str [..];
    }
}

const IDENTITY: i8 = 1;
const INCARNATION: i8 = 2;
const PRODUCER_IDS_BELOW: i8 = 3;
const TOPIC_ADDED: i8 = 4;
const PARTITIONS_ADDED: i8 = 5;
const PARTITIONS_TAKEN_BACK: i8 = 6;
const OVERRIDES_SET: i8 = 7;
const DELETE_BEGUN: i8 = 8;
const DELETE_DONE: i8 = 9;
const SETTINGS_SET: i8 = 10;
const LEADS_SET: i8 = 11;

const NOBODY: i32 = -1;
const NOT_ELECTED: i32 = -2;

fn ids(all: &[BrokerId]) -> Array<'static, i32> {
    all.iter().map(|id| id.0).collect()
}

impl<'a> PlacementRecord<'a> {
    fn of_led(led: Option<&Led>) -> PlacementRecord<'static> {
        match led {
            None => PlacementRecord { leader: NOT_ELECTED, ..PlacementRecord::default() },
            Some(led) => PlacementRecord {
                leader: led.leader.map_or(NOBODY, |leader| leader.0),
                isr: ids(&led.isr),
                controller_epoch: led.controller_epoch,
                recovering: led.recovering,
                version: led.version,
                ..PlacementRecord::default()
            },
        }
    }

    fn of_placement(placement: &Placement) -> PlacementRecord<'static> {
        let replicas = ids(&placement.replicas);
        PlacementRecord { replicas, ..PlacementRecord::of_led(placement.led.as_ref()) }
    }

    fn of_lead(lead: &NewLead) -> PlacementRecord<'static> {
        let NewLead { partition, leader_epoch, led } = lead;
        PlacementRecord {
            partition: *partition,
            leader_epoch: *leader_epoch,
            ..PlacementRecord::of_led(Some(led))
        }
    }

    fn led(&self) -> Option<Led> {
        (self.leader != NOT_ELECTED).then(|| Led {
            leader: (self.leader != NOBODY).then_some(BrokerId(self.leader)),
            isr: self.isr.iter().map(BrokerId).collect(),
            controller_epoch: self.controller_epoch,
            recovering: self.recovering,
            version: self.version,
        })
    }

    fn placement(&self) -> Placement {
        Placement { replicas: self.replicas.iter().map(BrokerId).collect(), led: self.led() }
    }
}

fn placements(all: &[Placement]) -> Array<'static, PlacementRecord<'static>> {
    all.iter().map(PlacementRecord::of_placement).collect()
}

impl<'a> ChangeRecord<'a> {
    fn of(change: &'a Change) -> ChangeRecord<'a> {
        let none = ChangeRecord::default;
        match change {
            Change::Identity { cluster_id, broker_id } => {
                ChangeRecord { kind: IDENTITY, name: cluster_id, number: broker_id.0.into(), ..none() }
            }
            Change::Incarnation(incarnation) => {
                ChangeRecord { kind: INCARNATION, number: (*incarnation).into(), ..none() }
            }
            Change::ProducerIdsBelow(below) => {
                ChangeRecord { kind: PRODUCER_IDS_BELOW, number: *below, ..none() }
            }
            Change::TopicAdded(topic) => ChangeRecord {
                kind: TOPIC_ADDED,
                id: topic.id,
                name: &topic.name,
                number: topic.since.into(),
                leader_epochs: topic.leader_epochs.clone().into(),
                overrides: override_records(&topic.overrides),
                placements: placements(&topic.placements),
            },
            Change::PartitionsAdded { id, leader_epochs, placements: places } => ChangeRecord {
                kind: PARTITIONS_ADDED,
                id: *id,
                leader_epochs: leader_epochs.clone().into(),
                placements: placements(places),
                ..none()
            },
            Change::LeadsSet { id, leads } => ChangeRecord {
                kind: LEADS_SET,
                id: *id,
                placements: leads.iter().map(PlacementRecord::of_lead).collect(),
                ..none()
            },
            Change::PartitionsTakenBack { id, partition_count } => ChangeRecord {
                kind: PARTITIONS_TAKEN_BACK,
                id: *id,
                number: (*partition_count).into(),
                ..none()
            },
            Change::OverridesSet { id, overrides } => ChangeRecord {
                kind: OVERRIDES_SET,
                id: *id,
                overrides: override_records(overrides),
                ..none()
            },
            Change::SettingsSet { path, settings } => ChangeRecord {
                kind: SETTINGS_SET,
                name: path,
                overrides: override_records(settings),
                ..none()
            },
            Change::DeleteBegun { id } => ChangeRecord { kind: DELETE_BEGUN, id: *id, ..none() },
            Change::DeleteDone { id } => ChangeRecord { kind: DELETE_DONE, id: *id, ..none() },
        }
    }

    /// `None`: a kind or a number that no version of this format writes.
    fn change(&self) -> Option<Change> {
        let number = i32::try_from(self.number);
        let overrides = || -> Overrides {
            self.overrides.iter().map(|pair| (pair.key.to_owned(), pair.value.to_owned())).collect()
        };
        Some(match self.kind {
            IDENTITY => Change::Identity { cluster_id: self.name.into(), broker_id: BrokerId(number.ok()?) },
            INCARNATION => Change::Incarnation(number.ok()?),
            PRODUCER_IDS_BELOW => Change::ProducerIdsBelow(self.number),
            TOPIC_ADDED => Change::TopicAdded(Arc::new(StoredTopic {
                id: self.id,
                name: self.name.into(),
                leader_epochs: self.leader_epochs.iter().collect(),
                since: number.ok()?,
                overrides: overrides(),
                placements: self.placements.iter().map(|record| record.placement()).collect(),
            })),
            PARTITIONS_ADDED => Change::PartitionsAdded {
                id: self.id,
                leader_epochs: self.leader_epochs.iter().collect(),
                placements: self.placements.iter().map(|record| record.placement()).collect(),
            },
            LEADS_SET => {
                let lead = |record: PlacementRecord<'_>| {
                    let (partition, leader_epoch) = (record.partition, record.leader_epoch);
                    Some(NewLead { partition, leader_epoch, led: record.led()? })
                };
                Change::LeadsSet {
                    id: self.id,
                    leads: self.placements.iter().map(lead).collect::<Option<_>>()?,
                }
            }
            PARTITIONS_TAKEN_BACK => {
                Change::PartitionsTakenBack { id: self.id, partition_count: number.ok()? }
            }
            OVERRIDES_SET => Change::OverridesSet { id: self.id, overrides: overrides() },
            SETTINGS_SET => Change::SettingsSet { path: self.name.into(), settings: overrides() },
            DELETE_BEGUN => Change::DeleteBegun { id: self.id },
            DELETE_DONE => Change::DeleteDone { id: self.id },
            _ => return None,
        })
    }
}

fn override_records(overrides: &Overrides) -> Array<'_, OverrideRecord<'_>> {
    overrides.iter().map(|(key, value)| OverrideRecord { key, value }).collect()
}

/// Appends the record of a commit.
pub fn put_record(out: &mut Vec<u8>, sequence: u64, changes: &[Change]) {
    let start = out.len();
    out.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
    out[start + 8..start + 16].copy_from_slice(&sequence.to_be_bytes());
    CommitRecord { changes: changes.iter().map(ChangeRecord::of).collect() }.write(out, ENCODING, false);
    let payload_bytes = out.len() - start - RECORD_HEADER_BYTES;
    assert!(payload_bytes <= PAYLOAD_BYTES_MAX, "a commit of {payload_bytes} bytes");
    let crc = crc32c::crc32c(&out[start + 8..]);
    out[start..start + 4].copy_from_slice(&(payload_bytes as u32).to_be_bytes());
    out[start + 4..start + 8].copy_from_slice(&crc.to_be_bytes());
}

pub fn header(snapshot_bytes: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..8].copy_from_slice(MAGIC);
    header[8..10].copy_from_slice(&VERSION.to_be_bytes());
    header[12..20].copy_from_slice(&snapshot_bytes.to_be_bytes());
    let crc = crc32c::crc32c(&header[..20]);
    header[20..].copy_from_slice(&crc.to_be_bytes());
    header
}

/// What a header says.
#[derive(Debug, PartialEq, Eq)]
pub enum Header {
    Known { snapshot_bytes: u64 },
    OtherVersion(u16),
    Broken(&'static str),
}

pub fn read_header(file: &[u8]) -> Header {
    let Some(header) = file.first_chunk::<HEADER_BYTES>() else {
        return Header::Broken("the file is shorter than its header");
    };
    if &header[..8] != MAGIC {
        return Header::Broken("this is no metadata store: the first 8 bytes are not `metadata`");
    }
    let version = u16::from_be_bytes([header[8], header[9]]);
    if version != VERSION {
        return Header::OtherVersion(version);
    }
    if crc32c::crc32c(&header[..20]).to_be_bytes() != header[20..] {
        return Header::Broken("the checksum of the header does not match");
    }
    let snapshot_bytes = u64::from_be_bytes(header[12..20].try_into().expect("eight bytes"));
    Header::Known { snapshot_bytes }
}

/// A record at the front of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub struct Record<'a> {
    pub sequence: u64,
    pub payload: &'a [u8],
    /// Bytes of the whole record.
    pub bytes: usize,
}

/// The record at the front of `bytes`, if it is whole and its checksum right.
pub fn read_record(bytes: &[u8]) -> Option<Record<'_>> {
    let header = bytes.first_chunk::<RECORD_HEADER_BYTES>()?;
    let word = |at: usize| u32::from_be_bytes(header[at..at + 4].try_into().expect("four bytes"));
    let payload_bytes = word(0) as usize;
    if payload_bytes > PAYLOAD_BYTES_MAX {
        return None;
    }
    let end = RECORD_HEADER_BYTES + payload_bytes;
    let checked = bytes.get(8..end)?;
    if crc32c::crc32c(checked) != word(4) {
        return None;
    }
    let sequence = u64::from_be_bytes(header[8..16].try_into().expect("eight bytes"));
    Some(Record { sequence, payload: &checked[8..], bytes: end })
}

/// The changes of a record's payload.
pub fn read_changes(payload: &[u8]) -> Result<Vec<Change>, DecodeError> {
    let mut r = Reader::new(payload);
    let commit = CommitRecord::read(&mut r, ENCODING, false)?;
    if r.remaining() > 0 {
        return Err(r.error("bytes behind the last change"));
    }
    let changes: Option<Vec<Change>> = commit.changes.iter().map(|change| change.change()).collect();
    changes.ok_or(DecodeError { position: 0, what: "a change of a kind this build does not know" })
}
