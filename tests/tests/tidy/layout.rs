//! Lengths, white space and paths of one machine.

use crate::lexer::{code_only, line_of, words};
use crate::{files, report};

const MOST_LINES_OF_A_FILE: usize = 600;
const MOST_LINES_OF_A_FUNCTION: usize = 70;
const MOST_CHARACTERS_OF_A_LINE: usize = 100;
const TEXT: [&str; 12] =
    ["rs", "toml", "md", "sh", "py", "yml", "yaml", "json", "c", "cc", "h", "html"];

#[test]
fn no_source_file_is_too_long() {
    let mut offences = Vec::new();
    for file in files::rust() {
        let lines = file.text.lines().count();
        if lines > MOST_LINES_OF_A_FILE {
            offences.push(format!("{}: {lines} lines", file.path));
        }
    }
    report("A file has at most 600 lines: split it by concern.", &offences);
}

#[test]
fn no_function_is_too_long() {
    let mut offences = Vec::new();
    for file in files::rust() {
        for (name, line, lines) in functions(&code_only(&file.text)) {
            if lines > MOST_LINES_OF_A_FUNCTION {
                offences.push(format!("{}: {name} has {lines} lines", file.at(line)));
            }
        }
    }
    report("A function has at most 70 lines: give its parts names.", &offences);
}

#[test]
fn lines_are_short_and_end_cleanly() {
    let mut offences = Vec::new();
    for file in files::all().into_iter().filter(|file| file.has_extension(&TEXT)) {
        if !file.text.is_empty() && !file.text.ends_with('\n') {
            offences.push(format!("{}: no line break at the end", file.path));
        }
        for (index, line) in file.text.split('\n').enumerate() {
            let long = file.has_extension(&["rs"])
                && line.chars().count() > MOST_CHARACTERS_OF_A_LINE
                && !line.contains("://");
            for (wrong, what) in [
                (long, "longer than 100 characters"),
                (line.contains('\r'), "a carriage return"),
                (line.contains('\t'), "a tab"),
                (line.trim_end_matches('\r').ends_with(' '), "blanks at the end"),
            ] {
                if wrong {
                    offences.push(format!("{}: {what}", file.at(index)));
                }
            }
        }
    }
    report("Lines have at most 100 characters, no tab, no blank at the end.", &offences);
}

#[test]
fn no_text_names_a_path_of_one_machine() {
    // Put together here, so that this file does not hold them.
    let private = [["/wo", "rk/"].concat(), ["/tmp/bash", "_jobs"].concat()];
    let mut offences = Vec::new();
    for file in files::all() {
        for (index, line) in file.text.lines().enumerate() {
            if private.iter().any(|path| line.contains(path)) {
                offences.push(format!("{}: {}", file.at(index), line.trim()));
            }
        }
    }
    report("A clone lies elsewhere: name files relative to the repository.", &offences);
}

/// Name, index of the first line and number of lines of each function with a body.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for at in words(code, "fn") {
        let rest = &code[at + 2..];
        let name: String =
            rest.trim_start().chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if let (false, Some(end)) = (name.is_empty(), body_end(code, at)) {
            let (first, last) = (line_of(code, at), line_of(code, end));
            found.push((name, first, last - first + 1));
        }
    }
    found
}

/// Where the body of the function that starts at `from` ends; none if it has no body.
fn body_end(code: &str, from: usize) -> Option<usize> {
    let mut braces = 0;
    let mut brackets = 0;
    for (at, c) in code[from..].char_indices() {
        match c {
            '(' | '[' => brackets += 1,
            ')' | ']' => brackets -= 1,
            ';' if braces == 0 && brackets == 0 => return None,
            '{' => braces += 1,
            '}' if braces == 1 => return Some(from + at),
            '}' => braces -= 1,
            _ => {}
        }
    }
    None
}

#[test]
fn functions_are_measured_from_their_first_line_to_their_last() {
    let code = "trait T { fn a(x: [u8; 4]); }\nfn b() {\n    if c {}\n}\ntype F = fn(u8);\n";
    assert_eq!(functions(code), [("b".to_owned(), 1, 3)]);
}
