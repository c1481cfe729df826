//! What a model reads: rows of token ids of one length, padded, with what attention must not see.

use candle_core::{DType, Device, Result, Tensor};

use crate::train::kernels;

/// Token rows of one length.
pub struct Tokens {
    /// Token ids `[rows, length]`.
    pub ids: Tensor,
    /// 1 at tokens and 0 at padding, `[rows, length]`; f64 where the model computes in f64, else f32.
    pub present: Tensor,
    /// What the model computes with.
    pub dtype: DType,
    /// Token types of BERT, `[rows, length]`; `None` where all are 0.
    pub types: Option<Tensor>,
}

/// What a model reads.
pub struct Inputs {
    /// The rows; those of the encoder, where there are two stacks.
    pub tokens: Tokens,
    /// The rows of the decoder, where there are two stacks.
    pub decoder: Option<Tokens>,
}

impl Tokens {
    /// Pads rows to the longest with `pad`, for a model that computes in `dtype`.
    ///
    /// # Errors
    /// If there is no row or the device fails.
    pub fn new(rows: &[&[u32]], pad: u32, dtype: DType, device: &Device) -> Result<Self> {
        let length = rows.iter().map(|row| row.len()).max().unwrap_or(0);
        let (mut ids, mut present) = (Vec::new(), Vec::new());
        for row in rows {
            ids.extend(row.iter().copied().chain(std::iter::repeat_n(pad, length - row.len())));
            present.extend((0..length).map(|place| if place < row.len() { 1_f32 } else { 0.0 }));
        }
        let shape = (rows.len(), length);
        // A mask in halves would not hold its large numbers.
        let wide = if dtype == DType::F64 { DType::F64 } else { DType::F32 };
        let present = Tensor::from_vec(present, shape, device)?.to_dtype(wide)?;
        Ok(Tokens { ids: Tensor::from_vec(ids, shape, device)?, present, dtype, types: None })
    }

    /// Length of the padded rows.
    ///
    /// # Errors
    /// Never in practice: the ids are a matrix.
    pub fn length(&self) -> Result<usize> {
        self.ids.dim(1)
    }

    /// 1 at the last token of each row and 0 elsewhere, `[rows, length]`.
    ///
    /// # Errors
    /// If the device fails.
    pub fn last(&self) -> Result<Tensor> {
        let (rows, length) = self.present.dims2()?;
        let zeros = self.present.narrow(1, 0, 1)?.zeros_like()?;
        let behind = Tensor::cat(&[self.present.narrow(1, 1, length - 1)?, zeros], 1)?;
        (&self.present - behind)?.reshape((rows, length))
    }

    /// 0 where attention may look and a large negative number at padding, `[rows, 1, length]`.
    pub(super) fn mask(&self) -> Result<Tensor> {
        let masked = f64::from(kernels::MASKED);
        self.present.affine(-masked, masked)?.unsqueeze(1)
    }

    /// The same for attention that looks at its own place and those before only, `[rows, length, length]`.
    pub(super) fn causal_mask(&self) -> Result<Tensor> {
        let length = self.length()?;
        let ahead = |idx: usize| if idx % length > idx / length { kernels::MASKED } else { 0.0 };
        let ahead: Vec<f32> = (0..length * length).map(ahead).collect();
        let ahead = Tensor::from_vec(ahead, (1, length, length), self.ids.device())?.to_dtype(self.present.dtype())?;
        self.mask()?.broadcast_add(&ahead)
    }
}

impl From<Tokens> for Inputs {
    fn from(tokens: Tokens) -> Self {
        Inputs { tokens, decoder: None }
    }
}
