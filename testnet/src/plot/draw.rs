//! Draws a figure, the same way as SVG and as PNG.
//!
//! From top to bottom: title, legend, panels, caption; nothing but marks lies over what was measured. The letters of a PNG are those of
//! a font that comes with a package (Ubuntu Light), as a machine may have none. Never: changes a figure.

use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use plotters::coord::Shift;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use plotters::element::{Circle, PathElement, Rectangle, Text};
use plotters::prelude::{
    BitMapBackend, ChartBuilder, Color, DrawingArea, DrawingBackend, IntoDrawingArea, IntoFont,
    RGBColor, SVGBackend, TextStyle, WHITE,
};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, FontTransform, register_font};

use super::figure::{Colour, Figure, Panel, Point, Series, Shape, number, rows_apart};

/// Width and height of a picture, in pixels.
const SIZE: (u32, u32) = (1_200, 700);

/// The name under which the font is known; in an SVG the reader's own font of this kind.
const FONT: &str = "sans-serif";
const TITLE_PX: u32 = 28;
const PANEL_TITLE_PX: u32 = 20;
const TEXT_PX: u32 = 18;
const SMALL_PX: u32 = 16;

/// Room between things, and beside the picture.
const GAP: i32 = 16;
/// Height of a line of text.
const LINE: i32 = 22;
/// Width of a sample in the legend.
const SAMPLE: i32 = 26;
/// Room left of and below the axes of a panel.
const Y_LABELS: i32 = 74;
const X_LABELS: i32 = 46;

/// Lines that are not data.
const GRID: RGBColor = RGBColor(225, 225, 225);
const INK: RGBColor = RGBColor(0, 0, 0);
const MARK: RGBColor = RGBColor(90, 90, 90);

type Area<'a, B> = DrawingArea<B, Shift>;

/// A rectangle in pixels.
#[derive(Clone, Copy, Debug)]
struct Frame {
    left: i32,
    top: i32,
    right: i32,
    bottom: i32,
}

/// An axis with the ticks that a figure says; those of the library stand where it likes.
struct Scale {
    begin: f64,
    end: f64,
    ticks: Vec<f64>,
}

impl Ranged for Scale {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        from + pixels((value - self.begin) / (self.end - self.begin) * f64::from(to - from))
    }

    fn key_points<H: KeyPointHint>(&self, _hint: H) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> Range<f64> {
        self.begin..self.end
    }
}

impl Colour {
    const fn rgb(self) -> RGBColor {
        match self {
            Self::Ink => INK,
            Self::Orange => RGBColor(230, 159, 0),
            Self::Sky => RGBColor(86, 180, 233),
            Self::Green => RGBColor(0, 158, 115),
            Self::Yellow => RGBColor(240, 228, 66),
            Self::Blue => RGBColor(0, 114, 178),
            Self::Vermillion => RGBColor(213, 94, 0),
            Self::Purple => RGBColor(204, 121, 167),
        }
    }
}

/// Writes a figure as `NAME.svg`, `NAME.png` and `NAME.csv`, and returns where they are.
///
/// # Errors
/// It cannot be drawn, or the folder not written.
pub(super) fn save(figure: &Figure, dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let files = [
        ("svg", svg(figure)?.into_bytes()),
        ("png", png(figure)?),
        ("csv", figure.csv().into_bytes()),
    ];
    let mut written = Vec::new();
    for (kind, bytes) in files {
        let path = dir.join(format!("{}.{kind}", figure.name));
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        written.push(path);
    }
    Ok(written)
}

/// Returns a figure as SVG.
///
/// # Errors
/// It cannot be drawn.
fn svg(figure: &Figure) -> anyhow::Result<String> {
    let mut text = String::new();
    draw(&SVGBackend::with_string(&mut text, SIZE).into_drawing_area(), figure)?;
    Ok(text)
}

/// Returns a figure as PNG.
///
/// # Errors
/// It cannot be drawn.
fn png(figure: &Figure) -> anyhow::Result<Vec<u8>> {
    let mut pixels = vec![0; SIZE.0 as usize * SIZE.1 as usize * 3];
    draw(&BitMapBackend::with_buffer(&mut pixels, SIZE).into_drawing_area(), figure)?;
    let mut file = Vec::new();
    let mut encoder = png::Encoder::new(&mut file, SIZE.0, SIZE.1);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.write_header()?.write_image_data(&pixels)?;
    Ok(file)
}

