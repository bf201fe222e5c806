//! All objects of one kind, through lists and changes.

use std::collections::BTreeMap;

use kube::ResourceExt;
use kube::runtime::watcher::Event;
use onepath_pack::kubernetes::objects::ObjectError;

/// Objects of one kind by `namespace/name`, or by name where there are no namespaces.
#[derive(Debug)]
pub(super) struct Kind<T> {
    live: BTreeMap<String, T>,
    /// A list that is under way: what was there before stays until it is complete.
    coming: Option<BTreeMap<String, T>>,
    listed: bool,
    /// Objects that are not understood, and why.
    wrong: BTreeMap<String, String>,
}

impl<T> Default for Kind<T> {
    fn default() -> Self {
        Self { live: BTreeMap::new(), coming: None, listed: false, wrong: BTreeMap::new() }
    }
}

impl<T> Kind<T> {
    /// Takes an event over; `read` gives what is kept of an object.
    pub(super) fn apply<K: ResourceExt>(
        &mut self,
        event: Event<K>,
        read: impl Fn(K) -> Result<T, ObjectError>,
    ) {
        match event {
            Event::Init => {
                self.coming = Some(BTreeMap::new());
                self.wrong.clear();
            }
            Event::InitApply(object) => self.insert(object, read, true),
            Event::InitDone => {
                self.live = self.coming.take().unwrap_or_default();
                self.listed = true;
            }
            Event::Apply(object) => self.insert(object, read, false),
            Event::Delete(object) => {
                self.live.remove(&key(&object));
                self.wrong.remove(&key(&object));
            }
        }
    }

    fn insert<K: ResourceExt>(
        &mut self,
        object: K,
        read: impl Fn(K) -> Result<T, ObjectError>,
        in_list: bool,
    ) {
        let key = key(&object);
        let entry = match read(object) {
            Ok(entry) => entry,
            Err(error) => {
                self.wrong.insert(key, error.to_string());
                return;
            }
        };
        self.wrong.remove(&key);
        match self.coming.as_mut().filter(|_| in_list) {
            Some(coming) => coming.insert(key, entry),
            None => self.live.insert(key, entry),
        };
    }

    pub(super) fn listed(&self) -> bool {
        self.listed
    }

    pub(super) fn trouble(&self) -> Option<&str> {
        self.wrong.values().next().map(String::as_str)
    }

    pub(super) fn get(&self, key: &str) -> Option<&T> {
        self.live.get(key)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&String, &T)> {
        self.live.iter()
    }
}

/// `namespace/name`, or the name where there are no namespaces.
pub(super) fn key<K: ResourceExt>(object: &K) -> String {
    match object.namespace() {
        Some(namespace) => format!("{namespace}/{}", object.name_any()),
        None => object.name_any(),
    }
}
