//! Answers of the API server that get lost: something between the launcher and the server breaks
//! the connection when an object has just been made.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Secret, Service};
use kube::Api;
use kube::api::ListParams;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::plane::Plane;
use crate::run::{PLAN, file};

/// What lies between the launcher and the server.
#[derive(Clone)]
struct Between {
    server: SocketAddr,
    /// Whose answer gets lost.
    services: Api<Service>,
    is_lost: Arc<AtomicBool>,
    /// Whether connections after that are passed on.
    recovers: bool,
}

impl Between {
    /// Begins; a kubeconfig that leads there.
    async fn begin(plane: &Plane, recovers: bool) -> (Self, String) {
        let config = std::env::var("KUBECONFIG").expect("it is set");
        let config = std::fs::read_to_string(config).expect("a kubeconfig");
        let (_, rest) = config.split_once("server: https://").expect("the server");
        let server = rest.lines().next().expect("an address").trim();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let here = listener.local_addr().expect("an address").to_string();
        let path = file(&plane.folder, "between.kubeconfig", &config.replace(server, &here));
        let between = Self {
            server: server.parse().expect("an address"),
            services: plane.api(),
            is_lost: Arc::default(),
            recovers,
        };
        tokio::spawn(between.clone().serve(listener));
        (between, path)
    }

    async fn serve(self, listener: TcpListener) {
        loop {
            let (near, _) = listener.accept().await.expect("a connection");
            if self.recovers || !self.is_lost.load(Ordering::Relaxed) {
                tokio::spawn(self.clone().pass(near));
            }
        }
    }

    async fn pass(self, near: TcpStream) {
        let far = TcpStream::connect(self.server).await.expect("the API server");
        let (mut near_in, mut near_out) = near.into_split();
        let (mut far_in, mut far_out) = far.into_split();
        // It ends with the connection, however that ends.
        let requests = tokio::spawn(async move {
            let _ = tokio::io::copy(&mut near_in, &mut far_out).await;
        });
        let mut buffer = vec![0; 1 << 14];
        while let Ok(length @ 1..) = far_in.read(&mut buffer).await {
            if !self.is_lost.load(Ordering::Relaxed)
                && self.services.get_opt("small").await.expect("an answer").is_some()
            {
                self.is_lost.store(true, Ordering::Relaxed);
                break;
            }
            if near_out.write_all(&buffer[..length]).await.is_err() {
                break;
            }
        }
        requests.abort();
    }

    fn has_lost_an_answer(&self) -> bool {
        self.is_lost.load(Ordering::Relaxed)
    }
}

#[test]
fn an_object_whose_answer_is_lost_is_looked_up_and_the_job_goes_on() {
    Plane::run("launch-lost", &[], async |plane| {
        let plan = file(&plane.folder, "plan.json", PLAN);
        let (between, config) = Between::begin(&plane, true).await;
        let said = plane.launch(&plan, &format!("--kubeconfig {config}"), &["true"]).await;
        assert!(between.has_lost_an_answer());
        for object in ["secret/small", "service/small", "job.batch/small-s0", "job.batch/small-s1"]
        {
            assert!(said.contains(&format!("{object} created\n")), "{said}");
        }
        let jobs = plane.api::<Job>().list(&ListParams::default()).await.expect("jobs");
        assert_eq!(jobs.items.len(), 2);
        plane
    });
}

#[test]
fn what_may_have_been_made_is_named_when_the_server_does_not_come_back() {
    Plane::run("launch-gone", &[], async |plane| {
        let plan = file(&plane.folder, "plan.json", PLAN);
        let (between, config) = Between::begin(&plane, false).await;
        let words = ["launch", "--kubernetes", "--plan", &plan, "--image", "none:1"];
        let more = ["--kubeconfig", &config, "--request-timeout", "20", "--", "true"];
        let (code, out, errors) = plane.onepath(&[&words[..], &more].concat()).await;
        assert_eq!((code, &*out), (Some(1), ""));
        assert!(between.has_lost_an_answer());
        assert_eq!(errors.lines().count(), 1, "{errors}");
        for part in [
            "onepath: service/small in namespace launch-gone: ",
            "these were made and could not be deleted: secret/small; ",
            "service/small may have been made",
        ] {
            assert!(errors.contains(part), "{part:?} is not in {errors}");
        }
        assert!(plane.api::<Secret>().get_opt("small").await.expect("an answer").is_some());
        let jobs = plane.api::<Job>().list(&ListParams::default()).await.expect("jobs");
        assert!(jobs.items.is_empty());
        plane
    });
}
