//! What the architecture forbids, held by tests.

use std::fs;
use std::path::{Path, PathBuf};

/// Lines of the longest source file; beyond it, a file has two subjects.
const LONGEST: usize = 500;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_owned()
}

fn read(path: impl AsRef<Path>) -> String {
    let path = path.as_ref();
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Names under `[dependencies]` of a crate.
fn dependencies(krate: &str) -> Vec<String> {
    let manifest = read(root().join("crates").join(krate).join("Cargo.toml"));
    let section = manifest.split("\n[dependencies]").nth(1).expect("each crate has dependencies");
    let section = section.split("\n[").next().unwrap_or_default();
    section
        .lines()
        .filter_map(|line| line.split(['.', ' ', '=']).next())
        .filter(|name| !name.is_empty() && !name.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

fn sources(under: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![root().join(under)];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).expect("the folder can be read") {
            let path = entry.expect("the entry can be read").path();
            if path.is_dir() && !path.ends_with("target") {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    assert!(!found.is_empty(), "no source under {under}");
    found
}

#[test]
fn core_depends_on_almost_nothing() {
    let allowed = ["sha2", "thiserror"];
    for dependency in dependencies("core") {
        assert!(allowed.contains(&dependency.as_str()), "core must stay pure: {dependency} is not among {allowed:?}");
    }
}

#[test]
fn the_edges_do_not_know_each_other() {
    for (krate, forbidden) in [
        ("consul", ["kube", "k8s-openapi", "consul8s-kube"].as_slice()),
        ("kube", ["consul8s-consul"].as_slice()),
        ("sim", ["consul8s-consul", "consul8s-kube", "kube", "k8s-openapi"].as_slice()),
        ("testbed", ["consul8s-core", "consul8s-consul", "consul8s-kube", "consul8s-sim"].as_slice()),
    ] {
        for dependency in dependencies(krate) {
            assert!(!forbidden.contains(&dependency.as_str()), "{krate} must not depend on {dependency}");
        }
    }
}

#[test]
fn every_crate_keeps_the_lints_of_the_workspace() {
    let crates = fs::read_dir(root().join("crates")).expect("crates").map(|entry| entry.expect("entry").path());
    for krate in crates.chain([root().join("xtask")]) {
        let manifest = read(krate.join("Cargo.toml"));
        assert!(manifest.contains("[lints]\nworkspace = true"), "{}: no [lints] workspace = true", krate.display());
    }
    assert!(read(root().join("Cargo.toml")).contains("unsafe_code = \"forbid\""));
}

#[test]
fn a_file_has_one_subject() {
    for file in sources("crates").into_iter().chain(sources("xtask")) {
        let lines = read(&file).lines().count();
        let tests = file.to_string_lossy().contains("test");
        assert!(tests || lines <= LONGEST, "{}: {lines} lines; split it by subject", file.display());
    }
}

#[test]
fn only_the_seam_names_a_future_in_core() {
    for file in sources("crates/core/src") {
        if file.ends_with("ports.rs") {
            continue;
        }
        let text = read(&file);
        for word in ["async fn", "impl Future", "std::future"] {
            assert!(!text.contains(word), "{}: {word} belongs into ports.rs or into an edge", file.display());
        }
    }
}

#[test]
fn every_decision_is_numbered_and_says_why() {
    let mut numbers: Vec<String> = Vec::new();
    for entry in fs::read_dir(root().join("docs/adr")).expect("docs/adr") {
        let path = entry.expect("entry").path();
        let name = path.file_name().expect("name").to_string_lossy().into_owned();
        numbers.push(name[..4].to_owned());
        let text = read(&path);
        for part in ["**Decision.**", "**Why.**", "**Consequences.**"] {
            assert!(text.contains(part), "{name}: no {part}");
        }
    }
    numbers.sort();
    numbers.windows(2).for_each(|pair| assert_ne!(pair[0], pair[1], "two decisions have one number"));
}

/// Where a test or a file of tests may be named from.
const TESTS: [&str; 5] = [
    "",
    "crates/consul8s/tests/scenarios",
    "crates/consul8s/tests/scenarios/robustness",
    "crates/consul8s/tests/datapath",
    "crates/consul8s/src",
];

/// What stands in backticks in the last column of those tables of a page whose last column is for tests.
fn tests_named_in(page: &str) -> Vec<String> {
    let text = read(root().join(page));
    let mut named = Vec::new();
    let mut is_for_tests = false;
    for line in text.lines() {
        let cells: Vec<&str> = line.trim().trim_matches('|').split(" | ").collect();
        if !line.starts_with('|') {
            is_for_tests = false;
        } else if cells.last().is_some_and(|last| matches!(last.trim(), "test" | "tests")) {
            is_for_tests = true;
        } else if is_for_tests {
            let spans = cells.last().into_iter().flat_map(|cell| cell.split('`').skip(1).step_by(2));
            named.extend(spans.map(str::to_owned));
        }
    }
    assert!(named.len() > 10, "{page}: no table of tests");
    named
}

#[test]
fn the_tests_that_the_promises_name_exist() {
    let files: Vec<PathBuf> = sources("crates").into_iter().chain(sources("xtask")).collect();
    let all: String = files.iter().map(read).collect();
    let is_path = |name: &str| TESTS.iter().any(|folder| root().join(folder).join(name).exists());
    let is_module = |name: &str| {
        let file = format!("{name}.rs");
        files.iter().any(|path| path.ends_with(&file) || path.iter().any(|part| part == name))
    };
    for page in ["docs/reliability.md", "docs/security.md"] {
        let exists = |named: &String| {
            let (place, name) = named.rsplit_once("::").unwrap_or(("", named));
            let scenario = all.contains(&format!("scenario!({name})"));
            match place {
                _ if named.starts_with("cargo ") => true,
                _ if named.contains('/') || named.ends_with(".rs") => is_path(named),
                "real" | "sim" | "acl" => scenario,
                _ => scenario || all.contains(&format!("fn {name}(")) || !place.is_empty() && is_module(name),
            }
        };
        let missing: Vec<String> = tests_named_in(page).into_iter().filter(|named| !exists(named)).collect();
        assert!(missing.is_empty(), "{page} names tests that do not exist: {missing:?}");
    }
}
