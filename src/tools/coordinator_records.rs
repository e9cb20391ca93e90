//! The records of `__consumer_offsets` and `__transaction_state` as text, in the words of Kafka 3.9's dump tool
//! (contract 6.3, 6.6).
//!
//! In: key and value of one record. Out: what the tool prints for them, or why the bytes are none of these records.
//! Everything is read with its length checked; nothing allocates more than the record's own bytes.

use std::fmt::Write;

use base64::Engine as _;

/// Key and value of a record as text; a value of `None` is a tombstone or not to be shown.
pub type Decoded = (String, Option<String>);

/// Bytes that are not what their version says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the record ends inside a field, or a field cannot be")]
pub struct Malformed;

/// Fields one after the other, in the encoding before or after KIP-482.
struct Fields<'a> {
    bytes: &'a [u8],
    flexible: bool,
}

impl<'a> Fields<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let (front, rest) = self.bytes.split_at_checked(count).ok_or(Malformed)?;
        self.bytes = rest;
        Ok(front)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.take(N)?.try_into().map_err(|_| Malformed)
    }

    fn i8(&mut self) -> Result<i8, Malformed> {
        Ok(i8::from_be_bytes(self.array()?))
    }

    fn i16(&mut self) -> Result<i16, Malformed> {
        Ok(i16::from_be_bytes(self.array()?))
    }

    fn i32(&mut self) -> Result<i32, Malformed> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    fn i64(&mut self) -> Result<i64, Malformed> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    fn uvarint(&mut self) -> Result<usize, Malformed> {
        let mut value = 0usize;
        for at in 0..5 {
            let [byte] = self.array()?;
            value |= usize::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    /// A length, by default of 2 bytes for strings and of 4 for all else; `None` is null.
    fn length(&mut self, is_string: bool) -> Result<Option<usize>, Malformed> {
        if self.flexible {
            return Ok(self.uvarint()?.checked_sub(1));
        }
        let length = if is_string { i32::from(self.i16()?) } else { self.i32()? };
        Ok(usize::try_from(length).ok())
    }

    fn string(&mut self) -> Result<Option<&'a str>, Malformed> {
        match self.length(true)? {
            Some(length) => std::str::from_utf8(self.take(length)?).map(Some).map_err(|_| Malformed),
            None => Ok(None),
        }
    }

    fn blob(&mut self) -> Result<Option<&'a [u8]>, Malformed> {
        self.length(false)?.map(|length| self.take(length)).transpose()
    }

    /// Calls `each` for every element of an array; false for null.
    fn each(
        &mut self,
        mut each: impl FnMut(&mut Fields<'a>) -> Result<(), Malformed>,
    ) -> Result<bool, Malformed> {
        let Some(count) = self.length(false)? else { return Ok(false) };
        for _ in 0..count {
            each(self)?;
        }
        Ok(true)
    }

    fn tags(&mut self) -> Result<(), Malformed> {
        if self.flexible {
            for _ in 0..self.uvarint()? {
                self.uvarint()?;
                let length = self.uvarint()?;
                self.take(length)?;
            }
        }
        Ok(())
    }
}

/// A JSON object or array in the making.
struct Json {
    text: String,
    is_first: bool,
    close: char,
}

impl Json {
    fn object() -> Json {
        Json { text: "{".to_owned(), is_first: true, close: '}' }
    }

    fn list() -> Json {
        Json { text: "[".to_owned(), is_first: true, close: ']' }
    }

    fn comma(&mut self) {
        if !std::mem::replace(&mut self.is_first, false) {
            self.text.push(',');
        }
    }

    fn put(&mut self, name: &str, value: impl std::fmt::Display) -> &mut Json {
        self.comma();
        write!(self.text, "\"{name}\":{value}").expect("a String takes all");
        self
    }

    fn push(&mut self, value: impl std::fmt::Display) {
        self.comma();
        write!(self.text, "{value}").expect("a String takes all");
    }

    fn end(mut self) -> String {
        self.text.push(self.close);
        self.text
    }
}

fn text(value: Option<&str>) -> String {
    value.map_or_else(|| "null".to_owned(), |text| serde_json::Value::from(text).to_string())
}

fn bytes(value: Option<&[u8]>) -> String {
    match value {
        Some(bytes) => format!("\"{}\"", base64::engine::general_purpose::STANDARD.encode(bytes)),
        None => "null".to_owned(),
    }
}

