//! Reads topics back from their start and holds them against what was acknowledged.
//!
//! In: cells and, perhaps, when the broker is to be killed. Out: what each topic held, in the session's run.

use std::time::Duration;

use super::Session;
use crate::report::figures;
use crate::report::run::Cell;
use crate::rig::exit::Failure;
use crate::rig::plan::CellSpec;
use crate::rig::subject::Kind;
use crate::rig::{block, cell};

impl Session<'_> {
    /// Runs each cell once more, reads its topic back from the start and audits it; with `crash`, after the broker was
    /// killed at that time of the window and started again on the same directory.
    pub fn verify(&mut self, cells: &[CellSpec], crash: Option<Duration>) -> Result<(), Failure> {
        let all: Vec<&CellSpec> = cells.iter().collect();
        // What the machine can do is not asked here.
        (self.settings.windows.limits_start, self.settings.windows.limits_end) = Default::default();
        self.open(&all, all.len() as f64)?;
        let kind = self.settings.subject.clone();
        if crash.is_some() && matches!(kind, Kind::Address(_)) {
            return Err(Failure::usage("--crash needs a broker that the rig starts itself"));
        }
        for cell in cells {
            let mut subject = self.start(&kind, &cell.subject)?;
            let audited = block::audit(&mut subject, cell, self.position, crash, self.live);
            self.position += 1;
            if let Some(text) = subject.stop() {
                self.flag(text);
            }
            let audited = audited?;
            let verification = cell::verification(&audited.verification, &cell.id, &audited.topic);
            self.unverified |= !audited.verification.passed();
            self.live.note(&format!(
                "{:14} {:11} {} acknowledged in the window, {} read back{}: {}",
                cell.id,
                cell.subject,
                figures::count(audited.acked_records),
                figures::count(audited.verification.read),
                if crash.is_some() { " after kill -9 and a restart" } else { "" },
                if audited.verification.passed() { "verified" } else { "FAIL" },
            ));
            self.run.verification.add(&verification);
            self.run.cells.push(Cell {
                id: cell.id.clone(),
                subject: cell.subject.clone(),
                parameters: cell.parameters(),
                loop_kind: cell.loop_kind(),
                workload_sha256: cell.workload_sha256.clone(),
                client_model: Some("batch".to_owned()),
                verification,
                ..Cell::default()
            });
            self.save()?;
        }
        Ok(())
    }
}
