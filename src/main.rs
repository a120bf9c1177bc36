//! The program: reads settings, prepares the database, and serves or does one errand.

mod command;

use std::process::ExitCode;

use clap::Parser as _;
use tokio::runtime::Builder;

/// Pages of accounts are many small pieces of memory; the system's own allocator takes a third longer over them.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = command::Cli::parse();
    let mut builder = if cli.serves() {
        // Of one thread: the server starts others, which do not take work from one another.
        Builder::new_current_thread()
    } else {
        // An errand may wait for its input and still hears signals.
        Builder::new_multi_thread()
    };
    let runtime = match builder.enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error.into()),
    };
    match runtime.block_on(command::run(cli)) {
        Ok(code) => code,
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}
