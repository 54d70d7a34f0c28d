//! What people are told of an import: Events of what was done for it, and one problem, [`Reason::NameConflict`].

use super::{Import, Status};
use crate::kube::{Condition, ConditionStatus};
use crate::problem::{Problem, Reason};
use crate::tell::{Course, Look, Subject};

/// The look that is left for the teller: how the import stands, none where nothing was planned for it, and what was done for it. Its
/// conditions are its own business, so that of a Service is not touched; but that it says so already is how a restart knows what was told.
#[must_use]
pub fn look(import: &Import, status: Option<&Status>, done: &[(Reason, String)]) -> Look {
    let told = import.status.conflict.as_ref().filter(|conflict| conflict.status == ConditionStatus::True);
    let condition = told.map(|conflict| Condition {
        status: ConditionStatus::False,
        reason: Reason::NameConflict.as_str().to_owned(),
        message: conflict.message.clone(),
        since: conflict.since,
    });
    let subject = Subject { uid: import.uid.clone(), version: import.resource_version.clone(), condition };
    let mut look = Look {
        service: Some(subject),
        course: Course::Leave,
        problems: status.and_then(problem).into_iter().collect(),
        ..Look::default()
    };
    for (reason, message) in done {
        look.add_done(*reason, message.clone());
    }
    look
}

/// Services that could not get a Service for want of a name.
fn problem(status: &Status) -> Option<Problem> {
    let conflict = status.conflict.as_ref().filter(|conflict| conflict.status == ConditionStatus::True)?;
    let Status { conflicts, matched, .. } = status;
    let message = format!(
        "{conflicts} of {matched} selected services got no Service for want of a name: {}; give another with \
         spec.template.metadata.name, or rename what has it",
        conflict.message
    );
    Some(Problem::new(Reason::NameConflict, message))
}

#[cfg(test)]
mod tests {
    use super::super::ImportCondition;
    use super::*;

    #[test]
    fn an_import_tells_of_its_conflicts_and_of_what_was_done() {
        let conflict = |status, message: &str| Some(ImportCondition::new(status, "NameConflict", message));
        let status = Status {
            conflict: conflict(ConditionStatus::True, "a.b: the name a-b is taken"),
            matched: 3,
            conflicts: 1,
            ..Status::default()
        };
        let done = [(Reason::ServiceCreated, "made a".to_owned()), (Reason::ServiceCreated, "made b".to_owned())];
        let import = Import { uid: "u".into(), ..Import::default() };
        let told = look(&import, Some(&status), &done);
        assert_eq!(told.done.get(&Reason::ServiceCreated).map(String::as_str), Some("made a; made b"));
        let [problem] = told.problems.as_slice() else { panic!("{told:?}") };
        expect_test::expect![
            "NameConflict: 1 of 3 selected services got no Service for want of a name: a.b: the name a-b is taken; give another with spec.template.metadata.name, or rename what has it"
        ]
        .assert_eq(&problem.to_string());
        assert_eq!(told.service.unwrap().condition, None);
        // As a restart finds it.
        let again = look(&Import { status: status.clone(), ..import }, Some(&status), &[]);
        assert!(again.service.unwrap().condition.is_some_and(|known| known.reason == "NameConflict"));
        let none = Status { conflict: conflict(ConditionStatus::False, ""), ..Status::default() };
        assert_eq!(look(&Import::default(), Some(&none), &[]).problems, []);
    }
}
