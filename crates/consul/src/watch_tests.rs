//! Each rule of the machine is a row; the driver runs in virtual time against a scripted Consul.

use std::collections::VecDeque;
use std::sync::Mutex;

use consul8s_core::consul::CheckStatus;
use consul8s_core::import::{Catalog, CatalogQuery};
use consul8s_core::ports::ErrorKind;

use super::*;
use crate::node_watch::NodeWatch;

const WAIT: Duration = Duration::from_secs(300);

fn meta(index: u64) -> AnswerMeta {
    AnswerMeta { index, ..AnswerMeta::default() }
}

fn good(index: u64, body: &'static str) -> Result<Answer<&'static str>, ApiError> {
    Ok(Answer { meta: meta(index), body })
}

fn failed() -> Result<Answer<&'static str>, ApiError> {
    Err(ApiError::new(ErrorKind::Unreachable, "gone"))
}

fn blocking(index: u64) -> Read {
    Read::Blocking { index, wait: WAIT }
}

fn word(news: &WatchNews<&'static str>) -> String {
    match news {
        WatchNews::Admitted { answer, lineage_broken } => {
            format!("{}@{}{}", answer.body, answer.meta.index, if *lineage_broken { " broken" } else { "" })
        }
        WatchNews::Confirmed(meta) => format!("same@{}", meta.index),
        WatchNews::Failed(error) => format!("failed {}", error.kind.as_str()),
        WatchNews::Rejected(Rejection::Leaderless) => "leaderless".to_owned(),
        WatchNews::Rejected(Rejection::Lagging(_)) => "lagging".to_owned(),
        WatchNews::Rejected(Rejection::Backwards { index, highest }) => format!("{index}<{highest}"),
    }
}

