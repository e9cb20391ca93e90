//! Partitions are put on brokers as Java puts them, number for number.
//!
//! `golden/assignments.jsonl.gz` is what `AdminUtils` of 3.9.1 answered to 600 drawn cases (`golden/java/Assignments.java`).

use std::io::Read;
use std::sync::Arc;

use ringdaw::controller::assignment::{Begin, Candidate, assign, begin_of_growth};
use ringdaw::ids::BrokerId;
use serde_json::Value;

#[test]
fn six_hundred_assignments_are_those_of_java() {
    let mut text = String::new();
    flate2::read::GzDecoder::new(&include_bytes!("golden/assignments.jsonl.gz")[..])
        .read_to_string(&mut text)
        .unwrap();
    let mut with_racks = 0;
    for line in text.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let number = |key: &str| case[key].as_u64().unwrap() as usize;
        let candidate = |value: &Value| Candidate {
            id: BrokerId(value[0].as_i64().unwrap() as i32),
            rack: value[1].as_str().map(Arc::from),
        };
        let mut candidates: Vec<Candidate> =
            case["brokers"].as_array().unwrap().iter().map(candidate).collect();
        candidates.reverse(); // the order they come in must not matter
        with_racks += usize::from(candidates[0].rack.is_some());
        let begin = Begin { index: number("index"), shift: number("index"), partition: number("first") };
        let made = assign(&candidates, number("partitions"), number("replicas"), begin).unwrap();
        let made: Vec<Vec<i32>> = made.iter().map(|ids| ids.iter().map(|id| id.0).collect()).collect();
        assert_eq!(serde_json::to_value(made).unwrap(), case["assigned"], "{line}");
    }
    assert!(with_racks > 300, "{with_racks}");
}

#[test]
fn added_partitions_begin_beside_the_first_leader() {
    let candidates: Vec<Candidate> = (1..=3).map(|id| Candidate { id: BrokerId(id), rack: None }).collect();
    assert_eq!(begin_of_growth(&candidates, BrokerId(2), 3), Begin { index: 1, shift: 1, partition: 3 });
    // The broker is gone: the next higher one, or the first.
    assert_eq!(begin_of_growth(&candidates[1..], BrokerId(1), 3).index, 0);
    assert_eq!(begin_of_growth(&candidates[..2], BrokerId(3), 3).index, 0);
}
