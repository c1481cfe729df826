//! Chinese text in one form: scripts, widths, articles of statutes, templates.

use std::path::Path;

use crate::support::{fail, manifest, project, rows, strings, succeed};

/// The books of a room.
fn books(out: &Path, room: &str) -> serde_json::Value {
    let told = manifest(out);
    let rooms = told["rooms"].as_array().unwrap();
    rooms.iter().find(|one| one["room"] == room).unwrap()["books"].clone()
}

const HANS: &str = "心肌梗死是冠状动脉急性闭塞造成的心脏疾病。患者常有胸痛，头发散乱，应当立即送往医院，\
    在发病后十二小时以内进行治疗。后来的研究发现，血压控制得好的患者复发较少。";
const HANT: &str = "心肌梗死是冠狀動脈急性閉塞造成的心臟疾病。患者常有胸痛，頭髮散亂，應當立即送往醫院，\
    在發病後十二小時以內進行治療。後來的研究發現，血壓控制得好的患者復發較少。";

#[test]
fn both_scripts_of_an_article_are_duplicates() {
    let folder = tempfile::tempdir().unwrap();
    let (docs, out) = (folder.path().join("docs.jsonl"), folder.path().join("out"));
    let japanese = "心筋梗塞は冠動脈が急に閉塞して起こる心臓の病気である。胸の痛みがある患者は、すぐに病院へ運ばれる。";
    let record = |id: &str, text: &str| serde_json::json!({"id": id, "text": text}).to_string();
    let lines = [record("hans", HANS), record("hant", HANT), record("ja", japanese)].join("\n");
    std::fs::write(&docs, lines).unwrap();
    let source = format!("docs={}", docs.display());
    let build = |script: &str| {
        let set = format!("ingest.script={script:?}");
        let args = ["build", "--source", &source, "--out", out.to_str().unwrap(), "--set", &set];
        succeed(&[&args[..], &["--set", "max_removed=1.0"]].concat());
        let all = rows(&out.join("data"), "");
        let mut texts = strings(&all, "text");
        texts.sort();
        texts
    };

    assert_eq!(build("as_is").len(), 3);
    let sorted = |mut texts: Vec<&str>| {
        texts.sort_unstable();
        texts.into_iter().map(str::to_string).collect::<Vec<String>>()
    };
    assert_eq!(build("hans"), sorted(vec![HANS, japanese]));
    assert_eq!(books(&out, "ingest")["notes"]["chinese: of another script"], 1);
    assert_eq!(build("hant"), sorted(vec![HANT, japanese]));
    let args = ["build", "--source", &source, "--set", "ingest.script=\"traditional\""];
    fail(&args, 2, &["ingest.script", "as_is", "hans", "hant"]);
}

/// Against the fixtures, read line by line.
#[test]
fn statutes_are_read_article_by_article() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let pipeline = project().join("pipelines/zh-law.toml").display().to_string();
    let args = ["build", "--source", "law", "--pipeline", &pipeline, "--out"];
    succeed(&[&args[..], &[out.to_str().unwrap(), "--set", "max_removed=1.0"]].concat());

    let mut expected: Vec<(String, String)> = Vec::new();
    for file in std::fs::read_dir(project().join("fixtures/law")).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let law = text.lines().next().unwrap().trim_start_matches("# ").to_string();
        let is_article = |line: &&str| {
            line.starts_with('第')
                && line.split(' ').next().is_some_and(|mark| mark.ends_with('条'))
        };
        expected
            .extend(text.lines().filter(is_article).map(|line| (law.clone(), line.to_string())));
    }
    let all = rows(&out.join(".kpipe/1-ingest"), "part-");
    let (titles, texts) = (strings(&all, "title"), strings(&all, "text"));
    let metadata = strings(&all, "metadata");
    assert!(expected.len() > 100, "{}", expected.len());
    for (law, line) in &expected {
        let mark = line.split(' ').next().unwrap();
        let title = format!("{law} {mark}");
        let of = |at: &usize| titles[*at] == title && texts[*at].contains(line.as_str());
        assert!((0..titles.len()).any(|at| of(&at)), "{title}: {line}");
    }
    // One of two editions of a law has the same title, and articles that are the same.
    assert!(titles.len() <= expected.len() && titles.len() + 30 > expected.len());
    let at = titles.iter().position(|title| title == "云岭市房屋租赁合同规则 第五条").unwrap();
    assert!(texts[at].starts_with("云岭市房屋租赁合同规则 第二章 押金与租金\n\n第五条 押金"));
    let told: serde_json::Value = serde_json::from_str(&metadata[at]).unwrap();
    assert_eq!(told["path"], serde_json::json!(["第二章 押金与租金"]));
    assert!(told["enacted"][0].as_str().unwrap().contains("云岭市人民政府"));
}

#[test]
fn widths_and_templates_go() {
    let folder = tempfile::tempdir().unwrap();
    let (docs, out) = (folder.path().join("asked.csv"), folder.path().join("out"));
    let text = "id,ask,answer\n1,医生，您好！血压１６０／９０，吃什么药?谢谢医生。,\"病情分析：应当检查(如心电图),\
                少吃盐.祝您早日康复！\"\n2,你好,谢谢！\n";
    let text = text.replace("医生，您好！血压１６０／９０，", "医生，您好！血压１６０／９０；");
    std::fs::write(&docs, text).unwrap();
    let source = format!("asked={}", docs.display());
    let set = [
        "source.asked.fields={text=\"ask+answer\"}",
        "source.asked.language=\"zh\"",
        "source.asked.templates=[\"dialogue\"]",
        "ingest.width=\"fold\"",
    ];
    let base = ["build", "--source", &source, "--out", out.to_str().unwrap()];
    let sets: Vec<&str> = set.iter().flat_map(|one| ["--set", one]).collect();
    succeed(&[&base[..], &sets].concat());
    let all = rows(&out.join(".kpipe/1-ingest"), "part-");
    assert_eq!(strings(&all, "text"), ["血压160/90；吃什么药？\n\n应当检查（如心电图），少吃盐。"]);
    // A greeting alone says nothing, and is told.
    assert_eq!(books(&out, "ingest")["refused"]["no_text"], 1);
    let wrong = ["--set", "source.asked.templates=[\"dialog\"]"];
    fail(&[&base[..], &sets[..4], &wrong].concat(), 2, &["did you mean `dialogue`?"]);
}
