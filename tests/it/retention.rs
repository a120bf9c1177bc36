//! Accounts that nobody uses are warned, closed and erased, each at its day; those whose address nobody proved go.

use cardea::services::{cleaning, retention};
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use crate::harness::app::{MASTER_KEY, PASSWORD, config, email, start_of_time};
use crate::harness::{Client, Program, TestApp};

/// Warned after 100 and 120 days, closed after 130, to be erased after 160, with a grace period of 10.
const STAGES: [&str; 5] = [
    "--inactive-warn-days=100",
    "--inactive-warn-again-days=120",
    "--inactive-close-days=130",
    "--inactive-erase-days=160",
    "--erasure-grace-days=10",
];
const ADA: &str = "ada@example.org";

const REGISTER: &str = "mutation { register(input: { email: \"NAME@example.org\", fullName: \"Somebody\", \
    password: \"Correct-Horse-7\" }) { errors { code } } }";

fn after(days: i64) -> DateTime<Utc> {
    start_of_time() + TimeDelta::days(days)
}

/// Goes on to an instant, doing what is done each hour at its end and an instant before.
async fn until(app: &TestApp, at: DateTime<Utc>) -> (Vec<String>, Vec<String>) {
    app.advance(at - app.app.clock.now() - TimeDelta::seconds(1));
    let early = app.retention().await;
    app.advance(TimeDelta::seconds(1));
    (early, app.retention().await)
}

