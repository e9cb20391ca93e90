//! A flame graph: where the samples of a profile were, callers below, callees above.
//!
//! In: stacks from the outermost frame to the innermost, with their counts. Out: one SVG that needs nothing else; hovering shows
//! a frame's full name and share. Frames are in the order of their names, so that two graphs can be laid side by side.

use std::collections::BTreeMap;

use super::svg::escape;

const WIDTH: f64 = 1200.0;
const ROW: f64 = 17.0;
/// Narrower frames are left out: nobody could read them.
const WIDTH_MIN: f64 = 0.3;
const LETTER: f64 = 6.6;

#[derive(Default)]
struct Frame {
    samples: u64,
    above: BTreeMap<String, Frame>,
}

/// What the whole picture is drawn on.
struct Sheet {
    samples: u64,
    height: f64,
}

impl Sheet {
    fn width_per_sample(&self) -> f64 {
        WIDTH / self.samples as f64
    }
}

impl Frame {
    fn depth(&self) -> usize {
        self.above.values().map(|frame| 1 + frame.depth()).max().unwrap_or(0)
    }

    fn draw(&self, name: &str, x: f64, level: usize, sheet: &Sheet, out: &mut String) {
        let width = self.samples as f64 * sheet.width_per_sample();
        if width < WIDTH_MIN {
            return;
        }
        let y = sheet.height - ROW * (level as f64 + 1.0);
        let share = 100.0 * self.samples as f64 / sheet.samples as f64;
        // Kernel frames, as perf marks them, in another colour than the program's.
        let class = if name.ends_with("_[k]") { "k" } else { "u" };
        let fits = (width / LETTER) as usize;
        let short = name.strip_suffix("_[k]").unwrap_or(name);
        let shown: String = if short.chars().count() <= fits {
            short.to_owned()
        } else if fits > 4 {
            short.chars().take(fits - 2).chain("..".chars()).collect()
        } else {
            String::new()
        };
        out.push_str(&format!(
            "<g><title>{} {share:.2} %, {} samples</title><rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" \
             width=\"{width:.1}\" height=\"{:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text></g>\n",
            escape(short),
            self.samples,
            ROW - 1.0,
            x + 3.0,
            y + 12.0,
            escape(&shown)
        ));
        let mut at = x;
        for (name, frame) in &self.above {
            frame.draw(name, at, level + 1, sheet, out);
            at += frame.samples as f64 * sheet.width_per_sample();
        }
    }
}

/// `None` without a sample.
pub fn svg(stacks: &[(Vec<String>, u64)], title: &str) -> Option<String> {
    let mut root = Frame::default();
    for (stack, samples) in stacks {
        root.samples += samples;
        let mut frame = &mut root;
        for name in stack {
            frame = frame.above.entry(name.clone()).or_default();
            frame.samples += samples;
        }
    }
    if root.samples == 0 {
        return None;
    }
    let height = ROW * (root.depth() as f64 + 2.5);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\">\n\
         <style>text{{font:11px monospace;fill:#111}}.u{{fill:#e69f00}}.k{{fill:#56b4e9}}rect{{stroke:#fff;stroke-width:.4}}</style>\n\
         <rect width=\"{WIDTH}\" height=\"{height}\" style=\"fill:#fff\"/>\n<text x=\"6\" y=\"14\">{}</text>\n",
        escape(title)
    );
    let whole = format!("all, {} samples", root.samples);
    root.draw(&whole, 0.0, 0, &Sheet { samples: root.samples, height }, &mut out);
    out.push_str("</svg>\n");
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_shares_and_callees_stand_on_their_callers() {
        let stack = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let stacks =
            [(stack(&["main", "read"]), 30), (stack(&["main", "write<T>"]), 60), (stack(&["idle_[k]"]), 10)];
        let drawn = svg(&stacks, "a <b>").unwrap();
        assert!(drawn.contains("main 90.00 %, 90 samples") && drawn.contains("width=\"1080.0\""), "{drawn}");
        assert!(drawn.contains("write&lt;T&gt; 60.00 %") && drawn.contains("a &lt;b&gt;"));
        assert!(drawn.contains("class=\"k\"") && drawn.contains("idle 10.00 %"));
        let y_of = |name: &str| {
            let at = drawn.find(&format!("<title>{name} ")).unwrap();
            let rest = &drawn[at..];
            let y = &rest[rest.find(" y=\"").unwrap() + 4..];
            y[..y.find('"').unwrap()].parse::<f64>().unwrap()
        };
        assert!(y_of("read") < y_of("main"));
        assert_eq!(svg(&[], "nothing"), None);
    }
}
