//! Lectern: a media server for real-time classrooms. Everything is in the library; this only calls it.

/// glibc's keeps what a flood of joins took: after 10,000 half-open handshakes 36 MiB, of which 5 are in use. This one gives
/// it back within seconds, at no more CPU an answered offer (docs/benchmarks.md, "Memory after a flood").
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> std::process::ExitCode {
    lectern::cli::main()
}
