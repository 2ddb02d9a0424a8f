//! What a picture shows: panels, their axes, what was measured, and in which words.
//!
//! Values only; ranges, ticks, labels and the file of figures follow from them. Never: draws, measures, or leaves a point out.

/// Most ticks of an axis.
const TICKS_MAX: usize = 8;

/// A picture.
#[derive(Clone, Debug, Default)]
pub(super) struct Figure {
    /// What its files are called.
    pub(super) name: &'static str,
    pub(super) title: String,
    /// Panels side by side; further ones stand below.
    pub(super) columns: usize,
    pub(super) panels: Vec<Panel>,
    /// What was measured, and how.
    pub(super) caption: String,
}

/// Series over the same two axes.
#[derive(Clone, Debug, Default)]
pub(super) struct Panel {
    pub(super) title: String,
    pub(super) x: XAxis,
    pub(super) y_label: String,
    /// Where the y axis ends although there are values above; those are told in figures.
    pub(super) y_cut: Option<f64>,
    pub(super) series: Vec<Series>,
    pub(super) marks: Vec<Mark>,
}

/// An axis of numbers, from zero on, or of names.
#[derive(Clone, Debug, Default)]
pub(super) struct XAxis {
    /// With the unit.
    pub(super) label: String,
    /// What stands at 0, 1, 2 and so on; none for an axis of numbers.
    pub(super) names: Vec<String>,
    /// Where an axis of numbers ends at least, so that panels below each other have the same.
    pub(super) end: f64,
}

/// Something that was measured at several places of the x axis.
#[derive(Clone, Debug)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) colour: Colour,
    pub(super) shape: Shape,
    pub(super) points: Vec<Point>,
}

/// Colours that people tell apart however they see them: those of Okabe and Ito.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Ink,
    Orange,
    Sky,
    Green,
    Yellow,
    Blue,
    Vermillion,
    Purple,
}

/// How a series is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// From point to point.
    Line,
    /// The same, but thicker.
    ThickLine,
    /// From point to point, each with its least and most.
    Whiskers,
    /// A bar at each name, beside those of the other series.
    Bars,
    /// A dashed line over each name, through all bars there.
    Level,
}

/// One figure that was measured.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Point {
    pub(super) x: f64,
    pub(super) y: f64,
    /// The least and the most of what `y` is the mean of.
    pub(super) spread: Option<(f64, f64)>,
}

/// When something happened.
#[derive(Clone, Debug)]
pub(super) struct Mark {
    pub(super) x: f64,
    /// Empty where another panel says it.
    pub(super) label: String,
}

impl Point {
    pub(super) const fn new(x: f64, y: f64) -> Self {
        Self { x, y, spread: None }
    }

    /// Returns the mean of some figures with their least and most; `None` of none.
    pub(super) fn mean_of(x: f64, figures: &[f64]) -> Option<Self> {
        let least = figures.iter().copied().min_by(f64::total_cmp)?;
        let most = figures.iter().copied().max_by(f64::total_cmp)?;
        let y = figures.iter().sum::<f64>() / figures.len() as f64;
        Some(Self { x, y, spread: Some((least, most)) })
    }
}

impl XAxis {
    pub(super) fn numbers(label: &str) -> Self {
        Self { label: label.to_owned(), ..Self::default() }
    }

    /// Returns an axis of these names.
    pub(super) fn names(label: &str, names: Vec<String>) -> Self {
        Self { label: label.to_owned(), names, ..Self::default() }
    }

    /// Returns where the axis begins and ends, for points and marks up to `furthest`.
    fn range(&self, furthest: f64) -> (f64, f64) {
        match self.names.len() {
            0 if furthest.max(self.end) > 0.0 => (0.0, furthest.max(self.end)),
            0 => (0.0, 1.0),
            names => (-0.5, names as f64 - 0.5),
        }
    }
}

impl Panel {
    /// Returns where the x axis begins and ends.
    pub(super) fn x_range(&self) -> (f64, f64) {
        let points = self.series.iter().flat_map(|series| &series.points).map(|point| point.x);
        let marks = self.marks.iter().map(|mark| mark.x);
        self.x.range(points.chain(marks).fold(0.0, f64::max))
    }

    /// Returns the ticks of the x axis.
    pub(super) fn x_ticks(&self) -> Vec<f64> {
        let (_, end) = self.x_range();
        match self.x.names.len() {
            0 => ticks(end).into_iter().filter(|tick| *tick <= end).collect(),
            names => (0..names).map(|at| at as f64).collect(),
        }
    }

