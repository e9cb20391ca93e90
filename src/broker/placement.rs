//! Which loops run on which core: data, so that the rig can sweep it.
//!
//! In: how many network and IO loops are wanted and which cores there are. Out: one reactor per core in use, each with one
//! or both loops. Network loops are placed from the first core upward, IO loops from the last one downward; where the two
//! sets meet, one reactor runs both, and a request for a partition it owns never crosses a thread.

use crate::ids::ReactorId;

/// One reactor: its core and its loops.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reactor {
    pub id: ReactorId,
    pub core: usize,
    pub network: bool,
    pub io: bool,
}

/// Reactors, and what was cut to fit the machine.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Placement {
    pub reactors: Vec<Reactor>,
    /// Network and IO loops there are.
    pub network_loops: usize,
    pub io_loops: usize,
}

/// Places the loops. Counts above the number of cores are capped: a file written for a large machine runs on a small one
/// without oversubscription. `cores` is not empty.
pub fn place(network_threads: usize, io_threads: usize, cores: &[usize]) -> Placement {
    let network_loops = network_threads.clamp(1, cores.len());
    let io_loops = io_threads.clamp(1, cores.len());
    let mut reactors = Vec::new();
    for (index, core) in cores.iter().enumerate() {
        let network = index < network_loops;
        let io = index >= cores.len() - io_loops;
        if network || io {
            reactors.push(Reactor { id: ReactorId(reactors.len() as u16), core: *core, network, io });
        }
    }
    Placement { reactors, network_loops, io_loops }
}

impl Placement {
    /// What the log says about it, with the settings it follows from.
    pub fn describe(&self, network_threads: usize, io_threads: usize) -> String {
        let cores: Vec<String> = self
            .reactors
            .iter()
            .map(|reactor| {
                let loops = match (reactor.network, reactor.io) {
                    (true, true) => "network+io",
                    (true, false) => "network",
                    (false, true) => "io",
                    (false, false) => "nothing",
                };
                format!("core {}: {loops}", reactor.core)
            })
            .collect();
        let mut line =
            format!("{} network and {} io loops ({})", self.network_loops, self.io_loops, cores.join(", "));
        if network_threads > self.network_loops || io_threads > self.io_loops {
            line.push_str(&format!(
                "; num.network.threads={network_threads} and num.io.threads={io_threads} are capped at the number of cores"
            ));
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(network: usize, io: usize, cores: usize) -> Vec<(usize, bool, bool)> {
        let cores: Vec<usize> = (0..cores).collect();
        place(network, io, &cores).reactors.iter().map(|r| (r.core, r.network, r.io)).collect()
    }

    #[test]
    fn loops_meet_in_the_middle_and_share_a_thread_where_they_overlap() {
        assert_eq!(shape(16, 48, 1), [(0, true, true)]);
        assert_eq!(shape(3, 8, 2), [(0, true, true), (1, true, true)]);
        assert_eq!(shape(1, 1, 2), [(0, true, false), (1, false, true)]);
        assert_eq!(shape(1, 2, 4), [(0, true, false), (2, false, true), (3, false, true)]);
        assert_eq!(shape(2, 3, 4), [(0, true, false), (1, true, true), (2, false, true), (3, false, true)]);
    }

    #[test]
    fn a_file_for_a_large_machine_is_capped_and_the_log_says_so() {
        let placement = place(16, 48, &[0, 1]);
        assert_eq!((placement.network_loops, placement.io_loops), (2, 2));
        let line = placement.describe(16, 48);
        assert!(line.contains("num.network.threads=16") && line.contains("core 1: network+io"), "{line}");
        assert!(!place(1, 1, &[3]).describe(1, 1).contains("capped"));
    }
}