/// Feeds answers one by one; each row is the answer, what it is worth, and what is asked next.
#[expect(clippy::type_complexity, reason = "a table")]
fn check(rows: &[(Result<Answer<&'static str>, ApiError>, &str, Read)]) {
    let mut judge = Judge::new();
    assert_eq!(judge.next_read(WAIT), Read::Stale);
    for (position, (answer, worth, next)) in rows.iter().enumerate() {
        assert_eq!(word(&judge.step(answer.clone())), *worth, "row {position}");
        assert_eq!(judge.next_read(WAIT), *next, "row {position}");
    }
}

#[test]
fn changes_and_confirmations() {
    check(&[
        (good(5, "a"), "a@5", blocking(5)),
        (good(7, "b"), "b@7", blocking(7)),
        (good(9, "b"), "same@9", blocking(9)),
        (good(9, "b"), "same@9", blocking(9)),
        (good(9, "c"), "c@9", blocking(9)),
    ]);
}

#[test]
fn an_index_of_zero_is_never_sent() {
    check(&[
        (good(0, "a"), "a@0", blocking(1)),
        (good(0, "a"), "same@0", blocking(1)),
        (good(1, "b"), "b@1", blocking(1)),
    ]);
}

#[test]
fn after_an_error_the_question_bears_no_index() {
    check(&[
        (failed(), "failed unreachable", Read::Stale),
        (good(5, "a"), "a@5", blocking(5)),
        (failed(), "failed unreachable", Read::Stale),
        (failed(), "failed unreachable", Read::Stale),
        (good(5, "a"), "same@5", blocking(5)),
    ]);
}

#[test]
fn answers_without_a_leader_or_behind_it_are_not_news() {
    let with = |leaderless, seconds| {
        let last_contact = Duration::from_secs(seconds);
        Ok(Answer { meta: AnswerMeta { leaderless, last_contact, ..meta(9) }, body: "x" })
    };
    check(&[
        (good(5, "a"), "a@5", blocking(5)),
        (with(true, 0), "leaderless", Read::Stale),
        (with(false, 6), "lagging", Read::Stale),
        (with(false, 5), "x@9", blocking(9)),
    ]);
}

#[test]
fn a_follower_that_lagged_is_overruled_by_the_leader() {
    check(&[
        (good(5, "a"), "a@5", blocking(5)),
        (good(3, "old"), "3<5", Read::Consistent),
        (good(6, "b"), "b@6", blocking(6)),
        (good(5, "old"), "5<6", Read::Consistent),
        (good(6, "b"), "same@6", blocking(6)),
    ]);
}

#[test]
fn an_index_that_goes_back_for_good_is_a_broken_lineage() {
    check(&[
        (good(500, "a"), "a@500", blocking(500)),
        (good(12, ""), "12<500", Read::Consistent),
        (good(13, ""), "@13 broken", blocking(13)),
        (good(14, "a"), "a@14", blocking(14)),
    ]);
    // Also with the content as it was: the program must learn of it.
    check(&[
        (good(500, "a"), "a@500", blocking(500)),
        (good(12, "a"), "12<500", Read::Consistent),
        (good(12, "a"), "a@12 broken", blocking(12)),
    ]);
}

#[test]
fn a_doubt_that_cannot_be_settled_stays() {
    check(&[
        (good(500, "a"), "a@500", blocking(500)),
        (good(12, ""), "12<500", Read::Consistent),
        (failed(), "failed unreachable", Read::Stale),
        (good(12, ""), "12<500", Read::Consistent),
        (good(501, "a"), "same@501", blocking(501)),
    ]);
}

#[test]
fn filtered_answers_are_passed_on_with_their_flag() {
    let mut judge = Judge::new();
    judge.step(good(5, "a"));
    let filtered = AnswerMeta { filtered: true, ..meta(5) };
    let news = judge.step(Ok(Answer { meta: filtered.clone(), body: "" }));
    assert_eq!(
        news,
        WatchNews::Admitted { answer: Answer { meta: filtered, body: Arc::new("") }, lineage_broken: false }
    );
}

#[test]
fn while_something_may_be_hidden_questions_wait_less() {
    let soon = Read::Blocking { index: 5, wait: WAIT_WHILE_UNSURE };
    for (filtered, anonymous_under_deny) in [(true, false), (false, true)] {
        let mut judge = Judge::new();
        judge.step(Ok(Answer { meta: AnswerMeta { filtered, anonymous_under_deny, ..meta(5) }, body: "a" }));
        assert_eq!(judge.next_read(WAIT), soon);
        assert_eq!(judge.next_read(WAIT_WHILE_UNSURE / 3), Read::Blocking { index: 5, wait: WAIT_WHILE_UNSURE / 3 });
        judge.step(good(5, "a"));
        assert_eq!(judge.next_read(WAIT), blocking(5));
    }
}

#[test]
fn what_a_blocking_query_does_not_tell_stays_hidden_until_something_tells() {
    let mut judge = Judge::new();
    let answer = |filtered, polled, body| Ok(Answer { meta: AnswerMeta { filtered, polled, ..meta(5) }, body });
    let filtered = |news: WatchNews<&str>| match news {
        WatchNews::Admitted { answer, .. } => answer.meta.filtered,
        WatchNews::Confirmed(meta) => meta.filtered,
        other => panic!("{other:?}"),
    };
    assert!(filtered(judge.step(answer(true, false, "a"))));
    assert!(filtered(judge.step(answer(false, true, "a"))));
    assert!(filtered(judge.step(answer(false, true, "b"))));
    judge.look();
    assert_eq!(judge.next_read(WAIT), Read::Consistent);
    assert!(!filtered(judge.step(answer(false, false, "b"))));
    assert!(!filtered(judge.step(answer(false, true, "c"))));
    assert!(filtered(judge.step(answer(true, true, "c"))), "where it tells, it is believed");
}

/// One answer of the script, and when it comes.
type Scripted = (Duration, Result<Answer<Vec<Instance>>, ApiError>);

/// Answers from a script, and then for ever with the last of it; notes when it was asked what.
#[derive(Default)]
struct Script {
    health: Mutex<VecDeque<Scripted>>,
    nodes: Mutex<VecDeque<Answer<Option<NodeView>>>>,
    checks: Mutex<VecDeque<Answer<Vec<Check>>>>,
    asked: Mutex<Vec<(Instant, Read)>>,
}

impl ConsulApi for Script {
    async fn health(&self, _: &HealthQuery, read: Read) -> Result<Answer<Vec<Instance>>, ApiError> {
        self.asked.lock().unwrap().push((Instant::now(), read));
        let (after, answer) = {
            let mut script = self.health.lock().unwrap();
            if script.len() > 1 { script.pop_front().unwrap() } else { script[0].clone() }
        };
        tokio::time::sleep(after).await;
        answer
    }

    async fn node(&self, _: &str, _: Option<&str>, _: Read) -> Result<Answer<Option<NodeView>>, ApiError> {
        let next = self.nodes.lock().unwrap().pop_front();
        match next {
            Some(answer) => Ok(answer),
            None => std::future::pending().await,
        }
    }

    async fn node_checks(&self, _: &str, _: Option<&str>, _: Read) -> Result<Answer<Vec<Check>>, ApiError> {
        let next = self.checks.lock().unwrap().pop_front();
        match next {
            Some(answer) => Ok(answer),
            None => std::future::pending().await,
        }
    }

    async fn services(&self, _: &CatalogQuery, _: Read) -> Result<Answer<Catalog>, ApiError> {
        std::future::pending().await
    }

    async fn leader(&self) -> Result<String, ApiError> {
        Ok(String::new())
    }
}

fn script(rows: Vec<Scripted>) -> Arc<Script> {
    Arc::new(Script { health: Mutex::new(rows.into()), ..Script::default() })
}

fn watch(script: &Arc<Script>) -> HealthWatch<Script> {
    let query = HealthQuery { name: "web".into(), ..HealthQuery::default() };
    HealthWatch::new(script.clone(), query, &WatchConfig { wait: WAIT, seed: 1 })
}

fn answer(index: u64, ids: &[&str]) -> Result<Answer<Vec<Instance>>, ApiError> {
    let body = ids.iter().map(|id| Instance { id: (*id).to_owned(), ..Instance::default() }).collect();
    Ok(Answer { meta: meta(index), body })
}

const AT_ONCE: Duration = Duration::ZERO;

#[tokio::test(start_paused = true)]
async fn a_change_is_news_at_once() {
    let script = script(vec![
        (AT_ONCE, answer(1, &[])),
        (Duration::from_secs(200), answer(2, &["a"])),
        (Duration::from_millis(10), answer(3, &["a", "b"])),
        (WAIT, answer(3, &["a", "b"])),
    ]);
    let began = Instant::now();
    let mut watch = watch(&script);
    for _ in 0..3 {
        assert!(matches!(watch.next().await, WatchNews::Admitted { .. }));
    }
    assert_eq!(began.elapsed(), Duration::from_millis(200_010));
    assert!(matches!(watch.next().await, WatchNews::Confirmed(_)));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_wait_is_asked_once_a_second() {
    for index in [0, 7] {
        let script = script(vec![(AT_ONCE, answer(index, &["a"]))]);
        let mut watch = watch(&script);
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(20) {
            watch.next().await;
        }
        let asked = script.asked.lock().unwrap().len();
        assert!((20..=25).contains(&asked), "{asked}");
    }
}

#[tokio::test(start_paused = true)]
async fn changes_are_followed_twenty_times_a_second() {
    let rows = (1..400).map(|index| (AT_ONCE, answer(index, if index % 2 == 0 { &["a"] } else { &[] }))).collect();
    let mut watch = watch(&script(rows));
    let began = Instant::now();
    for _ in 0..204 {
        assert!(matches!(watch.next().await, WatchNews::Admitted { .. }));
    }
    let took = began.elapsed();
    assert!(took > Duration::from_millis(9900) && took < Duration::from_millis(10_100), "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn while_consul_is_away_it_is_asked_less_and_less() {
    let script = script(vec![(AT_ONCE, Err(ApiError::new(ErrorKind::Unreachable, "refused")))]);
    let mut watch = watch(&script);
    let began = Instant::now();
    while began.elapsed() < Duration::from_secs(600) {
        assert!(matches!(watch.next().await, WatchNews::Failed(_)));
    }
    let asked = script.asked.lock().unwrap().clone();
    assert!((35..=70).contains(&asked.len()), "{}", asked.len());
    assert!(asked.iter().all(|(_, read)| *read == Read::Stale));
    let in_the_first_ten = asked.iter().filter(|(at, _)| *at - began < Duration::from_secs(10)).count();
    assert!((4..=10).contains(&in_the_first_ten), "{in_the_first_ten}");
}

#[tokio::test(start_paused = true)]
async fn next_may_be_dropped_without_losing_the_question() {
    let script = script(vec![(Duration::from_secs(3), answer(1, &["a"])), (WAIT, answer(1, &["a"]))]);
    let mut watch = watch(&script);
    for _ in 0..2 {
        assert!(tokio::time::timeout(Duration::from_secs(1), watch.next()).await.is_err());
    }
    assert!(matches!(watch.next().await, WatchNews::Admitted { .. }));
    assert_eq!(script.asked.lock().unwrap().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_shorter_wait_counts_at_once_and_loses_nothing() {
    let rows = vec![(AT_ONCE, answer(7, &["a"])), (Duration::from_secs(10), answer(8, &["a", "b"]))];
    let script = script(rows);
    let mut watch = watch(&script);
    watch.next().await;
    assert!(tokio::time::timeout(Duration::from_secs(1), watch.next()).await.is_err());
    watch.set_wait(Duration::from_secs(3));
    watch.set_wait(Duration::from_secs(4));
    watch.next().await;
    let asked: Vec<Read> = script.asked.lock().unwrap().iter().map(|(_, read)| *read).collect();
    let of = |seconds| Read::Blocking { index: 7, wait: Duration::from_secs(seconds) };
    assert_eq!(asked, [Read::Stale, of(300), of(4)]);
}

fn node(index: u64, services: &[&str]) -> Answer<Option<NodeView>> {
    let services = services.iter().map(|id| ((*id).to_owned(), Default::default())).collect();
    Answer { meta: meta(index), body: Some(NodeView { services, ..NodeView::default() }) }
}

fn node_checks(index: u64, ids: &[&str]) -> Answer<Vec<Check>> {
    let check = |id: &&str| Check {
        node: "n".into(),
        id: (*id).to_owned(),
        name: String::new(),
        service_id: String::new(),
        status: CheckStatus::Passing,
        output: String::new(),
        modify_index: 1,
    };
    Answer { meta: meta(index), body: ids.iter().map(check).collect() }
}

#[tokio::test(start_paused = true)]
async fn a_node_is_told_whole() {
    let script = Arc::new(Script {
        nodes: Mutex::new([node(10, &[]), node(20, &["a"])].into()),
        checks: Mutex::new([node_checks(11, &[]), node_checks(21, &["c"]), node_checks(22, &["c"])].into()),
        ..Script::default()
    });
    let mut watch = NodeWatch::new(&script, "n", &WatchConfig { wait: WAIT, seed: 1 });
    let mut told = Vec::new();
    while let Ok(news) = tokio::time::timeout(Duration::from_secs(5), watch.next()).await {
        told.push(match news {
            WatchNews::Admitted { answer, .. } => {
                let view = answer.body.as_ref().as_ref().unwrap();
                format!("{} {}+{}", answer.meta.index, view.services.len(), view.checks.len())
            }
            WatchNews::Confirmed(meta) => format!("{} same", meta.index),
            other => format!("{other:?}"),
        });
    }
    assert_eq!(told, ["20 1+1", "20 same"]);
}

#[tokio::test(start_paused = true)]
async fn an_unknown_node_is_told_as_none() {
    let script = Arc::new(Script {
        nodes: Mutex::new([Answer { meta: meta(1), body: None }].into()),
        checks: Mutex::new([node_checks(9, &[])].into()),
        ..Script::default()
    });
    let mut watch = NodeWatch::new(&script, "n", &WatchConfig { wait: WAIT, seed: 1 });
    let WatchNews::Admitted { answer, .. } = watch.next().await else { panic!("not admitted") };
    assert_eq!((answer.meta.index, answer.body.as_ref()), (1, &None));
}
