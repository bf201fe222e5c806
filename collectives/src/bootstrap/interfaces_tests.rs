use super::*;

fn listed() -> Vec<Listed> {
    [
        ("lo", "127.0.0.1", None, true),
        ("lo", "::1", None, true),
        ("docker0", "172.17.0.1", None, true),
        ("eth0", "169.254.3.3", None, true),
        ("eth0", "10.0.0.2", None, true),
        ("eth0", "fe80::2", Some(2), true),
        ("eth0", "fd00::2", None, true),
        ("eth1", "10.0.1.2", None, true),
        ("eth10", "10.0.10.2", None, true),
        ("ib0", "10.1.0.2", None, false),
    ]
    .into_iter()
    .map(|(name, address, scope_id, up)| Listed {
        address: InterfaceAddress {
            name: name.to_owned(),
            address: address.parse().expect(address),
            scope_id,
        },
        up,
    })
    .collect()
}

fn chosen(filter: &str, family: AddressFamily, loopback: bool) -> Vec<String> {
    let filter = (!filter.is_empty()).then(|| filter.parse().expect(filter));
    select(&listed(), &InterfaceChoice { filter, family }, loopback)
        .into_iter()
        .map(|item| item.address.to_string())
        .collect()
}

#[test]
fn without_a_filter_loopback_docker_and_what_is_down_are_left_out() {
    let any = AddressFamily::Any;
    assert_eq!(
        chosen("", any, false),
        ["10.0.0.2", "fd00::2", "10.0.1.2", "10.0.10.2", "169.254.3.3"]
    );
    assert_eq!(chosen("", any, true), ["127.0.0.1", "::1"]);
    assert_eq!(chosen("", AddressFamily::Ipv6, false), ["fd00::2"]);
    assert_eq!(chosen("", AddressFamily::Ipv6, true), ["::1"]);
}

#[test]
fn prefixes_whole_names_and_exclusions_choose_as_nccl_does() {
    let v4 = AddressFamily::Ipv4;
    assert_eq!(chosen("eth1", v4, false), ["10.0.1.2", "10.0.10.2"]);
    assert_eq!(chosen("=eth1", v4, false), ["10.0.1.2"]);
    assert_eq!(chosen("=eth1,eth0", v4, false), ["10.0.1.2", "10.0.0.2", "169.254.3.3"]);
    assert_eq!(chosen("docker", v4, false), ["172.17.0.1"]);
    assert_eq!(chosen("lo", v4, false), ["127.0.0.1"]);
    assert_eq!(chosen("^docker,eth1", v4, false), ["10.0.0.2", "169.254.3.3"]);
    assert_eq!(chosen("^=eth1,eth0", v4, false), ["172.17.0.1", "10.0.10.2"]);
    assert!(chosen("ib", v4, false).is_empty(), "it is down");
}

#[test]
fn a_named_interface_keeps_its_link_local_address_last_and_with_its_zone() {
    assert_eq!(
        chosen("=eth0", AddressFamily::Any, false),
        ["10.0.0.2", "fd00::2", "169.254.3.3", "fe80::2"]
    );
    let address = InterfaceAddress {
        name: "eth0".into(),
        address: "fe80::2".parse().expect("ip"),
        scope_id: Some(2),
    };
    assert_eq!(address.socket_address(7).to_string(), "[fe80::2%2]:7");
}

#[test]
fn without_another_address_loopback_is_left() {
    let only_loopback: Vec<_> = listed().into_iter().take(2).collect();
    assert_eq!(select(&only_loopback, &InterfaceChoice::default(), false).len(), 2);
}

#[test]
fn a_filter_survives_printing_and_a_wrong_one_is_named() {
    for text in ["eth0,ib", "=eth0", "^lo,docker", "^=lo"] {
        let filter: InterfaceFilter = text.parse().expect(text);
        assert_eq!(filter.to_string(), text);
    }
    for text in ["", "^", "=", "a,,b", "a,=b", "^^a", "a b"] {
        let error = text.parse::<InterfaceFilter>().expect_err(text).to_string();
        assert!(error.starts_with(&format!("ONEPATH_SOCKET_IFNAME='{text}'")), "{error}");
    }
}

#[test]
fn the_environment_gives_filter_and_family_ours_before_nccls() {
    let nccl = |name: &str| (name == NCCL_FILTER_VARIABLE).then(|| "ib".to_owned());
    let choice = InterfaceChoice::from_environment(&nccl).expect("good");
    assert_eq!(choice.filter.map(|filter| filter.to_string()).as_deref(), Some("ib"));
    let both = |name: &str| match name {
        FILTER_VARIABLE => Some("eth".to_owned()),
        NCCL_FILTER_VARIABLE => Some("ib".to_owned()),
        FAMILY_VARIABLE => Some("IPv6".to_owned()),
        _ => None,
    };
    let choice = InterfaceChoice::from_environment(&both).expect("good");
    assert_eq!(choice.filter.map(|filter| filter.to_string()).as_deref(), Some("eth"));
    assert_eq!(choice.family, AddressFamily::Ipv6);
    let wrong = |name: &str| (name != FILTER_VARIABLE).then(|| "^".to_owned());
    let error = InterfaceChoice::from_environment(&wrong).expect_err("wrong").to_string();
    assert!(error.starts_with("NCCL_SOCKET_IFNAME='^'"), "{error}");
    let wrong = |name: &str| (name == FAMILY_VARIABLE).then(|| "ipx".to_owned());
    let error = InterfaceChoice::from_environment(&wrong).expect_err("wrong").to_string();
    assert_eq!(error, "ONEPATH_SOCKET_FAMILY='ipx' is not right: use ipv4, ipv6 or any");
}

#[test]
fn this_host_has_a_loopback_address_and_no_interface_of_a_made_up_name() {
    let choice = InterfaceChoice::default();
    let found = candidates(&choice, true).expect("loopback");
    assert!(found.iter().all(|item| item.address.is_loopback()), "{found:?}");
    let choice = InterfaceChoice { filter: "=nosuch".parse().ok(), ..choice };
    let error = candidates(&choice, true).expect_err("none").to_string();
    assert!(error.contains("'=nosuch'") && error.contains("lo (127.0.0.1)"), "{error}");
}
