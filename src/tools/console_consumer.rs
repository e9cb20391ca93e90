//! `ringdaw console-consumer`: writes records to standard output, as kafka-console-consumer.sh of Kafka 3.9 does.
//!
//! In: Kafka's arguments (those of 1.0, too), a broker of any make. Out: records in the form the properties ask for, and at
//! the end, on the error stream, how many there were. Ends with 1 where arguments are wrong or reading fails, with 0
//! when all that was wanted is there, when --timeout-ms passes, and when nobody reads the output any more.

use std::ffi::OsString;
use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;

use self::format::Format;
use super::client::Client;
use super::cluster::{EARLIEST, LATEST, TopicPartition};
use super::consumer::fetcher::Flow;
use super::consumer::{Consumer, ConsumerSettings, Subscription};
use super::settings::Settings;
use super::{Ended, failed, read_options};

mod format;

/// Read records to standard output (the arguments of kafka-console-consumer.sh)
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct ConsoleConsumerArgs {
    /// See `console-consumer --help`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "OPTION")]
    arguments: Vec<OsString>,
}

/// Read records and write them to standard output. Speaks to this broker and to Kafka's own.
#[derive(Parser, Debug)]
#[command(
    name = "console-consumer",
    no_binary_name = true,
    infer_long_args = true,
    args_override_self = true,
    version,
    disable_version_flag = true,
    override_usage = "console-consumer --bootstrap-server HOST:PORT --topic TOPIC [OPTIONS]",
    max_term_width = 100
)]
struct Options {
    /// The broker to connect to; several with commas between them
    #[arg(long, value_name = "HOST:PORT")]
    bootstrap_server: Option<String>,
    /// The topic
    #[arg(long)]
    topic: Option<String>,
    /// All topics whose whole name matches
    #[arg(long, value_name = "REGEX")]
    include: Option<String>,
    /// As --include
    #[arg(long, hide = true)]
    whitelist: Option<String>,
    /// One partition, without a group
    #[arg(long)]
    partition: Option<i32>,
    /// Where to begin in it: a number, earliest or latest
    #[arg(long, allow_hyphen_values = true)]
    offset: Option<String>,
    /// Begin with the oldest record where the group has no offset
    #[arg(long)]
    from_beginning: bool,
    /// The consumer group
    #[arg(long)]
    group: Option<String>,
    /// End after so many records
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    max_messages: Option<i64>,
    /// End when no record comes for so long
    #[arg(long, value_name = "MS", allow_negative_numbers = true)]
    timeout_ms: Option<i64>,
    /// read_committed or read_uncommitted
    #[arg(long)]
    isolation_level: Option<String>,
    /// A consumer setting; may be given several times
    #[arg(long, value_name = "KEY=VALUE", action = clap::ArgAction::Append)]
    consumer_property: Vec<String>,
    /// Consumer settings from a file
    #[arg(long = "consumer.config", value_name = "FILE")]
    consumer_config: Option<PathBuf>,
    /// How records are written: a class of Kafka's
    #[arg(long, value_name = "CLASS")]
    formatter: Option<String>,
    /// A property of the formatter, such as print.key=true; may be given several times
    #[arg(long, value_name = "KEY=VALUE", action = clap::ArgAction::Append)]
    property: Vec<String>,
    /// Properties of the formatter from a file
    #[arg(long, value_name = "FILE")]
    formatter_config: Option<PathBuf>,
    /// As --property key.deserializer=CLASS
    #[arg(long, value_name = "CLASS")]
    key_deserializer: Option<String>,
    /// As --property value.deserializer=CLASS
    #[arg(long, value_name = "CLASS")]
    value_deserializer: Option<String>,
    /// Go on after a record that cannot be written in this form
    #[arg(long)]
    skip_message_on_error: bool,
    /// Say when it has ended
    #[arg(long)]
    enable_systest_events: bool,
    /// Show the version
    #[arg(long)]
    version: bool,

