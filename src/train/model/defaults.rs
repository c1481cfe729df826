//! What `config.json` leaves out, where families agree.

/// Share of activations dropped.
pub(super) fn tenth() -> f64 {
    0.1
}

/// Deviation of drawn weights.
pub(super) fn deviation() -> f64 {
    0.02
}

/// Whether the head uses the word embeddings.
pub(super) fn yes() -> bool {
    true
}
