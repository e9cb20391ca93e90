//! One broker on a real ZooKeeper: what it writes there, what old tools write there and it follows, and what it does when
//! ZooKeeper is gone, was emptied, or says what it must not believe.

mod outside;

use std::collections::BTreeMap;

use outside::group::Who;
use outside::process::Broker;
use outside::zookeeper::{Ensemble, missing};
use outside::zookeeper_cluster::{Shell, produce, settings, values, wait};
use outside::{Folder, java, skip};
use ringdaw::metadata::zookeeper::jute::Mode;
use ringdaw::wire::message::Message;
use ringdaw::wire::message::leader_and_isr::{
    LeaderAndIsrRequest, LeaderAndIsrRequestPartitionState, LeaderAndIsrRequestTopicState,
    LeaderAndIsrResponse,
};
use ringdaw::wire::primitive::{Reader, Uuid};
use serde_json::json;

#[test]
fn a_broker_writes_what_java_writes_and_serves_as_on_its_own_store() {
    const NAME: &str = "a_broker_writes_what_java_writes_and_serves_as_on_its_own_store";
    if let Some(why) = missing() {
        return skip(NAME, &why);
    }
    let folder = Folder::new("zk-broker");
    let ensemble = Ensemble::start(folder.path(), 1);
    let connect = format!("{}/kafka/one", ensemble.connect());
    let settings = settings(&connect, &[("broker.rack", "r1")]);
    let shell = Shell::new(&ensemble, "/kafka/one");
    let broker = Broker::start(&folder.join("one"), &settings);
    let port = broker.address.port();

    // The nodes of a new cluster (java-evidence, step start-first-broker).
    let mut found: BTreeMap<String, bool> = BTreeMap::new();
    for path in ringdaw::metadata::zookeeper::znode::PERSISTENT {
        found.insert(path.to_owned(), shell.exists(path));
    }
    assert!(found.values().all(|is_there| *is_there), "{found:?}");
    let node = shell.get("/brokers/ids/1").expect("the registration");
    let (head, timestamp) = node.split_once("\"timestamp\":").expect("a timestamp");
    let wanted = format!(
        "{{\"features\":{{}},\"listener_security_protocol_map\":{{\"PLAINTEXT\":\"PLAINTEXT\"}},\"endpoints\":[\"PLAINTEXT://127.0.0.1:{port}\"],\"rack\":\"r1\",\"jmx_port\":-1,\"port\":{port},\"host\":\"127.0.0.1\",\"version\":5,"
    );
    assert_eq!(head, wanted);
    assert!(timestamp.trim_matches(['"', '}']).parse::<i64>().is_ok(), "{timestamp}");
    assert_eq!(shell.json("/controller")["brokerid"], 1);
    assert_eq!(shell.get("/controller_epoch").as_deref(), Some("1"));
    assert_eq!(shell.get("/feature").as_deref(), Some("{\"features\":{},\"version\":2,\"status\":1}"));
    let cluster = shell.json("/cluster/id")["id"].as_str().expect("an id").to_owned();
    assert_eq!(cluster.len(), 22);
    let meta = std::fs::read_to_string(folder.join("one/data/meta.properties")).expect("meta.properties");
    assert!(meta.contains(&format!("cluster.id={cluster}")), "{meta}");

    // A topic, its settings, its states.
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("t", 3, &[("retention.ms", "86400000")]).expect("CreateTopics"), 0);
    assert_eq!(client.create_topic("t", 3, &[]).expect("CreateTopics"), 36, "it exists");
    assert_eq!(
        shell.get("/config/topics/t").as_deref(),
        Some("{\"version\":1,\"config\":{\"retention.ms\":\"86400000\"}}")
    );
    let topic = shell.get("/brokers/topics/t").expect("the topic");
    let id = shell.json("/brokers/topics/t")["topic_id"].as_str().expect("an id").to_owned();
    assert_eq!(
        topic,
        format!(
            "{{\"partitions\":{{\"0\":[1],\"1\":[1],\"2\":[1]}},\"topic_id\":\"{id}\",\"adding_replicas\":{{}},\"removing_replicas\":{{}},\"version\":3}}"
        )
    );
    for partition in 0..3 {
        assert_eq!(
            shell.get(&format!("/brokers/topics/t/partitions/{partition}/state")).as_deref(),
            Some("{\"controller_epoch\":1,\"leader\":1,\"version\":1,\"leader_epoch\":0,\"isr\":[1]}")
        );
    }
    assert_eq!(produce(&mut client, "t", 1, "one"), 0);
    assert_eq!(produce(&mut client, "t", 1, "two"), 1);
    assert_eq!(values(&mut client, "t", 1), ["one", "two"]);

    // Producer ids come from a block that the node names.
    assert_eq!(client.new_producer_id().expect("InitProducerId"), 0);
    assert_eq!(client.new_producer_id().expect("InitProducerId"), 1);
    assert_eq!(
        shell.get("/latest_producer_id_block").as_deref(),
        Some("{\"version\":1,\"broker\":1,\"block_start\":\"0\",\"block_end\":\"999\"}")
    );

    // Groups keep their offsets in a topic that is made when it is asked for.
    let nobody = Who { generation: -1, ..Default::default() };
    client.await_coordinator("g");
    assert_eq!(client.commit("g", &nobody, "t", 1, 2).expect("OffsetCommit"), 0);
    assert_eq!(
        shell.get("/config/topics/__consumer_offsets").as_deref(),
        Some(
            "{\"version\":1,\"config\":{\"compression.type\":\"producer\",\"cleanup.policy\":\"compact\",\"segment.bytes\":\"104857600\"}}"
        )
    );
    assert_eq!(shell.children("/brokers/topics/__consumer_offsets/partitions"), ["0", "1", "2"]);

    // A deletion leaves nothing.
    assert_eq!(client.create_topic("gone", 2, &[]).expect("CreateTopics"), 0);
    assert_eq!(client.delete_topic("gone").expect("DeleteTopics"), 0);
    for path in ["/brokers/topics/gone", "/config/topics/gone", "/admin/delete_topics/gone"] {
        assert!(!shell.exists(path), "{path} is left");
    }

    // A clean stop ends the session at once; the next start finds everything.
    broker.stop();
    assert_eq!((shell.exists("/brokers/ids/1"), shell.exists("/controller")), (false, false));
    let broker = Broker::start(&folder.join("one"), &settings);
    let mut client = broker.client().expect("a connection");
    assert_eq!(shell.get("/controller_epoch").as_deref(), Some("2"));
    assert_eq!(values(&mut client, "t", 1), ["one", "two"]);
    client.await_coordinator("g");
    assert_eq!(client.committed("g").expect("OffsetFetch").1[0].2, 2);
    assert_eq!(client.new_producer_id().expect("InitProducerId"), 1000, "a new block");
    assert_eq!(produce(&mut client, "t", 1, "three"), 2);

    // After kill -9 the old registration is waited for, not fallen over.
    broker.kill();
    let broker = Broker::start(&folder.join("one"), &settings);
    let mut client = broker.client().expect("a connection");
    assert_eq!(values(&mut client, "t", 1), ["one", "two", "three"]);
    assert_eq!(shell.get("/controller_epoch").as_deref(), Some("3"));
    broker.stop();
}

