//! Hands over to [`kpipe::cli`].

fn main() -> std::process::ExitCode {
    kpipe::cli::main(std::env::args_os())
}
