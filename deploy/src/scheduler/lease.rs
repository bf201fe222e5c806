//! One instance acts at a time: the holder of a lease.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt};

/// Its name, in the namespace of the scheduler.
pub(crate) const NAME: &str = "onepath-scheduler";
/// Others take over when it was not renewed for so long.
const DURATION: Duration = Duration::from_secs(15);
/// The holder stops to act when it could not renew for so long: before others begin.
const GIVE_UP: Duration = Duration::from_secs(10);
/// Between two tries.
pub(crate) const PERIOD: Duration = Duration::from_secs(2);
const REQUEST: Duration = Duration::from_secs(4);

/// The lease as one instance sees it.
#[derive(Debug)]
pub(crate) struct Leadership {
    leases: Api<Lease>,
    identity: String,
    /// When it was renewed last, measured from before the request.
    renewed: Option<Instant>,
    /// Who else was seen holding it, with what stamp, and since when that has not changed: clocks
    /// of other computers are not believed.
    other: Option<(String, Option<MicroTime>, Instant)>,
}

impl Leadership {
    pub(crate) fn new(client: Client, namespace: &str, identity: String) -> Self {
        let leases = Api::namespaced(client, namespace);
        Self { leases, identity, renewed: None, other: None }
    }

    /// Until when this instance may act.
    pub(crate) fn until(&self) -> Option<Instant> {
        self.renewed.map(|renewed| renewed + GIVE_UP)
    }

    /// Renews it, or takes it if nobody holds it. The error says who holds it or what went wrong.
    pub(crate) async fn try_hold(&mut self) -> Result<(), String> {
        let begun = Instant::now();
        let tried = tokio::time::timeout(REQUEST, self.attempt()).await;
        match tried {
            Ok(Ok(())) => {
                self.renewed = Some(begun);
                Ok(())
            }
            Ok(Err(why)) => Err(why),
            Err(_) => Err(format!("lease {NAME}: no answer within {} s", REQUEST.as_secs())),
        }
    }

    async fn attempt(&mut self) -> Result<(), String> {
        let said = |error: kube::Error| format!("lease {NAME}: {error}");
        let Some(mut lease) = self.leases.get_opt(NAME).await.map_err(said)? else {
            let lease = self.fresh();
            return self
                .leases
                .create(&PostParams::default(), &lease)
                .await
                .map(|_| ())
                .map_err(said);
        };
        let spec = lease.spec.take().unwrap_or_default();
        let holder = spec.holder_identity.clone().unwrap_or_default();
        if holder != self.identity && !holder.is_empty() && !self.is_stale(&holder, &spec) {
            self.renewed = None;
            return Err(format!("lease {NAME}: {holder} holds it"));
        }
        let ours = holder == self.identity;
        let changes = spec.lease_transitions.unwrap_or(0) + i32::from(!ours);
        let acquired = spec.acquire_time.filter(|_| ours);
        lease.spec = Some(self.spec(changes, acquired));
        // The resource version of what was read goes along: whoever is second is refused.
        let name = lease.name_any();
        self.leases.replace(&name, &PostParams::default(), &lease).await.map(|_| ()).map_err(said)
    }

    /// Whether the other holder has not renewed for as long as it said.
    fn is_stale(&mut self, holder: &str, spec: &LeaseSpec) -> bool {
        let seen = (holder.to_owned(), spec.renew_time.clone());
        let since = match &self.other {
            Some((name, stamp, since)) if (name, stamp) == (&seen.0, &seen.1) => *since,
            _ => Instant::now(),
        };
        self.other = Some((seen.0, seen.1, since));
        let seconds = u64::try_from(spec.lease_duration_seconds.unwrap_or(0)).unwrap_or(0);
        since.elapsed() > Duration::from_secs(seconds)
    }

    fn fresh(&self) -> Lease {
        let name = Some(NAME.to_owned());
        let metadata = ObjectMeta { name, ..ObjectMeta::default() };
        Lease { metadata, spec: Some(self.spec(0, None)) }
    }

    fn spec(&self, changes: i32, acquired: Option<MicroTime>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        LeaseSpec {
            acquire_time: Some(acquired.unwrap_or_else(|| now.clone())),
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: Some(DURATION.as_secs() as i32),
            lease_transitions: Some(changes),
            renew_time: Some(now),
            ..LeaseSpec::default()
        }
    }

    /// Lets others take over at once.
    pub(crate) async fn release(&mut self) {
        if self.renewed.take().is_none() {
            return;
        }
        let given_up = async {
            let mut lease = self.leases.get(NAME).await?;
            let spec = lease.spec.get_or_insert_default();
            if spec.holder_identity.as_ref() == Some(&self.identity) {
                spec.holder_identity = None;
                self.leases.replace(NAME, &PostParams::default(), &lease).await?;
            }
            Ok::<(), kube::Error>(())
        };
        // It runs out by itself if this fails.
        let _ = tokio::time::timeout(REQUEST, given_up).await;
    }
}
