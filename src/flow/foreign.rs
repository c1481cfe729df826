//! Foreign code on foreign files: libraries that panic on damaged ones, where a person needs to
//! hear which file it is.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

thread_local! {
    /// Whether this thread reads a foreign file, so that a panic will be told as damage.
    static READING: Cell<bool> = const { Cell::new(false) };
}

/// Runs what reads a foreign file; the panic of a library is an error, in its words, and prints
/// nothing.
///
/// # Errors
/// What the panic said.
pub fn caught<T>(read: impl FnOnce() -> T) -> Result<T, String> {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if !READING.get() {
                usual(panic);
            }
        }));
    });

    let outer = READING.replace(true);
    let result = catch_unwind(AssertUnwindSafe(read));
    READING.set(outer);
    result.map_err(|panic| {
        let words = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or(panic.downcast_ref::<&str>().copied());
        format!("it is damaged ({})", words.unwrap_or("no word of where"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error_in_its_words() {
        assert_eq!(caught(|| 7), Ok(7));
        let (numbers, idx) = (vec![1, 2], 5);
        assert!(caught(|| numbers[idx]).unwrap_err().contains("index out of bounds"));
        assert_eq!(
            caught(|| caught(|| panic!("inner")).map(|()| 1)),
            Ok(Err("it is damaged (inner)".to_string()))
        );
    }
}
