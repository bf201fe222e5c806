//! A drawing as text.

use std::fmt::Write;

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
        put!(
            svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" aria-label=\"{}\" \
             width=\"{width:.0}\" height=\"{height:.0}\" viewBox=\"0 0 {width:.0} {height:.0}\">",
            escape(label)
        );
        svg
    }

    /// A rectangle with a text that a pointer over it shows.
    pub(super) fn rect(&mut self, at: (f64, f64), size: (f64, f64), class: &str, title: &str) {
        put!(
            self,
            "<rect class=\"{class}\" x=\"{:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\">\
             <title>{}</title></rect>",
            at.0,
            at.1,
            size.0.max(0.5),
            size.1,
            escape(title)
        );
    }

    /// A line of some width and colour with a text that a pointer over it shows.
    pub(super) fn line(
        &mut self,
        from: (f64, f64),
        to: (f64, f64),
        (width, colour): (f64, &str),
        title: &str,
    ) {
        put!(
            self,
            "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke-width=\"{width:.1}\" \
             stroke=\"{colour}\"><title>{}</title></line>",
            from.0,
            from.1,
            to.0,
            to.1,
            escape(title)
        );
    }

    /// A text that begins at a point.
    pub(super) fn label(&mut self, at: (f64, f64), text: &str) {
        put!(self, "<text x=\"{:.1}\" y=\"{:.1}\">{}</text>", at.0, at.1, escape(text));
    }

    /// The finished drawing.
    pub(super) fn finish(mut self) -> String {
        self.text.push_str("</svg>\n");
        self.text
    }
}

/// A text that stands for itself in HTML.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
