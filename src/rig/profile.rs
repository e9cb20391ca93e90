//! Where a subject's time goes: `perf record` over one window that is not measured, as folded stacks and a flame graph.
//!
//! In: a process tree, a folder. Out: `profile/<cell>.folded` and `.svg`, or the sentence why there is none. Sampling takes time
//! from what it samples, so its block is nobody's figure.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use crate::reactor::process::{self, Signal};
use crate::report::flame;

/// A prime, so as not to beat with anything periodic.
const HZ: &str = "997";

/// A recording under way.
#[derive(Debug)]
pub struct Recording {
    perf: Child,
    data: PathBuf,
}

impl Recording {
    /// `Err` says why nothing can be recorded here.
    pub fn start(pids: &[u32], folder: &Path, name: &str) -> Result<Recording, String> {
        fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        let data = folder.join(format!("{name}.perf"));
        let list: Vec<String> = pids.iter().map(u32::to_string).collect();
        let mut command = Command::new("perf");
        command
            .args(["record", "-q", "-F", HZ, "-e", "cpu-clock", "-g", "-p", &list.join(","), "-o"])
            .arg(&data);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        process::isolate(&mut command, &[]);
        let mut perf = command.spawn().map_err(|error| format!("perf cannot be started ({error})"))?;
        // It ends at once where it may not.
        std::thread::sleep(Duration::from_millis(100));
        match perf.try_wait() {
            Ok(None) => Ok(Recording { perf, data }),
            Ok(Some(_)) | Err(_) => Err("perf record is not permitted here".to_owned()),
        }
    }

    /// Ends the recording and draws it. The path of the picture.
    pub fn finish(mut self, title: &str) -> Result<PathBuf, String> {
        process::signal(self.perf.id(), Signal::Terminate).map_err(|error| format!("perf: {error}"))?;
        self.perf.wait().map_err(|error| format!("perf: {error}"))?;
        let script = Command::new("perf")
            .args(["script", "-F", "comm,ip,sym,dso", "-i"])
            .arg(&self.data)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()
            .map_err(|error| format!("perf script: {error}"))?;
        let stacks = folded(&String::from_utf8_lossy(&script.stdout));
        let lines: String =
            stacks.iter().map(|(stack, samples)| format!("{} {samples}\n", stack.join(";"))).collect();
        let write = |path: &Path, text: &str| {
            fs::write(path, text).map_err(|error| format!("{}: {error}", path.display()))
        };
        write(&self.data.with_extension("folded"), &lines)?;
        let picture = self.data.with_extension("svg");
        let drawn = flame::svg(&stacks, title).ok_or("no sample was taken")?;
        write(&picture, &drawn)?;
        // Megabytes that the folded form has in kilobytes.
        let _ = fs::remove_file(&self.data);
        Ok(picture)
    }
}

/// Stacks of `perf script`, outermost frame first, each with how often it was seen. A sample is a line with the thread's name,
/// then a line per frame, innermost first, then an empty line.
fn folded(text: &str) -> Vec<(Vec<String>, u64)> {
    let mut counts: BTreeMap<Vec<String>, u64> = BTreeMap::new();
    for sample in text.split("\n\n").filter(|sample| !sample.trim().is_empty()) {
        let mut lines = sample.lines().filter(|line| !line.trim().is_empty());
        let Some(thread) = lines.next() else { continue };
        let mut stack: Vec<String> = lines.filter_map(frame).collect();
        stack.push(thread.trim().to_owned());
        stack.reverse();
        *counts.entry(stack).or_default() += 1;
    }
    counts.into_iter().collect()
}

/// `ffffffff8110a3f0 name+0x1 (object)`: the name, kernel frames marked.
fn frame(line: &str) -> Option<String> {
    let (_, rest) = line.trim().split_once(' ')?;
    let (name, object) = rest.trim().rsplit_once(" (").unwrap_or((rest.trim(), ""));
    let name = name.rsplit_once("+0x").map_or(name, |(name, _)| name);
    // Semicolons part frames in the folded form.
    let name = name.replace(';', ":");
    Some(if object.starts_with("[kernel") || object.ends_with(".ko)") { format!("{name}_[k]") } else { name })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_of_one_stack_are_counted_together() {
        let text = "reactor-0 \n\tffffffff81 do_syscall_64 ([kernel.kallsyms])\n\t    5581 ring::turn+0x12 (/bin/ringdaw)\n\n\
                    reactor-0 \n\tffffffff81 do_syscall_64 ([kernel.kallsyms])\n\t    5581 ring::turn+0x12 (/bin/ringdaw)\n\n\
                    main \n\t    77 [unknown] ([unknown])\n\n";
        let stack = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(
            folded(text),
            [
                (stack(&["main", "[unknown]"]), 1),
                (stack(&["reactor-0", "ring::turn", "do_syscall_64_[k]"]), 2)
            ]
        );
    }
}
