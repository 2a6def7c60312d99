//! The header fields that a message signature signs (RFC 6376 sections 3.4 and 5.4.2).

use std::collections::HashMap;
use std::ops::Range;

use super::canonical::{Canonicalization, relaxed_field};
use crate::message::{Field, Message};

/// A message's header fields by name, lowest first.
pub struct Header<'m>(HashMap<Vec<u8>, Vec<Field<'m>>>);

impl<'m> Header<'m> {
    /// Looks a message's fields through, once.
    pub fn new(message: &'m Message) -> Self {
        let mut by_name = HashMap::<_, Vec<_>>::new();
        for field in message.fields() {
            by_name.entry(field.name.to_ascii_lowercase()).or_default().push(field);
        }
        by_name.values_mut().for_each(|fields| fields.reverse());
        Header(by_name)
    }

    /// The canonical form of the fields that `names` (in lower case) lists, in that order. A name that is listed again
    /// means the next field above; one that there is no field for adds nothing. `own`, the signature itself, is no field
    /// yet where it is made.
    pub fn signed(&self, names: &[String], own: Option<Field>, canonicalization: Canonicalization) -> Vec<u8> {
        let (mut out, mut next) = (Vec::new(), HashMap::<&str, usize>::new());
        for name in names {
            let Some(fields) = self.0.get(name.as_bytes()) else { continue };
            let at = next.entry(name).or_default();
            if fields.get(*at).is_some_and(|field| own.is_some_and(|own| std::ptr::eq(field.raw, own.raw))) {
                *at += 1;
            }
            let Some(field) = fields.get(*at) else { continue };
            *at += 1;
            match canonicalization {
                Canonicalization::Simple => out.extend_from_slice(field.raw),
                Canonicalization::Relaxed => relaxed_field(field.name, field.body, &mut out),
            }
        }
        out
    }
}

/// A signature field as it is signed itself: without the value of its `b=`, which stands at `b` in its body, and without
/// the line end (RFC 6376 section 3.7).
pub fn own_form(field: Field, b: &Range<usize>, canonicalization: Canonicalization) -> Vec<u8> {
    let before = field.body.get(..b.start).unwrap_or(field.body);
    let behind = field.body.get(b.end..).unwrap_or_default();
    let body = [before, behind].concat();
    let mut out = Vec::with_capacity(field.raw.len());
    match canonicalization {
        Canonicalization::Simple => {
            out.extend_from_slice(field.raw.strip_suffix(field.body).unwrap_or(field.raw));
            out.extend_from_slice(&body);
        }
        Canonicalization::Relaxed => relaxed_field(field.name, &body, &mut out),
    }
    if out.ends_with(b"\r\n") {
        out.truncate(out.len() - 2);
    }
    out
}