    /// Returns what stands at a place of the x axis.
    pub(super) fn x_text(&self, x: f64) -> String {
        if self.x.names.is_empty() {
            return number(x);
        }
        let found =
            self.x.names.iter().zip(0u32..).find(|(_, at)| (f64::from(*at) - x).abs() < 0.1);
        found.map_or(String::new(), |(name, _)| name.clone())
    }

    /// Returns the ticks of the y axis: from zero to the first one that nothing exceeds, or to where the axis is cut.
    pub(super) fn y_ticks(&self) -> Vec<f64> {
        let most = self.most();
        ticks(self.y_cut.map_or(most, |cut| most.min(cut)))
    }

    /// Says whether there is something that the y axis is too short for.
    pub(super) fn is_cut(&self) -> bool {
        self.y_cut.is_some_and(|cut| self.most() > cut)
    }

    fn most(&self) -> f64 {
        let points = self.series.iter().flat_map(|series| &series.points);
        let each = points.map(|point| point.spread.map_or(point.y, |(_, most)| most.max(point.y)));
        each.fold(0.0, f64::max)
    }
}

impl Figure {
    /// Returns the series that the legend tells apart, each name once.
    pub(super) fn legend(&self) -> Vec<&Series> {
        let mut told: Vec<&Series> = Vec::new();
        for series in self.panels.iter().flat_map(|panel| &panel.series) {
            if told.iter().all(|other| other.name != series.name) {
                told.push(series);
            }
        }
        told
    }

    /// Returns everything that is drawn as rows of comma-separated values.
    pub(super) fn csv(&self) -> String {
        let mut rows = vec!["panel,series,x,y,least,most".to_owned()];
        for panel in &self.panels {
            let title = quoted(&panel.title);
            for series in &panel.series {
                let name = quoted(&series.name);
                rows.extend(series.points.iter().map(|Point { x, y, spread }| {
                    let is_named = !panel.x.names.is_empty();
                    let at = if is_named { quoted(&panel.x_text(*x)) } else { x.to_string() };
                    let spread =
                        spread.map_or(",".to_owned(), |(least, most)| format!("{least},{most}"));
                    format!("{title},{name},{at},{y},{spread}")
                }));
            }
            let told = panel.marks.iter().filter(|mark| !mark.label.is_empty());
            rows.extend(told.map(|mark| format!("{title},{},{},,,", quoted(&mark.label), mark.x)));
        }
        rows.join("\n") + "\n"
    }
}

/// Returns a field of comma-separated values (RFC 4180).
fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

/// Returns ticks at round distances: from zero to the first one that `most` does not exceed.
fn ticks(most: f64) -> Vec<f64> {
    if !most.is_finite() || most <= 0.0 {
        return vec![0.0, 1.0];
    }
    let scale = 10f64.powf((most / TICKS_MAX as f64).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * scale);
    let fits = |step: &&f64| (most / **step).ceil() < TICKS_MAX as f64;
    let step = steps.iter().find(fits).copied().unwrap_or(10.0 * scale);
    // A quotient a rounding error above a whole number is that number.
    let last = (most / step - 1e-9).ceil();
    (0u32..).map(f64::from).take_while(|tick| *tick <= last).map(|tick| tick * step).collect()
}

/// Returns a number as people read it: thousands apart, and no more digits than it needs.
pub(super) fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    let (whole, rest) = text.split_once('.').unwrap_or((&text, ""));
    let rest = rest.trim_end_matches('0');
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut grouped = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match rest {
        "" => format!("{sign}{grouped}"),
        rest => format!("{sign}{grouped}.{rest}"),
    }
}

