//! The structures and fields whose layout tests compare.

/// Hands all structures to a macro: how much of the C structure is declared (`Whole`, `Start`, or
/// `Growing`: all that older headers have), name, fields. `ibv_srq` is opaque; `ibv_send_wr_rdma`
/// and `verbs_context` are measured apart.
macro_rules! with_structures {
    ($use:ident) => {
        $use! {
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
    };
}
