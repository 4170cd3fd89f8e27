//! Panels whose content the reader chooses: their place in the page, and the data from which the script draws them.
//!
//! The data of all panels are one JSON text at the page's end. An array that several series share, such as the steps, is stored there once,
//! in `arrays`, and series refer to arrays by number. Integers are written in full, other numbers to four digits. A missing number is
//! `null`, and an infinite one is the largest possible number.

use super::super::page::{Explorer, Page};
use super::super::plot::{self, Kind, Scale};
use super::super::style::STYLES;
use super::parts::escape;
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;
use std::fmt::Write;

/// The panel: a title, and a message for readers without the script. The script adds the rest below.
pub fn write(out: &mut String, explorer: &Explorer) {
    let note = match explorer.note.as_str() {
        "" => String::new(),
        note => format!("<p class=\"note\">{}</p>\n", escape(note)),
    };
    let _ = write!(
        out,
        "<section class=\"explorer\">\n<h3>{}</h3>\n{note}<noscript><p>This panel is drawn by a script, which is switched off \
         here. Its data are in the files.</p></noscript>\n</section>\n",
        escape(&explorer.title),
    );
}

/// The data of every panel of the page, in the page's order; the script identifies a panel by its place.
pub fn data(page: &Page) -> String {
    let mut pool = Pool::default();
    // As the sections stand on the page.
    let of = |beyond: bool| page.sections.iter().filter(move |section| section.beyond == beyond);
    let explorers = of(false).chain(of(true)).flat_map(|section| &section.explorers);
    let explorers: Vec<_> = explorers.map(|explorer| panel(explorer, &mut pool)).collect();
    let looks = STYLES.iter().map(|style| Look { dash: style.dash, marker: style.marker }).collect();
    // A structure of strings and numbers can always be written.
    let json = serde_json::to_string(&Data { looks, explorers, arrays: pool.arrays }).unwrap_or_default();
    // In JSON `<` stands in strings alone: without it a text neither ends the element nor begins a comment.
    format!("<script type=\"application/json\" id=\"explorers\">{}</script>\n", json.replace('<', "\\u003c"))
}

#[derive(Serialize)]
struct Data<'a> {
    looks: Vec<Look>,
    explorers: Vec<Panel<'a>>,
    arrays: Vec<Vec<Value>>,
}

#[derive(Serialize)]
struct Look {
    dash: &'static str,
    marker: &'static str,
}

#[derive(Serialize)]
struct Panel<'a> {
    title: &'a str,
    x: Axis<'a>,
    y: Axis<'a>,
    facets: Vec<Facet<'a>>,
    /// For each facet, the index of the value that is chosen at first.
    first: Vec<usize>,
    series: Vec<Drawn<'a>>,
}

#[derive(Serialize)]
struct Axis<'a> {
    label: &'a str,
    log: bool,
    range: Option<(f64, f64)>,
}

#[derive(Serialize)]
struct Facet<'a> {
    name: &'a str,
    values: Vec<&'a str>,
}

#[derive(Serialize)]
struct Drawn<'a> {
    /// For each facet, the index of the series' value. `None` where the series lacks the facet; it is then shown whatever is chosen.
    facets: Vec<Option<usize>>,
    label: &'a str,
    style: usize,
    #[serde(flatten)]
    kind: Arrays,
}

/// What is drawn; a number is the index of an array.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
enum Arrays {
    Line { x: usize, y: usize },
    Points { x: usize, y: usize },
    Band { x: usize, low: usize, high: usize },
    Ridge { at: usize, edges: Vec<usize>, density: Vec<usize> },
}

/// A collection of arrays that stores each only once.
#[derive(Default)]
struct Pool {
    arrays: Vec<Vec<Value>>,
    places: HashMap<String, usize>,
}

impl Pool {
    fn put(&mut self, values: impl Iterator<Item = f64>) -> usize {
        let values: Vec<Value> = values.map(number).collect();
        let text = values.iter().map(|value| format!("{value},")).collect();
        *self.places.entry(text).or_insert_with(|| {
            self.arrays.push(values);
            self.arrays.len() - 1
        })
    }

    fn kind(&mut self, kind: &Kind) -> Arrays {
        match kind {
            Kind::Line(points) | Kind::Points(points) => {
                let (x, y) = (self.put(points.iter().map(|p| p.0)), self.put(points.iter().map(|p| p.1)));
                if matches!(kind, Kind::Line(_)) { Arrays::Line { x, y } } else { Arrays::Points { x, y } }
            }
            Kind::Band(points) => Arrays::Band {
                x: self.put(points.iter().map(|p| p.0)),
                low: self.put(points.iter().map(|p| p.1)),
                high: self.put(points.iter().map(|p| p.2)),
            },
            Kind::Ridge(ridges) => Arrays::Ridge {
                at: self.put(ridges.iter().map(|r| r.at)),
                edges: ridges.iter().map(|r| self.put(r.edges.iter().copied())).collect(),
                density: ridges.iter().map(|r| self.put(r.density.iter().copied())).collect(),
            },
        }
    }
}