/// Shapes of nodes at older protocols (java-evidence, ibp-sweep-znodes), and the step from them to topics with ids.
#[test]
fn older_protocols_have_their_own_nodes_and_topics_get_ids_when_they_are_left() {
    const NAME: &str = "older_protocols_have_their_own_nodes_and_topics_get_ids_when_they_are_left";
    if let Some(why) = missing() {
        return skip(NAME, &why);
    }
    let folder = Folder::new("zk-protocols");
    let ensemble = Ensemble::start(folder.path(), 1);
    for (protocol, broker_version, feature, block) in [
        ("1.0", 4, "{\"features\":{},\"version\":1,\"status\":0}", true),
        ("2.6", 4, "{\"features\":{},\"version\":1,\"status\":0}", true),
        ("2.8", 5, "{\"features\":{},\"version\":1,\"status\":1}", true),
        ("3.3", 5, "{\"features\":{},\"version\":2,\"status\":1}", false),
    ] {
        let chroot = format!("/p{protocol}");
        let connect = format!("{}{chroot}", ensemble.connect());
        let shell = Shell::new(&ensemble, &chroot);
        let place = folder.join(protocol);
        let broker =
            Broker::start(&place, &settings(&connect, &[("inter.broker.protocol.version", protocol)]));
        let node = shell.json("/brokers/ids/1");
        assert_eq!(node["version"], broker_version, "{protocol}");
        assert_eq!(node.get("features").is_some(), broker_version == 5, "{protocol}");
        assert_eq!(shell.get("/feature").as_deref(), Some(feature), "{protocol}");
        let claimed = shell.get("/latest_producer_id_block").expect("the node");
        assert_eq!(claimed.contains("\"block_end\":\"999\""), block, "{protocol}: {claimed}");
        let mut client = broker.client().expect("a connection");
        assert_eq!(client.create_topic("t", 1, &[]).expect("CreateTopics"), 0);
        assert_eq!(client.create_topic("u", 1, &[]).expect("CreateTopics"), 0);
        assert_eq!(client.delete_topic("u").expect("DeleteTopics"), 0);
        assert_eq!(produce(&mut client, "t", 0, "one"), 0);
        assert_eq!(client.new_producer_id().expect("InitProducerId"), 0, "{protocol}");
        let topic = shell.get("/brokers/topics/t").expect("the topic");
        let has_id = protocol >= "2.8";
        assert_eq!(topic.contains("topic_id"), has_id, "{protocol}: {topic}");
        if !has_id {
            assert_eq!(
                topic,
                "{\"partitions\":{\"0\":[1]},\"adding_replicas\":{},\"removing_replicas\":{},\"version\":3}"
            );
        }
        let id_file = place.join("data/t-0/partition.metadata");
        assert_eq!(id_file.exists(), has_id, "{protocol}");
        broker.stop();

        let broker = Broker::start(&place, &settings(&connect, &[]));
        let mut client = broker.client().expect("a connection");
        let id = shell.json("/brokers/topics/t")["topic_id"].as_str().expect("an id").to_owned();
        let kept = std::fs::read_to_string(&id_file).expect("partition.metadata");
        assert!(kept.contains(&format!("topic_id: {id}")), "{protocol}: {kept}");
        assert_eq!(values(&mut client, "t", 0), ["one"], "{protocol}");
        assert_eq!(produce(&mut client, "t", 0, "two"), 1, "{protocol}");
        broker.stop();
    }
}

