//! `bench engines`: every storage engine at every number of files and size of block.
//!
//! In: points, how much each cell writes. Out: one row per engine and point, and which engine this machine is best served by.

use super::Session;
use crate::reactor::{direct, pin};
use crate::report::engines;
use crate::report::figures;
use crate::report::run::EngineCell;
use crate::rig::engines::{self as measuring, Engine, Point};
use crate::rig::environment;
use crate::rig::exit::{Exit, Failure};
use crate::rig::interrupt;
use crate::rig::page_cache;

/// What a point of all engines takes, roughly, with the wait for the disk between them.
const POINT_S: f64 = 20.0;
/// A cell that would write more than this is left out, however many files it is about.
const POINT_BYTES_MAX: u64 = 2 << 30;

impl Session<'_> {
    pub fn engines(&mut self, points: &[Point], cell_bytes: u64) -> Result<(), Failure> {
        self.open(&[], points.len() as f64 * POINT_S)?;
        if let Err(error) = direct::raise_open_files_limit() {
            self.flag(format!("the limit of open files could not be raised: {error}"));
        }
        if let Some(core) = self.settings.cores.broker.first() {
            pin::pin_to(*core);
        }
        let free = environment::free_bytes(&self.data_directory).unwrap_or(u64::MAX);
        let mut can_count = true;
        for (number, point) in points.iter().enumerate() {
            let plan = point.plan(cell_bytes);
            let bytes = plan.files as u64 * plan.file_bytes;
            let shown = engines::place(point.files as u64, point.block_bytes as u64);
            if bytes > POINT_BYTES_MAX.min(free / 4) {
                self.flag(format!("{shown}: left out, it would write {}", figures::bytes(bytes as f64)));
                continue;
            }
            // What an engine leaves behind for the next one is not always the same engine's burden.
            let mut order = Engine::all();
            if number % 2 == 1 {
                order.reverse();
            }
            for engine in order {
                if interrupt::requested() {
                    return Err(Failure { exit: Exit::Interrupted, text: "interrupted".to_owned() });
                }
                self.live.step(&format!("{shown}: {}", engine.name()));
                page_cache::settle(super::DIRTY_BYTES_MAX, self.patience());
                let directory = self.data_directory.join("engine");
                let cell = measuring::measure(engine, &directory, *point, cell_bytes, can_count)
                    .map_err(|error| Failure::directory(&directory, &error))?;
                if cell.refused.is_none() && cell.syscalls_per_append.is_none() && can_count {
                    can_count = false;
                    self.flag("system calls are not counted: tracepoints are not permitted here");
                }
                self.note_engine(&shown, &cell);
                self.run.engines.push(cell);
                self.save()?;
            }
        }
        let place = |cell: &EngineCell| {
            (
                cell.block_bytes,
                cell.files,
                Engine::all().iter().position(|engine| engine.name() == cell.engine),
            )
        };
        self.run.engines.sort_by_key(place);
        let verdicts = engines::verdicts(&self.run);
        self.run.verdicts.extend(verdicts);
        Ok(())
    }

    fn note_engine(&mut self, place: &str, cell: &EngineCell) {
        let said = match (&cell.refused, cell.bytes_per_s, cell.cpu_s_per_gb) {
            (Some(reason), ..) => format!("refused: {reason}"),
            (None, Some(rate), Some(cpu)) => {
                format!("{}, {} CPU s/GB", figures::bytes_per_s(rate), figures::significant(cpu, 2))
            }
            _ => "no figure".to_owned(),
        };
        self.live.note(&format!("{place:24} {:32} {said}", cell.engine));
    }
}
