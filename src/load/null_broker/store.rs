//! The null broker's topics and partitions: one file each, written once a turn.
//!
//! In: batches with their offsets assigned. Out: bytes in files, and where an offset lies in them.
//! There is no index: a place is known because the reader came from the one before it, or is found from the first batch
//! of the write it belongs to.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};

use hashbrown::HashMap;

use crate::load::null_broker::Kind;
use crate::reactor::{Disk, File, OpenMode};

const HEADER_BYTES: usize = 61;
const LOG_NAME: &str = "00000000000000000000.log";
/// Bytes kept in the page cache over all partitions, and the least a single write-out covers.
const WINDOW_BYTES: u64 = 64 << 20;
const WRITE_OUT_BYTES_MIN: u64 = 256 << 10;
const WRITE_OUT_BYTES_MAX: u64 = 8 << 20;

/// Where a pending batch's bytes are.
#[derive(Debug)]
pub enum Bytes {
    /// In a connection's input.
    Input { connection: usize, start: usize, length: usize },
    /// Changed or repeated by a fault.
    Own(Vec<u8>),
}

#[derive(Debug)]
pub struct Partition {
    pub file: Option<File>,
    /// The next offset to assign.
    pub next_offset: i64,
    /// Everything before this offset is in the file.
    pub written_offset: i64,
    /// Bytes in the file.
    pub written_bytes: u64,
    /// Batches of this turn with the offset after them.
    pub pending: Vec<(Bytes, i64)>,
    /// The first batch of each write: offset and place.
    writes: Vec<(i64, u64)>,
    written_out: u64,
    dropped: u64,
    /// Named in the list of partitions to write.
    pub touched: bool,
}

impl Partition {
    fn new(file: Option<File>) -> Partition {
        Partition {
            file,
            next_offset: 0,
            written_offset: 0,
            written_bytes: 0,
            pending: Vec::new(),
            writes: Vec::new(),
            written_out: 0,
            dropped: 0,
            touched: false,
        }
    }

    /// Offset readers may go to.
    pub fn end(&self) -> i64 {
        if self.file.is_some() { self.written_offset } else { self.next_offset }
    }

    /// The place of the batch at or around `offset`, which lies before the end.
    pub fn place_of(&self, disk: &dyn Disk, offset: i64) -> io::Result<u64> {
        let at = self.writes.partition_point(|(first, _)| *first <= offset).saturating_sub(1);
        let mut place = self.writes.get(at).map_or(0, |(_, place)| *place);
        let Some(file) = &self.file else { return Ok(0) };
        loop {
            let Some(head) = read_head(disk, file, place)? else { return Ok(place) };
            if head.next_offset > offset {
                return Ok(place);
            }
            place += head.bytes;
        }
    }

    /// Where to stop when at most `bytes_max` are wanted from `place`: offset and place after whole writes, at least one.
    pub fn cut(&self, place: u64, bytes_max: u64) -> (i64, u64) {
        if self.written_bytes - place <= bytes_max {
            return (self.written_offset, self.written_bytes);
        }
        let last = self.writes.partition_point(|(_, start)| *start <= place + bytes_max);
        let next = self.writes.partition_point(|(_, start)| *start <= place);
        match self.writes.get((last.max(1) - 1).max(next)) {
            Some((offset, start)) if *start > place => (*offset, *start),
            _ => (self.written_offset, self.written_bytes),
        }
    }
}

#[derive(Debug)]
pub struct Topic {
    pub name: String,
    pub partitions: Vec<Partition>,
}

/// All topics. A topic's number is never used again.
pub struct Store {
    kind: Kind,
    directory: PathBuf,
    pub topics: Vec<Option<Topic>>,
    numbers: HashMap<String, usize>,
    partitions: u64,
    touched: Vec<(usize, usize)>,
}

struct Head {
    base_offset: i64,
    next_offset: i64,
    bytes: u64,
}

fn read_head(disk: &dyn Disk, file: &File, place: u64) -> io::Result<Option<Head>> {
    let mut bytes = [0u8; HEADER_BYTES];
    if disk.read_full_at(file, place, &mut bytes)? < HEADER_BYTES {
        return Ok(None);
    }
    let base_offset = i64::from_be_bytes(bytes[0..8].try_into().expect("eight bytes"));
    let length = i32::from_be_bytes(bytes[8..12].try_into().expect("four bytes"));
    let last_delta = i32::from_be_bytes(bytes[23..27].try_into().expect("four bytes"));
    if length < 49 || last_delta < 0 {
        return Ok(None);
    }
    Ok(Some(Head {
        base_offset,
        next_offset: base_offset + i64::from(last_delta) + 1,
        bytes: 12 + length as u64,
    }))
}

