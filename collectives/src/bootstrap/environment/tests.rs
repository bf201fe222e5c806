use std::fs;
use std::path::Path;

use super::*;

fn read(variables: &[(&str, &str)]) -> Result<Launch, LaunchError> {
    let lookup = |name: &str| {
        variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    };
    Launch::from_environment(&lookup)
}

fn good(variables: &[(&str, &str)]) -> Launch {
    read(variables).expect("a good environment")
}

fn message(variables: &[(&str, &str)]) -> String {
    let message = read(variables).expect_err("a wrong environment").to_string();
    assert!(!message.contains('\n'), "one line: {message}");
    message
}

fn launch(rank: u32, size: u64, local: (u32, u32), address: &str, source: Launcher) -> Launch {
    Launch {
        rank: Rank::new(rank),
        world_size: WorldSize::new(size).expect("size"),
        local_rank: Some(local.0),
        local_world_size: Some(local.1),
        rendezvous: Some(address.parse().expect("address")),
        source,
    }
}

#[test]
fn torchrun_is_understood() {
    let found = good(&[
        ("RANK", "3"),
        ("WORLD_SIZE", "8"),
        ("LOCAL_RANK", "1"),
        ("LOCAL_WORLD_SIZE", "2"),
        ("MASTER_ADDR", "node7"),
        ("MASTER_PORT", "1234"),
    ]);
    assert_eq!(found, launch(3, 8, (1, 2), "node7:1234", Launcher::Torchrun));
}

#[test]
fn the_port_that_torchruns_own_store_uses_is_left_to_it() {
    let mut variables = vec![
        ("RANK", "0"),
        ("WORLD_SIZE", "2"),
        ("MASTER_ADDR", "::1"),
        ("MASTER_PORT", "65535"),
        ("TORCHELASTIC_USE_AGENT_STORE", "True"),
    ];
    let port = |launch: Launch| launch.rendezvous.map(|address| address.port());
    assert_eq!(port(good(&variables)), Some(65534));
    variables[3].1 = "1234";
    assert_eq!(port(good(&variables)), Some(1235));
    variables[4].1 = "False";
    assert_eq!(port(good(&variables)), Some(1234));
}

#[test]
fn our_own_variables_come_before_all_others() {
    let found = good(&[
        ("RANK", "3"),
        ("WORLD_SIZE", "8"),
        ("MASTER_ADDR", "node7"),
        ("ONEPATH_RANK", "1"),
        ("ONEPATH_WORLD_SIZE", "2"),
        ("ONEPATH_LOCAL_RANK", "0"),
        ("ONEPATH_LOCAL_WORLD_SIZE", "1"),
        ("ONEPATH_RENDEZVOUS", "[::1]:77"),
    ]);
    assert_eq!(found, launch(1, 2, (0, 1), "[::1]:77", Launcher::Onepath));
}

#[test]
fn open_mpi_and_pmi_are_understood_with_the_masters_address() {
    let open_mpi = good(&[
        ("OMPI_COMM_WORLD_RANK", "2"),
        ("OMPI_COMM_WORLD_SIZE", "4"),
        ("OMPI_COMM_WORLD_LOCAL_RANK", "0"),
        ("OMPI_COMM_WORLD_LOCAL_SIZE", "2"),
        ("PMIX_RANK", "2"),
        ("MASTER_ADDR", "a"),
    ]);
    assert_eq!(open_mpi, launch(2, 4, (0, 2), "a:29400", Launcher::OpenMpi));
    let pmi = good(&[
        ("PMI_RANK", "2"),
        ("PMI_SIZE", "4"),
        ("MPI_LOCALRANKID", "0"),
        ("MPI_LOCALNRANKS", "2"),
        ("MASTER_ADDR", "a"),
    ]);
    assert_eq!(pmi, launch(2, 4, (0, 2), "a:29400", Launcher::Pmi));
    assert_eq!(good(&[("PMIX_RANK", "2"), ("PMI_SIZE", "4")]).rank, Rank::new(2));
}

#[test]
fn slurm_meets_on_the_first_host_of_the_step() {
    let mut variables = vec![
        ("SLURM_PROCID", "5"),
        ("SLURM_NTASKS", "6"),
        ("SLURM_LOCALID", "1"),
        ("SLURM_STEP_NODELIST", "node[01-04,7]"),
        ("SLURM_JOB_NODELIST", "other[01-04,7]"),
        ("PMIX_RANK", "5"),
    ];
    let found = good(&variables);
    assert_eq!(found.source, Launcher::Slurm);
    assert_eq!(found.local_rank, Some(1));
    assert_eq!(found.rendezvous, Some("node01:29400".parse().expect("address")));
    variables.push(("MASTER_PORT", "7"));
    assert_eq!(good(&variables).rendezvous, Some("node01:7".parse().expect("address")));
    variables.extend([("PMI_RANK", "5"), ("PMI_SIZE", "6")]);
    let found = good(&variables);
    assert_eq!(found.source, Launcher::Pmi, "srun --mpi=pmi2");
    assert_eq!(found.rendezvous, Some("node01:7".parse().expect("address")));
}

#[test]
fn below_mpirun_the_node_list_of_its_daemons_is_not_used() {
    let found = good(&[
        ("OMPI_COMM_WORLD_RANK", "2"),
        ("OMPI_COMM_WORLD_SIZE", "4"),
        ("SLURM_PROCID", "0"),
        ("SLURM_NTASKS", "1"),
        ("SLURM_JOB_NODELIST", "node[1-2]"),
    ]);
    assert_eq!(found.rendezvous, None);
}

