//! The kinds of values that annotations have (contract, first section): lists, booleans, durations, numbers.

use std::time::Duration;

use crate::duration;
use crate::problem::{Problem, Reason, clean};

/// Longest piece of a value that a message repeats.
const SHOWN: usize = 80;

/// The problem of an annotation whose value is not accepted.
#[must_use]
pub fn invalid(key: &str, text: &str, why: &str) -> Problem {
    Problem::new(
        Reason::InvalidAnnotation,
        format!(
            "annotation {key}: \"{}\" {why}; the last valid settings stay in force until it is corrected or removed",
            clean(text, SHOWN)
        ),
    )
}

/// A list: split at commas, trimmed, empty elements dropped.
#[must_use]
pub fn list(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

/// `true` or `false`, in any case.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text.trim() {
        t if t.eq_ignore_ascii_case("true") => Ok(true),
        t if t.eq_ignore_ascii_case("false") => Ok(false),
        _ => Err("is neither true nor false".to_owned()),
    }
}

/// A duration of at least `least`.
pub fn duration_from(text: &str, least: Duration) -> Result<Duration, String> {
    let value = duration::parse(text).ok_or_else(|| "is not a duration such as 30s or 1m30s".to_owned())?;
    if value < least {
        return Err(format!("is less than the {} that it must have", duration::print(least)));
    }
    Ok(value)
}

/// A percentage, 0–100, with or without `%`.
pub fn percent(text: &str) -> Result<u8, String> {
    let number = text.trim().trim_end_matches('%').trim_end();
    match number.parse::<u8>() {
        Ok(value) if value <= 100 && number.bytes().all(|b| b.is_ascii_digit()) => Ok(value),
        _ => Err("is not a percentage between 0 and 100".to_owned()),
    }
}

/// A port number, 1–65535, in plain decimal digits.
pub fn port(text: &str) -> Result<u16, String> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u16>() {
        Ok(value) if plain && value > 0 => Ok(value),
        _ => Err("is not a port between 1 and 65535".to_owned()),
    }
}

/// A Consul service name that can be read back through Consul's HTTP API (`.`, `..` and control characters can't: measured).
/// Taken as it stands, without trimming: names are compared byte for byte.
pub fn service_name(text: &str) -> Result<String, String> {
    if text.trim().is_empty() {
        return Err("is blank".to_owned());
    }
    if text == "." || text == ".." {
        return Err("can't be asked for: Consul's HTTP API reads it as a path".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("holds control characters".to_owned());
    }
    if text.len() > MAX_NAME {
        return Err(format!("is longer than {MAX_NAME} bytes"));
    }
    Ok(text.to_owned())
}

/// Longest Consul service name in bytes: the catalog stores more than 255 characters, an address line has a limit.
const MAX_NAME: usize = 1024;

/// The name of a datacenter, Enterprise namespace, partition or peer.
pub fn word(text: &str) -> Result<String, String> {
    let text = text.trim();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if text.is_empty() || text.len() > 128 || !text.chars().all(fits) {
        return Err("is not a name of letters, digits, '-', '_' and '.'".to_owned());
    }
    Ok(text.to_owned())
}

/// A DNS label: what names a port.
#[must_use]
pub fn is_label(text: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    !text.is_empty() && text.len() <= 63 && text.bytes().all(inner) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_trimmed_and_lose_empty_elements() {
        assert_eq!(list(" a, b,,c ,"), ["a", "b", "c"]);
        assert!(list(" , ").is_empty());
    }

    #[test]
    fn numbers_are_plain_and_in_range() {
        assert_eq!(port("8080"), Ok(8080));
        for text in ["", "0", "-1", "+80", "65536", "70000", "080x", " 80"] {
            assert!(port(text).is_err(), "{text}");
        }
        assert_eq!((percent("50"), percent("100 %"), percent(" 0")), (Ok(50), Ok(100), Ok(0)));
        for text in ["", "101", "-1", "+5", "half", "%"] {
            assert!(percent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn names_are_taken_byte_for_byte() {
        assert_eq!(service_name(" Foo/bar "), Ok(" Foo/bar ".to_owned()));
        for text in ["", "  ", ".", "..", "a\nb"] {
            assert!(service_name(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn booleans_in_any_case() {
        assert_eq!((boolean("True"), boolean(" FALSE ")), (Ok(true), Ok(false)));
        assert!(boolean("yes").is_err());
    }
}
