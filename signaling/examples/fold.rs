//! Folds lesson logs: each line of standard input is a JSON array of lesson events, each line of standard output the
//! state that they make (`null` when the first is not `opened`). The TypeScript reducer's property test compares
//! itself with this one: `cargo run -q -p signaling --example fold`.

use std::io::{self, BufRead, Write};

use signaling::lesson::{LessonEvent, LessonState};

fn main() -> io::Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        let events: Vec<LessonEvent> = serde_json::from_str(&line?)?;
        serde_json::to_writer(&mut out, &LessonState::fold(&events))?;
        writeln!(out)?;
    }
    out.flush()
}