impl Store {
    /// Opens what an earlier process left in `directory`; whole batches count, a torn end is overwritten.
    pub fn open(kind: Kind, directory: &Path, disk: &dyn Disk) -> io::Result<Store> {
        let mut store = Store {
            kind,
            directory: directory.to_owned(),
            topics: Vec::new(),
            numbers: HashMap::new(),
            partitions: 0,
            touched: Vec::new(),
        };
        disk.create_directory(directory)?;
        let mut found: HashMap<String, Vec<u32>> = HashMap::new();
        for entry in disk.list(directory)? {
            if let Some((topic, partition)) = entry.name.rsplit_once('-')
                && entry.is_directory
                && let Ok(partition) = partition.parse()
            {
                found.entry(topic.to_owned()).or_default().push(partition);
            }
        }
        for (name, partitions) in found {
            let count = partitions.iter().max().map_or(0, |last| last + 1);
            let number = store.create(&name, count, disk)?;
            for partition in &mut store.topics[number].as_mut().expect("just created").partitions {
                let Some(file) = &partition.file else { continue };
                while let Some(head) = read_head(disk, file, partition.written_bytes)? {
                    if partition.written_bytes + head.bytes > disk.length(file)? {
                        break;
                    }
                    partition.writes.push((head.base_offset, partition.written_bytes));
                    partition.written_offset = head.next_offset;
                    partition.written_bytes += head.bytes;
                }
                partition.next_offset = partition.written_offset;
                (partition.written_out, partition.dropped) =
                    (partition.written_bytes, partition.written_bytes);
            }
        }
        Ok(store)
    }

    pub fn number(&self, name: &str) -> Option<usize> {
        self.numbers.get(name).copied()
    }

    pub fn partition(&mut self, topic: usize, partition: usize) -> Option<&mut Partition> {
        self.topics.get_mut(topic)?.as_mut()?.partitions.get_mut(partition)
    }

    fn path(&self, name: &str, partition: usize) -> PathBuf {
        self.directory.join(format!("{name}-{partition}"))
    }

    pub fn create(&mut self, name: &str, partitions: u32, disk: &dyn Disk) -> io::Result<usize> {
        let mut made = Vec::with_capacity(partitions as usize);
        for partition in 0..partitions as usize {
            let file = if self.kind == Kind::Discard {
                None
            } else {
                let path = self.path(name, partition);
                disk.create_directory(&path)?;
                Some(disk.open(&path.join(LOG_NAME), OpenMode::Create)?)
            };
            made.push(Partition::new(file));
        }
        self.partitions += u64::from(partitions);
        self.topics.push(Some(Topic { name: name.to_owned(), partitions: made }));
        self.numbers.insert(name.to_owned(), self.topics.len() - 1);
        Ok(self.topics.len() - 1)
    }

    pub fn delete(&mut self, number: usize, disk: &dyn Disk) -> io::Result<()> {
        let Some(topic) = self.topics[number].take() else { return Ok(()) };
        self.numbers.remove(&topic.name);
        self.partitions -= topic.partitions.len() as u64;
        for partition in 0..topic.partitions.len() {
            if self.kind != Kind::Discard {
                disk.remove_directory(&self.path(&topic.name, partition))?;
            }
        }
        Ok(())
    }

    /// Has the partition written at the end of the turn.
    pub fn touch(&mut self, topic: usize, partition: usize) {
        if let Some(found) = self.partition(topic, partition)
            && !found.touched
        {
            found.touched = true;
            self.touched.push((topic, partition));
        }
    }