#[test]
fn what_tools_of_1_0_write_into_zookeeper_is_followed() {
    const NAME: &str = "what_tools_of_1_0_write_into_zookeeper_is_followed";
    if let Some(why) = missing().or_else(|| java::missing_release("1.0.0")) {
        return skip(NAME, &why);
    }
    let folder = Folder::new("zk-old-tools");
    let ensemble = Ensemble::start(folder.path(), 1);
    let connect = format!("{}/k", ensemble.connect());
    let broker = Broker::start(&folder.join("one"), &settings(&connect, &[]));
    let shell = Shell::new(&ensemble, "/k");
    let mut client = broker.client().expect("a connection");
    let tool = |class: &str, arguments: &[&str]| {
        let mut all = vec!["--zookeeper", &connect];
        all.extend_from_slice(arguments);
        java::run_of("1.0.0", class, &all, "")
    };
    let topics = "kafka.admin.TopicCommand";
    let said = tool(
        topics,
        &[
            "--create",
            "--topic",
            "old",
            "--partitions",
            "2",
            "--replication-factor",
            "1",
            "--config",
            "retention.ms=1000000",
        ],
    );
    assert!(said.contains("Created topic \"old\"."), "{said}");
    wait("the topic", || client.topics().expect("Metadata").get("old") == Some(&2));
    assert_eq!(produce(&mut client, "old", 1, "a"), 0);
    // It came without an id and has one now; its states are written.
    assert_eq!(shell.json("/brokers/topics/old")["version"], 3);
    assert_eq!(shell.json("/brokers/topics/old/partitions/1/state")["leader"], 1);
    let said = tool(topics, &["--describe", "--topic", "old"]);
    assert!(said.contains("Partition: 1\tLeader: 1\tReplicas: 1\tIsr: 1"), "{said}");

    tool(topics, &["--alter", "--topic", "old", "--partitions", "4"]);
    wait("more partitions", || client.topics().expect("Metadata").get("old") == Some(&4));
    assert_eq!(produce(&mut client, "old", 3, "b"), 0);
    let node = shell.json("/brokers/topics/old");
    assert_eq!(node["partitions"]["3"], json!([1]));

    let configs = "kafka.admin.ConfigCommand";
    tool(
        configs,
        &[
            "--alter",
            "--entity-type",
            "topics",
            "--entity-name",
            "old",
            "--add-config",
            "retention.ms=7777777",
        ],
    );
    tool(
        configs,
        &[
            "--alter",
            "--entity-type",
            "clients",
            "--entity-name",
            "c 1",
            "--add-config",
            "producer_byte_rate=1048576",
        ],
    );
    let described = |name: &str| {
        java::run(
            "kafka.admin.ConfigCommand",
            &[
                "--bootstrap-server",
                &broker.address.to_string(),
                "--describe",
                "--entity-type",
                name.split('/').next().unwrap_or(name),
                "--entity-name",
                name.split('/').next_back().unwrap_or(name),
            ],
            "",
        )
    };
    if java::missing().is_none() {
        wait("the setting", || described("topics/old").contains("retention.ms=7777777"));
        wait("the quota", || described("clients/c 1").contains("producer_byte_rate=1048576"));
    }

    tool(topics, &["--delete", "--topic", "old"]);
    wait("the deletion", || !client.topics().expect("Metadata").contains_key("old"));
    wait("its nodes", || {
        !["/brokers/topics/old", "/config/topics/old", "/admin/delete_topics/old"]
            .iter()
            .any(|p| shell.exists(p))
    });
    assert!(!folder.join("one/data/old-1").exists());
    broker.stop();
}

