//! Writes the log files under `data/logs` that are made and not cut from somebody's: `cargo run -p sonde-tests --example logs`.

use std::fs;
use std::path::Path;

fn main() -> std::io::Result<()> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/logs/evtx");
    fs::create_dir_all(&folder)?;
    fs::write(folder.join("implant.evtx"), sonde_tests::evtx::sample())
}
