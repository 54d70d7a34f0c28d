//! Where lines of the log go on their way: whoever reads them may be slow, or read nothing any more. A thread waits for that reader, so
//! that nobody else has to; what it can't take in time is counted, and left out.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Lines that wait for their reader: many more than any healthy moment has, and at a few hundred bytes each half a megabyte.
const WAITING: usize = 2048;
/// For the rest, at the end: a reader that has not taken it by then takes nothing.
const REST_WITHIN: Duration = Duration::from_secs(1);

/// It does next to nothing.
const STACK_BYTES: usize = 128 * 1024;

enum Message {
    Line(Vec<u8>),
    /// All before this was written.
    Reached(SyncSender<()>),
}

/// Takes lines, and never waits.
#[derive(Clone)]
pub(super) struct Log {
    lines: SyncSender<Message>,
    lost: Arc<AtomicU64>,
}

/// Writes what is left when it is dropped.
pub struct Rest(SyncSender<Message>);

/// Starts the thread that writes to `out`.
pub(super) fn start(out: impl Write + Send + 'static) -> (Log, Rest) {
    let (lines, taken) = sync_channel(WAITING);
    let lost = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&lost);
    // Where no thread is to be had there is no log; the runtime then gets none either, and the exit code says so.
    let thread = thread::Builder::new().name("log".to_owned()).stack_size(STACK_BYTES);
    let _ = thread.spawn(move || write_all(out, &taken, &counted));
    (Log { lines: lines.clone(), lost }, Rest(lines))
}

fn write_all(mut out: impl Write, taken: &Receiver<Message>, lost: &AtomicU64) {
    for message in taken {
        match message {
            Message::Line(line) => {
                // A reader that has gone is no reason to do anything but the work.
                let _ = out.write_all(&line).and_then(|()| out.flush());
            }
            Message::Reached(told) => drop(told.try_send(())),
        }
        let lost = lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let text = format!("consul8s: {lost} lines of the log were left out, because nobody read them in time\n");
            let _ = out.write_all(text.as_bytes());
        }
    }
}

impl Write for &Log {
    /// A whole line at a time, as tracing-subscriber writes them.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.lines.try_send(Message::Line(line.to_owned())) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => {}
            Err(TrySendError::Full(_)) => drop(self.lost.fetch_add(1, Ordering::Relaxed)),
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Log {
    type Writer = &'a Log;

    fn make_writer(&'a self) -> &'a Log {
        self
    }
}

impl Drop for Rest {
    fn drop(&mut self) {
        let (told, reached) = sync_channel(1);
        let lines = self.0.clone();
        // The queue may be full, for good; then this thread ends with the process.
        let _ = thread::Builder::new().spawn(move || lines.send(Message::Reached(told)));
        // Whether or not: it is the end.
        let _ = reached.recv_timeout(REST_WITHIN);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::{Sender, channel};
    use std::time::Instant;

    use super::*;

    /// A reader that takes one line for each word it gets, and fails when there are no more words to come.
    struct Slow {
        words: Receiver<()>,
        read: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.words.recv().map_err(|_| io::ErrorKind::BrokenPipe)?;
            self.read.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn slow() -> (Log, Rest, Sender<()>, Arc<Mutex<Vec<u8>>>) {
        let ((word, words), read) = (channel(), Arc::default());
        let (log, rest) = start(Slow { words, read: Arc::clone(&read) });
        (log, rest, word, read)
    }

    #[test]
    fn nobody_waits_for_a_reader_and_what_it_missed_is_counted() {
        let (log, rest, word, read) = slow();
        let began = Instant::now();
        // One is being written, and so many wait.
        for number in 0..WAITING + 500 {
            (&log).write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        assert!(began.elapsed() < REST_WITHIN, "{:?}", began.elapsed());
        for _ in 0..WAITING + 10 {
            word.send(()).unwrap();
        }
        drop(rest);
        let text = String::from_utf8(read.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("line 0\nconsul8s: "), "{}", &text[..80]);
        let lost = text.lines().nth(1).and_then(|line| line.split(' ').nth(1)?.parse::<usize>().ok()).unwrap();
        assert!(lost == 499 || lost == 500, "{lost}");
        assert_eq!(text.lines().filter(|line| line.starts_with("line ")).count() + lost, WAITING + 500);
    }

    #[test]
    fn a_reader_that_reads_nothing_delays_the_end_by_a_second_at_most() {
        let (log, rest, _word, _) = slow();
        for _ in 0..WAITING * 2 {
            (&log).write_all(b"line\n").unwrap();
        }
        let began = Instant::now();
        drop(rest);
        let took = began.elapsed();
        assert!(took >= REST_WITHIN && took < REST_WITHIN * 2, "{took:?}");
    }

    #[test]
    fn a_reader_that_has_gone_is_nobody_s_trouble() {
        let (log, rest, word, read) = slow();
        drop(word);
        for _ in 0..10 {
            (&log).write_all(b"line\n").unwrap();
        }
        let began = Instant::now();
        drop(rest);
        assert!(began.elapsed() < REST_WITHIN && read.lock().unwrap().is_empty());
    }
}
