//! The default job: null broker, saturation, latency at one rate, counts, the anchor.
//!
//! In: the default workload, partition counts, a rate or none. Out: one row per partition count in the session's run.

use super::Session;
use crate::load;
use crate::report::run::Role;
use crate::rig::cell::Roof;
use crate::rig::exit::Failure;
use crate::rig::plan::{CellSpec, common_rate, sequence};

/// What `bench` may take before its windows shrink.
const SECONDS_MAX: f64 = 180.0;

impl Session<'_> {
    /// Null broker, saturation, latency at one rate, counts, the anchor.
    pub fn bench(&mut self, base: &CellSpec, partitions: &[u32], rate: Option<f64>) -> Result<(), Failure> {
        let seed = self.settings.seed;
        let mut windows = self.settings.windows;
        let variant = self.settings.null_variant.clone();
        let subject = self.settings.subject.clone();
        let of = |prefix: &str, count: u32, arrivals, (warmup, duration)| {
            let mut cell = CellSpec { id: format!("{prefix}-p{count}"), role: Role::Sweep, ..base.clone() };
            cell.load.topic.partitions = count;
            cell.load.producers.arrivals = arrivals;
            (cell.load.warmup, cell.load.duration) = (warmup, duration);
            cell
        };
        let mut roofs = Vec::new();
        let (mut saturation, mut latency) = (Vec::new(), Vec::new());
        for count in partitions {
            let closed = load::Arrivals::Closed;
            let cell = of("saturate", *count, closed, (windows.saturation_warmup, windows.saturation));
            if let Some(variant) = &variant {
                roofs.push(CellSpec { id: format!("null-p{count}"), ..cell.roof(variant, &windows) });
            }
            saturation.push(cell);
            // The rate is known after saturation; until then any open loop says what the cell is.
            let open = load::Arrivals::Constant { records_per_s: rate.unwrap_or(1.0) };
            latency.push(of("at-rate", *count, open, (windows.latency_warmup, windows.latency)));
        }
        sequence(seed, "null order").shuffle(&mut roofs);
        sequence(seed, "saturation order").shuffle(&mut saturation);
        sequence(seed, "latency order").shuffle(&mut latency);
        let mut anchor = saturation[0].anchor(format!("anchor-p{}", saturation[0].load.topic.partitions));

        let all: Vec<&CellSpec> = roofs.iter().chain(&saturation).chain(&latency).chain([&anchor]).collect();
        let counting_s = latency.len() as f64 * (windows.counting.as_secs_f64() + 0.6);
        self.open(&all, counting_s + 3.0)?;
        self.limits(&saturation, "start", windows.limits_start);

        let roofs = match &variant {
            Some(variant) => self.roofs(variant, &roofs)?,
            None => Vec::new(),
        };
        let roof = |cell: &CellSpec| -> Option<&Roof> {
            let partitions = Some(u64::from(cell.load.topic.partitions));
            roofs.iter().find(|roof| roof.cell.parameters.partitions == partitions)
        };
        let mut rates = Vec::new();
        for cell in &saturation {
            let collected = self.collect(&subject, cell)?;
            let cell = collected.against(roof(cell));
            rates.extend(cell.records_per_s);
            self.keep(&collected, cell);
        }
        let rate = rate.or_else(|| common_rate(rates.iter().copied()));
        let Some(rate) = rate else {
            self.flag("no rate: nothing was acknowledged at saturation");
            return Ok(());
        };
        // A disk that took longer than planned leaves less time for the rest.
        let left = SECONDS_MAX - self.started.elapsed().as_secs_f64();
        let needed = latency.iter().map(CellSpec::duration_s).sum::<f64>() + anchor.duration_s() + 8.0;
        if left < needed && self.settings.kind == "bench" && self.settings.repeat == 1 {
            let share = (left / needed).clamp(0.25, 1.0);
            windows.latency = windows.latency.mul_f64(share);
            anchor.load.duration = windows.saturation.mul_f64(share);
            self.flag("short: windows were cut to stay within three minutes");
        }
        for cell in &mut latency {
            cell.load.producers.arrivals = load::Arrivals::Constant { records_per_s: rate };
            cell.load.duration = windows.latency.min(cell.load.duration);
        }
        let mut open = Vec::new();
        let mut result = Ok(());
        for cell in &latency {
            match self.collect(&subject, cell) {
                Ok(collected) => open.push(collected),
                Err(failure) => {
                    result = Err(failure);
                    break;
                }
            }
        }
        for collected in &mut open {
            if result.is_ok() {
                result = self.counting_pass(&subject, collected, windows.counting);
            }
        }
        // What was measured is kept, however the rest went.
        for collected in &open {
            let cell = collected.against(roof(collected.spec()));
            self.keep(collected, cell);
        }
        result?;
        let collected = self.collect(&subject, &anchor)?;
        let cell = collected.against(roof(&anchor));
        self.keep(&collected, cell);
        self.profile_pass(&subject, &saturation[0])?;
        self.second_opinion(&subject, &saturation[0])?;
        self.limits(&saturation, "end", windows.limits_end);
        Ok(())
    }
}
