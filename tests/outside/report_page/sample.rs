//! A report with every possible element, and with words that would break it. `checks.py` knows its numbers.

use normscape::report::{
    Axis, Captioned, Cell, ClaimKind, ClaimRow, Explorer, Faceted, Figure, Finding, Headline, Kind, Line, Page, Panel,
    Picture, Ridge, Section, Series, Table, Verdict,
};

/// What a hostile label tries: to run, to end its element, to end the costs.
const EVIL: &str = "</script></style><img src=x onerror=\"window.broken=1\"><!-- /cost --> & 'β'";

/// What an axis is called whose name is longer than the axis.
const LONG: &str =
    "highest loss less lowest along a random direction, in units of the loss at the first step of the run";

/// The numbers of the first explorer, which `checks.py` works out as well.
fn value(layer: usize, seed: usize, step: usize, x: f64) -> f64 {
    (layer as f64) * (x + 1.0) * (x + 1.0) + 10.0 * seed as f64 + step as f64 / 1000.0
}

/// A number between 0 and 1 that looks drawn.
fn drawn(i: usize) -> f64 {
    (i * 7919 % 1009) as f64 / 1009.0
}

fn facet(name: &str, value: impl ToString) -> (String, String) {
    (name.into(), value.to_string())
}

/// Lines and a band over layer, seed and step; the last step of the last seed has no data.
fn landscape() -> Explorer {
    let mut series = Vec::new();
    for layer in [1, 3, 11] {
        for seed in [1, 2] {
            for step in [0, 500, 1000, 5000, 15000] {
                if (seed, step) == (2, 15000) {
                    continue;
                }
                let facets = vec![facet("layer", layer), facet("seed", seed), facet("step", step)];
                let at = |x: f64| value(layer, seed, step, x);
                let xs = || (0..9).map(f64::from);
                let band = xs().map(|x| (x, 0.5 * at(x), 2.0 * at(x))).collect();
                let other = xs().map(|x| (x, if x == 4.0 { f64::NAN } else { 0.1 * at(x) })).collect();
                for series_of in [
                    Series::band("none", 0, band),
                    Series::line("none", 0, xs().map(|x| (x, at(x))).collect()),
                    Series::line("BatchNorm", 1, other),
                ] {
                    series.push(Faceted { facets: facets.clone(), series: series_of });
                }
            }
        }
    }
    Explorer {
        title: "Loss along the gradient, step by step".into(),
        x: Axis::linear("distance, in learning rates"),
        y: Axis::log("loss"),
        series,
        ..Explorer::default()
    }
}

/// A long noisy line, another that was looked at half as often, points, and hostile words.
fn training() -> Explorer {
    let line = |scale: f64, every: usize| {
        let noisy = |i: usize| (i as f64 * 25.0, scale * (0.8 + 0.4 * drawn(i)) * (-(i as f64) / 180.0).exp());
        (0..600).step_by(every).map(noisy).collect::<Vec<_>>()
    };
    let series = [
        Series::line("none", 0, line(2.3, 1)),
        Series::line("BatchNorm", 11, line(1.1, 2)),
        Series::points(EVIL, 9, (0..12).map(|i| (1250.0 * i as f64, 1.7 / (1.0 + i as f64))).collect()),
    ];
    let faceted = |series| Faceted { facets: vec![facet("value", "training loss")], series };
    let mut series: Vec<Faceted> = series.map(faceted).into();
    let other = Series::line("none", 0, line(0.1, 1));
    series.push(Faceted { facets: vec![facet("value", LONG)], series: other });
    Explorer {
        title: format!("Training loss {EVIL}"),
        note: format!("One of the two was looked at half as often. {EVIL}"),
        x: Axis::linear("step"),
        y: Axis::log("value"),
        series,
        ..Explorer::default()
    }
}

/// Distributions over training.
fn ridges() -> Explorer {
    let ridge = |width: f64, centre: f64, at: f64| {
        let edges: Vec<f64> = (0..=40).map(|i| -4.0 + 0.2 * f64::from(i)).collect();
        let density = |pair: &[f64]| {
            let x = (0.5 * (pair[0] + pair[1]) - centre) / width;
            (-0.5 * x * x).exp() / (width * (2.0 * std::f64::consts::PI).sqrt())
        };
        Ridge { at, density: edges.windows(2).map(density).collect(), edges }
    };
    let mut series = Vec::new();
    for layer in [3, 11] {
        for (style, label) in ["none", "BatchNorm"].into_iter().enumerate() {
            let steps = (0..8).map(|i| {
                let drift = 0.15 * (1 - style) as f64 * i as f64;
                ridge(0.5 + 0.05 * f64::from(layer) + 0.05 * i as f64, drift - 0.5, 2000.0 * i as f64)
            });
            let series_of = Series { label: label.into(), style, kind: Kind::Ridge(steps.collect()) };
            series.push(Faceted { facets: vec![facet("layer", layer)], series: series_of });
        }
    }
    Explorer {
        title: "What enters the non-linearity".into(),
        x: Axis::linear("value"),
        y: Axis::linear("step"),
        series,
        ..Explorer::default()
    }
}

