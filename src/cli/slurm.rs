//! Slurm: the scripts of a reproduction's two jobs, and their submission with sbatch.

use super::words::quoted;
use crate::files::lookup::{self, Kind};
use crate::{Error, Result};
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// The options of sbatch that a reproduction sets itself, each with what is right instead.
const OWN: [(&str, Option<char>, &str); 4] = [
    (
        "array",
        Some('a'),
        "--shares N sets the number of tasks, and `scontrol update ArrayTaskThrottle=K jobid=ID` how many go at once",
    ),
    ("wrap", None, "the scripts are normscape's"),
    ("dependency", Some('d'), "the gathering depends on the shares; submit earlier jobs' successors by hand"),
    ("parsable", None, "it is set already"),
];

/// Refuses words for sbatch that a reproduction sets itself.
pub fn check(words: &[String]) -> Result<()> {
    for word in words {
        let names = |(long, short, _): &&(&str, Option<char>, &str)| {
            let of_long = word.strip_prefix("--").is_some_and(|word| word.split('=').next() == Some(long));
            let of_short =
                word.strip_prefix('-').is_some_and(|word| short.is_some_and(|short| word.starts_with(short)));
            of_long || of_short
        };
        if let Some((_, _, right)) = OWN.iter().find(names) {
            return Err(Error::input(format!("--on: {word}"), "is not for the words that go to sbatch", *right));
        }
    }
    Ok(())
}

/// Whether words for sbatch ask for a GPU: as `--gres=gpu:1`, `--gpus=1`, `--gpus-per-task 1` or `-G 1`.
pub fn asks_for_gpu(words: &[String]) -> bool {
    let gres = |value: &str| value.split(',').any(|one| one.split(':').next() == Some("gpu"));
    let next = words.iter().skip(1).map(String::as_str).chain([""]);
    words.iter().zip(next).any(|(word, next)| match word.split_once('=') {
        _ if word.starts_with("-G") => true,
        _ if word.starts_with("--gpus") => true,
        Some(("--gres", value)) => gres(value),
        None if word == "--gres" => gres(next),
        _ => false,
    })
}

/// The value of `--part` in the script of an array's task, for the shell.
pub fn share(shares: usize) -> String {
    format!("{TASK}/{shares}")
}

/// The variable with the number of the array's task.
const TASK: &str = "$SLURM_ARRAY_TASK_ID";

/// The two jobs of a reproduction.
#[derive(Debug, Clone, Copy)]
pub struct Job<'a> {
    /// The folder for scripts and logs.
    pub folder: &'a str,
    /// The user's words for sbatch.
    pub words: &'a [String],
}

impl Job<'_> {
    /// The path of the shares' script.
    pub fn part_script(&self) -> String {
        format!("{}/part.sh", self.folder)
    }

    /// The path of the gathering's script.
    pub fn gather_script(&self) -> String {
        format!("{}/gather.sh", self.folder)
    }

    /// How the shares are submitted. The user's words come last, so that they override the script's.
    pub fn submission_of_part(&self) -> Vec<String> {
        self.submission(&[], self.part_script())
    }

    /// How the gathering is submitted that waits for the shares' array `id`.
    ///
    /// It waits for the array's end, not for its success. Slurm counts a task as timed out, and so the array as failed, if the task ends well after
    /// a preemption's period of grace but before Slurm takes it away; a gathering that waited for success would then be lost, with nothing missing.
    /// Whether something is missing the gathering sees for itself.
    pub fn submission_of_gather(&self, id: &str) -> Vec<String> {
        self.submission(&[format!("--dependency=afterany:{id}")], self.gather_script())
    }

    fn submission(&self, own: &[String], script: String) -> Vec<String> {
        let mut all = vec!["sbatch".to_owned(), "--parsable".into()];
        all.extend(own.iter().cloned());
        all.extend(self.words.iter().cloned());
        all.push(script);
        all
    }

    /// The script of an array's task: a share of `runs` runs, made by `command`.
    pub fn part(&self, shares: usize, runs: usize, command: &[Vec<String>]) -> String {
        let submission = comment(&self.submission_of_part());
        let (log, command) = (self.log("part-%a.log"), continued(command));
        format!(
            r#"#!/bin/bash
# One of {shares} shares of {runs} runs, as a task of an array. Written by `normscape reproduce --on slurm`, and submitted with
#   {submission}
# where sbatch's own words override the lines below. A task that starts again goes on where its runs were saved.
#SBATCH --job-name=normscape
#SBATCH --array=1-{shares}
#SBATCH --output={log}
#SBATCH --open-mode=append
# A task that loses its node, or is preempted, is queued again.
#SBATCH --requeue
# A minute before its time is over this script gets TERM.
#SBATCH --signal=B:TERM@60

echo "share $SLURM_ARRAY_TASK_ID of {shares} on $(hostname), start $((${{SLURM_RESTART_COUNT:-0}} + 1))"

# The program saves its runs at TERM and ends with 130; this script hands TERM on to it. No srun: the share is one process.
program=
trap '[ -z "$program" ] || kill -TERM "$program" 2>/dev/null' TERM
{command} &
program=$!
# A signal ends `wait` early: it is asked until the program is gone, and then for its exit code.
wait "$program"
while kill -0 "$program" 2>/dev/null; do wait "$program"; done
wait "$program"
code=$?

# 130: interrupted, and saved. The task, not the whole array, is queued again; but not where somebody has cancelled it, since to queue it
# again would bring it back. Anything else is its result.
task="${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID"
if [ "$code" = 130 ] && [ "$(squeue --noheader --jobs="$task" --format=%T)" = RUNNING ]; then
    # Slurm ends this script when it takes the task back.
    scontrol requeue "$task" && sleep 120
fi
exit "$code"
"#
        )
    }

    /// The script of the gathering, made by `command`.
    pub fn gather(&self, command: &[Vec<String>]) -> String {
        let submission = comment(&self.submission_of_gather("ID"));
        let (log, command) = (self.log("gather.log"), continued(command));
        format!(
            r#"#!/bin/bash
# Figures, claims and report, once no share is queued or running. Written by `normscape reproduce --on slurm`, and submitted with
#   {submission}
# where ID is the shares' job. If runs are missing then, it names them and ends with 2. It takes about a minute, and no GPU.
#SBATCH --job-name=normscape-gather
#SBATCH --output={log}
#SBATCH --open-mode=append
#SBATCH --requeue

exec {command}
"#
        )
    }

    /// A log's path as a line of a script has it: there `%` begins a pattern.
    fn log(&self, name: &str) -> String {
        let folder = self.folder.replace('%', "%%").replace('\\', "\\\\").replace('"', "\\\"");
        format!("\"{folder}/{name}\"")
    }
}