fn draw<B: DrawingBackend>(area: &Area<'_, B>, figure: &Figure) -> anyhow::Result<()>
where
    B::ErrorType: 'static,
{
    // Doing so again changes nothing.
    register_font(FONT, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT)
        .map_err(|_| anyhow!("the font cannot be read"))?;
    area.fill(&WHITE)?;
    let (width, height) = (i32::try_from(SIZE.0)?, i32::try_from(SIZE.1)?);
    write(area, &figure.title, (width / 2, GAP - 4), &style(TITLE_PX, HPos::Center, VPos::Top))?;
    let top = legend(area, figure, GAP + 34, width)?;
    let lines = wrapped(area, &figure.caption, width - 2 * GAP)?;
    let bottom = height - GAP / 2 - LINE * i32::try_from(lines.len())?;
    for (line, at) in lines.iter().zip(0..) {
        let place = (GAP, bottom + at * LINE);
        write(area, line, place, &style(SMALL_PX, HPos::Left, VPos::Top))?;
    }
    let columns = i32::try_from(figure.columns.max(1))?;
    let rows = i32::try_from(figure.panels.len().div_ceil(figure.columns.max(1)))?.max(1);
    let (cell_width, cell_height) = ((width - 2 * GAP) / columns, (bottom - GAP / 2 - top) / rows);
    for (panel, at) in figure.panels.iter().zip(0..) {
        let (left, top) = (GAP + at % columns * cell_width, top + at / columns * cell_height);
        let frame = Frame { left, top, right: left + cell_width, bottom: top + cell_height };
        self::panel(area, panel, frame)?;
    }
    area.present()?;
    Ok(())
}

/// Draws what tells the series apart, and returns where there is room below.
fn legend<B: DrawingBackend>(
    area: &Area<'_, B>,
    figure: &Figure,
    top: i32,
    width: i32,
) -> anyhow::Result<i32>
where
    B::ErrorType: 'static,
{
    let text = style(TEXT_PX, HPos::Left, VPos::Center);
    let mut rows: Vec<(i32, Vec<(&Series, i32)>)> = Vec::new();
    for series in figure.legend() {
        let own = SAMPLE + 8 + width_of(area, &series.name, &text)? + 2 * GAP;
        match rows.last_mut() {
            Some((taken, row)) if *taken + own <= width - 2 * GAP => {
                row.push((series, own));
                *taken += own;
            }
            Some(_) | None => rows.push((own, vec![(series, own)])),
        }
    }
    let mut y = top + LINE / 2;
    for (taken, row) in rows {
        let mut x = (width - taken) / 2 + GAP;
        for (series, own) in row {
            sample(area, series, (x, y))?;
            write(area, &series.name, (x + SAMPLE + 8, y), &text)?;
            x += own;
        }
        y += LINE;
    }
    Ok(y)
}

/// Draws a series as the legend shows it.
fn sample<B: DrawingBackend>(
    area: &Area<'_, B>,
    series: &Series,
    (x, y): (i32, i32),
) -> anyhow::Result<()>
where
    B::ErrorType: 'static,
{
    let end = x + SAMPLE;
    match series.shape {
        Shape::Line | Shape::ThickLine => line(area, &[(x, y), (end, y)], series)?,
        Shape::Level => dashes(area, (x, y), (end, y), series.colour.rgb(), 2)?,
        Shape::Bars => bar(area, (x + 4, y - 7), (end - 4, y + 7), series.colour)?,
        Shape::Whiskers => {
            line(area, &[(x, y), (end, y)], series)?;
            whisker(area, (x + SAMPLE / 2, y), (y - 8, y + 8), series.colour.rgb())?;
        }
    }
    Ok(())
}

/// Draws one panel into its part of the picture.
fn panel<B: DrawingBackend>(area: &Area<'_, B>, panel: &Panel, frame: Frame) -> anyhow::Result<()>
where
    B::ErrorType: 'static,
{
    let title = style(PANEL_TITLE_PX, HPos::Center, VPos::Top);
    let has_title = !panel.title.is_empty();
    if has_title {
        let middle = i32::midpoint(frame.left + Y_LABELS, frame.right - GAP);
        write(area, &panel.title, (middle, frame.top + 2), &title)?;
    }
    let marks_top = frame.top + if has_title { LINE + 4 } else { 4 };
    // The plotting area lies between what `ChartBuilder` is told below.
    let (from, to) = (frame.left + Y_LABELS, frame.right - GAP);
    let (x_begin, x_end) = panel.x_range();
    let x_scale = Scale { begin: x_begin, end: x_end, ticks: panel.x_ticks() };
    let text = style(SMALL_PX, HPos::Left, VPos::Center);
    let mut stretches = Vec::new();
    for mark in panel.marks.iter().filter(|mark| !mark.label.is_empty()) {
        let width = width_of(area, &mark.label, &text)?;
        let x = x_scale.map(&mark.x, (from, to));
        // Beside its line, on the side where there is room.
        let left = if x + 4 + width <= to { x + 4 } else { x - 4 - width };
        stretches.push((left, left + width + 8));
    }
    let rows = rows_apart(&stretches);
    let mark_rows = i32::try_from(rows.iter().max().map_or(0, |row| row + 1))?;
    // What exceeds the axis is told above it.
    let cut_row = if panel.is_cut() { LINE } else { 0 };
    let chart_top = marks_top + mark_rows * LINE + cut_row + if has_title { 2 } else { 8 };

    let y_ticks = panel.y_ticks();
    let y_end = y_ticks.last().copied().unwrap_or(1.0);
    let mut chart = ChartBuilder::on(area)
        .margin_left(frame.left)
        .margin_right(i32::try_from(SIZE.0)? - to)
        .margin_top(chart_top)
        .margin_bottom(i32::try_from(SIZE.1)? - frame.bottom + GAP / 2)
        .y_label_area_size(Y_LABELS)
        .x_label_area_size(X_LABELS)
        .build_cartesian_2d(x_scale, Scale { begin: 0.0, end: y_end, ticks: y_ticks })?;
    chart
        .configure_mesh()
        .axis_style(INK)
        .bold_line_style(GRID)
        .light_line_style(GRID)
        .label_style((FONT, SMALL_PX))
        .axis_desc_style((FONT, TEXT_PX))
        .x_label_formatter(&|x| panel.x_text(*x))
        .y_label_formatter(&|y| number(*y))
        .x_desc(&panel.x.label)
        .y_desc(&panel.y_label)
        .draw()?;
    let plot = chart.plotting_area();
    let at = |x: f64, y: f64| plot.map_coordinate(&(x, y));

    for (mark, (stretch, row)) in
        panel.marks.iter().filter(|mark| !mark.label.is_empty()).zip(stretches.iter().zip(rows))
    {
        let y = marks_top + LINE / 2 + i32::try_from(row)? * LINE;
        write(area, &mark.label, (stretch.0, y), &text)?;
        let (x, _) = at(mark.x, 0.0);
        dashes(area, (x, y - LINE / 2), (x, chart_top), MARK, 1)?;
    }
    for mark in &panel.marks {
        dashes(area, at(mark.x, y_end), at(mark.x, 0.0), MARK, 1)?;
    }
    bars(area, panel, y_end, &at)?;
    for series in &panel.series {
        match series.shape {
            Shape::Bars => {}
            Shape::Line | Shape::ThickLine | Shape::Whiskers => {
                let path: Vec<_> = series.points.iter().map(|point| at(point.x, point.y)).collect();
                line(area, &path, series)?;
                for Point { x, y, spread } in &series.points {
                    if let Some((least, most)) = spread {
                        let ((_, top), (_, bottom)) = (at(*x, *most), at(*x, *least));
                        whisker(area, at(*x, *y), (top, bottom), series.colour.rgb())?;
                    }
                }
            }
            Shape::Level => {
                for Point { x, y, .. } in &series.points {
                    let ends = (at(x - 0.46, *y), at(x + 0.46, *y));
                    dashes(area, ends.0, ends.1, series.colour.rgb(), 2)?;
                }
            }
        }
    }
    Ok(())
}

/// Draws the bars of a panel: those of one name beside each other, with its value on each that the axis is too short for.
fn bars<B: DrawingBackend>(
    area: &Area<'_, B>,
    panel: &Panel,
    y_end: f64,
    at: &impl Fn(f64, f64) -> (i32, i32),
) -> anyhow::Result<()>
where
    B::ErrorType: 'static,
{
    let together: Vec<&Series> =
        panel.series.iter().filter(|series| series.shape == Shape::Bars).collect();
    let width = 0.84 / together.len().max(1) as f64;
    for (series, number_of) in together.iter().zip(0u32..) {
        for Point { x, y, .. } in &series.points {
            let left = x - 0.42 + width * f64::from(number_of);
            let (top_left, bottom_right) = (at(left, y.min(y_end)), at(left + width, 0.0));
            bar(area, top_left, (bottom_right.0 - 1, bottom_right.1), series.colour)?;
            if *y > y_end {
                let middle = i32::midpoint(top_left.0, bottom_right.0);
                let text = style(SMALL_PX, HPos::Center, VPos::Bottom);
                let told = if *y < 10.0 { format!("{y:.1}") } else { number(y.round()) };
                write(area, &told, (middle, top_left.1 - 2), &text)?;
                // A gap says that the bar goes on.
                let gap = Rectangle::new(
                    [(top_left.0, top_left.1 + 6), (bottom_right.0, top_left.1 + 9)],
                    WHITE.filled(),
                );
                area.draw(&gap)?;
            }
        }
    }
    Ok(())
}

fn bar<B: DrawingBackend>(
    area: &Area<'_, B>,
    top_left: (i32, i32),
    bottom_right: (i32, i32),
    colour: Colour,
) -> anyhow::Result<()>
where
    B::ErrorType: 'static,
{
    area.draw(&Rectangle::new([top_left, bottom_right], colour.rgb().filled()))?;
    // Yellow is seen on white by its edge.
    area.draw(&Rectangle::new([top_left, bottom_right], MARK.stroke_width(1)))?;
    Ok(())
}

fn line<B: DrawingBackend>(
    area: &Area<'_, B>,
    path: &[(i32, i32)],
    series: &Series,
) -> anyhow::Result<()>
where
    B::ErrorType: 'static,
{
    let width = if series.shape == Shape::ThickLine { 4 } else { 2 };
    area.draw(&PathElement::new(path, series.colour.rgb().stroke_width(width)))?;
    Ok(())
}

/// Draws a dot, and a stroke from the least to the most.
fn whisker<B: DrawingBackend>(
    area: &Area<'_, B>,
    (x, y): (i32, i32),
    (top, bottom): (i32, i32),
    colour: RGBColor,
) -> anyhow::Result<()>
where
    B::ErrorType: 'static,
{
    let stroke = colour.stroke_width(2);
    for path in
        [[(x, top), (x, bottom)], [(x - 6, top), (x + 6, top)], [(x - 6, bottom), (x + 6, bottom)]]
    {
        area.draw(&PathElement::new(path, stroke))?;
    }
    area.draw(&Circle::new((x, y), 4, colour.filled()))?;
    Ok(())
}

/// Draws a dashed line, straight across or straight down.
fn dashes<B: DrawingBackend>(
    area: &Area<'_, B>,
    from: (i32, i32),
    to: (i32, i32),
    colour: RGBColor,
    width: u32,
) -> anyhow::Result<()>
where
    B::ErrorType: 'static,
{
    let (dash, gap) = (6, 4);
    let length = (to.0 - from.0).max(to.1 - from.1);
    let is_across = to.0 - from.0 == length;
    let point = |along: i32| {
        if is_across { (from.0 + along, from.1) } else { (from.0, from.1 + along) }
    };
    let mut along = 0;
    while along < length {
        let path = [point(along), point((along + dash).min(length))];
        area.draw(&PathElement::new(path, colour.stroke_width(width)))?;
        along += dash + gap;
    }
    Ok(())
}

fn style(size: u32, h: HPos, v: VPos) -> TextStyle<'static> {
    let font = (FONT, size).into_font().transform(FontTransform::None);
    TextStyle::from(font).color(&INK).pos(Pos::new(h, v))
}

fn write<B: DrawingBackend>(
    area: &Area<'_, B>,
    text: &str,
    place: (i32, i32),
    style: &TextStyle<'_>,
) -> anyhow::Result<()>
where
    B::ErrorType: 'static,
{
    area.draw(&Text::new(text, place, style.clone()))?;
    Ok(())
}

fn width_of<B: DrawingBackend>(
    area: &Area<'_, B>,
    text: &str,
    style: &TextStyle<'_>,
) -> anyhow::Result<i32>
where
    B::ErrorType: 'static,
{
    Ok(i32::try_from(area.estimate_text_size(text, style)?.0)?)
}

/// Returns a text in lines that are no wider than this.
fn wrapped<B: DrawingBackend>(
    area: &Area<'_, B>,
    text: &str,
    width: i32,
) -> anyhow::Result<Vec<String>>
where
    B::ErrorType: 'static,
{
    let style = style(SMALL_PX, HPos::Left, VPos::Top);
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let longer = lines.last().map(|line| format!("{line} {word}"));
        match (lines.last_mut(), longer) {
            (Some(line), Some(longer)) if width_of(area, &longer, &style)? <= width => {
                *line = longer;
            }
            _ => lines.push(word.to_owned()),
        }
    }
    Ok(lines)
}