/// Three seeds, of which the second is shown at first.
fn seeds() -> Explorer {
    let line = |seed: usize| {
        let points = (0..5).map(|i| (i as f64, (seed + i) as f64)).collect();
        Faceted { facets: vec![facet("seed", seed)], series: Series::line("none", 0, points) }
    };
    Explorer {
        title: "Of three draws".into(),
        x: Axis::linear("step"),
        y: Axis::linear("loss"),
        first: vec![("seed".into(), "2".into())],
        series: (1..=3).map(line).collect(),
        ..Explorer::default()
    }
}

fn figure(title: &str, panels: usize) -> Picture {
    let band = |scale: f64| {
        (0..60)
            .map(|i| (250.0 * i as f64, scale / (1.0 + i as f64), scale * (3.0 + drawn(i)) / (1.0 + i as f64)))
            .collect()
    };
    let line = |scale: f64| (0..60).map(|i| (250.0 * i as f64, scale * (1.0 + drawn(i)) / (1.0 + i as f64))).collect();
    let panel = |i: usize| Panel {
        title: ["loss", "gradient change", "effective β-smoothness"][i % 3].into(),
        x: Axis::linear("step"),
        y: Axis::log(["loss", "‖Δg‖₂", "β"][i % 3]),
        series: match i {
            0 => vec![Series::band("none", 0, band(5.0)), Series::band("BatchNorm", 1, band(0.5))],
            _ => vec![Series::line("none", 0, line(20.0)), Series::line("BatchNorm", 1, line(1.0))],
        },
    };
    let figure = Figure {
        title: title.into(),
        subtitle: "VGG-16 × 1/4 on CIFAR-10, 15,000 steps, lr 0.1".into(),
        notes: vec!["Medians over 3 seeds; the range of step lengths is 1/2 to 4 times the learning rate.".into()],
        panels: (0..panels).map(panel).collect(),
        columns: None,
    };
    let name = title.split(':').next().unwrap_or(title).to_lowercase().replace(' ', "");
    Picture { svg: figure.svg(), files: ["svg", "png", "csv", "npz"].map(|e| format!("figures/{name}.{e}")).into() }
}

const STATEMENTS: [(&str, &str); 4] = [
    (
        "The loss varies over a far wider range along the gradient without BatchNorm, above all early in training.",
        "(a)",
    ),
    ("The change of the gradient along the step differs by close to two orders of magnitude, above all early.", "(b)"),
    ("The effective β-smoothness is consistently lower with BatchNorm.", "(c)"),
    ("BatchNorm continues to provide smoothing for even larger distances.", "text"),
];

fn claims(figure: &str, place: &str) -> impl Iterator<Item = ClaimRow> {
    let verdicts = match figure {
        "fig4" => [Verdict::Reproduced, Verdict::Reproduced, Verdict::Reproduced, Verdict::NotTested],
        "fig9" => [Verdict::Reproduced, Verdict::NotBorneOut, Verdict::InPart, Verdict::Corrected],
        _ => [Verdict::NotBorneOut, Verdict::Reproduced, Verdict::NotTested, Verdict::LargerScale],
    };
    STATEMENTS.into_iter().zip(verdicts).enumerate().map(move |(i, ((statement, part), verdict))| ClaimRow {
        id: format!("{figure}.{}", ["range", "gradient", "beta", "further"][i]),
        kind: ClaimKind::Paper,
        figure: figure.into(),
        place: format!("{place} {part}"),
        statement: statement.into(),
        measured: match verdict {
            Verdict::LargerScale | Verdict::NotTested => Vec::new(),
            _ => vec![Finding {
                of: "highest loss less lowest along −g, median over the steps".into(),
                lines: vec![
                    line(
                        verdict,
                        &[("BatchNorm", ["8.31", "61.2", "3.4"][i % 3]), ("no norm", "3.43×10⁶")],
                        "so in 2 of 3 draws",
                    ),
                    line(
                        verdict,
                        &[("BatchNorm < no norm at", "97.5 % of the steps")],
                        "60 % needed, enough in 3 of 3 draws",
                    ),
                ],
            }],
        },
        rule: "median ratio above 2, and the lower value at more than 90 % of the probed steps".into(),
        verdict,
        remark: match verdict {
            Verdict::Reproduced => String::new(),
            Verdict::InPart => "Reproduced in the mean over the steps; not at 60 % of the steps.".into(),
            Verdict::Corrected => "The proof needs g at z.".into(),
            Verdict::NotBorneOut => "At this rate both nets run at the edge of stability.".into(),
            Verdict::LargerScale | Verdict::NotTested => "Needs steps beyond the range that was probed.".into(),
        },
        runs: (1..=3).map(|seed| format!("{figure}-none-s{seed}")).collect(),
    })
}

fn line(verdict: Verdict, values: &[(&str, &str)], note: &str) -> Line {
    let values = values.iter().map(|&(who, value)| (who.into(), value.into())).collect();
    Line { met: Some(verdict == Verdict::Reproduced), values, note: note.into() }
}