#[test]
fn nodes_changed_by_hand_are_followed_or_named() {
    const NAME: &str = "nodes_changed_by_hand_are_followed_or_named";
    if let Some(why) = missing() {
        return skip(NAME, &why);
    }
    let folder = Folder::new("zk-by-hand");
    let ensemble = Ensemble::start(folder.path(), 1);
    let connect = format!("{}/k", ensemble.connect());
    let settings = settings(&connect, &[]);
    let shell = Shell::new(&ensemble, "/k");
    let broker = Broker::start(&folder.join("one"), &settings);
    let mut client = broker.client().expect("a connection");
    for topic in ["good", "lost", "damaged"] {
        assert_eq!(client.create_topic(topic, 1, &[]).expect("CreateTopics"), 0);
        assert_eq!(produce(&mut client, topic, 0, topic), 0);
    }
    let logged = |what: &str| wait(what, || broker.log().contains(what));

    // A node that is not JSON, or of an unknown version, is named and changes nothing.
    shell.set("/brokers/topics/damaged", "{\"version\":3,\"partit");
    logged("ZooKeeper node /brokers/topics/damaged: it is not JSON");
    shell.set("/brokers/topics/damaged", "{\"version\":0,\"partitions\":{\"0\":[1]}}");
    logged("ZooKeeper node /brokers/topics/damaged: version 0 is unknown");
    assert_eq!(values(&mut client, "damaged", 0), ["damaged"]);
    // One that moves partitions is not followed, as in Kafka: that is asked for elsewhere.
    shell.set("/brokers/topics/good", "{\"version\":1,\"partitions\":{\"0\":[9]}}");
    assert_eq!(produce(&mut client, "good", 0, "more"), 1);
    // A topic whose nodes are torn out is served on, and nothing of it is removed.
    for path in ["partitions/0/state", "partitions/0", "partitions"] {
        shell.delete(&format!("/brokers/topics/lost/{path}"));
    }
    shell.delete("/brokers/topics/lost");
    logged("a topic's node is gone, but nobody asked for it to be deleted");
    assert_eq!(produce(&mut client, "lost", 0, "more"), 1);
    // Notes that cannot be read are passed over; the next one counts.
    let note = "/config/changes/config_change_";
    shell.create(note, Some("not json"), Mode::PersistentSequential);
    shell.create(note, Some("{\"version\":7}"), Mode::PersistentSequential);
    shell.set("/config/topics/good", "{\"version\":1,\"config\":{\"retention.ms\":\"5000000\"}}");
    let entity = "{\"version\":1,\"entity_type\":\"topics\",\"entity_name\":\"good\"}";
    shell.create(note, Some(entity), Mode::PersistentSequential);
    logged("it is not JSON: expected");
    logged("version 7 is unknown");
    // Requests for what is not there, or is done, go away.
    shell.create("/admin/delete_topics/never-was", Some(""), Mode::Persistent);
    let election = "{\"version\":1,\"partitions\":[{\"topic\":\"good\",\"partition\":0}]}";
    shell.create("/admin/preferred_replica_election", Some(election), Mode::Persistent);
    let moves = "{\"version\":1,\"partitions\":[{\"topic\":\"good\",\"partition\":0,\"replicas\":[1]},{\"topic\":\"x\",\"partition\":0,\"replicas\":[4]}]}";
    shell.create("/admin/reassign_partitions", Some(moves), Mode::Persistent);
    shell.create("/isr_change_notification/isr_change_", Some(election), Mode::PersistentSequential);
    let event = "{\"version\":1,\"broker\":1,\"event\":1}";
    shell.create("/log_dir_event_notification/log_dir_event_", Some(event), Mode::PersistentSequential);
    wait("the requests to go", || {
        shell.children("/admin") == ["delete_topics"]
            && shell.children("/admin/delete_topics").is_empty()
            && shell.children("/isr_change_notification").is_empty()
            && shell.children("/log_dir_event_notification").is_empty()
    });
    // Another topic still works.
    assert_eq!(client.create_topic("after", 1, &[]).expect("CreateTopics"), 0);
    assert_eq!(produce(&mut client, "after", 0, "a"), 0);

    // The office is lost with its node, and won again at once.
    shell.delete("/controller");
    wait("the next election", || shell.get("/controller_epoch").as_deref() == Some("2"));
    wait("the office", || client.create_topic("later", 1, &[]).expect("CreateTopics") == 0);
    assert_eq!(shell.json("/brokers/topics/later/partitions/0/state")["controller_epoch"], 2);
    // A leader that was struck out is elected again at the next office, one epoch on.
    let struck =
        "{\"controller_epoch\":2,\"leader\":-1,\"version\":1,\"leader_epoch\":7,\"isr\":[1],\"mine\":true}";
    shell.set("/brokers/topics/later/partitions/0/state", struck);
    shell.create(
        "/isr_change_notification/isr_change_",
        Some("{\"version\":1,\"partitions\":[{\"topic\":\"later\",\"partition\":0}]}"),
        Mode::PersistentSequential,
    );
    shell.delete("/controller");
    wait("a leader", || shell.json("/brokers/topics/later/partitions/0/state")["leader"] == 1);
    let state = shell.json("/brokers/topics/later/partitions/0/state");
    assert_eq!(
        (&state["leader_epoch"], &state["controller_epoch"], &state["mine"]),
        (&json!(8), &json!(3), &json!(true))
    );
    assert_eq!(produce(&mut client, "later", 0, "x"), 0);
    broker.stop();

    // A start meets the same damage: what can be read is served.
    shell.set("/brokers/topics/after/partitions/0/state", "]");
    let broker = Broker::start(&folder.join("one"), &settings);
    let mut client = broker.client().expect("a connection");
    let log = broker.log();
    for what in [
        "/brokers/topics/damaged: version 0 is unknown",
        "topic damaged is not served until it can be read",
        "/brokers/topics/after/partitions/0/state: it is not JSON",
        "no topic of this broker: left alone",
    ] {
        assert!(log.contains(what), "{what}:\n{log}");
    }
    assert_eq!(values(&mut client, "later", 0), ["x"]);
    assert!(folder.join("one/data/damaged-0").exists() && folder.join("one/data/lost-0").exists());
    broker.stop();
}

