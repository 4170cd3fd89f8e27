//! The parser's errors, each on one line: where, what, and what would be right. The parser also reports help and version as errors; those
//! become answers.

use super::Answer;
use crate::{Error, Result};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use std::io::IsTerminal;

/// The answer or the error for a command line that was not parsed. `table` is the table that refused it.
pub fn refuse(error: &clap::Error, table: &clap::Command) -> Result<Answer> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let text = error.render();
            let colour = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
            Ok(Answer::text(if colour { text.ansi().to_string() } else { text.to_string() }))
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => {
            Ok(no_command(error, table))
        }
        _ => Err(condensed(error)),
    }
}

/// The help of a command that lacks its subcommand, with an error line that lists the subcommands.
fn no_command(error: &clap::Error, table: &clap::Command) -> Answer {
    let help = error.render().to_string();
    let named = |inner: &&clap::Command| help.contains(&format!("Usage: {} {} ", table.get_name(), inner.get_name()));
    let names = names(table.get_subcommands().find(named).unwrap_or(table));
    Answer::text(help).with(format!("no command given; there are {names}"), 2)
}

fn names(table: &clap::Command) -> String {
    table.get_subcommands().filter(|c| !c.is_hide_set()).map(clap::Command::get_name).collect::<Vec<_>>().join(", ")
}

/// The error's context of that kind, as text; several values are joined by commas.
fn text(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(one) => Some(one.clone()),
        ContextValue::Strings(several) => Some(several.join(", ")),
        ContextValue::StyledStr(one) => Some(one.to_string()),
        ContextValue::StyledStrs(several) => {
            Some(several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", "))
        }
        ContextValue::Number(n) => Some(n.to_string()),
        _ => None,
    }
}

fn condensed(error: &clap::Error) -> Error {
    let arg = text(error, ContextKind::InvalidArg).unwrap_or_default();
    let value = text(error, ContextKind::InvalidValue).unwrap_or_default();
    let suggested = |kind| text(error, kind).filter(|names| !names.is_empty());
    match error.kind() {
        ErrorKind::UnknownArgument => {
            let remedy = suggested(ContextKind::SuggestedArg).map(|name| format!("did you mean {name}?"));
            Error::input(arg, "unknown argument", remedy.unwrap_or_else(|| "--help lists what there is".into()))
        }
        ErrorKind::InvalidSubcommand => {
            let name = text(error, ContextKind::InvalidSubcommand).unwrap_or_default();
            let remedy = suggested(ContextKind::SuggestedSubcommand).map(|name| format!("did you mean {name}?"));
            Error::input(name, "unknown command", remedy.unwrap_or_else(|| "--help lists what there is".into()))
        }
        ErrorKind::MissingRequiredArgument => Error::input(arg, "missing", "it is needed, and --help says what for"),
        ErrorKind::InvalidValue if value.is_empty() => {
            Error::input(arg, "no value", choices(error).unwrap_or_else(|| "a value is needed behind it".into()))
        }
        ErrorKind::InvalidValue => Error::input(
            named(&arg, &value),
            "unknown",
            choices(error).unwrap_or_else(|| "--help lists what there is".into()),
        ),
        ErrorKind::ValueValidation => {
            let reason = std::error::Error::source(error)
                .map_or_else(|| "--help says what it takes".into(), ToString::to_string);
            Error::input(named(&arg, &value), "not a value that it takes", reason)
        }
        ErrorKind::ArgumentConflict => {
            let other = text(error, ContextKind::PriorArg).unwrap_or_default();
            let (problem, remedy) = if other.is_empty() || other == arg {
                ("given more than once".to_owned(), "once is right")
            } else {
                (format!("cannot be used with {other}"), "give one of them")
            };
            Error::input(arg, problem, remedy)
        }
        ErrorKind::InvalidUtf8 => Error::input(
            "command line",
            "an argument is not UTF-8",
            "only names of files and folders that are read or written may be so",
        ),
        _ => {
            // Whatever else there is: its first paragraph.
            let whole = error.to_string();
            let lines = whole.lines().map(str::trim).take_while(|line| !line.is_empty());
            let line = lines.collect::<Vec<_>>().join(" ");
            Error::input("command line", line.strip_prefix("error: ").unwrap_or(&line), "--help says what is right")
        }
    }
}

/// `--option VALUE`, from clap's `--option <NAME>`.
fn named(arg: &str, value: &str) -> String {
    format!("{} {value}", arg.split([' ', '=']).next().unwrap_or(arg))
}

fn choices(error: &clap::Error) -> Option<String> {
    text(error, ContextKind::ValidValue).filter(|names| !names.is_empty()).map(|names| format!("there are {names}"))
}
