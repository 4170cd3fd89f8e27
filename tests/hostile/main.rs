//! Real-world trouble, against the real program: full and read-only disks, another user's files, false content, sizes that no machine can
//! hold, and a kill at any moment.
//!
//! - `program`: a command line with bounds on memory and time, and the form of a refusal
//! - `disk`: a tmpfs that is full, with every size and number of files up to the first that suffices; and a read-only one
//! - `user`: files and folders of another user, who is subject to permission bits
//! - `content`: wrong batch files, arrays and checkpoints · `size`: options out of range
//! - `kill`: SIGKILL, then `--resume`, again and again
//!
//! Mounts are made in a mount namespace of this process's own. Where the system provides none, or no other user, those tests are reported
//! as ignored, with the reason. Under `CI=true` that is a failure, unless `NORMSCAPE_WITHOUT_MOUNTS=1` says that it is intended.

#[cfg(target_os = "linux")]
mod content;
#[cfg(target_os = "linux")]
mod disk;
#[cfg(target_os = "linux")]
mod kill;
#[cfg(target_os = "linux")]
mod program;
#[cfg(target_os = "linux")]
mod size;
#[cfg(target_os = "linux")]
mod user;

use std::process::ExitCode;

#[cfg(not(target_os = "linux"))]
fn main() -> ExitCode {
    libtest_mimic::run(&libtest_mimic::Arguments::from_args(), Vec::new()).exit_code()
}

#[cfg(target_os = "linux")]
fn main() -> ExitCode {
    use libtest_mimic::{Arguments, Completion, Failed, Trial};

    let arguments = Arguments::from_args();
    // `--list` needs no mounts.
    let mounts = if arguments.list { Ok(()) } else { disk::namespace() };
    let other_user = user::available();
    type Test = (&'static str, fn());
    let always: [Test; 9] = [
        ("content::batch_files", content::batch_files),
        ("content::arrays", content::arrays),
        ("content::bombs", content::bombs),
        ("content::damaged_checkpoints", content::damaged_checkpoints),
        ("content::damaged_logs", content::damaged_logs),
        ("size::options_out_of_range", size::options_out_of_range),
        ("size::more_than_the_memory", size::more_than_the_memory),
        ("disk::a_full_device", disk::a_full_device),
        ("kill::any_moment", kill::any_moment),
    ];
    let mounted: [Test; 5] = [
        ("disk::training_where_space_runs_out", disk::training_where_space_runs_out),
        ("disk::training_where_files_run_out", disk::training_where_files_run_out),
        ("disk::an_older_checkpoint_survives", disk::an_older_checkpoint_survives),
        ("disk::other_commands_where_space_runs_out", disk::other_commands_where_space_runs_out),
        ("disk::a_read_only_disk", disk::a_read_only_disk),
    ];
    let of_users: [Test; 2] =
        [("user::folders_of_another", user::folders_of_another), ("user::files_of_another", user::files_of_another)];
    let trials = (always.map(|test| (test, Ok(()))).into_iter())
        .chain(mounted.map(|test| (test, mounts.clone())))
        .chain(of_users.map(|test| (test, other_user.clone())))
        .map(|((name, test), there)| {
            Trial::ignorable_test(name, move || match there {
                Err(reason) if may_lack() => Ok(Completion::ignored_with(reason)),
                Err(reason) => Err(Failed::from(format!("{reason}; NORMSCAPE_WITHOUT_MOUNTS=1 would skip this"))),
                Ok(()) => {
                    test();
                    Ok(Completion::Completed)
                }
            })
        });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

#[cfg(target_os = "linux")]
fn may_lack() -> bool {
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|v| v == value);
    !is("CI", "true") || is("NORMSCAPE_WITHOUT_MOUNTS", "1")
}