/// Returns the row that each of these stretches stands in, so that none touches another: each in the first that has room.
pub(super) fn rows_apart(stretches: &[(i32, i32)]) -> Vec<usize> {
    let mut ends: Vec<i32> = Vec::new();
    let mut rows = Vec::new();
    for (from, to) in stretches {
        let row = ends.iter().position(|end| end < from).unwrap_or(ends.len());
        match ends.get_mut(row) {
            Some(end) => *end = *to,
            None => ends.push(*to),
        }
        rows.push(row);
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::{
        Colour, Figure, Mark, Panel, Point, Series, Shape, XAxis, number, rows_apart, ticks,
    };

    fn series(name: &str, points: &[(f64, f64)]) -> Series {
        let points = points.iter().map(|(x, y)| Point::new(*x, *y)).collect();
        Series { name: name.to_owned(), colour: Colour::Ink, shape: Shape::Line, points }
    }

    #[test]
    fn axes_begin_at_zero_and_end_at_a_round_number_that_nothing_exceeds() {
        assert_eq!(ticks(7.0), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        assert_eq!(ticks(61.0), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0]);
        assert_eq!(ticks(2_300.0), [0.0, 500.0, 1_000.0, 1_500.0, 2_000.0, 2_500.0]);
        assert_eq!((ticks(0.0), ticks(f64::NAN)), (vec![0.0, 1.0], vec![0.0, 1.0]));
        for most in [0.013, 0.7, 1.0, 3.3, 19.0, 20.0, 21.0, 99.0, 1e6] {
            let ticks = ticks(most);
            assert!((2..=8).contains(&ticks.len()), "{most}: {ticks:?}");
            assert!(ticks[0] == 0.0 && ticks[ticks.len() - 1] >= most * 0.999_999, "{ticks:?}");
            assert!(ticks[ticks.len() - 2] < most, "{most} leaves room above: {ticks:?}");
        }
    }

    #[test]
    fn the_most_of_a_spread_counts_for_the_range_and_a_cut_ends_it() {
        let mut panel = Panel { series: vec![series("a", &[(0.0, 3.0)])], ..Panel::default() };
        panel.series[0].points[0].spread = Some((1.0, 9.5));
        assert_eq!(panel.y_ticks().last(), Some(&10.0));
        panel.y_cut = Some(3.0);
        assert_eq!((panel.y_ticks().last(), panel.is_cut()), (Some(&3.0), true));
        panel.y_cut = Some(50.0);
        assert_eq!((panel.y_ticks().last(), panel.is_cut()), (Some(&10.0), false));
    }

    #[test]
    fn an_axis_of_numbers_ends_with_the_last_point_or_mark_and_one_of_names_has_a_place_for_each() {
        let mut panel = Panel { series: vec![series("a", &[(2.0, 1.0)])], ..Panel::default() };
        panel.marks.push(Mark { x: 7.3, label: String::new() });
        assert_eq!(panel.x_range(), (0.0, 7.3));
        assert_eq!(panel.x_ticks().last(), Some(&7.0));
        panel.x.end = 8.1;
        assert_eq!(panel.x_range(), (0.0, 8.1));
        panel.x.end = 1.0;
        assert_eq!(panel.x_range(), (0.0, 7.3));
        panel.x = XAxis::names("peers", vec!["3".to_owned(), "4".to_owned()]);
        assert_eq!(panel.x_range(), (-0.5, 1.5));
        assert_eq!(panel.x_ticks(), [0.0, 1.0]);
        assert_eq!((panel.x_text(1.0), panel.x_text(0.5)), ("4".to_owned(), String::new()));
    }

    #[test]
    fn numbers_are_grouped_and_have_no_digits_to_spare() {
        let told = [0.0, 0.25, 7.0, 1_500.0, 1_234_567.0, -4_000.5].map(number);
        assert_eq!(told, ["0", "0.25", "7", "1,500", "1,234,567", "-4,000.5"]);
        assert_eq!(number(0.1 + 0.2), "0.3");
    }

    #[test]
    fn labels_that_would_touch_stand_in_rows_of_their_own() {
        assert_eq!(rows_apart(&[(0, 10), (5, 15), (11, 20), (16, 30), (17, 18)]), [0, 1, 0, 1, 2]);
        assert_eq!(rows_apart(&[]), [0usize; 0]);
    }

    #[test]
    fn a_mean_has_its_least_and_most() {
        let found = Point::mean_of(1.0, &[4.0, 1.0, 7.0]).unwrap();
        assert_eq!((found.y, found.spread), (4.0, Some((1.0, 7.0))));
        assert_eq!(Point::mean_of(1.0, &[]), None);
    }

    #[test]
    fn the_legend_tells_each_name_once() {
        let panel = Panel { series: vec![series("a", &[]), series("b", &[])], ..Panel::default() };
        let figure = Figure { panels: vec![panel.clone(), panel], ..Figure::default() };
        let names: Vec<&str> = figure.legend().iter().map(|series| series.name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
    }

    #[test]
    fn every_point_and_mark_is_in_the_file_of_figures() {
        let mut panel = Panel {
            title: "of \"two\", both".to_owned(),
            series: vec![series("a", &[(0.5, 2.0), (1.0, 3.0)])],
            marks: vec![
                Mark { x: 0.7, label: "killed".to_owned() },
                Mark { x: 0.8, label: String::new() },
            ],
            ..Panel::default()
        };
        panel.series[0].points[1].spread = Some((1.0, 4.0));
        let figure = Figure { panels: vec![panel], ..Figure::default() };
        let rows = [
            "panel,series,x,y,least,most",
            "\"of \"\"two\"\", both\",a,0.5,2,,",
            "\"of \"\"two\"\", both\",a,1,3,1,4",
            "\"of \"\"two\"\", both\",killed,0.7,,,",
            "",
        ];
        assert_eq!(figure.csv(), rows.join("\n"));
    }
}
