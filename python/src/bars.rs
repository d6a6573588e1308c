//! Bars on a terminal: one for the call, and one for each table that is being copied. Knows how far a call is from its
//! [`Progress`] alone.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, channel},
    },
    thread,
    time::Duration,
};

use dray::{
    copy::{Progress, Snapshot},
    telemetry,
};
use indicatif::{HumanBytes, HumanCount, HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

/// How often they are drawn anew.
const PACE: Duration = Duration::from_millis(100);

/// Tenths of a percent, which is how much is done.
const WHOLE: u64 = 1000;

const BAR: &str = "{prefix:<32!} {bar:20} {msg}";

/// Runs `work`, and meanwhile draws how far it is; log records stand above the bars.
pub fn drawn<T>(progress: &Progress, work: impl FnOnce() -> T) -> T {
    progress.show();
    let screen = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
    let around = screen.clone();
    telemetry::set_screen(Some(Arc::new(move |write: &mut dyn FnMut()| around.suspend(write))));
    let done = thread::scope(|scope| {
        let (ended, wait) = channel::<()>();
        let draw = move || {
            let mut bars = Bars::new(&screen);
            while wait.recv_timeout(PACE) == Err(RecvTimeoutError::Timeout) {
                bars.draw(&progress.snapshot());
            }
            bars.clear();
        };
        // Without a thread there are no bars, and a copy all the same.
        let _ = thread::Builder::new()
            .name("dray-bars".to_owned())
            .spawn_scoped(scope, draw);
        let done = work();
        drop(ended);
        done
    });
    telemetry::set_screen(None);
    done
}

struct Bars<'a> {
    screen: &'a MultiProgress,
    style: ProgressStyle,
    whole: ProgressBar,
    /// By source and target.
    tables: HashMap<(String, String), ProgressBar>,
}

impl<'a> Bars<'a> {
    fn new(screen: &'a MultiProgress) -> Bars<'a> {
        // The template is a constant; a wrong one would be seen in every test.
        let style = ProgressStyle::with_template(BAR).unwrap_or_else(|_| ProgressStyle::default_bar());
        let whole = screen.add(ProgressBar::new(WHOLE).with_style(style.clone()));
        Bars {
            screen,
            style,
            whole,
            tables: HashMap::new(),
        }
    }

    fn draw(&mut self, now: &Snapshot) {
        let key = |source: &str, target: &str| (source.to_owned(), target.to_owned());
        self.tables.retain(|known, bar| {
            let goes_on = now
                .running
                .iter()
                .any(|table| key(&table.source, &table.target) == *known);
            if !goes_on {
                bar.finish_and_clear();
                self.screen.remove(bar);
            }
            goes_on
        });
        for table in &now.running {
            let bar = self.tables.entry(key(&table.source, &table.target)).or_insert_with(|| {
                let bar = ProgressBar::new(WHOLE).with_style(self.style.clone());
                self.screen
                    .insert_before(&self.whole, bar)
                    .with_prefix(table.table.clone())
            });
            let speed = format!("{} rows, {}/s", HumanCount(table.rows), HumanCount(table.rows_per_s));
            show(bar, table.percent, &speed, table.left_s);
        }
        let done = now.tables_copied + now.tables_failed;
        self.whole.set_prefix(format!("{done} of {} tables", now.tables));
        let speed = format!("{} rows, {}/s", HumanCount(now.rows), HumanBytes(now.bytes_per_s));
        show(&self.whole, Some(now.percent), &speed, now.left_s);
    }

    fn clear(&self) {
        for bar in self.tables.values().chain([&self.whole]) {
            bar.finish_and_clear();
        }
    }
}

fn show(bar: &ProgressBar, percent: Option<f64>, speed: &str, left_s: Option<u64>) {
    let share = percent.map_or(String::new(), |percent| format!("{percent:>3.0} %, "));
    let left = left_s.map_or(String::new(), |left_s| {
        format!(", {} left", HumanDuration(Duration::from_secs(left_s)))
    });
    bar.set_position((percent.unwrap_or_default() * 10.0) as u64);
    bar.set_message(format!("{share}{speed}{left}"));
}
