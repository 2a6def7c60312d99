//! `mxkeep demo`: the real server with a throw-away configuration, and sample senders that show what it does.
//!
//! *Does:* makes a small world below a directory (`world`), starts the server in it, sends the samples (`samples`) over
//! real SMTP (`client`), and prints for each what the sender was told, where it landed and why.
//! *Never does:* talk to anything but 127.0.0.1, or write outside its directory.

mod client;
mod samples;
mod world;

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use tokio::sync::watch;

use super::serve::{StopSignals, make_files_private};
use super::{exit, start_log};
use crate::authentication::signing::Signer;
use crate::config::LogFormat;
use crate::control::{self, Control};
use crate::server::{SHUTDOWN_SECONDS_MAX, Server};
use samples::Sample;
use world::World;

/// What `mxkeep demo --help` says below the options.
pub const HELP: &str = "\
Needs no configuration, no DNS and no rights: everything is made anew below one directory, and
nothing but 127.0.0.1 is talked to. The server is the real one. It stays up until Ctrl-C, so that
you can send it messages yourself; it says how.

  mxkeep demo                                           below ./var, on port 2525
  mxkeep demo --dir /tmp/demo --listen 127.0.0.1:2526   elsewhere
  mxkeep demo --once --listen 127.0.0.1:0               for scripts: any free port, then end

Exit status: 0 all samples went as they should, 1 one did not, 71 it could not start.";

/// `mxkeep demo`.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// End after the samples; status 0 only if all went as they should
    #[arg(long)]
    once: bool,
    /// Where to listen: a port of 127.0.0.1; port 0 means any that is free
    #[arg(long, default_value = "127.0.0.1:2525", value_name = "ADDRESS:PORT", value_parser = parse_listen)]
    listen: SocketAddr,
    /// Where to keep everything; an earlier demo there is replaced
    #[arg(long, default_value = "var", value_name = "DIRECTORY")]
    dir: PathBuf,
}

/// The demo's DNS says that its senders are at 127.0.0.1, and nobody else shall reach it.
fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse().ok().filter(|address: &SocketAddr| address.ip() == Ipv4Addr::LOCALHOST);
    address.ok_or_else(|| "write 127.0.0.1 and a port, as in 127.0.0.1:2526".to_owned())
}

/// Runs the demo.
pub fn run(arguments: &Arguments) -> ExitCode {
    make_files_private();
    // The story is on standard output; the log of the server only tells of trouble here.
    start_log(LogFormat::Text, "warn");
    let told = tokio::runtime::Builder::new_multi_thread().enable_all().build().map_err(anyhow::Error::from);
    match told.and_then(|runtime| runtime.block_on(demo(arguments, samples::all))) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("mxkeep demo: {error:#}");
            ExitCode::from(exit::OS)
        }
    }
}

/// True if every sample went as it should.
async fn demo(
    arguments: &Arguments,
    samples: impl FnOnce(&Signer) -> anyhow::Result<Vec<Sample>>,
) -> anyhow::Result<bool> {
    let mut signals = StopSignals::new()?;
    check_free(arguments)?;
    let world = World::create(&arguments.dir, arguments.listen).await?;
    let state = world.config.storage.state.clone();
    let server = Server::start(world.config.clone(), &world.file(), Vec::new()).await?;
    let address = server.handle().listening().first().map_or(arguments.listen, |listening| listening.address);
    let control = Control::listen(&state)
        .with_context(|| format!("cannot listen on {}: name a shorter --dir", control::path(&state).display()))?;
    let control = tokio::spawn(control.run(server.handle()));
    let (stop, stopped) = watch::channel(false);
    let running = tokio::spawn(server.run(stopped, Duration::from_secs(SHUTDOWN_SECONDS_MAX)));

    println!("mxkeep {} answers on {address} for example.test (mailboxes alice and bob).", env!("CARGO_PKG_VERSION"));
    let samples = samples(&world.signer)?;
    let count = samples.len();
    println!("Everything it writes is below {}. {count} senders try to deliver:", arguments.dir.display());
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

/// Before an earlier demo is removed: does it still run, or does somebody else listen at the port?
fn check_free(arguments: &Arguments) -> anyhow::Result<()> {
    if let Ok(running) = control::ask_status(&world::state(&arguments.dir)) {
        let (dir, pid, listening) = (arguments.dir.display(), running.pid, running.listening.join(", "));
        anyhow::bail!(
            "a demo runs in {dir} already (process {pid}, on {listening}): end it with Ctrl-C, or name another place \
             with --dir and another port with --listen"
        );
    }
    let listen = arguments.listen;
    TcpListener::bind(listen).map(drop).map_err(|error| {
        anyhow::anyhow!("cannot listen on {listen} ({error}): name another port, as in --listen 127.0.0.1:0")
    })
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

#[cfg(test)]
mod tests {
    use super::*;
    use samples::Expected;
    use world::Landed;

    fn arguments(dir: PathBuf) -> Arguments {
        Arguments { once: true, listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), dir }
    }

    fn demo_of(arguments: &Arguments, samples: fn(&Signer) -> anyhow::Result<Vec<Sample>>) -> anyhow::Result<bool> {
        tokio::runtime::Runtime::new().unwrap().block_on(demo(arguments, samples))
    }

    /// Only the first sample, and expected to end where it does not.
    fn wrongly_expected(signer: &Signer) -> anyhow::Result<Vec<Sample>> {
        let first = samples::all(signer)?.into_iter().take(1);
        Ok(first.map(|sample| Sample { expected: Expected::Junk, ..sample }).collect())
    }

    #[test]
    fn a_sample_that_goes_another_way_fails_the_demo() {
        let dir = tempfile::tempdir().unwrap();
        assert!(!demo_of(&arguments(dir.path().join("var")), wrongly_expected).unwrap());
    }

    #[test]
    fn an_expectation_asks_for_reply_and_place() {
        let landed = |in_junk| Landed { path: PathBuf::new(), in_junk, why: Vec::new() };
        assert!(Expected::Inbox.matches("250 2.0.0 x", Some(&landed(false))));
        assert!(!Expected::Inbox.matches("250 2.0.0 x", Some(&landed(true))));
        assert!(!Expected::Inbox.matches("250 2.0.0 x", None));
        assert!(Expected::Junk.matches("250 2.0.0 x", Some(&landed(true))));
        assert!(!Expected::Junk.matches("550 5.7.1 x", Some(&landed(true))));
        assert!(Expected::Refused("550 5.7.1").matches("550 5.7.1 x", None));
        assert!(!Expected::Refused("550 5.7.1").matches("550 5.1.1 x", None));
        assert!(!Expected::Refused("550 5.7.1").matches("550 5.7.1 x", Some(&landed(false))));
    }

    #[test]
    fn only_this_machine_is_listened_on() {
        assert!(parse_listen("127.0.0.1:0").is_ok());
        for text in ["0.0.0.0:2525", "[::1]:2525", "192.0.2.1:25", "localhost:2525", "127.0.0.1"] {
            assert!(parse_listen(text).is_err(), "{text}");
        }
    }
}
