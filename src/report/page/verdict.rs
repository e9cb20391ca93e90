//! The part of the page that compares: parity box, the table of verdicts, the pictures of pairs, and all
//! configurations side by side.
//!
//! In: a run and its pictures. Out: HTML, nothing where the run compares nothing. Without the parity box there is no
//! verdict on the page.

use super::super::picture::{Picture, Section};
use super::super::run::{Run, Subject};
use super::super::svg::escape;
use super::super::verdict;
use super::{MISSING, gallery};

pub(super) fn section(out: &mut String, run: &Run, pictures: &[Picture]) {
    let parity = verdict::parity(run);
    if parity.is_empty() {
        return;
    }
    out.push_str("<section class=\"results\" id=\"verdict\">\n<h2>Side by side</h2>\n");
    out.push_str(
        "<p class=\"intro\">Pairs of blocks next to each other in time, each with a new process and a new directory, \
         in an order from the seed. A difference is claimed only where the 95 % interval leaves out 1, the estimate \
         lies beyond the noise floor (A against itself), and the signed-rank test passes Holm's correction over all \
         rows of its measure. Rows that A loses are printed like any other.</p>\n",
    );
    for side in verdict::sides(run) {
        out.push_str(&format!("<p class=\"intro\"><b>{}</b></p>\n", escape(&side)));
    }
    out.push_str("<h3>Parity: what either side did in this run</h3>\n<ul class=\"parity\">\n");
    for line in &parity {
        out.push_str(&format!("<li>{}</li>\n", escape(line)));
    }
    out.push_str("</ul>\n");
    table(out, run);
    out.push_str("<details><summary>The verdicts as sentences</summary>\n<ul class=\"parity\">\n");
    for sentence in verdict::sentences(run) {
        out.push_str(&format!("<li>{}</li>\n", escape(sentence)));
    }
    out.push_str("</ul></details>\n");
    gallery(
        out,
        "stack",
        "Pairs",
        "Every pair as it was measured, with its estimate, interval and noise floor.",
        pictures.iter().filter(|picture| picture.section == Section::Verdict),
    );
    out.push_str("</section>\n");
    configurations(out, run);
}

fn table(out: &mut String, run: &Run) {
    out.push_str("<div class=\"scroll\"><table>\n<thead><tr>");
    // Words stand at their left edge, figures at their right.
    let is_text = |i: usize| !(4..10).contains(&i);
    let class = |i: usize| if is_text(i) { "text" } else { "" };
    for (i, name) in verdict::HEAD.iter().enumerate() {
        out.push_str(&format!("<th class=\"{}\" scope=\"col\">{}</th>", class(i), escape(name)));
    }
    out.push_str("</tr></thead>\n<tbody>\n");
    for row in verdict::table(run) {
        out.push_str("<tr>");
        for (i, cell) in row.iter().enumerate() {
            let mut class = class(i).to_owned();
            match cell.as_str() {
                "A better" => class.push_str(" good"),
                "A worse" => class.push_str(" bad"),
                _ => {}
            }
            out.push_str(&format!("<td class=\"{class}\">{}</td>", escape(cell)));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</tbody></table></div>\n");
}

/// The configurations of every pair that met, key by key; what differs stands first and is marked.
fn configurations(out: &mut String, run: &Run) {
    let mut met: Vec<(&Subject, &Subject)> = Vec::new();
    let find = |name: &Option<String>| {
        let name = name.as_deref()?;
        // A run of the shared view alone has its subjects under that view's name.
        run.subject(name).or_else(|| run.subjects.iter().find(|s| s.name.starts_with(&format!("{name} ("))))
    };
    for (comparison, versus) in verdict::rows(run) {
        if let (false, Some(a), Some(b)) =
            (verdict::is_floor(versus), find(&comparison.a), find(&comparison.b))
            && !met.iter().any(|(x, y)| x.name == a.name && y.name == b.name)
        {
            met.push((a, b));
        }
    }
    if met.is_empty() {
        return;
    }
    out.push_str("<section id=\"configurations\">\n<h2>Configurations side by side</h2>\n");
    out.push_str(
        "<p class=\"intro\">What was set beyond each broker's own defaults; keys that differ stand first, in bold. The \
         full files and command lines are under Environment.</p>\n",
    );
    for (a, b) in met {
        let text = |subject: &Subject| {
            let mut text = subject.config.clone().unwrap_or_default();
            if let Some(flags) = &subject.jvm_flags {
                text.push_str(&format!("\n(JVM)={flags}\n"));
            }
            text
        };
        out.push_str("<div class=\"scroll wide\"><table class=\"list\"><thead><tr>");
        for name in ["key", &a.name, &b.name] {
            out.push_str(&format!("<th class=\"text\" scope=\"col\">{}</th>", escape(name)));
        }
        out.push_str("</tr></thead><tbody>");
        for (key, of_a, of_b) in verdict::settings_side_by_side(&text(a), &text(b)) {
            let mark =
                |text: &str| if of_a == of_b { escape(text) } else { format!("<b>{}</b>", escape(text)) };
            let value = |value: &Option<String>| mark(value.as_deref().unwrap_or(MISSING));
            out.push_str(&format!(
                "<tr><td class=\"text\">{}</td><td class=\"text\">{}</td><td class=\"text\">{}</td></tr>",
                mark(&key),
                value(&of_a),
                value(&of_b)
            ));
        }
        out.push_str("</tbody></table></div>\n");
    }
    out.push_str("</section>\n");
}
