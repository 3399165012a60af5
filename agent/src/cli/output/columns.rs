//! A plain table: a header and rows of cells, as wide as they need, cut in the middle where the terminal ends.

use super::Style;
use super::text::{elide, push_left, width};

/// Spaces between two columns.
const GAP: usize = 2;
/// Columns of text that a cell keeps, however narrow the terminal.
const LEAST: usize = 8;

/// The table, with a line feed at the end of each line.
#[must_use]
pub fn table(header: &[&str], rows: &[Vec<String>], style: Style) -> String {
    let ellipsis = if style.unicode { "…" } else { "..." };
    let mut widths: Vec<usize> = header.iter().map(|name| width(name)).collect();
    for row in rows {
        for (widest, cell) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(width(cell));
        }
    }
    // The widest gives way first.
    let gaps = GAP * widths.len().saturating_sub(1);
    while widths.iter().sum::<usize>() + gaps > style.width {
        let Some(widest) = widths.iter_mut().max().filter(|widest| **widest > LEAST) else { break };
        *widest -= 1;
    }
    let mut out = String::new();
    let names: Vec<String> = header.iter().map(|name| (*name).to_owned()).collect();
    for (index, row) in std::iter::once(&names).chain(rows).enumerate() {
        let mut line = String::new();
        for (column, (cell, &columns)) in row.iter().zip(&widths).enumerate() {
            if column > 0 {
                line.push_str(&" ".repeat(GAP));
            }
            push_left(&mut line, &elide(cell, columns, ellipsis), columns);
        }
        let line = line.trim_end();
        match (index, style.color) {
            (0, true) => out.push_str(&format!("\x1b[1m{line}\x1b[0m")),
            _ => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_and_the_widest_gives_way() {
        let style = Style { width: 30, color: false, unicode: true };
        let rows = vec![
            vec!["a".to_owned(), "x".repeat(40), "1".to_owned()],
            vec!["host".to_owned(), "y".to_owned(), "22".to_owned()],
        ];
        let text = table(&["HOST", "NAME", "N"], &rows, style);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], "HOST  NAME                  N");
        assert!(lines.iter().all(|line| width(line) <= 30), "{text}");
        assert!(lines[1].contains('…') && lines[2].ends_with("22"));
    }
}
