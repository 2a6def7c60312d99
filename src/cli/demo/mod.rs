//! `mxkeep demo`: the real server with a throw-away configuration, and sample senders that show what it does.
//!
//! *Does:* makes a small world below a directory ([`world`]), starts the server in it, sends the samples ([`samples`]) over
//! real SMTP ([`client`]), and prints for each what the sender was told, where it landed and why.
//! *Never does:* talk to anything but 127.0.0.1, or write outside its directory.

mod client;
mod samples;
mod world;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use tokio::sync::watch;

use super::serve::StopSignals;
use super::{exit, start_log};
use crate::config::LogFormat;
use crate::control::Control;
use crate::server::Server;
use samples::Sample;
use world::World;

/// `mxkeep demo`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// End after the samples; status 0 only if all went as they should
    #[arg(long)]
    once: bool,
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:2525", value_name = "ADDRESS")]
    listen: SocketAddr,
    /// Where to keep everything; an earlier demo there is replaced
    #[arg(long, default_value = "var", value_name = "DIRECTORY")]
    dir: PathBuf,
}

/// Runs the demo.
pub fn run(arguments: &Arguments) -> ExitCode {
    // The story is on standard output; the log of the server only tells of trouble here.
    start_log(LogFormat::Text, "warn");
    let told = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(anyhow::Error::from);
    match told.and_then(|runtime| runtime.block_on(demo(arguments))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("mxkeep demo: {error:#}");
            ExitCode::from(exit::OS)
        }
    }
}

/// True if every sample went as it should.
async fn demo(arguments: &Arguments) -> anyhow::Result<bool> {
    let signals = StopSignals::new()?;
    let world = World::create(&arguments.dir, arguments.listen).await?;
    let state = world.config.storage.state.clone();
    let server = Server::start(world.config.clone()).await?;
    let address = server.addresses().first().copied().unwrap_or(arguments.listen);
    let control = tokio::spawn(Control::listen(&state)?.run(server.receiver().clone(), vec![address.to_string()]));
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(server.run(stopped));

    println!("mxkeep {} answers on {address} for example.test (mailboxes alice and bob).", env!("CARGO_PKG_VERSION"));
    println!("Everything it writes is below {}. Five senders try to deliver:", arguments.dir.display());
    let samples = samples::all(&world.signer)?;
    let count = samples.len();
    let maildirs = world.maildirs();
    let right = tokio::task::spawn_blocking(move || show_all(address, &maildirs, &samples)).await??;
    println!();
    println!("{right} of {count} went as they should.");
    if !arguments.once {
        println!("{}", world.farewell(address));
        signals.wait().await;
        println!("Stopping.");
    }
    // The receiver lives as long as the server runs.
    let _ = stop.send(true);
    running.await?;
    control.abort();
    let _ = control.await;
    Ok(right == count)
}

/// Sends each sample and prints its story. How many went as they should?
fn show_all(address: SocketAddr, maildirs: &[PathBuf], samples: &[Sample]) -> anyhow::Result<usize> {
    let mut right = 0;
    for (at, sample) in samples.iter().enumerate() {
        let told = client::send(address, sample)?;
        let landed = world::find(maildirs, &told)?;
        let as_expected = sample.expected.matches(&told, landed.as_ref());
        right += usize::from(as_expected);
        println!();
        println!("{}. {}", at + 1, sample.title);
        println!("   envelope   from <{}> to <{}>", sample.reverse_path, sample.forward_path);
        println!("   told       {told}");
        match &landed {
            Some(landed) => {
                println!("   landed     {}", landed.path.display());
                landed.why.iter().for_each(|why| println!("   why        {why}"));
            }
            None => {
                println!("   landed     nowhere: it was refused while the sender was on the line, who knows it now")
            }
        }
        if !as_expected {
            println!("   NOT AS IT SHOULD BE: expected {}", sample.expected);
        }
    }
    Ok(right)
}
