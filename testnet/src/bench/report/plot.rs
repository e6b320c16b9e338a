//! Line plots as SVG.

use std::fmt;

use super::axis::{Axis, Ruler, number};
use super::escape;

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stroke {
    /// A line with a mark at each point: measurements.
    Marked,
    /// A line alone: many measurements close together.
    Line,
    /// A dashed line alone: a model or a bound, not measured.
    Dashed,
}

/// One line of a plot.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// What the legend calls it.
    pub name: String,
    /// x and y, in the order they are connected. Points without a place on an axis are left out.
    pub points: Vec<(f64, f64)>,
    /// How it is drawn.
    pub stroke: Stroke,
}

impl Series {
    /// A series.
    #[must_use]
    pub fn new(name: impl Into<String>, stroke: Stroke, points: Vec<(f64, f64)>) -> Self {
        Self {
            name: name.into(),
            points,
            stroke,
        }
    }
}

/// A plot of lines over two axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Plot {
    /// What it shows.
    pub title: String,
    /// One sentence on what to see in it.
    pub see: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// What is drawn, in the order of the legend.
    pub series: Vec<Series>,
}

/// Colours that people with any colour vision tell apart (Okabe and Ito).
const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000",
];
const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 400.0;
/// The plotted area within the paper.
const LEFT: f64 = 86.0;
const RIGHT: f64 = 640.0;
const TOP: f64 = 18.0;
const BOTTOM: f64 = 340.0;

impl Plot {
    /// The plot as a complete SVG document.
    #[must_use]
    pub fn svg(&self) -> String {
        let shown = |series: &Series| -> Vec<(f64, f64)> {
            let both = |(x, y): &&(f64, f64)| self.x.shows(*x) && self.y.shows(*y);
            series.points.iter().filter(both).copied().collect()
        };
        let lines: Vec<Vec<(f64, f64)>> = self.series.iter().map(shown).collect();
        let across = Ruler::over(&self.x, lines.iter().flatten().map(|(x, _)| *x));
        let up = Ruler::over(&self.y, lines.iter().flatten().map(|(_, y)| *y));
        let place = |(x, y): &(f64, f64)| {
            (
                LEFT + (RIGHT - LEFT) * across.place(*x),
                BOTTOM - (BOTTOM - TOP) * up.place(*y),
            )
        };
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" \
             font-family=\"system-ui, sans-serif\" font-size=\"13\" fill=\"#222\"><title>{}</title>\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n",
            escape(&self.title)
        );
        self.axes(&mut svg, &across, &up);
        for (index, (series, points)) in self.series.iter().zip(&lines).enumerate() {
            let places: Vec<(f64, f64)> = points.iter().map(place).collect();
            draw(&mut svg, index, series, &places);
        }
        svg.push_str("</svg>\n");
        svg
    }

    fn axes(&self, svg: &mut String, across: &Ruler, up: &Ruler) {
        for tick in &across.ticks {
            let x = LEFT + (RIGHT - LEFT) * across.place(*tick);
            put(
                svg,
                format_args!(
                    "<line x1=\"{x:.1}\" y1=\"{TOP}\" x2=\"{x:.1}\" y2=\"{BOTTOM}\" stroke=\"#e4e4e4\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n",
                    BOTTOM + 20.0,
                    number(*tick)
                ),
            );
        }
        for tick in &up.ticks {
            let y = BOTTOM - (BOTTOM - TOP) * up.place(*tick);
            put(
                svg,
                format_args!(
                    "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{RIGHT}\" y2=\"{y:.1}\" stroke=\"#e4e4e4\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>\n",
                    LEFT - 8.0,
                    y + 4.5,
                    number(*tick)
                ),
            );
        }
        let (middle, half) = ((LEFT + RIGHT) / 2.0, (TOP + BOTTOM) / 2.0);
        put(
            svg,
            format_args!(
                "<path d=\"M{LEFT} {TOP}V{BOTTOM}H{RIGHT}\" fill=\"none\" stroke=\"#444\"/>\
             <text x=\"{middle}\" y=\"{:.1}\" text-anchor=\"middle\" font-weight=\"600\">{}</text>\
             <text transform=\"translate(18 {half}) rotate(-90)\" text-anchor=\"middle\" font-weight=\"600\">{}</text>\n",
                BOTTOM + 46.0,
                escape(&self.x.label),
                escape(&self.y.label)
            ),
        );
    }
}

/// The line of a series, its marks, and its entry in the legend.
fn draw(svg: &mut String, index: usize, series: &Series, places: &[(f64, f64)]) {
    let colour = COLOURS.get(index % COLOURS.len()).copied().unwrap_or("#000000");
    let dashes = match series.stroke {
        Stroke::Dashed => " stroke-dasharray=\"6 5\"",
        Stroke::Marked | Stroke::Line => "",
    };
    let line: Vec<String> = places.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    put(
        svg,
        format_args!(
            "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dashes}/>\n",
            line.join(" ")
        ),
    );
    if series.stroke == Stroke::Marked {
        for (x, y) in places {
            put(
                svg,
                format_args!("<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>"),
            );
        }
        svg.push('\n');
    }
    let row = f64::from(u32::try_from(index).unwrap_or(u32::MAX));
    let (x, y) = (RIGHT + 18.0, TOP + 12.0 + 22.0 * row);
    put(
        svg,
        format_args!(
            "<line x1=\"{x}\" y1=\"{y:.1}\" x2=\"{:.1}\" y2=\"{y:.1}\" stroke=\"{colour}\" stroke-width=\"3\"{dashes}/>\
         <text x=\"{:.1}\" y=\"{:.1}\">{}</text>\n",
            x + 26.0,
            x + 34.0,
            y + 4.5,
            escape(&series.name)
        ),
    );
}

fn put(svg: &mut String, what: fmt::Arguments<'_>) {
    svg.push_str(&fmt::format(what));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(series: Vec<Series>) -> Plot {
        Plot {
            title: "a < b".to_owned(),
            see: "see".to_owned(),
            x: Axis::linear("rate, 1/s"),
            y: Axis::logarithmic("latency, ms"),
            series,
        }
    }

    #[test]
    fn every_point_is_drawn_within_the_frame_and_text_is_escaped() {
        let points = vec![(0.0, 1.0), (50.0, 10.0), (100.0, 100.0)];
        let svg = plot(vec![Series::new("p50 & more", Stroke::Marked, points)]).svg();
        assert_eq!(svg.matches("<circle").count(), 3);
        assert!(svg.contains("86.0,340.0 363.0,179.0 640.0,18.0"), "{svg}");
        assert!(svg.contains("p50 &amp; more") && svg.contains("a &lt; b"));
        assert!(svg.contains("rate, 1/s") && svg.contains("latency, ms"));
    }

    #[test]
    fn what_has_no_place_on_an_axis_is_left_out() {
        let points = vec![(1.0, 0.0), (2.0, f64::NAN), (3.0, 5.0)];
        let svg = plot(vec![Series::new("x", Stroke::Marked, points)]).svg();
        assert_eq!(svg.matches("<circle").count(), 1);
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
    }
}