#[expect(clippy::cast_possible_truncation, reason = "a picture has few pixels, and casts saturate")]
fn pixels(length: f64) -> i32 {
    length.round() as i32
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{SIZE, png, save, svg};
    use crate::plot::figure::{Colour, Figure, Mark, Panel, Point, Series, Shape, XAxis};

    fn made_up() -> Figure {
        let series = |name: &str, colour, shape, points: &[(f64, f64)]| Series {
            name: name.to_owned(),
            colour,
            shape,
            points: points.iter().map(|(x, y)| Point::new(*x, *y)).collect(),
        };
        let over_time = Panel {
            x: XAxis::numbers("time, s"),
            y_label: "requests per second".to_owned(),
            series: vec![series("peer a0", Colour::Blue, Shape::Line, &[(0.0, 3.0), (9.0, 5.0)])],
            marks: vec![Mark { x: 4.0, label: "killed".to_owned() }],
            ..Panel::default()
        };
        let by_name = Panel {
            title: "by name".to_owned(),
            x: XAxis::names("peers", vec!["3".to_owned(), "4".to_owned()]),
            y_label: "blocks".to_owned(),
            y_cut: Some(4.0),
            series: vec![
                series("held", Colour::Orange, Shape::Bars, &[(0.0, 2.0), (1.0, 77.0)]),
                series("wanted", Colour::Ink, Shape::Level, &[(0.0, 1.0), (1.0, 1.5)]),
            ],
            ..Panel::default()
        };
        Figure {
            name: "made-up",
            title: "A made-up picture".to_owned(),
            columns: 2,
            panels: vec![over_time, by_name],
            caption: "Nothing was measured, in many words. ".repeat(9),
        }
    }

    #[test]
    fn an_svg_has_its_title_its_axes_with_units_and_every_series() {
        let text = svg(&made_up()).unwrap();
        let document = roxmltree::Document::parse(&text).unwrap();
        let root = document.root_element();
        let size = (SIZE.0.to_string(), SIZE.1.to_string());
        assert_eq!(root.attribute("width"), Some(size.0.as_str()));
        assert_eq!(root.attribute("height"), Some(size.1.as_str()));
        let texts = document.descendants().filter(|node| node.has_tag_name("text"));
        let told: Vec<&str> = texts.filter_map(|node| node.text()).map(str::trim).collect();
        let wanted = [
            "A made-up picture",
            "time, s",
            "requests per second",
            "peers",
            "blocks",
            "by name",
            "killed",
            "peer a0",
            "held",
            "wanted",
            "77",
        ];
        for words in wanted {
            assert!(told.contains(&words), "{words} is not in {told:?}");
        }
        assert!(told.iter().filter(|line| line.contains("Nothing was measured")).count() > 1);
        let drawn = |attribute: &str, colour: &str| {
            document.descendants().any(|node| node.attribute(attribute) == Some(colour))
        };
        assert!(drawn("stroke", "#0072B2"), "the line is drawn: {text}");
        assert!(drawn("fill", "#E69F00"), "the bars are drawn: {text}");
    }

    #[test]
    fn a_png_has_its_size_and_shows_every_series_and_letters() {
        let bytes = png(&made_up()).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(bytes)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let frame = reader.next_frame(&mut pixels).unwrap();
        assert_eq!((frame.width, frame.height), SIZE);
        let (pixels, _) = pixels.as_chunks::<3>();
        let colours: BTreeSet<[u8; 3]> = pixels.iter().copied().collect();
        for colour in [Colour::Blue, Colour::Orange, Colour::Ink] {
            let rgb = colour.rgb();
            assert!(colours.contains(&[rgb.0, rgb.1, rgb.2]), "{colour:?} is not there");
        }
        // The title alone stands there.
        let rows = pixels.chunks(SIZE.0 as usize).skip(8).take(30);
        let inked = rows.flatten().filter(|[red, ..]| *red < 128).count();
        assert!(inked > 300, "the title has {inked} dark pixels");
    }

    #[test]
    fn a_figure_is_saved_as_pictures_and_as_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let written = save(&made_up(), dir.path()).unwrap();
        let names: Vec<_> = written.iter().filter_map(|path| path.file_name()).collect();
        assert_eq!(names, ["made-up.svg", "made-up.png", "made-up.csv"]);
        let figures = std::fs::read_to_string(&written[2]).unwrap();
        assert!(figures.contains(",peer a0,9,5,,\n") && figures.contains("by name,held,4,77,,\n"));
    }
}
