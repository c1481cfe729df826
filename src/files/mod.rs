//! path → bytes → UTF-8: what stands between a path of a pipeline file and the text that a reader
//! sees.
//!
//! [`expand`] finds the files, [`decompress`] unpacks them, [`encoding`] makes UTF-8 of what they
//! hold. Knows no format: what the text means is told in [`crate::ingest`] and
//! [`crate::knowledge`].

mod bzip2_blocks;
pub mod decompress;
#[cfg(test)]
pub(crate) mod drip;
pub mod encoding;
pub mod expand;
