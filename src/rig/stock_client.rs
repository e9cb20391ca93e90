//! A second opinion: a stock client writes the same records to the same kind of topic, where one is installed.
//!
//! In: a subject's address, a cell's shape. Out: the rate that the client reached, or the sentence why there is none. It shares
//! nothing with our generator, so it cannot share its mistakes; it verifies nothing, so it replaces nothing.

use std::fs;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use super::plan::CellSpec;
use crate::reactor::process::{self, Signal};

const RECORDS_MAX: u64 = 500_000;
const BYTES_MAX: u64 = 512 << 20;
/// A client that takes longer is ended.
const TIME_MAX: Duration = Duration::from_secs(90);
/// The release that `scripts/java-kafka.sh` fetches for this.
const JAVA_VERSION: &str = "3.9.1";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StockClient {
    KafkaJava,
    Librdkafka,
}

impl FromStr for StockClient {
    type Err = String;

    fn from_str(text: &str) -> Result<StockClient, String> {
        match text {
            "kafka-java" => Ok(StockClient::KafkaJava),
            "librdkafka" => Ok(StockClient::Librdkafka),
            _ => Err(format!("{text}: kafka-java or librdkafka")),
        }
    }
}

impl StockClient {
    pub fn name(self) -> &'static str {
        match self {
            StockClient::KafkaJava => "kafka-java",
            StockClient::Librdkafka => "librdkafka",
        }
    }

    /// Writes records of the cell's size to `topic`, from `cores`. Records per second.
    pub fn write(
        self,
        address: SocketAddr,
        topic: &str,
        cell: &CellSpec,
        cores: &[usize],
        folder: &Path,
    ) -> Result<f64, String> {
        let producers = &cell.load.producers;
        let bytes = u64::from(producers.record_bytes);
        let records = (BYTES_MAX / bytes.max(1)).clamp(1, RECORDS_MAX);
        let acks = producers.acks.text();
        let batch = u64::from(producers.batch_records) * bytes;
        match self {
            StockClient::KafkaJava => {
                let mut command = java_tool()?;
                command.args(["--topic", topic, "--num-records", &records.to_string()]);
                command.args(["--record-size", &bytes.to_string(), "--throughput", "-1", "--producer-props"]);
                command.arg(format!("bootstrap.servers={address}")).arg(format!("acks={acks}"));
                command.arg(format!("batch.size={batch}"));
                let (out, _) = finish(command, cores)?;
                rate_of(&out).ok_or_else(|| format!("its output has no rate: {}", last_line(&out)))
            }
            StockClient::Librdkafka => {
                let input = folder.join("stock-client.input");
                lines(&input, records, bytes as usize)
                    .map_err(|error| format!("{}: {error}", input.display()))?;
                let mut command = Command::new("kcat");
                command.args(["-P", "-b", &address.to_string(), "-t", topic]);
                command
                    .args(["-X", &format!("acks={acks}"), "-X", &format!("batch.size={batch}"), "-l"])
                    .arg(&input);
                let done = finish(command, cores);
                // A gigabyte at most, and of no further use.
                let _ = fs::remove_file(&input);
                // Start and connection included: kcat says nothing of its own.
                done.map(|(_, took)| records as f64 / took.as_secs_f64())
            }
        }
    }
}

/// Records of letters, one a line.
fn lines(path: &Path, records: u64, bytes: usize) -> std::io::Result<()> {
    let mut file = std::io::BufWriter::new(fs::File::create(path)?);
    let mut line: Vec<u8> = (0..bytes).map(|at| b'a' + (at % 26) as u8).collect();
    line.push(b'\n');
    (0..records).try_for_each(|_| file.write_all(&line))?;
    file.flush()
}

/// Kafka's own producer-perf-test, of an installed Kafka or by the script that fetches one.
fn java_tool() -> Result<Command, String> {
    if let Some(home) = std::env::var_os("RINGDAW_KAFKA_HOME") {
        let script = PathBuf::from(home).join("bin").join("kafka-producer-perf-test.sh");
        return if script.is_file() {
            Ok(Command::new(script))
        } else {
            Err(format!("{} is not there", script.display()))
        };
    }
    let beside = std::env::current_exe().ok();
    let folders =
        beside.iter().flat_map(|path| path.ancestors()).map(Path::to_owned).chain([PathBuf::from(".")]);
    let script =
        folders.map(|folder| folder.join("scripts").join("java-kafka.sh")).find(|path| path.is_file());
    let script = script.ok_or("no scripts/java-kafka.sh near this program; set RINGDAW_KAFKA_HOME")?;
    let mut command = Command::new(script);
    command.args(["run", JAVA_VERSION, "org.apache.kafka.tools.ProducerPerformance"]);
    Ok(command)
}

/// Runs it to its end, which must be a success: stdout and the time it took.
fn finish(mut command: Command, cores: &[usize]) -> Result<(String, Duration), String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    process::isolate(&mut command, cores);
    let started = Instant::now();
    let child = command.spawn().map_err(|error| format!("{name} cannot be started ({error})"))?;
    let id = child.id();
    let (done, ended) = std::sync::mpsc::channel::<()>();
    let output = std::thread::scope(|scope| {
        scope.spawn(move || {
            if ended.recv_timeout(TIME_MAX) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                // It fails only when the process has just ended.
                let _ = process::signal(id, Signal::Kill);
            }
        });
        let output = child.wait_with_output();
        drop(done);
        output
    });
    let output = output.map_err(|error| format!("{name}: {error}"))?;
    let took = started.elapsed();
    if !output.status.success() {
        return Err(format!(
            "{name}: {}: {}",
            output.status,
            last_line(&String::from_utf8_lossy(&output.stderr))
        ));
    }
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), took))
}

fn last_line(text: &str) -> String {
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it says nothing").trim().to_owned()
}

/// From the last line of `N records sent, X records/sec (...`.
fn rate_of(text: &str) -> Option<f64> {
    let line = text.lines().rev().find(|line| line.contains("records/sec") && line.contains("99.9th"))?;
    line.split(", ").nth(1)?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_is_that_of_the_summary() {
        let text = "100 records sent, 20.0 records/sec (0.02 MB/sec), 1.0 ms avg latency, 2.0 ms max latency.\n\
                    500 records sent, 99.463892 records/sec (0.10 MB/sec), 1.00 ms avg latency, 2.00 ms max latency, 1 ms 50th, \
                    2 ms 95th, 2 ms 99th, 2 ms 99.9th.\n";
        assert_eq!(rate_of(text), Some(99.463892));
        assert_eq!(rate_of("nothing"), None);
    }

    #[test]
    fn a_client_that_fails_is_quoted() {
        let mut command = Command::new("sh");
        command.args(["-c", "echo no such broker >&2; exit 3"]);
        let error = finish(command, &[]).unwrap_err();
        assert!(error.contains("exit status: 3") && error.contains("no such broker"), "{error}");
        assert!(finish(Command::new("/nowhere/tool"), &[]).unwrap_err().contains("cannot be started"));
    }
}
