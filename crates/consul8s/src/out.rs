//! What a command was asked for, on stdout. A reader that has gone (`| head`) has had enough, which is no failure; that nothing more fits on
//! a disk is one, but none that may stop what the command does besides.

use std::fmt;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};

static FAILED: AtomicBool = AtomicBool::new(false);

/// Whether something that was asked for could not be written.
pub(crate) fn failed() -> bool {
    FAILED.load(Ordering::Relaxed)
}

/// Prints text, as `print!` does.
pub(crate) fn text(text: impl fmt::Display) {
    if let Err(error) = write(&mut io::stdout().lock(), &text.to_string())
        && !FAILED.swap(true, Ordering::Relaxed)
    {
        tracing::error!(%error, "cannot write to stdout");
    }
}

/// Prints a line, as `println!` does.
pub(crate) fn line(line: impl fmt::Display) {
    text(format_args!("{line}\n"));
}

fn write(out: &mut impl Write, text: &str) -> io::Result<()> {
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Refuses(io::ErrorKind);

    impl Write for Refuses {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_failure_and_a_full_disk_is() {
        assert!(write(&mut Refuses(io::ErrorKind::BrokenPipe), "text").is_ok());
        assert!(write(&mut Refuses(io::ErrorKind::StorageFull), "text").is_err());
        let mut out = Vec::new();
        write(&mut out, "text").unwrap();
        assert_eq!(out, b"text");
    }
}
