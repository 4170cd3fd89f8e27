//! `normscape`: see [`normscape::cli`].

fn main() -> std::process::ExitCode {
    normscape::cli::main(std::env::args_os())
}
