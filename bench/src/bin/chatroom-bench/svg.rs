//! Plots: lines over two axes, as SVG.

use crate::table::short;
use std::fmt::Write;

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 130.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 46.0;
/// Told apart by people who see fewer colours, too (Okabe and Ito).
const COLOURS: [&str; 6] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9",
];

/// A plot. Both axes are logarithmic.
#[derive(Debug)]
pub(crate) struct Plot {
    pub(crate) title: String,
    pub(crate) x: &'static str,
    pub(crate) y: &'static str,
    /// Where the x axis is marked, and with what.
    pub(crate) marks: Vec<(f64, String)>,
    pub(crate) lines: Vec<(String, Vec<(f64, f64)>)>,
}

impl Plot {
    /// The picture; `None` if there is nothing to show.
    pub(crate) fn svg(&self) -> Option<String> {
        let points = || self.lines.iter().flat_map(|(_, line)| line);
        let xs = Scale::over(points().map(|p| p.0), LEFT, WIDTH - RIGHT)?;
        let ys = Scale::over(points().map(|p| p.1), HEIGHT - BOTTOM, TOP)?;
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
             <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{}</text>\n",
            escaped(&self.title)
        );
        let (floor, right) = (HEIGHT - BOTTOM, WIDTH - RIGHT);
        for value in ys.marks() {
            let y = ys.at(value);
            let _ = writeln!(
                svg,
                "<path d=\"M{LEFT} {y:.1}H{right}\" stroke=\"#ddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                y + 4.0,
                short(value)
            );
        }
        for (value, name) in &self.marks {
            let x = xs.at(*value);
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.1} {TOP}V{floor}\" stroke=\"#eee\"/>\
                 <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                floor + 16.0,
                escaped(name)
            );
        }
        let _ = writeln!(
            svg,
            "<path d=\"M{LEFT} {TOP}V{floor}H{right}\" stroke=\"#444\" fill=\"none\"/>\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\
             <text transform=\"translate(14 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>",
            f64::midpoint(LEFT, right),
            HEIGHT - 10.0,
            escaped(self.x),
            f64::midpoint(TOP, floor),
            escaped(self.y)
        );
        for (i, (name, line)) in self.lines.iter().enumerate() {
            let colour = COLOURS[i % COLOURS.len()];
            let path: Vec<String> = line
                .iter()
                .map(|&(x, y)| format!("{:.1} {:.1}", xs.at(x), ys.at(y)))
                .collect();
            let y = TOP + 14.0 + 18.0 * i as f64;
            let _ = writeln!(
                svg,
                "<path d=\"M{}\" stroke=\"{colour}\" stroke-width=\"2\" fill=\"none\"/>\
                 <path d=\"M{:.1} {y:.1}h18\" stroke=\"{colour}\" stroke-width=\"2\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                path.join("L"),
                right + 10.0,
                right + 32.0,
                y + 4.0,
                escaped(name)
            );
            if line.len() < 20 {
                for &(x, y) in line {
                    let (x, y) = (xs.at(x), ys.at(y));
                    let _ = writeln!(
                        svg,
                        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>"
                    );
                }
            }
        }
        svg.push_str("</svg>\n");
        Some(svg)
    }
}

/// From values to places on the picture.
struct Scale {
    least: f64,
    most: f64,
    from: f64,
    to: f64,
}

impl Scale {
    fn over(values: impl Iterator<Item = f64>, from: f64, to: f64) -> Option<Self> {
        let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
        for value in values.filter(|v| *v > 0.0 && v.is_finite()) {
            least = least.min(value);
            most = most.max(value);
        }
        let (least, most) = if most < least * 2.0 {
            (least / 1.5, most * 1.5)
        } else {
            (least, most)
        };
        (most > 0.0).then_some(Self {
            least,
            most,
            from,
            to,
        })
    }

    fn at(&self, value: f64) -> f64 {
        let value = value.max(self.least);
        let share = (value / self.least).ln() / (self.most / self.least).ln();
        self.from + share * (self.to - self.from)
    }

    /// 1, 2, 5, 10 and so on; powers of ten alone if that would be too many.
    fn marks(&self) -> Vec<f64> {
        let steps: &[f64] = if self.most / self.least > 1e3 {
            &[1.0]
        } else {
            &[1.0, 2.0, 5.0]
        };
        let (low, high) = (self.least.log10().floor(), self.most.log10().ceil());
        let powers = (low as i32)..=(high as i32);
        powers
            .flat_map(|power| steps.iter().map(move |step| step * 10_f64.powi(power)))
            .filter(|mark| (self.least..=self.most).contains(mark))
            .collect()
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
