//! Lectern: a media server for real-time classrooms. Everything is in the library; this only calls it.

fn main() -> std::process::ExitCode {
    lectern::cli::main()
}
