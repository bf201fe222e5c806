//! Where unsafe code may be, and that each block has its proof.

use crate::lexer::{code_only, line_of, words};
use crate::{files, report};

/// Files and folders that need unsafe code, each with the reason.
const ALLOWED: &[(&str, &str)] = &[
    ("bench/src/lab/fabric/offload.rs", "the ioctl that sets offloads of a device"),
    ("bench/src/limits/mapped.rs", "mapped memory, to measure the limit of copying between ranks"),
    ("collectives/examples/reduce_speed.rs", "calls the kernels as transports do, by pointer"),
    ("collectives/src/communicator/lent.rs", "takes borrows apart while calls use their memory"),
    ("collectives/src/communicator/mod.rs", "starts calls whose buffers the caller lends"),
    ("collectives/src/communicator/owned.rs", "keeps memory that calls in flight use"),
    ("collectives/src/communicator/registered.rs", "registers memory that its buffer then owns"),
    ("collectives/src/communicator/scope.rs", "gives borrows back after calls"),
    ("collectives/src/engine/mod.rs", "operations in flight hold pointers into lent buffers"),
    ("collectives/src/reduce/", "SIMD intrinsics and the kernels behind CombineFn and FinishFn"),
    ("deploy/pack/src/cpsat/library.rs", "calls of libortools, and the clock of a thread"),
    ("deploy/src/launch/group/child.rs", "ties a process to its parent between fork and exec"),
    ("transport/examples/local_speed.rs", "posts as the engine does"),
    ("transport/src/flow/", "chunks are placed through pointers into the caller's buffers"),
    ("transport/src/lib.rs", "a transport is told of memory that its device may read"),
    ("transport/src/local/", "memory shared between processes"),
    ("transport/src/spray/", "payloads are read from and placed in the caller's buffers; recvmmsg"),
    ("transport/src/tcp/", "bytes are received straight into the caller's buffers"),
    ("transport/tests/allocation.rs", "posts as the engine does"),
    ("transport/tests/processes.rs", "posts as the engine does"),
    ("transport/src/verbs/", "calls of libibverbs; memory that a device reads and writes"),
    (
        "transport/tests/support/",
        "lends buffers and kernels to a transport as the engine does; an allocator that counts",
    ),
];

/// How many lines above an unsafe block its proof may begin.
const LINES_ABOVE: usize = 12;

#[test]
fn unsafe_code_is_only_where_it_was_agreed() {
    let mut offences = Vec::new();
    for file in files::rust() {
        if ALLOWED.iter().any(|(path, _)| file.path.starts_with(path)) {
            continue;
        }
        let code = code_only(&file.text);
        for (line, form) in uses(&code) {
            offences.push(format!("{}: unsafe {form}", file.at(line)));
        }
    }
    report("Move it to a module in ALLOWED of unsafe_code.rs, or add its module.", &offences);
}

#[test]
fn each_unsafe_block_has_its_proof() {
    let mut offences = Vec::new();
    for file in files::rust() {
        let code = code_only(&file.text);
        let lines: Vec<&str> = file.text.lines().collect();
        for (line, form) in uses(&code) {
            let above = &lines[line.saturating_sub(LINES_ABOVE)..=line];
            // What an unsafe function or trait asks of its user is checked by clippy.
            let needs_proof = form == "{" || form == "impl";
            if needs_proof && !above.iter().any(|text| text.contains("SAFETY:")) {
                offences.push(format!("{}: unsafe {form}", file.at(line)));
            }
        }
    }
    report(
        "Say above it, after SAFETY:, which invariant makes it sound and who keeps it.",
        &offences,
    );
}

/// Lines (from 0) with unsafe code, each with what follows the word: `{`, `impl`, `fn`, `trait` or
/// `extern`. Types of function pointers and attributes are not code that runs.
fn uses(code: &str) -> Vec<(usize, &'static str)> {
    let mut found = Vec::new();
    for at in words(code, "unsafe") {
        let rest = code[at + "unsafe".len()..].trim_start();
        let form = ["{", "impl", "fn ", "trait", "extern"].into_iter();
        if let Some(form) = form.into_iter().find(|form| rest.starts_with(form)) {
            let pointer_type = form == "extern" && rest.contains("fn(") && !rest.contains('{');
            if !pointer_type {
                found.push((line_of(code, at), form.trim_end()));
            }
        }
    }
    found
}

#[test]
fn blocks_are_found_and_pointer_types_are_not() {
    let code = "unsafe { x }\ntype F = unsafe fn(u8);\nunsafe impl Send for X {}\nunsafe fn f() {}";
    assert_eq!(uses(code), [(0, "{"), (2, "impl"), (3, "fn")]);
    assert!(uses("#![forbid(unsafe_code)]\n#[unsafe(no_mangle)]").is_empty());
}