#[test]
fn a_broker_that_must_not_join_is_refused_in_one_sentence() {
    const NAME: &str = "a_broker_that_must_not_join_is_refused_in_one_sentence";
    if let Some(why) = missing() {
        return skip(NAME, &why);
    }
    let folder = Folder::new("zk-refused");
    // Nobody there: the wait of zookeeper.connection.timeout.ms, then one sentence.
    let port = outside::process::free_port();
    let nowhere = format!("127.0.0.1:{port}");
    let refused = Broker::refused(
        &folder.join("none"),
        &settings(&nowhere, &[("zookeeper.connection.timeout.ms", "1500")]),
    );
    assert_eq!(refused.status.code(), Some(1), "{}", refused.log);
    let wanted = format!(
        "no ZooKeeper server of {nowhere} could be reached within 1500 ms (zookeeper.connection.timeout.ms)"
    );
    assert!(refused.log.contains(&wanted), "{}", refused.log);

    let ensemble = Ensemble::start(folder.path(), 1);
    let connect = format!("{}/k", ensemble.connect());
    let settings = |more: &[(&'static str, &'static str)]| {
        let mut all = settings(&connect, &[]).into_iter().map(|(k, v)| (k, v.to_owned())).collect::<Vec<_>>();
        all.extend(more.iter().map(|(k, v)| (*k, (*v).to_owned())));
        all
    };
    let refuse = |name: &str, settings: &[(&str, String)], code: i32, what: &str| {
        let settings: Vec<(&str, &str)> = settings.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let refused = Broker::refused(&folder.join(name), &settings);
        assert_eq!(refused.status.code(), Some(code), "{}", refused.log);
        assert!(refused.log.contains(what), "{what}:\n{}", refused.log);
    };
    let start = |name: &str, settings: &[(&str, String)]| {
        let settings: Vec<(&str, &str)> = settings.iter().map(|(k, v)| (*k, v.as_str())).collect();
        Broker::start(&folder.join(name), &settings)
    };
    refuse("acl", &settings(&[("zookeeper.set.acl", "true")]), 2, "zookeeper.set.acl is true, but");

    // An id is made from 1001 on, and kept.
    let shell = Shell::new(&ensemble, "/k");
    let broker = start("first", &settings(&[("broker.id", "-1")]));
    assert!(shell.exists("/brokers/ids/1001"));
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("t", 1, &[]).expect("CreateTopics"), 0);

    // The same id from another directory, and another broker beside this one.
    refuse(
        "second",
        &settings(&[("broker.id", "1001"), ("reserved.broker.max.id", "2000")]),
        1,
        "broker.id 1001 is taken: /brokers/ids/1001 is registered by PLAINTEXT://127.0.0.1:",
    );
    let third = start("third", &settings(&[("broker.id", "7")]));
    assert!(shell.exists("/brokers/ids/7"));
    third.stop();
    wait("its registration to go", || !shell.exists("/brokers/ids/7"));
    assert_eq!(produce(&mut client, "t", 0, "kept"), 0);
    broker.stop();
    let broker = start("first", &settings(&[("broker.id", "-1")]));
    assert!(shell.exists("/brokers/ids/1001"), "the id of meta.properties");
    broker.stop();

    // The logs of one cluster under another, and under an ensemble that has lost its data.
    let mut other = settings(&[("broker.id", "-1")]);
    other.push(("zookeeper.connect", format!("{}/other", ensemble.connect())));
    let meta = std::fs::read_to_string(folder.join("first/data/meta.properties")).expect("meta.properties");
    let cluster =
        meta.lines().find_map(|line| line.strip_prefix("cluster.id=")).expect("the cluster").to_owned();
    let empty = format!(
        "belongs to cluster {cluster}, but ZooKeeper at {}/other holds no cluster at all",
        ensemble.connect()
    );
    refuse("first", &other, 1, &empty);
    assert!(!Shell::new(&ensemble, "").exists("/other"), "nothing is made there");
    let mut fresh = other.clone();
    fresh.retain(|(key, _)| *key != "broker.id");
    start("fresh", &fresh).stop();
    refuse(
        "first",
        &other,
        1,
        &format!(
            "belongs to cluster {cluster}, but ZooKeeper at {}/other holds cluster ",
            ensemble.connect()
        ),
    );
    // A controller of KRaft owns the cluster during a migration: no broker of this build serves under it.
    let kraft = "{\"version\":2,\"brokerid\":3000,\"timestamp\":\"1\",\"kraftControllerEpoch\":5}";
    shell.create("/controller", Some(kraft), Mode::Persistent);
    refuse("first", &settings(&[("broker.id", "-1")]), 1, "a KRaft controller owns the cluster");
}

