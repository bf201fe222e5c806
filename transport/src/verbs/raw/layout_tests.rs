//! Our declarations compared with `<infiniband/verbs.h>`: sizes, offsets, constants.
//!
//! The table of structures and fields in `layout_table`, with C's names, is measured by Rust and by
//! the C compiler with the installed header. (`tests/verbs_layout` does the same with the crate
//! `rdma-sys` in the compiler's place.)

use std::fmt::Write;
use std::io::Write as _;
use std::mem::offset_of;
use std::path::Path;
use std::process::Command;
use std::{env, fs, process};

use super::constants;
use super::types::*;

/// A structure: its name, how large it is, and the offsets of its fields.
struct Measured {
    name: &'static str,
    size: usize,
    fields: Vec<(&'static str, usize)>,
    how: Extent,
}

/// How much of the C structure is declared.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Extent {
    /// All.
    Whole,
    /// Its start: nobody here makes one.
    Start,
    /// All that older headers have: newer ones may have more at its end.
    Growing,
}

macro_rules! measure {
    ($($extent:ident $name:ident { $($field:ident),* $(,)? })*) => {
        vec![$(Measured {
            name: stringify!($name),
            size: size_of::<$name>(),
            fields: vec![$((stringify!($field), offset_of!($name, $field))),*],
            how: Extent::$extent,
        }),*]
    };
}

fn structures() -> Vec<Measured> {
    with_structures!(measure)
}

/// What a structure with a union inside has under other names, as C expressions.
fn places() -> Vec<(&'static str, usize)> {
    let send = offset_of!(ibv_send_wr, wr);
    let at_end = size_of::<verbs_context>() - size_of::<ibv_context>();
    vec![
        ("offsetof(struct ibv_send_wr, wr.rdma.remote_addr)", send),
        ("offsetof(struct ibv_send_wr, wr.rdma.rkey)", send + offset_of!(ibv_send_wr_rdma, rkey)),
        ("sizeof(((struct ibv_send_wr *)0)->wr)", size_of::<ibv_send_wr_rdma>()),
        ("offsetof(struct ibv_send_wr, bind_mw)", offset_of!(ibv_send_wr, rest)),
        // Counted from the end, since the structure grows at its start.
        (
            "offsetof(struct verbs_context, context) - offsetof(struct verbs_context, query_port)",
            at_end - offset_of!(verbs_context, query_port),
        ),
        (
            "offsetof(struct verbs_context, context) - offsetof(struct verbs_context, sz)",
            at_end - offset_of!(verbs_context, sz),
        ),
        (
            "sizeof(struct verbs_context) - offsetof(struct verbs_context, context)",
            size_of::<ibv_context>(),
        ),
    ]
}

/// Lines of `WHAT VALUE`, as the C program prints them.
fn ours() -> Vec<(String, usize)> {
    let mut lines = Vec::new();
    for Measured { name, size, fields, how } in structures() {
        if how == Extent::Whole {
            lines.push((format!("sizeof(struct_or_union_{name})"), size));
        }
        for (field, offset) in fields {
            lines.push((format!("offsetof(struct_or_union_{name}, {field})"), offset));
        }
    }
    lines.extend(places().into_iter().map(|(what, value)| (what.to_owned(), value)));
    let all = constants::ALL.iter().map(|&(name, value)| (name.to_owned(), value as usize));
    lines.extend(all);
    lines
}

/// A C program that prints what the header says to each of our lines.
fn program(lines: &[(String, usize)]) -> String {
    let mut text = String::from(
        "#include <stdio.h>\n#include <stddef.h>\n#include <infiniband/verbs.h>\n\
         int main(void) {\n",
    );
    for (what, _) in lines {
        let expression = what
            .replace("struct_or_union_ibv_gid,", "union ibv_gid,")
            .replace("struct_or_union_ibv_gid)", "union ibv_gid)")
            .replace("struct_or_union_", "struct ");
        // Writing to a string cannot fail.
        let _ = writeln!(text, "    printf(\"%zu\\n\", (size_t)({expression}));");
    }
    text.push_str("    return 0;\n}\n");
    text
}

/// Runs a compiler; the reason if it is not there or does not find the header.
fn compile(source: &Path, target: &Path) -> Result<(), String> {
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".to_owned());
    let run = |arguments: &[&str]| {
        let mut command = Command::new(&compiler);
        command.args(arguments).output().map_err(|error| format!("no C compiler: {error}"))
    };
    let source = source.to_str().ok_or("a path that is not UTF-8")?;
    let target = target.to_str().ok_or("a path that is not UTF-8")?;
    let probe = run(&["-E", "-include", "infiniband/verbs.h", "-x", "c", "/dev/null"])?;
    if !probe.status.success() {
        return Err("no <infiniband/verbs.h> (package libibverbs-dev or rdma-core-devel)".into());
    }
    let built = run(&["-o", target, source])?;
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    Ok(())
}

#[test]
fn every_size_offset_and_constant_is_the_one_of_the_installed_header() {
    let lines = ours();
    let folder = env::temp_dir().join(format!("onepath-verbs-layout-{}", process::id()));
    fs::create_dir_all(&folder).expect("a folder for the program");
    let (source, target) = (folder.join("layout.c"), folder.join("layout"));
    fs::write(&source, program(&lines)).expect("the program can be written");
    if let Err(reason) = compile(&source, &target) {
        let _ = fs::remove_dir_all(&folder);
        drop(writeln!(std::io::stderr(), "skipped: {reason}"));
        return;
    }
    let output = Command::new(&target).output().expect("the program runs");
    let _ = fs::remove_dir_all(&folder);
    let text = String::from_utf8(output.stdout).expect("numbers");
    let theirs: Vec<usize> = text.lines().map(|line| line.parse().expect("a number")).collect();
    assert_eq!(theirs.len(), lines.len());
    let differ: Vec<String> = lines
        .iter()
        .zip(theirs)
        .filter(|((_, ours), theirs)| ours != theirs)
        .map(|((what, ours), theirs)| format!("{what}: ours {ours}, the header's {theirs}"))
        .collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
    println!("{} sizes, offsets and constants compared", lines.len());
}
