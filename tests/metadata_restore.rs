//! ZooKeeper loses everything while a broker runs: nothing that was acknowledged is lost, and the cluster goes on.

mod outside;

use std::path::Path;
use std::process::{Command, Output};

use outside::group::Who;
use outside::process::{Broker, binary};
use outside::zookeeper::{Ensemble, missing};
use outside::zookeeper_cluster::{Shell, produce, settings, values, wait};
use outside::{Folder, skip};

fn metadata(arguments: &[&str]) -> Output {
    Command::new(binary()).arg("metadata").args(arguments).output().expect("the tool")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

#[test]
fn a_wiped_ensemble_is_written_again_and_no_record_is_lost() {
    const NAME: &str = "a_wiped_ensemble_is_written_again_and_no_record_is_lost";
    if let Some(why) = missing() {
        return skip(NAME, &why);
    }
    let folder = Folder::new("zk-wiped");
    let mut ensemble = Ensemble::start(folder.path(), 3);
    let connect = format!("{}/k", ensemble.connect());
    let settings = settings(&connect, &[]);
    let broker = Broker::start(&folder.join("one"), &settings);
    let data = text(&folder.join("one/data"));
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("t", 2, &[("retention.ms", "86400000")]).expect("CreateTopics"), 0);
    assert_eq!(client.create_topic("gone", 1, &[]).expect("CreateTopics"), 0);
    assert_eq!(client.delete_topic("gone").expect("DeleteTopics"), 0);
    assert_eq!(produce(&mut client, "t", 1, "one"), 0);
    assert_eq!(client.new_producer_id().expect("InitProducerId"), 0);
    let nobody = Who { generation: -1, ..Default::default() };
    client.await_coordinator("g");
    assert_eq!(client.commit("g", &nobody, "t", 1, 1).expect("OffsetCommit"), 0);

    // The copy keeps up with the ensemble, and a document of it says the same.
    let checked = metadata(&["check", &data, "--zookeeper", &connect]);
    assert!(checked.status.success(), "{}", said(&checked));
    assert!(said(&checked).contains("agree: cluster "), "{}", said(&checked));
    let document = text(&folder.join("cluster.json"));
    let exported = metadata(&["export", &data, "--output", &document]);
    assert!(exported.status.success(), "{}", said(&exported));
    let shell = Shell::new(&ensemble, "/k");
    let topic = shell.get("/brokers/topics/t").expect("the topic");
    let cluster = shell.get("/cluster/id").expect("the cluster");
    shell.set("/config/topics/t", "{\"version\":1,\"config\":{\"retention.ms\":\"1\"}}");
    let differs = metadata(&["check", &document, "--zookeeper", &connect]);
    assert_eq!(
        (differs.status.code(), said(&differs).trim()),
        (Some(1), "topic t: its settings are not the same")
    );
    let living = metadata(&["restore", &data, "--zookeeper", &connect]);
    assert_eq!(living.status.code(), Some(1));
    assert!(said(&living).contains("holds a cluster already"), "{}", said(&living));
    drop(shell);

    // Everything is gone. The broker serves on, and neither it nor another start of it begins anew.
    ensemble.servers.iter_mut().for_each(|server| server.kill());
    ensemble.servers.iter().for_each(|server| server.wipe());
    ensemble.servers.iter_mut().for_each(|server| server.start());
    ensemble.servers.iter().for_each(|server| server.wait());
    assert_eq!(produce(&mut client, "t", 1, "two"), 1);
    wait("the loss to be named", || broker.log().contains("ZooKeeper has lost cluster"));
    assert!(broker.log().contains("`ringdaw metadata restore`"));
    assert_eq!(produce(&mut client, "t", 1, "three"), 2);
    let shell = Shell::new(&ensemble, "");
    assert!(!shell.exists("/k"), "nothing is made in an empty ensemble");

    // Written back under the running broker, which joins again and goes on.
    let restored = metadata(&["restore", &data, "--zookeeper", &connect]);
    assert!(restored.status.success(), "{}", said(&restored));
    let shell = Shell::new(&ensemble, "/k");
    wait("the broker to join", || shell.exists("/brokers/ids/1") && shell.exists("/controller"));
    assert_eq!(shell.get("/brokers/topics/t"), Some(topic));
    assert_eq!(shell.get("/cluster/id"), Some(cluster));
    assert!(!shell.exists("/brokers/topics/gone"));
    let state = shell.json("/brokers/topics/t/partitions/1/state");
    assert!(state["leader_epoch"].as_i64() > Some(0), "{state}");
    assert!(shell.get("/controller_epoch").and_then(|text| text.parse::<i32>().ok()) > Some(1));
    wait("a topic", || client.create_topic("after", 1, &[]).is_ok_and(|code| code == 0 || code == 36));
    assert_eq!(produce(&mut client, "t", 1, "four"), 3);
    assert_eq!(values(&mut client, "t", 1), ["one", "two", "three", "four"]);
    broker.stop();

    // And the next start finds a whole cluster: records, groups, settings, ids that were never given before.
    let broker = Broker::start(&folder.join("one"), &settings);
    let mut client = broker.client().expect("a connection");
    assert_eq!(values(&mut client, "t", 1), ["one", "two", "three", "four"]);
    client.await_coordinator("g");
    assert_eq!(client.committed("g").expect("OffsetFetch").1[0].2, 1);
    assert!(client.new_producer_id().expect("InitProducerId") >= 1000);
    let checked = metadata(&["check", &data, "--zookeeper", &connect]);
    assert!(checked.status.success(), "{}", said(&checked));
    broker.stop();
}

#[test]
fn a_broker_that_kept_its_own_metadata_moves_to_zookeeper_with_its_topics() {
    const NAME: &str = "a_broker_that_kept_its_own_metadata_moves_to_zookeeper_with_its_topics";
    if let Some(why) = missing() {
        return skip(NAME, &why);
    }
    let folder = Folder::new("zk-moved");
    let ensemble = Ensemble::start(folder.path(), 1);
    let connect = format!("{}/k", ensemble.connect());
    let place = folder.join("one");
    let broker = Broker::start(&place, &[]);
    let mut client = broker.client().expect("a connection");
    assert_eq!(client.create_topic("t", 2, &[("retention.ms", "86400000")]).expect("CreateTopics"), 0);
    assert_eq!(produce(&mut client, "t", 0, "one"), 0);
    broker.stop();
    let refused = Broker::refused(&place, &settings(&connect, &[]));
    assert!(refused.log.contains("holds no cluster at all"), "{}", refused.log);
    let data = text(&place.join("data"));
    let restored = metadata(&["restore", &data, "--zookeeper", &connect]);
    assert!(restored.status.success(), "{}", said(&restored));
    let broker = Broker::start(&place, &settings(&connect, &[]));
    let mut client = broker.client().expect("a connection");
    assert_eq!(values(&mut client, "t", 0), ["one"]);
    assert_eq!(produce(&mut client, "t", 0, "two"), 1);
    let shell = Shell::new(&ensemble, "/k");
    assert_eq!(shell.json("/config/topics/t")["config"]["retention.ms"], "86400000");
    broker.stop();
}
