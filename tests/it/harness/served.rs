//! The server on a port of its own, with workers, for clients that are programs of their own.

use cardea::clock::Clock;
use cardea::http::serve::serve;
use cardea::worker;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::harness::TestApp;
use crate::harness::app::{MASTER_KEY, config, start_of_time};
use crate::harness::process::Program;

/// A server that answers on a port until the value is dropped.
pub struct Served {
    pub url: String,
    // Before the application, whose end would make it wait for its connections.
    _serving: JoinSet<()>,
    pub app: TestApp,
}

impl Served {
    /// A server with these flags, whose mailed links lead to it.
    pub async fn with(arguments: &[&str]) -> Self {
        Self::at("127.0.0.1", arguments, Clock::fixed(start_of_time())).await
    }

    /// The same under another name of this machine, on this clock.
    pub async fn at(host: &str, arguments: &[&str], clock: Clock) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let url = format!("http://{host}:{port}");
        let public_url = format!("--public-url={url}");
        let arguments: Vec<&str> = arguments.iter().copied().chain([&*public_url]).collect();
        let app = TestApp::with_clock(config(&arguments), clock).await;
        worker::start(&app.app);
        let (router, state) = (app.router.clone(), app.app.clone());
        let mut serving = JoinSet::new();
        serving.spawn(async move { serve(listener, router, &state).await.expect("threads") });
        Self {
            url,
            _serving: serving,
            app,
        }
    }

    /// Opens root@example.org with the role `admin`, as the README says; gives its password.
    pub async fn administrator(&self) -> &'static str {
        const PASSWORD: &str = "Shiny-Marble-42";
        let program = Program::on(&self.app.db.url()).with("CARDEA_MASTER_KEY", MASTER_KEY);
        let create = move || {
            let account = ["--email", "root@example.org", "--full-name", "Root"];
            let options = ["user", "create", "--admin", "--password-stdin"];
            let arguments = [&options[..], &account].concat();
            program.run_with_input(&arguments, PASSWORD).success()
        };
        tokio::task::spawn_blocking(create).await.expect("created");
        PASSWORD
    }
}
