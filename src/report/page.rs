//! The data of a report: claims, sections with figures, and what was run. `html/` makes one file of it.

use super::plot::{Axis, Series};
use super::table::Table;

/// A whole report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// The text on top.
    pub title: String,
    /// The question that the report answers. May be empty.
    pub question: String,
    /// The answer, one sentence per string. May be empty.
    pub answer: Vec<String>,
    /// The scale and the data of the answer, in a few words. May be empty.
    pub setting: String,
    /// The claims that are shown first, one card each.
    pub headlines: Vec<Headline>,
    /// The summary, one paragraph per string: the verdicts on the claims, and how they were judged.
    pub summary: Vec<String>,
    /// Every claim, in the paper's order.
    pub claims: Vec<ClaimRow>,
    /// One per figure or experiment, in the paper's order.
    pub sections: Vec<Section>,
    /// Settings, device and versions: what was run, and on what.
    pub settings: Vec<Captioned>,
    /// Times, dates and costs: the only part that differs between two runs of the same thing. It is in one marked element (`id="cost"`).
    pub cost: Vec<Captioned>,
}

/// One claim of the paper and its verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimRow {
    /// Its id: `fig4.beta-lower`.
    pub id: String,
    /// Whose claim it is.
    pub kind: ClaimKind,
    /// The section that it belongs to: `fig4`.
    pub figure: String,
    /// Where the paper states it: "Fig 4 (c)", "section 3.1".
    pub place: String,
    /// The paper's statement, in a sentence.
    pub statement: String,
    /// What was measured.
    pub measured: Vec<Finding>,
    /// The rule that the verdict follows from, in words.
    pub rule: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is not tested, which form of it is met and which is not, or what is known about why it fails. May be empty.
    pub remark: String,
    /// Ids of the runs that decided it.
    pub runs: Vec<String>,
}

/// What was measured for a claim, for one quantity.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Finding {
    /// The quantity, in words: "training loss, mean over the steps". May be empty.
    pub of: String,
    /// The comparisons of that quantity.
    pub lines: Vec<Line>,
}

/// One comparison, as it is shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Line {
    /// Whether it agrees with the claim; `None` where it decides nothing.
    pub met: Option<bool>,
    /// Each value with the name of what has it: ("BatchNorm", "0.63").
    pub values: Vec<(String, String)>,
    /// A remark: "in 2 of 2 draws". May be empty.
    pub note: String,
}

/// A claim that is shown first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Headline {
    /// The claim's id.
    pub claim: String,
    /// What the figure shows.
    pub title: String,
    /// A small figure from [`super::Panel::small_svg`]. If it is empty, the number is shown large in its place.
    pub svg: String,
    /// The most telling number, as it is shown. May be empty.
    pub number: String,
    /// The words around the number; `{}` is replaced by it.
    pub words: String,
}

/// The verdict on a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its rule is met.
    Reproduced,
    /// One form of it is met, and another is not.
    InPart,
    /// It is false as printed, and true in the form that its proof needs.
    Corrected,
    /// Its rule is not met.
    NotBorneOut,
    /// Runs at this scale cannot decide it.
    LargerScale,
    /// The runs cannot decide it for another reason.
    NotTested,
}

impl Verdict {
    /// All verdicts, in the order in which they are counted.
    pub const ALL: [Verdict; 6] = [
        Verdict::Reproduced,
        Verdict::InPart,
        Verdict::Corrected,
        Verdict::NotBorneOut,
        Verdict::LargerScale,
        Verdict::NotTested,
    ];

    /// The verdict's word.
    pub fn word(self) -> &'static str {
        match self {
            Verdict::Reproduced => "reproduced",
            Verdict::InPart => "in part",
            Verdict::Corrected => "true as corrected",
            Verdict::NotBorneOut => "not borne out",
            Verdict::LargerScale => "needs a larger scale",
            Verdict::NotTested => "not tested",
        }
    }
}

/// Whose claim it is, and about what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClaimKind {
    /// A claim of the paper.
    #[default]
    Paper,
    /// A claim of the paper at another setting, to see how much it depends on the setting.
    Sensitivity,
    /// A claim of this project.
    Project,
}

impl ClaimKind {
    /// All kinds, in the order in which they are shown.
    pub const ALL: [ClaimKind; 3] = [ClaimKind::Paper, ClaimKind::Sensitivity, ClaimKind::Project];

    /// The kind's word in files.
    pub fn word(self) -> &'static str {
        match self {
            ClaimKind::Paper => "paper",
            ClaimKind::Sensitivity => "sensitivity",
            ClaimKind::Project => "project",
        }
    }
}

/// One experiment: what the paper says about it, and what was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Section {
    /// Its id, which is also the anchor: `fig4`.
    pub id: String,
    /// Its title: "Figure 4: the loss along the gradient, VGG".
    pub title: String,
    /// Whether it goes beyond the paper. Such sections come after the others.
    pub beyond: bool,
    /// What the paper says about it, one paragraph per string.
    pub paper: Vec<String>,
    /// What differs from the paper's setting, one paragraph per string.
    pub deviations: Vec<String>,
    /// The figures, as SVG documents from [`super::Figure::svg`] or [`super::Diagram::svg`].
    pub pictures: Vec<Picture>,
    /// Panels whose content the reader chooses.
    pub explorers: Vec<Explorer>,
    /// Tables.
    pub tables: Vec<Captioned>,
}

/// A figure embedded in the page.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// The SVG document.
    pub svg: String,
    /// Files with the figure and its data, relative to the report: "figures/fig4.svg", ….
    pub files: Vec<String>,
}

/// A table under a caption.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Captioned {
    /// What the table shows.
    pub caption: String,
    /// The table.
    pub table: Table,
}

/// A panel in which the reader chooses what is shown: a control for each facet, and a switch between linear and logarithmic.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Explorer {
    /// The text above the panel.
    pub title: String,
    /// What a reader must know about it, in a sentence or two. May be empty.
    pub note: String,
    /// The horizontal axis at first.
    pub x: Axis,
    /// The vertical axis at first.
    pub y: Axis,
    /// The facets and values that are chosen at first, where that is not the first value of a facet.
    pub first: Vec<(String, String)>,
    /// Everything that can be shown.
    pub series: Vec<Faceted>,
}

/// A series that is shown when its facets are chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Faceted {
    /// Name and value of each facet: ("layer", "3"), ("seed", "1"), ("step", "500"). Every series of an explorer has the same names, in the
    /// same order. A control offers each value once, in the order of first use.
    pub facets: Vec<(String, String)>,
    /// What is drawn. Series that differ only in facets have the same label and style.
    pub series: Series,
}
