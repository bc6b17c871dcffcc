//! The first response hook: masks every form of the credential that was put on.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderMap;
use inject::{Answer, Needles};
use model::{Code, Refusal};

use crate::body::{CutError, Hook};

/// Decodes where the answer is encoded, masks, and hands on in the clear.
pub(crate) struct Scrub {
    answer: Answer,
    needles: Arc<Needles>,
    in_trailers: u64,
}

impl Scrub {
    /// Prepares for an answer of this head, whose coding and length fields are put right. Where a later hook reads it, it is decoded
    /// even if there is nothing to mask.
    pub(crate) fn of(needles: Arc<Needles>, headers: &mut HeaderMap, is_read: bool) -> Result<Self, Refusal> {
        let answer = if is_read { Answer::in_the_clear } else { Answer::new };
        match answer(&needles, headers) {
            Ok(answer) => {
                answer.edit(headers);
                Ok(Self { answer, needles, in_trailers: 0 })
            }
            Err(undecodable) => {
                Err(Refusal::new(Code::UpstreamInvalid, "The answer's coding cannot be undone, so it is withheld")
                    .internal(undecodable.to_string()))
            }
        }
    }
}

impl Hook for Scrub {
    fn data(&mut self, data: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), CutError> {
        out.extend(self.answer.push(data).map_err(|_| CutError::Undecodable)?);
        Ok(())
    }

    fn end(&mut self, out: &mut VecDeque<Bytes>) -> Result<(), CutError> {
        out.extend(self.answer.finish().map_err(|_| CutError::Undecodable)?);
        Ok(())
    }

    fn trailers(&mut self, trailers: &mut HeaderMap) {
        self.in_trailers += inject::scrub_headers(trailers, &self.needles);
    }

    fn masked(&self) -> u64 {
        self.answer.hits() + self.in_trailers
    }
}
