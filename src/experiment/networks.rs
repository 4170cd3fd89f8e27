//! Draws networks from the engine's own tables of layers: the paper's figure 5, and the other networks that are run.

use super::plan::{Part, Plan};
use super::runs::Kind;
use crate::Result;
use crate::network::Network;
use crate::network::chain::Link;
use crate::report::{Block, Column, Diagram};
use crate::runtime::tensor::Shape;
use std::collections::BTreeSet;

/// For each kind of layer: its place among the layers that follow one linear map, and the style of its box.
const MAP: (usize, usize) = (0, 0);
const NORM: (usize, usize) = (1, 1);
const NOISE: (usize, usize) = (2, 3);
const ACTIVATION: (usize, usize) = (3, 2);
const POOL: (usize, usize) = (4, 4);

/// A box that has no row yet. `at` is the number, from 1, of the linear map that it is or follows, and its place after that map.
struct Placed {
    at: (usize, usize),
    style: usize,
    label: String,
    detail: String,
}

/// The networks of the groups that an experiment draws, side by side; without columns where it draws none. Boxes that several networks of
/// one kind have in common are in the same row.
///
/// Errors: a setting makes no network.
pub fn diagram(plan: &Plan, part: &Part, notes: Vec<String>) -> Result<Diagram> {
    let shown = &part.experiment.shown;
    let groups = if shown.diagram.is_empty() { Vec::new() } else { plan.chosen(part, Some(&shown.diagram)) };
    let mut all = Vec::new();
    for group in groups {
        let settings = group.settings();
        let title = format!("{}, {}", settings.model.to_uppercase().replace("VGG", "VGG-"), group.label);
        all.push((Kind::of(settings), title, boxes(&settings.network()?)?));
    }
    let rows = |kind: Kind| -> BTreeSet<(usize, usize)> {
        all.iter().filter(|(of, ..)| *of == kind).flat_map(|(.., boxes)| boxes.iter().map(|b| b.at)).collect()
    };
    let rows = [rows(Kind::Dln), rows(Kind::Vgg)];
    let drawn = |(kind, title, boxes): (Kind, String, Vec<Placed>)| {
        let row = |at: &(usize, usize)| rows[kind as usize].iter().take_while(|other| *other < at).count();
        let block = |Placed { at, style, label, detail }: Placed| Block { row: row(&at), label, detail, style };
        Column { title, boxes: boxes.into_iter().map(block).collect() }
    };
    let columns: Vec<Column> = all.into_iter().map(drawn).collect();
    Ok(Diagram { title: shown.title.clone(), subtitle: String::new(), notes, columns })
}

/// The boxes of a network: input, layers, loss.
fn boxes(network: &Network) -> Result<Vec<Placed>> {
    let mut shape = network.input(1);
    let mut boxes = vec![Placed { at: (0, 0), style: 6, label: "input".into(), detail: size(shape) }];
    let mut map = 0;
    for link in network.links() {
        shape = link.layer.output(shape)?;
        let (label, relu) = words(link);
        let (place, style) = match () {
            _ if link.layer.multiplies() => {
                map += 1;
                MAP
            }
            _ if link.layer.is_pool() => POOL,
            _ if label.starts_with("noise") => NOISE,
            _ if link.layer.params(shape).is_empty() && link.running.is_none() => ACTIVATION,
            _ => NORM,
        };
        let detail = if place == MAP.0 || place == POOL.0 { size(shape) } else { String::new() };
        boxes.push(Placed { at: (map, place), style, label, detail });
        if relu {
            let (place, style) = ACTIVATION;
            boxes.push(Placed { at: (map, place), style, label: "relu".into(), detail: String::new() });
        }
    }
    let loss = network.describe().lines().last().unwrap_or_default().trim_start_matches("loss ").to_owned();
    boxes.push(Placed { at: (usize::MAX, 0), style: 6, label: loss, detail: String::new() });
    Ok(boxes)
}

/// The text of a layer's box, and whether the layer's pass includes a ReLU, which is drawn as a box of its own.
fn words(link: &Link) -> (String, bool) {
    let said = link.layer.describe();
    let relu = said.ends_with(", relu)");
    let said = said.replace(", relu)", ")");
    let name = if link.name.is_empty() { String::new() } else { format!("{}: ", link.name) };
    (name + &said, relu)
}

/// The size in words: `32×32×64`, or the number of units.
fn size(shape: Shape) -> String {
    match shape.hwnc() {
        [1, 1, _, units] => format!("{units}"),
        [h, w, _, c] => format!("{h}×{w}×{c}"),
    }
}
