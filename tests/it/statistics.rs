//! Counts of sign-ins and accounts: right to the last one, in any time zone, whatever is rolled up already.

use cardea::models::statistics::Quarters;
use cardea::scalar::DateTime;
use cardea::services::{cleaning, statistics};
use chrono::{TimeDelta, Utc};
use diesel_async::{AsyncConnection as _, SimpleAsyncConnection as _};
use serde_json::{Value, json};

use crate::harness::app::PASSWORD;
use crate::harness::{Answer, Client, TestApp};

const STATS: &str = "query($period: DateTimeRange, $timezone: String! = \"UTC\") { \
    loginStats(period: $period, timezone: $timezone) { \
        byDay { day failures successes } byMethod { count method } distinctUsers failures successes } }";

async fn ask(admin: &Client<'_>, period: Value, timezone: &str) -> Answer {
    let variables = json!({ "period": period, "timezone": timezone });
    admin.gql(STATS, variables).await
}

async fn roll_up(app: &TestApp) -> usize {
    statistics::roll_up(&app.app).await.expect("rolled up")
}

/// Until when events are rolled up.
async fn rolled_up_to(app: &TestApp) -> String {
    let until = "SELECT to_char(max(starts_at) + INTERVAL '15 minutes', 'MM-DD HH24:MI') FROM login_quarters";
    app.db.text(until).await
}

fn instant(text: &str) -> chrono::DateTime<Utc> {
    text.parse().expect("an instant")
}

/// Puts sign-ins and refused tries of 60 accounts in, for three months around the start of the test, many of them
/// at the very beginning of an hour, and some accounts deleted since.
async fn put_history_in(app: &TestApp) {
    app.db
        .sql(
            "SELECT setseed(0.5);
            INSERT INTO users (id, auth_token, email, full_name, created_at, updated_at)
                SELECT gen_random_uuid(), gen_random_uuid(), 'history' || n || '@example.org', 'History', '2026-01-01', '2026-01-01'
                FROM generate_series(1, 60) AS n;
            CREATE TEMPORARY TABLE account AS SELECT id, row_number() OVER () AS n FROM users WHERE full_name = 'History';
            CREATE TEMPORARY TABLE event AS
                SELECT CASE WHEN whole < 0.2 THEN date_trunc('hour', at) ELSE at END AS at, account, succeeded < 0.8 AS ok, method
                FROM (
                    SELECT TIMESTAMPTZ '2026-09-20Z' + random() * INTERVAL '90 days' AS at, random() AS whole,
                        1 + floor(60 * random() * random())::integer AS account, random() AS succeeded, random() AS method
                    FROM generate_series(1, 4000)
                ) AS drawn;
            INSERT INTO login_events (id, user_id, methods, occurred_at, succeeded, previous_at)
                SELECT gen_random_uuid(), CASE WHEN ok THEN id END,
                    CASE WHEN NOT ok THEN '{}' WHEN method < 0.5 THEN '{password}' WHEN method < 0.7 THEN '{password,totp}' ELSE '{passkey}' END::text[],
                    at, ok, CASE WHEN ok THEN lag(at) OVER (PARTITION BY account, ok ORDER BY at) END
                FROM event JOIN account ON n = account;",
        )
        .await;
}

/// What `loginStats` should say, counted by the database from the events alone, with its own time zones.
async fn counted(app: &TestApp, from: &str, to: &str, zone: &str) -> Value {
    let local = |instant: &str| format!("({instant} AT TIME ZONE '{zone}')::date");
    let (first, last) = (
        local(&format!("TIMESTAMPTZ '{from}'")),
        local(&format!("(TIMESTAMPTZ '{to}' - INTERVAL '1 microsecond')")),
    );
    let within = format!("occurred_at >= '{from}' AND occurred_at < '{to}'");
    let text = app
        .db
        .text(&format!(
            "SELECT json_build_object( \
                'byDay', (SELECT coalesce(json_agg(json_build_object('day', day::date, 'failures', \
                    (SELECT count(*) FROM login_events WHERE {within} AND {on} = day::date AND NOT succeeded), 'successes', \
                    (SELECT count(*) FROM login_events WHERE {within} AND {on} = day::date AND succeeded)) ORDER BY day), '[]') \
                    FROM generate_series({first}::timestamp, {last}::timestamp, '1 day') AS day WHERE '{from}' < '{to}'), \
                'byMethod', (SELECT coalesce(json_agg(json_build_object('count', number, 'method', upper(method)) ORDER BY number DESC, method), '[]') \
                    FROM (SELECT method, count(*) AS number FROM login_events, unnest(methods) AS method WHERE {within} GROUP BY method) AS m), \
                'distinctUsers', (SELECT count(DISTINCT user_id) FROM login_events WHERE {within}), \
                'failures', (SELECT count(*) FROM login_events WHERE {within} AND NOT succeeded), \
                'successes', (SELECT count(*) FROM login_events WHERE {within} AND succeeded))::text",
            on = local("occurred_at"),
        ))
        .await;
    serde_json::from_str(&text).expect("JSON")
}

/// Numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, most: i64) -> i64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        i64::try_from(self.0 >> 33).expect("31 bits") % most
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn counts_are_those_of_the_events_for_any_span_and_zone_whatever_is_rolled_up() {
    const ZONES: [&str; 8] = [
        "UTC",
        "Asia/Kathmandu",
        "Europe/Vienna",
        "America/New_York",
        "Australia/Lord_Howe",
        "Pacific/Apia",
        "America/St_Johns",
        "Pacific/Kiritimati",
    ];
    let app = TestApp::with(&["--access-token-minutes=60"]).await;
    put_history_in(&app).await;
    let mut dice = Dice(7);
    for stage in 0..3 {
        match stage {
            0 => assert_eq!(rolled_up_to(&app).await, ""),
            _ => assert_eq!(roll_up(&app).await, 1),
        }
        let admin = if stage == 0 {
            app.admin().await
        } else {
            app.sign_in("admin").await
        };
        for round in 0..30 {
            let mut at = |most: i64| {
                let steps =
                    [60 * 60 * 24, 15 * 60, 1][usize::try_from(dice.below(3)).expect("small")];
                let seconds = dice.below(most * 24 * 60 * 60) / steps * steps;
                TimeDelta::seconds(seconds)
            };
            let from = instant("2026-09-15T00:00:00Z") + at(100);
            let to = from + at(if round % 2 == 0 { 3 } else { 100 });
            let zone = ZONES[usize::try_from(dice.below(8)).expect("small")];
            let (from, to) = (from.to_rfc3339(), to.to_rfc3339());
            let answer = ask(&admin, json!({ "from": from, "to": to }), zone).await;
            assert_eq!(
                answer.data("loginStats"),
                &counted(&app, &from, &to, zone).await,
                "stage {stage}, {from} to {to}, {zone}; rolled up to {}",
                rolled_up_to(&app).await
            );
        }
        // To the middle of a day, and of a quarter.
        app.advance(TimeDelta::hours(24 * 9 + 5) + TimeDelta::minutes(22));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_ins_are_counted_to_the_last_one_across_midnight() {
    let app = TestApp::new().await;
    let (admin, ada) = (app.admin().await, app.user("ada").await);
    let device = ada.with_two_factor(&app).await;
    // Midnight in Nepal.
    app.advance(instant("2026-11-30T18:15:00Z") - app.app.clock.now());
    app.sign_in_with("ada", &device.code()).await;
    app.login("ada", "Wrong-Horse-7").await;
    let admin = {
        drop(admin);
        app.sign_in("admin").await
    };
    let answer = ask(&admin, Value::Null, "Asia/Kathmandu").await;
    let days = answer.data("loginStats/byDay").as_array().expect("days");
    assert_eq!(days.len(), 31);
    assert_eq!(
        days[29],
        json!({ "day": "2026-11-30", "failures": 0, "successes": 2 })
    );
    assert_eq!(
        days[30],
        json!({ "day": "2026-12-01", "failures": 1, "successes": 2 })
    );
    assert!(days[..29].iter().all(|day| day["successes"] == 0));
    assert_eq!(answer.data("loginStats/successes"), 4);
    assert_eq!(answer.data("loginStats/failures"), 1);
    assert_eq!(answer.data("loginStats/distinctUsers"), 2);
    assert_eq!(
        answer.data("loginStats/byMethod"),
        &json!([
            { "count": 2, "method": "EMAIL_LINK" }, { "count": 2, "method": "PASSWORD" }, { "count": 1, "method": "TOTP" },
        ])
    );
    let utc = ask(&admin, Value::Null, "UTC").await;
    let last = &utc.data("loginStats/byDay").as_array().expect("days")[30];
    assert_eq!(
        last,
        &json!({ "day": "2026-11-30", "failures": 1, "successes": 4 })
    );
    // The span begins with its first instant and ends before its last.
    for (from, to, successes) in [
        ("2026-11-30T18:15:00Z", "2026-11-30T18:15:00.000001Z", 2),
        ("2026-11-30T18:14:59Z", "2026-11-30T18:15:00Z", 0),
        ("2026-11-30T18:15:00Z", "2026-11-30T18:15:00Z", 0),
    ] {
        let answer = ask(&admin, json!({ "from": from, "to": to }), "UTC").await;
        assert_eq!(
            answer.data("loginStats/successes"),
            successes,
            "{from} to {to}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_and_zones_that_cannot_be_are_refused() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    for (period, zone) in [
        (
            json!({ "from": "2026-11-30T08:00:30Z", "to": "2026-11-30T08:00:29Z" }),
            "UTC",
        ),
        (json!({ "from": "2020-01-01T00:00:00Z" }), "UTC"),
        (Value::Null, "Europe/Atlantis"),
        (Value::Null, "'; DROP TABLE users; --"),
        (Value::Null, ""),
    ] {
        let answer = ask(&admin, period.clone(), zone).await;
        assert_eq!(answer.codes(), ["BAD_USER_INPUT"], "{period} {zone}");
        let users = "query($period: DateTimeRange, $timezone: String!) { userStats(registrationsWithin: $period, timezone: $timezone) { total } }";
        let answer = admin
            .gql(users, json!({ "period": period, "timezone": zone }))
            .await;
        assert_eq!(answer.codes(), ["BAD_USER_INPUT"], "{period} {zone}");
    }
    // Long ago and far ahead nobody signed in.
    for period in [
        json!({ "to": "0000-01-01T00:00:00Z" }),
        json!({ "from": "9999-12-01T00:00:00Z", "to": "9999-12-31T23:59:59Z" }),
    ] {
        let answer = ask(&admin, period, "Asia/Kathmandu").await;
        assert_eq!(answer.data("loginStats/successes"), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_servers_one_rolls_up_and_each_event_once() {
    let app = TestApp::deaf().await;
    let (second, _) = app.second(&[]).await;
    put_history_in(&app).await;
    let mut conn = app.app.db.conn().await.expect("a connection");
    // Whoever rolls up first waits here.
    conn.batch_execute("BEGIN; LOCK TABLE login_day_returns IN SHARE MODE")
        .await
        .expect("a lock");
    let first = app.app.tasks.spawn({
        let app = app.app.clone();
        async move { statistics::roll_up(&app).await.expect("rolled up") }
    });
    app.db.until_waiting(1).await;
    assert_eq!(statistics::roll_up(&second).await.expect("an answer"), 0);
    conn.batch_execute("COMMIT").await.expect("free");
    assert_eq!(first.await.expect("done"), 1);
    assert_eq!(
        statistics::roll_up(&second).await.expect("an answer"),
        0,
        "nothing is left"
    );
    assert_rolled_up(&app).await;
    // Even past the turn nothing is counted twice.
    let quarters = Quarters {
        from: DateTime(instant("2026-10-01T00:00:00Z")),
        to: DateTime(instant("2026-10-02T00:00:00Z")),
    };
    assert!(quarters.roll_up(&mut conn).await.is_err());
    assert_rolled_up(&app).await;
    second.shutdown.cancel();
    second.db.close();
}

/// The roll-ups hold every event before their end, once.
async fn assert_rolled_up(app: &TestApp) {
    let same = "SELECT (
        (SELECT sum(successes) FROM login_quarters) = (SELECT sum(sign_ins) FROM login_day_returns)
        AND (SELECT (sum(successes), sum(failures)) FROM login_quarters) = (
            SELECT (count(*) FILTER (WHERE succeeded)::numeric, count(*) FILTER (WHERE NOT succeeded)::numeric) FROM login_events
            WHERE occurred_at < (SELECT max(starts_at) + INTERVAL '15 minutes' FROM login_quarters)
        ) AND (SELECT sum(sign_ins) FROM login_day_methods) = (
            SELECT sum(cardinality(methods)) FROM login_events
            WHERE occurred_at < (SELECT max(starts_at) + INTERVAL '15 minutes' FROM login_quarters)
        ))::text";
    assert_eq!(app.db.text(same).await, "true");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_roll_up_that_is_killed_goes_on_where_it_was() {
    let app = TestApp::deaf().await;
    put_history_in(&app).await;
    let until = DateTime(app.app.clock.now() - TimeDelta::days(3));
    let mut conn = app.app.db.conn().await.expect("a connection");
    // Small batches, of which every second one is lost.
    let mut batches = 0;
    for round in 0.. {
        let batch = conn.transaction(async |conn| {
            let Some(quarters) = Quarters::next(conn, until, 100).await? else {
                return Ok(false);
            };
            assert!(quarters.from < quarters.to && quarters.to <= until);
            quarters.roll_up(conn).await?;
            if round % 2 == 0 {
                return Err(diesel::result::Error::RollbackTransaction);
            }
            Ok(true)
        });
        match batch.await {
            Ok(true) => batches += 1,
            Ok(false) => break,
            Err(_) => {}
        }
    }
    assert!(batches > 20, "{batches}");
    assert_rolled_up(&app).await;
    // The backend dies in the middle of the next one.
    conn.batch_execute("BEGIN; LOCK TABLE login_day_returns IN SHARE MODE")
        .await
        .expect("a lock");
    let dying = app.app.tasks.spawn({
        let app = app.app.clone();
        async move { statistics::roll_up(&app).await }
    });
    app.db.until_waiting(1).await;
    app.db
        .sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
        .await;
    assert!(dying.await.expect("done").is_err());
    conn.batch_execute("COMMIT").await.expect("free");
    drop(conn);
    assert_rolled_up(&app).await;
    assert_eq!(roll_up(&app).await, 1);
    assert_rolled_up(&app).await;
    // Behind it nobody signed in.
    assert_eq!(rolled_up_to(&app).await, "11-30 05:15");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_query_sees_one_state_while_sign_ins_are_rolled_up() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    put_history_in(&app).await;
    let period = json!({ "from": "2026-10-01T00:00:00Z", "to": "2026-11-30T09:00:00Z" });
    let before = ask(&admin, period.clone(), "UTC").await;
    let mut conn = app.app.db.conn().await.expect("a connection");
    conn.batch_execute("BEGIN; LOCK TABLE login_day_methods IN ACCESS EXCLUSIVE MODE")
        .await
        .expect("a lock");
    let meanwhile = async {
        // Behind its first count, before its second.
        app.db.until_waiting(1).await;
        conn.batch_execute(
            "INSERT INTO login_events (id, methods, occurred_at) SELECT gen_random_uuid(), '{totp}', '2026-11-30T06:00:00Z' FROM generate_series(1, 7)",
        )
        .await
        .expect("events");
        let until = DateTime(instant("2026-11-30T07:00:00Z"));
        let quarters = Quarters::next(&mut conn, until, 1_000_000)
            .await
            .expect("an answer");
        quarters
            .expect("events")
            .roll_up(&mut conn)
            .await
            .expect("rolled up");
        conn.batch_execute("COMMIT").await.expect("visible");
    };
    let (during, ()) = tokio::join!(ask(&admin, period.clone(), "UTC"), meanwhile);
    assert_eq!(during.data("loginStats"), before.data("loginStats"));
    let after = ask(&admin, period, "UTC").await;
    let number = |answer: &Answer| answer.data("loginStats/successes").as_i64();
    assert_eq!(number(&after), number(&before).map(|number| number + 7));
    assert_rolled_up(&app).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_to_light_late_is_counted_and_clocks_that_are_behind_lose_nothing() {
    let app = TestApp::new().await;
    let (admin, _ada) = (app.admin().await, app.user("ada").await);
    // Not committed yet when the quarter before is rolled up.
    let mut conn = app.app.db.conn().await.expect("a connection");
    conn.batch_execute(
        "BEGIN; INSERT INTO login_events (id, methods, occurred_at) VALUES (gen_random_uuid(), '{totp}', '2026-11-30T08:20:00Z')",
    )
    .await
    .expect("an event");
    app.advance(TimeDelta::minutes(34));
    assert_eq!(roll_up(&app).await, 1);
    assert_eq!(rolled_up_to(&app).await, "11-30 08:15");
    conn.batch_execute("COMMIT").await.expect("committed");
    drop(conn);
    app.advance(TimeDelta::hours(2));
    assert_eq!(roll_up(&app).await, 1);
    assert_eq!(rolled_up_to(&app).await, "11-30 08:30");
    let admin = {
        drop(admin);
        app.sign_in("admin").await
    };
    // A server that is hours behind, asked from another network: limits count by the clock, too.
    let elsewhere = app.at("192.0.2.7");
    app.advance(TimeDelta::minutes(-140));
    elsewhere.login("ada", "Wrong-Horse-7").await;
    assert_eq!(elsewhere.login("ada", PASSWORD).await.code(), "");
    app.advance(TimeDelta::minutes(-10));
    assert_eq!(elsewhere.login("ada", PASSWORD).await.code(), "");
    app.advance(TimeDelta::minutes(150));
    let dated = "SELECT string_agg(to_char(occurred_at, 'HH24:MI') || coalesce(to_char(previous_at, ' HH24:MI'), ''), ', ' ORDER BY id) \
        FROM login_events WHERE occurred_at BETWEEN '2026-11-30T08:25:00Z' AND '2026-11-30T10:00:00Z'";
    assert_eq!(app.db.text(dated).await, "08:30, 08:30 08:00, 08:30 08:30");
    for rolled_up in [false, true] {
        if rolled_up {
            assert_eq!(roll_up(&app).await, 1);
            assert_eq!(rolled_up_to(&app).await, "11-30 08:45");
        }
        let answer = ask(&admin, Value::Null, "UTC").await;
        assert_eq!(answer.data("loginStats/successes"), 6);
        assert_eq!(answer.data("loginStats/failures"), 1);
        let answer = ask(&admin, json!({ "from": "2026-11-30T08:10:00Z" }), "UTC").await;
        // The event without an account was put in past the server: it stands for one.
        assert_eq!(answer.data("loginStats/distinctUsers"), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_sign_ins_at_once_the_second_knows_the_first() {
    let app = TestApp::new().await;
    let (admin, _ada) = (app.admin().await, app.user("ada").await);
    app.advance(TimeDelta::minutes(1));
    let mut conn = app.app.db.conn().await.expect("a connection");
    conn.batch_execute("BEGIN; SELECT 1 FROM users WHERE username = 'ada' FOR UPDATE")
        .await
        .expect("a lock");
    let release = async {
        app.db.until_waiting(2).await;
        conn.batch_execute("COMMIT").await.expect("free");
    };
    let (one, other, ()) = tokio::join!(
        app.login("ada", PASSWORD),
        app.login("ada", PASSWORD),
        release
    );
    assert_eq!((one.code(), other.code()), ("", ""));
    let answer = ask(&admin, json!({ "from": "2026-11-30T08:00:30Z" }), "UTC").await;
    assert_eq!(answer.data("loginStats/successes"), 2);
    assert_eq!(answer.data("loginStats/distinctUsers"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn sign_ins_of_accounts_that_are_gone_count_on_without_a_name() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.user("ada").await;
    app.sign_in("ada").await;
    app.db.sql("DELETE FROM users WHERE username = 'ada'").await;
    let answer = ask(&admin, Value::Null, "UTC").await;
    assert_eq!(answer.data("loginStats/successes"), 3);
    assert_eq!(answer.data("loginStats/distinctUsers"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn roll_ups_outlive_refused_tries_and_go_after_the_sign_ins() {
    let app = TestApp::new().await;
    app.user("ada").await;
    app.login("ada", "Wrong-Horse-7").await;
    app.advance(TimeDelta::days(1));
    roll_up(&app).await;
    let kept = async || {
        cleaning::clean(&app.app).await.expect("cleaned");
        let mut counts = Vec::new();
        for table in [
            "login_events",
            "login_quarters",
            "login_day_methods",
            "login_day_returns",
        ] {
            counts.push(app.count(table).await);
        }
        counts.join(" ")
    };
    assert_eq!(kept().await, "2 1 1 1");
    app.advance(TimeDelta::days(90));
    assert_eq!(kept().await, "1 1 1 1");
    let admin = app.admin().await;
    let answer = ask(&admin, json!({ "from": "2026-11-30T08:00:00Z" }), "UTC").await;
    assert_eq!(answer.data("loginStats/failures"), 1);
    app.db
        .sql("DELETE FROM login_events WHERE occurred_at > '2027-01-01'")
        .await;
    app.advance(TimeDelta::days(710));
    assert_eq!(kept().await, "0 1 1 1");
    app.advance(TimeDelta::days(2));
    assert_eq!(kept().await, "0 0 0 0");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_number_of_statements_is_known() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    put_history_in(&app).await;
    roll_up(&app).await;
    admin.ask("{ viewer { isAuthenticated } }").await;
    let (statements, _) = app
        .statements(ask(&admin, Value::Null, "Europe/Vienna"))
        .await;
    assert_eq!(statements, 5, "begin, three counts, commit");
    let users = "{ userStats { total byRole { count role { name permissions { name } } } registrations { count } } }";
    // What roles grant is remembered from then on.
    admin.ask(users).await;
    let (statements, answer) = app.statements(admin.ask(users)).await;
    assert_eq!(answer.data("userStats/total"), 61);
    assert_eq!(statements, 6, "begin, three counts, the roles, commit");
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_are_counted_as_they_are() {
    let app = TestApp::new().await;
    let admin = app.admin().await;
    app.register("bob").await;
    let eve = app.user("eve").await;
    assert_eq!(eve.deactivate(PASSWORD).await.code(), "");
    // 18:15 in UTC is midnight in Nepal.
    app.advance(instant("2026-11-30T18:15:00Z") - app.app.clock.now());
    let ada = app.user("ada").await;
    ada.with_two_factor(&app).await;
    app.user("joe").await;
    app.db.sql("DELETE FROM users WHERE username = 'joe'").await;
    let admin = {
        drop(admin);
        app.sign_in("admin").await
    };
    let document = "query($within: DateTimeRange, $timezone: String! = \"UTC\") { userStats(registrationsWithin: $within, timezone: $timezone) { \
        active asOf byRole { count role { name } } emailVerified inactive monthlyActive newLast30Days registrations { count day } total twoFactorEnabled } }";
    let within = json!({ "from": "2026-11-29T18:15:00Z", "to": "2026-12-01T18:15:00Z" });
    let answer = admin
        .gql(
            document,
            json!({ "within": within, "timezone": "Asia/Kathmandu" }),
        )
        .await;
    assert_eq!(
        answer.data("userStats"),
        &json!({
            "active": 2, "asOf": app.app.clock.now().format("%Y-%m-%dT%H:%M:%SZ").to_string(),
            "byRole": [
                { "count": 1, "role": { "name": "admin" } }, { "count": 0, "role": { "name": "moderator" } },
                { "count": 4, "role": { "name": "user" } },
            ],
            "emailVerified": 3, "inactive": 2, "monthlyActive": 3, "newLast30Days": 4,
            "registrations": [{ "count": 3, "day": "2026-11-30" }, { "count": 1, "day": "2026-12-01" }],
            "total": 4, "twoFactorEnabled": 1,
        })
    );
    app.advance(TimeDelta::days(31));
    let admin = {
        drop(admin);
        app.sign_in("admin").await
    };
    let answer = admin.gql(document, Value::Null).await;
    assert_eq!(answer.data("userStats/monthlyActive"), 1);
    assert_eq!(answer.data("userStats/newLast30Days"), 0);
    let days = answer
        .data("userStats/registrations")
        .as_array()
        .expect("days");
    assert_eq!(
        (days.len(), &days[0]),
        (31, &json!({ "count": 0, "day": "2026-12-01" }))
    );
}
