//! Words of others, made fit to be printed.

/// A text without line breaks, control characters and marks that turn the direction of writing, of
/// bounded length.
pub fn one_line(text: &str) -> String {
    const MOST: usize = 300;
    let turns = |c: char| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2066}'..='\u{2069}');
    let unfit = |c: char| c.is_control() || turns(c) || ('\u{2028}'..='\u{202e}').contains(&c);
    let clean = |c: char| if unfit(c) { ' ' } else { c };
    text.chars().take(MOST).map(clean).collect()
}

/// A field of a line of CSV, as RFC 4180 wants it.
pub fn csv_field(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::{csv_field, one_line};

    #[test]
    fn no_word_of_others_begins_a_line_turns_the_text_or_ends_a_field() {
        assert_eq!(one_line("a\nb\u{1b}[1mc\u{202e}d\u{2028}e"), "a b [1mc d e");
        assert_eq!(one_line(&"x".repeat(1_000)).len(), 300);
        assert_eq!(csv_field("a,\"b\"\nc"), "\"a,\"\"b\"\"\nc\"");
        assert_eq!(csv_field("plain"), "plain");
    }
}
