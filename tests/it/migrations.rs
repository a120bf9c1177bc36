//! The migrations: up, down and up again, what they document, and that `src/schema.rs` fits them.

use std::fs;
use std::path::Path;

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
async fn who_waits_for_its_turn_does_not_hold_up_an_index_that_is_built_meanwhile() {
    let (test_db, db) = empty().await;
    let mut first = single_connection(&test_db.url())
        .await
        .expect("a connection");
    let turn =
        "CREATE TABLE notes (id uuid); SELECT pg_advisory_lock(hashtext('cardea migrations'))";
    first.batch_execute(turn).await.expect("its turn");
    let building = async {
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
        let index = "CREATE INDEX CONCURRENTLY notes_idx ON notes (id)";
        first.batch_execute(index).await.expect("an index");
        drop(first);
    };
    let (run, ()) = tokio::join!(db.migrate(), building);
    assert_eq!(
        run.expect("up").len(),
        migration_names().expect("names").len()
    );
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

/// The migrations that came before this rule; they stay as they are.
const UNRULED: &str = "20261121000027_failed_jobs";

/// The text of a migration without its comments, in capitals, with single blanks, one statement each. Bodies of functions
/// are left out: nothing in them happens while the migration runs.
fn statements(sql: &str) -> Vec<String> {
    let text: Vec<_> = sql
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default())
        .collect();
    let outside: String = text.join(" ").split("$$").step_by(2).collect();
    let words = outside.to_uppercase();
    words
        .split(';')
        .map(|one| one.split_whitespace().collect::<Vec<_>>().join(" "))
        .filter(|one| !one.is_empty())
        .collect()
}

/// The name behind `mark` in a statement.
fn named(statement: &str, mark: &str) -> Option<String> {
    let (_, rest) = statement.split_once(mark)?;
    let mut words = rest.split(|c: char| c.is_whitespace() || c == '(');
    let name = words.find(|word| !["", "IF", "NOT", "EXISTS", "ONLY"].contains(word))?;
    Some(name.to_owned())
}

/// What a migration does that locks for long, or that the release before it does not survive (docs/OPERATIONS.md, Upgrading).
/// `alone` says that it runs outside of a transaction.
fn not_for_expanding(sql: &str, alone: bool) -> Vec<String> {
    let all = statements(sql);
    let made: Vec<_> = all
        .iter()
        .filter_map(|one| named(one, "CREATE TABLE "))
        .collect();
    let patient = all
        .first()
        .is_some_and(|one| one.starts_with("SET LOCAL LOCK_TIMEOUT"));
    let mut wrong = Vec::new();
    for one in &all {
        let mut say = |why: &str| wrong.push(format!("{why}: {one}"));
        let concurrent = one.contains("INDEX CONCURRENTLY ");
        if concurrent && !(alone && all.len() == 1) {
            say("needs a migration of its own, without a transaction");
        }
        let is_index = one.starts_with("CREATE INDEX ") || one.starts_with("CREATE UNIQUE INDEX ");
        let table = named(one, "ALTER TABLE ")
            .or_else(|| named(one, " ON ").filter(|_| is_index || one.contains(" TRIGGER ")));
        if table.is_some_and(|table| made.contains(&table)) {
            continue;
        }
        if is_index && !concurrent {
            say("holds writers up while it is built");
        }
        for word in ["DROP TABLE ", "DROP COLUMN ", " RENAME ", "DROP VIEW "] {
            if one.contains(word) {
                say("takes away what the release before uses");
            }
        }
        if !one.starts_with("ALTER TABLE ") {
            let locks = one.contains(" TRIGGER ") || one.starts_with("DROP INDEX ");
            if locks && !concurrent && !patient {
                say("waits for a lock in front of everybody");
            }
            continue;
        }
        if !patient {
            say("waits for a lock in front of everybody");
        }
        let added_here = all.iter().any(|other| other.contains(" NOT VALID"));
        if one.contains(" VALIDATE CONSTRAINT ") && added_here {
            say("reads the whole table under the lock of the statement that added it");
        }
        if one.contains(" SET DATA TYPE ")
            || (one.contains(" ALTER COLUMN ") && one.contains(" TYPE "))
        {
            say("writes the table anew");
        }
        if one.contains(" SET NOT NULL") {
            say("reads the whole table, and the release before may write null");
        }
        let added = one.split(',').filter(|part| part.contains("ADD COLUMN "));
        for column in added {
            if column.contains(" NOT NULL") && !column.contains(" DEFAULT ") {
                say("the release before writes rows without it");
            }
        }
        let checks = ["CHECK (", "FOREIGN KEY", "REFERENCES "];
        if checks.iter().any(|word| one.contains(word)) && !one.contains(" NOT VALID") {
            say("reads the whole table under a lock");
        }
    }
    wrong
}

