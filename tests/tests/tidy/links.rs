//! Relative links in markdown.

use std::path::Path;

use crate::{files, report};

#[test]
fn relative_links_lead_to_files_of_the_repository() {
    let root = files::root();
    let mut offences = Vec::new();
    for file in files::all().into_iter().filter(|file| file.has_extension(&["md"])) {
        let folder = root.join(&file.path);
        let folder = folder.parent().expect("a file lies in a folder");
        for (line, target) in links(&file.text) {
            let path = target.split('#').next().unwrap_or_default();
            let there = folder.join(path);
            let inside = there.canonicalize().is_ok_and(|there| is_inside(&there, &root));
            if !path.is_empty() && !inside {
                offences.push(format!("{}: {target}", file.at(line)));
            }
        }
    }
    report("Each relative link leads to a file of the repository.", &offences);
}

fn is_inside(path: &Path, root: &Path) -> bool {
    root.canonicalize().is_ok_and(|root| path.starts_with(root))
}

/// Line (from 0) and target of each link that is not to another site, outside code.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut in_block = false;
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            in_block = !in_block;
        } else if !in_block {
            // Every second part lies between backquotes.
            let prose: String = line.split('`').step_by(2).collect();
            let mut targets: Vec<&str> =
                prose.split("](").skip(1).filter_map(until_closed).collect();
            targets.extend(definition(line));
            let relative = targets.into_iter().filter(|target| is_relative(target));
            found.extend(relative.map(|target| (index, target.to_owned())));
        }
    }
    found
}

fn until_closed(rest: &str) -> Option<&str> {
    let (target, _) = rest.split_once(')')?;
    target.split_whitespace().next()
}

/// The target of `[name]: target`.
fn definition(line: &str) -> Option<&str> {
    let (_, target) = line.strip_prefix('[')?.split_once("]: ")?;
    target.split_whitespace().next()
}

fn is_relative(target: &str) -> bool {
    !target.contains("://") && !target.starts_with("mailto:")
}

#[test]
fn links_in_code_and_to_other_sites_are_left_alone() {
    let text = "[a](x.md#y) `[b](c)` [`d`](e/) [s](https://s)\n```\n[f](g)\n```\n[h]: i.svg\n";
    let targets: Vec<String> = links(text).into_iter().map(|(_, target)| target).collect();
    assert_eq!(targets, ["x.md#y", "e/", "i.svg"]);
}
