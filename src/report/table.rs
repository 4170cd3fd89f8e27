//! A table as aligned text.

/// A table with a header. Text is aligned to the left, numbers to the right.
///
/// ```
/// use normscape::report::Table;
/// let mut table = Table::new(["norm", "loss"]);
/// table.row(["none".into(), 1.91.into()]);
/// table.row(["batch".into(), 0.8.into()]);
/// assert_eq!(table.to_string(), "norm   loss\n-----  ----\nnone   1.91\nbatch   0.8\n");
/// ```
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    headers: Vec<String>,
    rows: Vec<Vec<Cell>>,
}

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Words.
    Text(String),
    /// A number as it is shown, with its unit if it has one: "83.1 %".
    Number(String),
}

impl Cell {
    /// A number as it is shown.
    pub fn number(shown: impl Into<String>) -> Cell {
        Cell::Number(shown.into())
    }

    pub(super) fn shown(&self) -> &str {
        match self {
            Cell::Text(shown) | Cell::Number(shown) => shown,
        }
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.into())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

/// A number to four significant digits. For others, use [`Cell::number`] with [`significant`].
impl From<f64> for Cell {
    fn from(value: f64) -> Cell {
        Cell::Number(significant(value, 4))
    }
}

impl From<u64> for Cell {
    fn from(value: u64) -> Cell {
        Cell::Number(value.to_string())
    }
}

impl Table {
    /// A table with these headers and no rows.
    pub fn new<S: Into<String>>(headers: impl IntoIterator<Item = S>) -> Table {
        Table { headers: headers.into_iter().map(Into::into).collect(), rows: Vec::new() }
    }

    /// Adds a row. Missing cells at its end are blank; cells beyond the headers get a column without a name.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) -> &mut Table {
        self.rows.push(cells.into_iter().collect());
        self
    }

    pub(super) fn headers(&self) -> &[String] {
        &self.headers
    }

    pub(super) fn rows(&self) -> &[Vec<Cell>] {
        &self.rows
    }

    /// Whether a column holds only numbers and blanks, and at least one number. Then it is aligned to the right.
    pub(super) fn is_numeric(&self, column: usize) -> bool {
        let mut cells = self.rows.iter().filter_map(|row| row.get(column)).filter(|c| !c.shown().is_empty()).peekable();
        cells.peek().is_some() && cells.all(|cell| matches!(cell, Cell::Number(_)))
    }
}

impl std::fmt::Display for Table {
    /// Writes the header, a rule and the rows, one line each. A numeric column is aligned to the right, and so is its header.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let columns = self.rows.iter().map(Vec::len).chain([self.headers.len()]).max().unwrap_or(0);
        let cell = |row: usize, column: usize| self.rows[row].get(column).filter(|cell| !cell.shown().is_empty());
        let header = |column: usize| self.headers.get(column).map_or("", String::as_str);
        let rows = 0..self.rows.len();

        let mut lines = vec![String::new(); self.rows.len() + 2];
        for column in 0..columns {
            let right = self.is_numeric(column);
            let shown = rows.clone().map(|row| cell(row, column).map_or("", Cell::shown));
            let width = shown.clone().chain([header(column)]).map(|s| s.chars().count()).max().unwrap_or(0);
            let rule = "-".repeat(width);
            for (line, text) in lines.iter_mut().zip([header(column), rule.as_str()].into_iter().chain(shown)) {
                if column > 0 {
                    line.push_str("  ");
                }
                line.push_str(&if right { format!("{text:>width$}") } else { format!("{text:<width$}") });
            }
        }
        lines.iter().try_for_each(|line| writeln!(f, "{}", line.trim_end()))
    }
}

