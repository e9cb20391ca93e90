//! A member of a consumer group, seen from the member: joins, takes its share, reports, commits, leaves (contract 6.1).
//!
//! In: topics, and the positions to commit. Out: the partitions it may read. Joining waits until the group is whole, on
//! a connection of its own. An answer that says the group moved on makes it join again; one that says it was replaced or
//! may not join is final.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use super::ConsumerSettings;
use super::assignor::{Assignor, Member, Shares, assign};
use crate::tools::client::{Client, ClientError, Connection};
use crate::tools::cluster::{Committer, Kind, TopicPartition, by_topic};
use crate::tools::{Ended, failed, java};
use crate::wire::error_code::ErrorCode;
use crate::wire::message::consumer_protocol::{Assignment, ConsumerPartitions, StickyUserData, Subscription};
use crate::wire::message::heartbeat::HeartbeatRequest;
use crate::wire::message::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use crate::wire::message::leave_group::{LeaveGroupRequest, LeaveGroupRequestMember};
use crate::wire::message::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};

const PROTOCOL_TYPE: &str = "consumer";
const PAUSE: Duration = Duration::from_millis(100);

pub struct Membership {
    group: String,
    instance: Option<String>,
    assignors: Vec<Assignor>,
    session_ms: i32,
    rebalance_ms: i32,
    heartbeat: Duration,
    topics: Vec<String>,
    member: String,
    generation: i32,
    /// The generation of `owned`, for those who share out by it.
    owned_generation: i32,
    owned: Vec<TopicPartition>,
    is_member: bool,
    /// Partition counts the last share was made with, while this member leads.
    led: Option<BTreeMap<String, i32>>,
    last_heartbeat: Instant,
    connection: Option<Connection>,
}

/// What a JoinGroup was answered with.
struct Joined {
    code: i16,
    generation: i32,
    protocol: String,
    member: String,
    is_leader: bool,
    skip_assignment: bool,
    members: Vec<(String, Option<String>, Vec<u8>)>,
}

fn partitions_of(owned: &[TopicPartition]) -> Vec<ConsumerPartitions<'_>> {
    let topics = by_topic(owned.iter().map(|at| (at.clone(), ())));
    topics
        .into_iter()
        .map(|(topic, partitions)| ConsumerPartitions {
            topic: topic.into(),
            partitions: partitions.into_iter().map(|(number, ())| number).collect(),
        })
        .collect()
}

impl Membership {
    pub fn new(group: &str, settings: &ConsumerSettings) -> Membership {
        Membership {
            group: group.to_owned(),
            instance: settings.instance.clone(),
            assignors: settings.assignors.clone(),
            session_ms: settings.session_ms,
            rebalance_ms: settings.rebalance_ms,
            heartbeat: settings.heartbeat,
            topics: Vec::new(),
            member: String::new(),
            generation: -1,
            owned_generation: -1,
            owned: Vec::new(),
            is_member: false,
            led: None,
            last_heartbeat: Instant::now(),
            connection: None,
        }
    }

    pub fn group(&self) -> &str {
        &self.group
    }

    /// It has a share, and nobody has said that it is out of date.
    pub fn is_member(&self) -> bool {
        self.is_member
    }

    /// Keeps what it holds through a rebalance, because all its ways of sharing out allow that.
    pub fn is_cooperative(&self) -> bool {
        self.assignors.iter().all(|assignor| assignor.is_cooperative())
    }

    /// What it reads. A change, or for the leader a topic that grew, makes it join again.
    pub fn subscribe(&mut self, topics: Vec<String>, client: &mut Client) -> Result<(), Ended> {
        let is_new = topics != self.topics;
        self.topics = topics;
        if let Some(led) = &self.led {
            let names: Vec<&str> = led.keys().map(String::as_str).collect();
            if counts(client, &names)? != *led {
                self.is_member = false;
            }
        }
        if is_new {
            self.is_member = false;
        }
        Ok(())
    }

