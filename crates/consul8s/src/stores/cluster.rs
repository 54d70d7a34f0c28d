//! The cluster behind the API: whether it is still the one that we began with, and whether it has gone back in time.
//!
//! A restored API server shows what was true when its backup was made, another cluster at the same address shows nothing of ours; what is
//! missing from their lists is no reason to remove anything. So after each fresh list nothing is planned until a look has shown
//! whose it is, and how new.

/// What is known of it.
#[derive(Debug, Default)]
pub struct Cluster {
    /// Lists that came so far.
    lists: u64,
    /// How many of them had come when the last look began that found nothing wrong.
    proven: Option<u64>,
    /// The UID is another cluster's.
    other: bool,
    /// The newest version that was seen, of a list or of an object.
    version: Option<u64>,
    /// The highest version that a registration was seen to have been written from.
    known: Option<u64>,
    /// `consul8s/list-mark` on the Lease.
    noted_mark: Option<u64>,
    /// The same, as long as it is not written yet.
    mark: Option<u64>,
}

/// What was known when a look began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Began {
    lists: u64,
    version: Option<u64>,
}

/// What a look found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// All is as before.
    Same,
    /// All is as before, and what came since the last look may be planned on now.
    Proven,
    /// It counts from a lower version than it had before: it was restored.
    WentBack,
    /// It is the old one again.
    Back,
    /// It is another cluster.
    Other,
}

impl Cluster {
    /// A fresh list came.
    pub fn listed(&mut self) {
        self.lists += 1;
    }

    /// An object of this version was told of.
    pub fn told_of(&mut self, version: &str) {
        self.version = self.version.max(version.parse().ok());
    }

    /// Where a look begins: what it must not fall behind.
    #[must_use]
    pub fn begin(&self) -> Began {
        Began { lists: self.lists, version: self.version }
    }

    /// Whether what was listed may be planned on.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        !self.other && self.proven == Some(self.lists)
    }

    /// Whether the API speaks for another cluster now.
    #[must_use]
    pub fn is_another(&self) -> bool {
        self.other
    }

    /// A look has answered.
    pub fn looked(&mut self, same: bool, version: Option<u64>, began: Began) -> Found {
        if !same {
            self.other = true;
            self.proven = None;
            return Found::Other;
        }
        if std::mem::take(&mut self.other) {
            // What was listed meanwhile may be the other's.
            (self.proven, self.version) = (None, version);
            return Found::Back;
        }
        if version.zip(began.version).is_some_and(|(version, before)| version < before) {
            (self.proven, self.version) = (None, version);
            return Found::WentBack;
        }
        // What was told of since the look began may be newer.
        self.version = self.version.max(version);
        if self.proven == Some(began.lists) {
            return Found::Same;
        }
        self.proven = Some(began.lists);
        Found::Proven
    }

    /// How new what is known is: what is missing from it was absent at that version.
    #[must_use]
    pub fn version(&self) -> Option<u64> {
        self.version
    }

    /// Takes note of the highest version that registrations say they were written from; gives the highest ever seen.
    pub fn saw(&mut self, highest: Option<u64>) -> Option<u64> {
        self.known = self.known.max(highest);
        self.known
    }

    /// What the Lease says of a list that is to be believed.
    pub fn note_mark(&mut self, mark: Option<u64>) {
        self.noted_mark = mark;
    }

    /// A list was released: it is believed from now on.
    pub fn believe(&mut self, version: u64) {
        self.mark = Some(version);
    }

    /// The mark that counts.
    #[must_use]
    pub fn mark(&self) -> Option<u64> {
        self.mark.or(self.noted_mark)
    }

    /// Whether there is a mark that nobody needs any more: lists are as new again as what is registered.
    pub fn drop_mark(&mut self) -> bool {
        let obsolete = self.mark().is_some()
            && self.version.is_some_and(|version| self.known.is_none_or(|known| version >= known));
        if obsolete {
            self.mark = None;
        }
        obsolete && self.noted_mark.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked(cluster: &mut Cluster, same: bool, version: u64) -> Found {
        let began = cluster.begin();
        cluster.looked(same, Some(version), began)
    }

    #[test]
    fn a_list_is_planned_on_only_after_a_look_that_began_later() {
        let mut cluster = Cluster::default();
        assert!(!cluster.is_proven());
        let began = cluster.begin();
        cluster.listed();
        assert_eq!(cluster.looked(true, Some(5), began), Found::Proven);
        assert!(!cluster.is_proven(), "that look began before the list came");
        assert_eq!(looked(&mut cluster, true, 6), Found::Proven);
        assert!(cluster.is_proven());
        assert_eq!(looked(&mut cluster, true, 7), Found::Same);
        cluster.listed();
        assert!(!cluster.is_proven());
    }

    #[test]
    fn one_that_went_back_is_listed_anew() {
        let mut cluster = Cluster::default();
        looked(&mut cluster, true, 30);
        cluster.told_of("50");
        assert_eq!(looked(&mut cluster, true, 40), Found::WentBack);
        assert!(!cluster.is_proven());
        cluster.listed();
        assert_eq!(looked(&mut cluster, true, 41), Found::Proven);
        assert_eq!(cluster.version(), Some(41));
    }

    #[test]
    fn what_is_told_of_while_a_look_is_under_way_is_not_ahead_of_it() {
        let mut cluster = Cluster::default();
        let began = cluster.begin();
        cluster.told_of("50");
        assert_eq!(cluster.looked(true, Some(40), began), Found::Proven);
        assert_eq!(looked(&mut cluster, true, 50), Found::Same);
    }

    #[test]
    fn another_cluster_is_not_planned_on_until_the_old_one_is_back_and_listed() {
        let mut cluster = Cluster::default();
        looked(&mut cluster, true, 50);
        assert_eq!(looked(&mut cluster, false, 900), Found::Other);
        cluster.listed();
        assert!(!cluster.is_proven() && cluster.is_another());
        assert_eq!(looked(&mut cluster, true, 60), Found::Back);
        assert!(!cluster.is_proven());
        cluster.listed();
        assert_eq!(looked(&mut cluster, true, 61), Found::Proven);
        assert!(cluster.is_proven());
    }

    #[test]
    fn a_mark_is_dropped_when_lists_are_new_enough_again() {
        let mut cluster = Cluster::default();
        assert_eq!((cluster.saw(Some(100)), cluster.saw(Some(70))), (Some(100), Some(100)));
        looked(&mut cluster, true, 60);
        cluster.believe(60);
        assert_eq!((cluster.mark(), cluster.drop_mark()), (Some(60), false));
        cluster.note_mark(Some(60));
        looked(&mut cluster, true, 100);
        assert!(cluster.drop_mark());
        cluster.note_mark(None);
        assert_eq!((cluster.mark(), cluster.drop_mark()), (None, false));
    }
}
