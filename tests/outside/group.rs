//! Requests of consumer groups, at versions without compact fields, and their answers.
//!
//! In: calls on a client. Out: what the broker answered, with error codes as they came.

use super::client::{Answer, Client, put_i16, put_i32, put_string};
use std::io;

fn put_nullable(out: &mut Vec<u8>, text: Option<&str>) {
    match text {
        Some(text) => put_string(out, text),
        None => put_i16(out, -1),
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_i32(out, bytes.len() as i32);
    out.extend_from_slice(bytes);
}

/// Who speaks: member id, generation and, for a static member, its name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Who {
    pub member: String,
    pub generation: i32,
    pub instance: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    pub code: i16,
    pub generation: i32,
    pub protocol: Option<String>,
    pub leader: String,
    pub member: String,
    /// Member, instance, metadata; only the leader gets them.
    pub members: Vec<(String, Option<String>, Vec<u8>)>,
}

/// Member, instance, client, host, metadata, assignment.
pub type DescribedMember = (String, Option<String>, String, String, Vec<u8>, Vec<u8>);

/// Topic, partition, offset, metadata, code.
pub type CommittedRow = (String, i32, i64, Option<String>, i16);

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    pub code: i16,
    pub state: String,
    pub kind: String,
    pub protocol: String,
    pub members: Vec<DescribedMember>,
}

/// What a consumer says it reads.
pub fn subscription(topics: &[&str]) -> Vec<u8> {
    let mut out = vec![0, 0];
    put_i32(&mut out, topics.len() as i32);
    topics.iter().for_each(|topic| put_string(&mut out, topic));
    put_i32(&mut out, -1);
    out
}

/// Partitions that a consumer is given.
pub fn assignment(topics: &[(&str, &[i32])]) -> Vec<u8> {
    let mut out = vec![0, 0];
    put_i32(&mut out, topics.len() as i32);
    for (topic, partitions) in topics {
        put_string(&mut out, topic);
        put_i32(&mut out, partitions.len() as i32);
        partitions.iter().for_each(|partition| put_i32(&mut out, *partition));
    }
    put_i32(&mut out, -1);
    out
}

pub struct Join<'a> {
    pub group: &'a str,
    pub session_ms: i32,
    pub rebalance_ms: i32,
    pub kind: &'a str,
    /// Name and metadata.
    pub protocols: &'a [(&'a str, &'a [u8])],
}

impl Client {
    /// JoinGroup 5; the answer comes when the group is whole.
    pub fn send_join(&mut self, who: &Who, join: &Join<'_>) -> io::Result<()> {
        let mut body = Vec::new();
        put_string(&mut body, join.group);
        put_i32(&mut body, join.session_ms);
        put_i32(&mut body, join.rebalance_ms);
        put_string(&mut body, &who.member);
        put_nullable(&mut body, who.instance.as_deref());
        put_string(&mut body, join.kind);
        put_i32(&mut body, join.protocols.len() as i32);
        for (name, metadata) in join.protocols {
            put_string(&mut body, name);
            put_bytes(&mut body, metadata);
        }
        self.send(11, 5, &body)
    }

    pub fn receive_joined(&mut self) -> io::Result<Joined> {
        let body = self.receive()?;
        let mut answer = Answer(&body);
        answer.i32()?;
        let (code, generation) = (answer.i16()?, answer.i32()?);
        let (protocol, leader, member) = (answer.nullable()?, answer.string()?, answer.string()?);
        let mut members = Vec::new();
        for _ in 0..answer.count()? {
            members.push((answer.string()?, answer.nullable()?, answer.bytes()?.to_vec()));
        }
        Ok(Joined { code, generation, protocol, leader, member, members })
    }

    /// SyncGroup 3.
    pub fn send_sync(&mut self, group: &str, who: &Who, assignments: &[(String, Vec<u8>)]) -> io::Result<()> {
        let mut body = Vec::new();
        put_string(&mut body, group);
        put_i32(&mut body, who.generation);
        put_string(&mut body, &who.member);
        put_nullable(&mut body, who.instance.as_deref());
        put_i32(&mut body, assignments.len() as i32);
        for (member, bytes) in assignments {
            put_string(&mut body, member);
            put_bytes(&mut body, bytes);
        }
        self.send(14, 3, &body)
    }

