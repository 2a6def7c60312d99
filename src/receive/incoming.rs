//! Mail data while it arrives: in memory while it is small, else in a temporary file.
//!
//! *Guarantees:* however much arrives at a time, memory is bounded ([`super::budget`]): where there is none left, a message
//! goes to its file early, and no mail is refused for want of memory. What goes wrong (no room for all that is in flight, a
//! disk that is full or fails) dooms this message alone. All that it took is given back when it is dropped, at whatever
//! point.
//! *Never does:* block a worker: files are written and read on blocking threads.

use std::fs::File;
use std::net::IpAddr;
use std::sync::Arc;

use rustix::io::Errno;

use super::Receiver;
use super::blocking::blocking;
use super::budget::{Budget, FREE_OCTETS, Ration, Share};
use super::spool;
use crate::message::Message;
use crate::verdict::Cause;

/// A file is written in pieces of this size, in octets, while there is memory for them.
const PIECE_OCTETS: usize = 256 << 10;
/// Room for a piece, and for what one read from the connection adds to it, in octets.
const PIECE_CAPACITY_OCTETS: usize = PIECE_OCTETS + (64 << 10);

/// Mail data while it arrives: the decoder appends to [`Incoming::tail`], and [`Incoming::settle`] finds room for it. What
/// goes wrong (no room, a disk that fails) is remembered, the rest of the data is read and dropped, and
/// [`super::message`] answers with it: the protocol goes on to the end of the data whatever happens here.
#[derive(Debug)]
pub struct Incoming {
    state: State,
    octets: u64,
}

#[derive(Debug)]
enum State {
    /// In a box: a connection that receives nothing holds none of it.
    Held(Box<Held>),
    /// It will be answered with this. What still comes is dropped.
    Doomed { cause: Cause, dropped: Vec<u8> },
}

/// What is held of a message. The octets stand before the share: they go first, and then what they took is given back.
#[derive(Debug)]
struct Held {
    /// The last octets, or all of them while there is no file.
    tail: Vec<u8>,
    /// Octets of the tail that were accounted.
    accounted: usize,
    /// The octets before the tail, and how many they are.
    file: Option<File>,
    written: u64,
    share: Share,
}

/// A message that has arrived whole and is in memory, and its right to be there.
pub(super) struct Arrived {
    pub(super) message: Message,
    pub(super) room: Room,
}

/// What a message takes of the budget, until it is dropped.
pub(super) struct Room {
    _share: Share,
    _ration: Option<Ration>,
}

impl Incoming {
    /// Room for one message of this client.
    pub fn new(receiver: &Receiver, client: IpAddr) -> Self {
        Self::within(&receiver.budget, client)
    }

    fn within(budget: &Arc<Budget>, client: IpAddr) -> Self {
        let share = Share::new(budget, client);
        let held = Held { tail: Vec::new(), accounted: 0, file: None, written: 0, share };
        Incoming { state: State::Held(Box::new(held)), octets: 0 }
    }

    /// Where decoded octets are appended.
    pub fn tail(&mut self) -> &mut Vec<u8> {
        match &mut self.state {
            State::Held(held) => &mut held.tail,
            State::Doomed { dropped, .. } => dropped,
        }
    }

    /// To be called whenever octets were appended.
    pub async fn settle(&mut self) {
        if self.account() {
            // In a box: hardly any message gets here.
            Box::pin(self.change(Held::write_piece)).await;
        }
    }

    /// How many octets were appended in all, those included that were dropped.
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    /// The whole message, in memory; a large one waits until it may be there. Otherwise what its sender is told.
    pub(super) async fn arrive(mut self) -> Result<Arrived, Cause> {
        if matches!(&self.state, State::Held(held) if held.file.is_some()) {
            // Whoever waits holds no memory.
            self.change(Held::write_all).await;
        }
        let held = match self.state {
            State::Doomed { cause, .. } => return Err(cause),
            State::Held(held) => held,
        };
        if held.file.is_none() {
            let Held { tail, share, .. } = *held;
            return Ok(Arrived { message: Message::new(tail), room: Room { _share: share, _ration: None } });
        }
        let ration = held.share.budget().ration(held.written).await.ok_or(Cause::TooBusy)?;
        blocking(move || held.load(ration)).await?
    }

