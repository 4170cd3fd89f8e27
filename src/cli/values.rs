//! Parsers of options' values. Their errors say what would be right.

/// A parsed value, or a message that says what would be right.
pub type Parsed<T> = std::result::Result<T, String>;

/// A number. `nan` and `inf` parse; the option's range check refuses them.
pub fn number(text: &str) -> Parsed<f64> {
    text.trim().parse().map_err(|_| "a number is needed, as 0.1 or 1e-6".into())
}

/// A number in single precision.
pub fn single(text: &str) -> Parsed<f32> {
    text.trim().parse().map_err(|_| "a number is needed, as 0.1 or 1e-6".into())
}

/// A whole number.
pub fn whole(text: &str) -> Parsed<u64> {
    text.trim().parse().map_err(|_| "a whole number of at least 0 is needed".into())
}

/// A count that fits into memory.
pub fn count(text: &str) -> Parsed<usize> {
    whole(text).and_then(|n| usize::try_from(n).map_err(|_| "a smaller number is needed".into()))
}

/// The value of `--threads`.
pub fn threads(text: &str) -> Parsed<usize> {
    const MOST: usize = 1024;
    match count(text) {
        Ok(n) if (1..=MOST).contains(&n) => Ok(n),
        _ => Err(format!("a whole number from 1 to {MOST} is needed")),
    }
}

/// A range `LO:HI`.
pub fn range(text: &str) -> Parsed<[f64; 2]> {
    let ends = text.split_once(':').and_then(|(low, high)| Some([low.trim().parse().ok()?, high.trim().parse().ok()?]));
    ends.ok_or_else(|| "two numbers LO:HI are needed, as 0.5:4".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_taken_or_told_what_would_be_right() {
        assert_eq!(range("0.5:4"), Ok([0.5, 4.0]));
        assert!(range("4").is_err() && range("a:b").is_err() && range("1:2:3").is_err());
        assert!(number("NaN").unwrap().is_nan() && number("1e-6") == Ok(1e-6) && number("").is_err());
        assert_eq!(threads("2"), Ok(2));
        for text in ["0", "-1", "1e3", "1025", "99999999999999999999999"] {
            assert!(threads(text).unwrap_err().contains("1 to 1024"), "{text}");
        }
        assert!(whole("-1").is_err() && whole("1.5").is_err() && count("18446744073709551615").is_ok());
    }
}
