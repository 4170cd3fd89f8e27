//! What `cargo xtask model` prints.

use super::branches::{Path, beside, longest};
use super::card::Card;
use super::counted::Step;
use super::time::{Group, Predicted};
use crate::sass::aligned;

/// Seconds of a whole step: the slow end, and the fast end.
pub fn total(nodes: &[Predicted], card: &Card) -> [f64; 2] {
    [0, 1].map(|end| nodes.iter().map(|n| n.seconds[end]).sum::<f64>() + gaps(nodes.len(), card, end))
}

fn gaps(nodes: usize, card: &Card, end: usize) -> f64 {
    nodes.saturating_sub(1) as f64 * card.gap[end]
}

/// Three digits of a number of at least 1, and two places behind the point of a smaller one.
fn short(value: f64) -> String {
    match value {
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v if v > 0.0 => format!("{v:.2}"),
        _ => String::new(),
    }
}

fn range([slow, fast]: [f64; 2], unit: f64) -> String {
    format!("{}–{}", short(fast * unit), short(slow * unit))
}

/// Tables: the sum of each part of the step, then every node.
pub fn text(step: &Step, card: &Card, compiler: &str, nodes: &[Predicted], markdown: bool) -> String {
    let whole = total(nodes, card);
    let compiler = compiler.split(" (").next().unwrap_or(compiler);
    let sampled = step.sampled.map_or("all".into(), |n| n.to_string());
    let mut out = format!(
        "A model, not a measurement: a step of {}, batch {}, {}, on {}: {} µs, {} nodes\nCommit {}; {compiler}; sm_{}; {sampled} blocks of a launch counted\n\n",
        step.name,
        step.batch,
        step.precision,
        card.name.to_uppercase(),
        range(whole, 1e6),
        nodes.len(),
        step.commit,
        card.architecture,
    );
    let mut rows = vec![["part", "nodes", "µs"].map(String::from)];
    for group in Group::ALL {
        let of: Vec<_> = nodes.iter().filter(|n| n.group == group).collect();
        let seconds = [0, 1].map(|end| of.iter().map(|n| n.seconds[end]).sum());
        if !of.is_empty() {
            rows.push([group.name().into(), of.len().to_string(), range(seconds, 1e6)]);
        }
    }
    let between = [0, 1].map(|end| gaps(nodes.len(), card, end));
    rows.push(["between nodes".into(), String::new(), range(between, 1e6)]);
    rows.push(["sum".into(), nodes.len().to_string(), range(whole, 1e6)]);
    out += &table(&rows, markdown);
    out += &branches(step, card, nodes);
    let head = [
        "kernel",
        "layer, pass",
        "grid",
        "blocks/SM",
        "k instructions",
        "explained",
        "k shared clocks",
        "k tensor clocks",
        "L2 MB",
        "memory MB",
        "µs",
        "fast end",
        "slow end",
    ];
    let mut rows = vec![head.map(String::from)];
    for node in nodes {
        let place =
            [&*node.layer, &*node.pass].into_iter().filter(|text| !text.is_empty()).collect::<Vec<_>>().join(", ");
        let [x, y, z] = node.blocks;
        rows.push([
            node.kernel.clone(),
            place,
            format!("{x}×{y}×{z}"),
            node.resident.to_string(),
            short(node.instructions / 1e3),
            format!("{:.0} %", 100.0 * node.explained),
            short(node.shared / 1e3),
            short(node.tensor / 1e3),
            range(node.l2, 1e-6),
            range(node.memory, 1e-6),
            range(node.seconds, 1e6),
            node.limited[1].into(),
            node.limited[0].into(),
        ]);
    }
    out + &table(&rows, markdown)
}

/// What nodes side by side could gain at most.
fn branches(step: &Step, card: &Card, nodes: &[Predicted]) -> String {
    let path = |own: bool| [0, 1].map(|end| longest(&step.work, nodes, card, end, own));
    let times = |paths: &[Path; 2]| range([paths[0].seconds, paths[1].seconds], 1e6);
    let (today, own) = (path(false), path(true));
    let aside: Vec<_> = beside(nodes, &own[1], 1)
        .into_iter()
        .map(|(group, count, seconds)| format!("{} ({count} nodes, {} µs)", group.name(), short(seconds * 1e6)))
        .collect();
    let aside = if aside.is_empty() { String::new() } else { format!(", with {} beside the path", aside.join(", ")) };
    format!(
        "\nThe longest path, were nodes side by side that share no bytes and slowed none: {} µs; with buffers of their own: {} µs{aside}\n\n",
        times(&today),
        times(&own),
    )
}

fn table<const N: usize>(rows: &[[String; N]], markdown: bool) -> String {
    if !markdown {
        return aligned(rows);
    }
    let line = |row: &[String; N]| format!("| {} |\n", row.join(" | "));
    let rule = format!("|{}\n", "---|".repeat(N));
    rows.iter().enumerate().map(|(at, row)| if at == 0 { line(row) + &rule } else { line(row) }).collect()
}
