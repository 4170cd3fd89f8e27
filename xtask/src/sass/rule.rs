//! How a budget says which of a kernel's loops it means.

use super::classes::Class;
use super::loops::Loop;
use serde::Deserialize;

/// How a loop is chosen: `most mma`, `fewest global_bytes`. It goes by the instructions that are in no loop within; where several have as
/// many, all are meant. A loop that has none is never meant.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(try_from = "String")]
pub struct Rule {
    fewest: bool,
    by: By,
}

/// What loops are compared by.
#[derive(Debug, Clone, Copy, PartialEq)]
enum By {
    Count(Class),
    GlobalBytes,
}

impl TryFrom<String> for Rule {
    type Error = String;

    fn try_from(text: String) -> Result<Rule, String> {
        let wrong =
            || format!("'{text}' is no rule: there are 'most CLASS', 'fewest CLASS' and those two with global_bytes");
        let (word, of) = text.split_once(' ').ok_or_else(wrong)?;
        let fewest = match word {
            "most" => false,
            "fewest" => true,
            _ => return Err(wrong()),
        };
        let class = || serde_json::from_value(of.into()).map(By::Count).map_err(|_| wrong());
        Ok(Rule { fewest, by: if of == "global_bytes" { By::GlobalBytes } else { class()? } })
    }
}

impl Rule {
    /// What is looked at where no budget says which loop: tensor cores before ordinary ones before memory.
    pub const USUAL: [Rule; 4] = [
        Rule { fewest: false, by: By::Count(Class::Mma) },
        Rule { fewest: false, by: By::Count(Class::Ffma) },
        Rule { fewest: false, by: By::GlobalBytes },
        Rule { fewest: false, by: By::Count(Class::Instructions) },
    ];

    /// The loops that are meant.
    pub fn choose(self, loops: &[Loop]) -> Vec<&Loop> {
        let of = |l: &Loop| match self.by {
            By::Count(class) => l.own.get(class),
            By::GlobalBytes => l.own.global_bytes(),
        };
        let numbers = loops.iter().map(of).filter(|&n| n > 0);
        let chosen = if self.fewest { numbers.min() } else { numbers.max() };
        loops.iter().filter(|l| Some(of(l)) == chosen).collect()
    }
}

impl std::fmt::Display for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let by = match self.by {
            By::Count(class) => class.name(),
            By::GlobalBytes => "global_bytes".into(),
        };
        write!(f, "{} {by}", if self.fewest { "fewest" } else { "most" })
    }
}
