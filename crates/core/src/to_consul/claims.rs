//! What the Services to be registered claim, all of them together: Consul names are for one namespace unless all say otherwise, and
//! an ID is for one Service (contract §4).

use std::collections::{BTreeMap, BTreeSet};

use crate::intent::Intent;
use crate::intent::to_consul::ToConsul;
use crate::kube::{KubeService, ObjectKey};
use crate::names;
use crate::problem::{Problem, Reason, clean};
use crate::settings::Direction;
use crate::time::UnixMillis;

use super::nodes::{Marks, OurNodes, Standing};

/// What one Service claims.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Creation time of the Service.
    pub created: UnixMillis,
    /// Consul name.
    pub name: String,
    /// Whether the Service itself says so.
    pub name_given: bool,
    /// Plain ID.
    pub id: String,
}

impl Claim {
    /// What a Service claims. While it is frozen or suspended its last valid wish counts, and where that isn't known (a restart), what
    /// stands for it: a registration that stays keeps its name.
    #[must_use]
    pub fn of(
        service: &KubeService,
        intent: &Intent,
        last_valid: Option<&ToConsul>,
        standing: &[Standing<'_>],
    ) -> Option<Claim> {
        let stays = matches!(
            intent,
            Intent::Frozen(Some(Direction::ToConsul) | None) | Intent::Suspended(Some(Direction::ToConsul) | None)
        );
        match (intent, last_valid, standing.first()) {
            _ if service.deleting => None,
            (Intent::ToConsul(wish), _, _) => Claim::wished(service, wish),
            (_, Some(wish), _) if stays => Claim::wished(service, wish),
            (_, None, Some(first)) if stays => Some(Claim {
                created: service.created,
                name: first.service.name.clone(),
                name_given: service.annotations.contains_key(names::SERVICE_NAME),
                id: first.service.id.clone(),
            }),
            _ => None,
        }
    }

    fn wished(service: &KubeService, wish: &ToConsul) -> Option<Claim> {
        (!wish.remove_registration).then(|| Claim {
            created: service.created,
            name: wish.name.clone(),
            name_given: wish.name_given,
            id: wish.id.as_str().to_owned(),
        })
    }
}

/// The claims of all Services in scope.
#[derive(Clone, Debug, Default)]
pub struct Claims {
    all: BTreeMap<ObjectKey, Claim>,
    by_name: BTreeMap<String, BTreeSet<ObjectKey>>,
    by_id: BTreeMap<String, BTreeSet<ObjectKey>>,
}

impl Claims {
    /// Takes in what a Service claims now. Gives the other Services for which that may change something: they are to be looked at again.
    pub fn set(&mut self, key: &ObjectKey, claim: Option<Claim>) -> BTreeSet<ObjectKey> {
        if self.all.get(key) == claim.as_ref() {
            return BTreeSet::new();
        }
        let mut touched = BTreeSet::new();
        if let Some(old) = self.all.remove(key) {
            touched.extend(leave(&mut self.by_name, &folded(&old.name), key));
            touched.extend(leave(&mut self.by_id, &old.id, key));
        }
        if let Some(new) = claim {
            touched.extend(join(&mut self.by_name, &folded(&new.name), key));
            touched.extend(join(&mut self.by_id, &new.id, key));
            self.all.insert(key.clone(), new);
        }
        touched.remove(key);
        touched
    }

    /// What a Service claims.
    #[must_use]
    pub fn get(&self, key: &ObjectKey) -> Option<&Claim> {
        self.all.get(key)
    }

    /// Why a Service may not be registered: another one has its name or its ID. Who stands under it in Consul keeps it (or else
    /// anybody with an old Service could take over what others have registered), and among those who don't, or who all do, the
    /// older has it: by creation, which Kubernetes counts in seconds, then by name.
    #[must_use]
    pub fn refusal(&self, key: &ObjectKey, nodes: &OurNodes, marks: &Marks<'_>) -> Option<Problem> {
        let mine = self.all.get(key)?;
        let same_id = |standing: &Standing<'_>| standing.service.id == mine.id;
        let name = folded(&mine.name);
        let same_name = |standing: &Standing<'_>| folded(&standing.service.name) == name;
        let before = |other: &ObjectKey, under: &dyn Fn(&Standing<'_>) -> bool| {
            let stands = |key: &ObjectKey| nodes.standing(key, marks).iter().any(under);
            let rank = |key: &ObjectKey| (!stands(key), self.all.get(key).map(|claim| claim.created), key.clone());
            other != key && rank(other) < rank(key)
        };
        if let Some(other) = self.by_id.get(&mine.id).into_iter().flatten().find(|other| before(other, &same_id)) {
            let message = format!(
                "the ID \"{}\" is that of the Service {other}, which had it first; give another one in {}",
                clean(&mine.id, 200),
                names::SERVICE_ID
            );
            return Some(Problem::new(Reason::OwnershipConflict, message));
        }
        let may_share = |other: &ObjectKey| {
            other.namespace == key.namespace
                || mine.name_given && self.all.get(other).is_some_and(|claim| claim.name_given)
        };
        let others = self.by_name.get(&name).into_iter().flatten().filter(|other| !may_share(other));
        let other = others.into_iter().find(|other| before(other, &same_name))?;
        let message = format!(
            "the Consul name \"{}\" is that of the Service {other}, which had it first; to share it, both must say so in {}, or give another \
             name there",
            clean(&mine.name, 200),
            names::SERVICE_NAME
        );
        Some(Problem::new(Reason::SharedName, message))
    }
}

/// Consul's look-ups ignore case, so names that differ only in it are one.
fn folded(name: &str) -> String {
    name.to_lowercase()
}

fn join(index: &mut BTreeMap<String, BTreeSet<ObjectKey>>, word: &str, key: &ObjectKey) -> BTreeSet<ObjectKey> {
    let all = index.entry(word.to_owned()).or_default();
    all.insert(key.clone());
    all.clone()
}

fn leave(index: &mut BTreeMap<String, BTreeSet<ObjectKey>>, word: &str, key: &ObjectKey) -> BTreeSet<ObjectKey> {
    let Some(all) = index.get_mut(word) else { return BTreeSet::new() };
    all.remove(key);
    let left = all.clone();
    if left.is_empty() {
        index.remove(word);
    }
    left
}
