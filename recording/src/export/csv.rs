//! Comma-separated values (RFC 4180) that a spreadsheet shows, and does not execute.

/// Adds a line.
pub(super) fn line<'a>(out: &mut String, cells: impl IntoIterator<Item = &'a str>) {
    for (index, cell) in cells.into_iter().enumerate() {
        if index > 0 {
            out.push(',');
        }
        append_cell(out, cell);
    }
    out.push_str("\r\n");
}

/// A cell that begins as a formula would is made text by an apostrophe before it (OWASP, "CSV Injection"), also behind blanks, which
/// spreadsheets pass over, and with the wide signs of East Asian keyboards, which some take for the narrow ones.
fn append_cell(out: &mut String, cell: &str) {
    let is_formula = cell.starts_with(['\t', '\r', '\n'])
        || cell.trim_start().starts_with(['=', '+', '-', '@', '|', '%', '＝', '＋', '－', '＠']);
    let must_quote = is_formula || cell.contains(['"', ',', '\r', '\n', ';', '\t']);
    if !must_quote {
        out.push_str(cell);
        return;
    }
    out.push('"');
    if is_formula {
        out.push('\'');
    }
    out.push_str(&cell.replace('"', "\"\""));
    out.push('"');
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn cell(text: &str) -> String {
        let mut out = String::new();
        append_cell(&mut out, text);
        out
    }

    #[test]
    fn cells() {
        assert_eq!(cell("Ada"), "Ada");
        assert_eq!(cell("Lovelace, \"Ada\""), "\"Lovelace, \"\"Ada\"\"\"");
        assert_eq!(cell("a\nb"), "\"a\nb\"");
        for formula in ["=1+1", "+1", "-1", "@SUM(A1)", " =1", "\t=1", "\r=1", "\u{feff}＝1", "％"] {
            let written = cell(formula);
            let starts = formula.trim_start().starts_with(['=', '+', '-', '@']);
            assert_eq!(written.starts_with("\"'"), starts, "{formula:?}: {written}");
        }
        assert_eq!(cell("＝1"), "\"'＝1\"");
        assert_eq!(cell("=\"x\""), "\"'=\"\"x\"\"\"");
    }

    /// Reads a line as RFC 4180 says.
    fn read(line: &str) -> Vec<String> {
        let mut cells = vec![String::new()];
        let mut quoted = false;
        let mut chars = line.strip_suffix("\r\n").unwrap_or(line).chars().peekable();
        while let Some(char) = chars.next() {
            match char {
                '"' if quoted && chars.peek() == Some(&'"') => {
                    chars.next();
                    cells[0].push('"');
                }
                '"' => quoted = !quoted,
                ',' if !quoted => cells.insert(0, String::new()),
                other => cells[0].push(other),
            }
        }
        cells.reverse();
        cells
    }

    proptest! {
        /// Whatever is written is one cell, the same but for the apostrophe, and no cell begins as a formula.
        #[test]
        fn what_is_written_is_read(cells in proptest::collection::vec("[-=+@, \"'\t\r\na;é]{0,8}", 1..5)) {
            let mut out = String::new();
            line(&mut out, cells.iter().map(String::as_str));
            let found = read(&out);
            prop_assert_eq!(found.len(), cells.len());
            for (found, cell) in found.iter().zip(&cells) {
                prop_assert!(found == cell || found.strip_prefix('\'') == Some(cell));
                prop_assert!(!found.trim_start().starts_with(['=', '+', '-', '@']), "{found:?}");
            }
        }
    }
}
