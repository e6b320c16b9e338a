//! Durations as people write them.

use std::time::Duration;

/// Reads "500ms", "10s", "1.5s", "2m" or "1h". Must be above zero and at most a day.
pub(crate) fn parse(text: &str) -> Result<Duration, String> {
    let expected = || format!("{text:?} is not a duration: write it as \"500ms\", \"10s\" or \"2m\"");
    let unit_at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .ok_or_else(expected)?;
    let (number, unit) = text.split_at(unit_at);
    let number: f64 = number.parse().map_err(|_| expected())?;
    let seconds = match unit {
        "ms" => number / 1e3,
        "s" => number,
        "m" => number * 60.0,
        "h" => number * 3600.0,
        _ => return Err(expected()),
    };
    if !(0.001..=86_400.0).contains(&seconds) {
        return Err(format!("{text:?} must be from 1ms to 24h"));
    }
    Ok(Duration::from_secs_f64(seconds))
}

/// A latency in milliseconds, with one decimal.
pub(crate) fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_with_their_unit() {
        let read = |text| parse(text).ok();
        assert_eq!(read("500ms"), Some(Duration::from_millis(500)));
        assert_eq!(read("10s"), Some(Duration::from_secs(10)));
        assert_eq!(read("1.5s"), Some(Duration::from_millis(1500)));
        assert_eq!(read("2m"), Some(Duration::from_secs(120)));
        assert_eq!(read("1h"), Some(Duration::from_secs(3600)));
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "", "10", "s", "1..5s", "-1s", "0s", "10 s", "25h", "1e3s", "1d", "NaNs",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
