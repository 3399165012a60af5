use super::*;
use crate::cli::output::samples;

const WIDTHS: [usize; 5] = [60, 80, 100, 120, 200];

fn style(width: usize) -> Style {
    Style { width, color: false, unicode: true }
}

fn table(alerts: &[Alert], style: Style) -> String {
    let mut out = String::new();
    Table::new(style).push_all(alerts, &mut out);
    out
}

fn stream(alerts: &[Alert], style: Style) -> String {
    let (mut table, mut out) = (Table::new(style), String::new());
    alerts.iter().for_each(|alert| table.push_next(alert, &mut out));
    out
}

/// The samples as of one host.
fn one_host() -> Vec<Alert> {
    let mut alerts = samples::all();
    alerts.iter_mut().for_each(|alert| alert.host = "web-07".to_owned());
    alerts
}

#[test]
fn show() {
    for width in [80, 120, 200] {
        println!("{}\n{}", "=".repeat(width), table(&one_host(), style(width)));
    }
    println!("{}\n{}", "=".repeat(120), table(&samples::all(), style(120)));
    println!("{}\n{}", "=".repeat(80), stream(&samples::all(), style(80)));
    println!("{}\n{}", "=".repeat(80), table(&one_host(), Style { width: 80, color: false, unicode: false }));
}
