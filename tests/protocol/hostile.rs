//! The fuzz targets as seeded loops over mutated golden bytes, and under proptest over any bytes.
//!
//! `RINGDAW_FUZZ_ROUNDS` (default 4000 a target) asks for more; a failure names its seed, and `RINGDAW_FUZZ_SEED`
//! begins there.

use proptest::collection::vec;
use proptest::prelude::*;
use ringdaw::random::SplitMix64;
use ringdaw::wire::batch::seal;

use crate::corpus::{self, GoldenMessage};
use crate::golden;
use crate::targets::{self, message};

/// Numbers from a seed: the same ones for the same seed, on every machine.
pub struct Random(SplitMix64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(SplitMix64::new(seed))
    }

    pub fn next(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `end`, or 0.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    pub fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len())]
    }
}

/// Changes `bytes` in one to four places, as damage, lies and mixtures do.
pub fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    const LIES: [u32; 10] =
        [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 54_000_000];
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len());
        match random.below(8) {
            _ if bytes.is_empty() => bytes.push(random.next() as u8),
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.next() as u8,
            2 => {
                let lie = random.one_of(&LIES).to_be_bytes();
                let end = (at + 4).min(bytes.len());
                bytes[at..end].copy_from_slice(&lie[..end - at]);
            }
            3 => bytes.truncate(at),
            4 => bytes.insert(at, random.next() as u8),
            5 => drop(bytes.remove(at)),
            6 => {
                let end = (at + random.below(40)).min(bytes.len());
                let copy = bytes[at..end].to_vec();
                let to = random.below(bytes.len());
                bytes.splice(to..to, copy);
            }
            _ => bytes[at] = *random.one_of(&[0, 0x7f, 0x80, 0xff]),
        }
    }
}

fn number_from_environment(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text} is not a number")),
        Err(_) => default,
    }
}

/// Runs `round` with one seed after the other; a panic says which one it was.
fn rounds(mut round: impl FnMut(&mut Random)) {
    struct Seed(u64);
    impl Drop for Seed {
        fn drop(&mut self) {
            if std::thread::panicking() {
                eprintln!("RINGDAW_FUZZ_SEED={} repeats this", self.0);
            }
        }
    }
    let first = number_from_environment("RINGDAW_FUZZ_SEED", 1);
    for seed in first..first + number_from_environment("RINGDAW_FUZZ_ROUNDS", 4_000) {
        let guard = Seed(seed);
        round(&mut Random::new(guard.0));
    }
}

/// The bytes of a golden message behind its header.
pub fn body(golden: &GoldenMessage) -> &[u8] {
    let (r, _) = golden::body(golden);
    &golden.bytes[r.position()..]
}

#[test]
fn t01_frames_cut_anywhere() {
    rounds(|random| {
        let mut data = vec![random.next() as u8];
        for _ in 0..random.below(6) {
            let frame = &corpus::messages()[random.below(corpus::messages().len())].bytes;
            data.extend((frame.len() as i32).to_be_bytes());
            data.extend(frame);
        }
        if random.below(2) == 0 {
            mutate(&mut data, random);
        }
        targets::frames(&data);
    });
}

#[test]
fn t02_damaged_headers() {
    rounds(|random| {
        let mut data = random.one_of(corpus::messages()).bytes.clone();
        mutate(&mut data, random);
        targets::headers(&data);
    });
}

#[test]
fn t03_damaged_messages() {
    rounds(|random| {
        let golden = random.one_of(corpus::messages());
        let mut data = body(golden).to_vec();
        mutate(&mut data, random);
        message(golden.key, golden.version, golden.kind, &data);
        // The same bytes as another version of the same API.
        let versions: Vec<i16> = golden.key.api().kafka.clone().collect();
        let version = *random.one_of(&versions);
        message(golden.key, version, golden.kind, &data);
    });
}

#[test]
fn t04_damaged_batches() {
    rounds(|random| {
        let mut data = random.one_of(corpus::batches()).bytes.clone();
        mutate(&mut data, random);
        targets::batches(&data);
        // Past the CRC, where the fields have to be true by themselves.
        if data.len() > 61 && data[16] == 2 {
            let length = (data.len() - 12) as i32;
            data[8..12].copy_from_slice(&length.to_be_bytes());
            seal(&mut data);
            targets::batches(&data);
        }
    });
}

#[test]
fn t05_damaged_compression() {
    rounds(|random| {
        let golden = random.one_of(corpus::batches());
        let codec = (golden.bytes[if golden.bytes[16] == 2 { 22 } else { 17 }] & 7) as usize;
        let mut data = golden.bytes[golden.bytes.len().min(61)..].to_vec();
        mutate(&mut data, random);
        data.truncate(20_000);
        data.insert(0, codec as u8);
        targets::codecs(&data);
    });
}

#[test]
fn t08_damaged_logs() {
    rounds(|random| {
        let mut data = Vec::new();
        for _ in 0..random.below(5) {
            data.extend(&random.one_of(corpus::batches()).bytes);
        }
        mutate(&mut data, random);
        targets::log_scan(&data);
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(512) })]

    #[test]
    fn any_bytes_as_frames(data in vec(any::<u8>(), 0..600)) {
        targets::frames(&data);
    }

    #[test]
    fn any_bytes_as_headers(data in vec(any::<u8>(), 0..80)) {
        targets::headers(&data);
    }

    #[test]
    fn any_bytes_as_messages(data in vec(any::<u8>(), 0..600)) {
        targets::messages(&data);
    }

    #[test]
    fn small_numbers_as_messages(data in vec(0u8..6, 0..300)) {
        targets::messages(&data);
    }

    #[test]
    fn any_bytes_as_batches(data in vec(any::<u8>(), 0..300)) {
        targets::batches(&data);
    }

    #[test]
    fn any_records_in_a_true_header(codec in 0u8..8, count in -2i32..12, body in vec(any::<u8>(), 0..200)) {
        let mut data = vec![0u8; 61];
        data[16] = 2;
        data[22] = codec;
        data[23..27].copy_from_slice(&(count - 1).to_be_bytes());
        data[57..61].copy_from_slice(&count.to_be_bytes());
        data.extend(body);
        let length = (data.len() - 12) as i32;
        data[8..12].copy_from_slice(&length.to_be_bytes());
        seal(&mut data);
        targets::batches(&data);
    }

    #[test]
    fn any_bytes_as_compressed(data in vec(any::<u8>(), 0..600)) {
        targets::codecs(&data);
    }

    #[test]
    fn any_bytes_as_logs(data in vec(any::<u8>(), 0..600)) {
        targets::log_scan(&data);
    }
}