    fn call<T>(
        &mut self,
        client: &mut Client,
        ask: impl Fn(&mut Connection) -> Result<T, ClientError>,
    ) -> Result<T, Ended> {
        let deadline = Instant::now() + client.timeout;
        loop {
            if self.connection.is_none() {
                let address = client.coordinator(&self.group, Kind::Group)?.address();
                match client.open(&address) {
                    Ok(mut connection) => {
                        // The group is whole when its slowest member is there.
                        let patience = Duration::from_millis(self.rebalance_ms.max(self.session_ms) as u64);
                        connection.set_patience(patience + Duration::from_secs(10))?;
                        self.connection = Some(connection);
                    }
                    Err(error) if Instant::now() >= deadline => return Err(error.into()),
                    Err(_) => {
                        std::thread::sleep(PAUSE);
                        client.reconnect()?;
                        continue;
                    }
                }
            }
            let Some(connection) = &mut self.connection else { continue };
            match ask(connection) {
                Ok(answer) => return Ok(answer),
                Err(ClientError::Io { .. }) if Instant::now() < deadline => {
                    self.connection = None;
                    std::thread::sleep(PAUSE);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// What an error code means for a member. True: it is to join again.
    fn out_of_date(&mut self, code: i16) -> Result<bool, Ended> {
        match ErrorCode::from_code(code) {
            ErrorCode::None => return Ok(false),
            ErrorCode::RebalanceInProgress => {}
            ErrorCode::IllegalGeneration => self.generation = -1,
            ErrorCode::UnknownMemberId => {
                (self.generation, self.member) = (-1, String::new());
                self.owned.clear();
            }
            ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::CoordinatorLoadInProgress => {
                self.connection = None;
                std::thread::sleep(PAUSE);
            }
            _ => return failed(java::exception(code)),
        }
        self.is_member = false;
        Ok(true)
    }

    /// Joins, until there is a share. A cooperative member that had to give something back is not done with that: it is
    /// then no member, and joins again once its reader has let go.
    pub fn join(&mut self, client: &mut Client) -> Result<Vec<TopicPartition>, Ended> {
        let cooperative = self.is_cooperative();
        loop {
            let joined = self.ask_to_join(client)?;
            if ErrorCode::from_code(joined.code) == ErrorCode::MemberIdRequired {
                self.member = joined.member;
                continue;
            }
            if self.out_of_date(joined.code)? {
                continue;
            }
            (self.member, self.generation) = (joined.member.clone(), joined.generation);
            self.last_heartbeat = Instant::now();
            let Some(assignor) =
                self.assignors.iter().copied().find(|assignor| assignor.protocol() == joined.protocol)
            else {
                return failed(format!(
                    "the group shares out by `{}`, which nobody here knows",
                    joined.protocol
                ));
            };
            self.led = None;
            let shares = if joined.is_leader && !joined.skip_assignment {
                self.share_out(client, assignor, &joined)?
            } else {
                Shares::new()
            };
            let (code, assignment) = self.sync(client, &joined.protocol, &shares)?;
            if self.out_of_date(code)? {
                continue;
            }
            let assignment = Assignment::decode(&assignment)
                .map_err(|error| Ended::Failed(format!("the assignment cannot be read: {error}")))?;
            let new: Vec<TopicPartition> =
                assignment.partitions().map(|(topic, number)| TopicPartition::new(topic, number)).collect();
            let given_back = cooperative && self.owned.iter().any(|at| !new.contains(at));
            self.owned = new.clone();
            self.owned_generation = self.generation;
            self.is_member = !given_back;
            return Ok(new);
        }
    }

    fn ask_to_join(&mut self, client: &mut Client) -> Result<Joined, Ended> {
        let sticky_data =
            StickyUserData { previous: partitions_of(&self.owned), generation: self.owned_generation }
                .encode();
        let generation = self.owned_generation.to_be_bytes();
        let metadata: Vec<(&str, Vec<u8>)> = self
            .assignors
            .iter()
            .map(|assignor| {
                let subscription = Subscription {
                    topics: self.topics.iter().map(|topic| topic.as_str().into()).collect(),
                    user_data: match assignor {
                        Assignor::Range | Assignor::RoundRobin => None,
                        Assignor::Sticky => Some(&sticky_data),
                        Assignor::CooperativeSticky => Some(&generation),
                    },
                    // An eager member has given everything back when it joins.
                    owned_partitions: if self.is_cooperative() {
                        partitions_of(&self.owned)
                    } else {
                        Vec::new()
                    },
                    generation_id: self.owned_generation,
                    rack_id: None,
                };
                (assignor.protocol(), subscription.encode())
            })
            .collect();
        let (group, member, instance) = (self.group.clone(), self.member.clone(), self.instance.clone());
        let (session_timeout_ms, rebalance_timeout_ms) = (self.session_ms, self.rebalance_ms);
        self.call(client, |connection| {
            let protocols =
                metadata.iter().map(|(name, metadata)| JoinGroupRequestProtocol { name, metadata });
            let request = JoinGroupRequest {
                group_id: &group,
                session_timeout_ms,
                rebalance_timeout_ms,
                member_id: &member,
                group_instance_id: instance.as_deref(),
                protocol_type: PROTOCOL_TYPE,
                protocols: protocols.collect(),
                reason: None,
            };
            connection.call(&request, |response| Joined {
                code: response.error_code,
                generation: response.generation_id,
                protocol: response.protocol_name.clone().unwrap_or_default().into_owned(),
                is_leader: response.leader == response.member_id,
                member: response.member_id.clone().into_owned(),
                skip_assignment: response.skip_assignment,
                members: response
                    .members
                    .iter()
                    .map(|member| {
                        (
                            member.member_id.clone().into_owned(),
                            member.group_instance_id.clone().map(|id| id.into_owned()),
                            member.metadata.clone().into_owned(),
                        )
                    })
                    .collect(),
            })
        })
    }

    fn share_out(
        &mut self,
        client: &mut Client,
        assignor: Assignor,
        joined: &Joined,
    ) -> Result<Shares, Ended> {
        let mut members = Vec::new();
        for (id, instance_id, metadata) in &joined.members {
            let said = Subscription::decode(metadata).map_err(|error| {
                Ended::Failed(format!("what member {id} reads cannot be understood: {error}"))
            })?;
            let sticky = match assignor {
                // What is inside belongs to the member; who says it in another way has nothing to keep.
                Assignor::Sticky => said.user_data.and_then(|data| StickyUserData::decode(data).ok()),
                Assignor::Range | Assignor::RoundRobin | Assignor::CooperativeSticky => None,
            };
            let generation_said = |data: &[u8]| data.get(..4)?.try_into().ok().map(i32::from_be_bytes);
            let (owned, generation) = match &sticky {
                Some(sticky) => (&sticky.previous, sticky.generation),
                None if said.generation_id < 0 => (
                    &said.owned_partitions,
                    said.user_data.and_then(generation_said).unwrap_or(said.generation_id),
                ),
                None => (&said.owned_partitions, said.generation_id),
            };
            let owned = owned.iter().flat_map(|topic| {
                topic.partitions.iter().map(|number| TopicPartition::new(&*topic.topic, *number))
            });
            members.push(Member {
                id: id.clone(),
                instance_id: instance_id.clone(),
                topics: said.topics.iter().map(|topic| topic.clone().into_owned()).collect(),
                owned: owned.collect(),
                generation,
            });
        }
        let names: BTreeSet<&str> =
            members.iter().flat_map(|member| &member.topics).map(String::as_str).collect();
        let counts = counts(client, &names.into_iter().collect::<Vec<_>>())?;
        let shares = assign(assignor, &members, &counts);
        self.led = Some(counts);
        Ok(shares)
    }

    fn sync(
        &mut self,
        client: &mut Client,
        protocol: &str,
        shares: &Shares,
    ) -> Result<(i16, Vec<u8>), Ended> {
        let assignments: Vec<(&String, Vec<u8>)> = shares
            .iter()
            .map(|(id, share)| {
                let assigned_partitions = partitions_of(share);
                (id, Assignment { assigned_partitions, user_data: None }.encode())
            })
            .collect();
        let (group, member, instance) = (self.group.clone(), self.member.clone(), self.instance.clone());
        let generation_id = self.generation;
        self.call(client, |connection| {
            let assignments = assignments
                .iter()
                .map(|(member_id, assignment)| SyncGroupRequestAssignment { member_id, assignment });
            let request = SyncGroupRequest {
                group_id: &group,
                generation_id,
                member_id: &member,
                group_instance_id: instance.as_deref(),
                protocol_type: Some(PROTOCOL_TYPE),
                protocol_name: Some(protocol),
                assignments: assignments.collect(),
            };
            connection
                .call(&request, |response| (response.error_code, response.assignment.clone().into_owned()))
        })
    }

    /// Reports when it is time to.
    pub fn heartbeat(&mut self, client: &mut Client) -> Result<(), Ended> {
        if !self.is_member || self.last_heartbeat.elapsed() < self.heartbeat {
            return Ok(());
        }
        self.last_heartbeat = Instant::now();
        let (group, member, instance) = (self.group.clone(), self.member.clone(), self.instance.clone());
        let generation_id = self.generation;
        let code = self.call(client, |connection| {
            let request = HeartbeatRequest {
                group_id: &group,
                generation_id,
                member_id: &member,
                group_instance_id: instance.as_deref(),
            };
            connection.call(&request, |response| response.error_code)
        })?;
        self.out_of_date(code)?;
        Ok(())
    }

    /// Commits positions. A group that moved on has other readers for them: then they are not committed.
    pub fn commit(&mut self, client: &mut Client, positions: &[(TopicPartition, i64)]) -> Result<(), Ended> {
        if positions.is_empty() || self.generation < 0 {
            return Ok(());
        }
        let (group, member, instance) = (self.group.clone(), self.member.clone(), self.instance.clone());
        let generation = self.generation;
        let code = self.call(client, |connection| {
            let instance = instance.as_deref();
            Committer { group: &group, generation, member: &member, instance }.commit(connection, positions)
        })?;
        self.out_of_date(code)?;
        Ok(())
    }

    /// Leaves, so that the others need not wait for its session to end. A static member does not: it may come back.
    pub fn leave(&mut self, client: &mut Client) -> Result<(), Ended> {
        if self.member.is_empty() || self.instance.is_some() {
            return Ok(());
        }
        let (group, member) = (self.group.clone(), self.member.clone());
        self.call(client, |connection| {
            let left = LeaveGroupRequestMember {
                member_id: &member,
                group_instance_id: None,
                reason: Some("the consumer is being closed"),
            };
            let request =
                LeaveGroupRequest { group_id: &group, member_id: &member, members: vec![left].into() };
            connection.call(&request, |response| response.error_code)
        })?;
        Ok(())
    }
}

/// How many partitions each topic has; those that are not there have none.
fn counts(client: &mut Client, names: &[&str]) -> Result<BTreeMap<String, i32>, Ended> {
    if names.is_empty() {
        return Ok(BTreeMap::new());
    }
    let topics = client.leaders(names, true)?;
    Ok(topics
        .into_iter()
        .filter_map(|(name, topic)| Some((name, topic.ok()?.leaders.len() as i32)))
        .collect())
}
