//! What libraries read once from the environment, before anything of ours runs.

use crate::error::{Error, Result};

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
