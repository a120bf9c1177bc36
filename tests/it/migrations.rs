//! The migrations: up, down and up again, what they document, and that `src/schema.rs` fits them.

use cardea::db::{Db, migration_names, single_connection};
use diesel_async::SimpleAsyncConnection as _;

use crate::harness::app::config;
use crate::harness::db::TestDb;

/// Everything that the migrations make, one line each, without ids and instants. Columns have their
/// place among those that are there: a dropped one leaves a gap in the numbers.
const CATALOGUE: &str = "
    SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
        SELECT format('table %s %s', relname, relpersistence) FROM pg_class
            WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v', 'm', 'S')
        UNION ALL SELECT format('column %s.%s %s %s %s default %s', table_name,
            row_number() OVER (PARTITION BY table_name ORDER BY ordinal_position), column_name, udt_name, is_nullable,
            column_default) FROM information_schema.columns WHERE table_schema = 'public'
        UNION ALL SELECT format('constraint %s.%s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
            FROM pg_constraint WHERE connamespace = 'public'::regnamespace
        UNION ALL SELECT format('index %s', indexdef) FROM pg_indexes WHERE schemaname = 'public'
        UNION ALL SELECT format('trigger %s', pg_get_triggerdef(oid)) FROM pg_trigger WHERE NOT tgisinternal
        UNION ALL SELECT format('function %s', pg_get_functiondef(oid)) FROM pg_proc
            WHERE pronamespace = 'public'::regnamespace
        UNION ALL SELECT format('extension %s', extname) FROM pg_extension
        UNION ALL SELECT format('comment %s.%s %s', objoid::regclass, attname, description) FROM pg_description
            LEFT JOIN pg_attribute ON attrelid = objoid AND attnum = objsubid AND attnum > 0
            WHERE classoid = 'pg_class'::regclass AND objoid::regclass::text NOT LIKE 'pg\\_%'
            AND objoid::regclass::text NOT LIKE 'information\\_schema.%'
    ) AS lines (line)";

const SEEDS: &str = "
    SELECT string_agg(line, E'\\n' ORDER BY line) FROM (
        SELECT format('permission %s %s %s', name, description, is_system) FROM permissions
        UNION ALL SELECT format('role %s %s %s %s', name, description, is_default, is_system) FROM roles
        UNION ALL SELECT format('%s grants %s', roles.name, permissions.name) FROM role_permissions
            JOIN roles ON roles.id = role_id JOIN permissions ON permissions.id = permission_id
    ) AS lines (line)";

