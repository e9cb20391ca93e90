//! Java Kafka as a subject: what to run, as `scripts/java-kafka.sh` says it.
//!
//! In: a release and where to put its data. Out: command lines whose processes are our own children, so that they
//! are ended by their ids and never outlive the rig. The script knows how to obtain a release and Kafka's own JVM
//! flags; nothing here does. Where a release cannot be had the script's sentence is the error.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::subject::{Recipe, SubjectError};

/// Status of the script when Java, Maven or the repository is missing.
const UNAVAILABLE: i32 = 6;
const SCRIPT: &str = "scripts/java-kafka.sh";

/// Settings that are environment variables of Kafka's start scripts and not keys of its `server.properties`.
const ENVIRONMENT: [&str; 3] = ["KAFKA_HEAP_OPTS", "KAFKA_JVM_PERFORMANCE_OPTS", "KAFKA_OPTS"];

/// What the script says about a process to start.
#[derive(Debug)]
pub struct Prepared {
    pub command: Command,
    pub version: String,
    /// `zookeeper` or `kraft`.
    pub metadata_mode: String,
    /// Heap, collector and the rest, as they stand on the command line.
    pub jvm_flags: String,
    /// `server.properties` and what the command line adds to it.
    pub config: String,
}

impl Prepared {
    pub fn needs_zookeeper(version: &str) -> bool {
        let major = version.split('.').next().and_then(|n| n.parse::<u32>().ok());
        // No version is the newest, which has none.
        major.is_some_and(|major| major < 4)
    }
}

/// The jars of a release, obtained once and checked against their sums. Long the first time.
pub fn fetch(version: &str) -> Result<(), SubjectError> {
    run(&mut script()?, &["fetch".to_owned(), version.to_owned()]).map(|_| ())
}

/// ZooKeeper of that release on a port.
pub fn zookeeper(recipe: &Recipe, version: &str, port: u16) -> Result<Prepared, SubjectError> {
    let directory = recipe.data_directory.join("zookeeper");
    prepare(recipe, version, &directory, port, &["--only-zookeeper".to_owned()])
}