    /// Accounts what has come. Is it too much for memory?
    fn account(&mut self) -> bool {
        let held = match &mut self.state {
            State::Held(held) => held,
            State::Doomed { dropped, .. } => {
                self.octets += dropped.len() as u64;
                dropped.clear();
                return false;
            }
        };
        // The decoder takes back what it gave once the data has broken the protocol.
        let new = held.tail.len().saturating_sub(held.accounted) as u64;
        self.octets += new;
        match held.share.receive(new) {
            true => held.outgrows_memory(),
            false => {
                self.state = State::Doomed { cause: Cause::NoRoom, dropped: Vec::new() };
                false
            }
        }
    }

    /// Has a blocking thread change what is held. Given up meanwhile, it is dropped there, and its share with it.
    async fn change(&mut self, change: impl FnOnce(Box<Held>) -> Result<Box<Held>, Cause> + Send + 'static) {
        let lost = State::Doomed { cause: Cause::StorageFailed, dropped: Vec::new() };
        if let State::Held(held) = std::mem::replace(&mut self.state, lost) {
            self.state = match blocking(move || change(held)).await {
                Ok(Ok(held)) => State::Held(held),
                Ok(Err(cause)) | Err(cause) => State::Doomed { cause, dropped: Vec::new() },
            };
        }
    }
}

impl Held {
    fn outgrows_memory(&mut self) -> bool {
        self.accounted = self.tail.len();
        let octets = self.tail.len() as u64;
        let octets_max = match self.file {
            Some(_) => PIECE_OCTETS as u64,
            None => self.share.budget().message_memory_octets_max(),
        };
        let capacity = self.tail.capacity() as u64;
        let has_memory = self.share.hold(capacity);
        if !has_memory && octets <= FREE_OCTETS {
            self.share.hold_regardless(capacity);
            return octets > octets_max;
        }
        octets > octets_max || !has_memory
    }

    /// Writes the tail, and makes room for the next one.
    fn write_piece(self: Box<Self>) -> Result<Box<Self>, Cause> {
        let mut held = self.write()?;
        match held.share.hold(PIECE_CAPACITY_OCTETS as u64) {
            true if held.tail.capacity() >= PIECE_CAPACITY_OCTETS => {
                held.tail.shrink_to(PIECE_CAPACITY_OCTETS);
            }
            true => held.tail = Vec::with_capacity(PIECE_CAPACITY_OCTETS),
            false => held.release_tail(),
        }
        Ok(held)
    }

    /// Writes the tail: there is no next one.
    fn write_all(self: Box<Self>) -> Result<Box<Self>, Cause> {
        let mut held = self.write()?;
        held.release_tail();
        Ok(held)
    }

    fn release_tail(&mut self) {
        self.tail = Vec::new();
        self.share.hold_regardless(0);
    }

    fn write(mut self: Box<Self>) -> Result<Box<Self>, Cause> {
        let directory = &self.share.budget().directory;
        let file = match self.file.take() {
            Some(file) => file,
            None => spool::create(directory).map_err(|errno| self.trouble("make", errno))?,
        };
        spool::write(&file, &self.tail, self.written).map_err(|errno| self.trouble("write", errno))?;
        self.file = Some(file);
        self.written += self.tail.len() as u64;
        self.tail.clear();
        self.accounted = 0;
        Ok(self)
    }

