//! What of a model's inside is seen: nothing, unless somebody asks.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use candle_core::Tensor;

/// What somebody wants to see of a pass, beside the last hidden state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// The hidden states behind these steps of the model; step 0 embeds, and a step follows for
    /// each block.
    pub hidden: BTreeSet<usize>,
    /// The attention weights of these steps.
    pub attention: BTreeSet<usize>,
    /// The strategy whose teacher the same is needed of.
    pub teacher: Option<&'static str>,
}

impl Needs {
    /// What two want together.
    #[must_use]
    pub fn and(mut self, other: Needs) -> Self {
        self.hidden.extend(other.hidden);
        self.attention.extend(other.attention);
        Needs { teacher: self.teacher.or(other.teacher), ..self }
    }
}

/// What a pass showed.
pub struct Seen {
    /// The last hidden state, `[rows, length, width]`.
    pub last: Tensor,
    /// Hidden states `[rows, length, width]` by step, of a decoder where that is what the step
    /// computes.
    pub hidden: BTreeMap<usize, Tensor>,
    /// Attention weights `[rows, heads, queries, keys]` by step, before any is dropped: one tensor
    /// for each attention of the step (a decoder of T5 has two).
    pub attention: BTreeMap<usize, Vec<Tensor>>,
}

impl Seen {
    /// The last hidden state alone.
    pub fn last(last: Tensor) -> Self {
        Seen { last, hidden: BTreeMap::new(), attention: BTreeMap::new() }
    }
}

/// Takes the attention weights of one step while it is computed.
#[derive(Default)]
pub struct Tap(RefCell<Vec<Tensor>>);

impl Tap {
    /// Puts the weights of one more attention.
    pub(super) fn put(&self, weights: &Tensor) {
        self.0.borrow_mut().push(weights.clone());
    }

    /// All that were put, in the order of the step.
    pub(super) fn take(self) -> Vec<Tensor> {
        self.0.into_inner()
    }
}
