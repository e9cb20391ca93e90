//! Drawing: a canvas that writes SVG, and scales that turn values into places.
//!
//! In: shapes with a class each. Out: SVG text. Colours and widths are not here but in the style (`style`), so one
//! drawing serves light and dark, page and file. Places are written with one decimal: equal input, equal bytes.

use std::fmt::Write;

/// Text that is safe between tags and in attributes.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // Not allowed in XML, and nothing a reader would miss.
            c if c.is_control() && c != '\n' && c != '\t' => {}
            c => out.push(c),
        }
    }
    out
}

/// One decimal, without a useless zero.
fn place(value: f64) -> String {
    let text = format!("{:.1}", if value.is_finite() { value } else { 0.0 });
    match text.strip_suffix(".0") {
        Some("-0") => "0".to_owned(),
        Some(whole) => whole.to_owned(),
        None => text,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

#[derive(Debug, Default)]
pub struct Canvas {
    body: String,
}

impl Canvas {
    pub fn text(&mut self, x: f64, y: f64, anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let (x, y) = (place(x), place(y));
        let _ =
            write!(self.body, "<text class=\"{class}\" x=\"{x}\" y=\"{y}\"{anchor}>{}</text>", escape(text));
    }

    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let [x1, y1, x2, y2] = [from.0, from.1, to.0, to.1].map(place);
        let _ =
            write!(self.body, "<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>");
    }

    /// A line through points. Where a point is missing the line is broken, never bridged.
    pub fn path(&mut self, points: &[Option<(f64, f64)>], class: &str) {
        let mut d = String::new();
        let mut pen_down = false;
        for point in points {
            match point {
                Some((x, y)) => {
                    let _ = write!(d, "{}{} {}", if pen_down { 'L' } else { 'M' }, place(*x), place(*y));
                    pen_down = true;
                }
                None => pen_down = false,
            }
        }
        if !d.is_empty() {
            let _ = write!(self.body, "<path class=\"{class}\" d=\"{d}\"/>");
        }
    }

    /// The area between an upper and a lower line over the same places.
    pub fn band(&mut self, points: &[(f64, f64, f64)], class: &str) {
        if points.is_empty() {
            return;
        }
        let there = points.iter().map(|(x, low, _)| format!("{} {}", place(*x), place(*low)));
        let back = points.iter().rev().map(|(x, _, high)| format!("{} {}", place(*x), place(*high)));
        let corners: Vec<String> = there.chain(back).collect();
        let _ = write!(self.body, "<path class=\"{class}\" d=\"M{}Z\"/>", corners.join("L"));
    }

    /// `hover` is shown when the pointer rests on the shape.
    pub fn rect(&mut self, x: f64, y: f64, width: f64, height: f64, class: &str, hover: Option<&str>) {
        let [x, y, width, height] = [x, y, width.max(0.0), height.max(0.0)].map(place);
        let _ = write!(
            self.body,
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\""
        );
        self.close("rect", hover);
    }

    pub fn dot(&mut self, x: f64, y: f64, radius: f64, class: &str, hover: Option<&str>) {
        let [x, y, radius] = [x, y, radius].map(place);
        let _ = write!(self.body, "<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"{radius}\"");
        self.close("circle", hover);
    }

    /// A small triangle that points down at a place: something happened here.
    pub fn mark(&mut self, x: f64, y: f64, class: &str, hover: &str) {
        let [left, right, x, y, top] = [x - 4.0, x + 4.0, x, y, y - 7.0].map(place);
        let _ = write!(self.body, "<path class=\"{class}\" d=\"M{x} {y}L{left} {top}L{right} {top}Z\"");
        self.close("path", Some(hover));
    }

    fn close(&mut self, tag: &str, hover: Option<&str>) {
        match hover {
            Some(hover) => {
                let _ = write!(self.body, "><title>{}</title></{tag}>", escape(hover));
            }
            None => self.body.push_str("/>"),
        }
    }

    /// The whole picture. `style` is empty where the page around it has the style.
    pub fn finish(self, width: f64, height: f64, label: &str, style: &str) -> String {
        let style = if style.is_empty() { String::new() } else { format!("<style>{style}</style>") };
        let [width, height] = [width, height].map(place);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" role=\"img\" aria-label=\"{}\">{style}<rect class=\"paper\" width=\"{width}\" \
             height=\"{height}\"/>{}</svg>",
            escape(label),
            self.body
        )
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Linear,
    /// Base 10 or 2 only decides where the ticks are.
    Log10,
    Log2,
}

/// Values to places on one axis.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    pub kind: Kind,
    pub low: f64,
    pub high: f64,
    pub from: f64,
    pub to: f64,
}

