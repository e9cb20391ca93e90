//! Any list of cells with a null broker at each one's shape, and the machine without a subject.
//!
//! In: cells, in their order. Out: the same cells in the session's run, each beside its roof, with anchors between.

use std::time::Duration;

use super::{Session, verdict};
use crate::load;
use crate::report::run::Role;
use crate::rig::cell::{Roof, ratio};
use crate::rig::exit::Failure;
use crate::rig::plan::{CellSpec, sequence};
use crate::rig::subject::Kind;

/// Every variant of the null broker.
const VARIANTS: [&str; 6] = ["discard", "discard+crc", "pwrite", "pwrite+crc", "pwrite-grow", "sendfile"];

impl Session<'_> {
    /// Any list of cells, each with a null broker at its shape, in seeded order with an anchor every so often.
    pub fn sweep(
        &mut self,
        mut cells: Vec<CellSpec>,
        random: bool,
        anchor_every: usize,
    ) -> Result<(), Failure> {
        let variant = self.settings.null_variant.clone();
        let subject = self.settings.subject.clone();
        // A short run does not spend longer on the machine than on its subject.
        let cells_s = cells.iter().map(CellSpec::duration_s).sum::<f64>();
        let windows = &mut self.settings.windows;
        windows.limits_start = windows.limits_start.min(Duration::from_secs_f64(0.3 * cells_s));
        windows.limits_end = windows.limits_end.min(Duration::from_secs_f64(0.15 * cells_s));
        let windows = *windows;
        if random {
            sequence(self.settings.seed, "cell order").shuffle(&mut cells);
        }
        let roofs: Vec<CellSpec> = match &variant {
            Some(variant) => cells.iter().map(|cell| cell.roof(variant, &windows)).collect(),
            None => Vec::new(),
        };
        // Each step with the id of the cell it measures: an anchor measures the first one again.
        let mut steps: Vec<(CellSpec, String)> = Vec::new();
        let mut anchors = 0;
        for (index, cell) in cells.iter().enumerate() {
            steps.push((cell.clone(), cell.id.clone()));
            if anchor_every > 0 && (index + 1) % anchor_every == 0 && cells.len() > 1 {
                anchors += 1;
                let anchor = cells[0].anchor(format!("anchor-{anchors}-{}", cells[0].id));
                steps.push((anchor, cells[0].id.clone()));
            }
        }
        let all: Vec<&CellSpec> = roofs.iter().chain(steps.iter().map(|(step, _)| step)).collect();
        self.open(&all, steps.len() as f64 * windows.counting.as_secs_f64())?;
        self.limits(&cells, "start", windows.limits_start);
        let roofs = match &variant {
            Some(variant) => self.roofs(variant, &roofs)?,
            None => Vec::new(),
        };
        for (cell, measures) in &steps {
            let mut collected = self.collect(&subject, cell)?;
            if cell.role == Role::Sweep {
                self.counting_pass(&subject, &mut collected, windows.counting)?;
            }
            let roof_id = format!("null-{measures}");
            let roof: Option<&Roof> = roofs.iter().find(|roof| roof.cell.id == roof_id);
            let cell = collected.against(roof);
            self.keep(&collected, cell);
            if let Some(mut cell) = collected.readback() {
                if let Some(roof) = roof.and_then(|roof| roof.readback.as_ref()) {
                    cell.null_variant = roof.null_variant.clone();
                    cell.rate_efficiency = ratio(cell.records_per_s, roof.records_per_s);
                    cell.cpu_efficiency = ratio(roof.broker_cpu_ns_per_record, cell.broker_cpu_ns_per_record);
                }
                self.live.note(&verdict::summary(&cell));
                self.run.cells.push(cell);
            }
        }
        if let Some(cell) = cells.first() {
            self.profile_pass(&subject, cell)?;
            self.second_opinion(&subject, cell)?;
        }
        self.limits(&cells, "end", windows.limits_end);
        Ok(())
    }

    /// The machine alone: limits twice, and between them every variant of the null broker.
    pub fn limits_only(&mut self, cells: &[CellSpec]) -> Result<(), Failure> {
        let windows = self.settings.windows;
        let mut roofs = Vec::new();
        if let (Some(_), Some(cell)) = (&self.settings.null_variant, cells.first()) {
            for variant in VARIANTS {
                let mut roof = cell.roof(variant, &windows);
                roof.subject = format!("null-broker {variant}");
                roof.id = format!("null-{variant}");
                if variant != "sendfile" {
                    // Only `sendfile` keeps what it is given, so only there can anything be read back.
                    roof.load.consumers.connections = 0;
                    roof.load.verify = load::VerifyMode::None;
                }
                roofs.push((variant, roof));
            }
        }
        let all: Vec<&CellSpec> = roofs.iter().map(|(_, roof)| roof).collect();
        self.open(&all, 0.0)?;
        self.limits(cells, "start", windows.limits_start);
        for (variant, roof) in &roofs {
            let collected = self.collect(&Kind::NullBroker((*variant).to_owned()), roof)?;
            let cell = collected.as_roof(variant).cell;
            self.keep(&collected, cell);
        }
        self.limits(cells, "end", windows.limits_end);
        Ok(())
    }
}
