//! `cargo xtask compare`: times steps of one or several builds of normscape and of their PyTorch twins, interleaved, and prints ratios.
//!
//! - `kind.rs`: the kinds of step · `competitor.rs`: the programs, and how each is run · `reading.rs`: parses what they print
//! - `table.rs`: medians, least times and ratios, as Markdown · `machine.rs`: the conditions of the measurement

mod competitor;
mod kind;
mod machine;
mod reading;
mod table;

use competitor::Competitor;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use table::{Measured, Table};

/// The command's options.
#[derive(Debug, PartialEq)]
struct Options {
    programs: Vec<PathBuf>,
    python: Option<PathBuf>,
    /// Leave out PyTorch; compare only builds of normscape.
    alone: bool,
    only: Vec<String>,
    rounds: usize,
    /// How long a competitor runs one kind of step in a round, in seconds.
    seconds: f64,
    threads: usize,
    out: Option<PathBuf>,
}

impl Options {
    fn read(args: &[OsString]) -> Result<Options, String> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut options = Options {
            programs: Vec::new(),
            python: None,
            alone: false,
            only: Vec::new(),
            rounds: 5,
            seconds: 2.0,
            threads: cores,
            out: None,
        };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let name = arg.to_string_lossy().into_owned();
            if name == "--alone" {
                options.alone = true;
                continue;
            }
            let value = args.next().ok_or_else(|| format!("compare: {name}: no option, or one without its value"))?;
            let text = value.to_string_lossy();
            let whole = || match text.parse() {
                Ok(n) if n > 0 => Ok(n),
                _ => Err(format!("compare: {name} {text}: a whole number of at least 1 is needed")),
            };
            match name.as_str() {
                "--program" => options.programs.push(value.into()),
                "--python" => options.python = Some(value.into()),
                "--only" => options.only.push(text.into_owned()),
                "--out" => options.out = Some(value.into()),
                "--rounds" => options.rounds = whole()?,
                "--threads" => options.threads = whole()?,
                "--seconds" => match text.parse() {
                    Ok(seconds) if (0.0..=3600.0).contains(&seconds) => options.seconds = seconds,
                    _ => return Err(format!("compare: {name} {text}: a number from 0 to 3600 is needed")),
                },
                _ => {
                    let known = "--program, --only, --rounds, --seconds, --threads, --out, --python and --alone";
                    return Err(format!("compare: no option {name}; there are {known}"));
                }
            }
        }
        Ok(options)
    }
}

/// Measures what `args` ask for. The table goes to standard output, and to a file if one is named.
pub fn run(args: &[OsString]) -> ExitCode {
    match measure(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => crate::refuse(&format!("xtask: {line}")),
    }
}

fn measure(args: &[OsString]) -> Result<(), String> {
    let options = Options::read(args)?;
    let kinds = kind::chosen(&options.only)?;
    let competitors = competitor::all(&options)?;
    let load = machine::load();
    let mut table = Table::new(&competitors, &kinds);
    for round in 0..options.rounds {
        for (k, kind) in kinds.iter().enumerate() {
            for (c, competitor) in in_turn(&competitors, round) {
                if competitor.takes(kind) {
                    let found = competitor.measure(kind, &options)?;
                    eprintln!("round {}, {kind}, {}: {}", round + 1, competitor.label(), found.line());
                    table.add(k, c, found);
                }
            }
        }
    }
    let heading = machine::heading(&options, &competitors, &load, args);
    let text = format!("{heading}\n{}", table.markdown());
    print!("{text}");
    match &options.out {
        Some(path) => std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display())),
        None => Ok(()),
    }
}

/// The competitors with their numbers. Every second round is reversed, so that none always follows the same one.
fn in_turn(competitors: &[Competitor], round: usize) -> Vec<(usize, &Competitor)> {
    let mut order: Vec<_> = competitors.iter().enumerate().collect();
    if round % 2 == 1 {
        order.reverse();
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Options, String> {
        Options::read(&line.split_whitespace().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn options_are_read_or_named() {
        let options =
            read("--program a --program b --only dln-batch --rounds 3 --seconds 0.5 --out x.md --alone").unwrap();
        assert_eq!(options.programs, [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!((options.rounds, options.seconds, options.alone), (3, 0.5, true));
        assert_eq!((options.only, options.out), (vec!["dln-batch".to_owned()], Some("x.md".into())));
        for (line, says) in [
            ("--rounds 0", "--rounds 0: a whole number"),
            ("--seconds -1", "--seconds -1: a number"),
            ("--seconds nan", "--seconds nan: a number"),
            ("--round 3", "no option --round; there are --program"),
            ("--program", "--program: no option, or one without its value"),
        ] {
            let error = read(line).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
