//! The last result of the rig's tests of itself, which live in `tests/rig` and write it down as they end.
//!
//! In: a file beside the build: name of each test, whether it passed, when. Out: a line for the page's footer. A rig that
//! is installed elsewhere has no such file, and its pages say so.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::report::run::SelfTests;

/// In the build's folder, one above the executable's.
const FILE: &str = "rig-self-tests.json";

#[derive(Deserialize)]
struct Written {
    /// Commit of the sources, where known.
    git: Option<String>,
    tests: BTreeMap<String, Test>,
}

#[derive(Deserialize)]
struct Test {
    passed: bool,
    at_utc: String,
}

/// Where the tests of this executable's build write.
pub fn path() -> Option<PathBuf> {
    Some(std::env::current_exe().ok()?.parent()?.parent()?.join(FILE))
}

/// `None` where there is no such file, or none that can be read.
pub fn read(path: &Path) -> Option<SelfTests> {
    let written: Written = serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()?;
    let failed = written.tests.values().filter(|test| !test.passed).count() as u64;
    Some(SelfTests {
        passed: Some(written.tests.len() as u64 - failed),
        failed: Some(failed),
        at_utc: written.tests.into_values().map(|test| test.at_utc).max(),
        git: written.git,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_counted_and_the_newest_time_is_shown() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        assert_eq!(read(&path), None);
        let text = r#"{"git": "abc", "tests": {
            "one": {"passed": true, "at_utc": "2026-11-25T04:00:00Z"},
            "two": {"passed": false, "at_utc": "2026-11-25T05:00:00Z"}}}"#;
        std::fs::write(&path, text).unwrap();
        let found = read(&path).unwrap();
        assert_eq!((found.passed, found.failed), (Some(1), Some(1)));
        assert_eq!(found.at_utc.as_deref(), Some("2026-11-25T05:00:00Z"));
        assert_eq!(found.git.as_deref(), Some("abc"));
    }
}
