//! Words that must not stay, re-exports by glob, and the maps that crates open with.

use crate::lexer::{code_only, line_of, words};
use crate::{files, report};

/// Macros that mark unfinished work.
const UNFINISHED: [&str; 3] = ["todo!", "unimplemented!", "dbg!"];

#[test]
fn nothing_is_left_unfinished() {
    // Put together here, so that this file does not hold them.
    let marks = [["FIX", "ME"].concat(), ["XX", "X"].concat()];
    let mut offences = Vec::new();
    for file in files::rust() {
        let code = code_only(&file.text);
        for (index, (line, code)) in file.text.lines().zip(code.lines()).enumerate() {
            let mark = marks.iter().any(|mark| words(line, mark).next().is_some());
            if mark || UNFINISHED.iter().any(|name| code.contains(name)) {
                offences.push(format!("{}: {}", file.at(index), line.trim()));
            }
        }
    }
    report("Finish it, or say in a sentence what is not done and why.", &offences);
}

#[test]
fn a_test_that_is_skipped_says_so_where_it_is_seen() {
    // What the print macros write is not shown when the test passes.
    let hidden = ["println!(\"", "skipped: "].concat();
    let mut offences = Vec::new();
    for file in files::rust() {
        for (index, line) in file.text.lines().enumerate() {
            // Examples are programs of their own.
            let at = file.at(index);
            if line.contains(&hidden) && !at.contains("/examples/") {
                offences.push(at);
            }
        }
    }
    report("Write it to standard error: writeln!(std::io::stderr(), ..).", &offences);
}

#[test]
fn an_ignored_test_gives_its_reason() {
    let mut offences = Vec::new();
    for file in files::rust() {
        for (index, line) in code_only(&file.text).lines().enumerate() {
            if line.contains("#[ignore]") {
                offences.push(file.at(index));
            }
        }
    }
    report("Write #[ignore = \"reason and how to run it\"].", &offences);
}

#[test]
fn nothing_is_re_exported_by_glob() {
    let mut offences = Vec::new();
    for file in files::rust() {
        let code = code_only(&file.text);
        for at in words(&code, "use") {
            let line_start = code[..at].rfind('\n').map_or(0, |end| end + 1);
            let public = code[line_start..at].trim_start().starts_with("pub");
            let statement = code[at..].split(';').next().unwrap_or_default();
            // `use<'a>` says what an opaque type captures.
            let captures = statement.starts_with("use<");
            if public && !captures && statement.contains('*') {
                offences.push(file.at(line_of(&code, at)));
            }
        }
    }
    report("Name each re-exported item, so that readers can find it.", &offences);
}

#[test]
fn each_crate_opens_with_a_map_of_its_modules() {
    let mut offences = Vec::new();
    for file in files::rust() {
        if !file.path.ends_with("src/lib.rs") && !file.path.ends_with("src/main.rs") {
            continue;
        }
        let map: Vec<&str> = file.text.lines().take_while(|line| line.starts_with("//!")).collect();
        if map.is_empty() {
            offences.push(format!("{}: does not open with //!", file.path));
        }
        let map = map.join("\n");
        for name in modules(&code_only(&file.text)) {
            if words(&map, &name).next().is_none() {
                offences.push(format!("{}: the map does not name '{name}'", file.path));
            }
        }
    }
    report("lib.rs and main.rs open with a //! table: module, what it holds.", &offences);
}

/// Names of the modules that `code` declares as files, but for tests.
fn modules(code: &str) -> Vec<String> {
    let declared = words(code, "mod").filter_map(|at| {
        let (name, _) = code[at + 3..].split_once(';')?;
        let name = name.trim();
        name.chars().all(|c| c.is_alphanumeric() || c == '_').then(|| name.to_owned())
    });
    declared.collect()
}

#[test]
fn modules_with_a_body_are_not_files() {
    assert_eq!(modules("pub mod a;\nmod b { fn f() { x; } }\npub(crate) mod c;"), ["a", "c"]);
}