    /// Writes what is pending, one vectored write per partition. `input` gives the bytes of a connection's input.
    /// Returns whether anything was written.
    pub fn write<'a>(
        &mut self,
        disk: &dyn Disk,
        sync: bool,
        input: impl Fn(usize) -> &'a [u8],
    ) -> io::Result<bool> {
        let any = !self.touched.is_empty();
        let piece =
            (WINDOW_BYTES / 8 / self.partitions.max(1)).clamp(WRITE_OUT_BYTES_MIN, WRITE_OUT_BYTES_MAX);
        let keep = (WINDOW_BYTES / self.partitions.max(1)).max(2 * piece);
        for (topic, partition) in std::mem::take(&mut self.touched) {
            let Some(found) = self.partition(topic, partition) else { continue };
            found.touched = false;
            let Some(file) = found.file.clone() else {
                found.pending.clear();
                continue;
            };
            let slices: Vec<IoSlice<'_>> = found
                .pending
                .iter()
                .map(|(bytes, _)| match bytes {
                    Bytes::Input { connection, start, length } => {
                        IoSlice::new(&input(*connection)[*start..*start + *length])
                    }
                    Bytes::Own(bytes) => IoSlice::new(bytes),
                })
                .collect();
            let Some(end) = found.pending.last().map(|(_, end)| *end) else { continue };
            let bytes = write_all(disk, &file, found.written_bytes, slices)?;
            found.writes.push((found.written_offset, found.written_bytes));
            found.written_offset = end;
            found.written_bytes += bytes;
            found.pending.clear();
            if sync {
                disk.sync_data(&file)?;
            }
            if matches!(self.kind, Kind::Pwrite | Kind::Sendfile) {
                self.slide(topic, partition, piece, keep, disk)?;
            }
        }
        Ok(any)
    }

    /// Starts write-out early and drops what lies behind the window.
    fn slide(
        &mut self,
        topic: usize,
        partition: usize,
        piece: u64,
        keep: u64,
        disk: &dyn Disk,
    ) -> io::Result<()> {
        let Some(found) = self.partition(topic, partition) else { return Ok(()) };
        let Some(file) = &found.file else { return Ok(()) };
        if found.written_bytes - found.written_out < piece {
            return Ok(());
        }
        disk.start_write_out(file, found.written_out, found.written_bytes - found.written_out)?;
        found.written_out = found.written_bytes;
        if found.written_bytes - found.dropped > keep + piece {
            let length = found.written_bytes - keep - found.dropped;
            disk.wait_write_out(file, found.dropped, length)?;
            disk.drop_pages(file, found.dropped, length)?;
            found.dropped += length;
        }
        Ok(())
    }
}

fn write_all(disk: &dyn Disk, file: &File, position: u64, mut slices: Vec<IoSlice<'_>>) -> io::Result<u64> {
    let mut rest = &mut slices[..];
    let mut written = 0;
    IoSlice::advance_slices(&mut rest, 0);
    while !rest.is_empty() {
        match disk.write_at(file, position + written, rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => {
                written += count as u64;
                IoSlice::advance_slices(&mut rest, count);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(written)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reactor::OsDisk;

    fn batch(base_offset: i64, records: i32, bytes: usize) -> Vec<u8> {
        let mut batch = vec![7; bytes];
        batch[0..8].copy_from_slice(&base_offset.to_be_bytes());
        batch[8..12].copy_from_slice(&(bytes as i32 - 12).to_be_bytes());
        batch[23..27].copy_from_slice(&(records - 1).to_be_bytes());
        batch
    }

    fn append(store: &mut Store, topic: usize, batches: &[(i32, usize)]) {
        let partition = store.partition(topic, 0).unwrap();
        for (records, bytes) in batches {
            let base_offset = partition.next_offset;
            partition.next_offset += i64::from(*records);
            let end = partition.next_offset;
            partition.pending.push((Bytes::Own(batch(base_offset, *records, *bytes)), end));
        }
        store.touch(topic, 0);
        assert!(store.write(&OsDisk, false, |_| unreachable!("all bytes are own")).unwrap());
    }

    #[test]
    fn offsets_are_found_cut_at_writes_and_found_again_after_a_restart() {
        let directory = tempfile::tempdir_in(".").unwrap();
        let mut store = Store::open(Kind::Pwrite, directory.path(), &OsDisk).unwrap();
        let topic = store.create("a-b", 1, &OsDisk).unwrap();
        append(&mut store, topic, &[(10, 100), (5, 80)]);
        append(&mut store, topic, &[(1, 61)]);
        append(&mut store, topic, &[(4, 300), (4, 300)]);
        for restarted in [false, true] {
            if restarted {
                store = Store::open(Kind::Pwrite, directory.path(), &OsDisk).unwrap();
            }
            let topic = store.number("a-b").unwrap();
            let partition = store.partition(topic, 0).unwrap();
            assert_eq!((partition.end(), partition.written_bytes), (24, 841));
            for (offset, place) in
                [(0, 0), (9, 0), (10, 100), (14, 100), (15, 180), (16, 241), (20, 541), (23, 541)]
            {
                assert_eq!(partition.place_of(&OsDisk, offset).unwrap(), place, "offset {offset}");
            }
            assert_eq!(partition.cut(0, 10_000), (24, 841));
            if !restarted {
                assert_eq!(partition.cut(0, 200), (15, 180), "whole writes within the limit");
                assert_eq!(partition.cut(0, 10), (15, 180), "at least one write");
                assert_eq!(partition.cut(100, 150), (16, 241));
                assert_eq!(partition.cut(241, 10), (24, 841));
            }
        }
        let topic = store.number("a-b").unwrap();
        store.delete(topic, &OsDisk).unwrap();
        assert_eq!(store.number("a-b"), None);
        assert!(OsDisk.list(directory.path()).unwrap().is_empty());
    }
}
