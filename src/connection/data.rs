//! Mail data: reads it to its end, asks what becomes of it, and sends the replies. By DATA, or by BDAT in chunks.

use super::wire::{Stop, Wire};
use super::{Connection, End};
use crate::receive::{self, Incoming, Receipt};
use crate::smtp::{Chunk, ChunkEnd, Data, DataError, Session};

/// Mail data at its end: was it well-formed, and how many octets had it?
struct Whole {
    decoded: Result<(), DataError>,
    octets: u64,
    incoming: Incoming,
}

impl Connection {
    /// DATA: reads the mail data to its end, asks what becomes of it, and sends the final reply.
    pub(super) async fn data(&mut self, wire: &mut Wire, data: Data<'_>) -> Result<(), End> {
        wire.queue(&data.go_ahead());
        wire.flush().await?;
        let incoming = Incoming::new(&self.shared.receiver, self.visit.client.address);
        let whole = read_mail_data(wire, &data, incoming).await?;
        self.conclude(wire, data, whole).await
    }

    /// BDAT: reads one chunk. What came with those before it waits in `self.incoming`.
    pub(super) async fn chunk(&mut self, wire: &mut Wire, mut chunk: Chunk<'_>) -> Result<(), End> {
        let client = self.visit.client.address;
        let mut incoming = self.incoming.take().unwrap_or_else(|| Incoming::new(&self.shared.receiver, client));
        match read_chunk(wire, &mut chunk, &mut incoming).await? {
            ChunkEnd::Part => {
                self.incoming = Some(incoming);
                wire.queue(&chunk.received());
                Ok(())
            }
            ChunkEnd::Whole(decoded) => {
                let whole = Whole { decoded, octets: chunk.octets(), incoming };
                self.conclude(wire, chunk.whole(), whole).await
            }
        }
    }

    /// The end of the mail data: asks what becomes of it, and sends the final reply.
    async fn conclude(&mut self, wire: &mut Wire, data: Data<'_>, whole: Whole) -> Result<(), End> {
        let transaction = self.transaction.take().ok_or(End::Closed("internal_error"))?;
        let receiver = &self.shared.receiver;
        let Whole { decoded, octets, incoming } = whole;
        let (replies, receipt) = match decoded {
            // In a box: what a message needs is not held by every idle connection.
            Ok(()) => Box::pin(receive::message(receiver, transaction, incoming)).await,
            Err(error) => (receive::refused(receiver, transaction, octets, data.refusal(error)), Receipt::new()),
        };
        self.transactions += 1;
        let provable_from = match receipt.is_empty() {
            true => None,
            false => wire.drain().await.then(|| wire.input.received()),
        };
        replies.each.iter().for_each(|reply| wire.queue(reply));
        wire.queue(&data.answer(replies.last));
        wire.flush().await?;
        self.unseen.add(receipt, provable_from);
        Ok(())
    }
}

/// Reads to the end of the mail data.
async fn read_mail_data(wire: &mut Wire, data: &Data<'_>, mut incoming: Incoming) -> Result<Whole, Stop> {
    let mut decoder = data.decoder();
    let begin = wire.expect_data();
    loop {
        let end = decoder.push(&mut wire.input, incoming.tail());
        incoming.settle().await;
        if let Some(decoded) = end {
            return Ok(Whole { decoded, octets: decoder.octets(), incoming });
        }
        wire.read_data(&begin).await?;
    }
}

/// Reads to the end of a chunk. Replies that wait (BDAT may stand in one group with MAIL and RCPT) go out before it waits.
async fn read_chunk(wire: &mut Wire, chunk: &mut Chunk<'_>, incoming: &mut Incoming) -> Result<ChunkEnd, Stop> {
    let begin = wire.expect_data();
    loop {
        let end = chunk.push(&mut wire.input, incoming.tail());
        incoming.settle().await;
        if let Some(end) = end {
            return Ok(end);
        }
        wire.flush().await?;
        wire.read_data(&begin).await?;
    }
}

/// Reads a refused chunk to its end: mail data, with the time of mail data.
pub(super) async fn read_away(wire: &mut Wire, session: &mut Session) -> Result<(), Stop> {
    let begin = wire.expect_data();
    while session.drain(&mut wire.input) {
        wire.read_data(&begin).await?;
    }
    Ok(())
}