#[test]
fn a_broker_outlives_its_zookeeper_and_its_session() {
    const NAME: &str = "a_broker_outlives_its_zookeeper_and_its_session";
    if let Some(why) = missing() {
        return skip(NAME, &why);
    }
    let folder = Folder::new("zk-away");
    let mut ensemble = Ensemble::start(folder.path(), 1);
    let connect = ensemble.connect();
    let broker = Broker::start(&folder.join("one"), &settings(&connect, &[]));
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("t", 1, &[]).expect("CreateTopics"), 0);
    assert_eq!(produce(&mut client, "t", 0, "before"), 0);

    // Gone: what needs no metadata goes on, what does is refused with a code that says to try again.
    ensemble.servers[0].kill();
    wait("the loss to be seen", || broker.log().contains("the connection to ZooKeeper is lost"));
    assert_eq!(produce(&mut client, "t", 0, "meanwhile"), 1);
    assert_eq!(values(&mut client, "t", 0), ["before", "meanwhile"]);
    assert_eq!(client.topics().expect("Metadata").len(), 1);
    let code = client.create_topic("new", 1, &[]).expect("CreateTopics");
    // Where a step of the controller was under way it has left office.
    assert!(matches!(code, 7 | 41), "REQUEST_TIMED_OUT or NOT_CONTROLLER, not {code}");

    // Back before the session ends, and then a session that ends: registered again, elected again, still serving.
    ensemble.servers[0].start();
    ensemble.servers[0].wait();
    wait("a topic again", || client.create_topic("new", 1, &[]).is_ok_and(|code| code == 0 || code == 36));
    assert_eq!(produce(&mut client, "new", 0, "a"), 0);
    let shell = Shell::new(&ensemble, "");
    let epoch =
        || shell.get("/controller_epoch").and_then(|text| text.parse::<i32>().ok()).expect("an epoch");
    let before = epoch();
    outside::process::pause(broker.pid());
    wait("the session to expire", || !shell.exists("/brokers/ids/1"));
    assert!(!shell.exists("/controller"));
    // While it is away, somebody makes a topic and grows another.
    shell.create("/config/topics/by-hand", Some("{\"version\":1,\"config\":{}}"), Mode::Persistent);
    shell.create(
        "/brokers/topics/by-hand",
        Some("{\"version\":1,\"partitions\":{\"0\":[1]}}"),
        Mode::Persistent,
    );
    outside::process::resume(broker.pid());
    wait("the registration", || shell.exists("/brokers/ids/1") && shell.exists("/controller"));
    assert_eq!(epoch(), before + 1);
    assert!(broker.log().contains("the session with ZooKeeper has expired"), "{}", broker.log());
    wait("the topic made meanwhile", || client.topics().expect("Metadata").contains_key("by-hand"));
    assert_eq!(produce(&mut client, "by-hand", 0, "b"), 0);
    assert_eq!(produce(&mut client, "t", 0, "after"), 2);
    assert_eq!(client.create_topic("newest", 1, &[]).expect("CreateTopics"), 0);
    broker.stop();
}

