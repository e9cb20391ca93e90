//! A short search for the settings at which a subject does best, with as many tries for either side.
//!
//! In: a contender and its knobs. Out: settings, and the trace of every try in the run. What is found is a claim like
//! any other: it meets the other side's best in pairs of its own.

use std::time::Duration;

use super::Session;
use super::pilot::Pilot;
use crate::report::figures;
use crate::report::run::Tuning;
use crate::rig::ballast::Ballast;
use crate::rig::contenders::{Contender, Contest, Load, View, knobs};
use crate::rig::exit::{Exit, Failure};

/// A setting is taken over when it gains at least this much.
const GAIN_MIN: f64 = 1.03;

impl Session<'_> {
    /// The best configuration of each side: as given, as found, or none.
    pub(super) fn best(
        &mut self,
        contest: &Contest,
        ballast: &mut Option<Ballast>,
        pilots: &[Pilot],
    ) -> Result<Option<[Contender; 2]>, Failure> {
        let mut best = [contest.a.clone(), contest.b.clone()];
        let mut any = false;
        for (side, contender) in [&contest.a, &contest.b].into_iter().enumerate() {
            let given = &contest.best[side];
            let settings = match given {
                Some(settings) => settings.clone(),
                None if contest.search > 0 => self.search(contest, contender, ballast, pilots)?,
                None => continue,
            };
            any = true;
            if !settings.is_empty() {
                best[side] = contender.with(format!("{} best", contender.name), &settings);
            }
        }
        Ok(any.then_some(best))
    }

    /// One knob after the other, each try against the best so far, at the smallest and the largest point. Both sides
    /// get as many tries; every try is kept in the run.
    fn search(
        &mut self,
        contest: &Contest,
        side: &Contender,
        ballast: &mut Option<Ballast>,
        pilots: &[Pilot],
    ) -> Result<Vec<String>, Failure> {
        let view = &contest.views[0];
        let mut points: Vec<usize> = (0..contest.points.len())
            .filter(|i| !matches!(contest.points[*i].load, Load::Share(_)))
            .collect();
        points.sort_by_key(|i| contest.points[*i].spec.load.topic.partitions);
        if points.len() > 2 {
            points = vec![points[0], points[points.len() - 1]];
        }
        // Cold tries of a subject that compiles would compare how far it had come, not its settings.
        let points: Vec<(usize, Option<Duration>)> = points
            .into_iter()
            .map(|number| {
                let pilot = pilots.iter().find(|pilot| {
                    pilot.view == view.name && pilot.point == number && pilot.contender == side.name
                });
                (number, pilot.and_then(|pilot| pilot.warmup))
            })
            .collect();
        let knobs = knobs(&side.kind, view.cores.broker.len());
        let tuning = self.run.tuning.get_or_insert_with(Tuning::default);
        for (name, tries) in &knobs {
            tuning.knobs.push(serde_json::json!({"subject": side.name, "knob": name, "tries": tries}));
        }
        let mut settings: Vec<String> = Vec::new();
        let mut best = self.objective(contest, side, view, &points, ballast, "defaults")?;
        let mut left = contest.search;
        for (name, tries) in &knobs {
            let mut taken: Option<Vec<String>> = None;
            for keys in tries {
                if left == 0 {
                    break;
                }
                left -= 1;
                let mut candidate = settings.clone();
                candidate.extend(keys.iter().cloned());
                let contender = side.with(format!("{} try", side.name), &candidate);
                let found = match self.objective(contest, &contender, view, &points, ballast, name) {
                    Ok(found) => found,
                    // A setting that the subject refuses is a try that lost.
                    Err(failure) if failure.exit == Exit::SubjectFailed => None,
                    Err(failure) => return Err(failure),
                };
                if let (Some(found), Some(known)) = (found, best)
                    && found > known * GAIN_MIN
                {
                    best = Some(found);
                    taken = Some(keys.clone());
                }
            }
            settings.extend(taken.into_iter().flatten());
        }
        self.run.subjects.retain(|subject| !subject.name.ends_with(" try"));
        let tuning = self.run.tuning.get_or_insert_with(Tuning::default);
        tuning
            .front
            .push(serde_json::json!({"subject": side.name, "settings": settings, "records_per_s": best}));
        Ok(settings)
    }

    /// Geometric mean of the rates at some points; kept in the trace.
    fn objective(
        &mut self,
        contest: &Contest,
        side: &Contender,
        view: &View,
        points: &[(usize, Option<Duration>)],
        ballast: &mut Option<Ballast>,
        knob: &str,
    ) -> Result<Option<f64>, Failure> {
        let mut rates = Vec::new();
        let mut failed = None;
        for (number, warmup) in points {
            let mut spec = self.pilot_spec(view, *number, &contest.points[*number], side);
            spec.load.warmup = warmup.unwrap_or(spec.load.warmup);
            match self.member(contest, side, view, &spec, ballast, None, false) {
                Ok((ran, _)) => rates.push(ran.outcome.records_per_s()),
                Err(failure) => {
                    failed = Some(failure);
                    break;
                }
            }
        }
        let positive = rates.len() == points.len() && rates.iter().all(|rate| *rate > 0.0);
        let mean =
            positive.then(|| (rates.iter().map(|rate| rate.ln()).sum::<f64>() / rates.len() as f64).exp());
        let tuning = self.run.tuning.get_or_insert_with(Tuning::default);
        tuning.trace.push(serde_json::json!({
            "subject": side.name,
            "knob": knob,
            "settings": side.overrides,
            "records_per_s": rates,
            "objective": mean,
            "failed": failed.as_ref().map(|failure| failure.text.clone()),
        }));
        self.live.note(&format!(
            "try {:24} {knob}: {} records/s",
            side.name,
            mean.map_or("no".to_owned(), figures::si)
        ));
        match failed {
            Some(failure) => Err(failure),
            None => Ok(mean),
        }
    }
}