/// A command line that stands in a comment, for people.
fn comment(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ").replace(char::is_control, " ")
}

/// A command line over several lines, one entry each.
fn continued(command: &[Vec<String>]) -> String {
    let shown = |word: &String| match word.strip_prefix(TASK) {
        // The shell is to read this one.
        Some(rest) => format!("\"{TASK}{rest}\""),
        None => quoted(word).into_owned(),
    };
    let lines: Vec<String> =
        command.iter().map(|entry| entry.iter().map(shown).collect::<Vec<_>>().join(" ")).collect();
    lines.join(" \\\n    ")
}

/// The program sbatch.
pub struct Sbatch(PathBuf);

impl Sbatch {
    /// Looks for sbatch where a shell would. Errors: [`Error::Missing`].
    pub fn find() -> Result<Sbatch> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let found = std::env::split_paths(&path).map(|folder| folder.join("sbatch"));
        let found = found.into_iter().find(|path| matches!(lookup::kind(path), Ok(Some(Kind::File(_)))));
        found.map(Sbatch).ok_or_else(|| Error::Missing {
            what: "sbatch".into(),
            looked: "no folder of PATH has it; start this on a machine of the cluster that submits jobs".into(),
        })
    }

    /// Submits the shares, then the gathering that waits for them; returns both ids. Where the second is refused, the first is cancelled.
    pub fn submit(&self, job: &Job) -> Result<[String; 2]> {
        let array = self.one(&job.submission_of_part())?;
        // A federation's ids are followed by the cluster.
        let (id, cluster) = array.split_once(';').map_or((array.as_str(), None), |(id, cluster)| (id, Some(cluster)));
        match self.one(&job.submission_of_gather(id)) {
            Ok(gather) => Ok([array.clone(), gather]),
            Err(error) => {
                let mut cancel = Command::new(self.0.with_file_name("scancel"));
                cancel.args(cluster.map(|cluster| format!("--clusters={cluster}"))).arg(id);
                let cancelled = cancel.stdin(Stdio::null()).output().is_ok_and(|out| out.status.success());
                let array =
                    if cancelled { "the shares are cancelled" } else { "the shares are submitted all the same" };
                Err(match error {
                    Error::Input { place, problem, remedy } => Error::input(
                        format!("{place} of the gathering"),
                        problem,
                        format!("{array} (job {id}); {remedy}"),
                    ),
                    other => other,
                })
            }
        }
    }

    /// Submits one job and returns its id. Errors: sbatch cannot be started; it refuses.
    fn one(&self, words: &[String]) -> Result<String> {
        let out = Command::new(&self.0).args(&words[1..]).stdin(Stdio::null()).output();
        let out = out.map_err(|source| Error::io(&self.0, "start", source))?;
        let [said, told] = [&out.stdout, &out.stderr].map(|bytes| String::from_utf8_lossy(bytes).trim().to_owned());
        if !out.status.success() {
            let told: Vec<&str> =
                told.lines().map(|line| line.trim_start_matches("sbatch: ").trim_start_matches("error: ")).collect();
            let problem = if told.is_empty() { format!("failed ({})", out.status) } else { told.join("; ") };
            return Err(Error::input("sbatch", problem, "change the words behind slurm that go to it"));
        }
        let id = said.lines().last().unwrap_or_default().trim();
        if !id.starts_with(|c: char| c.is_ascii_digit()) {
            let problem = format!("printed no job's id: {}", [said.as_str(), told.as_str()].join(" ").trim());
            return Err(Error::input("sbatch", problem, "leave out words that change what it prints"));
        }
        Ok(id.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(Into::into).collect()
    }

    #[test]
    fn words_that_ask_for_a_gpu_are_told_from_others() {
        for text in [
            "--gres=gpu:1",
            "--gres gpu",
            "--gres=craynetwork:1,gpu:a100:2",
            "-p x --gpus=1",
            "--gpus-per-node 2",
            "-G 1",
            "-G1",
        ] {
            assert!(asks_for_gpu(&words(text)), "{text}");
        }
        for text in ["", "--partition=gpu", "-p gpu", "--gres=fpga:1", "--gres", "--constraint=gpu"] {
            assert!(!asks_for_gpu(&words(text)), "{text}");
        }
    }

    #[test]
    fn what_is_set_already_is_no_word_for_sbatch() {
        check(&words("--partition=gpu -A me --time=1:00 --gres gpu:1 -pfast")).unwrap();
        for text in ["--array=1-3", "-a1-3", "-a 1", "--wrap=x", "--dependency=afterok:1", "-d singleton", "--parsable"]
        {
            let message = check(&words(text)).unwrap_err().to_string();
            assert!(message.starts_with("--on: -"), "{message}");
        }
    }

    #[test]
    fn a_log_has_no_pattern_but_its_own() {
        let job = Job { folder: "/a %j \"b\"", words: &[] };
        assert_eq!(job.log("part-%a.log"), r#""/a %%j \"b\"/part-%a.log""#);
    }

    /// The script with other commands in place of Slurm's and the program: what it does at each exit code, and after a signal.
    #[cfg(target_os = "linux")]
    #[test]
    fn only_130_of_a_task_that_still_runs_is_queued_again() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().to_str().unwrap();
        let at = |name: &str| format!("{folder}/{name}");
        let tool = |name: &str, text: &str| {
            std::fs::write(at(name), format!("#!/bin/sh\n{text}\n")).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            std::fs::set_permissions(at(name), mode).unwrap();
        };
        tool("sleep", "");
        tool("scontrol", &format!("echo \"$@\" >> {}", at("asked")));
        let job = Job { folder, words: &[] };
        let ends = |program: &str, state: &str, signal: bool| {
            tool("program", program);
            tool("squeue", &format!("echo \"$@\" >> {}; echo {state}", at("looked")));
            std::fs::write(at("script"), job.part(9, 84, &[vec![at("program")], vec!["--part".into(), share(9)]]))
                .unwrap();
            let mut script = std::process::Command::new("bash");
            script.arg(at("script")).env("PATH", format!("{folder}:/usr/bin:/bin")).stdout(Stdio::null());
            script.envs([("SLURM_ARRAY_JOB_ID", "71"), ("SLURM_ARRAY_TASK_ID", "3"), ("SLURM_JOB_ID", "75")]);
            let mut child = script.spawn().unwrap();
            if signal {
                while std::fs::metadata(at("ready")).is_err() {
                    std::thread::sleep(std::time::Duration::from_millis(5));
                }
                let id = child.id().to_string();
                assert!(std::process::Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
            }
            let code = child.wait().unwrap().code().unwrap();
            let asked = std::fs::read_to_string(at("asked")).unwrap_or_default();
            let _ = std::fs::remove_file(at("asked"));
            (code, asked.trim().to_owned())
        };
        assert_eq!(ends("exit 130", "RUNNING", false), (130, "requeue 71_3".into()));
        assert!(std::fs::read_to_string(at("looked")).unwrap().contains("--jobs=71_3"), "the task, not its array");
        for state in ["COMPLETING", "CANCELLED", "PENDING", "''"] {
            assert_eq!(ends("exit 130", state, false), (130, String::new()), "{state}");
        }
        for code in [0, 2, 3, 137] {
            assert_eq!(ends(&format!("exit {code}"), "RUNNING", false), (code, String::new()));
        }
        // The program gets the script's TERM, takes its time, and its exit code is the script's.
        let saves =
            format!("trap '/bin/sleep 0.3; exit 130' TERM; : > {}; while :; do /bin/sleep 0.05; done", at("ready"));
        assert_eq!(ends(&saves, "RUNNING", true), (130, "requeue 71_3".into()));
        let given = "[ \"$1 $2\" = '--part 3/9' ] && exit 0; exit 9";
        assert_eq!(ends(given, "RUNNING", false), (0, String::new()));
    }
}
