//! House rules that neither the compiler nor clippy checks, over every file of the repository.
//!
//! | module | what it holds |
//! |---|---|
//! | [`files`] | finding and reading the repository's files |
//! | [`lexer`] | Rust text with comments and literals blanked, so that braces and words are code |
//! | [`layout`] | lengths, white space, paths of one machine |
//! | [`source`] | words, re-exports, maps of modules |
//! | [`unsafe_code`] | where unsafe code may be, and that each block has its proof |
//! | [`layers`] | which crate may depend on which, and what may not do I/O |
//! | [`links`] | relative links in markdown |

mod files;
mod layers;
mod layout;
mod lexer;
mod links;
mod source;
mod unsafe_code;

/// Fails with every offence on a line of its own and what to do about them.
fn report(rule: &str, offences: &[String]) {
    assert!(
        offences.is_empty(),
        "{rule}\n{} offences:\n  {}\n",
        offences.len(),
        offences.join("\n  ")
    );
}
