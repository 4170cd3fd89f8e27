//! The data of a figure: a CSV table and NumPy arrays.
//!
//! Both contain every value that was given, even where the picture is thinned. A table writes numbers in the shortest form that reads back
//! as the same number; a missing number is `NaN`, and infinite ones are `inf` and `-inf`.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::diagram::Diagram;
use super::layout::letter;
use super::plot::{Figure, Kind, Ridge, Series};
use crate::files::{Array, Arrays};

/// The most bytes of a label in an array's name.
const LONGEST: usize = 200;

impl Figure {
    /// A table with a row for each point, and for each bin of a ridge. Lines end in a line feed, and quoting follows RFC 4180.
    ///
    /// | column | holds |
    /// |---|---|
    /// | `panel`, `title` | its letter, as in the picture, and its title |
    /// | `series`, `kind` | the label; `line`, `points`, `band` or `ridge` |
    /// | `x`, `y` | of a line and of points; of a band only `x`; of a ridge `y`, the foot |
    /// | `low`, `high` | the ends of a band at `x`; of a ridge the ends of the bin, along the horizontal axis |
    /// | `density` | of a ridge: the share of samples in the bin over its width |
    ///
    /// Fields that do not apply are empty.
    pub fn csv(&self) -> String {
        let mut out = "panel,title,series,kind,x,y,low,high,density\n".to_owned();
        for (i, panel) in self.panels.iter().enumerate() {
            for series in &panel.series {
                let lead = format!("{},{},{},{}", letter(i), quoted(&panel.title), quoted(&series.label), kind(series));
                // Writing to a string cannot fail.
                match &series.kind {
                    Kind::Line(points) | Kind::Points(points) => {
                        for (x, y) in points {
                            let _ = writeln!(out, "{lead},{x:?},{y:?},,,");
                        }
                    }
                    Kind::Band(points) => {
                        for (x, low, high) in points {
                            let _ = writeln!(out, "{lead},{x:?},,{low:?},{high:?},");
                        }
                    }
                    Kind::Ridge(ridges) => {
                        for (at, (low, high, density)) in ridges.iter().flat_map(|r| r.bins().map(|bin| (r.at, bin))) {
                            let _ = writeln!(out, "{lead},,{at:?},{low:?},{high:?},{density:?}");
                        }
                    }
                }
            }
        }
        out
    }

    /// The same as arrays, for [`npz::write`](crate::files::npz::write) and `numpy.load`. They are named by panel, label and kind:
    ///
    /// | name | shape | holds |
    /// |---|---|---|
    /// | `a.LABEL.line`, `a.LABEL.points` | n, 2 | x, y |
    /// | `a.LABEL.band` | n, 3 | x, lowest, highest |
    /// | `a.LABEL.ridge.at` | n | the feet |
    /// | `a.LABEL.ridge.edges`, `a.LABEL.ridge.density` | n, b + 1 and n, b | a row for each foot, filled up with NaN |
    /// | `a.title`, `a.x`, `a.y` | none | title and axis labels, where there are any |
    ///
    /// A series without a label is called `series`. Slashes in labels become `_`. Where a name is taken, `.2`, `.3` and so on follow the label.
    pub fn arrays(&self) -> Arrays {
        let mut arrays = Arrays::new();
        for (i, panel) in self.panels.iter().enumerate() {
            let letter = letter(i);
            for (name, text) in [("title", &panel.title), ("x", &panel.x.label), ("y", &panel.y.label)] {
                insert_text(&mut arrays, format!("{letter}.{name}"), text);
            }
            let mut taken = BTreeSet::new();
            for series in &panel.series {
                let (label, kind) = (named(&series.label), kind(series));
                let free = |n: &usize| match n {
                    1 => format!("{letter}.{label}.{kind}"),
                    n => format!("{letter}.{label}.{n}.{kind}"),
                };
                let Some(name) = (1..).map(|n| free(&n)).find(|name| !taken.contains(name)) else { continue };
                match &series.kind {
                    Kind::Line(points) | Kind::Points(points) => {
                        let values = points.iter().flat_map(|p| [p.0, p.1]).collect();
                        arrays.insert(name.clone(), Array::f64([points.len(), 2], values));
                    }
                    Kind::Band(points) => {
                        let values = points.iter().flat_map(|p| [p.0, p.1, p.2]).collect();
                        arrays.insert(name.clone(), Array::f64([points.len(), 3], values));
                    }
                    Kind::Ridge(ridges) => insert_ridges(&mut arrays, &name, ridges),
                }
                taken.insert(name);
            }
        }
        arrays
    }
}