impl Scale {
    /// From zero to a round number above `high`.
    pub fn from_zero(high: f64, from: f64, to: f64) -> Scale {
        let high = if high > 0.0 { high } else { 1.0 };
        let step = round_step(high / 4.0);
        Scale { kind: Kind::Linear, low: 0.0, high: (high / step).ceil() * step, from, to }
    }

    /// Logarithmic over the values, widened to what holds at least one tick at each end where that is near.
    pub fn log10(low: f64, high: f64, from: f64, to: f64) -> Scale {
        let (low, high) = (low.max(1e-12), high.max(low.max(1e-12)));
        let (mut low, mut high) = (widen(low, false), widen(high, true));
        if high / low < 10.0 {
            (low, high) = (low / 2.0, high * 2.0);
        }
        Scale { kind: Kind::Log10, low, high, from, to }
    }

    pub fn log2(low: f64, high: f64, from: f64, to: f64) -> Scale {
        let low = low.max(1e-12);
        let high = high.max(low);
        let (low, high) = if high == low { (low / 2.0, high * 2.0) } else { (low, high) };
        Scale { kind: Kind::Log2, low, high, from, to }
    }

    pub fn linear(low: f64, high: f64, from: f64, to: f64) -> Scale {
        Scale { kind: Kind::Linear, low, high: if high > low { high } else { low + 1.0 }, from, to }
    }

    /// Values beyond the ends are drawn at the ends.
    pub fn at(&self, value: f64) -> f64 {
        let share = match self.kind {
            Kind::Linear => (value - self.low) / (self.high - self.low),
            Kind::Log10 | Kind::Log2 => (value.max(1e-12) / self.low).ln() / (self.high / self.low).ln(),
        };
        self.from + share.clamp(0.0, 1.0) * (self.to - self.from)
    }

    /// Places of the labelled lines.
    pub fn ticks(&self) -> Vec<f64> {
        match self.kind {
            Kind::Linear => {
                let step = round_step((self.high - self.low) / 4.0);
                let first = (self.low / step).ceil() as i64;
                let last = (self.high / step + 1e-9).floor() as i64;
                (first..=last).map(|i| i as f64 * step).collect()
            }
            Kind::Log2 => {
                let (first, last) = (self.low.log2().ceil() as i32, self.high.log2().floor() as i32);
                (first..=last).map(|i| 2f64.powi(i)).collect()
            }
            Kind::Log10 => {
                let decades = (self.high / self.low).log10();
                let steps: &[f64] = if decades <= 1.6 {
                    &[1.0, 2.0, 5.0]
                } else if decades <= 3.0 {
                    &[1.0, 3.0]
                } else {
                    &[1.0]
                };
                self.in_decades(steps)
            }
        }
    }

    /// Places of the faint lines between them.
    pub fn small_ticks(&self) -> Vec<f64> {
        match self.kind {
            Kind::Log10 if (self.high / self.low).log10() <= 5.0 => {
                self.in_decades(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0])
            }
            Kind::Linear | Kind::Log10 | Kind::Log2 => Vec::new(),
        }
    }

    fn in_decades(&self, steps: &[f64]) -> Vec<f64> {
        let (first, last) = (self.low.log10().floor() as i32, self.high.log10().ceil() as i32);
        (first..=last)
            .flat_map(|decade| steps.iter().map(move |step| step * 10f64.powi(decade)))
            .filter(|v| *v >= self.low * 0.999 && *v <= self.high * 1.001)
            .collect()
    }
}

/// 1, 2 or 5 times a power of ten, not below `least`.
fn round_step(least: f64) -> f64 {
    let power = 10f64.powf(least.log10().floor());
    let times = [1.0, 2.0, 2.5, 5.0, 10.0];
    let step = times.iter().map(|t| t * power).find(|step| *step >= least * 0.999_999);
    step.unwrap_or(10.0 * power)
}