/// The broker of that release on a port.
pub fn broker(
    recipe: &Recipe,
    version: &str,
    port: u16,
    zookeeper: Option<SocketAddr>,
    settings: &[(&'static str, String)],
) -> Result<Prepared, SubjectError> {
    let mut arguments = Vec::new();
    if let Some(address) = zookeeper {
        arguments.extend(["--zookeeper".to_owned(), address.to_string()]);
    }
    let gc_log = recipe.log_file.with_extension("gc.log");
    // The JVM opens it from its own folder.
    let gc_log = std::path::absolute(&gc_log).unwrap_or(gc_log);
    arguments.extend(["--gc-log".to_owned(), gc_log.display().to_string()]);
    let given = recipe.overrides.iter().filter(|line| environment(line).is_none()).cloned();
    let overrides: Vec<String> =
        settings.iter().map(|(key, value)| format!("{key}={value}")).chain(given).collect();
    for line in &overrides {
        arguments.extend(["--override".to_owned(), line.clone()]);
    }
    let directory = recipe.data_directory.join("kafka");
    let mut prepared = prepare(recipe, version, &directory, port, &arguments)?;
    let path = directory.join("server.properties");
    let mut config =
        fs::read_to_string(&path).map_err(|source| SubjectError::Io { path: path.clone(), source })?;
    for line in &overrides {
        config.push_str(line);
        config.push('\n');
    }
    prepared.config = config;
    Ok(prepared)
}

/// The variable and its value, when a setting is one of the environment.
fn environment(line: &str) -> Option<(&str, &str)> {
    line.split_once('=').filter(|(key, _)| ENVIRONMENT.contains(key))
}

fn prepare(
    recipe: &Recipe,
    version: &str,
    directory: &Path,
    port: u16,
    more: &[String],
) -> Result<Prepared, SubjectError> {
    let directory = std::path::absolute(directory)
        .map_err(|source| SubjectError::Io { path: directory.to_owned(), source })?;
    let mut arguments = vec![
        "command".to_owned(),
        version.to_owned(),
        directory.display().to_string(),
        "--port".to_owned(),
        port.to_string(),
    ];
    arguments.extend(more.iter().cloned());
    let mut command = script()?;
    for (key, value) in recipe.overrides.iter().filter_map(|line| environment(line)) {
        command.env(key, value);
    }
    let said = run(&mut command, &arguments)?;
    parse(&said).ok_or_else(|| SubjectError::Script {
        text: format!("{SCRIPT} command {version} named nothing to run:\n{said}"),
    })
}

fn parse(said: &str) -> Option<Prepared> {
    let field = |name: &str| {
        said.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
    };
    let words: Vec<&str> = said.lines().filter_map(|line| line.strip_prefix("word=")).collect();
    let (program, arguments) = words.split_first()?;
    let mut command = Command::new(program);
    command.args(arguments).env("CLASSPATH", field("classpath")?);
    // Flags end where the name of the class begins; the logging files are ours and no flag of Kafka's.
    let flags = arguments.iter().take_while(|word| word.starts_with('-'));
    let flags: Vec<&str> = flags
        .filter(|word| !word.starts_with("-Dlog4j"))
        .map(|word| word.split(":file=").next().unwrap_or(word))
        .collect();
    Some(Prepared {
        command,
        version: field("version")?,
        metadata_mode: field("metadata")?,
        jvm_flags: flags.join(" "),
        config: String::new(),
    })
}

/// Under the folder we are in, or above the executable.
fn script() -> Result<Command, SubjectError> {
    let executable = std::env::current_exe().unwrap_or_default();
    let here = [PathBuf::from(".")];
    let folders = here.iter().map(PathBuf::as_path).chain(executable.ancestors().skip(1));
    let found = folders.map(|folder| folder.join(SCRIPT)).find(|path| path.is_file());
    let found = found.ok_or_else(|| SubjectError::Unavailable {
        text: format!(
            "{SCRIPT} is neither under this folder nor above {}: start from a checkout of the project",
            executable.display()
        ),
    })?;
    let found =
        fs::canonicalize(&found).map_err(|source| SubjectError::Io { path: found.clone(), source })?;
    Ok(Command::new(found))
}

fn run(command: &mut Command, arguments: &[String]) -> Result<String, SubjectError> {
    let failed = |source| SubjectError::Spawn { name: SCRIPT.to_owned(), source };
    let Output { status, stdout, stderr } =
        command.args(arguments).stdin(Stdio::null()).output().map_err(failed)?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match status.code() {
        Some(0) => Ok(text(&stdout)),
        Some(UNAVAILABLE) => Err(SubjectError::Unavailable { text: text(&stderr) }),
        _ => {
            Err(SubjectError::Script { text: format!("{SCRIPT} {}: {}", arguments.join(" "), text(&stderr)) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_script_prints_becomes_a_command_of_our_own() {
        let said = "version=3.9.1\nmetadata=zookeeper\nclasspath=/libs/*\nword=java\nword=-Xmx1G\n\
                    word=-Xlog:gc*:file=/logs/gc.log:time\nword=-Dlog4j.configuration=file:/x\n\
                    word=kafka.Kafka\nword=/data/server.properties\nword=--override\nword=a=b c\n";
        let prepared = parse(said).unwrap();
        assert_eq!(prepared.version, "3.9.1");
        assert_eq!(prepared.metadata_mode, "zookeeper");
        assert_eq!(prepared.jvm_flags, "-Xmx1G -Xlog:gc*");
        let arguments: Vec<_> = prepared.command.get_args().collect();
        assert_eq!(arguments.last().unwrap().to_str(), Some("a=b c"));
        assert!(parse("version=3.9.1\n").is_none());
    }

    #[test]
    fn only_releases_before_4_need_a_zookeeper() {
        assert!(Prepared::needs_zookeeper("3.9.1") && Prepared::needs_zookeeper("1.0.0"));
        assert!(Prepared::needs_zookeeper("3.9.x") && !Prepared::needs_zookeeper("4"));
    }

    #[test]
    fn settings_of_the_jvm_are_told_from_settings_of_the_broker() {
        assert_eq!(environment("KAFKA_HEAP_OPTS=-Xms2g -Xmx2g"), Some(("KAFKA_HEAP_OPTS", "-Xms2g -Xmx2g")));
        assert_eq!(environment("num.io.threads=2"), None);
    }
}
