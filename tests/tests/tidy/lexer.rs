//! Rust text with comments and literals blanked, so that braces and words that remain are code.

/// `text` with every character of comments, strings and character literals replaced by a blank;
/// line breaks stay, so line numbers do too.
pub(crate) fn code_only(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut code = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        let end = at + literal_or_comment(&chars, at);
        if end == at {
            code.push(chars[at]);
            at += 1;
        } else {
            code.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
            at = end;
        }
    }
    code
}

/// Whether `code` has `word` at byte `at`, not as part of a longer name.
pub(crate) fn is_word(code: &str, at: usize, word: &str) -> bool {
    let name = |c: char| c.is_alphanumeric() || c == '_';
    code[at..].starts_with(word)
        && !code[..at].chars().next_back().is_some_and(name)
        && !code[at + word.len()..].chars().next().is_some_and(name)
}

/// Byte positions of `word` in `code`, whole words only.
pub(crate) fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |&at| is_word(code, at, word))
}

/// Index of the line that holds byte `at`, from 0.
pub(crate) fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count()
}

/// How many characters from `at` on are a comment or literal; 0 where code is.
fn literal_or_comment(chars: &[char], at: usize) -> usize {
    let rest = &chars[at..];
    let inside_a_name = at > 0 && (chars[at - 1].is_alphanumeric() || chars[at - 1] == '_');
    match rest {
        ['/', '/', ..] => rest.iter().position(|&c| c == '\n').unwrap_or(rest.len()),
        ['/', '*', ..] => block_comment(rest),
        ['"', ..] => quoted(rest, '"'),
        ['\'', ..] => character(rest),
        ['r', ..] if !inside_a_name => raw_string(rest, 1),
        ['b' | 'c', 'r', ..] if !inside_a_name => raw_string(rest, 2),
        _ => 0,
    }
}

fn block_comment(rest: &[char]) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        match rest[at..] {
            ['/', '*', ..] => (depth, at) = (depth + 1, at + 2),
            ['*', '/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return at;
        }
    }
    at
}

fn quoted(rest: &[char], quote: char) -> usize {
    let mut at = 1;
    while at < rest.len() {
        match rest[at] {
            '\\' => at += 2,
            c if c == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// A character literal, or 0 for the start of a lifetime.
fn character(rest: &[char]) -> usize {
    match rest {
        ['\'', '\\', ..] => quoted(rest, '\''),
        ['\'', _, '\'', ..] => 3,
        _ => 0,
    }
}

/// `r"…"` or `r#"…"#` with the hashes starting at `hashes_at`; 0 if it is a name such as `r#type`.
fn raw_string(rest: &[char], hashes_at: usize) -> usize {
    let hashes = rest[hashes_at..].iter().take_while(|&&c| c == '#').count();
    let open = hashes_at + hashes;
    if rest.get(open) != Some(&'"') {
        return 0;
    }
    let closes = |at: usize| {
        let tail = rest.get(at + 1..at + 1 + hashes);
        rest[at] == '"' && tail.is_some_and(|tail| tail.iter().all(|&c| c == '#'))
    };
    (open + 1..rest.len()).find(|&at| closes(at)).map_or(rest.len(), |at| at + 1 + hashes)
}

#[test]
fn braces_in_literals_and_comments_are_not_code() {
    let text =
        "a('{', \"{\\\"{\", r#\"{\"{\"#, b'{', br\"{\") // {\n/* { /* { */ { */ fn f<'a>() {}";
    let code = code_only(text);
    assert_eq!(code.matches('{').count(), 1, "{code}");
    assert!(code.ends_with("fn f<'a>() {}"));
    assert_eq!(line_of(&code, code.find("fn").expect("code stays")), 1);
}

#[test]
fn a_word_inside_a_longer_name_is_not_found() {
    assert_eq!(words("unsafe_code unsafe {} not_unsafe", "unsafe").collect::<Vec<_>>(), [12]);
}