/// A card for each claim of Figure 4 and Figure 9; the last has no figure.
fn headlines() -> Vec<Headline> {
    let points =
        |scale: f64| (0..60).map(|i| (250.0 * i as f64, scale * (1.0 + drawn(i)) / (1.0 + i as f64))).collect();
    let panel = Panel {
        title: "β".into(),
        x: Axis::linear("step"),
        y: Axis::log("effective β"),
        series: vec![Series::line("no norm", 0, points(20.0)), Series::line("BatchNorm", 1, points(1.0))],
    };
    let card = |claim: &str, svg: String| Headline {
        claim: claim.into(),
        title: "Effective β-smoothness, VGG".into(),
        svg,
        number: "91 %".into(),
        words: "β is lower with BatchNorm at {} of the steps".into(),
    };
    let ids =
        ["fig4", "fig9"].map(|figure| ["range", "gradient", "beta", "further"].map(|of| format!("{figure}.{of}")));
    let mut cards: Vec<Headline> =
        ids.as_flattened().iter().map(|id| card(id, panel.small_svg(&format!("{EVIL} {id}")))).collect();
    cards[7].svg.clear();
    cards[6].title = EVIL.into();
    cards
}

fn settings() -> Captioned {
    let mut table = Table::new(["setting", "paper", "here"]);
    for (name, paper, here) in [
        ("network", "VGG-16", "VGG-16 × 1/4"),
        ("learning rate", "0.1", "0.1"),
        ("steps", "15,000", "2,000"),
        (EVIL, "", EVIL),
    ] {
        table.row([name.into(), paper.into(), here.into()]);
    }
    Captioned { caption: "Settings".into(), table }
}

fn cost() -> Captioned {
    let mut table = Table::new(["run", "steps", "ms a step", "seconds", "joules", "started", "ended", "machine"]);
    for seed in 1..4u64 {
        table.row([
            format!("fig4-none-s{seed}").into(),
            (2000 * seed).into(),
            12.52.into(),
            Cell::number("25.0"),
            Cell::number("4100"),
            "2031-01-01 10:00:00 UTC".into(),
            "2031-01-01 10:00:25 UTC".into(),
            "16 cores, AVX-512".into(),
        ]);
    }
    Captioned { caption: "Time of each run".into(), table }
}

/// The report.
pub fn page() -> Page {
    let section = |id: &str, title: &str, panels: usize, explorers: Vec<Explorer>| {
        Section {
        id: id.into(),
        title: title.into(),
        beyond: id == "fig8",
        paper: vec![
            "“At each training step we compute the range of values that the loss takes along the direction of the gradient. \
             BatchNorm’s landscape is far smoother: the loss and its gradients change more slowly.”"
                .into(),
        ],
        deviations: vec![
            "A quarter of the channels, and 2,000 steps in place of 15,000.".into(),
            "The step length is sampled at 8 points between 1/2 and 4 times the learning rate.".into(),
        ],
        pictures: vec![figure(title, panels)],
        explorers,
        tables: Vec::new(),
    }
    };
    let mut odd = section("fig9", &format!("Figure 9: {EVIL}"), 1, vec![training()]);
    odd.tables = vec![settings()];
    odd.deviations.clear();
    Page {
        title: "How does batch normalization help optimization? A reproduction".into(),
        question: "Does BatchNorm help because it reduces internal covariate shift, or because it makes the optimisation landscape \
                   smoother?"
            .into(),
        answer: [
            "BatchNorm makes training faster and better: VGG's loss falls faster with it at both learning rates.",
            "Less internal covariate shift is not the reason: its gradients shift no less than those without a norm.",
            "That BatchNorm makes the optimisation landscape smoother is borne out in part: along VGG's gradient the loss varies less; \
             in the deep linear network none of the three varies less.",
            "Whether other norms do as well, scale small cannot tell.",
            "The paper's theory of the smoother landscape holds, with corrections.",
        ]
        .map(String::from)
        .into(),
        setting: "Scale small: 3 seeds for each variant. VGG was trained on CIFAR-10.".into(),
        headlines: headlines(),
        summary: vec![
            "12 claims of the paper were judged on 18 runs of VGG-16 at a quarter of its width and of the deep linear \
             network: 5 are reproduced, 1 in part, 1 as corrected, 2 are not borne out."
                .into(),
            "Scale: small. 3 seeds for each variant, CIFAR-10, f32 on a CPU. Every number below is in the files beside its \
             figure; every claim names the runs that it was judged by."
                .into(),
        ],
        claims: claims("fig4", "Fig 4").chain(claims("fig9", "Fig 9")).chain(claims("fig8", "Fig 8")).collect(),
        sections: vec![
            section("fig4", "Figure 4: the loss along the gradient, VGG", 3, vec![landscape()]),
            odd,
            section("fig8", "Figure 8: activations of the deep linear network", 2, vec![ridges(), seeds()]),
        ],
        settings: vec![settings()],
        cost: vec![cost()],
    }
}
