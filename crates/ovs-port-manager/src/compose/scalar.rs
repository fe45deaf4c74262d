//! Scalars as Compose's YAML reads them, and as it writes them into labels: `010` is `8`, `1400.0` is `1400`.

use super::value::{Data, Text};

/// The prefix of YAML's own tags.
const CORE: &str = "tag:yaml.org,2002:";

/// What a scalar is: by its tag, or else by its form if it is not quoted.
///
/// # Errors
///
/// Why it is not what its tag says.
pub(super) fn read(text: &str, plain: bool, tag: Option<&str>) -> Result<Data, String> {
    let text_of = |text: &str| Data::Text(Text::from(text));
    match tag.and_then(|tag| tag.strip_prefix(CORE).or_else(|| tag.strip_prefix("!!"))) {
        None if tag.is_some() || !plain => Ok(text_of(text)),
        None => Ok(resolve(text)),
        Some("str") => Ok(text_of(text)),
        Some(kind) => {
            let found = resolve(text);
            match (kind, &found) {
                ("int", Data::Int(_))
                | ("float", Data::Float(_))
                | ("bool", Data::Bool(_))
                | ("null", Data::Null)
                | ("timestamp", Data::Date) => Ok(found),
                // Beyond 2^53 a float is not exact, there as here.
                #[expect(clippy::cast_precision_loss, reason = "as Compose does")]
                ("float", Data::Int(number)) => Ok(Data::Float(*number as f64)),
                ("int" | "float" | "bool" | "null" | "timestamp", _) => {
                    Err(format!("{} is no !!{kind}", text.escape_debug()))
                }
                _ => Ok(text_of(text)),
            }
        }
    }
}

/// What a scalar without quotes is (YAML 1.2, with the octal numbers and underscores of YAML 1.1).
fn resolve(text: &str) -> Data {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Data::Null,
        "true" | "True" | "TRUE" => Data::Bool(true),
        "false" | "False" | "FALSE" => Data::Bool(false),
        ".nan" | ".NaN" | ".NAN" => Data::Float(f64::NAN),
        ".inf" | ".Inf" | ".INF" | "+.inf" | "+.Inf" | "+.INF" => Data::Float(f64::INFINITY),
        "-.inf" | "-.Inf" | "-.INF" => Data::Float(f64::NEG_INFINITY),
        _ if !text.starts_with(['+', '-', '.'])
            && !text.starts_with(|c: char| c.is_ascii_digit()) =>
        {
            Data::Text(Text::from(text))
        }
        _ if is_date(text) => Data::Date,
        _ => {
            let digits = text.replace('_', "");
            if let Some(number) = integer(&digits) {
                Data::Int(number)
            } else if let Some(number) = float(&digits) {
                Data::Float(number)
            } else {
                Data::Text(Text::from(text))
            }
        }
    }
}

fn integer(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match digits.get(..2) {
        Some("0x" | "0X") => (16, digits.get(2..)?),
        Some("0o" | "0O") => (8, digits.get(2..)?),
        Some("0b" | "0B") => (2, digits.get(2..)?),
        Some(two) if two.starts_with('0') => (8, digits.get(1..)?),
        _ => (10, digits),
    };
    if !digits.starts_with(|first: char| first.is_ascii_alphanumeric()) {
        return None;
    }
    let number = i128::from_str_radix(digits, radix).ok()?.checked_mul(sign)?;
    let greatest = if text.starts_with('+') { i128::from(i64::MAX) } else { i128::from(u64::MAX) };
    (i128::from(i64::MIN)..=greatest).contains(&number).then_some(number)
}

fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| text.chars().all(|character| character.is_ascii_digit());
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let sound = digits(whole)
        && digits(fraction)
        && !(whole.is_empty() && fraction.is_empty())
        && exponent.is_none_or(|exponent| {
            let exponent = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
            !exponent.is_empty() && digits(exponent)
        });
    let number: f64 = sound.then(|| text.parse().ok())??;
    number.is_finite().then_some(number)
}

/// Whether it is a date, or a date and a time: neither can be a label's value without quotes.
fn is_date(text: &str) -> bool {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (text.get(..at).unwrap_or_default(), text.get(at..)),
        None => (text, None),
    };
    let parts: Vec<&str> = date.split('-').collect();
    let [year, month, day] = parts.as_slice() else { return false };
    let number = |text: &str| {
        let sound = matches!(text.len(), 1 | 2) && text.chars().all(|c| c.is_ascii_digit());
        sound.then(|| text.parse::<u8>().ok()).flatten()
    };
    let year = (year.len() == 4).then(|| year.parse::<u16>().ok()).flatten();
    let (Some(year), Some(month), Some(day)) = (year, number(month), number(day)) else {
        return false;
    };
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    (1..=days).contains(&day) && time.is_none_or(|time| is_time(time, number))
}

/// Whether it is the time of day after a date: with a zone after `T`, without one after a space.
fn is_time(text: &str, number: impl Fn(&str) -> Option<u8>) -> bool {
    let mut characters = text.chars();
    let spaced = characters.next() == Some(' ');
    let rest = characters.as_str();
    let (clock, zoned) = match rest.find(['Z', '+', '-']) {
        Some(at) => (rest.get(..at).unwrap_or_default(), true),
        None => (rest, false),
    };
    let clock = clock.split_once('.').map_or(clock, |(clock, _)| clock);
    let parts: Vec<_> = clock.split(':').map(number).collect();
    let sound = matches!(parts.as_slice(), [Some(0..24), Some(0..60), Some(0..60)]);
    sound && zoned != spaced
}

/// A float as Compose writes it into a label: the shortest digits, with an exponent from 1e+06 on and below 1e-04.
pub(super) fn print_float(number: f64) -> String {
    if number.is_nan() {
        return "NaN".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let shortest = format!("{number:e}");
    let (mantissa, exponent) = shortest.split_once('e').unwrap_or((&shortest, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    // Go's %v (strconv/ftoa.go, %g with the shortest digits); an exponent has two digits or more.
    if (-4..6).contains(&exponent) {
        format!("{number}")
    } else {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{mantissa}e{sign}{:02}", exponent.abs())
    }
}
