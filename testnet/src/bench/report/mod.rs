//! Reports: one page that needs nothing but a browser, with tables, and plots drawn into it. The plots are also written as SVG
//! files of their own, the tables as CSV.

mod axis;
mod plot;

use std::fs;
use std::path::{Path, PathBuf};

pub use axis::{Axis, Scale, number};
pub use plot::{Plot, Series, Stroke};

use crate::error::Error;

/// A table: what its columns are, and their values as they are to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grid {
    /// What is in each column, with its unit.
    pub header: Vec<String>,
    /// Each as long as the header.
    pub rows: Vec<Vec<String>>,
}

impl Grid {
    /// A table without rows.
    #[must_use]
    pub fn new<T: Into<String>>(header: impl IntoIterator<Item = T>) -> Self {
        Self {
            header: header.into_iter().map(Into::into).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// The table as CSV (RFC 4180, lines ended by a newline alone).
    #[must_use]
    pub fn csv(&self) -> String {
        let field = |cell: &String| {
            if cell.contains([',', '"', '\n']) {
                format!("\"{}\"", cell.replace('"', "\"\""))
            } else {
                cell.clone()
            }
        };
        let line = |cells: &Vec<String>| cells.iter().map(field).collect::<Vec<_>>().join(",") + "\n";
        std::iter::once(&self.header)
            .chain(&self.rows)
            .map(line)
            .collect()
    }
}

/// What a section holds, in the order it is to be read.
#[derive(Clone, Debug, PartialEq)]
enum Part {
    Prose(String),
    Grid(Grid),
    Plot(Plot),
}

/// A part of a report with a title of its own.
#[derive(Clone, Debug, PartialEq)]
pub struct Section {
    title: String,
    parts: Vec<Part>,
}

impl Section {
    /// A section without content.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            parts: Vec::new(),
        }
    }

    /// Adds a paragraph.
    #[must_use]
    pub fn prose(mut self, text: impl Into<String>) -> Self {
        self.parts.push(Part::Prose(text.into()));
        self
    }

    /// Adds a table.
    #[must_use]
    pub fn grid(mut self, grid: Grid) -> Self {
        self.parts.push(Part::Grid(grid));
        self
    }

    /// Adds a plot.
    #[must_use]
    pub fn plot(mut self, plot: Plot) -> Self {
        self.parts.push(Part::Plot(plot));
        self
    }
}

