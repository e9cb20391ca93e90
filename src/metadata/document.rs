//! Metadata as a JSON document: what `ringdaw metadata export` writes and its other commands read.
//!
//! In: a state, or JSON. Out: the other one. Reading is strict: a document is written back into an empty ensemble, so what is
//! missing in it, or is not understood, is an error that names the place.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::config::Overrides;
use crate::ids::BrokerId;
use crate::metadata::copy::About;
use crate::metadata::settings_path;
use crate::metadata::state::{Change, Led, Placement, State, StoredTopic};
use crate::wire::primitive::Uuid;

/// Of the form that this build writes and reads.
const FORMAT: u32 = 1;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    format: u32,
    cluster_id: String,
    /// Whose copy it is.
    broker_id: i32,
    written_ms: i64,
    controller_epoch: i32,
    producer_ids_below: i64,
    topics: Vec<TopicPart>,
    /// Of brokers, users, clients and addresses, by their path below `/config`.
    settings: std::collections::BTreeMap<String, Overrides>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct TopicPart {
    name: String,
    topic_id: String,
    settings: Overrides,
    partitions: Vec<PartitionPart>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PartitionPart {
    replicas: Vec<i32>,
    /// -1: nobody can lead. Absent, with the three behind it: nobody was elected yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<i32>,
    leader_epoch: i32,
    isr: Vec<i32>,
    state_version: i32,
    state_controller_epoch: i32,
}

/// The document of a state. Topics that are being deleted are left out.
pub fn write(state: &State) -> String {
    let about = About::of(state);
    let ids = |all: &[BrokerId]| all.iter().map(|id| id.0).collect::<Vec<_>>();
    let this = state.broker_id();
    let partition = |topic: &StoredTopic, number: i32| {
        let leader_epoch = state.leader_epoch(topic, number).0;
        match topic.placement(number) {
            Some(Placement { replicas, led: Some(led) }) => PartitionPart {
                replicas: ids(replicas),
                leader: Some(led.leader.map_or(-1, |leader| leader.0)),
                leader_epoch,
                isr: ids(&led.isr),
                state_version: led.version,
                state_controller_epoch: led.controller_epoch,
            },
            Some(Placement { replicas, led: None }) => PartitionPart {
                replicas: ids(replicas),
                leader: None,
                leader_epoch,
                isr: Vec::new(),
                state_version: 0,
                state_controller_epoch: 0,
            },
            // Of a store of one broker, which leads everything.
            None => PartitionPart {
                replicas: vec![this.0],
                leader: Some(this.0),
                leader_epoch,
                isr: vec![this.0],
                state_version: 0,
                state_controller_epoch: 0,
            },
        }
    };
    let mut topics: Vec<TopicPart> = state
        .topics()
        .map(|topic| TopicPart {
            name: topic.name.to_string(),
            topic_id: topic.id.to_string(),
            settings: topic.overrides.clone(),
            partitions: (0..topic.partition_count()).map(|number| partition(topic, number)).collect(),
        })
        .collect();
    topics.sort_by(|a, b| a.name.cmp(&b.name));
    let settings = state.settings_under("").filter(|(path, _)| ***path != *settings_path::COPY);
    let document = Document {
        format: FORMAT,
        cluster_id: state.cluster_id().to_string(),
        broker_id: this.0,
        written_ms: about.written_ms,
        controller_epoch: about.controller_epoch,
        producer_ids_below: state.producer_ids_below(),
        topics,
        settings: settings.map(|(path, settings)| (path.to_string(), settings.clone())).collect(),
    };
    serde_json::to_string_pretty(&document).expect("texts, numbers and maps with texts as keys")
}

/// The state of a document; an error is a sentence without the name of the file.
pub fn read(text: &str) -> Result<State, String> {
    let document: Document = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if document.format != FORMAT {
        return Err(format!("format {}; this build knows {FORMAT}", document.format));
    }
    let about = About { written_ms: document.written_ms, controller_epoch: document.controller_epoch };
    let mut changes = vec![
        Change::Identity { cluster_id: document.cluster_id.into(), broker_id: BrokerId(document.broker_id) },
        Change::ProducerIdsBelow(document.producer_ids_below),
        about.change(),
    ];
    for topic in document.topics {
        let id = Uuid::parse(&topic.topic_id)
            .ok_or_else(|| format!("topic {}: `{}` is no topic id", topic.name, topic.topic_id))?;
        let placements = topic.partitions.iter().map(|part| Placement {
            replicas: part.replicas.iter().copied().map(BrokerId).collect(),
            led: part.leader.map(|leader| Led {
                leader: (leader >= 0).then_some(BrokerId(leader)),
                isr: part.isr.iter().copied().map(BrokerId).collect(),
                controller_epoch: part.state_controller_epoch,
                recovering: false,
                version: part.state_version,
            }),
        });
        changes.push(Change::TopicAdded(Arc::new(StoredTopic {
            id,
            name: topic.name.into(),
            leader_epochs: topic.partitions.iter().map(|part| part.leader_epoch).collect(),
            since: 0,
            overrides: topic.settings,
            placements: placements.collect(),
        })));
    }
    for (path, settings) in document.settings {
        changes.push(Change::SettingsSet { path: path.into(), settings });
    }
    let mut state = State::default();
    let _ = state.apply_all(&changes).map_err(|unfit| unfit.to_string())?;
    Ok(state)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state() -> State {
        let led = |leader: i32, version| Led {
            leader: (leader >= 0).then_some(BrokerId(leader)),
            isr: [BrokerId(1), BrokerId(2)].into(),
            controller_epoch: 4,
            recovering: false,
            version,
        };
        let place = |led| Placement { replicas: [BrokerId(1), BrokerId(2)].into(), led };
        let topic = StoredTopic {
            id: Uuid([7; 16]),
            name: "t".into(),
            leader_epochs: vec![3, 0, 9],
            since: 0,
            overrides: [("retention.ms".to_owned(), "5".to_owned())].into(),
            placements: vec![place(Some(led(1, 8))), place(None), place(Some(led(-1, 2)))],
        };
        let changes = [
            Change::Identity { cluster_id: "c".into(), broker_id: BrokerId(2) },
            Change::ProducerIdsBelow(4000),
            About { written_ms: 17, controller_epoch: 5 }.change(),
            Change::TopicAdded(Arc::new(topic)),
            Change::SettingsSet {
                path: "users/a/clients/<default>".into(),
                settings: [("producer_byte_rate".to_owned(), "1.0".to_owned())].into(),
            },
        ];
        let mut state = State::default();
        let _ = state.apply_all(&changes).unwrap();
        state
    }

    #[test]
    fn a_document_leads_back_to_its_state() {
        assert_eq!(read(&write(&state())).unwrap(), state());
    }

    #[test]
    fn a_document_that_is_not_understood_is_refused() {
        let text = write(&state());
        for (from, to, why) in [
            ("\"format\": 1", "\"format\": 2", "format 2"),
            ("\"topic_id\": \"B", "\"topic_id\": \"", "is no topic id"),
            ("\"producer_ids_below\"", "\"other\"", "unknown field `other`"),
            ("\"written_ms\": 17,", "", "missing field `written_ms`"),
        ] {
            let said = read(&text.replacen(from, to, 1)).unwrap_err();
            assert!(said.contains(why), "{said}");
        }
        assert!(read(&text[..text.len() / 2]).unwrap_err().contains("EOF"));
    }
}
