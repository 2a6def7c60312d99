//! Mail data: reads it to its end, asks what becomes of it, and sends the replies.

use super::wire::{Stop, Wire};
use super::{Connection, End};
use crate::receive::{self, Incoming, Receipt};
use crate::smtp::{Data, DataError};

impl Connection {
    /// DATA: reads the mail data to its end, asks what becomes of it, and sends the final reply.
    pub(super) async fn data(&mut self, wire: &mut Wire, data: Data<'_>) -> Result<(), End> {
        wire.queue(&data.go_ahead());
        wire.flush().await?;
        let mut incoming = Incoming::new(&self.shared.receiver);
        let (decoded, octets) = read_mail_data(wire, &data, &mut incoming).await?;
        let transaction = self.transaction.take().ok_or(End::Closed("internal_error"))?;
        let receiver = &self.shared.receiver;
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

/// Reads to the end of the mail data: was it well-formed, and how many octets had it?
async fn read_mail_data(
    wire: &mut Wire,
    data: &Data<'_>,
    incoming: &mut Incoming,
) -> Result<(Result<(), DataError>, u64), Stop> {
    let mut decoder = data.decoder();
    let begin = wire.expect_data();
    loop {
        let end = decoder.push(&mut wire.input, incoming.tail());
        incoming.settle().await;
        if let Some(end) = end {
            return Ok((end, decoder.octets()));
        }
        wire.read_data(&begin).await?;
    }
}
