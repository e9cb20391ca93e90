//! A second opinion: the `kafka-protocol` crate reads what we write, and writes the same bytes again.
//!
//! It allocates from announced array lengths, so it only ever sees bytes that we have made.

use bytes::{Buf, Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable};
use ringdaw::wire::primitive::Reader;
use ringdaw::wire::version::ApiKey;

use crate::corpus;
use crate::hostile::{Random, body, mutate};
use crate::targets::{Kind, ReEncode, dispatch, each_api};

/// Their bytes for ours, or why they do not read them; `None` where they have no such message.
fn theirs(key: ApiKey, kind: Kind, version: i16, ours: &[u8]) -> Option<Result<Vec<u8>, String>> {
    fn again<M: Decodable + Encodable>(version: i16, ours: &[u8]) -> Result<Vec<u8>, String> {
        let mut bytes = Bytes::copy_from_slice(ours);
        let message = M::decode(&mut bytes, version).map_err(|error| format!("decode: {error:#}"))?;
        if bytes.has_remaining() {
            return Err(format!("{} bytes are left", bytes.remaining()));
        }
        let mut out = BytesMut::new();
        message.encode(&mut out, version).map_err(|error| format!("encode: {error:#}"))?;
        Ok(out.to_vec())
    }
    macro_rules! both {
        ($request:ident, $response:ident) => {
            match kind {
                Kind::Request => again::<theirs::$request>(version, ours),
                Kind::Response => again::<theirs::$response>(version, ours),
            }
        };
    }
    each_api!(key, both)
}

#[test]
fn what_we_make_of_damaged_frames_is_valid_to_another_codec_too() {
    let mut agreed = 0;
    let mut asked = 0;
    for seed in 1..6_000 {
        let mut random = Random::new(seed);
        let golden = random.one_of(corpus::messages());
        let mut data = body(golden).to_vec();
        mutate(&mut data, &mut random);
        let user = ReEncode { frame_bytes: data.len() };
        let ours = dispatch(golden.key, golden.kind, golden.version, &mut Reader::new(&data), user);
        let Some(Ok(ours)) = ours else { continue };
        asked += 1;
        match theirs(golden.key, golden.kind, golden.version, &ours) {
            Some(Ok(bytes)) => {
                let place = format!("seed {seed}: {:?} {:?} {}", golden.key, golden.kind, golden.version);
                assert!(bytes == ours, "{place}");
                agreed += 1;
            }
            Some(Err(error)) => {
                panic!("seed {seed}: {:?} {:?} {}: {error}", golden.key, golden.kind, golden.version)
            }
            None => panic!("{:?} is in no other codec", golden.key),
        }
    }
    assert!(agreed > 1_000, "only {agreed} of {asked} frames were compared");
}