    // What other releases of the script know.
    #[arg(long, hide = true)]
    zookeeper: Option<String>,
    #[arg(long, hide = true)]
    blacklist: Option<String>,
    #[arg(long, hide = true)]
    new_consumer: bool,
    #[arg(long, hide = true)]
    delete_consumer_offsets: bool,
    #[arg(long, hide = true)]
    csv_reporter_enabled: bool,
    #[arg(long, hide = true)]
    metrics_dir: Option<String>,
}

pub fn run(args: ConsoleConsumerArgs) -> ExitCode {
    let err = &mut io::stderr();
    let asked = match parse(&args.arguments, err) {
        Ok(asked) => asked,
        Err(Ended::Shown(text)) => {
            println!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(Ended::Failed(message)) => {
            let usage = <Options as clap::CommandFactory>::command().render_help();
            let _ = writeln!(err, "{message}\n\n{usage}");
            return ExitCode::FAILURE;
        }
    };
    let signal = Arc::new(AtomicI32::new(0));
    watch_signals(Arc::clone(&signal));
    let mut count = 0;
    let outcome = read(&asked, &signal, &mut count);
    let code = match outcome {
        Ok(()) => match signal.load(Ordering::Relaxed) {
            0 => 0,
            // As a shell names the end by a signal.
            number => 128 + number as u8,
        },
        Err(ended) => {
            let _ = writeln!(err, "ERROR Unknown error when running consumer: {ended}");
            1
        }
    };
    let _ = writeln!(err, "Processed a total of {count} messages");
    if asked.systest_events {
        println!("shutdown_complete");
    }
    ExitCode::from(code)
}

/// A command that makes sense.
struct Asked {
    bootstrap: String,
    subscription: Subscription,
    settings: ConsumerSettings,
    call_timeout: Duration,
    format: Format,
    count_max: Option<u64>,
    patience: Option<Duration>,
    skip_errors: bool,
    systest_events: bool,
}

fn parse(arguments: &[OsString], err: &mut dyn Write) -> Result<Asked, Ended> {
    let options: Options = read_options(
        arguments,
        Some("This tool helps to read data from Kafka topics and outputs it to standard output."),
    )?;
    if options.version {
        return Err(Ended::Shown(env!("CARGO_PKG_VERSION").to_owned()));
    }
    if options.zookeeper.is_some() || options.blacklist.is_some() || options.delete_consumer_offsets {
        return failed(
            "--zookeeper, --blacklist and --delete-consumer-offsets are of the consumer that kept its offsets in \
             ZooKeeper; brokers keep them now, so name one with --bootstrap-server host:port",
        );
    }
    if options.new_consumer {
        let _ = writeln!(err, "WARNING: --new-consumer is the default and no longer needed");
    }
    let include = options.include.as_ref().or(options.whitelist.as_ref());
    if options.topic.is_some() == include.is_some() {
        let more = if options.whitelist.is_some() {
            "--whitelist is DEPRECATED use --include instead; ignored if --include specified."
        } else {
            ""
        };
        return failed(format!("Exactly one of --include/--topic is required. {more}"));
    }
    if options.partition.is_some() {
        if options.topic.is_none() {
            return failed("The topic is required when partition is specified.");
        }
        if options.from_beginning && options.offset.is_some() {
            return failed("Options from-beginning and offset cannot be specified together.");
        }
    } else if options.offset.is_some() {
        return failed("The partition is required when offset is specified.");
    }
    let Some(bootstrap) = options.bootstrap_server.clone() else {
        return failed("Missing required argument \"[bootstrap-server]\"");
    };
    let from_file = Settings::read(options.consumer_config.as_deref(), &[])?;
    let from_words = Settings::read(None, &options.consumer_property)?;
    let mut settings = Settings::read(options.consumer_config.as_deref(), &options.consumer_property)?;
    let mut groups: Vec<&str> =
        [options.group.as_deref(), from_file.text("group.id"), from_words.text("group.id")]
            .into_iter()
            .flatten()
            .collect();
    groups.sort_unstable();
    groups.dedup();
    let group = match (&groups[..], options.partition) {
        ([_, _, ..], _) => {
            let names: Vec<String> = groups.iter().map(|group| format!("'{group}'")).collect();
            return failed(format!(
                "The group ids provided in different places (directly using '--group', via '--consumer-property', or \
                 via '--consumer.config') do not match. Detected group ids: {}",
                names.join(", ")
            ));
        }
        ([_], Some(_)) => return failed("Options group and partition cannot be specified together."),
        ([only], None) => Some((*only).to_owned()),
        ([], _) => None,
    };
    match settings.text("auto.offset.reset").map(str::to_owned) {
        Some(reset) if options.from_beginning && reset != "earliest" => {
            return failed(format!(
                "Can't simultaneously specify --from-beginning and 'auto.offset.reset={reset}', please remove one option"
            ));
        }
        Some(_) => {}
        None => settings.set("auto.offset.reset", if options.from_beginning { "earliest" } else { "latest" }),
    }
    if let Some(level) = &options.isolation_level {
        settings.set("isolation.level", level);
    }
    match group {
        Some(group) => settings.set("group.id", &group),
        None => {
            let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            let seed = since.map_or(0, |since| since.as_nanos() as u64) ^ u64::from(std::process::id());
            let number = crate::random::SplitMix64::new(seed).below(100_000);
            settings.set("group.id", &format!("console-consumer-{number}"));
            // Nobody will ask for the offsets of a group with such a name.
            if settings.text("enable.auto.commit").is_none() {
                settings.set("enable.auto.commit", "false");
            }
        }
    }
    let offset = match options.offset.as_deref() {
        None if options.from_beginning => EARLIEST,
        None => LATEST,
        Some(text) => match text.to_ascii_lowercase().as_str() {
            "earliest" => EARLIEST,
            "latest" => LATEST,
            number => match number.parse::<i64>() {
                Ok(offset) if offset >= 0 => offset,
                Ok(_) | Err(_) => {
                    return failed(format!(
                        "The provided offset value '{text}' is incorrect. Valid values are 'earliest', 'latest', or a \
                         non-negative long."
                    ));
                }
            },
        },
    };
    let subscription = match (&options.topic, options.partition, include) {
        (Some(topic), Some(partition), _) => {
            Subscription::Partition(TopicPartition::new(topic, partition), offset)
        }
        (Some(topic), None, _) => Subscription::Topic(topic.clone()),
        (None, _, pattern) => {
            let pattern = pattern.map_or("", String::as_str);
            let regex = regex::Regex::new(&format!("^(?:{pattern})$"));
            Subscription::Pattern(regex.map_err(|_| Ended::Failed(format!("{pattern} is an invalid regex")))?)
        }
    };
    let mut properties = options.property.clone();
    let deserializers =
        [("key", &options.key_deserializer), ("value", &options.value_deserializer)].into_iter();
    properties.extend(
        deserializers.filter_map(|(of, class)| Some(format!("{of}.deserializer={}", class.as_ref()?))),
    );
    let properties: Vec<String> = properties
        .into_iter()
        .map(|word| if word.contains('=') { word } else { format!("{word}=") })
        .collect();
    let format = Format::new(
        options.formatter.as_deref(),
        &Settings::read_verbatim(options.formatter_config.as_deref(), &properties)?,
        err,
    )?;
    let call_timeout = settings.call_timeout(60_000)?;
    Ok(Asked {
        bootstrap,
        subscription,
        settings: ConsumerSettings::of(&settings)?,
        call_timeout,
        format,
        count_max: options.max_messages.and_then(|count| u64::try_from(count).ok()),
        patience: options.timeout_ms.and_then(|ms| u64::try_from(ms).ok()).map(Duration::from_millis),
        skip_errors: options.skip_message_on_error,
        systest_events: options.enable_systest_events,
    })
}

/// Keeps the number of the first signal that asks for an end.
fn watch_signals(number: Arc<AtomicI32>) {
    use tokio::signal::unix::{SignalKind, signal};
    let watch = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let mut interrupt = signal(SignalKind::interrupt())?;
            let mut terminate = signal(SignalKind::terminate())?;
            let which = tokio::select! {
                _ = interrupt.recv() => SignalKind::interrupt(),
                _ = terminate.recv() => SignalKind::terminate(),
            };
            number.store(which.as_raw_value(), Ordering::Relaxed);
            Ok::<(), io::Error>(())
        })
    };
    // Without the thread a signal ends the process at once, and the group waits for the session to end.
    let started = std::thread::Builder::new().name("signals".to_owned()).spawn(watch);
    if let Err(error) = started {
        eprintln!("WARNING: signals cannot be watched: {error}");
    }
}

