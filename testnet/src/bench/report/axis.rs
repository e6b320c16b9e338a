//! Axes: which values they show, and where on the paper a value stands.

/// How values stand along an axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Equal differences, equal lengths; begins at zero.
    Linear,
    /// Equal ratios, equal lengths; values that are not positive have no place on it.
    Logarithmic,
}

/// What an axis shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Axis {
    /// What is measured along it, with its unit.
    pub label: String,
    /// How.
    pub scale: Scale,
}

impl Axis {
    /// From zero on, with equal steps. The label names the unit.
    #[must_use]
    pub fn linear(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            scale: Scale::Linear,
        }
    }

    /// With a tenfold in equal steps. The label names the unit.
    #[must_use]
    pub fn logarithmic(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            scale: Scale::Logarithmic,
        }
    }

    /// Whether a value has a place on it.
    #[must_use]
    pub fn shows(&self, value: f64) -> bool {
        value.is_finite()
            && match self.scale {
                Scale::Linear => true,
                Scale::Logarithmic => value > 0.0,
            }
    }
}

/// An axis that has been laid out over the values it is to show.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ruler {
    scale: Scale,
    from: f64,
    to: f64,
    /// Where lines are drawn and numbers stand.
    pub(super) ticks: Vec<f64>,
}

/// About so many numbers stand along an axis.
const TICKS: f64 = 6.0;

impl Ruler {
    /// Lays an axis out so that all `values` which it shows are on it; the first and the last tick are its ends.
    pub(super) fn over(axis: &Axis, values: impl Iterator<Item = f64>) -> Self {
        let shown = values.filter(|value| axis.shows(*value));
        let (low, high) = shown.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
        let ticks = match axis.scale {
            Scale::Linear => linear_ticks(low.min(0.0), if high.is_finite() { high.max(0.0) } else { 1.0 }),
            Scale::Logarithmic if low.is_finite() => logarithmic_ticks(low, high),
            Scale::Logarithmic => vec![1.0, 10.0],
        };
        Self {
            scale: axis.scale,
            from: ticks.first().copied().unwrap_or(0.0),
            to: ticks.last().copied().unwrap_or(1.0),
            ticks,
        }
    }

    /// Where a value stands: 0 at the beginning of the axis, 1 at its end.
    pub(super) fn place(&self, value: f64) -> f64 {
        match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Logarithmic => (value / self.from).ln() / (self.to / self.from).ln(),
        }
    }
}

/// Multiples of 1, 2 or 5 times a power of ten around `low` to `high`.
fn linear_ticks(low: f64, high: f64) -> Vec<f64> {
    let span = if high > low { high - low } else { 1.0 };
    let rough = span / TICKS;
    let power = 10.0_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0]
        .into_iter()
        .map(|factor| factor * power)
        .find(|step| *step >= rough)
        .unwrap_or(rough);
    let (first, last) = ((low / step).floor(), ((low + span) / step).ceil());
    let mut ticks = Vec::new();
    let mut at = first;
    while at <= last {
        ticks.push(at * step);
        at += 1.0;
    }
    ticks
}

/// 1, 2 and 5 times powers of ten around `low` to `high`; powers of ten alone over many of them.
fn logarithmic_ticks(low: f64, high: f64) -> Vec<f64> {
    let (first, last) = (
        low.log10().floor(),
        high.log10().ceil().max(low.log10().floor() + 1.0),
    );
    let factors: &[f64] = if last - first > 3.0 {
        &[1.0]
    } else {
        &[1.0, 2.0, 5.0]
    };
    let mut all = Vec::new();
    let mut power = first;
    while power <= last {
        all.extend(factors.iter().map(|factor| factor * 10.0_f64.powf(power)));
        power += 1.0;
    }
    // From the last tick not above the lowest value to the first not below the highest.
    let begin = all
        .iter()
        .rposition(|tick| *tick <= low * (1.0 + 1e-9))
        .unwrap_or(0);
    let end = all
        .iter()
        .position(|tick| *tick >= high * (1.0 - 1e-9))
        .unwrap_or(all.len().saturating_sub(1));
    let ticks = all.get(begin..=end.max(begin + 1)).unwrap_or(&all);
    ticks.to_vec()
}

/// A number as people read it: thousands apart, no more digits than say something.
#[must_use]
pub fn number(value: f64) -> String {
    let magnitude = value.abs();
    let digits = match magnitude {
        _ if magnitude >= 100.0 || magnitude == 0.0 => 0,
        _ if magnitude >= 10.0 => 1,
        _ if magnitude >= 1.0 => 2,
        _ if magnitude >= 0.1 => 3,
        _ => 4,
    };
    let text = format!("{value:.digits$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let (sign, whole) = whole.strip_prefix('-').map_or(("", whole), |whole| ("-", whole));
    let mut apart = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            apart.push(',');
        }
        apart.push(digit);
    }
    let fraction = fraction.trim_end_matches('0');
    if fraction.is_empty() {
        format!("{sign}{apart}")
    } else {
        format!("{sign}{apart}.{fraction}")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::float_cmp, reason = "ticks are exact multiples")]
    use super::*;

    #[test]
    fn linear_axes_begin_at_zero_and_hold_the_highest_value() {
        let ruler = Ruler::over(&Axis::linear("s"), [3.0, 47.0].into_iter());
        assert_eq!(ruler.ticks, [0.0, 10.0, 20.0, 30.0, 40.0, 50.0]);
        assert_eq!(
            (ruler.place(0.0), ruler.place(25.0), ruler.place(50.0)),
            (0.0, 0.5, 1.0)
        );
    }

    #[test]
    fn logarithmic_axes_end_at_ticks_around_the_values() {
        let ruler = Ruler::over(&Axis::logarithmic("ms"), [0.0, 3.0, 70.0].into_iter());
        assert_eq!(ruler.ticks, [2.0, 5.0, 10.0, 20.0, 50.0, 100.0]);
        assert_eq!((ruler.place(2.0), ruler.place(100.0)), (0.0, 1.0));
        let wide = Ruler::over(&Axis::logarithmic("ms"), [0.1, 90_000.0].into_iter());
        assert_eq!(wide.ticks.len(), 7);
    }

    #[test]
    fn axes_of_nothing_and_of_one_value_have_an_extent() {
        for axis in [Axis::linear("x"), Axis::logarithmic("x")] {
            for values in [vec![], vec![0.0], vec![7.0]] {
                let ruler = Ruler::over(&axis, values.into_iter());
                assert!(ruler.ticks.len() >= 2 && ruler.from < ruler.to, "{ruler:?}");
            }
        }
    }

    #[test]
    fn numbers_are_short_and_thousands_stand_apart() {
        let written = [0.0, 1_234_567.0, 999.6, 12.34, 1.5, 0.25, -2000.0].map(number);
        assert_eq!(
            written,
            ["0", "1,234,567", "1,000", "12.3", "1.5", "0.25", "-2,000"]
        );
    }
}