/// The nearest of 1, 2 or 5 times a power of ten beyond a value.
fn widen(value: f64, up: bool) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let times = [1.0, 2.0, 5.0, 10.0];
    let found = if up {
        times.iter().map(|t| t * power).find(|v| *v >= value * 0.999_999)
    } else {
        times.iter().rev().map(|t| t * power).find(|v| *v <= value * 1.000_001)
    };
    found.unwrap_or(value)
}

/// Moves labels apart that would cover each other, keeping their order. `places` are the wanted middles.
pub fn spread(places: &[f64], least: f64, low: f64, high: f64) -> Vec<f64> {
    let mut order: Vec<usize> = (0..places.len()).collect();
    order.sort_by(|a, b| places[*a].total_cmp(&places[*b]));
    let mut sorted: Vec<f64> = order.iter().map(|i| places[*i].clamp(low, high)).collect();
    for i in 1..sorted.len() {
        sorted[i] = sorted[i].max(sorted[i - 1] + least);
    }
    // What was pushed past the end pushes back.
    let mut limit = high;
    for place in sorted.iter_mut().rev() {
        *place = place.min(limit);
        limit = *place - least;
    }
    let mut out = vec![0.0; places.len()];
    for (place, i) in sorted.iter().zip(order) {
        out[i] = *place;
    }
    out
}

/// About how wide a text is, in px, at a font size. Good enough to keep labels apart.
pub fn text_width(text: &str, size: f64) -> f64 {
    text.chars().map(|c| if "il.,:;'| ".contains(c) { 0.33 } else { 0.61 }).sum::<f64>() * size
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_axis_from_zero_ends_on_a_tick_at_or_above_the_data() {
        for high in [0.3, 1.0, 7.3, 99.0, 1_140_332.0] {
            let scale = Scale::from_zero(high, 100.0, 0.0);
            let ticks = scale.ticks();
            assert_eq!(ticks[0], 0.0);
            assert!(scale.high >= high);
            let last = ticks[ticks.len() - 1];
            assert!((last - scale.high).abs() < scale.high * 1e-9, "{last} {}", scale.high);
            assert!((3..=7).contains(&ticks.len()), "{high}: {ticks:?}");
        }
    }

    #[test]
    fn a_logarithmic_axis_keeps_equal_ratios_equally_far() {
        let scale = Scale::log10(0.12, 110.0, 300.0, 0.0);
        let step = scale.at(1.0) - scale.at(10.0);
        assert!((scale.at(10.0) - scale.at(100.0) - step).abs() < 1e-9);
        assert!(scale.low <= 0.12 && scale.high >= 110.0);
        assert!(scale.ticks().contains(&1.0));
        assert_eq!(scale.at(1e9), 0.0);
    }

    #[test]
    fn labels_are_spread_without_leaving_their_range_or_changing_order() {
        let places = spread(&[10.0, 11.0, 99.0, 98.0], 12.0, 0.0, 100.0);
        assert!(places[1] - places[0] >= 12.0);
        assert!(places[2] - places[3] >= 12.0);
        assert!(places.iter().all(|p| *p <= 100.0));
    }

    #[test]
    fn text_cannot_end_the_tag_it_stands_in() {
        let mut canvas = Canvas::default();
        canvas.text(1.0, 2.0, Anchor::Start, "a", "</text><script>\"&\u{0}");
        let svg = canvas.finish(10.0, 10.0, "\"><x", "");
        assert!(svg.contains("&lt;/text&gt;&lt;script&gt;&quot;&amp;</text>"), "{svg}");
        assert!(svg.contains("aria-label=\"&quot;&gt;&lt;x\""));
    }

    #[test]
    fn a_missing_point_breaks_the_line() {
        let mut canvas = Canvas::default();
        canvas.path(&[Some((0.0, 1.0)), Some((1.0, 1.0)), None, Some((3.0, 1.0))], "l");
        let svg = canvas.finish(10.0, 10.0, "", "");
        assert!(svg.contains("d=\"M0 1L1 1M3 1\""), "{svg}");
    }
}
