//! `cargo bench`: the same as `normscape bench --full`.

fn main() {
    // `cargo bench` passes flags of its own; there is nothing to choose here.
    let choice = normscape::bench::Choice { full: true, layers: true, asked: false };
    match normscape::bench::run(choice, |what| eprintln!("measuring {what}")) {
        Ok(results) => println!("{}", results.tables()),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(error.exit_code().into());
        }
    }
}
