//! What a comparison of two subjects says: a sentence for each row, one for the whole, and the table of all rows.
//!
//! In: a run with [`Versus`] comparisons. Out: text. Every row is printed, those that A loses like any other; a row
//! claims a difference only where `pairs::claim` allowed it. The terminal, Markdown and the page show the same cells.

use super::figures::{self, or_missing, si, significant};
use super::pairs::Claim;
use super::run::{Comparison, Outcome, Run, Versus};

/// The rows of subjects against each other and against themselves, in the order of the run.
pub fn rows(run: &Run) -> impl Iterator<Item = (&Comparison, &Versus)> {
    run.comparisons.iter().filter_map(|comparison| Some((comparison, comparison.versus.as_ref()?)))
}

/// A subject against itself.
pub fn is_floor(versus: &Versus) -> bool {
    versus.pairing == "floor"
}

fn times(ratio: f64) -> String {
    significant(ratio, 3)
}

/// `1.02 [0.98, 1.05]`.
fn ratio_text(comparison: &Comparison) -> String {
    let Some(ratio) = comparison.ratio else { return "nothing measured".to_owned() };
    match (comparison.ci_low, comparison.ci_high) {
        (Some(low), Some(high)) => format!("{} [{}, {}]", times(ratio), times(low), times(high)),
        _ => times(ratio),
    }
}

fn floor_text(floor: f64) -> String {
    format!("{} %", significant(floor * 100.0, 2))
}

/// One row as a sentence. `claim` is what `pairs` allows.
pub fn sentence(comparison: &Comparison, claim: Claim) -> String {
    let Some(versus) = &comparison.versus else { return String::new() };
    let (a, b) = (comparison.a.as_deref().unwrap_or("A"), comparison.b.as_deref().unwrap_or("B"));
    let text = ratio_text(comparison);
    let pairs = comparison.pairs.unwrap_or(0);
    let said = match (claim, comparison.ratio, comparison.floor_ratio) {
        (_, None, _) => format!("{}: not measured on both sides", versus.what),
        (Claim::Difference, Some(_), Some(floor)) => {
            let (ratio, interval) = text.split_once(' ').unwrap_or((&text, ""));
            let verb = match versus.what.as_str() {
                "records/s" => format!("{a} does {ratio}x {b}'s records/s"),
                what if versus.unit == "B" || what.contains("CPU") => {
                    format!("{a} needs {ratio}x {b}'s {what}")
                }
                what => format!("{a}'s {what} is {ratio}x {b}'s"),
            };
            format!("{verb} {interval}, {pairs} pairs, noise floor {}", floor_text(floor))
        }
        (Claim::NotShown, Some(_), floor) => {
            let floor = floor.map_or(String::new(), |floor| format!(", floor {}", floor_text(floor)));
            format!("{}: no difference shown ({text}{floor}, {pairs} pairs)", versus.what)
        }
        (Claim::NoFloor | Claim::Difference, Some(_), _) => {
            format!("{}: no claim, because no noise floor was measured ({text}, {pairs} pairs)", versus.what)
        }
        (Claim::TooFewPairs, Some(_), _) => {
            format!("{}: no claim, too few pairs for an interval ({text}, {pairs} pairs)", versus.what)
        }
    };
    format!("{}, {}: {said}", versus.place, describe(versus))
}

fn describe(versus: &Versus) -> String {
    let settings = match versus.pairing.as_str() {
        "floor" => "against itself",
        "best" => "both at their best",
        "default" => "both at their defaults",
        other => other,
    };
    format!("{} cores, {settings}", versus.view)
}

/// The whole in one sentence per pairing; counts only what was claimed.
pub fn summary(run: &Run) -> Vec<String> {
    let mut out = Vec::new();
    let mut pairings: Vec<(&str, &str, &str)> = Vec::new();
    for (comparison, versus) in rows(run).filter(|(_, versus)| !is_floor(versus)) {
        let (a, b) = (comparison.a.as_deref().unwrap_or("A"), comparison.b.as_deref().unwrap_or("B"));
        if !pairings.contains(&(a, b, versus.pairing.as_str())) {
            pairings.push((a, b, &versus.pairing));
        }
    }
    for (a, b, pairing) in pairings {
        let of = |wanted: Outcome| {
            let same = rows(run).filter(|(comparison, versus)| {
                versus.pairing == pairing
                    && comparison.a.as_deref() == Some(a)
                    && comparison.b.as_deref() == Some(b)
                    && versus.outcome == wanted
            });
            same.count()
        };
        let (better, worse) = (of(Outcome::Better), of(Outcome::Worse));
        let (same, silent) = (of(Outcome::NotShown), of(Outcome::NoClaim));
        let mut text = format!(
            "{a} against {b}: better in {better} of {} rows, worse in {worse}, no difference shown in {same}",
            better + worse + same + silent
        );
        if silent > 0 {
            text.push_str(&format!(", no claim in {silent}"));
        }
        out.push(text);
    }
    out
}