    pub fn receive_synced(&mut self) -> io::Result<(i16, Vec<u8>)> {
        let body = self.receive()?;
        let mut answer = Answer(&body);
        answer.i32()?;
        Ok((answer.i16()?, answer.bytes()?.to_vec()))
    }

    /// Heartbeat 3.
    pub fn heartbeat(&mut self, group: &str, who: &Who) -> io::Result<i16> {
        let mut body = Vec::new();
        put_string(&mut body, group);
        put_i32(&mut body, who.generation);
        put_string(&mut body, &who.member);
        put_nullable(&mut body, who.instance.as_deref());
        let body = self.call(12, 3, &body)?;
        let mut answer = Answer(&body);
        answer.i32()?;
        answer.i16()
    }

    /// LeaveGroup 3: the code of the request and that of each member.
    pub fn leave(&mut self, group: &str, members: &[Who]) -> io::Result<(i16, Vec<i16>)> {
        let mut body = Vec::new();
        put_string(&mut body, group);
        put_i32(&mut body, members.len() as i32);
        for who in members {
            put_string(&mut body, &who.member);
            put_nullable(&mut body, who.instance.as_deref());
        }
        let body = self.call(13, 3, &body)?;
        let mut answer = Answer(&body);
        answer.i32()?;
        let code = answer.i16()?;
        let mut codes = Vec::new();
        for _ in 0..answer.count()? {
            answer.string()?;
            answer.nullable()?;
            codes.push(answer.i16()?);
        }
        Ok((code, codes))
    }

    /// OffsetCommit 7 of one partition.
    pub fn commit(
        &mut self,
        group: &str,
        who: &Who,
        topic: &str,
        partition: i32,
        offset: i64,
    ) -> io::Result<i16> {
        self.commit_with(group, who, (topic, partition), offset, "")
    }

    /// The same with metadata beside the offset.
    pub fn commit_with(
        &mut self,
        group: &str,
        who: &Who,
        (topic, partition): (&str, i32),
        offset: i64,
        metadata: &str,
    ) -> io::Result<i16> {
        let mut body = Vec::new();
        put_string(&mut body, group);
        put_i32(&mut body, who.generation);
        put_string(&mut body, &who.member);
        put_nullable(&mut body, who.instance.as_deref());
        put_i32(&mut body, 1);
        put_string(&mut body, topic);
        put_i32(&mut body, 1);
        put_i32(&mut body, partition);
        body.extend_from_slice(&offset.to_be_bytes());
        put_i32(&mut body, -1);
        put_nullable(&mut body, Some(metadata));
        let body = self.call(8, 7, &body)?;
        let mut answer = Answer(&body);
        answer.i32()?;
        answer.count()?;
        answer.string()?;
        answer.count()?;
        answer.i32()?;
        answer.i16()
    }

    /// OffsetFetch 5 of everything: the code, and rows by topic and partition.
    pub fn committed(&mut self, group: &str) -> io::Result<(i16, Vec<CommittedRow>)> {
        let mut body = Vec::new();
        put_string(&mut body, group);
        put_i32(&mut body, -1);
        let body = self.call(9, 5, &body)?;
        let mut answer = Answer(&body);
        answer.i32()?;
        let mut rows = Vec::new();
        for _ in 0..answer.count()? {
            let topic = answer.string()?;
            for _ in 0..answer.count()? {
                let (partition, offset) = (answer.i32()?, answer.i64()?);
                answer.i32()?;
                rows.push((topic.clone(), partition, offset, answer.nullable()?, answer.i16()?));
            }
        }
        rows.sort();
        Ok((answer.i16()?, rows))
    }

