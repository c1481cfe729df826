use std::path::Path;

use serde_json::Value;

use crate::support::{kpipe, project, succeed, text};

fn plan() -> String {
    project().join("fixtures/ablation/mini.toml").display().to_string()
}

fn source() -> String {
    let at = |name: &str| project().join("fixtures").join(name).display().to_string();
    format!("wiki={},pubmed={}", at("wiki"), at("pubmed"))
}

fn read(folder: &Path, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join(name)).unwrap()).unwrap()
}

/// A whole ablation in small: what reads the facts knows more of them than what does not, what
/// reads the probes knows most; a plan goes on where its budget or a lost file left it, to the same
/// numbers.
#[test]
fn a_plan_is_run_in_pieces_and_told() {
    let folder = tempfile::tempdir().unwrap();
    let (out, results) = (folder.path().join("work"), folder.path().join("results"));
    let injected = folder.path().join("injected.json");
    std::fs::write(
        &injected,
        r#"[{"train_context": "The moon Vela circles the planet Orun. Its ice is violet.",
        "mem_input": ["The moon Vela circles the planet"], "mem_target": ["Orun"],
        "gen_input": ["The ice of the moon Vela is"], "gen_target": ["violet"],
        "hard_gen_input": [], "hard_gen_target": []}]"#,
    )
    .unwrap();
    let args = |budget: &'static [&'static str]| -> Vec<String> {
        let plan = plan();
        let mut all =
            vec!["ablate", &plan, "--source"].into_iter().map(str::to_string).collect::<Vec<_>>();
        all.push(source());
        for (key, value) in [("--injected", &injected), ("--out", &out), ("--results", &results)] {
            all.extend([key.to_string(), value.display().to_string()]);
        }
        all.extend(budget.iter().map(|one| (*one).to_string()));
        all.push("--json".to_string());
        all
    };
    let run = |budget| {
        let args = args(budget);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        serde_json::from_str::<Value>(&succeed(&args)).unwrap()
    };

    let part = run(&["--budget", "0s"]);
    assert_eq!((&part["planned"], &part["done"]), (&7.into(), &0.into()));
    let told = run(&[]);
    assert_eq!(told["done"], 7);
    assert_eq!(told["seeds"], serde_json::json!([1]));

    let outcome = |arm: &str| read(&results, &format!("{arm}-1.json"));
    let bits = |arm: &str, kind: &str| -> f64 {
        let outcome = outcome(arm);
        let units = outcome["known"][kind].as_object().unwrap();
        let sum: f64 = units.values().map(|unit| unit["bits"].as_f64().unwrap()).sum();
        sum / units.len() as f64
    };
    for arm in ["plain", "full", "arm_0", "arm_1"] {
        assert!(bits(arm, "facts.new") < bits("untrained", "facts.new") - 0.3, "{arm}");
    }
    // Forty steps tell it from no training, and from `plain` by chance alone.
    assert!(bits("probes", "facts.two_hop") < bits("untrained", "facts.two_hop") - 0.3);
    assert!(bits("plain", "injected.seen") < bits("untrained", "injected.seen"));
    assert!(outcome("plain")["known"].get("real.concept").is_some(), "{}", outcome("plain"));
    // The arm that is plain by its levels is the plain one, to the last digit.
    assert_eq!(outcome("plain")["known"], outcome("arm_0")["known"]);
    assert!(!outcome("plain")["since"].as_array().unwrap().is_empty());
    let effect = &told["effects"][0];
    assert_eq!(
        (&effect["factor"], effect["difference"]["units"].as_u64()),
        (&"order".into(), Some(15))
    );

    for name in ["report.json", "report.md", "report.html"] {
        assert!(results.join(name).exists(), "{name}");
    }
    let page = std::fs::read_to_string(results.join("report.html")).unwrap();
    assert_eq!(page.matches("<svg").count(), 2);
    // What is missing is run again, to the same numbers; else nothing is left to do.
    let before = outcome("arm_1");
    std::fs::remove_file(results.join("arm_1-1.json")).unwrap();
    let again = run(&[]);
    assert_eq!(outcome("arm_1")["known"], before["known"]);
    assert_eq!((&again["effects"], &again["done"]), (&told["effects"], &7.into()));
    assert_eq!(run(&[]), again);
}

#[test]
fn what_cannot_be_run_is_told_first() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().join("plan.toml");
    let told = |from: &str, to: &str| {
        let text = std::fs::read_to_string(plan()).unwrap();
        assert!(text.contains(from), "{from}");
        std::fs::write(&place, text.replace(from, to)).unwrap();
        let out = folder.path().join("out").display().to_string();
        let results = folder.path().join("results").display().to_string();
        let output = kpipe(&[
            "ablate",
            place.to_str().unwrap(),
            "--source",
            &source(),
            "--out",
            &out,
            "--results",
            &results,
        ]);
        assert!(!output.status.success());
        self::text(&output.stderr)
    };
    let error = told("train.shuffle=", "train.shufle=");
    assert!(
        error.contains("did you mean `shuffle`") && error.contains("the arm `untrained`"),
        "{error}"
    );
    let error = told("\"train.steps=40\"", "\"train.steps=40\", \"train.mixed.alpha=0.3\"");
    assert!(error.contains("train.mixed.on") && error.contains("the arm"), "{error}");
    let error = told("seeds = [1]", "seeds = []");
    assert!(error.contains("`seeds` is empty") && error.contains("plan.toml"), "{error}");
    let error = told("primary = \"facts.new\"", "primary = \"fact.new\"");
    assert!(error.contains("facts.new"), "{error}");

    let seeded = kpipe(&["ablate", &plan(), "--source", &source(), "--seed", "4"]);
    assert!(text(&seeded.stderr).contains("`--seed` has no effect"), "{}", text(&seeded.stderr));
    let list = succeed(&["ablate", &plan(), "--source", &source(), "--dry-run"]);
    assert!(list.contains("arm_1") && list.contains("7 arms with 1 seeds"), "{list}");
}
