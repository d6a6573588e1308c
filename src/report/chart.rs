//! Drawings in SVG: bars by worker, and a line over time. Knows times and numbers, and nothing of the log.

use std::fmt::Write as _;

/// Units of the drawings' own width; the browser makes them as wide as the page.
const WIDTH: f64 = 1100.0;
/// What the lines' names take on the left.
const LEFT: f64 = 150.0;
const RIGHT: f64 = 12.0;
const LINE_HEIGHT: f64 = 22.0;
const AXIS_HEIGHT: f64 = 24.0;
const CHART_HEIGHT: f64 = 140.0;
/// A letter of the text in bars.
const LETTER_WIDTH: f64 = 6.4;

/// A bar in a line.
pub(super) struct Bar<'a> {
    /// The line, from 0.
    pub line: usize,
    pub began_ms: i64,
    pub ended_ms: i64,
    /// Its class in the style sheet.
    pub class: &'static str,
    /// Stands in it if there is room.
    pub name: &'a str,
    /// Shown when somebody points at it.
    pub title: String,
}

/// Text as it stands in HTML.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            // No text of HTML may hold these, escaped or not.
            character if character.is_control() && !matches!(character, '\n' | '\t') => out.push('\u{fffd}'),
            character => out.push(character),
        }
    }
    out
}