fn with_version(kind: &str, version: i16, data: &str) -> String {
    format!("{{\"{kind}\":\"{version}\",\"data\":{data}}}")
}

/// A record of `__consumer_offsets`.
pub fn group_record(key: &[u8], value: Option<&[u8]>, offset: i64) -> Result<Decoded, Malformed> {
    let mut fields = Fields { bytes: key, flexible: false };
    let version = fields.i16()?;
    let mut data = Json::object();
    match version {
        0 | 1 => {
            data.put("group", text(fields.string()?)).put("topic", text(fields.string()?));
            data.put("partition", fields.i32()?);
        }
        2 => {
            data.put("group", text(fields.string()?));
        }
        other => {
            return Ok((format!("Unknown record type {other} at offset {offset}, skipping."), None));
        }
    }
    let key = with_version("type", version, &data.end());
    let value = match value {
        None => "<DELETE>".to_owned(),
        Some(value) if version == 2 => group_value(value)?,
        Some(value) => offset_value(value)?,
    };
    Ok((key, Some(value)))
}

fn offset_value(value: &[u8]) -> Result<String, Malformed> {
    let mut fields = Fields { bytes: value, flexible: false };
    let version = fields.i16()?;
    fields.flexible = version >= 4;
    let mut data = Json::object();
    data.put("offset", fields.i64()?);
    if version >= 3 {
        data.put("leaderEpoch", fields.i32()?);
    }
    data.put("metadata", text(fields.string()?)).put("commitTimestamp", fields.i64()?);
    if version == 1 {
        data.put("expireTimestamp", fields.i64()?);
    }
    Ok(with_version("version", version, &data.end()))
}

fn group_value(value: &[u8]) -> Result<String, Malformed> {
    let mut fields = Fields { bytes: value, flexible: false };
    let version = fields.i16()?;
    fields.flexible = version >= 4;
    let protocol_type = fields.string()?;
    let is_consumer = protocol_type == Some("consumer");
    let mut data = Json::object();
    data.put("protocolType", text(protocol_type)).put("generation", fields.i32()?);
    data.put("protocol", text(fields.string()?)).put("leader", text(fields.string()?));
    if version >= 2 {
        data.put("currentStateTimestamp", fields.i64()?);
    }
    let mut members = Json::list();
    fields.each(|fields| {
        let mut member = Json::object();
        member.put("memberId", text(fields.string()?));
        if version >= 3 {
            member.put("groupInstanceId", text(fields.string()?));
        }
        member.put("clientId", text(fields.string()?)).put("clientHost", text(fields.string()?));
        if version >= 1 {
            member.put("rebalanceTimeout", fields.i32()?);
        }
        member.put("sessionTimeout", fields.i32()?);
        let (subscription, assignment) = (fields.blob()?, fields.blob()?);
        let inside = |blob: Option<&[u8]>, read: fn(&[u8]) -> Result<String, Malformed>| match blob {
            // What is inside belongs to the clients: bytes that are not what they should be are shown as they are.
            Some(blob) if is_consumer => read(blob).unwrap_or_else(|_| bytes(Some(blob))),
            blob => bytes(blob),
        };
        member.put("subscription", inside(subscription, self::subscription));
        member.put("assignment", inside(assignment, self::assignment));
        fields.tags()?;
        members.push(member.end());
        Ok(())
    })?;
    data.put("members", members.end());
    Ok(with_version("version", version, &data.end()))
}

fn topic_partitions(fields: &mut Fields<'_>) -> Result<String, Malformed> {
    let mut topics = Json::list();
    fields.each(|fields| {
        let mut topic = Json::object();
        topic.put("topic", text(fields.string()?)).put("partitions", numbers(fields)?);
        topics.push(topic.end());
        Ok(())
    })?;
    Ok(topics.end())
}

fn numbers(fields: &mut Fields<'_>) -> Result<String, Malformed> {
    let mut numbers = Json::list();
    fields.each(|fields| {
        numbers.push(fields.i32()?);
        Ok(())
    })?;
    Ok(numbers.end())
}

