//! One short life, started by `sonde-emulate lifetime` in great numbers: see `sonde_tests::emulate::caller`.

fn main() -> std::io::Result<()> {
    sonde_tests::emulate::caller::live(std::env::args())
}