fn read(asked: &Asked, signal: &AtomicI32, count: &mut u64) -> Result<(), Ended> {
    const TURN: Duration = Duration::from_millis(500);
    let client = Client::connect(&asked.bootstrap, asked.call_timeout)?;
    let mut consumer = Consumer::open(client, asked.subscription.clone(), asked.settings.clone())?;
    let mut out = BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let mut last = Instant::now();
    let mut line = Vec::new();
    let mut closed = false;
    let outcome = loop {
        if asked.count_max.is_some_and(|most| *count >= most) || signal.load(Ordering::Relaxed) != 0 || closed
        {
            break Ok(());
        }
        let at_most = match asked.patience {
            Some(patience) if last.elapsed() > patience => {
                eprintln!(
                    "ERROR Error processing message, terminating consumer process: \
                     org.apache.kafka.common.errors.TimeoutException"
                );
                break Ok(());
            }
            Some(patience) => patience.saturating_sub(last.elapsed()).clamp(Duration::from_millis(1), TURN),
            None => TURN,
        };
        let polled = consumer.poll(at_most, &mut |fetched| {
            line.clear();
            *count += 1;
            if let Err(error) = asked.format.write(fetched, &mut line) {
                if !asked.skip_errors {
                    return failed(error);
                }
                eprintln!("ERROR Error processing message, skipping this message: {error}");
            }
            closed |= out.write_all(&line).is_err();
            last = Instant::now();
            let enough = closed || asked.count_max.is_some_and(|most| *count >= most);
            Ok(if enough { Flow::Enough } else { Flow::More })
        });
        closed |= out.flush().is_err();
        if let Err(error) = polled {
            break Err(error);
        }
    };
    if closed {
        eprintln!("Unable to write to standard out, closing consumer.");
    }
    outcome.and(consumer.close())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(line: &str) -> String {
        let words: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        match parse(&words, &mut Vec::new()) {
            Err(ended) => ended.to_string(),
            Ok(_) => panic!("{line} is taken"),
        }
    }

    #[test]
    fn what_does_not_go_together_is_refused_in_kafkas_words() {
        let b = "--bootstrap-server b:1";
        assert_eq!(wrong(b), "Exactly one of --include/--topic is required. ");
        assert_eq!(
            wrong(&format!("{b} --include t --partition 0")),
            "The topic is required when partition is specified."
        );
        assert_eq!(
            wrong(&format!("{b} --topic t --offset 5")),
            "The partition is required when offset is specified."
        );
        assert_eq!(wrong("--topic t"), "Missing required argument \"[bootstrap-server]\"");
        assert_eq!(
            wrong(&format!("{b} --topic t --partition 0 --group g")),
            "Options group and partition cannot be specified together."
        );
        assert_eq!(
            wrong(&format!("{b} --topic t --group g --consumer-property group.id=h")),
            "The group ids provided in different places (directly using '--group', via '--consumer-property', or via \
             '--consumer.config') do not match. Detected group ids: 'g', 'h'"
        );
        assert_eq!(
            wrong(&format!("{b} --topic t --partition 0 --offset -3")),
            "The provided offset value '-3' is incorrect. Valid values are 'earliest', 'latest', or a non-negative long."
        );
        assert_eq!(
            wrong(&format!("{b} --topic t --from-beginning --consumer-property auto.offset.reset=latest")),
            "Can't simultaneously specify --from-beginning and 'auto.offset.reset=latest', please remove one option"
        );
        assert!(wrong("--zookeeper z:1 --topic t").contains("--bootstrap-server"));
    }
}
