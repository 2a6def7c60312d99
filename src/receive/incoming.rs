//! Mail data while it arrives: in memory while it is small, else in a temporary file.
//!
//! *Guarantees:* however much arrives at a time, memory is bounded ([`super::budget`]): where there is none left, a message
//! goes to its file early, and no mail is refused for want of memory. What goes wrong (no room for all that is in flight, a
//! disk that is full or fails) dooms this message alone. All that it took is given back when it is dropped, at whatever
//! point.
//! *Never does:* block a worker: files are written and read on blocking threads.

use std::fs::File;
use std::sync::Arc;

use rustix::io::Errno;

use super::Receiver;
use super::blocking::blocking;
use super::budget::{Budget, Ration, Share};
use super::spool;
use crate::message::Message;
use crate::verdict::Cause;

/// A file is written in pieces of this size, in octets, while there is memory for them.
const PIECE_OCTETS: usize = 256 << 10;
/// Room for a piece, and for what one read from the connection adds to it, in octets.
const PIECE_CAPACITY_OCTETS: usize = PIECE_OCTETS + (64 << 10);
/// What every message may have in memory, even if the budget is used up, in octets.
const FREE_OCTETS: usize = 16 << 10;

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
    /// Room for one message.
    pub fn new(receiver: &Receiver) -> Self {
        Self::within(&receiver.budget)
    }

    fn within(budget: &Arc<Budget>) -> Self {
        let share = Share::new(budget);
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
            None => self.share.budget().message_memory_octets_max,
        };
        let capacity = self.tail.capacity() as u64;
        let has_memory = self.share.hold(capacity);
        if !has_memory && self.tail.len() <= FREE_OCTETS {
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
    fn load(mut self: Box<Self>, ration: Ration) -> Result<Arrived, Cause> {
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