    /// Reads the file into memory, and ends it.
    fn load(mut self, ration: Ration) -> Result<Arrived, Cause> {
        let Some(file) = self.file.take() else { return Err(Cause::Internal) };
        let octets = spool::read(file, self.written).map_err(|errno| self.trouble("read", errno))?;
        let room = Room { _share: self.share, _ration: Some(ration) };
        Ok(Arrived { message: Message::new(octets), room })
    }

    /// Tells the operator, and what the sender is told.
    fn trouble(&self, doing: &str, errno: Errno) -> Cause {
        spool::log(doing, &self.share.budget().directory, errno);
        match errno {
            Errno::NOSPC | Errno::DQUOT => Cause::StorageFull,
            _ => Cause::StorageFailed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::budget::tests::{CLIENT, limits};
    use super::*;
    use std::path::Path;
    use std::task::Poll;

    const KIB: u64 = 1024;

    /// So much memory for all, half of it for one; so much in flight.
    fn budget(directory: &Path, memory: u64, in_flight: u64) -> Arc<Budget> {
        Arc::new(Budget::new(&limits(memory, in_flight), directory.join("tmp")))
    }

    /// Octets of which no two pieces are the same.
    fn octets(count: usize) -> Vec<u8> {
        (0..count).map(|at| b"abcdefghijklmnopqrstuvwxyz0123456789\n"[(at ^ (at >> 8)) % 37]).collect()
    }

    async fn receive(incoming: &mut Incoming, octets: &[u8]) {
        for part in octets.chunks(32_768) {
            incoming.tail().extend_from_slice(part);
            incoming.settle().await;
        }
    }

    fn is_in_file(incoming: &Incoming) -> bool {
        matches!(&incoming.state, State::Held(held) if held.file.is_some())
    }

    #[tokio::test]
    async fn a_message_arrives_as_it_came_from_memory_and_from_a_file() {
        let directory = tempfile::tempdir().expect("a directory");
        for (memory, length, in_file) in [
            (1 << 20, 500_000, false),
            (1 << 20, 5_000_000, true),
            (2 << 10, 1_025, true),
            (100 * KIB, 300_000, true),
            (1 << 20, 0, false),
        ] {
            let budget = budget(directory.path(), memory, 1 << 30);
            let sent = octets(length);
            let mut incoming = Incoming::within(&budget, CLIENT);
            receive(&mut incoming, &sent).await;
            assert_eq!(is_in_file(&incoming), in_file, "{length} octets, {memory} in memory");
            assert_eq!((incoming.octets(), budget.taken().1), (length as u64, length as u64));
            assert!(budget.taken().0 <= memory + FREE_OCTETS);
            let arrived = incoming.arrive().await.expect("it arrives");
            assert_eq!(arrived.message.octets(), sent);
            assert_eq!((budget.taken().0 == 0, budget.taken().2 > 0), (in_file || length == 0, in_file));
            drop(arrived);
            assert_eq!(budget.taken(), (0, 0, 0));
        }
        assert_eq!(std::fs::read_dir(directory.path().join("tmp")).expect("made").count(), 0);
    }

    #[tokio::test]
    async fn where_memory_is_used_up_messages_go_to_files_early_and_none_is_refused() {
        let directory = tempfile::tempdir().expect("a directory");
        let budget = budget(directory.path(), 256 * KIB, 1 << 30);
        let (mut first, mut small) = (Incoming::within(&budget, CLIENT), Incoming::within(&budget, CLIENT));
        receive(&mut first, &octets(128 << 10)).await;
        assert!(!is_in_file(&first));
        let mut others: Vec<Incoming> = (0..20).map(|_| Incoming::within(&budget, CLIENT)).collect();
        for other in &mut others {
            receive(other, &octets(100_000)).await;
        }
        assert!(others.iter().filter(|other| is_in_file(other)).count() >= 18);
        assert!(budget.taken().0 <= 256 * KIB + 21 * FREE_OCTETS, "{:?}", budget.taken());
        receive(&mut small, &octets(5_000)).await;
        assert!(!is_in_file(&small), "what every message may have");
        for other in others {
            assert_eq!(other.arrive().await.expect("it arrives").message.octets(), octets(100_000));
        }
        drop((first, small));
        assert_eq!(budget.taken(), (0, 0, 0));
    }

    #[tokio::test]
    async fn past_all_that_may_be_in_flight_a_message_is_dropped_as_it_comes() {
        let directory = tempfile::tempdir().expect("a directory");
        let budget = budget(directory.path(), 1 << 20, 1_000_000);
        let (mut one, mut other) = (Incoming::within(&budget, CLIENT), Incoming::within(&budget, CLIENT));
        receive(&mut one, &octets(600_000)).await;
        receive(&mut other, &octets(600_000)).await;
        assert!(budget.taken().1 == 600_000 && other.tail().capacity() <= 65_536);
        assert_eq!(other.octets(), 600_000);
        assert_eq!(other.arrive().await.err(), Some(Cause::NoRoom));
        assert!(one.arrive().await.is_ok());
        assert_eq!(budget.taken(), (0, 0, 0));
    }

    #[tokio::test]
    async fn a_directory_that_cannot_be_used_dooms_large_messages_alone() {
        let directory = tempfile::tempdir().expect("a directory");
        std::fs::write(directory.path().join("tmp"), "a file").expect("written");
        let budget = budget(directory.path(), 1 << 20, 1 << 30);
        let (mut small, mut large) = (Incoming::within(&budget, CLIENT), Incoming::within(&budget, CLIENT));
        receive(&mut small, &octets(1_000)).await;
        receive(&mut large, &octets(3_000_000)).await;
        assert_eq!(budget.taken().1, 1_000);
        assert_eq!(large.octets(), 3_000_000);
        assert_eq!(large.arrive().await.err(), Some(Cause::StorageFailed));
        assert!(small.arrive().await.is_ok());
    }

    #[tokio::test]
    async fn whatever_ends_a_message_everything_is_given_back() {
        let directory = tempfile::tempdir().expect("a directory");
        let budget = budget(directory.path(), 256 * KIB, 1 << 30);
        // RSET or the end of the connection, at any point.
        for length in [0, 10, 100_000, 1_000_000] {
            let mut incoming = Incoming::within(&budget, CLIENT);
            receive(&mut incoming, &octets(length)).await;
        }
        assert_eq!(budget.taken(), (0, 0, 0));
        // A panic, with a message that has arrived.
        let shared = budget.clone();
        let panicked = tokio::spawn(async move {
            let mut incoming = Incoming::within(&shared, CLIENT);
            receive(&mut incoming, &octets(1_000_000)).await;
            let _arrived = incoming.arrive().await.ok();
            assert_eq!(shared.taken(), (0, 0, 0), "on purpose: this message belongs to a test");
        });
        assert!(panicked.await.is_err_and(|error| error.is_panic()));
        assert_eq!(budget.taken(), (0, 0, 0));
        // A connection that ends while a blocking thread has what is held: given back when that thread is done.
        let mut incoming = Incoming::within(&budget, CLIENT);
        receive(&mut incoming, &octets(10_000)).await;
        let (begun, has_begun) = std::sync::mpsc::channel();
        let (end, may_end) = std::sync::mpsc::channel::<()>();
        let mut changing = Box::pin(incoming.change(move |held| {
            begun.send(()).expect("the test waits");
            may_end.recv().expect_err("the test lets go");
            held.write_piece()
        }));
        assert!(std::future::poll_fn(|cx| Poll::Ready(changing.as_mut().poll(cx))).await.is_pending());
        has_begun.recv().expect("the thread has begun");
        drop(changing);
        drop(incoming);
        assert_eq!(budget.taken().1, 10_000);
        drop(end);
        while budget.taken() != (0, 0, 0) {
            tokio::task::yield_now().await;
        }
    }
}
