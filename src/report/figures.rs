//! How numbers are written for people.
//!
//! In: a number with its unit known from its name. Out: a short text.
//! `k M G` are powers of ten, `Ki Mi Gi` powers of two. Three significant digits: what a benchmark of seconds can
//! hold. A missing number is an en dash, so that nobody reads a zero into it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::date_of;

pub const MISSING: &str = "–";

/// `text` of a number that is there, else the dash.
pub fn or_missing<T>(value: Option<T>, text: impl Fn(T) -> String) -> String {
    value.map_or_else(|| MISSING.to_owned(), text)
}

/// Rounded to `digits` significant digits, without exponent, thousands separated.
pub fn significant(value: f64, digits: i32) -> String {
    if value == 0.0 || !value.is_finite() {
        return if value == 0.0 { "0".to_owned() } else { MISSING.to_owned() };
    }
    let magnitude = value.abs().log10().floor() as i32;
    let decimals = (digits - 1 - magnitude).clamp(0, 12) as usize;
    let unit = 10f64.powi((digits - 1 - magnitude).min(0).abs());
    let rounded = (value / unit).round() * unit;
    let text = if decimals == 0 { format!("{rounded:.0}") } else { format!("{value:.decimals$}") };
    separated(&text)
}

/// A whole number, thousands separated.
pub fn whole(value: f64) -> String {
    separated(&format!("{value:.0}"))
}

pub fn count(value: u64) -> String {
    separated(&value.to_string())
}

fn separated(text: &str) -> String {
    let (sign, text) = text.strip_prefix('-').map_or(("", text), |rest| ("-", rest));
    let (integer, fraction) = text.split_once('.').map_or((text, None), |(i, f)| (i, Some(f)));
    let mut out = sign.to_owned();
    for (i, digit) in integer.chars().enumerate() {
        if i > 0 && (integer.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// `1.14 M`, `210 k`, `940`.
pub fn si(value: f64) -> String {
    let (scale, unit) = match value.abs() {
        v if v >= 999.5e9 => (1e12, " T"),
        v if v >= 999.5e6 => (1e9, " G"),
        v if v >= 999.5e3 => (1e6, " M"),
        v if v >= 999.5 => (1e3, " k"),
        _ => (1.0, ""),
    };
    format!("{}{unit}", trimmed(&significant(value / scale, 3)))
}

/// A label of an axis: three digits at most, no needless zeros.
pub fn tick(value: f64) -> String {
    trimmed(&significant(value, 3)).to_owned()
}

/// Without zeros that only say that the number was round: `210` for `210.`, `1.5` for `1.50`.
fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// Bytes per second: `1.17 GB/s`, `95.1 MB/s`.
pub fn bytes_per_s(value: f64) -> String {
    if value >= 999.5e6 {
        format!("{} GB/s", significant(value / 1e9, 3))
    } else if value >= 999.5e3 {
        format!("{} MB/s", significant(value / 1e6, 3))
    } else {
        format!("{} kB/s", significant(value / 1e3, 3))
    }
}

/// Nanoseconds as milliseconds, without the unit.
pub fn ms(ns: f64) -> String {
    let ms = ns / 1e6;
    if ms >= 0.001 { significant(ms, 3) } else { format!("{ms:.4}") }
}

/// Nanoseconds with the unit that fits.
pub fn duration(ns: f64) -> String {
    match ns {
        v if v >= 999.5e6 => format!("{} s", significant(v / 1e9, 3)),
        v if v >= 999.5e3 => format!("{} ms", significant(v / 1e6, 3)),
        v if v >= 999.5 => format!("{} us", significant(v / 1e3, 3)),
        v => format!("{} ns", significant(v, 3)),
    }
}

/// Bytes as MiB, without the unit.
pub fn mib(bytes: f64) -> String {
    significant(bytes / f64::from(1 << 20), 3)
}

/// `16 KiB`, `1 GiB`, `100 B`, `1.5 MiB`.
pub fn bytes(value: f64) -> String {
    let (scale, unit) = match value.abs() {
        v if v >= 1024f64.powi(4) => (1024f64.powi(4), "TiB"),
        v if v >= 1024f64.powi(3) => (1024f64.powi(3), "GiB"),
        v if v >= 1024f64.powi(2) => (1024f64.powi(2), "MiB"),
        v if v >= 1024f64 => (1024f64, "KiB"),
        _ => (1.0, "B"),
    };
    format!("{} {unit}", trimmed(&significant(value / scale, 3)))
}

pub fn percent(ratio: f64) -> String {
    format!("{} %", whole(ratio * 100.0))
}

/// A change, with its sign: `+1.7 %`.
pub fn change(ratio: f64) -> String {
    let percent = (ratio - 1.0) * 100.0;
    if percent.abs() < 0.05 { "0.0 %".to_owned() } else { format!("{percent:+.1} %") }
}

/// A limit's value with its unit made readable.
pub fn with_unit(value: f64, unit: &str) -> String {
    match unit {
        "B/s" => bytes_per_s(value),
        "ns" => duration(value),
        "1/s" => format!("{}/s", si(value)),
        unit => format!("{} {unit}", si(value)),
    }
}

/// `2026-09-03T14:05:06Z`.
pub fn utc(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    let (days, second) = ((seconds / 86_400) as i64, seconds % 86_400);
    let (year, month, day) = date_of(days);
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_three_digits_and_their_scale() {
        assert_eq!(significant(1_140_332.0, 3), "1,140,000");
        assert_eq!(significant(0.18231, 3), "0.182");
        assert_eq!(significant(12.345, 3), "12.3");
        assert_eq!(significant(0.0, 3), "0");
        assert_eq!(si(1_140_332.0), "1.14 M");
        assert_eq!(si(999_600.0), "1 M");
        assert_eq!(si(210_000.0), "210 k");
        assert_eq!(si(940.0), "940");
        assert_eq!(whole(1_234_567.6), "1,234,568");
        assert_eq!(count(999), "999");
        assert_eq!(ms(1_940_000.0), "1.94");
        assert_eq!(ms(460.0), "0.0005");
        assert_eq!(duration(182_000.0), "182 us");
        assert_eq!(bytes(16_384.0), "16 KiB");
        assert_eq!(bytes(1_610_612_736.0), "1.5 GiB");
        assert_eq!(bytes_per_s(1.167e9), "1.17 GB/s");
        assert_eq!(change(0.983), "-1.7 %");
        assert_eq!(or_missing(None::<f64>, si), "–");
    }

    #[test]
    fn dates_agree_with_the_calendar() {
        let at = |seconds| utc(UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        assert_eq!(at(951_782_400), "2000-02-29T00:00:00Z");
        assert_eq!(at(1_709_251_199), "2024-02-29T23:59:59Z");
        assert_eq!(at(1_709_251_200), "2024-03-01T00:00:00Z");
        assert_eq!(at(4_102_444_800), "2100-01-01T00:00:00Z");
    }
}
