//! Colours and the style sheets of pictures and page.
//!
//! In: style sheets with `$name` for a colour. Out: the same for light, and again for dark behind a media query.
//! The colours of data are Okabe and Ito's, which stay apart for every kind of colour vision, brightened for dark;
//! colour is never the only sign: lines also carry labels, dashes or markers. No variables of CSS are used, so
//! that viewers which know only plain SVG show the colours too.

/// `(name, light, dark)`. No name is the beginning of another.
const COLOURS: [(&str, &str, &str); 26] = [
    ("$paper", "#fdfdfb", "#15181b"),
    ("$panel", "#f5f5f1", "#1c2024"),
    ("$ink", "#1a1e23", "#e8eaec"),
    ("$soft", "#5c6570", "#9ca5af"),
    ("$rule", "#cfd3d8", "#3a4148"),
    ("$grid", "#e6e8ea", "#262b30"),
    ("$faint", "#f1f2f3", "#1e2226"),
    ("$good", "#0b6b4b", "#4fd1a5"),
    ("$bad", "#b3261e", "#ff8a80"),
    ("$warn", "#8a5200", "#f2b84b"),
    ("$tint", "#fff4dc", "#2e2614"),
    ("$data0", "#0072b2", "#56b4e9"),
    ("$data1", "#d55e00", "#ff8f4d"),
    ("$data2", "#009e73", "#2fc99b"),
    ("$data3", "#a8528a", "#e59cc6"),
    ("$data4", "#b57d00", "#f0b93a"),
    ("$data5", "#4c5fd5", "#9aa8ff"),
    ("$null", "#7b838c", "#8f98a2"),
    ("$heat0", "#e3eef6", "#1b2a35"),
    ("$heat1", "#bcd9ec", "#1f4257"),
    ("$heat2", "#86bcdc", "#1f5f80"),
    ("$heat3", "#4a98c7", "#2a83ad"),
    ("$heat4", "#1c6fa6", "#5cb0dc"),
    ("$heat5", "#0b4a7a", "#a3d8f5"),
    ("$heat6", "#062a4a", "#e9f7ff"),
    ("$shade", "#9dc3de", "#2b5f80"),
];

/// How many colours lines can have before they repeat.
pub const DATA_COLOURS: usize = 6;

const PICTURE: &str = include_str!("picture.css");
const PAGE: &str = include_str!("page.css");

fn filled(sheet: &str, dark: bool) -> String {
    let mut out = sheet.to_owned();
    for (name, light_value, dark_value) in COLOURS {
        out = out.replace(name, if dark { dark_value } else { light_value });
    }
    out
}

/// The dark sheet repeats only what has a colour in it.
fn with_dark(sheet: &str) -> String {
    let coloured: String =
        sheet.lines().filter(|line| line.contains('$')).map(|line| format!("{line}\n")).collect();
    format!("{}@media (prefers-color-scheme:dark){{\n{}}}\n", filled(sheet, false), filled(&coloured, true))
}

/// For a picture that stands alone.
pub fn picture() -> String {
    with_dark(PICTURE)
}

/// For the page and the pictures in it.
pub fn page() -> String {
    format!("{}{}", with_dark(PAGE), with_dark(PICTURE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_colour_is_left_unnamed_and_rules_stay_whole() {
        for sheet in [picture(), page()] {
            assert!(!sheet.contains('$'), "{sheet}");
            assert_eq!(sheet.matches('{').count(), sheet.matches('}').count());
        }
    }

    #[test]
    fn every_rule_with_a_colour_stands_on_one_line() {
        // `with_dark` repeats lines; half a rule would break the sheet.
        for sheet in [PICTURE, PAGE] {
            for line in sheet.lines().filter(|line| line.contains('$')) {
                assert!(line.contains('{') && line.ends_with('}'), "{line}");
            }
        }
    }
}
