//! The packet loop allocates nothing: a counting allocator watches decoding and tracking. It is the allocator of this whole test
//! binary, so this case is alone in it, and counts by thread.

#![expect(clippy::unwrap_used, reason = "a panic is a failed test here")]
// Handing calls on to the system's allocator is what an allocator is.
#![expect(unsafe_code, reason = "a global allocator cannot be written without")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use sonde_common::conntrack::Tracker;
use sonde_common::conntrack::local::Locals;
use sonde_common::decode::packet;
use sonde_common::format::{CaptureParser, Frame, Step};
use sonde_tests::scenario::{Options, generate};
use sonde_tests::work::known_connections;

thread_local! {
    /// Blocks asked for by this thread, grown ones included.
    static ASKED: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    // A thread that ends frees what it held after its cells are gone.
    let _ = ASKED.try_with(|asked| asked.set(asked.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it came; counting touches no memory that is handed out.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promises are those that the system's allocator asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above; the block came from the system's allocator.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: as above; the block came from the system's allocator.
        unsafe { System.realloc(at, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// How many blocks this thread asks for while `work` is done.
fn asked(work: impl FnOnce()) -> u64 {
    let before = ASKED.get();
    work();
    ASKED.get() - before
}

fn tracker() -> Tracker {
    Tracker::new(Locals::default(), 16 << 20)
}

fn track(tracker: &mut Tracker, frame: &Frame<'_>) -> u64 {
    let mut told = 0;
    let packet = packet::decode(frame).unwrap();
    tracker.packet(&packet, &mut |_| told += 1);
    told
}

#[test]
fn the_allocator_counts_what_is_asked_for() {
    assert_eq!(asked(|| drop(std::hint::black_box(Box::new(7)))), 1);
    let grown = asked(|| {
        let mut list = Vec::with_capacity(1);
        (0..9).for_each(|number| list.push(std::hint::black_box(number)));
    });
    assert!(grown >= 2, "{grown}");
    assert_eq!(asked(|| ()), 0);
}

#[test]
fn packets_of_known_connections_allocate_nothing() {
    const CONNECTIONS: u16 = 200;
    let (frames, opening) = known_connections(CONNECTIONS, 20_000);
    let mut tracker = tracker();
    // Warm: each connection is open, named and reported, and has seen data both ways.
    let (first, rest) = frames.split_at(opening + 8 * usize::from(CONNECTIONS));
    let mut told: u64 = 0;
    let opening = asked(|| told = first.iter().map(|frame| track(&mut tracker, &frame.frame())).sum());
    assert!(told >= 2 * u64::from(CONNECTIONS), "each was told of: {told}");
    assert!(opening > 0, "tables grow while connections open, and that is counted");
    assert!(rest.len() > 10_000, "{}", rest.len());
    let (packets, foreign, connections) = {
        let counters = tracker.counters();
        (counters.packets, counters.foreign + counters.stray, counters.connections)
    };
    let blocks = asked(|| told = rest.iter().map(|frame| track(&mut tracker, &frame.frame())).sum());
    let after = tracker.counters();
    assert_eq!(after.packets - packets, rest.len() as u64, "all were taken");
    assert_eq!(
        (after.foreign + after.stray, after.connections),
        (foreign, connections),
        "as packets of known connections"
    );
    assert_eq!(told, 0, "data of an open connection is no news");
    assert_eq!(blocks, 0, "blocks asked for by {} packets", rest.len());
}

/// What asks is names that are kept aside and tables that grow: 728 blocks for 11,938 connections when it was written.
#[test]
fn a_connection_asks_for_few_blocks() {
    const BOUND: f64 = 0.1;
    let mut bytes = Vec::new();
    let options = Options { packets: Some(200_000), ..Options::default() };
    let truth = generate("corpus", &options, &mut bytes).unwrap();
    let mut tracker = tracker();
    let mut parser = CaptureParser::new(&bytes).unwrap();
    let (mut at, mut told) = (0, 0);
    let blocks = asked(|| {
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            match parser.step(rest).unwrap() {
                Step::Frame { frame, used } => {
                    let frame = frame.frame(rest).unwrap();
                    if let Ok(packet) = packet::decode(&frame) {
                        tracker.packet(&packet, &mut |_| told += 1);
                    }
                    at += used;
                }
                Step::Skip { used } => at += used,
                Step::More { .. } => break,
            }
        }
        tracker.finish(&mut |_| told += 1);
    });
    assert!(told > truth.connections, "{told} of {}", truth.connections);
    #[expect(clippy::cast_precision_loss, reason = "a ratio")]
    let each = blocks as f64 / truth.connections as f64;
    assert!(
        each > 0.0 && each <= BOUND,
        "{blocks} blocks, {each:.3} for each of {} connections",
        truth.connections
    );
}
