//! Does each piece of [`sonde_tests::work`] once, so that `scripts/count-instructions` can have callgrind count what it costs:
//! [`measured`] is what is counted, [`told`] parts one piece from the next. By itself it prints the names and how many
//! operations each does.

use std::hint::black_box;
use std::io::{self, Write};

use sonde_tests::work::{Work, all};

/// Callgrind counts while this runs, with all that it calls.
#[inline(never)]
fn measured(work: &mut Work) {
    (work.run)();
    // Not a jump at the end, which would end this function before the work does.
    black_box(work);
}

/// Callgrind writes down what it counted when this is called.
#[inline(never)]
fn told(out: &mut impl Write, work: &Work) -> io::Result<()> {
    writeln!(out, "{}\t{}", work.operations, work.name)?;
    out.flush()
}

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    all().try_for_each(|mut work| {
        measured(black_box(&mut work));
        told(&mut out, &work)
    })
}
