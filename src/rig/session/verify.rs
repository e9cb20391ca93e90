//! Reads topics back from their start and holds them against what was acknowledged.
//!
//! In: cells and, perhaps, when the broker is to be killed. Out: what each topic held, in the session's run.

use std::time::Duration;

use super::Session;
use crate::load;
use crate::report::figures;
use crate::report::run::Cell;
use crate::rig::exit::Failure;
use crate::rig::plan::CellSpec;
use crate::rig::subject::{Kind, Subject};
use crate::rig::{block, cell, kept};

impl Session<'_> {
    /// Reads the topics that a run kept from their start and holds them against what it acknowledged. `cells` are theirs, in
    /// order; the data stays for another time.
    pub fn read_again(&mut self, cells: &[CellSpec], topics: &[kept::Topic]) -> Result<(), Failure> {
        (self.settings.windows.limits_start, self.settings.windows.limits_end) = Default::default();
        self.open(&cells.iter().collect::<Vec<_>>(), cells.len() as f64)?;
        let kind = self.settings.subject.clone();
        for (cell, topic) in cells.iter().zip(topics) {
            let Some(ledger) = load::Ledger::of(&topic.acknowledged, topic.partitions) else {
                return Err(Failure::usage(format!("kept.json: what it says of {} cannot be", topic.name)));
            };
            if !matches!(kind, Kind::Address(_)) && !topic.data_directory.is_dir() {
                return Err(Failure::usage(format!("{}: the data is gone", topic.data_directory.display())));
            }
            let mut recipe = self.recipe(kind.clone(), &cell.subject);
            recipe.data_directory = topic.data_directory.clone();
            self.live.begin(&cell.id, &cell.subject);
            self.live.phase("audit");
            let mut subject = Subject::start(recipe)?;
            let mut plan = cell.load.clone();
            plan.address = subject.address();
            plan.topic.name = topic.name.clone();
            (plan.topic.create, plan.topic.delete) = (false, false);
            let found = load::audit(&plan, &ledger);
            let crashed = subject.crashed();
            if let Some(text) = subject.stop_and_keep() {
                self.flag(text);
            }
            if let Some(text) = crashed {
                return Err(block::BlockError::Crashed(text).into());
            }
            let found = found.map_err(block::BlockError::Load)?;
            self.note_audit(cell, &topic.name, &found, ledger.acked_records(), "");
        }
        self.save()
    }

    fn note_audit(
        &mut self,
        cell: &CellSpec,
        topic: &str,
        found: &load::Verification,
        acked_records: u64,
        how: &str,
    ) {
        let verification = cell::verification(found, &cell.id, topic);
        self.unverified |= !found.passed();
        self.live.note(&format!(
            "{:14} {:11} {} acknowledged, {} read back{how}: {}",
            cell.id,
            cell.subject,
            figures::count(acked_records),
            figures::count(found.read),
            if found.passed() { "verified" } else { "FAIL" },
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
    }

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
            let how = if crash.is_some() { " after kill -9 and a restart" } else { "" };
            self.note_audit(cell, &audited.topic, &audited.verification, audited.acked_records, how);
            self.save()?;
        }
        Ok(())
    }
}
