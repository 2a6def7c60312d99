//! Why: each cause has one row with its code, enhanced status and text, and a name for the log.
//!
//! *Guarantees:* a text says what the sender must mend, names no recipient, and fits in one line.

use crate::smtp::Enhanced;

/// Why. Each has one row in `Cause::row`.
#[derive(Debug, Clone, PartialEq)]
pub enum Cause {
    /// The recipient's domain is none of ours.
    NotOurDomain,
    /// No such mailbox at a domain of ours.
    UnknownMailbox,
    /// A notification (null reverse-path) has one recipient (RFC 5321 section 4.5.5).
    NotificationRecipients,
    /// postmaster and abuse share a transaction with nobody, so that adding one cannot turn a refusal into a delivery.
    MixedClasses,
    /// More than one From field: each reader shows another one, and DMARC cannot protect any (RFC 5322 section 3.6).
    SeveralFromFields,
    /// Authors at several domains: DMARC cannot protect any (RFC 9989 section 5.3.1).
    SeveralAuthors,
    /// The From field cannot be read, so that DMARC cannot protect whoever it shows (RFC 5322 section 3.6.2).
    MalformedFrom,
    /// The author domain asks to refuse what fails DMARC (RFC 9989).
    DmarcReject {
        /// The author domain.
        domain: String,
    },
    /// `policy.dmarc_overrides` asks to refuse what fails DMARC, which the author domain itself does not.
    DmarcOverride {
        /// The author domain.
        domain: String,
    },
    /// Junk: the author domain, or `policy.dmarc_overrides`, asks to quarantine what fails DMARC.
    DmarcQuarantine,
    /// Junk: under a policy to enforce, DMARC or an override of it could not be evaluated for hours.
    DmarcUnverified,
    /// DMARC could not be evaluated for now: the record, or SPF or DKIM of the author domain under a policy to enforce.
    DmarcTemporary {
        /// The author domain.
        domain: String,
    },
    /// DMARC fails, and DNS trouble hides for now whether a trusted forwarder or sealer passed the message on.
    ForwarderTemporary {
        /// The author domain.
        domain: String,
    },
    /// The rules' score reached `policy.reject_score`, or `policy.junk_score`: Junk.
    Score {
        /// The score.
        score: f64,
        /// The threshold that it reached.
        threshold: f64,
    },
    /// The same message for the same recipient is being delivered in another session.
    InFlight,
    /// As many octets of mail are being received as may be (`limits.in_flight_octets_max`).
    NoRoom,
    /// The turn of a large message to be judged did not come in time (`limits.inspection_octets_max`).
    TooBusy,
    /// There is no room to store the message.
    StorageFull,
    /// The message could not be stored.
    StorageFailed,
    /// Something of ours failed.
    Internal,
}

impl Cause {
    /// Code, enhanced status and text.
    pub(super) fn row(&self) -> (u16, Enhanced, String) {
        use Cause::*;
        let refused = |text: &str| (550, Enhanced(5, 7, 1), text.to_owned());
        let busy = |code, enhanced, text: &str| (code, enhanced, text.to_owned());
        match self {
            NotOurDomain => refused("We do not take mail for this domain"),
            UnknownMailbox => (550, Enhanced(5, 1, 1), "No such mailbox here".into()),
            NotificationRecipients => {
                busy(452, Enhanced(4, 5, 3), "A message from <> has one recipient: send the others theirs")
            }
            MixedClasses => {
                busy(452, Enhanced(4, 5, 3), "postmaster and abuse are written to alone: send this one separately")
            }
            SeveralFromFields => refused("More than one From field: a message has exactly one (RFC 5322 section 3.6)"),
            SeveralAuthors => refused("From names more than one author domain, or can be read so: name authors of one"),
            MalformedFrom => {
                refused("The From field is not valid (RFC 5322 section 3.6.2): it has to show who wrote this")
            }
            DmarcReject { domain } => refused(&format!(
                "Not authenticated as {domain}, whose DMARC policy says to reject: pass SPF or DKIM as that domain"
            )),
            DmarcOverride { domain } => refused(&format!(
                "Not authenticated as {domain}, which is required of it here: pass SPF or DKIM as that domain"
            )),
            // Whoever sent it is told that it was delivered, and so it was.
            DmarcQuarantine | DmarcUnverified => (250, Enhanced(2, 0, 0), "Message delivered".into()),
            DmarcTemporary { domain } => {
                (451, Enhanced(4, 7, 1), format!("DMARC for {domain} cannot be checked now, DNS fails: try again"))
            }
            ForwarderTemporary { domain } => {
                let text = format!("Not authenticated as {domain}, and DNS fails to tell who forwarded it: try again");
                (451, Enhanced(4, 7, 1), text)
            }
            Score { score, threshold } => refused(&format!("Refused as spam: score {score:.1}, limit {threshold:.1}")),
            InFlight => busy(451, Enhanced(4, 3, 0), "This message is being delivered in another session, try again"),
            NoRoom => busy(452, Enhanced(4, 3, 1), "Too much mail is being received at once, try again later"),
            TooBusy => busy(451, Enhanced(4, 3, 2), "Too many large messages at once, try again later"),
            StorageFull => busy(452, Enhanced(4, 3, 1), "Not enough storage, try again later"),
            StorageFailed => busy(451, Enhanced(4, 3, 0), "The message could not be stored, try again later"),
            Internal => busy(451, Enhanced(4, 3, 0), "Internal error, try again later"),
        }
    }

    /// A short name that stays the same, for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            Cause::NotOurDomain => "not_our_domain",
            Cause::UnknownMailbox => "unknown_mailbox",
            Cause::NotificationRecipients => "notification_recipients",
            Cause::MixedClasses => "mixed_classes",
            Cause::SeveralFromFields => "several_from_fields",
            Cause::SeveralAuthors => "several_authors",
            Cause::MalformedFrom => "malformed_from",
            Cause::DmarcReject { .. } => "dmarc_reject",
            Cause::DmarcOverride { .. } => "dmarc_override",
            Cause::DmarcQuarantine => "dmarc_quarantine",
            Cause::DmarcUnverified => "dmarc_unverified",
            Cause::DmarcTemporary { .. } => "dmarc_temporary",
            Cause::ForwarderTemporary { .. } => "forwarder_temporary",
            Cause::Score { .. } => "score",
            Cause::InFlight => "in_flight",
            Cause::NoRoom => "no_room",
            Cause::TooBusy => "too_busy",
            Cause::StorageFull => "storage_full",
            Cause::StorageFailed => "storage_failed",
            Cause::Internal => "internal",
        }
    }

    /// Does it concern the message as a whole, whoever the recipient is? What an author domain asks for does, what a
    /// recipient's domain asks for in its place does not.
    pub(super) fn concerns_message(&self) -> bool {
        use Cause::*;
        matches!(self, SeveralFromFields | SeveralAuthors | MalformedFrom | DmarcReject { .. })
    }
}
