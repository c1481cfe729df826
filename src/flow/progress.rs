//! How a run tells how far it is, without printing: `cli` implements this on a terminal, as lines
//! or as JSON.

/// Receives what a long run has to tell. Calls come from any thread.
pub trait Progress: Sync + Send {
    /// A stage begins; `total` units are expected where that is known. `unit` is "rows", "bytes",
    /// "steps".
    fn begin(&self, stage: &str, total: Option<u64>, unit: &'static str);
    /// The running stage turns out to have `total` units.
    fn expect(&self, total: u64);
    /// `n` more units are done.
    fn advance(&self, n: u64);
    /// Something short about the running stage, such as the loss; replaces the one before.
    fn message(&self, text: &str);
    /// Something a person must know and that stays on the screen, such as what was used instead of
    /// what.
    fn note(&self, text: &str);
    /// The stage is over; `summary` says what came of it.
    fn end(&self, summary: &str);
}

/// Tells nobody.
pub struct Silent;

impl Progress for Silent {
    fn begin(&self, _: &str, _: Option<u64>, _: &'static str) {}
    fn expect(&self, _: u64) {}
    fn advance(&self, _: u64) {}
    fn message(&self, _: &str) {}
    fn note(&self, _: &str) {}
    fn end(&self, _: &str) {}
}