/// Bars by line, from `span` to its end in milliseconds; `lines` are their names.
pub(super) fn gantt(lines: &[String], bars: &[Bar<'_>], span: (i64, i64)) -> String {
    let bottom = lines.len() as f64 * LINE_HEIGHT;
    let mut svg = open(bottom + AXIS_HEIGHT, "What ran when");
    axis(&mut svg, span, bottom);
    for (number, name) in lines.iter().enumerate() {
        let y = number as f64 * LINE_HEIGHT;
        let _ = write!(
            svg,
            "<text class=name x=0 y={:.1}>{}</text>",
            y + 15.0,
            escaped(&shortened(name, ((LEFT - 8.0) / LETTER_WIDTH) as usize))
        );
    }
    for bar in bars {
        let (left, right) = (x(bar.began_ms, span), x(bar.ended_ms, span));
        let y = bar.line as f64 * LINE_HEIGHT + 2.0;
        // The shortest is still seen.
        let width = (right - left).max(1.0);
        let _ = write!(
            svg,
            "<g class={}><title>{}</title><rect x={left:.1} y={y:.1} width={width:.1} height={:.1} rx=2 />",
            bar.class,
            escaped(&bar.title),
            LINE_HEIGHT - 4.0
        );
        let letters = ((width - 8.0) / LETTER_WIDTH) as usize;
        if width > 40.0 {
            let name = shortened(bar.name, letters);
            let _ = write!(
                svg,
                "<text x={:.1} y={:.1}>{}</text>",
                left + 4.0,
                y + 13.0,
                escaped(&name)
            );
        }
        svg.push_str("</g>");
    }
    svg.push_str("</svg>");
    svg
}

/// A filled line through `points`, in milliseconds and a number; `label` says a number in words.
pub(super) fn line(title: &str, points: &[(i64, f64)], span: (i64, i64), label: impl Fn(f64) -> String) -> String {
    let mut svg = open(CHART_HEIGHT + AXIS_HEIGHT, title);
    axis(&mut svg, span, CHART_HEIGHT);
    let highest = points.iter().map(|(_, value)| *value).fold(0.0, f64::max).max(1e-9);
    let top = 12.0;
    let y = |value: f64| CHART_HEIGHT - value / highest * (CHART_HEIGHT - top);
    let _ = write!(
        svg,
        "<text class=name x=0 y={:.1}>{}</text><line class=grid x1={LEFT} x2={:.1} y1={:.1} y2={:.1} />\
         <text class=name x=0 y={CHART_HEIGHT:.1}>{}</text>",
        top + 4.0,
        escaped(&label(highest)),
        WIDTH - RIGHT,
        top,
        top,
        escaped(&label(0.0))
    );
    let mut path = String::new();
    for (time_ms, value) in points {
        let _ = write!(path, "{:.1},{:.1} ", x(*time_ms, span), y(*value));
    }
    if let (Some((first, _)), Some((last, _))) = (points.first(), points.last()) {
        let _ = write!(
            svg,
            "<polygon class=area points=\"{:.1},{CHART_HEIGHT:.1} {path}{:.1},{CHART_HEIGHT:.1}\" />\
             <polyline class=curve points=\"{}\" />",
            x(*first, span),
            x(*last, span),
            path.trim_end()
        );
    }
    svg.push_str("</svg>");
    svg
}

fn open(height: f64, title: &str) -> String {
    format!(
        "<svg viewBox=\"0 0 {WIDTH} {height:.0}\" role=img aria-label=\"{}\">",
        escaped(title)
    )
}

fn x(time_ms: i64, (first, last): (i64, i64)) -> f64 {
    let share = (time_ms - first) as f64 / (last - first).max(1) as f64;
    LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
}

/// Upright lines at round times after the beginning.
fn axis(svg: &mut String, span: (i64, i64), bottom: f64) {
    let step = step_ms(span.1 - span.0);
    let mut after_ms = 0;
    while after_ms <= span.1 - span.0 {
        let x = x(span.0 + after_ms, span);
        let _ = write!(
            svg,
            "<line class=grid x1={x:.1} x2={x:.1} y1=0 y2={bottom:.1} /><text class=tick x={x:.1} y={:.1}>{}</text>",
            bottom + 16.0,
            duration(after_ms)
        );
        after_ms += step;
    }
}

/// A round step of time that makes about eight of `span_ms`.
fn step_ms(span_ms: i64) -> i64 {
    const ROUND: [i64; 22] = [
        1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000,
        1_800_000, 3_600_000, 7_200_000, 14_400_000,
    ];
    let wanted = span_ms / 8;
    let found = ROUND.into_iter().find(|step| *step >= wanted);
    found.unwrap_or_else(|| (wanted / 86_400_000 + 1) * 86_400_000)
}

/// Such as `350 ms`, `12.5 s`, `3 min 20 s`, `2 h 5 min`.
pub(super) fn duration(ms: i64) -> String {
    let seconds = ms / 1000;
    match (ms, seconds) {
        (0, _) => "0".to_owned(),
        (_, 0) => format!("{ms} ms"),
        (_, ..60) if ms % 1000 == 0 => format!("{seconds} s"),
        (_, ..60) => format!("{:.1} s", ms as f64 / 1000.0),
        (_, ..3_600) if seconds % 60 == 0 => format!("{} min", seconds / 60),
        (_, ..3_600) => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// The beginning of a text, if it is too long.
fn shortened(text: &str, letters: usize) -> String {
    match text.chars().count() > letters {
        true => text.chars().take(letters.saturating_sub(1)).chain(['…']).collect(),
        false => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_the_log_cannot_become_a_tag() {
        assert_eq!(escaped("<b>&\"\u{1b}"), "&lt;b&gt;&amp;&quot;\u{fffd}");
    }

    #[test]
    fn times_are_said_in_their_own_units() {
        for (ms, expected) in [
            (0, "0"),
            (350, "350 ms"),
            (12_500, "12.5 s"),
            (20_000, "20 s"),
            (200_000, "3 min 20 s"),
            (7_500_000, "2 h 5 min"),
        ] {
            assert_eq!(duration(ms), expected);
        }
    }

    #[test]
    fn an_axis_of_any_length_has_a_few_ticks() {
        for span in [1, 37, 999, 61_000, 3_599_999, 86_400_000, 30 * 86_400_000] {
            let ticks = span / step_ms(span);
            assert!((1..=8).contains(&ticks), "{span}: {ticks}");
        }
    }
}