/// `ringdaw against java-kafka 3.9.1`. `None` where nothing is compared.
pub fn headline(run: &Run) -> Option<String> {
    let (comparison, _) = rows(run).find(|(_, versus)| !is_floor(versus))?;
    Some(format!("{} against {}", comparison.a.as_deref()?, comparison.b.as_deref()?))
}

/// The sentences of all rows but those of subjects against themselves.
pub fn sentences(run: &Run) -> impl Iterator<Item = &str> {
    rows(run)
        .filter(|(_, versus)| !is_floor(versus))
        .filter_map(|(comparison, _)| comparison.claim.as_deref())
}

pub const HEAD: [&str; 11] =
    ["cores", "settings", "where", "measure", "A", "B", "A/B", "95 %", "pairs", "floor", "verdict"];

/// A value in its unit, as in all tables.
pub fn value(value: f64, unit: &str) -> String {
    match unit {
        "ns" => figures::duration(value),
        "ns/record" => format!("{} ns", significant(value, 3)),
        "B" => figures::bytes(value),
        "1/s" => si(value),
        other => format!("{} {other}", significant(value, 3)),
    }
}

/// The table's rows, in the order of [`HEAD`].
pub fn table(run: &Run) -> Vec<Vec<String>> {
    rows(run)
        .map(|(comparison, versus)| {
            let valid = comparison.pairs.unwrap_or(0);
            let pairs = match comparison.voids {
                Some(voids) if voids > 0 => format!("{valid} ({voids} void)"),
                _ => valid.to_string(),
            };
            let interval = comparison.ci_low.zip(comparison.ci_high);
            vec![
                versus.view.clone(),
                if is_floor(versus) { "A against A".to_owned() } else { versus.pairing.clone() },
                versus.place.clone(),
                versus.what.clone(),
                or_missing(versus.a_value, |v| value(v, &versus.unit)),
                or_missing(versus.b_value, |v| value(v, &versus.unit)),
                or_missing(comparison.ratio, times),
                or_missing(interval, |(low, high)| format!("{} to {}", times(low), times(high))),
                pairs,
                or_missing(comparison.floor_ratio, floor_text),
                word(versus.outcome).to_owned(),
            ]
        })
        .collect()
}

/// The verdict of a row in a word.
pub fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Better => "A better",
        Outcome::Worse => "A worse",
        Outcome::NotShown => "no difference shown",
        Outcome::NoClaim => "no claim",
    }
}

/// Who A and B are, for above the table.
pub fn sides(run: &Run) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    for (comparison, versus) in rows(run).filter(|(_, versus)| !is_floor(versus)) {
        let name = |name: &Option<String>| name.clone().unwrap_or_default();
        let text = format!("{}: A is {}, B is {}", versus.pairing, name(&comparison.a), name(&comparison.b));
        if !out.contains(&text) {
            out.push(text);
        }
    }
    out
}

/// What one side did in the run that the other did not. Empty without a comparison.
pub fn parity(run: &Run) -> Vec<&str> {
    let mut out: Vec<&str> = Vec::new();
    for line in rows(run).flat_map(|(comparison, _)| &comparison.parity) {
        if !out.contains(&line.as_str()) {
            out.push(line);
        }
    }
    out
}

/// For a terminal, with the sides above it. Empty without a comparison.
pub fn terminal(run: &Run) -> String {
    let body = table(run);
    if body.is_empty() {
        return String::new();
    }
    let mut all: Vec<Vec<String>> = vec![HEAD.map(str::to_owned).to_vec()];
    all.extend(body);
    let widths: Vec<usize> =
        (0..HEAD.len()).map(|i| all.iter().map(|row| row[i].chars().count()).max().unwrap_or(0)).collect();
    // Figures stand at their right edge.
    let right = |i: usize| (4..10).contains(&i);
    let mut out: String = sides(run).iter().map(|line| format!("{line}\n")).collect();
    out.push('\n');
    for row in &all {
        let mut line = String::new();
        for (i, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[i] - cell.chars().count());
            let gap = if i == 0 { "" } else { "  " };
            line.push_str(gap);
            line.push_str(&if right(i) { format!("{pad}{cell}") } else { format!("{cell}{pad}") });
        }
        out.push_str(line.trim_end());
        out.push('\n');
    }
    out
}

