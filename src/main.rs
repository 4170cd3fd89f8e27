//! `normscape`

fn main() {}
