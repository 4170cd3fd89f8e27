//! `xtask/cards.toml`: what the model takes for a card.

use serde::Deserialize;

/// The file's text, part of this program: another checkout's kernels are held against the same cards.
const CARDS: &str = include_str!("../../cards.toml");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    card: Vec<Card>,
}

/// A card. Of two numbers the first is for the slow end of a time, the second for the fast end; the file has units and sources.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    pub name: String,
    pub device: String,
    pub architecture: u32,
    pub multiprocessors: u32,
    pub clock: [f64; 2],
    pub memory_bandwidth: [f64; 2],
    pub l2_bytes: f64,
    pub l2_bandwidth: [f64; 2],
    pub l2_bytes_per_clock: f64,
    pub shared_bytes_per_clock: f64,
    pub issue: f64,
    pub lanes: Lanes,
    pub tensor: f64,
    pub mma_sync: [f64; 2],
    pub wgmma: [f64; 2],
    pub latency: Latency,
    pub gap: [f64; 2],
}

/// Lanes a clock of a multiprocessor's units.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lanes {
    pub alu: f64,
    pub imad: f64,
    pub f64: f64,
    pub special: f64,
    pub shuffle: f64,
}

/// Clocks from an instruction to its result.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Latency {
    pub shared: f64,
    pub l2: f64,
    pub memory: f64,
    pub remote: f64,
    pub mma: f64,
    pub f64: f64,
    pub special: f64,
    pub shuffle: f64,
    pub barrier: f64,
    pub cluster_barrier: f64,
    pub other: f64,
}

impl Card {
    /// The card of this name. Errors: there is none; the names that there are.
    pub fn named(name: &str) -> Result<Card, String> {
        let File { card: cards } = toml::from_str(CARDS).map_err(|e| format!("xtask/cards.toml: {e}"))?;
        let names: Vec<_> = cards.iter().map(|card| card.name.clone()).collect();
        cards
            .into_iter()
            .find(|card| card.name == name)
            .ok_or_else(|| format!("no card '{name}' in xtask/cards.toml; there are {}", names.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slow_end_of_every_range_is_the_slower() {
        for name in ["h200", "h100"] {
            let card = Card::named(name).unwrap();
            for [slow, fast] in [card.clock, card.memory_bandwidth, card.l2_bandwidth, card.mma_sync, card.wgmma] {
                assert!(0.0 < slow && slow <= fast, "{name}");
            }
            assert!(card.gap[0] >= card.gap[1], "{name}: a longer gap is slower");
            // The data sheet's rate of tensor cores.
            assert!((card.tensor * 1.83e9 * f64::from(card.multiprocessors) / 989.4e12 - 1.0).abs() < 1e-3, "{name}");
        }
        assert!(Card::named("v100").unwrap_err().contains("h200"));
    }
}