async fn kept(app: &TestApp) -> String {
    app.db
        .text("SELECT string_agg(concat_ws(' ', username, status, closed_by, inactivity_warnings), ', ' ORDER BY username) FROM users")
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_stage_has_its_day() {
    let app = TestApp::with(&STAGES).await;
    app.admin().await;
    app.user("ada").await;
    app.run_jobs().await;
    let none: Vec<String> = Vec::new();
    for (day, stage, subject) in [
        (
            100,
            "first warning: 1",
            "You have not used your account at Cardea for long",
        ),
        (
            120,
            "second warning: 1",
            "You have not used your account at Cardea for long",
        ),
        (130, "closing: 1", "Your account at Cardea was closed"),
        (
            160,
            "erasure begins: 1",
            "Your account at Cardea will be erased",
        ),
    ] {
        let (early, taken) = until(&app, after(day)).await;
        assert_eq!(early, none, "a second before day {day}");
        assert_eq!(taken, [stage], "day {day}");
        assert_eq!(app.retention().await, none, "once");
        assert_eq!(app.run_jobs().await, 1);
        assert_eq!(app.subjects(ADA).await[0], subject, "day {day}");
    }
    app.advance(TimeDelta::days(10) - TimeDelta::seconds(1));
    assert_eq!(app.erase_due().await, 0);
    app.advance(TimeDelta::seconds(1));
    assert_eq!(app.erase_due().await, 1);
    assert_eq!(kept(&app).await, "admin active 0", "the role is exempt");
    let trail = app
        .db
        .text("SELECT string_agg(action || coalesce(' ' || (details ->> 'by'), ''), ', ' ORDER BY occurred_at, id) FROM audit_events WHERE actor_id IS NULL AND client IS NULL")
        .await;
    assert_eq!(
        trail,
        "inactivity_warned, inactivity_warned, account_deactivated inactivity, erasure_requested inactivity, account_erased"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_mails_name_the_days() {
    let app = TestApp::with(&STAGES).await;
    app.user("ada").await;
    let mail = async || {
        app.retention().await;
        app.run_jobs().await;
        let mail = app.mails_to(ADA).remove(0);
        mail.text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    // Later than they could have been: what was promised counts from the warning.
    app.advance(TimeDelta::days(105));
    let said = mail().await;
    assert!(said.contains("since 30 November 2026."), "{said}");
    assert!(said.contains("closed on 14 April 2027."), "{said}");
    assert!(said.contains("on 24 May 2027, it will be erased"), "{said}");
    app.advance(TimeDelta::days(20));
    let said = mail().await;
    assert!(said.contains("closed on 14 April 2027."), "{said}");
    app.advance(TimeDelta::days(10));
    let said = mail().await;
    assert!(said.contains("On 24 May 2027 it will be erased"), "{said}");
    app.advance(TimeDelta::days(30));
    let said = mail().await;
    assert!(said.contains("When: 24 May 2027 at 08:00 (UTC)"), "{said}");
    let links = app.mails_to(ADA).remove(0).links;
    let token = links[0].rsplit_once("token=").expect("a token").1;
    assert_eq!(app.reactivate(token).await.code(), "");
    app.advance(TimeDelta::days(11));
    assert_eq!(app.erase_due().await, 0, "opening it calls the erasure off");
    assert_eq!(app.login("ada", PASSWORD).await.code(), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_that_is_not_sent_is_none() {
    let app = TestApp::with(&STAGES).await;
    app.user("ada").await;
    app.run_jobs().await;
    app.advance(TimeDelta::days(100));
    assert_eq!(app.retention().await, ["first warning: 1"]);
    // The mail waits, as it does where no mail server is set.
    app.advance(TimeDelta::days(50));
    assert!(app.retention().await.is_empty());
    app.run_jobs().await;
    let mail = app.mails_to(ADA).remove(0);
    let said = mail.text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(
        said.contains("closed on 29 May 2027."),
        "from the day on which it is sent: {said}"
    );
    app.advance(TimeDelta::days(20) - TimeDelta::seconds(1));
    assert!(app.retention().await.is_empty());
    app.advance(TimeDelta::seconds(1));
    assert_eq!(app.retention().await, ["second warning: 1"]);
    // One that was given up counts after thirty days, in which it can be sent again.
    app.db
        .sql(&format!(
            "UPDATE jobs SET attempts = 9, failed_at = '{}', last_error = 'no such mailbox'",
            app.app.clock.now().to_rfc3339()
        ))
        .await;
    app.advance(TimeDelta::days(30) - TimeDelta::seconds(1));
    cleaning::clean(&app.app).await.expect("cleaned");
    assert!(app.retention().await.is_empty());
    app.advance(TimeDelta::seconds(2));
    cleaning::clean(&app.app).await.expect("cleaned");
    assert_eq!(app.retention().await, ["closing: 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_one_warning_has_become_enough_who_had_two_is_closed() {
    let app = TestApp::with(&STAGES).await;
    app.user("ada").await;
    for day in [100, 120] {
        until(&app, after(day)).await;
        app.run_jobs().await;
    }
    assert_eq!(kept(&app).await, "ada active 2");
    let fewer: Vec<&str> = STAGES
        .into_iter()
        .filter(|flag| !flag.contains("again"))
        .collect();
    let (second, _) = app.second(&fewer).await;
    let taken = async || {
        let taken = retention::run(&second, 100, |_, _| {}).await.expect("run");
        taken.iter().map(|(_, accounts)| accounts).sum::<usize>()
    };
    // Thirty days after the last warning, as one that had only one.
    app.advance(TimeDelta::days(30) - TimeDelta::seconds(1));
    assert_eq!(taken().await, 0);
    app.advance(TimeDelta::seconds(1));
    assert_eq!(taken().await, 1);
    assert_eq!(kept(&app).await, "ada deactivated inactivity 1");
    second.db.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_cannot_be_changed_holds_up_none_behind_it() {
    let app = TestApp::with(&STAGES).await;
    for name in ["ada", "bob", "cyd"] {
        app.user(name).await;
    }
    for day in [100, 120] {
        until(&app, after(day)).await;
        app.run_jobs().await;
    }
    app.db
        .sql(
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not this one'; END $$; \
             CREATE TRIGGER refuse BEFORE UPDATE ON users FOR EACH ROW \
             WHEN (OLD.username = 'ada' AND NEW.status = 'deactivated') EXECUTE FUNCTION refuse()",
        )
        .await;
    app.advance(TimeDelta::days(10));
    let refused = retention::run(&app.app, 100, |_, _| {}).await;
    assert!(refused.is_err(), "and it is told");
    assert_eq!(
        kept(&app).await,
        "ada active 2, bob deactivated inactivity 2, cyd deactivated inactivity 2"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warning_is_not_sent_to_who_used_the_account_meanwhile() {
    let app = TestApp::with(&STAGES).await;
    app.user("ada").await;
    app.run_jobs().await;
    app.advance(TimeDelta::days(100));
    assert_eq!(app.retention().await, ["first warning: 1"]);
    let mails = app.mails().len();
    app.db
        .sql(&format!(
            "UPDATE sessions SET expires_at = sessions.created_at + INTERVAL '30 days', last_accessed_at = '{}'",
            after(101).to_rfc3339()
        ))
        .await;
    app.advance(TimeDelta::days(2));
    app.run_jobs().await;
    assert_eq!(app.mails().len(), mails);
    assert!(app.retention().await.is_empty());
    assert_eq!(kept(&app).await, "ada active 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_newer_than_the_account_cut_nobody_short() {
    let app = TestApp::with(&STAGES).await;
    app.user("ada").await;
    app.advance(TimeDelta::days(1000));
    let none: Vec<String> = Vec::new();
    for (wait, stage) in [
        (0, "first warning: 1"),
        (20, "second warning: 1"),
        (10, "closing: 1"),
        (30, "erasure begins: 1"),
    ] {
        if wait > 0 {
            app.advance(TimeDelta::days(wait) - TimeDelta::seconds(1));
            assert_eq!(app.retention().await, none, "a second before {stage}");
            app.advance(TimeDelta::seconds(1));
        }
        assert_eq!(app.retention().await, [stage]);
        app.run_jobs().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn using_the_account_begins_anew() {
    let app = TestApp::with(&STAGES).await;
    app.user("ada").await;
    app.user("bob").await;
    for day in [100, 120] {
        until(&app, after(day)).await;
        app.run_jobs().await;
    }
    assert_eq!(kept(&app).await, "ada active 2, bob active 2");
    // One signs in; the other uses a session of thirty days, which says nothing about a sign-in.
    app.sign_in("ada").await;
    app.db
        .sql(&format!(
            "UPDATE sessions SET expires_at = sessions.created_at + INTERVAL '30 days', last_accessed_at = '{}' FROM users \
             WHERE user_id = users.id AND username = 'bob'",
            after(121).to_rfc3339()
        ))
        .await;
    let (early, taken) = until(&app, after(130)).await;
    assert!(early.is_empty() && taken.is_empty(), "{early:?} {taken:?}");
    assert_eq!(kept(&app).await, "ada active 0, bob active 0");
    let (early, taken) = until(&app, after(220)).await;
    assert!(early.is_empty(), "{early:?}");
    assert_eq!(
        taken,
        ["first warning: 1"],
        "a hundred days after its sign-in"
    );
    assert_eq!(kept(&app).await, "ada active 1, bob active 0");
    let (_, taken) = until(&app, after(221)).await;
    assert_eq!(
        taken,
        ["first warning: 1"],
        "a hundred days after its last use"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_never_signed_in_counts_from_the_beginning_of_the_account() {
    let app = TestApp::with(&STAGES).await;
    app.user("ada").await;
    app.db
        .sql("DELETE FROM sessions; UPDATE users SET last_login_at = NULL, login_count = 0")
        .await;
    let (early, taken) = until(&app, after(100)).await;
    assert!(early.is_empty(), "{early:?}");
    assert_eq!(taken, ["first warning: 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn exempt_roles_and_the_last_administrator_stay() {
    let mut flags = STAGES.to_vec();
    flags.push("--inactive-exempt-roles=moderator");
    let app = TestApp::with(&flags).await;
    app.user_with_role("mod", "moderator").await;
    app.user_with_role("one", "admin").await;
    app.user_with_role("two", "admin").await;
    for day in [100, 120, 130, 131] {
        until(&app, after(day)).await;
        app.run_jobs().await;
    }
    let text = kept(&app).await;
    assert!(text.starts_with("mod active 0"), "{text}");
    assert_eq!(text.matches("deactivated inactivity").count(), 1, "{text}");
    assert_eq!(text.matches("active 2").count(), 1, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_does_not_exist_stops_all_of_it() {
    let mut flags = STAGES.to_vec();
    flags.push("--inactive-exempt-roles=admin,sataff");
    let app = TestApp::with(&flags).await;
    app.user("ada").await;
    app.advance(TimeDelta::days(200));
    let before = app.state().await;
    let run = retention::run(&app.app, retention::PASS, |_, _| {}).await;
    assert!(format!("{run:?}").contains("names the role `sataff`, which does not exist"));
    assert!(retention::report(&app.app).await.is_err());
    assert_eq!(app.state().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_done_that_the_settings_do_not_say() {
    let app = TestApp::with(&["--unproved-days=0"]).await;
    app.user("ada").await;
    app.register("pat").await;
    app.run_jobs().await;
    let before = app.state().await;
    app.advance(TimeDelta::days(10_000));
    assert!(app.retention().await.is_empty());
    assert_eq!(app.erase_due().await, 0);
    assert_eq!(app.state().await, before);
    // Warned, and no more.
    let app = TestApp::with(&["--inactive-warn-days=10"]).await;
    app.user("ada").await;
    app.advance(TimeDelta::days(10));
    assert_eq!(app.retention().await, ["first warning: 1"]);
    app.run_jobs().await;
    let said = app.mails_to(ADA).remove(0).text;
    assert!(
        !said.contains("closed") && !said.contains("erased"),
        "{said}"
    );
    app.advance(TimeDelta::days(1000));
    assert!(app.retention().await.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_whose_address_nobody_proved_go_after_a_month() {
    let app = TestApp::new().await;
    app.admin().await;
    app.register("pat").await;
    app.user("ada").await;
    app.run_jobs().await;
    let mails = app.mails().len();
    // Asked for once more a day before: the link stays good.
    app.advance(TimeDelta::days(29) + TimeDelta::hours(23));
    app.resend(&email("pat")).await;
    app.run_jobs().await;
    app.advance(TimeDelta::hours(1));
    assert!(app.retention().await.is_empty());
    app.advance(TimeDelta::hours(23) - TimeDelta::seconds(1));
    assert!(app.retention().await.is_empty());
    app.advance(TimeDelta::seconds(1));
    assert_eq!(app.retention().await, ["erasure, address never proved: 1"]);
    assert_eq!(kept(&app).await, "ada active 0, admin active 0");
    app.run_jobs().await;
    assert_eq!(app.mails().len(), mails + 1, "no mail tells a stranger");
    // Registering anew begins anew.
    app.register("pat").await;
    app.advance(TimeDelta::days(20));
    app.gql(&REGISTER.replace("NAME", "pat"), Value::Null).await;
    app.run_jobs().await;
    app.advance(TimeDelta::days(20));
    assert!(app.retention().await.is_empty());
    app.advance(TimeDelta::days(10));
    assert_eq!(app.retention().await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_username_asked_for_in_vain_is_kept_as_long_as_an_account_would_wait() {
    let app = TestApp::new().await;
    app.user("ada").await;
    let vain = REGISTER.replace("NAME", "ada");
    let named = vain.replace("fullName", "username: \"eve\", fullName");
    app.gql(&named, Value::Null).await;
    app.advance(TimeDelta::days(20));
    assert_eq!(app.gql(&vain, Value::Null).await.code(), "");
    app.advance(TimeDelta::days(29));
    cleaning::clean(&app.app).await.expect("cleaned");
    assert_eq!(
        app.count("username_reservations").await,
        "1",
        "asked for again"
    );
    app.advance(TimeDelta::days(1) + TimeDelta::seconds(1));
    cleaning::clean(&app.app).await.expect("cleaned");
    assert_eq!(app.count("username_reservations").await, "0");
}

/// Accounts that were last used long ago.
async fn crowd(app: &TestApp, many: usize) {
    app.db
        .sql(&format!(
            "INSERT INTO users (id, auth_token, username, email, full_name, status, email_verified_at, created_at, updated_at) \
             SELECT gen_random_uuid(), gen_random_uuid(), 'u' || n, 'u' || n || '@example.org', 'Somebody', 'active', \
                 '2026-01-01', '2026-01-01'::timestamptz + n * INTERVAL '1 second', '2026-01-01' FROM generate_series(1, {many}) AS n; \
             INSERT INTO profiles (user_id, created_at, updated_at) SELECT id, created_at, updated_at FROM users"
        ))
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_accounts_are_taken_in_batches_and_each_is_mailed_once_whoever_does_it() {
    let app = TestApp::with(&["--inactive-warn-days=100"]).await;
    crowd(&app, 1250).await;
    let (second, _) = app.second(&["--inactive-warn-days=100"]).await;
    let mut batches = Vec::new();
    let taken = retention::run(&app.app, 200, |_, done| batches.push(done)).await;
    let all = taken
        .expect("carried out")
        .iter()
        .map(|(_, n)| n)
        .sum::<usize>();
    assert_eq!(all, 200, "no more than was asked for");
    assert_eq!(batches, [100, 200]);
    let (one, other) = tokio::join!(
        retention::run(&app.app, 2000, |_, _| {}),
        retention::run(&second, 2000, |_, _| {})
    );
    let both = [one, other].map(|taken| taken.expect("carried out"));
    let taken: usize = both.iter().flatten().map(|(_, accounts)| accounts).sum();
    assert_eq!(taken, 1050);
    let queued = "SELECT count(*)::text || ' ' || count(DISTINCT payload ->> 'user') FROM jobs";
    assert_eq!(app.db.text(queued).await, "1250 1250");
    let told = "SELECT count(*)::text FROM audit_events WHERE action = 'inactivity_warned'";
    assert_eq!(app.db.text(told).await, "1250");
    second.shutdown.cancel();
    second.db.close();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_counts_and_changes_nothing() {
    let flags = ["--inactive-warn-days=100", "--inactive-close-days=130"];
    let app = TestApp::with(&flags).await;
    crowd(&app, 7).await;
    app.register("pat").await;
    app.advance(TimeDelta::days(31));
    let before = app.rows().await;
    let reports = retention::report(&app.app).await.expect("counted");
    let told: Vec<_> = reports
        .iter()
        .map(|report| (report.stage.name(), report.accounts, report.first.len()))
        .collect();
    assert_eq!(
        told,
        [
            ("erasure, address never proved", 1, 1),
            ("closing", 0, 0),
            ("first warning", 7, 5)
        ]
    );
    assert_eq!(app.rows().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_line_does_it_too() {
    let app = TestApp::new().await;
    crowd(&app, 3).await;
    // Of the day of the machine, not of the test: these are older than any.
    app.db
        .sql("UPDATE users SET created_at = '2001-01-01', updated_at = '2001-01-01'")
        .await;
    let id = app.db.text("SELECT min(id::text) FROM users").await;
    let program = Program::on(&app.db.url())
        .with("CARDEA_MASTER_KEY", MASTER_KEY)
        .with("CARDEA_INACTIVE_WARN_DAYS", "100");
    let said = program.run(&["retention", "run", "--dry-run"]).success();
    assert!(
        said.contains("first warning: 3 accounts, the first "),
        "{said}"
    );
    assert!(said.contains(&id) && !said.contains('@'), "{said}");
    assert!(said.contains("0 accounts wait for the moment of their erasure."));
    assert_eq!(app.count("jobs").await, "0");
    let said = program.run(&["retention", "run"]).success();
    assert!(said.contains("first warning: 3 accounts\n"), "{said}");
    assert!(said.contains("erased: 0 accounts\n"), "{said}");
    assert_eq!(app.count("jobs").await, "3");
}

#[test]
fn settings_that_cannot_hold_are_named() {
    let wrong = |flags: &[&str]| config(flags).problems().join("; ");
    assert_eq!(wrong(&STAGES), "");
    assert_eq!(
        wrong(&["--inactive-warn-days=100", "--inactive-close-days=100"]),
        "CARDEA_INACTIVE_CLOSE_DAYS must be greater than CARDEA_INACTIVE_WARN_DAYS"
    );
    assert_eq!(
        wrong(&["--inactive-close-days=100"]),
        "CARDEA_INACTIVE_WARN_DAYS is missing; whatever comes later needs a warning"
    );
    assert_eq!(
        wrong(&["--inactive-warn-days=100", "--inactive-erase-days=200"]),
        "CARDEA_INACTIVE_ERASE_DAYS needs CARDEA_INACTIVE_CLOSE_DAYS: only what is closed is erased"
    );
    assert_eq!(
        wrong(&["--erasure-grace-days=40000"]),
        "CARDEA_ERASURE_GRACE_DAYS must be at most 36500"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_comes_too_late_to_be_true_is_not_sent() {
    let app = TestApp::with(&STAGES).await;
    let ada: Client<'_> = app.user("ada").await;
    app.run_jobs().await;
    app.advance(TimeDelta::days(100));
    assert_eq!(app.retention().await, ["first warning: 1"]);
    let mails = app.mails().len();
    app.sign_in("ada").await;
    app.run_jobs().await;
    assert_eq!(
        app.mails().len(),
        mails,
        "{}",
        json!(app.subjects(ADA).await)
    );
    drop(ada);
}
