//! Our declarations compared with `<infiniband/verbs.h>`: sizes, offsets, constants.
//!
//! One table of structures and fields, with C's names, is measured three times: here by Rust; by the C
//! compiler with the installed header; with the feature `verbs-layout` also in the structures of the
//! crate `rdma-sys` (`layout_sys`), which bindgen makes from the header.

use std::mem::offset_of;
use std::path::PathBuf;
use std::process::Command;
use std::{env, fs, process};

use super::constants;
use super::types::*;

/// A structure: its name, how large it is, and the offsets of its fields.
pub(super) struct Measured {
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

/// Every structure of `types` but `ibv_srq` (opaque), `ibv_send_wr_rdma` and `verbs_context`, which
/// are measured apart.
fn structures() -> Vec<Measured> {
    measure! {
        Whole ibv_gid { raw }
        Whole ibv_gid_entry { gid, gid_index, port_num, gid_type, ndev_ifindex }
        Whole ibv_device { node_type, transport_type, name, dev_name, dev_path, ibdev_path }
        Whole ibv_context_ops { poll_cq, req_notify_cq, post_send, post_recv }
        Whole ibv_context { device, ops, cmd_fd, async_fd, num_comp_vectors, mutex, abi_compat }
        Growing ibv_port_attr {
            state, max_mtu, active_mtu, gid_tbl_len, port_cap_flags, max_msg_sz, bad_pkey_cntr,
            qkey_viol_cntr, pkey_tbl_len, lid, sm_lid, lmc, max_vl_num, sm_sl, subnet_timeout,
            init_type_reply, active_width, active_speed, phys_state, link_layer, flags,
            port_cap_flags2,
        }
        Whole ibv_device_attr {
            fw_ver, node_guid, sys_image_guid, max_mr_size, page_size_cap, vendor_id,
            vendor_part_id, hw_ver, max_qp, max_qp_wr, device_cap_flags, max_sge, max_sge_rd,
            max_cq, max_cqe, max_mr, max_pd, max_qp_rd_atom, max_ee_rd_atom, max_res_rd_atom,
            max_qp_init_rd_atom, max_ee_init_rd_atom, atomic_cap, max_ee, max_rdd, max_mw,
            max_raw_ipv6_qp, max_raw_ethy_qp, max_mcast_grp, max_mcast_qp_attach,
            max_total_mcast_qp_attach, max_ah, max_fmr, max_map_per_fmr, max_srq, max_srq_wr,
            max_srq_sge, max_pkeys, local_ca_ack_delay, phys_port_cnt,
        }
        Whole ibv_async_event { element, event_type }
        Whole ibv_wc {
            wr_id, status, opcode, vendor_err, byte_len, imm_data, qp_num, src_qp, wc_flags,
            pkey_index, slid, sl, dlid_path_bits,
        }
        Whole ibv_pd { context, handle }
        Whole ibv_mr { context, pd, addr, length, handle, lkey, rkey }
        Whole ibv_comp_channel { context, fd, refcnt }
        Start ibv_cq { context, channel, cq_context, handle, cqe }
        Start ibv_qp {
            context, qp_context, pd, send_cq, recv_cq, srq, handle, qp_num, state, qp_type,
        }
        Whole ibv_qp_cap {
            max_send_wr, max_recv_wr, max_send_sge, max_recv_sge, max_inline_data,
        }
        Whole ibv_qp_init_attr {
            qp_context, send_cq, recv_cq, srq, cap, qp_type, sq_sig_all,
        }
        Whole ibv_global_route { dgid, flow_label, sgid_index, hop_limit, traffic_class }
        Whole ibv_ah_attr { grh, dlid, sl, src_path_bits, static_rate, is_global, port_num }
        Whole ibv_qp_attr {
            qp_state, cur_qp_state, path_mtu, path_mig_state, qkey, rq_psn, sq_psn, dest_qp_num,
            qp_access_flags, cap, ah_attr, alt_ah_attr, pkey_index, alt_pkey_index,
            en_sqd_async_notify, sq_draining, max_rd_atomic, max_dest_rd_atomic, min_rnr_timer,
            port_num, timeout, retry_cnt, rnr_retry, alt_port_num, alt_timeout, rate_limit,
        }
        Whole ibv_sge { addr, length, lkey }
        Whole ibv_send_wr {
            wr_id, next, sg_list, num_sge, opcode, send_flags, imm_data, wr, qp_type,
        }
        Whole ibv_recv_wr { wr_id, next, sg_list, num_sge }
    }
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
        "#include <stdio.h>\n#include <stddef.h>\n#include <infiniband/verbs.h>\nint main(void) {\n",
    );
    for (what, _) in lines {
        let expression = what
            .replace("struct_or_union_ibv_gid,", "union ibv_gid,")
            .replace("struct_or_union_ibv_gid)", "union ibv_gid)")
            .replace("struct_or_union_", "struct ");
        text.push_str(&format!("    printf(\"%zu\\n\", (size_t)({expression}));\n"));
    }
    text.push_str("    return 0;\n}\n");
    text
}

/// Runs a compiler; the reason if it is not there or does not find the header.
fn compile(source: &PathBuf, target: &PathBuf) -> Result<(), String> {
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
        println!("skipped: {reason}");
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
