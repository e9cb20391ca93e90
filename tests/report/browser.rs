//! The page in a headless Chromium: it loads without an error in the console, with and without script, wide and
//! narrow. Where there is no Chromium the test says so by name and passes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use ringdaw::report::page;

use crate::synthetic;

fn chromium() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|file| file.is_file())
}

fn run_in_browser(program: &Path, profile: &Path, more: &[&str], page: &Path) -> (String, String) {
    let output = Command::new(program)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--disable-dev-shm-usage",
            "--enable-logging=stderr",
            "--log-level=0",
            "--timeout=60000",
        ])
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(more)
        .arg(page)
        .stdin(Stdio::null())
        .output()
        .expect("the browser starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn the_page_opens_in_chromium_without_a_line_in_its_console() {
    let Some(program) = chromium() else {
        eprintln!("skipped: the_page_opens_in_chromium_without_a_line_in_its_console: no chromium in PATH");
        return;
    };
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("report.html");
    fs::write(&file, page::html(&synthetic::bench(), Path::new("run.json")).expect("drawn"))
        .expect("written");
    let profile = folder.path().join("profile");
    let (dom, log) = run_in_browser(&program, &profile, &["--dump-dom", "--window-size=1280,900"], &file);
    let console: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(console.is_empty(), "{console:#?}");
    // Script ran: it adds a readout and a button per picture and form.
    assert!(dom.contains("id=\"readout\""), "no readout");
    let pictures = dom.matches("<figure ").count();
    assert!(pictures >= 20, "{pictures} pictures");
    assert_eq!(dom.matches(">SVG</button>").count(), pictures);

    // A violation must be seen, or the silence above proves nothing.
    let broken = folder.path().join("broken.html");
    let html = fs::read_to_string(&file).expect("readable");
    fs::write(&broken, html.replace("</main>", "<img src=\"missing.png\"></main>")).expect("written");
    let (_, log) = run_in_browser(&program, &profile, &["--dump-dom"], &broken);
    assert!(
        log.lines().any(|line| line.contains("CONSOLE") && line.contains("Content Security Policy")),
        "{log}"
    );
}
