//! Who else registers a Service: instances of its Consul name, read before it is registered for the first time, and twice after that: two
//! that begin at the same moment both find nothing.

use std::time::Duration;

use consul8s_core::consul::Instance;
use consul8s_core::kube::KubeService;
use consul8s_core::names;
use consul8s_core::time::UnixMillis;

/// How long an answer counts. Where another installation has registered the Service, it is also how often that is looked at again.
const FRESH: Duration = Duration::from_secs(30);
/// Pause after a read that failed.
const RETRY: Duration = Duration::from_secs(5);
/// When it is read again after the first registration: soon, as both write within a moment, and once more when nobody can write any more on
/// the ground of a read that was before ours.
const READ_AGAIN: [Duration; 2] = [Duration::from_secs(3), Duration::from_secs(35)];
/// Over how long these reads are spread: a thousand Services that are registered together must not all ask together.
const SPREAD: Duration = Duration::from_secs(20);

/// The last answer.
#[derive(Debug, Default)]
pub struct Elsewhere {
    name: String,
    /// Registrations of this very Service by other installations.
    found: Vec<Instance>,
    /// When to read again though the Service is registered, the next first.
    again: Vec<UnixMillis>,
    read: Option<UnixMillis>,
    not_before: UnixMillis,
}

impl Elsewhere {
    /// What stands for the Service under a Consul name, as last read.
    #[must_use]
    pub fn of(&self, name: &str) -> &[Instance] {
        if self.name == name { &self.found } else { &[] }
    }

    /// Whether that may be relied on.
    #[must_use]
    pub fn is_fresh(&self, name: &str, now: UnixMillis) -> bool {
        self.name == name && self.read.is_some_and(|read| now.since(read) < FRESH)
    }

    /// Until when it may.
    #[must_use]
    pub fn until(&self) -> UnixMillis {
        self.read.unwrap_or_default().after(FRESH)
    }

    /// When it may be read.
    #[must_use]
    pub fn due(&self) -> UnixMillis {
        self.not_before
    }

    /// The Service is about to be registered for the first time. `share`, from 0 to 1, says when within the spread it is its turn.
    pub fn registers(&mut self, now: UnixMillis, share: f64) {
        self.again = READ_AGAIN.map(|after| now.after(after + SPREAD.mul_f64(share))).to_vec();
    }

    /// When to read again though the Service is registered.
    #[must_use]
    pub fn again(&self) -> Option<UnixMillis> {
        self.again.first().copied()
    }

    /// A read answered. Only what others have registered of the Service is kept: a name may have thousands of instances.
    pub fn read(&mut self, name: &str, service: &KubeService, owner: &str, instances: Vec<Instance>, now: UnixMillis) {
        let same = |instance: &Instance| instance.meta.get(names::META_UID) == Some(&service.uid);
        let others = |instance: &Instance| instance.meta.get(names::META_OWNER).is_some_and(|other| other != owner);
        let found = instances.into_iter().filter(same).filter(others).collect();
        let again = self.again.iter().copied().filter(|at| *at > now).collect();
        *self = Elsewhere { name: name.to_owned(), found, again, read: Some(now), not_before: now };
    }

    /// A read failed.
    pub fn failed(&mut self, now: UnixMillis) {
        self.not_before = now.after(RETRY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_twice_after_the_first_registration() {
        let (now, mut elsewhere) = (UnixMillis(1_000), Elsewhere::default());
        assert_eq!(elsewhere.again(), None);
        elsewhere.registers(now, 1.0);
        let first = elsewhere.again().unwrap();
        assert!(now.after(Duration::from_secs(30)) > first, "who has to let go does so within 30 s");
        elsewhere.read("web", &KubeService::default(), "me", Vec::new(), first);
        let second = elsewhere.again().unwrap();
        assert!(second > now.after(FRESH), "nobody acts on an older read then");
        elsewhere.read("web", &KubeService::default(), "me", Vec::new(), second);
        assert_eq!(elsewhere.again(), None);
    }

    #[test]
    fn only_what_others_have_registered_of_this_very_service_counts() {
        let service = KubeService { uid: "u".into(), ..KubeService::default() };
        let of = |uid: &str, owner: &str| {
            let pairs = [(names::META_UID, uid), (names::META_OWNER, owner)];
            let meta = pairs.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
            Instance { id: format!("{uid}-{owner}"), meta, ..Instance::default() }
        };
        let mut elsewhere = Elsewhere::default();
        let all = vec![of("u", "me"), of("u", "you"), of("other", "you")];
        elsewhere.read("web", &service, "me", all, UnixMillis(1));
        assert_eq!(elsewhere.of("web").iter().map(|it| it.id.as_str()).collect::<Vec<_>>(), ["u-you"]);
        assert!(elsewhere.of("api").is_empty());
    }
}
