//! Ballast: clean cached pages that fill free memory (RIG section 10, state `resident`).
//!
//! In: a directory and how much memory stays free. Out: a machine on which a growing page cache recycles pages that
//! the host already backs, for every subject alike. The pages are those of holes in one sparse file: reading a hole
//! takes memory and neither disk space nor disk time. The kernel gives them up as soon as anything needs memory.

use std::io;
use std::path::{Path, PathBuf};

use super::environment::Meminfo;
use crate::reactor::{Disk, File, OpenMode, OsDisk};

/// Left free, so that a start of a process does not begin with reclaim.
const FREE_BYTES: u64 = 512 << 20;
const PIECE_BYTES: usize = 1 << 20;
/// Free memory is looked at after this many bytes.
const LOOK_BYTES: u64 = 64 << 20;

pub struct Ballast {
    file: File,
    path: PathBuf,
    bytes: u64,
    /// Where reading goes on: the pages behind it are the oldest, and those the kernel took first.
    position: u64,
    piece: Vec<u8>,
}

impl Ballast {
    /// Makes the file; no page is read yet.
    pub fn create(directory: &Path) -> io::Result<Ballast> {
        let path = directory.join("ballast");
        let file = OsDisk.open(&path, OpenMode::CreateNew)?;
        let bytes = Meminfo::read().and_then(|memory| memory.bytes("MemTotal")).unwrap_or(0);
        OsDisk.truncate(&file, bytes)?;
        Ok(Ballast { file, path, bytes, position: 0, piece: vec![0; PIECE_BYTES] })
    }

    /// Reads until little memory is free, or once round the file. Gives back what is free then, in bytes.
    pub fn top_up(&mut self) -> io::Result<u64> {
        let free = || Meminfo::read().and_then(|memory| memory.bytes("MemFree")).unwrap_or(0);
        let mut read = 0;
        while free() > FREE_BYTES && read < self.bytes && !super::interrupt::requested() {
            let until = read + LOOK_BYTES;
            while read < until {
                let got = OsDisk.read_at(&self.file, self.position, &mut self.piece)? as u64;
                self.position = if got == 0 { 0 } else { self.position + got };
                read += got.max(1);
            }
        }
        Ok(free())
    }
}

impl Drop for Ballast {
    fn drop(&mut self) {
        // What stays behind is in the run's data directory, whose removal reports it.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_takes_no_disk_space_and_goes_with_its_owner() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let ballast = Ballast::create(folder.path()).unwrap();
        let path = folder.path().join("ballast");
        let metadata = std::fs::metadata(&path).unwrap();
        assert!(metadata.len() > 0 && metadata.blocks() * 512 < 1 << 20, "{metadata:?}");
        drop(ballast);
        assert!(!path.exists());
    }
}
