//! Points in time as --to-datetime and --by-duration say them: ISO 8601, in the forms Java takes.
//!
//! In: text. Out: milliseconds, or what is wrong with it.

use crate::clock::date_of;

/// Milliseconds since 1970 of `2024-01-31T23:59:59.999`, with or without a zone (`Z`, `+01`, `+0100`, `+01:00`); UTC
/// where none is given.
pub fn datetime_ms(text: &str) -> Result<i64, String> {
    let unparsable = || format!("java.text.ParseException: Unparseable date: \"{text}\"");
    let Some((date, time)) = text.split_once('T') else {
        return Err(
            "java.text.ParseException: Error parsing timestamp. It does not contain a 'T' according to ISO8601 format"
                .to_owned(),
        );
    };
    let date: Vec<i64> = date.split('-').map(number).collect::<Option<_>>().ok_or_else(unparsable)?;
    let zone_at = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (time, zone) = time.split_at(zone_at);
    let (clock, fraction) = time.split_once('.').ok_or_else(unparsable)?;
    let clock: Vec<i64> = clock.split(':').map(number).collect::<Option<_>>().ok_or_else(unparsable)?;
    let ([year, month, day], [hour, minute, second]) = (&date[..], &clock[..]) else {
        return Err(unparsable());
    };
    let fraction = number(fraction).filter(|ms| *ms < 1000).ok_or_else(unparsable)?;
    let zone_minutes = zone_minutes(zone).ok_or_else(unparsable)?;
    if *hour > 23 || *minute > 59 || *second > 59 || *year > 9999 {
        return Err(unparsable());
    }
    let days = days_of(*year, *month, *day).ok_or_else(unparsable)?;
    Ok((((days * 24 + hour) * 60 + minute - zone_minutes) * 60 + second) * 1000 + fraction)
}

fn number(text: &str) -> Option<i64> {
    let digits = !text.is_empty() && text.len() <= 9 && text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

fn zone_minutes(text: &str) -> Option<i64> {
    let (sign, rest) = match text.split_at_checked(1) {
        None => return Some(0),
        Some(("Z", "")) => return Some(0),
        Some(("+", rest)) => (1, rest),
        Some(("-", rest)) => (-1, rest),
        Some(_) => return None,
    };
    let digits = rest.replace(':', "");
    let (hours, minutes) = match digits.len() {
        2 => (number(&digits)?, 0),
        4 => (number(&digits[..2])?, number(&digits[2..])?),
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
}

/// Days since 1970 of a date that exists.
fn days_of(year: i64, month: i64, day: i64) -> Option<i64> {
    if !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    // Years begin in March, as in `date_of`, which then says whether there is such a day.
    let year_from_march = year - i64::from(month <= 2);
    let (era, year_of_era) = (year_from_march.div_euclid(400), year_from_march.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days =
        era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468;
    (date_of(days) == (year, month as u32, day as u32)).then_some(days)
}

/// Milliseconds of `P1DT2H3M4.5S`, as `java.time.Duration` reads it: each part may have a sign, and so may the whole.
pub fn duration_ms(text: &str) -> Result<i64, String> {
    parse_duration(text).ok_or_else(|| {
        "java.time.format.DateTimeParseException: Text cannot be parsed to a Duration".to_owned()
    })
}

fn parse_duration(text: &str) -> Option<i64> {
    let upper = text.to_ascii_uppercase();
    let (sign, rest) = match upper.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, upper.strip_prefix('+').unwrap_or(&upper)),
    };
    let rest = rest.strip_prefix('P')?;
    let (days, time) = match rest.split_once('T') {
        Some((_, "")) => return None,
        Some((days, time)) => (days, time),
        None => (rest, ""),
    };
    let mut total_ms: i64 = 0;
    let mut parts = 0;
    if !days.is_empty() {
        total_ms = part(days.strip_suffix('D')?)?.checked_mul(86_400_000)?;
        parts += 1;
    }
    let mut left = time;
    for (unit, ms) in [('H', 3_600_000), ('M', 60_000)] {
        if let Some((value, rest)) = left.split_once(unit) {
            total_ms = total_ms.checked_add(part(value)?.checked_mul(ms)?)?;
            (left, parts) = (rest, parts + 1);
        }
    }
    if !left.is_empty() {
        let seconds = left.strip_suffix('S')?;
        let (whole, fraction) = seconds.split_once(['.', ',']).unwrap_or((seconds, ""));
        if fraction.len() > 9 || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let ms: i64 = format!("{fraction:0<3}")[..3].parse().ok()?;
        let ms = if whole.starts_with('-') { -ms } else { ms };
        total_ms = total_ms.checked_add(part(whole)?.checked_mul(1000)?)?.checked_add(ms)?;
        parts += 1;
    }
    (parts > 0).then_some(sign * total_ms)
}

fn part(text: &str) -> Option<i64> {
    let digits = text.trim_start_matches(['-', '+']);
    if text.len() - digits.len() > 1 || digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_read_with_and_without_a_zone() {
        assert_eq!(datetime_ms("1970-01-01T00:00:00.000"), Ok(0));
        assert_eq!(datetime_ms("2026-11-25T04:05:06.007"), Ok(1_795_579_506_007));
        assert_eq!(datetime_ms("2026-11-25T04:05:06.007Z"), Ok(1_795_579_506_007));
        for zone in ["+01", "+0100", "+01:00"] {
            let text = format!("2026-11-25T05:05:06.007{zone}");
            assert_eq!(datetime_ms(&text), Ok(1_795_579_506_007), "{zone}");
        }
        assert_eq!(datetime_ms("2000-02-29T00:00:00.000-00:30"), Ok(951_784_200_000));
        for wrong in [
            "2026-11-25",
            "2026-11-25T04:05:06",
            "2026-13-01T00:00:00.000",
            "2025-02-29T00:00:00.000",
            "2026-11-25T24:00:00.000",
            "2026-11-25T04:05:06.007+1",
            "xT0:0:0.0",
            "T",
        ] {
            assert!(datetime_ms(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn durations_are_read_as_java_reads_them() {
        for (text, ms) in [
            ("PT0S", 0),
            ("P1D", 86_400_000),
            ("PT1H", 3_600_000),
            ("P1DT2H3M4.5S", 93_784_500),
            ("pt-6h", -21_600_000),
            ("-PT1M", -60_000),
            ("PT1.0007S", 1_000),
            ("PT-0.5S", -500),
        ] {
            assert_eq!(duration_ms(text), Ok(ms), "{text}");
        }
        for wrong in
            ["", "P", "PT", "P1", "1D", "PT1", "P1H", "PT1S1M", "PT--1S", "PTxS", "PT99999999999999999H"]
        {
            assert!(duration_ms(wrong).is_err(), "{wrong}");
        }
    }
}
