//! What the families have in common: dense layers, norms and attention over named weights.

use candle_core::{Result, Tensor};

use super::{Head, Tap, Tokens, Weights};
use crate::train::kernels::{self, Activation, Attention, DropoutKey, Projected};

/// The weights, which activations are dropped (none where `dropout` is `None`), and who wants to
/// see inside.
#[derive(Clone, Copy)]
pub struct Pass<'a> {
    /// The weights.
    pub weights: &'a Weights,
    /// Which activations are dropped.
    pub dropout: Option<DropoutKey>,
    /// Takes attention weights, where somebody wants them.
    pub tap: Option<&'a Tap>,
}

impl<'a> Pass<'a> {
    /// A pass that nobody looks into.
    pub fn new(weights: &'a Weights, dropout: Option<DropoutKey>) -> Self {
        Pass { weights, dropout, tap: None }
    }

    /// Attention, seen by whoever wants to see it.
    pub(super) fn attend(&self, projected: &Projected, with: Attention) -> Result<Tensor> {
        let Some(tap) = self.tap else { return kernels::attention(projected, with) };
        let [query, key, value] = projected.apart()?;
        let weights = kernels::attention_weights(&query, &key, with)?;
        tap.put(&weights);
        kernels::attention_of(&weights, &value, with)
    }

    pub(super) fn get(&self, name: &str) -> Result<&Tensor> {
        self.weights.get(name)
    }

    /// `x · weightᵀ + bias`.
    pub(super) fn dense(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let bias = self.get(&format!("{name}.bias"))?;
        kernels::linear(x, self.get(&format!("{name}.weight"))?, Some(bias))
    }

    /// The activation of a dense layer.
    pub(super) fn dense_activated(
        &self,
        name: &str,
        x: &Tensor,
        activation: Activation,
    ) -> Result<Tensor> {
        let bias = self.get(&format!("{name}.bias"))?;
        kernels::linear_activated(x, self.get(&format!("{name}.weight"))?, Some(bias), activation)
    }

    /// The activation of `x · gateᵀ` times `x · upᵀ`.
    pub(super) fn gated(
        &self,
        gate: &str,
        up: &str,
        x: &Tensor,
        activation: Activation,
    ) -> Result<Tensor> {
        let weight = |name: &str| self.get(&format!("{name}.weight"));
        kernels::gated(x, weight(gate)?, weight(up)?, activation)
    }

    /// The activation of `x · weightᵀ`.
    pub(super) fn linear_activated(
        &self,
        name: &str,
        x: &Tensor,
        activation: Activation,
    ) -> Result<Tensor> {
        kernels::linear_activated(x, self.get(&format!("{name}.weight"))?, None, activation)
    }

    /// The activation of `x · weight + bias`, GPT-2's layout.
    pub(super) fn conv1d_activated(
        &self,
        name: &str,
        x: &Tensor,
        activation: Activation,
    ) -> Result<Tensor> {
        let bias = self.get(&format!("{name}.bias"))?;
        kernels::product_activated(x, self.get(&format!("{name}.weight"))?, Some(bias), activation)
    }

    /// `x · weightᵀ`.
    pub(super) fn linear(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        kernels::linear(x, self.get(&format!("{name}.weight"))?, None)
    }

    /// A head without a bias.
    pub(super) fn head(&self, name: &str, x: &Tensor) -> Result<Head> {
        Ok(Head { x: x.clone(), weight: self.get(&format!("{name}.weight"))?.clone(), bias: None })
    }

    /// `x · weight + bias`, GPT-2's layout.
    pub(super) fn conv1d(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let bias = self.get(&format!("{name}.bias"))?;
        kernels::product(x, self.get(&format!("{name}.weight"))?, Some(bias))
    }

    pub(super) fn layer_norm(&self, name: &str, x: &Tensor, eps: f64) -> Result<Tensor> {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        kernels::layer_norm(x, self.get(&weight)?, self.get(&bias)?, eps)
    }

    pub(super) fn rms_norm(&self, name: &str, x: &Tensor, eps: f64) -> Result<Tensor> {
        kernels::rms_norm(x, self.get(&format!("{name}.weight"))?, eps)
    }

    pub(super) fn embedding(&self, name: &str, ids: &Tensor) -> Result<Tensor> {
        kernels::embedding(self.get(&format!("{name}.weight"))?, ids)
    }

    /// `words`, `[rows, length, width]`, plus the embeddings of their positions.
    pub(super) fn with_positions(
        &self,
        name: &str,
        words: &Tensor,
        tokens: &Tokens,
    ) -> Result<Tensor> {
        match tokens.positions()? {
            Some(positions) => words + self.embedding(name, &positions)?,
            None => words.broadcast_add(&self.get(&format!("{name}.weight"))?.narrow(
                0,
                0,
                tokens.length()?,
            )?),
        }
    }

    /// `x` plus a branch, some of which is dropped.
    pub(super) fn residual(
        &self,
        x: &Tensor,
        branch: &Tensor,
        share: f64,
        site: &str,
    ) -> Result<Tensor> {
        kernels::residual(x, branch, share, self.dropout, site)
    }

    pub(super) fn drop(&self, x: &Tensor, share: f64, site: &str) -> Result<Tensor> {
        kernels::dropout(x, share, self.dropout, site)
    }
}
