//! What libraries read once from the environment, before anything of ours runs.

use crate::error::{Error, Result};
use crate::flow::registry::{find, one_of};
use crate::train::kernels::{Instructions, PIN};

/// A variable and its value.
pub(super) type Variable = (&'static str, String);

/// Milliseconds after which the allocator gives freed memory back to the system; -1 is never. What
/// a room or a training step frees, the next one takes again, and pages that come from the system
/// must be cleared each time.
fn purge_delay(milliseconds: i64) -> Variable {
    ("MIMALLOC_PURGE_DELAY", milliseconds.to_string())
}

/// For commands of many rooms: ten seconds. Giving memory back at once makes ingest a third slower;
/// never giving it back lets the peak of a build grow with its input.
pub(super) fn give_memory_back_late() -> Variable {
    purge_delay(10_000)
}

/// For training, where every step takes the same memory: never.
pub(super) fn keep_memory() -> Variable {
    purge_delay(-1)
}

/// Names the vector instructions that the trainer is to use.
const SIMD: &str = "KPIPE_SIMD";

/// The instructions that [`SIMD`] asks for, told to the library that reads them once.
///
/// # Errors
/// If it names none, or such that this processor does not have.
pub(super) fn instructions() -> Result<Option<Variable>> {
    let Some(asked) = std::env::var_os(SIMD) else { return Ok(None) };
    let asked = asked.to_string_lossy();
    let set = find("set of vector instructions", Instructions::ALL, &asked, Instructions::name)
        .map_err(|error| error.hint(format!("`{SIMD}` is read from the environment")))?;
    if set.is_here() {
        return Ok(Some((PIN, set.pin().to_string())));
    }

    let here = Instructions::ALL.iter().filter(|set| set.is_here());
    let here: Vec<&str> = here.map(|set| set.name()).collect();
    Err(Error::usage(format!("this processor has no {asked}, which `{SIMD}` asks for"))
        .hint(format!("it has {}; without the variable the widest is used", one_of(&here))))
}

/// Starts the same command again with these variables set, where some are not.
///
/// # Errors
/// If the program cannot be started.
#[cfg(unix)]
pub(super) fn start_again_with(variables: impl IntoIterator<Item = Variable>) -> Result<()> {
    use std::os::unix::process::CommandExt;
    let missing: Vec<Variable> =
        variables.into_iter().filter(|(name, _)| std::env::var_os(name).is_none()).collect();
    if missing.is_empty() {
        return Ok(());
    }
    let program = std::env::current_exe()
        .map_err(|cause| Error::io("cannot find the program itself", cause))?;
    let told: Vec<String> = missing.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let cause =
        std::process::Command::new(program).args(std::env::args_os().skip(1)).envs(missing).exec();

    Err(Error::io("cannot start the program again", cause)
        .hint(format!("set {} yourself", told.join(" and "))))
}

/// Other systems cannot put one program in the place of another; there, everything is slower and
/// the same.
#[cfg(not(unix))]
pub(super) fn start_again_with(_: impl IntoIterator<Item = Variable>) -> Result<()> {
    Ok(())
}