impl Diagram {
    /// The table of layers: `network,row,layer,gives`.
    pub fn csv(&self) -> String {
        let mut out = "network,row,layer,gives\n".to_owned();
        for column in &self.columns {
            for block in &column.boxes {
                let [network, label, detail] = [&column.title, &block.label, &block.detail].map(|text| quoted(text));
                let _ = writeln!(out, "{network},{},{label},{detail}", block.row);
            }
        }
        out
    }

    /// The same as arrays: for the networks a, b, … `a.title`, and with an entry for each layer `a.row`, `a.layer` and `a.gives`.
    pub fn arrays(&self) -> Arrays {
        let mut arrays = Arrays::new();
        for (i, column) in self.columns.iter().enumerate() {
            let (letter, n) = (letter(i), column.boxes.len());
            insert_text(&mut arrays, format!("{letter}.title"), &column.title);
            let rows = column.boxes.iter().map(|block| i64::try_from(block.row).unwrap_or(i64::MAX)).collect();
            arrays.insert(format!("{letter}.row"), Array::i64([n], rows));
            let layers = column.boxes.iter().map(|block| clean(&block.label)).collect();
            arrays.insert(format!("{letter}.layer"), Array::text([n], layers));
            let gives = column.boxes.iter().map(|block| clean(&block.detail)).collect();
            arrays.insert(format!("{letter}.gives"), Array::text([n], gives));
        }
        arrays
    }
}

fn kind(series: &Series) -> &'static str {
    match series.kind {
        Kind::Line(_) => "line",
        Kind::Points(_) => "points",
        Kind::Band(_) => "band",
        Kind::Ridge(_) => "ridge",
    }
}

/// A field as RFC 4180 writes it.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.into() }
}

/// A label as part of an array's name.
fn named(label: &str) -> String {
    let mut name = String::new();
    for c in label.chars().map(|c| if c.is_control() || matches!(c, '/' | '\\') { '_' } else { c }) {
        if name.len() + c.len_utf8() <= LONGEST {
            name.push(c);
        }
    }
    if name.is_empty() { "series".into() } else { name }
}

/// Removes NUL characters at a string's end, which NumPy takes for padding.
fn clean(text: &str) -> String {
    text.trim_end_matches('\0').into()
}

fn insert_text(arrays: &mut Arrays, name: String, text: &str) {
    let text = clean(text);
    if !text.is_empty() {
        arrays.insert(name, Array::scalar_text(text));
    }
}

fn insert_ridges(arrays: &mut Arrays, name: &str, ridges: &[Ridge]) {
    let longest = |length: fn(&Ridge) -> usize| ridges.iter().map(length).max().unwrap_or(0);
    let rows = |of: fn(&Ridge) -> &[f64], columns: usize| -> Array {
        let padded = |ridge: &Ridge| {
            let values = of(ridge);
            (0..columns).map(|i| values.get(i).copied().unwrap_or(f64::NAN)).collect::<Vec<f64>>()
        };
        Array::f64([ridges.len(), columns], ridges.iter().flat_map(padded).collect())
    };
    let at = ridges.iter().map(|ridge| ridge.at).collect();
    arrays.insert(format!("{name}.at"), Array::f64([ridges.len()], at));
    arrays.insert(format!("{name}.edges"), rows(|r| &r.edges, longest(|r| r.edges.len())));
    arrays.insert(format!("{name}.density"), rows(|r| &r.density, longest(|r| r.density.len())));
}

