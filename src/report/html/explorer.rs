//! The data of a panel whose content the reader chooses: JSON, from which the script draws.
//!
//! An array that several series share, such as the steps, is written once: series name arrays by their number in `pool`. A number
//! is the shortest text that reads back to the same; one that is not a number is `null`, an infinite one `±1e999`.

use super::super::page::Explorer;
use super::super::plot::{Axis, Kind, Scale};
use super::super::style::STYLES;
use super::parts::escape;
use std::collections::HashMap;
use std::fmt::Write;

/// The panel: a title, a word for those without a script, and the data.
pub fn write(out: &mut String, explorer: &Explorer) {
    let note = match explorer.note.as_str() {
        "" => String::new(),
        note => format!("<p class=\"note\">{}</p>\n", escape(note)),
    };
    let _ = write!(
        out,
        "<section class=\"explorer\">\n<h3>{}</h3>\n{note}<noscript><p>This panel is drawn by a script, which is switched off \
         here. Its data are in the files.</p></noscript>\n<script type=\"application/json\">{}</script>\n</section>\n",
        escape(&explorer.title),
        json(explorer)
    );
}

/// Dashes and markers of the styles, for the script.
pub fn looks() -> String {
    let look = |style: &super::super::Style| {
        format!("{{\"dash\":{},\"marker\":{}}}", string(style.dash), string(style.marker))
    };
    let looks: Vec<String> = STYLES.iter().map(look).collect();
    format!("<script type=\"application/json\" id=\"looks\">[{}]</script>\n", looks.join(","))
}

/// Arrays, each once.
#[derive(Default)]
struct Pool {
    arrays: Vec<String>,
    places: HashMap<String, usize>,
}

impl Pool {
    fn put(&mut self, values: impl Iterator<Item = f64>) -> usize {
        let text = format!("[{}]", values.map(number).collect::<Vec<_>>().join(","));
        *self.places.entry(text).or_insert_with_key(|text| {
            self.arrays.push(text.clone());
            self.arrays.len() - 1
        })
    }
}

fn json(explorer: &Explorer) -> String {
    let (mut names, mut pool) = (Vec::<(&str, Vec<&str>)>::new(), Pool::default());
    for (name, value) in explorer.series.iter().flat_map(|s| &s.facets) {
        let at = names.iter().position(|(known, _)| known == name).unwrap_or_else(|| {
            names.push((name, Vec::new()));
            names.len() - 1
        });
        if !names[at].1.contains(&value.as_str()) {
            names[at].1.push(value);
        }
    }
    let mut series = Vec::new();
    for entry in &explorer.series {
        // -1 where it has no such facet: it is shown whatever is chosen.
        let place = |(name, values): &(&str, Vec<&str>)| {
            let own = entry.facets.iter().find(|(n, _)| n == name);
            own.and_then(|(_, v)| values.iter().position(|known| known == v)).map_or(-1, |i| i as i64).to_string()
        };
        let facets: Vec<String> = names.iter().map(place).collect();
        let data = match &entry.series.kind {
            Kind::Line(points) | Kind::Points(points) => {
                let kind = if matches!(entry.series.kind, Kind::Line(_)) { "line" } else { "points" };
                let (x, y) = (pool.put(points.iter().map(|p| p.0)), pool.put(points.iter().map(|p| p.1)));
                format!("\"kind\":\"{kind}\",\"x\":{x},\"y\":{y}")
            }
            Kind::Band(points) => {
                let x = pool.put(points.iter().map(|p| p.0));
                let (low, high) = (pool.put(points.iter().map(|p| p.1)), pool.put(points.iter().map(|p| p.2)));
                format!("\"kind\":\"band\",\"x\":{x},\"low\":{low},\"high\":{high}")
            }
            Kind::Ridge(ridges) => {
                let at = pool.put(ridges.iter().map(|r| r.at));
                let edges: Vec<_> = ridges.iter().map(|r| pool.put(r.edges.iter().copied())).collect();
                let density: Vec<_> = ridges.iter().map(|r| pool.put(r.density.iter().copied())).collect();
                format!("\"kind\":\"ridge\",\"at\":{at},\"edges\":{edges:?},\"density\":{density:?}")
            }
        };
        let (label, style) = (string(&entry.series.label), entry.series.style % STYLES.len());
        series.push(format!("{{\"facets\":[{}],\"label\":{label},\"style\":{style},{data}}}", facets.join(",")));
    }
    let chosen = |(name, values): &(&str, Vec<&str>)| {
        let asked = explorer.first.iter().find(|(of, _)| of == name);
        asked.and_then(|(_, value)| values.iter().position(|known| known == value)).unwrap_or(0).to_string()
    };
    let first: Vec<String> = names.iter().map(chosen).collect();
    let facets: Vec<String> = names
        .iter()
        .map(|(name, values)| {
            let values: Vec<String> = values.iter().map(|v| string(v)).collect();
            format!("{{\"name\":{},\"values\":[{}]}}", string(name), values.join(","))
        })
        .collect();
    format!(
        "{{\"title\":{},\"x\":{},\"y\":{},\"facets\":[{}],\"first\":[{}],\"series\":[{}],\"pool\":[{}]}}",
        string(&explorer.title),
        axis(&explorer.x),
        axis(&explorer.y),
        facets.join(","),
        first.join(","),
        series.join(",\n"),
        pool.arrays.join(",\n")
    )
}