/// A report.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    title: String,
    about: String,
    /// What was measured on and with what.
    configuration: Vec<String>,
    sections: Vec<Section>,
}

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;color:#222;background:#fff;max-width:900px;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.7rem;margin-bottom:.3rem}h2{margin-top:2.4rem;border-bottom:1px solid #ccc}h3{margin:1.6rem 0 .2rem}\
.see{margin:.1rem 0 .4rem;color:#444}.about{font-size:1.05rem}.scroll{overflow-x:auto}\
table{border-collapse:collapse;font-size:.85rem;font-variant-numeric:tabular-nums;margin:.6rem 0}\
th,td{padding:.2rem .6rem;border-bottom:1px solid #ddd;text-align:right;white-space:nowrap}\
th:first-child,td:first-child,th.words,td.words{text-align:left}\
th,td.words{white-space:normal}th.words{min-width:12rem}svg{width:100%;height:auto}ul{color:#444;font-size:.9rem;padding-left:1.2rem}";

impl Report {
    /// A report without sections. `about` says in a sentence or two what was measured; the lines of the configuration, on what.
    #[must_use]
    pub fn new(title: impl Into<String>, about: impl Into<String>, configuration: Vec<String>) -> Self {
        Self {
            title: title.into(),
            about: about.into(),
            configuration,
            sections: Vec::new(),
        }
    }

    /// Adds a section.
    pub fn section(&mut self, section: Section) {
        self.sections.push(section);
    }

    /// The page.
    #[must_use]
    pub fn html(&self) -> String {
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
             <title>{0}</title><style>{STYLE}</style></head><body>\n<h1>{0}</h1><p class=\"about\">{1}</p>\n<ul>",
            escape(&self.title),
            escape(&self.about)
        );
        for line in &self.configuration {
            page.push_str(&format!("<li>{}</li>", escape(line)));
        }
        page.push_str("</ul>\n");
        for section in &self.sections {
            page.push_str(&format!("<h2>{}</h2>\n", escape(&section.title)));
            for part in &section.parts {
                page.push_str(&match part {
                    Part::Prose(text) => format!("<p>{}</p>\n", escape(text)),
                    Part::Grid(grid) => table(grid),
                    Part::Plot(plot) => format!(
                        "<h3>{}</h3><p class=\"see\">{}</p>\n{}",
                        escape(&plot.title),
                        escape(&plot.see),
                        plot.svg()
                    ),
                });
            }
        }
        page.push_str("</body></html>\n");
        page
    }

    /// Writes `NAME.html`, and each plot as `NAME-plot-N.svg`, into the directory `out`, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::Io`]
    pub fn write(&self, out: &Path, name: &str) -> Result<(), Error> {
        let path = write_text(out, &format!("{name}.html"), &self.html())?;
        let parts = self.sections.iter().flat_map(|section| &section.parts);
        let plots = parts.filter_map(|part| match part {
            Part::Plot(plot) => Some(plot),
            Part::Prose(_) | Part::Grid(_) => None,
        });
        for (index, plot) in (1..).zip(plots) {
            write_text(out, &format!("{name}-plot-{index}.svg"), &plot.svg())?;
        }
        println!("report: {}", path.display());
        Ok(())
    }
}

/// From so many characters on a cell holds a sentence, not a number or a name.
const SENTENCE: usize = 32;

fn table(grid: &Grid) -> String {
    // Sentences are broken into lines, or they push the numbers out of sight.
    let is_sentence = |cell: &String| cell.chars().count() >= SENTENCE;
    let has_sentences = |column: usize| {
        let mut cells = grid.rows.iter().filter_map(|cells| cells.get(column));
        cells.any(is_sentence)
    };
    let row = |cells: &Vec<String>, tag: &str| {
        let cells: String = (0..)
            .zip(cells)
            .map(|(column, cell)| {
                let class = if has_sentences(column) {
                    " class=\"words\""
                } else {
                    ""
                };
                format!("<{tag}{class}>{}</{tag}>", escape(cell))
            })
            .collect();
        format!("<tr>{cells}</tr>")
    };
    let rows: String = grid.rows.iter().map(|cells| row(cells, "td")).collect();
    format!(
        "<div class=\"scroll\"><table><thead>{}</thead><tbody>{rows}</tbody></table></div>\n",
        row(&grid.header, "th")
    )
}

/// Writes a text into a file of the directory `out`, which is made if it is not there, and gives its path.
///
/// # Errors
/// [`Error::Io`]
pub fn write_text(out: &Path, name: &str, text: &str) -> Result<PathBuf, Error> {
    let path = out.join(name);
    fs::create_dir_all(out).map_err(|source| Error::io("create", out, source))?;
    fs::write(&path, text).map_err(|source| Error::io("write", &path, source))?;
    Ok(path)
}

/// Text that means nothing to HTML and SVG.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn a_page_needs_nothing_from_elsewhere_and_holds_everything_in_order() {
        let mut grid = Grid::new(["rate, 1/s", "p50, ms"]);
        grid.row(["100", "<2"]);
        let plot = Plot {
            title: "Latency".to_owned(),
            see: "It grows.".to_owned(),
            x: Axis::linear("x"),
            y: Axis::linear("y"),
            series: vec![Series::new("s", Stroke::Line, vec![(0.0, 0.0), (1.0, 1.0)])],
        };
        let mut report = Report::new("Load", "About.", vec!["4 cores".to_owned()]);
        report.section(Section::new("First").prose("Words.").grid(grid).plot(plot));
        let page = report.html();
        let places: Vec<usize> = ["4 cores", "First", "Words.", "&lt;2", "It grows.", "<polyline"]
            .iter()
            .map(|text| page.find(text).unwrap())
            .collect();
        assert!(places.is_sorted(), "{places:?}");
        // The name of the SVG language is an address that nothing is loaded from.
        let foreign = page.replace("http://www.w3.org/2000/svg", "");
        assert!(!foreign.contains("http") && !foreign.contains("<script") && !foreign.contains("<link"));

        let directory = tempfile::tempdir().unwrap();
        report.write(directory.path(), "report").unwrap();
        assert!(directory.path().join("report.html").exists());
        assert!(directory.path().join("report-plot-1.svg").exists());
    }

    #[test]
    fn columns_of_sentences_are_broken_into_lines_and_others_are_not() {
        let mut grid = Grid::new(["thread", "what it does", "µs"]);
        grid.row(["loop", "the protocol, the sockets, small messages", "5"]);
        grid.row(["sync", "the disk", "7"]);
        let html = table(&grid);
        assert!(html.contains("<td class=\"words\">the disk</td>"), "{html}");
        assert!(
            html.contains("<th class=\"words\">what it does</th><th>µs</th>"),
            "{html}"
        );
        assert!(html.contains("<td>sync</td>"), "{html}");
    }

    #[test]
    fn csv_quotes_what_would_be_read_as_something_else() {
        let mut grid = Grid::new(["a", "b, c"]);
        grid.row(["1", "say \"x\""]);
        assert_eq!(grid.csv(), "a,\"b, c\"\n1,\"say \"\"x\"\"\"\n");
    }
}
