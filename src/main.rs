//! The binary: see [`mxkeep`] for the architecture, [`mxkeep::cli`] for the commands.

fn main() -> std::process::ExitCode {
    mxkeep::cli::main()
}
