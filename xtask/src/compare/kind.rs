//! The kinds of training step to compare: a name for `normscape bench --step`, and a precision.

use std::fmt;

/// The kinds that are compared when none is named.
const USUAL: [(&str, &str); 5] = [
    ("vgg16-1-batch", "f32"),
    ("vgg16-0.25-batch", "f32"),
    ("vgg16-0.125-batch", "f32"),
    ("dln-batch", "f32"),
    ("dln-batch", "f64"),
];

/// A kind of step.
#[derive(Debug, Clone, PartialEq)]
pub struct Kind {
    /// `MODEL-WIDTH-NORM` or `dln-NORM`.
    pub name: String,
    /// f32 or f64
    pub precision: String,
}

impl Kind {
    /// Reads `NAME` or `NAME/PRECISION`.
    fn read(text: &str) -> Result<Kind, String> {
        let (name, precision) = text.split_once('/').unwrap_or((text, "f32"));
        let kind = Kind { name: name.into(), precision: precision.into() };
        let (model, _, norm) = kind.parts();
        let known = (model == "dln" || model.starts_with("vgg")) && !norm.is_empty();
        match known && matches!(precision, "f32" | "f64") {
            true => Ok(kind),
            false => Err(format!(
                "compare: --only {text}: no step; as vgg16-0.25-batch, dln-layer and dln-batch/f64, what normscape bench --step takes"
            )),
        }
    }

    /// Model, width (`None` for the dln) and norm.
    pub fn parts(&self) -> (&str, Option<&str>, &str) {
        let (model, rest) = self.name.split_once('-').unwrap_or((&self.name, ""));
        match rest.split_once('-') {
            Some((width, norm)) if model != "dln" => (model, Some(width), norm),
            _ if model == "dln" => (model, None, rest),
            _ => (model, None, ""),
        }
    }

    /// Whether the step is the deep linear network's.
    pub fn is_dln(&self) -> bool {
        self.parts().1.is_none()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.precision)
    }
}

/// The kinds that `--only` asks for, in its order. A usual name without a precision means all of its precisions. Without `--only`, the
/// usual kinds.
pub fn chosen(only: &[String]) -> Result<Vec<Kind>, String> {
    let usual = || USUAL.iter().map(|(name, precision)| Kind { name: (*name).into(), precision: (*precision).into() });
    if only.is_empty() {
        return Ok(usual().collect());
    }
    let mut kinds = Vec::new();
    for text in only {
        let named: Vec<_> = usual().filter(|kind| kind.name == *text).collect();
        let named = if named.is_empty() { vec![Kind::read(text)?] } else { named };
        kinds.extend(named.into_iter().filter(|kind| !kinds.contains(kind)).collect::<Vec<_>>());
    }
    Ok(kinds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(only: &[&str]) -> Vec<String> {
        let only: Vec<_> = only.iter().map(|&text| text.to_owned()).collect();
        chosen(&only).unwrap().iter().map(Kind::to_string).collect()
    }

    #[test]
    fn a_usual_name_is_all_its_precisions_and_another_is_what_it_says() {
        assert_eq!(names(&[]).len(), USUAL.len());
        assert_eq!(names(&["dln-batch"]), ["dln-batch f32", "dln-batch f64"]);
        assert_eq!(names(&["dln-batch/f64", "vgg11-0.5-lp:3"]), ["dln-batch f64", "vgg11-0.5-lp:3 f32"]);
        assert_eq!(names(&["dln-group:2/f64", "dln-group:2/f64"]), ["dln-group:2 f64"]);
    }

    #[test]
    fn what_is_no_step_is_refused() {
        for text in ["vgg16", "resnet-1-batch", "vgg16-batch", "dln", "dln-batch/bf16"] {
            assert!(chosen(&[text.to_owned()]).unwrap_err().contains(text), "{text}");
        }
    }

    #[test]
    fn a_name_has_parts() {
        let kind = |text: &str| Kind::read(text).unwrap();
        assert_eq!(kind("vgg16-0.25-group:8").parts(), ("vgg16", Some("0.25"), "group:8"));
        assert_eq!(kind("dln-lp:3").parts(), ("dln", None, "lp:3"));
        assert!(kind("dln-none").is_dln() && !kind("vgg11-1-none").is_dln());
    }
}