#[test]
fn nothing_set_lists_what_is_accepted() {
    for variables in [&[][..], &[("SLURM_NTASKS", "4")], &[("MASTER_ADDR", "a")]] {
        let text = message(variables);
        for name in ["ONEPATH_RANK", "WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMI_RANK", "SLURM_"] {
            assert!(text.contains(name), "{text}");
        }
    }
}

#[test]
fn half_a_family_names_what_is_set_and_what_is_missing() {
    for (set, missing) in [
        ("RANK", "WORLD_SIZE"),
        ("WORLD_SIZE", "RANK"),
        ("ONEPATH_RANK", "ONEPATH_WORLD_SIZE"),
        ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
        ("PMI_RANK", "PMI_SIZE"),
        ("PMIX_RANK", "PMI_SIZE"),
        ("SLURM_PROCID", "SLURM_NTASKS"),
    ] {
        let text = message(&[(set, "1")]);
        assert_eq!(text, format!("{set}=1 is set but {missing} is not: set both or neither"));
    }
    let text = message(&[("RANK", "0"), ("WORLD_SIZE", "2"), ("MASTER_PORT", "80")]);
    assert!(text.contains("MASTER_ADDR"), "{text}");
}

#[test]
fn a_wrong_number_is_named_with_its_range() {
    let size = ("WORLD_SIZE", "4");
    for (variables, expected) in [
        ([("RANK", "4"), size], "RANK='4' is not right: use a whole number from 0 to 3"),
        ([("RANK", "-1"), size], "RANK='-1' is not right: use a whole number from 0 to 3"),
        ([("RANK", ""), size], "RANK='' is not right: use a whole number from 0 to 3"),
        (
            [("RANK", "0"), ("WORLD_SIZE", "0")],
            "WORLD_SIZE='0' is not right: use a whole number from 1 to 65536",
        ),
        (
            [("RANK", "0"), ("WORLD_SIZE", "four\n")],
            "WORLD_SIZE='four\\n' is not right: use a whole number from 1 to 65536",
        ),
    ] {
        assert_eq!(message(&variables), expected);
    }
    let text = message(&[("RANK", "0"), size, ("LOCAL_RANK", "2"), ("LOCAL_WORLD_SIZE", "2")]);
    assert_eq!(text, "LOCAL_RANK='2' is not right: use a whole number from 0 to 1");
}

#[test]
fn a_wrong_address_is_named() {
    let base = [("RANK", "0"), ("WORLD_SIZE", "2")];
    for (name, value) in [("MASTER_ADDR", "a b"), ("ONEPATH_RENDEZVOUS", "a:99999")] {
        let text = message(&[base[0], base[1], (name, value)]);
        assert!(text.starts_with(&format!("{name}: '{value}' is no address")), "{text}");
    }
    let text = message(&[base[0], base[1], ("MASTER_ADDR", "a"), ("MASTER_PORT", "0")]);
    assert!(text.starts_with("MASTER_PORT='0'"), "{text}");
    let slurm = [("SLURM_PROCID", "0"), ("SLURM_NTASKS", "2"), ("SLURM_JOB_NODELIST", "a[1")];
    assert!(message(&slurm).starts_with("SLURM_JOB_NODELIST='a[1' is not right"));
}

fn from_file(name: &str, content: &str, variables: &[(&str, &str)]) -> Result<Launch, LaunchError> {
    let path = std::env::temp_dir().join(format!("onepath-launch-{}-{name}", std::process::id()));
    fs::write(&path, content).expect("temporary file");
    let lookup = |name: &str| {
        variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
    };
    let result = Launch::from_file(&path, &lookup);
    fs::remove_file(&path).expect("remove");
    result
}

#[test]
fn a_file_tells_the_place_alone_or_with_the_rank_from_the_environment() {
    let whole = "rank = 1\nworld_size = 4\nlocal_rank = 1\nlocal_world_size = 2\n\
                 rendezvous = \"h:5\"\n";
    let found = from_file("whole", whole, &[]).expect("good file");
    assert_eq!(found, launch(1, 4, (1, 2), "h:5", Launcher::File));
    let shared = "world_size = 4\nrendezvous = \"h:5\"\n";
    let rank =
        [("ONEPATH_RANK", "3"), ("ONEPATH_LOCAL_RANK", "0"), ("ONEPATH_LOCAL_WORLD_SIZE", "1")];
    let found = from_file("shared", shared, &rank).expect("good file");
    assert_eq!(found, launch(3, 4, (0, 1), "h:5", Launcher::File));
}

#[test]
fn a_wrong_file_is_named_with_its_line() {
    for (content, expected) in [
        ("rank = 0\nworld_size = \"x\"\n", "line 2"),
        ("rank = 0\nworld_size = 2\nsize = 3\n", "line 3"),
        ("rank = 2\nworld_size = 2\n", "rank='2' is not right: use a whole number from 0 to 1"),
        ("world_size = 2\n", "ONEPATH_RANK"),
        ("rank = 0\nworld_size = 2\nrendezvous = \"a:b\"\n", "rendezvous: 'a:b'"),
    ] {
        let text = from_file("wrong", content, &[]).expect_err(content).to_string();
        assert!(text.contains(expected) && !text.contains('\n'), "{text}");
    }
    let error = Launch::from_file(Path::new("/nonexistent/launch"), &|_| None).expect_err("none");
    assert!(error.to_string().contains("/nonexistent/launch"), "{error}");
    let long = from_file("long", &"#".repeat(MAX_FILE_BYTES + 1), &[]).expect_err("too long");
    assert!(matches!(long, LaunchError::File { .. }), "{long}");
}