/// A number to this many significant digits, without trailing zeros; digits before the point are never dropped. Below 1e-3 it has an
/// exponent, so that a small value never reads 0; and so it has from 1e6 on, where digits are hard to count at sight.
pub fn significant(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "nan".into()
        } else if value > 0.0 {
            "inf".into()
        } else {
            "-inf".into()
        };
    }
    if value == 0.0 {
        return "0".into();
    }
    // Rounded first: 999.96 is 1000 to four digits, and its exponent is one higher.
    let rounded = format!("{value:.*e}", digits.clamp(1, 17) - 1);
    let (mantissa, exponent) = rounded.split_once('e').unwrap_or((&rounded, "0"));
    let power: i32 = exponent.parse().unwrap_or(0);
    let trim =
        |s: &str| if s.contains('.') { s.trim_end_matches('0').trim_end_matches('.').to_owned() } else { s.to_owned() };
    if (-3..6).contains(&power) {
        let decimals = usize::try_from(digits as i64 - 1 - i64::from(power)).unwrap_or(0);
        trim(&format!("{value:.decimals$}"))
    } else {
        format!("{}e{power}", trim(mantissa))
    }
}

/// A number to three significant digits, in the form used on a page: 24,800, 3.43×10⁶, ∞.
pub fn rounded(value: f64) -> String {
    let text = significant(value, 3);
    if !value.is_finite() {
        return text.replace("nan", "unknown").replace("inf", "∞").replace('-', "−");
    }
    if let Some((mantissa, power)) = text.split_once('e') {
        const RAISED: [char; 10] = ['⁰', '¹', '²', '³', '⁴', '⁵', '⁶', '⁷', '⁸', '⁹'];
        let raised = power.chars().map(|c| c.to_digit(10).map_or('⁻', |digit| RAISED[digit as usize]));
        return format!("{mantissa}×10{}", raised.collect::<String>()).replace('-', "−");
    }
    if value.abs() < 1000.0 {
        return text.replace('-', "−");
    }
    // Digits behind the third say nothing.
    let unit = 10f64.powi(value.abs().log10().floor() as i32 - 2);
    let whole = format!("{:.0}", (value.abs() / unit).round() * unit);
    let grouped = whole.split_at(whole.len() - 3);
    format!("{}{},{}", if value < 0.0 { "−" } else { "" }, grouped.0, grouped.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right_and_words_to_the_left() {
        let mut table = Table::new(["variant", "steps", "β"]);
        table.row(["BatchNorm".into(), 15000u64.into(), Cell::number("83.1 %")]);
        table.row(["ℓ1".into(), 90u64.into(), "".into()]);
        table.row(["none".into()]);
        assert_eq!(
            table.to_string(),
            "variant    steps       β\n\
             ---------  -----  ------\n\
             BatchNorm  15000  83.1 %\n\
             ℓ1            90\n\
             none\n"
        );
    }

    #[test]
    fn a_column_with_a_word_in_it_stands_to_the_left() {
        let mut table = Table::new(["loss"]);
        table.row([1.5.into()]).row(["diverged".into()]);
        assert_eq!(table.to_string(), "loss\n--------\n1.5\ndiverged\n");
    }

    #[test]
    fn a_row_may_be_longer_than_the_header() {
        let mut table = Table::new(["a"]);
        table.row(["x".into(), "y".into()]);
        assert_eq!(table.to_string(), "a\n-  -\nx  y\n");
        assert_eq!(Table::default().to_string(), "\n\n");
    }

    #[test]
    fn a_page_shows_three_digits() {
        let cases = [
            (0.0, "0"),
            (0.6304, "0.63"),
            (-2.0, "−2"),
            (999.96, "1000"),
            (24833.0, "24,800"),
            (-999_400.0, "−999,000"),
            (3_427_483.6, "3.43×10⁶"),
            (-1.2e-10, "−1.2×10⁻¹⁰"),
            (f64::INFINITY, "∞"),
            (f64::NAN, "unknown"),
        ];
        for (value, shown) in cases {
            assert_eq!(rounded(value), shown, "{value}");
        }
    }

    #[test]
    fn significant_digits_never_round_to_nothing() {
        let cases = [
            (0.0, "0"),
            (1.0, "1"),
            (0.8014, "0.8014"),
            (0.00012346, "1.235e-4"),
            (-0.0012346, "-0.001235"),
            (999.96, "1000"),
            (10512.7, "10513"),
            (123456.0, "123456"),
            (1.05e6, "1.05e6"),
            (999_999.9, "1e6"),
            (3e-20, "3e-20"),
            (f64::NAN, "nan"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (value, shown) in cases {
            assert_eq!(significant(value, 4), shown, "{value}");
        }
        assert_eq!(significant(0.1 + 0.2, 17), "0.30000000000000004");
    }
}
