//! What the runtimes and the crate under them may not know: the chat. They are read here as plain
//! text, as a reviewer would.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The crates that turn sockets into calls and nothing else.
const CRATES: [&str; 3] = ["driver", "runtime-std", "runtime-smol"];

/// All that they may build on.
const DEPENDENCIES: [&str; 8] = [
    "chatroom-core",
    "chatroom-driver",
    "parking_lot",
    "rustix",
    "socket2",
    "smol",
    "async-io",
    "signal-hook",
];

/// All that they may use of the core: the trait that every protocol implements, and its clock.
const CORE_MODULES: [&str; 2] = ["machine", "time"];

/// Words of the chat, and of what lies between it and a socket.
const FORBIDDEN: [&str; 27] = [
    "alive",
    "broadcast",
    "broadcasts",
    "chat",
    "command",
    "commands",
    "deliver",
    "delivered",
    "grid",
    "heartbeat",
    "heartbeats",
    "incarnation",
    "line",
    "lines",
    "link",
    "links",
    "log",
    "logs",
    "master",
    "mesh",
    "message",
    "messages",
    "msg",
    "peer",
    "peers",
    "ping",
    "utf",
];

fn folder(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(of)
}

/// Every Rust file of the library of `name`, with its path for the report.
fn sources(name: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![folder(name).join("src")];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty());
    found
}

/// `text` without comments: what is said about the code may name what it leaves out.
fn code(text: &str) -> String {
    let lines = text.lines().map(|line| match line.find("//") {
        Some(comment) => &line[..comment],
        None => line,
    });
    // The standard library's words for the other end of a socket, and for a process to start.
    lines
        .collect::<Vec<_>>()
        .join("\n")
        .replace("peer_addr", "")
        .replace("process::Command", "")
}

/// The words in `code`, cut at underscores and capitals, in lower case.
fn words(code: &str) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    let mut word = String::new();
    let mut lower = false;
    for letter in code.chars().chain([' ']) {
        let new = !letter.is_ascii_alphabetic() || (letter.is_ascii_uppercase() && lower);
        if new && !word.is_empty() {
            words.insert(std::mem::take(&mut word));
        }
        if letter.is_ascii_alphabetic() {
            word.push(letter.to_ascii_lowercase());
        }
        lower = letter.is_ascii_lowercase();
    }
    words
}

/// The names in the dependency table of a manifest.
fn dependencies(manifest: &str) -> BTreeSet<String> {
    let table = manifest
        .lines()
        .skip_while(|line| line.trim() != "[dependencies]")
        .skip(1)
        .take_while(|line| !line.starts_with('['));
    table
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| {
            let end = line.find([' ', '=', '.']).unwrap();
            line[..end].to_owned()
        })
        .collect()
}

#[test]
fn the_runtimes_depend_on_nothing_that_knows_the_chat() {
    for name in CRATES {
        let manifest = fs::read_to_string(folder(name).join("Cargo.toml")).unwrap();
        let found = dependencies(&manifest);
        assert!(found.contains("chatroom-core"), "{name}: {found:?}");
        for dependency in found {
            assert!(
                DEPENDENCIES.contains(&dependency.as_str()),
                "{name} depends on {dependency}"
            );
        }
    }
}

#[test]
fn the_runtimes_use_the_core_through_its_trait_alone() {
    for name in CRATES {
        let mut uses = 0;
        for (path, text) in sources(name) {
            let code = code(&text);
            for (at, start) in code.match_indices("chatroom_core") {
                uses += 1;
                let rest = code[at + start.len()..].trim_start_matches("::");
                let module = rest
                    .split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
                    .next()
                    .unwrap();
                assert!(
                    CORE_MODULES.contains(&module),
                    "{} uses chatroom_core::{module}",
                    path.display()
                );
            }
        }
        assert!(uses > 0, "{name} does not use the core");
    }
}

#[test]
fn no_code_of_the_runtimes_has_a_word_of_the_chat() {
    for name in CRATES {
        for (path, text) in sources(name) {
            let words = words(&code(&text));
            for word in FORBIDDEN {
                assert!(!words.contains(word), "{} says {word}", path.display());
            }
        }
    }
}

#[test]
fn the_search_finds_what_it_looks_for() {
    let code = code("fn sendHeartbeat() { peer_id.ping(\"msg 1\") } // the log\n/// alive");
    let found = words(&code);
    for word in ["heartbeat", "peer", "ping", "msg"] {
        assert!(found.contains(word), "{word}");
    }
    assert!(!found.contains("log") && !found.contains("alive"));
    let manifest = "[package]\nname = \"x\"\n[dependencies]\none.workspace = true\n# no\ntwo = 1\n\n[dev-dependencies]\nthree = 1";
    assert_eq!(
        dependencies(manifest),
        ["one", "two"].map(String::from).into()
    );
}
