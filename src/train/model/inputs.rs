//! What a model reads: rows of token ids of one length, padded, with what attention must not see.

use std::sync::OnceLock;

use candle_core::{DType, Device, Result, Tensor};

use crate::train::kernels;

/// What a place sees of its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum View {
    /// All of it.
    Both,
    /// Itself and what stands before it.
    Before,
}

/// Token rows of one length.
pub struct Tokens {
    /// Token ids `[rows, length]`.
    pub ids: Tensor,
    /// 1 at tokens and 0 at padding, `[rows, length]`; f64 where the model computes in f64, else
    /// f32.
    pub present: Tensor,
    /// What the model computes with.
    pub dtype: DType,
    /// Token types of BERT, `[rows, length]`; `None` where all are 0.
    pub types: Option<Tensor>,
    /// What a place sees, where that is not what the model is made for.
    pub view: Option<View>,
    /// Number of the text each place belongs to, from 1 in each row, and 0 at padding; `None` where
    /// each row is one text.
    pub(super) texts: Option<Vec<u32>>,
    /// The mask, and the causal one: every block asks for them.
    masks: [OnceLock<Tensor>; 2],
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
        Ok(Tokens::of(Tensor::from_vec(ids, shape, device)?, present, dtype))
    }

    /// Rows that are padded already.
    pub(super) fn of(ids: Tensor, present: Tensor, dtype: DType) -> Self {
        let (types, view, texts, masks) = Default::default();
        Tokens { ids, present, dtype, types, view, texts, masks }
    }

    /// The same rows, each of them several texts of these lengths.
    #[must_use]
    pub fn packed(self, texts: &[Vec<usize>]) -> Self {
        let length = self.ids.dims()[1];
        let mut numbers = Vec::with_capacity(texts.len() * length);

        for (row, texts) in texts.iter().enumerate() {
            numbers.extend(
                (1..).zip(texts).flat_map(|(number, length)| std::iter::repeat_n(number, *length)),
            );
            numbers.resize((row + 1) * length, 0);
        }

        Tokens { texts: Some(numbers), masks: Default::default(), ..self }
    }

    /// Position of each place in its text, `[rows, length]`; `None` where each row is one text.
    ///
    /// # Errors
    /// If the device fails.
    pub fn positions(&self) -> Result<Option<Tensor>> {
        let Some(texts) = &self.texts else { return Ok(None) };
        let length = self.length()?;
        let mut positions: Vec<u32> = Vec::with_capacity(texts.len());
        for (place, text) in texts.iter().enumerate() {
            let goes_on = place % length > 0 && texts[place - 1] == *text;
            positions.push(if goes_on { positions[place - 1] + 1 } else { 0 });
        }
        Ok(Some(Tensor::from_vec(positions, self.ids.shape(), self.ids.device())?))
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

    /// The mask of a model that is made for this view, or of the one that is asked for instead.
    pub(super) fn mask_of(&self, own: View) -> Result<Tensor> {
        match self.view.unwrap_or(own) {
            View::Both => self.mask(),
            View::Before => self.causal_mask(),
        }
    }

    /// 0 where attention may look and a large negative number at padding, `[rows, 1, length]`, and
    /// at other texts where rows are packed, `[rows, length, length]`.
    pub(super) fn mask(&self) -> Result<Tensor> {
        once(&self.masks[0], || self.mask_from(self))
    }

    /// The same for attention from the places of other rows, `[rows, 1 or their length, length]`:
    /// each text is seen from the one of the same number.
    pub(super) fn mask_from(&self, queries: &Tokens) -> Result<Tensor> {
        let masked = f64::from(kernels::MASKED);
        let (Some(keys), Some(froms)) = (&self.texts, &queries.texts) else {
            return self.present.affine(-masked, masked)?.unsqueeze(1);
        };
        let (length, from_length) = (self.length()?, queries.length()?);
        let mut mask = Vec::with_capacity(froms.len() * length);

        for (keys, froms) in keys.chunks(length.max(1)).zip(froms.chunks(from_length.max(1))) {
            for from in froms {
                // Nobody asks what padding saw, but it must see something.
                let seen = |key: &u32| *key != 0 && (key == from || *from == 0);
                mask.extend(keys.iter().map(|key| if seen(key) { 0.0 } else { kernels::MASKED }));
            }
        }

        let shape = (self.ids.dim(0)?, from_length, length);
        Tensor::from_vec(mask, shape, self.ids.device())?.to_dtype(self.present.dtype())
    }

    /// The same for attention that looks at its own place and those before only, `[rows, length,
    /// length]`.
    pub(super) fn causal_mask(&self) -> Result<Tensor> {
        once(&self.masks[1], || {
            let length = self.length()?;
            let is_ahead = |idx: usize| idx % length > idx / length;
            let ahead = |idx: usize| if is_ahead(idx) { kernels::MASKED } else { 0.0 };
            let ahead: Vec<f32> = (0..length * length).map(ahead).collect();
            let ahead = Tensor::from_vec(ahead, (1, length, length), self.ids.device())?
                .to_dtype(self.present.dtype())?;
            self.mask()?.broadcast_add(&ahead)
        })
    }
}