fn panel<'a>(explorer: &'a Explorer, pool: &mut Pool) -> Panel<'a> {
    let mut facets: Vec<Facet> = Vec::new();
    for (name, value) in explorer.series.iter().flat_map(|s| &s.facets) {
        let at = facets.iter().position(|facet| facet.name == name).unwrap_or_else(|| {
            facets.push(Facet { name, values: Vec::new() });
            facets.len() - 1
        });
        if !facets[at].values.contains(&value.as_str()) {
            facets[at].values.push(value);
        }
    }
    let place = |own: &[(String, String)], facet: &Facet| {
        let (_, value) = own.iter().find(|(name, _)| name == facet.name)?;
        facet.values.iter().position(|known| known == value)
    };
    let mut drawn = |faceted: &'a super::super::page::Faceted| Drawn {
        facets: facets.iter().map(|facet| place(&faceted.facets, facet)).collect(),
        label: &faceted.series.label,
        style: faceted.series.style % STYLES.len(),
        kind: pool.kind(&faceted.series.kind),
    };
    Panel {
        title: &explorer.title,
        x: axis(&explorer.x),
        y: axis(&explorer.y),
        series: explorer.series.iter().map(&mut drawn).collect(),
        first: facets.iter().map(|facet| place(&explorer.first, facet).unwrap_or(0)).collect(),
        facets,
    }
}

fn axis(axis: &plot::Axis) -> Axis<'_> {
    Axis { label: &axis.label, log: axis.scale == Scale::Log, range: axis.range }
}

/// A number as it is written in the page.
fn number(value: f64) -> Value {
    if value.is_nan() {
        return Value::Null;
    }
    if value.fract() == 0.0 && value.abs() < 1e15 {
        return (value as i64).into();
    }
    let digits: f64 = format!("{value:.3e}").parse().unwrap_or(value);
    digits.clamp(-f64::MAX, f64::MAX).into()
}

#[cfg(test)]
mod tests {
    use super::super::super::page::{Faceted, Section};
    use super::super::super::plot::{Ridge, Series};
    use super::*;

    fn faceted(facets: &[(&str, &str)], series: Series) -> Faceted {
        Faceted { facets: facets.iter().map(|(n, v)| (n.to_string(), v.to_string())).collect(), series }
    }

    fn read(explorers: Vec<Explorer>) -> Value {
        let text = data(&Page { sections: vec![Section { explorers, ..Section::default() }], ..Page::default() });
        let json = text.split_once('>').and_then(|(_, rest)| rest.split_once("</script>")).unwrap().0;
        assert!(!json.contains('<'), "{json}");
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn numbers_read_back_to_four_digits_and_whole_ones_exactly() {
        for value in [0.1 + 0.2, -1.0 / 3.0, 1e-300, 5e-324, 123_456.789, 9_999.96, 0.000_123_454, 6.022e23] {
            let read: f64 = serde_json::from_str(&number(value).to_string()).unwrap();
            assert!((read - value).abs() <= 0.5001e-3 * value.abs(), "{value}: {read}");
            assert!(number(value).to_string().len() <= 10, "{}", number(value));
        }
        for whole in [0.0, -0.0, 15_000.0, -123_456_789.0, 1e12] {
            let read: i64 = serde_json::from_str(&number(whole).to_string()).unwrap();
            assert_eq!(read as f64, whole);
        }
        let largest = [f64::INFINITY, f64::NEG_INFINITY].map(|value| number(value).as_f64());
        assert_eq!((largest, number(f64::NAN)), ([Some(f64::MAX), Some(-f64::MAX)], Value::Null));
    }

    #[test]
    fn strings_hide_no_end_of_a_script() {
        let evil = "</script><!-- \"\\ \u{0} \n \u{2028} & é";
        let read = read(vec![Explorer { title: evil.into(), ..Explorer::default() }]);
        assert_eq!(read["explorers"][0]["title"], evil);
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
        let read = read(vec![explorer.clone(), explorer]);
        assert_eq!(read["arrays"], serde_json::json!([[0, 1], [2, 2], [3, 3], [5], [0, 1, 2], [0.25, 0.75]]));
        let (first, second) = (&read["explorers"][0], &read["explorers"][1]);
        assert_eq!(first, second, "arrays are shared between panels too");
        assert_eq!(first["facets"], serde_json::json!([{"name": "seed", "values": ["1", "2"]}]));
        assert_eq!(first["first"], serde_json::json!([1]));
        let series = &first["series"];
        assert_eq!(
            series[1],
            serde_json::json!({"facets": [1], "label": "a", "style": 1, "kind": "line", "x": 0, "y": 2})
        );
        assert_eq!(series[2]["facets"], serde_json::json!([null]), "a series without the facet is always shown");
        assert_eq!(series[3]["density"], serde_json::json!([5]));
    }
}
