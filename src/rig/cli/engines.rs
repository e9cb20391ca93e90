//! `bench engines`: what its arguments mean.
//!
//! In: arguments. Out: points, or the sentence that says which argument cannot be meant.

use clap::Args;

use super::{Failure, Options, Source, finish, listen_for_signals, prepare, usage, value};
use crate::rig::engines::Point;
use crate::rig::exit::Exit;
use crate::rig::session::Session;

const CELL_BYTES: u64 = 128 << 20;
const CELL_BYTES_QUICK: u64 = 8 << 20;
const FILES_MAX: usize = 10_000;

#[derive(Args, Debug)]
pub struct EnginesArgs {
    /// Numbers of files, 1 to 10000
    #[arg(long, value_name = "N,N", value_delimiter = ',', default_values_t = [1, 16, 128, 1024, 10_000])]
    files: Vec<usize>,
    /// Sizes of an append, 1Ki to 1Mi, multiples of 512
    #[arg(long, value_name = "BYTES,BYTES", value_delimiter = ',', default_values_t = ["1Ki", "16Ki", "128Ki", "1Mi"].map(str::to_owned))]
    blocks: Vec<String>,
    /// What each engine writes at each point (default: 128Mi; with --quick 8Mi)
    #[arg(long, value_name = "BYTES")]
    per_cell: Option<String>,
}

fn bytes(option: &str, text: &str) -> Result<u64, Failure> {
    let bytes = value::scaled(text, value::BYTE_UNITS).filter(|bytes| *bytes >= 1.0);
    bytes
        .map(|bytes| bytes as u64)
        .ok_or_else(|| usage(format!("--{option} {text}: write 16Ki, 1Mi or 64MiB")))
}

impl EnginesArgs {
    fn points(&self) -> Result<Vec<Point>, Failure> {
        let mut points = Vec::new();
        for text in &self.blocks {
            let block_bytes = bytes("blocks", text)?;
            if !(1024..=1 << 20).contains(&block_bytes) || !block_bytes.is_multiple_of(512) {
                return Err(usage(format!("--blocks {text}: 1Ki to 1Mi, in multiples of 512")));
            }
            for files in &self.files {
                if !(1..=FILES_MAX).contains(files) {
                    return Err(usage(format!("--files {files}: 1 to {FILES_MAX}")));
                }
                points.push(Point { files: *files, block_bytes: block_bytes as usize });
            }
        }
        Ok(points)
    }
}

pub fn run(options: &Options, args: &EnginesArgs) -> Result<Exit, Failure> {
    let points = args.points()?;
    let cell_bytes = match &args.per_cell {
        Some(text) => bytes("per-cell", text)?,
        None if options.quick => CELL_BYTES_QUICK,
        None => CELL_BYTES,
    };
    let (settings, _) = prepare(options, "engines", &Source::of_bench(), &[])?;
    listen_for_signals()?;
    let mut live = options.live();
    let mut session = Session::begin(settings, live.as_mut())?;
    let result = session.engines(&points, cell_bytes);
    finish(session, result)
}
