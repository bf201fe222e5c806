//! A drawing as text.

use std::fmt::{Display, Write};

/// Where a text stands relative to its point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A picture under construction; lengths in pixels, from the upper left corner.
#[derive(Debug)]
pub(super) struct Svg {
    text: String,
}

/// Writing to a string does not fail.
macro_rules! put {
    ($svg:expr, $($text:tt)*) => {
        write!($svg.text, $($text)*).expect("a string takes all")
    };
}

impl Svg {
    /// Empty; `label` says what it shows to those who do not see it.
    pub(super) fn new(width: f64, height: f64, label: &str) -> Self {
        let mut svg = Self { text: String::new() };
        let label = escape(label);
        put!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-label=\"{label}\" \
             width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\">"
        );
        svg
    }

    /// A filled rectangle with a text that a pointer over it shows.
    pub(super) fn rect(&mut self, at: (f64, f64), size: (f64, f64), style: &str, title: &str) {
        let ((x, y), (width, height)) = (at, size);
        let title = escape(title);
        put!(
            self,
            "<rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{height:.1}\" \
             style=\"{style}\"><title>{title}</title></rect>",
            width.max(0.0)
        );
    }

    /// A straight line.
    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        let ((x1, y1), (x2, y2)) = (from, to);
        put!(
            self,
            "<line class=\"{class}\" x1=\"{x1:.1}\" y1=\"{y1:.1}\" x2=\"{x2:.1}\" y2=\"{y2:.1}\"/>"
        );
    }

    /// A line through points.
    pub(super) fn polyline(&mut self, points: &[(f64, f64)], colour: &str, title: &str) {
        put!(self, "<polyline class=\"curve\" style=\"stroke:{colour}\" points=\"");
        for (x, y) in points {
            put!(self, "{x:.1},{y:.1} ");
        }
        put!(self, "\"><title>{}</title></polyline>", escape(title));
    }

    /// A dot.
    pub(super) fn dot(&mut self, (x, y): (f64, f64), title: &str) {
        let title = escape(title);
        put!(
            self,
            "<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\"><title>{title}</title>\
             </circle>"
        );
    }

    /// A text on one line.
    pub(super) fn text(&mut self, at: (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let (x, y) = at;
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escape(text);
        put!(self, "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" ");
        put!(self, "text-anchor=\"{anchor}\">{text}</text>");
    }

    /// The finished drawing.
    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</svg>");
        self.text
    }
}

/// For text and attributes of HTML.
pub(super) fn escape(text: &(impl Display + ?Sized)) -> String {
    let mut escaped = String::new();
    for c in text.to_string().chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            other => escaped.push(other),
        }
    }
    escaped
}

/// A round step of a scale up to `most` with some five marks: 1, 2 or 5 times a power of ten.
pub(super) fn step(most: f64) -> f64 {
    let rough = most.max(f64::MIN_POSITIVE) / 5.0;
    let power = 10_f64.powf(rough.log10().floor());
    let factor = [1.0, 2.0, 5.0, 10.0].into_iter().find(|factor| factor * power >= rough * 0.999);
    factor.unwrap_or(10.0) * power
}

/// The marks of a scale from 0 to `most`.
pub(super) fn marks(most: f64) -> impl Iterator<Item = f64> {
    let step = step(most);
    (0..=20).map(move |index| f64::from(index) * step).take_while(move |mark| *mark <= most * 1.001)
}

/// A number with as many decimals as its size asks for.
pub(super) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 || value.fract() == 0.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_have_round_marks() {
        for (most, expected) in [(10.0, 2.0), (3.4, 1.0), (0.9, 0.2), (22.0, 5.0), (100.0, 20.0)] {
            assert!((step(most) - expected).abs() < 1e-9, "{most}: {}", step(most));
        }
        assert_eq!(marks(10.0).count(), 6);
    }

    #[test]
    fn what_would_be_markup_is_shown_as_it_is() {
        assert_eq!(escape("a<b & \"c\""), "a&lt;b &amp; &quot;c&quot;");
        let mut svg = Svg::new(10.0, 10.0, "x");
        svg.text((1.0, 2.0), Anchor::Start, "note", "1 < 2");
        assert!(svg.finish().contains("1 &lt; 2</text></svg>"));
    }
}