async fn empty() -> (TestDb, Db) {
    let test_db = TestDb::empty().await;
    let db = Db::new(&test_db.url(), &config(&[]).database).expect("a pool");
    (test_db, db)
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_go_up_and_down_and_up_again_to_the_same() {
    let (test_db, db) = empty().await;
    let names = migration_names().expect("names");
    assert_eq!(db.pending_migrations().await.expect("a list"), names);
    assert_eq!(db.migrate().await.expect("up").len(), names.len());
    let (catalogue, seeds) = (test_db.text(CATALOGUE).await, test_db.text(SEEDS).await);
    assert!(
        catalogue.contains("constraint users.users_pkey"),
        "{catalogue}"
    );
    assert!(seeds.contains("admin grants admin:system"), "{seeds}");
    assert!(db.migrate().await.expect("nothing to do").is_empty());
    // The last one, then the last two, and so on to all of them.
    for count in 1..=names.len() {
        for name in names.iter().rev().take(count) {
            let reverted = db
                .migrate_down()
                .await
                .expect("down")
                .expect("one was left");
            assert!(name.starts_with(&reverted), "{reverted} is not {name}");
        }
        assert_eq!(db.migrate().await.expect("up").len(), count);
        assert_eq!(
            test_db.text(CATALOGUE).await,
            catalogue,
            "after the last {count}"
        );
        assert_eq!(test_db.text(SEEDS).await, seeds, "after the last {count}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn all_the_way_down_nothing_is_left() {
    let (test_db, db) = empty().await;
    let nothing = test_db.text(CATALOGUE).await;
    db.migrate().await.expect("up");
    while db.migrate_down().await.expect("down").is_some() {}
    let left = test_db.text(CATALOGUE).await;
    let left: Vec<_> = left
        .lines()
        .filter(|line| !nothing.contains(line))
        .collect();
    assert!(!left.is_empty(), "diesel keeps its own table");
    assert!(
        left.iter()
            .all(|line| line.contains("__diesel_schema_migrations")),
        "{left:#?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn two_servers_that_start_together_migrate_once() {
    let (test_db, first) = empty().await;
    let second = Db::new(&test_db.url(), &config(&[]).database).expect("a pool");
    let (first, second) = tokio::join!(first.migrate(), second.migrate());
    let run = first.expect("up").len() + second.expect("up").len();
    assert_eq!(run, migration_names().expect("names").len());
}

#[tokio::test(flavor = "multi_thread")]
async fn every_table_and_column_says_what_it_is_for() {
    let db = TestDb::new(&config(&[]).database).await;
    let mute = "
        SELECT string_agg(format('%s.%s', relname, attname), ' ') FROM pg_class
        JOIN pg_attribute ON attrelid = pg_class.oid AND attnum >= 0 AND NOT attisdropped
        WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v') AND relname <> '__diesel_schema_migrations'
        AND (col_description(pg_class.oid, attnum) IS NULL OR obj_description(pg_class.oid, 'pg_class') IS NULL)";
    assert_eq!(db.text(mute).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_foreign_key_has_an_index() {
    let db = TestDb::new(&config(&[]).database).await;
    // An index serves when its first columns are those of the key, in any order.
    let slow = "
        SELECT string_agg(conname, ' ') FROM pg_constraint WHERE contype = 'f' AND NOT EXISTS (
            SELECT FROM pg_index WHERE indrelid = conrelid AND indpred IS NULL
            AND (indkey::smallint[])[0:cardinality(conkey) - 1] @> conkey
        )";
    assert_eq!(db.text(slow).await, "");
    db.sql("DROP INDEX user_roles_assigned_by_idx").await;
    assert_eq!(
        db.text(slow).await,
        "user_roles_assigned_by_fkey",
        "a missing one is found"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn every_foreign_key_says_what_deleting_does() {
    let db = TestDb::new(&config(&[]).database).await;
    let silent = "SELECT string_agg(conname, ' ') FROM pg_constraint WHERE contype = 'f' AND confdeltype NOT IN ('c', 'n', 'r')";
    assert_eq!(db.text(silent).await, "");
}

/// The columns of the tables in the text of `src/schema.rs`, as `table.position column type`.
fn declared(source: &str) -> Vec<String> {
    let mut columns = Vec::new();
    for block in source.split("diesel::table! {").skip(1) {
        let (head, body) = block.split_once('{').expect("a table");
        let table = head.split('(').next().expect("a name").trim();
        let (body, _) = body.split_once('}').expect("an end");
        let lines = body
            .lines()
            .map(str::trim)
            .filter(|line| line.contains("->"));
        for (position, line) in lines.enumerate() {
            let (name, of_type) = line
                .trim_end_matches(',')
                .split_once(" -> ")
                .expect("a column");
            columns.push(format!("{table}.{} {name} {of_type}", position + 1));
        }
    }
    columns.sort();
    columns
}

#[tokio::test(flavor = "multi_thread")]
async fn schema_rs_is_fresh() {
    let db = TestDb::new(&config(&[]).database).await;
    // As diesel print-schema writes them; src/schema.patch takes the null out of arrays.
    let columns = "
        SELECT string_agg(line, E'\\n') FROM (
            SELECT format('%s.%s %s %s', table_name, row_number() OVER (PARTITION BY table_name ORDER BY ordinal_position), column_name,
                CASE is_nullable WHEN 'YES' THEN format('Nullable<%s>', name) ELSE name END) AS line
            FROM information_schema.columns, LATERAL (SELECT CASE udt_name
                WHEN '_text' THEN 'Array<Text>' WHEN '_bytea' THEN 'Array<Bytea>' WHEN '_uuid' THEN 'Array<Uuid>' ELSE initcap(udt_name) END) AS names (name)
            WHERE table_schema = 'public' AND table_name <> '__diesel_schema_migrations'
        ) AS lines";
    let columns = db.text(columns).await;
    let mut columns: Vec<_> = columns.lines().map(str::to_owned).collect();
    columns.sort();
    assert_eq!(
        declared(include_str!("../../src/schema.rs")),
        columns,
        "run: diesel print-schema > src/schema.rs"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_job_wakes_who_listens() {
    use futures_util::StreamExt as _;
    let test_db = TestDb::new(&config(&[]).database).await;
    let db = Db::new(&test_db.url(), &config(&[]).database).expect("a pool");
    let mut listening = db.listen("jobs").await.expect("a connection");
    let mut writing = single_connection(&test_db.url())
        .await
        .expect("a connection");
    let job = "INSERT INTO jobs (id, payload, run_at, created_at) VALUES (gen_random_uuid(), '{}', now(), now())";
    writing.batch_execute(job).await.expect("a job");
    let mut notifications = std::pin::pin!(listening.notifications_stream());
    let told = tokio::time::timeout(std::time::Duration::from_secs(5), notifications.next());
    let told = told
        .await
        .expect("in time")
        .expect("a notification")
        .expect("whole");
    assert_eq!((&*told.channel, &*told.payload), ("jobs", ""));
}
