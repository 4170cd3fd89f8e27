//! What a report is, as plain data: claims, sections with figures, and what was run. `html.rs` makes one file of it.

use super::plot::{Axis, Series};
use super::table::Table;

/// A whole report.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Page {
    /// Stands on top.
    pub title: String,
    /// The question that the report answers. May be empty.
    pub question: String,
    /// The answer, a sentence each. May be empty.
    pub answer: Vec<String>,
    /// At which scale and on which data it was answered, in a few words. May be empty.
    pub setting: String,
    /// The claims that are seen first, a card each.
    pub headlines: Vec<Headline>,
    /// The summary, a paragraph each: how the claims came out, and how they were judged.
    pub summary: Vec<String>,
    /// Every claim, in the paper's order.
    pub claims: Vec<ClaimRow>,
    /// One per figure or experiment, in the paper's order.
    pub sections: Vec<Section>,
    /// What was run, on what: settings, device, versions.
    pub settings: Vec<Captioned>,
    /// Times, dates and costs: the only part that differs between two runs of the same thing. It stands in one marked element
    /// (`id="cost"`).
    pub cost: Vec<Captioned>,
}

/// One claim of the paper and its verdict.
#[derive(Debug, Clone, PartialEq)]
pub struct ClaimRow {
    /// `fig4.beta-lower`
    pub id: String,
    /// Whose it is.
    pub kind: ClaimKind,
    /// The section that it belongs to: `fig4`.
    pub figure: String,
    /// Where the paper says it: "Fig 4 (c)", "section 3.1".
    pub place: String,
    /// What the paper says, in a sentence.
    pub statement: String,
    /// What was measured.
    pub measured: Vec<Finding>,
    /// The rule that the verdict follows from, in words.
    pub rule: String,
    /// The verdict.
    pub verdict: Verdict,
    /// Why it is not tested, which form of it is met and which is not, or what is known of why not. May be empty.
    pub remark: String,
    /// Ids of the runs that it was judged by.
    pub runs: Vec<String>,
}

/// What was measured for a claim, of one quantity.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Finding {
    /// The quantity, in words: "training loss, mean over the steps". May be empty.
    pub of: String,
    /// What was found of it, a comparison each.
    pub lines: Vec<Line>,
}

/// One comparison, as it is to be shown.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Line {
    /// Whether it came out as the claim has it; `None` where it decides nothing.
    pub met: Option<bool>,
    /// Who has which value: ("BatchNorm", "0.63").
    pub values: Vec<(String, String)>,
    /// What else belongs to it: "in 2 of 2 draws". May be empty.
    pub note: String,
}

/// A claim that a reader sees first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Headline {
    /// The claim's id.
    pub claim: String,
    /// What the figure shows.
    pub title: String,
    /// A small figure, as [`super::Panel::small_svg`] makes it; where it is empty the number stands large in its place.
    pub svg: String,
    /// The one number that says most, as it is to be shown. May be empty.
    pub number: String,
    /// What the number says; `{}` stands for it.
    pub words: String,
}

/// What became of a claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Its rule is met.
    Reproduced,
    /// One form of it is, and another is not.
    InPart,
    /// It is false as printed, and true in the form that its proof needs.
    Corrected,
    /// Its rule is not met.
    NotBorneOut,
    /// Runs of this scale cannot tell.
    LargerScale,
    /// What was run cannot tell for another reason.
    NotTested,
}

impl Verdict {
    /// All, in the order in which they are counted.
    pub const ALL: [Verdict; 6] = [
        Verdict::Reproduced,
        Verdict::InPart,
        Verdict::Corrected,
        Verdict::NotBorneOut,
        Verdict::LargerScale,
        Verdict::NotTested,
    ];

    /// As it is written.
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

/// Whose claim it is, and of what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClaimKind {
    /// The paper's.
    #[default]
    Paper,
    /// The paper's at another setting, for how much it depends on that.
    Sensitivity,
    /// This project's own.
    Project,
}

impl ClaimKind {
    /// All, in the order in which they are shown.
    pub const ALL: [ClaimKind; 3] = [ClaimKind::Paper, ClaimKind::Sensitivity, ClaimKind::Project];

    /// As files have it.
    pub fn word(self) -> &'static str {
        match self {
            ClaimKind::Paper => "paper",
            ClaimKind::Sensitivity => "sensitivity",
            ClaimKind::Project => "project",
        }
    }
}

/// One experiment: what the paper says of it, and what was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Section {
    /// `fig4`: the anchor.
    pub id: String,
    /// "Figure 4: the loss along the gradient, VGG".
    pub title: String,
    /// Whether it goes beyond the paper: it stands behind the sections that do not.
    pub beyond: bool,
    /// What the paper says of it, a paragraph each.
    pub paper: Vec<String>,
    /// What differs from the paper's setting, a paragraph each.
    pub deviations: Vec<String>,
    /// The figures, as SVG documents that [`super::Figure::svg`] or [`super::Diagram::svg`] made.
    pub pictures: Vec<Picture>,
    /// Panels whose content the reader chooses.
    pub explorers: Vec<Explorer>,
    /// Tables.
    pub tables: Vec<Captioned>,
}

/// A figure set into the page.
#[derive(Debug, Clone, PartialEq)]
pub struct Picture {
    /// The SVG document.
    pub svg: String,
    /// Files with the same and with its data, relative to the report: "figures/fig4.svg", ….
    pub files: Vec<String>,
}

/// A table under a caption.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Captioned {
    /// What it is of.
    pub caption: String,
    /// The table.
    pub table: Table,
}

/// A panel in which the reader chooses what is shown: a control for each facet, and a switch between linear and logarithmic.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Explorer {
    /// Stands above it.
    pub title: String,
    /// What a reader must know of it, in a sentence or two. May be empty.
    pub note: String,
    /// The horizontal axis, as it is at first.
    pub x: Axis,
    /// The vertical axis, as it is at first.
    pub y: Axis,
    /// What is chosen at first, name and value, where that is not the first value of a facet.
    pub first: Vec<(String, String)>,
    /// Everything that can be shown.
    pub series: Vec<Faceted>,
}

/// A series that is shown where its facets are chosen.
#[derive(Debug, Clone, PartialEq)]
pub struct Faceted {
    /// Name and value: ("layer", "3"), ("seed", "1"), ("step", "500"). Every series of an explorer has the same names, in the same order; a
    /// control offers each value once, in the order of first use.
    pub facets: Vec<(String, String)>,
    /// What is drawn. Series that differ in facets alone have the same label and style.
    pub series: Series,
}