/// What was made before, or is made now.
fn once(kept: &OnceLock<Tensor>, make: impl FnOnce() -> Result<Tensor>) -> Result<Tensor> {
    match kept.get() {
        Some(made) => Ok(made.clone()),
        None => make().map(|made| kept.get_or_init(|| made).clone()),
    }
}

impl From<Tokens> for Inputs {
    fn from(tokens: Tokens) -> Self {
        Inputs { tokens, decoder: None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two rows: texts of 2 and 3 tokens; one of 4 tokens and padding.
    fn packed() -> Tokens {
        let rows: [&[u32]; 2] = [&[5, 6, 7, 8, 9], &[5, 6, 7, 8]];
        Tokens::new(&rows, 0, DType::F32, &Device::Cpu).unwrap().packed(&[vec![2, 3], vec![4]])
    }

    fn seen(mask: &Tensor) -> Vec<Vec<String>> {
        let line = |line: &Vec<f32>| {
            line.iter().map(|mask| if *mask == 0.0 { 'x' } else { '.' }).collect()
        };
        let mask = mask.to_vec3::<f32>().unwrap();
        mask.iter().map(|row| row.iter().map(line).collect()).collect()
    }

    #[test]
    fn texts_of_a_row_do_not_see_one_another() {
        let tokens = packed();
        let [first, second] = &seen(&tokens.mask().unwrap())[..] else { panic!("two rows") };
        assert_eq!(first, &["xx...", "xx...", "..xxx", "..xxx", "..xxx"]);
        assert_eq!(second, &["xxxx.", "xxxx.", "xxxx.", "xxxx.", "xxxx."]);
        let causal = seen(&tokens.causal_mask().unwrap());
        assert_eq!(causal[0], ["x....", "xx...", "..x..", "..xx.", "..xxx"]);
        let decoder: [&[u32]; 2] = [&[1, 2, 3], &[1]];
        let decoder = Tokens::new(&decoder, 0, DType::F32, &Device::Cpu)
            .unwrap()
            .packed(&[vec![1, 2], vec![1]]);
        let crossed = seen(&tokens.mask_from(&decoder).unwrap());
        assert_eq!(crossed[0], ["xx...", "..xxx", "..xxx"]);
        assert_eq!(crossed[1], ["xxxx.", "xxxx.", "xxxx."]);
    }

    #[test]
    fn each_text_counts_its_positions() {
        let positions = packed().positions().unwrap().unwrap().to_vec2::<u32>().unwrap();
        assert_eq!(positions, [[0, 1, 0, 1, 2], [0, 1, 2, 3, 0]]);
    }
}
