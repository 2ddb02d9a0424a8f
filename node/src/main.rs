//! The daemon `shoald`.

fn main() {}