#[test]
fn what_the_release_before_does_not_survive_says_why() {
    let refused = [
        "ALTER TABLE users DROP COLUMN username",
        "ALTER TABLE users RENAME COLUMN username TO name",
        "ALTER TABLE users ALTER COLUMN username TYPE varchar(3)",
        "ALTER TABLE users ALTER COLUMN username SET NOT NULL",
        "ALTER TABLE users ADD COLUMN a text, ADD COLUMN b text NOT NULL",
        "ALTER TABLE users ADD CONSTRAINT c CHECK (a > 0)",
        "ALTER TABLE users ADD COLUMN other uuid REFERENCES others (id)",
        "CREATE UNIQUE INDEX i ON users (username)",
        "DROP TABLE users",
        "CREATE INDEX CONCURRENTLY i ON users (username)",
    ];
    for one in refused {
        let sql = format!("SET LOCAL lock_timeout = '2s';\n{one};");
        assert_eq!(not_for_expanding(&sql, false).len(), 1, "{one}");
    }
    let late = "ALTER TABLE users ADD COLUMN a text;";
    assert_eq!(not_for_expanding(late, false).len(), 1, "without a limit");
    let trigger = "CREATE TRIGGER t AFTER UPDATE ON users FOR EACH ROW EXECUTE FUNCTION f();";
    assert_eq!(not_for_expanding(trigger, false).len(), 1, "nor a trigger");
    let taken = "SET LOCAL lock_timeout = '2s'; -- DROP TABLE users;
        CREATE TABLE notes (id uuid NOT NULL, CONSTRAINT notes_form CHECK (id <> id));
        CREATE INDEX notes_idx ON notes (id); ALTER TABLE notes ALTER COLUMN id SET NOT NULL;
        ALTER TABLE users ADD COLUMN a text, ADD COLUMN b text NOT NULL DEFAULT '', ADD CONSTRAINT c CHECK (a > b) NOT VALID;
        CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN DROP TABLE users; END $$;";
    assert_eq!(not_for_expanding(taken, false), [""; 0]);
    let at_once =
        "SET LOCAL lock_timeout = '2s'; ALTER TABLE users ADD CONSTRAINT c CHECK (a > b) NOT VALID;
        ALTER TABLE users VALIDATE CONSTRAINT c;";
    assert_eq!(not_for_expanding(at_once, false).len(), 1, "{at_once}");
    let alone = "CREATE INDEX CONCURRENTLY i ON users (username);";
    assert_eq!(not_for_expanding(alone, true), [""; 0]);

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut seen = 0;
    for entry in fs::read_dir(folder).expect("migrations") {
        let path = entry.expect("a folder").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        seen += 1;
        if *name <= *UNRULED {
            continue;
        }
        let sql = fs::read_to_string(path.join("up.sql")).expect("a text");
        let settings = fs::read_to_string(path.join("metadata.toml")).unwrap_or_default();
        let wrong = not_for_expanding(&sql, settings.contains("run_in_transaction = false"));
        assert!(
            wrong.is_empty() || sql.contains("-- contract: "),
            "{name} has to say why, after `-- contract: `:\n{}",
            wrong.join("\n")
        );
    }
    assert_eq!(seen, migration_names().expect("names").len());
}