/// Anybody who reaches the broker can claim to be its controller.
#[test]
fn what_no_controller_can_mean_is_refused_and_harms_nothing() {
    const NAME: &str = "what_no_controller_can_mean_is_refused_and_harms_nothing";
    if let Some(why) = missing() {
        return skip(NAME, &why);
    }
    let folder = Folder::new("zk-impostor");
    let ensemble = Ensemble::start(folder.path(), 1);
    let connect = format!("{}/k", ensemble.connect());
    let broker = Broker::start(&folder.join("one"), &settings(&connect, &[]));
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("t", 1, &[]).expect("CreateTopics"), 0);
    assert_eq!(produce(&mut client, "t", 0, "one"), 0);
    let mut tell = |controller_epoch: i32, broker_epoch: i64, topic: &str, partition: i32| {
        let state = LeaderAndIsrRequestPartitionState {
            partition_index: partition,
            leader: 1,
            leader_epoch: 7,
            isr: vec![1].into(),
            replicas: vec![1].into(),
            is_new: true,
            ..Default::default()
        };
        let states = LeaderAndIsrRequestTopicState {
            topic_name: topic,
            topic_id: Uuid([7; 16]),
            partition_states: vec![state].into(),
        };
        let request = LeaderAndIsrRequest {
            controller_id: 1,
            controller_epoch,
            broker_epoch,
            topic_states: vec![states].into(),
            ..Default::default()
        };
        // Both headers end with the tagged fields of flexible versions: none.
        let mut body = vec![0];
        request.encode(&mut body, 7);
        let answer = client.call(LeaderAndIsrRequest::KEY, 7, &body).expect("an answer");
        let answer = LeaderAndIsrResponse::decode(&mut Reader::new(&answer[1..]), 7).expect("LeaderAndIsr");
        let first = answer.topics.first().and_then(|topic| topic.partition_errors.first());
        (answer.error_code, first.map(|partition| partition.error_code))
    };
    assert_eq!(tell(0, -1, "t", 0), (11, None), "STALE_CONTROLLER_EPOCH");
    assert_eq!(tell(1, 0, "t", 0), (77, None), "STALE_BROKER_EPOCH");
    assert_eq!(tell(1, -1, "../outside", 0), (0, Some(17)), "INVALID_TOPIC_EXCEPTION");
    assert_eq!(tell(1, -1, "many", i32::MAX), (0, Some(3)), "UNKNOWN_TOPIC_OR_PARTITION");
    assert_eq!(tell(1, -1, "many", -1), (0, Some(3)), "UNKNOWN_TOPIC_OR_PARTITION");
    assert_eq!(tell(1, -1, "t", 0), (0, Some(103)), "INCONSISTENT_TOPIC_ID");
    assert!(!folder.join("one/outside-0").exists() && !folder.join("one/data/many-0").exists());
    let mut client = broker.client().expect("a connection");
    assert_eq!(produce(&mut client, "t", 0, "two"), 1);
    assert_eq!(values(&mut client, "t", 0), ["one", "two"]);
    broker.stop();
}
