//! Our declarations of libibverbs compared with those of the crate `rdma-sys`, which bindgen makes
//! from the installed header.
//!
//! `cargo test --manifest-path tests/verbs_layout/Cargo.toml`, with the packages libclang-dev,
//! libibverbs-dev, librdmacm-dev and pkg-config. The transport itself has the same test with a C
//! compiler, which needs only the header.
//!
//! | module | what it holds |
//! |---|---|
//! | [`types`], [`constants`], [`layout_table`] | the files of the transport |
#![cfg(test)]
#![allow(
    dead_code,
    non_camel_case_types,
    reason = "files of the transport, in which they have their reasons"
)]

#[path = "../../../transport/src/verbs/raw/constants.rs"]
#[macro_use]
mod constants;
#[path = "../../../transport/src/verbs/raw/layout_table.rs"]
#[macro_use]
mod layout_table;
#[path = "../../../transport/src/verbs/raw/types.rs"]
mod types;

use std::mem::offset_of;

/// The offset of a field in `rdma-sys`, which has names of its own for unions without one.
macro_rules! their_offset {
    (ibv_wc, imm_data) => {
        offset_of!(rdma_sys::ibv_wc, imm_data_invalidated_rkey_union)
    };
    (ibv_send_wr, imm_data) => {
        offset_of!(rdma_sys::ibv_send_wr, imm_data_invalidated_rkey_union)
    };
    ($structure:ident, $field:ident) => {
        offset_of!(rdma_sys::$structure, $field)
    };
}

/// What the sizes must be to each other.
macro_rules! fits {
    (Whole, $ours:expr, $theirs:expr) => {
        $ours == $theirs
    };
    (Start, $ours:expr, $theirs:expr) => {
        $ours <= $theirs
    };
    // What newer headers have at the end may be in ours or in theirs.
    (Growing, $ours:expr, $theirs:expr) => {
        $ours.abs_diff($theirs) <= 8
    };
}

macro_rules! compare_structures {
    ($($extent:ident $name:ident { $($field:ident),* $(,)? })*) => {{
        let mut compared = 0;
        $({
            let (ours, theirs) = (size_of::<types::$name>(), size_of::<rdma_sys::$name>());
            assert!(fits!($extent, ours, theirs), "{}: {ours}, {theirs}", stringify!($name));
            $(
                let theirs = their_offset!($name, $field);
                let what = concat!(stringify!($name), ".", stringify!($field));
                assert_eq!(offset_of!(types::$name, $field), theirs, "{what}");
                compared += 1;
            )*
        })*
        compared
    }};
}

/// The value of a constant in `rdma-sys`, which has five ways to say one.
macro_rules! their_constant {
    (ibv_gid_type, $name:ident) => {
        Some(rdma_sys::$name as u32)
    };
    // An enumeration without a name, which it leaves out.
    (link_layer, $name:ident) => {
        None
    };
    (ibv_wc_flags, $name:ident) => {
        Some(rdma_sys::ibv_wc_flags::$name.0)
    };
    (ibv_access_flags, $name:ident) => {
        Some(rdma_sys::ibv_access_flags::$name.0)
    };
    (ibv_qp_attr_mask, $name:ident) => {
        Some(rdma_sys::ibv_qp_attr_mask::$name.0)
    };
    (ibv_send_flags, $name:ident) => {
        Some(rdma_sys::ibv_send_flags::$name.0)
    };
    ($enumeration:ident, $name:ident) => {
        Some(rdma_sys::$enumeration::$name as u32)
    };
}

macro_rules! compare_constants {
    ($($enumeration:ident { $($name:ident = $value:expr;)* })*) => {{
        let mut compared = 0;
        $($(
            let theirs: Option<u32> = their_constant!($enumeration, $name);
            if let Some(theirs) = theirs {
                assert_eq!(constants::$name, theirs, stringify!($name));
                compared += 1;
            }
        )*)*
        compared
    }};
}

#[test]
fn every_field_is_where_rdma_sys_has_it() {
    let compared: u32 = with_structures!(compare_structures);
    println!("{compared} fields compared");
    assert!(compared > 150);
}

#[test]
fn every_constant_has_the_value_that_rdma_sys_gives_it() {
    let compared: u32 = with_constants!(compare_constants);
    println!("{compared} constants compared");
    assert!(compared > 60);
}

#[test]
fn what_unions_hold_is_where_rdma_sys_has_it() {
    let (ours, theirs) = (offset_of!(types::ibv_send_wr, rest), {
        offset_of!(rdma_sys::ibv_send_wr, bind_mw_tso_union)
    });
    assert_eq!(ours, theirs);
    let (ours, theirs) =
        (offset_of!(types::ibv_send_wr_rdma, rkey), { offset_of!(rdma_sys::rdma_t, rkey) });
    assert_eq!(ours, theirs);
    // Counted from the end, since the structure grows at its start.
    let from_end = offset_of!(rdma_sys::verbs_context, context);
    let ours = offset_of!(types::verbs_context, context);
    for (ours_at, theirs_at) in [
        (offset_of!(types::verbs_context, query_port), {
            offset_of!(rdma_sys::verbs_context, query_port)
        }),
        (offset_of!(types::verbs_context, sz), offset_of!(rdma_sys::verbs_context, sz)),
    ] {
        assert_eq!(ours - ours_at, from_end - theirs_at);
    }
}
