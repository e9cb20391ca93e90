//! Which cores serve and which ask, and how a list of cores is written.

/// Which cores serve and which ask.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cores {
    pub broker: Vec<usize>,
    pub load: Vec<usize>,
}

impl Cores {
    /// Half of the usable cores for each side; the broker's first. One core serves both, and the run is flagged.
    pub fn split(usable: &[usize]) -> Cores {
        let half = usable.len() / 2;
        match usable {
            [] => Cores { broker: vec![0], load: vec![0] },
            [one] => Cores { broker: vec![*one], load: vec![*one] },
            _ => Cores { broker: usable[..half].to_vec(), load: usable[half..].to_vec() },
        }
    }

    pub fn overlap(&self) -> bool {
        self.broker.iter().any(|core| self.load.contains(core))
    }
}

/// Core numbers as `0-3,6`.
pub fn core_list(cores: &[usize]) -> String {
    let mut parts: Vec<(usize, usize)> = Vec::new();
    for core in cores {
        match parts.last_mut() {
            Some((_, last)) if *last + 1 == *core => *last = *core,
            _ => parts.push((*core, *core)),
        }
    }
    let text = |(first, last): &(usize, usize)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    parts.iter().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_cores_serve_and_ask_apart_and_one_does_both() {
        assert_eq!(Cores::split(&[0, 1]), Cores { broker: vec![0], load: vec![1] });
        assert!(Cores::split(&[3]).overlap());
        assert_eq!(Cores::split(&[0, 1, 2, 3, 4]), Cores { broker: vec![0, 1], load: vec![2, 3, 4] });
    }

    #[test]
    fn a_core_list_is_written_in_ranges() {
        assert_eq!(core_list(&[0, 1, 2, 6]), "0-2,6");
        assert_eq!(core_list(&[]), "");
    }
}