/// The same as Markdown.
pub fn markdown(run: &Run) -> String {
    let body = table(run);
    if body.is_empty() {
        return String::new();
    }
    let mut out: String = sides(run).iter().map(|line| format!("{line}\n")).collect();
    out.push_str(&format!("\n| {} |\n|{}\n", HEAD.join(" | "), "---|".repeat(HEAD.len())));
    for row in body {
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    out
}

/// The settings of two configurations, key by key: `(key, A, B)`, those that differ first.
pub fn settings_side_by_side(a: &str, b: &str) -> Vec<(String, Option<String>, Option<String>)> {
    fn read(text: &str) -> Vec<(String, String)> {
        let mut out: Vec<(String, String)> = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            if let Some((key, value)) = line.split_once('=') {
                // As brokers read it: the last one counts.
                out.retain(|(known, _)| known != key.trim());
                out.push((key.trim().to_owned(), value.trim().to_owned()));
            }
        }
        out
    }
    let (a, b) = (read(a), read(b));
    let find = |all: &[(String, String)], key: &str| {
        all.iter().find(|(known, _)| known == key).map(|(_, value)| value.clone())
    };
    let mut keys: Vec<&String> = a.iter().chain(&b).map(|(key, _)| key).collect();
    keys.sort_unstable();
    keys.dedup();
    let mut out: Vec<_> = keys.into_iter().map(|key| (key.clone(), find(&a, key), find(&b, key))).collect();
    out.sort_by_key(|(_, a, b)| a == b);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(what: &str, ratio: f64, outcome: Outcome) -> Comparison {
        Comparison {
            a: Some("ringdaw".into()),
            b: Some("java-kafka 3.9.1".into()),
            ratio: Some(ratio),
            ci_low: Some(ratio * 0.9),
            ci_high: Some(ratio * 1.1),
            pairs: Some(8),
            voids: Some(1),
            floor_ratio: Some(0.014),
            versus: Some(Versus {
                view: "split".into(),
                pairing: "default".into(),
                place: "1 partition at saturation".into(),
                what: what.into(),
                unit: "1/s".into(),
                outcome,
                ..Versus::default()
            }),
            ..Comparison::default()
        }
    }

    #[test]
    fn a_row_that_claims_names_ratio_interval_pairs_and_floor() {
        let text = sentence(&row("records/s", 3.1, Outcome::Better), Claim::Difference);
        assert_eq!(
            text,
            "1 partition at saturation, split cores, both at their defaults: ringdaw does 3.10x java-kafka 3.9.1's \
             records/s [2.79, 3.41], 8 pairs, noise floor 1.4 %"
        );
    }

    #[test]
    fn a_row_without_floor_claims_nothing_and_a_lost_one_is_counted_like_any_other() {
        let mut without = row("records/s", 3.1, Outcome::NoClaim);
        without.floor_ratio = None;
        let text = sentence(&without, Claim::NoFloor);
        assert!(text.contains("no claim, because no noise floor was measured (3.10 [2.79, 3.41]"), "{text}");
        let run = Run {
            comparisons: vec![
                row("records/s", 0.5, Outcome::Worse),
                row("produce p99", 1.0, Outcome::NotShown),
                without,
            ],
            ..Run::default()
        };
        assert_eq!(
            summary(&run),
            [
                "ringdaw against java-kafka 3.9.1: better in 0 of 3 rows, worse in 1, no difference shown in 1, no claim in 1"
            ]
        );
        assert!(terminal(&run).contains("A worse"), "{}", terminal(&run));
        assert!(markdown(&run).contains("| 8 (1 void) |"), "{}", markdown(&run));
    }

    #[test]
    fn settings_that_differ_stand_first_and_the_last_line_of_a_key_counts() {
        let found = settings_side_by_side("a=1\nb=2\nb=3\n#c=9\n", "a=1\nb=2\nd=4\n");
        let text = |v: &str| Some(v.to_owned());
        assert_eq!(
            found,
            [
                ("b".to_owned(), text("3"), text("2")),
                ("d".to_owned(), None, text("4")),
                ("a".to_owned(), text("1"), text("1")),
            ]
        );
    }
}
