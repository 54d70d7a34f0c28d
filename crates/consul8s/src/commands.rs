//! One match shows every command.

use std::process::ExitCode;

use clap::error::ErrorKind;
use tokio_util::sync::CancellationToken;

use crate::cli::{Cli, Command, RunArgs};
use crate::config::Options;
use crate::{access, acl_policy, demo, invocation, logging, out, plan, purge, release, run};

/// How a command ended. The numbers are the contract's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// It failed; the reason was told.
    Failure,
    /// `plan --detailed-exitcode` found changes.
    Changes,
    /// `-1` finished, but the guard holds something.
    Held,
    /// The command line could not be understood.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Done => 0,
            Exit::Failure => 1,
            Exit::Changes => 2,
            Exit::Held => 5,
            Exit::Usage => 64,
        })
    }
}

/// The whole program: arguments, environment, signals, exit code.
pub fn main() -> ExitCode {
    let cli = match invocation::read(std::env::args_os(), &|name| std::env::var(name).ok()) {
        Ok(cli) => cli,
        Err(error) => return usage(&error),
    };
    let _rest = logging::start(cli.flags.log_level, cli.flags.log_format);
    // One thread: the work is waiting, and memory that one thread frees is of little use to another, as each has an arena of its own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "cannot start: no thread or file descriptor is to be had");
            return Exit::Failure.into();
        }
    };
    let exit = runtime.block_on(async {
        let stop = CancellationToken::new();
        tokio::spawn(stop_on_signal(stop.clone()));
        command(cli, stop).await.unwrap_or_else(|error| failed(&error))
    });
    // A call that hangs must not keep the process.
    runtime.shutdown_background();
    // What was asked for and could not be written is not done.
    if out::failed() { Exit::Failure.into() } else { exit.into() }
}

async fn command(cli: Cli, stop: CancellationToken) -> anyhow::Result<Exit> {
    let wrong = |error: anyhow::Error| anyhow::Error::from(WrongUsage(format!("{error:#}")));
    let options = || Options::resolve(&cli.flags, &|name| std::env::var(name).ok()).map_err(wrong);
    let asking = || options().and_then(|options| options.asking_consul().map_err(wrong));
    match cli.command.clone().unwrap_or(Command::Run(RunArgs::default())) {
        Command::Run(args) => {
            let mut options = asking()?;
            options.run_once = args.run_once;
            run::run(options, stop).await
        }
        Command::Demo(args) => demo::run(args.end_after_story, stop).await,
        Command::Plan(args) => plan::run(asking()?, args, stop).await,
        Command::Release(args) => release::run(&options()?, &cli.flags.namespace, &args).await,
        Command::Crd => crd(),
        Command::Purge(args) => purge::run(asking()?, args, stop).await,
        Command::AclPolicy => acl_policy::run(options()?, stop).await,
        Command::Rbac(args) => access::rbac::run(&options()?, args).await,
        Command::Version => Ok(version()),
    }
}

fn crd() -> anyhow::Result<Exit> {
    out::text(serde_saphyr::to_string(&consul8s_kube::import_definition())?);
    Ok(Exit::Done)
}

fn version() -> Exit {
    out::line(format_args!("consul8s {}", env!("CARGO_PKG_VERSION")));
    Exit::Done
}

/// Something that is given and can't be meant.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct WrongUsage(String);

fn failed(error: &anyhow::Error) -> Exit {
    match error.downcast_ref::<WrongUsage>() {
        Some(WrongUsage(why)) => {
            // As clap tells what it finds itself.
            let _ = invocation::command().error(ErrorKind::ValueValidation, why).print();
            Exit::Usage
        }
        None => {
            tracing::error!("{error:#}");
            Exit::Failure
        }
    }
}

fn usage(error: &clap::Error) -> ExitCode {
    // Help and version go to stdout, the rest to stderr; a closed pipe is the reader's business.
    let _ = error.print();
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => Exit::Done.into(),
        _ => Exit::Usage.into(),
    }
}

/// Ends everything at the first SIGINT or SIGTERM.
async fn stop_on_signal(stop: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut interrupt), Ok(mut terminate)) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::error!("cannot listen for signals; only kill ends this process");
        return;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    stop.cancel();
}
