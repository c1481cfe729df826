//! `kpipe doctor`: what is installed, what is missing, and how to get it.

use clap::Args;
use serde_json::json;

use super::environment::{instructions, keep_memory, start_again_with};
use super::print::Printer;
use crate::error::Result;
use crate::rewrite::back_translation::{Params, probes};
use crate::train::device;
use crate::train::kernels::{Instructions, Speed};

/// Arguments of `kpipe doctor`.
#[derive(Args)]
pub(super) struct DoctorArgs {
    /// Tell it as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &DoctorArgs) -> Result<()> {
    start_again_with(instructions()?.into_iter().chain([keep_memory()]))?;
    let engines = probes(&Params::none());
    let (used, speed) = (Instructions::used(), Speed::measure());
    let giga = |operations: f64| operations / 1e9;
    let product = giga(speed.product);
    let share = speed.peak.map(|peak| {
        let (share, peak) = (100.0 * speed.product / peak, giga(peak));
        format!(", {share:.0} % of the {peak:.0} that all cores can do")
    });
    let halves = speed.bf16_product.map(|speed| format!("; {:.0} in bf16", giga(speed)));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let cuda = device("cuda").map(|_| ()).map_err(|error| error.to_string());
    let mut lines = vec![
        format!("{:<18} {}", "kpipe", env!("CARGO_PKG_VERSION")),
        format!("{:<18} {cores}", "cores"),
        format!("{:<18} {} (`KPIPE_SIMD` chooses)", "vectors", used.name()),
        format!(
            "{:<18} {product:.0} GFLOP/s{}{}",
            "matrix products",
            share.unwrap_or_default(),
            halves.unwrap_or_default()
        ),
        format!("{:<18} WordNet 3.0, embedded", "English thesaurus"),
    ];

    let translates = engines.iter().any(|engine| engine.available);
    for engine in &engines {
        let name = format!("translation: {}", engine.engine);
        if engine.available {
            lines.push(format!("{name:<18} {}", engine.version.as_deref().unwrap_or("installed")));
        } else {
            let (state, then) = match engine.is_broken {
                true => ("broken", "mend it with"),
                false => ("missing", "install it with"),
            };
            lines.push(format!(
                "{name:<18} {state}: {}",
                engine.detail.as_deref().unwrap_or("not installed")
            ));
            let without = match translates {
                true => "",
                false => "without one `kpipe build` makes no back-translations; ",
            };
            lines.push(format!("{:<18} {without}{then}", ""));
            lines.push(format!("{:<18} {}", "", engine.how_to_install));
        }
    }

    match &cuda {
        Ok(()) => lines.push(format!("{:<18} ready", "cuda")),
        Err(why) => lines.push(format!("{:<18} off: {}", "cuda", why.replace('\n', ";"))),
    }

    let value = json!({"kpipe": env!("CARGO_PKG_VERSION"), "cores": cores, "engines": engines,
        "instructions": used, "product_gflops": product,
        "peak_gflops": speed.peak.map(giga), "bf16_product_gflops": speed.bf16_product.map(giga),
        "cuda": cuda.is_ok(), "cuda_detail": cuda.err()});
    Printer::new(false, args.json).result(&(lines.join("\n") + "\n"), &value)
}
