//! Objects as YAML.
//!
//! Texts stand in quotes as JSON has them, unless they are plain words or whole lines, so that no
//! reader, old or new, takes one for a number, a date or a truth value.

use std::fmt::Write;

use serde_json::Value;

/// Documents, one after the other.
pub(super) fn documents<'a>(objects: impl Iterator<Item = &'a Value>) -> String {
    let mut text = String::new();
    for object in objects {
        text.push_str("---\n");
        block(&mut text, object, 0);
    }
    text
}

/// A value on lines of its own.
fn block(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(fields) if !fields.is_empty() => {
            for (name, value) in fields {
                indent(text, depth);
                field(text, name, value, depth);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                indent(text, depth);
                text.push_str("- ");
                item_of_list(text, item, depth);
            }
        }
        other => {
            indent(text, depth);
            inline(text, other, depth);
        }
    }
}

/// `name: value`, after the indentation.
fn field(text: &mut String, name: &str, value: &Value, depth: usize) {
    text.push_str(&scalar(name));
    text.push(':');
    if is_block(value) {
        text.push('\n');
        block(text, value, depth + 1);
    } else {
        text.push(' ');
        inline(text, value, depth + 1);
    }
}

/// What follows `- `; the first field of an object stands on the same line.
fn item_of_list(text: &mut String, item: &Value, depth: usize) {
    match item {
        Value::Object(fields) if !fields.is_empty() => {
            for (index, (name, value)) in fields.iter().enumerate() {
                if index > 0 {
                    indent(text, depth + 1);
                }
                field(text, name, value, depth + 1);
            }
        }
        other => inline(text, other, depth + 1),
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(fields) => !fields.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

/// A value that begins on the present line; `depth` is that of lines below it.
fn inline(text: &mut String, value: &Value, depth: usize) {
    match value {
        Value::String(string) if is_lines(string) => {
            text.push_str("|\n");
            for line in string.lines() {
                if !line.is_empty() {
                    indent(text, depth);
                }
                text.push_str(line);
                text.push('\n');
            }
        }
        Value::String(string) => writeln!(text, "{}", scalar(string)).expect("a string takes all"),
        // Of lists and objects only empty ones come here, and lists in lists, which JSON's form
        // suits.
        other => writeln!(text, "{other}").expect("a string takes all"),
    }
}

/// Whether a text can stand as lines: printable, with a line end at its end alone or between lines.
fn is_lines(text: &str) -> bool {
    let printable = |byte: u8| (b' '..=b'~').contains(&byte) || byte == b'\n';
    text.ends_with('\n')
        && !text.ends_with("\n\n")
        && !text.starts_with([' ', '\n'])
        && text.bytes().all(printable)
}

fn scalar(text: &str) -> String {
    const WORDS: [&str; 10] = ["true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan"];
    let letters = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let plain = text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(letters)
        && !WORDS.contains(&text.to_ascii_lowercase().as_str());
    if plain {
        return text.to_owned();
    }
    let mut quoted = String::new();
    // JSON leaves some control characters as they are, which YAML does not take.
    for c in Value::from(text).to_string().chars() {
        match c {
            '\u{7f}'..='\u{9f}' | '\u{2028}' | '\u{2029}' | '\u{feff}' => {
                write!(quoted, "\\u{:04x}", u32::from(c)).expect("a string takes all");
            }
            c => quoted.push(c),
        }
    }
    quoted
}

fn indent(text: &mut String, depth: usize) {
    text.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read_back_by_a_yaml_reader() {
        let value = json!({
            "words": ["a", "true", "No", "1", "1e3", "0x1", "2020-01-01"],
            "marks": ["", " ", "~", "a: b", "#c"],
            "lines": ["a\nb\n", "a\n\n  b\n", " a\n", "a\n\n", "a\nb"],
            "odd": ["\u{85}\u{2028}\u{7f}é😀\t\n"],
            "numbers": [0, -1, 1.5, 288],
            "empty": [[], {}],
            "key: odd": { "x.io/y": { "deep": [{ "a": [{ "b": 1 }], "c": "d" }, [1, "2"]] } },
            "none": null,
            "flag": true,
        });
        let text = documents([&value].into_iter());
        let back: Value = serde_saphyr::from_str(&text).expect(&text);
        assert_eq!(back, value, "{text}");
    }
}
