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

    // Without script the page is whole, and the browser's own hovering shows the texts.
    let html = fs::read_to_string(&file).expect("readable");
    let (before, script) = html.split_once("<script>").expect("one script");
    let (_, after) = script.split_once("</script>").expect("it ends");
    let silent = folder.path().join("silent.html");
    fs::write(&silent, format!("{before}{after}")).expect("written");
    let (dom, log) = run_in_browser(&program, &profile, &["--dump-dom"], &silent);
    assert_eq!(dom.matches("<figure ").count(), pictures);
    assert!(dom.contains("</title></circle>") && !dom.contains("id=\"readout\""));
    assert!(!log.contains("CONSOLE"), "{log}");

    // A violation must be seen, or the silence above proves nothing.
    let broken = folder.path().join("broken.html");
    fs::write(&broken, html.replace("</main>", "<img src=\"missing.png\"></main>")).expect("written");
    let (_, log) = run_in_browser(&program, &profile, &["--dump-dom"], &broken);
    assert!(
        log.lines().any(|line| line.contains("CONSOLE") && line.contains("Content Security Policy")),
        "{log}"
    );
}

/// Asks the page about itself: how far it is wider than its window, and whether what its buttons save can be read.
const PROBE: &str = "<script>
var root = document.documentElement, saved = [];
root.dataset.beyond = root.scrollWidth - root.clientWidth;
root.dataset.width = root.clientWidth;
URL.createObjectURL = function (blob) { saved.push(blob); return '#'; };
HTMLAnchorElement.prototype.click = function () {};
document.querySelectorAll('figure button').forEach(function (button) { button.click(); });
Promise.all(saved.map(function (blob) { return blob.text(); })).then(function (texts) {
  var pictures = 0, tables = 0;
  texts.forEach(function (text) {
    if (text[0] !== '<') { tables += text.split('\\n').length > 2 ? 1 : 0; return; }
    var parsed = new DOMParser().parseFromString(text, 'image/svg+xml');
    pictures += !parsed.querySelector('parsererror') && parsed.querySelector('style') ? 1 : 0;
  });
  root.dataset.pictures = pictures;
  root.dataset.tables = tables;
});
</script></body>";

#[test]
fn the_page_fits_wide_and_narrow_windows_and_its_buttons_save_what_they_say() {
    let Some(program) = chromium() else {
        eprintln!(
            "skipped: the_page_fits_wide_and_narrow_windows_and_its_buttons_save_what_they_say: no chromium in PATH"
        );
        return;
    };
    let folder = tempfile::tempdir().expect("a directory");
    let file = folder.path().join("probe.html");
    for run in [synthetic::bench(), synthetic::matrix()] {
        let html = page::html(&run, Path::new("run.json")).expect("drawn");
        let pictures = html.matches("<figure ").count();
        fs::write(&file, html.replace("</body>", PROBE)).expect("written");
        for size in ["--window-size=1280,900", "--window-size=520,900"] {
            let more = ["--dump-dom", "--virtual-time-budget=10000", size];
            let (dom, log) = run_in_browser(&program, &folder.path().join("profile"), &more, &file);
            let head = dom.split_once('>').map(|(_, rest)| rest.split_once('>').map_or(rest, |(tag, _)| tag));
            let head = head.unwrap_or_default();
            assert!(head.contains("data-beyond=\"0\""), "{size}: {head}");
            assert!(head.contains(&format!("data-pictures=\"{pictures}\"")), "{size}: {head}");
            assert!(head.contains(&format!("data-tables=\"{pictures}\"")), "{size}: {head}");
            assert!(!log.contains("CONSOLE"), "{log}");
        }
    }
}