#[cfg(test)]
mod tests {
    use super::super::{Axis, Block, Column, Panel};
    use super::*;

    fn figure() -> Figure {
        let ridge = |at: f64, n: u32| Ridge {
            at,
            edges: (0..=n).map(|i| f64::from(i) / 10.0).collect(),
            density: (0..n).map(f64::from).collect(),
        };
        let series = vec![
            Series::line("a, \"b\"", 0, vec![(0.0, 0.1 + 0.2), (1e300, f64::NAN)]),
            Series::points("x/y", 1, vec![(1.0, f64::NEG_INFINITY)]),
            Series::band("", 2, vec![(1.0, 2.0, f64::INFINITY)]),
            Series::line("twice", 3, vec![(5.0, 6.0)]),
            Series::line("twice", 3, vec![(7.0, 8.0)]),
            Series::ridge("ℓ1", 4, vec![ridge(0.0, 2), ridge(500.0, 1)]),
        ];
        let panel = Panel { title: "loss".into(), x: Axis::linear("step"), y: Axis::log(""), series };
        Figure { panels: vec![Panel::default(), panel], ..Figure::default() }
    }

    #[test]
    fn a_table_has_every_value_exactly() {
        assert_eq!(
            figure().csv(),
            "panel,title,series,kind,x,y,low,high,density\n\
             b,loss,\"a, \"\"b\"\"\",line,0.0,0.30000000000000004,,,\n\
             b,loss,\"a, \"\"b\"\"\",line,1e300,NaN,,,\n\
             b,loss,x/y,points,1.0,-inf,,,\n\
             b,loss,,band,1.0,,2.0,inf,\n\
             b,loss,twice,line,5.0,6.0,,,\n\
             b,loss,twice,line,7.0,8.0,,,\n\
             b,loss,ℓ1,ridge,,0.0,0.0,0.1,0.0\n\
             b,loss,ℓ1,ridge,,0.0,0.1,0.2,1.0\n\
             b,loss,ℓ1,ridge,,500.0,0.0,0.1,0.0\n"
        );
    }

    #[test]
    fn arrays_have_a_name_of_their_own() {
        let arrays = figure().arrays();
        let names: Vec<(&str, String)> = arrays.iter().map(|(name, array)| (name.as_str(), array.kind())).collect();
        let expected = [
            ("b.a, \"b\".line", "float64[2,2]"),
            ("b.series.band", "float64[1,3]"),
            ("b.title", "str[]"),
            ("b.twice.2.line", "float64[1,2]"),
            ("b.twice.line", "float64[1,2]"),
            ("b.x", "str[]"),
            ("b.x_y.points", "float64[1,2]"),
            ("b.ℓ1.ridge.at", "float64[2]"),
            ("b.ℓ1.ridge.density", "float64[2,2]"),
            ("b.ℓ1.ridge.edges", "float64[2,3]"),
        ];
        assert_eq!(names, expected.map(|(name, kind)| (name, kind.to_owned())));
        let density = arrays["b.ℓ1.ridge.density"].to_f64().unwrap();
        assert!(density[..3] == [0.0, 1.0, 0.0] && density[3].is_nan());
    }

    #[test]
    fn a_diagram_is_its_table_of_layers() {
        let block = Block { row: 3, label: "conv 3×3, 64".into(), detail: "32×32×64".into(), style: 0 };
        let column = Column { title: "VGG".into(), boxes: vec![block] };
        let diagram = Diagram { columns: vec![column], ..Diagram::default() };
        assert_eq!(diagram.csv(), "network,row,layer,gives\nVGG,3,\"conv 3×3, 64\",32×32×64\n");
        let names: Vec<String> = diagram.arrays().into_keys().collect();
        assert_eq!(names, ["a.gives", "a.layer", "a.row", "a.title"]);
    }
}