    /// DescribeGroups 4.
    pub fn describe_group(&mut self, group: &str) -> io::Result<Described> {
        let mut body = Vec::new();
        put_i32(&mut body, 1);
        put_string(&mut body, group);
        body.push(0);
        let body = self.call(15, 4, &body)?;
        let mut answer = Answer(&body);
        answer.i32()?;
        answer.count()?;
        let code = answer.i16()?;
        answer.string()?;
        let (state, kind, protocol) = (answer.string()?, answer.string()?, answer.string()?);
        let mut members = Vec::new();
        for _ in 0..answer.count()? {
            members.push((
                answer.string()?,
                answer.nullable()?,
                answer.string()?,
                answer.string()?,
                answer.bytes()?.to_vec(),
                answer.bytes()?.to_vec(),
            ));
        }
        Ok(Described { code, state, kind, protocol, members })
    }

    /// ListGroups 2: the code, and id and protocol type of each.
    pub fn list_groups(&mut self) -> io::Result<(i16, Vec<(String, String)>)> {
        let body = self.call(16, 2, &[])?;
        let mut answer = Answer(&body);
        answer.i32()?;
        let code = answer.i16()?;
        let mut groups = Vec::new();
        for _ in 0..answer.count()? {
            groups.push((answer.string()?, answer.string()?));
        }
        groups.sort();
        Ok((code, groups))
    }

    /// DeleteGroups 1 of one group.
    pub fn delete_group(&mut self, group: &str) -> io::Result<i16> {
        let mut body = Vec::new();
        put_i32(&mut body, 1);
        put_string(&mut body, group);
        let body = self.call(42, 1, &body)?;
        let mut answer = Answer(&body);
        answer.i32()?;
        answer.count()?;
        answer.string()?;
        answer.i16()
    }

    /// OffsetDelete 0 of one partition: the code of the request and that of the partition.
    pub fn delete_offset(
        &mut self,
        group: &str,
        topic: &str,
        partition: i32,
    ) -> io::Result<(i16, Option<i16>)> {
        let mut body = Vec::new();
        put_string(&mut body, group);
        put_i32(&mut body, 1);
        put_string(&mut body, topic);
        put_i32(&mut body, 1);
        put_i32(&mut body, partition);
        let body = self.call(47, 0, &body)?;
        let mut answer = Answer(&body);
        let code = answer.i16()?;
        answer.i32()?;
        if answer.count()? == 0 {
            return Ok((code, None));
        }
        answer.string()?;
        answer.count()?;
        answer.i32()?;
        Ok((code, Some(answer.i16()?)))
    }

    /// FindCoordinator 1 of a group: the code and the port.
    pub fn find_coordinator(&mut self, group: &str) -> io::Result<(i16, i32)> {
        let mut body = Vec::new();
        put_string(&mut body, group);
        body.push(0);
        let body = self.call(10, 1, &body)?;
        let mut answer = Answer(&body);
        answer.i32()?;
        let code = answer.i16()?;
        answer.nullable()?;
        answer.i32()?;
        answer.string()?;
        Ok((code, answer.i32()?))
    }

    /// Asks until the coordinator of a group answers: a broker makes the offsets topic when it is first asked.
    pub fn await_coordinator(&mut self, group: &str) {
        let deadline = std::time::Instant::now() + super::client::PATIENCE;
        loop {
            let found = self.find_coordinator(group).expect("FindCoordinator").0;
            if found == 0 && self.committed(group).expect("OffsetFetch").0 == 0 {
                return;
            }
            assert!(std::time::Instant::now() < deadline, "no coordinator of {group}: {found}");
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Joins alone, takes the assignment it gives itself, and stays for as long as the session lasts.
    pub fn settle(&mut self, join: &Join<'_>, instance: Option<&str>, given: &[u8]) -> Who {
        let mut who = Who { generation: -1, instance: instance.map(str::to_owned), ..Who::default() };
        loop {
            self.send_join(&who, join).expect("JoinGroup");
            let joined = self.receive_joined().expect("JoinGroup");
            who.member = joined.member;
            match joined.code {
                79 => continue,
                0 => who.generation = joined.generation,
                code => panic!("JoinGroup: {code}"),
            }
            break;
        }
        self.send_sync(join.group, &who, &[(who.member.clone(), given.to_vec())]).expect("SyncGroup");
        assert_eq!(self.receive_synced().expect("SyncGroup").0, 0);
        who
    }
}