fn subscription(bytes_of: &[u8]) -> Result<String, Malformed> {
    let mut fields = Fields { bytes: bytes_of, flexible: false };
    let version = fields.i16()?;
    let mut topics = Json::list();
    fields.each(|fields| {
        topics.push(text(fields.string()?));
        Ok(())
    })?;
    let mut data = Json::object();
    data.put("topics", topics.end()).put("userData", bytes(fields.blob()?));
    if version >= 1 {
        data.put("ownedPartitions", topic_partitions(&mut fields)?);
    }
    if version >= 2 {
        data.put("generationId", fields.i32()?);
    }
    if version >= 3 {
        data.put("rackId", text(fields.string()?));
    }
    Ok(data.end())
}

fn assignment(bytes_of: &[u8]) -> Result<String, Malformed> {
    let mut fields = Fields { bytes: bytes_of, flexible: false };
    fields.i16()?;
    let mut data = Json::object();
    data.put("assignedPartitions", topic_partitions(&mut fields)?).put("userData", bytes(fields.blob()?));
    Ok(data.end())
}

const STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

/// A record of `__transaction_state`.
pub fn transaction_record(key: &[u8], value: Option<&[u8]>) -> Result<Decoded, Malformed> {
    let mut fields = Fields { bytes: key, flexible: false };
    let version = fields.i16()?;
    if version != 0 {
        return Ok((format!("unknown::version={version}"), None));
    }
    let id = fields.string()?.ok_or(Malformed)?;
    let key = format!("transaction_metadata::transactionalId={id}");
    let Some(value) = value else { return Ok((key, Some("<DELETE>".to_owned()))) };
    let mut fields = Fields { bytes: value, flexible: false };
    fields.flexible = fields.i16()? >= 1;
    let (producer_id, producer_epoch, timeout_ms) = (fields.i64()?, fields.i16()?, fields.i32()?);
    let state = usize::try_from(fields.i8()?).ok().and_then(|state| STATES.get(state)).ok_or(Malformed)?;
    let mut partitions = Vec::new();
    fields.each(|fields| {
        let topic = fields.string()?.ok_or(Malformed)?;
        fields.each(|fields| {
            partitions.push(format!("{topic}-{}", fields.i32()?));
            Ok(())
        })?;
        fields.tags()
    })?;
    let updated = fields.i64()?;
    let partitions = partitions.join(",");
    let value = format!(
        "producerId:{producer_id},producerEpoch:{producer_epoch},state={state},partitions=[{partitions}],\
         txnLastUpdateTimestamp={updated},txnTimeoutMs={timeout_ms}"
    );
    Ok((key, Some(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cut_of_a_record_is_an_error_and_no_panic() {
        let mut key = vec![0, 2, 0, 1, b'g'];
        let value = [
            &[0, 3][..],
            &[0, 8],
            b"consumer",
            &[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, 7],
            &[0, 0, 0, 1, 0, 1, b'm', 0xff, 0xff, 0, 1, b'c', 0, 1, b'h'],
            &[0, 0, 0, 5, 0, 0, 0, 6, 0, 0, 0, 0, 0, 0, 0, 0],
        ]
        .concat();
        let (shown, whole) = group_record(&key, Some(&value), 5).unwrap();
        assert_eq!(shown, r#"{"type":"2","data":{"group":"g"}}"#);
        assert!(whole.unwrap().contains(r#""members":[{"memberId":"m","groupInstanceId":null"#));
        for cut in 0..value.len() {
            assert_eq!(group_record(&key, Some(&value[..cut]), 5), Err(Malformed), "{cut}");
        }
        for cut in 0..key.len() {
            assert_eq!(group_record(&key[..cut], None, 5), Err(Malformed), "{cut}");
        }
        assert_eq!(group_record(&key, None, 5).unwrap().1.as_deref(), Some("<DELETE>"));
        key[1] = 9;
        let unknown = group_record(&key, None, 5).unwrap();
        assert_eq!(unknown, ("Unknown record type 9 at offset 5, skipping.".to_owned(), None));
    }

    #[test]
    fn text_is_escaped_as_json_asks_for() {
        let key = [&[0, 1, 0, 3][..], b"g\"\n", &[0, 1, b't', 0, 0, 0, 4]].concat();
        let (shown, _) = group_record(&key, None, 0).unwrap();
        assert_eq!(shown, r#"{"type":"1","data":{"group":"g\"\n","topic":"t","partition":4}}"#);
    }
}
