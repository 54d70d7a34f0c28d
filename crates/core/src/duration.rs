//! Durations as users write them, in flags and annotations: `5s`, `1m30s`, `500ms`; a bare number is seconds.

use std::time::Duration;

/// Longest duration accepted: what is meant to be longer is meant to be never.
const MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// Reads a duration; none when the text is not one, or it is longer than a year.
#[must_use]
pub fn parse(text: &str) -> Option<Duration> {
    let text = text.trim();
    if text.is_empty() {
        return None;
    }
    if text.bytes().all(|b| b.is_ascii_digit()) {
        return bounded(Duration::from_secs(text.parse().ok()?));
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let number: u64 = rest[..digits].parse().ok()?;
        let unit_length = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let millis = match &rest[digits..digits + unit_length] {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            _ => return None,
        };
        total = total.checked_add(Duration::from_millis(number.checked_mul(millis)?))?;
        rest = &rest[digits + unit_length..];
    }
    bounded(total)
}

/// As a user would write it: the largest units that fit, `1m30s`, `500ms`.
#[must_use]
pub fn print(duration: Duration) -> String {
    let mut millis = duration.as_millis();
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if millis >= size {
            out.push_str(&format!("{}{unit}", millis / size));
            millis %= size;
        }
    }
    out
}

fn bounded(duration: Duration) -> Option<Duration> {
    (duration <= MAX).then_some(duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_prints() {
        for (text, seconds) in [("5s", 5), ("1m30s", 90), ("60", 60), (" 2h ", 7200), ("1d", 86_400), ("0", 0)] {
            assert_eq!(parse(text), Some(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "s", "5x", "1m-3s", "-5", "1.5s", "99999999999999999999", "5s5", "9999d", "ö"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(print(Duration::from_millis(90_500)), "1m30s500ms");
    }
}