fn axis(axis: &Axis) -> String {
    let range = axis.range.map_or("null".into(), |(a, b)| format!("[{},{}]", number(a), number(b)));
    format!("{{\"label\":{},\"log\":{},\"range\":{range}}}", string(&axis.label), axis.scale == Scale::Log)
}

fn number(value: f64) -> String {
    if value.is_nan() {
        return "null".into();
    }
    if value.is_infinite() {
        return if value > 0.0 { "1e999".into() } else { "-1e999".into() };
    }
    let text = format!("{value:?}");
    text.strip_suffix(".0").unwrap_or(&text).to_owned()
}

/// A JSON string that may stand in a `script` element: no `<`, so neither its end nor a comment's start.
fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\x1f' | '\x7f' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::super::super::page::Faceted;
    use super::super::super::plot::{Ridge, Series};
    use super::*;

    fn faceted(facets: &[(&str, &str)], series: Series) -> Faceted {
        Faceted { facets: facets.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(), series }
    }

    #[test]
    fn numbers_read_back_to_the_same_bits() {
        for value in [0.0, -0.0, 1.0, 0.1 + 0.2, 1e-300, 5e-324, f64::MAX, -15000.0, 1e21, 123456789.125] {
            let text = number(value);
            assert_eq!(text.parse::<f64>().map(f64::to_bits), Ok(value.to_bits()), "{text}");
            assert!(serde_json::from_str::<f64>(&text).is_ok(), "{text}");
        }
        assert_eq!([f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 3.0].map(number), ["null", "1e999", "-1e999", "3"]);
    }

    #[test]
    fn strings_are_json_and_hide_no_end_of_a_script() {
        let evil = "</script><!-- \"\\ \u{0} \n \u{2028} & é";
        let text = string(evil);
        assert!(!text.contains(['<', '>', '&', '\u{2028}', '\n']));
        assert_eq!(serde_json::from_str::<String>(&text).ok().as_deref(), Some(evil));
    }

    #[test]
    fn shared_arrays_are_written_once() {
        let line = |seed: &str, y: f64| {
            faceted(&[("seed", seed)], Series::line("a", STYLES.len() + 1, vec![(0.0, y), (1.0, y)]))
        };
        let ridge = Ridge { at: 5.0, edges: vec![0.0, 1.0, 2.0], density: vec![0.25, 0.75] };
        let explorer = Explorer {
            series: vec![
                line("1", 2.0),
                line("2", 3.0),
                faceted(&[], Series::band("b", 0, vec![(0.0, 2.0, 3.0), (1.0, 2.0, 3.0)])),
                faceted(&[("seed", "1")], Series { label: "c".into(), style: 2, kind: Kind::Ridge(vec![ridge]) }),
            ],
            first: vec![("seed".into(), "2".into()), ("layer".into(), "9".into())],
            ..Explorer::default()
        };
        let read: serde_json::Value = serde_json::from_str(&json(&explorer)).unwrap();
        assert_eq!(read["pool"], serde_json::json!([[0, 1], [2, 2], [3, 3], [5], [0, 1, 2], [0.25, 0.75]]));
        assert_eq!(read["facets"], serde_json::json!([{"name": "seed", "values": ["1", "2"]}]));
        assert_eq!(read["first"], serde_json::json!([1]));
        let series = |i: usize| read["series"][i].clone();
        assert_eq!(
            series(1),
            serde_json::json!({"facets": [1], "label": "a", "style": 1, "kind": "line", "x": 0, "y": 2})
        );
        assert_eq!(series(2)["facets"], serde_json::json!([-1]), "a series without the facet is always shown");
        assert_eq!(series(3)["density"], serde_json::json!([5]));
    }
}
